"""System A (PyImageSearch, "Backpropagation from scratch with Python"), for many starts at once.

A network is its layer sizes, as [2, 2, 1], and a list of weights; every layer is a sigmoid. The
bias enters by a column of ones appended to the input, so every hidden weight matrix is
(n_in + 1, n_out + 1) and the last one (n_in + 1, n_out): each hidden layer has one sigmoid unit
more than its number says, and beyond the input there is no constant.

All functions take weights with any leading axes. With a leading axis of seeds one array holds the
networks of all seeds, and as their losses are summed, each gets its own gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

import chainrule as cr
from chainrule.experiments import ENGINE
from chainrule.primitives import sigmoid
from chainrule.primitives.dispatch import Array
from chainrule.see.draw.drawing import Drawing
from chainrule.see.draw.neurons import Column, Joint, draw_units

__all__ = ["diagram", "outputs", "start", "starts", "summed_loss", "train", "with_ones"]

Weights = list[npt.NDArray[np.float64]]


def with_ones(x: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The inputs (n_samples, n_in) with a column of ones at the end."""
    return np.column_stack([x, np.ones(len(x))])


def start(sizes: Sequence[int], seed: int) -> Weights:
    """Initial weights: standard normal, divided by the square root of n_in without the bias."""
    rng = np.random.default_rng(seed)
    units = [*(size + 1 for size in sizes[:-1]), sizes[-1]]
    return [
        rng.standard_normal(shape) / np.sqrt(n_in)
        for n_in, shape in zip(sizes, pairwise(units), strict=False)
    ]


def starts(sizes: Sequence[int], seeds: Iterable[int]) -> Weights:
    """The initial weights of all seeds, (n_seeds, ...) each."""
    return [np.stack(arrays) for arrays in zip(*(start(sizes, s) for s in seeds), strict=True)]


def diagram(weights: Sequence[npt.NDArray[Any]], names: Sequence[str], title: str) -> Drawing:
    """The network of these weights as neurons, its inputs by their names and the column of ones."""
    columns = [Column(len(weights[0]), ("input",), (*names, "1"))]
    for weight in weights[:-1]:
        columns.append(Column(weight.shape[1], ("hidden", "sigmoid")))
    n_outputs = weights[-1].shape[1]
    outputs_of_last = tuple(f"ŷ{i + 1}" for i in range(n_outputs))
    columns.append(Column(n_outputs, ("output", "sigmoid"), outputs_of_last))
    return draw_units(columns, [Joint(weight) for weight in weights], title=title)


def outputs(weights: Sequence[Array], x: Array) -> Array:
    """The outputs (..., n_samples, n_out) for inputs with ones (n_samples, n_in + 1)."""
    for weight in weights:
        x = sigmoid(x @ weight)
    return x


def summed_loss(weights: Sequence[Array], x: Array, y: Array) -> Array:
    """Half the sum of squares over samples and outputs: one loss for each network."""
    return 0.5 * np.sum(np.square(outputs(weights, x) - y), axis=(-2, -1))


def train(
    weights: Weights,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    *,
    learning_rate: float,
    epochs: int,
) -> Iterator[Weights]:
    """One update per sample, in file order; gives the weights after each epoch."""

    @partial(cr.compile, engine=ENGINE)
    def step(weights: Sequence[Array], x: Array, y: Array) -> list[Array]:
        gradients = cr.grad(lambda w: np.sum(summed_loss(w, x, y)))(weights)
        return [w - learning_rate * g for w, g in zip(weights, gradients, strict=True)]

    samples = [(x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
    for _ in range(epochs):
        for sample in samples:
            weights = step(weights, *sample)
        yield weights
