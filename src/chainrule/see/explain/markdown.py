"""An explanation as Markdown: headings, and formulas as code, which shows everywhere."""

from __future__ import annotations

import re

from chainrule.see.explain.content import Content
from chainrule.see.explain.pieces import array_in_part, head, pieces, shape_text
from chainrule.see.explain.steps import Step

__all__ = ["as_markdown"]


def as_markdown(content: Content) -> str:
    """The whole explanation."""
    lines = [f"# {_escaped(content.title)}", ""]
    for fact in content.facts:
        lines += [f"- {_escaped(fact)}"]
    if content.given:
        rows = [
            (
                str(given.name),
                given.label,
                shape_text(given.value),
                array_in_part(given.value, content.digits),
            )
            for given in content.given
        ]
        lines += ["", "## Given", "", "| | | shape | value |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    for chapter in content.chapters:
        lines += ["", f"## {chapter.title}", "", _escaped(chapter.words), ""]
        for step in chapter.steps:
            lines += [*_step(step, content), ""]
    return "\n".join(lines).rstrip() + "\n"


def _step(step: Step, content: Content) -> list[str]:
    facts = [_escaped(fact) for fact in (step.layer, shape_text(step.value)) if fact]
    numbers, words = [], []
    for piece in pieces(step, content.digits, content.with_symbols):
        if piece.kind == "number":
            numbers.append(piece.text)
        elif piece.kind == "note":
            words.append(_escaped(piece.text))
        else:
            words.append(f"{piece.label} {_code(piece.text)}")
    lines = [f"**{_code(head(step))}** {', '.join(facts)}".rstrip()]
    lines += [f"- {word}" for word in words]
    if numbers:
        fence = _fence("\n".join(numbers), 3)
        lines += ["", f"{fence}text", *numbers, fence]
    return lines


def _fence(text: str, least: int) -> str:
    """More backticks than the text has in a row."""
    return "`" * max([least, *(len(run) + 1 for run in re.findall("`+", text))])


def _code(text: str) -> str:
    fence = _fence(text, 1)
    pad = " " if fence != "`" else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _cell(text: str) -> str:
    """Code in a cell of a table, where a bar would end it."""
    return _code(text.replace("|", "\\|").replace("\n", " ")) if text else ""


def _escaped(text: str) -> str:
    """Prose in which nothing is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|$~&!])", r"\\\1", text.replace("\n", " "))
