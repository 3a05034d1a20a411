"""Which equations are printed together.

Those of one vjp rule or one fused primitive become a helper; those that lead up to one value with
a name, such as a product and the bias added to it, become consecutive lines under one formula.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from chainrule.compiler.graph import Equation, Graph, Group, Variable

__all__ = ["Step", "group_equations"]


@dataclass(frozen=True, slots=True)
class Step:
    """Equations that run one after the other; with a group, as one call of a helper."""

    equations: list[Equation]
    group: Group | None = None

    @property
    def out(self) -> Variable:
        return self.equations[-1].out


def group_equations(graph: Graph, named: set[Variable]) -> list[Step]:
    """The equations of a graph in an order in which each helper's stand together.

    `named` are the values that get a line of their own. Numbers (which no array is needed for)
    are computed just before they are needed.
    """
    members: dict[Group, list[Equation]] = defaultdict(list)
    for equation in graph.equations:
        if equation.group is not None and equation.out.dtype is not None:
            members[equation.group].append(equation)
    readers: dict[Variable, set[Group | None]] = defaultdict(set)
    for equation in graph.equations:
        for variable in equation.variables:
            readers[variable].add(equation.group)
    helpers = {group for group, own in members.items() if _is_helper(group, own, graph, readers)}
    steps: list[Step] = []
    for equation in graph.equations:
        group = equation.group
        if group not in helpers or equation.out.dtype is None:
            steps.append(Step([equation]))
        elif equation is members[group][-1]:
            steps.append(Step(members[group], group))
    return _chains(_numbers_late(steps), graph, named)


def _chains(steps: list[Step], graph: Graph, named: set[Variable]) -> list[Step]:
    """Join a step to the next one where that alone reads its result, and the result has no name."""
    counts = graph.use_counts()
    joined: list[Step] = []
    for step in steps:
        previous = joined[-1] if joined else None
        if (
            previous is not None
            and previous.group is None
            and step.group is None
            and previous.out not in named
            and counts[previous.out] == 1
            and previous.out in step.equations[0].variables
            and previous.equations[0].section == step.equations[0].section
        ):
            joined[-1] = Step(previous.equations + step.equations)
        else:
            joined.append(step)
    return joined


def _is_helper(
    group: Group,
    own: list[Equation],
    graph: Graph,
    readers: dict[Variable, set[Group | None]],
) -> bool:
    """Whether a group makes a good helper: two computations or more, and one result.

    The update of the parameters may have several, each the new value of a state. `readers` are the
    groups that read a variable.
    """
    computing = [e for e in own if e.primitive.name not in _RESHAPING and e.out.shape]
    made = {e.out for e in own}
    read_outside = {v for v in made if readers[v] - {group}}
    ends = (*graph.outputs, *graph.updates.values())
    read_outside |= {end for end in ends if isinstance(end, Variable) and end in made}
    if own[0].section == "update":
        return len(computing) >= 2 and read_outside <= set(graph.updates.values())
    return len(computing) >= 2 and read_outside == {own[-1].out}


_RESHAPING = {"broadcast_to", "expand_dims", "index", "reshape", "swapaxes", "transpose"}


def _numbers_late(steps: list[Step]) -> list[Step]:
    """The steps with each number computed just before the first step that reads it."""
    waiting: dict[Variable, Equation] = {}
    ordered: list[Step] = []

    def need(equation: Equation) -> None:
        for variable in equation.variables:
            maker = waiting.pop(variable, None)
            if maker is not None:
                need(maker)
                ordered.append(Step([maker]))

    for step in steps:
        if step.group is None and step.equations[0].out.dtype is None:
            waiting[step.equations[0].out] = step.equations[0]
            continue
        for equation in step.equations:
            need(equation)
        ordered.append(step)
    return [*ordered, *(Step([maker]) for maker in waiting.values())]
