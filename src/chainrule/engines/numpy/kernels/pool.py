"""Maxima and sums over windows along an axis, in memory that they are given.

Pooling across the lines of an image with few channels, the elements of a window are short runs of
memory. NumPy takes long to go from one run to the next when it computes, but copies a run as if it
were one number: so the parts are gathered, computed with, and scattered.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import primitives
from chainrule.engines.numpy.kernels.table import kernel
from chainrule.primitives.dispatch import Array

__all__ = ["max_at_windows", "window_max", "window_max_vjp", "window_sum", "window_sum_vjp"]

_SHORT_RUN = 32
"""Numbers behind the axis: so few are gathered before they are computed with."""
_GATHERED_AT_ONCE = 65536
"""Numbers of which the parts are gathered at once, so that they stay in the cache."""


@kernel(primitives.window_max)
def window_max(x: Array, *, axis: int, size: int, stride: int, out: Array) -> None:
    """The largest of each `size` consecutive elements along an axis, in steps of `stride`."""
    keys = _window_parts(x.shape, axis, size, stride)
    if _has_short_runs(x, axis):
        for few in _a_few(x):
            _largest([_gathered(x[few], key, axis) for key in keys], out[few])
    else:
        _largest([x[key] for key in keys], out)


@kernel(primitives.window_max_vjp)
def window_max_vjp(g: Array, x: Array, *, axis: int, size: int, stride: int, out: Array) -> None:
    """Each window's g at the place of its largest element, added up in the shape of x."""
    keys = _window_parts(x.shape, axis, size, stride)
    _clear(out, axis, size, stride)
    is_apart = stride >= size  # then only one window comes to each place
    if is_apart and _has_short_runs(x, axis):
        for few in _a_few(x):
            parts = [_gathered(x[few], key, axis) for key in keys]
            _scatter_shares(g[few], parts, keys, axis, out[few])
        return
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


@kernel(primitives.max_at_windows)
def max_at_windows(
    values: Array, x: Array, *, axis: int, size: int, stride: int, out: Array
) -> None:
    """The values that stand where each window of x has its largest element."""
    keys = _window_parts(x.shape, axis, size, stride)
    parts = [x[key] for key in keys]
    np.copyto(out, values[keys[-1]])
    steps = zip(keys, parts, _largest_following(parts), strict=False)
    for key, part, following in reversed(list(steps)):
        np.copyto(out, values[key], where=part >= following)


@kernel(primitives.window_sum)
def window_sum(x: Array, *, axis: int, size: int, stride: int, out: Array) -> None:
    """The sum of each `size` consecutive elements along an axis, in steps of `stride`."""
    first, *others = (x[key] for key in _window_parts(x.shape, axis, size, stride))
    if not others:
        np.copyto(out, first)
        return
    np.add(first, others[0], out=out)
    for part in others[1:]:
        np.add(out, part, out=out)


@kernel(primitives.window_sum_vjp)
def window_sum_vjp(g: Array, *, length: int, axis: int, size: int, stride: int, out: Array) -> None:
    """Each window's g at all its places, added up along an axis of this length."""
    _clear(out, axis, size, stride)
    for key in _window_parts(out.shape, axis, size, stride):
        if stride >= size:
            out[key] = g
        else:
            out[key] += g


def _window_parts(
    shape: tuple[int, ...], axis: int, size: int, stride: int
) -> list[tuple[Any, ...]]:
    """The keys of the first elements of all windows, of the second ones, and so on."""
    before = (slice(None),) * axis
    reach = shape[axis] - size + 1
    return [(*before, slice(start, start + reach, stride)) for start in range(size)]


def _clear(out: Array, axis: int, size: int, stride: int) -> None:
    """Zero for what comes to each place, unless exactly one window comes to each."""
    if stride != size or out.shape[axis] % size:
        out.fill(0)


def _largest(parts: list[Array], out: Array) -> None:
    """The largest of the elements in the same place of all parts."""
    if len(parts) == 1:
        np.copyto(out, parts[0])
        return
    np.maximum(parts[0], parts[1], out=out)
    for part in parts[2:]:
        np.maximum(out, part, out=out)


def _largest_following(parts: list[Array]) -> list[Array]:
    """For each element of the windows but the last, the largest of those that follow it."""
    largest = [parts[-1]] if len(parts) > 1 else []
    for part in parts[-2:0:-1]:
        largest.append(np.maximum(part, largest[-1]))
    return largest[::-1]


# Short runs


def _has_short_runs(x: Array, axis: int) -> bool:
    """Whether few numbers stand behind the axis, which are faster to copy than to compute with."""
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
