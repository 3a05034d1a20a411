"""The batches of an epoch as a program takes them: their arrays, their order, what comes out.

A program takes as many batches at a time as it is allowed to before somebody looks. Here is the
loop over them for a step that is one Python call; an engine that runs many steps in one call of its
own has all it needs in `Batches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, TypeAlias, final

import numpy as np

__all__ = ["Batches", "Take", "run_all", "run_batches"]

_BUFFER_BYTES = 2**16  # shuffled samples are gathered so many at once, to stay in the cache

Take: TypeAlias = Callable[[tuple[Any, ...], float, int, Any], tuple[Any, ...]]
"""(arrays of a batch, learning rate, step, rng) -> (loss, outputs): one step."""


@final
class Batches:
    """The batches of one epoch after the other, and the arrays that their results are put in.

    `arrays` are inputs (N, ...), targets (N, ...) and, where samples have them, weights (N,).
    `begin` starts an epoch: `order` are the indices of the samples in the order they are taken
    (None: as they stand), `rates` the learning rate of each batch, `first_step` the number of the
    first step, from 1. `done` is how many batches of it have been taken. Their losses stand in
    `losses` (n_batches,), and the outputs, in the order of the samples, in `outputs` (None where
    nobody wants them). An order may leave samples out and name others twice: `n_samples` is how
    many it takes, `most` at most.
    """

    def __init__(
        self,
        arrays: tuple[np.ndarray, ...],
        batch_size: int,
        outputs: np.ndarray | None,
        most: int | None = None,
    ) -> None:
        self.arrays = arrays
        self.batch_size = batch_size
        self.outputs = self._all_outputs = outputs
        self.n_samples = len(arrays[0]) if most is None else most
        self.losses = self._all_losses = np.empty(-(-self.n_samples // batch_size))
        self.order: np.ndarray | None = None
        self.rates: list[float] = []
        self.first_step = 1
        self.done = 0
        x = arrays[0]
        n_rows = batch_size * max(1, _BUFFER_BYTES // max(1, x[:batch_size].nbytes))
        self._buffer = np.empty((min(n_rows, self.n_samples), *x.shape[1:]), x.dtype)
        self._ordered: tuple[np.ndarray, ...] = arrays[1:]
        self._position = -1
        self._remaining: Iterator[tuple[int, int, tuple[np.ndarray, ...]]] = iter(())

    def begin(self, order: np.ndarray | None, rates: list[float], first_step: int) -> None:
        """Start an epoch with this order, these learning rates, and this number of its first step.

        Targets and weights are put in order when the first batch is taken; the inputs part by part.
        """
        self.order, self.rates, self.first_step, self.done = order, rates, first_step, 0
        self.n_samples = len(self.arrays[0] if order is None else order)
        self.losses = self._all_losses[: -(-self.n_samples // self.batch_size)]
        if self._all_outputs is not None:
            self.outputs = self._all_outputs[: self.n_samples]
        self._position = -1

    @property
    def last_loss(self) -> float:
        """The loss of the batch taken last."""
        return float(self.losses[self.done - 1])

    @property
    def is_done(self) -> bool:
        """Whether all batches of the epoch have been taken."""
        return self.done == len(self.losses)

    def rows(self, index: int) -> int:
        """How many samples a batch has: the last one may have fewer."""
        return min(self.batch_size, self.n_samples - index * self.batch_size)

    def example(self) -> tuple[np.ndarray, ...]:
        """Arrays of the shapes and dtypes of the next batch."""
        return tuple(array[: self.rows(self.done)] for array in self.arrays)

    def n_alike(self) -> int:
        """How many of the next batches have the size of the first of them."""
        whole = self.n_samples // self.batch_size
        return whole - self.done if self.done < whole else len(self.losses) - self.done

    def following(self) -> Iterator[tuple[int, int, tuple[np.ndarray, ...]]]:
        """The next batches: where each starts and stops in the epoch, and its arrays."""
        if self._position != self.done:
            if self.order is not None and self._position < 0:
                self._ordered = tuple(array[self.order] for array in self.arrays[1:])
            self._position = self.done
            self._remaining = self._from(self.done * self.batch_size)
        return self._remaining

    def _from(self, first_row: int) -> Iterator[tuple[int, int, tuple[np.ndarray, ...]]]:
        """Shuffled inputs are gathered many batches at a time where they are small, one at a time
        where they are large, so that the step finds them in the cache.
        """
        size, others = self.batch_size, self._ordered
        for first, x in self._gathered(first_row):
            for start in range(0, len(x), size):
                begin, end = first + start, first + start + size
                self._position += 1
                yield begin, end, (x[start : start + size], *[a[begin:end] for a in others])

    def _gathered(self, first_row: int) -> Iterator[tuple[int, np.ndarray]]:
        """The inputs in the order of the epoch, in one piece or in several."""
        x, order = self.arrays[0], self.order
        if order is None:
            yield first_row, x[first_row:]
            return
        for first in range(first_row, len(order), len(self._buffer)):
            rows = order[first : first + len(self._buffer)]
            gathered = self._buffer[: len(rows)]
            np.take(x, rows, axis=0, out=gathered, mode="clip")  # "raise" would gather twice
            yield first, gathered


def run_batches(
    batches: Batches, rng: Any, until: float, interrupted: Sequence[bool], take: Take
) -> int:
    """Take batches of equal size until the time `until`, at least one, by calls of `take`.

    Returns how many it took. `until` is a value of `perf_counter`. Raises KeyboardInterrupt after a
    step where `interrupted` is no longer empty. What a step costs beside itself is this loop.
    """
    losses, outputs, rates, step = (
        batches.losses, batches.outputs, batches.rates, batches.first_step,
    )  # fmt: skip
    first = index = batches.done
    try:
        for start, stop, inputs in islice(batches.following(), batches.n_alike()):
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
        batches.done = index
    return index - first


def run_all(batches: Batches, until: float, run: Callable[[], int]) -> int:
    """Take batches of whatever size until the time `until`, by calls of `run` for equal ones."""
    taken = run()
    while not batches.is_done and perf_counter() < until:
        taken += run()
    return taken
