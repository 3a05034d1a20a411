"""Initial values: their statistics, shapes, names, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import nn
from chainrule.nn import initializers

SHAPE = (300, 200)

# name -> (variance for n_in = 300, n_out = 200, largest possible |value| in standard deviations)
SCALED = {
    "glorot_uniform": (2 / 500, np.sqrt(3)),
    "glorot_normal": (2 / 500, np.inf),
    "he_uniform": (2 / 300, np.sqrt(3)),
    "he_normal": (2 / 300, np.inf),
    "lecun_uniform": (1 / 300, np.sqrt(3)),
    "lecun_normal": (1 / 300, np.inf),
}


@pytest.mark.parametrize("name", SCALED)
def test_scaled_initializers_have_their_variance(name):
    variance, bound = SCALED[name]
    values = initializers.INITIALIZERS[name](np.random.default_rng(0), SHAPE)
    # 60 000 draws: the relative standard error of the variance is below 0.6 %.
    assert np.var(values) == pytest.approx(variance, rel=0.03)
    assert abs(np.mean(values)) < 5 * np.sqrt(variance / values.size)
    largest = np.abs(values).max() / np.sqrt(variance)
    if np.isfinite(bound):
        assert 0.99 * bound < largest <= bound
    else:
        assert largest > 3.5  # normal, and not cut off


@given(n_in=st.integers(1, 12), n_out=st.integers(1, 12), seed=st.integers(0, 100))
def test_orthogonal_rows_or_columns_are_orthonormal(n_in, n_out, seed):
    q = initializers.orthogonal(np.random.default_rng(seed), (n_in, n_out))
    assert q.shape == (n_in, n_out)
    product = q.T @ q if n_in >= n_out else q @ q.T
    np.testing.assert_allclose(product, np.eye(min(n_in, n_out)), atol=1e-12)


def test_orthogonal_prefers_no_sign():
    # Without the correction by the signs of R, the diagonal of a QR factor is always negative.
    rng = np.random.default_rng(0)
    traces = [np.trace(initializers.orthogonal(rng, (3, 3))) for _ in range(2000)]
    assert abs(np.mean(traces)) < 0.1  # the trace of a random orthogonal matrix has mean 0, std 1


@given(
    name=st.sampled_from(sorted(initializers.INITIALIZERS)),
    n_in=st.integers(1, 8),
    n_out=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
def test_every_initializer_gives_the_same_float64_array_for_the_same_seed(name, n_in, n_out, seed):
    initializer = initializers.get_initializer(name)
    first = initializer(np.random.default_rng(seed), (n_in, n_out))
    again = initializer(np.random.default_rng(seed), (n_in, n_out))
    assert first.shape == (n_in, n_out)
    assert first.dtype == np.float64
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)


def test_uniform_fills_its_interval():
    values = initializers.uniform(-0.25, 0.75)(np.random.default_rng(0), SHAPE)
    assert -0.25 <= values.min() < -0.249
    assert 0.749 < values.max() < 0.75


def test_normal_has_its_deviation_and_mean():
    values = initializers.normal(2.0, mean=5.0)(np.random.default_rng(0), SHAPE)
    assert np.std(values) == pytest.approx(2.0, rel=0.02)
    assert np.mean(values) == pytest.approx(5.0, abs=0.05)


def test_zeros_ones_constant():
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(initializers.zeros(rng, (2,)), [0, 0])
    np.testing.assert_array_equal(initializers.ones(rng, (2,)), [1, 1])
    np.testing.assert_array_equal(initializers.constant(0.1)(rng, (2,)), [0.1, 0.1])


def test_a_given_array_is_copied():
    array = np.ones((2, 2))
    initializer = initializers.get_initializer(array)
    values = initializer(np.random.default_rng(0), (2, 2))
    array[:] = 7
    values[:] = 8
    np.testing.assert_array_equal(initializer(np.random.default_rng(0), (2, 2)), np.ones((2, 2)))


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.uniform(-0.5, 0.5),
        initializers.normal(),
        initializers.constant(1.0),
        initializers.given([[1.0]]),
    ],
)
def test_what_a_factory_makes_can_be_pickled(initializer):
    copy = pickle.loads(pickle.dumps(initializer))
    expected = initializer(np.random.default_rng(1), (1, 1))
    np.testing.assert_array_equal(copy(np.random.default_rng(1), (1, 1)), expected)


def build(weight, **options):
    return nn.Network([nn.Dense(4, weight=weight, **options)], input_shape=3).parameters


def test_a_function_of_your_own_initialises():
    parameters = build(lambda rng, shape: np.full(shape, 0.5), bias=initializers.constant(2))
    assert (parameters["dense_1.weight"] == 0.5).all()
    assert (parameters["dense_1.bias"] == 2).all()


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(
        ValueError, match=r"dense_1\.weight: .*'glorot_unifrom'.*did you mean 'glorot_uniform'"
    ):
        build("glorot_unifrom")


def test_a_given_array_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"dense_1\.weight must have shape \(3, 4\).*\(4, 3\)"):
        build(np.ones((4, 3)))


@pytest.mark.parametrize("factory", ["uniform", "normal", "constant", "given"])
def test_a_factory_that_was_not_called_is_pointed_out(factory):
    with pytest.raises(TypeError, match=rf"dense_1\.weight: {factory} .*call it with its numbers"):
        build(getattr(initializers, factory))


def test_values_that_are_no_numbers_are_refused():
    with pytest.raises(TypeError, match=r"dense_1\.weight must be real numbers.*complex128"):
        build(np.ones((3, 4), complex))
    with pytest.raises(ValueError, match=r"dense_1\.weight: .*NaN or infinity"):
        build(np.full((3, 4), np.nan))


@pytest.mark.parametrize("name", [*SCALED, "orthogonal"])
def test_a_bias_has_no_numbers_of_inputs_and_outputs(name):
    with pytest.raises(ValueError, match=r"dense_1\.bias: .*shape \(4,\).*use zeros"):
        build("zeros", bias=name)


def test_impossible_numbers_are_refused():
    with pytest.raises(ValueError, match=r"low <= high .* low=1, high=0"):
        initializers.uniform(1, 0)
    with pytest.raises(ValueError, match=r"standard deviation >= 0 .*std=-1"):
        initializers.normal(-1)
