"""What users hand to training, made into arrays the training step takes, or refused with a reason.

Everything is checked and cast here, once, before the first step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.nn.embedding import as_whole_numbers
from chainrule.nn.losses import LOSSES, check_targets, cross_entropy

__all__ = [
    "Samples",
    "as_features",
    "as_targets",
    "as_weights",
    "balanced_weights",
    "check_same_length",
    "hold_out",
    "with_class_weights",
]

Array = npt.NDArray[Any]


class Samples(NamedTuple):
    """Inputs (N, ...), targets (N, ...), and weights (N,) in the loss and in the metrics.

    Weights are None where all samples count the same.
    """

    x: Array
    y: Array
    weight: Array | None = None
    metric_weight: Array | None = None

    def take(self, indices: Array | slice) -> Samples:
        """The samples of these indices."""
        weight, metric_weight = (
            None if part is None else part[indices] for part in (self.weight, self.metric_weight)
        )
        return Samples(self.x[indices], self.y[indices], weight, metric_weight)

    def normalised(self, dtype: Any) -> Samples:
        """The same with weights of mean 1, in this dtype.

        Weights then change the balance of the samples and not the size of the steps.
        """
        if self.weight is None:
            return self
        total = self.weight.sum()
        if not total > 0:
            raise ValueError("the weights of all samples are zero: give some of them more")
        weight = self.weight * (len(self.weight) / total)
        return self._replace(weight=weight.astype(dtype))


def as_features(x: Any, dtype: Any, name: str = "x", input_shape: Any = None) -> Array:
    """The inputs as an array (N, ...) of the network's input dtype, all of them finite.

    Takes what NumPy makes numbers of: arrays, lists, data frames. For an integer `dtype` they are
    whole numbers. `input_shape` is what one sample
    must have, None where the network does not know yet. Raises TypeError for what is not numbers,
    ValueError for no samples, a wrong shape, NaN and infinity, naming the first.
    """
    array = _as_numbers(x, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, but samples are rows, (n_samples, n_features): "
            f"use {name}.reshape(-1, 1) for one feature, {name}.reshape(1, -1) for one sample"
        )
    if len(array) == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}: give at least one sample")
    if input_shape is not None and array.shape[1:] != tuple(input_shape):
        raise ValueError(_wrong_shape(array.shape, tuple(input_shape), name))
    if np.dtype(dtype).kind == "i":
        return as_whole_numbers(array, name)
    return _cast(array, dtype, name)


def as_targets(
    y: Any,
    loss: Callable[..., Any],
    output_shape: tuple[int, ...],
    dtype: Any,
    name: str = "y",
) -> Array:
    """The targets as the loss takes them: labels stay integers, other numbers get the dtype.

    `output_shape` is that of one sample. Integers are labels where the loss is cross-entropy,
    left as they are where the loss is the user's own, and numbers elsewhere. Raises TypeError for
    what is not numbers, ValueError for NaN and for what does not fit the loss and the outputs.
    """
    array = _as_numbers(y, name)
    if array.ndim == 0:
        raise ValueError(f"{name} is one number, {array}: give one target per sample")
    try:
        array = check_targets(loss, (len(array), *output_shape), array)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} does not fit the loss: {error}") from None
    function = getattr(loss, "func", loss)  # of a functools.partial
    labels = function is cross_entropy and array.ndim == 1
    keep = labels or (array.dtype.kind in "iu" and function not in LOSSES.values())
    return np.ascontiguousarray(array) if keep else _cast(array, dtype, name)


def as_weights(
    sample_weight: Any, n_samples: int, name: str = "sample_weight"
) -> npt.NDArray[np.float64] | None:
    """The weights as an array (N,), None where all samples count the same.

    Raises ValueError for weights that are negative, not finite, or not one per sample.
    """
    if sample_weight is None:
        return None
    weight = _as_numbers(sample_weight, name).astype(np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(
            f"{name} has shape {weight.shape}, but there are {n_samples} samples: "
            f"give one weight per sample, shape ({n_samples},)"
        )
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{name} holds {weight[first]} for sample {first}: give finite weights >= 0"
        )
    return weight


def with_class_weights(
    sample_weight: Array | None, class_weight: Mapping[Any, float] | str | None, targets: Array
) -> Array | None:
    """Each sample's weight times that of its class, (N,); None where neither is given.

    Raises ValueError for targets that are no classes, and classes that are not among them.
    """
    if class_weight is None:
        return sample_weight
    labels = _labels(targets)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(
                f"class_weight is {class_weight!r}: give 'balanced' or a dict of label to weight"
            )
        class_weight = balanced_weights(labels, sample_weight)
    known = np.unique(labels)
    weights = np.ones(len(labels))
    for label, weight in class_weight.items():
        if label not in known:
            raise ValueError(
                f"class_weight names the class {label!r}, but y holds only "
                f"{', '.join(map(str, known[:20].tolist()))}"
            )
        if not (np.isfinite(weight) and weight >= 0):
            raise ValueError(f"class_weight of class {label!r} is {weight}: give a number >= 0")
        weights[labels == label] = weight
    return weights if sample_weight is None else weights * sample_weight


def balanced_weights(labels: npt.ArrayLike, sample_weight: Array | None = None) -> dict[Any, float]:
    """A weight for each class such that all classes together count the same.

    n_samples / (n_classes * samples of the class), King and Zeng, "Logistic regression in rare
    events data" (2001); with sample weights, their sums take the place of the numbers.

    >>> balanced_weights([0, 0, 0, 1])
    {0: 0.6666666666666666, 1: 2.0}
    """
    classes, indices = np.unique(np.asarray(labels), return_inverse=True)
    counts = np.bincount(indices, weights=sample_weight).astype(np.float64)
    total = counts.sum()
    shares = np.where(counts > 0, total / (len(classes) * np.where(counts > 0, counts, 1.0)), 0.0)
    return dict(zip(classes.tolist(), shares.tolist(), strict=True))


def _labels(targets: Array) -> Array:
    """The class of each sample, from labels (N,), one column (N, 1) or one-hot rows (N, C)."""
    if targets.ndim == 2 and targets.shape[1] > 1:
        if not (np.isin(targets, (0, 1)).all() and (targets.sum(axis=1) == 1).all()):
            raise ValueError(
                f"class_weight needs one class per sample, but the rows of y, {targets.shape}, "
                "are not one-hot: use sample_weight"
            )
        return np.asarray(targets.argmax(axis=1))
    labels = targets.reshape(len(targets), -1)
    if labels.shape[1] != 1 or not np.array_equal(labels, np.round(labels)):
        raise ValueError(
            f"class_weight needs class labels, but y, shape {targets.shape}, {targets.dtype}, "
            "holds other numbers: use sample_weight for regression"
        )
    return labels[:, 0].astype(np.int64)


def check_same_length(x: Array, y: Any, x_name: str = "x", y_name: str = "y") -> None:
    """Raise ValueError unless there are as many targets as inputs; say where x lies on its side."""
    shape = np.shape(y)
    if not shape or len(x) == shape[0]:
        return
    hint = ""
    if x.ndim == 2 and x.shape[1] == shape[0]:
        hint = f"; {x_name} looks transposed: samples are rows, use {x_name}.T"
    raise ValueError(
        f"{x_name} has {len(x)} samples, shape {x.shape}, but {y_name} has {shape[0]}, "
        f"shape {shape}: give one target per sample{hint}"
    )


def hold_out(
    n_samples: int, fraction: float, rng: np.random.Generator | None
) -> tuple[Array, Array]:
    """The indices of the samples to train on and of the `fraction` to validate on, each ascending.

    The latter are drawn at random, since files are often sorted by class; without an rng, as for
    time series, they are the last. Raises ValueError where either part would be empty.
    """
    n_held = round(n_samples * fraction)
    if not 0 < n_held < n_samples:
        raise ValueError(
            f"validation_split={fraction} of {n_samples} samples leaves {n_samples - n_held} to "
            f"train on and {n_held} to validate on: give a fraction between 0 and 1, or more data"
        )
    order = np.arange(n_samples) if rng is None else rng.permutation(n_samples)
    return np.sort(order[:-n_held]), np.sort(order[-n_held:])


def _as_numbers(values: Any, name: str) -> Array:
    """The values as an array of numbers, or an error that says what they are."""
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray()")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot be made an array, its rows have different lengths or shapes: {error}"
        ) from error
    if array.dtype.kind in "OUST":
        with suppress(TypeError, ValueError):  # Python's own numbers come as objects from pandas
            array = array.astype(np.float64) if array.dtype.kind == "O" else array
    if array.dtype.kind in "OUST":
        first = array.reshape(-1)[0] if array.size else ""
        raise TypeError(
            f"{name} holds text or objects ({array.dtype}, such as {first!r}), not numbers: turn "
            f"class names into integer labels with np.unique({name}, return_inverse=True)[1], "
            "and categories into numbers or one-hot columns"
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}: give integers or floating-point numbers")
    return array.astype(np.int64) if array.dtype.kind == "b" else array


def _cast(array: Array, dtype: Any, name: str) -> Array:
    """The array in the dtype, in C order; raises for values that are not finite."""
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype)
    finite = np.isfinite(cast)
    if finite.all():
        return cast
    first = np.argwhere(~finite)[0]
    value = array[tuple(first)]
    where = f"sample {first[0]}" + (f", feature {_index(first[1:])}" if len(first) > 1 else "")
    count = int(cast.size - finite.sum())
    reason = (
        f"which is too large for {np.dtype(dtype)}: scale the data, or use dtype='float64'"
        if np.isfinite(value)
        else "leave such samples out, or fill the gaps, for example with the feature's mean"
    )
    raise ValueError(f"{name} holds {value} at {where} ({count} of {cast.size} values), {reason}")


def _index(position: Any) -> str:
    return str(position[0]) if len(position) == 1 else str(tuple(int(i) for i in position))


def _wrong_shape(shape: tuple[int, ...], wanted: tuple[int, ...], name: str) -> str:
    if len(shape) == 2 and len(wanted) == 1:
        hint = ""
        if shape[0] == wanted[0]:
            hint = f"; it looks transposed: samples are rows, use {name}.T"
        return (
            f"{name} has {shape[1]} features per sample, shape {shape}, but the network takes "
            f"{wanted[0]}{hint or ': give those, or build a new network'}"
        )
    fits = int(np.prod(shape[1:])) == int(np.prod(wanted))
    hint = f"use {name}.reshape({', '.join(map(str, (-1, *wanted)))})" if fits else "reshape it"
    return (
        f"{name} has shape {shape}, samples of shape {shape[1:]}, but the network takes samples "
        f"of shape {wanted}: {hint}"
    )
