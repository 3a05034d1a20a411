"""What a training drives: a step that holds what it learns."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from chainrule.engines.batches import Batches
from chainrule.training.history import RunsOnEngine
from chainrule.training.samples import Batch
from chainrule.training.step import Learned

__all__ = ["TrainingStep"]


class TrainingStep(RunsOnEngine, Protocol):
    """A step with what it learns: parameters, slots and state are its own, and handed out here."""

    def run(self, batches: Batches, rng: Any, until: float, interrupted: Sequence[bool]) -> int:
        """Take batches until the time `until`, at least one; how many it took.

        `until` is a value of `perf_counter`. Raises KeyboardInterrupt after a step where
        `interrupted` is no longer empty.
        """

    def run_epochs(
        self, batches: Batches, n_epochs: int, order_rng: np.random.Generator | None, rng: Any
    ) -> np.ndarray | None:
        """Take whole epochs in one call: the losses (epochs, n_batches) of those that were finite.

        None where the step takes one batch after the other.
        """

    def take(
        self, batch: Batch, learning_rate: float, step: int, rng: Any = None
    ) -> tuple[Any, Any]:
        """One step: the loss and the outputs before it."""

    def read_state(self) -> Learned:
        """What has been learned; the arrays are the step's own, and change with the next one."""

    def write_state(self, learned: Learned) -> None:
        """Go on from these parameters, slots and state."""

    def outdated(self) -> str:
        """What has changed since the step was made that it depends on, "" for nothing."""

    def thread_limit(self) -> AbstractContextManager[Any]:
        """The number of threads that suits the step, for as long as it is used."""
