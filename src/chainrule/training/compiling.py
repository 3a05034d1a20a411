"""Compile where that can be done, and train without where it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar, final

import numpy as np

from chainrule.engines.choice import Engine
from chainrule.optim import Optimizer
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.frozen import hidden_draws
from chainrule.training.goal import ignore_overflow
from chainrule.training.orders import Orders
from chainrule.training.session import Session
from chainrule.training.step import Learned
from chainrule.training.training_step import TrainingStep
from chainrule.warn import warn_user

__all__ = ["StepMaker", "compiled_or_none"]

T = TypeVar("T")
S = TypeVar("S", bound=TrainingStep)

_MOST_RENEWALS = 100  # of a step whose layers have other options in every epoch


def compiled_or_none(
    compiled: Callable[[], T], as_it_is: Callable[[], object], parts: Mapping[str, object]
) -> T | None:
    """What `compiled` makes, or None and a warning that says why not.

    Whatever goes wrong while compiling, the training itself may be right. So it is tried without,
    by `as_it_is`, which raises where the fault is the user's own: then that is the error to see.
    """
    try:
        return compiled()
    except Exception as error:
        reason = str(error) if isinstance(error, TypeError) else f"{type(error).__name__}: {error}"
    with hidden_draws(parts):
        as_it_is()
    warn_user(
        f"the training step runs as it is, which is slower, for it cannot be compiled: {reason}"
    )
    return None


@final
class StepMaker:
    """Makes the training step of a session: compiled, where it is to be and can be."""

    def __init__(
        self,
        session: Session,
        optimizer: Optimizer,
        orders: Orders,
        compiles: bool,
        engine: Engine = "numpy",
    ) -> None:
        self._engine = engine
        self._session = session
        self._optimizer = optimizer
        samples = session.training
        # one of each size that there will be
        self._batches = [samples.batch(slice(0, size)) for size in orders.sizes]
        self._n_steps = orders.n_steps
        self._compiles = compiles
        self._renewals = 0

    def __call__(self, changed: str = "") -> TrainingStep:
        """A step that starts afresh; `changed` is what made the one before it useless."""
        network = self._session.goal.network
        if changed:
            self._renewals += 1
        if self._renewals > _MOST_RENEWALS and self._compiles:
            self._compiles = False
            warn_user(
                f"the training step runs as it is from here on, for {changed} changes so often "
                "that compiling it anew each time takes too long"
            )
        step = None
        if self._compiles:
            step = compiled_or_none(
                self._compiled, lambda: self._tried(self._eager()), network.parts
            )
        network.keep_step(step)
        made: TrainingStep = self._eager() if step is None else step
        self._session.run.history.ran_on(made)
        return made

    def _compiled(self) -> CompiledStep:
        goal = self._session.goal
        step = CompiledStep(
            goal.network, goal.loss, self._optimizer, goal.penalties, self._engine, self._n_steps
        )
        step.compile_all(self._batches)
        if step.remark:
            warn_user(f"the training step runs on the engine 'numpy', not 'c': {step.remark}")
        with step.thread_limit():
            return self._tried(step)

    def _eager(self) -> EagerStep:
        goal = self._session.goal
        return EagerStep(goal.network, goal.loss, self._optimizer, goal.penalties)

    def _tried(self, step: S) -> S:
        """The step after one batch of each size, put back to where it was: it works."""
        with ignore_overflow():
            for batch in self._batches:
                step.take(batch, 0.001, 1, np.random.default_rng(0))
        network = self._session.goal.network
        flat = network.parameters.flat  # and not copies, for networks may be large
        step.write_state(Learned(flat, self._optimizer.init(flat), network.state))
        return step
