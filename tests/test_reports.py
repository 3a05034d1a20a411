"""Reports against scores counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.training.reports import classification_report, regression_report

pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40)


@given(pairs)
def test_scores_of_classes_are_counts(samples):
    true, predicted = np.array(samples).T
    names = ["a", "b", "c", "d"]
    report = classification_report(true, predicted, names)
    for c, scores in enumerate(report.classes):
        both = np.sum((true == c) & (predicted == c))
        n_true, n_predicted = np.sum(true == c), np.sum(predicted == c)
        precision = both / n_predicted if n_predicted else 0.0
        recall = both / n_true if n_true else 0.0
        f1 = 2 * both / (n_true + n_predicted) if n_true + n_predicted else 0.0
        assert (scores.name, scores.support) == (names[c], n_true)
        np.testing.assert_allclose(
            [scores.precision, scores.recall, scores.f1], [precision, recall, f1]
        )
        for other in range(4):
            assert report.confusion[c, other] == np.sum((true == c) & (predicted == other))
    assert report.accuracy == pytest.approx(np.mean(true == predicted))
    assert report.mean.f1 == pytest.approx(np.mean([scores.f1 for scores in report.classes]))
    assert report.mean.support == len(true)


@given(pairs)
def test_the_means_are_those_of_scikit_learn(samples):
    from sklearn import metrics

    true, predicted = np.array(samples).T
    names = ["a", "b", "c", "d"]
    report = classification_report(true, predicted, names)
    theirs = metrics.classification_report(
        true, predicted, labels=range(4), target_names=names, output_dict=True, zero_division=0.0
    )
    for ours, name in ((report.mean, "macro avg"), (report.weighted_mean, "weighted avg")):
        found = [ours.precision, ours.recall, ours.f1, ours.support]
        expected = [theirs[name][k] for k in ("precision", "recall", "f1-score", "support")]
        np.testing.assert_allclose(found, expected)
    assert report.as_dict()["weighted_mean"]["f1"] == report.weighted_mean.f1


def test_the_table_has_a_row_for_each_mean():
    lines = str(classification_report([0, 0, 0, 1], [0, 0, 1, 1])).splitlines()
    assert lines[-3].split() == ["mean", "0.750", "0.833", "0.733", "4"]
    assert lines[-2].split() == ["weighted", "mean", "0.875", "0.750", "0.767", "4"]


def test_the_accuracy_of_each_class():
    report = classification_report([0, 0, 0, 1], [0, 0, 1, 1], ["a", "b", "c"])
    assert report.class_accuracies == pytest.approx(
        {"a": 2 / 3, "b": 1.0, "c": np.nan}, nan_ok=True
    )


@given(st.lists(st.tuples(st.floats(-100, 100), st.floats(-100, 100)), min_size=2, max_size=20))
def test_regression_measures_are_their_formulas(samples):
    true, predicted = np.array(samples).T
    report = regression_report(true.reshape(-1, 1), predicted)
    assert report.rmse == pytest.approx(np.sqrt(np.mean((true - predicted) ** 2)))
    assert report.mae == pytest.approx(np.mean(np.abs(true - predicted)))
    spread = np.sum((true - true.mean()) ** 2)
    if spread > 1e-6:
        assert report.r2 == pytest.approx(1 - np.sum((true - predicted) ** 2) / spread)
    assert report.as_dict() == {
        "rmse": report.rmse,
        "mae": report.mae,
        "r2": report.r2,
        "support": len(true),
    }


def test_as_dict_is_plain():
    report = classification_report([0, 1, 1], [0, 1, 0]).as_dict()
    assert report["confusion_matrix"] == [[1, 0], [1, 1]]
    assert [scores["name"] for scores in report["classes"]] == ["0", "1"]
    assert type(report["classes"][0]["support"]) is int
    assert type(report["accuracy"]) is float


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="3 true values but 2 predicted"):
        classification_report([0, 1, 1], [0, 1])
    with pytest.raises(ValueError, match="0 true values"):
        regression_report([], [])
    with pytest.raises(ValueError, match="classes up to 2, but 2 class names"):
        classification_report([0, 2], [0, 1], ["a", "b"])


@pytest.mark.parametrize(
    ("true", "error", "message"),
    [
        ([0.5, 1.0], TypeError, "true classes are float64: give integers"),
        (["a", "b"], TypeError, "true classes are <U1"),
        ([-1, 1], ValueError, "true classes go down to -1: count them from 0"),
        ([[0, 1], [1, 0]], ValueError, r"not \(2, 2\)"),
        (1, ValueError, r"not \(\)"),
    ],
)
def test_what_is_no_class_is_refused(true, error, message):
    with pytest.raises(error, match=message):
        classification_report(true, [0, 1])


@pytest.mark.parametrize(
    ("true", "error", "message"),
    [
        ([np.nan, 1.0], ValueError, "true values hold NaN or infinity"),
        ([1j, 1.0], TypeError, "true values are complex128"),
        (["a", "b"], TypeError, "true values are <U1"),
        ([[1.0, 2.0]], ValueError, r"not \(1, 2\)"),
    ],
)
def test_what_is_no_value_is_refused(true, error, message):
    with pytest.raises(error, match=message):
        regression_report(true, [1.0, 2.0])


def test_a_single_value_has_no_r2():
    report = regression_report([1.0], [2.0])
    assert (report.rmse, report.support) == (1.0, 1)
    assert np.isnan(report.r2)
