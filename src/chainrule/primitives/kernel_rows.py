"""What lies under a kernel at each of its places in an image, as the rows of a matrix.

The rows overlap in the image, and so take much more memory than it. They are made for a few images
at a time, and read again while they are in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array

__all__ = [
    "Padding",
    "Pair",
    "geometry_of",
    "n_abreast",
    "n_at_once",
    "n_places",
    "part_of",
    "reach_of",
    "rows_under",
    "widened",
    "windows_of",
]

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

_AT_ONCE = 262144
"""Elements of the rows that are made at once, where more than one image has so few: they are read
again in a core's second-level cache, and are enough for another thread to be worth its coming."""


def reach_of(size: Pair, dilation: Pair) -> Pair:
    """From the first element of a kernel to its last, both included, downwards and across."""
    return (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1


def n_places(
    shape: tuple[int, ...], size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> list[int]:
    """How many places there are for a kernel of this size, downwards and across."""
    places = []
    for axis in range(2):
        room = shape[axis + 1] + sum(padding[axis]) - reach_of(size, dilation)[axis]
        if size[axis] < 1 or room < 0:
            raise ValueError(
                f"a kernel of size {size}, dilation {dilation}, does not fit into images of shape "
                f"{shape} with padding {padding}"
            )
        places.append(room // stride[axis] + 1)
    return places


def windows_of(images: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """What lies under the kernel at each place, (N, OH, OW, KH, KW, C), as a view.

    The images lie in one piece of memory. The same as `sliding_window_view` and a few slices, in a
    tenth of the time.
    """
    n_images, _, _, c = images.shape
    down, across = n_places(images.shape, size, stride, ((0, 0), (0, 0)), dilation)
    image, line, pixel, channel = images.strides
    places = image, line * stride[0], pixel * stride[1]
    strides = (*places, line * dilation[0], pixel * dilation[1], channel)
    return np.ndarray((n_images, down, across, *size, c), images.dtype, images, 0, strides)


def n_at_once(n_elements: int, n_images: int) -> int:
    """How many images to work on at once, where each takes so many elements of memory."""
    return max(1, min(_AT_ONCE // max(1, n_elements), n_images))


def rows_under(
    x: Array,
    first: int,
    last: int,
    dtype: Any,
    padding: Padding,
    size: Pair,
    stride: Pair,
    dilation: Pair,
) -> Iterator[tuple[slice, Array]]:
    """For a few of these images after the other: which they are, and what lies under the kernel
    at each of its places, as the rows of a matrix. The next rows overwrite it.
    """
    x = x.astype(dtype, order="C", copy=False)
    (top, bottom), (left, right) = padding
    _, height, width, c = x.shape
    down, across = n_places(x.shape, size, stride, padding, dilation)
    shape = (down * across, size[0] * size[1] * c)
    few = n_at_once(shape[0] * shape[1], last - first)
    memory = np.empty((few, *shape), dtype)
    is_padded = any((top, bottom, left, right))
    if is_padded:
        padded = np.zeros((few, top + height + bottom, left + width + right, c), dtype)
        inside = padded[:, top : top + height, left : left + width]
    windows = windows_of(padded if is_padded else x, size, stride, dilation)
    for start in range(first, last, few):
        images = slice(start, min(start + few, last))
        here = slice(images.stop - start)
        if is_padded:
            inside[here] = x[images]
        under = windows[here if is_padded else images]
        np.copyto(memory[here].reshape(under.shape), under)
        yield images, memory[here].reshape(-1, shape[1])


def n_abreast(
    width: int, c: int, d: int, size: Pair, stride: Pair, dilation: Pair, run: int, columns: int
) -> int:
    """How many neighbours in a line of results to compute at once.

    With few channels, rows are made of short runs of memory and the product is slim, and both
    are slow. The part of the image under several neighbours is hardly larger than that under one.
    The limits: `run` elements side by side in a row, `columns` of the product.
    """
    for n in range(min(width, columns // max(1, d)), 1, -1):
        if width % n == 0 and geometry_of(n, size, stride, dilation)[0][1] * c <= run:
            return n
    return 1


def geometry_of(n: int, size: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair, Pair]:
    """Size, stride and dilation of n kernels abreast, each at the place next to the other."""
    if n == 1:
        return size, stride, dilation
    reach = (n - 1) * stride[1] + reach_of(size, dilation)[1]
    return (size[0], reach), (stride[0], stride[1] * n), (dilation[0], 1)


def widened(kernel: Array, n: int, stride: Pair, dilation: Pair) -> Array:
    """The matrix of n kernels abreast: (KH * KW * C, n * D), with a wider KW where n is not 1."""
    kh, kw, c, d = kernel.shape
    if n == 1:
        return kernel.reshape(kh * kw * c, d)
    (_, reach), _, _ = geometry_of(n, (kh, kw), stride, dilation)
    wide = np.zeros((kh, reach, c, n, d), kernel.dtype)
    for k in range(n):
        part_of(wide, k, n, kw, stride[1], dilation[1])[...] = kernel
    return wide.reshape(kh * reach * c, n * d)


def part_of(wide: Array, k: int, n: int, kw: int, stride: int, dilation: int) -> Array:
    """Where the k-th of n kernels abreast stands in (KH, KW, C, n, D), as a view."""
    if n == 1:
        return wide[:, :, :, 0]
    return wide[:, k * stride : k * stride + (kw - 1) * dilation + 1 : dilation, :, k]
