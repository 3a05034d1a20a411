"""What is diagnosed: copies of a network, its training and a bounded number of samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import numpy as np

from chainrule.diagnosis.relation import Relation, feature_rows, relation, target_rows
from chainrule.optim import Optimizer
from chainrule.training.goal import Goal
from chainrule.training.samples import Batch, Samples

__all__ = ["MOST_SAMPLES", "Case", "as_batch"]

MOST_SAMPLES = 1024  # looked at, of each part: more say little more about any cause
_FEWEST_FOR_RELATION = 24  # rows that leave-one-out errors mean anything for
_SHARE_HELD = 4  # where there is no validation part, one sample in so many is held out


@final
@dataclass
class Case:
    """One training: its goal (a copy of the network, the loss), its optimizer, its samples.

    `training` is what the trials train on and `held` what they are tried on: the validation part,
    or a quarter of the samples where none was given (then `is_own_held`), or None where they are
    few. `columns` are the inputs as they were handed over, of all samples looked at.
    """

    goal: Goal
    optimizer: Optimizer | None
    rate: float
    batch_size: int
    samples: Samples
    validation: Samples | None
    seed: int
    has_been_fit: bool
    is_own_held: bool = field(default=False, init=False)
    training: Samples = field(init=False)
    held: Samples | None = field(init=False)
    _relation: Relation | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.training, self.held = self.samples, self.validation
        if self.held is None and len(self.samples) >= _FEWEST_FOR_RELATION:
            self.training, self.held = self.split()
            self.is_own_held = True

    def split(self) -> tuple[Samples, Samples]:
        """Three quarters of the samples, and the rest."""
        n_held = len(self.samples) // _SHARE_HELD
        order = self.rng(7).permutation(len(self.samples))
        return self.samples.take(np.sort(order[n_held:])), self.samples.take(
            np.sort(order[:n_held])
        )

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose: what one draws changes nothing for another."""
        return np.random.default_rng((self.seed, purpose))

    @property
    def is_labels(self) -> bool:
        """Whether the targets are labels (N,), or rows of which one is 1 and the others 0."""
        return self.labels is not None

    @property
    def labels(self) -> np.ndarray | None:
        """The class of each sample (N,), or None for a regression."""
        return self.labels_of(self.samples.y)

    def labels_of(self, targets: np.ndarray) -> np.ndarray | None:
        """The class of each of these targets (N, ...), or None for a regression."""
        loss = self.goal.loss
        if targets.ndim == 1 and loss.takes_labels:
            return targets
        if not np.isin(targets, (-1, 0, 1)).all():
            return None
        if targets.ndim == 2 and targets.shape[1] > 1:
            is_one_hot = (targets >= 0).all() and (targets.sum(axis=1) == 1).all()
            return np.asarray(targets.argmax(axis=1)) if is_one_hot else None
        if loss.kind == "binary" or (loss.kind == "own" and targets.dtype.kind in "iu"):
            return (targets.reshape(len(targets), -1)[:, 0] > 0).astype(np.int64)
        return None

    @property
    def is_autoencoder(self) -> bool:
        """Whether the targets are the inputs."""
        x, y = self.samples.x, self.samples.y
        return x.size == y.size and np.allclose(x.reshape(-1), y.reshape(-1), rtol=1e-3)

    @property
    def rows(self) -> np.ndarray:
        """The inputs as rows of numbers (N, D)."""
        return feature_rows(self.samples.x)

    @property
    def relation(self) -> Relation | None:
        """How well inputs predict targets without a network; None for few samples, or alike."""
        enough = len(self.samples) >= _FEWEST_FOR_RELATION and np.ptp(self.samples.x, axis=0).any()
        if self._relation is None and enough:
            labels = self.labels
            targets = self.samples.y if labels is None else labels
            y = target_rows(targets, labels is not None)
            self._relation = relation(self.rows, y, self.rng(1))
        return self._relation


def as_batch(samples: Samples, most: int | None = None) -> Batch:
    """The first samples, at most so many, as one batch."""
    return samples.batch(slice(0, most))
