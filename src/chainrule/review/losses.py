"""Losses that hand-written code is likely to mean, where it computes none itself.

`loss_families` has the losses up to a constant; `scales` the constants in use: a half, a mean over
the samples, over all outputs. What the reader's own loss says, where there is one, counts instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from chainrule.primitives.dispatch import Array

__all__ = ["LossFamily", "fit_target", "loss_families", "named_loss", "scales"]


class LossFamily(NamedTuple):
    """A loss of outputs and targets up to a constant, summed over everything."""

    name: str
    formula: str
    compute: Callable[[Array, Any], Array]


def _squares(a: Array, y: Any) -> Array:
    return np.sum(np.square(a - y))


def _categorical(a: Array, y: Any) -> Array:
    return -np.sum(y * np.log(a))


def _binary(a: Array, y: Any) -> Array:
    return -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a))


def _categorical_of_scores(a: Array, y: Any) -> Array:
    axis = 1 if np.ndim(y) > 1 and np.allclose(np.sum(y, axis=1), 1) else 0
    largest = np.max(np.asarray(a.detach() if hasattr(a, "detach") else a), axis, keepdims=True)
    shifted = a - largest
    return -np.sum(y * (shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))))


def _binary_of_scores(a: Array, y: Any) -> Array:
    return np.sum(np.logaddexp(0.0, a) - y * a)


def _absolute(a: Array, y: Any) -> Array:
    return np.sum(np.abs(a - y))


_SQUARES = LossFamily("squared error", "sum((a - y)**2)", _squares)
_CATEGORICAL = LossFamily("cross-entropy", "-sum(y * log(a))", _categorical)
_BINARY = LossFamily("binary cross-entropy", "-sum(y * log(a) + (1 - y) * log(1 - a))", _binary)
_NAMES = {
    "squarederror": (_SQUARES, 0.5),
    "sse": (_SQUARES, 1.0),
    "crossentropy": (_CATEGORICAL, 1.0),
    "categoricalcrossentropy": (_CATEGORICAL, 1.0),
    "binarycrossentropy": (_BINARY, 1.0),
    "bce": (_BINARY, 1.0),
}


def loss_families(output: Any, target: Any) -> list[LossFamily]:
    """The losses that make sense for these numbers, the likeliest first."""
    output, target = np.asarray(output), np.asarray(target)
    positive = bool(np.all(output > 0) and np.all(output < 1))
    in_unit = bool(np.all(target >= 0) and np.all(target <= 1))
    is_distribution = positive and any(
        np.allclose(np.sum(output, axis=axis), 1) and output.shape[axis] > 1
        for axis in range(output.ndim)
    )
    families = [_SQUARES]
    if positive and in_unit:
        families = [_CATEGORICAL, _SQUARES] if is_distribution else [_SQUARES, _BINARY]
    elif in_unit and output.ndim > 1 and min(output.shape) > 0:
        families.append(
            LossFamily(
                "cross-entropy of softmax", "-sum(y * log softmax(z))", _categorical_of_scores
            )
        )
        families.append(
            LossFamily("binary cross-entropy of sigmoid", "BCE(sigmoid(z))", _binary_of_scores)
        )
    return [*families, LossFamily("absolute error", "sum(abs(a - y))", _absolute)]


def scales(output: Any) -> dict[str, float]:
    """The constants a loss may have in front, the likeliest first."""
    shape = np.shape(output)
    sizes = {"": 1.0}
    for axis, size in enumerate(shape):
        if size > 1:
            sizes[f", mean over axis {axis}"] = 1.0 / size
    if np.size(output) > 1:
        sizes[", mean over all"] = 1.0 / float(np.size(output))
    return {
        f"{factor}{{}}{text}": number * size
        for text, size in sizes.items()
        for factor, number in (("half ", 0.5), ("", 1.0), ("twice ", 2.0))
    }


def named_loss(name: str) -> Callable[[Array, Any], Array]:
    """A loss by its name: squared_error (half the sum), sse, mse, cross_entropy, bce (means).

    Cross-entropies and mse are means over the samples, which are along the first axis.
    """
    key = name.replace("_", "").replace("-", "").replace(" ", "").lower()
    if key in ("mse", "meansquarederror"):
        return lambda a, y: np.mean(np.square(a - y))
    if key not in _NAMES:
        known = "squared_error, sse, mse, cross_entropy, binary_cross_entropy"
        raise ValueError(f"there is no loss {name!r} here: give one of {known}, or a function")
    family, factor = _NAMES[key]
    per = 0 if "entropy" in key or key == "bce" else None

    def loss(a: Array, y: Any) -> Array:
        y = fit_target(y, np.shape(a))
        return factor * family.compute(a, y) / (np.shape(a)[0] if per == 0 and np.ndim(a) else 1)

    return loss


def fit_target(target: Any, shape: tuple[int, ...]) -> Any:
    """The target in the form of the outputs: labels as one-hot rows, singleton axes as they are."""
    array = np.asarray(target)
    if array.shape == shape:
        return array
    if array.size == int(np.prod(shape)):
        return array.reshape(shape)
    labels = array.ravel()
    if len(shape) == 2 and array.dtype.kind in "iu" and labels.size in shape:
        rows = labels.size == shape[0]
        n_classes = shape[1] if rows else shape[0]
        if labels.min(initial=0) >= 0 and labels.max(initial=0) < n_classes:
            one_hot = np.eye(n_classes)[labels]
            return one_hot if rows else one_hot.T
    return array
