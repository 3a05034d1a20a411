"""How array-like objects send operators and NumPy functions to primitives.

`AbstractArray` is the one base class of everything that flows through a primitive without being a
NumPy array: the `Tensor` that records, and the traced variable of the compiler. It speaks NumPy's
own protocols, so `np.tanh(t)`, `t @ w` and `t[1:]` all arrive here, are looked up in
`NUMPY_FUNCTIONS`, and leave as calls of primitives.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from chainrule.names import nearest_name

__all__ = ["NUMPY_FUNCTIONS", "AbstractArray", "Array", "implements", "named"]

Array: TypeAlias = Any
"""An `ndarray`, a `Tensor` or a traced variable: what primitives take and rules are written in."""

NUMPY_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""NumPy's function -> ours. A function absent here raises; it is never silently converted."""


def implements(*numpy_functions: Callable[..., Any]) -> Callable[[Any], Any]:
    """Let our function answer for NumPy's when an `AbstractArray` is among the arguments."""

    def register(function: Any) -> Any:
        for numpy_function in numpy_functions:
            NUMPY_FUNCTIONS[numpy_function] = function
        return function

    return register


class AbstractArray(NDArrayOperatorsMixin):
    """An array whose operations go to primitives; `apply` says what becomes of them.

    A subclass has `shape`, `dtype` and `level`, and interprets a primitive in `apply`. Where the
    arguments of a primitive have several levels, the highest one interprets it.
    """

    __slots__ = ()
    level: int
    # Identity, as for every mutable Python object: `==` compares element by element.
    __hash__ = object.__hash__

    def apply(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Interpret one call of `primitive` in which this array has the highest level."""
        raise NotImplementedError

    def note_cotangent_of(self, value: Any) -> None:
        """The reverse pass found this array to be the whole derivative of the loss by `value`."""

    def note_name(self, name: str) -> None:
        """Whoever computed this array calls it so."""

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    # NumPy's protocols

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any
    ) -> Any:
        if method != "__call__":
            raise TypeError(
                f"np.{ufunc.__name__}.{method} is not supported on a {type(self).__name__}: "
                f"use the function that says the same, for example np.sum for np.add.reduce"
            )
        if kwargs:
            raise TypeError(
                f"np.{ufunc.__name__} on a {type(self).__name__} takes no {', '.join(kwargs)}="
            )
        # `t += 1` arrives with out=(t,): it binds t to a new value and leaves the old one alone.
        if out is not None and not (out[0] is inputs[0] and isinstance(out[0], AbstractArray)):
            raise TypeError(
                f"np.{ufunc.__name__} cannot write a {type(self).__name__} into out=: "
                "in-place results would break the recorded computation; use the returned value"
            )
        return _implementation(ufunc)(*inputs)

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        return _implementation(function)(*args, **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            f"a {type(self).__name__} of shape {self.shape} is not converted to an ndarray "
            "silently, the gradient would be lost: use .value for its number, "
            "np.stack to join tensors, or a function chainrule supports"
        )

    # Python's protocols

    def __getitem__(self, key: Any) -> Any:
        return NUMPY_FUNCTIONS[operator.getitem](self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(
            f"a {type(self).__name__} does not change in place: build the new value with "
            "np.where(mask, new, old) or np.concatenate"
        )

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"len() of a 0-d {type(self).__name__}")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    # Methods of ndarray, each NumPy's function of the same name

    @property
    def T(self) -> Any:
        return np.transpose(self)

    @property
    def mT(self) -> Any:
        return np.swapaxes(self, -1, -2)

    def astype(self, dtype: Any) -> Any:
        return np.astype(self, dtype)  # type: ignore[call-overload]

    def reshape(self, *shape: Any) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 else axes
        return np.transpose(self, order or None)

    def clip(self, min: Any = None, max: Any = None) -> Any:
        return np.clip(self, min, max)


def _method(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return numpy_function(self, *args, **kwargs)

    method.__name__ = numpy_function.__name__
    method.__doc__ = f"`np.{numpy_function.__name__}` of this array."
    return method


for _name in (
    "sum mean var std prod max min argmax argmin cumsum cumprod all any ravel squeeze swapaxes "
    "repeat take dot trace diagonal round copy"
).split():
    setattr(AbstractArray, _name, _method(getattr(np, _name)))
AbstractArray.flatten = _method(np.ravel)  # type: ignore[attr-defined]


def _implementation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Our function for NumPy's, or an error that names both it and the nearest supported one."""
    implementation = NUMPY_FUNCTIONS.get(function)
    if implementation is not None:
        return implementation
    name = f"{function.__module__}.{function.__name__}".removeprefix("numpy.")
    supported = sorted({numpy_function.__name__ for numpy_function in NUMPY_FUNCTIONS})
    nearest = nearest_name(function.__name__, supported)
    hint = f"; the nearest supported function is np.{nearest}" if nearest else ""
    raise TypeError(
        f"np.{name} has no derivative rule in chainrule{hint}. "
        "Use .value to compute without a gradient, or cr.custom_vjp to give it a rule"
    )


# What NumPy asks of an array without touching its values


@implements(np.shape)
def _shape(a: AbstractArray) -> tuple[int, ...]:
    return a.shape


@implements(np.ndim)
def _ndim(a: AbstractArray) -> int:
    return a.ndim


@implements(np.size)
def _size(a: AbstractArray, axis: int | None = None) -> int:
    return a.size if axis is None else a.shape[axis]


@implements(np.zeros_like)
def _zeros_like(a: AbstractArray, dtype: Any = None) -> np.ndarray[Any, Any]:
    return np.zeros(a.shape, dtype or a.dtype)


@implements(np.ones_like)
def _ones_like(a: AbstractArray, dtype: Any = None) -> np.ndarray[Any, Any]:
    return np.ones(a.shape, dtype or a.dtype)


@implements(np.full_like)
def _full_like(a: AbstractArray, fill_value: Any, dtype: Any = None) -> np.ndarray[Any, Any]:
    return np.full(a.shape, fill_value, dtype or a.dtype)


@implements(np.iscomplexobj)
def _iscomplexobj(x: AbstractArray) -> bool:
    return x.dtype.kind == "c"


@implements(np.result_type)
def _result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(
        *(a.dtype if isinstance(a, AbstractArray) else a for a in arrays_and_dtypes)
    )


def named(name: str, value: Array) -> Array:
    """The value itself, which goes by this name in the source of a compiled function."""
    if isinstance(value, AbstractArray):
        value.note_name(name)
    return value
