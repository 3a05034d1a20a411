"""SimpleRNN, LSTM and GRU against loops over samples, steps and units."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import (
    drawn_parameters,
    fit_twice,
)

from chainrule import nn, optim

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
