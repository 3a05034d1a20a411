"""Convolution of images (the cross-correlation that everyone calls so) and what its rules need.

    out[n, y, x, d] = sum over i, j, c of kernel[i, j, c, d]
                      * image[n, y * stride + i * dilation, x * stride + j * dilation, c]

Channels stand last. The sum is linear in the image and in the kernel, and read the other two ways
round it is the cotangent of the one and of the other. So there are three primitives, each linear
in both its arguments, and the rules of each are the other two: derivatives of every order. A
fourth, `convolve_add`, adds a bias.

Each is a product of matrices: a row for every place the kernel is put, made of the part of the
image under it. The rows overlap and so take much more memory than the image. They are made for a
few images at a time, in the same memory, and read again while they are in the cache.

All take `out=`, a contiguous array of the result's shape and dtype to write to.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.primitives.primitive import defvjp, primitive

__all__ = [
    "Padding",
    "Pair",
    "convolve",
    "convolve_add",
    "convolve_kernel_vjp",
    "convolve_transpose",
]

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

_AT_ONCE = 131072
"""Elements of the rows that are made at once, where more than one image has so few: they are read
again in the second-level cache of a core, which holds some 256 000 numbers of 4 bytes."""


@primitive
def convolve(
    x: Array,
    kernel: Array,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    threads: int = 1,
    out: Array | None = None,
) -> Array:
    """Images (N, H, W, C) under a kernel (KH, KW, C // groups, D): (N, OH, OW, D), channels last.

    `padding` adds zeros ((above, below), (left, right)), `stride` is the step from one place of the
    kernel to the next, `dilation` that between the elements of an image that it multiplies, each
    (vertical, horizontal). With `groups`, the channels and kernels are dealt into so many parts
    that do not mix. `threads` share the images; they pay where BLAS itself has one thread only.
    A NaN or infinity of an image may reach all results in the lines that see it.
    Raises ValueError where the channels do not fit, or a kernel does not fit into the image.

    >>> convolve(np.arange(9.0).reshape(1, 3, 3, 1), np.ones((2, 2, 1, 1)))[0, ..., 0]
    array([[ 8., 12.],
           [20., 24.]])
    """
    _check_channels(x, kernel, groups)
    how = (stride, padding, dilation, threads)
    return _each_group(_convolve, (x, kernel), groups, out, *how)


@primitive
def convolve_add(
    x: Array,
    kernel: Array,
    bias: Array,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    threads: int = 1,
    out: Array | None = None,
) -> Array:
    """`convolve(x, kernel) + bias`, with a bias (D,) for each channel of the result.

    One primitive, because NumPy adds few long runs of memory, and sums them for the cotangent of
    the bias, many times faster than one run for each place of an image.
    """
    _check_channels(x, kernel, groups)
    how = (stride, padding, dilation, threads)
    return _each_group(_convolve, (x, kernel, bias), groups, out, *how)


@primitive
def convolve_transpose(
    y: Array,
    kernel: Array,
    *,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    threads: int = 1,
    out: Array | None = None,
) -> Array:
    """Every element of y (N, OH, OW, D) puts a kernel onto images (N, *size, C), and they add up.

    The cotangent of the images x of `convolve` for the cotangent y of its result; also known as
    transposed or fractionally strided convolution. A NaN or infinity of y may spread along lines.

    >>> convolve_transpose(np.ones((1, 1, 2, 1)), np.ones((1, 3, 1, 1)), size=(1, 4))[0, ..., 0]
    array([[1., 2., 2., 1.]])
    """
    how = (size, stride, padding, dilation, threads)
    return _each_group(_convolve_transpose, (y, kernel), groups, out, *how)


@primitive
def convolve_kernel_vjp(
    x: Array,
    y: Array,
    *,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
    threads: int = 1,
    out: Array | None = None,
) -> Array:
    """The cotangent (*size, C // groups, D) of the kernel of `convolve`, for that of its result, y.

    Each element of the kernel has met one element of the images x for each element of y.
    """
    how = (size, stride, padding, dilation, threads)
    return _each_group(_convolve_kernel_vjp, (x, y), groups, out, *how)


# fmt: off
defvjp(convolve,
       lambda g, out, x, kernel, **how:
       convolve_transpose(g, kernel, size=x.shape[1:3], **how),
       lambda g, out, x, kernel, **how:
       convolve_kernel_vjp(x, g, size=kernel.shape[:2], **how))
defvjp(convolve_add,
       lambda g, out, x, kernel, bias, **how:
       convolve_transpose(g, kernel, size=x.shape[1:3], **how),
       lambda g, out, x, kernel, bias, **how:
       convolve_kernel_vjp(x, g, size=kernel.shape[:2], **how),
       lambda g, out, x, kernel, bias, **how:
       _sum_places(g))
defvjp(convolve_transpose,
       lambda g, out, y, kernel, size, **how:
       convolve(g, kernel, **how),
       lambda g, out, y, kernel, size, **how:
       convolve_kernel_vjp(g, y, size=kernel.shape[:2], **how))
defvjp(convolve_kernel_vjp,
       lambda g, out, x, y, size, **how:
       convolve_transpose(y, g, size=x.shape[1:3], **how),
       lambda g, out, x, y, size, **how:
       convolve(x, g, **how))
# fmt: on


def _sum_places(g: Array) -> Array:
    """The sum of g (N, H, W, D) over all places of all images: of its lines, and along a line."""
    n_images, height, width, d = g.shape
    line = np.sum(np.reshape(g, (n_images * height, width * d)), axis=0)
    return np.sum(np.reshape(line, (width, d)), axis=0)


def _check_channels(x: Array, kernel: Array, groups: int) -> None:
    if kernel.shape[2] * groups != x.shape[3] or kernel.shape[3] % groups:
        raise ValueError(
            f"images of shape {x.shape} in {groups} groups need kernels of shape (height, width, "
            f"{x.shape[3] // groups}, a multiple of {groups}), but got {kernel.shape}"
        )


def _each_group(
    function: Callable[..., Array],
    arrays: tuple[Array, ...],
    groups: int,
    out: Array | None,
    *how: Any,
) -> Array:
    """The function of every group of channels of its arguments, side by side."""
    if groups == 1:
        return function(arrays, out, *how)
    parts = zip(*(np.split(array, groups, axis=-1) for array in arrays), strict=True)
    return np.concatenate([function(part, None, *how) for part in parts], axis=-1, out=out)


def _convolve(
    arrays: tuple[Array, ...],
    out: Array | None,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    threads: int,
) -> Array:
    """The rows under the kernel, times the kernel as a matrix, and the bias added to each line."""
    x, kernel, *bias = arrays
    n_images, dtype = len(x), np.result_type(*arrays)
    size, d = kernel.shape[:2], kernel.shape[3]
    height, width = _n_places(x.shape, size, stride, padding, dilation)
    if out is None:
        out = np.empty((n_images, height, width, d), dtype)
    n = _abreast(width, x.shape[3], d, size, stride, dilation, run=40, columns=64)
    matrix = _widen(kernel, n, stride, dilation).astype(dtype, copy=False)
    geometry = _geometry(n, size, stride, dilation)
    products = out.reshape(n_images, height * width // n, n * d)
    lines = out.reshape(n_images, height, width * d)
    line = np.tile(bias[0], width) if bias else None

    def work(first: int, last: int) -> None:
        for images, rows in _rows_under(x, first, last, dtype, padding, *geometry):
            np.dot(rows, matrix, out=products[images].reshape(len(rows), n * d))
            if line is not None:
                lines[images] += line  # now, while they are in the cache

    _share(work, n_images, threads)
    return out


def _convolve_kernel_vjp(
    arrays: tuple[Array, Array],
    out: Array | None,
    size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    threads: int,
) -> Array:
    """The rows under the kernel, transposed, times what the kernel made of them."""
    x, y = arrays
    n_images, height, width, d = y.shape
    c, dtype = x.shape[3], np.result_type(x, y)
    n = _abreast(width, c, d, size, stride, dilation, run=40, columns=64)
    geometry = _geometry(n, size, stride, dilation)
    (_, reach), _, _ = geometry
    y = y.reshape(n_images, height * width // n, n * d).astype(dtype, copy=False)

    def work(first: int, last: int) -> Array:
        total = np.zeros((size[0] * reach * c, n * d), dtype)
        for images, rows in _rows_under(x, first, last, dtype, padding, *geometry):
            total += np.dot(rows.T, y[images].reshape(len(rows), n * d))
        return total

    total = sum(_share(work, n_images, threads))
    wide = total.reshape(size[0], reach, c, n, d)
    if out is None:
        out = np.zeros((*size, c, d), dtype)
    else:
        out.fill(0)
    for k in range(n):
        out += _part_of(wide, k, n, size[1], stride[1], dilation[1])
    return out


def _convolve_transpose(
    arrays: tuple[Array, Array],
    out: Array | None,
    image: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    threads: int,
) -> Array:
    """The product with the transposed kernel: rows, added to the images where they lie."""
    y, kernel = arrays
    n_images, height, width, d = y.shape
    size, c, dtype = kernel.shape[:2], kernel.shape[2], np.result_type(y, kernel)
    if out is None:
        out = np.empty((n_images, *image, c), dtype)
    n = _abreast(width, c, d, size, stride, dilation, run=64, columns=80)
    matrix = _widen(kernel, n, stride, dilation).astype(dtype, copy=False).T
    geometry = _geometry(n, size, stride, dilation)
    wide_size, wide_stride, wide_dilation = geometry
    y = y.reshape(n_images, height * width // n, n * d).astype(dtype, copy=False)
    (top, bottom), (left, right) = padding
    reach = _reach(wide_size, wide_dilation)
    high = max(top + image[0] + bottom, (height - 1) * stride[0] + reach[0])
    broad = max(left + image[1] + right, (width // n - 1) * wide_stride[1] + reach[1])
    apart = -(-reach[1] // wide_stride[1])  # rows so far apart in a line do not overlap

    def work(first: int, last: int) -> None:
        few = _n_at_once(height * width // n * matrix.shape[1], last - first)
        frame = np.empty((few, high, broad, c), dtype)
        memory = np.empty((few, *y.shape[1:2], matrix.shape[1]), dtype)
        for start in range(first, last, few):
            images = slice(start, min(start + few, last))
            here = slice(images.stop - start)
            rows = memory[here].reshape(-1, matrix.shape[1])
            np.dot(y[images].reshape(len(rows), n * d), matrix, out=rows)
            frame[here] = 0
            windows = _windows(frame[here], *geometry)[:, :height, : width // n]
            rows = rows.reshape(windows.shape)
            for i in range(size[0]):
                for k in range(apart):
                    windows[:, :, k::apart, i] += rows[:, :, k::apart, i]
            out[images] = frame[here, top : top + image[0], left : left + image[1]]

    _share(work, n_images, threads)
    return out


def _reach(size: Pair, dilation: Pair) -> Pair:
    """From the first element of a kernel to its last, both included, downwards and across."""
    return (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1


def _n_places(
    shape: tuple[int, ...], size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> list[int]:
    """How many places there are for a kernel of this size, downwards and across."""
    places = []
    for axis in range(2):
        room = shape[axis + 1] + sum(padding[axis]) - _reach(size, dilation)[axis]
        if size[axis] < 1 or room < 0:
            raise ValueError(
                f"a kernel of size {size}, dilation {dilation}, does not fit into images of shape "
                f"{shape} with padding {padding}"
            )
        places.append(room // stride[axis] + 1)
    return places


def _windows(images: Array, size: Pair, stride: Pair, dilation: Pair) -> Array:
    """What lies under the kernel at each place, (N, OH, OW, KH, KW, C), as a view."""
    windows = np.lib.stride_tricks.sliding_window_view(
        images, _reach(size, dilation), axis=(1, 2), writeable=images.flags.writeable
    )
    windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    return windows.transpose(0, 1, 2, 4, 5, 3)


def _n_at_once(n_elements: int, n_images: int) -> int:
    """How many images to work on at once, where each takes so many elements of memory."""
    return max(1, min(_AT_ONCE // max(1, n_elements), n_images))


def _rows_under(
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
    down, across = _n_places(x.shape, size, stride, padding, dilation)
    shape = (down * across, size[0] * size[1] * c)
    few = _n_at_once(shape[0] * shape[1], last - first)
    memory = np.empty((few, *shape), dtype)
    is_padded = any((top, bottom, left, right))
    if is_padded:
        padded = np.zeros((few, top + height + bottom, left + width + right, c), dtype)
        inside = padded[:, top : top + height, left : left + width]
    windows = _windows(padded if is_padded else x, size, stride, dilation)
    for start in range(first, last, few):
        images = slice(start, min(start + few, last))
        here = slice(images.stop - start)
        if is_padded:
            inside[here] = x[images]
        under = windows[here if is_padded else images]
        np.copyto(memory[here].reshape(under.shape), under)
        yield images, memory[here].reshape(-1, shape[1])


def _abreast(
    width: int, c: int, d: int, size: Pair, stride: Pair, dilation: Pair, run: int, columns: int
) -> int:
    """How many neighbours in a line of results to compute at once.

    With few channels, rows are made of short runs of memory and the product is slim, and both
    are slow. The part of the image under several neighbours is hardly larger than that under one.
    The limits: `run` elements side by side in a row, `columns` of the product.
    """
    for n in range(min(width, columns // max(1, d)), 1, -1):
        if width % n == 0 and _geometry(n, size, stride, dilation)[0][1] * c <= run:
            return n
    return 1


def _geometry(n: int, size: Pair, stride: Pair, dilation: Pair) -> tuple[Pair, Pair, Pair]:
    """Size, stride and dilation of n kernels abreast, each at the place next to the other."""
    if n == 1:
        return size, stride, dilation
    reach = (n - 1) * stride[1] + _reach(size, dilation)[1]
    return (size[0], reach), (stride[0], stride[1] * n), (dilation[0], 1)


def _widen(kernel: Array, n: int, stride: Pair, dilation: Pair) -> Array:
    """The matrix of n kernels abreast: (KH * KW * C, n * D), with a wider KW where n is not 1."""
    kh, kw, c, d = kernel.shape
    if n == 1:
        return kernel.reshape(kh * kw * c, d)
    (_, reach), _, _ = _geometry(n, (kh, kw), stride, dilation)
    wide = np.zeros((kh, reach, c, n, d), kernel.dtype)
    for k in range(n):
        _part_of(wide, k, n, kw, stride[1], dilation[1])[...] = kernel
    return wide.reshape(kh * reach * c, n * d)


def _part_of(wide: Array, k: int, n: int, kw: int, stride: int, dilation: int) -> Array:
    """Where the k-th of n kernels abreast stands in (KH, KW, C, n, D), as a view."""
    if n == 1:
        return wide[:, :, :, 0]
    return wide[:, k * stride : k * stride + (kw - 1) * dilation + 1 : dilation, :, k]


def _share(work: Callable[[int, int], Any], n_images: int, threads: int) -> list[Any]:
    """What `work(first, last)` returns for equal parts of the images, each on a thread of its own.

    NumPy lets the other threads run while it copies and multiplies.
    """
    threads = min(threads, n_images)
    if threads <= 1:
        return [work(0, n_images)]
    from concurrent.futures import wait
    from contextvars import copy_context

    parts = [(n_images * k // threads, n_images * (k + 1) // threads) for k in range(threads)]
    pool = _thread_pool(threads - 1, os.getpid())
    others = [pool.submit(copy_context().run, work, a, b) for a, b in parts[1:]]
    try:
        own = work(*parts[0])
    finally:
        wait(others)  # whatever happens: they write into memory that the next call uses again
    return [own, *(other.result() for other in others)]


@cache
def _thread_pool(n_threads: int, process: int) -> Any:
    """Threads that stay for the next call; a forked process has none of its parent's."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(n_threads)
