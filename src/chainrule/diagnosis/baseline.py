"""The loss of the best constant: what a network reaches that has learned nothing of its inputs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chainrule.training.goal import ignore_overflow
from chainrule.training.losses import Loss
from chainrule.training.samples import Batch
from chainrule.training.step import mean_loss

__all__ = ["best_loss", "constant_loss"]

_SMALLEST = 1e-6  # a probability that is not zero, for its logarithm


def constant_loss(loss: Loss, batch: Batch, outputs: np.ndarray) -> float:
    """The smallest loss of outputs that are the same for all samples, among the likely ones.

    These are by the kind of the loss: mean and median of values, the logits of the classes' shares,
    and the mean of the outputs (N, ...) that a network gives now.
    """
    targets = np.asarray(batch.y)
    weight = None if batch.weight is None else np.asarray(batch.weight, np.float64)
    found = [np.inf]
    with ignore_overflow():
        for constant in _constants(loss, targets, weight, outputs):
            same = np.broadcast_to(constant, outputs.shape).astype(outputs.dtype)
            try:
                value = float(mean_loss(loss(same, targets), len(targets), batch.weight))
            except (TypeError, ValueError):  # of a user's own loss, for outputs of another form
                continue
            if np.isfinite(value):
                found.append(value)
    return min(found)


def best_loss(loss: Loss, batch: Batch, outputs: np.ndarray) -> float:
    """The loss of outputs that are right: above 0 where targets are probabilities between 0 and 1.

    It is 0 for losses of the user's own, of which nothing is known.
    """
    targets = np.asarray(batch.y, np.float64)
    if not loss.contains or targets.shape != outputs.shape:
        return 0.0
    shares = np.clip(targets, _SMALLEST, 1 - _SMALLEST)
    right = np.log(shares) - (np.log(1 - shares) if loss.kind == "binary" else 0.0)
    with ignore_overflow():
        losses = loss(right.astype(outputs.dtype), np.asarray(batch.y))
        return max(float(mean_loss(losses, len(targets), batch.weight)), 0.0)


def _constants(
    loss: Loss, targets: np.ndarray, weight: np.ndarray | None, outputs: np.ndarray
) -> Iterator[np.ndarray]:
    yield outputs.mean(axis=0)
    if loss.takes_labels and targets.ndim == 1:
        weighed = np.bincount(targets.astype(int), weight, outputs.shape[1])[: outputs.shape[1]]
        shares = weighed / max(weighed.sum(), 1e-300)
        yield np.log(np.maximum(shares, _SMALLEST))
        return
    if targets.shape != outputs.shape:
        return
    mean = np.average(targets, axis=0, weights=weight)
    if loss.kind in ("classes", "distributions"):
        yield np.log(np.maximum(mean, _SMALLEST))
    elif loss.kind == "binary":
        share = np.clip(mean, _SMALLEST, 1 - _SMALLEST)
        yield np.log(share / (1 - share))
        yield np.sign(mean - np.median(np.unique(targets)))
    else:
        yield mean
        yield np.median(targets, axis=0)
