"""Softmax and the losses on logits: closed forms, identities, and logits far out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.primitives import elu, leaky_relu, relu
from chainrule.primitives.constant import one_hot
from chainrule.primitives.fused import (
    binary_cross_entropy,
    log_softmax,
    softmax,
    softmax_cross_entropy,
)
from chainrule.tensor import Tensor

INF = np.inf
SHAPES_AND_AXES = [((4,), -1), ((2, 3), -1), ((2, 3), 0), ((2, 3, 4), 1), ((2, 1), 1), ((0, 3), 1)]
logits_2d = hnp.arrays(np.float64, (3, 4), elements=st.floats(-1000, 1000))


def softmax_jacobian(z):
    """diag(p) - p p^T for one row of logits."""
    p = scipy.special.softmax(z)
    return np.diag(p) - np.outer(p, p)


@pytest.mark.parametrize(("shape", "axis"), SHAPES_AND_AXES)
def test_softmax_and_log_softmax_are_scipys(shape, axis):
    z = np.random.default_rng(0).normal(size=shape)
    if z.size:  # SciPy takes no empty arrays
        np.testing.assert_allclose(softmax(z, axis), scipy.special.softmax(z, axis), rtol=1e-14)
        np.testing.assert_allclose(
            log_softmax(z, axis), scipy.special.log_softmax(z, axis), rtol=1e-12, atol=1e-15
        )
    for function in (softmax, log_softmax):
        for dtype in (np.float32, np.float64):
            out, f_vjp = cr.vjp(lambda z, f=function: f(z, axis), z.astype(dtype))
            (g,) = f_vjp(np.ones(shape, dtype))
            assert (out.shape, out.dtype, g.shape, g.dtype) == (shape, dtype, shape, dtype)


def test_softmax_and_log_softmax_have_their_textbook_jacobians():
    z = np.random.default_rng(1).normal(size=5)
    np.testing.assert_allclose(cr.jacobian(softmax)(z), softmax_jacobian(z), rtol=1e-12)
    p = scipy.special.softmax(z)
    np.testing.assert_allclose(cr.jacobian(log_softmax)(z), np.eye(5) - p, rtol=1e-12)


@given(logits_2d)
def test_softmax_far_out_is_a_distribution_and_log_softmax_its_logarithm(z):
    p, log_p = softmax(z), log_softmax(z)
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-14)
    assert np.isfinite(log_p).all()
    np.testing.assert_allclose(np.exp(log_p), p, rtol=1e-12, atol=1e-300)


def test_a_class_that_is_ruled_out_has_probability_0_and_no_gradient():
    z = np.array([0.0, -math.inf, math.log(3)])
    np.testing.assert_allclose(softmax(z), [0.25, 0, 0.75], rtol=1e-15)
    g = cr.grad(lambda z: log_softmax(z)[0])(z)
    np.testing.assert_allclose(g, [0.75, 0, -0.75], rtol=1e-15)


# Softmax cross-entropy


@given(logits_2d, st.integers(0, 3))
def test_softmax_cross_entropy_of_labels(z, label):
    targets = one_hot(np.full(3, label), n_classes=4)
    loss = softmax_cross_entropy(z, targets)
    assert loss.shape == (3,)
    expected = scipy.special.logsumexp(z, axis=1) - z[:, label]
    np.testing.assert_allclose(loss, expected, rtol=1e-12, atol=1e-11)
    assert (loss >= 0).all()
    g = cr.grad(lambda z: softmax_cross_entropy(z, targets).sum())(z)
    np.testing.assert_allclose(g, scipy.special.softmax(z, axis=1) - targets, atol=1e-14)


def test_softmax_cross_entropy_of_weights_that_do_not_sum_to_1():
    rng = np.random.default_rng(2)
    z, t = rng.normal(size=(3, 4)), rng.random((3, 4))

    def by_parts(z, t):
        return -(t * log_softmax(z)).sum(-1)

    np.testing.assert_allclose(softmax_cross_entropy(z, t), by_parts(z, t), rtol=1e-13)
    for argnum in (0, 1):
        np.testing.assert_allclose(
            cr.jacobian(softmax_cross_entropy, argnum)(z, t),
            cr.jacobian(by_parts, argnum)(z, t),
            rtol=1e-12,
            atol=1e-15,
        )


def test_softmax_cross_entropy_has_the_second_derivatives_of_log_softmax():
    rng = np.random.default_rng(3)
    z, t = rng.normal(size=4), scipy.special.softmax(rng.normal(size=4))
    hessian = cr.hessian(lambda z: softmax_cross_entropy(z, t))(z)
    np.testing.assert_allclose(hessian, softmax_jacobian(z), rtol=1e-12)
    # the mixed one: d/dt of d/dz (softmax(z) * sum(t) - t)
    mixed = cr.jacobian(lambda t: cr.grad(softmax_cross_entropy)(z, t))(t)
    expected = np.outer(scipy.special.softmax(z), np.ones(4)) - np.eye(4)
    np.testing.assert_allclose(mixed, expected, rtol=1e-12, atol=1e-15)


def test_softmax_cross_entropy_along_another_axis_and_with_shared_targets():
    rng = np.random.default_rng(4)
    z, t = rng.normal(size=(2, 3, 4)), rng.random((2, 3, 4))
    swapped = softmax_cross_entropy(np.swapaxes(z, 1, 2), np.swapaxes(t, 1, 2))
    np.testing.assert_allclose(softmax_cross_entropy(z, t, axis=1), swapped, rtol=1e-13)
    g = cr.grad(lambda t: softmax_cross_entropy(z[0], t).sum())(t[0, 0])
    np.testing.assert_allclose(g, -log_softmax(z[0]).sum(0), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_losses_keep_the_dtype(dtype):
    z = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]], dtype)
    t = one_hot(np.array([1, 1]), n_classes=2, dtype=dtype)
    for loss in (softmax_cross_entropy, binary_cross_entropy):
        value, (g_z, g_t) = cr.value_and_grad(lambda z, t, f=loss: f(z, t).sum(), (0, 1))(z, t)
        assert (value.dtype, g_z.dtype, g_t.dtype) == (dtype, dtype, dtype)
        assert value == 2000
        assert np.isfinite(g_z).all()
        assert np.isfinite(g_t).all()


# Binary cross-entropy


@given(
    hnp.arrays(np.float64, 5, elements=st.floats(-1000, 1000)),
    hnp.arrays(np.float64, 5, elements=st.floats(0, 1)),
)
def test_binary_cross_entropy_is_that_of_scipys_log_expit(z, t):
    expected = -t * scipy.special.log_expit(z) - (1 - t) * scipy.special.log_expit(-z)
    loss = binary_cross_entropy(z, t)
    np.testing.assert_allclose(loss, expected, rtol=1e-12, atol=1e-12)
    g_z, g_t = cr.grad(lambda z, t: binary_cross_entropy(z, t).sum(), (0, 1))(z, t)
    np.testing.assert_allclose(g_z, scipy.special.expit(z) - t, atol=1e-15)
    np.testing.assert_allclose(g_t, -z, rtol=1e-15)


def test_binary_cross_entropy_has_the_sigmoids_slope_as_second_derivative():
    z = np.array([-30.0, -1.0, 0.0, 2.0])
    second = cr.hessian(lambda z: binary_cross_entropy(z, np.full(4, 0.3)).sum())(z)
    p = scipy.special.expit(z)
    np.testing.assert_allclose(np.diag(second), p * (1 - p), rtol=1e-3)
    np.testing.assert_allclose(np.diag(second), p * (1 - p), atol=1e-16)


def test_binary_cross_entropy_broadcasts_its_targets():
    z, t = np.zeros((3, 2)), np.array([0.0, 1.0])
    g = cr.grad(lambda t: binary_cross_entropy(z + 1, t).sum())(t)
    np.testing.assert_array_equal(g, [-3, -3])


# What flows through them


@pytest.mark.parametrize("function", [softmax, log_softmax])
def test_nan_stays_in_its_row(function):
    z = np.array([[0.0, math.nan], [0.0, 1.0]])
    out, f_vjp = cr.vjp(function, z)
    (g,) = f_vjp(np.ones((2, 2)))
    for array in (out, g):
        assert np.isnan(array[0]).all()
        assert np.isfinite(array[1]).all()


def test_each_is_one_entry_on_the_tape():
    z = cr.parameter(np.zeros((2, 3)))
    for out in (
        softmax(z),
        log_softmax(z, axis=0),
        softmax_cross_entropy(z, np.ones((2, 3))),
        binary_cross_entropy(z, 1.0),
    ):
        assert isinstance(out, Tensor)
        assert out.node.parents[0][1] is z.node


# Classes that are masked by a logit of -inf

MASKED = np.array([[1.0, 2.0, -INF], [-INF, 0.5, -INF], [0.0, -INF, 1000.0]])
RIGHT = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.25, 0.0, 0.75]])


def test_a_masked_class_is_as_if_it_were_not_there():
    for dtype in (np.float64, np.float32):
        logits, targets = MASKED.astype(dtype), RIGHT.astype(dtype)
        rows, f_vjp = cr.vjp(softmax_cross_entropy, logits, targets)
        by_logits, by_targets = f_vjp(np.ones(3, dtype))
        for k in range(3):
            kept = np.isfinite(logits[k])
            alone, alone_vjp = cr.vjp(softmax_cross_entropy, logits[k, kept], targets[k, kept])
            np.testing.assert_array_equal(rows[k], alone)
            of_logits, of_targets = alone_vjp(dtype(1))
            np.testing.assert_array_equal(by_logits[k, kept], of_logits)
            np.testing.assert_array_equal(by_targets[k, kept], of_targets)
            np.testing.assert_array_equal(by_logits[k, ~kept], 0)
            np.testing.assert_array_equal(by_targets[k, ~kept], 0)
    assert round(float(rows[0]), 4) == 1.3133


def test_a_target_on_a_masked_class_costs_infinitely_much():
    assert softmax_cross_entropy(np.array([0.0, -INF]), np.array([0.5, 0.5])) == INF


def test_softmax_and_log_softmax_of_a_masked_class():
    for f, at_mask in ((softmax, 0.0), (log_softmax, -INF)):
        out, f_vjp = cr.vjp(f, MASKED)
        np.testing.assert_array_equal(out[~np.isfinite(MASKED)], at_mask)
        (gradient,) = f_vjp(np.arange(9.0).reshape(3, 3) * np.isfinite(MASKED))
        assert np.isfinite(gradient).all()
        np.testing.assert_array_equal(gradient[~np.isfinite(MASKED)], 0)
        kept = [0, 1]
        (alone,) = cr.vjp(f, MASKED[0, kept])[1](np.arange(2.0))
        np.testing.assert_allclose(gradient[0, kept], alone, rtol=1e-15)


def test_second_derivatives_with_a_masked_class_are_finite():
    f = lambda z: softmax_cross_entropy(z, RIGHT[0])
    with_mask, alone = (
        cr.hessian(f)(MASKED[0]),
        cr.hessian(lambda z: softmax_cross_entropy(z, RIGHT[0, :2]))(MASKED[0, :2]),
    )
    np.testing.assert_allclose(with_mask[:2, :2], alone)
    np.testing.assert_array_equal(with_mask[2], 0)
    np.testing.assert_array_equal(with_mask[:, 2], 0)


def test_a_network_trains_with_a_masked_class():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 4)), rng.integers(0, 2, 20)
    mask = np.array([0.0, 0.0, -INF])
    w = rng.normal(size=(4, 3))
    loss = lambda w: np.mean(softmax_cross_entropy(x @ w + mask, one_hot(y, n_classes=3)))
    first, gradient = cr.value_and_grad(loss)(w)
    np.testing.assert_array_equal(gradient[:, 2], 0)
    assert loss(w - 0.1 * gradient) < first


def test_gradients_at_the_kinks_are_the_documented_ones():
    zero = np.array(0.0)
    assert cr.grad(relu)(zero) == 0.0
    assert cr.grad(lambda x: leaky_relu(x, 0.2))(zero) == 0.2
    assert cr.grad(lambda x: elu(x, 0.5))(zero) == 0.5
