"""Primitives that reduce along axes, or run along one.

Everywhere `axis` is an integer, a tuple of them or None for all axes, and negative axes count from
the end; `keepdims` leaves the reduced axes in the result with size 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from chainrule.primitives.dispatch import Array, implements, implements_special
from chainrule.primitives.elementwise import exp_share, where
from chainrule.primitives.primitive import defvjp, fused, primitive
from chainrule.primitives.shape import (
    astype,
    broadcast_to,
    concatenate,
    flip,
    moveaxis,
    reshape,
)

__all__ = [
    "Axis",
    "all_",
    "any_",
    "argmax",
    "argmin",
    "cumprod",
    "cumsum",
    "keep_axes",
    "logsumexp",
    "max_",
    "mean",
    "min_",
    "prod",
    "reduced_axes",
    "std",
    "sum_",
    "var",
]

_HALF = np.dtype(np.float16)
Axis = int | tuple[int, ...] | None


def keep_axes(reduced: Array, x: Array, axis: Axis) -> Array:
    """A reduced value with the reduced axes back as axes of size 1, so that it broadcasts to x."""
    axes = reduced_axes(np.ndim(x), axis)
    shape = tuple(1 if i in axes else size for i, size in enumerate(np.shape(x)))
    return reduced if reduced.shape == shape else reshape(reduced, shape)


def reduced_axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The axes that a reduction with this `axis` takes away, counted from the front."""
    if axis is None or (ndim == 0 and not isinstance(axis, tuple) and axis in (0, -1)):
        return tuple(range(ndim))  # a number has the axis 0 for NumPy's reductions
    return normalize_axis_tuple(axis, ndim)


def _n_reduced(x: Array, axis: Axis) -> int:
    """How many elements of x each element of the result is made of."""
    return math.prod(np.shape(x)[i] for i in reduced_axes(np.ndim(x), axis))


def _wide(x: Array) -> Array:
    """float16 as float32, in which NumPy adds up means too: 65504 is soon passed by a sum."""
    return astype(x, dtype=np.dtype(np.float32)) if getattr(x, "dtype", None) == _HALF else x


# Sums, means and products


@implements(np.sum)
@primitive(linear="jointly")
def sum_(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`np.sum`: each element receives the cotangent of its sum."""
    return np.sum(x, axis=axis, keepdims=keepdims)


@implements(np.mean)
def mean(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`np.mean`, as sum / n; float16 is added up in float32, as NumPy does.

    >>> mean(np.array([[1.0, 2.0], [3.0, 6.0]]), axis=0)
    array([2., 4.])
    """
    wide = _wide(x)
    average = sum_(wide, axis, keepdims=keepdims) / _n_reduced(x, axis)
    return average if wide is x else astype(average, dtype=_HALF)


@implements(np.var)
@primitive
def var(x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: bool = False) -> Array:
    """`np.var`: the sum of (x - mean)**2 / (n - ddof); float16 is computed in float32."""
    if np.result_type(x) == np.float16:
        return np.var(x, axis, np.float32, ddof=ddof, keepdims=keepdims).astype(np.float16)
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdims)


@implements(np.std)
@primitive
def std(x: Array, axis: Axis = None, *, ddof: float = 0, keepdims: bool = False) -> Array:
    """`np.std`: the square root of `var`; where all elements are equal the gradient is 0."""
    if np.result_type(x) == np.float16:
        return np.std(x, axis, np.float32, ddof=ddof, keepdims=keepdims).astype(np.float16)
    return np.std(x, axis=axis, ddof=ddof, keepdims=keepdims)


@implements(np.prod)
@primitive
def prod(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`np.prod`; its rule multiplies the other elements and never divides, so zeros are safe."""
    return np.prod(x, axis=axis, keepdims=keepdims)


def _centred(x: Array, axis: Axis) -> Array:
    return x - mean(x, axis, keepdims=True)


def _spread(out: Array, x: Array, axis: Axis, keepdims: bool) -> Array:
    """The deviation, but infinite where all elements are equal: dividing by it gives 0.

    There the deviation has a kink, and is seldom 0: it is what rounding left of the mean.
    """
    if not _n_reduced(x, axis):
        return out
    is_flat = max_(x, axis, keepdims=keepdims) == min_(x, axis, keepdims=keepdims)
    return where(is_flat | (out == 0), np.inf, _wide(out))


def _product_of_others(x: Array, axis: Axis) -> Array:
    """For each element the product of the elements it is multiplied with, itself left out."""
    axes = reduced_axes(np.ndim(x), axis)
    last = tuple(range(-len(axes), 0))
    moved = moveaxis(x, axes, last)
    kept_shape = moved.shape[: moved.ndim - len(axes)]
    rows = reshape(moved, (*kept_shape, _n_reduced(x, axis)))
    others = _product_before(rows) * flip(_product_before(flip(rows, -1)), -1)
    return moveaxis(reshape(others, moved.shape), last, axes)


def _product_before(x: Array) -> Array:
    """The product of the elements before each one along the last axis; 1 before the first."""
    if x.shape[-1] == 0:
        return x
    first = np.ones((*x.shape[:-1], 1), x.dtype)
    return concatenate(first, cumprod(x[..., :-1], -1), axis=-1)


# fmt: off
defvjp(sum_, lambda g, out, x, axis, keepdims:
       broadcast_to(keep_axes(g, x, axis), x.shape))
defvjp(var,  lambda g, out, x, axis, ddof, keepdims:
       keep_axes(2 * _wide(g) / (_n_reduced(x, axis) - ddof), x, axis)
       * _centred(_wide(x), axis))
defvjp(std,  lambda g, out, x, axis, ddof, keepdims:
       keep_axes(_wide(g) / (_spread(out, x, axis, keepdims) * (_n_reduced(x, axis) - ddof)),
                 x, axis) * _centred(_wide(x), axis))
defvjp(prod, lambda g, out, x, axis, keepdims:
       keep_axes(g, x, axis) * _product_of_others(x, axis))
# fmt: on


# Extremes


@implements(np.max, np.amax)
@primitive
def max_(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`np.max`: elements that tie for the largest share the cotangent evenly."""
    return np.max(x, axis=axis, keepdims=keepdims)


@implements(np.min, np.amin)
@primitive
def min_(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`np.min`: elements that tie for the smallest share the cotangent evenly."""
    return np.min(x, axis=axis, keepdims=keepdims)


def _even_share(x: Array, extreme: Array, axis: Axis) -> Array:
    """1 / number of ties where x is the extreme, 0 elsewhere."""
    at_extreme = where(x == keep_axes(extreme, x, axis), x.dtype.type(1), 0)
    return at_extreme / sum_(at_extreme, axis, keepdims=True)


@implements_special("logsumexp")
@fused
def logsumexp(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) without overflow: the largest element is taken out of the sum before.

    Of elements that are all -inf it is -inf, with gradient 0.

    >>> logsumexp(np.array([1000.0, 1000.0])) - 1000 == np.log(2)
    np.True_
    """
    largest = np.max(x, axis=axis, keepdims=True)
    largest = np.where(np.isfinite(largest), largest, 0)
    total = np.sum(np.exp(x - largest), axis=axis, keepdims=True)
    is_empty = total == 0
    out = np.where(is_empty, -np.inf, np.log(np.where(is_empty, 1, total)) + largest)
    return out if keepdims else np.squeeze(out, reduced_axes(np.ndim(x), axis))


# fmt: off
defvjp(max_,      lambda g, out, x, axis, keepdims:
       keep_axes(g, x, axis) * _even_share(x, out, axis))
defvjp(min_,      lambda g, out, x, axis, keepdims:
       keep_axes(g, x, axis) * _even_share(x, out, axis))
defvjp(logsumexp, lambda g, out, x, axis, keepdims:
       keep_axes(g, x, axis) * exp_share(x, keep_axes(out, x, axis)))
# fmt: on


# Running along an axis


@implements(np.cumsum)
@primitive(linear="jointly")
def cumsum(x: Array, axis: int | None = None) -> Array:
    """`np.cumsum`: running sums along an axis, of all elements in one row if it is None."""
    return np.cumsum(x, axis)


@implements(np.cumprod)
@primitive
def cumprod(x: Array, axis: int | None = None) -> Array:
    """`np.cumprod`: running products; its rule never divides, so zeros are safe."""
    return np.cumprod(x, axis)


def _cumsum_vjp(g: Array, x: Array, axis: int | None) -> Array:
    """x_i is in all sums from the i-th on: it receives the sum of g from i to the end."""
    along = -1 if axis is None else axis
    return reshape(flip(cumsum(flip(g, along), along), along), x.shape)


def _cumprod_vjp(g: Array, x: Array, axis: int | None) -> Array:
    """For out_k = x_0 ... x_k: the sum over k >= i of g_k * (x_0 ... x_k without x_i).

    With the product of the elements before i taken out, s_i = g_i + x_{i+1} * s_{i+1} is left.
    That recurrence runs by doubling: after each round `s` holds the terms of twice as many
    k, and `step` the product of the x between, in log2(n) rounds (Hillis and Steele 1986).
    """
    shape = x.shape
    if axis is None or not shape:
        x, axis = reshape(x, (-1,)), 0
    last = normalize_axis_index(axis, x.ndim)
    x, s = moveaxis(x, last, -1), moveaxis(g, last, -1)
    step, distance = _later(x, 1), 1
    while distance < x.shape[-1]:
        s = s + step * _later(s, distance)
        step = step * _later(step, distance)
        distance *= 2
    return reshape(moveaxis(_product_before(x) * s, -1, last), shape)


def _later(x: Array, distance: int) -> Array:
    """The element so far behind each one along the last axis; 0 past the end."""
    past_end = np.zeros((*x.shape[:-1], min(distance, x.shape[-1])), x.dtype)
    return concatenate(x[..., distance:], past_end, axis=-1)


# fmt: off
defvjp(cumsum,  lambda g, out, x, axis: _cumsum_vjp(g, x, axis))
defvjp(cumprod, lambda g, out, x, axis: _cumprod_vjp(g, x, axis))
# fmt: on


# Constants of the graph: no gradient flows through indices and truth values


@implements(np.argmax)
@primitive
def argmax(x: Array, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """`np.argmax`: the index of the first largest element."""
    return np.argmax(x, axis=axis, keepdims=keepdims)


@implements(np.argmin)
@primitive
def argmin(x: Array, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """`np.argmin`: the index of the first smallest element."""
    return np.argmin(x, axis=axis, keepdims=keepdims)


@implements(np.all)
@primitive
def all_(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`np.all`: whether every element is true."""
    return np.all(x, axis=axis, keepdims=keepdims)


@implements(np.any)
@primitive
def any_(x: Array, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """`np.any`: whether some element is true."""
    return np.any(x, axis=axis, keepdims=keepdims)
