"""SciPy's full-batch minimizers as optimizers: L-BFGS, truncated Newton, conjugate gradients.

They see the loss over all samples as one function of one flat vector, choose their own step
lengths, and stop by themselves: the right tool for small networks and data that fit in memory.
They compute in float64, and they need a function that is smooth to many digits: give the network
dtype="float64", because the rounding of a float32 loss ends their line searches early.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.extras import missing_extra
from chainrule.names import look_up
from chainrule.optim.checks import require_count, require_number

__all__ = ["CG", "LBFGS", "TNC", "MinimizeResult", "Minimizer", "NewtonCG"]

Vector: TypeAlias = npt.NDArray[np.float64]
ValueAndGrad: TypeAlias = Callable[[Vector], tuple[Any, Any]]

# SciPy's own limits, out of the way: every method is held to ours, which mean the same for all.
_NO_LIMIT = 2**31 - 1
_OPTIONS: dict[str, dict[str, int]] = {
    "CG": {"maxiter": _NO_LIMIT},
    "L-BFGS-B": {"maxiter": _NO_LIMIT, "maxfun": _NO_LIMIT},
    "Newton-CG": {"maxiter": _NO_LIMIT},
    "TNC": {"maxfun": _NO_LIMIT},
}
_TNC_MAXFUN = 3  # SciPy's status for the limit of evaluations


@dataclass(frozen=True)
class MinimizeResult:
    """Where a minimizer ended: the best point it evaluated, and why it stopped there.

    `x` (n,) float64 has the lowest `value` of all points evaluated. `stopped_by` is "converged",
    "stalled" (no lower point on the line: often rounding), "max_iterations", "max_evaluations",
    "on_iteration" or "interrupt"; `message` says it in a sentence. `n_evaluations` counts calls of
    the function with its gradient, not Hessian-vector products. `gradient` (n,) is the one at `x`.
    """

    x: Vector
    value: float
    n_iterations: int
    n_evaluations: int
    message: str
    stopped_by: str
    gradient: Vector | None = None

    @property
    def success(self) -> bool:
        """Whether it ended because it was content, and not for a limit, a callback or Ctrl-C."""
        return self.stopped_by == "converged"


@dataclass(frozen=True)
class Minimizer:
    """One of SciPy's methods with its limits; made by `LBFGS`, `TNC`, `CG` and `NewtonCG`.

    It stops after `max_iterations` iterations, before it would evaluate the function more than
    `max_evaluations` times (None: as often as it likes), or when it has converged: `tolerance` is
    SciPy's `tol`, None its defaults. Raises ValueError for an unknown method or a limit below 1.
    """

    method: str
    max_iterations: int = 200
    max_evaluations: int | None = None
    tolerance: float | None = None

    def __post_init__(self) -> None:
        look_up(_OPTIONS, self.method, "method")
        require_count(self, "max_iterations", self.max_iterations)
        if self.max_evaluations is not None:
            require_count(self, "max_evaluations", self.max_evaluations)
        if self.tolerance is not None:
            require_number(self, "tolerance", self.tolerance, positive=True)

    def minimize(
        self,
        value_and_grad: ValueAndGrad,
        x0: npt.ArrayLike,
        hvp: Callable[[Vector, Vector], Any] | None = None,
        on_iteration: Callable[[int, Vector, float], None] | None = None,
    ) -> MinimizeResult:
        """Minimize a function of one vector, from `x0` (n,), which is left as it is.

        `value_and_grad(x)` returns the value and the gradient (n,) at `x` (n,) float64, the same
        ones each time; `hvp(x, v)` the Hessian at `x` times `v` (Newton-CG only, which needs it).
        `on_iteration(k, x, value)` is called after iteration k = 1, 2, … with the best point so
        far, and ends the run by raising StopIteration. Ctrl-C ends it too: both give the best
        point. Raises ImportError without SciPy.

        >>> import numpy as np, chainrule as cr
        >>> bowl = cr.value_and_grad(lambda x: np.square(x - 3.0).sum())
        >>> result = LBFGS().minimize(bowl, np.zeros(2))
        >>> result.x.round(6), result.stopped_by
        (array([3., 3.]), 'converged')
        """
        minimize = _scipy_minimize(self.method)
        start = np.array(x0, dtype=np.float64)
        if start.ndim != 1:
            raise ValueError(f"x0 has shape {start.shape}: give one flat vector, shape (n,)")
        if self.method == "Newton-CG" and hvp is None:
            raise ValueError(
                "NewtonCG needs hvp, the Hessian-vector product: "
                "hvp=lambda x, v: chainrule.hvp(f, x, v)"
            )
        run = _Run(self, value_and_grad, start, on_iteration)
        options = dict(_OPTIONS[self.method])
        if self.method == "TNC" and self.max_evaluations is not None:
            # It knows of the limit too, and spends its last evaluations on a line search.
            options["maxfun"] = self.max_evaluations
        extra = {"hessp": _in_float64(hvp)} if self.method == "Newton-CG" and hvp else {}
        try:
            found = minimize(
                run.evaluate,
                start,
                jac=True,
                method=self.method,
                tol=self.tolerance,
                callback=run.end_iteration,
                options=options,
                **extra,
            )
        except _Stop as stop:
            return run.result(stop.stopped_by, stop.message)
        except KeyboardInterrupt:
            return run.result("interrupt", "interrupted: this is the best point up to there")
        if self.method == "TNC" and found.status == _TNC_MAXFUN:
            return run.result("max_evaluations", str(found.message))
        return run.result("converged" if found.success else "stalled", str(found.message))


class _Stop(Exception):  # noqa: N818  like StopIteration, not an error
    """Ends a run from inside SciPy: a limit is reached, or the caller has had enough."""

    def __init__(self, stopped_by: str, message: str) -> None:
        super().__init__(message)
        self.stopped_by = stopped_by
        self.message = message


class _Run:
    """One run: counts iterations and evaluations, ends it in time, and keeps the best point."""

    def __init__(
        self,
        limits: Minimizer,
        value_and_grad: ValueAndGrad,
        start: Vector,
        on_iteration: Callable[[int, Vector, float], None] | None,
    ) -> None:
        self.limits = limits
        self.value_and_grad = value_and_grad
        self.on_iteration = on_iteration
        self.x = start.copy()
        self.value = math.nan
        self.gradient = np.full(start.shape, math.nan)
        self.n_iterations = 0
        self.n_evaluations = 0

    def evaluate(self, x: Vector) -> tuple[float, Vector]:
        if self.n_evaluations == self.limits.max_evaluations:
            raise _Stop("max_evaluations", f"stopped after {self.n_evaluations} evaluations")
        value, gradient = self.value_and_grad(x)
        value = float(value)
        # A copy, as SciPy keeps gradients of several points, and theirs may be one buffer.
        gradient = np.array(gradient, dtype=np.float64)
        self.n_evaluations += 1
        if value < self.value or math.isnan(self.value):
            self.x, self.value, self.gradient = x.copy(), value, gradient.copy()
        return value, gradient

    def end_iteration(self, _: Vector) -> None:
        self.n_iterations += 1
        if self.on_iteration is not None:
            try:
                self.on_iteration(self.n_iterations, self.x.copy(), self.value)
            except StopIteration as reason:
                message = str(reason) or f"stopped after iteration {self.n_iterations}"
                raise _Stop("on_iteration", message) from None
        if self.n_iterations == self.limits.max_iterations:
            raise _Stop("max_iterations", f"stopped after {self.n_iterations} iterations")

    def result(self, stopped_by: str, message: str) -> MinimizeResult:
        return MinimizeResult(
            self.x,
            self.value,
            self.n_iterations,
            self.n_evaluations,
            message,
            stopped_by,
            self.gradient,
        )


def _in_float64(hvp: Callable[[Vector, Vector], Any]) -> Callable[[Vector, Vector], Vector]:
    return lambda x, v: np.array(hvp(x, v), dtype=np.float64)


def _scipy_minimize(method: str) -> Callable[..., Any]:
    try:
        from scipy.optimize import minimize
    except ImportError as missing:
        raise missing_extra(f"the {method} minimizer is SciPy's", "scipy") from missing
    return minimize


# The names the methods go by; they read like those of the optimizers they stand beside.


def LBFGS(
    max_iterations: int = 200, max_evaluations: int | None = None, tolerance: float | None = None
) -> Minimizer:
    """Limited-memory BFGS: builds up curvature from the last ten gradients; the first one to try.

    SciPy's L-BFGS-B: Byrd, Lu, Nocedal and Zhu 1995, "A limited memory algorithm for bound
    constrained optimization", without the bounds. The numbers are those of `Minimizer`.
    """
    return Minimizer("L-BFGS-B", max_iterations, max_evaluations, tolerance)


def TNC(
    max_iterations: int = 200, max_evaluations: int | None = None, tolerance: float | None = None
) -> Minimizer:
    """Truncated Newton: Newton's equations solved roughly, curvature by differences of gradients.

    SciPy's TNC: Nash 1984, "Newton-type minimization via the Lanczos method". Its inner loop
    evaluates too, so `max_evaluations` is the limit to give. The numbers are those of `Minimizer`.
    """
    return Minimizer("TNC", max_iterations, max_evaluations, tolerance)


def CG(
    max_iterations: int = 200, max_evaluations: int | None = None, tolerance: float | None = None
) -> Minimizer:
    """Nonlinear conjugate gradients, after Polak and Ribière: remembers one direction only.

    SciPy's CG: Nocedal and Wright 2006, "Numerical optimization", section 5.2. The numbers are
    those of `Minimizer`.
    """
    return Minimizer("CG", max_iterations, max_evaluations, tolerance)


def NewtonCG(
    max_iterations: int = 200, max_evaluations: int | None = None, tolerance: float | None = None
) -> Minimizer:
    """Newton's method, its equations solved by conjugate gradients on Hessian-vector products.

    SciPy's Newton-CG: Nocedal and Wright 2006, "Numerical optimization", section 7.1. The products
    are exact, by our second derivatives (Pearlmutter 1994, "Fast exact multiplication by the
    Hessian"). The numbers are those of `Minimizer`.
    """
    return Minimizer("Newton-CG", max_iterations, max_evaluations, tolerance)
