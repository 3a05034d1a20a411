"""Metrics against scikit-learn's, and how they are chosen by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.nn import losses
from chainrule.training import metrics
from chainrule.training.metrics import METRICS, get_metrics

reference = pytest.importorskip("sklearn.metrics")

SEEDS = st.integers(0, 2**32 - 1)


def draw(seed, n_outputs):
    rng = np.random.default_rng(seed)
    n_samples = int(rng.integers(2, 30))
    weight = rng.uniform(0.1, 2.0, n_samples) if rng.random() < 0.5 else None
    return rng.normal(size=(2, n_samples, n_outputs)), weight


@given(seed=SEEDS, n_outputs=st.integers(1, 3))
def test_regression_metrics_are_those_of_scikit_learn(seed, n_outputs):
    (outputs, targets), weight = draw(seed, n_outputs)
    for name, function in [
        ("mse", reference.mean_squared_error),
        ("mae", reference.mean_absolute_error),
        ("r2", reference.r2_score),
    ]:
        expected = function(targets, outputs, sample_weight=weight)
        assert METRICS[name](outputs, targets, weight) == pytest.approx(expected, rel=1e-9)
    mse = reference.mean_squared_error(targets, outputs, sample_weight=weight)
    assert metrics.root_mean_squared_error(outputs, targets, weight) == pytest.approx(np.sqrt(mse))


@given(seed=SEEDS, n_classes=st.integers(2, 5))
def test_accuracy_is_that_of_scikit_learn_for_labels_and_one_hot(seed, n_classes):
    (outputs, other), weight = draw(seed, n_classes)
    labels = other.argmax(axis=1)
    expected = reference.accuracy_score(labels, outputs.argmax(axis=1), sample_weight=weight)
    for targets in (labels, np.eye(n_classes)[labels]):
        assert metrics.accuracy(outputs, targets, weight) == pytest.approx(expected)


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("low", [0, -1])
def test_binary_accuracy_counts_decisions(n_outputs, low):
    rng = np.random.default_rng(0)
    outputs, yes = rng.normal(size=(40, n_outputs)), rng.random((40, n_outputs)) < 0.5
    targets = np.where(yes, 1, low)
    expected = np.mean((outputs > 0.25) == yes)
    assert metrics.binary_accuracy(outputs, targets, threshold=0.25) == pytest.approx(expected)
    if n_outputs == 1:
        assert metrics.accuracy(outputs, targets) == metrics.binary_accuracy(outputs, targets)


def test_r2_of_targets_that_do_not_vary():
    assert metrics.r2([2.0, 2.0], [2.0, 2.0]) == 1.0
    assert metrics.r2([2.0, 3.0], [2.0, 2.0]) == 0.0


@pytest.mark.parametrize("name", ["mse", "mae", "rmse", "r2", "binary_accuracy"])
def test_a_column_against_a_row_is_never_broadcast(name):
    column = np.arange(3.0)[:, None]
    assert METRICS[name](column, np.arange(3.0)) == METRICS[name](np.arange(3.0), np.arange(3.0))
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(4,\).*one target per output"):
        METRICS[name](column, np.arange(4.0))


def test_accuracy_refuses_other_lengths():
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(4,\)"):
        metrics.accuracy(np.zeros((3, 2)), np.zeros(4))


def test_accuracy_decides_logits_at_zero():
    outputs, targets = np.array([[0.2], [-0.2]]), np.array([[1.0], [0.0]])
    of_logits = get_metrics(None, losses.binary_cross_entropy)
    of_probabilities = get_metrics(["accuracy"], losses.squared_error)
    assert of_logits["accuracy"](outputs, targets, None) == 1.0
    assert of_probabilities["accuracy"](outputs, targets, None) == 0.5


def test_metrics_by_name_function_and_dict():
    def largest(outputs, targets):
        return np.max(outputs)

    def weighted(outputs, targets, sample_weight):
        return np.sum(sample_weight)

    found = get_metrics(["mae", largest], losses.squared_error)
    assert list(found) == ["mae", "largest"]
    weight = np.ones(2)
    assert found["largest"](np.array([1.0, 5.0]), np.zeros(2), weight) == 5.0
    assert get_metrics("r2", losses.squared_error).keys() == {"r2"}
    named = get_metrics({"total": weighted}, losses.squared_error)
    assert named["total"](np.zeros(2), np.zeros(2), weight) == 2.0
    assert get_metrics(None, losses.squared_error) == {}
    with pytest.raises(ValueError, match="did you mean 'accuracy'"):
        get_metrics(["acuracy"], losses.squared_error)
    with pytest.raises(TypeError, match="name or a function"):
        get_metrics([1.5], losses.squared_error)
