"""SimpleRNN, LSTM and GRU against loops over samples, steps and units."""

from __future__ import annotations

import ast
import math
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import (
    drawn_parameters,
    fit_twice,
)

from chainrule import nn, optim
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.samples import Batch

LAYERS = {"simple": nn.SimpleRNN, "lstm": nn.LSTM, "gru": nn.GRU}


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def weighted_sum(x, weight, column):
    return sum(x[i] * weight[i, column] for i in range(len(x)))


def simple_states(x, p, n):
    """The hidden state after each step of one sequence x (T, D), unit by unit."""
    w, u, b = p["weight"], p["recurrent_weight"], p["bias"]
    h, states = [0.0] * n, []
    for x_t in x:
        h = [math.tanh(weighted_sum(x_t, w, j) + weighted_sum(h, u, j) + b[j]) for j in range(n)]
        states.append(h)
    return states


def lstm_states(x, p, n):
    w, u, b = p["weight"], p["recurrent_weight"], p["bias"]
    h, c, states = [0.0] * n, [0.0] * n, []
    for x_t in x:
        z = [weighted_sum(x_t, w, j) + weighted_sum(h, u, j) + b[j] for j in range(4 * n)]
        i, f, g, o = (z[k * n : (k + 1) * n] for k in range(4))
        c = [sigmoid(f[j]) * c[j] + sigmoid(i[j]) * math.tanh(g[j]) for j in range(n)]
        h = [sigmoid(o[j]) * math.tanh(c[j]) for j in range(n)]
        states.append(h)
    return states


def gru_states(x, p, n):
    w, u, b = p["weight"], p["recurrent_weight"], p["bias"]
    h, states = [0.0] * n, []
    for x_t in x:
        new = []
        for j in range(n):
            update = sigmoid(weighted_sum(x_t, w, j) + b[j] + weighted_sum(h, u, j))
            k = n + j
            reset = sigmoid(weighted_sum(x_t, w, k) + b[k] + weighted_sum(h, u, k))
            k = 2 * n + j
            remembered = weighted_sum(h, u, k) + p["recurrent_bias"][j]
            candidate = math.tanh(weighted_sum(x_t, w, k) + b[k] + reset * remembered)
            new.append(update * h[j] + (1 - update) * candidate)
        h = new
        states.append(h)
    return states


REFERENCES = {"simple": simple_states, "lstm": lstm_states, "gru": gru_states}


@pytest.mark.parametrize("name", LAYERS)
@given(
    n_samples=st.integers(1, 3), n_steps=st.integers(1, 5), n_features=st.integers(1, 3),
    units=st.integers(1, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_states_are_those_of_a_loop(name, n_samples, n_steps, n_features, units, seed):
    x = np.random.default_rng(seed).normal(size=(n_samples, n_steps, n_features))
    layer = LAYERS[name](units, return_sequences=True)
    p = drawn_parameters(layer, x.shape[1:], seed)
    out = layer.forward(x, p, nn.Context())
    expected = [REFERENCES[name](sequence, p, units) for sequence in x]
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-12)
    last = LAYERS[name](units).forward(x, p, nn.Context())
    np.testing.assert_array_equal(last, out[:, -1])


def test_the_activation_of_a_simple_rnn():
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    layer = nn.SimpleRNN(2, activation="relu")
    p = drawn_parameters(layer, (3, 4))
    h = np.zeros((2, 2))
    for t in range(3):
        h = np.maximum(x[:, t] @ p["weight"] + h @ p["recurrent_weight"] + p["bias"], 0)
    np.testing.assert_allclose(layer.forward(x, p, nn.Context()), h, rtol=1e-12)


# Stacked, and started


def test_starts():
    rng = np.random.default_rng(0)
    initial = nn.LSTM(5).init((7, 3), rng)
    assert {name: a.shape for name, a in initial.items()} == {
        "weight": (3, 20), "recurrent_weight": (5, 20), "bias": (20,),
    }  # fmt: skip
    np.testing.assert_array_equal(initial["bias"], [0] * 5 + [1] * 5 + [0] * 10)
    assert 0.9 < np.abs(initial["weight"]).max() / math.sqrt(6 / 8) <= 1  # of each gate
    for k in range(4):
        part = initial["recurrent_weight"][:, 5 * k : 5 * k + 5]
        np.testing.assert_allclose(part.T @ part, np.eye(5), atol=1e-12)
    bias = np.arange(20.0)
    np.testing.assert_array_equal(nn.LSTM(5, bias=bias).init((7, 3), rng)["bias"], bias)
    assert list(nn.GRU(2).init((7, 3), rng)) == [
        "weight", "recurrent_weight", "bias", "recurrent_bias",
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"lstm\.weight must have shape \(3, 20\)"):
        nn.LSTM(5, weight=np.ones((3, 5))).init((7, 3), rng)


def test_names_and_summary():
    net = nn.Network([nn.LSTM(4, return_sequences=True), nn.GRU(2)], input_shape=(5, 3))
    assert list(net.parameters)[::3] == ["lstm_1.weight", "gru_1.weight", "gru_1.recurrent_bias"]
    rows = [line.split() for line in net.summary().splitlines()]
    assert rows[3] == ["lstm_1", "(N,", "5,", "4)", str(4 * 4 * (3 + 4 + 1))]
    assert rows[4] == ["gru_1", "(N,", "2)", str(3 * 2 * (4 + 2 + 1) + 2)]
    assert [layer.kind for layer in (nn.SimpleRNN(1), nn.LSTM(1), nn.GRU(1))] == [
        "simple_rnn", "lstm", "gru",
    ]  # fmt: skip
    assert repr(nn.SimpleRNN(3)) == "SimpleRNN(3)"
    assert repr(net.layers[0]) == "LSTM(4, return_sequences=True)"


@pytest.mark.parametrize("name", LAYERS)
def test_fit_learns_what_was_first(name):
    x = np.random.default_rng(0).normal(size=(64, 4, 1))
    y = (x[:, 0, 0] > 0).astype(int)

    def make():
        return nn.Network([LAYERS[name](8), nn.Dense(2)], seed=0)

    options = {"optimizer": optim.Adam(0.02), "epochs": 25, "batch_size": 24}
    net = fit_twice(make, x, y, loss="cross_entropy", **options)
    assert net.evaluate(x, y)["accuracy"] > 0.9
    words = nn.Network([nn.Embedding(6, 3), LAYERS[name](4), nn.Dense(2)], seed=0)
    tokens = np.random.default_rng(0).integers(0, 6, (20, 4))
    history = words.fit(tokens, y[:20], loss="cross_entropy", epochs=10, seed=0, verbose=0)
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_refused(name):
    with pytest.raises(ValueError, match="units of at least 1"):
        LAYERS[name](0)
    with pytest.raises(TypeError, match="whole number as units"):
        LAYERS[name]("tanh")
    layer = LAYERS[name](2, name="memory")
    with pytest.raises(ValueError, match=r"memory reads sequences.*\(4,\).*return_sequences=True"):
        layer.output_shape((4,))
    p = drawn_parameters(layer, (5, 3))
    with pytest.raises(ValueError, match=r"memory was built for sequences of 3.*\(2, 5, 4\)"):
        layer.forward(np.ones((2, 5, 4)), p, nn.Context())


# Compiled


def a_step(make, layers, shape, dtype="float32", optimizer=None, penalty=(), n_outputs=3):
    net = nn.Network([*layers(), nn.Dense(n_outputs)], input_shape=shape, seed=0, dtype=dtype)
    return make(net, nn.losses.squared_error, optimizer or optim.SGD(0.1), penalty)


NETWORKS = {
    **{name: (lambda layer=layer: [layer(4)]) for name, layer in LAYERS.items()},
    **{
        f"{name}_sequences": (lambda layer=layer: [layer(4, return_sequences=True), nn.Flatten()])
        for name, layer in LAYERS.items()
    },
    "relu": lambda: [nn.SimpleRNN(4, activation="relu")],
    "stacked": lambda: [nn.LSTM(4, return_sequences=True), nn.LSTM(4)],
    "mixed": lambda: [
        nn.GRU(4, return_sequences=True), nn.Dropout(0.0), nn.SimpleRNN(3, return_sequences=True),
        nn.LSTM(2),
    ],
}  # fmt: skip
WAYS = {
    "sgd": (optim.SGD(0.1), ()),
    "adam": (optim.Adam(), ()),
    "momentum and L2": (optim.SGD(0.1, 0.9), (nn.L2(0.01),)),
    "clipped, L1": (optim.Adam(clip_norm=0.1), (nn.L1(0.01),)),
}


@pytest.mark.parametrize("n_steps", [1, 6])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_compiled_step_equals_the_eager_one(name, way, dtype, n_steps):
    optimizer, penalty = WAYS[way]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, n_steps, 4)).astype(dtype)
    y = rng.random((5, 3)).astype(dtype)
    results = []
    for make in (EagerStep, CompiledStep):
        step = a_step(make, NETWORKS[name], (n_steps, 4), dtype, optimizer, penalty)
        for number in (1, 2, 3):
            value, outputs = step.take(Batch(x, y, None), 0.01, number)
        results.append([np.array(a) for a in (value, outputs, step.read_state().flat)])
    rtol = {"float64": 1e-10, "float32": 2e-3}[dtype]
    for found, expected in zip(*results, strict=True):
        assert found.dtype == expected.dtype == np.dtype(dtype)
        np.testing.assert_allclose(found, expected, rtol, rtol * np.abs(expected).max())


def compiled_step(layers, shape, n, optimizer=None, n_outputs=3):
    step = a_step(CompiledStep, layers, shape, "float32", optimizer, (), n_outputs)
    x = np.random.default_rng(0).random((n, *shape), np.float32)
    y = np.zeros((n, n_outputs), np.float32)
    step.compile_for(x, y)
    return step, Batch(x, y, None)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_source_does_not_grow_with_the_sequence(name):
    if "sequences" in name:
        return  # whose last layer does
    counts = []
    for n_steps in (5, 200):
        source = compiled_step(NETWORKS[name], (n_steps, 4), 8)[0].source
        n_loops = len(re.findall(r"for \w+ in", source))
        counts.append([len([*ast.walk(ast.parse(source))]), n_loops])
    assert counts[0] == counts[1]
    recurrent = [layer for layer in NETWORKS[name]() if type(layer) in LAYERS.values()]
    assert counts[0][1] == 2 * len(recurrent)  # there and back


def test_a_step_of_an_lstm_is_short():
    step, _ = compiled_step(lambda: [nn.LSTM(128)], (28, 32), 64, optim.Adam())
    body = step.source.split("def train_step")[1].split("if __name__")[0]
    assert len(body.splitlines()) <= 110


@pytest.mark.parametrize("name", LAYERS)
def test_no_array_is_allocated_within_a_step(name):
    """Beyond a copy of the batch with the steps first, and the fixed buffers of at most 8192
    elements in which NumPy itself repeats a bias.
    """
    layers = [lambda: [LAYERS[name](128)], lambda: [LAYERS[name](128, return_sequences=True),
                                                    LAYERS[name](128)]]  # fmt: skip
    for make in layers:
        step, batch = compiled_step(make, (20, 2), 256, optim.Adam(), 200)
        step.take(batch, 0.1, 1)
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            tracemalloc.reset_peak()
            step.take(batch, 0.1, 2)
            peak = tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()
        smallest = min(batch.y.nbytes, 256 * 128 * 4)  # what a layer gives at one step
        assert peak < batch.x.nbytes + 2 * 8192 * 4 + 8_000 < smallest


GOLDEN = Path(__file__).parent / "golden" / "lstm.py"


def golden_source():
    return compiled_step(lambda: [nn.LSTM(16)], (7, 5), 8)[0].source


def test_golden_source(request):
    source = golden_source()
    if request.config.getoption("--write-golden"):
        GOLDEN.write_text(source)
    assert source == GOLDEN.read_text(), "the source of an LSTM has changed: see --write-golden"


def test_golden_source_runs_as_a_file():
    command = [sys.executable, "-I", str(GOLDEN)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("train_step on random data returned")
