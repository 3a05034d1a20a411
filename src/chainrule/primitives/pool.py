"""Maxima and sums over windows that slide along an axis: what pooling is composed of.

    out[k] = max or sum of x[k * stride], ..., x[k * stride + size - 1]

A window of an image is a window down each column and then one across the results, for both the
maximum and the sum are over all elements in any order. So one axis is enough here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.primitives.primitive import defvjp, primitive

__all__ = ["max_at_windows", "window_max", "window_max_vjp", "window_sum", "window_sum_vjp"]


@primitive
def window_max(x: Array, *, axis: int, size: int, stride: int) -> Array:
    """The largest of each `size` consecutive elements along an axis, in steps of `stride`.

    Of elements that tie, the first receives the whole cotangent.

    >>> window_max(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), axis=0, size=3, stride=2)
    array([3., 5.])
    """
    first, *others = (x[key] for key in _window_parts(x.shape, axis, size, stride))
    out = first.copy()
    for part in others:
        out = np.maximum(out, part)
    return out


@primitive
def window_max_vjp(g: Array, x: Array, *, axis: int, size: int, stride: int) -> Array:
    """Each window's g at the place of its largest element, added up in the shape of x.

    >>> window_max_vjp(np.ones(2), np.array([3.0, 1.0, 2.0, 5.0, 4.0]), axis=0, size=3, stride=2)
    array([1., 0., 0., 1., 0.])
    """
    keys = _window_parts(x.shape, axis, size, stride)
    out = np.zeros(x.shape, g.dtype)
    for key, is_largest in zip(keys, _are_largest([x[key] for key in keys]), strict=False):
        share = g * is_largest
        out[key] += share
        g = g - share  # what is left for the elements that follow
    out[keys[-1]] += g
    return out


@primitive
def max_at_windows(values: Array, x: Array, *, axis: int, size: int, stride: int) -> Array:
    """The values that stand where each window of x has its largest element.

    >>> x = np.array([3.0, 1.0, 2.0, 5.0, 4.0])
    >>> max_at_windows(np.arange(5.0), x, axis=0, size=3, stride=2)
    array([0., 3.])
    """
    keys = _window_parts(x.shape, axis, size, stride)
    out = values[keys[-1]].copy()
    steps = list(zip(keys, _are_largest([x[key] for key in keys]), strict=False))
    for key, is_largest in reversed(steps):
        np.copyto(out, values[key], where=is_largest)
    return out


@primitive
def window_sum(x: Array, *, axis: int, size: int, stride: int) -> Array:
    """The sum of each `size` consecutive elements along an axis, in steps of `stride`.

    >>> window_sum(np.array([3.0, 1.0, 2.0, 5.0, 4.0]), axis=0, size=3, stride=2)
    array([ 6., 11.])
    """
    first, *others = (x[key] for key in _window_parts(x.shape, axis, size, stride))
    out = first.copy()
    for part in others:
        out = out + part
    return out


@primitive
def window_sum_vjp(g: Array, *, length: int, axis: int, size: int, stride: int) -> Array:
    """Each window's g at all its places, added up along an axis of this length.

    >>> window_sum_vjp(np.array([1.0, 10.0]), length=5, axis=0, size=3, stride=2)
    array([ 1.,  1., 11., 10., 10.])
    """
    out = np.zeros((*g.shape[:axis], length, *g.shape[axis + 1 :]), g.dtype)
    for key in _window_parts(out.shape, axis, size, stride):
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


def _are_largest(parts: list[Array]) -> list[Array]:
    """For each part but the last, where none of those that follow is larger."""
    largest, found = parts[-1], []
    for part in parts[-2::-1]:
        found.append(part >= largest)
        largest = np.maximum(part, largest)
    return found[::-1]
