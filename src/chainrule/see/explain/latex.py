"""An explanation as a LaTeX document, for pdflatex; amsmath is its only package."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.compiler.formula import Formula
from chainrule.compiler.graph import Variable
from chainrule.see.explain.content import Chapter, Content
from chainrule.see.explain.digits import Line, show_digits
from chainrule.see.explain.latex_formula import tex_formula, tex_name, tex_number, tex_text
from chainrule.see.explain.pieces import array_in_part, replaces, shape_text
from chainrule.see.explain.rules import Rule
from chainrule.see.explain.steps import Step

__all__ = ["as_latex"]

_HEAD = r"""\documentclass[a4paper,10pt]{article}
\usepackage{amsmath}
\setlength{\textwidth}{17cm}
\setlength{\textheight}{25cm}
\setlength{\oddsidemargin}{-0.5cm}
\setlength{\topmargin}{-1.5cm}
\setlength{\parindent}{0pt}
\setlength{\parskip}{3pt}
\allowdisplaybreaks
\sloppy
\begin{document}
\abovedisplayskip=3pt \abovedisplayshortskip=3pt
\belowdisplayskip=6pt \belowdisplayshortskip=6pt
"""
_TWICE_CLOSED = re.compile(r"(?<=[\w}])\(\((-[^()]*)\)\)")  # \sigma((-0.5))
_ROW = 90  # characters of a row of a formula, about
_CUT = 55  # characters of an array that is no matrix
_MOST_IN_MATRIX = 5  # rows, and columns


def as_latex(content: Content) -> str:
    """The whole document."""
    parts = [_HEAD, rf"\section*{{{tex_text(content.title)}}}"]
    parts += [tex_text(fact) + r"\par" for fact in content.facts]
    parts.append(
        r"$L$ is the result, and $\frac{\partial L}{\partial v}$ its derivative by $v$.\par"
    )
    if content.given:
        parts.append(r"\subsection*{Given}")
        for given in content.given:
            words = " ".join(filter(None, [given.label, shape_text(given.value)]))
            row = _equals(tex_name(given.name), given.value, content.digits)
            parts += [rf"\textit{{{tex_text(words)}}}%", _display([row]), ""]
    for chapter in content.chapters:
        parts += _chapter(chapter, content)
    return "\n".join([*parts, r"\end{document}", ""])


def _chapter(chapter: Chapter, content: Content) -> list[str]:
    parts = [rf"\subsection*{{{tex_text(chapter.title)}}}", tex_text(chapter.words) + r"\par"]
    for step in chapter.steps:
        parts += _step(step, content)
    return parts


def _step(step: Step, content: Content) -> list[str]:
    sign = r"\leftarrow" if replaces(step) else "="
    own = tex_name(step.name)
    words = filter(None, [step.layer, shape_text(step.value), step.note])
    rows = _broken(f"{own} &{sign} {_head(step)}")
    if step.whole is not None:
        rows += _broken(f"{own} &= {_formula(step.whole, step.seed)}")
    if step.slope is not None:
        rows += _line(step.slope, "=", with_symbols=True)
    if not content.with_symbols and not step.is_complete and step.value.ndim:
        rows.append(_equals(own, step.value, content.digits))
    for line in step.lines:
        rows += _line(line, sign, content.with_symbols)
    rules = dict.fromkeys(_rule(rule) for rule in reversed(step.rules))
    texts = [text for text in (rf"\textit{{{tex_text(', '.join(words))}}}", *rules) if text]
    return ["; ".join(texts) + "%", _display(rows), ""]


def _head(step: Step) -> str:
    if isinstance(step.formula, Formula):
        return _formula(step.formula, step.symbol)
    if step.formula is not None:
        return tex_name(step.formula)
    return tex_number(show_digits(step.value[()], 17)) if not step.value.ndim else r"\mathrm{given}"


def _formula(formula: Formula, name: Callable[[Variable], Any]) -> str:
    return tex_formula(formula, lambda variable: tex_name(name(variable)))


def _rule(rule: Rule) -> str:
    formula = "g" if rule.formula is None else _formula(rule.formula, rule.name)
    spread = f" {tex_text(rule.spread)}" if rule.spread else ""
    return rf"rule of \texttt{{{tex_text(rule.title)}}}: ${formula}${spread}"


def _line(line: Line, sign: str, with_symbols: bool) -> list[str]:
    """A number worked out, in rows."""
    formula = Formula(line.element.root, line.element.inner)  # type: ignore[arg-type]
    parts = []
    if with_symbols or line.is_plain:
        symbols = tex_formula(formula, lambda variable: tex_name(line.symbol(variable)))
        if line.element.own_leaves() and symbols != tex_name(line.name):
            parts.append(symbols)
    if not line.is_plain:
        numbers = tex_formula(formula, lambda variable: _closed(line.numbers[variable]))
        parts.append(_TWICE_CLOSED.sub(r"(\1)", numbers))
    parts.append(tex_number(line.result))
    if line.rests and not line.is_plain:
        rests = [
            f"{tex_number(line.numbers[v])}: {meaning}".replace(" ", r"\ ")
            for v, meaning in line.rests.items()
        ]
        parts[-1] += rf"\quad \mathrm{{({', '.join(rests)})}}"
    first, *others = parts
    rows = _broken(f"{tex_name(line.name)} &{sign} {first}")
    for part in others:
        if len(rows) == 1 and _length(rows[0]) + _length(part) < _ROW:
            rows = [f"{rows[0]} = {part}"]
        else:
            rows += _broken(f"&= {part}")
    return rows


def _closed(number: str) -> str:
    text = tex_number(number)
    return f"({text})" if number.startswith("-") or "cdot" in text else text


def _equals(name: str, value: np.ndarray[Any, Any], digits: int) -> str:
    if value.ndim == 0:
        return f"{name} &= {tex_number(show_digits(value[()], digits))}"
    if value.ndim > 2 or not value.size:
        return (
            rf"{name} &= \mbox{{\texttt{{{tex_text(array_in_part(value, digits)[:_CUT])}\ldots}}}}"
        )
    rows = np.atleast_2d(value)
    row_numbers, column_numbers = (_places(size) for size in rows.shape)
    texts = [
        " & ".join(
            r"\cdots" if i is None or j is None else tex_number(show_digits(rows[i, j], digits))
            for j in column_numbers
        )
        for i in row_numbers
    ]
    inner = r" \\ ".join(texts)
    return rf"{name} &= \begin{{pmatrix}} {inner} \end{{pmatrix}}"


def _places(size: int) -> list[int | None]:
    """Which rows or columns are shown, None for those between."""
    if size <= _MOST_IN_MATRIX + 1:
        return list(range(size))
    return [*range(_MOST_IN_MATRIX - 1), None, size - 1]


def _broken(row: str) -> list[str]:
    """A row, broken before a plus or minus where it is long."""
    if _length(row) <= _ROW:
        return [row]
    rows, depth, start = [], 0, 0
    for match in re.finditer(r"[{}]| [+-] ", row):
        token = match[0]
        depth += (token == "{") - (token == "}")
        if token.startswith(" ") and not depth and _length(row[start : match.start()]) > 0.7 * _ROW:
            rows.append(row[start : match.start()])
            start = match.start() + 1
    rows.append(row[start:])
    first, *others = rows
    return [first, *(rf"&\quad {other}" for other in others)]


def _length(tex: str) -> int:
    """About how many characters wide a formula is."""
    return len(re.sub(r"\\[a-zA-Z]+|[{}&\\]", "", tex))


def _display(rows: list[str]) -> str:
    return "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"
