"""autograd: `grad` of NumPy code."""

from __future__ import annotations

from importlib.metadata import version

import autograd.numpy as anp
from autograd import grad
from works import Array, Parameters, Runner, Work, split

VERSION = version("autograd")


def prepare(threads: int) -> None:
    """Nothing: the threads are in the environment."""


def loss_of(parameters: Parameters, x: Array, y: Array) -> Array:
    """Half the sum of squares of sigmoid outputs, mean over the batch."""
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        x = 0.5 * anp.tanh(0.5 * (x @ weight + bias)) + 0.5
    return 0.5 * anp.sum((x - y) ** 2) / len(x)


def eager(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """autograd: `grad(loss)` and the update; batches split beforehand"""
    parameters = [array.copy() for array in start]
    batches = list(zip(split(x, work.batch_size), split(y, work.batch_size), strict=True))
    gradient_of = grad(loss_of)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for x_batch, y_batch in batches:
                gradients = gradient_of(parameters, x_batch, y_batch)
                for w, g in zip(parameters, gradients, strict=True):
                    w -= work.learning_rate * g

    return Runner(run, lambda: parameters)


SIDES = {"eager": eager}
