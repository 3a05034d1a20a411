"""Which equations run together, and in which order.

Those of one vjp rule or one fused primitive become one group, as do those that lead up to one value
with a name, such as a product and the bias added to it. An engine makes a helper of the first kind,
consecutive lines under one formula of the second, or a loop nest of either.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from chainrule.compiler.graph import Equation, Graph, Origin, Variable

__all__ = ["Group", "group_equations"]


@dataclass(frozen=True, slots=True)
class Group:
    """Equations that run one after the other; with an origin, as the application of a rule.

    Those of a `nest` run together for each element in turn: one loop does them all.
    """

    equations: tuple[Equation, ...]
    origin: Origin | None = None
    is_nest: bool = False

    @property
    def out(self) -> Variable:
        return self.equations[-1].out

    @property
    def section(self) -> str:
        return self.equations[-1].section

    @property
    def is_unit(self) -> bool:
        """Whether it runs as one, so that what only it reads needs no memory of its own."""
        return self.is_nest or self.origin is not None

    @property
    def space(self) -> tuple[int, ...]:
        """The shape that the elementwise equations of the group are computed over."""
        return np.broadcast_shapes(
            *(e.out.shape for e in self.equations if e.primitive.elementwise and e.out.is_array)
        )

    @property
    def updates_state(self) -> bool:
        return self.section == "update"


def group_equations(graph: Graph, named: set[Variable]) -> list[Group]:
    """The equations of a graph in an order in which those of each group stand together.

    `named` are the values that get a line of their own. Numbers (which no array is needed for)
    are computed just before they are needed.
    """
    members: dict[Origin, list[Equation]] = defaultdict(list)
    for equation in graph.equations:
        if equation.origin is not None and equation.out.is_array:
            members[equation.origin].append(equation)
    readers: dict[Variable, set[Origin | None]] = defaultdict(set)
    for equation in graph.equations:
        for variable in equation.variables:
            readers[variable].add(equation.origin)
    whole = {
        origin: tuple(own)
        for origin, own in members.items()
        if _stands_alone(origin, own, graph, readers)
    }
    groups: list[Group] = []
    for equation in graph.equations:
        own = whole.get(equation.origin) if equation.origin is not None else None
        if own is None or not equation.out.is_array:
            groups.append(Group((equation,)))
        elif equation is own[-1]:
            groups.append(Group(own, equation.origin))
    return _chains(_late(groups, graph, named), graph, named)


def _chains(groups: list[Group], graph: Graph, named: set[Variable]) -> list[Group]:
    """Join a group to the next one where that alone reads its result, and the result has no name.

    Not too many: the formula of the whole has to be read, that of a number being the easier.
    """
    counts = graph.use_counts()
    joined: list[Group] = []

    def leads_to(previous: Group, group: Group) -> bool:
        return (
            previous.origin is None
            and group.origin is None
            and previous.equations[-1].body is None
            and group.equations[0].body is None
            and previous.out not in named
            and counts[previous.out] == 1
            and any(previous.out in equation.variables for equation in group.equations)
            and previous.equations[0].section == group.equations[0].section
            and len(previous.equations) + len(group.equations) <= (5 if group.out.shape else 12)
        )

    for group in groups:
        while joined and leads_to(joined[-1], group):
            group = Group(joined.pop().equations + group.equations)
        joined.append(group)
    return joined


def _stands_alone(
    origin: Origin,
    own: list[Equation],
    graph: Graph,
    readers: dict[Variable, set[Origin | None]],
) -> bool:
    """Whether the equations of an origin make a good group: two computations or more, one result.

    The update of the parameters may have several, each the new value of a state. `readers` are the
    origins that read a variable.
    """
    if any(e.primitive.is_random for e in own):
        return False  # draws keep their order among all others
    computing = [e for e in own if not e.primitive.is_view and e.out.shape]
    made = {out for e in own for out in e.outs}
    read_outside = {v for v in made if readers[v] - {origin}}
    read_outside |= {end for end in graph.ends if isinstance(end, Variable) and end in made}
    if own[0].section == "update":
        return len(computing) >= 2 and read_outside <= set(graph.updates.values())
    return len(computing) >= 2 and read_outside == {own[-1].out}


def _late(groups: list[Group], graph: Graph, named: set[Variable]) -> list[Group]:
    """The groups with some of them just before the first that reads what they make: numbers, and
    what the reverse pass makes of the state alone, such as the gradient of a penalty.
    """
    standing = {*graph.state, *graph.inputs, *graph.constants}
    waiting: dict[Variable, Group] = {}
    ordered: list[Group] = []

    def can_wait(group: Group) -> bool:
        is_backward = group.equations[0].section == "backward"
        if (is_backward and group.out in named) or any(len(e.outs) > 1 for e in group.equations):
            return False
        if group.out.is_number:
            return True
        made = {e.out for e in group.equations}
        read = {v for e in group.equations for v in e.variables if not v.is_number} - made
        draws = any(e.primitive.is_random for e in group.equations)  # these keep their order
        return is_backward and read <= standing and not draws

    def put(group: Group) -> None:
        """The group, and before it those that it waits for; without recursion: chains are long."""
        pending = [group]
        while pending:
            last = pending[-1]
            makers = [waiting.pop(v) for e in last.equations for v in e.variables if v in waiting]
            if makers:
                pending += reversed(makers)
            else:
                ordered.append(pending.pop())

    for group in groups:
        if all(e.primitive.is_view for e in group.equations):
            standing |= {
                out for e in group.equations if standing.issuperset(e.variables) for out in e.outs
            }
        if can_wait(group):
            waiting[group.out] = group
        else:
            put(group)
    while waiting:
        put(waiting.pop(next(iter(waiting))))
    return ordered
