"""Callbacks: what happens at the named moments of a training run.

A callback is any object with one or more of these methods, each of which is given the `Run`:

    on_fit_begin      before the first step
    on_epoch_begin    before the first step of each epoch
    on_batch_end      after each step, if any callback has it (it costs time)
    on_epoch_end      after each finished epoch; `run.history` has its numbers
    on_fit_end        after the last epoch, and after an interrupt or any other early end

Whenever a callback runs, `run.network` holds the parameters as they are at that moment; what it
writes into them is what training continues with.
"""

from __future__ import annotations

import csv
import math
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np

from chainrule.names import did_you_mean
from chainrule.training.goal import Goal
from chainrule.training.history import History
from chainrule.training.inputs import check_count
from chainrule.training.samples import Samples
from chainrule.training.trainable import Trainable

__all__ = [
    "LOSS_AFTER_EPOCH",
    "MOMENTS",
    "CSVLogger",
    "Callbacks",
    "EarlyStopping",
    "LossAfterEpoch",
    "ReduceLearningRate",
    "Run",
    "is_due",
    "moments",
]

Callbacks: TypeAlias = object | Iterable[object]
"""One callback or several: objects with some of the methods named above, of no common class."""

MOMENTS = ("on_fit_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_fit_end")


class Run:
    """One call of `fit`, as its callbacks see it.

    `network`, `history` and `epochs` (how many were asked for); `epoch`, `batch` and `step`, each
    counted from 1, `batch` within the epoch and `step` over all of them; `loss`, that of the last
    batch before its update. A callback may set `learning_rate_factor`, by which every learning rate
    is multiplied, and may call `stop`.
    """

    __slots__ = (
        "batch",
        "epoch",
        "epochs",
        "history",
        "learning_rate_factor",
        "loss",
        "network",
        "notes",
        "step",
        "stopped_by",
    )

    def __init__(self, network: Trainable, epochs: int) -> None:
        self.network = network
        self.history = History()
        self.epochs = epochs
        self.epoch = 0
        self.batch = 0
        self.step = 0
        self.loss = math.nan
        self.learning_rate_factor = 1.0
        self.stopped_by = ""
        self.notes: list[str] = []

    def stop(self, reason: str) -> None:
        """End the training after this batch or epoch; `history.stopped_by` will be the reason."""
        self.stopped_by = self.stopped_by or reason

    def note(self, text: str) -> None:
        """Have one line printed with the progress, where there is any."""
        self.notes.append(text)


def moments(callbacks: Callbacks) -> dict[str, list[Callable[[Run], object]]]:
    """For each moment the methods to call, in the order the callbacks were given.

    Raises TypeError for an object with no moment, and for a method named `on_...` that is none.
    """
    if not isinstance(callbacks, Iterable):
        callbacks = (callbacks,)
    found: dict[str, list[Callable[[Run], object]]] = {moment: [] for moment in MOMENTS}
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(callback, type):
            raise TypeError(f"the callback {callback.__name__} is a class: make an object of it")
        hooks = [hook for hook in dir(callback) if hook.startswith("on_")]
        for hook in hooks:
            if hook not in MOMENTS:
                raise TypeError(
                    f"the callback {name} has a method {hook}{did_you_mean(hook, MOMENTS)}, which "
                    f"is no moment of training; these are {', '.join(MOMENTS)}"
                )
            found[hook].append(getattr(callback, hook))
        if not hooks:
            raise TypeError(
                f"the callback {name} has none of the methods {', '.join(MOMENTS)}: give it one, "
                "taking the run"
            )
    return found


class EarlyStopping:
    """Stop when a number has not improved for `patience` epochs, and go back to the best epoch.

    `monitor` is a name of the history; without validation data "val_loss" falls back to "loss",
    with a warning. An epoch is better when it improves on the best by more than `min_delta`; `mode`
    says whether small or large is good, "auto" by the name. With `restore_best_weights` the network
    ends with the parameters and state of the best epoch however the training ended, also when
    all epochs were done or Ctrl-C was pressed; `history.best_epoch` names it.
    Raises ValueError for a name the history does not have, giving the nearest.

    Prechelt, "Early stopping - but when?" (1998), the criterion UP.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        self.restore_best_weights = restore_best_weights
        self._watch = _Watch(type(self).__name__, monitor, patience, min_delta, mode)
        self._best: tuple[np.ndarray, dict[str, np.ndarray]] | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier run."""
        self._watch.begin()
        self._best = None

    def on_epoch_end(self, run: Run) -> None:
        """Keep the parameters if this epoch is the best, stop if the best is too long ago."""
        if self._watch.improves(run) and self.restore_best_weights:
            network = run.network
            state = {name: array.copy() for name, array in network.state.items()}
            self._best = (network.parameters.flat.copy(), state)
        if self._watch.is_stale:
            run.stop("early_stopping")

    def on_fit_end(self, run: Run) -> None:
        """Put the best epoch's parameters and state back."""
        if self._best is None:
            return
        flat, state = self._best
        run.network.parameters.flat[...] = flat
        for name, array in state.items():
            run.network.state[name][...] = array
        run.history.best_epoch = self._watch.best_epoch
        if self._watch.best_epoch != run.history.epochs:
            run.note(
                f"restored epoch {self._watch.best_epoch}, "
                f"{self._watch.monitor} {self._watch.best:.4g}"
            )


class ReduceLearningRate:
    """Multiply the learning rate by `factor` when a number has not improved for `patience` epochs.

    `monitor`, `min_delta` and `mode` are as for `EarlyStopping`; `smallest_factor` is how far the
    learning rate may fall in all, as a share of what the optimizer says. Works with schedules too.
    Does nothing for full-batch minimizers, which have no learning rate.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.5,
        patience: int = 5,
        *,
        min_delta: float = 0.0,
        mode: str = "auto",
        smallest_factor: float = 1e-4,
    ) -> None:
        if not 0 < factor < 1:
            raise ValueError(f"factor is {factor}: give a number between 0 and 1")
        self.factor = factor
        self.smallest_factor = smallest_factor
        self._watch = _Watch(type(self).__name__, monitor, patience, min_delta, mode)

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier run."""
        self._watch.begin()

    def on_epoch_end(self, run: Run) -> None:
        """Lower the rate if the best epoch is too long ago, and wait as long again."""
        self._watch.improves(run)
        lower = run.learning_rate_factor * self.factor
        if self._watch.is_stale and lower >= self.smallest_factor:
            run.learning_rate_factor = lower
            run.note(f"learning rate times {lower:.4g} after epoch {run.epoch}")
            self._watch.waited = 0


LOSS_AFTER_EPOCH = "loss_after_epoch"
"""What the history calls the loss over all samples by the parameters after an epoch."""


def is_due(epoch: int, every: int | None) -> bool:
    """Whether an epoch, counted from 1, is the first or an `every`th one; never for None."""
    return every is not None and (epoch == 1 or epoch % every == 0)


class LossAfterEpoch:
    """Measure the loss on some data after the first epoch and every so many, and print it.

    An epoch's "loss" is the mean over its batches, each before its update; this one is over all
    samples x (N, ...), y (N, ...), penalties included, by the parameters after the epoch. It stands
    in the history under `name`, NaN for epochs without. For the data that is trained on,
    `fit(..., verbose_every=100)` is shorter, and does the same. Raises ValueError for `every` below
    1.

    >>> from chainrule import nn
    >>> x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]])
    >>> net = nn.Network([nn.Dense(1)], seed=0)
    >>> measured = LossAfterEpoch(x, y, every=20)
    >>> history = net.fit(x, y, loss="squared_error", epochs=60, callbacks=measured, verbose=0)
    >>> np.flatnonzero(np.isfinite(history["loss_after_epoch"])) + 1
    array([ 1, 20, 40, 60])
    """

    def __init__(
        self, x: Any, y: Any, every: int = 1, *, sample_weight: Any = None,
        name: str = LOSS_AFTER_EPOCH,
    ) -> None:  # fmt: skip
        check_count("every", every)
        self.x, self.y, self.every, self.sample_weight, self.name = x, y, every, sample_weight, name
        self._goal: Goal | None = None
        self._samples: Samples | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Look at the data, once, and announce the name."""
        network, measured = run.network, run.network.measured
        self._goal = Goal.of(network, measured.loss, (), measured.penalty)
        samples = Samples.prepare(network, self._goal.loss, self.x, self.y, self.sample_weight)
        self._samples = samples.normalised(network.dtype)
        run.history.put(self.name)

    def on_epoch_end(self, run: Run) -> None:
        """Measure, where it is time to."""
        if is_due(run.epoch, self.every) and self._goal is not None and self._samples is not None:
            loss = self._goal.evaluate(self._samples)["loss"]
            run.history.put(self.name, loss)
            run.note(f"{self.name} {loss:.4g} after epoch {run.epoch}")


class CSVLogger:
    """Write the numbers of each epoch as a line of a CSV file, at once, so that it can be followed.

    The first line names the columns: epoch, seconds, and the names of the history. A file that is
    there is replaced; its folder is made.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: IO[str] | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Open the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8", newline="")

    def on_epoch_end(self, run: Run) -> None:
        """Write one line."""
        if self._file is None:
            return
        row = run.history.last()
        writer = csv.writer(self._file)
        if run.history.epochs == 1:
            writer.writerow(["epoch", "seconds", *row])
        writer.writerow([run.epoch, run.history.seconds[-1], *row.values()])
        self._file.flush()

    def on_fit_end(self, run: Run) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class _Watch:
    """The best value of one curve so far, and for how many epochs it has not improved."""

    def __init__(
        self, owner: str, monitor: str, patience: int, min_delta: float, mode: str
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience of {owner} is {patience}: give a number of epochs >= 1")
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode of {owner} is {mode!r}: give 'auto', 'min' or 'max'")
        self.owner = owner
        self.wanted = monitor
        self.patience = patience
        self.min_delta = abs(min_delta)
        self.mode = mode
        self.begin()

    def begin(self) -> None:
        self.monitor = ""
        self.sign = 1.0
        self.best = math.inf
        self.best_epoch = 0
        self.waited = 0

    @property
    def is_stale(self) -> bool:
        return self.waited >= self.patience

    def improves(self, run: Run) -> bool:
        """Whether the epoch that just ended is the best so far."""
        if not self.monitor:
            self.monitor = self._choose_monitor(run.history)
            self.sign = self._choose_sign()
        value = run.history[self.monitor][-1]
        first = self.best_epoch == 0 and math.isfinite(value)
        if first or self.sign * (self.best - value) > self.min_delta:
            self.best, self.best_epoch, self.waited = value, run.epoch, 0
            return True
        self.waited += 1
        return False

    def _choose_monitor(self, history: History) -> str:
        if self.wanted in history:
            return self.wanted
        training_name = self.wanted.removeprefix("val_")
        if training_name in history and f"val_{training_name}" not in history:
            warnings.warn(
                f"{self.owner} is to watch {self.wanted}, but fit was given no validation data: it "
                f"watches {training_name} instead. Give validation_data= or validation_split=, or "
                f"monitor={training_name!r}",
                stacklevel=2,
            )
            return training_name
        raise ValueError(
            f"{self.owner} is to watch {self.wanted!r}{did_you_mean(self.wanted, history)}, but "
            f"the history holds {', '.join(history)}"
        )

    def _choose_sign(self) -> float:
        """1 where small is good, -1 where large is."""
        if self.mode != "auto":
            return 1.0 if self.mode == "min" else -1.0
        name = self.monitor.removeprefix("val_")
        if name in ("loss", "mse", "mae", "rmse") or name.endswith(("_error", "_loss")):
            return 1.0
        if name == "r2" or name.endswith(("accuracy", "score", "precision", "recall", "auc")):
            return -1.0
        raise ValueError(
            f"{self.owner} cannot tell whether {self.monitor!r} should be small or large: "
            "give mode='min' or mode='max'"
        )
