"""Taking fused primitives apart: from one equation to the ones its NumPy form consists of.

A primitive like the sigmoid is one equation while the graph is simplified and shown. Before it is
printed for NumPy, its form is traced in turn, and its equations become one helper.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace

from chainrule.compiler.graph import Atom, Equation, Graph, Group, Variable
from chainrule.compiler.passes import simplify_algebra
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.borrow import NotEmittableError
from chainrule.primitives.primitive import PRIMITIVES, Primitive

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


def _trace_own(form: Callable[..., object], variables: list[Variable], of: Primitive) -> Graph:
    """The simplified graph of a primitive's form, the fused primitives in it taken apart too."""
    try:
        graph, _ = trace(form, variables)
    except Exception as error:
        if PRIMITIVES.get(of.name) is of:
            raise
        raise NotEmittableError(  # a custom_vjp function may do anything
            f"{of.name}, which has a rule of its own (custom_vjp), cannot be compiled: {error}"
        ) from error
    return simplify_algebra(expand_fused(graph))


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

    inner = _trace_own(form, variables, equation.primitive)
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
    if all(e.out is not result for e in own):  # handed on as it came
        same = Variable(equation.out.shape, equation.out.dtype)
        shape = {"shape": equation.out.shape}
        reshape = PRIMITIVES["reshape"]
        own.append(
            replace(
                equation, out=same, primitive=reshape, args=(result,), params=shape, group=group
            )
        )
        result = same
    last = next(i for i, e in enumerate(own) if e.out is result)
    own[last] = replace(own[last], out=equation.out)
    return inner, [
        replace(e, args=tuple(equation.out if a is result else a for a in e.args)) for e in own
    ]
