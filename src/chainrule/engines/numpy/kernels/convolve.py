"""Convolutions in memory that they are given, a few images at a time, shared by threads.

Each is a product of matrices: a row for every place the kernel is put, made of the part of the
image under it. A NaN or infinity of an image may reach all results in the lines that see it, since
it is multiplied with zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import primitives
from chainrule.engines.numpy.kernels.rows_under import (
    geometry_of,
    n_abreast,
    n_at_once,
    part_of,
    rows_under,
    widened,
    windows_of,
)
from chainrule.engines.numpy.kernels.sharing import share_images
from chainrule.engines.numpy.kernels.table import kernel
from chainrule.primitives.convolve import Padding, Pair, reach_of
from chainrule.primitives.dispatch import Array

__all__ = [
    "convolve",
    "convolve_add",
    "convolve_kernel_vjp",
    "convolve_transpose",
    "convolve_transpose_shifted",
    "grouped_convolve",
    "grouped_convolve_add",
    "grouped_convolve_kernel_vjp",
    "grouped_convolve_transpose",
    "grouped_convolve_transpose_shifted",
]

Shape = tuple[int, ...]

_MANY_CHANNELS = 32
"""Channels from which on a product for each place of a kernel is wide enough for BLAS."""


def _is_whole(*shapes: Shape, groups: int = 1, **params: Any) -> bool:
    return groups == 1


def _is_shifted(y: Shape, kernel: Shape, *, stride: Pair = (1, 1), **params: Any) -> bool:
    return stride == (1, 1) and kernel[2] >= _MANY_CHANNELS


def _is_shifted_whole(*shapes: Shape, **params: Any) -> bool:
    return _is_whole(**params) and _is_shifted(*shapes, **params)


@kernel(primitives.convolve, when=_is_whole, rounds=True)
def convolve(
    x: Array,
    kernel: Array,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    threads: int = 1,
    out: Array,
) -> None:
    """Images (N, H, W, C) under a kernel (KH, KW, C, D), channels last."""
    convolve_add(
        x, kernel, None, stride=stride, padding=padding, dilation=dilation, threads=threads, out=out
    )


@kernel(primitives.convolve_add, when=_is_whole, rounds=True)
def convolve_add(
    x: Array,
    kernel: Array,
    bias: Array | None,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    threads: int = 1,
    out: Array,
) -> None:
    """Images (N, H, W, C) under a kernel (KH, KW, C, D), channels last, plus a bias (D,)."""
    # The rows under the kernel, times the kernel as a matrix, and the bias added to each line.
    n_images, height, width, d = out.shape
    size, c = kernel.shape[:2], x.shape[3]
    x = x.astype(out.dtype, order="C", copy=False)
    n = n_abreast(width, c, d, size, stride, dilation, run=40, columns=96)
    matrix = widened(kernel, n, stride, dilation).astype(out.dtype, copy=False)
    how = (padding, (height, width // n), *geometry_of(n, size, stride, dilation))
    products = out.reshape(n_images, height * width // n, n * d)
    lines = out.reshape(n_images, height, width * d)
    line = None if bias is None else np.tile(bias, width)

    def work(first: int, last: int) -> None:
        for images, rows in rows_under(x, first, last, *how):
            np.dot(rows, matrix, out=products[images].reshape(len(rows), n * d))
            if line is not None:
                lines[images] += line  # now, while they are in the cache

    share_images(work, n_images, threads)


@kernel(primitives.convolve_kernel_vjp, when=_is_whole, rounds=True)
def convolve_kernel_vjp(
    x: Array,
    y: Array,
    *,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    threads: int = 1,
    out: Array,
) -> None:
    """The cotangent (KH, KW, C, D) of the kernel of a convolution, for that of its result, y."""
    # The rows under the kernel, transposed, times what the kernel made of them.
    n_images, height, width, d = y.shape
    c, dtype = x.shape[3], out.dtype
    x = x.astype(dtype, order="C", copy=False)
    n = n_abreast(width, c, d, size, stride, dilation, run=40, columns=96)
    geometry = geometry_of(n, size, stride, dilation)
    (_, reach), _, _ = geometry
    y = y.reshape(n_images, height * width // n, n * d).astype(dtype, copy=False)
    how = (padding, (height, width // n), *geometry)

    def work(first: int, last: int) -> Array:
        total = np.zeros((size[0] * reach * c, n * d), dtype)
        for images, rows in rows_under(x, first, last, *how):
            total += np.dot(rows.T, y[images].reshape(len(rows), n * d))
        return total

    total = sum(share_images(work, n_images, threads))
    wide = total.reshape(size[0], reach, c, n, d)
    out.fill(0)
    for k in range(n):
        out += part_of(wide, k, n, size[1], stride[1], dilation[1])


@kernel(primitives.convolve_transpose, when=_is_shifted_whole, rounds=True)
def convolve_transpose_shifted(
    y: Array,
    kernel: Array,
    *,
    size: Pair,
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    threads: int = 1,
    out: Array,
) -> None:
    """Every element of y (N, OH, OW, D) puts a kernel onto images (N, *size, C); they add up."""
    # The product with each place of the kernel by itself, shifted to where it lies, and added.
    # With a stride of 1, lines of y that are as broad as those of the images, zeros behind them,
    # lie as the images do: what a place of the kernel makes of y is added as one run of memory.
    n_images, height, width, d = y.shape
    kh, kw, c = kernel.shape[:3]
    dtype = out.dtype
    (top, bottom), (left, right) = padding
    high, broad = top + size[0] + bottom, left + size[1] + right
    reach = reach_of((kh, kw), dilation)
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
            for i in range(kh):
                for j in range(kw):
                    np.matmul(factors, places[i, j], out=products[here])
                    shift = (i * dilation[0] * broad + j * dilation[1]) * c
                    run = slice(shift, shift + height * broad * c)
                    frame[here, run] += products[here].reshape(-1, height * broad * c)
            whole = frame[here, : high * broad * c].reshape(-1, high, broad, c)
            out[images] = whole[:, top : top + size[0], left : left + size[1]]

    share_images(work, n_images, threads)


@kernel(primitives.convolve_transpose, when=_is_whole, rounds=True)
def convolve_transpose(
    y: Array,
    kernel: Array,
    *,
    size: Pair,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    threads: int = 1,
    out: Array,
) -> None:
    """Every element of y (N, OH, OW, D) puts a kernel onto images (N, *size, C); they add up."""
    # The product with the transposed kernel: rows, added to the images where they lie.
    n_images, height, width, d = y.shape
    kh, kw, c = kernel.shape[:3]
    dtype = out.dtype
    n = n_abreast(width, c, d, (kh, kw), stride, dilation, run=64, columns=80)
    matrix = widened(kernel, n, stride, dilation).astype(dtype, copy=False).T
    geometry = geometry_of(n, (kh, kw), stride, dilation)
    y = y.reshape(n_images, height * width // n, n * d).astype(dtype, copy=False)
    (top, bottom), (left, right) = padding
    high, broad = top + size[0] + bottom, left + size[1] + right
    wide_size, (_, step), wide_dilation = geometry
    _, reach = reach_of(wide_size, wide_dilation)
    apart = -(-reach // step)  # rows so far apart in a line do not overlap

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
            windows = windows_of(frame[here], (height, width // n), *geometry)
            rows = rows.reshape(windows.shape)
            for i in range(kh):
                for k in range(apart):
                    windows[:, :, k::apart, i] += rows[:, :, k::apart, i]
            out[images] = frame[here, top : top + size[0], left : left + size[1]]

    share_images(work, n_images, threads)


# Groups of channels, side by side


@kernel(primitives.convolve, rounds=True)
def grouped_convolve(
    x: Array, kernel: Array, *, groups: int = 1, threads: int = 1, out: Array, **how: Any
) -> None:
    """Each group of channels under its own part of the kernel."""
    _each_group(convolve, (x, kernel), groups, out, threads=threads, **how)


@kernel(primitives.convolve_add, rounds=True)
def grouped_convolve_add(
    x: Array,
    kernel: Array,
    bias: Array,
    *,
    groups: int = 1,
    threads: int = 1,
    out: Array,
    **how: Any,
) -> None:
    """Each group of channels under its own part of the kernel, plus its part of the bias."""
    _each_group(convolve_add, (x, kernel, bias), groups, out, threads=threads, **how)


@kernel(primitives.convolve_kernel_vjp, rounds=True)
def grouped_convolve_kernel_vjp(
    x: Array, y: Array, *, groups: int = 1, threads: int = 1, out: Array, **how: Any
) -> None:
    """The cotangent of the kernel of a convolution in groups, each by itself."""
    _each_group(convolve_kernel_vjp, (x, y), groups, out, threads=threads, **how)


@kernel(primitives.convolve_transpose, when=_is_shifted, rounds=True)
def grouped_convolve_transpose_shifted(
    y: Array, kernel: Array, *, groups: int = 1, threads: int = 1, out: Array, **how: Any
) -> None:
    """The cotangent of the images of a convolution in groups, each by itself."""
    _each_group(convolve_transpose_shifted, (y, kernel), groups, out, threads=threads, **how)


@kernel(primitives.convolve_transpose, rounds=True)
def grouped_convolve_transpose(
    y: Array, kernel: Array, *, groups: int = 1, threads: int = 1, out: Array, **how: Any
) -> None:
    """The cotangent of the images of a convolution in groups, each by itself."""
    _each_group(convolve_transpose, (y, kernel), groups, out, threads=threads, **how)


def _each_group(
    function: Callable[..., None], arrays: tuple[Array, ...], groups: int, out: Array, **how: Any
) -> None:
    """The function of every group of channels of its arguments, side by side."""
    parts = zip(*(np.split(array, groups, axis=-1) for array in arrays), strict=True)
    for part, place in zip(parts, np.split(out, groups, axis=-1), strict=True):
        own = np.empty(place.shape, place.dtype)
        function(*part, **how, out=own)
        place[...] = own
