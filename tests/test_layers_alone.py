"""Layers called by themselves: what they compute with, before and after they are in a network."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from layer_checks import drawn_inputs
from test_every_layer import CASES, every_layer

import chainrule as cr
from chainrule import nn


def assert_alike(one, other):
    """To rounding: a network predicts by programs where these are faster, as of convolutions."""
    np.testing.assert_allclose(one, other, rtol=1e-5 if one.dtype == np.float32 else 1e-12)


@every_layer
def test_a_layer_alone_gives_what_a_network_of_it_gives(case):
    layer = case.make(name="mine")
    x = drawn_inputs(layer, (3, *case.input_shape))
    alone = layer(x, seed=5)
    net = nn.Network([case.make(name="mine")], dtype="float64", seed=5)
    if layer.takes_integers:
        net = nn.Network([case.make(name="mine")], seed=5)
    assert_alike(alone, net(x))
    assert alone.dtype == (np.float32 if layer.takes_integers else np.float64)
    assert alone.shape == (3, *case.output_shape)
    assert layer.parameters.shapes == case.shapes
    np.testing.assert_array_equal(layer.parameters.flat, net.parameters.flat)
    np.testing.assert_array_equal(layer(x), alone)  # built once


@every_layer
def test_its_derivative_by_the_inputs_is_that_of_its_forward_pass(case):
    layer = case.make()
    x = drawn_inputs(layer, (2, *case.input_shape))
    if layer.takes_integers:
        return
    layer(x, seed=1)
    state = layer.init_state(case.input_shape)
    parameters = dict(layer.parameters)
    weights = np.random.default_rng(3).normal(size=(2, *case.output_shape))

    def forward(x):
        return np.sum(weights * layer.forward(x, parameters, nn.Context(state=state)))

    ours = cr.grad(lambda x: np.sum(weights * layer(x)))(x)
    np.testing.assert_array_equal(ours, cr.grad(forward)(x))
    assert np.any(ours)


@every_layer
def test_a_network_starts_from_what_a_layer_had_alone_and_then_they_share(case):
    layer = case.make()
    x = drawn_inputs(layer, (3, *case.input_shape))
    alone = layer(x, seed=5)
    had = {name: array.copy() for name, array in layer.parameters.items()}
    net = nn.Network([layer], dtype=alone.dtype, seed=77)
    assert_alike(net(x), alone)
    for name, array in had.items():
        np.testing.assert_array_equal(net.parameters[f"{layer.name}.{name}"], array)
    net.parameters.flat[:] += 0.25
    assert_alike(layer(x), net(x))
    if had:
        layer.parameters.flat[:] *= 0.5  # the same memory
        assert_alike(layer(x), net(x))
        net.build(case.input_shape)  # afresh, from its own seed
        fresh = nn.Network([case.make()], dtype=alone.dtype, input_shape=case.input_shape, seed=77)
        np.testing.assert_array_equal(net.parameters.flat, fresh.parameters.flat)
        np.testing.assert_array_equal(layer.parameters.flat, fresh.parameters.flat)


@every_layer
def test_nothing_given_is_changed_or_handed_out(case):
    layer = case.make()
    x = drawn_inputs(layer, (3, *case.input_shape))
    x.flags.writeable = False
    out = layer(x, seed=0)
    assert not np.may_share_memory(out, x)
    assert not any(np.may_share_memory(out, array) for array in layer.parameters.values())


@pytest.mark.parametrize("renew", [copy.deepcopy, lambda a: pickle.loads(pickle.dumps(a))])
def test_a_copy_has_arrays_of_its_own(renew):
    layer, x = nn.Dense(3), np.ones((2, 4))
    out = layer(x, seed=0)
    other = renew(layer)
    other.parameters["bias"][:] = 9
    np.testing.assert_array_equal(layer(x), out)
    net = nn.Network([nn.BatchNorm(), nn.Dense(2)], input_shape=4, seed=0)
    twin = renew(net)
    twin.parameters.flat[:] = 1
    np.testing.assert_array_equal(twin.layers[1](x), np.full((2, 2), 5.0))
    assert not np.array_equal(net.layers[1](x), twin.layers[1](x))


def test_samples_with_an_axis_of_one_as_in_the_third_publication():
    x = np.array([[[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]])  # (4, 1, 2)
    first, second = nn.Dense(3), nn.Dense(1)
    out = second(np.tanh(first(x, seed=0)), seed=1)
    assert out.shape == (4, 1, 1)
    flat = second(np.tanh(first(x[:, 0])))
    np.testing.assert_allclose(out[:, 0], flat, rtol=1e-6)
    assert out.dtype == np.float32


def test_the_start_is_the_seeds_or_the_initializers():
    x = np.ones((1, 2))
    assert np.array_equal(nn.Dense(5)(x, seed=3), nn.Dense(5)(x, seed=3))
    assert not np.array_equal(nn.Dense(5)(x, seed=3), nn.Dense(5)(x, seed=4))
    assert nn.Dense(1, weight=[[2.0], [3.0]], bias=[0.5])(x) == 5.5
    layer = nn.Dense(5)
    layer(x, seed=3)
    layer(x, seed=3)
    with pytest.raises(ValueError, match="seed=4 comes too late"):
        layer(x, seed=4)


def test_random_layers_and_state_are_as_in_prediction():
    x = np.random.default_rng(0).normal(3, 2, (50, 4))
    np.testing.assert_array_equal(nn.Dropout(0.9)(x), x)
    norm = nn.BatchNorm()
    np.testing.assert_allclose(norm(x), x, rtol=1e-3)  # mean 0, variance 1 until it is trained
    net = nn.Network([norm, nn.Dense(1)], seed=0)
    net.fit(x, x[:, :1], loss="squared_error", epochs=30, seed=0, verbose=0)
    np.testing.assert_allclose(norm(x), net.layer_outputs(x)[norm.name], rtol=1e-6)
    assert abs(norm(x).mean()) < 0.5


def test_gradients_by_its_parameters():
    layer, x = nn.Dense(2), np.array([[1.0, 2.0, 3.0]])
    layer(x, seed=0)
    by = cr.grad(lambda p: np.sum(layer.forward(x, p, nn.Context())))(dict(layer.parameters))
    np.testing.assert_array_equal(by["weight"], x.T @ np.ones((1, 2)))
    np.testing.assert_array_equal(by["bias"], [1.0, 1.0])


def test_it_can_be_compiled_with_its_parameters_as_constants():
    layer, x = nn.Dense(2), np.array([[1.0, 2.0, 3.0]])
    expected = np.tanh(layer(x, seed=0))
    np.testing.assert_array_equal(cr.compile(lambda x: np.tanh(layer(x)))(x), expected)


def test_detect_nonfinite_looks_into_it():
    layer = nn.Activation(np.log)
    expected = pytest.raises(FloatingPointError, match="log made NaN")
    with cr.detect_nonfinite(), np.errstate(invalid="ignore"), expected:
        layer(np.array([[-1.0]]))


def test_a_layer_that_is_added_to_a_built_network_brings_what_it_has():
    layer, x = nn.Dense(2), np.ones((1, 3))
    out = layer(x, seed=9)
    net = nn.Network([nn.Identity()], input_shape=3, dtype="float64")
    net.add(layer)
    np.testing.assert_array_equal(net(x), out)
    net.add(nn.Dense(1))
    net.parameters["dense_1.bias"] += 1
    np.testing.assert_array_equal(layer(x), out + 1)


def test_a_layer_called_before_its_network_is_built_keeps_what_it_has():
    layer, x = nn.Dense(2), np.ones((1, 3))
    net = nn.Network([layer, nn.Tanh()], dtype="float64", seed=4)
    out = layer(x)
    np.testing.assert_array_equal(net(x), np.tanh(out))


def test_inner_layers_bring_theirs_and_are_then_part_of_the_outer_one():
    x = np.ones((4, 3))
    dense, norm = nn.Dense(3), nn.BatchNorm()
    out = norm(dense(x, seed=2))
    stack = nn.Stack([dense, norm])
    np.testing.assert_allclose(stack(x), out, rtol=1e-12)
    with pytest.raises(ValueError, match="dense_1 is part of another layer"):
        dense(x)
    with pytest.raises(ValueError, match="is part of another layer"):
        _ = dense.parameters
    net = nn.Network([stack], dtype="float64", seed=3)
    np.testing.assert_allclose(net(x), out, rtol=1e-12)


def test_an_activation_within_another_layer_is_called_all_the_same():
    tanh = nn.Tanh()
    nn.Network([nn.Stack([nn.Dense(2), tanh])], input_shape=2)
    assert tanh(np.zeros(1)) == 0


class Careless(nn.Layer):
    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(2)

    def output_shape(self, input_shape):
        return (2,)

    def init(self, input_shape, rng):
        return {"factor": np.ones(())}

    def forward(self, x, parameters, context):
        return parameters["factor"] * self.dense(x)


def test_a_layer_called_inside_another_would_not_be_trained_and_says_so():
    net = nn.Network([Careless()], input_shape=3)
    with pytest.raises(
        ValueError, match=r"dense is called inside the layer careless_1.*nn.forward_inner"
    ):
        net.fit(np.ones((2, 3)), np.ones((2, 2)), loss="squared_error", verbose=0)


def test_parameters_that_do_not_fit_the_network_are_refused():
    layer = nn.Dense(2)
    layer(np.ones((1, 3)))
    with pytest.raises(
        ValueError, match=r"dense_1 was called alone, and its weight .*\(3, 2\).*\(4, 2\)"
    ):
        nn.Network([layer], input_shape=4)


class Scale(nn.Layer):
    def init(self, input_shape, rng):
        return {"weight": np.ones(input_shape)}

    def forward(self, x, parameters, context):
        return x * parameters["weight"]


def test_samples_of_another_shape_are_never_broadcast():
    layer = Scale()
    layer(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"built for samples of shape \(3,\) but got \(1,\)"):
        layer(np.ones((2, 1)))
    dense = nn.Dense(2)
    dense(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"dense was built for samples of shape \(3,\) but got"):
        dense(np.ones((2, 4)))


@pytest.mark.parametrize(
    ("x", "error", "match"),
    [
        (np.array(["a"]), TypeError, "dense takes numbers"),
        (np.ones((1, 2), complex), TypeError, "dense takes numbers"),
        (np.ma.masked_array([[1.0]], [[True]]), TypeError, "masked"),
        (np.ones((0, 2)), ValueError, "x is empty"),
        (3.0, ValueError, "one number"),
        (np.ones(3), ValueError, "single numbers"),
    ],
)
def test_what_is_no_input_is_refused(x, error, match):
    with pytest.raises(error, match=match):
        nn.Dense(2)(x)


def test_there_are_no_parameters_before_the_first_call():
    with pytest.raises(ValueError, match="dense has no parameters yet"):
        _ = nn.Dense(2).parameters
    layer = nn.Tanh()
    layer(np.ones(2))
    assert len(layer.parameters) == 0


def test_lists_integers_float32_and_strided_inputs():
    layer = nn.Dense(2)
    out = layer([[1, 2]], seed=0)
    assert out.dtype == layer.parameters.dtype == np.float32
    wide = np.arange(8.0).reshape(2, 4)[:, ::2]
    np.testing.assert_array_equal(layer(wide), layer(wide.copy()))
    assert layer(np.ones((1, 2))).dtype == np.float32  # cast, as a network does
    assert nn.Dense(1)(np.ones((1, 2), np.float16)).dtype == np.float32


def test_embedding_alone_counts_from_zero_and_refuses_what_it_has_no_row_for():
    layer = nn.Embedding(4, 3)
    assert layer([[0, 3]], seed=0).shape == (1, 2, 3)
    with pytest.raises(ValueError, match="4"):
        layer([[4]])


def test_a_case_for_every_layer():
    assert len(CASES) > 40
