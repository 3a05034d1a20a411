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

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.primitives.kernel_rows import (
    Padding,
    Pair,
    geometry_of,
    n_abreast,
    n_at_once,
    n_places,
    part_of,
    reach_of,
    rows_under,
    widened,
    windows_of,
)
from chainrule.primitives.primitive import defvjp, primitive
from chainrule.primitives.sharing import share_images

__all__ = ["convolve", "convolve_add", "convolve_kernel_vjp", "convolve_transpose"]

_MANY_CHANNELS = 32
"""Channels from which on a product for each place of a kernel is wide enough for BLAS."""


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
    transposed or fractionally strided convolution. A NaN or infinity may spread along lines.

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
    height, width = n_places(x.shape, size, stride, padding, dilation)
    if out is None:
        out = np.empty((n_images, height, width, d), dtype)
    n = n_abreast(width, x.shape[3], d, size, stride, dilation, run=40, columns=96)
    matrix = widened(kernel, n, stride, dilation).astype(dtype, copy=False)
    geometry = geometry_of(n, size, stride, dilation)
    products = out.reshape(n_images, height * width // n, n * d)
    lines = out.reshape(n_images, height, width * d)
    line = np.tile(bias[0], width) if bias else None

    def work(first: int, last: int) -> None:
        for images, rows in rows_under(x, first, last, dtype, padding, *geometry):
            np.dot(rows, matrix, out=products[images].reshape(len(rows), n * d))
            if line is not None:
                lines[images] += line  # now, while they are in the cache

    share_images(work, n_images, threads)
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
    n = n_abreast(width, c, d, size, stride, dilation, run=40, columns=96)
    geometry = geometry_of(n, size, stride, dilation)
    (_, reach), _, _ = geometry
    y = y.reshape(n_images, height * width // n, n * d).astype(dtype, copy=False)

    def work(first: int, last: int) -> Array:
        total = np.zeros((size[0] * reach * c, n * d), dtype)
        for images, rows in rows_under(x, first, last, dtype, padding, *geometry):
            total += np.dot(rows.T, y[images].reshape(len(rows), n * d))
        return total

    total = sum(share_images(work, n_images, threads))
    wide = total.reshape(size[0], reach, c, n, d)
    if out is None:
        out = np.zeros((*size, c, d), dtype)
    else:
        out.fill(0)
    for k in range(n):
        out += part_of(wide, k, n, size[1], stride[1], dilation[1])
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
    if stride == (1, 1) and c >= _MANY_CHANNELS:
        return _convolve_transpose_shifted(arrays, out, image, padding, dilation, threads)
    if out is None:
        out = np.empty((n_images, *image, c), dtype)
    n = n_abreast(width, c, d, size, stride, dilation, run=64, columns=80)
    matrix = widened(kernel, n, stride, dilation).astype(dtype, copy=False).T
    geometry = geometry_of(n, size, stride, dilation)
    wide_size, wide_stride, wide_dilation = geometry
    y = y.reshape(n_images, height * width // n, n * d).astype(dtype, copy=False)
    (top, bottom), (left, right) = padding
    reach = reach_of(wide_size, wide_dilation)
    high = max(top + image[0] + bottom, (height - 1) * stride[0] + reach[0])
    broad = max(left + image[1] + right, (width // n - 1) * wide_stride[1] + reach[1])
    apart = -(-reach[1] // wide_stride[1])  # rows so far apart in a line do not overlap

    def work(first: int, last: int) -> None:
        few = n_at_once(height * width // n * matrix.shape[1], last - first)
        frame = np.empty((few, high, broad, c), dtype)
        memory = np.empty((few, *y.shape[1:2], matrix.shape[1]), dtype)
        for start in range(first, last, few):
            images = slice(start, min(start + few, last))
            here = slice(images.stop - start)
            rows = memory[here].reshape(-1, matrix.shape[1])
            np.dot(y[images].reshape(len(rows), n * d), matrix, out=rows)
            frame[here] = 0
            windows = windows_of(frame[here], *geometry)[:, :height, : width // n]
            rows = rows.reshape(windows.shape)
            for i in range(size[0]):
                for k in range(apart):
                    windows[:, :, k::apart, i] += rows[:, :, k::apart, i]
            out[images] = frame[here, top : top + image[0], left : left + image[1]]

    share_images(work, n_images, threads)
    return out


def _convolve_transpose_shifted(
    arrays: tuple[Array, Array],
    out: Array | None,
    image: Pair,
    padding: Padding,
    dilation: Pair,
    threads: int,
) -> Array:
    """The product with each place of the kernel by itself, shifted to where it lies, and added.

    With a stride of 1, lines of y that are as broad as those of the images, zeros behind them, lie
    as the images do: what a place of the kernel makes of y is added as one run of memory.
    """
    y, kernel = arrays
    n_images, height, width, d = y.shape
    size, c, dtype = kernel.shape[:2], kernel.shape[2], np.result_type(y, kernel)
    if out is None:
        out = np.empty((n_images, *image, c), dtype)
    (top, bottom), (left, right) = padding
    reach = reach_of(size, dilation)
    high = max(top + image[0] + bottom, height - 1 + reach[0])
    broad = max(left + image[1] + right, width - 1 + reach[1])
    places = kernel.swapaxes(2, 3).astype(dtype, order="C")

    def work(first: int, last: int) -> None:
        few = n_at_once(height * broad * max(c, d), last - first)
        lines = np.zeros((few, height, broad, d), dtype)
        products = np.empty((few, height * broad, c), dtype)
        frame = np.empty((few, high * broad * c + reach[1] * c), dtype)  # the last run ends behind
        for start in range(first, last, few):
            images = slice(start, min(start + few, last))
            here = slice(images.stop - start)
            lines[here, :, :width] = y[images]
            factors = lines[here].reshape(-1, height * broad, d)
            frame[here] = 0
            for i in range(size[0]):
                for j in range(size[1]):
                    np.matmul(factors, places[i, j], out=products[here])
                    shift = (i * dilation[0] * broad + j * dilation[1]) * c
                    run = slice(shift, shift + height * broad * c)
                    frame[here, run] += products[here].reshape(-1, height * broad * c)
            whole = frame[here, : high * broad * c].reshape(-1, high, broad, c)
            out[images] = whole[:, top : top + image[0], left : left + image[1]]

    share_images(work, n_images, threads)
    return out
