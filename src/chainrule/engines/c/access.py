"""Where the elements of a value stand: a pointer, a first element, and a step along each axis.

A view (a transpose, a slice, a broadcast) is another access to the same memory, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from chainrule.engines.c.indices import affine
from chainrule.engines.c.types import c_type

__all__ = ["Access", "collapse", "contiguous_strides", "index_text"]


@dataclass(frozen=True)
class Access:
    """The elements of an array in the memory that `pointer` names; steps count elements."""

    pointer: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    start: int = 0

    @property
    def c_type(self) -> str:
        return c_type(self.dtype)

    @property
    def size(self) -> int:
        return prod(self.shape)

    @property
    def is_contiguous(self) -> bool:
        """Whether the elements lie in C order, without gaps."""
        wanted = contiguous_strides(self.shape)
        return all(
            size == 1 or have == want
            for size, have, want in zip(self.shape, self.strides, wanted, strict=True)
        )

    @property
    def part(self) -> Access:
        """The first of the parts along the first axis."""
        return replace(self, shape=self.shape[1:], strides=self.strides[1:])

    @property
    def first(self) -> str:
        """The address of the first element."""
        return f"{self.pointer} + {self.start}" if self.start else self.pointer

    def at(self, *indices: str) -> str:
        """The element with these indices, one for each axis, as C writes it: x[100 * i + j]."""
        return f"{self.pointer}[{index_text(self.strides, indices, self.start)}]"

    def cut(self, axis: int, start: int, stop: int) -> Access:
        """The part between two places along an axis."""
        shape = (*self.shape[:axis], stop - start, *self.shape[axis + 1 :])
        return replace(self, shape=shape, start=self.start + start * self.strides[axis])

    def broadcast(self, shape: tuple[int, ...]) -> Access:
        """The same elements read over a larger space, as NumPy broadcasts them."""
        missing = len(shape) - len(self.shape)
        steps = zip(self.shape, self.strides, strict=True)
        strides = (*(0 for _ in range(missing)), *(0 if n == 1 else step for n, step in steps))
        return replace(self, shape=shape, strides=strides)


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """The steps along the axes of an array in C order, in elements."""
    strides: list[int] = []
    step = 1
    for size in reversed(shape):
        strides.append(step)
        step *= size
    return tuple(reversed(strides))


def collapse(space: tuple[int, ...], accesses: Sequence[Access]) -> tuple[list[int], list[Access]]:
    """The space with axes taken together where every array allows it, and those of length 1 left
    out.
    """
    extents: list[int] = []
    steps: list[list[int]] = [[] for _ in accesses]
    for axis, size in enumerate(space):
        if size == 1:
            continue
        own = [access.strides[axis] for access in accesses]
        if extents and all(s[-1] == step * size for s, step in zip(steps, own, strict=True)):
            extents[-1] *= size
            for strides, step in zip(steps, own, strict=True):
                strides[-1] = step
        else:
            extents.append(size)
            for strides, step in zip(steps, own, strict=True):
                strides.append(step)
    return extents, [
        Access(a.pointer, a.dtype, tuple(extents), tuple(s), a.start)
        for a, s in zip(accesses, steps, strict=True)
    ]


def index_text(strides: Sequence[int], indices: Sequence[str], start: int = 0) -> str:
    """The number of an element in memory, from its index along each axis."""
    return affine(*zip(strides, indices, strict=True), start)
