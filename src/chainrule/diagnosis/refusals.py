"""Data that `fit` would refuse, as findings: the wrong kind or shape, NaN, an x on its side.

Only what training itself says about them is repeated; the cause is told by kind, shape and value.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.diagnosis.report import Finding
from chainrule.training.inputs import as_numbers
from chainrule.training.losses import Loss

__all__ = ["refused_inputs", "refused_targets", "wrong_inputs"]


def refused_inputs(
    x: Any, y: Any, dtype: Any, input_shape: tuple[int, ...] | None, name: str = "x"
) -> Finding | None:
    """Why the network cannot take x, or None where it can; `dtype` is what it computes
    in, `input_shape` what it was built for.

    y tells whether the samples lie along the wrong axis.
    """
    try:
        array = as_numbers(x, name)
    except (TypeError, ValueError) as error:
        return Finding("inputs of the wrong kind", str(error), 1.0, "give an array of numbers")
    if found := _transposed(array, np.shape(y), input_shape, name):
        return found
    if found := _not_finite(array, name, "inputs"):
        return found
    largest = float(np.abs(array).max(initial=0)) if array.dtype.kind == "f" else 0.0
    if largest > float(np.finfo(dtype).max):
        evidence = f"the largest value of {name} is {largest:.3g}, which {dtype} cannot hold"
        return Finding("inputs not scaled", evidence, largest, "standardise the columns")
    return None


def wrong_inputs(error: Exception, x: Any) -> Finding:
    """A refusal of the network's own as a finding."""
    if isinstance(error, TypeError):
        fix = "give numbers as the first layer takes them"
        return Finding("inputs of the wrong kind", str(error), float(np.ndim(x)), fix)
    text = "give samples as rows, of the shape that the network was built for"
    return Finding("inputs of the wrong shape", str(error), float(np.ndim(x)), text)


def _transposed(
    x: np.ndarray, y_shape: tuple[int, ...], input_shape: tuple[int, ...] | None, name: str
) -> Finding | None:
    if x.ndim != 2 or not y_shape or x.shape[0] == x.shape[1]:
        return None
    n_features, n_samples = x.shape
    by_targets = y_shape[0] == n_samples != n_features
    both = len(y_shape) == 2 and y_shape[1] == n_samples and y_shape[0] != n_features
    by_network = input_shape == (n_features,) and input_shape != (n_samples,)
    if not (by_targets or both or (by_network and y_shape[0] != n_features)):
        return None
    evidence = (
        f"{name} has shape {x.shape} and the targets have {y_shape}: the {n_samples} samples lie "
        "along the second axis, features by samples"
    )
    targets = ", and the targets too" if both else ""
    return Finding("transposed inputs", evidence, float(n_features), f"{name}.T{targets}")


def _not_finite(array: np.ndarray, name: str, what: str) -> Finding | None:
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return None
    bad = ~np.isfinite(array)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    n_rows = int(bad.reshape(len(array), -1).any(axis=1).sum()) if array.ndim else 1
    place = f"sample {first[0]}" if first else "its only value"
    place += f", feature {first[1] if len(first) == 2 else first[1:]}" if len(first) > 1 else ""
    evidence = (
        f"{int(bad.sum())} of {array.size} values of {name} are not finite, in {n_rows} samples; "
        f"the first is {array[first]} at {place}"
    )
    fix = "leave such samples out, or fill the gaps, for example with the feature's mean"
    return Finding(f"NaN in the {what}", evidence, float(bad.sum()), fix)


def refused_targets(
    y: Any, loss: Loss, n_samples: int, output_shape: tuple[int, ...], error: Exception
) -> Finding:
    """Why the loss cannot take y, for which training raised `error`."""
    try:
        array = as_numbers(y, "y")
    except (TypeError, ValueError):
        return Finding(
            "labels of the wrong kind",
            str(error),
            1.0,
            "number the classes: np.unique(y, return_inverse=True)[1]",
        )
    if found := _not_finite(array, "y", "labels"):
        return found
    is_rows = loss.kind in ("classes", "distributions")
    if is_rows and (len(output_shape) != 1 or output_shape[0] < 2):
        n_outputs = float(np.prod(output_shape))
        fix = "give the last layer one unit per class, or use binary_cross_entropy for one output"
        return Finding("output layer and loss do not fit", str(error), n_outputs, fix)
    shapes = [(n_samples, *output_shape)]
    if (output_shape == (1,) and loss.kind != "own") or loss.takes_labels:
        shapes.append((n_samples,))
    if array.shape not in shapes:
        wanted = " or ".join(str(shape) for shape in reversed(shapes))
        evidence = f"y has shape {array.shape}, but {loss.name} here takes {wanted}: {error}"
        return Finding("labels of the wrong shape", evidence, float(array.ndim), f"shape {wanted}")
    if loss.takes_labels and array.ndim == 1 and _is_whole(array):
        largest = int(array.max())
        if array.min() == 0 and largest >= output_shape[0]:
            evidence = (
                f"y holds the labels 0 to {largest}, but the network has {output_shape[0]} outputs"
            )
            fix = f"give the last layer {largest + 1} units"
            return Finding("output layer and loss do not fit", evidence, float(largest + 1), fix)
    number = float(array.max()) if array.size else 0.0
    return Finding("labels of the wrong kind", str(error), number, _fix_of(loss, array))


def _is_whole(array: np.ndarray) -> bool:
    return bool((array == np.round(array)).all())


def _fix_of(loss: Loss, array: np.ndarray) -> str:
    """What targets of the wrong values are to become, or the loss that takes them."""
    if not array.size:
        return "give at least one sample"
    if loss.takes_labels and array.ndim == 1:
        if not _is_whole(array):
            return 'loss="mean_squared_error" for numbers to predict, or integer labels'
        return f"y - {int(array.min())}: labels start at 0" if array.min() else "labels from 0"
    if (array == -1).any():
        return "map the labels -1 and +1 to 0 and 1"
    return f"targets as {loss.name} takes them, or another loss"
