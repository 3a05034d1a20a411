"""Which samples the batches of an epoch take: as they stand, shuffled, drawn with replacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, final

import numpy as np

from chainrule.names import did_you_mean
from chainrule.training.inputs import check_count

__all__ = ["Orders", "Shuffle", "check_shuffle"]

Shuffle: TypeAlias = bool | Literal["replacement"]

_REPLACEMENT = "replacement"


def check_shuffle(shuffle: object) -> Shuffle:
    """What a user gave as `shuffle`; raises TypeError for what it cannot be."""
    if isinstance(shuffle, bool | np.bool_):
        return bool(shuffle)
    if shuffle == _REPLACEMENT:
        return "replacement"
    meant = did_you_mean(shuffle, [_REPLACEMENT]) if isinstance(shuffle, str) else ""
    raise TypeError(f"shuffle is {shuffle!r}{meant}: give True or False, or {_REPLACEMENT!r}")


@final
class Orders:
    """The epochs of a training: how many steps each has, and the samples in the order they take.

    An epoch takes each sample once, in batches of `batch_size`, the last as short as it is; or,
    with replacement, as many batches of samples drawn without regard to others. `steps` ends the
    last epoch after so many steps of all. With replacement both `epochs` and `steps` may be given:
    then these are so many parts of them, alike to one step.
    """

    def __init__(
        self,
        n_samples: int,
        batch_size: int,
        shuffle: Shuffle,
        rng: np.random.Generator,
        epochs: int | None = None,
        steps: int | None = None,
    ) -> None:
        self.n_samples, self.batch_size, self.rng = n_samples, batch_size, rng
        self.is_drawn = shuffle == _REPLACEMENT
        self.is_shuffled = bool(shuffle)
        a_pass = self._a_pass = -(-n_samples // batch_size)
        if steps is None:
            self.epochs = 1 if epochs is None else epochs
            self.ends: Sequence[int] = range(0, a_pass * self.epochs + 1, a_pass)
            return
        check_count("steps", steps)
        if epochs is not None:
            if not self.is_drawn:
                raise ValueError(
                    f"epochs={epochs} and steps={steps} are both given: give one, or both with "
                    "shuffle='replacement', where the steps are recorded in so many parts"
                )
            if steps < epochs:
                raise ValueError(f"steps={steps} cannot be parted into {epochs} epochs: give fewer")
        self.epochs = -(-steps // a_pass) if epochs is None else epochs
        if epochs is None:
            self.ends = [*range(0, steps, a_pass), steps]
        else:
            self.ends = [number * steps // epochs for number in range(epochs + 1)]

    @property
    def n_steps(self) -> int:
        """How many steps there are in all."""
        return self.ends[-1]

    @property
    def are_whole(self) -> bool:
        """Whether each epoch takes each sample once."""
        return not self.is_drawn and self.ends[-1] == self.epochs * self._a_pass

    @property
    def most_steps(self) -> int:
        """The steps of the longest epoch."""
        return max(b - a for a, b in zip(self.ends[:-1], self.ends[1:], strict=True))

    @property
    def most_samples(self) -> int:
        """The samples of the longest epoch, those drawn twice counted twice."""
        if self.is_drawn:
            return self.most_steps * self.batch_size
        return min(self.n_samples, self.most_steps * self.batch_size)

    @property
    def sizes(self) -> list[int]:
        """The sizes of batches that there will be."""
        left = self.most_samples % self.batch_size
        return [self.batch_size, left] if left else [self.batch_size]

    def draw(self, epoch: int) -> np.ndarray | None:
        """The indices of the samples of an epoch, counted from 1; None for all as they stand."""
        n_taken = (self.ends[epoch] - self.ends[epoch - 1]) * self.batch_size
        if self.is_drawn:
            return self.rng.integers(0, self.n_samples, n_taken)
        if self.is_shuffled:
            return self.rng.permutation(self.n_samples)[:n_taken]
        return None if n_taken >= self.n_samples else np.arange(n_taken)
