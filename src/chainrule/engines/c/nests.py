"""Which equations one loop nest does together.

A nest runs over a space, the shape of what its elementwise equations make. A value that only the
nest reads is a local variable in its loop; sums over the space are added up on the way. An equation
joins the nest that makes one of its arguments, wherever all the others are known by then.
"""

from __future__ import annotations

from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.groups import Group

__all__ = ["ELEMENTWISE_TOO", "REDUCTIONS", "group_nests", "is_elementwise", "nest_space"]

REDUCTIONS = {"sum", "prod", "max", "min", "all", "any", "vdot"}
"""What is added up while a nest runs over its argument."""

ELEMENTWISE_TOO = {"astype", "to_discrete", "copy", "round", "erf"}
"""Primitives that compute element by element, though they are not applied as ufuncs are."""

_LONGEST = 400  # equations in one nest: a compiler's time grows faster than their number


def is_elementwise(equation: Equation) -> bool:
    """Whether an element of the result depends on that element of the arguments alone."""
    return equation.primitive.elementwise or equation.name in ELEMENTWISE_TOO


def nest_space(equation: Equation) -> tuple[int, ...]:
    """The shape that an elementwise equation or a reduction runs over."""
    if equation.name in REDUCTIONS:
        first = equation.args[0]
        return first.shape if isinstance(first, Variable) else ()
    return equation.out.shape


def group_nests(graph: Graph, titled: set[Variable]) -> list[Group]:
    """The equations of a graph as loop nests, and one by one where they are no part of any."""
    units: list[list[Equation]] = []
    is_nest: list[bool] = []
    made_in: dict[Variable, int] = {}  # by value: the unit that makes it
    inside: dict[Variable, int] = {}  # values that a nest may read as it makes them
    spaces: dict[tuple[object, ...], list[int]] = {}  # the nests over a space, in their order

    def joins(equation: Equation) -> int | None:
        """The nest that the equation may join."""
        ready = max((made_in.get(v, -1) for v in equation.variables), default=-1)
        key = (nest_space(equation), equation.section)
        for unit in spaces.get(key, ()):
            if unit < ready or len(units[unit]) >= _LONGEST:
                continue
            late = [v for v in equation.variables if made_in.get(v, -1) == unit]
            if unit == ready and all(inside.get(v) == unit for v in late):
                return unit
        return None

    for equation in graph.equations:
        is_reduction = equation.name in REDUCTIONS and not _has_two_shapes(equation)
        fits = equation.out.is_array and (
            is_reduction or (is_elementwise(equation) and not equation.primitive.is_view)
        )
        unit = joins(equation) if fits else None
        if unit is None:
            unit = len(units)
            units.append([])
            is_nest.append(fits)
            if fits:
                key = (nest_space(equation), equation.section)
                spaces.setdefault(key, []).append(unit)
        units[unit].append(equation)
        for out in equation.outs:
            made_in[out] = unit
            if fits and not is_reduction:
                inside[out] = unit
    groups = [
        Group(tuple(equations), is_nest=nest)
        for equations, nest in zip(units, is_nest, strict=True)
    ]
    # numbers depend on numbers alone, and are all known before the first array
    numbers = [group for group in groups if group.out.is_number]
    return numbers + _joined([group for group in groups if not group.out.is_number])


def _joined(groups: list[Group]) -> list[Group]:
    """The groups, with a nest put into the last one over the same space that it may run with: one
    that makes nothing of what it reads, or makes it element by element.
    """
    made_in: dict[Variable, int] = {}
    inside: set[Variable] = set()
    joined: list[Group] = []
    for group in groups:
        read = {v for e in group.equations for v in e.variables}
        ready = max((made_in[v] for v in read if v in made_in), default=-1)
        in_step = {v for v in read if made_in.get(v) == ready} <= inside
        number = len(joined)
        if group.is_nest:
            for candidate in range(len(joined) - 1, max(ready, 0) - 1, -1):
                if (candidate > ready or in_step) and _alike(joined[candidate], group):
                    number = candidate
                    break
        if number < len(joined):
            joined[number] = Group(joined[number].equations + group.equations, is_nest=True)
        else:
            joined.append(group)
        for equation in group.equations:
            made_in.update(dict.fromkeys(equation.outs, number))
            if group.is_nest and equation.name not in REDUCTIONS:
                inside.update(equation.outs)
    return joined


def _has_two_shapes(equation: Equation) -> bool:
    """Whether a dot product takes arrays of different shapes, which no one space steps through."""
    shapes = {atom.shape if isinstance(atom, Variable) else () for atom in equation.args}
    return len(shapes) > 1


def _alike(one: Group, other: Group) -> bool:
    """Whether one loop can do both nests: over the same space, in the same section."""
    return (
        one.is_nest
        and one.section == other.section
        and nest_space(one.equations[0]) == nest_space(other.equations[0])
        and len(one.equations) + len(other.equations) <= _LONGEST
    )
