"""Losses: functions `loss(outputs, targets) -> (N,)`, one number per sample.

Each is made of primitives and adds up over the outputs of a sample, except those named `mean_`,
which average. Training takes the mean over the batch. A function of your own works wherever a name
does; it may return one number per sample, (N,), or one for the batch.

Outputs and targets have one shape. Targets (N,) for outputs (N, 1) are taken as a column; any
other difference raises ValueError, nothing is broadcast.

What a loss is beside its formula (for classes or for values, from logits or not, which targets it
takes) stands where it is defined, in the line above: nothing else in the library asks which loss
it is. A new one is its formula under such a line, and an entry in `LOSSES`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias, final

import numpy as np
import numpy.typing as npt

from chainrule import primitives
from chainrule.names import look_up
from chainrule.primitives.dispatch import AbstractArray, Array, named

__all__ = [
    "LOSSES",
    "Loss",
    "LossFunction",
    "LossLike",
    "binary_cross_entropy",
    "check_targets",
    "cross_entropy",
    "get_loss",
    "hinge",
    "huber",
    "kl_divergence",
    "mean_absolute_error",
    "mean_squared_error",
    "squared_error",
]

Shape: TypeAlias = tuple[int, ...]
LossFunction: TypeAlias = Callable[[Array, Array], Array]
Kind: TypeAlias = Literal["classes", "binary", "values", "distributions", "own"]


@final
@dataclass(frozen=True, eq=False)
class Loss:
    """A loss as `fit` sees it: called with outputs and targets, it gives one number per sample.

    `kind` is what it is for: "classes" (one of several), "binary" (yes or no, of each output),
    "distributions", "values", or "own": a function of your own, of which nothing is known. With
    `takes_logits` the outputs are numbers of either sign, as they come before a sigmoid or softmax:
    a decision between yes and no is at 0. `contains` names the activation that the loss applies
    to them itself. With `takes_labels` targets may be integer labels (N,).
    `check_values(name, targets)` raises ValueError for targets that the loss cannot take.

    >>> cross_entropy.kind, cross_entropy.takes_logits, huber.kind
    ('classes', True, 'values')
    """

    function: LossFunction
    kind: Kind = "own"
    takes_logits: bool = False
    contains: str = ""
    takes_labels: bool = False
    check_values: Callable[[str, np.ndarray], None] | None = None

    def __post_init__(self) -> None:
        # Its name, documentation and parameters are those of its function, for help() and editors.
        for attribute in ("__doc__", "__module__"):
            object.__setattr__(self, attribute, getattr(self.function, attribute, None))
        object.__setattr__(self, "__name__", self.name)
        object.__setattr__(self, "__wrapped__", self.function)

    @property
    def name(self) -> str:
        """What it is called: the name of its function."""
        function = getattr(self.function, "func", self.function)  # of a functools.partial
        return str(getattr(function, "__name__", type(function).__name__))

    def __call__(self, outputs: Array, targets: Array, *rest: Any, **options: Any) -> Array:
        """The loss of each sample."""
        return self.function(outputs, targets, *rest, **options)

    def __repr__(self) -> str:
        return f"<loss {self.name}>"

    def __reduce__(self) -> str | tuple[Any, ...]:
        if LOSSES.get(self.name) is self:
            return self.name  # pickled by name, as functions are
        return Loss, tuple(getattr(self, field.name) for field in fields(self))


LossLike: TypeAlias = str | Loss | LossFunction


def _loss(kind: Kind, **facts: Any) -> Callable[[LossFunction], Loss]:
    """What is true of the loss that is defined below."""
    return lambda function: Loss(function, kind, **facts)


# What the targets of a loss must be, by value. A loss itself sees shapes only, so this is looked
# at once, before training.


def _first(values: np.ndarray, where: np.ndarray) -> Any:
    return values[where].ravel()[0]


def _check_in_unit_interval(loss: str, targets: np.ndarray) -> None:
    outside = (targets < 0) | (targets > 1)
    if outside.any():
        hint = "; map labels -1 and +1 to 0 and 1" if (targets == -1).any() else ""
        raise ValueError(
            f"{loss} takes targets from 0 to 1 but they contain {_first(targets, outside)}{hint}"
        )


def _check_distributions(loss: str, rows: np.ndarray) -> None:
    _check_in_unit_interval(loss, rows)
    sums = rows.sum(axis=1, dtype=np.float64)
    wrong = np.abs(sums - 1) > 1e-3
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{loss} takes rows of probabilities that add up to 1, but row {row} of the targets "
            f"adds up to {sums[row]:.6g}: divide each row by its sum"
        )


def _check_hinge_labels(loss: str, targets: np.ndarray) -> None:
    labels = np.unique(targets)
    if not (np.isin(labels, (0, 1)).all() or np.isin(labels, (-1, 1)).all()):
        some = ", ".join(f"{label:g}" for label in labels[:5])
        raise ValueError(f"{loss} takes labels 0 and 1, or -1 and +1, but the targets hold {some}")


# The losses


@_loss("values")
def squared_error(outputs: Array, targets: Array) -> Array:
    """½ Σ (outputs - targets)² over the outputs of a sample; its derivative is their difference.

    outputs (N, ...), targets of the same shape or (N,) for (N, 1) -> (N,).

    >>> squared_error(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([2.5])
    """
    residuals = _residuals(outputs, targets, "squared_error")
    return 0.5 * _sum_per_sample(np.square(residuals))


@_loss("values")
def mean_squared_error(outputs: Array, targets: Array) -> Array:
    """The mean of (outputs - targets)² over the outputs of a sample.

    Shapes as for `squared_error`.

    >>> mean_squared_error(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([2.5])
    """
    residuals = _residuals(outputs, targets, "mean_squared_error")
    return _mean_per_sample(np.square(residuals))


@_loss("values")
def mean_absolute_error(outputs: Array, targets: Array) -> Array:
    """The mean of |outputs - targets| over the outputs of a sample.

    Shapes as for `squared_error`.

    >>> mean_absolute_error(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([1.5])
    """
    residuals = _residuals(outputs, targets, "mean_absolute_error")
    return _mean_per_sample(np.abs(residuals))


@_loss("values")
def huber(outputs: Array, targets: Array, delta: float = 1.0) -> Array:
    """Σ of ½ r² where |r| <= delta, else delta (|r| - ½ delta), with r = outputs - targets.

    Quadratic near zero, linear far away: outliers pull with a constant force. Shapes as for
    `squared_error`. For another delta use `functools.partial(huber, delta=0.1)`.
    Huber, "Robust estimation of a location parameter", 1964.

    >>> huber(np.array([[0.5, 3.0]]), np.array([[0.0, 0.0]]))
    array([2.625])
    """
    size = named("size", np.abs(_residuals(outputs, targets, "huber")))
    capped = named("capped", np.minimum(size, delta))
    # Both cases in one: capped is |r|, which gives ½ r², or delta.
    return _sum_per_sample(capped * named("rest", size - 0.5 * capped))


@_loss(
    "classes",
    takes_logits=True,
    contains="softmax",
    takes_labels=True,
    check_values=_check_distributions,
)
def cross_entropy(outputs: Array, targets: Array) -> Array:
    """-log softmax(outputs)[class]: what the right class lacks in probability, from logits.

    outputs (N, C) are logits: no softmax layer before this loss. targets are integer labels (N,)
    from 0 to C-1, or rows of probabilities (N, C), one-hot or not: then -Σ targets * log softmax.
    Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.2.2.3.

    >>> cross_entropy(np.zeros((1, 4)), np.array([2]))
    array([1.38629436])
    """
    return primitives.softmax_cross_entropy(outputs, _class_rows(outputs, targets, "cross_entropy"))


@_loss("binary", takes_logits=True, contains="sigmoid", check_values=_check_in_unit_interval)
def binary_cross_entropy(outputs: Array, targets: Array) -> Array:
    """-Σ [y log σ(z) + (1 - y) log(1 - σ(z))] over the outputs of a sample, from logits z.

    outputs (N,), (N, 1) or (N, K) are logits: no sigmoid layer before this loss. targets y are 0 or
    1, or probabilities between; K outputs are K separate yes-or-no questions.
    Bishop, "Pattern Recognition and Machine Learning", 2006, equation 5.21.

    >>> binary_cross_entropy(np.zeros((1, 2)), np.array([[1, 0]]))
    array([1.38629436])
    """
    targets = _like(outputs, targets, "binary_cross_entropy")
    return _sum_per_sample(named("losses", primitives.binary_cross_entropy(outputs, targets)))


@_loss("binary", takes_logits=True, check_values=_check_hinge_labels)
def hinge(outputs: Array, targets: Array) -> Array:
    """Σ max(0, 1 - t * outputs) with t = ±1: no loss beyond a margin of 1 on the right side.

    Shapes as for `squared_error`. targets are 0 and 1 or -1 and +1: positive ones count as t = +1,
    all others as t = -1. Cortes and Vapnik, "Support-vector networks", 1995.

    >>> hinge(np.array([[0.5], [0.5]]), np.array([1, 0]))
    array([0.5, 1.5])
    """
    targets = _like(outputs, targets, "hinge")
    signs = named("signs", primitives.astype(targets > 0, dtype=outputs.dtype) * 2.0 - 1.0)
    return _sum_per_sample(np.maximum(named("lacking", 1.0 - signs * outputs), 0.0))


@_loss("distributions", takes_logits=True, contains="softmax", check_values=_check_distributions)
def kl_divergence(outputs: Array, targets: Array) -> Array:
    """Σ p log(p / softmax(outputs)): how far the predicted distribution is from targets p.

    outputs (N, C) are logits; logarithms of probabilities work as well, since log-softmax leaves
    them as they are. targets (N, C) are rows of probabilities; 0 log 0 counts as 0.
    Kullback and Leibler, "On information and sufficiency", 1951.

    >>> kl_divergence(np.zeros((1, 2)), np.array([[1.0, 0.0]]))
    array([0.69314718])
    """
    p = _like(outputs, targets, "kl_divergence")
    _check_logits(outputs.shape, "kl_divergence")
    log_p = named("log_p", np.log(np.where(p > 0, p, 1.0)))
    log_q = named("log_q", primitives.log_softmax(outputs, axis=-1))
    return _sum_per_sample(p * (log_p - log_q))


LOSSES: dict[str, Loss] = {
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
    "hinge": hinge,
    "huber": huber,
    "kl_divergence": kl_divergence,
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
    "squared_error": squared_error,
}
"""The losses that can be asked for by name."""


def get_loss(loss: LossLike) -> Loss:
    """The loss of that name, or a function of your own as a loss.

    Raises ValueError for an unknown name, naming the nearest, and TypeError for a class.

    >>> get_loss("crossentropy")
    Traceback (most recent call last):
    ValueError: there is no loss 'crossentropy': did you mean 'cross_entropy'? ...
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type):
        raise TypeError(f"the loss {loss.__name__} is a class: make an object of it first")
    if isinstance(loss, functools.partial) and isinstance(loss.func, Loss):
        return replace(loss.func, function=loss)  # of the same kind, with other options
    return Loss(loss) if callable(loss) else look_up(LOSSES, loss, "loss")


# Shapes


def _residuals(outputs: Array, targets: Array, loss: str) -> Array:
    return named("residuals", outputs - _like(outputs, targets, loss))


def _like(outputs: Array, targets: Array, loss: str) -> Array:
    """The targets in the shape and dtype of the outputs, or an error that names both shapes."""
    if not isinstance(targets, AbstractArray):
        targets = np.asarray(targets)
    if targets.shape != outputs.shape:
        if outputs.shape != (*targets.shape, 1):
            raise ValueError(_unequal(outputs.shape, targets.shape, loss))
        targets = np.reshape(targets, outputs.shape)
    return _cast(targets, outputs.dtype)


def _class_rows(outputs: Array, targets: Array, loss: str) -> Array:
    """The targets as rows of probabilities (N, C): integer labels become one-hot."""
    if not isinstance(targets, AbstractArray):
        targets = np.asarray(targets)
    _check_logits(outputs.shape, loss)
    if targets.shape == outputs.shape:
        return _cast(targets, outputs.dtype)
    n_samples, n_classes = outputs.shape
    if targets.shape != (n_samples,):
        raise ValueError(_unequal(outputs.shape, targets.shape, loss))
    if targets.dtype.kind not in "iu":
        raise TypeError(
            f"{loss} takes integer labels (N,) or rows of probabilities (N, {n_classes}), but got "
            f"{targets.dtype} of shape {targets.shape}: convert labels with .astype(int)"
        )
    return named("targets", primitives.one_hot(targets, n_classes=n_classes, dtype=outputs.dtype))


def _cast(targets: Array, dtype: np.dtype[Any]) -> Array:
    return targets if targets.dtype == dtype else primitives.astype(targets, dtype=dtype)


def _check_logits(shape: Shape, loss: str) -> None:
    if len(shape) != 2 or shape[1] < 2:
        raise ValueError(
            f"{loss} needs outputs (N, n_classes) with at least 2 classes but got {shape}: "
            "give the last layer one unit per class, or use binary_cross_entropy for one output"
        )


def _unequal(outputs: Shape, targets: Shape, loss: str) -> str:
    """The message for shapes that do not belong together, with the likely fix."""
    fix = "give one target per output"
    if outputs[:1] != targets[:1]:
        fix = "give one target per sample"
    elif len(outputs) == 1 and targets == (*outputs, 1):
        fix = "use targets.ravel(), or a last layer with an output axis"
    elif loss in ("cross_entropy", "kl_divergence") and targets[1:] == (1,):
        fix = "use targets.ravel() for labels"
    elif len(targets) == 1 and len(outputs) == 2:
        fix = (
            f"one_hot gives labels {outputs[1]} columns, the loss cross_entropy takes them as they "
            "are, and a last layer with 1 unit gives one output per sample"
        )
    return f"{loss} got outputs of shape {outputs} and targets of shape {targets}: {fix}"


def _sum_per_sample(values: Array) -> Array:
    axes = tuple(range(1, values.ndim))
    return np.sum(values, axis=axes) if axes else values


def _mean_per_sample(values: Array) -> Array:
    axes = tuple(range(1, values.ndim))
    return np.mean(values, axis=axes) if axes else values


# Targets


def check_targets(loss: LossLike, outputs_shape: Shape, targets: npt.ArrayLike) -> np.ndarray:
    """The targets as the loss takes them, checked by shape and value: once, before training.

    `outputs_shape` is (N, ...), the batch axis included. A column is made of (N,) targets where
    the outputs are (N, 1), and labels that came as whole floats become integers; everything else is
    returned as it came. Of a user's own loss only emptiness, length and NaN are checked. Raises
    ValueError for labels out of range, a mix of hinge labels, values that are no probabilities,
    NaN, an empty array, and shapes that do not fit; TypeError for targets that are not numbers.

    >>> check_targets("cross_entropy", (3, 2), [0.0, 1.0, 1.0])
    array([0, 1, 1])
    """
    array = np.asarray(targets)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"the targets have dtype {array.dtype}: numbers are wanted; "
            "np.unique(targets, return_inverse=True) numbers the classes of names"
        )
    if array.size == 0:
        raise ValueError(f"the targets are empty, shape {array.shape}: give at least one sample")
    if array.ndim == 0 or len(array) != outputs_shape[0]:
        raise ValueError(
            f"the outputs have shape {outputs_shape} but the targets {array.shape}: "
            "give one target per sample"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(
            f"the targets contain NaN or infinity, first in sample "
            f"{int(np.argwhere(~np.isfinite(array))[0, 0])}: remove or fill such samples"
        )
    loss = get_loss(loss)
    if loss.takes_labels and array.shape == outputs_shape[:1]:
        _check_logits(outputs_shape, loss.name)
        return _checked_labels(loss.name, array, outputs_shape[1])
    if loss.kind == "own":
        return array
    if array.shape != outputs_shape:
        if outputs_shape != (*array.shape, 1):
            raise ValueError(_unequal(outputs_shape, array.shape, loss.name))
        array = array.reshape(outputs_shape)
    if loss.kind in ("classes", "distributions"):
        _check_logits(outputs_shape, loss.name)
    if loss.check_values is not None:
        loss.check_values(loss.name, array)
    return array


def _checked_labels(loss: str, labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Integer labels from 0 to n_classes - 1."""
    whole = labels.astype(np.int64)
    if labels.dtype.kind == "f" and (whole != labels).any():
        raise ValueError(
            f"{loss} takes integer labels (N,), but the targets contain "
            f"{_first(labels, whole != labels)}: for numbers to predict use mean_squared_error"
        )
    outside = (whole < 0) | (whole >= n_classes)
    if outside.any():
        label = _first(whole, outside)
        counted_from_one = whole.min() == 1 and label == n_classes
        fix = (
            "the labels seem to start at 1: subtract 1"
            if counted_from_one
            else f"give the last layer {int(whole.max()) + 1} units"
            if label >= n_classes
            else "labels start at 0"
        )
        raise ValueError(
            f"label {label} is out of range: the network has {n_classes} outputs, "
            f"so labels go from 0 to {n_classes - 1}; {fix}"
        )
    return labels if labels.dtype.kind in "iu" else whole
