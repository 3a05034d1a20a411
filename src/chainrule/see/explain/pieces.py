"""The sentences of a step, which text, Markdown and HTML set each in its own way."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np

from chainrule.compiler.formula import Formula
from chainrule.compiler.graph import Variable
from chainrule.see.explain.digits import Line, show_digits
from chainrule.see.explain.rules import Rule
from chainrule.see.explain.steps import Step

__all__ = [
    "Piece",
    "array_in_part",
    "head",
    "line_text",
    "pieces",
    "replaces",
    "rule_text",
    "shape_text",
]

_TWICE_CLOSED = re.compile(r"(?<=\w)\(\((-[^()]*)\)\)")  # sigmoid((-0.5))
_LONGEST = 170  # characters of an array in part
_EDGE = 2  # first and last elements of an axis that is cut

Kind = Literal["number", "value", "rule", "rules", "local", "in full", "note"]


class Piece(NamedTuple):
    """A sentence of a step; `label` says what it is, "" for a number worked out."""

    kind: Kind
    text: str

    @property
    def label(self) -> str:
        """The word in front of it."""
        return (
            ""
            if self.kind == "number"
            else "local derivative"
            if self.kind == "local"
            else self.kind
        )


def head(step: Step) -> str:
    """The value in symbols: `z1 = x @ W1`."""
    sign = "<-" if replaces(step) else "="
    return f"{step.name} {sign} {_formula(step)}"


def pieces(step: Step, digits: int, with_symbols: bool = False) -> list[Piece]:
    """What is said of a step below its head; elements in symbols too where they are wanted."""
    found = []
    if step.rules:
        # from the result back, each once
        texts = list(dict.fromkeys(rule_text(rule) for rule in reversed(step.rules)))
        found.append(Piece("rule" if len(texts) == 1 else "rules", "; ".join(texts)))
    if step.whole is not None:
        found.append(Piece("in full", f"{step.name} = {_show(step.whole, step.seed)}"))
    if step.slope is not None:
        found.append(Piece("local", line_text(step.slope, with_symbols=True)))
    if not with_symbols and not step.is_complete and not _is_number(step):
        found.append(Piece("value", array_in_part(step.value, digits)))
    sign = "<-" if replaces(step) else "="
    numbers = [line_text(line, with_symbols, sign) for line in step.lines]
    found += [Piece("number", text) for text in numbers if text != head(step)]
    if step.note:
        found.append(Piece("note", step.note))
    return found


def line_text(line: Line, with_symbols: bool = False, sign: str = "=") -> str:
    """A number worked out: `z = 0.5 * 2 + 0.3 = 1.3`, and what stands for what behind a #."""
    formula = Formula(line.element.root, line.element.inner)  # type: ignore[arg-type]
    parts = [f"{line.name} {sign}"]
    if with_symbols or line.is_plain:
        symbols = formula.show(lambda variable: str(line.symbol(variable)))
        if line.element.own_leaves() and symbols != str(line.name):
            parts.append(f"{symbols} =")
    if not line.is_plain:
        numbers = formula.show(lambda variable: _closed(line.numbers[variable]))
        parts += [_TWICE_CLOSED.sub(r"(\1)", numbers), "="]
    text = " ".join([*parts, line.result])
    rests = [f"{line.numbers[v]}: {meaning}" for v, meaning in line.rests.items()]
    return f"{text}  # {', '.join(rests)}" if rests and not line.is_plain else text


def rule_text(rule: Rule) -> str:
    """The rule as the table has it: `matmul by y: x.T @ g`."""
    formula = "g" if rule.formula is None else _show(rule.formula, rule.name)
    return f"{rule.title}: {' '.join(filter(None, [formula, rule.spread]))}"


def shape_text(value: np.ndarray[Any, Any]) -> str:
    """The shape of an array, "" of a number."""
    return str(value.shape) if value.ndim else ""


def array_in_part(value: np.ndarray[Any, Any], digits: int) -> str:
    """An array on one line; of long axes the first and last elements."""
    if value.size > 1 and value.dtype.kind == "f" and not value.any():
        return "0 in every element"
    text = np.array2string(
        value,
        threshold=12,
        edgeitems=_EDGE,
        separator=", ",
        max_line_width=10**6,
        formatter={"all": lambda number: show_digits(number, digits)},
    )
    text = " ".join(text.replace("[ ", "[").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(',')[0]}, …"


def _formula(step: Step) -> str:
    if step.formula is None:
        return show_digits(step.value[()], 17) if not step.value.ndim else "where it starts"
    if isinstance(step.formula, Formula):
        return _show(step.formula, step.symbol)
    return str(step.formula)


def _show(formula: Formula, name: Callable[[Variable], Any]) -> str:
    return formula.show(lambda variable: str(name(variable)))


def _closed(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def replaces(step: Step) -> bool:
    """Whether the step gives a value that exists a new one."""
    return (
        step.section == "update"
        and isinstance(step.formula, Formula)
        and any(
            step.symbol(v).base == step.name.base
            for equation in step.formula.inner.values()
            for v in equation.variables
            if v not in step.formula.inner
        )
    )


def _is_number(step: Step) -> bool:
    return step.formula is None and not step.value.ndim
