"""Primitives that rearrange, join and cut arrays without computing on their elements.

Most of NumPy's functions of this kind are compositions of a few: `reshape`, `transpose`,
`broadcast_to`, `concatenate`, `stack` and slicing.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, chain, pairwise
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from chainrule.primitives.dispatch import Array, implements
from chainrule.primitives.primitive import defvjp, defvjp_variadic, primitive

__all__ = [
    "array_split",
    "astype",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "broadcast_arrays",
    "broadcast_to",
    "column_stack",
    "concatenate",
    "copy",
    "dsplit",
    "dstack",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "matrix_transpose",
    "moveaxis",
    "pad",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "to_discrete",
    "transpose",
    "unstack",
    "vsplit",
    "vstack",
]


# Shape and order of the axes


@implements(np.reshape)
@primitive(is_view=True, linear="jointly")
def reshape(x: Array, *, shape: Any) -> Array:
    """`np.reshape`: the same elements in another shape, where one size may be -1."""
    return np.reshape(x, shape)


@primitive(is_view=True, linear="jointly")
def transpose(x: Array, axes: Any = None) -> Array:
    """`np.transpose`: the axes in another order, by default reversed."""
    return np.transpose(x, axes)


@implements(np.broadcast_to)
@primitive(is_view=True, linear="jointly")
def broadcast_to(x: Array, *, shape: Any) -> Array:
    """`np.broadcast_to`: the array repeated along new axes and axes of size 1."""
    return np.broadcast_to(x, shape)


@implements(np.transpose)
def _transpose(x: Array, axes: Any = None) -> Array:
    """`np.transpose`; the order may be one number for a vector, as NumPy's may."""
    return transpose(x, axes if axes is None else normalize_axis_tuple(axes, np.ndim(x)))


def _inverse(axes: Sequence[int] | None) -> tuple[int, ...] | None:
    """The order of axes that undoes a transposition."""
    if axes is None:
        return None
    order = [axis % len(axes) for axis in axes]
    return tuple(order.index(axis) for axis in range(len(order)))


# One rule a line, aligned so that the eye compares
# fmt: off
defvjp(reshape,      lambda g, out, x, shape: reshape(g, x.shape))
defvjp(transpose,    lambda g, out, x, axes:  transpose(g, _inverse(axes)))
defvjp(broadcast_to, lambda g, out, x, shape: g)
# fmt: on


@implements(np.ravel)
def ravel(x: Array) -> Array:
    """`np.ravel`: all elements in one row."""
    return reshape(x, (-1,))


@implements(np.squeeze)
def squeeze(x: Array, axis: int | tuple[int, ...] | None = None) -> Array:
    """`np.squeeze`: without the axes of size 1, or without those named, which must have size 1."""
    shape = np.shape(x)
    if axis is None or (not shape and axis in (0, -1)):
        return reshape(x, tuple(size for size in shape if size != 1))
    dropped = normalize_axis_tuple(axis, len(shape))
    for i in dropped:
        if shape[i] != 1:
            raise ValueError(
                f"squeeze drops axes of size 1, but axis {i} of an array of shape {shape} has size "
                f"{shape[i]}: leave it out of axis="
            )
    return reshape(x, tuple(size for i, size in enumerate(shape) if i not in dropped))


@implements(np.expand_dims)
def expand_dims(x: Array, axis: int | tuple[int, ...]) -> Array:
    """`np.expand_dims`: with new axes of size 1 at these positions of the result."""
    n_new = len(axis) if isinstance(axis, tuple | list) else 1
    added = normalize_axis_tuple(axis, np.ndim(x) + n_new)
    sizes = iter(np.shape(x))
    shape = tuple(1 if i in added else next(sizes) for i in range(np.ndim(x) + n_new))
    return reshape(x, shape)


@implements(np.swapaxes)
def swapaxes(x: Array, axis1: int, axis2: int) -> Array:
    """`np.swapaxes`: two axes exchanged."""
    axes = list(range(np.ndim(x)))
    first, second = normalize_axis_index(axis1, len(axes)), normalize_axis_index(axis2, len(axes))
    axes[first], axes[second] = axes[second], axes[first]
    return transpose(x, tuple(axes))


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Array) -> Array:
    """`np.matrix_transpose`: the last two axes exchanged."""
    return swapaxes(x, -1, -2)


@implements(np.moveaxis)
def moveaxis(x: Array, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """`np.moveaxis`: some axes at new positions, the others in their order."""
    ndim = np.ndim(x)
    sources = normalize_axis_tuple(source, ndim, "source")
    destinations = normalize_axis_tuple(destination, ndim, "destination")
    if len(sources) != len(destinations):
        raise ValueError(
            f"moveaxis got {len(sources)} source axes and {len(destinations)} destinations: "
            "give as many of one as of the other"
        )
    axes = [axis for axis in range(ndim) if axis not in sources]
    for target, axis in sorted(zip(destinations, sources, strict=True)):
        axes.insert(target, axis)
    return transpose(x, tuple(axes))


@implements(np.broadcast_arrays)
def broadcast_arrays(*arrays: Array) -> tuple[Array, ...]:
    """`np.broadcast_arrays`: every array in the shape they broadcast to."""
    shape = np.broadcast_shapes(*map(np.shape, arrays))
    return tuple(broadcast_to(x, shape) for x in arrays)


def _each(function: Callable[[Array], Array], arrays: tuple[Array, ...]) -> Any:
    results = tuple(map(function, arrays))
    return results[0] if len(results) == 1 else results


@implements(np.atleast_1d)
def atleast_1d(*arrays: Array) -> Any:
    """`np.atleast_1d`: a number as an array of shape (1,)."""
    return _each(lambda x: x if np.ndim(x) else reshape(x, (1,)), arrays)


@implements(np.atleast_2d)
def atleast_2d(*arrays: Array) -> Any:
    """`np.atleast_2d`: a number or a vector as a matrix of one row."""
    return _each(lambda x: x if np.ndim(x) >= 2 else reshape(x, (1, -1)), arrays)


@implements(np.atleast_3d)
def atleast_3d(*arrays: Array) -> Any:
    """`np.atleast_3d`: a vector as (1, n, 1), a matrix as (m, n, 1)."""
    shapes = {0: (1, 1, 1), 1: (1, -1, 1)}
    return _each(
        lambda x: x if np.ndim(x) >= 3 else reshape(x, shapes.get(np.ndim(x), (*np.shape(x), 1))),
        arrays,
    )


# Kind of the elements


@primitive
def astype(x: Array, *, dtype: Any) -> Array:
    """The elements as floating-point numbers of another precision."""
    return np.astype(x, dtype)


defvjp(astype, lambda g, out, x, dtype: g)


@primitive
def to_discrete(x: Array, *, dtype: Any) -> Array:
    """The elements as integers or booleans: piecewise constant, so without a derivative."""
    return np.astype(x, dtype)


@implements(np.astype)
def _astype(x: Array, dtype: Any, *, copy: bool = True) -> Array:
    dtype = np.dtype(dtype)
    if dtype.kind not in "fiub":
        raise TypeError(
            f"a tensor is not converted to {dtype}: derivatives are of real numbers, so take "
            "real and imaginary parts as two arrays, and text of .detach()"
        )
    return (astype if dtype.kind == "f" else to_discrete)(x, dtype=dtype)


@implements(np.copy)
@primitive
def copy(x: Array) -> Array:
    """`np.copy`: the same numbers in memory of their own."""
    return np.copy(x)


defvjp(copy, lambda g, out, x: g)


# Joining


@primitive(linear="jointly")
def concatenate(*arrays: Array, axis: int = 0) -> Array:
    """The arrays behind one another along an axis they have.

    >>> concatenate(np.ones(2), np.zeros(1))
    array([1., 1., 0.])
    """
    return np.concatenate(arrays, axis=axis)


@primitive(linear="jointly")
def stack(*arrays: Array, axis: int = 0) -> Array:
    """Arrays of one shape behind one another along a new axis.

    >>> stack(np.ones(2), np.zeros(2), axis=1)
    array([[1., 0.],
           [1., 0.]])
    """
    return np.stack(arrays, axis=axis)


def _along(axis: int, part: Any, ndim: int) -> tuple[Any, ...]:
    """The key that takes a part along one axis and everything along the others."""
    return (*[slice(None)] * normalize_axis_index(axis, ndim), part)


def _part_of_concatenate(position: int, g: Array, out: Array, *arrays: Array, axis: int) -> Array:
    """The part of g that came from this array."""
    sizes = [np.shape(x)[axis] for x in arrays]
    start = sum(sizes[:position])
    return g[_along(axis, slice(start, start + sizes[position]), g.ndim)]


def _part_of_stack(position: int, g: Array, out: Array, *arrays: Array, axis: int) -> Array:
    return g[_along(axis, position, g.ndim)]


defvjp_variadic(concatenate, _part_of_concatenate)
defvjp_variadic(stack, _part_of_stack)


@implements(np.concatenate)
def _concatenate(arrays: Iterable[Array], axis: int | None = 0) -> Array:
    if axis is None:
        return concatenate(*map(ravel, arrays))
    return concatenate(*arrays, axis=axis)


@implements(np.stack)
def _stack(arrays: Iterable[Array], axis: int = 0) -> Array:
    return stack(*arrays, axis=axis)


@implements(np.vstack)
def vstack(arrays: Iterable[Array]) -> Array:
    """`np.vstack`: rows or matrices below one another."""
    return concatenate(*map(atleast_2d, arrays), axis=0)


@implements(np.hstack)
def hstack(arrays: Iterable[Array]) -> Array:
    """`np.hstack`: vectors or matrices beside one another."""
    parts = [atleast_1d(x) for x in arrays]
    return concatenate(*parts, axis=0 if np.ndim(parts[0]) == 1 else 1)


@implements(np.dstack)
def dstack(arrays: Iterable[Array]) -> Array:
    """`np.dstack`: matrices behind one another, along the third axis."""
    return concatenate(*map(atleast_3d, arrays), axis=2)


@implements(np.column_stack)
def column_stack(arrays: Iterable[Array]) -> Array:
    """`np.column_stack`: vectors as the columns of a matrix."""
    columns = [x if np.ndim(x) >= 2 else reshape(x, (-1, 1)) for x in arrays]
    return concatenate(*columns, axis=1)


# Cutting


@implements(np.array_split)
def array_split(x: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """`np.array_split`: slices at these indices, or so many of nearly equal size."""
    size = np.shape(x)[axis]
    if np.ndim(indices_or_sections) == 0:
        sections = operator.index(indices_or_sections)
        if sections < 1:
            raise ValueError(f"an array is split into 1 section or more, not {sections}")
        small, n_larger = divmod(size, sections)
        edges = [0, *accumulate(small + (i < n_larger) for i in range(sections))]
    else:
        edges = [0, *map(operator.index, indices_or_sections), size]
    return [x[_along(axis, slice(start, stop), np.ndim(x))] for start, stop in pairwise(edges)]


@implements(np.split)
def split(x: Array, indices_or_sections: Any, axis: int = 0) -> Any:
    """`np.split`: slices at these indices, or so many of equal size."""
    size = np.shape(x)[axis]
    if np.ndim(indices_or_sections) == 0 and size % indices_or_sections:
        raise ValueError(
            f"axis {axis} of an array of shape {np.shape(x)} has size {size}, which "
            f"{indices_or_sections} equal sections do not divide: use np.array_split"
        )
    return array_split(x, indices_or_sections, axis)


@implements(np.vsplit)
def vsplit(x: Array, indices_or_sections: Any) -> Any:
    """`np.vsplit`: split along the first axis."""
    return split(x, indices_or_sections, 0)


@implements(np.hsplit)
def hsplit(x: Array, indices_or_sections: Any) -> Any:
    """`np.hsplit`: split along the second axis, a vector along its only one."""
    return split(x, indices_or_sections, min(np.ndim(x) - 1, 1))


@implements(np.dsplit)
def dsplit(x: Array, indices_or_sections: Any) -> Any:
    """`np.dsplit`: split along the third axis."""
    return split(x, indices_or_sections, 2)


@implements(np.unstack)
def unstack(x: Array, *, axis: int = 0) -> tuple[Array, ...]:
    """`np.unstack`: the parts along an axis, without that axis."""
    return tuple(x[_along(axis, i, np.ndim(x))] for i in range(np.shape(x)[axis]))


# Padding, turning, repeating


@implements(np.pad)
@primitive
def pad(x: Array, *, pad_width: Any, mode: str = "constant", constant_values: Any = 0) -> Array:
    """`np.pad` with a constant: a border of `pad_width` elements, one number or pair per axis.

    Raises ValueError for the other modes of NumPy.

    >>> pad(np.ones(2), pad_width=(1, 2))
    array([0., 1., 1., 0., 0., 0.])
    """
    if mode != "constant":
        raise ValueError(
            f"np.pad with mode={mode!r} has no derivative rule in chainrule, mode='constant' has: "
            "join the border on with np.concatenate instead"
        )
    pairs = _pairs(pad_width, np.ndim(x)) or pad_width  # a number has no axis to be padded
    return np.pad(x, pairs, constant_values=constant_values)


def _pairs(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """How much is added before and after, for each axis."""
    return [(int(before), int(after)) for before, after in np.broadcast_to(pad_width, (ndim, 2))]


def _inside(pad_width: Any, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The key of the array in its padded form."""
    pairs = _pairs(pad_width, len(shape))
    return tuple(slice(before, before + n) for (before, _), n in zip(pairs, shape, strict=True))


@implements(np.flip)
@primitive(is_view=True, linear="jointly")
def flip(x: Array, axis: Any = None) -> Array:
    """`np.flip`: the elements in reverse order along an axis, some, or all."""
    return np.flip(x, axis)


@implements(np.roll)
@primitive(linear="jointly")
def roll(x: Array, *, shift: Any, axis: Any = None) -> Array:
    """`np.roll`: the elements moved along an axis, those pushed out at one end in at the other."""
    return np.roll(x, shift, axis)


def _negative(shift: Any) -> Any:
    return tuple(-s for s in shift) if isinstance(shift, tuple | list) else -shift


# fmt: off
defvjp(pad,  lambda g, out, x, pad_width, mode, constant_values: g[_inside(pad_width, x.shape)])
defvjp(flip, lambda g, out, x, axis:                             flip(g, axis))
defvjp(roll, lambda g, out, x, shift, axis:                      roll(g, _negative(shift), axis))
# fmt: on


@implements(np.fliplr)
def fliplr(x: Array) -> Array:
    """`np.fliplr`: the second axis reversed."""
    return flip(x, 1)


@implements(np.flipud)
def flipud(x: Array) -> Array:
    """`np.flipud`: the first axis reversed."""
    return flip(x, 0)


@implements(np.tile)
def tile(x: Array, reps: Any) -> Array:
    """`np.tile`: the whole array repeated along each axis."""
    times = tuple(map(int, np.atleast_1d(reps)))
    ndim = max(len(times), np.ndim(x))
    times = (1,) * (ndim - len(times)) + times
    shape = (1,) * (ndim - np.ndim(x)) + np.shape(x)
    # Each axis of size n becomes a pair (1, n), the pair (times, n), and again one axis.
    paired = reshape(x, tuple(chain.from_iterable((1, n) for n in shape)))
    repeated = broadcast_to(paired, tuple(chain.from_iterable(zip(times, shape, strict=True))))
    return reshape(repeated, tuple(k * n for k, n in zip(times, shape, strict=True)))


@implements(np.repeat)
def repeat(x: Array, repeats: Any, axis: int | None = None) -> Array:
    """`np.repeat`: each element along an axis so many times, one number for all or one for each."""
    if axis is None or (np.ndim(x) == 0 and axis in (0, -1)):
        x, axis = ravel(x), 0
    shape, axis = np.shape(x), normalize_axis_index(axis, np.ndim(x))
    counts = np.asarray(repeats)
    if counts.size != 1:
        return x[_along(axis, np.repeat(np.arange(shape[axis]), counts), len(shape))]
    times = int(counts.item())
    before, after = shape[: axis + 1], shape[axis + 1 :]
    repeated = broadcast_to(expand_dims(x, axis + 1), (*before, times, *after))
    return reshape(repeated, (*shape[:axis], shape[axis] * times, *after))
