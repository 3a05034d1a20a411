"""Maxima and sums over windows that slide along an axis: what pooling is composed of.

    out[k] = max or sum of x[k * stride], ..., x[k * stride + size - 1]

A window of an image is a window down each column and then one across the results, for both the
maximum and the sum are over all elements in any order. So one axis is enough here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.primitives.primitive import defvjp, primitive

__all__ = ["max_at_windows", "window_max", "window_max_vjp", "window_sum", "window_sum_vjp"]

_SHORT_RUN = 32
"""Numbers behind the axis: so few are gathered before they are computed with."""
_GATHERED_AT_ONCE = 65536
"""Numbers of which the parts are gathered at once, so that they stay in the cache."""


@primitive
def window_max(x: Array, *, axis: int, size: int, stride: int, out: Array | None = None) -> Array:
    """The largest of each `size` consecutive elements along an axis, in steps of `stride`.

    Of elements that tie, the first receives the whole cotangent.

    >>> window_max(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), axis=0, size=3, stride=2)
    array([3., 5.])
    """
    keys = _window_parts(x.shape, axis, size, stride)
    if _has_short_runs(x, axis):
        shape = x[keys[0]].shape
        out = np.empty(shape, x.dtype) if out is None else out
        for few in _a_few(x):
            _largest([_gathered(x[few], key, axis) for key in keys], out[few])
        return out
    return _largest([x[key] for key in keys], out)


@primitive
def window_max_vjp(
    g: Array, x: Array, *, axis: int, size: int, stride: int, out: Array | None = None
) -> Array:
    """Each window's g at the place of its largest element, added up in the shape of x.

    >>> window_max_vjp(np.ones(2), np.array([3.0, 1.0, 2.0, 5.0, 4.0]), axis=0, size=3, stride=2)
    array([1., 0., 0., 1., 0.])
    """
    keys = _window_parts(x.shape, axis, size, stride)
    out = _prepared(out, x.shape, g.dtype, axis, size, stride)
    is_apart = stride >= size  # then only one window comes to each place
    if is_apart and _has_short_runs(x, axis):
        for few in _a_few(x):
            parts = [_gathered(x[few], key, axis) for key in keys]
            _scatter_shares(g[few], parts, keys, axis, out[few])
        return out
    rest = out[keys[-1]] if is_apart else np.empty(g.shape, g.dtype)
    parts = [x[key] for key in keys]
    for key, part, following in zip(keys, parts, _largest_following(parts), strict=False):
        share = np.multiply(g, part >= following, out=out[key] if is_apart else None)
        g = np.subtract(g, share, out=rest)  # what is left for the elements that follow
        if not is_apart:
            out[key] += share
    if not is_apart:
        out[keys[-1]] += g
    elif size == 1:
        rest[...] = g
    return out


@primitive
def max_at_windows(
    values: Array, x: Array, *, axis: int, size: int, stride: int, out: Array | None = None
) -> Array:
    """The values that stand where each window of x has its largest element.

    >>> x = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    >>> max_at_windows(np.arange(5.0), x, axis=0, size=3, stride=2)
    array([0., 3.])
    """
    keys = _window_parts(x.shape, axis, size, stride)
    parts = [x[key] for key in keys]
    out = np.positive(values[keys[-1]], out=out)
    steps = zip(keys, parts, _largest_following(parts), strict=False)
    for key, part, following in reversed(list(steps)):
        np.copyto(out, values[key], where=part >= following)
    return out


@primitive
def window_sum(x: Array, *, axis: int, size: int, stride: int, out: Array | None = None) -> Array:
    """The sum of each `size` consecutive elements along an axis, in steps of `stride`.

    >>> window_sum(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), axis=0, size=3, stride=2)
    array([ 6., 11.])
    """
    first, *others = (x[key] for key in _window_parts(x.shape, axis, size, stride))
    if not others:
        return np.positive(first, out=out)
    total = np.add(first, others[0], out=out)
    for part in others[1:]:
        np.add(total, part, out=total)
    return total


@primitive
def window_sum_vjp(
    g: Array, *, length: int, axis: int, size: int, stride: int, out: Array | None = None
) -> Array:
    """Each window's g at all its places, added up along an axis of this length.

    >>> window_sum_vjp(np.array([1.0, 10.0]), length=5, axis=0, size=3, stride=2)
    array([ 1.,  1., 11., 10., 10.])
    """
    shape = (*g.shape[:axis], length, *g.shape[axis + 1 :])
    out = _prepared(out, shape, g.dtype, axis, size, stride)
    for key in _window_parts(shape, axis, size, stride):
        if stride >= size:
            out[key] = g
        else:
            out[key] += g
    return out


# The place of the largest element is constant where it is unique, so x has no rule.
# fmt: off
defvjp(window_max,     lambda g, out, x, **window: window_max_vjp(g, x, **window))
defvjp(window_max_vjp, lambda u, out, g, x, **window: max_at_windows(u, x, **window), None)
defvjp(max_at_windows, lambda g, out, values, x, **window: window_max_vjp(g, x, **window), None)
defvjp(window_sum,     lambda g, out, x, axis, size, stride:
       window_sum_vjp(g, length=x.shape[axis], axis=axis, size=size, stride=stride))
defvjp(window_sum_vjp, lambda u, out, g, length, axis, size, stride:
       window_sum(u, axis=axis, size=size, stride=stride))
# fmt: on


def _window_parts(
    shape: tuple[int, ...], axis: int, size: int, stride: int
) -> list[tuple[Any, ...]]:
    """The keys of the first elements of all windows, of the second ones, and so on."""
    if not 1 <= size <= shape[axis]:
        raise ValueError(f"windows of {size} do not fit into axis {axis} of shape {shape}")
    before = (slice(None),) * axis
    reach = shape[axis] - size + 1
    return [(*before, slice(start, start + reach, stride)) for start in range(size)]


def _prepared(
    out: Array | None, shape: tuple[int, ...], dtype: Any, axis: int, size: int, stride: int
) -> Array:
    """Memory for what comes to each place: zero, unless exactly one window comes to each."""
    if out is None:
        out = np.empty(shape, dtype)
    if stride != size or shape[axis] % size:
        out.fill(0)
    return out


def _largest_following(parts: list[Array]) -> list[Array]:
    """For each element of the windows but the last, the largest of those that follow it."""
    largest = [parts[-1]] if len(parts) > 1 else []
    for part in parts[-2:0:-1]:
        largest.append(np.maximum(part, largest[-1]))
    return largest[::-1]


# Pooling across the lines of an image with few channels: the elements of a window are short runs
# of memory. NumPy takes long to go from one run to the next when it computes, but copies a run as
# if it were one number: so the parts are gathered, computed with, and scattered.


def _has_short_runs(x: Array, axis: int) -> bool:
    return axis > 0 and 1 < _run(x, axis) <= _SHORT_RUN and bool(x.flags.c_contiguous)


def _run(x: Array, axis: int) -> int:
    """How many numbers stand behind the axis, the channels of a pixel say."""
    return math.prod(x.shape[axis + 1 :])


def _a_few(x: Array) -> list[slice]:
    """The samples, as many at a time as stay in the cache."""
    few = max(1, _GATHERED_AT_ONCE * len(x) // max(1, x.size))
    return [slice(start, start + few) for start in range(0, len(x), few)]


def _as_runs(x: Array, axis: int) -> Array:
    """A view of x in which each run behind the axis is one element."""
    run = _run(x, axis)
    lines = x.reshape(*x.shape[: axis + 1], run)
    return lines.view(np.dtype((np.void, run * x.itemsize)))[..., 0]


def _gathered(x: Array, key: tuple[Any, ...], axis: int) -> Array:
    """`x[key]` in one piece of memory."""
    return np.ascontiguousarray(_as_runs(x, axis)[key]).view(x.dtype).reshape(x[key].shape)


def _scatter_shares(
    g: Array, parts: list[Array], keys: list[tuple[Any, ...]], axis: int, out: Array
) -> None:
    """Give each window's g to its largest element; `out[key]` gets what goes to a part."""
    runs = _as_runs(out, axis)
    rest = np.ascontiguousarray(g)
    for key, part, following in zip(keys, parts, _largest_following(parts), strict=False):
        share = np.multiply(rest, part >= following)
        rest = np.subtract(rest, share)
        runs[key] = _as_runs(share, axis)
    runs[keys[-1]] = _as_runs(rest, axis)


def _largest(parts: list[Array], out: Array | None) -> Array:
    """The largest of the elements in the same place of all parts."""
    if len(parts) == 1:
        return np.positive(parts[0], out=out)
    largest = np.maximum(parts[0], parts[1], out=out)
    for part in parts[2:]:
        np.maximum(largest, part, out=largest)
    return largest
