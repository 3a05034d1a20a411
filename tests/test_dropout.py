"""Dropout: what it keeps, how it scales, and that the same seed drops the same values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layer_checks import check_compiled, fit_twice

import chainrule as cr
from chainrule import nn, optim
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.samples import Batch


def dropped(rate, x, seed=0):
    context = nn.Context(training=True, rng=np.random.default_rng(seed))
    return nn.Dropout(rate).forward(x, {}, context)


@given(rate=st.sampled_from([0.1, 0.25, 0.5, 0.9]), seed=st.integers(0, 50))
def test_a_share_is_zero_and_the_rest_is_scaled_up(rate, seed):
    x = np.random.default_rng(seed).normal(5, 1, (100, 50))
    out = dropped(rate, x, seed)
    kept = out != 0
    np.testing.assert_allclose(out[kept], x[kept] / (1 - rate), rtol=1e-12)
    standard_deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(1 - kept.mean() - rate) < 5 * standard_deviation
    assert out.mean() == pytest.approx(x.mean(), rel=6 * standard_deviation / (1 - rate))


def test_each_value_of_each_sample_is_drawn_by_itself_and_anew():
    rng = np.random.default_rng(0)
    context = nn.Context(training=True, rng=rng)
    first, second = (nn.Dropout(0.5).forward(np.ones((20, 30)), {}, context) for _ in range(2))
    assert (first != second).any()
    assert (first[0] != first[1]).any()
    assert (first[:, 0] != first[:, 1]).any()


def test_the_gradient_flows_through_what_was_kept():
    x = np.ones((4, 5))
    out = dropped(0.4, x)
    grad = cr.grad(lambda x: dropped(0.4, x).sum())(x)
    np.testing.assert_array_equal(grad, out)  # x is 1: the factors themselves


def test_a_dropped_nan_is_gone():
    out = dropped(0.5, np.full((10, 10), np.nan))
    assert 0 < np.isnan(out).mean() < 1
    assert (out[~np.isnan(out)] == 0).all()


def test_prediction_and_rate_zero_let_x_pass():
    x = np.random.default_rng(0).normal(size=(3, 4))
    assert nn.Dropout(0.5).forward(x, {}, nn.Context()) is x
    assert nn.Dropout(0).forward(x, {}, nn.Context(training=True)) is x
    net = nn.Network([nn.Dropout(0.5)], dtype="float64")
    np.testing.assert_array_equal(net.predict(x), x)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compiled_is_eager(dtype):
    layers = [nn.Dense(6), nn.Dropout(0.3), nn.Sigmoid(), nn.Dropout(0.5), nn.Dense(2)]
    check_compiled(layers, 3, dtype=dtype)
    check_compiled([nn.Dense(2), nn.Dropout(0.5)], 3, n_samples=1, dtype=dtype)


def test_compiled_and_eager_steps_drop_the_same_places_of_one_seed():
    net = nn.Network([nn.Dense(50), nn.Dropout(0.4)], input_shape=3, seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.random((16, 3), np.float32), rng.random((16, 50), np.float32)
    outputs = []
    for make in (EagerStep, CompiledStep):
        step = make(net, nn.losses.squared_error, optim.SGD(0.1))
        outputs.append(np.array(step.take(Batch(x, y), 0.1, 1, np.random.default_rng(7))[1]))
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert 0 < (outputs[0] == 0).mean() < 1


@pytest.mark.parametrize("compiled", [True, False])
def test_fit_with_dropout_learns_and_repeats(compiled):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)

    def make():
        layers = [nn.Dense(32), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Dense(2)]
        return nn.Network(layers, seed=0)

    net = fit_twice(
        make, x, y, loss="cross_entropy", optimizer=optim.Adam(0.01), epochs=60, batch_size=16,
        compile=compiled,
    )  # fmt: skip
    np.testing.assert_array_equal(net.predict(x), net.predict(x))
    assert net.evaluate(x, y)["accuracy"] > 0.9


def test_other_seeds_drop_otherwise():
    x = np.ones((16, 4), np.float32)
    losses = []
    for seed in (0, 1):
        net = nn.Network([nn.Dropout(0.5), nn.Dense(1)], seed=0)
        history = net.fit(x, x[:, :1], loss="squared_error", shuffle=False, seed=seed, verbose=0)
        losses.append(history["loss"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, np.nan])
def test_a_rate_is_checked(rate):
    with pytest.raises(ValueError, match="rate="):
        nn.Dropout(rate)


def test_training_needs_an_rng():
    with pytest.raises(ValueError, match=r"thin draws random numbers.*default_rng"):
        nn.Dropout(0.5, name="thin").forward(np.ones((1, 2)), {}, nn.Context(training=True))


def test_its_words():
    assert repr(nn.Dropout(0.25)) == "Dropout(0.25)"
    net = nn.Network([nn.Dense(2), nn.Dropout()], input_shape=3)
    assert net.layers[1].name == "dropout_1"
    assert net.summary().splitlines()[4].split() == ["dropout_1", "(N,", "2)", "0"]
