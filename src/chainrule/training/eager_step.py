"""The training step as it is: the pure function of `step.py`, called for each batch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, final

import numpy as np

from chainrule.engines.batches import Batches, run_all, run_batches
from chainrule.engines.threads import limit_threads
from chainrule.optim import Optimizer
from chainrule.training.losses import LossFunction
from chainrule.training.samples import Batch
from chainrule.training.step import Learned, Penalty, make_step
from chainrule.training.trainable import Trainable

__all__ = ["EagerStep", "first_state"]


def first_state(network: Trainable, optimizer: Optimizer) -> Learned:
    """What a training starts from: copies of the network's arrays, and the optimizer's slots."""
    flat = network.parameters.flat.copy()
    slots = {name: np.array(slot) for name, slot in optimizer.init(flat).items()}
    return Learned(flat, slots, {name: array.copy() for name, array in network.state.items()})


@final
class EagerStep:
    """A training step that is recorded and differentiated anew for each batch.

    Slower for small networks than a compiled one, but whatever Python can do it can.
    """

    engine = "eager"
    compiler = ""
    flags: tuple[str, ...] = ()

    def __init__(
        self,
        network: Trainable,
        loss: LossFunction,
        optimizer: Optimizer,
        penalties: Sequence[Penalty] = (),
    ) -> None:
        self._train_step = make_step(network, loss, optimizer, penalties)
        self._learned = first_state(network, optimizer)

    def run(self, batches: Batches, rng: Any, until: float, interrupted: Sequence[bool]) -> int:
        """Take batches until the time `until`, at least one; how many it took."""

        def run_alike() -> int:
            return run_batches(batches, rng, until, interrupted, self._take)

        return run_all(batches, until, run_alike)

    def run_epochs(
        self, batches: Batches, n_epochs: int, order_rng: np.random.Generator | None, rng: Any
    ) -> None:
        """Nothing: this step takes one batch after the other."""

    def take(
        self, batch: Batch, learning_rate: float, step: int, rng: Any = None
    ) -> tuple[Any, Any]:
        """One step: the loss and the outputs before it."""
        # What has been learned is one tuple: an exception finds all of an update or nothing.
        loss, outputs, self._learned = self._train_step(
            self._learned, batch, learning_rate, step, rng
        )
        return loss, outputs

    def _take(
        self, inputs: tuple[Any, ...], learning_rate: float, step: int, rng: Any
    ) -> tuple[Any, Any]:
        return self.take(Batch(*inputs), learning_rate, step, rng)

    def read_state(self) -> Learned:
        """What has been learned so far."""
        return self._learned

    def write_state(self, learned: Learned) -> None:
        """Go on from these parameters, slots and state."""
        flat, slots, state = learned
        copies = [{name: np.array(a) for name, a in arrays.items()} for arrays in (slots, state)]
        self._learned = Learned(flat.copy(), *copies)

    def outdated(self) -> str:
        """Nothing is kept from call to call that could be."""
        return ""

    def thread_limit(self) -> AbstractContextManager[None]:
        """The user's own setting: which products there are is not known beforehand."""
        return limit_threads(None)
