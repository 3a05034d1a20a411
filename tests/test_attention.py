"""MultiHeadAttention against loops over samples, heads and places."""

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

import chainrule as cr
from chainrule import nn, optim

MAKERS = {
    "two heads": lambda: nn.MultiHeadAttention(2),
    "one head, causal": lambda: nn.MultiHeadAttention(1, causal=True),
    "three heads of two, without bias": lambda: nn.MultiHeadAttention(
        3, head_size=2, use_bias=False
    ),
}


def attended(x, p, heads, size, causal=False):
    """The definition for one sequence x (T, D), head by head and place by place."""
    query, key, value = (
        x @ p[f"{name}.weight"] + p[f"{name}.bias"] for name in ("query", "key", "value")
    )
    joined = np.zeros((len(x), heads * size))
    for head in range(heads):
        columns = slice(head * size, (head + 1) * size)
        for t in range(len(x)):
            seen = t + 1 if causal else len(x)
            scores = [query[t, columns] @ key[s, columns] / math.sqrt(size) for s in range(seen)]
            weights = np.exp(scores) / np.exp(scores).sum()
            for s in range(seen):
                joined[t, columns] += weights[s] * value[s, columns]
    return joined @ p["output.weight"] + p["output.bias"]


@given(
    n_samples=st.integers(1, 3), n_places=st.integers(1, 4), heads=st.integers(1, 3),
    size=st.integers(1, 3), causal=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_it_is_its_definition(n_samples, n_places, heads, size, causal, seed):
    x = np.random.default_rng(seed).normal(size=(n_samples, n_places, heads * size))
    layer = nn.MultiHeadAttention(heads, causal=causal)
    p = drawn_parameters(layer, x.shape[1:], seed)
    expected = [attended(sequence, p, heads, size, causal) for sequence in x]
    out = layer.forward(x, p, nn.Context())
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-11)


def test_a_head_size_of_ones_own():
    x = np.random.default_rng(0).normal(size=(2, 4, 5))
    layer = nn.MultiHeadAttention(3, head_size=2)
    p = drawn_parameters(layer, (4, 5))
    assert p["query.weight"].shape == (5, 6)
    assert p["output.weight"].shape == (6, 5)
    expected = [attended(sequence, p, 3, 2) for sequence in x]
    np.testing.assert_allclose(layer.forward(x, p, nn.Context()), expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_causal_place_does_not_see_what_comes_after(dtype):
    layer = nn.MultiHeadAttention(2, causal=True)
    x = np.random.default_rng(0).normal(size=(1, 5, 4)).astype(dtype)
    p = drawn_parameters(layer, (5, 4), dtype=dtype)

    def third_place(x):
        return layer.forward(x, p, nn.Context())[:, 2].sum()

    with cr.detect_nonfinite():
        grad = cr.grad(third_place)(x)
    assert (grad[:, 3:] == 0).all()
    assert (grad[:, :3] != 0).all()


def test_places_can_change_places():
    x = np.random.default_rng(0).normal(size=(2, 5, 4))
    layer = nn.MultiHeadAttention(2)
    p = drawn_parameters(layer, (5, 4))
    order = [3, 1, 4, 0, 2]
    out = layer.forward(x, p, nn.Context())
    np.testing.assert_allclose(layer.forward(x[:, order], p, nn.Context()), out[:, order])


def test_the_bias_of_the_key_changes_nothing():
    """It adds the same number to all scores of a place, which softmax takes away again."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4))
    layer = nn.MultiHeadAttention(2)
    p = drawn_parameters(layer, (3, 4))
    grads = cr.grad(lambda p: (layer.forward(x, p, nn.Context()) ** 2).sum())(p)
    assert np.abs(grads["key.bias"]).max() < 1e-10 < np.abs(grads["query.bias"]).max()
    p["key.bias"] = p["key.bias"] + 1
    changed = layer.forward(x, p, nn.Context())
    p["key.bias"] = p["key.bias"] - 1
    np.testing.assert_allclose(changed, layer.forward(x, p, nn.Context()), rtol=1e-9)


def test_names_and_summary():
    net = nn.Network([nn.MultiHeadAttention(2)], input_shape=(3, 4))
    name = "multi_head_attention_1"
    assert list(net.parameters) == [
        f"{name}.{part}.{short}"
        for part in ("query", "key", "value", "output")
        for short in ("weight", "bias")
    ]
    rows = [line.split() for line in net.summary().splitlines()]
    assert rows[3] == [name, "(N,", "3,", "4)", "80"]
    assert rows[4] == ["query", "20"]
    assert [repr(make()) for make in MAKERS.values()] == [
        "MultiHeadAttention(2)",
        "MultiHeadAttention(1, causal=True)",
        "MultiHeadAttention(3, head_size=2, use_bias=False)",
    ]


@pytest.mark.parametrize("compiled", [True, False])
def test_fit_learns_to_find_the_marked_place(compiled):
    """The answer stands at the place whose first feature is 1: a matter of looking there."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 4, 4))
    marked = rng.integers(0, 4, 100)
    x[:, :, 0] = np.arange(4) == marked[:, None]
    y = (x[np.arange(100), marked, 1] > 0).astype(int)

    def make():
        block = nn.Residual([nn.MultiHeadAttention(2, head_size=4)])
        return nn.Network([block, nn.Flatten(), nn.Dense(2)], seed=0)

    options = {"optimizer": optim.Adam(0.02), "epochs": 30, "compile": compiled}
    net = fit_twice(make, x, y, loss="cross_entropy", **options)
    assert net.evaluate(x, y)["accuracy"] > 0.9


def test_what_is_refused():
    with pytest.raises(ValueError, match="heads of at least 1"):
        nn.MultiHeadAttention(0)
    with pytest.raises(ValueError, match="head_size of at least 1"):
        nn.MultiHeadAttention(2, head_size=0)
    layer = nn.MultiHeadAttention(3, name="look")
    with pytest.raises(ValueError, match=r"look cannot share 4 features among 3 heads.*head_size="):
        layer.output_shape((5, 4))
    with pytest.raises(ValueError, match=r"look takes sequences.*\(4,\)"):
        layer.output_shape((4,))
    with pytest.raises(ValueError, match=r"look takes sequences.*\(2, 3\)"):
        layer.forward(np.ones((2, 3)), {}, nn.Context())
