"""Training by the steps of an optimizer, one per batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import final

import numpy as np

from chainrule import scope, tree
from chainrule.engines.batches import Batches
from chainrule.optim import Optimizer
from chainrule.training.compiling import StepMaker
from chainrule.training.goal import ignore_overflow
from chainrule.training.interrupts import deferred_interrupts
from chainrule.training.orders import Orders
from chainrule.training.session import Session, describe_nonfinite
from chainrule.training.step import Learned

__all__ = ["Descent"]

_LOOK_SECONDS = 0.1  # how often progress and loss are looked at within an epoch
_SHORT_SECONDS = 0.01  # an epoch that Python takes as much as a hundredth of


@final
class Descent:
    """Training by the steps of an optimizer.

    `make_step` gives the step that is driven, compiled or not. It is called at the start, and again
    with what a callback has changed, where the step depends on that. The parameters that the step
    has moved on from the network's are saved into it whenever somebody may look at them.
    """

    def __init__(
        self,
        session: Session,
        optimizer: Optimizer,
        make_step: StepMaker,
        orders: Orders,
        layer_rng: np.random.Generator,
    ) -> None:
        self.session = session
        self.optimizer = optimizer
        self.make_step = make_step
        self.orders = orders
        self.layer_rng = layer_rng
        self.step = make_step()
        self.is_saved = True
        goal, samples = session.goal, session.training
        outputs = None  # of the epoch, for its metrics
        if goal.metrics:
            shape = (orders.most_samples, *goal.network.output_shape)
            outputs = np.empty(shape, goal.network.dtype)
        weight = () if samples.weight is None else (samples.weight,)
        arrays = (samples.x, samples.y, *weight)
        self.epoch = Batches(arrays, orders.batch_size, outputs, orders.most_samples)

    @property
    def n_batches(self) -> int:
        """How many batches the epoch has."""
        return len(self.epoch.losses)

    def _shares(self) -> np.ndarray:
        """The share of each batch in the epoch's mean loss."""
        epoch = self.epoch
        sizes = np.full(self.n_batches, epoch.batch_size)
        sizes[-1] = epoch.rows(self.n_batches - 1)
        return sizes / epoch.n_samples

    def run(self) -> None:
        """Take epochs until all are done, or something stops the run."""
        with self.step.thread_limit():
            try:
                self._run()
            except KeyboardInterrupt:
                if not self.is_saved and not self._nonfinite_parameters():
                    self._save()  # the last finished update
                raise

    def _run(self) -> None:
        run = self.session.run
        hurries = self._may_hurry()
        while run.epoch < run.epochs and not run.stopped_by and not self.session.problem:
            run.epoch += 1
            self._run_epoch()
            if self.epoch.done < self.n_batches:
                return  # stopped within the epoch
            is_short = bool(run.history.seconds) and run.history.seconds[-1] < _SHORT_SECONDS
            hurries = hurries and is_short and self._take_many_epochs()

    def _run_epoch(self) -> None:
        """One epoch, and what is to be done at its ends."""
        session, run = self.session, self.session.run
        began = perf_counter()
        order = self.orders.draw(run.epoch)
        session.call("on_epoch_begin")
        if session.has_callbacks:
            self._take_over()
        self._begin(order)
        with ignore_overflow(), session.detection():
            self._take_epoch()
        if session.problem:
            return
        self._save()
        if self.epoch.done < self.n_batches:
            return  # a callback stopped it within the epoch
        row = {"loss": float(self.epoch.losses @ self._shares())}
        if self.epoch.outputs is not None:
            weight = session.training.metric_weight
            weight = weight if order is None or weight is None else weight[order]
            targets = session.training.y if order is None else session.training.y[order]
            row.update(session.goal.measure(self.epoch.outputs, targets, weight))
        session.end_epoch(row, self.epoch.rates[-1], began)

    def _begin(self, order: np.ndarray | None) -> None:
        """Start an epoch in this order, with the learning rates of its steps."""
        first, epoch = self.session.run.step + 1, self.epoch
        epoch.begin(order, [], first)
        if callable(self.optimizer.learning_rate):
            epoch.rates = [self._rate(first + i) for i in range(self.n_batches)]
        else:
            epoch.rates = [self._rate(first)] * self.n_batches

    def _may_hurry(self) -> bool:
        """Whether nobody looks between two epochs, so that many may run in one call."""
        session = self.session
        is_watched = session.has_callbacks or session.validation is not None
        is_watched = is_watched or session.progress is not None or session.detects_nonfinite
        is_steady = not callable(self.optimizer.learning_rate) and self.epoch.outputs is None
        return is_steady and not is_watched and self.orders.are_whole

    def _take_many_epochs(self) -> bool:
        """As many epochs as are done within a moment, again and again; False where an engine takes
        none, or comes to one that is not finite, which is then taken by itself.

        How many that is shows the last one, which was taken by itself and was short.
        """
        run = self.session.run
        rngs = [self.orders.rng, self.layer_rng]
        count = _epochs_in_a_moment(run.history.seconds[-1])
        start = tree.map_tree(np.array, self.step.read_state())
        with deferred_interrupts() as interrupted:
            while run.epoch < run.epochs:
                n_epochs = min(count, self.session.next_look - run.epoch)
                for kept, now in zip(
                    *map(tree.flatten, (start, self.step.read_state())), strict=True
                ):
                    np.copyto(kept, now)
                states = [rng.bit_generator.state for rng in rngs]
                began = perf_counter()
                taken = self._hurry(n_epochs)
                if taken is None:
                    return False
                if len(taken) < n_epochs:
                    self.step.write_state(start)
                    for rng, state in zip(rngs, states, strict=True):
                        rng.bit_generator.state = state
                    taken = self._hurry(len(taken)) if len(taken) else taken
                    assert taken is not None
                seconds = perf_counter() - began
                self._record(taken, seconds)
                if interrupted:
                    raise KeyboardInterrupt
                if len(taken) < n_epochs:
                    return False
                count = _epochs_in_a_moment(seconds / n_epochs)
        return True

    def _hurry(self, n_epochs: int) -> np.ndarray | None:
        """The losses of so many epochs, in one call."""
        self._begin(None)
        self.is_saved = False
        order_rng = self.orders.rng if self.orders.is_shuffled else None
        return self.step.run_epochs(self.epoch, n_epochs, order_rng, self.layer_rng)

    def _record(self, losses: np.ndarray, seconds: float) -> None:
        """Put epochs that were taken in one call down in the history."""
        run, n_epochs = self.session.run, len(losses)
        if n_epochs:
            # row by row, as epochs are taken one by one: a product of all rounds otherwise
            means = np.vecdot(losses, self._shares()).tolist()
            rates = [self._rate(run.step + 1)] * n_epochs
            seconds_each = [seconds / n_epochs] * n_epochs
            run.history.extend({"loss": means, "learning_rate": rates}, seconds_each)
            run.epoch += n_epochs
            run.step += n_epochs * self.n_batches
            run.batch, run.loss = self.n_batches, float(losses[-1, -1])
            self.epoch.done = self.n_batches
            self._save()
            self.session.look()

    def _take_over(self) -> None:
        """Let the step have what callbacks have changed: parameters, state, options of layers."""
        learned = self.step.read_state()
        if changed := self.step.outdated():
            self.step = self.make_step(changed)
        self._write_parameters(learned)

    def _write_parameters(self, learned: Learned) -> None:
        """Let the step go on from the network's parameters and state, and these slots."""
        network = self.session.goal.network
        self.step.write_state(learned._replace(flat=network.parameters.flat, state=network.state))

    def _take_epoch(self) -> None:
        """All steps of an epoch, and between them what there is to look at."""
        session, epoch = self.session, self.epoch
        network = session.goal.network
        watched = bool(session.hooks["on_batch_end"])
        start = (network.parameters.flat.copy(), _copies(network.state)) if watched else None
        pause = 0.0 if watched or session.detects_nonfinite else _LOOK_SECONDS
        with deferred_interrupts() as interrupted:
            while epoch.done < self.n_batches:
                self._take_batches(perf_counter() + pause, interrupted)
                if not self._look():
                    break
                if watched and epoch.done < self.n_batches:  # a callback may have changed them
                    self._write_parameters(self.step.read_state())
                    epoch.rates[epoch.done] = self._rate(epoch.first_step + epoch.done)
        if problem := self._find_nonfinite():
            if start is not None:
                session.save(*start)
            session.fail(
                problem, is_first=epoch.first_step == 1 and not math.isfinite(epoch.losses[0])
            )

    def _take_batches(self, until: float, interrupted: Sequence[bool]) -> None:
        """The steps until somebody looks; an error that detection raises says which one it was."""
        run, epoch = self.session.run, self.epoch
        self.is_saved = False
        try:
            self.step.run(epoch, self.layer_rng, until, interrupted)
        except scope.NonFiniteError as error:
            raise scope.NonFiniteError(f"{self._where(epoch.done + 1)}: {error}") from None
        run.batch, run.step = epoch.done, epoch.first_step - 1 + epoch.done
        run.loss = epoch.last_loss
        if self.session.detects_nonfinite and (problem := self._nonfinite_parameters()):
            raise scope.NonFiniteError(f"{self._where(epoch.done)}: the update {problem}")

    def _where(self, batch: int) -> str:
        return f"epoch {self.session.run.epoch}, batch {batch}"

    def _rate(self, step: int) -> float:
        return self.session.run.learning_rate_factor * self.optimizer.learning_rate_at(step)

    def _save(self) -> None:
        learned = self.step.read_state()
        self.session.save(learned.flat, learned.state)
        self.is_saved = True

    def _look(self) -> bool:
        """See after a step how things are; False where the epoch is to end here."""
        session, run = self.session, self.session.run
        if not math.isfinite(run.loss):
            return False
        if session.progress is not None:
            session.progress.update(run.epoch, run.batch / self.n_batches, run.loss)
        if session.hooks["on_batch_end"]:
            self._save()
            session.call("on_batch_end")
        return not run.stopped_by

    def _find_nonfinite(self) -> str:
        """What in the epoch so far was not finite, "" where all is well."""
        losses = self.epoch.losses[: self.epoch.done]
        if not np.isfinite(losses).all():
            batch = int(np.argmax(~np.isfinite(losses)))
            return f"the loss became {losses[batch]} in {self._where(batch + 1)}"
        if problem := self._nonfinite_parameters():
            return f"the last update of epoch {self.session.run.epoch} {problem}"
        return ""

    def _nonfinite_parameters(self) -> str:
        flat = self.step.read_state().flat
        if np.isfinite(flat).all():
            return ""
        return describe_nonfinite(self.session.goal.network.parameters.unflatten(flat))


def _epochs_in_a_moment(seconds: float) -> int:
    """How many epochs are taken before somebody looks, each of which takes so long."""
    return max(1, int(_LOOK_SECONDS / max(seconds, 1e-9)))


def _copies(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in arrays.items()}
