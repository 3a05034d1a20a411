"""How array-like objects send operators and NumPy functions to primitives.

`AbstractArray` is the one base class of everything that flows through a primitive without being a
NumPy array: the `Tensor` that records, and the traced variable of the compiler. It speaks NumPy's
own protocols, so `np.tanh(t)`, `t @ w` and `t[1:]` all arrive here, are looked up in
`NUMPY_FUNCTIONS`, and leave as calls of primitives.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from chainrule.primitives.keywords import call_as_numpy
from chainrule.primitives.operands import has_own_ufuncs

__all__ = [
    "NUMPY_FUNCTIONS",
    "SPECIAL_FUNCTIONS",
    "AbstractArray",
    "Array",
    "implements",
    "implements_special",
    "named",
]

Array: TypeAlias = Any
"""An `ndarray`, a `Tensor` or a traced variable: what primitives take and rules are written in."""

_F = TypeVar("_F", bound=Callable[..., Any])

NUMPY_FUNCTIONS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""NumPy's function -> ours. A function absent here raises; it is never silently converted."""

SPECIAL_FUNCTIONS: dict[str, Callable[..., Any]] = {}
"""The name of a function of `scipy.special` -> ours. By name, so that SciPy need not be there."""


def implements(*numpy_functions: Callable[..., Any]) -> Callable[[_F], _F]:
    """Let our function answer for NumPy's when an `AbstractArray` is among the arguments."""

    def register(function: _F) -> _F:
        for numpy_function in numpy_functions:
            NUMPY_FUNCTIONS[numpy_function] = function
        return function

    return register


def implements_special(*names: str) -> Callable[[_F], _F]:
    """Let our function answer for those of `scipy.special` that have these names."""

    def register(function: _F) -> _F:
        SPECIAL_FUNCTIONS.update(dict.fromkeys(names, function))
        return function

    return register


class AbstractArray(NDArrayOperatorsMixin):
    """An array whose operations go to primitives; `apply` says what becomes of them.

    A subclass has `shape`, `dtype` and `level`, and interprets a primitive in `apply`. Where the
    arguments of a primitive have several levels, the highest one interprets it.
    """

    __slots__ = ()
    level: int
    __pandas_priority__ = 10_000  # `series * tensor` is ours to compute
    # Identity, as for every mutable Python object: `==` compares element by element.
    __hash__ = object.__hash__

    def apply(self, primitive: Any, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Interpret one call of `primitive` in which this array has the highest level."""
        raise NotImplementedError

    def detach(self) -> Any:
        """The value as an ndarray that no gradient flows through."""
        raise NotImplementedError

    def note_cotangent_of(self, value: Any) -> None:
        """The reverse pass found this array to be the whole derivative of the loss by `value`."""

    def as_float(self) -> Any:
        """Itself, or what NumPy would make an array of floating-point numbers of it."""
        return self

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
                f"{_full_name(ufunc)}.{method} is not supported on a {type(self).__name__}: "
                f"use the function that says the same, for example np.sum for np.add.reduce"
            )
        if kwargs and (said := [name for name in kwargs if not _is_default(name, kwargs[name])]):
            raise TypeError(
                f"{_full_name(ufunc)} on a {type(self).__name__} takes no "
                f"{', '.join(f'{name}=' for name in said)}: use .astype(dtype) for dtype=, and "
                "np.where(mask, x, y) for where="
            )
        for x in inputs:
            if type(x) not in _PLAIN and not isinstance(x, AbstractArray) and has_own_ufuncs(x):
                return NotImplemented
        # `t += 1` arrives with out=(t,): it binds t to a new value and leaves the old one alone.
        if out is not None and not (out[0] is inputs[0] and isinstance(out[0], AbstractArray)):
            raise TypeError(
                f"{_full_name(ufunc)} cannot write a {type(self).__name__} into out=: "
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
        if not all(issubclass(kind, _ANSWERED) for kind in types):
            return NotImplemented
        if function in _OF_VALUES:
            kwargs = {name: _detached(value) for name, value in kwargs.items()}
            return function(*map(_detached, args), **kwargs)
        return call_as_numpy(function, _implementation(function), args, kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError(
            f"a {type(self).__name__} of shape {self.shape} is not converted to an ndarray "
            f"silently, the gradient would be lost: {_advice_for_caller()}"
        )

    # Python's protocols

    def __pow__(self, exponent: Any) -> Any:
        kind = type(exponent)
        is_square = kind is int or (kind is float and self.dtype.kind == "f")
        if is_square and exponent == 2:  # as an ndarray takes it
            return np.square(self)
        if kind is float and exponent == 0.5 and self.shape and self.dtype.kind == "f":
            return np.sqrt(self)
        return super().__pow__(exponent)

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

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, **copy: Any
    ) -> Any:
        if not np.can_cast(self.dtype, dtype, casting):  # type: ignore[arg-type]
            raise TypeError(
                f"Cannot cast array data from {self.dtype!r} to {np.dtype(dtype)!r} according to "
                f"the rule {casting!r}"
            )
        return np.astype(self, dtype, **copy)  # type: ignore[call-overload]

    def reshape(self, *shape: Any, **order: Any) -> Any:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape, **order)

    def flatten(self, order: Any = "C") -> Any:
        return np.ravel(self, order)

    def transpose(self, *axes: Any) -> Any:
        if not axes:
            return np.transpose(self)
        return np.transpose(self, axes[0] if len(axes) == 1 else axes)

    def clip(self, min: Any = None, max: Any = None, out: Any = None) -> Any:
        return np.clip(self, min, max, out)


_ANSWERED = (AbstractArray, np.ndarray)
_UFUNC_DEFAULTS = {"where": True, "casting": "same_kind", "order": "K", "dtype": None}
_PLAIN = {np.ndarray, float, int}
_UFUNC_DEFAULTS |= {"subok": True, "signature": None}


def _is_default(name: str, value: Any) -> bool:
    """Whether a keyword of a ufunc says what it says when it is left out."""
    default = _UFUNC_DEFAULTS.get(name, _UFUNC_DEFAULTS)
    return value is default or (isinstance(value, str) and value == default)


def _method(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return numpy_function(self, *args, **kwargs)

    method.__name__ = numpy_function.__name__
    method.__doc__ = f"`np.{numpy_function.__name__}` of this array."
    return method


for _name in (
    "sum mean var std prod max min argmax argmin cumsum cumprod all any ravel squeeze swapaxes "
    "repeat take dot trace diagonal round copy argsort nonzero searchsorted"
).split():
    setattr(AbstractArray, _name, _method(getattr(np, _name)))


# Where a user means something that we have under another name. Names that are spelt alike are not
# alike in meaning (np.insert, np.invert), so a function that is not here gets no proposal.
_LIKE_IN_MEANING = {
    "append": "np.concatenate",
    "array": "np.stack",
    "asarray": "chainrule.primitives.stop_gradient",
    "average": "np.sum(x * weights) / np.sum(weights)",
    "block": "np.concatenate",
    "copysign": "np.abs and np.sign",
    "copyto": "np.where",
    "corrcoef": "np.mean and @",
    "cov": "np.mean and @",
    "cross": "np.stack of products",
    "delete": "indexing with the places that stay",
    "diff": "x[1:] - x[:-1]",
    "ediff1d": "x[1:] - x[:-1]",
    "extract": "x[mask]",
    "compress": "x[mask]",
    "choose": "np.where",
    "fill_diagonal": "np.where",
    "float_power": "np.power",
    "fmax": "np.maximum",
    "fmin": "np.minimum",
    "fmod": "np.remainder",
    "heaviside": "np.where",
    "insert": "np.concatenate of the parts",
    "kron": "np.multiply of reshaped arrays",
    "linalg.matrix_power": "@",
    "linalg.multi_dot": "@",
    "linalg.pinv": "np.linalg.solve",
    "logaddexp2": "np.logaddexp",
    "median": "np.sort and indexing",
    "nan_to_num": "np.where(np.isnan(x), 0, x)",
    "nanmax": "np.max of np.where",
    "nanmean": "np.mean of np.where",
    "nanmin": "np.min of np.where",
    "nansum": "np.sum of np.where",
    "percentile": "np.sort and indexing",
    "piecewise": "np.where",
    "place": "np.where",
    "ptp": "np.max(x) - np.min(x)",
    "put": "np.where",
    "putmask": "np.where",
    "put_along_axis": "np.where",
    "quantile": "np.sort and indexing",
    "resize": "np.tile and indexing",
    "rollaxis": "np.moveaxis",
    "rot90": "np.flip and np.swapaxes",
    "select": "np.where",
    "sinc": "np.sin(np.pi * x) / (np.pi * x)",
    "trapezoid": "np.sum of products",
    "unique": "np.sort",
}


def _implementation(function: Callable[..., Any]) -> Callable[..., Any]:
    """Our function for NumPy's or SciPy's, or an error that says what to use in its place."""
    implementation = NUMPY_FUNCTIONS.get(function)
    if implementation is not None:
        return implementation
    full = _full_name(function)
    if full.startswith("scipy.special.") and function.__name__ in SPECIAL_FUNCTIONS:
        return SPECIAL_FUNCTIONS[function.__name__]
    instead = _LIKE_IN_MEANING.get(full.removeprefix("np."), "")
    hint = f"; use {instead}" if instead else ""
    raise TypeError(
        f"{full} has no derivative rule in chainrule{hint}. "
        "Use .value to compute without a gradient, or cr.custom_vjp to give it a rule"
    )


def _full_name(function: Any) -> str:
    """What a user calls a function by; a ufunc of SciPy's does not tell its module."""
    name, home = function.__name__, getattr(function, "__module__", None) or ""
    if home.startswith("numpy"):
        return f"np.{home}.{name}".replace("np.numpy.", "np.")
    if getattr(sys.modules.get("scipy.special"), name, None) is function:
        return f"scipy.special.{name}"
    return f"{home}.{name}".lstrip(".")


def _advice_for_caller() -> str:
    """What to write instead of the call that turns a tensor into an ndarray.

    The functions of scipy.special that are written in Python do so before anything else; they are
    found among the callers, to name ours, which has the same name.
    """
    frame: Any = sys._getframe(2)
    for _ in range(12):
        if frame is None:
            break
        if frame.f_globals.get("__name__", "").startswith("scipy.special"):
            name = frame.f_code.co_name
            if name in SPECIAL_FUNCTIONS:
                return f"use chainrule.primitives.{name} in place of scipy.special.{name}"
        frame = frame.f_back
    return (
        "np.stack([a, b]) joins tensors where np.array([a, b]) or a[i] = b was meant, "
        "np.mean(np.stack([a, b])) takes their mean, X @ t or np.dot(X, t) multiplies where "
        "X.dot(t) was meant, .value or .detach() is the number alone"
    )


# What NumPy asks of an array without touching its values


@implements(np.shape)
def _shape(a: AbstractArray) -> tuple[int, ...]:
    return a.shape


@implements(np.ndim)
def _ndim(a: AbstractArray) -> int:
    return a.ndim


@implements(np.size)
def _size(a: AbstractArray, axis: Any = None) -> int:
    return int(np.size(np.broadcast_to(0, a.shape), axis))


@implements(np.zeros_like, np.empty_like)
def _zeros_like(a: AbstractArray, dtype: Any = None, *, shape: Any = None) -> Any:
    return np.zeros(a.shape if shape is None else shape, dtype or a.dtype)


@implements(np.ones_like)
def _ones_like(a: AbstractArray, dtype: Any = None, *, shape: Any = None) -> Any:
    return np.ones(a.shape if shape is None else shape, dtype or a.dtype)


@implements(np.full_like)
def _full_like(a: AbstractArray, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    shape, dtype = a.shape if shape is None else shape, dtype or a.dtype
    if isinstance(fill_value, AbstractArray):
        return np.astype(np.broadcast_to(fill_value, shape), dtype)
    return np.full(shape, fill_value, dtype)


@implements(np.iscomplexobj)
def _iscomplexobj(x: AbstractArray) -> bool:
    return x.dtype.kind == "c"


@implements(np.result_type)
def _result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(
        *(a.dtype if isinstance(a, AbstractArray) else a for a in arrays_and_dtypes)
    )


# Functions of NumPy that find places or truth values: they compute with the numbers alone
_OF_VALUES: set[Any] = {
    np.allclose, np.argpartition, np.argwhere, np.array2string, np.array_equal, np.array_equiv,
    np.array_repr, np.array_str, np.bincount, np.can_cast, np.count_nonzero, np.digitize,
    np.flatnonzero, np.iscomplex, np.isin, np.isneginf, np.isposinf, np.isreal,
    np.isrealobj, np.lexsort, np.nonzero, np.searchsorted, np.shares_memory, np.may_share_memory,
}  # fmt: skip


def _detached(value: Any) -> Any:
    if isinstance(value, AbstractArray):
        return value.detach()
    return type(value)(map(_detached, value)) if isinstance(value, list | tuple) else value


def named(name: str, value: Array) -> Array:
    """The value itself, which goes by this name in the source of a compiled function."""
    if isinstance(value, AbstractArray):
        value.note_name(name)
    return value
