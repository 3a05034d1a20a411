"""Metrics: the numbers `fit` and `evaluate` report beside the loss.

A metric is any function `metric(outputs, targets) -> float`. It sees all samples of an epoch or an
evaluation at once, so it need not be an average over batches. A metric that has a parameter
`sample_weight` is given the weights of the samples where there are any, as ours are.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.names import look_up
from chainrule.training.losses import LossLike, get_loss

__all__ = [
    "METRICS",
    "Metric",
    "Metrics",
    "accuracy",
    "binary_accuracy",
    "get_metrics",
    "mean_absolute_error",
    "mean_squared_error",
    "r2",
    "root_mean_squared_error",
]

Metric: TypeAlias = Callable[..., float]
Metrics: TypeAlias = str | Metric | Iterable[str | Metric] | Mapping[str, str | Metric] | None
Weights: TypeAlias = npt.NDArray[Any] | None


def accuracy(outputs: Any, targets: Any, sample_weight: Weights = None) -> float:
    """The share of samples whose class is right; the class is the column of the largest output.

    `outputs` (N, C); `targets` integer labels (N,) or one-hot (N, C). A single output, (N, 1) or
    (N,), is taken as a probability or score of the second class, and decided at 0.5.

    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
    0.5
    """
    outputs, targets = np.asarray(outputs), np.asarray(targets)
    if outputs.ndim < 2 or outputs.shape[-1] == 1:
        return binary_accuracy(outputs, targets, sample_weight, threshold=0.5)
    classes = targets.argmax(axis=-1) if targets.shape == outputs.shape else targets
    found = outputs.argmax(axis=-1)
    if classes.size != found.size:
        raise ValueError(_unequal("accuracy", outputs, targets))
    return _mean(found == classes.reshape(found.shape), sample_weight)


def binary_accuracy(
    outputs: Any, targets: Any, sample_weight: Weights = None, threshold: float = 0.5
) -> float:
    """The share of yes-or-no decisions that are right: is the output above the threshold or not.

    `outputs` (N,), (N, 1) or (N, K) with K independent decisions; `targets` of as many numbers,
    0/1 or -1/+1. For outputs that are logits the threshold is 0.

    >>> binary_accuracy([0.2, 0.7, 0.9], [0, 1, 0]) == 2 / 3
    True
    """
    outputs, targets = _aligned("binary_accuracy", outputs, targets)
    return _mean((outputs > threshold) == (targets > 0.5), sample_weight)


def mean_squared_error(outputs: Any, targets: Any, sample_weight: Weights = None) -> float:
    """The mean over samples and outputs of (outputs - targets)²; both of shape (N,) or (N, K).

    >>> mean_squared_error([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    outputs, targets = _aligned("mean_squared_error", outputs, targets)
    return _mean(np.square(outputs - targets), sample_weight)


def root_mean_squared_error(outputs: Any, targets: Any, sample_weight: Weights = None) -> float:
    """The square root of `mean_squared_error`, in the unit of the targets.

    >>> root_mean_squared_error([1.0, 2.0], [3.0, 4.0])
    2.0
    """
    return float(np.sqrt(mean_squared_error(outputs, targets, sample_weight)))


def mean_absolute_error(outputs: Any, targets: Any, sample_weight: Weights = None) -> float:
    """The mean over samples and outputs of |outputs - targets|; both of shape (N,) or (N, K).

    >>> mean_absolute_error([1.0, 2.0], [1.0, 4.0])
    1.0
    """
    outputs, targets = _aligned("mean_absolute_error", outputs, targets)
    return _mean(np.abs(outputs - targets), sample_weight)


def r2(outputs: Any, targets: Any, sample_weight: Weights = None) -> float:
    """The coefficient of determination, averaged over outputs: 1 is perfect, 0 the targets' mean.

    1 - sum (targets - outputs)² / sum (targets - mean of targets)², both of shape (N,) or (N, K).
    Where the targets do not vary it is 1 for perfect outputs, else 0.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    1.0
    """
    outputs, targets = _aligned("r2", outputs, targets)
    n_samples = outputs.shape[0]
    outputs, targets = outputs.reshape(n_samples, -1), targets.reshape(n_samples, -1)
    mean = np.average(targets, axis=0, weights=sample_weight)
    residual = np.average(np.square(targets - outputs), axis=0, weights=sample_weight)
    spread = np.average(np.square(targets - mean), axis=0, weights=sample_weight)
    explained = 1.0 - residual / np.where(spread > 0, spread, 1.0)
    return float(np.mean(np.where(spread > 0, explained, residual == 0)))


METRICS: dict[str, Metric] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "mae": mean_absolute_error,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "r2": r2,
    "rmse": root_mean_squared_error,
    "root_mean_squared_error": root_mean_squared_error,
}
"""The metrics by the names that `metrics=` takes."""

_TAKEN_NAMES = ("loss", "learning_rate")  # of other columns of the history


def get_metrics(metrics: Metrics, loss: LossLike) -> dict[str, Metric]:
    """The metrics by the names they are reported under, functions of `(outputs, targets, weight)`.

    `metrics` are names, functions (reported under their own names) or a dict of functions; None
    means accuracy where the loss is one for classes, and nothing elsewhere. "accuracy" decides at 0
    where the loss takes logits of yes-or-no decisions (binary cross-entropy, hinge).
    Raises ValueError for an unknown name, giving the nearest, for one that the history has for
    something else, and for two of one name; TypeError for what is no metric.
    """
    loss = get_loss(loss)
    if metrics is None:
        metrics = ("accuracy",) if loss.kind in ("classes", "binary") else ()
    elif isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    if not isinstance(metrics, Iterable):
        raise TypeError(
            f"metrics is a {type(metrics).__name__}: give names, functions of (outputs, targets), "
            "or a dict of them"
        )
    pairs = metrics.items() if isinstance(metrics, Mapping) else [(_name(m), m) for m in metrics]
    found: dict[str, Metric] = {}
    for name, metric in pairs:
        if name in found:
            raise ValueError(f"two metrics are called {name!r}: give a dict, name to metric")
        if name in _TAKEN_NAMES or str(name).startswith("val_"):
            raise ValueError(
                f"a metric is called {name!r}, which the history has for another number: give it "
                "another name, as in metrics={'my_name': metric}"
            )
        if metric == "accuracy" and loss.kind == "binary" and loss.takes_logits:
            metric = functools.partial(binary_accuracy, threshold=0.0)
        elif isinstance(metric, str):
            metric = look_up(METRICS, metric, "metric")
        _name(metric)  # raises for what is no metric
        found[name] = _weighted(name, metric)
    return found


def _name(metric: object) -> str:
    if isinstance(metric, str):
        return metric
    if not callable(metric) or isinstance(metric, type):
        what = metric.__name__ if isinstance(metric, type) else type(metric).__name__
        raise TypeError(f"a metric is a name or a function of (outputs, targets), not {what}")
    return str(getattr(metric, "__name__", type(metric).__name__))


def _weighted(name: str, metric: Metric) -> Metric:
    """The metric as a function of `(outputs, targets, weight)`, whether or not it takes weights."""
    try:
        takes_weight = "sample_weight" in inspect.signature(metric).parameters
    except (TypeError, ValueError):  # some callables have no signature
        takes_weight = False

    def weighted(outputs: Any, targets: Any, weight: Weights) -> float:
        options = {"sample_weight": weight} if takes_weight else {}
        number = metric(outputs, targets, **options)
        if np.ndim(number) or not isinstance(number, Real | np.ndarray | np.bool_):
            what = f"shape {np.shape(number)}" if np.ndim(number) else type(number).__name__
            raise TypeError(f"the metric {name} gave {what}: return one number")
        return float(number)

    return weighted


def _mean(values: Any, sample_weight: Weights) -> float:
    """The mean of an array (N, ...), its samples weighted where there are weights."""
    if sample_weight is None:
        return float(np.mean(values, dtype=np.float64))
    per_sample = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return float(np.average(per_sample, weights=sample_weight))


def _aligned(name: str, outputs: Any, targets: Any) -> tuple[Any, Any]:
    """Outputs and targets as float64 arrays of one shape; (N,) and (N, 1) are the same."""
    outputs, targets = np.asarray(outputs, np.float64), np.asarray(targets, np.float64)
    if outputs.shape != targets.shape:
        columns = {outputs.shape, targets.shape}
        if columns != {(outputs.size,), (outputs.size, 1)}:
            raise ValueError(_unequal(name, outputs, targets))
        targets = targets.reshape(outputs.shape)
    return outputs, targets


def _unequal(name: str, outputs: Any, targets: Any) -> str:
    return (
        f"{name} got outputs of shape {outputs.shape} and targets of shape {targets.shape}: "
        "give one target per output"
    )
