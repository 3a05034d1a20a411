"""How many digits a number is printed with, so that every printed line can be computed again.

A result is printed with the digits asked for. What it is computed from gets as many as it takes for
the printed numbers to give the printed result, to half a unit of its last digit. Where the type the
computation ran in has rounded more than that away, the difference stands in the line as a number
of its own, and says that it is rounding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from chainrule.compiler.graph import Variable
from chainrule.see.explain.elements import Element, Elements
from chainrule.see.explain.names import Name, Slope

__all__ = ["Line", "most_digits", "show_digits", "worked_line"]


_ORDER = 1e-15  # what the order of a sum changes, of its largest number


@final
@dataclass(frozen=True)
class Line:
    """One number worked out: name = formula in numbers = result.

    `numbers` are the leaves of the element as they are printed, `rests` those of them that stand
    for other terms or for rounding, with what they stand for. A line that `is_plain` has a number
    alone and no formula.
    """

    name: Name | Slope
    element: Element
    numbers: Mapping[Variable, str]
    result: str
    rests: Mapping[Variable, str]
    is_plain: bool

    def symbol(self, variable: Variable) -> Name | str:
        """What a leaf is called in the formula in symbols."""
        name = self.element.leaves[variable].name
        return "…" if name is None else name


def show_digits(value: Any, digits: int) -> str:
    """A number with so many significant digits, or all it has where those are fewer.

    >>> show_digits(0.49996, 4), show_digits(0.5, 4), show_digits(np.float32(0.1), 9)
    ('0.5000', '0.5', '0.1')
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | np.integer):
        return str(int(value))
    if not np.isfinite(value):
        return "nan" if np.isnan(value) else ("inf" if value > 0 else "-inf")
    if value == 0:
        return "0"
    own = np.asarray(value).dtype.type if np.asarray(value).dtype.kind == "f" else np.float64
    shortest = str(own(value)).removesuffix(".0")
    if _count_digits(shortest) <= digits:
        return shortest
    text = f"{float(value):#.{digits}g}"
    return text.removesuffix(".") if "e" not in text else text.replace(".e", "e")


def most_digits(dtype: np.dtype[Any]) -> int:
    """How many digits a number of this type holds for certain: 15, 6 or 3."""
    return int(np.finfo(dtype).precision) if dtype.kind == "f" else 15


def worked_line(
    name: Name | Slope, element: Element, value: Any, digits: int, elements: Elements
) -> Line:
    """The element with numbers, so that what is printed gives the printed result.

    `value` is what was computed. Where the element's formula does not give it, which only a
    function of the user's own can cause, the line has no formula.
    """
    kind = np.asarray(value).dtype
    digits = min(digits, most_digits(kind))
    leaves = element.own_leaves()
    is_plain = not isinstance(element.root, Variable) or element.root in leaves
    number = float(value)
    if is_plain or not math.isfinite(number) or not _is_right(element, number, kind):
        result = show_digits(value, digits)
        return _line(name, element, result, 17, is_plain or math.isfinite(number))
    while True:
        result = show_digits(value, digits)
        for own in range(digits, 18):
            line = _line(name, element, result, own)
            if _holds(line, digits):
                return line
        corrected = elements.constant(element, number - _recomputed(line))
        line = _line(name, corrected, result, 17)
        if digits == 1 or _holds(line, digits):
            return line
        digits -= 1  # no sum in double precision gives so many


def _is_right(element: Element, number: float, kind: np.dtype[Any]) -> bool:
    """Whether the formula gives the number, but for what the type rounds."""
    leaves = element.own_leaves()
    exact, largest = element.evaluate({v: leaf.value for v, leaf in leaves.items()})
    eps = float(np.finfo(kind).eps) if kind.kind == "f" else 0.0
    return abs(exact - number) <= 1e5 * eps * max(largest, abs(number))


def _line(
    name: Name | Slope, element: Element, result: str, digits: int, is_plain: bool = False
) -> Line:
    """The line with so many digits in the formula."""
    leaves = element.own_leaves()
    numbers = {v: show_digits(leaf.value, digits) for v, leaf in leaves.items()}
    rests = {}
    for variable, leaf in leaves.items():
        if leaf.name is None and leaf.n_terms:
            rests[variable] = f"{leaf.n_terms} other term{'s' * (leaf.n_terms > 1)}"
        elif leaf.name is None:
            numbers[variable] = show_digits(leaf.value, 3)
            rests[variable] = "rounding"
    return Line(name, element, numbers, result, rests, is_plain)


def _recomputed(line: Line) -> float:
    """The result by the numbers that are printed."""
    return _evaluate(line)[0]


def _evaluate(line: Line) -> tuple[float, float]:
    """The result by the printed numbers, and the largest number on the way."""
    leaves = line.element.leaves
    numbers = {v: _read(text, leaves[v].value) for v, text in line.numbers.items()}
    return line.element.evaluate(numbers)


def _holds(line: Line, digits: int) -> bool:
    """Whether the printed numbers give the printed result, to half a unit of its last digit."""
    printed = float(_read(line.result, 0.0))
    again, largest = _evaluate(line)
    if printed == 0 or line.result in {"True", "False"}:
        return again == printed
    wanted = 10.0 ** (math.floor(math.log10(abs(printed))) - digits + 1)
    unit = min(wanted, _unit(line.result))
    # whoever adds in another order rounds otherwise
    return abs(again - printed) <= (0.5 - 1e-6) * unit - _ORDER * largest


def _unit(text: str) -> float:
    """One unit of the last digit of a number that is printed."""
    mantissa, _, exponent = text.partition("e")
    return float(10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2])))


def _read(text: str, value: Any) -> Any:
    """The printed number, in the kind of the one it stands for."""
    if text in {"True", "False"}:
        return text == "True"
    return int(text) if isinstance(value, int | np.integer) else float(text)


def _count_digits(text: str) -> int:
    mantissa = text.lower().split("e")[0].lstrip("-").replace(".", "")
    return len(mantissa.lstrip("0")) if "." in text or "e" in text else len(mantissa.strip("0"))
