"""Arrays joined, bordered, turned and cut to triangles: blocks of elements that are copied."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from chainrule.compiler.graph import Equation
from chainrule.engines.c.access import Access
from chainrule.engines.c.blocks import copied, filled, looped, zeroed
from chainrule.engines.c.indices import INDICES
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.engines.c.types import literal

__all__ = [
    "KERNELS",
    "concatenate",
    "embed_diagonal",
    "one_number",
    "pad",
    "reshape",
    "roll",
    "stack",
    "triangle",
]


def concatenate(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """Each array at its part of the result."""
    *parts, out = arrays
    axis = normalize_axis_index(equation.params["axis"], len(out.shape))
    lines: list[str] = []
    start = 0
    for part in parts:
        stop = start + part.shape[axis]
        lines += copied(part, out.cut(axis, start, stop))
        start = stop
    return lines


def stack(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """Each array at its place along the new axis."""
    *parts, out = arrays
    axis = normalize_axis_index(equation.params["axis"], len(out.shape))
    lines: list[str] = []
    for place, part in enumerate(parts):
        row = out.cut(axis, place, place + 1)
        shape, strides = list(row.shape), list(row.strides)
        del shape[axis], strides[axis]
        lines += copied(part, Access(out.pointer, out.dtype, (*shape,), (*strides,), row.start))
    return lines


def pad(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The border, then the array within it. Of borders that meet the last axis' own wins."""
    x, out = arrays
    ndim = len(x.shape)
    widths = np.broadcast_to(equation.params["pad_width"], (ndim, 2)).tolist()
    values = np.broadcast_to(equation.params["constant_values"], (ndim, 2))
    texts = [[literal(value, out.dtype) for value in pair] for pair in values]
    inner = out
    for axis, (before, _) in enumerate(widths):
        inner = inner.cut(axis, before, before + x.shape[axis])
    if len({text for pair in texts for text in pair}) == 1:
        return [*filled(out, texts[0][0]), *copied(x, inner)]
    lines: list[str] = []
    for axis, (before, after) in enumerate(widths):
        border = out  # all of the axes up to this one, what x fills of those behind it
        for other in range(axis + 1, ndim):
            start = widths[other][0]
            border = border.cut(other, start, start + x.shape[other])
        size = out.shape[axis]
        lines += filled(border.cut(axis, 0, before), texts[axis][0])
        lines += filled(border.cut(axis, size - after, size), texts[axis][1])
    return [*lines, *copied(x, inner)]


def roll(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """What stays on its side of an end, and what comes in at the other: pieces along each axis."""
    x, out = arrays
    shift, axis = equation.params["shift"], equation.params["axis"]
    if axis is None:
        x, out = (Access(a.pointer, a.dtype, (a.size,), (1,)) for a in (x, out))
        axis = 0
    shifts = [0] * len(x.shape)
    for own_shift, own_axis in np.broadcast(shift, axis):
        shifts[normalize_axis_index(int(own_axis), len(x.shape))] += int(own_shift)
    pieces: list[list[tuple[int, int, int]]] = []  # for each axis: from, to, and where to
    for size, by in zip(x.shape, shifts, strict=True):
        by %= max(1, size)
        pieces.append([(0, size - by, by), (size - by, size, 0)] if by else [(0, size, 0)])
    lines: list[str] = []
    for choice in product(*pieces):
        source, target = x, out
        for along, (start, stop, place) in enumerate(choice):
            source = source.cut(along, start, stop)
            target = target.cut(along, place, place + stop - start)
        lines += copied(source, target)
    return lines


def triangle(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The elements on one side of the k-th diagonal, zeros on the other."""
    x, out = arrays
    x = x.broadcast(out.shape)  # NumPy makes a matrix of a vector
    names = INDICES[: len(out.shape)]
    row, column = names[-2:]
    k, is_lower = int(equation.params["k"]), equation.name == "tril"
    edge = row if not k else f"{row} {'+' if k > 0 else '-'} {abs(k)}"
    keeps = f"{column} {'<=' if is_lower else '>='} {edge}"
    line = f"{out.at(*names)} = {keeps} ? {x.at(*names)} : 0;"
    return looped(zip(names, out.shape, strict=True), [line])


def embed_diagonal(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """Zeros, then the values on the diagonal, which is one axis of steps along two."""
    values, out = arrays
    params, ndim = equation.params, len(out.shape)
    first = normalize_axis_index(params["axis1"], ndim)
    second = normalize_axis_index(params["axis2"], ndim)
    offset = params["offset"]
    others = [axis for axis in range(ndim) if axis not in (first, second)]
    down, right = out.strides[first], out.strides[second]
    diagonal = Access(
        out.pointer,
        out.dtype,
        (*(out.shape[axis] for axis in others), values.shape[-1]),
        (*(out.strides[axis] for axis in others), down + right),
        max(-offset, 0) * down + max(offset, 0) * right,
    )
    return [*zeroed(out), *copied(values.broadcast(diagonal.shape), diagonal)]


def reshape(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The elements, which come in order, in a row."""
    x, out = arrays
    row, target = (Access(a.pointer, a.dtype, (out.size,), (1,)) for a in (x, out))
    return copied(row, target)


def one_number(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The one element of what is read, wherever the result has elements.

    Only a number, or an array of one element, is no view when it is turned or repeated.
    """
    x, out = arrays
    assert x.size == 1 or not out.size, f"{equation} is a view"
    return filled(out, f"{x.pointer}[0]")


KERNELS = {
    "broadcast_to": Kernel(one_number),
    "concatenate": Kernel(concatenate),
    "diagonal": Kernel(one_number),
    "embed_diagonal": Kernel(embed_diagonal),
    "flip": Kernel(one_number),
    "pad": Kernel(pad),
    "reshape": Kernel(reshape, contiguous=True),
    "roll": Kernel(roll, contiguous=True),
    "stack": Kernel(stack),
    "stop_gradient": Kernel(one_number),
    "transpose": Kernel(one_number),
    "tril": Kernel(triangle),
    "triu": Kernel(triangle),
}
