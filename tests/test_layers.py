"""The plain layers: activations, Dense, Flatten and Reshape: values, names, what they refuse."""

from __future__ import annotations

import math
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn

Z = np.array([[-30.0, -2.0, -0.5, 0.0], [0.25, 1.0, 3.0, 30.0]])


def sigmoid(z):
    return np.exp(-np.logaddexp(0, -z))


def phi(z):
    return np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)))(z)


# layer -> the same by NumPy alone, written from the definition
ACTIVATIONS = {
    "sigmoid": (nn.Sigmoid(), sigmoid),
    "tanh": (nn.Tanh(), np.tanh),
    "relu": (nn.ReLU(), lambda z: z * (z > 0)),
    "leaky_relu": (nn.LeakyReLU(), lambda z: np.where(z > 0, z, 0.01 * z)),
    "leaky_relu 0.3": (nn.LeakyReLU(slope=0.3), lambda z: np.where(z > 0, z, 0.3 * z)),
    "elu": (nn.ELU(), lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) - 1)),
    "elu 0.5": (
        nn.ELU(alpha=0.5),
        lambda z: np.where(z > 0, z, np.exp(np.minimum(z, 0)) / 2 - 0.5),
    ),
    "gelu": (nn.GELU(), lambda z: z * phi(z)),
    "silu": (nn.SiLU(), lambda z: z * sigmoid(z)),
    "softplus": (nn.Softplus(), lambda z: np.logaddexp(z, 0)),
    "softmax": (nn.Softmax(), lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)),
    "log_softmax": (nn.LogSoftmax(), lambda z: z - np.log(np.exp(z).sum(axis=1, keepdims=True))),
    "identity": (nn.Identity(), lambda z: z),
    "activation": (nn.Activation(lambda z: np.sin(z) * z), lambda z: np.sin(z) * z),
}

LAYERS = {
    **{name: layer for name, (layer, _) in ACTIVATIONS.items()},
    "dense": nn.Dense(3),
    "dense without bias": nn.Dense(3, use_bias=False),
    "flatten": nn.Flatten(),
    "reshape": nn.Reshape((2, -1)),
}


def run(layer, x, seed=0, dtype=None):
    """The layer's outputs with initial parameters, biases too, drawn at random."""
    parameters = random_parameters(layer, x.shape[1:], seed, dtype or x.dtype)
    return layer.forward(x, parameters, nn.Context())


def random_parameters(layer, input_shape, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    initial = layer.init(input_shape, rng)
    return {name: rng.normal(size=a.shape).astype(dtype) for name, a in initial.items()}


def numeric_gradient(f, x, step=1e-6):
    """Central differences, element by element."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (f(up) - f(down)) / (2 * step)
    return gradient


# Values


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_is_its_formula(name):
    layer, formula = ACTIVATIONS[name]
    np.testing.assert_allclose(run(layer, Z), formula(Z), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"activation"}))
def test_an_activation_does_not_overflow(name):
    for dtype in (np.float32, np.float64):
        z = np.array([[-1e4, 1e4]], dtype)
        assert np.isfinite(run(ACTIVATIONS[name][0], z)).all()


@given(
    n_samples=st.integers(1, 5), n_in=st.integers(1, 5), units=st.integers(1, 5), bias=st.booleans()
)
def test_dense_is_a_weighted_sum(n_samples, n_in, units, bias):
    layer = nn.Dense(units, use_bias=bias)
    x = np.random.default_rng(1).normal(size=(n_samples, n_in))
    p = random_parameters(layer, (n_in,))
    out = layer.forward(x, p, nn.Context())
    for n in range(n_samples):
        for j in range(units):
            total = sum(x[n, i] * p["weight"][i, j] for i in range(n_in))
            expected = total + (p["bias"][j] if bias else 0.0)
            assert out[n, j] == pytest.approx(expected, rel=1e-10, abs=1e-12)


def test_dense_acts_on_the_last_axis():
    layer = nn.Dense(2)
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    p = random_parameters(layer, (5, 3))
    assert layer.output_shape((5, 3)) == (5, 2)
    out = layer.forward(x, p, nn.Context())
    assert out.shape == (4, 5, 2)
    for place in range(5):
        expected = x[:, place] @ p["weight"] + p["bias"]
        np.testing.assert_allclose(out[:, place], expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (1, 1, 3), (2, 3, 4, 3)])
def test_dense_keeps_the_axes_before_the_last(shape):
    layer = nn.Dense(2)
    x = np.random.default_rng(0).normal(size=shape)
    p = random_parameters(layer, shape[1:])
    out = layer.forward(x, p, nn.Context())
    expected = np.einsum("...i,ij->...j", x, p["weight"]) + p["bias"]
    assert out.shape == (*shape[:-1], 2)
    np.testing.assert_allclose(out, expected, rtol=1e-12)


def test_dense_of_sequences_is_one_product():
    layer = nn.Dense(2)
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    p = random_parameters(layer, (5, 3))
    compiled = cr.compile(cr.grad(lambda p, x: np.sum(layer.forward(x, p, nn.Context()) ** 2)))
    compiled(p, x)
    assert re.search(r"(dot|matmul)\(\w+\.reshape\(20, 3\), ", compiled.source)
    products = [e for e in compiled.graph.equations if e.primitive.name == "matmul"]
    assert products
    assert all(len(v.shape) == 2 for e in products for v in e.variables)


def test_dense_takes_arrays_as_they_are():
    weight, bias = np.arange(6.0).reshape(2, 3), [1, 2, 3]
    initial = nn.Dense(3, weight=weight, bias=bias).init((2,), np.random.default_rng(0))
    np.testing.assert_array_equal(initial["weight"], weight)
    np.testing.assert_array_equal(initial["bias"], bias)
    assert list(initial) == ["weight", "bias"]
    assert initial["weight"] is not weight


def test_the_starts_of_dense():
    initial = nn.Dense(50).init((100,), np.random.default_rng(0))
    assert (initial["bias"] == 0).all()
    limit = math.sqrt(6 / 150)  # Glorot and Bengio 2010, equation 16
    assert 0.99 * limit < np.abs(initial["weight"]).max() <= limit
    assert list(nn.Dense(2, use_bias=False).init((3,), np.random.default_rng(0))) == ["weight"]


def test_flatten_and_reshape_keep_the_order_of_values():
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(run(nn.Flatten(), x), x.reshape(2, 12))
    np.testing.assert_array_equal(run(nn.Reshape((2, -1)), x), x.reshape(2, 2, 6))
    np.testing.assert_array_equal(run(nn.Reshape((12,)), x), x.reshape(2, 12))
    assert nn.Flatten().output_shape((3, 4)) == (12,)
    assert nn.Reshape((2, -1)).output_shape((3, 4)) == (2, 6)
    assert nn.Reshape([-1]).output_shape((3, 4)) == (12,)


# Gradients, element by element


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_by_input_and_parameters_are_those_of_finite_differences(name):
    layer = LAYERS[name]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 4))
    p = random_parameters(layer, (4,))
    weights = rng.normal(size=layer.forward(x, p, nn.Context()).shape)

    def weighted_sum(x, p):
        return (layer.forward(x, p, nn.Context()) * weights).sum()

    x_grad, p_grad = cr.grad(weighted_sum, argnums=(0, 1))(x, p)
    expected = numeric_gradient(lambda x: weighted_sum(x, p), x)
    np.testing.assert_allclose(x_grad, expected, rtol=1e-6, atol=1e-8)
    assert list(p_grad) == list(p)
    for key in p:
        expected = numeric_gradient(lambda a, key=key: weighted_sum(x, {**p, key: a}), p[key])
        np.testing.assert_allclose(p_grad[key], expected, rtol=1e-6, atol=1e-8)


# Names


def test_kinds_are_class_names_in_snake_case():
    names = {type(layer): layer.kind for layer in LAYERS.values()}
    assert names == {
        nn.Sigmoid: "sigmoid",
        nn.Tanh: "tanh",
        nn.ReLU: "relu",
        nn.LeakyReLU: "leaky_relu",
        nn.ELU: "elu",
        nn.GELU: "gelu",
        nn.SiLU: "silu",
        nn.Softplus: "softplus",
        nn.Softmax: "softmax",
        nn.LogSoftmax: "log_softmax",
        nn.Identity: "identity",
        nn.Activation: "activation",
        nn.Dense: "dense",
        nn.Flatten: "flatten",
        nn.Reshape: "reshape",
    }


def test_kinds_of_layers_of_your_own():
    def kind(name):
        return type(name, (nn.Layer,), {"forward": lambda self, x, p, c: x})().kind

    assert [kind(name) for name in ("MaxPool2D", "BatchNorm", "Conv2D", "MyLayer")] == [
        "max_pool2d",
        "batch_norm",
        "conv2d",
        "my_layer",
    ]


@pytest.mark.parametrize("name", nn.ACTIVATIONS)
def test_every_activation_has_its_name(name):
    layer = nn.get_activation(name)
    assert layer.kind == name
    assert layer is not nn.get_activation(name)


def test_a_misspelled_activation_gets_the_nearest():
    with pytest.raises(ValueError, match=r"no activation 'sigmiod': did you mean 'sigmoid'\?"):
        nn.get_activation("sigmiod")


def test_a_function_is_an_activation():
    layer = nn.get_activation(np.cos)
    np.testing.assert_array_equal(run(layer, Z), np.cos(Z))
    assert repr(layer) == "Activation(cos)"


def test_representations():
    assert [
        repr(layer)
        for layer in (
            nn.Dense(3),
            nn.Dense(3, use_bias=False),
            nn.ReLU(),
            nn.LeakyReLU(0.2),
            nn.ELU(2.0),
            nn.Reshape((1, -1)),
        )
    ] == [
        "Dense(3)",
        "Dense(3, use_bias=False)",
        "ReLU()",
        "LeakyReLU(0.2)",
        "ELU(2.0)",
        "Reshape((1, -1))",
    ]


def test_layers_can_be_pickled():
    for layer in (nn.Dense(3, weight=nn.initializers.uniform(-1, 1)), nn.LeakyReLU(0.2)):
        assert repr(pickle.loads(pickle.dumps(layer))) == repr(layer)


# What is refused


@pytest.mark.parametrize("units", [0, -3])
def test_dense_needs_a_unit(units):
    with pytest.raises(ValueError, match=rf"at least one unit but got units={units}"):
        nn.Dense(units)


@pytest.mark.parametrize("units", ["relu", 2.5, None, (3,)])
def test_units_are_a_whole_number(units):
    with pytest.raises(TypeError, match="number of units"):
        nn.Dense(units)


def test_dense_names_itself_and_the_shapes():
    layer = nn.Dense(3, name="hidden")
    p = random_parameters(layer, (100,))
    with pytest.raises(ValueError, match=r"hidden was built for 100 features but got \(64, 50\)"):
        layer.forward(np.ones((64, 50)), p, nn.Context())
    with pytest.raises(ValueError, match=r"hidden got samples that are single numbers.*x\[:, None"):
        layer.output_shape(())


def test_reshape_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"reshape.*\(5,\), 5 values, the shape \(2, -1\)"):
        nn.Reshape((2, -1)).output_shape((5,))
    with pytest.raises(ValueError, match=r"reshape.*\(6,\), 6 values, the shape \(2, 2\)"):
        nn.Reshape((2, 2)).output_shape((6,))
    for shape in ((-1, -1), (0, 3), (-2,)):
        with pytest.raises(ValueError, match="positive, and at most one"):
            nn.Reshape(shape)


def test_an_activation_of_your_own_keeps_the_shape():
    layer = nn.Activation(lambda z: z.sum(axis=1), name="mine")
    with pytest.raises(ValueError, match=r"mine: .*\(2, 4\) into \(2,\).*Layer with an output_sha"):
        run(layer, Z)


def test_a_layer_without_forward_is_no_layer():
    class Half(nn.Layer):
        pass

    with pytest.raises(TypeError, match="forward"):
        Half()
