"""What the comments and docstrings of the printed file say beyond the formula of one line."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.engines.numpy.expressions import formula, show_value

__all__ = ["meaning_of_derivatives", "update_formulas"]


def meaning_of_derivatives(graph: Graph, names: dict[Variable, str]) -> str:
    """What d_v stands for, with the number that the pass `move_scales` has put into it."""
    text = "d_v is the derivative of the loss by v"
    if not graph.updates:
        return text
    numbers = [v for v in graph.inputs if v.dtype is None]
    read = {
        variable
        for equation in graph.equations
        if equation.section == "backward" and not equation.primitive.is_random
        for variable in equation.variables
    }
    return text + "".join(f", times {names[v]}" for v in numbers if v in read)


def update_formulas(
    equations: Sequence[Equation], updates: dict[Variable, Atom], names: dict[Variable, str]
) -> list[str]:
    """One formula for each state that the equations change, in an order in which they hold one
    after the other; none where there is no such order.

    `names` are those of what the equations read; a new value goes by the name of the old one.
    """
    own = {e.out: e for e in equations}
    old = {new: state for state, new in updates.items() if isinstance(new, Variable) and new in own}
    shown = {new: names.get(state, state.name) for new, state in old.items()} | names
    reads: dict[Variable, set[Variable]] = {}  # by value: the old and new states in its formula
    for equation in equations:
        read = [{v} if v in old or v not in own else reads[v] for v in equation.variables]
        reads[equation.out] = set().union(*read)

    def show(atom: Atom) -> str:
        return shown[atom] if isinstance(atom, Variable) else show_value(atom)

    texts: list[str] = []
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
        texts.append(f"{shown[new]} = {formula(new, inner, show)}")
    return texts
