"""PyTensor: the step as a graph, compiled through Numba."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():  # its C code without a BLAS would be slow; Numba brings one
    warnings.simplefilter("ignore", UserWarning)
    import pytensor
    import pytensor.tensor as pt

from works import Array, Parameters, Runner, Work, split

VERSION = pytensor.__version__


def prepare(threads: int) -> None:
    """Nothing: the threads are in the environment."""


def compiled(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """PyTensor, Numba: parameters shared, inputs trusted; batches split beforehand"""
    parameters = [pytensor.shared(array) for array in start]
    inputs, targets = pt.matrix("x", dtype="float32"), pt.matrix("y", dtype="float32")
    outputs = inputs
    for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
        outputs = pt.sigmoid(outputs @ weight + bias)
    loss = 0.5 * pt.sum(pt.sqr(outputs - targets)) / work.batch_size
    rate = pt.constant(work.learning_rate, dtype="float32")
    gradients = pt.grad(loss, parameters)
    updates = [(w, w - rate * g) for w, g in zip(parameters, gradients, strict=True)]
    train_step = pytensor.function([inputs, targets], loss, updates=updates, mode="NUMBA")
    train_step.trust_input = True
    batches = list(zip(split(x, work.batch_size), split(y, work.batch_size), strict=True))

    def run(epochs: int) -> None:
        for _ in range(epochs):
            for x_batch, y_batch in batches:
                train_step(x_batch, y_batch)

    return Runner(run, lambda: [parameter.get_value() for parameter in parameters])


SIDES = {"compiled": compiled}
