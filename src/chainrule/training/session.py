"""What happens around the steps of one training run, whoever makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from time import perf_counter
from typing import final

import numpy as np

from chainrule import scope
from chainrule.training.callbacks import LOSS_AFTER_EPOCH, Run, is_due
from chainrule.training.goal import Goal
from chainrule.training.progress import Progress
from chainrule.training.samples import Samples
from chainrule.training.trainable import ArraysByName

__all__ = ["Session", "describe_nonfinite"]


@final
class Session:
    """One run: its data, and what is done at its start, after each epoch, and at its end.

    `problem` is why a run was ended that had become useless, "" where it was not.
    """

    def __init__(
        self,
        goal: Goal,
        training: Samples,
        validation: Samples | None,
        run: Run,
        hooks: Mapping[str, list[Callable[[Run], object]]],
        progress: Progress | None,
        detect_nonfinite: bool,
        look_every: int | None = None,
    ) -> None:
        self.goal = goal
        self.training = training
        self.validation = validation
        self.run = run
        self.hooks = hooks
        self.progress = progress
        self.detects_nonfinite = detect_nonfinite
        self.look_every = look_every
        self.problem = ""

    @property
    def has_callbacks(self) -> bool:
        """Whether anybody else may change the network between two epochs."""
        return any(self.hooks.values())

    @property
    def next_look(self) -> int:
        """The next epoch after which the loss over all samples is taken, or the last one."""
        if self.look_every is None:
            return self.run.epochs
        now, every = self.run.epoch, self.look_every
        return min(1 if now < 1 else (now // every + 1) * every, self.run.epochs)

    def begin(self, n_samples: int) -> None:
        """Before the first epoch, each of which takes so many samples."""
        if self.progress is not None:
            self.progress.begin(self.run.epochs, n_samples)
        if self.look_every is not None:
            self.run.history.put(LOSS_AFTER_EPOCH)
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
            validated = self.goal.evaluate(self.validation)
            row = {**row, **{f"val_{name}": value for name, value in validated.items()}}
        if learning_rate is not None:
            row = {**row, "learning_rate": learning_rate}
        run.history.append(row, perf_counter() - began)
        looked = self.look()
        if self.progress is not None:
            self.progress.end_epoch(run.epoch, {**row, **looked}, bool(looked))
        self.call("on_epoch_end")

    def look(self) -> dict[str, float]:
        """The loss over all samples after this epoch, where it is time for it, by its name."""
        if not is_due(self.run.epoch, self.look_every):
            return {}
        goal = replace(self.goal, metrics={})
        looked = {LOSS_AFTER_EPOCH: goal.evaluate(self.training)["loss"]}
        for name, value in looked.items():
            self.run.history.put(name, value)
        return looked

    def save(self, flat: np.ndarray, state: ArraysByName) -> None:
        """Copy the parameters and the state after a finished update into the network."""
        network = self.goal.network
        network.parameters.flat[...] = flat
        for name, array in state.items():
            network.state[name][...] = array

    def fail(self, problem: str, is_first: bool) -> None:
        """End the run because of a number that is not finite, perhaps the first there was."""
        self.run.stop("nonfinite")
        done = self.run.history.epochs
        kept = f"after {done} epochs" if done else "before the first epoch"
        advice = "Try a smaller learning rate, clip_norm= or scaled inputs"
        if is_first:
            advice = "It was so before any step: look at the loss function and the inputs"
        self.problem = (
            f"training stopped: {problem}. The network keeps the parameters it had {kept}. "
            f"{advice}; fit(..., detect_nonfinite=True) finds the layer where it happens"
        )

    def interrupt(self) -> None:
        """End the run because of Ctrl-C."""
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


def describe_nonfinite(arrays: ArraysByName) -> str:
    """Which of the arrays holds values that are not finite, and how many; "" for none."""
    for name, array in arrays.items():
        bad = ~np.isfinite(array)
        if bad.any():
            return f"made {array[bad][0]} in {bad.sum()} of {bad.size} values of {name}"
    return ""
