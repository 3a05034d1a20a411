"""BatchNorm, LayerNorm and GroupNorm: their values, their state, and what training does to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import (
    check_compiled,
    drawn_parameters,
    drawn_state,
    fit_twice,
)

from chainrule import nn


def normal(x, axes, epsilon=1e-5):
    """The definition, by NumPy's own mean and variance."""
    mean, variance = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)


def trained(layer, x, parameters, state=None):
    context = nn.Context(training=True, state=state or layer.init_state(x.shape[1:]))
    return layer.forward(x, parameters, context), context.updates


# Values


@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=4), seed=st.integers(0, 99))
def test_batch_norm_is_its_formula_and_prediction_uses_the_running_statistics(shape, seed):
    if np.prod(shape[:-1]) == 1:
        shape[0] = 2
    x = np.random.default_rng(seed).normal(3, 2, shape)
    layer, sample = nn.BatchNorm(momentum=0.7), tuple(shape[1:])
    p, state = drawn_parameters(layer, sample), drawn_state(layer, sample)
    out, updates = trained(layer, x, p, state)
    axes = tuple(range(x.ndim - 1))
    expected = normal(x, axes) * p["gamma"] + p["beta"]
    np.testing.assert_allclose(out, expected, rtol=1e-9, atol=1e-9)
    for name, of_batch in (
        ("running_mean", x.mean(axis=axes)),
        ("running_variance", x.var(axis=axes, ddof=1)),
    ):
        np.testing.assert_allclose(updates[name], 0.7 * state[name] + 0.3 * of_batch, rtol=1e-9)
    context = nn.Context(training=False, state=state)
    mean, variance = state["running_mean"], state["running_variance"]
    expected = (x - mean) / np.sqrt(variance + 1e-5) * p["gamma"] + p["beta"]
    np.testing.assert_allclose(layer.forward(x, p, context), expected, rtol=1e-9, atol=1e-9)
    assert not context.updates


def test_channels_first_is_channels_last_with_the_axes_turned():
    x = np.random.default_rng(0).normal(size=(3, 2, 5, 4))
    turned = np.moveaxis(x, -1, 1)
    for first, last in (
        (nn.BatchNorm(axis=1), nn.BatchNorm()),
        (nn.GroupNorm(2, axis=1), nn.GroupNorm(2)),
    ):
        p = drawn_parameters(last, x.shape[1:])
        out, updates = trained(first, turned, p)
        expected, expected_updates = trained(last, x, p)
        np.testing.assert_allclose(np.moveaxis(out, 1, -1), expected, rtol=1e-12)
        assert list(updates) == list(expected_updates)
        for name in updates:
            np.testing.assert_allclose(updates[name], expected_updates[name], rtol=1e-12)


@pytest.mark.parametrize(("n_axes", "axes"), [(1, (3,)), (2, (2, 3)), (3, (1, 2, 3))])
def test_layer_norm_is_its_formula(n_axes, axes):
    x = np.random.default_rng(0).normal(3, 2, (2, 3, 4, 5))
    layer = nn.LayerNorm(n_axes, epsilon=0.01)
    p = drawn_parameters(layer, x.shape[1:])
    assert p["gamma"].shape == x.shape[-n_axes:]
    expected = normal(x, axes, 0.01) * p["gamma"] + p["beta"]
    np.testing.assert_allclose(layer.forward(x, p, nn.Context()), expected, rtol=1e-10)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_group_norm_is_its_formula(groups):
    x = np.random.default_rng(0).normal(3, 2, (2, 4, 5, 6))
    layer = nn.GroupNorm(groups)
    p = drawn_parameters(layer, x.shape[1:])
    grouped = x.reshape(2, 4, 5, groups, 6 // groups)
    expected = normal(grouped, (1, 2, 4)).reshape(x.shape) * p["gamma"] + p["beta"]
    np.testing.assert_allclose(layer.forward(x, p, nn.Context()), expected, rtol=1e-10)


def test_large_offsets_do_not_swallow_the_variance():
    x = (1e4 + np.random.default_rng(0).normal(size=(64, 3))).astype(np.float32)
    layer = nn.BatchNorm()
    out, _ = trained(layer, x, {"gamma": np.ones(3, "f"), "beta": np.zeros(3, "f")})
    np.testing.assert_allclose(np.std(out, axis=0), 1, rtol=1e-2)


def test_a_batch_of_one_is_treated_as_in_prediction():
    layer = nn.BatchNorm()
    x = np.array([[5.0, -1.0]])
    p, state = drawn_parameters(layer, (2,)), drawn_state(layer, (2,))
    out, updates = trained(layer, x, p, state)
    np.testing.assert_array_equal(out, layer.forward(x, p, nn.Context(state=state)))
    assert not updates
    _, updates = trained(layer, np.ones((1, 3, 2)), p, state)  # three values for each feature
    assert updates


# Batches of one, names, source


def test_compiled_is_eager_for_batches_of_one_and_other_sizes():
    for n_samples in (1, 2):
        check_compiled([nn.Dense(4), nn.BatchNorm(), nn.Dense(2)], 3, n_samples=n_samples)


def test_names_and_summary():
    net = nn.Network([nn.Dense(3), nn.BatchNorm(), nn.LayerNorm()], input_shape=2)
    assert list(net.parameters)[2:] == [
        "batch_norm_1.gamma", "batch_norm_1.beta", "layer_norm_1.gamma", "layer_norm_1.beta",
    ]  # fmt: skip
    assert list(net.state) == ["batch_norm_1.running_mean", "batch_norm_1.running_variance"]
    assert [line.split()[-1] for line in net.summary().splitlines()[4:6]] == ["6", "6"]
    assert [repr(layer) for layer in (
        nn.BatchNorm(), nn.BatchNorm(axis=1, momentum=0.5), nn.LayerNorm(), nn.LayerNorm(2),
        nn.GroupNorm(2), nn.GroupNorm(2, axis=1),
    )] == [
        "BatchNorm()", "BatchNorm(axis=1, momentum=0.5)", "LayerNorm()", "LayerNorm(2)",
        "GroupNorm(2)", "GroupNorm(2, axis=1)",
    ]  # fmt: skip


def test_the_written_step_speaks_of_gamma_beta_and_the_running_mean():
    rng = np.random.default_rng(0)
    net = nn.Network([nn.Dense(3), nn.BatchNorm(), nn.ReLU(), nn.Dense(1)], seed=0)
    net.fit(rng.random((8, 2)), rng.random((8, 1)), loss="squared_error", batch_size=8, verbose=0)
    for name in ("gamma_2", "beta_2", "batch_norm_1_running_mean", "W3", "z2", "a2"):
        assert name in net.step.source


def test_penalties_spare_gamma_and_beta():
    parameters = {
        "norm.gamma": np.ones(2),
        "norm.beta": np.ones(2),
        "gru_1.recurrent_bias": np.ones(2),
    }
    for penalty in (nn.L1, nn.L2):
        assert penalty(1.0)({**parameters, "dense_1.weight": np.zeros(2)}) == 0
        assert penalty(1.0, biases=True)(parameters) > 0


# Training


@pytest.mark.parametrize("compiled", [True, False])
def test_fit_learns_and_moves_the_running_statistics(compiled):
    rng = np.random.default_rng(0)
    x = rng.normal(7, 3, (65, 4))  # with a last batch of one sample
    y = np.sin(x[:, :1])

    def make():
        layers = [nn.BatchNorm(), nn.Dense(8), nn.BatchNorm(), nn.Tanh(), nn.Dense(1)]
        return nn.Network(layers, seed=0)

    net = fit_twice(
        make, x, y, loss="squared_error", epochs=60, batch_size=16, compile=compiled,
        validation_data=(x, y),
    )  # fmt: skip
    mean, variance = (net.state[f"batch_norm_1.running_{name}"] for name in ("mean", "variance"))
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=0.1)
    np.testing.assert_allclose(variance, x.var(axis=0), rtol=0.3)
    before = {name: array.copy() for name, array in net.state.items()}
    net.predict(x)
    net.evaluate(x, y)
    for name, array in before.items():
        np.testing.assert_array_equal(net.state[name], array)
    one = net.predict(x[:1])  # a sample does not see the others
    np.testing.assert_allclose(one, net.predict(x)[:1], rtol=1e-4)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_running_statistics_of_a_fit_are_those_of_its_batches_in_turn(compiled):
    """By a loop over the batches, the last of them shorter, with NumPy's mean and variance."""
    x = np.random.default_rng(0).normal(3, 2, (22, 5, 3))
    net = nn.Network([nn.BatchNorm(momentum=0.8), nn.Flatten(), nn.Dense(1)], dtype="float64")
    net.fit(
        x, x[:, 0, :1], loss="squared_error", optimizer="sgd", epochs=3, batch_size=8,
        shuffle=False, verbose=0, compile=compiled,
    )  # fmt: skip
    mean, variance = np.zeros(3), np.ones(3)
    for _ in range(3):
        for start in (0, 8, 16):
            batch = x[start : start + 8].reshape(-1, 3)
            mean = 0.8 * mean + 0.2 * batch.mean(axis=0)
            variance = 0.8 * variance + 0.2 * batch.var(axis=0, ddof=1)
    np.testing.assert_allclose(net.state["batch_norm_1.running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(net.state["batch_norm_1.running_variance"], variance, rtol=1e-12)


def test_a_minimizer_trains_through_batch_norm():
    rng = np.random.default_rng(0)
    x = rng.normal(7, 3, (40, 3))
    net = nn.Network([nn.BatchNorm(), nn.Dense(1)], seed=0, dtype="float64")
    history = net.fit(x, x[:, :1], loss="squared_error", optimizer="lbfgs", epochs=20, verbose=0)
    assert history["loss"][-1] < 1e-6
    assert not np.array_equal(net.state["batch_norm_1.running_mean"], np.zeros(3))


# What is refused


def test_options_are_checked():
    for momentum in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="momentum"):
            nn.BatchNorm(momentum=momentum)
    for make in (nn.BatchNorm, nn.LayerNorm, lambda **options: nn.GroupNorm(2, **options)):
        with pytest.raises(ValueError, match="epsilon=0"):
            make(epsilon=0)
    with pytest.raises(ValueError, match="groups of at least 1"):
        nn.GroupNorm(0)
    with pytest.raises(TypeError, match="whole number as groups"):
        nn.GroupNorm(2.5)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"4 features of samples of shape \(4,\) into 3 equal"):
        nn.GroupNorm(3).output_shape((4,))
    with pytest.raises(ValueError, match=r"last 2 axes.*\(4,\): give fewer"):
        nn.LayerNorm(2).output_shape((4,))
    for axis in (0, 2, -2):
        with pytest.raises(ValueError, match=rf"features along axis {axis} of \(N, 4\)"):
            nn.BatchNorm(axis=axis).output_shape((4,))
    for layer in (
        nn.BatchNorm(name="norm"),
        nn.LayerNorm(name="norm"),
        nn.GroupNorm(1, name="norm"),
    ):
        p, state = drawn_parameters(layer, (4,)), layer.init_state((4,))
        with pytest.raises(ValueError, match=r"norm was built for features.*\(4,\).*\(3,\)"):
            layer.forward(np.ones((2, 3)), p, nn.Context(state=state))
