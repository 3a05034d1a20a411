"""Networks with one planted fault each, and healthy ones, for `diagnose` to be scored on.

Every case is drawn by a seed: the task, its size and noise, the layers, the optimizer. A fault is
planted in an otherwise healthy case, and `expected` holds the names that are right for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule import nn, optim, primitives

__all__ = ["HEALTHY", "PLANTED", "DiagnosisCase", "healthy_cases", "planted_cases"]

Rng = np.random.Generator


@dataclass
class DiagnosisCase:
    """What `diagnose` is called with, and the names one of which comes first (none: healthy)."""

    name: str
    network: nn.Network
    x: Any
    y: Any
    options: dict[str, Any]
    expected: tuple[str, ...] = ()

    def diagnose(self):
        return self.network.diagnose(self.x, self.y, **self.options)


@dataclass
class Task:
    """Inputs and targets that can be learned, and what the last layer and the loss are for them."""

    kind: str
    x: np.ndarray
    y: np.ndarray
    n_outputs: int
    loss: str
    draw: Callable[[int], tuple[np.ndarray, np.ndarray]] = field(repr=False, default=None)


# Tasks


def classes(rng: Rng, n=None, d=None, k=None, apart=2.0) -> Task:
    """Gaussian clouds, one to a class."""
    n, d, k = n or int(rng.integers(100, 400)), d or int(rng.integers(2, 20)), k or 3
    centres = rng.normal(size=(k, d)) * apart / np.sqrt(d) * 1.5

    def draw(n):
        y = rng.integers(0, k, n)
        x = centres[y] + rng.normal(size=(n, d)) * apart / np.sqrt(d) * 0.5
        return x / (apart / np.sqrt(d) * 1.5), y

    x, y = draw(n)
    return Task("classes", x, y, k, "cross_entropy", draw)


def binary(rng: Rng, n=None) -> Task:
    """Two sides of a bent border."""
    n, d = n or int(rng.integers(100, 400)), int(rng.integers(2, 12))
    w = rng.normal(size=d)

    def draw(n):
        x = rng.normal(size=(n, d))
        score = x @ w / np.linalg.norm(w) + 0.5 * np.square(x[:, 0]) - 0.4
        return x, (score + 0.1 * rng.normal(size=n) > 0).astype(int)

    x, y = draw(n)
    return Task("binary", x, y, 1, "binary_cross_entropy", draw)


def values(rng: Rng, n=None, d=None) -> Task:
    """A smooth function of the inputs, standardised, with a little noise."""
    n, d = n or int(rng.integers(100, 400)), d or int(rng.integers(2, 10))
    w = rng.normal(size=d) / np.sqrt(d)

    def draw(n):
        x = rng.normal(size=(n, d))
        z = x @ w
        return x, (1.2 * z + 0.5 * np.sin(2 * z) + 0.1 * rng.normal(size=n))[:, None]

    x, y = draw(n)
    return Task("values", x, y, 1, "mean_squared_error", draw)


def any_task(rng: Rng, n=None) -> Task:
    return [classes, binary, values][rng.integers(3)](rng, n)


def images(rng: Rng, n=None, size=8) -> Task:
    """Bars that lie or stand, at any place, on a little noise."""
    n = n or int(rng.integers(150, 300))

    def draw(n):
        y, places = rng.integers(0, 2, n), rng.integers(0, size, n)
        x = 0.1 * rng.random((n, size, size, 1))
        for i in range(n):
            if y[i]:
                x[i, places[i], :, 0] += 0.8
            else:
                x[i, :, places[i], 0] += 0.8
        return x, y

    x, y = draw(n)
    return Task("images", x, y, 2, "cross_entropy", draw)


def sequences(rng: Rng, n=None) -> Task:
    """The mean of a sequence's first feature, over all steps."""
    n, steps, d = n or int(rng.integers(150, 300)), int(rng.integers(5, 12)), 3

    def draw(n):
        x = rng.normal(size=(n, steps, d))
        return x, x[:, :, :1].mean(axis=1) * np.sqrt(steps)

    x, y = draw(n)
    return Task("sequences", x, y, 1, "mean_squared_error", draw)


def words(rng: Rng, n=None) -> Task:
    """Which half of the vocabulary most words of a sentence are from."""
    n, vocabulary, steps = n or int(rng.integers(150, 300)), 20, 9

    def draw(n):
        y = rng.integers(0, 2, n)
        low = rng.random((n, steps)) < np.where(y == 0, 0.8, 0.2)[:, None]
        half = rng.integers(0, vocabulary // 2, (n, steps))
        return np.where(low, half, half + vocabulary // 2), y

    x, y = draw(n)
    return Task("words", x, y, 2, "cross_entropy", draw)


# Networks and options that are right


def layers(rng: Rng, task: Task, activation=None, depth=None, units=None) -> list[Any]:
    activation = activation or ["relu", "tanh", "leaky_relu", "gelu"][rng.integers(4)]
    depth, units = depth or int(rng.integers(1, 4)), units or int(rng.integers(12, 64))
    return nn.models.dense(task.n_outputs, [units] * depth, activation)


def optimizer(rng: Rng, rate=None) -> optim.Optimizer:
    made = [
        optim.Adam(rate or 0.005),
        optim.SGD(rate or 0.05),
        optim.SGD(rate or 0.01, momentum=0.9),
        optim.RMSprop(rate or 0.003),
        optim.AdamW(rate or 0.005),
    ]
    return made[rng.integers(len(made))]


def case(name: str, rng: Rng, task: Task, made: Any, expected=(), **options: Any) -> DiagnosisCase:
    network = (
        made if isinstance(made, nn.Network) else nn.Network(made, seed=int(rng.integers(1e6)))
    )
    both = {"loss": task.loss, "optimizer": optimizer(rng), "batch_size": 32, **options}
    expected = (expected,) if isinstance(expected, str) else tuple(expected)
    return DiagnosisCase(name, network, task.x, task.y, both, expected)


# The faults

PLANTED: dict[str, Callable[[Rng], DiagnosisCase]] = {}
HEALTHY: dict[str, Callable[[Rng], DiagnosisCase]] = {}


def planted(function):
    PLANTED[function.__name__] = function
    return function


def healthy(function):
    HEALTHY[function.__name__] = function
    return function


@planted
def rate_too_large(rng):
    task = any_task(rng)
    made = [optim.SGD(float(rng.choice([50.0, 300.0]))), optim.Adam(float(rng.choice([1.0, 10.0])))]
    return case(
        "rate too large", rng, task, layers(rng, task), "learning rate too large",
        optimizer=made[rng.integers(2)],
    )  # fmt: skip


@planted
def rate_too_small(rng):
    task = any_task(rng)
    made = [optim.SGD(float(rng.choice([1e-5, 1e-6]))), optim.Adam(float(rng.choice([1e-6, 1e-7])))]
    return case(
        "rate too small", rng, task, layers(rng, task), "learning rate too small",
        optimizer=made[rng.integers(2)],
    )  # fmt: skip


def _set_weights(net: nn.Network, x, change) -> nn.Network:
    net.build(x.shape[1:])
    for name, weight in net.parameters.items():
        if name.endswith("weight"):
            net.parameters[name] = change(weight)
    return net


@planted
def zeros_at_start(rng):
    task = any_task(rng)
    net = _set_weights(nn.Network(layers(rng, task, units=16)), task.x, np.zeros_like)
    return case("zero start", rng, task, net, "zero initialisation")


@planted
def constant_at_start(rng):
    task = any_task(rng)
    value = float(rng.choice([0.1, 0.5, 1.0]))
    made = [
        nn.Dense(16, weight=nn.initializers.constant(value)),
        nn.Tanh(),
        nn.Dense(task.n_outputs),
    ]
    if rng.random() < 0.5:
        made[-1] = nn.Dense(task.n_outputs, weight=nn.initializers.constant(value))
    return case("constant start", rng, task, made, "constant initialisation")


@planted
def equal_units(rng):
    task = any_task(rng)
    net = nn.Network(layers(rng, task, depth=2, units=12), seed=int(rng.integers(100)))
    net.build(task.x.shape[1:])
    first = net.parameters["dense_1.weight"]
    net.parameters["dense_1.weight"] = np.repeat(first[:, :1], 12, axis=1)
    second = net.parameters["dense_2.weight"]
    net.parameters["dense_2.weight"] = np.repeat(second[:1], 12, axis=0)
    return case("symmetry", rng, task, net, "symmetry")


@planted
def saturated(rng):
    task = any_task(rng)
    name = ["sigmoid", "tanh"][rng.integers(2)]
    big = nn.initializers.normal(float(rng.choice([10.0, 30.0])))
    made = []
    for _ in range(int(rng.integers(1, 3))):
        made += [nn.Dense(24, weight=big), name]
    made.append(nn.Dense(task.n_outputs))
    return case("saturated", rng, task, made, f"saturated {name}", optimizer=optim.SGD(0.05))


@planted
def dead_relu(rng):
    task = any_task(rng)
    made = [nn.Dense(24, weight="he_uniform"), nn.ReLU()]
    made += [nn.Dense(24, weight="he_uniform", bias=np.full(24, -50.0)), nn.ReLU()]
    made.append(nn.Dense(task.n_outputs))
    return case("dead", rng, task, made, "dead ReLU")


@planted
def vanishing(rng):
    task = any_task(rng)
    if rng.random() < 0.5:
        made = nn.models.dense(task.n_outputs, [16] * int(rng.integers(7, 11)), "sigmoid")
    else:
        small = nn.initializers.normal(0.005)
        made = []
        for _ in range(5):
            made += [nn.Dense(20, weight=small), nn.Tanh()]
        made.append(nn.Dense(task.n_outputs))
    return case("vanishing", rng, task, made, "vanishing gradients", optimizer=optim.SGD(0.1))


@planted
def exploding(rng):
    task = any_task(rng)
    made = []
    for _ in range(int(rng.integers(5, 9))):
        made += [nn.Dense(32, weight=nn.initializers.normal(1.0)), nn.ReLU()]
    made.append(nn.Dense(task.n_outputs))
    return case("exploding", rng, task, made, "exploding gradients", optimizer=optim.SGD(0.01))


@planted
def unscaled(rng):
    task = any_task(rng)
    how = rng.integers(3)
    if how == 0:
        task.x = task.x * float(rng.choice([200.0, 5000.0]))
    elif how == 1:
        task.x = task.x * np.logspace(0, 4, task.x.shape[1])
    else:
        task.x = task.x + 300.0
    return case("unscaled", rng, task, layers(rng, task), "inputs not scaled")


@planted
def constant_column(rng):
    task = any_task(rng)
    task.x = np.insert(task.x, 1, float(rng.choice([0.0, 1.0, 3.5])), axis=1)
    return case("constant column", rng, task, layers(rng, task), "constant column")


@planted
def duplicate_columns(rng):
    task = any_task(rng)
    task.x = np.concatenate([task.x, task.x[:, :1] * float(rng.choice([1.0, 2.54]))], axis=1)
    return case("duplicate columns", rng, task, layers(rng, task), "duplicate columns")


@planted
def labels_shuffled(rng):
    task = any_task(rng, 200)
    task.y = rng.permutation(task.y)
    return case("shuffled", rng, task, layers(rng, task), "labels shuffled")


@planted
def labels_of_wrong_shape(rng):
    how = rng.integers(3)
    if how == 0:
        task = classes(rng)
        task.y = task.y[:, None]
    elif how == 1:
        task = values(rng)
        task.y = np.repeat(task.y, 3, axis=1)
    else:
        task = classes(rng)
        task.y = task.y[:-3]
    return case("label shape", rng, task, layers(rng, task), "labels of the wrong shape")


@planted
def labels_of_wrong_kind(rng):
    how = rng.integers(4)
    task = classes(rng)
    if how == 0:
        task.y = task.y + 1
    elif how == 1:
        task.y = np.array(["cat", "dog", "eel"])[task.y]
    elif how == 2:
        task.y = task.y + 0.5
    else:
        task = binary(rng)
        task.y = 2 * task.y - 1
    return case("label kind", rng, task, layers(rng, task), "labels of the wrong kind")


@planted
def unbalanced(rng):
    n, d = int(rng.integers(200, 500)), int(rng.integers(2, 8))
    y = (rng.random(n) < 0.05).astype(int)
    y[:4] = 1
    x = rng.normal(size=(n, d)) + 0.5 * y[:, None]
    task = Task("binary", x, y, 1, "binary_cross_entropy")
    if rng.random() < 0.5:
        task.n_outputs, task.loss = 2, "cross_entropy"
    return case("unbalanced", rng, task, layers(rng, task), "classes unbalanced")


@planted
def wrong_last_layer(rng):
    how = rng.integers(4)
    name = "output layer and loss do not fit"
    if how == 0:
        task = values(rng)
        task.y = task.y * 3
        made = [*layers(rng, task), ["sigmoid", "tanh"][rng.integers(2)]]
    elif how == 1:
        task = classes(rng)
        made = [*layers(rng, task), "relu"]
    elif how == 2:
        task = binary(rng)
        made = [*layers(rng, task), ["sigmoid", "tanh"][rng.integers(2)]]
    else:
        task = classes(rng, k=5)
        task.n_outputs = 1
        made = layers(rng, task)
    return case("last layer", rng, task, made, name)


@planted
def softmax_twice(rng):
    task = classes(rng)
    last = [nn.Softmax(), nn.Activation(lambda z: primitives.softmax(z, axis=-1))][rng.integers(2)]
    return case("softmax twice", rng, task, [*layers(rng, task), last], "softmax twice")


@planted
def regularised(rng):
    task = any_task(rng)
    how = rng.integers(3)
    made, options = layers(rng, task), {}
    if how == 0:
        options["penalty"] = nn.L2(float(rng.choice([1.0, 10.0])))
    elif how == 1:
        options["penalty"] = nn.L1(float(rng.choice([0.3, 3.0])))
    else:
        options["optimizer"] = optim.AdamW(0.005, weight_decay=float(rng.choice([50.0, 150.0])))
    return case("regularised", rng, task, made, "regularisation too strong", **options)


@planted
def batch_of_few(rng):
    task = any_task(rng)
    made = [nn.Dense(24), nn.BatchNorm(), nn.ReLU(), nn.Dense(task.n_outputs)]
    size = int(rng.integers(1, 4))
    return case("batch norm", rng, task, made, "batch too small for batch norm", batch_size=size)


@planted
def parts_differ(rng):
    task = any_task(rng)
    x, y = task.draw(80)
    how = rng.integers(3)
    x = x + 2.5 if how == 0 else x * 6 if how == 1 else x
    if how == 2:
        order = np.argsort(x[:, 0])
        x, y = x[order][-40:], y[order][-40:]
    return case(
        "parts differ", rng, task, layers(rng, task), "train and validation differ",
        validation_data=(x, y),
    )  # fmt: skip


@planted
def overfitting(rng):
    n, d = int(rng.integers(24, 50)), int(rng.integers(12, 30))
    w = rng.normal(size=d) / np.sqrt(d)

    def draw(n):
        x = rng.normal(size=(n, d))
        return x, (x @ w + 1.0 * rng.normal(size=n))[:, None]

    x, y = draw(n)
    task = Task("values", x, y, 1, "mean_squared_error", draw)
    if rng.random() < 0.5:
        inner, task.loss = draw, "binary_cross_entropy"

        def draw(n):
            x, y = inner(n)
            return x, (y > 0).astype(int)

        task.y = y = (y > 0).astype(int)
    net = nn.Network(nn.models.dense(1, [128, 128], "relu"), seed=0)
    made = optim.Adam(0.003)
    if rng.random() < 0.5:
        options = {"loss": task.loss, "optimizer": made, "epochs": 150, "verbose": 0, "seed": 0}
        net.fit(x, y, engine="numpy", **options)
    return case(
        "overfitting", rng, task, net, "overfitting", validation_data=draw(60), optimizer=made
    )


@planted
def leak(rng):
    how = rng.integers(3)
    task = any_task(rng)
    options = {}
    if how == 0:
        task = values(rng)
        task.x = np.concatenate([task.x, 2 * task.y - 1], axis=1)
    elif how == 1:
        task = classes(rng)
        task.x = np.concatenate([task.x, task.y[:, None]], axis=1)
    else:
        some = rng.permutation(len(task.x))[:40]
        options["validation_data"] = (task.x[some], task.y[some])
    return case("leak", rng, task, layers(rng, task), "leak", **options)


@planted
def too_small(rng):
    if rng.random() < 0.5:
        x = rng.uniform(-1, 1, (300, 2))
        y = (x[:, 0] * x[:, 1] > 0).astype(int)
        task = Task("binary", x, y, 1, "binary_cross_entropy")
        made = [nn.Dense(1), nn.Tanh(), nn.Dense(1)]
    else:
        task = classes(rng, n=300, d=8, k=8, apart=3.0)
        made = [nn.Dense(1), nn.Tanh(), nn.Dense(8)]
    return case("too small", rng, task, made, "network too small", optimizer=optim.Adam(0.01))


@planted
def nan_in_data(rng):
    task = any_task(rng)
    task.x = task.x.copy()
    task.x[rng.integers(len(task.x)), 0] = float(rng.choice([np.nan, np.inf]))
    return case("NaN data", rng, task, layers(rng, task), "NaN in the inputs")


@planted
def nan_in_computation(rng):
    task = any_task(rng)
    function = [np.log, np.sqrt, lambda z: 1 / (z - z)][rng.integers(3)]
    made = [nn.Dense(16), nn.Activation(function), nn.Dense(task.n_outputs)]
    return case("NaN", rng, task, made, "NaN in the computation")


@planted
def transposed(rng):
    task = any_task(rng)
    task.x = task.x.T
    return case("transposed", rng, task, layers(rng, task), "transposed inputs")


@planted
def constant_target(rng):
    how = rng.integers(3)
    x = rng.random((250, 30))
    y = x.sum(axis=1, keepdims=True)
    task = Task("values", x, y, 1, "mean_squared_error")
    made = layers(rng, task)
    if how == 0:
        task.y = np.full_like(y, x.sum())
    elif how == 1:
        task.y = 100 * y
    else:
        made = [*layers(rng, task), nn.Activation(lambda z: 0 * z)]
    expected = ["target learned as a constant", "zero gradients"][: 1 + (how == 2)]
    return case("constant target", rng, task, made, expected, optimizer=optim.Adam(0.001))


# Healthy ones


@healthy
def plain(rng):
    task = any_task(rng)
    return case("plain", rng, task, layers(rng, task))


@healthy
def plain_validated(rng):
    task = any_task(rng)
    return case("validated", rng, task, layers(rng, task), validation_data=task.draw(60))


@healthy
def linear_model(rng):
    task = [classes, values][rng.integers(2)](rng)
    return case("linear", rng, task, [nn.Dense(task.n_outputs)])


@healthy
def sigmoid_network(rng):
    task = classes(rng)
    task.y = np.eye(3)[task.y]
    task.loss = "squared_error"
    made = [nn.Dense(16), "sigmoid", nn.Dense(3), "sigmoid"]
    return case("sigmoids", rng, task, made, optimizer=optim.SGD(1.0))


@healthy
def convolutions(rng):
    task = images(rng)
    made = [nn.Conv2D(8, 3), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2)]
    return case("convolutions", rng, task, made, optimizer=optim.Adam(0.003))


@healthy
def convolutions_normalised(rng):
    task = images(rng)
    made = [nn.Conv2D(8, 3, use_bias=False), nn.BatchNorm(), nn.ReLU(), nn.GlobalAvgPool2D()]
    made += [nn.Dropout(0.2), nn.Dense(2)]
    return case("normalised", rng, task, made, optimizer=optim.Adam(0.003))


@healthy
def batch_norm(rng):
    task = any_task(rng)
    made = [nn.Dense(32), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(task.n_outputs)]
    return case("batch norm", rng, task, made, batch_size=int(rng.choice([16, 32, 64])))


@healthy
def recurrent(rng):
    task = sequences(rng)
    cell = [nn.LSTM(16), nn.GRU(16), nn.SimpleRNN(16)][rng.integers(3)]
    return case("recurrent", rng, task, [cell, nn.Dense(1)], optimizer=optim.Adam(0.005))


@healthy
def attention(rng):
    task = sequences(rng)
    made = [nn.Dense(16), nn.Residual([nn.LayerNorm(), nn.MultiHeadAttention(4)]), nn.Flatten()]
    return case("attention", rng, task, [*made, nn.Dense(1)], optimizer=optim.Adam(0.003))


@healthy
def embedding(rng):
    task = words(rng)
    made = [nn.Embedding(20, 8), nn.Flatten(), nn.Dense(16), nn.ReLU(), nn.Dense(2)]
    return case("words", rng, task, made, optimizer=optim.Adam(0.005))


@healthy
def deep_residual(rng):
    task = any_task(rng)
    made = [nn.Dense(24)]
    for _ in range(6):
        made.append(nn.Residual([nn.LayerNorm(), nn.Dense(24), nn.ReLU(), nn.Dense(24)]))
    return case(
        "residual", rng, task, [*made, nn.Dense(task.n_outputs)], optimizer=optim.Adam(2e-3)
    )


@healthy
def trained(rng):
    task = any_task(rng, 500)
    net, made = nn.Network(layers(rng, task, depth=1), seed=0), optim.Adam(0.01)
    net.fit(
        task.x, task.y, loss=task.loss, optimizer=made, epochs=10, seed=0, verbose=0, engine="numpy"
    )
    return case("trained", rng, task, net, optimizer=made, validation_data=task.draw(80))


@healthy
def penalised(rng):
    task = any_task(rng)
    return case("penalised", rng, task, layers(rng, task), penalty=nn.L2(1e-3))


@healthy
def xor(rng):
    x = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]])
    task = Task("binary", x, np.array([0, 1, 1, 0]), 1, "binary_cross_entropy")
    return case("xor", rng, task, [nn.Dense(8), "tanh", nn.Dense(1)], optimizer=optim.Adam(0.05))


@healthy
def one_feature(rng):
    x = rng.uniform(-1, 1, (120, 1))
    task = Task("values", x, np.sin(3 * x), 1, "mean_squared_error")
    return case("sine", rng, task, nn.models.dense(1, [32, 32], "tanh"), optimizer=optim.Adam(0.01))


@healthy
def digits(rng):
    from chainrule import data

    loaded = data.load("digits")
    rows = rng.permutation(len(loaded.x))[:500]
    x = loaded.x[rows].reshape(-1, 8, 8, 1) if rng.random() < 0.5 else loaded.x[rows]
    task = Task("images", x, loaded.y[rows], 10, "cross_entropy")
    made = [nn.Flatten(), *nn.models.dense(10, [64], "relu")]
    return case("digits", rng, task, made, optimizer=optim.Adam(0.003))


@healthy
def minimized(rng):
    task = any_task(rng)
    return case("lbfgs", rng, task, layers(rng, task), optimizer="lbfgs")


@healthy
def warmed_up(rng):
    task = any_task(rng)
    rate = optim.Warmup(optim.CosineDecay(0.005, steps=2000), steps=200)
    return case("warm-up", rng, task, layers(rng, task), optimizer=optim.Adam(rate))


@healthy
def one_hot_probabilities(rng):
    task = classes(rng)
    task.y = np.eye(3)[task.y]
    return case("one-hot", rng, task, layers(rng, task), optimizer=optim.Adam(0.005))


@healthy
def sparse_inputs(rng):
    x = (rng.random((300, 40)) < 0.1).astype(float)
    x[:, 7] = 0.0
    w = rng.normal(size=40)
    y = (x @ w > np.median(x @ w)).astype(int)
    task = Task("binary", x, y, 1, "binary_cross_entropy")
    return case("sparse", rng, task, nn.models.dense(1, [32], "relu"), optimizer=optim.Adam(0.01))


def planted_cases(seed: int, n_of_each: int = 1) -> list[DiagnosisCase]:
    """So many cases of each fault."""
    return _drawn(PLANTED, seed, n_of_each)


def healthy_cases(seed: int, n_of_each: int = 1) -> list[DiagnosisCase]:
    """So many healthy cases of each kind."""
    return _drawn(HEALTHY, seed, n_of_each)


def _drawn(table, seed, n_of_each):
    return [
        function(np.random.default_rng((seed, i, j)))
        for j in range(n_of_each)
        for i, function in enumerate(table.values())
    ]
