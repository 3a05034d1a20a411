"""Example calls of the primitives of `primitives/indexing.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng
from chainrule.primitives.indexing import Slot

__all__ = ["cases"]

_ALL = slice(None)


def _keys(rng: Rng) -> list[tuple[tuple[int, ...], tuple[Any, ...], tuple[Any, ...]]]:
    """Shape of the array, key, index arrays: every kind of key, with repeated places."""
    return [
        ((4, 3), (1,), ()),
        ((4, 3), (slice(None, None, -2), -1), ()),
        ((4, 3), (Ellipsis, None, slice(1, 3)), ()),
        ((4, 0), (_ALL, slice(0, 5)), ()),
        ((), (Ellipsis,), ()),
        ((4, 3), (Slot(0),), (np.array([1, 1, -1]),)),
        ((4, 3), (Slot(0), Slot(1)), (np.array([[0], [0]]), np.array([2, 2, 1]))),
        ((4, 3, 2), (Slot(0), _ALL, Slot(1)), (np.array([3, 3]), np.array([0, 1]))),
        ((4, 3, 2), (_ALL, Slot(0), 1), (np.array([[0, 0], [2, 1]]),)),
        ((4, 3), (Slot(0),), (np.zeros(0, np.int64),)),
        ((4, 3), (Slot(0),), (rng.random((4, 3)) < 0.5,)),
        ((4, 3), (Slot(0), Slot(1)), (np.array([True, False, True, False]), np.array([0, 2]))),
        ((4, 3), (_ALL, Slot(0)), (np.array([True, False, True]),)),
        ((1,), (Slot(0),), (np.zeros((2, 2), np.int64),)),
    ]


def cases(rng: Rng) -> Cases:
    """At least one example per primitive, by its name in the table."""
    index, scatter_add = [], []
    for shape, key, arrays in _keys(rng):
        x = rng.normal(size=shape)
        filled = tuple(arrays[part.number] if isinstance(part, Slot) else part for part in key)
        values = rng.normal(size=np.shape(x[filled]))
        index.append(Case((x, *arrays), {"key": key}))
        scatter_add.append(Case((values, *arrays), {"key": key, "shape": shape}))
    lines = np.array([[2, 2, 0], [1, 0, 0]])
    return {
        "index": index,
        "scatter_add": scatter_add,
        "take_along_axis": [
            Case((rng.normal(size=(2, 3)), lines)),
            Case((rng.normal(size=(4, 3)), lines), {"axis": 0}),
            Case((rng.normal(size=(2, 3)), np.zeros((2, 0), np.int64))),
            Case((rng.normal(size=(2, 1)), np.zeros((1, 2), np.int64))),
        ],
        "add_along_axis": [
            Case((rng.normal(size=(2, 3)), lines), {"shape": (2, 3)}),
            Case((rng.normal(size=(2, 3)), lines), {"shape": (4, 3), "axis": 0}),
            Case((rng.normal(size=(2, 0)), np.zeros((2, 0), np.int64)), {"shape": (2, 3)}),
            Case((rng.normal(size=(2, 2)), np.zeros((1, 2), np.int64)), {"shape": (2, 1)}),
        ],
        "argsort": [
            Case((rng.normal(size=(3, 4)),), analytic=False),
            Case((np.array([1.0, 0.0, 1.0]),), {"axis": 0}, analytic=False),
        ],
    }
