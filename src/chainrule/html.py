"""HTML for notebooks: tables, sources and small curves, of bounded size and safe to show.

Whatever comes from outside (names, texts, sources) is escaped here, so none of it becomes markup.
No script, nothing loaded from elsewhere. What one object shows is at most `MOST_BYTES` long, and a
source at most `MOST_LINES` lines, after which stands how to see the rest.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.palette import BLUE, GREY, VERMILION

__all__ = [
    "MOST_BYTES",
    "MOST_LINES",
    "array",
    "block",
    "curves",
    "escape",
    "number",
    "paragraph",
    "source",
    "table",
]

MOST_BYTES = 60_000
MOST_LINES = 200
_MOST_ROWS = 100
_MOST_COLUMNS = 16
_LONGEST_CELL = 200
_LONGEST_LINE = 400
_MOST_POINTS = 200
_SHOWN_OF_AN_AXIS = 6

# Those of Jupyter's editor where it has them, else such as can be read on white and on black.
_COLORS = {
    "k": "var(--jp-mirror-editor-keyword-color, #2878b5)",
    "s": "var(--jp-mirror-editor-string-color, #b5561a)",
    "n": "var(--jp-mirror-editor-number-color, #0a8060)",
    "c": "var(--jp-mirror-editor-comment-color, #767676)",
}
_STYLE = (
    "<style>.chainrule{overflow-x:auto}"
    ".chainrule table{border-collapse:collapse;font-size:inherit}"
    ".chainrule td,.chainrule th{text-align:right;padding:1px 8px;vertical-align:top}"
    ".chainrule .l{text-align:left}"
    ".chainrule pre{line-height:1.25;margin:4px 0;overflow:auto;max-height:30em}"
    + "".join(f".chainrule .{kind}{{color:{color}}}" for kind, color in _COLORS.items())
    + "</style>"
)

_LINES = {"solid": (BLUE, ""), "dashed": (VERMILION, "5 3"), "dotted": (GREY, "1 3")}

# What XML does not allow, and halves of characters, which no encoding takes.
_UNFIT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")

_PYTHON_WORDS = (
    "and as assert break class continue def del elif else except finally for from global if import "
    "in is lambda None not or pass raise return True False try while with yield"
)
_C_WORDS = (
    "break case char const continue default do double else enum extern float for goto if inline "
    "int long register restrict return short signed sizeof static struct switch typedef union "
    "unsigned void volatile while size_t ptrdiff_t"
)
_NUMBER = r"(?P<n>\b0[xX][0-9a-fA-F]+\b|\b\d+(?:\.\d*)?(?:[eE][+-]?\d+)?[fFlLuU]*)"
_PYTHON = re.compile(
    r'(?P<c>#[^\n]*)|(?P<s>"""(?:[^\\]|\\.)*?(?:"""|\Z)|\'\'\'(?:[^\\]|\\.)*?(?:\'\'\'|\Z)'
    r'|"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?)'
    rf"|(?P<k>\b(?:{'|'.join(_PYTHON_WORDS.split())})\b)|{_NUMBER}|(?P<w>\w+)",
    re.DOTALL,
)
_C = re.compile(
    r"(?P<c>//[^\n]*|/\*.*?(?:\*/|\Z)|^[ \t]*\#[^\n]*)"
    r'|(?P<s>"(?:[^"\\\n]|\\.)*"?|\'(?:[^\'\\\n]|\\.)*\'?)'
    rf"|(?P<k>\b(?:{'|'.join(_C_WORDS.split())})\b)|{_NUMBER}|(?P<w>\w+)",
    re.DOTALL | re.MULTILINE,
)


def escape(value: object, longest: int = _LONGEST_CELL) -> str:
    """Any text as HTML that shows it: no markup, no control characters, cut where it is too long.

    >>> escape("<script>"), escape("a" * 300, longest=5)
    ('&lt;script&gt;', 'aaaa…')
    """
    text = str(value)
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    return html.escape(_UNFIT.sub("\N{REPLACEMENT CHARACTER}", text))


def number(value: float) -> str:
    """A number in four digits, as tables show it.

    >>> number(0.123456), number(float("nan"))
    ('0.1235', 'nan')
    """
    return f"{value:.4g}"


def block(*parts: str) -> str:
    """What an object shows: parts that are HTML already, those that fit into `MOST_BYTES`.

    >>> block(paragraph("<3"))[-17:]
    '">&lt;3</p></div>'
    """
    kept: list[str] = []
    size = 0
    for part in parts:
        size += len(part.encode("utf-8"))
        if size > MOST_BYTES - 1000:
            kept.append(paragraph("more than fits here is left out"))
            break
        kept.append(part)
    return f'<div class="chainrule">{_STYLE}{"".join(kept)}</div>'


def paragraph(text: object, *, strong: bool = False, color: str = "") -> str:
    """A line of text, which is escaped."""
    style = "margin:4px 0" + ";font-weight:bold" * strong + (f";color:{color}" if color else "")
    return f'<p style="{style}">{escape(text, 1000)}</p>'


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    left: int = 1,
    footer: Sequence[object] = (),
    more: str = "rows",
) -> str:
    """Rows of cells, which are escaped; the first `left` columns are text, and stand on the left.

    Rows beyond a hundred are counted, and called `more`; columns beyond 16 are left out.

    >>> table(["name", "size"], [["<b>", 3]]).count("&lt;b&gt;")
    1
    """
    rows = list(rows)
    lines = [_row("th", header, left)]
    lines += [_row("td", row, left) for row in rows[:_MOST_ROWS]]
    if len(rows) > _MOST_ROWS:
        lines.append(_row("td", [f"… {len(rows) - _MOST_ROWS} more {more}"], 1))
    if footer:
        lines.append(_row("th", footer, left))
    return f"<table>{''.join(lines)}</table>"


def _row(kind: str, cells: Sequence[object], left: int) -> str:
    shown = list(cells[:_MOST_COLUMNS])
    if len(cells) > _MOST_COLUMNS:
        shown.append(f"… {len(cells) - _MOST_COLUMNS} more")
    texts = [f"<{kind} class='l'>", f"<{kind}>"]
    parts = [f"{texts[i >= left]}{escape(cell)}</{kind}>" for i, cell in enumerate(shown)]
    return f"<tr>{''.join(parts)}</tr>"


def source(text: str, language: str = "", see_all: str = "") -> str:
    """A source with its words coloured: language "python", "c", or "" for none.

    Of a long one the first `MOST_LINES` lines, and `see_all`, the call that shows the rest.

    >>> source("x = 1  # <b>", "python")
    '<pre>x = <span class="n">1</span>  <span class="c"># &lt;b&gt;</span></pre>'
    """
    lines = text.splitlines()
    # A line may start within a comment or a string: the text is looked at as a whole.
    beginning = "\n".join(line[:_LONGEST_LINE] for line in lines[:MOST_LINES])
    kept, size = [], 0
    for line in _coloured(beginning, language).split("\n"):
        size += len(line.encode("utf-8")) + 1
        if size > MOST_BYTES // 2:
            break
        kept.append(line)
    left_out = len(lines) - len(kept)
    rest = ""
    if left_out > 0:  # of no text the one line is empty
        how = f", {see_all} shows all" if see_all else ""
        rest = paragraph(f"… {left_out} more lines{how}")
    return "<pre>" + "\n".join(kept) + "</pre>" + rest


def _coloured(text: str, language: str) -> str:
    pattern = {"python": _PYTHON, "c": _C}.get(language)
    if pattern is None:
        return escape(text, len(text))
    return "".join(_tokens(text, pattern))


def _tokens(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """The text as HTML, no element across the end of a line."""
    end = 0
    for match in pattern.finditer(text):
        yield escape(text[end : match.start()], len(text))
        end = match.end()
        token, kind = escape(match[0], len(text)), match.lastgroup
        if kind == "w":
            yield token
        else:
            yield "\n".join(f'<span class="{kind}">{part}</span>' for part in token.split("\n"))
    yield escape(text[end:], len(text))


def array(name: str, values: npt.NDArray[Any]) -> str:
    """An array: shape, dtype, range and mean, how many are not finite, and some of its numbers.

    >>> "from 1 to 2, mean 1.5" in array("x", np.array([1.0, 2.0]))
    True
    """
    facts = [f"{name}: shape {values.shape}, {values.dtype}"]
    if values.size and values.dtype.kind in "biuf":
        finite = values[np.isfinite(values)]
        if finite.size:
            low, high = number(float(finite.min())), number(float(finite.max()))
            with np.errstate(over="ignore"):
                mean = number(float(finite.mean(dtype=np.float64)))
            facts.append(f"from {low} to {high}, mean {mean}" if finite.size > 1 else low)
        if finite.size < values.size:
            facts.append(f"{values.size - finite.size} not finite")
    # Of more than two axes a slice: what NumPy prints grows as a power of the number of axes.
    index = (0,) * (values.ndim - 2)
    shown = values[index] if index and values.size else values
    prefix = f"[{', '.join(map(str, index))}, :, :]\n" if index and values.size else ""
    options: dict[str, Any] = {
        "threshold": 100,
        "edgeitems": _SHOWN_OF_AN_AXIS // 2,
        "max_line_width": 100,
    }
    return paragraph(", ".join(facts)) + source(prefix + np.array2string(shown, **options))


def curves(named: Mapping[str, Sequence[float]], *, width: int = 300, height: int = 90) -> str:
    """A few curves over 1, 2, … as an SVG of 200 points each, with the ends of the scale.

    Values that are not finite are gaps. The scale is logarithmic where the values are above 0 and
    differ by more than a factor of 30. "" where there is no finite value.

    >>> curves({"loss": [2.0, 1.0]}).count("<polyline")
    1
    """
    taken = {name: _thinned(values) for name, values in named.items()}
    numbers = np.concatenate([ys for _, ys in taken.values()]) if taken else np.empty(0)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return ""
    low, high = float(finite.min()), float(finite.max())
    is_log = low > 0 and high > 30 * low
    bottom, top = (math.log(low), math.log(high)) if is_log else (low, high)
    last = max(len(values) for values in named.values())

    def point(x: float, y: float) -> str:
        across = 0.5 if last == 1 else (x - 1) / (last - 1)
        scaled = math.log(y) if is_log else y
        up = 0.5 if top == bottom else (scaled / 2 - bottom / 2) / (top / 2 - bottom / 2)
        return f"{6 + across * (width - 70):.1f},{height - 16 - up * (height - 26):.1f}"

    parts = []
    for i, (xs, ys) in enumerate(taken.values()):
        color, dash = list(_LINES.values())[i % len(_LINES)]
        for run in _runs(xs, ys):
            points = " ".join(point(x, y) for x, y in run)
            style = f'fill="none" stroke="{color}" stroke-width="1.6" stroke-dasharray="{dash}"'
            if len(run) > 1:
                parts.append(f'<polyline {style} points="{points}"/>')
            else:
                x, y = points.split(",")
                parts.append(f'<circle cx="{x}" cy="{y}" r="2.2" fill="{color}"/>')
    names = " and ".join(named)
    key = ", ".join(f"{name} {line}" for name, line in zip(named, _LINES, strict=False))
    words = [(width - 58, 14, number(high))] if high > low else []
    words += [
        (width - 58, height - 13, number(low)),
        (6, height - 2, key if len(named) > 1 else names),
    ]
    parts += [
        f'<text x="{x}" y="{y}" font-size="10" fill="currentColor">{escape(text, 60)}</text>'
        for x, y, text in words
    ]
    title = f"{names} from {number(high)} to {number(low)}, {last} epochs"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


def _thinned(
    values: Sequence[float],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """At most so many points of a curve over 1, 2, …, the first and the last among them."""
    ys = np.asarray(values, np.float64)
    chosen = np.unique(np.linspace(0, len(ys) - 1, min(len(ys), _MOST_POINTS)).round().astype(int))
    return (chosen + 1).astype(np.float64), ys[chosen]


def _runs(
    xs: npt.NDArray[np.float64], ys: npt.NDArray[np.float64]
) -> Iterator[list[tuple[float, float]]]:
    """The points between values that are not finite."""
    run: list[tuple[float, float]] = []
    for x, y in zip(xs.tolist(), ys.tolist(), strict=True):
        if math.isfinite(y):
            run.append((x, y))
        elif run:
            yield run
            run = []
    if run:
        yield run
