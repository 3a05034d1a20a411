"""Primitives that pick elements: indexing, take, sort, and the scatter-adds that are their rules.

What is picked several times receives several cotangents, so the rule of an indexing is an addition
at the same places, and the rule of that addition is the indexing again.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from chainrule.primitives.dispatch import AbstractArray, Array, implements
from chainrule.primitives.operands import as_operand
from chainrule.primitives.primitive import defvjp, primitive
from chainrule.primitives.shape import ravel

__all__ = [
    "Key",
    "Slot",
    "add_along_axis",
    "argsort",
    "getitem",
    "index",
    "scatter_add",
    "sort",
    "take",
    "take_along_axis",
]


class Slot(NamedTuple):
    """The place of the index array with this number in a key."""

    number: int


Key = tuple[Any, ...]
"""The static part of `x[...]`: integers, slices, None and Ellipsis, with slots for index arrays."""


@implements(operator.getitem)
def getitem(x: Array, key: Any) -> Array:
    """`x[key]` for every key NumPy knows: integers, slices, None, ..., integer and boolean arrays.

    >>> getitem(np.arange(4.0), np.array([1, 1, 3]))
    array([1., 1., 3.])
    """
    template: list[Any] = []
    arrays: list[Array] = []
    for part in key if isinstance(key, tuple) else (key,):
        if part is None or part is Ellipsis:
            template.append(part)
        elif isinstance(part, slice):
            template.append(slice(*map(_bound, (part.start, part.stop, part.step))))
        elif isinstance(part, int | np.integer) and not isinstance(part, bool):
            template.append(int(part))
        else:
            template.append(Slot(len(arrays)))
            arrays.append(_index_array(part))
    return index(x, *arrays, key=tuple(template))


def _bound(bound: Any) -> int | None:
    return None if bound is None else operator.index(bound)


def _index_array(part: Any) -> Array:
    if isinstance(part, np.ndarray):
        part = as_operand(part, "an index")
    array = part if isinstance(part, AbstractArray) else np.asarray(part)
    if array.size == 0 and not hasattr(part, "dtype"):
        return array.astype(np.intp)  # x[[]], whose list has no dtype
    if array.dtype.kind not in "iub":
        raise IndexError(
            f"an index of dtype {array.dtype}: integers, slices, None, ... and arrays of integers "
            "or truth values are indices; convert it with .astype(int)"
        )
    return array


@primitive(is_view=True, linear="first")
def index(x: Array, *arrays: Array, key: Key) -> Array:
    """`x[key]` with the index arrays in the slots of the key.

    >>> index(np.eye(3), np.array([0, 2]), key=(slice(None, 2), Slot(0)))
    array([[1., 0.],
           [0., 0.]])
    """
    return x[_fill(key, arrays)]


@primitive(linear="first")
def scatter_add(values: Array, *arrays: Array, key: Key, shape: tuple[int, ...]) -> Array:
    """Zeros of this shape with the values added at `key`, where places may repeat.

    >>> scatter_add(np.ones(3), np.array([1, 1, 3]), key=(Slot(0),), shape=(4,))
    array([0., 2., 0., 1.])
    """
    out = np.zeros(shape, values.dtype)
    if all(np.asarray(array).dtype == bool for array in arrays):
        out[_fill(key, arrays)] = values  # slices and masks name no place twice
    else:
        np.add.at(out, _fill(key, arrays), values)
    return out


def _fill(key: Key, arrays: tuple[Array, ...]) -> tuple[Any, ...]:
    return tuple(arrays[part.number] if isinstance(part, Slot) else part for part in key)


# Index arrays have no derivative.
# fmt: off
defvjp(index,
       lambda g, out, x, *arrays, key: scatter_add(g, *arrays, key=key, shape=x.shape))
defvjp(scatter_add,
       lambda g, out, values, *arrays, key, shape: index(g, *arrays, key=key))
# fmt: on


@implements(np.take)
def take(x: Array, indices: Any, axis: int | None = None, *, mode: str = "raise") -> Array:
    """`np.take`: the elements at these indices along an axis, or of all elements in one row.

    Raises ValueError for modes that bend indices out of range into it.
    """
    if mode != "raise":
        raise ValueError(
            f"np.take with mode={mode!r} is not supported: bring the indices into range with "
            "np.clip or % first"
        )
    if axis is None or (np.ndim(x) == 0 and axis in (0, -1)):
        x, axis = ravel(x), 0
    indices = _index_array(indices)
    if indices.dtype == bool:  # to np.take these are the numbers 0 and 1, not a mask
        indices = np.astype(indices, np.intp)
    return getitem(x, (*[slice(None)] * normalize_axis_index(axis, np.ndim(x)), indices))


# Along one axis


@primitive(linear="first")
def take_along_axis(x: Array, indices: Array, *, axis: int = -1) -> Array:
    """`np.take_along_axis`: for each line along the axis, the elements at its own indices."""
    return np.take_along_axis(x, indices, axis)


@primitive
def add_along_axis(
    values: Array, indices: Array, *, shape: tuple[int, ...], axis: int = -1
) -> Array:
    """Zeros of this shape with the values added, for each line along the axis at its own indices.

    >>> add_along_axis(np.ones((2, 2)), np.array([[0, 0], [0, 1]]), shape=(2, 3))
    array([[2., 0., 0.],
           [1., 1., 0.]])
    """
    out = np.zeros(shape, values.dtype)
    places = list(np.ogrid[tuple(slice(size) for size in shape)])
    places[axis] = indices
    np.add.at(out, tuple(places), values)
    return out


# fmt: off
defvjp(take_along_axis,
       lambda g, out, x, indices, axis: add_along_axis(g, indices, shape=x.shape, axis=axis),
       None)
defvjp(add_along_axis,
       lambda g, out, values, indices, shape, axis: take_along_axis(g, indices, axis=axis),
       None)
# fmt: on


@implements(np.take_along_axis)
def _take_along_axis(x: Array, indices: Array, axis: int | None = -1) -> Array:
    if axis is None:
        x, axis = ravel(x), 0
    return take_along_axis(x, indices, axis=axis)


@primitive
def argsort(x: Array, axis: int = -1) -> Array:
    """The indices that sort x along an axis, equal elements in their order."""
    return np.argsort(x, axis, kind="stable")


@implements(np.argsort)
def _argsort(x: Array, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Array:
    return argsort(ravel(x)) if axis is None else argsort(x, axis)


@implements(np.sort)
def sort(x: Array, axis: int | None = -1, kind: Any = None, *, stable: Any = None) -> Array:
    """`np.sort`, as `take_along_axis` of `argsort`.

    `kind` and `stable` change nothing: the sort is always stable, so that of equal elements each
    receives the cotangent of its own place.
    """
    if axis is None:
        x, axis = ravel(x), 0
    return take_along_axis(x, argsort(x, axis), axis=axis)
