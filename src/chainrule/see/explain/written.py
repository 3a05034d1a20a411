"""Formulas as a textbook writes them, without what only NumPy needs.

A rule adds axes of size 1 so that arrays broadcast, and turns vectors into rows and columns so that
a product of matrices takes them. A reader wants neither.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.compiler.formula import INFIX, Formula
from chainrule.compiler.graph import Equation, Variable
from chainrule.primitives.elementwise import positive
from chainrule.primitives.primitive import Primitive

__all__ = ["OUTER", "as_written", "with_parameters"]

OUTER = Primitive("outer", lambda x, y: np.outer(x, y))
"""The product of a column and a row, in formulas only."""

_MIX = {"matmul", "einsum", "vdot", "convolve"}  # what an axis more means something to


def as_written(formula: Formula) -> Formula:
    """The formula without axes of size 1 that are added or taken away, nor changes of dtype."""
    inner = dict(formula.inner)
    readers = {v: e for e in inner.values() for v in e.variables}
    for out, equation in formula.inner.items():
        if equation.name == "matmul":
            _write_product(equation, inner, readers)
        elif _only_reshapes(equation) and not _is_mixed(out, inner, readers):
            inner[out] = _same(equation)
        elif not equation.name or equation.name not in INFIX:
            inner[out] = with_parameters(equation)
        if equation.name == "transpose" and len(out.shape) > 2 and equation.params["axes"]:
            inner[out] = replace(equation, primitive=_turned(equation.params["axes"]))
    return Formula(formula.out, inner)


def _write_product(
    product: Equation, inner: dict[Variable, Equation], readers: dict[Variable, Equation]
) -> None:
    """A column times a row as outer product, a matrix times a column as that with a vector."""
    left, right = (inner.get(a) if isinstance(a, Variable) else None for a in product.args)
    if left and right and _key(left) == (Ellipsis, None) and _key(right) == (None, slice(None)):
        if len(left.out.shape) == 2:
            vectors = (left.args[0], right.args[0])
            inner[product.out] = replace(product, primitive=OUTER, args=vectors)
    elif right and _key(right) == (Ellipsis, None):
        reader = readers.get(product.out)
        if reader is not None and _key(reader) == (Ellipsis, 0):
            inner[product.out] = replace(product, args=(product.args[0], right.args[0]))
            inner[reader.out] = _same(reader)


def with_parameters(equation: Equation) -> Equation:
    """The equation with its static parameters as arguments: `clip(x, 0, 1)`, `round(x, 2)`.

    Of those that are as if not given, and of primitives with a way of their own to be written,
    nothing is shown.
    """
    primitive, params = equation.primitive, equation.params
    names = [name for name in primitive.param_names if name in params]
    is_plain = all(params[n] is None or isinstance(params[n], bool | int | float) for n in names)
    can_be = primitive.elementwise or primitive.is_fused or equation.name in {"round", "erf"}
    if not is_plain or not can_be:
        return equation
    while names and params[names[-1]] == primitive.defaults.get(names[-1], _NOT_GIVEN):
        names.pop()
    if not names:
        return equation
    values = tuple(params[name] for name in names)
    n_arrays = len(equation.args)

    def evaluate(*args: Any) -> Any:
        return primitive.evaluate(*args[:n_arrays], **params)

    shown = Primitive(primitive.name, evaluate, elementwise=primitive.elementwise)
    return replace(equation, primitive=shown, args=(*equation.args, *values), params={})


_NOT_GIVEN = object()


def _turned(axes: tuple[int, ...]) -> Primitive:
    """A change of axes under a name that says which: .T would be all of them reversed."""
    *before, first, second = range(len(axes))
    is_last_two = axes == (*before, second, first)
    return Primitive("matrix_transpose" if is_last_two else "transpose", lambda x: x)


def _key(equation: Equation | None) -> object:
    if equation is None or equation.name != "index" or len(equation.args) != 1:
        return None
    return equation.params["key"]


def _only_reshapes(equation: Equation) -> bool:
    if equation.name in {"astype", "copy"}:
        return True
    if equation.name not in {"reshape", "index"} or len(equation.args) != 1:
        return False
    argument = equation.args[0]
    if not isinstance(argument, Variable) or _key(equation) == (Ellipsis, 0):
        return False
    before, after = ([n for n in shape if n != 1] for shape in (argument.shape, equation.out.shape))
    picks = any(isinstance(part, int) for part in equation.params.get("key", ()))
    return before == after and not picks


def _is_mixed(
    out: Variable, inner: dict[Variable, Equation], readers: dict[Variable, Equation]
) -> bool:
    """Whether a product of matrices reads it, where rows and columns count."""
    reader = readers.get(out)
    return reader is not None and reader.name in _MIX


def _same(equation: Equation) -> Equation:
    return replace(equation, primitive=positive, args=equation.args[:1], params={})
