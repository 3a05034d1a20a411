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
    return _chains(_late(steps, graph, named), graph, named)


def _chains(steps: list[Step], graph: Graph, named: set[Variable]) -> list[Step]:
    """Join a step to the next one where that alone reads its result, and the result has no name.

    Not too many: the formula of the whole has to be read, that of a number being the easier.
    """
    counts = graph.use_counts()
    joined: list[Step] = []

    def leads_to(previous: Step, step: Step) -> bool:
        return (
            previous.group is None
            and step.group is None
            and previous.out not in named
            and counts[previous.out] == 1
            and any(previous.out in equation.variables for equation in step.equations)
            and previous.equations[0].section == step.equations[0].section
            and len(previous.equations) + len(step.equations) <= (5 if step.out.shape else 12)
        )

    for step in steps:
        while joined and leads_to(joined[-1], step):
            step = Step(joined.pop().equations + step.equations)
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


def _late(steps: list[Step], graph: Graph, named: set[Variable]) -> list[Step]:
    """The steps with some of them just before the first step that reads what they make: numbers,
    and what the reverse pass makes of the state alone, such as the gradient of a penalty.
    """
    standing = {*graph.state, *graph.inputs, *graph.constants}
    waiting: dict[Variable, Step] = {}
    ordered: list[Step] = []

    def can_wait(step: Step) -> bool:
        is_backward = step.equations[0].section == "backward"
        if is_backward and step.out in named:
            return False
        if step.out.dtype is None:
            return True
        made = {e.out for e in step.equations}
        read = {v for e in step.equations for v in e.variables if v.dtype is not None} - made
        draws = any(e.primitive.is_random for e in step.equations)  # these keep their order
        return is_backward and read <= standing and not draws

    def put(step: Step) -> None:
        for equation in step.equations:
            for variable in equation.variables:
                maker = waiting.pop(variable, None)
                if maker is not None:
                    put(maker)
        ordered.append(step)

    for step in steps:
        if all(e.primitive.name in _RESHAPING for e in step.equations):
            standing |= {e.out for e in step.equations if standing.issuperset(e.variables)}
        if can_wait(step):
            waiting[step.out] = step
        else:
            put(step)
    while waiting:
        put(waiting.pop(next(iter(waiting))))
    return ordered
