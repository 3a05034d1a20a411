"""What is known of a gradient that failed its check: element by element, by argument."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from chainrule.gradcheck.numeric import element_derivatives, estimate, random_direction
from chainrule.gradcheck.problem import Leaves, Problem
from chainrule.gradcheck.report import Element

__all__ = ["ComplexStep", "Evidence", "Settings", "agrees", "gather"]

Vector = np.ndarray[Any, Any]

ComplexStep: TypeAlias = Literal["auto"] | bool
"""Whether the complex step is taken: where it can be, always, or never."""

# Elements differentiated one by one; of a larger array the most suspicious part.
_LIMIT = 128
_LINE = 32


@dataclass(frozen=True)
class Settings:
    """How a check is made: tolerances, the user's step if any, the relative rounding `eps` of f.

    `complex_rtol` is the relative tolerance against the complex step, `rtol` that against finite
    differences.
    """

    rtol: float
    complex_rtol: float
    atol: float
    step: float | None
    eps: float
    complex_step: ComplexStep


def agrees(
    gradient: Vector,
    numerical: Vector,
    error: Vector,
    scale: Vector,
    magnitude: Vector,
    settings: Settings,
) -> Vector:
    """Whether each pair of derivatives agrees, `error` being the numerical one's likely error.

    The tolerance is relative to `scale`. Rounding of f is allowed for on top, but only where it is
    below the tolerance itself, or small beside the `magnitude` of f.
    """
    with np.errstate(all="ignore"):
        distance = np.abs(gradient - numerical)
        scale = np.where(np.isfinite(scale), scale, 0.0)  # NaN and inf agree with nothing
    rounding = 10 * error
    allowed = (rounding <= settings.rtol * scale) | (rounding <= settings.rtol * magnitude + 1e-12)
    within = distance <= settings.atol + settings.rtol * scale
    return np.asarray(within | (allowed & (distance <= rounding)))


@dataclass(frozen=True)
class Evidence:
    """The wrong gradient of `cotangents · f` by one leaf, beside the numerical one.

    `gradient` is the whole array; `numerical` and `errors` belong to the flat `indices` alone.
    """

    problem: Problem
    position: int
    cotangents: Leaves
    gradient: Vector
    indices: Vector
    numerical: Vector
    errors: Vector
    settings: Settings

    @property
    def name(self) -> str:
        return self.problem.names[self.position]

    @property
    def leaf(self) -> Vector:
        return self.problem.reference[self.position]

    @property
    def cotangent(self) -> Vector:
        """The cotangents of all results as one vector."""
        return np.concatenate([np.ravel(u) for u in self.cotangents]).astype(np.float64)

    @cached_property
    def examined(self) -> Vector:
        """The gradient at the examined elements."""
        return np.asarray(np.ravel(self.gradient)[self.indices], np.float64)

    @cached_property
    def wrong(self) -> Vector:
        """Which of the examined elements disagree: at least one, for their sum does."""
        wrong = ~self.equals(self.examined, self.numerical, 1.0)
        if not wrong.any() and wrong.size:
            wrong[np.argmax(np.abs(self.examined - self.numerical))] = True
        return wrong

    def equals(self, left: Vector, right: Vector, looseness: float = 10.0) -> Vector:
        """Element by element, whether two gradients are the same within the numerical errors."""
        with np.errstate(all="ignore"):
            scale = np.maximum(np.abs(left), np.abs(right))
            largest = np.max(scale, initial=0.0, where=np.isfinite(scale))
            allowed = looseness * self.settings.rtol * np.maximum(scale, 1e-3 * largest)
            near = np.abs(left - right) <= allowed + self.settings.atol + 10 * self.errors
        return np.asarray(near & np.isfinite(left) & np.isfinite(right))

    def explains(self, candidate: Vector) -> bool:
        """Whether another gradient (at the examined elements) is the numerical one."""
        return candidate.size > 0 and bool(self.equals(candidate, self.numerical).all())

    def where(self, flat_index: int) -> str:
        """An element by its index and its value, for a message."""
        index = np.unravel_index(flat_index, self.leaf.shape)
        value = float(np.ravel(self.leaf)[flat_index])
        place = f"[{', '.join(str(int(i)) for i in index)}]" if index else ""
        return f"{self.name}{place} = {value:.6g}"

    def worst_elements(self) -> list[Element]:
        """The disagreeing elements, the farthest first."""
        distance = np.abs(self.examined - self.numerical)
        distance[~np.isfinite(distance)] = np.inf
        order = [k for k in np.argsort(-distance, kind="stable") if self.wrong[k]]
        return [
            Element(
                self.name,
                tuple(int(i) for i in np.unravel_index(self.indices[k], self.leaf.shape)),
                float(self.examined[k]),
                float(self.numerical[k]),
            )
            for k in order
        ]


def gather(
    problem: Problem,
    position: int,
    cotangents: Leaves,
    gradient: Vector,
    settings: Settings,
    rng: np.random.Generator,
) -> Evidence:
    """Differentiate numerically by the elements of one leaf: both gradients side by side."""
    gradient = np.asarray(gradient, np.float64)
    cotangent = np.concatenate([np.ravel(u) for u in cotangents]).astype(np.float64)

    def differentiate(indices: Vector) -> tuple[Vector, Vector]:
        return element_derivatives(
            problem, position, cotangent, indices, settings.step, settings.eps
        )

    indices = _suspects(problem, position, cotangent, gradient, settings, rng)
    numerical, errors = differentiate(indices)
    if indices.size < gradient.size:
        distance = np.nan_to_num(np.abs(np.ravel(gradient)[indices] - numerical), nan=np.inf)
        more = np.setdiff1d(_lines_through(indices[np.argmax(distance)], gradient.shape), indices)
        further, further_errors = differentiate(more)
        indices = np.concatenate([indices, more])
        numerical = np.concatenate([numerical, further])
        errors = np.concatenate([errors, further_errors])
    return Evidence(problem, position, cotangents, gradient, indices, numerical, errors, settings)


def _lines_through(flat_index: int, shape: tuple[int, ...]) -> Vector:
    """Flat indices of elements in line with one: a wrong row or column shows only along it."""
    place = np.unravel_index(flat_index, shape)
    lines = []
    for axis, size in enumerate(shape):
        along = [np.full(min(size, _LINE), int(k)) for k in place]
        along[axis] = np.linspace(0, size - 1, min(size, _LINE)).astype(np.intp)
        lines.append(np.ravel_multi_index(tuple(along), shape))
    return np.concatenate(lines)


def _suspects(
    problem: Problem,
    position: int,
    cotangent: Vector,
    gradient: Vector,
    settings: Settings,
    rng: np.random.Generator,
) -> Vector:
    """Flat indices to examine: all, or of a large leaf the half that disagrees more, repeatedly."""
    flat = np.ravel(gradient)
    indices = np.arange(flat.size)
    if indices.size > _LIMIT and not np.isfinite(flat).all():
        return np.flatnonzero(~np.isfinite(flat))[:_LIMIT]
    leaf = problem.reference[position]

    def disagreement(part: Vector) -> float:
        direction = np.zeros(leaf.size)
        direction[part] = np.ravel(random_direction(leaf, rng))[part]
        moved = direction.reshape(leaf.shape)
        found = estimate(problem, position, moved, settings.step, settings.eps)
        distance = abs(float(cotangent @ found.value - flat @ direction))
        return distance if np.isfinite(distance) else np.inf

    while indices.size > _LIMIT:
        indices = max(np.array_split(indices, 2), key=disagreement)
    return indices
