"""chainrule: inside `fit`, the compiled step alone, `predict`, convolution, time to 0.990.

Each on the engine that prints NumPy, and on the one that prints C. A work that C has no form of is
left out, with the reason that the library gives where it falls back.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from types import SimpleNamespace
from typing import Any

from works import TO_0990_EPOCHS, Array, LeftOut, Parameters, Runner, Work, layers

import chainrule as cr
from chainrule import data, nn, optim
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.batches import Batches
from chainrule.engines.numpy.program import build
from chainrule.engines.threads import limit_threads
from chainrule.nn.losses import get_loss
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.history import History
from chainrule.version import __version__

VERSION = __version__


def prepare(threads: int) -> None:
    """Nothing: the library chooses its threads."""


def network(work: Work, start: Parameters) -> nn.Network:
    """The network of a work with its initial parameters."""
    net = nn.Network(_cell(work))
    pooled = False
    for layer in layers(work, start) if not work.cell else ():
        size, has_bias = len(layer.bias), layer.gamma is None
        if layer.is_convolution:
            kernel = layer.weight.shape[:2]
            net.add(nn.Conv2D(size, kernel, padding=layer.padding, use_bias=has_bias))
        else:
            if pooled:
                net.add(nn.Flatten())
            net.add(nn.Dense(size))
        if not has_bias:
            net.add(nn.BatchNorm())
        if layer.activation != "identity":
            net.add(layer.activation)
        pooled = layer.is_convolution
        if pooled:
            net.add(nn.MaxPool2D(2))
    net.build(work.input_shape)
    for parameter, array in zip(net.parameters.values(), start, strict=True):
        parameter[...] = array
    return net


def _cell(work: Work) -> list[nn.Layer]:
    """The layers of a network over sequences."""
    if work.cell == "lstm":
        return [nn.LSTM(work.sizes[0]), nn.Dense(work.sizes[1])]
    if work.cell == "attention":
        return [nn.MultiHeadAttention(work.heads), nn.Flatten(), nn.Dense(work.sizes[1])]
    return []


def optimizer(work: Work) -> optim.Optimizer:
    """The optimizer of a work."""
    return {"sgd": optim.SGD, "adam": optim.Adam}[work.optimizer](work.learning_rate)


@contextmanager
def told() -> Iterator[None]:
    """Raise LeftOut where the library tells that something does not run as it was asked to."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        yield
    for warning in warned:
        text = str(warning.message)
        if "not 'c'" in text or "cannot be compiled" in text:
            raise LeftOut(text)


def fit(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, inside `fit`: the whole call, with its checks, compiling and history"""
    return _fit(work, x, y, start, "numpy", lambda history: None)


def fit_c(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, C, inside `fit`: the whole call; the library is in the process already"""
    return _fit(work, x, y, start, "c", lambda history: None)


def epochs(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, inside `fit`, later epochs: `History.seconds` after the first epoch"""
    return _fit(work, x, y, start, "numpy", _later)


def epochs_c(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, C, inside `fit`, later epochs: `History.seconds` after the first epoch"""
    return _fit(work, x, y, start, "c", _later)


def _later(history: History) -> float:
    """The seconds of so many epochs, each as long as those after the first."""
    later = history.seconds[1:] or history.seconds
    return len(history.seconds) * sum(later) / len(later)


def _fit(
    work: Work,
    x: Array,
    y: Array,
    start: Parameters,
    engine: str,
    count: Callable[[History], float | None],
) -> Runner:
    net = network(work, start)

    def run(epochs: int) -> float | None:
        with told():
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
                engine=engine,
            )
        return count(history)

    return Runner(run, lambda: list(net.parameters.values()))


def step(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, the compiled step alone: driven as in `fit`, with as many threads"""
    return _step(work, x, y, start, "numpy")


def step_c(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, C, the compiled step alone: driven as in `fit`, with as many threads"""
    return _step(work, x, y, start, "c")


def _step(work: Work, x: Array, y: Array, start: Parameters, engine: str) -> Runner:
    net = network(work, start)
    train_step = CompiledStep(net, get_loss(work.loss), optimizer(work), engine=engine)
    batches = Batches((x, y), work.batch_size, None)
    train_step.compile_for(x[: work.batch_size], y[: work.batch_size])
    if train_step.remark:
        raise LeftOut(train_step.remark)
    rates = [work.learning_rate] * len(batches.losses)
    count = 0

    def run(epochs: int) -> None:
        nonlocal count
        with train_step.thread_limit():
            for _ in range(epochs):
                batches.begin(None, rates, count + 1)
                while not batches.is_done:
                    count += train_step.run(batches, None, perf_counter() + 3600, ())

    return Runner(
        run, lambda: list(net.parameters.unflatten(train_step.read_state().flat).values())
    )


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule: `net.predict(x)`"""
    return _predict(work, x, start, "numpy")


def predict_c(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, C: `net.predict(x)`, as after a `fit` in C"""
    return _predict(work, x, start, "c")


def _predict(work: Work, x: Array, start: Parameters, engine: str) -> Runner:
    net = network(work, start)
    with told():
        net.predict(x, engine=engine)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            net.predict(x, engine=engine)

    return Runner(run, lambda: [net.predict(x, engine=engine)])


def convolve(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule: `cr.vjp` as in a compiled step: source, its own memory, its choice of threads"""
    arrays = {"x": x, "kernel": start[0], "g": y}
    variables = [Variable(array.shape, array.dtype, name) for name, array in arrays.items()]
    graph, _ = trace(value_and_gradients, variables)
    program = build(graph, Labels(), exact=False)
    return _convolve(program.function, program.graph, x, start[0], y)


def convolve_c(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """chainrule, C: `cr.compile` of `cr.vjp`; its results are the caller's own"""
    compiled = cr.compile(value_and_gradients, engine="c")
    with told():
        compiled(x, start[0], y)
    return _convolve(compiled, compiled.graph, x, start[0], y)


def value_and_gradients(x: Array, kernel: Array, g: Array) -> tuple[Array, ...]:
    """A convolution and, from the cotangent g of its value, those of images and kernel."""
    value, pull_back = cr.vjp(cr.primitives.convolve, x, kernel)
    return value, *pull_back(g)


def _convolve(function: Callable[..., Any], graph: Graph, *arrays: Array) -> Runner:
    results = function(*arrays)

    def run(epochs: int) -> None:
        nonlocal results
        with limit_threads(graph):
            for _ in range(epochs):
                results = function(*arrays)

    return Runner(run, lambda: list(results))


def learn(work: Work, start: Parameters, is_enough: Callable[[float], bool]) -> None:
    """chainrule: `data.load`, `fit` with `validation_data`"""
    _learn(work, start, is_enough, "numpy")


def learn_c(work: Work, start: Parameters, is_enough: Callable[[float], bool]) -> None:
    """chainrule, C: `data.load`, `fit` with `validation_data`; its cache empty"""
    _learn(work, start, is_enough, "c")


def _learn(work: Work, start: Parameters, is_enough: Callable[[float], bool], engine: str) -> None:
    images = data.load("mnist")
    x, x_test = (a.reshape(-1, *work.image) for a in (images.x, images.x_test))
    n_steps = TO_0990_EPOCHS * -(-len(x) // work.batch_size)

    def stop(run: Any) -> None:
        if is_enough(run.history["val_accuracy"][-1]):
            run.stop("it is accurate enough")

    with told():
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
            engine=engine,
        )


SIDES = {
    "fit": fit,
    "epochs": epochs,
    "step": step,
    "predict": predict,
    "convolve": convolve,
    "learn": learn,
    "c-fit": fit_c,
    "c-epochs": epochs_c,
    "c-step": step_c,
    "c-predict": predict_c,
    "c-convolve": convolve_c,
    "c-learn": learn_c,
}
