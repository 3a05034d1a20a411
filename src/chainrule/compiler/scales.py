"""Simplifying a training step: scales and sums, moved to where arrays are small.

These passes round otherwise than the function as it was written, by a few units of the last place,
and so are for training steps only. Each has its condition: that nothing overflows, underflows or
changes its dtype that would not have done so before. docs/compiler.md has the table.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np

from chainrule.compiler.dead_code import remove_dead_code
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.infer import infer_number
from chainrule.compiler.loops import sum_at_once
from chainrule.compiler.passes import (
    EXACT,
    Pass,
    gives,
    is_literal,
    simplify_algebra,
)
from chainrule.primitives.primitive import PRIMITIVES, Primitive

__all__ = [
    "TRAINING",
    "divisor_of",
    "drop_single_sums",
    "join_slices",
    "merge_scales",
    "merge_sums",
    "move_scales",
]

_LEAST_FACTOR = 1e-3
"""A factor under a sum is taken out of it unless it is smaller: the sum without it comes nearer to
the largest number of its dtype by no more than this."""


def drop_single_sums(graph: Graph) -> Graph:
    """Read a sum whose axes have one element as its argument; only the sign of a -0.0 is lost."""
    reshape = PRIMITIVES["reshape"]
    equations = []
    for equation in graph.equations:
        out, x = equation.out, equation.args[0] if equation.args else 0
        is_sum = equation.name == "sum" and out.shape and _is_alike(x, out)
        if is_sum and isinstance(x, Variable) and x.size == out.size:
            equation = replace(equation, primitive=reshape, params={"shape": out.shape})
        equations.append(equation)
    return graph.replace_equations(equations)


def join_slices(graph: Graph) -> Graph:
    """Write slices that cover an array side by side, instead of adding each to zeros of its size:
    the cotangent of an array that was cut in parts. Only the sign of a -0.0 is lost.
    """
    graph = graph.map_bodies(join_slices)
    makers, counts = graph.makers(), graph.use_counts()
    equations = []
    for equation in graph.equations:
        if equation.name == "add":
            leaves = _added_slices(equation, makers, counts)
            joined = _joined(equation, leaves) if leaves is not None else None
            equation = joined or equation
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


Slice = tuple[int, int, int, Variable]
"""Axis, start and stop, and what stands there."""


def _added_slices(
    equation: Equation, makers: dict[Variable, Equation], counts: Counter[Variable]
) -> list[Slice] | None:
    """The slices of a sum of sums of slices; None where it adds anything else."""
    leaves: list[Slice] = []
    pending = [equation]
    while pending:
        term = pending.pop()
        if term.name == "add":
            for atom in term.args:
                maker = makers.get(atom) if isinstance(atom, Variable) else None
                if maker is None or counts[maker.out] != 1:
                    return None
                pending.append(maker)
            continue
        key, values = term.params.get("key", ()), term.args[0] if term.args else None
        cuts = [i for i, part in enumerate(key) if part != slice(None)]
        if term.name != "scatter_add" or len(term.args) != 1 or len(cuts) != 1:
            return None
        (axis,) = cuts
        cut = key[axis]
        is_slice = isinstance(cut, slice) and cut.step in (None, 1)
        if not is_slice or Ellipsis in key[:axis] or not isinstance(values, Variable):
            return None
        start, stop, _ = cut.indices(term.out.shape[axis])
        leaves.append((axis, start, stop, values))
    return leaves


def _joined(equation: Equation, leaves: list[Slice]) -> Equation | None:
    """The concatenation of slices that follow each other from the first element to the last."""
    (axis, *_), *_ = leaves
    ordered = sorted(leaves, key=lambda leaf: leaf[1])
    edges = [0, *(stop for _, _, stop, _ in ordered)]
    starts = [start for _, start, _, _ in ordered]
    if {leaf[0] for leaf in leaves} != {axis} or starts != edges[:-1]:
        return None
    if edges[-1] != equation.out.shape[axis]:
        return None
    args, params = tuple(leaf[3] for leaf in ordered), {"axis": axis}
    concatenate = PRIMITIVES["concatenate"]
    joined = replace(equation, primitive=concatenate, args=args, params=params, origin=None)
    return joined if gives(joined, args) else None


def merge_scales(graph: Graph) -> Graph:
    """Multiply numbers with each other before they meet an array: a * (b * x) = (a * b) * x."""
    counts = graph.use_counts()
    scaled: dict[Variable, tuple[float, Variable]] = {}
    equations = []
    for equation in graph.equations:
        split = _split_scale(equation)
        if split is not None:
            number, x = split
            if x in scaled and counts[x] == 1 and _holds(equation, number * scaled[x][0]):
                number, x = number * scaled[x][0], scaled[x][1]
                primitive, args = _scaled(number, x)
                if gives(equation, args, primitive):
                    equation = replace(equation, primitive=primitive, args=args, params={})
            scaled[equation.out] = (number, x)
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


def _holds(equation: Equation, number: float) -> bool:
    """Whether the dtype of the equation's result has this number without overflow or underflow."""
    limits = np.finfo(equation.out.dtype)
    return isfinite(number) and float(limits.tiny) <= abs(number) <= float(limits.max)


def divisor_of(number: Any) -> int | None:
    """The n of a number that reads better as 1 / n: 1 / 64, 1 / 96, but 0.5, 0.1 and 0.001."""
    if type(number) is not float or not 1e-7 < number < 0.5:
        return None
    n = round(1 / number)
    digits = repr(number).split("e")[0].replace(".", "").strip("0")
    is_power_of_two = n & (n - 1) == 0
    return n if 1 / n == number and (is_power_of_two or len(digits) > 3) else None


def _scaled(number: Atom, x: Variable) -> tuple[Primitive, tuple[Atom, ...]]:
    """The product of x and a number, or x / n where the number is 1 / n and x is no array."""
    n = divisor_of(number)
    if n is not None and not x.shape:
        return PRIMITIVES["divide"], (x, n)
    return PRIMITIVES["multiply"], (number, x)


def _split_scale(equation: Equation) -> tuple[float, Variable] | None:
    """Number and array, where the equation is a product of the two or a division by the number."""
    name, args = equation.name, equation.args
    if len(args) != 2 or not equation.out.is_array or equation.out.dtype.kind != "f":
        return None
    if name == "multiply":
        for number, x in (args, args[::-1]):
            if isinstance(number, int | float) and _is_alike(x, equation.out):
                return float(number), x  # type: ignore[return-value]
    if name == "divide" and isinstance(args[1], int | float) and _is_alike(args[0], equation.out):
        return (1.0 / args[1], args[0]) if args[1] else None  # type: ignore[return-value]
    return None


def _is_alike(atom: Atom, out: Variable) -> bool:
    """Whether this is an array of the result's dtype."""
    return isinstance(atom, Variable) and atom.is_array and atom.dtype == out.dtype


def merge_sums(graph: Graph) -> Graph:
    """Sum everything at once: sum(c * sum(x, axis)) = c * sum(x), sum(x**2) = vdot(x, x)."""
    counts = graph.use_counts()
    made_by = graph.makers()
    equations: list[Equation] = []
    for equation in graph.equations:
        x = equation.args[0] if equation.args else 0
        is_total = equation.name == "sum" and not equation.out.shape
        if is_total and isinstance(x, Variable) and _is_alike(x, equation.out):
            number, inner = 1.0, made_by.get(x)
            while inner is not None and counts[inner.out] == 1:
                split = _split_scale(inner)
                if split is not None and _LEAST_FACTOR <= abs(number * split[0]) <= 1:
                    number, x = number * split[0], split[1]
                elif inner.name in {"sum", "reshape"} and _is_alike(inner.args[0], equation.out):
                    (x,) = inner.variables
                else:
                    break
                inner = made_by.get(x)
            total = Variable((), equation.out.dtype)
            if inner is not None and inner.name == "square" and counts[inner.out] == 1:
                vdot, squared = PRIMITIVES["vdot"], inner.args[0]
                args: tuple[Atom, ...] = (squared, squared)
                equations.append(
                    replace(equation, outs=(total,), primitive=vdot, args=args, params={})
                )
            elif x is not equation.args[0]:
                params = {"axis": None, "keepdims": False}
                equations.append(replace(equation, outs=(total,), args=(x,), params=params))
            if equations and equations[-1].out is total:
                primitive, args = _scaled(number, total)
                equation = replace(equation, primitive=primitive, args=args, params={})
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


def move_scales(graph: Graph) -> Graph:
    """Move the factor on a large array back along the reverse pass to where arrays are small.

    The reverse pass is linear in the cotangent it starts from, so `rate * gradients` may scale
    that cotangent instead: the update then reads gradients that carry the factor already. Done
    only where every reader of what is scaled on the way is scaled with it.
    """
    for equation in graph.equations:
        if equation.name != "multiply" or equation.section != "update":
            continue
        for factor, x in (equation.args, equation.args[::-1]):
            if _is_number(factor) and isinstance(x, Variable) and x.shape and _is_wide(x):
                starts = _starts_of(graph, x, equation)
                if starts:
                    return _scale_starts(graph, factor, starts, equation, x)
    return graph


def _is_number(atom: Atom) -> bool:
    return not isinstance(atom, Variable) or atom.is_number


def _is_wide(x: Variable) -> bool:
    """Whether small numbers stay numbers in the dtype of x when they are made smaller."""
    return x.dtype.kind == "f" and x.dtype.itemsize >= 4


def _starts_of(graph: Graph, x: Variable, scaling: Equation) -> set[Variable]:
    """Where the reverse pass that ends in `x` starts from a number; empty where `x` is not linear
    in these numbers, or where something else reads a value on the way.
    """
    made_by = graph.makers()
    carrying, all_starts = _cotangents(graph)
    scaled, starts, pending = {x}, set(), [x]
    while pending:
        variable = pending.pop()
        if variable in all_starts:
            starts.add(variable)
            continue
        maker = made_by.get(variable)
        carriers = None if maker is None else _carriers(maker, carrying)
        if carriers is None:
            return set()
        pending += [v for v in carriers if v not in scaled]
        scaled.update(carriers)
    read_elsewhere = any(end in scaled for end in graph.ends if isinstance(end, Variable)) or any(
        e is not scaling and e.out not in scaled and any(v in scaled for v in e.variables)
        for e in graph.equations
    )
    return set() if read_elsewhere else starts


def _cotangents(graph: Graph) -> tuple[set[Variable], set[Variable]]:
    """The values that the cotangent of the loss has flowed into, and those where it starts.

    A rule's cotangent is its argument `g`. Where that was a number, it has been folded into the
    last product of the rule.
    """
    last_of_origin = {e.origin: e for e in graph.equations if e.origin is not None}
    carrying: set[Variable] = set()
    starts: set[Variable] = set()
    for e in graph.equations:
        if e.section == "forward":
            continue
        given = dict(e.origin.arguments) if e.origin is not None else {}
        if e.section == "backward" and e.origin is not None and "g" not in given:
            if e is last_of_origin[e.origin] and _is_scaled_by_number(e):
                carrying.add(e.out)
                starts.add(e.out)
        elif any(v in carrying for v in e.variables):
            carrying.add(e.out)
    return carrying, starts


def _is_scaled_by_number(equation: Equation) -> bool:
    return equation.name == "multiply" and any(isinstance(a, int | float) for a in equation.args)


def _carriers(maker: Equation, carrying: set[Variable]) -> list[Variable] | None:
    """The arguments that carry the cotangent, such that scaling them scales the result.

    None where the result is not linear in them.
    """
    args, linear = maker.args, maker.primitive.linear
    carriers = [v for v in maker.variables if v in carrying]
    if linear == "jointly":
        return carriers if len(carriers) == len(args) else None
    if maker.name == "where":
        return carriers if all(a in carriers or is_literal(a, 0) for a in args[1:]) else None
    is_linear = carriers == [args[0]] if linear == "first" else linear == "each"
    return carriers if is_linear and len(carriers) == 1 else None


def _scale_starts(
    graph: Graph, factor: Atom, starts: set[Variable], scaling: Equation, x: Variable
) -> Graph:
    """The graph with the factor on the numbers the reverse pass starts from, not on `x`.

    Equations of numbers alone, among them those of the factor, come first.
    """
    numbers = [e for e in graph.equations if e.out.is_number]
    equations: list[Equation] = list(numbers)
    scales: dict[Atom, Variable] = {}
    names = dict(graph.names)
    for equation in graph.equations:
        if equation.out.is_number or equation is scaling:
            continue
        if equation.out in starts:
            place = next(i for i, a in enumerate(equation.args) if not isinstance(a, Variable))
            number = equation.args[place]
            if number not in scales:
                primitive, numbers_of = _scaled_number(factor, number)
                scales[number] = scale = Variable.number(infer_number(primitive, numbers_of))
                names[scale] = "scale"
                new = Equation((scale,), primitive, numbers_of, {}, section="backward")
                equations.append(new)
            args = (*equation.args[:place], scales[number], *equation.args[place + 1 :])
            equation = replace(equation, args=args)
        equations.append(equation)
    graph = replace(graph, names=names)
    return remove_dead_code(graph.substitute({scaling.out: x}, equations))


def _scaled_number(factor: Atom, number: Atom) -> tuple[Primitive, tuple[Atom, ...]]:
    """The product of two numbers, the second as a divisor where it is 1 / n."""
    n = divisor_of(number)
    if n is not None:
        return PRIMITIVES["divide"], (factor, n)
    return PRIMITIVES["multiply"], (factor, number)


TRAINING: tuple[Pass, ...] = (
    drop_single_sums,
    *EXACT,
    sum_at_once,
    join_slices,
    merge_sums,
    merge_scales,
    move_scales,
    simplify_algebra,
)
"""The passes of a training step."""
