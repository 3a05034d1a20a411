"""An explanation as HTML: a fragment for notebooks, or a page of its own."""

from __future__ import annotations

from html import escape

from chainrule.see.explain.content import Chapter, Content
from chainrule.see.explain.pieces import array_in_part, head, pieces, shape_text
from chainrule.see.explain.steps import Step

__all__ = ["as_html", "as_page"]

# Under one class, so that a notebook's other cells stay as they are.
_STYLE = """
.chainrule-explanation { max-width: 60rem; margin: 0 auto; line-height: 1.5; color: #1b1b1b;
  background: #ffffff; font-family: system-ui, sans-serif; padding: 0.5rem 1rem; }
.chainrule-explanation h1 { font-size: 1.3rem; }
.chainrule-explanation h2 { font-size: 1.1rem; margin: 1.5rem 0 0.25rem; }
.chainrule-explanation p, .chainrule-explanation ul { margin: 0.25rem 0; }
.chainrule-explanation code { font-family: ui-monospace, monospace; font-size: 0.9em;
  overflow-wrap: anywhere; background: none; color: inherit; }
.chainrule-explanation table { border-collapse: collapse; }
.chainrule-explanation td { padding: 0.1rem 1rem 0.1rem 0; vertical-align: top; text-align: left; }
.chainrule-explanation td:first-child code { overflow-wrap: normal; }
.chainrule-explanation td:nth-child(3) { white-space: nowrap; }
.chainrule-explanation section { border-left: 3px solid #8fb8de; margin: 0.6rem 0;
  padding: 0.1rem 0 0.1rem 0.8rem; }
.chainrule-explanation section.backward { border-color: #e0a672; }
.chainrule-explanation section.update { border-color: #9cc49a; }
.chainrule-explanation section > p:first-child { font-weight: 600; display: flex;
  flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; }
.chainrule-explanation .facts { font-weight: 400; color: #595959; }
.chainrule-explanation .label { color: #595959; }
.chainrule-explanation .number { padding-left: 1.5rem; text-indent: -1.5rem; }
"""


def as_html(content: Content) -> str:
    """The explanation as an element of a page, with its style."""
    parts = [f"<h1>{escape(content.title)}</h1>"]
    parts += [f"<p>{escape(fact)}</p>" for fact in content.facts]
    if content.given:
        rows = "".join(
            f"<tr><td><code>{escape(str(given.name))}</code></td><td>{escape(given.label)}</td>"
            f"<td>{shape_text(given.value)}</td>"
            f"<td><code>{escape(array_in_part(given.value, content.digits))}</code></td></tr>"
            for given in content.given
        )
        parts.append(f"<h2>Given</h2><table>{rows}</table>")
    parts += [_chapter(chapter, content) for chapter in content.chapters]
    body = "\n".join(parts)
    return f'<div class="chainrule-explanation"><style>{_STYLE}</style>\n{body}\n</div>'


def as_page(content: Content) -> str:
    """The explanation as a whole HTML file."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(content.title)}</title>\n</head>\n<body>\n"
        f"{as_html(content)}\n</body>\n</html>\n"
    )


def _chapter(chapter: Chapter, content: Content) -> str:
    steps = "\n".join(_step(step, content) for step in chapter.steps)
    return f"<h2>{escape(chapter.title)}</h2>\n<p>{escape(chapter.words)}</p>\n{steps}"


def _step(step: Step, content: Content) -> str:
    facts = " ".join(filter(None, [step.layer, shape_text(step.value)]))
    lines = [f'<p><code>{escape(head(step))}</code><span class="facts">{escape(facts)}</span></p>']
    for piece in pieces(step, content.digits, content.with_symbols):
        label = f'<span class="label">{piece.label}</span> ' if piece.label else ""
        code = escape(piece.text) if piece.kind == "note" else f"<code>{escape(piece.text)}</code>"
        kind = ' class="number"' if piece.kind == "number" else ""
        lines.append(f"<p{kind}>{label}{code}</p>")
    return f'<section class="{step.section}">{"".join(lines)}</section>'
