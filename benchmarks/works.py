"""The works that all sides do: networks, data, initial parameters, and what must come out.

Needs NumPy alone, so that a peer's process imports nothing that another peer brings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Parameters = list[Array]  # weight (n_in, n_out), bias (n_out,), weight, bias, …


@dataclass(frozen=True)
class Work:
    """A network, how it is trained, and how much is done at a time.

    An activation stands after every layer, but no relu after the last one. The loss is the mean
    over the batch of: half the sum of squares; the cross-entropy of logits and integer labels; or
    the sum of binary cross-entropies of sigmoid outputs. An epoch has `n_steps` steps.
    `block_epochs` are what one measurement takes; None: as many as fill the time of a block.
    `checked_steps` are compared before: all of an epoch, or as many as one rounding that turns a
    relu on or off does not yet lead elsewhere. Without an optimizer the work is a prediction, and a
    step is one call.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    loss: str = ""
    optimizer: str = ""
    learning_rate: float = 0.0
    batch_size: int = 1
    n_steps: int = 1
    block_epochs: int | None = None
    checked_steps: int | None = None

    @property
    def activations(self) -> list[str]:
        """The activation after each layer, the last one included."""
        last = "identity" if self.activation == "relu" else self.activation
        return [self.activation] * (len(self.sizes) - 2) + [last]


WORKS = {
    work.name: work
    for work in (
        Work("e10", (196, 100, 50, 10), "sigmoid", "squared_error", "sgd", 1.0, 64, 200),
        Work("e4", (64, 32, 16, 10), "sigmoid", "squared_error", "sgd", 0.1, 1, 1347),
        Work("wide", (784, 512, 512, 10), "relu", "cross_entropy", "adam", 0.001, 128, 20, None, 3),
        Work("xor", (2, 2, 1), "sigmoid", "squared_error", "sgd", 0.5, 1, 4, 20_000),
        Work("predict", (10, 32, 3), "relu"),
    )
}


@dataclass(frozen=True)
class Runner:
    """One side, ready to work: `run(epochs)` works on, `result()` is what to compare.

    `run` may return the seconds that count, where they are not all it takes. The result of training
    is the parameters, that of a prediction the outputs, that of work without sense nothing.
    """

    run: Callable[[int], float | None]
    result: Callable[[], list[Array]]


def make_data(work: Work) -> tuple[Array, Array]:
    """Inputs x (N, n_in), float32, and targets: labels (N,), or numbers (N, n_out), float32.

    The classes follow from the inputs but for one in five, so that training does not end.
    """
    rng = np.random.default_rng(0)
    if work.name == "xor":
        x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        return x, np.array([[0], [1], [1], [0]], np.float32)
    n_samples, n_classes = work.batch_size * work.n_steps, work.sizes[-1]
    x = rng.random((n_samples, work.sizes[0]), np.float32)
    teacher = rng.standard_normal((work.sizes[0], n_classes), np.float32)
    labels = np.argmax((x - np.float32(0.5)) @ teacher, axis=1)
    noisy = rng.random(n_samples) < 0.2
    labels[noisy] = rng.integers(n_classes, size=noisy.sum())
    if work.loss == "cross_entropy":
        return x, labels
    return x, np.eye(n_classes, dtype=np.float32)[labels]


def initial_parameters(work: Work) -> Parameters:
    """Uniform(-0.5, 0.5) as E10 has it; for relu with the variance 2 / n_in (He et al. 2015)."""
    rng = np.random.default_rng(1)
    parameters: Parameters = []
    for n_in, n_out in zip(work.sizes, work.sizes[1:], strict=False):
        bound = np.sqrt(6 / n_in) if work.activation == "relu" else 0.5
        weight, bias = rng.uniform(-bound, bound, (n_in, n_out)), rng.uniform(-0.5, 0.5, n_out)
        parameters += [weight.astype(np.float32), bias.astype(np.float32)]
    return parameters


def split(array: Array, size: int) -> list[Array]:
    """The batches of an epoch, as views."""
    return [array[start : start + size] for start in range(0, len(array), size)]


# What must come out, in float64


def expected(work: Work) -> tuple[list[Array], list[Array]]:
    """What a runner has before its first epoch and after it."""
    x, y = make_data(work)
    start = [array.astype(float) for array in initial_parameters(work)]
    if not work.optimizer:
        outputs = _forward(work, start, x.astype(float))[-1]
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


def _forward(work: Work, parameters: Parameters, x: Array) -> list[Array]:
    """The inputs and what each layer with its activation gives."""
    values = [x]
    layers = zip(parameters[::2], parameters[1::2], work.activations, strict=True)
    for weight, bias, activation in layers:
        z = values[-1] @ weight + bias
        functions = {"sigmoid": lambda z: 1 / (1 + np.exp(-z)), "relu": lambda z: np.maximum(z, 0)}
        values.append(functions.get(activation, lambda z: z)(z))
    return values


def _gradients(work: Work, parameters: Parameters, x: Array, y: Array) -> list[Array]:
    """The derivative of the mean loss by each of the parameters."""
    values = _forward(work, parameters, x)
    outputs = values[-1]
    if work.loss == "cross_entropy":
        p = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        g = p / p.sum(axis=1, keepdims=True) - np.eye(outputs.shape[1])[y]
    else:
        g = outputs - y
        if work.loss == "squared_error" and work.activations[-1] == "sigmoid":
            g = g * outputs * (1 - outputs)
    g = g / len(x)
    gradients: list[Array] = []
    for i in reversed(range(len(work.activations))):
        gradients[:0] = [values[i].T @ g, g.sum(axis=0)]
        g = g @ parameters[2 * i].T
        if i:
            is_relu = work.activations[i - 1] == "relu"
            g = g * (values[i] > 0) if is_relu else g * values[i] * (1 - values[i])
    return gradients
