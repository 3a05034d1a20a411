"""chainrule: inside `fit`, the compiled step alone, `predict`, convolution, time to 0.990."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from chainrule.training.epoch import Epoch
from works import TO_0990_EPOCHS, Array, Parameters, Runner, Work, layers

import chainrule as cr
from chainrule import data, nn, optim
from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.program import build
from chainrule.engines.threads import limit_threads
from chainrule.nn.losses import get_loss
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.history import History
from chainrule.training.samples import Samples
from chainrule.version import __version__

VERSION = __version__


def prepare(threads: int) -> None:
    """Nothing: the library chooses its threads."""


def network(work: Work, start: Parameters) -> nn.Network:
    """The network of a work with its initial parameters."""
    net = nn.Network()
    pooled = False
    for layer in layers(work, start):
        size, values = len(layer.bias), {"weight": layer.weight, "bias": layer.bias}
        if layer.is_convolution:
            net.add(nn.Conv2D(size, layer.weight.shape[:2], padding=layer.padding, **values))
        else:
            if pooled:
                net.add(nn.Flatten())
            net.add(nn.Dense(size, **values))
        if layer.activation != "identity":
            net.add(layer.activation)
        pooled = layer.is_convolution
        if pooled:
            net.add(nn.MaxPool2D(2))
    net.build(work.input_shape)
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
            shuffle=work.data == "mnist",
            metrics=(),
            verbose=0,
            seed=0,
        )
        return count(history)

    return Runner(run, lambda: list(net.parameters.values()))


def step(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, the compiled step alone: driven as in `fit`, with as many threads"""
    net = network(work, start)
    train_step = CompiledStep(net, get_loss(work.loss), optimizer(work))
    samples = Samples(x, y)
    train_step.compile_for(*samples.batch(slice(0, work.batch_size)))
    epoch = Epoch(samples, work.batch_size, None)
    rates = [work.learning_rate] * len(epoch.losses)
    count = 0

    def run(epochs: int) -> None:
        nonlocal count
        with train_step.thread_limit():
            for _ in range(epochs):
                epoch.begin(None, rates, count + 1)
                count += train_step.run(epoch, None, math.inf, ())

    return Runner(
        run, lambda: list(net.parameters.unflatten(train_step.read_state().flat).values())
    )


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule: `net.predict(x)`"""
    net = network(work, start)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            net.predict(x)

    return Runner(run, lambda: [net.predict(x)])


def convolve(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule: `cr.vjp` as in a compiled step: source, its own memory, its choice of threads"""
    kernel = start[0]

    def value_and_gradients(x: Array, kernel: Array, g: Array) -> tuple[Array, ...]:
        value, pull_back = cr.vjp(cr.primitives.convolve, x, kernel)
        return value, *pull_back(g)

    named = zip(("x", "kernel", "g"), (x, kernel, y), strict=True)
    graph, _ = trace(value_and_gradients, [Variable(a.shape, a.dtype, name) for name, a in named])
    program = build(graph, Labels(), exact=False)
    results = program.function(x, kernel, y)

    def run(epochs: int) -> None:
        nonlocal results
        with limit_threads(program.graph):
            for _ in range(epochs):
                results = program.function(x, kernel, y)

    return Runner(run, lambda: list(results))


def learn(work: Work, start: Parameters, is_enough: Callable[[float], bool]) -> None:
    """chainrule: `data.load`, `fit` with `validation_data`"""
    images = data.load("mnist")
    x, x_test = (a.reshape(-1, *work.image) for a in (images.x, images.x_test))
    n_steps = TO_0990_EPOCHS * -(-len(x) // work.batch_size)

    def stop(run: Any) -> None:
        if is_enough(run.history["val_accuracy"][-1]):
            run.stop("it is accurate enough")

    network(work, start).fit(
        x,
        images.y,
        loss=work.loss,
        optimizer=optim.Adam(optim.CosineDecay(work.learning_rate, steps=n_steps)),
        epochs=TO_0990_EPOCHS,
        batch_size=work.batch_size,
        validation_data=(x_test, images.y_test),
        callbacks=SimpleNamespace(on_epoch_end=stop),
        verbose=0,
    )


SIDES = {
    "fit": fit,
    "epochs": epochs,
    "step": step,
    "predict": predict,
    "convolve": convolve,
    "learn": learn,
}
