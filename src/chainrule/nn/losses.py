"""Losses: functions `loss(outputs, targets) -> (N,)`, one number per sample.

Each is made of primitives and adds up over the outputs of a sample, except those named `mean_`,
which average. Training takes the mean over the batch. A function of your own works wherever a name
does; it may return one number per sample, (N,), or one for the batch.

Outputs and targets have one shape. Targets (N,) for outputs (N, 1) are taken as a column; any
other difference raises ValueError, nothing is broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule import primitives
from chainrule.names import look_up
from chainrule.nn.activation import Sigmoid, Softmax
from chainrule.nn.layer import Layer, Shape
from chainrule.primitives.dispatch import AbstractArray, Array, named

__all__ = [
    "LOSSES",
    "Loss",
    "binary_cross_entropy",
    "check_output_layer",
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

Loss: TypeAlias = Callable[[Array, Array], Array]


def squared_error(outputs: Array, targets: Array) -> Array:
    """½ Σ (outputs - targets)² over the outputs of a sample; its derivative is their difference.

    outputs (N, ...), targets of the same shape or (N,) for (N, 1) -> (N,).

    >>> squared_error(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([2.5])
    """
    residuals = _residuals(outputs, targets, "squared_error")
    return 0.5 * _sum_per_sample(np.square(residuals))


def mean_squared_error(outputs: Array, targets: Array) -> Array:
    """The mean of (outputs - targets)² over the outputs of a sample.

    Shapes as for `squared_error`.

    >>> mean_squared_error(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([2.5])
    """
    residuals = _residuals(outputs, targets, "mean_squared_error")
    return _mean_per_sample(np.square(residuals))


def mean_absolute_error(outputs: Array, targets: Array) -> Array:
    """The mean of |outputs - targets| over the outputs of a sample.

    Shapes as for `squared_error`.

    >>> mean_absolute_error(np.array([[1.0, 2.0]]), np.array([[0.0, 4.0]]))
    array([1.5])
    """
    residuals = _residuals(outputs, targets, "mean_absolute_error")
    return _mean_per_sample(np.abs(residuals))


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


def cross_entropy(outputs: Array, targets: Array) -> Array:
    """-log softmax(outputs)[class]: what the right class lacks in probability, from logits.

    outputs (N, C) are logits: no softmax layer before this loss. targets are integer labels (N,)
    from 0 to C-1, or rows of probabilities (N, C), one-hot or not: then -Σ targets * log softmax.
    Goodfellow, Bengio and Courville, "Deep Learning", 2016, section 6.2.2.3.

    >>> cross_entropy(np.zeros((1, 4)), np.array([2]))
    array([1.38629436])
    """
    return primitives.softmax_cross_entropy(outputs, _class_rows(outputs, targets, "cross_entropy"))


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


def get_loss(loss: str | Loss) -> Loss:
    """The loss of that name; a function stands for itself.

    Raises ValueError for an unknown name, naming the nearest.

    >>> get_loss("crossentropy")
    Traceback (most recent call last):
    ValueError: there is no loss 'crossentropy': did you mean 'cross_entropy'? ...
    """
    return loss if callable(loss) else look_up(LOSSES, loss, "loss")


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


# Values: looked at once, before training, since a loss itself sees shapes only


def check_targets(loss: str | Loss, outputs_shape: Shape, targets: npt.ArrayLike) -> np.ndarray:
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
    function = get_loss(loss)
    function = getattr(function, "func", function)  # of a functools.partial
    if function is cross_entropy and array.shape == outputs_shape[:1]:
        _check_logits(outputs_shape, "cross_entropy")
        return _checked_labels(array, outputs_shape[1])
    if function not in LOSSES.values():
        return array
    name = function.__name__
    if array.shape != outputs_shape:
        if outputs_shape != (*array.shape, 1):
            raise ValueError(_unequal(outputs_shape, array.shape, name))
        array = array.reshape(outputs_shape)
    if function in (cross_entropy, kl_divergence):
        _check_logits(outputs_shape, name)
        _check_distributions(array, name)
    elif function is binary_cross_entropy:
        _check_in_unit_interval(array, name)
    elif function is hinge:
        _check_hinge_labels(array)
    return array


def _checked_labels(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Integer labels from 0 to n_classes - 1."""
    whole = labels.astype(np.int64)
    if labels.dtype.kind == "f" and (whole != labels).any():
        raise ValueError(
            f"cross_entropy takes integer labels (N,), but the targets contain "
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


def _check_in_unit_interval(targets: np.ndarray, loss: str) -> None:
    outside = (targets < 0) | (targets > 1)
    if outside.any():
        hint = "; map labels -1 and +1 to 0 and 1" if (targets == -1).any() else ""
        raise ValueError(
            f"{loss} takes targets from 0 to 1 but they contain {_first(targets, outside)}{hint}"
        )


def _check_distributions(rows: np.ndarray, loss: str) -> None:
    _check_in_unit_interval(rows, loss)
    sums = rows.sum(axis=1, dtype=np.float64)
    wrong = np.abs(sums - 1) > 1e-3
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{loss} takes rows of probabilities that add up to 1, but row {row} of the targets "
            f"adds up to {sums[row]:.6g}: divide each row by its sum"
        )


def _check_hinge_labels(targets: np.ndarray) -> None:
    labels = np.unique(targets)
    if not (np.isin(labels, (0, 1)).all() or np.isin(labels, (-1, 1)).all()):
        some = ", ".join(f"{label:g}" for label in labels[:5])
        raise ValueError(f"hinge takes labels 0 and 1, or -1 and +1, but the targets hold {some}")


def _first(values: np.ndarray, where: np.ndarray) -> Any:
    return values[where].ravel()[0]


_CONTAINS: tuple[tuple[Loss, type[Layer], str], ...] = (
    (cross_entropy, Softmax, "softmax"),
    (kl_divergence, Softmax, "softmax"),
    (binary_cross_entropy, Sigmoid, "sigmoid"),
)


def check_output_layer(loss: str | Loss, layer: Layer) -> None:
    """Raise ValueError where the loss, taken from logits, repeats what the last layer does.

    >>> check_output_layer("cross_entropy", Softmax(name="softmax_1"))
    Traceback (most recent call last):
    ValueError: cross_entropy takes logits, but the last layer, softmax_1, makes probabilities ...
    """
    function = get_loss(loss)
    for contains, activation, word in _CONTAINS:
        if function is contains and isinstance(layer, activation):
            raise ValueError(
                f"{function.__name__} takes logits, but the last layer, {layer.label}, makes "
                f"probabilities of them and {word} would be applied twice: leave that layer out"
            )
