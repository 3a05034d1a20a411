"""Formulas: what a value is, as mathematics, in terms of values that have names.

A formula is an expression tree: the equation that makes a value, with some of the values it reads
written out in place. It is data, with layer, rule and primitive on each equation of it; text is
made of it by whoever shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.scales import divisor_of
from chainrule.primitives.indexing import Slot

__all__ = [
    "INFIX",
    "Formula",
    "formula_of",
    "infix",
    "meaning_of_derivatives",
    "show_key",
    "show_number",
    "update_formulas",
]

Name = Callable[[Variable], str]

INFIX = {
    "add": ("+", 1),
    "subtract": ("-", 1),
    "multiply": ("*", 2),
    "divide": ("/", 2),
    "floor_divide": ("//", 2),
    "remainder": ("%", 2),
    "matmul": ("@", 2),
    "power": ("**", 4),
    "greater": (">", 0),
    "greater_equal": (">=", 0),
    "less": ("<", 0),
    "less_equal": ("<=", 0),
    "equal": ("==", 0),
    "not_equal": ("!=", 0),
}
"""Sign and binding (5: needs no parentheses) of what is written between two operands."""

_LONG = 10  # characters of a number that a reader does not take in at a glance


@dataclass(frozen=True, slots=True)
class Formula:
    """A value, and the equations of it and of the values that its formula writes out."""

    out: Variable
    inner: Mapping[Variable, Equation]

    def show(self, name: Name) -> str:
        """The text, in which values go by these names."""
        return _show(self.out, self.inner, name)[0]


def formula_of(
    last: Equation,
    makers: Mapping[Variable, Equation],
    is_written_out: Callable[[Variable], bool],
) -> Formula:
    """What an equation makes, with those of the values that lead up to it written out."""
    inner = {last.out: last}
    pending = list(last.variables)
    while pending:
        variable = pending.pop()
        maker = makers.get(variable)
        if maker is not None and variable not in inner and is_written_out(variable):
            inner[variable] = maker
            pending += maker.variables
    return Formula(last.out, inner)


def _show(atom: Atom, inner: Mapping[Variable, Equation], name_of: Name) -> tuple[str, int]:
    """Text of an atom and how tightly it binds."""
    if not isinstance(atom, Variable):
        return show_number(atom)
    equation = inner.get(atom)
    if equation is None:
        return name_of(atom), 5
    name, args = equation.name, equation.args
    if name == "multiply" and (divisor := divisor_of(args[0])) is not None:
        text, binding = _show(args[1], inner, name_of)
        return f"{text if binding >= 2 else f'({text})'} / {divisor}", 2
    if name in INFIX and len(args) == 2:
        left, right = (_show(argument, inner, name_of) for argument in args)
        return infix(name, left, right)
    texts = [_show(argument, inner, name_of) for argument in args]
    first, binding = texts[0] if texts else ("", 5)
    closed = first if binding == 5 else f"({first})"
    if name == "negative":
        return f"-{first}" if binding > 2 else f"-({first})", 3
    if name == "square":
        return f"{closed}**2", 4
    if name in {"broadcast_to", "stop_gradient", "positive"}:
        return texts[0]
    if name == "transpose":
        return f"{closed}.T", 5
    if name == "vdot" and args[0] is args[1]:
        return f"sum({closed}**2)", 5
    if name == "index":
        return f"{closed}[{show_key(equation, [text for text, _ in texts])}]", 5
    if name == "sum":
        return f"sum({first}{_axis_words(equation)})", 5
    if name == "reshape":
        return f"reshape({first}, ({', '.join(map(str, equation.out.shape))}))", 5
    return f"{equation.primitive.name}({', '.join(text for text, _ in texts)})", 5


def infix(
    name: str, left: tuple[str, int], right: tuple[str, int], as_code: bool = False
) -> tuple[str, int]:
    """Two operands with the sign of a primitive between them, in parentheses where they need them.

    What follows -, / or a product is grouped to the left, so equals need parentheses there; in code
    after + too, for a + (b + c) rounds otherwise than a + b + c.
    """
    sign, binding = INFIX[name]
    (left_text, left_binding), (right_text, right_binding) = left, right
    if left_binding < binding or (left_binding == binding and (name == "power" or not binding)):
        left_text = f"({left_text})"
    if right_binding < binding or (right_binding == binding and (as_code or sign != "+")):
        right_text = f"({right_text})"
    return f"{left_text} {sign} {right_text}", binding


def _axis_words(equation: Equation) -> str:
    axis = equation.params.get("axis")
    if axis is None:
        return ""
    axes = np.atleast_1d(axis).tolist()
    return f", axis={axes[0]}" if len(axes) == 1 else f", axis={tuple(axes)}"


def show_number(number: Any) -> tuple[str, int]:
    """A number as a person would write it, and how tightly it binds: 1 / 192 for
    0.005208333333333333, 1 - 0.9 for 0.09999999999999998.
    """
    if (n := divisor_of(number)) is not None:
        return f"1 / {n}", 2
    if type(number) is float and len(repr(number)) >= _LONG and 0 < number < 1:
        rest = round(1 - number, _LONG)
        if 1 - rest == number:
            return f"1 - {rest!r}", 1
    if isinstance(number, float) and not math.isfinite(number):
        text = repr(number).removeprefix("-")
        return (f"-{text}", 3) if math.copysign(1, number) < 0 else (text, 5)
    return repr(number), 3 if repr(number).startswith("-") else 5


def show_key(equation: Equation, args: Sequence[str]) -> str:
    """The key of an indexing, as written between the brackets; `args` are its arguments' texts."""
    return ", ".join(_key_part(part, args) for part in equation.params["key"]) or "()"


def _key_part(part: Any, args: Sequence[str]) -> str:
    if isinstance(part, Slot):
        return args[part.number + 1]
    if part is Ellipsis:
        return "..."
    if not isinstance(part, slice):
        return repr(part)
    words = ["" if bound is None else str(bound) for bound in (part.start, part.stop, part.step)]
    return ":".join(words if words[2] else words[:2])


def meaning_of_derivatives(graph: Graph) -> list[Variable]:
    """The numbers that the pass `move_scales` has put into the derivatives."""
    if not graph.updates:
        return []
    read = {
        variable
        for equation in graph.equations
        if equation.section == "backward"
        for variable in equation.variables
    }
    return [v for v in graph.inputs if v.is_number and v in read]


def update_formulas(
    equations: Sequence[Equation], updates: Mapping[Variable, Atom]
) -> list[tuple[Variable, Formula]]:
    """The new value of each state that the equations change, with the state, in an order in which
    the formulas hold one after the other; none where there is no such order.

    In each, the values that other formulas give are read by name.
    """
    own = {e.out: e for e in equations}
    old = {new: state for state, new in updates.items() if isinstance(new, Variable) and new in own}
    reads: dict[Variable, set[Variable]] = {}  # by value: the old and new states in its formula
    for equation in equations:
        read = [{v} if v in old or v not in own else reads[v] for v in equation.variables]
        reads[equation.out] = set().union(*read)
    formulas: list[tuple[Variable, Formula]] = []
    waiting = list(old)
    while waiting:
        for new in waiting:
            others = [other for other in waiting if other is not new]
            reads_later_value = any(other in reads[new] for other in others)
            spoils_old_value = any(old[new] in reads[other] for other in others)
            if not reads_later_value and not spoils_old_value:
                break
        else:
            return []
        waiting.remove(new)
        inner = {v: e for v, e in own.items() if v not in old or v is new}
        formulas.append((old[new], Formula(new, inner)))
    return formulas
