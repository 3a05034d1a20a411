"""Losses and penalties: values against other libraries, gradients, shapes, and targets refused."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn
from chainrule.gradcheck import check_grads
from chainrule.nn import losses

N = 6
OUTPUTS = np.random.default_rng(0).normal(scale=2, size=(N, 3))
NUMBERS = np.random.default_rng(1).normal(scale=2, size=(N, 3))
LABELS = np.array([0, 2, 1, 1, 0, 2])
ROWS = np.random.default_rng(2).dirichlet([1, 1, 1], N)
BINARY = np.array([[0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1], [1, 0, 1], [0, 1, 0]])

# name -> targets that go with OUTPUTS
TARGETS = {
    "binary_cross_entropy": BINARY,
    "cross_entropy": LABELS,
    "hinge": BINARY,
    "huber": NUMBERS,
    "kl_divergence": ROWS,
    "mean_absolute_error": NUMBERS,
    "mean_squared_error": NUMBERS,
    "squared_error": NUMBERS,
}
CASES = {
    **{name: (losses.LOSSES[name], targets) for name, targets in TARGETS.items()},
    "cross_entropy of rows": (losses.cross_entropy, ROWS),
    "binary_cross_entropy of probabilities": (losses.binary_cross_entropy, ROWS),
    "hinge of signs": (losses.hinge, 2 * BINARY - 1),
    "huber 0.3": (functools.partial(losses.huber, delta=0.3), NUMBERS),
}


def numeric_gradient(f, x, step=1e-6):
    """Central differences, element by element."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (f(up) - f(down)) / (2 * step)
    return gradient


def test_every_loss_is_tried():
    assert set(TARGETS) == set(losses.LOSSES)
    assert all(losses.LOSSES[name].__name__ == name for name in losses.LOSSES)


# Values, by other libraries


def test_squared_errors_are_those_of_scikit_learn():
    from sklearn.metrics import mean_absolute_error, mean_squared_error

    columns = {"y_true": NUMBERS.T, "y_pred": OUTPUTS.T, "multioutput": "raw_values"}
    mse = mean_squared_error(**columns)
    np.testing.assert_allclose(losses.mean_squared_error(OUTPUTS, NUMBERS), mse, rtol=1e-12)
    np.testing.assert_allclose(losses.squared_error(OUTPUTS, NUMBERS), 1.5 * mse, rtol=1e-12)
    mae = mean_absolute_error(**columns)
    np.testing.assert_allclose(losses.mean_absolute_error(OUTPUTS, NUMBERS), mae, rtol=1e-12)


@pytest.mark.parametrize("delta", [0.3, 1.0, 2.5])
def test_huber_is_that_of_scipy(delta):
    from scipy.special import huber

    expected = huber(delta, OUTPUTS - NUMBERS).sum(axis=1)
    np.testing.assert_allclose(losses.huber(OUTPUTS, NUMBERS, delta), expected, rtol=1e-12)


def test_cross_entropy_is_that_of_scipy_and_scikit_learn():
    from scipy.special import log_softmax, softmax
    from sklearn.metrics import log_loss

    values = losses.cross_entropy(OUTPUTS, LABELS)
    expected = -log_softmax(OUTPUTS, axis=1)[np.arange(N), LABELS]
    np.testing.assert_allclose(values, expected, rtol=1e-12)
    np.testing.assert_allclose(values.mean(), log_loss(LABELS, softmax(OUTPUTS, axis=1)))
    expected = -(ROWS * log_softmax(OUTPUTS, axis=1)).sum(axis=1)
    np.testing.assert_allclose(losses.cross_entropy(OUTPUTS, ROWS), expected, rtol=1e-12)


def test_labels_and_one_hot_rows_are_the_same():
    rows = np.eye(3)[LABELS]
    expected = losses.cross_entropy(OUTPUTS, LABELS)
    for dtype in (float, np.float32, int, bool):
        np.testing.assert_array_equal(losses.cross_entropy(OUTPUTS, rows.astype(dtype)), expected)
    for dtype in (np.int8, np.uint8, np.int64):
        np.testing.assert_array_equal(losses.cross_entropy(OUTPUTS, LABELS.astype(dtype)), expected)


def test_binary_cross_entropy_is_that_of_scikit_learn():
    from scipy.special import expit
    from sklearn.metrics import log_loss

    values = losses.binary_cross_entropy(OUTPUTS, BINARY)
    per_output = [log_loss(BINARY[:, k], expit(OUTPUTS[:, k])) for k in range(3)]
    np.testing.assert_allclose(values.mean(), sum(per_output), rtol=1e-12)
    column = losses.binary_cross_entropy(OUTPUTS[:, :1], BINARY[:, 0])
    np.testing.assert_allclose(column.mean(), per_output[0], rtol=1e-12)


def test_hinge_is_that_of_scikit_learn():
    from sklearn.metrics import hinge_loss

    for column in range(3):
        values = losses.hinge(OUTPUTS[:, column], BINARY[:, column])
        expected = hinge_loss(BINARY[:, column], OUTPUTS[:, column])
        assert values.mean() == pytest.approx(expected, rel=1e-12)


def test_kl_divergence_is_that_of_scipy():
    from scipy.special import log_softmax, rel_entr, softmax

    rows = ROWS.copy()
    rows[0] = [0, 0.25, 0.75]
    rows[1] = [0, 1, 0]
    expected = rel_entr(rows, softmax(OUTPUTS, axis=1)).sum(axis=1)
    np.testing.assert_allclose(losses.kl_divergence(OUTPUTS, rows), expected, rtol=1e-10)
    by_logarithms = losses.kl_divergence(log_softmax(OUTPUTS, axis=1), rows)
    np.testing.assert_allclose(by_logarithms, expected, rtol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_logits_give_finite_losses(dtype):
    outputs = np.array([[-1e4, 1e4], [1e4, -1e4]], dtype)
    expected = [2e4, 2e4]
    np.testing.assert_array_equal(losses.cross_entropy(outputs, np.array([0, 1])), expected)
    np.testing.assert_array_equal(losses.binary_cross_entropy(outputs, np.eye(2)), expected)
    np.testing.assert_array_equal(losses.kl_divergence(outputs, np.eye(2)), expected)


# What holds for every loss


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_finite_differences(name):
    loss, targets = CASES[name]
    weights = np.random.default_rng(5).normal(size=N)

    def total(outputs):
        return (loss(outputs, targets) * weights).sum()

    expected = numeric_gradient(total, OUTPUTS)
    np.testing.assert_allclose(cr.grad(total)(OUTPUTS), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives(name):
    loss, targets = CASES[name]
    check_grads(lambda outputs: loss(outputs, targets), OUTPUTS, order=2)


@pytest.mark.parametrize("name", CASES)
def test_there_is_one_value_per_sample_and_it_is_that_sample_s(name):
    loss, targets = CASES[name]
    together = loss(OUTPUTS, targets)
    assert together.shape == (N,)
    for n in range(N):
        alone = loss(OUTPUTS[n : n + 1], targets[n : n + 1])
        np.testing.assert_allclose(alone, together[n : n + 1], rtol=1e-12)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_of_the_outputs_decides(name, dtype):
    loss, targets = CASES[name]
    outputs = OUTPUTS.astype(dtype)
    assert loss(outputs, targets).dtype == dtype
    assert cr.grad(lambda outputs: loss(outputs, targets).mean())(outputs).dtype == dtype


@pytest.mark.parametrize("name", CASES)
def test_targets_may_be_tensors(name):
    loss, targets = CASES[name]
    recorded = loss(cr.parameter(OUTPUTS), cr.Tensor(targets))
    np.testing.assert_allclose(recorded.value, loss(OUTPUTS, targets), rtol=1e-13)


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"cross_entropy", "kl_divergence"}))
def test_a_column_of_outputs_takes_a_row_of_targets(name):
    loss, targets = losses.LOSSES[name], TARGETS[name][:, 0]
    expected = loss(OUTPUTS[:, :1], targets[:, None])
    np.testing.assert_array_equal(loss(OUTPUTS[:, :1], targets), expected)
    np.testing.assert_array_equal(loss(OUTPUTS[:, 0], targets), expected)


@pytest.mark.parametrize("name", ["squared_error", "mean_squared_error", "huber"])
def test_outputs_may_have_many_axes(name):
    loss = losses.LOSSES[name]
    outputs, targets = OUTPUTS.reshape(2, 3, 3), NUMBERS.reshape(2, 3, 3)
    expected = loss(OUTPUTS.reshape(2, 9), NUMBERS.reshape(2, 9))
    np.testing.assert_allclose(loss(outputs, targets), expected, rtol=1e-12)


@given(data=st.data())
def test_nothing_is_broadcast(data):
    shapes = st.lists(st.integers(1, 3), min_size=1, max_size=3).map(tuple)
    outputs, targets = data.draw(shapes), data.draw(shapes)
    name = data.draw(st.sampled_from(sorted(set(TARGETS) - {"cross_entropy"})))
    loss = losses.LOSSES[name]
    if outputs in (targets, (*targets, 1)):
        return
    with pytest.raises(ValueError, match=rf"{name} got outputs of shape .* targets of shape"):
        loss(np.ones(outputs), np.ones(targets))


@pytest.mark.parametrize("name", sorted(set(TARGETS) - {"cross_entropy"}))
@pytest.mark.parametrize(
    ("outputs", "targets", "fix"),
    [
        ((5,), (5, 1), r"targets\.ravel\(\)"),
        ((5, 3), (4, 3), "one target per sample"),
        ((5, 3), (5, 2), "one target per output"),
        ((5, 3), (5,), "a last layer with 1 unit"),
        ((5, 3), (), "one target per sample"),
    ],
)
def test_shapes_that_differ_are_named(name, outputs, targets, fix):
    message = f"{name} got outputs of shape {outputs} and targets of shape {targets}: "
    with pytest.raises(ValueError, match=re.escape(message) + f".*{fix}"):
        losses.LOSSES[name](np.ones(outputs), np.ones(targets))


def test_cross_entropy_says_what_it_takes():
    labels = np.zeros(5, int)
    with pytest.raises(
        ValueError, match=r"outputs \(N, n_classes\).*\(5, 1\).*binary_cross_entropy"
    ):
        losses.cross_entropy(np.ones((5, 1)), labels)
    with pytest.raises(
        ValueError, match=r"\(5, 3\) and targets of shape \(5, 1\).*ravel\(\) for l"
    ):
        losses.cross_entropy(np.ones((5, 3)), labels[:, None])
    with pytest.raises(ValueError, match=r"\(5, 3\) and targets of shape \(4,\).*per sample"):
        losses.cross_entropy(np.ones((5, 3)), labels[:4])
    with pytest.raises(TypeError, match=r"integer labels \(N,\).*float64 of shape \(5,\).*astype"):
        losses.cross_entropy(np.ones((5, 3)), labels.astype(float))


# Names


@pytest.mark.parametrize("name", losses.LOSSES)
def test_names_stand_for_losses_and_functions_for_themselves(name):
    assert nn.get_loss(name) is losses.LOSSES[name]
    assert nn.get_loss(losses.LOSSES[name]) is losses.LOSSES[name]


def test_a_misspelled_loss_gets_the_nearest():
    with pytest.raises(ValueError, match=r"'cros_entropy': did you mean 'cross_entropy'\?.*hinge"):
        nn.get_loss("cros_entropy")
    with pytest.raises(ValueError, match="the names are binary_cross_entropy, "):
        nn.get_loss(None)


# The values of targets


@pytest.mark.parametrize("name", CASES)
def test_right_targets_come_back_as_they_are(name):
    loss, targets = CASES[name]
    np.testing.assert_array_equal(losses.check_targets(loss, (N, 3), targets), targets)


def test_targets_come_back_as_the_loss_takes_them():
    checked = losses.check_targets("cross_entropy", (3, 2), [0.0, 1.0, 1.0])
    assert checked.dtype == np.int64
    assert losses.check_targets("cross_entropy", (2, 2), [True, False]).dtype == np.int64
    assert losses.check_targets("squared_error", (3, 1), [1, 2, 3]).shape == (3, 1)
    labels = LABELS.astype(np.uint8)
    assert losses.check_targets("cross_entropy", (N, 3), labels) is labels


@pytest.mark.parametrize(
    ("loss", "shape", "targets", "message"),
    [
        (
            "cross_entropy",
            (3, 2),
            [0, 1, 2],
            r"label 2 is out of range.* 2 outputs.*0 to 1.*3 unit",
        ),
        ("cross_entropy", (3, 2), [1, 2, 1], r"label 2 is out of range.*start at 1: subtract 1"),
        ("cross_entropy", (3, 2), [0, -1, 1], r"label -1 is out of range.*start at 0"),
        ("cross_entropy", (2, 2), [0.0, 0.5], r"integer labels.*contain 0\.5.*mean_squared_error"),
        ("cross_entropy", (2, 2), [[0.5, 0.6], [1, 0]], r"row 0 of the targets adds up to 1\.1"),
        ("cross_entropy", (2, 2), [[0, 1], [1, 1]], r"row 1 of the targets adds up to 2: divide"),
        ("cross_entropy", (2, 2), [[0, 1], [2, -1]], r"targets from 0 to 1 but they contain 2"),
        ("cross_entropy", (2, 1), [0, 1], r"at least 2 classes but got \(2, 1\)"),
        ("cross_entropy", (2, 3), [[0], [1]], r"targets of shape \(2, 1\): use targets\.ravel"),
        ("kl_divergence", (2, 2), [[1, 0], [0.2, 0.2]], r"row 1 of the targets adds up to 0\.4"),
        ("kl_divergence", (2, 1), [[1], [1]], r"at least 2 classes"),
        ("binary_cross_entropy", (2, 1), [0, 2], r"from 0 to 1 but they contain 2"),
        ("binary_cross_entropy", (2, 1), [-1, 1], r"contain -1; map labels -1 and \+1 to 0 and 1"),
        ("hinge", (3, 1), [-1, 0, 1], r"0 and 1, or -1 and \+1, but the targets hold -1, 0, 1"),
        ("hinge", (2, 1), [0.5, 1], r"0 and 1, or -1 and \+1, but the targets hold 0\.5, 1"),
        ("squared_error", (2, 1), [1, np.nan], r"NaN or infinity, first in sample 1"),
        ("squared_error", (2, 1), [np.inf, 1], r"NaN or infinity, first in sample 0"),
        ("squared_error", (2, 2), [1, 2], r"outputs of shape \(2, 2\) and targets of shape \(2,\)"),
        ("squared_error", (3, 1), [1, 2], r"outputs have shape \(3, 1\) but the targets \(2,\)"),
        ("squared_error", (3, 1), 1.0, r"outputs have shape \(3, 1\) but the targets \(\)"),
        ("squared_error", (0, 1), [], r"the targets are empty, shape \(0,\)"),
    ],
)
def test_wrong_targets_are_refused(loss, shape, targets, message):
    with pytest.raises(ValueError, match=message):
        losses.check_targets(loss, shape, targets)


def test_targets_are_numbers():
    with pytest.raises(TypeError, match=r"dtype <U3: numbers are wanted.*np\.unique"):
        losses.check_targets("cross_entropy", (2, 2), ["cat", "dog"])


def test_the_delta_of_a_partial_does_not_hide_the_loss():
    with pytest.raises(ValueError, match=r"huber got outputs of shape \(2, 2\)"):
        losses.check_targets(functools.partial(losses.huber, delta=2.0), (2, 2), [1, 2])


def test_a_loss_of_your_own_decides_about_its_targets():
    def own(outputs, targets):
        return outputs[:, 0] * targets

    for targets in (["a"], [np.nan], [], [1, 2]):
        with pytest.raises((TypeError, ValueError)):
            losses.check_targets(own, (1, 3), targets)
    np.testing.assert_array_equal(losses.check_targets(own, (1, 3), [-7]), [-7])


@pytest.mark.parametrize(
    ("loss", "layer"),
    [
        ("cross_entropy", nn.Softmax()),
        ("kl_divergence", nn.Softmax()),
        ("binary_cross_entropy", nn.Sigmoid()),
    ],
)
def test_an_activation_that_the_loss_contains_is_refused(loss, layer):
    layer.name = "last"
    with pytest.raises(ValueError, match=rf"{loss} takes logits.*last layer, last,.*twice: leave"):
        losses.check_output_layer(loss, layer)
    losses.check_output_layer(loss, nn.Dense(2))
    losses.check_output_layer("squared_error", layer)
    losses.check_output_layer(lambda outputs, targets: outputs, layer)


# Penalties

ARRAYS = {
    "dense_1.weight": np.array([[1.0, -2.0], [3.0, 0.5]]),
    "dense_1.bias": np.array([4.0, -5.0]),
    "dense_2.weight": np.array([[-1.0]]),
}


def test_penalties_leave_biases_out_unless_told_otherwise():
    assert nn.L1(0.1)(ARRAYS) == pytest.approx(0.1 * 7.5)
    assert nn.L1(0.1, biases=True)(ARRAYS) == pytest.approx(0.1 * 16.5)
    assert nn.L2(0.1)(ARRAYS) == pytest.approx(0.05 * 15.25)
    assert nn.L2(0.1, biases=True)(ARRAYS) == pytest.approx(0.05 * 56.25)


@pytest.mark.parametrize("biases", [False, True])
def test_gradients_of_penalties(biases):
    l1 = cr.grad(nn.L1(0.1, biases=biases))(ARRAYS)
    l2 = cr.grad(nn.L2(0.1, biases=biases))(ARRAYS)
    for name, array in ARRAYS.items():
        strength = 0.1 if biases or not name.endswith("bias") else 0.0
        np.testing.assert_allclose(l1[name], strength * np.sign(array))
        np.testing.assert_allclose(l2[name], strength * array)


def test_penalties_keep_float32_and_take_the_parameters_of_a_network():
    net = nn.Network([nn.Dense(3)], input_shape=2)
    for penalty in (nn.L1(0.1), nn.L2(0.1)):
        value = penalty(net.parameters)
        assert value.dtype == np.float32
        assert value > 0
        gradient = cr.grad(penalty)(dict(net.parameters))
        assert gradient["dense_1.weight"].dtype == np.float32


def test_a_penalty_on_nothing_is_zero():
    assert nn.L2(0.1)({"dense_1.bias": np.ones(3)}) == 0


@pytest.mark.parametrize("strength", [-0.1, np.nan, np.inf])
@pytest.mark.parametrize("penalty", [nn.L1, nn.L2])
def test_strengths_are_not_negative(penalty, strength):
    with pytest.raises(ValueError, match=rf"{penalty.__name__} needs a finite strength >= 0"):
        penalty(strength)
