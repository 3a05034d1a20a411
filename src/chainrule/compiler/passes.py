"""Simplifying without a trace: functions from graph to graph that leave every bit of the result.

Each pass does one thing and can be left out. None of them knows an engine. Those that round
otherwise, for training steps only, are in `scales`. docs/compiler.md has the table of all rewrites.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.compiler.check import check_graph
from chainrule.compiler.dead_code import remove_dead_code
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.infer import frozen, infer
from chainrule.compiler.loops import drop_unused_parts, keep_intermediates
from chainrule.primitives.primitive import PRIMITIVES, Primitive

__all__ = [
    "EXACT",
    "Pass",
    "drop_broadcasts",
    "fold_constants",
    "gives",
    "is_literal",
    "merge_common_subexpressions",
    "plain_number",
    "run_passes",
    "simplify_algebra",
    "uniform",
]

Pass = Callable[[Graph], Graph]


def run_passes(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """The graph after these passes in turn, checked after each."""
    check_graph(graph)
    graph = graph.map_bodies(lambda body: run_passes(body, passes))
    for one_pass in passes:
        graph = check_graph(one_pass(graph), graph)
    return graph


def merge_common_subexpressions(graph: Graph) -> Graph:
    """Compute the same thing once: equations of equal primitive, arguments and parameters."""
    seen: dict[Any, tuple[Variable, ...]] = {}
    new: dict[Variable, Atom] = {}
    kept: list[Equation] = []
    for equation in graph.equations:
        args = tuple(new.get(a, a) if isinstance(a, Variable) else a for a in equation.args)
        kinds = tuple(out.kind for out in equation.outs)
        values = tuple(a if isinstance(a, Variable) else frozen(a) for a in args)
        key = (equation.primitive, values, frozen(equation.params), kinds)
        if key in seen and not equation.primitive.is_random:
            new.update(zip(equation.outs, seen[key], strict=True))
        else:
            seen[key] = equation.outs
            kept.append(equation)
    return graph.substitute(new, kept)


def fold_constants(graph: Graph) -> Graph:
    """Write constant arrays of one repeated value as numbers, where that makes no difference."""
    numbers = {v: number for v, array in graph.constants.items() if (number := uniform(array))}
    if not numbers:
        return graph
    equations = []
    for equation in graph.equations:
        if equation.primitive.elementwise:
            for position, atom in enumerate(equation.args):
                if isinstance(atom, Variable) and atom in numbers:
                    equation = _with_number(equation, position, atom, numbers[atom][0])
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


def _with_number(equation: Equation, position: int, constant: Variable, value: Any) -> Equation:
    """The equation with a constant written as a number, if it computes the same in that form.

    A number has no dtype of its own, so the others must have the one that the equation computes in.
    """
    before, after = equation.args[:position], equation.args[position + 1 :]
    others = [v.dtype for v in (*before, *after) if isinstance(v, Variable) and v.is_array]
    if equation.name == "where":
        others = others[1:]  # the condition's is no part of it
    if not others or np.result_type(*others) != np.result_type(*others, constant.dtype):
        return equation
    is_alike = all(dtype == constant.dtype for dtype in others)
    args = (*before, plain_number(value) if is_alike else value.item(), *after)
    return replace(equation, args=args) if gives(equation, args) else equation


def uniform(array: np.ndarray[Any, Any]) -> tuple[Any] | None:
    """The one value of a constant array, in a tuple; None where there are several, or NaN.

    0.0 and -0.0 are two values.
    """
    if array.size and array.dtype.kind in "fiub" and (array == array.flat[0]).all():
        signs = np.signbit(array) if array.dtype.kind == "f" else np.zeros(1)
        return (array.flat[0],) if (signs == signs.flat[0]).all() else None
    return None


def plain_number(value: Any) -> Atom:
    """The number that was rounded to this value: 0.001, where float32 has 0.0010000000474974513.

    Wherever it meets an array of that dtype it is rounded to the same. Tried are four digits, then
    1 / n, then all digits.
    """
    if value.dtype.kind != "f" or value.dtype.itemsize >= 8 or not np.isfinite(value):
        as_it_is: Atom = value.item()
        return as_it_is
    exact: float = value.item()
    shares = [1 / round(1 / exact)] if 1e-6 < exact < 0.5 else []
    decimals = [float(f"{exact:.{digits}g}") for digits in range(1, 10)]
    with np.errstate(over="ignore"):
        candidates = (*decimals[:4], *shares, *decimals[4:])
        return next(number for number in candidates if value.dtype.type(number) == value)


def gives(equation: Equation, args: tuple[Atom, ...], primitive: Primitive | None = None) -> bool:
    """Whether the equation with other arguments has the result it had, in shape and dtype."""
    out = equation.out
    try:
        made = infer(primitive or equation.primitive, args, equation.params)
    except (TypeError, OverflowError):  # a number that does not fit the dtype of the others
        return False
    return out.is_array and made == (out.shape, out.dtype)


def drop_broadcasts(graph: Graph) -> Graph:
    """Let elementwise equations broadcast by themselves what was broadcast for them."""
    sources = {e.out: e.args[0] for e in graph.equations if e.name == "broadcast_to"}
    equations = []
    for equation in graph.equations:
        if equation.primitive.elementwise:
            for position, atom in enumerate(equation.args):
                if isinstance(atom, Variable) and isinstance(sources.get(atom), Variable):
                    before, after = equation.args[:position], equation.args[position + 1 :]
                    args = (*before, sources[atom], *after)
                    if gives(equation, args):
                        equation = replace(equation, args=args)
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


def simplify_algebra(graph: Graph) -> Graph:
    """Rewrite equations by identities that hold bit for bit, as x * 1 = x and x + (-y) = x - y.

    Never 0 * x = 0, which loses NaN and infinity.
    """
    made_by: dict[Variable, Equation] = {}
    new: dict[Variable, Atom] = {}
    kept: list[Equation] = []
    returned = _returned_memory(graph)
    for equation in graph.equations:
        args = tuple(new.get(a, a) if isinstance(a, Variable) else a for a in equation.args)
        if args != equation.args:
            equation = replace(equation, args=args)
        equation = _rewrite(equation, made_by)
        same = _identity(equation)
        is_copy = (
            same is not None
            and not equation.primitive.is_view
            and equation.out in returned
            and (same in returned or _memory_of(same, made_by) not in made_by)
        )
        if same is not None and not is_copy:
            new[equation.out] = same
        else:
            made_by[equation.out] = equation
            kept.append(equation)
    return remove_dead_code(graph.substitute(new, kept))


def _returned_memory(graph: Graph) -> set[Variable]:
    """The values whose memory a caller may get: x * 1 is equal to x, but another array."""
    returned = {atom for atom in graph.ends if isinstance(atom, Variable)}
    for equation in reversed(graph.equations):
        if equation.primitive.is_view and not returned.isdisjoint(equation.outs):
            returned.update(equation.variables)
    return returned


def _memory_of(variable: Variable, made_by: dict[Variable, Equation]) -> Variable:
    """The value whose memory this one may be a view of."""
    while variable in made_by and made_by[variable].primitive.is_view:
        variable = next(made_by[variable].variables)
    return variable


_NEUTRAL = {"multiply": 1, "divide": 1, "power": 1, "subtract": 0}  # not add: -0.0 + 0 is 0.0
_KEEPS_VALUES = {"astype", "broadcast_to", "positive", "reshape", "stop_gradient"}


def _identity(equation: Equation) -> Variable | None:
    """The argument that the equation's result is equal to, if there is one."""
    name, args, out = equation.name, equation.args, equation.out
    if len(equation.outs) > 1 or not args:
        return None
    candidate: Atom
    last = args[-1]
    is_neutral = len(args) == 2 and name in _NEUTRAL and is_literal(last, _NEUTRAL[name])
    if name in _KEEPS_VALUES or is_neutral:
        candidate = args[0]
    elif name == "multiply" and is_literal(args[0], 1):
        candidate = args[1]
    else:
        return None
    if not isinstance(candidate, Variable) or candidate.kind != out.kind:
        return None
    is_alike = (candidate.shape, candidate.dtype) == (out.shape, out.dtype)
    return candidate if is_alike else None


def is_literal(atom: Atom, value: float) -> bool:
    """Whether this is a number that is written into the equation, and that one: not -0.0 for 0."""
    return not isinstance(atom, Variable) and atom == value and np.signbit(atom) == (value < 0)


def _rewrite(equation: Equation, made_by: dict[Variable, Equation]) -> Equation:
    """The equation itself, or one of equal result that is cheaper."""

    def source(position: int, name: str) -> Atom | None:
        """What the primitive of that name made the argument of, in the dtype of the result."""
        atom = equation.args[position]
        maker = made_by.get(atom) if isinstance(atom, Variable) else None
        if maker is None or maker.name != name or not maker.out.is_array:
            return None
        return maker.args[0] if maker.out.dtype == equation.out.dtype else None

    def become(name: str, *args: Atom, **params: Any) -> Equation:
        new = replace(equation, primitive=PRIMITIVES[name], args=args, params=params)
        return new if gives(new, args) else equation

    name, args = equation.name, equation.args
    if name == "reshape" and (inner := source(0, "reshape")) is not None:
        return become("reshape", inner, **equation.params)
    if name == "add" and (negated := source(1, "negative")) is not None:
        return become("subtract", args[0], negated)
    if name == "subtract" and (negated := source(1, "negative")) is not None:
        return become("add", args[0], negated)
    if name == "add" and args[0] is args[1]:
        return become("multiply", 2.0, args[0])
    if name == "multiply" and args[0] is args[1]:
        return become("square", args[0])
    if name == "power" and is_literal(args[1], 2):
        return become("square", args[0])
    return equation


EXACT: tuple[Pass, ...] = (
    remove_dead_code,
    drop_broadcasts,
    fold_constants,
    simplify_algebra,
    merge_common_subexpressions,
    keep_intermediates,
    drop_unused_parts,
    remove_dead_code,
)
"""The passes of every program."""
