"""Convolution of images (the cross-correlation that everyone calls so) and what its rules need.

    out[n, y, x, d] = sum over i, j, c of kernel[i, j, c, d]
                      * image[n, y * stride + i * dilation, x * stride + j * dilation, c]

Channels stand last. The sum is linear in the image and in the kernel, and read the other two ways
round it is the cotangent of the one and of the other. So there are three primitives, each linear
in both its arguments, and the rules of each are the other two: derivatives of every order. A
fourth, `convolve_add`, adds a bias.

Each is a product of matrices: a row for every place the kernel is put, made of the part of the
image under it. The rows overlap and so take much more memory than the image. They are made for a
few images at a time, and read again while they are in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

_AT_ONCE = 1_000_000
"""Multiplications in one product: few enough for the cache, and for OpenBLAS to begin at once."""


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
    if kernel.shape[2] * groups != x.shape[3] or kernel.shape[3] % groups:
        raise ValueError(
            f"images of shape {x.shape} in {groups} groups need kernels of shape (height, width, "
            f"{x.shape[3] // groups}, a multiple of {groups}), but got {kernel.shape}"
        )
    how = (stride, padding, dilation, threads)
    return _each_group(_convolve, x, kernel, groups, *how)


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
) -> Array:
    """`convolve(x, kernel) + bias`, with a bias (D,) for each channel of the result.

    One primitive, because NumPy adds few long runs of memory, and sums them for the cotangent of
    the bias, many times faster than one run for each place of an image.
    """
    kernel = kernel.astype(np.result_type(kernel, bias), copy=False)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    out = convolve(x, kernel, **how, threads=threads)
    n_images, height, width, d = out.shape
    lines = out.reshape(n_images * height, width * d)
    lines += np.tile(bias, width)
    return out


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
) -> Array:
    """Every element of y (N, OH, OW, D) puts a kernel onto images (N, *size, C), and they add up.

    The cotangent of the images x of `convolve` for the cotangent y of its result; also known as
    transposed or fractionally strided convolution.

    >>> convolve_transpose(np.ones((1, 1, 2, 1)), np.ones((1, 3, 1, 1)), size=(1, 4))[0, ..., 0]
    array([[1., 2., 2., 1.]])
    """
    how = (size, stride, padding, dilation, threads)
    return _each_group(_convolve_transpose, y, kernel, groups, *how)


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
) -> Array:
    """The cotangent (*size, C // groups, D) of the kernel of `convolve`, for that of its result, y.

    Each element of the kernel has met one element of the images x for each element of y.
    """
    how = (size, stride, padding, dilation, threads)
    return _each_group(_convolve_kernel_vjp, x, y, groups, *how)


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


def _each_group(
    function: Callable[..., Array], left: Array, right: Array, groups: int, *how: Any
) -> Array:
    """The function of every group of channels of its two arguments, side by side."""
    if groups == 1:
        return function(left, right, *how)
    parts = zip(np.split(left, groups, axis=-1), np.split(right, groups, axis=-1), strict=True)
    return np.concatenate([function(a, b, *how) for a, b in parts], axis=-1)


def _convolve(
    x: Array, kernel: Array, stride: Pair, padding: Padding, dilation: Pair, threads: int
) -> Array:
    """The rows under the kernel, times the kernel as a matrix."""
    size, d = kernel.shape[:2], kernel.shape[3]
    height, width = _n_places(x.shape, size, stride, padding, dilation)
    abreast = _abreast(width, x.shape[3], d, size[1], stride[1], dilation[1])
    if abreast > 1:
        kernel = _widen(kernel, abreast, stride[1], dilation[1])
        stride, dilation = (stride[0], stride[1] * abreast), (dilation[0], 1)
    out = np.empty((len(x), height, width // abreast, d * abreast), np.result_type(x, kernel))
    matrix = kernel.reshape(-1, d * abreast).astype(out.dtype, copy=False)
    geometry = (kernel.shape[:2], stride, padding, dilation)

    def work(first: int, last: int) -> None:
        for images, rows in _rows_under(x, first, last, d * abreast, out.dtype, *geometry):
            np.dot(rows, matrix, out=out[images].reshape(len(rows), -1))

    _share(work, len(x), threads)
    return out.reshape(len(x), height, width, d)


def _convolve_kernel_vjp(
    x: Array,
    y: Array,
    size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    threads: int,
) -> Array:
    """The rows under the kernel, transposed, times what the kernel made of them."""
    n_images, height, width, d = y.shape
    abreast = _abreast(width, x.shape[3], d, size[1], stride[1], dilation[1])
    reach, step, spread = size[1], stride[1], dilation[1]
    if abreast > 1:
        reach = (abreast - 1) * step + (size[1] - 1) * spread + 1
        stride, dilation = (stride[0], step * abreast), (dilation[0], 1)
    dtype = np.result_type(x, y)
    y = y.reshape(n_images, height * width // abreast, d * abreast).astype(dtype, copy=False)
    geometry = ((size[0], reach), stride, padding, dilation)

    def work(first: int, last: int) -> Array:
        total = np.zeros((size[0] * reach * x.shape[3], d * abreast), dtype)
        for images, rows in _rows_under(x, first, last, d * abreast, dtype, *geometry):
            total += np.dot(rows.T, y[images].reshape(len(rows), -1))
        return total

    total = sum(_share(work, n_images, threads))
    wide = total.reshape(size[0], reach, x.shape[3], abreast, d)
    if abreast == 1:
        return wide[:, :, :, 0]
    return sum(
        wide[:, k * step : k * step + (size[1] - 1) * spread + 1 : spread, :, k]
        for k in range(abreast)
    )


def _convolve_transpose(
    y: Array,
    kernel: Array,
    size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
    threads: int,
) -> Array:
    """A convolution of y itself along each line; the lines of results are added up below it.

    Of the columns of an image, as many as the stride come from the same columns of y, those to
    the left of them: they are computed abreast, and nothing is multiplied by the zeros that
    would stand between the columns of y if it were stretched to the size of the images.
    """
    (top, _), (left, _) = padding
    n_images, height, width, d = y.shape
    kh, kw, c, _ = kernel.shape
    behind = (kw - 1) * dilation[1] // stride[1]
    across = width + behind
    dtype = np.result_type(y, kernel)
    wide = np.zeros((kh, behind + 1, d, stride[1], c), dtype)
    for j in range(kw):
        back, place = divmod(j * dilation[1], stride[1])
        wide[:, behind - back, :, place] = kernel[:, j].swapaxes(1, 2)
    matrices = wide.reshape(kh, (behind + 1) * d, stride[1] * c)
    high = max(top + size[0], (height - 1) * stride[0] + (kh - 1) * dilation[0] + 1)
    broad = max(left + size[1], across * stride[1])
    out = np.empty((n_images, *size, c), dtype)
    geometry = ((1, behind + 1), (1, 1), ((0, 0), (behind, behind)), (1, 1))

    def work(first: int, last: int) -> None:
        for images, rows in _rows_under(y, first, last, stride[1] * c, dtype, *geometry):
            frame = np.zeros((images.stop - images.start, high, broad, c), dtype)
            for i in range(kh):
                start = i * dilation[0]
                lines = frame[:, start : start + (height - 1) * stride[0] + 1 : stride[0]]
                lines = lines[:, :, : across * stride[1]]
                lines += np.dot(rows, matrices[i]).reshape(lines.shape)
            out[images] = frame[:, top : top + size[0], left : left + size[1]]

    _share(work, n_images, threads)
    return out


def _n_places(
    shape: tuple[int, ...], size: Pair, stride: Pair, padding: Padding, dilation: Pair
) -> list[int]:
    """How many places there are for a kernel of this size, downwards and across."""
    places = []
    for axis in range(2):
        reach = (size[axis] - 1) * dilation[axis] + 1
        room = shape[axis + 1] + sum(padding[axis]) - reach
        if size[axis] < 1 or room < 0:
            raise ValueError(
                f"a kernel of size {size}, dilation {dilation}, does not fit into images of shape "
                f"{shape} with padding {padding}"
            )
        places.append(room // stride[axis] + 1)
    return places


def _rows_under(
    x: Array,
    first: int,
    last: int,
    n_columns: int,
    dtype: Any,
    size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> Iterator[tuple[slice, Array]]:
    """For a few of these images after the other: which they are, and what lies under the kernel
    at each of its places, as the rows of a matrix that another of `n_columns` is multiplied with.
    """
    x = x.astype(dtype, order="C", copy=False)
    down, across = _n_places(x.shape, size, stride, padding, dilation)
    n_rows = down * across
    length = size[0] * size[1] * x.shape[3]
    at_once = max(1, _AT_ONCE // max(1, n_rows * length * n_columns))
    (top, bottom), (left, right) = padding
    _, height, width, c = x.shape
    is_padded = any((top, bottom, left, right))
    if is_padded:
        shape = (min(at_once, last - first), top + height + bottom, left + width + right, c)
        padded = np.zeros(shape, dtype)
        inside = padded[:, top : top + height, left : left + width]
    reach = [(size[axis] - 1) * dilation[axis] + 1 for axis in range(2)]
    windows = np.lib.stride_tricks.sliding_window_view(
        padded if is_padded else x, reach, axis=(1, 2)
    )
    windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    windows = windows.transpose(0, 1, 2, 4, 5, 3)
    for start in range(first, last, at_once):
        images = slice(start, min(start + at_once, last))
        here = images
        if is_padded:
            here = slice(images.stop - start)
            inside[here] = x[images]
        yield images, windows[here].reshape((images.stop - images.start) * n_rows, length)


def _abreast(width: int, c: int, d: int, reach: int, stride: int, dilation: int) -> int:
    """How many neighbours in a line of results to compute at once.

    With few channels, rows are made of short runs of memory and the product is slim, and both
    are slow. The part of the image under several neighbours is hardly larger than that under one.
    """
    abreast = 1
    for n in range(2, min(width, 64 // max(1, d)) + 1):
        run = ((n - 1) * stride + (reach - 1) * dilation + 1) * c
        if width % n == 0 and run <= 40:
            abreast = n
    return abreast


def _widen(kernel: Array, abreast: int, stride: int, dilation: int) -> Array:
    """The kernel beside itself, shifted from result to result: it makes several in one place."""
    kh, kw, c, d = kernel.shape
    reach = (kw - 1) * dilation + 1
    wide = np.zeros((kh, (abreast - 1) * stride + reach, c, abreast, d), kernel.dtype)
    for k in range(abreast):
        wide[:, k * stride : k * stride + reach : dilation, :, k] = kernel
    return wide.reshape(kh, -1, c, abreast * d)


def _share(work: Callable[[int, int], Any], n_images: int, threads: int) -> list[Any]:
    """What `work(first, last)` returns for equal parts of the images, each on a thread of its own.

    NumPy lets the other threads run while it copies and multiplies.
    """
    threads = min(threads, n_images)
    if threads <= 1:
        return [work(0, n_images)]
    from concurrent.futures import ThreadPoolExecutor
    from contextvars import copy_context

    parts = [(n_images * k // threads, n_images * (k + 1) // threads) for k in range(threads)]
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(copy_context().run, work, a, b) for a, b in parts[1:]]
        return [work(*parts[0]), *(other.result() for other in others)]
