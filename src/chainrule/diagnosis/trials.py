"""Short trainings of a copy: by which rate, with or without penalties, on which samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from chainrule import tree
from chainrule.diagnosis.baseline import best_loss, constant_loss
from chainrule.diagnosis.case import Case, as_batch
from chainrule.optim import Optimizer
from chainrule.scope import NonFiniteError, detect_nonfinite
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep, first_state
from chainrule.training.goal import ignore_overflow
from chainrule.training.samples import Samples
from chainrule.training.step import Learned, Penalty, make_loss, mean_loss
from chainrule.training.trainable import Trainable
from chainrule.training.training_step import TrainingStep

__all__ = ["MOST_STEPS", "Curve", "Trials", "as_learned"]

MOST_STEPS = 1000
"""The training steps that one diagnosis takes at most, of batches of at most 128 samples or the
batch size if that is smaller: each no more than a step of `fit`."""

_LARGEST_BATCH = 128
_EVALUATED = 256  # samples that a loss is measured on


@final
@dataclass(frozen=True)
class Curve:
    """A trial: its rate, the loss of each step before its update, and what was learned.

    `before` and `after` are the losses of one set of samples, without penalties, as in training.
    """

    rate: float
    losses: np.ndarray
    learned: Learned
    before: float
    after: float

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.losses).all() and np.isfinite(self.after))


def as_learned(network: Trainable) -> Learned:
    """Copies of what the network has learned so far."""
    state = {name: array.copy() for name, array in network.state.items()}
    return Learned(network.parameters.flat.copy(), {}, state)


@final
class Trials:
    """Trains the case's network on its samples, a bounded number of steps in all."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.n_steps = 0
        self._steps: dict[Any, TrainingStep] = {}
        network = case.goal.network
        self.start = as_learned(network)
        self._loss_of = make_loss(network, case.goal.loss)
        batch = as_batch(case.training, _EVALUATED)
        outputs = self.outputs(self.start, case.training)
        self.constant = constant_loss(case.goal.loss, batch, outputs)
        self.best = best_loss(case.goal.loss, batch, outputs)

    def skill(self, loss: float) -> float:
        """What part of the best constant's loss is gone, of what can go: 1 for all of it, below 0
        for a loss that is larger.
        """
        if not np.isfinite(loss):
            return -np.inf
        possible = self.constant - self.best
        return 1 - (loss - self.best) / possible if possible > 0 else 0.0

    def run(
        self,
        optimizer: Optimizer,
        rate: float,
        n_steps: int,
        *,
        start: Learned | None = None,
        samples: Samples | None = None,
        penalties: Sequence[Penalty] | None = None,
        falls: bool = False,
    ) -> Curve:
        """So many steps from a start, or as many as are left; with `falls` the rate falls to 0."""
        case, begin = self.case, start or self.start
        penalties = case.goal.penalties if penalties is None else tuple(penalties)
        samples = case.training if samples is None else samples
        size = self.batch_size(samples)
        n_steps = max(0, min(n_steps, MOST_STEPS - self.n_steps))
        step = self._step(optimizer, penalties)
        fresh = first_state(case.goal.network, optimizer)
        step.write_state(Learned(begin.flat, fresh.slots, begin.state))
        losses = []
        order_rng, layer_rng = case.rng(5), case.rng(6)
        with ignore_overflow(), step.thread_limit():
            before = self.training_loss(begin, samples)
            for number, rows in enumerate(_batches(len(samples), size, n_steps, order_rng), 1):
                now = rate * (1 - (number - 1) / n_steps) if falls else rate
                part = samples.take(rows)
                loss, _ = step.take(part.batch(slice(None)), now, number, layer_rng)
                losses.append(float(loss))
                if not np.isfinite(losses[-1]):
                    break
            learned: Learned = tree.map_tree(np.array, step.read_state())
            after = self.training_loss(learned, samples)
        self.n_steps += len(losses)
        return Curve(rate, np.array(losses), learned, before, after)

    def batch_size(self, samples: Samples) -> int:
        """That of the user, as far as there are so many samples, and no more than a bound."""
        return min(self.case.batch_size, _LARGEST_BATCH, len(samples))

    def _step(self, optimizer: Optimizer, penalties: Sequence[Penalty]) -> TrainingStep:
        """A compiled step where there can be one: made once for each optimizer and penalties."""
        key = (repr(optimizer), len(penalties))
        if key not in self._steps:
            arguments = (self.case.goal.network, self.case.goal.loss, optimizer, penalties)
            step: TrainingStep
            try:
                step = CompiledStep(*arguments)
                step.compile_for(*as_batch(self.case.training, self.batch_size(self.case.training)))
            except Exception:  # whatever Python can do, the step as it is can
                step = EagerStep(*arguments)
            self._steps[key] = step
        return self._steps[key]

    def first_nonfinite(self, optimizer: Optimizer, rate: float, n_steps: int) -> tuple[int, str]:
        """The step of `run` that first makes a value that is not finite, and what made it."""
        case = self.case
        step = EagerStep(case.goal.network, case.goal.loss, optimizer, case.goal.penalties)
        fresh = first_state(case.goal.network, optimizer)
        step.write_state(Learned(self.start.flat, fresh.slots, self.start.state))
        size, order_rng, layer_rng = self.batch_size(case.training), case.rng(5), case.rng(6)
        n_steps = max(0, min(n_steps, MOST_STEPS - self.n_steps))
        for number, rows in enumerate(_batches(len(case.training), size, n_steps, order_rng), 1):
            self.n_steps += 1
            try:
                with ignore_overflow(), detect_nonfinite():
                    step.take(case.training.take(rows).batch(slice(None)), rate, number, layer_rng)
            except NonFiniteError as error:
                return number, str(error)
        return 0, ""

    def nonfinite_samples(self) -> np.ndarray:
        """The training samples whose loss is not finite, as it stands."""
        batch = as_batch(self.case.training)
        losses = self._losses(self.start, self.case.training)
        bad = ~np.isfinite(losses) if losses.shape == (len(batch.x),) else np.zeros(1, bool)
        return np.flatnonzero(bad)

    def _losses(self, learned: Learned, samples: Samples) -> np.ndarray:
        network = self.case.goal.network
        parameters = network.parameters.unflatten(learned.flat)
        with ignore_overflow():
            outputs = [
                np.asarray(network.apply(parameters, learned.state, part, False, None)[0])
                for part in np.array_split(samples.x, -(-len(samples) // _EVALUATED))
            ]
            return np.asarray(self.case.goal.loss(np.concatenate(outputs), samples.y))

    def training_loss(self, learned: Learned, samples: Samples) -> float:
        """The loss of the first samples as in training: statistics of the batch, units dropped."""
        parameters = self.case.goal.network.parameters.unflatten(learned.flat)
        batch = as_batch(samples, _EVALUATED)
        with ignore_overflow():
            return float(self._loss_of(parameters, learned.state, batch, self.case.rng(3))[0])

    def outputs(self, learned: Learned, samples: Samples) -> np.ndarray:
        """What the network gives for the first samples, as in prediction."""
        network = self.case.goal.network
        parameters = network.parameters.unflatten(learned.flat)
        with ignore_overflow():
            x = samples.x[:_EVALUATED]
            return np.asarray(network.apply(parameters, learned.state, x, False, None)[0])

    def loss(self, learned: Learned, samples: Samples) -> float:
        """The loss of the first samples as in prediction, without penalties."""
        outputs, batch = self.outputs(learned, samples), as_batch(samples, _EVALUATED)
        with ignore_overflow():
            losses = self.case.goal.loss(outputs, np.asarray(batch.y))
            return float(mean_loss(losses, len(outputs), batch.weight))


def _batches(n_samples: int, size: int, n_steps: int, rng: np.random.Generator) -> Any:
    """The rows of so many batches, each sample once before any comes again."""
    left = np.empty(0, int)
    for _ in range(n_steps):
        if len(left) < size:
            left = rng.permutation(n_samples)
        rows, left = left[:size], left[size:]
        yield rows
