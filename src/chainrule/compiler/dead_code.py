"""The pass that every other leaves its rests to."""

from __future__ import annotations

from dataclasses import replace

from chainrule.compiler.graph import Equation, Graph, Variable

__all__ = ["remove_dead_code"]


def remove_dead_code(graph: Graph) -> Graph:
    """Drop equations and constants whose result nothing reads, but not what moves a generator on:
    a draw that nobody reads still changes the next one.
    """
    needed = {atom for atom in graph.ends if isinstance(atom, Variable)}
    kept: list[Equation] = []
    for equation in reversed(graph.equations):
        if equation.primitive.is_random or not needed.isdisjoint(equation.outs):
            needed.update(equation.variables)
            kept.append(equation)
    constants = {v: array for v, array in graph.constants.items() if v in needed}
    return replace(graph, equations=tuple(reversed(kept)), constants=constants)
