"""Layers of layers: Residual, Combine, Stack, and layers of one's own that hold others."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from layer_checks import check_compiled, check_dtype, check_gradients, check_shapes, fit_twice

import chainrule as cr
from chainrule import nn


def relu(z):
    return np.maximum(z, 0)


def branches(x, wide, deep):
    return np.concatenate([wide(x), deep(x)], axis=-1)


def twice(x, layer):
    return layer(layer(x)) * x


class Gated(nn.Layer):
    """A layer of one's own, as the documentation of `forward_inner` shows it, with state."""

    def __init__(self, units, *, name=""):
        super().__init__(name=name)
        self.value = nn.Dense(units, name="value")
        self.gate = nn.Stack([nn.Dense(units), nn.BatchNorm(), "sigmoid"], name="gate")

    def output_shape(self, input_shape):
        return self.value.output_shape(input_shape)

    def init(self, input_shape, rng):
        return {
            **nn.init_inner(self.value, input_shape, rng),
            **nn.init_inner(self.gate, input_shape, rng),
        }

    def init_state(self, input_shape):
        return nn.init_state_inner(self.gate, input_shape)

    def forward(self, x, parameters, context):
        value = nn.forward_inner(self.value, x, parameters, context)
        return value * nn.forward_inner(self.gate, x, parameters, context)


MAKERS = {
    "stack": lambda: nn.Stack([nn.Dense(5), "tanh", nn.Dense(3)]),
    "residual": lambda: nn.Residual([nn.Dense(5), "tanh", nn.Dense(4)]),
    "residual with state": lambda: nn.Residual([nn.BatchNorm(), nn.Dense(4), nn.Dropout(0.2)]),
    "residual with a projection": lambda: nn.Residual(
        [nn.Dense(3), nn.Tanh()], projection=nn.Dense(3, use_bias=False)
    ),
    "residual in residual": lambda: nn.Residual(
        [nn.Residual([nn.Dense(4), nn.LayerNorm()]), nn.Residual([nn.Dense(4)])]
    ),
    "combine": lambda: nn.Combine(
        branches, wide=nn.Dense(2), deep=[nn.Dense(3), nn.BatchNorm(), nn.Tanh(), nn.Dense(3)]
    ),
    "combine, one layer twice": lambda: nn.Combine(twice, layer=nn.Dense(4)),
    "one's own": lambda: Gated(3),
}


# What holds for every layer


@pytest.mark.parametrize("name", MAKERS)
def test_gradients(name):
    check_gradients(MAKERS[name](), (4,))


@pytest.mark.parametrize("name", MAKERS)
def test_dtype_and_shapes(name):
    check_dtype(MAKERS[name](), (4,))
    check_shapes(MAKERS[name], (4,))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MAKERS)
def test_compiled_is_eager(name, dtype):
    check_compiled([nn.Dense(4), MAKERS[name](), "tanh", nn.Dense(2)], 3, dtype=dtype)


@pytest.mark.parametrize("name", MAKERS)
def test_layers_of_layers_can_be_pickled(name):
    net = nn.Network([MAKERS[name]()], input_shape=4, seed=0)
    again = pickle.loads(pickle.dumps(net))
    x = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(again.predict(x), net.predict(x))


# Values and names


def test_residual_adds_its_input():
    net = nn.Network([nn.Residual([nn.Dense(5), "relu", nn.Dense(4)])], input_shape=4, seed=0)
    assert list(net.parameters) == [
        "residual_1.dense_1.weight", "residual_1.dense_1.bias",
        "residual_1.dense_2.weight", "residual_1.dense_2.bias",
    ]  # fmt: skip
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    w1, b1, w2, b2 = net.parameters.values()
    np.testing.assert_allclose(net(x), x + relu(x @ w1 + b1) @ w2 + b2, rtol=1e-5, atol=1e-6)


def test_residual_projects_its_input_where_the_shape_changes():
    layer = nn.Residual([nn.Dense(3)], projection=nn.Dense(3, use_bias=False))
    net = nn.Network([layer], input_shape=4, seed=0)
    assert list(net.parameters)[-1] == "residual_1.projection.weight"
    x = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    w, b, v = net.parameters.values()
    np.testing.assert_allclose(net(x), x @ v + x @ w + b, rtol=1e-5, atol=1e-6)
    assert repr(layer) == "Residual([Dense(3)], projection=Dense(3, use_bias=False))"


def test_a_stack_is_the_layers_one_after_the_other():
    def layers():
        return [nn.Dense(5), nn.Tanh(), nn.BatchNorm(), nn.Dense(3)]

    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    plain = nn.Network(layers(), input_shape=4, seed=0)
    stacked = nn.Network([nn.Stack(layers()[:3]), nn.Stack(layers()[3:])], input_shape=4, seed=0)
    np.testing.assert_array_equal(stacked.parameters.flat, plain.parameters.flat)
    np.testing.assert_array_equal(stacked.predict(x), plain.predict(x))
    y = np.zeros((6, 3))
    curves = [
        net.fit(x, y, loss="squared_error", epochs=3, batch_size=3, seed=0, verbose=0)["loss"]
        for net in (plain, stacked)
    ]
    assert curves[0] == curves[1]
    np.testing.assert_array_equal(
        stacked.state["stack_1.batch_norm_1.running_mean"], plain.state["batch_norm_1.running_mean"]
    )


def test_combine_is_its_function():
    layer = nn.Combine(branches, wide=nn.Dense(2), deep=[nn.Dense(3), "tanh"])
    net = nn.Network([layer], input_shape=4, seed=0)
    assert list(net.parameters) == [
        "combine_1.wide.weight", "combine_1.wide.bias",
        "combine_1.deep.dense_1.weight", "combine_1.deep.dense_1.bias",
    ]  # fmt: skip
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    v, c, w, b = net.parameters.values()
    expected = np.concatenate([x @ v + c, np.tanh(x @ w + b)], axis=1)
    np.testing.assert_allclose(net(x), expected, rtol=1e-5, atol=1e-6)
    assert repr(layer) == "Combine(branches, wide=Dense(2), deep=Stack([Dense(3), Tanh()]))"


def test_combine_shares_the_parameters_of_a_layer_called_twice():
    net = nn.Network([nn.Combine(twice, layer=nn.Dense(4))], input_shape=4, seed=0)
    assert net.parameters.flat.size == 20
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    w, b = net.parameters.values()
    np.testing.assert_allclose(net(x), ((x @ w + b) @ w + b) * x, rtol=1e-4, atol=1e-5)


def test_combine_takes_numbers_of_an_embedding_and_checks_those_it_gets():
    def two_columns(x, first, second):
        return np.concatenate([first(x[:, 0]), second(x[:, 1])], axis=-1)

    layer = nn.Combine(two_columns, first=nn.Embedding(3, 2), second=nn.Embedding(9, 4))
    net = nn.Network([layer, nn.Dense(1)], input_shape=2, seed=0)
    x = np.array([[2, 8], [0, 3]])
    assert net.predict(x).shape == (2, 1)
    with pytest.raises(ValueError, match="first has vectors for 0 to 2, but x holds 8"):
        net.predict(x[:, ::-1])
    first, second, dense, bias = net.parameters.values()
    joined = np.concatenate([first[x[:, 0]], second[x[:, 1]]], axis=1)
    np.testing.assert_allclose(net.predict(x), joined @ dense + bias, rtol=1e-5)


def test_a_layer_of_ones_own():
    net = nn.Network([Gated(3, name="gated")], input_shape=4, seed=0, dtype="float64")
    assert list(net.parameters) == [
        "gated.value.weight", "gated.value.bias",
        "gated.gate.dense_1.weight", "gated.gate.dense_1.bias",
        "gated.gate.batch_norm_1.gamma", "gated.gate.batch_norm_1.beta",
    ]  # fmt: skip
    assert list(net.state) == [
        "gated.gate.batch_norm_1.running_mean", "gated.gate.batch_norm_1.running_variance",
    ]  # fmt: skip
    x = np.random.default_rng(0).normal(size=(3, 4))
    w, b, v, c = list(net.parameters.values())[:4]
    gate = 1 / (1 + np.exp(-(x @ v + c) / np.sqrt(1 + 1e-5)))
    np.testing.assert_allclose(net(x), (x @ w + b) * gate, rtol=1e-10)
    context = nn.Context(training=True, state=net.state)
    net.forward(net.parameters, x, context)
    assert list(context.updates) == list(net.state)


def test_the_network_itself_within_a_function():
    net = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(4)], input_shape=4, dtype="float64")
    x = np.random.default_rng(0).normal(size=(2, 4))

    def with_skip(parameters, x):
        return x + net.forward(parameters, x)

    cr.check_grads(with_skip, (dict(net.parameters), x))
    compiled = cr.compile(with_skip)
    np.testing.assert_allclose(
        compiled(dict(net.parameters), x), with_skip(net.parameters, x), rtol=1e-12
    )


def test_summary_counts_the_parameters_of_inner_layers():
    layers = [nn.Residual([nn.Dense(5), "relu", nn.Dense(4)]), nn.Dense(2)]
    rows = [line.split() for line in nn.Network(layers, input_shape=4).summary().splitlines()]
    assert rows[3:7] == [
        ["residual_1", "(N,", "4)", "49"], ["dense_1", "25"], ["dense_2", "24"],
        ["dense_1", "(N,", "2)", "10"],
    ]  # fmt: skip
    assert rows[-1][:2] == ["total", "59"]


def test_errors_and_comments_name_the_inner_layer():
    net = nn.Network([nn.Residual([nn.Dense(2, weight="ones"), np.log])], input_shape=2)
    x = np.ones((3, 2))
    with (
        np.errstate(all="ignore"),
        cr.detect_nonfinite(),
        pytest.raises(FloatingPointError, match=r"residual_1\.activation_1"),
    ):
        net.predict(-100 * x)
    net = nn.Network([nn.Residual([nn.Dense(2), "tanh"]), nn.ReLU(), nn.Dense(1)], seed=0)
    net.fit(x, x[:, :1], loss="squared_error", verbose=0)
    for text in ("residual_1.dense_1: z1 = x @ W1 + b1", "a1 = relu(residual_1)", "W2"):
        assert text in net.step.source


@pytest.mark.parametrize("compiled", [True, False])
def test_fit_learns_and_repeats(compiled):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    y = x[:, :1] * x[:, 1:2]

    def make():
        block = nn.Residual([nn.LayerNorm(), nn.Dense(16), "relu", nn.Dense(8), nn.BatchNorm()])
        return nn.Network([nn.Dense(8), block, nn.Dense(1)], seed=0)

    options = {"epochs": 30, "batch_size": 16, "compile": compiled}
    fit_twice(make, x, y, loss="squared_error", **options)


# What is refused


def test_shapes_that_cannot_be_added():
    with pytest.raises(ValueError, match=r"residual_1 adds its in.*\(4,\).*\(3,\).*nn\.Dense\(3"):
        nn.Network([nn.Residual([nn.Dense(3)])], input_shape=4)
    layer = nn.Residual([nn.Dense(3)], projection=nn.Dense(2), name="block")
    with pytest.raises(ValueError, match=r"block adds the projection.*\(2,\).*\(3,\).*projection$"):
        layer.output_shape((4,))


def test_stacks_are_checked():
    with pytest.raises(ValueError, match="at least one layer"):
        nn.Stack([])
    dense = nn.Dense(2)
    with pytest.raises(ValueError, match="already: make a second layer"):
        nn.Residual([dense, dense])
    with pytest.raises(ValueError, match="two layers are named 'a'"):
        nn.Stack([nn.Dense(2, name="a"), nn.Dense(2, name="a")])
    with pytest.raises(TypeError, match="takes layers, not int"):
        nn.Stack([5])
    with pytest.raises(TypeError, match=r"nn\.Stack\(net\.layers\)"):
        nn.Network([nn.Network([nn.Dense(2)], input_shape=2)])


def test_combine_is_checked():
    with pytest.raises(TypeError, match="function first"):
        nn.Combine(nn, layer=nn.Dense(2))
    with pytest.raises(ValueError, match="does not call its layer unused"):
        nn.Combine(lambda x, unused: x, unused=nn.Dense(2)).output_shape((4,))
    two_shapes = nn.Combine(lambda x, layer: layer(layer(x)), layer=nn.Dense(2))
    with pytest.raises(ValueError, match=r"calls layer with samples of shape \(4,\) and then of"):
        two_shapes.output_shape((4,))
    for function in (lambda x: x.sum(), lambda x: x.sum(axis=0)):
        with pytest.raises(ValueError, match="must keep the first axis"):
            nn.Combine(function).output_shape((4,))


def test_an_inner_layer_needs_a_name():
    with pytest.raises(ValueError, match=r"inner layer Dense\(2\) has no name"):
        nn.forward_inner(nn.Dense(2), np.ones((1, 2)), {}, nn.Context())
