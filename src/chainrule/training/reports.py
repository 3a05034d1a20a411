"""How good a trained network is, in numbers: reports on classes and on continuous targets.

The measures are scikit-learn's. A report prints as a plain table, and `as_dict` is its JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.extras import missing_extra

__all__ = [
    "ClassScores",
    "ClassificationReport",
    "RegressionReport",
    "classification_report",
    "regression_report",
]


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and f1 of one class, and how many samples truly are of it."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class ClassificationReport:
    """The scores of each class, their means, and the confusion matrix (true, predicted).

    In `mean` all classes count the same, in `weighted_mean` each as often as it occurs.
    """

    accuracy: float
    classes: tuple[ClassScores, ...]
    mean: ClassScores
    weighted_mean: ClassScores
    confusion: npt.NDArray[np.int64]

    @property
    def class_accuracies(self) -> dict[str, float]:
        """Of each class, the share of its samples that are predicted right; NaN where it has none.

        This is its recall.
        """
        return {s.name: s.recall if s.support else float("nan") for s in self.classes}

    def as_dict(self) -> dict[str, Any]:
        """The report as plain numbers, lists and dicts, as JSON wants it."""
        return {
            "accuracy": self.accuracy,
            "classes": [vars(scores) for scores in self.classes],
            "mean": vars(self.mean),
            "weighted_mean": vars(self.weighted_mean),
            "confusion_matrix": self.confusion.tolist(),
        }

    def __str__(self) -> str:
        rows = (*self.classes, self.mean, self.weighted_mean)
        width = max(len(scores.name) for scores in rows)
        lines = [f"{'':{width}}  precision  recall     f1  support"]
        lines += [
            f"{s.name:{width}}  {s.precision:9.3f}  {s.recall:6.3f}  {s.f1:5.3f}  {s.support:7d}"
            for s in rows
        ]
        return "\n".join([*lines, f"accuracy {self.accuracy:.4f}"])


@dataclass(frozen=True)
class RegressionReport:
    """Root mean squared and mean absolute error in the unit of the target, and R²."""

    rmse: float
    mae: float
    r2: float
    support: int

    def as_dict(self) -> dict[str, Any]:
        """The report as plain numbers, as JSON wants it."""
        return dict(vars(self))

    def __str__(self) -> str:
        return f"RMSE {self.rmse:.4g}   MAE {self.mae:.4g}   R² {self.r2:.4f}"


def classification_report(
    true: npt.ArrayLike, predicted: npt.ArrayLike, class_names: Sequence[str] | None = None
) -> ClassificationReport:
    """Compare predicted with true classes, both integers (n_samples,).

    A class that was never predicted has precision 0. Raises ValueError for different lengths and
    negative classes, TypeError for what is no integer.

    >>> print(classification_report([0, 0, 1, 1], [0, 1, 1, 1], ["cat", "dog"]))
                   precision  recall     f1  support
    cat                1.000   0.500  0.667        2
    dog                0.667   1.000  0.800        2
    mean               0.833   0.750  0.733        4
    weighted mean      0.833   0.750  0.733        4
    accuracy 0.7500
    """
    metrics = _sklearn_metrics()
    actual, guess = _pair(true, predicted)
    for name, values in (("true", actual), ("predicted", guess)):
        if values.dtype.kind not in "iu":
            raise TypeError(f"{name} classes are {values.dtype}: give integers, counted from 0")
        if values.min() < 0:
            raise ValueError(f"{name} classes go down to {values.min()}: count them from 0")
    n_classes = 1 + int(max(actual.max(), guess.max()))
    names = list(class_names) if class_names is not None else [str(c) for c in range(n_classes)]
    if len(names) < n_classes:
        raise ValueError(f"there are classes up to {n_classes - 1}, but {len(names)} class names")
    labels = np.arange(len(names))
    scores = metrics.precision_recall_fscore_support(
        actual, guess, labels=labels, zero_division=0.0
    )
    classes = tuple(
        ClassScores(name, float(p), float(r), float(f), int(n))
        for name, p, r, f, n in zip(names, *scores, strict=True)
    )
    n_samples = len(actual)

    def averaged(name: str, weights: Any) -> ClassScores:
        precision, recall, f1 = (float(np.average(c, weights=weights)) for c in scores[:3])
        return ClassScores(name, precision, recall, f1, n_samples)

    return ClassificationReport(
        accuracy=float(np.mean(actual == guess)),
        classes=classes,
        mean=averaged("mean", None),
        weighted_mean=averaged("weighted mean", scores[3]),
        confusion=metrics.confusion_matrix(actual, guess, labels=labels),
    )


def regression_report(true: npt.ArrayLike, predicted: npt.ArrayLike) -> RegressionReport:
    """Compare predicted with true values, (n_samples,) or (n_samples, 1) each.

    R² is NaN of a single sample. Raises ValueError for different lengths, other shapes, NaN and
    infinity; TypeError for what is no real number.

    >>> print(regression_report([1.0, 2.0, 3.0], [1.0, 2.0, 4.0]))
    RMSE 0.5774   MAE 0.3333   R² 0.5000
    """
    metrics = _sklearn_metrics()
    actual, guess = _pair(true, predicted)
    for name, values in (("true", actual), ("predicted", guess)):
        if values.dtype.kind not in "biuf":
            raise TypeError(f"{name} values are {values.dtype}: give real numbers")
        if not np.isfinite(values).all():
            raise ValueError(f"{name} values hold NaN or infinity: there is no error to report")
    return RegressionReport(
        rmse=float(metrics.root_mean_squared_error(actual, guess)),
        mae=float(metrics.mean_absolute_error(actual, guess)),
        r2=float(metrics.r2_score(actual, guess)) if len(actual) > 1 else float("nan"),
        support=len(actual),
    )


def _pair(true: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[Any, Any]:
    actual, guess = np.asarray(true), np.asarray(predicted)
    for array in (actual, guess):
        if array.ndim not in (1, 2) or array.shape[1:] not in ((), (1,)):
            raise ValueError(f"one value a sample is compared, (n_samples,), not {array.shape}")
    actual, guess = actual.reshape(-1), guess.reshape(-1)
    if len(actual) != len(guess) or not len(actual):
        raise ValueError(f"{len(actual)} true values but {len(guess)} predicted ones")
    return actual, guess


def _sklearn_metrics() -> Any:
    try:
        from sklearn import metrics
    except ImportError as missing:
        raise missing_extra("reports need scikit-learn", "data") from missing
    return metrics
