"""Hand-written NumPy, and the matrix products alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from math import prod

import numpy as np
import sequences
from sequences import cross_entropy_back, sigmoid
from works import Array, Parameters, Runner, Work, split

VERSION = np.__version__


def prepare(threads: int) -> None:
    """Nothing: the threads are in the environment."""


def by_hand(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """NumPy by hand: straight-line code for this network, as a good user writes it"""
    steps = {"e10": three_sigmoids, "e4": three_sigmoids, "xor": two_sigmoids, "wide": relu_adam}
    return _runner(work, x, y, start, steps.get(work.name) or _by_gradients(work))


def tuned(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """NumPy by hand, tuned: `dot` for `@`, scales at the smallest arrays, fewer calls"""
    return _runner(work, x, y, start, three_sigmoids_tuned)


def _runner(
    work: Work, x: Array, y: Array, start: Parameters, train_step: Callable[..., Array]
) -> Runner:
    parameters = [array.copy() for array in start]
    means = [np.zeros_like(array) for array in start]
    squares = [np.zeros_like(array) for array in start]
    slots = (means, squares) if work.optimizer == "adam" else ()
    batches = list(zip(split(x, work.batch_size), split(y, work.batch_size), strict=True))
    step = 0

    def run(epochs: int) -> None:
        nonlocal step
        for _ in range(epochs):
            for x_batch, y_batch in batches:
                step += 1
                train_step(parameters, x_batch, y_batch, work.learning_rate, step, *slots)

    return Runner(run, lambda: parameters)


def three_sigmoids(parameters: Parameters, x: Array, y: Array, rate: float, step: int) -> Array:
    """One step on half the sum of squares; returns the loss before the update."""
    W1, b1, W2, b2, W3, b3 = parameters
    a1 = sigmoid(x @ W1 + b1)
    a2 = sigmoid(a1 @ W2 + b2)
    a3 = sigmoid(a2 @ W3 + b3)
    loss = 0.5 * np.sum((a3 - y) ** 2) / len(x)
    d3 = (a3 - y) * a3 * (1 - a3) / len(x)
    d2 = d3 @ W3.T * a2 * (1 - a2)
    d1 = d2 @ W2.T * a1 * (1 - a1)
    W3 -= rate * (a2.T @ d3)
    b3 -= rate * d3.sum(axis=0)
    W2 -= rate * (a1.T @ d2)
    b2 -= rate * d2.sum(axis=0)
    W1 -= rate * (x.T @ d1)
    b1 -= rate * d1.sum(axis=0)
    return loss


def three_sigmoids_tuned(
    parameters: Parameters, x: Array, y: Array, rate: float, step: int
) -> Array:
    """The same in fewer and cheaper calls."""
    W1, b1, W2, b2, W3, b3 = parameters
    a1 = sigmoid(x.dot(W1) + b1)
    a2 = sigmoid(a1.dot(W2) + b2)
    a3 = sigmoid(a2.dot(W3) + b3)
    residuals = a3 - y
    loss = 0.5 / len(x) * np.vdot(residuals, residuals)
    d3 = residuals * a3 * (1 - a3) * (rate / len(x))
    d2 = d3.dot(W3.T) * a2 * (1 - a2)
    d1 = d2.dot(W2.T) * a1 * (1 - a1)
    W3 -= a2.T.dot(d3)
    b3 -= d3.sum(axis=0)
    W2 -= a1.T.dot(d2)
    b2 -= d2.sum(axis=0)
    W1 -= x.T.dot(d1)
    b1 -= d1.sum(axis=0)
    return loss


def two_sigmoids(parameters: Parameters, x: Array, y: Array, rate: float, step: int) -> Array:
    """One step of the network with one hidden layer."""
    W1, b1, W2, b2 = parameters
    a1 = sigmoid(x @ W1 + b1)
    a2 = sigmoid(a1 @ W2 + b2)
    loss = 0.5 * np.sum((a2 - y) ** 2) / len(x)
    d2 = (a2 - y) * a2 * (1 - a2) / len(x)
    d1 = d2 @ W2.T * a1 * (1 - a1)
    W2 -= rate * (a1.T @ d2)
    b2 -= rate * d2.sum(axis=0)
    W1 -= rate * (x.T @ d1)
    b1 -= rate * d1.sum(axis=0)
    return loss


def relu_adam(
    parameters: Parameters,
    x: Array,
    y: Array,
    rate: float,
    step: int,
    means: list[Array],
    squares: list[Array],
) -> Array:
    """One step of Adam on the cross-entropy of logits and labels (N,)."""
    W1, b1, W2, b2, W3, b3 = parameters
    a1 = np.maximum(x @ W1 + b1, 0)
    a2 = np.maximum(a1 @ W2 + b2, 0)
    logits = a2 @ W3 + b3
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    rows = np.arange(len(x))
    loss = -np.log(probabilities[rows, y]).mean()
    d3 = probabilities
    d3[rows, y] -= 1
    d3 /= len(x)
    d2 = d3 @ W3.T * (a2 > 0)
    d1 = d2 @ W2.T * (a1 > 0)
    gradients = [x.T @ d1, d1.sum(axis=0), a1.T @ d2, d2.sum(axis=0), a2.T @ d3, d3.sum(axis=0)]
    adam(parameters, gradients, rate, step, means, squares)
    return loss


def adam(
    parameters: Parameters,
    gradients: list[Array],
    rate: float,
    step: int,
    means: list[Array],
    squares: list[Array],
) -> None:
    """Its update. Kingma and Ba, "Adam", 2015, algorithm 1."""
    corrected = rate / (1 - 0.9**step)
    root = np.sqrt(1 - 0.999**step).item()
    for w, g, m, v in zip(parameters, gradients, means, squares, strict=True):
        m += 0.1 * (g - m)
        v += 0.001 * (g * g - v)
        w -= corrected * m / (np.sqrt(v) / root + 1e-8)


# The grid: networks of any depth


def _by_gradients(work: Work) -> Callable[..., None]:
    """The step of a network of the grid: all gradients, then the update."""
    if work.batch_norm:
        gradients_of = convolutions_and_batch_norms
    elif work.cell:
        gradients_of = partial(sequences.GRADIENTS[work.cell], heads=work.heads)
    else:
        gradients_of = relus

    def train_step(parameters: Parameters, x: Array, y: Array, rate: float, *rest: Array) -> None:
        gradients = gradients_of(parameters, x, y)
        if work.optimizer == "adam":
            adam(parameters, gradients, rate, *rest)
            return
        for w, g in zip(parameters, gradients, strict=True):
            w -= rate * g

    return train_step


def relus(parameters: Parameters, x: Array, labels: Array) -> list[Array]:
    """The gradients of the cross-entropy by weights and biases."""
    pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
    inputs = [x]
    for weight, bias in pairs[:-1]:
        x = np.maximum(x @ weight + bias, 0)
        inputs.append(x)
    weight, bias = pairs[-1]
    d = cross_entropy_back(x @ weight + bias, labels)
    gradients: list[Array] = []
    for (weight, _), a in zip(pairs[::-1], inputs[::-1], strict=True):
        gradients[:0] = [a.T @ d, d.sum(axis=0)]
        if a is not inputs[0]:
            d = d @ weight.T * (a > 0)
    return gradients


def convolutions_and_batch_norms(parameters: Parameters, x: Array, labels: Array) -> list[Array]:
    """The gradients through two convolutions, each with batch norm, ReLU and pooling."""
    K1, gamma1, beta1, K2, gamma2, beta2, W, b = parameters
    rows1, z1 = convolve(x, K1)
    normal1, deviation1 = normalized(z1)
    out1, mask1 = pooled(np.maximum(normal1 * gamma1 + beta1, 0))
    rows2, z2 = convolve(out1, K2)
    normal2, deviation2 = normalized(z2)
    out2, mask2 = pooled(np.maximum(normal2 * gamma2 + beta2, 0))
    flat = out2.reshape(len(x), -1)
    d = cross_entropy_back(flat @ W + b, labels)
    of_dense = [flat.T @ d, d.sum(axis=0)]
    g = pooled_back((d @ W.T).reshape(out2.shape) * (out2 > 0), mask2)
    of_norm2 = [np.sum(g * normal2, axis=(0, 1, 2)), g.sum(axis=(0, 1, 2))]
    g = normalized_back(g * gamma2, normal2, deviation2)
    d_K2 = (rows2.T @ g.reshape(-1, g.shape[-1])).reshape(K2.shape)
    g = pooled_back(convolve_back(g, K2) * (out1 > 0), mask1)
    of_norm1 = [np.sum(g * normal1, axis=(0, 1, 2)), g.sum(axis=(0, 1, 2))]
    g = normalized_back(g * gamma1, normal1, deviation1)
    d_K1 = (rows1.T @ g.reshape(-1, g.shape[-1])).reshape(K1.shape)
    return [d_K1, *of_norm1, d_K2, *of_norm2, *of_dense]


def convolve(x: Array, kernel: Array) -> tuple[Array, Array]:
    """Images with one zero around them, as one product: its rows, and the value."""
    n, height, width, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, kernel.shape[:2], axis=(1, 2))
    rows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(n * height * width, -1)
    value = rows @ kernel.reshape(-1, kernel.shape[-1])
    return rows, value.reshape(n, height, width, -1)


def convolve_back(g: Array, kernel: Array) -> Array:
    """The cotangent of the images: a convolution with the kernel turned round."""
    return convolve(g, np.ascontiguousarray(kernel[::-1, ::-1].swapaxes(2, 3)))[1]


def normalized(z: Array) -> tuple[Array, Array]:
    """Each channel with mean 0 and variance 1, and what it was divided by."""
    centred = z - z.mean(axis=(0, 1, 2))
    deviation = np.sqrt(np.mean(centred * centred, axis=(0, 1, 2)) + np.float32(1e-5))
    return centred / deviation, deviation


def normalized_back(g: Array, normal: Array, deviation: Array) -> Array:
    """The cotangent of what was normalized."""
    along = np.mean(g * normal, axis=(0, 1, 2))
    return (g - g.mean(axis=(0, 1, 2)) - normal * along) / deviation


def pooled(a: Array) -> tuple[Array, Array]:
    """The largest of every 2 x 2 places, and which of the four it is."""
    n, height, width, channels = a.shape
    fours = a.reshape(n, height // 2, 2, width // 2, 2, channels)
    fours = fours.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2, width // 2, 4, channels)
    largest = fours.argmax(axis=3, keepdims=True)
    return np.take_along_axis(fours, largest, axis=3)[:, :, :, 0], largest


def pooled_back(g: Array, largest: Array) -> Array:
    """The cotangent of what was pooled: all of it to the largest."""
    n, height, width, channels = g.shape
    fours = np.zeros((n, height, width, 4, channels), g.dtype)
    np.put_along_axis(fours, largest, g[:, :, :, None], axis=3)
    fours = fours.reshape(n, height, width, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return fours.reshape(n, 2 * height, 2 * width, channels)


# What all of them need, and single calls


def products(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """The matrix products alone: np.dot(…, out=…), forward and backward, nothing else"""
    calls = []
    for i, (n_times, n_rows, n_in, n_out) in enumerate(_products(work)):
        value, cotangent = np.ones((n_rows, n_in), np.float32), np.ones((n_rows, n_out), np.float32)
        weight, gradient = np.ones((n_in, n_out), np.float32), np.empty((n_in, n_out), np.float32)
        three = [(value, weight, np.empty_like(cotangent)), (value.T, cotangent, gradient)]
        if i or not work.sizes:  # the images of a lone convolution have a gradient too
            three.append((cotangent, weight.T, np.empty_like(value)))
        calls += three * n_times
    dot = np.dot

    def run(epochs: int) -> None:
        for _ in range(epochs * work.n_steps):
            for a, b, out in calls:
                dot(a, b, out)

    return Runner(run, list)


def _products(work: Work) -> Iterator[tuple[int, int, int, int]]:
    """Of each layer, how often a product (n_rows, n_in) @ (n_in, n_out) is made for a batch.

    A convolution is a product with a row for each place of the kernel, of so few images at a time
    that they stay in the cache.
    """
    height, width, _ = work.image
    for weight, convolution in zip(work.weight_shapes, work.convolutions, strict=False):
        n_in, n_out = prod(weight[:-1]), weight[-1]
        height, width = (
            n + 2 * convolution.padding - convolution.size + 1 for n in (height, width)
        )
        n_times = min(work.batch_size, -(-work.batch_size * height * width * n_in * n_out // 10**6))
        yield n_times, work.batch_size * height * width // n_times, n_in, n_out
        height, width = height // 2, width // 2
    for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False):
        yield 1, work.batch_size, n_in, n_out


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """NumPy by hand: two products, two sums, one maximum"""
    W1, b1, W2, b2 = start

    def outputs(x: Array) -> Array:
        return np.maximum(x.dot(W1) + b1, 0).dot(W2) + b2

    def run(epochs: int) -> None:
        for _ in range(epochs):
            outputs(x)

    return Runner(run, lambda: [outputs(x)])


SIDES = {"by-hand": by_hand, "tuned": tuned, "products": products, "predict": predict}
