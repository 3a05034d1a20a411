"""Training step of Network(28x28x1-28x28x6-10x10x16-120-84-10, relu, max_pool2d, flatten): batch 8, float32, cross entropy, Adam(learning_rate=0.001).

Written by chainrule 0.1.0 for NumPy 2. Regenerate: net.step.source.
Run this file for one step on random data.
"""

from functools import cache
import math
import os

import numpy as np


# Elements of the rows that are made at once, where more than one image has so few: they are read
# again in a core's second-level cache, and are enough for another thread to be worth its coming.
_AT_ONCE = 262144
# Numbers behind the axis: so few are gathered before they are computed with.
_SHORT_RUN = 32
# Numbers of which the parts are gathered at once, so that they stay in the cache.
_GATHERED_AT_ONCE = 65536


def reach_of(size, dilation):
    """From the first element of a kernel to its last, both included, downwards and across."""
    return (size[0] - 1) * dilation[0] + 1, (size[1] - 1) * dilation[1] + 1


def geometry_of(n, size, stride, dilation):
    """Size, stride and dilation of n kernels abreast, each at the place next to the other."""
    if n == 1:
        return size, stride, dilation
    reach = (n - 1) * stride[1] + reach_of(size, dilation)[1]
    return (size[0], reach), (stride[0], stride[1] * n), (dilation[0], 1)


def n_abreast(width, c, d, size, stride, dilation, run, columns):
    """How many neighbours in a line of results to compute at once."""
    # With few channels, rows are made of short runs of memory and the product is slim, and both
    # are slow. The part of the image under several neighbours is hardly larger than that under one.
    for n in range(min(width, columns // max(1, d)), 1, -1):
        if width % n == 0 and geometry_of(n, size, stride, dilation)[0][1] * c <= run:
            return n
    return 1


@cache
def _thread_pool(n_threads, process):
    """Threads that stay for the next call; a forked process has none of its parent's."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(n_threads)


def share_images(work, n_images, threads):
    """What `work(first, last)` returns for equal parts of the images, each on a thread of its own.
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


def n_at_once(n_elements, n_images):
    """How many images to work on at once, where each takes so many elements of memory."""
    return max(1, min(_AT_ONCE // max(1, n_elements), n_images))


def windows_of(images, places, size, stride, dilation):
    """What lies under the kernel at each place, (N, OH, OW, KH, KW, C), as a view."""
    # The same as sliding_window_view and a few slices, in a tenth of the time.
    n_images, _, _, c = images.shape
    image, line, pixel, channel = images.strides
    between = image, line * stride[0], pixel * stride[1]
    strides = (*between, line * dilation[0], pixel * dilation[1], channel)
    return np.ndarray((n_images, *places, *size, c), images.dtype, images, 0, strides)


def rows_under(x, first, last, padding, places, size, stride, dilation):
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


def part_of(wide, k, n, kw, stride, dilation):
    """Where the k-th of n kernels abreast stands in (KH, KW, C, n, D), as a view."""
    if n == 1:
        return wide[:, :, :, 0]
    return wide[:, k * stride : k * stride + (kw - 1) * dilation + 1 : dilation, :, k]


def widened(kernel, n, stride, dilation):
    """The matrix of n kernels abreast: (KH * KW * C, n * D), with a wider KW where n is not 1."""
    kh, kw, c, d = kernel.shape
    if n == 1:
        return kernel.reshape(kh * kw * c, d)
    (_, reach), _, _ = geometry_of(n, (kh, kw), stride, dilation)
    wide = np.zeros((kh, reach, c, n, d), kernel.dtype)
    for k in range(n):
        part_of(wide, k, n, kw, stride[1], dilation[1])[...] = kernel
    return wide.reshape(kh * reach * c, n * d)


def convolve_add(
    x, kernel, bias, *, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), threads=1, out
):
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

    def work(first, last):
        for images, rows in rows_under(x, first, last, *how):
            np.dot(rows, matrix, out=products[images].reshape(len(rows), n * d))
            if line is not None:
                lines[images] += line  # now, while they are in the cache

    share_images(work, n_images, threads)


def _window_parts(shape, axis, size, stride):
    """The keys of the first elements of all windows, of the second ones, and so on."""
    before = (slice(None),) * axis
    reach = shape[axis] - size + 1
    return [(*before, slice(start, start + reach, stride)) for start in range(size)]


def _run(x, axis):
    """How many numbers stand behind the axis, the channels of a pixel say."""
    return math.prod(x.shape[axis + 1 :])


def _has_short_runs(x, axis):
    """Whether few numbers stand behind the axis, which are faster to copy than to compute with."""
    return axis > 0 and 1 < _run(x, axis) <= _SHORT_RUN and bool(x.flags.c_contiguous)


def _a_few(x):
    """The samples, as many at a time as stay in the cache."""
    few = max(1, _GATHERED_AT_ONCE * len(x) // max(1, x.size))
    return [slice(start, start + few) for start in range(0, len(x), few)]


def _largest(parts, out):
    """The largest of the elements in the same place of all parts."""
    if len(parts) == 1:
        np.copyto(out, parts[0])
        return
    np.maximum(parts[0], parts[1], out=out)
    for part in parts[2:]:
        np.maximum(out, part, out=out)


def _as_runs(x, axis):
    """A view of x in which each run behind the axis is one element."""
    run = _run(x, axis)
    lines = x.reshape(*x.shape[: axis + 1], run)
    return lines.view(np.dtype((np.void, run * x.itemsize)))[..., 0]


def _gathered(x, key, axis):
    """`x[key]` in one piece of memory."""
    return np.ascontiguousarray(_as_runs(x, axis)[key]).view(x.dtype).reshape(x[key].shape)


def window_max(x, *, axis, size, stride, out):
    """The largest of each `size` consecutive elements along an axis, in steps of `stride`."""
    keys = _window_parts(x.shape, axis, size, stride)
    if _has_short_runs(x, axis):
        for few in _a_few(x):
            _largest([_gathered(x[few], key, axis) for key in keys], out[few])
    else:
        _largest([x[key] for key in keys], out)


def check_labels(labels, n_classes):
    """Raise TypeError or ValueError, as `one_hot` says."""
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"the labels, shape {labels.shape}, have dtype {labels.dtype}: class labels are "
            "integers; convert them with .astype(int)"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
        outside = labels[(labels < 0) | (labels >= n_classes)]
        raise ValueError(
            f"{outside.size} of {labels.size} labels, the first of them {outside[0]}, are outside "
            f"0 to {n_classes - 1}: number the {n_classes} classes from 0, or set n_classes higher"
        )


def one_hot(labels, *, n_classes, dtype=np.float64, out):
    """Integer labels as rows that hold a 1 at the label and 0 elsewhere."""
    check_labels(labels, n_classes)
    np.equal(labels[..., None], np.arange(n_classes), out=out, casting="unsafe")


def _clear(out, axis, size, stride):
    """Zero for what comes to each place, unless exactly one window comes to each."""
    if stride != size or out.shape[axis] % size:
        out.fill(0)


def _largest_following(parts):
    """For each element of the windows but the last, the largest of those that follow it."""
    largest = [parts[-1]] if len(parts) > 1 else []
    for part in parts[-2:0:-1]:
        largest.append(np.maximum(part, largest[-1]))
    return largest[::-1]


def _scatter_shares(g, parts, keys, axis, out):
    """Give each window's g to its largest element; `out[key]` gets what goes to a part."""
    runs = _as_runs(out, axis)
    rest = np.ascontiguousarray(g)
    for key, part, following in zip(keys, parts, _largest_following(parts), strict=False):
        share = np.multiply(rest, part >= following)
        rest = np.subtract(rest, share)
        runs[key] = _as_runs(share, axis)
    runs[keys[-1]] = _as_runs(rest, axis)


def window_max_vjp(g, x, *, axis, size, stride, out):
    """Each window's g at the place of its largest element, added up in the shape of x."""
    keys = _window_parts(x.shape, axis, size, stride)
    _clear(out, axis, size, stride)
    is_apart = stride >= size  # then only one window comes to each place
    if is_apart and _has_short_runs(x, axis):
        for few in _a_few(x):
            parts = [_gathered(x[few], key, axis) for key in keys]
            _scatter_shares(g[few], parts, keys, axis, out[few])
        return
    rest = out[keys[-1]] if is_apart else np.empty(g.shape, g.dtype)
    parts = [x[key] for key in keys]
    for key, part, following in zip(keys, parts, _largest_following(parts), strict=False):
        share = np.multiply(g, part >= following, out=out[key] if is_apart else None)
        g = np.subtract(g, share, out=rest)  # what is left for the elements that follow
        if not is_apart:
            out[key] += share
    if not is_apart:
        out[keys[-1]] += g
    elif size == 1:
        rest[...] = g


def convolve_transpose(
    y, kernel, *, size, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), threads=1, out
):
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

    def work(first, last):
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


def convolve_kernel_vjp(
    x, y, *, size, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), threads=1, out
):
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

    def work(first, last):
        total = np.zeros((size[0] * reach * c, n * d), dtype)
        for images, rows in rows_under(x, first, last, *how):
            total += np.dot(rows.T, y[images].reshape(len(rows), n * d))
        return total

    total = sum(share_images(work, n_images, threads))
    wide = total.reshape(size[0], reach, c, n, d)
    out.fill(0)
    for k in range(n):
        out += part_of(wide, k, n, size[1], stride[1], dilation[1])


def softmax_cross_entropy(logits, targets, scratch, scratch_2, scratch_3, scratch_4, out):
    """-sum(targets * log_softmax(logits)) along the axis of the classes."""
    np.maximum.reduce(logits, axis=-1, keepdims=True, out=scratch)
    np.subtract(logits, scratch, out=scratch_2)
    np.exp(scratch_2, out=scratch_3)
    np.add.reduce(scratch_3, axis=-1, keepdims=True, out=scratch)
    np.log(scratch, out=scratch)
    np.equal(targets, 0, out=scratch_4)
    np.subtract(scratch, scratch_2, out=scratch_2)
    np.copyto(scratch_2, 0, where=scratch_4)
    np.multiply(targets, scratch_2, out=scratch_2)
    np.add.reduce(scratch_2, axis=-1, out=out)


def softmax_cross_entropy_vjp_logits(logits, targets, scratch, scratch_2, scratch_3, out):
    """(softmax(logits) * sum(targets, axis=-1) - targets) / 8"""
    np.add.reduce(targets, axis=-1, keepdims=True, out=scratch)
    np.maximum.reduce(logits, axis=-1, keepdims=True, out=scratch_2)
    np.subtract(logits, scratch_2, out=scratch_3)
    np.exp(scratch_3, out=scratch_3)
    np.add.reduce(scratch_3, axis=-1, keepdims=True, out=scratch_2)
    np.divide(scratch_3, scratch_2, out=scratch_3)
    np.multiply(scratch_3, scratch, out=scratch_3)
    np.subtract(scratch_3, targets, out=scratch_3)
    np.multiply(1 / 8, scratch_3, out=out)


def relu_vjp(g, value, scratch, out):
    """g * (value > 0)"""
    np.greater(value, 0, out=scratch)
    np.multiply(g, scratch, out=out)


def convolve_add_vjp_bias(g, scratch, out):
    """sum(reshape(sum(reshape(g, (80, 160)), axis=0), (10, 16)), axis=0)"""
    np.dot(ones_80, g.reshape(80, 160), out=scratch)
    np.dot(ones_10, scratch.reshape(10, 16), out=out)


def convolve_add_vjp_bias_2(g, scratch, out):
    """sum(reshape(sum(reshape(g, (224, 168)), axis=0), (28, 6)), axis=0)"""
    np.dot(ones_224, g.reshape(224, 168), out=scratch)
    np.dot(ones_28, scratch.reshape(28, 6), out=out)


def adam(parameter, gradient, mean, mean_square, rate, epsilon, scratch, scratch_2):
    """Steps along the mean of the gradients over the root of their mean square, both recent.

    mean = 0.9 * mean + (1 - 0.9) * gradient
    mean_square = 0.999 * mean_square + (1 - 0.999) * gradient**2
    parameter = parameter - rate * mean / (sqrt(mean_square) + epsilon)
    """
    np.multiply(0.9, mean, out=mean)
    np.multiply(1 - 0.9, gradient, out=scratch)
    np.add(mean, scratch, out=mean)
    np.multiply(0.999, mean_square, out=mean_square)
    np.square(gradient, out=gradient)
    np.multiply(1 - 0.999, gradient, out=gradient)
    np.add(mean_square, gradient, out=mean_square)
    np.multiply(rate, mean, out=scratch)
    np.sqrt(mean_square, out=scratch_2)
    np.add(scratch_2, epsilon, out=scratch_2)
    np.divide(scratch, scratch_2, out=scratch)
    np.subtract(parameter, scratch, out=parameter)


# memory, allocated once
gradient = np.empty(61706, np.float32)
a1 = np.empty((8, 28, 28, 6), np.float32)
window_max_1 = np.empty((8, 14, 28, 6), np.float32)
max_pool2d_1 = np.empty((8, 14, 14, 6), np.float32)
a2 = np.empty((8, 10, 10, 16), np.float32)
window_max_2 = np.empty((8, 5, 10, 16), np.float32)
max_pool2d_2 = np.empty((8, 5, 5, 16), np.float32)
a3 = np.empty((8, 120), np.float32)
a4 = np.empty((8, 84), np.float32)
z5 = np.empty((8, 10), np.float32)
targets = np.empty((8, 10), np.float32)
scratch_1 = np.empty((8, 1), np.float32)
scratch_2 = np.empty((8, 10), np.float32)
scratch_3 = np.empty((8, 10), np.float32)
scratch_4 = np.empty((8, 10), np.bool)
losses = np.empty(8, np.float32)
scratch_5 = np.empty((8, 1), np.float32)
d_z5 = np.empty((8, 10), np.float32)
d_z4 = np.empty((8, 84), np.float32)
scratch_6 = np.empty((8, 84), np.bool)
d_z3 = np.empty((8, 120), np.float32)
scratch_7 = np.empty((8, 120), np.bool)
d_flatten_1 = np.empty((8, 400), np.float32)
scratch_8 = np.empty((8, 5, 10, 16), np.float32)
d_z2 = np.empty((8, 10, 10, 16), np.float32)
scratch_9 = np.empty((8, 10, 10, 16), np.bool)
d_max_pool2d_1 = np.empty((8, 14, 14, 6), np.float32)
scratch_10 = np.empty(160, np.float32)
scratch_11 = np.empty((8, 14, 28, 6), np.float32)
d_z1 = np.empty((8, 28, 28, 6), np.float32)
scratch_12 = np.empty((8, 28, 28, 6), np.bool)
scratch_13 = np.empty(168, np.float32)
scratch_14 = np.empty(32768, np.float32)
scratch_15 = np.empty(32768, np.float32)
ones_10 = np.ones(10, np.float32)
ones_224 = np.ones(224, np.float32)
ones_28 = np.ones(28, np.float32)
ones_8 = np.ones(8, np.float32)
ones_80 = np.ones(80, np.float32)
zeros_10_10_16 = np.zeros((10, 10, 16), np.float32)
zeros_28_28_6 = np.zeros((28, 28, 6), np.float32)
zeros_8_120 = np.zeros((8, 120), np.float32)
zeros_8_84 = np.zeros((8, 84), np.float32)
d_W1 = gradient[0:150].reshape(5, 5, 1, 6)
d_b1 = gradient[150:156]
d_W2 = gradient[156:2556].reshape(5, 5, 6, 16)
d_b2 = gradient[2556:2572]
d_W3 = gradient[2572:50572].reshape(400, 120)
d_b3 = gradient[50572:50692]
d_W4 = gradient[50692:60772].reshape(120, 84)
d_b4 = gradient[60772:60856]
d_W5 = gradient[60856:61696].reshape(84, 10)
d_b5 = gradient[61696:61706]


def bind(new_parameters, new_mean, new_mean_square):
    """Let the step work on these arrays; it changes them in place."""
    global parameters, mean, mean_square, W1, b1, W2, b2, W3, b3, W4, b4, W5, b5
    parameters = new_parameters
    mean = new_mean
    mean_square = new_mean_square
    W1 = parameters[0:150].reshape(5, 5, 1, 6)
    b1 = parameters[150:156]
    W2 = parameters[156:2556].reshape(5, 5, 6, 16)
    b2 = parameters[2556:2572]
    W3 = parameters[2572:50572].reshape(400, 120)
    b3 = parameters[50572:50692]
    W4 = parameters[50692:60772].reshape(120, 84)
    b4 = parameters[60772:60856]
    W5 = parameters[60856:61696].reshape(84, 10)
    b5 = parameters[61696:61706]


def train_step(x, y, learning_rate, step):
    """x (8, 28, 28, 1), y (8,): updates the parameters in place, returns the loss and the outputs
    before the update."""
    # forward
    # conv2d_1: z1 = convolve_add(x, W1, b1)  (8, 28, 28, 6)
    convolve_add(x, W1, b1, padding=((2, 2), (2, 2)), out=a1)
    np.maximum(a1, zeros_28_28_6, out=a1)           # relu_1: a1 = relu(z1)  (8, 28, 28, 6)
    # max_pool2d_1: window_max_1 = window_max(a1)  (8, 14, 28, 6)
    window_max(a1, axis=1, size=2, stride=2, out=window_max_1)
    # max_pool2d_1: max_pool2d_1 = window_max(window_max_1)  (8, 14, 14, 6)
    window_max(window_max_1, axis=2, size=2, stride=2, out=max_pool2d_1)
    # conv2d_2: z2 = convolve_add(max_pool2d_1, W2, b2)  (8, 10, 10, 16)
    convolve_add(max_pool2d_1, W2, b2, out=a2)
    np.maximum(a2, zeros_10_10_16, out=a2)          # relu_2: a2 = relu(z2)  (8, 10, 10, 16)
    # max_pool2d_2: window_max_2 = window_max(a2)  (8, 5, 10, 16)
    window_max(a2, axis=1, size=2, stride=2, out=window_max_2)
    # max_pool2d_2: max_pool2d_2 = window_max(window_max_2)  (8, 5, 5, 16)
    window_max(window_max_2, axis=2, size=2, stride=2, out=max_pool2d_2)
    # dense_1: z3 = reshape(max_pool2d_2, (8, 400)) @ W3 + b3  (8, 120)
    np.dot(max_pool2d_2.reshape(8, 400), W3, out=a3)
    np.add(a3, b3, out=a3)
    np.maximum(a3, zeros_8_120, out=a3)             # relu_3: a3 = relu(z3)  (8, 120)
    np.dot(a3, W4, out=a4)                          # dense_2: z4 = a3 @ W4 + b4  (8, 84)
    np.add(a4, b4, out=a4)
    np.maximum(a4, zeros_8_84, out=a4)              # relu_4: a4 = relu(z4)  (8, 84)
    np.dot(a4, W5, out=z5)                          # dense_3: z5 = a4 @ W5 + b5  (8, 10)
    np.add(z5, b5, out=z5)
    one_hot(y, dtype=np.float32, n_classes=10, out=targets)  # loss: targets = one_hot(y)  (8, 10)
    # loss: losses = softmax_cross_entropy(z5, targets)  (8,)
    softmax_cross_entropy(z5, targets, scratch_1, scratch_2, scratch_3, scratch_4, out=losses)
    total = np.add.reduce(losses, axis=None)        # loss: loss = sum(losses) / 8
    loss = total / 8

    # backward: d_v is the derivative of the loss by v
    # d_z5 = (softmax(z5) * sum(targets, axis=-1) - targets) / 8  (8, 10)
    softmax_cross_entropy_vjp_logits(z5, targets, scratch_1, scratch_5, scratch_2, out=d_z5)
    np.dot(ones_8, d_z5, out=d_b5)                  # d_b5 = sum(d_z5, axis=0)  (10,)
    np.dot(d_z5, W5.T, out=d_z4)                    # d_a4 = d_z5 @ W5.T  (8, 84)
    np.dot(a4.T, d_z5, out=d_W5)                    # d_W5 = a4.T @ d_z5  (84, 10)
    relu_vjp(d_z4, a4, scratch_6, out=d_z4)         # d_z4 = d_a4 * (a4 > 0)  (8, 84)
    np.dot(ones_8, d_z4, out=d_b4)                  # d_b4 = sum(d_z4, axis=0)  (84,)
    np.dot(d_z4, W4.T, out=d_z3)                    # d_a3 = d_z4 @ W4.T  (8, 120)
    np.dot(a3.T, d_z4, out=d_W4)                    # d_W4 = a3.T @ d_z4  (120, 84)
    relu_vjp(d_z3, a3, scratch_7, out=d_z3)         # d_z3 = d_a3 * (a3 > 0)  (8, 120)
    np.dot(ones_8, d_z3, out=d_b3)                  # d_b3 = sum(d_z3, axis=0)  (120,)
    np.dot(d_z3, W3.T, out=d_flatten_1)             # d_flatten_1 = d_z3 @ W3.T  (8, 400)
    # d_W3 = reshape(max_pool2d_2, (8, 400)).T @ d_z3  (400, 120)
    np.dot(max_pool2d_2.reshape(8, 400).T, d_z3, out=d_W3)
    window_max_vjp(                                 # d_a2  (8, 10, 10, 16)
        d_flatten_1.reshape(8, 5, 5, 16), window_max_2, axis=2, size=2, stride=2,
        out=scratch_8
    )
    window_max_vjp(scratch_8, a2, axis=1, size=2, stride=2, out=d_z2)
    relu_vjp(d_z2, a2, scratch_9, out=d_z2)         # d_z2 = d_a2 * (a2 > 0)  (8, 10, 10, 16)
    # d_max_pool2d_1 = convolve_transpose(d_z2, W2)  (8, 14, 14, 6)
    convolve_transpose(d_z2, W2, size=(14, 14), out=d_max_pool2d_1)
    # d_W2 = convolve_kernel_vjp(max_pool2d_1, d_z2)  (5, 5, 6, 16)
    convolve_kernel_vjp(max_pool2d_1, d_z2, size=(5, 5), out=d_W2)
    # d_b2 = sum(reshape(sum(reshape(d_z2, (80, 160)), axis=0), (10, 16)), axis=0)  (16,)
    convolve_add_vjp_bias(d_z2, scratch_10, out=d_b2)
    # d_a1 = window_max_vjp(window_max_vjp(d_max_pool2d_1, window_max_1), a1)  (8, 28, 28, 6)
    window_max_vjp(d_max_pool2d_1, window_max_1, axis=2, size=2, stride=2, out=scratch_11)
    window_max_vjp(scratch_11, a1, axis=1, size=2, stride=2, out=d_z1)
    relu_vjp(d_z1, a1, scratch_12, out=d_z1)        # d_z1 = d_a1 * (a1 > 0)  (8, 28, 28, 6)
    # d_W1 = convolve_kernel_vjp(x, d_z1)  (5, 5, 1, 6)
    convolve_kernel_vjp(x, d_z1, padding=((2, 2), (2, 2)), size=(5, 5), out=d_W1)
    # d_b1 = sum(reshape(sum(reshape(d_z1, (224, 168)), axis=0), (28, 6)), axis=0)  (6,)
    convolve_add_vjp_bias_2(d_z1, scratch_13, out=d_b1)

    # update
    root = (1.0 - 0.999 ** step) ** 0.5
    rate = learning_rate * root / (1.0 - 0.9 ** step)
    epsilon = 1e-08 * root
    for start in range(0, 61706, 32768):            # in tiles that fit the cache
        tile = slice(start, start + 32768)
        part = slice(61706 - start)
        adam(
            parameters[tile], gradient[tile], mean[tile], mean_square[tile], rate, epsilon,
            scratch_14[part], scratch_15[part]
        )
    return loss, z5


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    bind(
        (0.1 * rng.random((61706,))).astype(np.float32),  # parameters
        (0.1 * rng.random((61706,))).astype(np.float32),  # mean
        (0.1 * rng.random((61706,))).astype(np.float32),  # mean_square
    )
    x = (0.1 * rng.random((8, 28, 28, 1))).astype(np.float32)
    y = np.zeros((8,), np.int64)
    learning_rate = 0.01
    step = 1
    result = train_step(x, y, learning_rate, step)[0]
    print("train_step on random data returned", result)
