"""Convolution of images (the cross-correlation that everyone calls so) and what its rules need.

    out[n, y, x, d] = sum over i, j, c of kernel[i, j, c, d]
                      * image[n, y * stride + i * dilation, x * stride + j * dilation, c]

Channels stand last. The sum is linear in the image and in the kernel, and read the other two ways
round it is the cotangent of the one and of the other. So there are three primitives, each linear
in both its arguments, and the rules of each are the other two: derivatives of every order. A
fourth, `convolve_add`, adds a bias.

Each is a product of matrices: a row for every place the kernel is put, made of the part of the
image under it, or adding to it. With groups there is a product for each.
"""

from __future__ import annotations

import math

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
    "reach_of",
]

Shape = tuple[int, ...]
Pair = tuple[int, int]
Padding = tuple[Pair, Pair]


@primitive
def convolve(
    x: Array,
    kernel: Array,
    *,
    stride: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Images (N, H, W, C) under a kernel (KH, KW, C // groups, D): (N, OH, OW, D), channels last.

    `padding` adds zeros ((above, below), (left, right)), `stride` is the step from one place of the
    kernel to the next, `dilation` that between the elements of an image that it multiplies, each
    (vertical, horizontal). With `groups`, the channels and kernels are dealt into so many parts
    that do not mix.
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
    places = _n_places(x.shape, kernel.shape[:2], stride, padding, dilation)
    rows = _rows_under(x, kernel.shape[:2], stride, padding, dilation, groups)
    return _joined(rows @ _dealt(kernel, groups), (x.shape[0], *places))


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
) -> Array:
    """`convolve(x, kernel) + bias`, with a bias (D,) for each channel of the result.

    One primitive, because NumPy adds few long runs of memory, and sums them for the cotangent of
    the bias, many times faster than one run for each place of an image.
    """
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    out: Array = convolve(x, kernel, **how) + bias
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
) -> Array:
    """Every element of y (N, OH, OW, D) puts a kernel onto images (N, *size, C), and they add up.

    The cotangent of the images x of `convolve` for the cotangent y of its result; also known as
    transposed or fractionally strided convolution. Raises ValueError where y has not the shape of
    what `convolve` makes of such images.

    >>> convolve_transpose(np.ones((1, 1, 2, 1)), np.ones((1, 3, 1, 1)), size=(1, 4))[0, ..., 0]
    array([[1., 2., 2., 1.]])
    """
    (kh, kw, c), n_images = kernel.shape[:3], y.shape[0]
    _check_places(y.shape, (n_images, *size), (kh, kw), stride, padding, dilation)
    parts = _dealt(kernel, groups) @ _dealt(y, groups).swapaxes(1, 2)
    parts = parts.reshape(groups, kh, kw, c, *y.shape[:3])
    (top, bottom), (left, right) = padding
    frame = (top + size[0] + bottom, left + size[1] + right)
    out = np.zeros((groups, c, n_images, *frame), parts.dtype)
    for i, j in np.ndindex(kh, kw):
        out[(..., *_met(i, j, y.shape, stride, dilation))] += parts[:, i, j]
    inside = out[..., top : top + size[0], left : left + size[1]]
    return np.moveaxis(inside, (0, 1), (-2, -1)).reshape(n_images, *size, groups * c)


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
) -> Array:
    """The cotangent (*size, C // groups, D) of the kernel of `convolve`, for that of its result, y.

    Each element of the kernel has met one element of the images x for each element of y. Raises
    ValueError where y has not the shape of what `convolve` makes of these images.
    """
    _check_places(y.shape, x.shape, size, stride, padding, dilation)
    rows = _rows_under(x, size, stride, padding, dilation, groups)
    return _joined(rows.swapaxes(1, 2) @ _dealt(y, groups), (*size, x.shape[3] // groups))


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


# Places


def reach_of(size: Pair, dilation: Pair) -> Pair:
    """From the first element of a kernel to its last, both included, downwards and across."""
    return (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1


def _n_places(shape: Shape, size: Pair, stride: Pair, padding: Padding, dilation: Pair) -> Pair:
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
    return places[0], places[1]


def _check_places(
    y_shape: Shape,
    x_shape: Shape,
    size: Pair,
    stride: Pair,
    padding: Padding,
    dilation: Pair,
) -> None:
    wanted = (x_shape[0], *_n_places(x_shape, size, stride, padding, dilation))
    if y_shape[:3] != wanted:
        raise ValueError(
            f"a kernel of size {size}, stride {stride}, dilation {dilation}, padding {padding} has "
            f"{wanted} places in images of shape {x_shape}, but got y of shape {y_shape}"
        )


def _met(i: int, j: int, y_shape: Shape, stride: Pair, dilation: Pair) -> tuple[slice, slice]:
    """The elements of padded images that element (i, j) of the kernel meets at its places."""
    first = i * dilation[0], j * dilation[1]
    behind = [f + (n - 1) * s + 1 for f, n, s in zip(first, y_shape[1:3], stride, strict=True)]
    return slice(first[0], behind[0], stride[0]), slice(first[1], behind[1], stride[1])


# Matrices, one for each group


def _rows_under(
    x: Array, size: Pair, stride: Pair, padding: Padding, dilation: Pair, groups: int
) -> Array:
    """What lies under the kernel at each of its places: (groups, places, KH * KW * C // groups)."""
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    reach = reach_of(size, dilation)
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    windows = windows[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    n_images, height, width, channels = windows.shape[:4]
    c = channels // groups
    dealt = windows.reshape(n_images, height, width, groups, c, *size)
    rows = np.moveaxis(dealt, (3, 4), (0, -1))  # (groups, N, OH, OW, KH, KW, c)
    return rows.reshape(groups, n_images * height * width, math.prod(size) * c)


def _dealt(x: Array, groups: int) -> Array:
    """The last axis dealt into groups, the others as rows: (groups, rows, columns)."""
    columns = x.shape[-1] // groups
    return np.moveaxis(x.reshape(math.prod(x.shape[:-1]), groups, columns), 1, 0)


def _joined(matrices: Array, shape: Shape) -> Array:
    """The inverse of `_dealt`, the rows as axes of this shape: (*shape, groups * columns)."""
    groups, _, columns = matrices.shape
    return np.moveaxis(matrices, 0, 1).reshape(*shape, groups * columns)
