"""Derivatives by numbers alone: central and one-sided differences, and the complex step."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chainrule.gradcheck.problem import Leaves, Problem, evaluate

__all__ = [
    "Estimate",
    "careful",
    "complex_step",
    "difference",
    "element_derivatives",
    "element_size",
    "estimate",
    "kinked",
    "magnitude",
    "one_sided",
    "random_direction",
    "resolution",
]

Vector = np.ndarray[Any, Any]

# A step small enough to be clear of every kink, large enough that a real part is untouched.
_COMPLEX_STEP = 1e-20
# Multiples of the usual step, from 16 down to 3e-11, for points where that one does not do.
_LADDER = 16 * 0.5 ** np.arange(40)
# How many times its rounding a value may be off, in functions of many operations too.
_REFUTED = 1000


@dataclass(frozen=True)
class Estimate:
    """A numerical derivative in one direction, one value per result, with its likely error.

    `step` is the user's, None where it was chosen here.
    """

    value: Vector
    error: Vector
    method: Literal["central differences", "complex step"] = "central differences"
    step: float | None = None

    @property
    def label(self) -> str:
        """The method in words."""
        return self.method if self.step is None else f"{self.method}, step {self.step:g}"


def random_direction(array: Vector, rng: np.random.Generator) -> Vector:
    """A direction in which every element moves, by half to one and a half times `element_size`."""
    lengths = rng.uniform(0.5, 1.5, array.shape) * rng.choice([-1.0, 1.0], array.shape)
    return np.asarray(lengths * element_size(array))


def element_size(array: Vector) -> Vector:
    """How far one unit of step moves an element: 1, or the root of its magnitude beyond 1.

    A step of 1 would drown in the rounding of large elements, one of their magnitude leap over
    what the function does there.
    """
    return np.sqrt(np.maximum(np.abs(array), 1.0)).astype(np.float64)


def resolution(problem: Problem) -> float:
    """The relative rounding of the function's results, noticed also where float32 hides inside."""
    here = problem.here
    coarsest = max(
        [np.finfo(here.dtype).eps]
        + [np.finfo(leaf.dtype).eps for leaf in problem.reference if leaf.dtype.kind == "f"]
    )
    nearby = [
        np.asarray(leaf * (1 + 0.0123456789) + 0.00123456789) if leaf.dtype.kind == "f" else leaf
        for leaf in problem.reference
    ]
    there = evaluate(problem, nearby)
    there = there[np.isfinite(there)]
    if there.dtype.kind == "c":
        return float(coarsest)
    with np.errstate(all="ignore"):
        rounded = there.astype(np.float32).astype(there.dtype)
    in_single = there.size > 0 and np.array_equal(there, rounded)
    if in_single and not np.array_equal(there, np.round(there, 2)):
        return float(max(coarsest, np.finfo(np.float32).eps))
    return float(coarsest)


def difference(problem: Problem, position: int, direction: Vector, step: float) -> Vector:
    """The central difference (f(x + h v) - f(x - h v)) / 2h; its error falls with h squared."""
    plus = evaluate(problem, problem.moved(position, step * direction))
    minus = evaluate(problem, problem.moved(position, -step * direction))
    with np.errstate(all="ignore"):
        return np.asarray((plus - minus) / (2 * step))


def one_sided(
    problem: Problem, position: int, direction: Vector, step: float
) -> tuple[Vector, Vector]:
    """The slopes to the left and to the right; at a kink they differ however small the step."""
    here = problem.here
    plus = evaluate(problem, problem.moved(position, step * direction))
    minus = evaluate(problem, problem.moved(position, -step * direction))
    with np.errstate(all="ignore"):
        return (here - minus) / step, (plus - here) / step


def kinked(problem: Problem, position: int, direction: Vector, eps: float) -> bool:
    """Whether the slopes to the left and right of the point stay apart as the step shrinks."""
    far, near = (
        np.subtract(*one_sided(problem, position, direction, step)) for step in (1e-3, 2e-5)
    )
    rounding = 10 * eps * magnitude(problem) / 2e-5
    apart = (np.abs(near) > 0.5 * np.abs(far)) & (np.abs(near) > 1e-6 + rounding)
    return bool(np.any(apart & np.isfinite(near) & np.isfinite(far)))


def estimate(
    problem: Problem, position: int, direction: Vector, step: float | None, eps: float
) -> Estimate:
    """The derivative in a direction of one leaf, with the error to expect of it.

    A given step is taken as it is. Otherwise three steps around eps^(1/5), where truncation and
    rounding balance, are extrapolated to zero; where they disagree, many more are tried.
    """
    rounding = eps * magnitude(problem)
    if step is not None:
        value = difference(problem, position, direction, step)
        return Estimate(value, rounding / step, step=step)
    steps = eps**0.2 * np.array([1.0, 0.5, 0.25])
    coarse, fine = _richardson(problem, position, direction, steps)
    with np.errstate(all="ignore"):
        error = np.abs(fine - coarse) + rounding / steps[-1]
        typical = np.sqrt(np.mean(fine**2)) if fine.size else 0.0
        size = np.maximum(np.abs(fine), typical)
        settled = np.all(error <= 1e-8 * size + 3 * rounding / steps[-1])
        resolved = np.all(error <= 1e-4 * size) or not fine.any()
    if settled and resolved:
        return Estimate(fine, error)
    return careful(problem, position, direction, eps)


def careful(problem: Problem, position: int, direction: Vector, eps: float) -> Estimate:
    """The derivative from a ladder of many steps: the best of those that no smaller one refutes.

    Kinks, poles and plateaus of the function show in the larger steps, rounding in the smaller. A
    step is refuted where a smaller one's value is further off than its rounding can explain
    (O. Lepski's principle). Of the others, that with the least difference to the next smaller
    step's value and the least rounding is the best.
    """
    steps = eps**0.2 * _LADDER
    values = _richardson(problem, position, direction, steps)
    leaf = problem.reference[position]
    grain = np.max(np.abs(leaf) / element_size(leaf), initial=0.0)  # rounding of the argument
    with np.errstate(all="ignore"):
        rounding = eps * (magnitude(problem) + grain * np.abs(values)) / steps[1:, None]
        error = np.abs(np.diff(values, axis=0)) + 3 * rounding[:-1]
        lower = np.maximum.accumulate((values - _REFUTED * rounding)[::-1], axis=0)[::-1]
        upper = np.minimum.accumulate((values + _REFUTED * rounding)[::-1], axis=0)[::-1]
        error = np.where((lower <= upper)[:-1] & np.isfinite(error), error, np.inf)
    best = np.argmin(error, axis=0)[np.newaxis]
    value = np.take_along_axis(values, best, axis=0)[0]
    error = np.take_along_axis(error, best, axis=0)[0]
    # At a jump every step is refuted; its value shows how steep the function looks.
    error = np.where(np.isfinite(error), error, np.abs(value))
    return Estimate(value, error)


def magnitude(problem: Problem) -> Vector:
    """The size of the numbers each result was made of: its own, and up to 1 that of the others.

    A small result is often a difference of numbers around 1, and has their rounding.
    """
    size = np.abs(problem.here)
    return np.asarray(np.maximum(size, np.clip(size.max(initial=0.0), problem.smallest, 1.0)))


def _richardson(problem: Problem, position: int, direction: Vector, steps: Vector) -> Vector:
    """Central differences of halved steps extrapolated to zero, (4 D(h/2) - D(h)) / 3, one each."""
    differences = np.stack([difference(problem, position, direction, h) for h in steps])
    with np.errstate(all="ignore"):
        return np.asarray((4 * differences[1:] - differences[:-1]) / 3)


def complex_step(
    problem: Problem, position: int, direction: Vector, finite_difference: Estimate, eps: float
) -> Estimate | None:
    """Im f(x + i h v) / h, exact to rounding (Squire and Trapp 1998); None where f is not analytic.

    It is taken only if f runs on complex numbers without a warning, gives the same real part, and
    agrees with the finite difference to that one's accuracy.
    """
    leaves: Leaves = list(problem.reference)
    leaves[position] = leaves[position] + 1j * _COMPLEX_STEP * direction
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values = evaluate(problem, leaves)
    except Exception:  # whatever f raises on complex numbers, it is not analytic for us
        return None
    here = problem.here
    if values.dtype.kind != "c" or values.shape != here.shape or not np.isfinite(values).all():
        return None
    if not np.allclose(values.real, here, rtol=1e-12, atol=1e-30):
        return None
    derivative = values.imag / _COMPLEX_STEP
    size = np.abs(derivative) + (np.sqrt(np.mean(derivative**2)) if derivative.size else 0)
    distance = np.abs(derivative - finite_difference.value)
    if not np.all(distance <= 1e-5 * size + 10 * finite_difference.error):
        return None
    return Estimate(derivative, eps * np.minimum(magnitude(problem), 1.0), "complex step")


def element_derivatives(
    problem: Problem,
    position: int,
    cotangent: Vector,
    indices: Vector,
    step: float | None,
    eps: float,
) -> tuple[Vector, Vector]:
    """The numerical gradient of `cotangent @ f` by some elements of a leaf, and its errors."""
    leaf = problem.reference[position]
    sizes = np.ravel(element_size(leaf))
    values, errors = np.empty(len(indices)), np.empty(len(indices))
    for k, index in enumerate(indices):
        direction = np.zeros(leaf.size)
        direction[index] = sizes[index]
        found = estimate(problem, position, direction.reshape(leaf.shape), step, eps)
        with np.errstate(all="ignore"):
            values[k] = cotangent @ found.value / sizes[index]
            errors[k] = np.abs(cotangent) @ found.error / sizes[index]
    return values, errors
