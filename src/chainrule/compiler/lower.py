"""Taking fused primitives apart: from one equation to the ones its NumPy form consists of.

A primitive like the sigmoid is one equation while the graph is simplified and shown. Before it is
printed for NumPy, its form is traced in turn, and its equations become one helper.
"""

from __future__ import annotations

import inspect
from dataclasses import replace

from chainrule.compiler.graph import Atom, Equation, Graph, Group, Variable
from chainrule.compiler.trace import trace

__all__ = ["expand_fused"]


def expand_fused(graph: Graph) -> Graph:
    """Replace every equation of a fused primitive by the equations of its NumPy form."""
    equations: list[Equation] = []
    constants = dict(graph.constants)
    for number, equation in enumerate(graph.equations):
        if not equation.primitive.is_fused:
            equations.append(equation)
            continue
        inner, own = _trace_form(equation, -1 - number)
        equations += own
        constants |= inner.constants
    return replace(graph, equations=tuple(equations), constants=constants)


def _trace_form(equation: Equation, serial: int) -> tuple[Graph, list[Equation]]:
    """The equations of a fused primitive's form, reading and making what the equation does."""
    evaluate, params = equation.primitive.evaluate, equation.params
    stand_ins = [
        Variable(a.shape, a.dtype) if isinstance(a, Variable) else a for a in equation.args
    ]
    variables = [a for a in stand_ins if isinstance(a, Variable)]

    def form(*arrays: object) -> object:
        given = iter(arrays)
        return evaluate(
            *(next(given) if isinstance(a, Variable) else a for a in stand_ins), **params
        )

    inner, _ = trace(form, variables)
    new: dict[Variable, Atom] = {
        stand_in: atom
        for stand_in, atom in zip(stand_ins, equation.args, strict=True)
        if isinstance(stand_in, Variable)
    }
    names = tuple(inspect.signature(evaluate).parameters)
    group = equation.group or Group(
        equation.primitive.name, serial, tuple(zip(names, equation.args, strict=False))
    )
    inner = inner.substitute(new, inner.equations)
    own = [
        replace(e, layer=equation.layer, section=equation.section, group=group)
        for e in inner.equations
    ]
    result = inner.outputs[0]
    last = next(i for i, e in enumerate(own) if e.out is result)
    own[last] = replace(own[last], out=equation.out)
    return inner, [
        replace(e, args=tuple(equation.out if a is result else a for a in e.args)) for e in own
    ]
