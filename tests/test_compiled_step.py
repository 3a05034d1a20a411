"""The compiled training step: it equals the eager one, allocates nothing, and reads as it should.

The golden files are the sources of reference networks. After a change of the compiler that is
meant, write them anew with `pytest tests/test_compiled_step.py --write-golden` and read the diff.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.engines.numpy import program
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.samples import Batch

GOLDEN = Path(__file__).parent / "golden"
ACTIVATIONS = [
    nn.Sigmoid, nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Softmax,
    nn.LogSoftmax, nn.Identity,
]  # fmt: skip
OPTIMIZERS = [
    optim.SGD(0.1), optim.SGD(0.1, 0.9), optim.SGD(0.1, 0.9, nesterov=True), optim.Adagrad(),
    optim.RMSprop(), optim.Adam(), optim.AdamW(), optim.Lion(), optim.SGD(0.1, clip_norm=0.01),
    optim.Adam(clip_value=0.01), optim.SGD(optim.ExponentialDecay(0.1, 0.5, 2)),
]  # fmt: skip
TOLERANCE = {"float64": 1e-12, "float32": 1e-3}


def targets_for(loss, n, dtype, rng):
    if loss is nn.losses.cross_entropy:
        return rng.integers(0, 3, n)
    if loss is nn.losses.hinge:
        return (2 * np.eye(3)[rng.integers(0, 3, n)] - 1).astype(dtype)
    y = rng.random((n, 3))
    return (y / y.sum(axis=1, keepdims=True)).astype(dtype)


def train_both_ways(activation, loss, optimizer, dtype="float64", n=5, weighted=False, penalty=()):
    """Three steps, eager and compiled, from the same start: (loss, outputs, parameters) of each."""
    rng = np.random.default_rng(0)
    layers = [nn.Dense(4), activation(), nn.Flatten(), nn.Dense(3)]
    net = nn.Network(layers, input_shape=6, seed=0, dtype=dtype)
    x = rng.standard_normal((n, 6)).astype(dtype)
    y = targets_for(loss, n, dtype, rng)
    weight = rng.random(n).astype(dtype) if weighted else None
    results = []
    for make in (EagerStep, CompiledStep):
        step = make(net, loss, optimizer, penalty)
        for number in (1, 2, 3):
            rate = optimizer.learning_rate_at(number)
            value, outputs = step.take(Batch(x, y, weight), rate, number)
        results.append([np.array(value), np.array(outputs), np.array(step.read_state().flat)])
    return results


def assert_equal(eager, compiled, dtype):
    for expected, found in zip(eager, compiled, strict=True):
        assert found.dtype == expected.dtype == np.dtype(dtype)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(
            found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype] * scale
        )


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", [*nn.losses.LOSSES.values()], ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda layer: layer.__name__)
def test_equals_the_eager_step_for_every_layer_and_loss(activation, loss, dtype):
    eager, compiled = train_both_ways(activation, loss, optim.SGD(0.1), dtype)
    assert_equal(eager, compiled, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", [*nn.losses.LOSSES.values()], ids=lambda loss: loss.__name__)
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_equals_the_eager_step_for_every_loss_and_optimizer(loss, optimizer, dtype):
    eager, compiled = train_both_ways(nn.Tanh, loss, optimizer, dtype)
    assert_equal(eager, compiled, dtype)


@pytest.mark.parametrize(("n", "weighted"), [*product([1, 2, 5], [False, True])])
def test_equals_the_eager_step_for_batches_of_one_and_with_weights(n, weighted):
    for loss in nn.losses.LOSSES.values():
        eager, compiled = train_both_ways(nn.Sigmoid, loss, optim.SGD(0.1), n=n, weighted=weighted)
        assert_equal(eager, compiled, "float64")


@pytest.mark.parametrize("penalty", [nn.L1(0.1), nn.L2(0.1), nn.L2(0.1, biases=True)], ids=repr)
def test_equals_the_eager_step_with_penalties(penalty):
    for optimizer in (optim.SGD(0.1), optim.Adam()):
        eager, compiled = train_both_ways(
            nn.Sigmoid, nn.losses.squared_error, optimizer, penalty=(penalty,)
        )
        assert_equal(eager, compiled, "float64")


def test_without_any_pass_the_result_is_the_same(monkeypatch):
    monkeypatch.setitem(program.build.__kwdefaults__, "passes", ())
    for optimizer in (optim.SGD(0.1), optim.Adam()):
        eager, compiled = train_both_ways(nn.GELU, nn.losses.cross_entropy, optimizer)
        assert_equal(eager, compiled, "float64")


def test_other_batch_sizes_work_on_the_same_parameters():
    net = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(2)], input_shape=4, seed=0, dtype="float64")
    optimizer = optim.Adam()
    rng = np.random.default_rng(0)
    compiled = CompiledStep(net, nn.losses.squared_error, optimizer)
    eager = EagerStep(net, nn.losses.squared_error, optimizer)
    for number, n in enumerate((5, 2, 5, 1), start=1):
        x, y = rng.standard_normal((n, 4)), rng.standard_normal((n, 2))
        for step in (compiled, eager):
            step.take(Batch(x, y), 0.01, number)
    found, expected = compiled.read_state(), eager.read_state()
    np.testing.assert_allclose(found.flat, expected.flat, rtol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_no_array_is_allocated_within_a_step(optimizer):
    """Beyond the fixed buffer of at most 8192 elements in which NumPy itself repeats a bias."""
    net = nn.Network([nn.Dense(200), nn.Sigmoid(), nn.Dense(100)], input_shape=300, seed=0)
    step = CompiledStep(net, nn.losses.squared_error, optimizer)
    rng = np.random.default_rng(0)
    x, y = rng.random((512, 300), np.float32), rng.random((512, 100), np.float32)
    flat = net.parameters.flat
    step.take(Batch(x, y), 0.1, 1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step.take(Batch(x, y), 0.1, 2)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    smallest = min(flat.nbytes, y.nbytes)  # 321 kB of parameters, 205 kB of outputs
    assert peak < 8192 * 4 + 4_000 < smallest / 4


NETWORKS = {
    "mlp_sgd": (196, [nn.Dense, nn.Sigmoid], (100, 50, 10), "squared_error", optim.SGD(1.0), 64),
    "mlp_adam": (784, [nn.Dense, nn.ReLU], (512, 512, 10), "cross_entropy", optim.Adam(), 128),
    "one_sample": (64, [nn.Dense, nn.Sigmoid], (32, 16, 10), "squared_error", optim.SGD(0.1), 1),
    "xor_momentum": (2, [nn.Dense, nn.Tanh], (3, 1), "mean_squared_error", optim.SGD(0.1, 0.9), 4),
    "binary": (5, [nn.Dense, nn.GELU], (4, 1), "binary_cross_entropy", optim.RMSprop(), 8),
}


def golden_source(name: str) -> str:
    features, (dense, activation), units, loss, optimizer, batch = NETWORKS[name]
    layers = [layer for n in units for layer in (dense(n), activation())]
    if "cross_entropy" in loss:
        layers.pop()
    net = nn.Network(layers, input_shape=features, seed=0)
    step = CompiledStep(net, nn.losses.get_loss(loss), optimizer)
    x = np.zeros((batch, features), np.float32)
    y = np.zeros((batch, units[-1]), np.float32)
    step.compile_for(x, y)
    return step.source


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_source(name, request):
    source, file = golden_source(name), GOLDEN / f"{name}.py"
    if request.config.getoption("--write-golden"):
        file.write_text(source)
    assert source == file.read_text(), f"the source of {name} has changed: see --write-golden"


@pytest.mark.parametrize("name", NETWORKS)
def test_golden_source_runs_as_a_file_and_is_deterministic(name):
    assert golden_source(name) == golden_source(name)
    done = subprocess.run(
        [sys.executable, "-I", str(GOLDEN / f"{name}.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("train_step on random data returned")


def body_of(source: str) -> list[str]:
    step = source.split("def train_step")[1].split("if __name__")[0]
    return [line.strip() for line in step.splitlines()[1:] if line.strip()]


def source_of(loss, optimizer, n_outputs=3, penalty=(), labels=False, activation=nn.Tanh) -> str:
    """The body of a small network's step, with a linear last layer."""
    net = nn.Network([nn.Dense(5), activation(), nn.Dense(n_outputs)], input_shape=4, seed=0)
    step = CompiledStep(net, nn.losses.get_loss(loss), optimizer, penalty)
    y = np.zeros(48, int) if labels else np.zeros((48, n_outputs), np.float32)
    step.compile_for(np.zeros((48, 4), np.float32), y)
    return step.source


@pytest.mark.parametrize("loss", nn.losses.LOSSES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda layer: layer.__name__)
def test_derivatives_by_layers_have_their_names(activation, loss):
    body = source_of(loss, optim.SGD(0.1), activation=activation).split("def train_step")[1]
    a1 = "z1" if activation is nn.Identity else "a1"
    for formula in (
        f"d_W2 = {a1}.T @ d_z2  (5, 3)",
        "d_b2 = sum(d_z2, axis=0)  (3,)",
        f"d_{a1} = d_z2 @ W2.T  (48, 5)",
        "d_W1 = x.T @ d_z1  (4, 5)",
        "parameters = parameters - gradient",
        "d_v is the derivative of the loss by v, times learning_rate\n",
    ):
        assert formula in body, formula


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_squared_errors_are_one_dot_product(n_outputs):
    for loss, divisor in (("squared_error", 96), ("mean_squared_error", 48 * n_outputs)):
        body = source_of(loss, optim.SGD(0.1), n_outputs).split("def train_step")[1]
        assert "total = np.vdot(residuals, residuals)" in body
        assert f"loss = total / {divisor}\n" in body
        assert "reshape" not in body


def test_a_penalty_has_its_strength_once_on_each_side():
    source = source_of("squared_error", optim.SGD(0.1), penalty=(nn.L2(0.003),))
    assert "penalty = 0.0015 * (sum(W1**2) + sum(W2**2))" in source
    assert source.count("learning_rate * 0.003\n") == source.count("0.003") == 1
    assert "d_W1 = scale * W1 + x.T @ d_z1  (4, 5)" in source


UPDATES = {
    "momentum": (
        optim.SGD(0.1, 0.9),
        ["velocity = 0.9 * velocity - gradient", "parameter = parameter + velocity"],
    ),
    "adam": (
        optim.Adam(),
        [
            "mean = 0.9 * mean + (1 - 0.9) * gradient",
            "mean_square = 0.999 * mean_square + (1 - 0.999) * gradient**2",
            "parameter = parameter - rate * mean / (sqrt(mean_square) + epsilon)",
            "root = (1.0 - 0.999 ** step) ** 0.5",
            "rate = learning_rate * root / (1.0 - 0.9 ** step)",
            "epsilon = 1e-08 * root",
        ],
    ),
    "lion": (  # the parameter first: it reads the old mean
        optim.Lion(weight_decay=0.1),
        [
            "parameter = shrinkage * parameter - learning_rate * "
            "sign(0.9 * mean + (1 - 0.9) * gradient)",
            "mean = 0.99 * mean + (1 - 0.99) * gradient",
            "shrinkage = 1.0 - learning_rate * 0.1",
        ],
    ),
    "clipping": (
        optim.SGD(0.1, clip_norm=2.0),
        [
            "# length = sqrt(sum(raw_gradient**2))",
            "# shrinkage = 2.0 / maximum(length, 2.0)",
            "# gradient = raw_gradient * shrinkage  (43,)",
        ],
    ),
}


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_shows_its_formulas_in_the_order_they_hold(name):
    optimizer, formulas = UPDATES[name]
    source = source_of("squared_error", optimizer)
    places = [source.index(formula) for formula in formulas]
    assert places == sorted(places)
    unnamed = r"\b(add|subtract|multiply|divide|power|sqrt|square)_\d"
    assert not re.search(unnamed, source.split("# update")[1])


def test_integer_labels_need_no_new_array():
    source = source_of("cross_entropy", optim.SGD(0.1), labels=True)
    assert "targets = np.empty((48, 3), np.float32)" in source
    assert "out=targets)" in source


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("loss", nn.losses.LOSSES)
def test_numbers_are_as_a_person_writes_them(loss, optimizer):
    source = source_of(loss, optimizer, penalty=(nn.L2(0.001),))
    for number in re.findall(r"\d\.\d{9,}", source):
        raise AssertionError(number)


def test_a_plain_network_reads_like_a_textbook():
    source = golden_source("mlp_sgd")
    body = body_of(source)
    code = [line for line in body if not line.startswith(("#", '"""', "before", "return"))]
    n_layers = 3
    loss_lines = 6
    assert len(code) <= 7 * n_layers + loss_lines + 1
    for formula in (
        "z1 = x @ W1 + b1  (64, 100)",
        "a1 = sigmoid(z1)  (64, 100)",
        "d_W3 = a2.T @ d_z3  (50, 10)",
        "d_a2 = d_z3 @ W3.T  (64, 50)",
        "d_b1 = sum(d_z1, axis=0)  (100,)",
    ):
        assert formula in source
    assert next(line for line in body if line.startswith("# ")) == "# forward"
    assert max(map(len, source.splitlines())) <= 110


def test_the_step_imports_numpy_only():
    for name in NETWORKS:
        imports = [line for line in golden_source(name).splitlines() if "import" in line]
        assert all("numpy" in line for line in imports)


def test_experiment_e10_trains_alike_both_ways():
    """1000 steps of E10's network on random data of its shapes: equal losses to 1e-6."""
    rng = np.random.default_rng(0)
    x = rng.random((64 * 50, 196))
    y = np.eye(10)[(10 * x[:, 0]).astype(int)]
    losses, predictions = [], []
    for compiled in (True, False):
        layers = [layer for n in (100, 50, 10) for layer in (nn.Dense(n), nn.Sigmoid())]
        net = nn.Network(layers, input_shape=196, seed=0, dtype="float64")
        history = net.fit(
            x, y, loss="squared_error", optimizer=optim.SGD(1.0), epochs=20, batch_size=64,
            seed=0, verbose=0, compile=compiled,
        )  # fmt: skip
        losses.append(history["loss"])
        predictions.append(net.predict(x).argmax(axis=1))
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)
    np.testing.assert_array_equal(predictions[0], predictions[1])


def test_what_cannot_be_compiled_trains_as_it_is_with_one_warning():
    def loss(outputs, targets):
        return np.abs(outputs - targets)[:, 0] if outputs.sum() > 1e9 else outputs[:, 0] ** 2

    net = nn.Network([nn.Dense(1)], seed=0)
    with pytest.warns(RuntimeWarning, match=r"test_compiled_step\.py, line \d+.*np\.where") as seen:
        history = net.fit(np.ones((4, 2)), np.ones((4, 1)), loss=loss, epochs=3, verbose=0)
    assert len(seen) == 1
    assert history["loss"][-1] < history["loss"][0]
    with pytest.raises(ValueError, match="no compiled step"):
        _ = net.step.source


class HeavyBall(optim.Optimizer):
    """w + 0.9 (w - w_before) - rate * g: the new state of one is the old state of the other."""

    learning_rate = 0.1

    def init(self, parameter):
        return {"before": np.array(parameter)}

    def update(self, parameter, gradient, slots, learning_rate, step):
        moved = parameter + 0.9 * (parameter - slots["before"]) - learning_rate * gradient
        return moved, {"before": parameter}


def test_states_change_all_at_once():
    eager, compiled = train_both_ways(nn.Tanh, nn.losses.squared_error, HeavyBall(0.1))
    assert_equal(eager, compiled, "float64")


def test_an_earlier_step_is_forgotten():
    net = nn.Network([nn.Dense(2)], input_shape=2, seed=0)
    x, y = np.ones((4, 2)), np.ones((4, 2))
    net.fit(x, y, loss="squared_error", verbose=0)
    assert net.has_step
    net.fit(x, y, loss="squared_error", verbose=0, compile=False)
    assert not net.has_step
    net.fit(x, y, loss="squared_error", verbose=0)
    net.add(nn.Tanh())
    assert not net.has_step


class Sorted(optim.Optimizer):
    learning_rate = 0.1

    def init(self, parameter):
        return {"total": np.zeros_like(parameter)}

    def update(self, parameter, gradient, slots, learning_rate, step):
        moved = parameter - learning_rate * gradient
        return np.sort(moved), {"total": np.cumsum(slots["total"] + moved)}


def test_an_update_may_end_in_arrays_that_numpy_allocates_and_need_no_docstring():
    eager, compiled = train_both_ways(nn.Tanh, nn.losses.squared_error, Sorted(0.1))
    assert_equal(eager, compiled, "float64")
