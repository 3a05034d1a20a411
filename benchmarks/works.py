"""The works that all sides do: networks, data and initial parameters.

Needs NumPy alone, so that a peer's process imports nothing that another peer brings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any, NamedTuple

import mnist
import numpy as np

Array = Any
Parameters = list[Array]  # weight (n_in, n_out), bias (n_out,), weight, bias, …


class Convolution(NamedTuple):
    """Kernels (size, size, channels, n_kernels) over images with so many zeros around them."""

    size: int
    n_kernels: int
    padding: int = 0


@dataclass(frozen=True)
class Work:
    """A network, how it is trained, and how much is done at a time.

    `sizes` are those of the dense layers. Before them, images (height, width, channels) may go
    through convolutions, each followed by the maximum of every 2 x 2 places; without dense layers
    the work is one convolution, and a step is its value and both its gradients.

    An activation stands after every layer, but no relu after the last one. The loss is the mean
    over the batch of: half the sum of squares; the cross-entropy of logits and integer labels; or
    the sum of binary cross-entropies of sigmoid outputs. An epoch has `n_steps` steps.
    `block_epochs` are what one measurement takes; None: as many as fill the time of a block.
    `checked_steps` are compared before: all of an epoch, or as many as one rounding that turns a
    relu on or off does not yet lead elsewhere. Without an optimizer the work is a prediction, and a
    step is one call. `data` are random or "mnist"; of these an epoch takes each once, in random
    order.

    With `batch_norm` each convolution has no bias, and the values of each channel have mean 0 and
    variance 1 over the batch, times gamma, plus beta, before the activation. With `cell` the
    samples are `sequence`s (n_steps, n_features) instead, and the first of `sizes` is what the cell
    gives to the one dense layer: the last state of an "lstm", or all places of an "attention" with
    so many `heads`.
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
    image: tuple[int, int, int] = (0, 0, 0)
    convolutions: tuple[Convolution, ...] = ()
    data: str = "random"
    batch_norm: bool = False
    cell: str = ""
    sequence: tuple[int, int] = (0, 0)
    heads: int = 1

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample."""
        if self.cell:
            return self.sequence
        return self.image if self.convolutions else self.sizes[:1]

    @property
    def is_small(self) -> bool:
        """Whether a second thread has nothing to do: below a million multiplications forward."""
        if self.cell or self.convolutions:
            return False
        return self.batch_size * sum(map(prod, self.weight_shapes)) < 10**6

    @property
    def weight_shapes(self) -> list[tuple[int, ...]]:
        """Those of kernels (size, size, channels, n_kernels), then of matrices (n_in, n_out).

        Of a cell first its own: an LSTM's for inputs and state, the four of attention.
        """
        shapes: list[tuple[int, ...]] = []
        n_features = self.sequence[1]
        if self.cell == "lstm":
            shapes = [(n_features, 4 * self.sizes[0]), (self.sizes[0], 4 * self.sizes[0])]
        elif self.cell == "attention":
            shapes = [(n_features, n_features)] * 4
        channels = self.image[2]
        for size, n_kernels, _ in self.convolutions:
            shapes.append((size, size, channels, n_kernels))
            channels = n_kernels
        return [*shapes, *zip(self.sizes, self.sizes[1:], strict=False)]

    @property
    def activations(self) -> list[str]:
        """The activation after each layer, the last one included."""
        last = "identity" if self.activation == "relu" else self.activation
        return [self.activation] * (len(self.weight_shapes) - 1) + [last]


_LENET = Work(
    name="lenet",
    sizes=(400, 120, 84, 10),
    activation="relu",
    loss="cross_entropy",
    optimizer="adam",
    learning_rate=0.001,
    batch_size=64,
    n_steps=20,
    checked_steps=3,
    image=(28, 28, 1),
    convolutions=(Convolution(5, 6, padding=2), Convolution(5, 16)),
)


def _convolution(channels: int, size: int, n_kernels: int, kernel: int) -> Work:
    return Work(
        name=f"convolution-{channels}-{size}-{n_kernels}-{kernel}",
        sizes=(),
        activation="relu",
        batch_size=64,
        image=(size, size, channels),
        convolutions=(Convolution(kernel, n_kernels),),
    )


def _mlp(width: int, depth: int, batch_size: int, optimizer: str) -> Work:
    """So many layers of equal width, and one of 10; an epoch is some tens of milliseconds."""
    sizes = (width,) * (depth + 1) + (10,)
    n_parameters = sum(n_in * n_out for n_in, n_out in pairwise(sizes))
    fitting = 10**9 // (n_parameters * (3 * batch_size + 12))
    n_steps = 2 ** int(np.log2(min(max(fitting, 4), 1024, 65536 // batch_size)))
    rate = 0.001 if optimizer == "adam" else min(0.01, 0.3 / width)
    name = f"mlp-{width}x{depth}-{batch_size}-{optimizer}"
    return Work(
        name, sizes, "relu", "cross_entropy", optimizer, rate, batch_size, n_steps, checked_steps=2
    )


def _mlps() -> Iterator[Work]:
    """Widths by depths by batches, the largest and some of the deep left out.

    Their optimizers take turns, so that each width, each depth and each batch has both.
    """
    depths = {1: (1, 32, 512), 3: (1, 32, 512)}
    deep = {8: (1, 512), 32: (32,), 128: (1, 512), 512: (32,)}
    for i, width in enumerate((8, 32, 128, 512, 2048)):
        batches = {**depths, 12: deep.get(width, ())}
        if width == 2048:
            batches[3] = (1, 32)
        for j, depth in enumerate(batches):
            for k, batch_size in enumerate(batches[depth]):
                yield _mlp(width, depth, batch_size, ("adam", "sgd")[(i + j + k) % 2])


_TRAINED = {
    "activation": "relu",
    "loss": "cross_entropy",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "n_steps": 8,
    "checked_steps": 2,
}
GRID = {
    work.name: work
    for work in (
        *_mlps(),
        Work("lstm", (128, 10), batch_size=64, cell="lstm", sequence=(28, 28), **_TRAINED),
        Work(
            "batch-norm",
            (3136, 10),
            batch_size=64,
            image=(28, 28, 1),
            convolutions=(Convolution(3, 32, padding=1), Convolution(3, 64, padding=1)),
            batch_norm=True,
            **_TRAINED,
        ),
        Work(
            "attention",
            (32 * 64, 10),
            batch_size=32,
            cell="attention",
            sequence=(32, 64),
            heads=4,
            # the key's bias has no gradient but rounding, which Adam would make steps of
            **{**_TRAINED, "optimizer": "sgd", "learning_rate": 0.01},
        ),
    )
}
"""Many small works, which one table holds."""

WORKS = GRID | {
    work.name: work
    for work in (
        Work("e10", (196, 100, 50, 10), "sigmoid", "squared_error", "sgd", 1.0, 64, 200),
        Work("e4", (64, 32, 16, 10), "sigmoid", "squared_error", "sgd", 0.1, 1, 1347),
        Work("wide", (784, 512, 512, 10), "relu", "cross_entropy", "adam", 0.001, 128, 20, None, 3),
        Work("xor", (2, 2, 1), "sigmoid", "squared_error", "sgd", 0.5, 1, 4, 20_000),
        Work("predict", (10, 32, 3), "relu"),
        _LENET,
        _convolution(6, 12, 16, 5),
        _convolution(16, 14, 32, 3),
        _convolution(32, 28, 64, 3),
        _convolution(64, 16, 128, 3),
        # 60 000 images: the last batch is half a one. One step alone does not depend on the order.
        replace(
            _LENET, name="mnist-epoch", n_steps=938, block_epochs=1, checked_steps=1, data="mnist"
        ),
    )
}

TO_0990 = replace(WORKS["mnist-epoch"], name="time-to-0.990", learning_rate=0.003)
"""LeNet-5 in at most `TO_0990_EPOCHS` epochs, the learning rate falling along half a cosine."""
TO_0990_EPOCHS = 5


class LeftOut(Exception):  # noqa: N818 - nothing went wrong
    """A side cannot do a work; the message says why."""


@dataclass(frozen=True)
class Runner:
    """One side, ready to work: `run(epochs)` works on, `result()` is what to compare.

    `run` may return the seconds that count, where they are not all it takes. The result of training
    is the parameters, that of a prediction the outputs, that of a convolution its value and its
    gradients by images and kernel, that of work without sense nothing.
    """

    run: Callable[[int], float | None]
    result: Callable[[], list[Array]]


class Layer(NamedTuple):
    """A layer's parameters, what stands after it, and how many zeros stand around its images.

    Where it has a `gamma` it has a batch norm, and its bias is the beta of that.
    """

    weight: Array
    bias: Array
    activation: str
    padding: int = 0
    gamma: Array = None

    @property
    def is_convolution(self) -> bool:
        """Whether the layer slides kernels over images, and its results are pooled."""
        return self.weight.ndim == 4


def layers(work: Work, parameters: Parameters) -> Iterator[Layer]:
    """The layers of a network, with parameters of any kind that has `ndim`; a cell is none."""
    given = iter(parameters)
    paddings = [convolution.padding for convolution in work.convolutions] + [0] * len(work.sizes)
    for activation, padding in zip(work.activations, paddings, strict=False):
        weight = next(given)
        gamma = next(given) if work.batch_norm and weight.ndim == 4 else None
        yield Layer(weight, next(given), activation, padding, gamma)


def make_data(work: Work) -> tuple[Array, Array]:
    """Inputs x (N, *input_shape), float32, and targets y.

    These are labels (N,), or numbers (N, n_out), float32; of a convolution the cotangent of its
    value. The classes follow from the inputs but for one in five, so that training does not end.
    """
    rng = np.random.default_rng(0)
    if work.name == "xor":
        x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
        return x, np.array([[0], [1], [1], [0]], np.float32)
    n_samples = work.batch_size * work.n_steps
    if work.data == "mnist":
        x, labels = mnist.read("train")
        return x[:n_samples], labels[:n_samples]
    x = rng.random((n_samples, *work.input_shape), np.float32)
    if not work.sizes:
        size, n_kernels, _ = work.convolutions[0]
        height, width = work.image[0] - size + 1, work.image[1] - size + 1
        return x, rng.standard_normal((n_samples, height, width, n_kernels), np.float32)
    n_classes = work.sizes[-1]
    teacher = rng.standard_normal((prod(work.input_shape), n_classes), np.float32)
    labels = np.argmax((x.reshape(n_samples, -1) - np.float32(0.5)) @ teacher, axis=1)
    noisy = rng.random(n_samples) < 0.2
    labels[noisy] = rng.integers(n_classes, size=noisy.sum())
    if work.loss == "cross_entropy":
        return x, labels
    return x, np.eye(n_classes, dtype=np.float32)[labels]


def initial_parameters(work: Work, seed: int = 1) -> Parameters:
    """Uniform(-0.5, 0.5) as E10 has it; for relu with the variance 2 / n_in (He et al. 2015).

    The biases of a network of convolutions begin at zero. Weights, gamma where there is one, bias,
    layer by layer; an LSTM has two weights before its bias.
    """
    rng = np.random.default_rng(seed)
    parameters: Parameters = []
    for i, shape in enumerate(work.weight_shapes):
        bound = np.sqrt(6 / prod(shape[:-1])) if work.activation == "relu" else 0.5
        weight, bias = rng.uniform(-bound, bound, shape), rng.uniform(-0.5, 0.5, shape[-1])
        if work.convolutions:
            bias = np.zeros(shape[-1])
        parameters.append(weight.astype(np.float32))
        if work.batch_norm and len(shape) == 4:
            parameters.append(np.ones(shape[-1], np.float32))
        if not (work.cell == "lstm" and i == 0):
            parameters.append(bias.astype(np.float32))
    return parameters


def split(array: Array, size: int) -> list[Array]:
    """The batches of an epoch, as views."""
    return [array[start : start + size] for start in range(0, len(array), size)]
