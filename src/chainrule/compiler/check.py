"""Holding the passes to the rules: what every graph must be."""

from __future__ import annotations

import numpy as np

from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.infer import infer, infer_number, loop_results

__all__ = ["GraphError", "check_graph"]


class GraphError(Exception):
    """A pass made an ill-formed graph: a fault of the compiler, not of the user."""


def check_graph(graph: Graph, before: Graph | None = None) -> Graph:
    """Return the graph if it is well formed: every variable defined once, before it is read,
    every equation's result of the shape and dtype its primitive gives, every update of its state's.

    Equations of a graph `before`, which has been checked, are not run again.
    """
    defined: set[Variable] = set()
    checked = {id(equation) for equation in before.equations} if before is not None else set()
    for variable in (*graph.state, *graph.inputs, *graph.constants):
        _define(variable, defined)
    for equation in graph.equations:
        for variable in equation.variables:
            if variable not in defined:
                raise GraphError(f"{equation.name} reads a variable not yet defined")
        if id(equation) not in checked:
            _check_result(equation)
        for out in equation.outs:
            _define(out, defined)
    for atom in graph.ends:
        if isinstance(atom, Variable) and atom not in defined:
            raise GraphError("an output or an update is never defined")
    for variable, atom in graph.updates.items():
        if not isinstance(atom, Variable) or atom.shape != variable.shape:
            raise GraphError(f"the update of {variable.name} does not have its shape")
        if (atom.dtype, atom.kind) != (variable.dtype, variable.kind):
            raise GraphError(f"the update of {variable.name} has {atom.dtype}, not its dtype")
    return graph


def _check_result(equation: Equation) -> None:
    """Raise unless the results are what the primitive gives."""
    primitive, out = equation.primitive, equation.out
    if (body := equation.body) is not None:
        check_graph(body)
        _check_loop(equation, body)
        return
    if out.is_number:
        made: tuple[object, ...] = ((), np.dtype(infer_number(primitive, equation.args)))
    else:
        made = infer(primitive, equation.args, equation.params)
    if made != (out.shape, out.dtype):
        raise GraphError(f"{primitive.name} gives {made[1]}{made[0]}, its equation says {out}")


def _check_loop(equation: Equation, body: Graph) -> None:
    """Raise unless the body takes what the loop hands to it, and gives what the loop gives."""
    form = equation.params["form"]
    carry, xs, constants = form.split([(v.shape, v.dtype) for v in equation.variables])
    handed = [*carry, *((shape[1:], dtype) for shape, dtype in xs), *constants]
    if handed != [(v.shape, v.dtype) for v in body.inputs]:
        raise GraphError(f"the body of a loop takes other arrays than it is handed: {handed}")
    n_steps = xs[0][0][0]
    wanted = [(v.shape, v.dtype) for v in loop_results(body, form, n_steps)]
    if wanted != [(v.shape, v.dtype) for v in equation.outs]:
        raise GraphError(f"a loop gives {wanted}, its equation says {equation.outs}")


def _define(variable: Variable, defined: set[Variable]) -> None:
    if variable in defined:
        raise GraphError(f"variable {variable.name!r} is defined twice")
    defined.add(variable)
