"""What happens around the steps of one training run.

`Session` is the common part: measure and record each epoch, call the callbacks, keep the network's
parameters a consistent set however the run ends. `Descent` takes an optimizer's steps batch by
batch; `iterate` lets a full-batch minimizer run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar, final

import numpy as np
import numpy.typing as npt

from chainrule import scope
from chainrule.autodiff import hvp, value_and_grad
from chainrule.engines.compiled import compile as compile_function
from chainrule.nn.network import Network
from chainrule.optim import Minimizer, Optimizer
from chainrule.training.callbacks import Run
from chainrule.training.inputs import Samples
from chainrule.training.interrupts import deferred_interrupts
from chainrule.training.metrics import Metric
from chainrule.training.step import Arrays, Penalty, make_evaluate, make_loss, mean_loss

__all__ = ["Descent", "Objective", "Session", "Task", "iterate"]

Array = npt.NDArray[Any]
T = TypeVar("T")

_EVALUATE_ROWS = 1024  # enough to fill the matrix products, few enough to stay in the cache
_BUFFER_BYTES = 2**16  # shuffled samples are gathered so many at once, to stay in the cache too
_LOOK_SECONDS = 0.1  # how often progress and loss are looked at within an epoch


@dataclass(frozen=True)
class Task:
    """What is trained, on which loss, and what is measured."""

    network: Network
    loss: Callable[..., Any]
    penalties: tuple[Penalty, ...]
    metrics: Mapping[str, Metric]

    def measure(self, outputs: Array, targets: Array, weight: Array | None) -> dict[str, float]:
        """The metrics of all samples at once."""
        return {name: metric(outputs, targets, weight) for name, metric in self.metrics.items()}

    def evaluate(self, samples: Samples, batch_size: int | None = None) -> dict[str, float]:
        """The loss, penalties included, and the metrics, by the network's present parameters."""
        network = self.network
        evaluate_batch = make_evaluate(network, self.loss)
        n_samples, rows = len(samples.x), batch_size or _EVALUATE_ROWS
        total, outputs = 0.0, []
        with _ignore_overflow():
            for start in range(0, n_samples, rows):
                x, y, weight, _ = samples.take(slice(start, start + rows))
                losses, out = evaluate_batch(network.parameters, network.state, x, y)
                total += float(mean_loss(losses, len(x), weight)) * (len(x) / n_samples)
                outputs.append(np.asarray(out))
            total += sum(float(penalty(network.parameters)) for penalty in self.penalties)
            measured = self.measure(np.concatenate(outputs), samples.y, samples.metric_weight)
        return {"loss": total, **measured}


@final
class Session:
    """One run: its data, and what is done at its start, after each epoch, and at its end.

    Parameters that training has moved on from the network's own wait in `unsaved`, always a
    finished update as one tuple, until `save` copies them into the network. `problem` is why a run
    was ended that had become useless, "" where it was not.
    """

    def __init__(
        self,
        task: Task,
        training: Samples,
        validation: Samples | None,
        run: Run,
        hooks: dict[str, list[Callable[[Run], object]]],
        progress: Any,
        detect_nonfinite: bool,
    ) -> None:
        self.task = task
        self.training = training
        self.validation = validation
        self.run = run
        self.hooks = hooks
        self.progress = progress
        self.detects_nonfinite = detect_nonfinite
        self.unsaved: tuple[Array, Arrays] | None = None
        self.problem = ""

    def begin(self) -> None:
        """Before the first epoch."""
        if self.progress is not None:
            self.progress.begin(self.run.epochs, len(self.training.x))
        self.call("on_fit_begin")

    def call(self, moment: str) -> None:
        """Let the callbacks act."""
        for hook in self.hooks[moment]:
            hook(self.run)
        if self.run.notes:
            if self.progress is not None:
                for note in self.run.notes:
                    self.progress.note(note)
            self.run.notes.clear()

    def end_epoch(self, row: dict[str, float], learning_rate: float | None, began: float) -> None:
        """After an epoch whose parameters are saved: validate, record, report."""
        run = self.run
        if self.validation is not None:
            validated = self.task.evaluate(self.validation)
            row = {**row, **{f"val_{name}": value for name, value in validated.items()}}
        if learning_rate is not None:
            row = {**row, "learning_rate": learning_rate}
        run.history.append(row, perf_counter() - began)
        if self.progress is not None:
            self.progress.end_epoch(run.epoch, row)
        self.call("on_epoch_end")

    def save(self) -> None:
        """Copy the parameters and the state after the last finished update into the network."""
        if self.unsaved is not None:
            flat, state = self.unsaved
            self.task.network.parameters.flat[...] = flat
            for name, array in state.items():
                self.task.network.state[name][...] = array
            self.unsaved = None

    def fail(self, problem: str) -> None:
        """End the run because of a number that is not finite."""
        self.run.stop("nonfinite")
        self.problem = (
            f"training stopped: {problem}. The network keeps the parameters it had "
            f"after {self.run.history.epochs} epochs. Try a smaller learning rate, clip_norm= or "
            "scaled inputs; fit(..., detect_nonfinite=True) finds the layer where it happens"
        )

    def interrupt(self) -> None:
        """End the run because of Ctrl-C."""
        self.save()
        self.run.stopped_by = "interrupt"
        done = f"after {self.run.history.epochs} of {self.run.epochs} epochs"
        self.run.note(f"interrupted {done}: the network keeps what it has learned")

    def end(self) -> None:
        """After the last epoch, also where an exception ended it."""
        self.run.history.stopped_by = self.run.stopped_by or "epochs"
        try:
            self.call("on_fit_end")
        finally:
            if self.progress is not None:
                self.progress.close()

    def detection(self) -> AbstractContextManager[None]:
        """Look for values that are not finite, where that was asked for."""
        return scope.detect_nonfinite() if self.detects_nonfinite else nullcontext()


@final
class Descent:
    """Training by the steps of an optimizer, one per batch.

    `train_step` is what `step.make_step` makes, or a program that does the same.
    """

    def __init__(
        self,
        session: Session,
        optimizer: Optimizer,
        train_step: Callable[..., Any],
        batch_size: int | None,
        shuffle_rng: np.random.Generator | None,
    ) -> None:
        self.session = session
        self.optimizer = optimizer
        self.train_step = train_step
        self.shuffle_rng = shuffle_rng
        x = session.training.x
        self.n_samples = len(x)
        self.batch_size = min(batch_size or self.n_samples, self.n_samples)
        starts = np.arange(0, self.n_samples, self.batch_size)
        sizes = np.minimum(self.batch_size, self.n_samples - starts)
        self.shares = sizes / self.n_samples  # of each batch in the epoch's mean loss
        self.losses = np.empty(len(starts))
        task = session.task
        self.outputs: Array | None = None  # of the epoch, for its metrics
        if task.metrics:
            shape = (self.n_samples, *task.network.output_shape)
            self.outputs = np.empty(shape, task.network.dtype)
        batches = max(1, _BUFFER_BYTES // max(1, x[: self.batch_size].nbytes))
        self.buffer = np.empty(
            (min(batches * self.batch_size, self.n_samples), *x.shape[1:]), x.dtype
        )
        self.slots: Arrays = optimizer.init(task.network.parameters.flat)

    def train(self, layer_rng: np.random.Generator) -> None:
        """Take epochs until all are done, or something stops the run."""
        session, run, training = self.session, self.session.run, self.session.training
        for epoch in range(1, run.epochs + 1):
            began, run.epoch = perf_counter(), epoch
            order = (
                None if self.shuffle_rng is None else self.shuffle_rng.permutation(self.n_samples)
            )
            y = _reordered(training.y, order)
            weight = _reordered(training.weight, order)
            session.call("on_epoch_begin")
            with _ignore_overflow(), session.detection():
                learning_rate = self._epoch(order, y, weight, layer_rng)
            if session.problem:
                return
            session.save()
            if run.batch < len(self.losses):
                return  # a callback stopped it within the epoch
            row = {"loss": float(self.losses @ self.shares)}
            if self.outputs is not None:
                row.update(
                    session.task.measure(self.outputs, y, _reordered(training.metric_weight, order))
                )
            session.end_epoch(row, learning_rate, began)
            if run.stopped_by:
                return

    def _epoch(
        self, order: Array | None, y: Array, weight: Array | None, layer_rng: np.random.Generator
    ) -> float:
        """One step per batch; returns the last learning rate. What a step costs is this loop."""
        session, run, network = self.session, self.session.run, self.session.task.network
        train_step, losses, outputs = self.train_step, self.losses, self.outputs
        flat, slots, state = network.parameters.flat, self.slots, network.state
        watched = bool(session.hooks["on_batch_end"])
        start_of_epoch = (flat.copy(), _copies(state)) if watched else None
        is_scheduled = callable(self.optimizer.learning_rate)
        rate, first, step, batch = self._learning_rate(run.step + 1), run.step, run.step, 0
        look_at = perf_counter() + _LOOK_SECONDS
        try:
            with deferred_interrupts() as interrupted:
                for start, stop, x in self._batches(order):
                    step += 1
                    if is_scheduled:
                        rate = self._learning_rate(step)
                    batch_weight = None if weight is None else weight[start:stop]
                    loss, out, flat, slots, state = train_step(
                        flat, slots, state, x, y[start:stop], batch_weight, rate, step, layer_rng
                    )
                    session.unsaved = flat, state  # one tuple: an exception finds all or nothing
                    if interrupted:
                        raise KeyboardInterrupt
                    losses[batch] = loss
                    if outputs is not None:
                        outputs[start:stop] = out
                    batch += 1
                    if watched or session.detects_nonfinite or perf_counter() >= look_at:
                        run.batch, run.step, run.loss = batch, step, float(loss)
                        if not self._look(flat):
                            break
                        if watched:  # a callback may have changed them
                            flat, state = network.parameters.flat, network.state
                            rate = self._learning_rate(step + 1)
                        look_at = perf_counter() + _LOOK_SECONDS
        except scope.NonFiniteError as error:
            where = f"epoch {run.epoch}, batch {step - first}"
            raise scope.NonFiniteError(f"{where}: {error}") from None
        self.slots, run.batch, run.step, run.loss = slots, batch, step, float(loss)
        if problem := self._find_nonfinite(flat):
            session.unsaved = start_of_epoch
            session.save()
            session.fail(problem)
        return rate

    def _learning_rate(self, step: int) -> float:
        return self.session.run.learning_rate_factor * self.optimizer.learning_rate_at(step)

    def _batches(self, order: Array | None) -> Iterator[tuple[int, int, Array]]:
        """Where each batch starts and stops in the epoch, and its inputs.

        Shuffled inputs are gathered many batches at a time where they are small, one at a time
        where they are large, so that the step finds them in the cache.
        """
        x, size = self.session.training.x, self.batch_size
        if order is None:
            for start in range(0, self.n_samples, size):
                yield start, start + size, x[start : start + size]
            return
        for first in range(0, self.n_samples, len(self.buffer)):
            rows = order[first : first + len(self.buffer)]
            gathered = self.buffer[: len(rows)]
            np.take(x, rows, axis=0, out=gathered, mode="clip")  # "raise" would gather twice
            for start in range(0, len(rows), size):
                yield first + start, first + start + size, gathered[start : start + size]

    def _look(self, flat: Array) -> bool:
        """See after a step how things are; False where the epoch is to end here."""
        session, run = self.session, self.session.run
        if session.detects_nonfinite and not np.isfinite(flat).all():
            raise scope.NonFiniteError(f"the update {self._describe_nonfinite(flat)}")
        if not math.isfinite(run.loss):
            return False
        if session.progress is not None:
            session.progress.update(run.epoch, run.batch / len(self.losses), run.loss)
        if session.hooks["on_batch_end"]:
            session.save()
            session.call("on_batch_end")
        return not run.stopped_by

    def _find_nonfinite(self, flat: Array) -> str:
        """What in the epoch so far was not finite, "" where all is well."""
        run, losses = self.session.run, self.losses[: self.session.run.batch]
        if not np.isfinite(losses).all():
            batch = int(np.argmax(~np.isfinite(losses)))
            return f"the loss became {losses[batch]} in epoch {run.epoch}, batch {batch + 1}"
        if not np.isfinite(flat).all():
            return f"the last update of epoch {run.epoch} {self._describe_nonfinite(flat)}"
        return ""

    def _describe_nonfinite(self, flat: Array) -> str:
        for name, array in self.session.task.network.parameters.unflatten(flat).items():
            bad = ~np.isfinite(array)
            if bad.any():
                return f"made {array[bad][0]} in {bad.sum()} of {bad.size} values of {name}"
        return ""


def iterate(session: Session, minimizer: Minimizer, objective: Objective) -> None:
    """Let a full-batch minimizer run, an epoch being one of its iterations.

    The network gets the best point so far after each iteration. Where the minimizer ends between
    two iterations at a better point, that is the last epoch.
    """
    run, network, training = session.run, session.task.network, session.training
    began = perf_counter()

    def record(iteration: int, flat: Array, value: float) -> None:
        nonlocal began
        run.epoch = run.step = iteration
        run.batch, run.loss = 1, value
        outputs, state = objective.outputs_at(flat)
        session.unsaved = flat, state
        session.save()
        measured = session.task.measure(outputs, training.y, training.metric_weight)
        session.end_epoch({"loss": value, **measured}, None, began)
        began = perf_counter()

    def end_iteration(iteration: int, flat: Array, value: float) -> None:
        if math.isfinite(value):
            record(iteration, flat, value)
        if run.stopped_by or not math.isfinite(value):
            raise StopIteration
        if iteration < run.epochs:
            run.epoch = iteration + 1
            session.call("on_epoch_begin")

    run.epoch = 1
    session.call("on_epoch_begin")
    start = network.parameters.flat
    with _ignore_overflow(), session.detection():
        found = minimizer.minimize(
            objective.value_and_gradient, start, objective.hessian_product, end_iteration
        )
        is_finite = math.isfinite(found.value)
        if found.stopped_by == "interrupt":
            session.unsaved = (found.x, objective.state) if is_finite else None
            raise KeyboardInterrupt
        if not is_finite:
            return session.fail(f"the loss became {found.value} in iteration {run.epoch}")
        if not run.history.epochs or found.value < run.history["loss"][-1]:
            record(found.n_iterations + 1, found.x, found.value)
    if found.stopped_by not in ("max_iterations", "on_iteration"):
        run.stop(found.stopped_by)
    return None


@final
class Objective:
    """The loss over all samples as a minimizer sees it: a function of one float64 vector.

    Layers that draw random numbers draw the same ones each time, so that it is one function. It is
    computed in the network's dtype.
    """

    def __init__(self, task: Task, samples: Samples, layer_rng: np.random.Generator) -> None:
        self.layout = task.network.parameters
        self.state: Arrays = task.network.state
        self._seed = int(layer_rng.integers(2**63))
        self._samples = (samples.x, samples.y, samples.weight)
        self._flat: Array | None = None  # where it was computed last, and the outputs there
        self._outputs: Array | None = None
        loss_of = make_loss(task.network, task.loss, task.penalties)
        first_state = _copies(task.network.state)

        def loss(flat: Array, x: Array, y: Array, weight: Array | None, rng: Any) -> Any:
            return loss_of(self.layout.unflatten(flat), first_state, x, y, weight, rng)

        self._loss: Callable[..., Any] = loss
        self._loss_and_gradient: Callable[..., Any] = value_and_grad(loss, has_aux=True)

    def compile(self) -> None:
        """Write the loss and its gradient out as NumPy source, and run that from now on.

        Raises what `chainrule.compile` raises where that cannot be done, and leaves all as it was.
        """
        compiled = compile_function(self._loss_and_gradient)
        with _ignore_overflow():
            compiled(*self._arguments(self.layout.flat))
        self._loss_and_gradient = compiled

    def value_and_gradient(self, flat: Array) -> tuple[float, Array]:
        """The loss at a point (n_parameters,) and its gradient there."""
        (value, (outputs, state)), gradient = self._loss_and_gradient(*self._arguments(flat))
        self._flat, self._outputs, self.state = flat.copy(), outputs, state
        return float(value), gradient

    def hessian_product(self, flat: Array, vector: Array) -> Array:
        """The Hessian of the loss at a point times a vector, both (n_parameters,)."""
        point, *others = self._arguments(flat)
        direction = vector.astype(self.layout.dtype)
        return np.asarray(hvp(lambda p: self._loss(p, *others)[0], point, direction))

    def outputs_at(self, flat: Array) -> tuple[Array, Arrays]:
        """The outputs at a point and the state after it; at no cost where it was computed last."""
        if self._flat is None or self._outputs is None or not np.array_equal(flat, self._flat):
            self._flat = flat.copy()
            _, (self._outputs, self.state) = self._loss(*self._arguments(flat))
        return self._outputs, self.state

    def _arguments(self, flat: Array) -> tuple[Any, ...]:
        rng = np.random.default_rng(self._seed)
        return flat.astype(self.layout.dtype), *self._samples, rng


def _ignore_overflow() -> AbstractContextManager[Any]:
    """Let numbers become infinite or NaN without NumPy's warnings: we look at the results."""
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")


def _reordered(part: T, order: Array | None) -> T:
    return part if part is None or order is None else part[order]  # type: ignore[index]


def _copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in arrays.items()}
