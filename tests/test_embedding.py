"""Embedding: vectors by number, and networks whose inputs stay whole numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import fit_twice

import chainrule as cr
from chainrule import nn, primitives
from chainrule.primitives.indexing import Slot


@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=3), seed=st.integers(0, 50))
def test_each_number_gets_its_vector_and_repeated_ones_the_sum_of_cotangents(shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, shape)
    weight, g = rng.normal(size=(3, 2)), rng.normal(size=(*shape, 2))
    layer = nn.Embedding(3, 2)

    def forward(weight):
        return layer.forward(x, {"weight": weight}, nn.Context())

    expected_grad = np.zeros_like(weight)
    out = forward(weight)
    for place in np.ndindex(*shape):
        np.testing.assert_array_equal(out[place], weight[x[place]])
        expected_grad[x[place]] += g[place]
    grad = cr.grad(lambda weight: (forward(weight) * g).sum())(weight)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("compiled", [True, False])
def test_fit_keeps_large_numbers_whole(compiled):
    """In float32 2**24 + 1 is 2**24; labels beyond would meet their neighbour's vector."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 6, (60, 2))
    y = (x[:, :1] + x[:, 1:]) / 10

    def make():
        return nn.Network([nn.Embedding(6, 4), nn.Flatten(), nn.Dense(1)], seed=0)

    net = fit_twice(
        make, x, y, loss="squared_error", epochs=80, batch_size=16, compile=compiled,
        optimizer="adam", sample_weight=np.ones(60), validation_split=0.1,
        metrics="mean_absolute_error",
    )  # fmt: skip
    assert net.evaluate(x, y)["loss"] < 0.01
    assert net.input_dtype == np.intp
    big = nn.Network([nn.Embedding(2**24 + 2, 1, weight="zeros")], input_shape=1)
    big.parameters["embedding_1.weight"][2**24 + 1] = 7
    assert big.predict([[2**24 + 1]])[0, 0, 0] == 7


@pytest.mark.parametrize("compiled", [True, False])
def test_metrics_of_an_epoch_are_not_rounded_to_whole_numbers(compiled):
    net = nn.Network([nn.Embedding(2, 1, weight=[[0.25], [0.5]]), nn.Flatten()], input_shape=1)
    x, y = np.array([[0], [1]]), np.zeros((2, 1))
    history = net.fit(
        x, y, loss="squared_error", metrics="mean_absolute_error", verbose=0, compile=compiled
    )
    assert history["mean_absolute_error"] == [0.375]


def test_whole_floats_are_numbers_too():
    net = nn.Network([nn.Embedding(3, 1, weight=[[0], [1], [2]])])
    np.testing.assert_array_equal(net.predict([[2.0, 1.0]]), net.predict(np.array([[2, 1]])))
    np.testing.assert_array_equal(net.predict([[True, False]])[0, :, 0], [1, 0])


def test_other_networks_cast_as_before():
    net = nn.Network([nn.Dense(1)], input_shape=2)
    assert net.input_dtype == np.float32
    assert nn.Network().input_dtype == np.float32


# What is refused


@pytest.mark.parametrize("value", [-1, 3])
def test_numbers_outside_the_vocabulary(value):
    x = np.array([[0, 1], [2, value]])
    y = np.zeros((2, 2))
    message = rf"embedding_1 has vectors for 0 to 2, but x holds {value} at \(1, 1\) \(1 of 4"
    for layers in (
        [nn.Embedding(3, 1), nn.Flatten()],
        [nn.Stack([nn.Embedding(3, 1), nn.Flatten()])],
    ):
        net = nn.Network(layers, input_shape=2)
        for call in (
            net,
            net.predict,
            lambda x, net=net: net.fit(x, y, loss="squared_error", verbose=0),
            lambda x, net=net: net.evaluate(x, y, loss="squared_error"),
        ):
            with pytest.raises(ValueError, match=message):
                call(x)


def test_numbers_that_are_not_whole():
    net = nn.Network([nn.Embedding(3, 1), nn.Flatten()], input_shape=1)
    for value in (0.5, np.nan):
        with pytest.raises(TypeError, match=rf"holds {value}.*whole numbers"):
            net.predict([[value]])
        with pytest.raises(TypeError, match="whole numbers"):
            net.fit([[value]], [[0.0]], loss="squared_error", verbose=0)
    late = nn.Network([nn.Dense(1), nn.Embedding(3, 1)], input_shape=1)
    with pytest.raises(TypeError, match=r"embedding_1 takes whole numbers, but got float32.*first"):
        late.predict([[1.0]])


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="vocabulary_size of at least 1"):
        nn.Embedding(0, 3)
    with pytest.raises(TypeError, match="whole number as units"):
        nn.Embedding(3, 2.5)
    with pytest.raises(ValueError, match=r"embedding_1\.weight must have shape \(3, 2\)"):
        nn.Network([nn.Embedding(3, 2, weight=np.ones((2, 3)))], input_shape=1)


def test_its_words():
    net = nn.Network([nn.Embedding(3, 2)], input_shape=4)
    assert list(net.parameters) == ["embedding_1.weight"]
    assert repr(net.layers[0]) == "Embedding(3, 2)"
    assert net.summary().splitlines()[3].split() == ["embedding_1", "(N,", "4,", "2)", "6"]


# The sum over repeated numbers


def added_by_a_loop(indices, rows, shape):
    out = np.zeros(shape)
    for place in np.ndindex(indices.shape):
        out[indices[place]] += rows[place]
    return out


@given(
    n_rows=st.integers(1, 9), shape=st.lists(st.integers(0, 4), max_size=2),
    row_shape=st.lists(st.integers(0, 3), max_size=2), seed=st.integers(0, 99),
    index_dtype=st.sampled_from([np.int8, np.uint8, np.int32, np.uint64, np.intp]),
    dtype=st.sampled_from([np.float32, np.float64]), compiled=st.booleans(),
)  # fmt: skip
def test_rows_of_a_gradient_add_up(n_rows, shape, row_shape, seed, index_dtype, dtype, compiled):
    rng = np.random.default_rng(seed)
    low = -n_rows if np.issubdtype(index_dtype, np.signedinteger) else 0
    indices = rng.integers(low, n_rows, shape).astype(index_dtype)
    weight = rng.normal(size=(n_rows, *row_shape)).astype(dtype)
    cotangent = rng.normal(size=(*shape, *row_shape)).astype(dtype)

    def weighted_sum(weight, indices, cotangent):
        return np.sum(weight[indices] * cotangent)

    gradient = cr.grad(weighted_sum)
    found = (cr.compile(gradient) if compiled else gradient)(weight, indices, cotangent)
    assert found.dtype == dtype
    expected = added_by_a_loop(indices, cotangent, weight.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_small_index_dtypes_reach_every_row():
    """255 * 40 is no uint8, the place of the row among all values is not counted in it."""
    indices = np.array([255, 3, 255], np.uint8)
    rows = np.random.default_rng(0).normal(size=(3, 40))
    found = primitives.scatter_add(rows, indices, key=(Slot(0),), shape=(256, 40))
    np.testing.assert_allclose(found, added_by_a_loop(indices, rows, (256, 40)), rtol=1e-14)
    with pytest.raises(IndexError):
        primitives.scatter_add(rows, indices, key=(Slot(0),), shape=(255, 40))


def test_the_written_step_adds_rows_by_a_helper():
    net = nn.Network([nn.Embedding(5, 3), nn.Flatten()], input_shape=2, seed=0)
    net.fit(np.array([[0, 1], [1, 1]]), np.zeros((2, 6)), loss="squared_error", verbose=0)
    assert net.step.source.count("add_rows(") == 2  # its definition and one call
