"""chainrule: inside `fit`, the compiled step alone, and `predict`."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from works import Array, Parameters, Runner, Work, split

from chainrule import nn, optim
from chainrule.compiled_step import CompiledStep
from chainrule.history import History
from chainrule.nn.losses import get_loss
from chainrule.threads import limit_threads
from chainrule.version import __version__

VERSION = __version__


def prepare(threads: int) -> None:
    """Nothing: the library chooses its threads."""


def network(work: Work, start: Parameters) -> nn.Network:
    """The network of a work with its initial parameters."""
    net = nn.Network()
    for weight, bias, activation in zip(start[::2], start[1::2], work.activations, strict=True):
        net.add(nn.Dense(len(bias), weight=weight, bias=bias))
        if activation != "identity":
            net.add(activation)
    net.build(work.sizes[0])
    return net


def optimizer(work: Work) -> optim.Optimizer:
    """The optimizer of a work."""
    return {"sgd": optim.SGD, "adam": optim.Adam}[work.optimizer](work.learning_rate)


def fit(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, inside `fit`: the whole call, with its checks, compiling and history"""
    return _fit(work, x, y, start, lambda history: None)


def epochs(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, inside `fit`, later epochs: `History.seconds` after the first epoch"""

    def seconds(history: History) -> float:
        later = history.seconds[1:] or history.seconds
        return len(history.seconds) * sum(later) / len(later)

    return _fit(work, x, y, start, seconds)


def _fit(
    work: Work, x: Array, y: Array, start: Parameters, count: Callable[[History], float | None]
) -> Runner:
    net = network(work, start)

    def run(epochs: int) -> float | None:
        history = net.fit(
            x,
            y,
            loss=work.loss,
            optimizer=optimizer(work),
            epochs=epochs,
            batch_size=work.batch_size,
            shuffle=False,
            metrics=(),
            verbose=0,
            seed=0,
        )
        return count(history)

    return Runner(run, lambda: list(net.parameters.values()))


def step(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, the compiled step alone: batches split beforehand, threads limited as in `fit`"""
    net = network(work, start)
    rule = optimizer(work)
    train_step = CompiledStep(net, get_loss(work.loss), rule)
    batches = list(zip(split(x, work.batch_size), split(y, work.batch_size), strict=True))
    flat, rate, count = net.parameters.flat, work.learning_rate, 0
    slots, state = rule.init(flat), net.state
    train_step.compile_for(*batches[0])

    def run(epochs: int) -> None:
        nonlocal flat, slots, state, count
        with limit_threads(train_step.graph):
            for x_batch, y_batch in itertools.chain.from_iterable(
                itertools.repeat(batches, epochs)
            ):
                count += 1
                _, _, flat, slots, state = train_step(
                    flat, slots, state, x_batch, y_batch, None, rate, count
                )

    return Runner(run, lambda: list(net.parameters.unflatten(flat).values()))


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule: `net.predict(x)`"""
    net = network(work, start)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            net.predict(x)

    return Runner(run, lambda: [net.predict(x)])


SIDES = {"fit": fit, "epochs": epochs, "step": step, "predict": predict}
