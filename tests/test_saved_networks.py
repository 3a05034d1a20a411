"""Copies, files and memory of networks: nothing shared, no user's code in a file, no leak."""

from __future__ import annotations

import copy
import functools
import gc
import io
import linecache
import pickle
import tracemalloc
import weakref

import numpy as np
import pytest

from chainrule import nn
from chainrule.training.metrics import accuracy

X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
Y = X.sum(axis=1, keepdims=True)


def network(**options):
    return nn.Network([nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.Dense(1)], seed=0, **options)


def fit(net, **options):
    defaults = {"loss": "squared_error", "epochs": 2, "batch_size": 8, "seed": 0, "verbose": 0}
    return net.fit(X, Y, **(defaults | options))


def own_loss(outputs, targets):
    return np.mean((outputs - targets) ** 2)


def own_metric(outputs, targets):
    return float(np.mean(outputs))


class Owner:
    """Somebody whose methods are handed to fit, and who cannot be pickled."""

    def __init__(self):
        self.file = io.BytesIO()
        self.lock = (i for i in range(3))

    def loss(self, outputs, targets):
        return own_loss(outputs, targets)


OWN = {
    "lambda loss": ({"loss": lambda o, t: np.mean((o - t) ** 2)}, "loss"),
    "loss": ({"loss": own_loss}, "loss"),
    "method": ({"loss": Owner().loss}, "loss"),
    "partial": ({"loss": functools.partial(own_loss)}, "loss"),
    "lambda metric": ({"metrics": {"mean": lambda o, t: float(np.mean(o))}}, "metrics"),
    "metric": ({"metrics": [own_metric, "mse"]}, "metrics"),
    "lambda penalty": ({"penalty": lambda p: np.sum(p["dense_1.weight"] ** 2)}, "penalty"),
    "penalties": ({"penalty": [nn.L2(0.1), lambda p: np.sum(p["dense_1.weight"] ** 2)]}, "penalty"),
}


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_network_is_saved_whatever_it_was_fitted_with(kind, optimizer):
    options, name = OWN[kind]
    net = network()
    fit(net, **options, optimizer=optimizer)
    kept = net.evaluate(X, Y)
    data = pickle.dumps(net)
    for foreign in (b"train_step", b"import numpy", __name__.encode()):
        assert foreign not in data
    loaded = pickle.loads(data)
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    with pytest.raises(
        ValueError, match=rf"the {name} of the last fit was .* not saved.*give {name}="
    ):
        loaded.evaluate(X, Y)
    assert loaded.evaluate(X, Y, **options) == pytest.approx(kept)
    again = pickle.loads(pickle.dumps(loaded))
    with pytest.raises(ValueError, match=rf"give {name}="):
        again.evaluate(X, Y)
    assert net.evaluate(X, Y) == kept  # the one that was saved still knows


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": nn.losses.huber, "metrics": ["mae", "r2"]},
        {"loss": functools.partial(nn.losses.huber, delta=0.3), "penalty": nn.L2(0.1)},
        {"metrics": {"mine": "mse"}, "penalty": [nn.L1(0.1), nn.L2(0.1)]},
    ],
)
def test_what_is_the_librarys_own_is_saved_too(options):
    net = network()
    fit(net, **options)
    loaded = pickle.loads(pickle.dumps(net))
    assert loaded.evaluate(X, Y) == net.evaluate(X, Y)


def test_a_function_of_ours_is_saved_as_a_metric():
    net = nn.Network([nn.Dense(2)], seed=0)
    labels = (Y[:, 0] > 0).astype(int)
    net.fit(X, labels, loss=nn.losses.cross_entropy, metrics=accuracy, verbose=0)
    assert pickle.loads(pickle.dumps(net)).evaluate(X, labels) == net.evaluate(X, labels)


@pytest.mark.parametrize("name", nn.LOSSES)
def test_losses_are_pickled_by_name_and_copied_as_they_are(name):
    loss = nn.LOSSES[name]
    assert pickle.loads(pickle.dumps(loss)) is loss
    assert copy.deepcopy(loss) is copy.copy(loss) is loss


# Copies


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))]
)
@pytest.mark.parametrize("fitted", [False, True])
def test_a_copy_is_a_network_of_its_own(copied, fitted):
    net = network(input_shape=3)
    if fitted:
        fit(net)
    before, state = net.parameters.flat.copy(), {k: v.copy() for k, v in net.state.items()}
    outputs, layers = net.predict(X), net.layers
    other = copied(net)
    np.testing.assert_array_equal(other.predict(X), outputs)
    assert not other.has_step
    assert net.has_step == fitted
    other.add(nn.Dense(2))
    other.layers[0].units = 99
    other.fit(X, np.c_[Y, Y], loss="squared_error", epochs=2, verbose=0)
    assert net.layers == layers
    assert net.layers[0].units == 4
    np.testing.assert_array_equal(net.parameters.flat, before)
    for name, array in net.state.items():
        np.testing.assert_array_equal(array, state[name])
    np.testing.assert_array_equal(net.predict(X), outputs)
    again = copied(net)
    net.parameters.flat[:] = 0.0
    net.state["batch_norm_1.running_mean"][:] = 7.0
    np.testing.assert_array_equal(again.predict(X), outputs)


def test_a_copy_goes_on_from_the_same_random_numbers():
    one = network(input_shape=3)
    two = copy.copy(one)
    for net in (one, two):
        net.add(nn.Dense(5))
    np.testing.assert_array_equal(one.parameters.flat, two.parameters.flat)


def test_a_copy_knows_what_the_fit_measured():
    owner = Owner()
    net = network()
    fit(net, loss=owner.loss)
    for other in (copy.copy(net), copy.deepcopy(net)):
        assert other.evaluate(X, Y) == net.evaluate(X, Y)


# Outputs are the caller's own


class Bias(nn.Layer):
    """Gives parameters or state as they are."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def init(self, input_shape, rng):
        return {"weight": np.ones((4, 3))}

    def init_state(self, input_shape):
        return {"kept": np.ones((4, 3))}

    def forward(self, x, parameters, context):
        return {"weight": parameters["weight"], "kept": context.state["kept"]}[self.what]


@pytest.mark.parametrize("call", ["predict", "__call__", "layer_outputs"])
@pytest.mark.parametrize(
    "make",
    [
        lambda: [nn.Flatten()],
        lambda: [nn.Reshape((3, 1))],
        lambda: [nn.Identity()],
        lambda: ["identity", nn.Flatten()],
        lambda: [nn.Dropout(0.5)],
        lambda: [nn.Activation(lambda x: x[:])],
        lambda: [nn.Activation(np.transpose), nn.Activation(np.transpose)],
        lambda: [Bias("weight")],
        lambda: [Bias("kept")],
    ],
)
def test_outputs_are_no_memory_of_inputs_or_network(call, make):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    if isinstance(make()[0], nn.Activation):
        x = np.arange(9, dtype=np.float32).reshape(3, 3)
    net = nn.Network(make(), seed=0)
    given = x.copy()
    outputs = getattr(net, call)(x)
    parameters, state = net.parameters.flat.copy(), {k: v.copy() for k, v in net.state.items()}
    for array in outputs.values() if isinstance(outputs, dict) else [outputs]:
        array[...] = -77
    np.testing.assert_array_equal(x, given)
    np.testing.assert_array_equal(net.parameters.flat, parameters)
    for name, array in net.state.items():
        np.testing.assert_array_equal(array, state[name])


# Memory


class Watching:
    def on_epoch_end(self, run):
        self.loss = run.loss


def test_nothing_of_a_fit_outlives_its_network():
    net = network()
    fit(net)
    step = weakref.ref(net.step)
    fit(net)
    gc.collect()
    assert step() is None
    step = weakref.ref(net.step)
    del net
    gc.collect()
    assert step() is None


@pytest.mark.parametrize("options", [{}, {"compile": False}, {"callbacks": [Watching()]}])
def test_many_fits_take_no_more_memory_than_one(options):
    def memory_after(n_fits):
        for seed in range(n_fits):
            fit(network(), epochs=1, **(options | {"seed": seed}))
        linecache.clearcache()  # the texts of the programs, which debuggers look up there
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        memory_after(3)
        first = memory_after(3)
        grown = memory_after(8) - first
    finally:
        tracemalloc.stop()
    assert grown < 24_000
