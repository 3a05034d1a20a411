"""What lies under a kernel at each of its places in an image, as the rows of a matrix.

The rows overlap in the image, and so take much more memory than it. They are made for a few images
at a time, and read again while they are in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.primitives.convolve import Padding, Pair, reach_of
from chainrule.primitives.dispatch import Array

__all__ = [
    "geometry_of",
    "n_abreast",
    "n_at_once",
    "part_of",
    "rows_under",
    "widened",
    "windows_of",
]

_AT_ONCE = 262144
"""Elements of the rows that are made at once, where more than one image has so few: they are read
again in a core's second-level cache, and are enough for another thread to be worth its coming."""


def windows_of(images: Array, places: Pair, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """What lies under the kernel at each place, (N, OH, OW, KH, KW, C), as a view.

    The images lie in one piece of memory.
    """
    # The same as sliding_window_view and a few slices, in a tenth of the time.
    n_images, _, _, c = images.shape
    image, line, pixel, channel = images.strides
    between = image, line * stride[0], pixel * stride[1]
    strides = (*between, line * dilation[0], pixel * dilation[1], channel)
    return np.ndarray((n_images, *places, *size, c), images.dtype, images, 0, strides)


def n_at_once(n_elements: int, n_images: int) -> int:
    """How many images to work on at once, where each takes so many elements of memory."""
    return max(1, min(_AT_ONCE // max(1, n_elements), n_images))


def rows_under(
    x: Array,
    first: int,
    last: int,
    padding: Padding,
    places: Pair,
    size: Pair,
    stride: Pair,
    dilation: Pair,
) -> Iterator[tuple[slice, Array]]:
    """For a few of these images after the other: which they are, and what lies under the kernel
    at each of its places, as the rows of a matrix. The next rows overwrite it.
    """
    (top, bottom), (left, right) = padding
    _, height, width, c = x.shape
    shape = (places[0] * places[1], size[0] * size[1] * c)
    few = n_at_once(shape[0] * shape[1], last - first)
    memory = np.empty((few, *shape), x.dtype)
    is_padded = any((top, bottom, left, right))
    if is_padded:  # the zeros around the images are written once
        padded = np.zeros((few, top + height + bottom, left + width + right, c), x.dtype)
        inside = padded[:, top : top + height, left : left + width]
    windows = windows_of(padded if is_padded else x, places, size, stride, dilation)
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

    The limits: `run` elements side by side in a row, `columns` of the product.
    """
    # With few channels, rows are made of short runs of memory and the product is slim, and both
    # are slow. The part of the image under several neighbours is hardly larger than that under one.
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
