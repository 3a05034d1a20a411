"""Taking fused primitives apart: from one equation to the ones its NumPy form consists of.

A primitive like the sigmoid is one equation while the graph is simplified and shown. For an engine
that has no kernel of its own for it, its form is traced in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from chainrule.compiler.graph import Atom, Equation, Graph, Origin, Variable
from chainrule.compiler.passes import simplify_algebra
from chainrule.compiler.trace import trace
from chainrule.primitives.primitive import PRIMITIVES, Primitive

__all__ = ["NotEmittableError", "expand_fused"]


class NotEmittableError(TypeError):
    """A primitive that an engine has no way to write down."""


def expand_fused(graph: Graph) -> Graph:
    """Replace every equation of a fused primitive by the equations of its NumPy form."""
    graph = graph.map_bodies(expand_fused)
    if not any(equation.primitive.is_fused for equation in graph.equations):
        return graph
    equations: list[Equation] = []
    constants, names = dict(graph.constants), dict(graph.names)
    for number, equation in enumerate(graph.equations):
        if not equation.primitive.is_fused:
            equations.append(equation)
            continue
        inner, own = _trace_form(equation, -1 - number)
        equations += own
        constants |= inner.constants
        names = {**inner.names, **names}
    return replace(graph, equations=tuple(equations), constants=constants, names=names)


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
        replace(a, name="") if isinstance(a, Variable) else a  # equal, and another variable
        for a in equation.args
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
    code = evaluate.__code__
    names = code.co_varnames[: code.co_argcount]
    origin = equation.origin or Origin(
        equation.primitive.name, serial, tuple(zip(names, equation.args, strict=False))
    )
    inner = inner.substitute(new, inner.equations)
    own = [
        replace(e, layer=equation.layer, section=equation.section, origin=origin)
        for e in inner.equations
    ]
    (result,) = inner.outputs
    if all(e.out is not result for e in own):  # handed on as it came
        same = replace(equation.out, name="")
        shape = {"shape": equation.out.shape}
        handed_on = replace(equation, primitive=PRIMITIVES["reshape"], params=shape)
        own.append(replace(handed_on, outs=(same,), args=(result,), origin=origin))
        result = same
    last = next(i for i, e in enumerate(own) if e.out is result)
    own[last] = replace(own[last], outs=(equation.out,))
    return inner, [
        replace(e, args=tuple(equation.out if a is result else a for a in e.args)) for e in own
    ]
