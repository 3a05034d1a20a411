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
    """The equations of a graph as loop nests, and one by one where they are no part of any.

    First each equation joins the nest that makes the latest of what it reads. What belongs together
    then is put, as a whole, into the last nest that it may run with: so what is wanted late is not
    computed early, and kept, only because a loop over its space passes by.
    """
    groups = [Group((e,), is_nest=_fits_a_nest(e)) for e in graph.equations]
    # numbers depend on numbers alone, and are all known before the first array
    numbers = [group for group in groups if group.out.is_number]
    arrays = [group for group in groups if not group.out.is_number]
    return numbers + _merged(_merged(arrays, with_later=False), with_later=True)


def _merged(groups: list[Group], with_later: bool) -> list[Group]:
    """The groups, with a nest put into the one that makes the latest of what it reads, where that
    makes it element by element; or rather `with_later` ones, the last of them.
    """
    merged: list[Group] = []
    made_in: dict[Variable, int] = {}  # by value: the number of the group that makes it
    in_step: set[Variable] = set()  # what a nest makes element by element
    for group in groups:
        read = {v for e in group.equations for v in e.variables}
        ready = max((made_in[v] for v in read if v in made_in), default=-1)
        candidates = list(range(len(merged) - 1, ready, -1)) if with_later else []
        if ready >= 0 and {v for v in read if made_in.get(v) == ready} <= in_step:
            candidates.append(ready)
        number = next((n for n in candidates if _alike(merged[n], group)), len(merged))
        if number < len(merged):
            merged[number] = Group(merged[number].equations + group.equations, is_nest=True)
        else:
            merged.append(group)
        for equation in group.equations:
            made_in.update(dict.fromkeys(equation.outs, number))
            if group.is_nest and equation.name not in REDUCTIONS:
                in_step.update(equation.outs)
    return merged


def _fits_a_nest(equation: Equation) -> bool:
    """Whether it makes an array that a nest can compute."""
    if not equation.out.is_array:
        return False
    if equation.name in REDUCTIONS and not _has_two_shapes(equation):
        return True
    return is_elementwise(equation) and not equation.primitive.is_view


def _has_two_shapes(equation: Equation) -> bool:
    """Whether a dot product takes arrays of different shapes, which no one space steps through."""
    shapes = {atom.shape if isinstance(atom, Variable) else () for atom in equation.args}
    return len(shapes) > 1


def _alike(one: Group, other: Group) -> bool:
    """Whether one loop can do both nests: over the same space, in the same section."""
    return (
        one.is_nest
        and other.is_nest
        and one.section == other.section
        and nest_space(one.equations[0]) == nest_space(other.equations[0])
        and len(one.equations) + len(other.equations) <= _LONGEST
    )
