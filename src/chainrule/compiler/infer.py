"""Shapes and dtypes of results, found by running primitives: NumPy knows its own rules best."""

from __future__ import annotations

import hashlib
import operator
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from chainrule.compiler.graph import Atom, Graph, Variable
from chainrule.loop import Form
from chainrule.primitives.primitive import PRIMITIVES, Primitive

__all__ = ["PYTHON_OPERATORS", "frozen", "infer", "infer_number", "loop_results"]

Kind = tuple[tuple[int, ...], np.dtype[Any]]

PYTHON_OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "power": operator.pow,
    "negative": operator.neg,
    "positive": operator.pos,
    "absolute": operator.abs,
}
"""What Python computes with numbers alone, by the name of the primitive that does it to arrays."""

_KEPT = 2048
_known: OrderedDict[Hashable, Kind] = OrderedDict()  # the last ones that were asked for


def infer(primitive: Primitive, args: tuple[Atom, ...], params: Mapping[str, Any]) -> Kind:
    """Shape and dtype of the array that a primitive makes of these arguments.

    The primitive is run on zeros: elementwise ones on single elements, others at full size.
    """
    if PRIMITIVES.get(primitive.name) is not primitive:  # a user's own, which may be gone tomorrow
        return _run(primitive, args, params)
    kinds = tuple(
        (arg.shape, arg.dtype, arg.kind) if isinstance(arg, Variable) else (type(arg), arg)
        for arg in args
    )
    key = (primitive.name, kinds, frozen(params))
    known = _known.get(key)
    if known is None:
        known = _known[key] = _run(primitive, args, params)
        if len(_known) > _KEPT:
            _known.popitem(last=False)
    else:
        _known.move_to_end(key)
    return known


def infer_number(primitive: Primitive, args: tuple[Atom, ...]) -> type:
    """The type, int or float, that Python's own operator makes of these numbers."""
    python = PYTHON_OPERATORS[primitive.name]
    return type(python(*(_zeros(arg, True) for arg in args)))


def loop_results(body: Graph, form: Form, n_steps: int) -> tuple[Variable, ...]:
    """Variables for what a loop with this body gives: see `chainrule.loop`."""
    results = []
    for i, atom in enumerate(body.outputs):
        assert isinstance(atom, Variable)
        is_last = i < form.n_carry and not form.keeps[i]
        length = () if is_last else (n_steps + (i < form.n_carry),)
        results.append(Variable((*length, *atom.shape), atom.dtype))
    return tuple(results)


def frozen(value: Any) -> Hashable:
    """A hashable stand-in for a parameter, equal for equal values only: arrays are compared by
    their content, numbers also by type and sign of zero, what has no value by identity.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return _Itself(value)
        digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes()).digest()
        return ("array", value.shape, value.dtype, digest)
    if isinstance(value, Mapping):
        if not value:
            return ()
        return ("mapping", *((key, frozen(value[key])) for key in value))
    if isinstance(value, tuple | list):
        return (type(value), *map(frozen, value))
    if isinstance(value, slice):
        return ("slice", frozen(value.start), frozen(value.stop), frozen(value.step))
    if isinstance(value, float | np.inexact | complex):
        return (type(value), repr(value))
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return (type(value), value)


class _Itself:
    """Equal to a stand-in for the very same object only."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


def _run(primitive: Primitive, args: tuple[Atom, ...], params: Mapping[str, Any]) -> Kind:
    if primitive.is_random:
        return tuple(params["shape"]), np.dtype(params["dtype"])
    evaluate = primitive.evaluate
    elementwise = primitive.elementwise and isinstance(evaluate, np.ufunc)
    with np.errstate(all="ignore"):
        try:
            out = evaluate(*(_zeros(arg, elementwise) for arg in args), **params)
        except np.linalg.LinAlgError:  # a singular matrix: any regular one has the same shape
            out = evaluate(*(_identity(arg) for arg in args), **params)
    if elementwise:
        return np.broadcast_shapes(*(getattr(arg, "shape", ()) for arg in args)), out.dtype
    return np.shape(out), np.asarray(out).dtype


def _zeros(arg: Atom, elementwise: bool) -> Any:
    """Something of the argument's dtype and, unless one element will do, its shape."""
    if not isinstance(arg, Variable):
        return arg
    if arg.is_number:
        return 1 if arg.dtype.kind == "i" else 1.0
    return np.zeros((), arg.dtype) if elementwise else np.zeros(arg.shape, arg.dtype)


def _identity(arg: Atom) -> Any:
    if not isinstance(arg, Variable) or len(arg.shape) < 2:
        return _zeros(arg, False)
    return np.broadcast_to(np.eye(*arg.shape[-2:], dtype=arg.dtype), arg.shape).copy()
