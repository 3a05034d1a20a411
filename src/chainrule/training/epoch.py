"""One epoch as a training step is driven through it: its samples, their order, what comes out.

A step, eager or compiled, takes as many batches at a time as it is allowed to before somebody looks
(`TrainingStep.run`). Here is the loop over batches that serves a step which is one Python call; an
engine that runs many steps in one call of its own has all it needs in `Epoch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from time import perf_counter
from typing import Any, Protocol, TypeAlias, final

import numpy as np

from chainrule.training.samples import Batch, Samples
from chainrule.training.step import Learned

__all__ = ["Epoch", "TakeBatch", "TrainingStep", "run_batches"]

_BUFFER_BYTES = 2**16  # shuffled samples are gathered so many at once, to stay in the cache

TakeBatch: TypeAlias = Callable[[tuple[Any, ...], float, int, Any], tuple[Any, Any]]
"""(inputs, learning rate, step, rng) -> (loss, outputs): one step on what it belongs to."""


@final
class Epoch:
    """The batches of one epoch after the other, and the arrays that their results are put in.

    `begin` starts an epoch: `order` are the indices of the samples in the order they are taken
    (None: as they stand), `rates` the learning rate of each batch, `first_step` the number of the
    first step, from 1. `done` is how many batches of it have been taken. Their losses stand in
    `losses` (n_batches,), and the outputs, in the order of the samples, in `outputs` (None where
    nobody wants them).
    """

    def __init__(self, samples: Samples, batch_size: int, outputs: np.ndarray | None) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.outputs = outputs
        starts = np.arange(0, len(samples), batch_size)
        self.losses = np.empty(len(starts))
        self.order: np.ndarray | None = None
        self.rates: list[float] = []
        self.first_step = 1
        self.done = 0
        x = samples.x
        batches = max(1, _BUFFER_BYTES // max(1, x[:batch_size].nbytes))
        self._buffer = np.empty((min(batches * batch_size, len(x)), *x.shape[1:]), x.dtype)
        self.y, self.weight = samples.y, samples.weight

    def begin(self, order: np.ndarray | None, rates: list[float], first_step: int) -> None:
        """Start an epoch with this order, these learning rates, and this number of its first step.

        The targets and weights are put in order; the inputs only while they are taken.
        """
        self.order, self.rates, self.first_step, self.done = order, rates, first_step, 0
        if order is not None:
            self.y = self.samples.y[order]
            weight = self.samples.weight
            self.weight = None if weight is None else weight[order]
        self.remaining = self._batches()

    @property
    def last_loss(self) -> float:
        """The loss of the batch taken last."""
        return float(self.losses[self.done - 1])

    def _batches(self) -> Iterator[tuple[int, int, tuple[np.ndarray, ...]]]:
        """Where each batch starts and stops in the epoch, and what the step takes of it.

        Shuffled inputs are gathered many batches at a time where they are small, one at a time
        where they are large, so that the step finds them in the cache.
        """
        size, y, weight = self.batch_size, self.y, self.weight
        for first, x in self._gathered():
            for start in range(0, len(x), size):
                begin, end = first + start, first + start + size
                if weight is None:
                    yield begin, end, (x[start : start + size], y[begin:end])
                else:
                    yield begin, end, (x[start : start + size], y[begin:end], weight[begin:end])

    def _gathered(self) -> Iterator[tuple[int, np.ndarray]]:
        """The inputs in the order of the epoch, in one piece or in several."""
        x, order = self.samples.x, self.order
        if order is None:
            yield 0, x
            return
        for first in range(0, len(x), len(self._buffer)):
            rows = order[first : first + len(self._buffer)]
            gathered = self._buffer[: len(rows)]
            np.take(x, rows, axis=0, out=gathered, mode="clip")  # "raise" would gather twice
            yield first, gathered


class TrainingStep(Protocol):
    """A step with what it learns: parameters, slots and state are its own, and handed out here."""

    def run(self, epoch: Epoch, rng: Any, until: float, interrupted: Sequence[bool]) -> int:
        """Take batches of the epoch until the time `until`, at least one; how many it took.

        `until` is a value of `perf_counter`. Raises KeyboardInterrupt after a step where
        `interrupted` is no longer empty.
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


def run_batches(
    epoch: Epoch,
    rng: Any,
    until: float,
    interrupted: Sequence[bool],
    taker: Callable[[tuple[Any, ...]], TakeBatch],
) -> int:
    """`TrainingStep.run` for a step that is a Python call; `taker` gives it for such inputs.

    It is asked again where a batch is of another size. What a step costs beside itself is this
    loop.
    """
    losses, outputs, rates, step = epoch.losses, epoch.outputs, epoch.rates, epoch.first_step
    first = index = epoch.done
    size = -1
    try:
        for start, stop, inputs in epoch.remaining:
            if len(inputs[0]) != size:
                size, take = len(inputs[0]), taker(inputs)
            loss, out = take(inputs, rates[index], step + index, rng)
            losses[index] = loss
            index += 1
            if outputs is not None:
                outputs[start:stop] = out
            if interrupted:
                raise KeyboardInterrupt
            if perf_counter() >= until:
                break
    finally:
        epoch.done = index
    return index - first
