"""Training by a full-batch minimizer, which chooses its own steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, final

import numpy as np

from chainrule.autodiff import hvp, value_and_grad
from chainrule.engines.choice import Engine
from chainrule.engines.compiled import CompiledFunction
from chainrule.engines.threads import limit_threads
from chainrule.optim import Minimizer
from chainrule.primitives.dispatch import Array
from chainrule.training.compiling import compiled_or_none
from chainrule.training.frozen import Observed, refuse_draws
from chainrule.training.goal import Goal, ignore_overflow
from chainrule.training.history import MinimizerReport
from chainrule.training.samples import Batch, Samples
from chainrule.training.session import Session
from chainrule.training.step import make_loss
from chainrule.training.trainable import ArraysByName

__all__ = ["Minimization", "Objective"]

_CALLS = 1.2  # of the objective in an iteration: a line search seldom tries a second point

_STOPPED_BY = {"max_evaluations": "evaluations"}  # a minimizer's own word -> that of the history


@final
class Minimization:
    """Training by a full-batch minimizer, an epoch being one of its iterations.

    The network gets the best point so far after each iteration. Where the minimizer ends between
    two iterations at a better point, that is the last epoch.
    """

    def __init__(self, session: Session, minimizer: Minimizer, objective: Objective) -> None:
        self.session = session
        self.minimizer = minimizer
        self.objective = objective
        self.began = 0.0
        session.run.history.ran_on(objective)

    def run(self) -> None:
        """Let the minimizer run until it is content, or something stops the run."""
        with limit_threads(None), ignore_overflow(), self.session.detection():
            self._run()

    def _run(self) -> None:
        session, run, objective = self.session, self.session.run, self.objective
        self.began = perf_counter()
        run.epoch = 1
        session.call("on_epoch_begin")
        start = session.goal.network.parameters.flat
        found = self.minimizer.minimize(
            objective.value_and_gradient, start, objective.hessian_product, self._end_iteration
        )
        slope = math.nan if found.gradient is None else float(np.linalg.norm(found.gradient))
        run.history.minimizer = MinimizerReport(
            found.success, found.message, found.n_iterations, found.n_evaluations, slope
        )
        is_finite = math.isfinite(found.value)
        if found.stopped_by == "interrupt":
            if is_finite:
                session.save(found.x, objective.state)
            raise KeyboardInterrupt
        if not is_finite:
            # What is found is the best point, so there was no finite one, not even the first.
            session.fail(f"the loss became {found.value} in iteration {run.epoch}", True)
            return
        if not run.history.epochs or found.value < run.history["loss"][-1]:
            self._record(found.n_iterations + 1, found.x, found.value)
        if found.stopped_by not in ("max_iterations", "on_iteration"):
            run.stop(_STOPPED_BY.get(found.stopped_by, found.stopped_by))

    def _record(self, iteration: int, flat: np.ndarray, value: float) -> None:
        session, run, training = self.session, self.session.run, self.session.training
        run.epoch = run.step = iteration
        run.batch, run.loss = 1, value
        outputs, state = self.objective.outputs_at(flat)
        session.save(flat, state)
        measured = session.goal.measure(outputs, training.y, training.metric_weight)
        session.end_epoch({"loss": value, **measured}, None, self.began)
        self.began = perf_counter()

    def _end_iteration(self, iteration: int, flat: np.ndarray, value: float) -> None:
        run = self.session.run
        if math.isfinite(value):
            self._record(iteration, flat, value)
        if run.stopped_by or not math.isfinite(value):
            raise StopIteration
        if iteration < run.epochs:
            run.epoch = iteration + 1
            self.session.call("on_epoch_begin")
        if self.session.has_callbacks:
            self.objective.renew()
            run.history.ran_on(self.objective)


@final
class Objective:
    """The loss over all samples as a minimizer sees it: a function of one float64 vector.

    Layers that draw random numbers draw the same ones each time, so that it is one function. It is
    computed in the network's dtype. `engine`, `compiler` and `flags` are as of a training's step.
    """

    engine = "eager"
    compiler = ""
    flags: tuple[str, ...] = ()

    def __init__(self, goal: Goal, samples: Samples, layer_rng: np.random.Generator) -> None:
        self.layout = goal.network.parameters
        self.state: ArraysByName = goal.network.state
        self._seed = int(layer_rng.integers(2**63))
        self._batch = Batch(samples.x, samples.y, samples.weight)
        self._flat: np.ndarray | None = None  # where it was computed last, and the outputs there
        self._outputs: Array = None
        loss_of = make_loss(goal.network, goal.loss, goal.penalties)
        first_state = {name: array.copy() for name, array in goal.network.state.items()}
        self._parts = {**goal.network.parts, "loss": goal.loss, "penalty": goal.penalties}
        self._as_read = Observed({})

        def loss(flat: Array, x: Array, y: Array, weight: Array | None, rng: Any) -> Any:
            return loss_of(self.layout.unflatten(flat), first_state, Batch(x, y, weight), rng)

        self._loss: Callable[..., Any] = loss
        self._eager: Callable[..., Any] = value_and_grad(loss, has_aux=True)
        self._loss_and_gradient = self._eager
        self._asked: tuple[Engine, int] = "numpy", 1

    def compile(self, engine: Engine = "numpy", iterations: int = 1) -> None:
        """Write the loss and its gradient out as source, and run that from now on.

        The engine "auto" goes by how many iterations there will be. Where it cannot be compiled, a
        warning says why, and it runs as it is.
        """
        self._asked = engine, iterations
        compiled = compiled_or_none(self._compiled, self._evaluate, self._parts)
        self._loss_and_gradient = compiled or self._eager
        self.engine, self.compiler, self.flags = "eager", "", ()
        if compiled is not None:
            self.engine, self.compiler, self.flags = (
                compiled.engine,
                compiled.compiler,
                compiled.flags,
            )
        self._as_read = Observed(self._parts)

    def _compiled(self) -> CompiledFunction:
        engine, iterations = self._asked
        compiled = CompiledFunction(self._eager, engine, math.ceil(_CALLS * iterations))
        with ignore_overflow(), refuse_draws("the loss", self._parts):
            compiled(*self._arguments(self.layout.flat))
        return compiled

    def _evaluate(self) -> None:
        with ignore_overflow():
            self._eager(*self._arguments(self.layout.flat))

    def renew(self) -> None:
        """Compile anew where layers, say, have other options by now than the source has read."""
        if self._loss_and_gradient is not self._eager and self._as_read.difference():
            self.compile(*self._asked)

    def value_and_gradient(self, flat: np.ndarray) -> tuple[float, Array]:
        """The loss at a point (n_parameters,) and its gradient there."""
        (value, (outputs, state)), gradient = self._loss_and_gradient(*self._arguments(flat))
        self._flat, self._outputs, self.state = flat.copy(), outputs, state
        return float(value), gradient

    def hessian_product(self, flat: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """The Hessian of the loss at a point times a vector, both (n_parameters,)."""
        point, *others = self._arguments(flat)
        direction = vector.astype(self.layout.flat.dtype)
        return np.asarray(hvp(lambda p: self._loss(p, *others)[0], point, direction))

    def outputs_at(self, flat: np.ndarray) -> tuple[Array, ArraysByName]:
        """The outputs at a point and the state after it; at no cost where it was computed last."""
        if self._flat is None or not np.array_equal(flat, self._flat):
            self._flat = flat.copy()
            _, (self._outputs, self.state) = self._loss(*self._arguments(flat))
        return self._outputs, self.state

    def _arguments(self, flat: np.ndarray) -> tuple[Any, ...]:
        rng = np.random.default_rng(self._seed)
        return flat.astype(self.layout.flat.dtype), *self._batch, rng
