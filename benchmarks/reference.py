"""What must come out, in float64: written for the eye, without a library's convolution."""

from __future__ import annotations

from typing import Any

import numpy as np
import sequences
from works import Array, Parameters, Work, initial_parameters, layers, make_data, split


def expected(work: Work) -> tuple[list[Array], list[Array]]:
    """What a runner has before its first epoch and after it."""
    x, y = make_data(work)
    start = [array.astype(float) for array in initial_parameters(work)]
    if not work.sizes:
        kernel, bias = start
        x, g = x.astype(float), y.astype(float)
        wanted = [convolve(x, kernel, bias), *convolution_gradients(x, kernel, g)[:2]]
        return [np.zeros_like(array) for array in wanted], wanted
    if not work.optimizer:
        outputs = _forward(work, start, x.astype(float))[-1]["out"]
        return [np.zeros_like(outputs)], [outputs]
    parameters = [array.copy() for array in start]
    means = [np.zeros_like(array) for array in start]
    squares = [np.zeros_like(array) for array in start]
    batches = zip(split(x, work.batch_size), split(y, work.batch_size), strict=True)
    for step, (x_batch, y_batch) in enumerate(batches, 1):
        gradients = _gradients(work, parameters, x_batch.astype(float), y_batch)
        for w, g, m, v in zip(parameters, gradients, means, squares, strict=True):
            if work.optimizer == "sgd":
                w -= work.learning_rate * g
                continue
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
            w -= work.learning_rate * m_hat / (np.sqrt(v_hat) + 1e-8)
    return start, parameters


def deviation(found: list[Array], start: list[Array], wanted: list[Array]) -> float:
    """How far the result lies from the wanted one, in parts of the way from the start."""
    far = sum(np.sum((np.asarray(f, float) - w) ** 2) for f, w in zip(found, wanted, strict=True))
    way = sum(np.sum((w - s) ** 2) for w, s in zip(wanted, start, strict=True))
    return float(np.sqrt(far / way))


_FUNCTIONS = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "identity": lambda z: z,
}
_DERIVATIVES = {  # from the value of the function
    "sigmoid": lambda a: a * (1 - a),
    "relu": lambda a: a > 0,
    "identity": lambda a: 1.0,
}


def _forward(work: Work, parameters: Parameters, x: Array) -> list[dict[str, Any]]:
    """Of each layer its inputs "x", its activations "a", and "out", what the next one gets.

    Of a batch norm also what it makes with mean 0 and variance 1, and what it divides by for that.
    """
    values: list[dict[str, Any]] = []
    for weight, bias, activation, padding, gamma in layers(work, parameters):
        if weight.ndim == 4:
            x = _padded(x, padding)
            z = convolve(x, weight, 0.0 if gamma is not None else bias)
            normal, deviation = (z, 1.0) if gamma is None else _normalized(z)
            a = _FUNCTIONS[activation](z if gamma is None else normal * gamma + bias)
            out = _windows(a).max(axis=3)
        else:
            x = x.reshape(len(x), -1)
            normal, deviation = x, 1.0
            a = out = _FUNCTIONS[activation](x @ weight + bias)
        values.append({"x": x, "normal": normal, "deviation": deviation, "a": a, "out": out})
        x = out
    return values


def _gradients(work: Work, parameters: Parameters, x: Array, y: Array) -> list[Array]:
    """The derivative of the mean loss by each of the parameters."""
    if work.cell:
        return sequences.GRADIENTS[work.cell](parameters, x, y, work.heads)
    values = _forward(work, parameters, x)
    outputs = values[-1]["out"]
    if work.loss == "cross_entropy":
        p = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        g = p / p.sum(axis=1, keepdims=True) - np.eye(outputs.shape[1])[y]
    else:
        g = outputs - y
    if work.loss == "squared_error":  # the others' g is the derivative by what the sigmoid gets
        g = g * _DERIVATIVES[work.activations[-1]](outputs)
    g = g / len(x)
    gradients: list[Array] = []
    for i, layer in reversed(list(enumerate(layers(work, parameters)))):
        inputs = values[i]["x"]
        d_gamma = []
        if layer.gamma is not None:
            d_gamma, d_beta = (
                [np.sum(g * values[i]["normal"], axis=(0, 1, 2))],
                g.sum(axis=(0, 1, 2)),
            )
            g = _normalized_back(g * layer.gamma, values[i]["normal"], values[i]["deviation"])
        if layer.weight.ndim == 4:
            d_x, d_weight, d_bias = convolution_gradients(inputs, layer.weight, g)
            p = layer.padding
            d_x = d_x[:, p : d_x.shape[1] - p, p : d_x.shape[2] - p]
        else:
            d_x, d_weight, d_bias = g @ layer.weight.T, inputs.T @ g, g.sum(axis=0)
        gradients[:0] = [d_weight, *d_gamma, d_beta if d_gamma else d_bias]
        if i:
            before, kind = values[i - 1], work.activations[i - 1]
            g = d_x.reshape(before["out"].shape)
            if g.ndim == 4:
                g = _to_largest(before["a"], g)
            g = g * _DERIVATIVES[kind](before["a"])
    return gradients


# Images (N, H, W, C)


def _normalized(x: Array) -> tuple[Array, Array]:
    """Each channel with mean 0 and variance 1, and the deviation it is divided by."""
    deviation = np.sqrt(x.var(axis=(0, 1, 2)) + 1e-5)
    return (x - x.mean(axis=(0, 1, 2))) / deviation, deviation


def _normalized_back(g: Array, normal: Array, deviation: Array) -> Array:
    """The cotangent of what was normalized: what changes mean or variance is taken away."""
    mean, along = (a.mean(axis=(0, 1, 2)) for a in (g, g * normal))
    return (g - mean - normal * along) / deviation


def convolve(x: Array, kernel: Array, bias: Array) -> Array:
    """The sum over the places i, j of the kernel: x[:, i:, j:] @ kernel[i, j], plus the bias."""
    return bias + sum(part @ kernel[i, j] for i, j, part in _places(x, kernel))


def convolution_gradients(x: Array, kernel: Array, g: Array) -> tuple[Array, Array, Array]:
    """From the cotangent g of the value, those of x, kernel and bias."""
    d_x, d_kernel = np.zeros_like(x), np.zeros_like(kernel)
    parts_of_d_x = _places(d_x, kernel)
    for (i, j, part), (_, _, d_part) in zip(_places(x, kernel), parts_of_d_x, strict=True):
        d_kernel[i, j] = np.tensordot(part, g, axes=((0, 1, 2), (0, 1, 2)))
        d_part += g @ kernel[i, j].T
    return d_x, d_kernel, g.sum(axis=(0, 1, 2))


def _places(x: Array, kernel: Array) -> list[tuple[int, int, Array]]:
    """Each place i, j of the kernel, and the view of the images that it meets there."""
    n_rows, n_columns = kernel.shape[:2]
    height, width = x.shape[1] - n_rows + 1, x.shape[2] - n_columns + 1
    return [
        (i, j, x[:, i : i + height, j : j + width]) for i in range(n_rows) for j in range(n_columns)
    ]


def _padded(x: Array, padding: int) -> Array:
    return np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _windows(x: Array) -> Array:
    """The four values of every 2 x 2 places, in one axis: (N, H / 2, W / 2, 4, C)."""
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(n, height // 2, width // 2, 4, channels)


def _to_largest(x: Array, g: Array) -> Array:
    """The cotangent of x from that of its pooled values: all to the first of the largest."""
    n, height, width, channels = x.shape
    windows = _windows(x)
    d_windows = np.zeros_like(windows)
    np.put_along_axis(d_windows, windows.argmax(axis=3, keepdims=True), g[:, :, :, None], axis=3)
    d_x = d_windows.reshape(n, height // 2, width // 2, 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    return d_x.reshape(n, height, width, channels)
