"""The samples that are trained on or measured: checked once, then taken in parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chainrule.primitives.dispatch import Array
from chainrule.training.inputs import as_numbers, as_targets, as_weights, check_same_length
from chainrule.training.losses import Loss
from chainrule.training.trainable import Trainable

__all__ = ["Batch", "Samples", "balanced_weights", "hold_out", "with_class_weights"]


class Batch(NamedTuple):
    """What one step takes: inputs (N, ...), targets (N, ...) and weights (N,).

    Without `weight` all samples count the same.
    """

    x: Array
    y: Array
    weight: Array | None = None


@dataclass(frozen=True)
class Samples:
    """Inputs (N, ...) and targets (N, ...), with weights (N,) in the loss and in the metrics.

    Weights are None where all samples count the same.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None
    metric_weight: np.ndarray | None = None

    @staticmethod
    def prepare(
        network: Trainable,
        loss: Loss,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        prefix: str = "",
        seed: Any = None,
    ) -> Samples:
        """What a user gave as samples that the network and the loss take.

        Builds the network for them where it is not built. `prefix` stands before the names of the
        arguments in errors. Raises TypeError or ValueError for what does not fit.
        """
        inputs = network.as_inputs(x, f"{prefix}x", seed)
        targets = as_numbers(y, f"{prefix}y")
        check_same_length(inputs, targets, f"{prefix}x", f"{prefix}y")
        targets = as_targets(targets, loss, network.output_shape, network.dtype, f"{prefix}y")
        weight = as_weights(sample_weight, len(inputs), f"{prefix}sample_weight")
        return Samples(inputs, targets, weight, weight)

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, indices: slice) -> Batch:
        """The samples of these indices, as a step takes them."""
        weight = None if self.weight is None else self.weight[indices]
        return Batch(self.x[indices], self.y[indices], weight)

    def take(self, indices: np.ndarray) -> Samples:
        """The samples of these indices."""
        parts = (self.x, self.y, self.weight, self.metric_weight)
        return Samples(*(None if part is None else part[indices] for part in parts))  # type: ignore[arg-type]

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
        return replace(self, weight=weight.astype(dtype))


def with_class_weights(
    sample_weight: np.ndarray | None,
    class_weight: Mapping[Any, float] | str | None,
    targets: np.ndarray,
) -> np.ndarray | None:
    """Each sample's weight times that of its class, (N,); None where neither is given.

    Raises ValueError for targets that are no classes, and classes that are not among them.
    """
    if class_weight is None:
        return sample_weight
    wanted = "give 'balanced' or a dict of label to weight"
    if not isinstance(class_weight, str | Mapping):
        raise TypeError(f"class_weight is a {type(class_weight).__name__}: {wanted}")
    if isinstance(class_weight, str) and class_weight != "balanced":
        raise ValueError(f"class_weight is {class_weight!r}: {wanted}")
    labels = _labels(targets)
    if isinstance(class_weight, str):
        class_weight = balanced_weights(labels, sample_weight)
    known = np.unique(labels)
    weights = np.ones(len(labels))
    for label, weight in class_weight.items():
        if label not in known.tolist():
            raise ValueError(
                f"class_weight names the class {label!r}, but y holds only "
                f"{', '.join(map(str, known[:20].tolist()))}"
            )
        if not (isinstance(weight, Real) and math.isfinite(weight) and weight >= 0):
            raise ValueError(f"class_weight of class {label!r} is {weight!r}: give a number >= 0")
        weights[labels == label] = weight
    return weights if sample_weight is None else weights * sample_weight


def balanced_weights(
    labels: npt.ArrayLike, sample_weight: np.ndarray | None = None
) -> dict[Any, float]:
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


def _labels(targets: np.ndarray) -> np.ndarray:
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


def hold_out(
    n_samples: int, fraction: float, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """The indices of the samples to train on and of the `fraction` to validate on, each ascending.

    The latter are drawn at random, since files are often sorted by class; without an rng, as for
    time series, they are the last. Raises TypeError for what is no number, and ValueError where
    either part would be empty.
    """
    if not isinstance(fraction, Real):
        raise TypeError(
            f"validation_split is {fraction!r}: give the fraction to hold out, from 0 to below 1"
        )
    if not math.isfinite(fraction):
        raise ValueError(f"validation_split is {fraction}: give a fraction between 0 and 1")
    n_held = round(n_samples * fraction)
    if not 0 < n_held < n_samples:
        raise ValueError(
            f"validation_split={fraction} of {n_samples} samples leaves {n_samples - n_held} to "
            f"train on and {n_held} to validate on: give a fraction between 0 and 1, or more data"
        )
    order = np.arange(n_samples) if rng is None else rng.permutation(n_samples)
    return np.sort(order[:-n_held]), np.sort(order[-n_held:])
