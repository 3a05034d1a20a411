"""The comparison itself: vjp and jvp against numerical derivatives in random directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.autodiff import jvp
from chainrule.gradcheck.diagnose import diagnose, wrong_shape
from chainrule.gradcheck.evidence import ComplexStep, Settings, agrees, gather
from chainrule.gradcheck.numeric import (
    Estimate,
    careful,
    complex_step,
    element_derivatives,
    estimate,
    kinked,
    magnitude,
    random_direction,
    resolution,
)
from chainrule.gradcheck.problem import BackwardError, Leaves, Problem
from chainrule.gradcheck.report import Element, Fault

__all__ = ["Comparison", "random_cotangents", "settings_for"]

Vector = np.ndarray[Any, Any]

_N_ROUNDS = 2
# Relative tolerance by the coarsest dtype of arguments and results; the complex step is exact.
_TOLERANCES: dict[type[np.floating[Any]], float] = {np.float16: 5e-2, np.float32: 1e-3}
_DOUBLE_TOLERANCE = 1e-6
_COMPLEX_TOLERANCE = 1e-8


def settings_for(
    problem: Problem,
    rtol: float | None,
    atol: float,
    step: float | None,
    complex_step: ComplexStep,
) -> Settings:
    """Tolerance by the coarsest dtype in play, a float32 hidden inside the function included.

    Raises ValueError for an option with which a check would say nothing.
    """
    if rtol is not None and not (_is_number(rtol) and 0 <= rtol < 1):
        raise ValueError(f"rtol={rtol!r}: give a number from 0 to below 1, or None")
    if not (_is_number(atol) and 0 <= atol < np.inf):
        raise ValueError(f"atol={atol!r}: give a number of at least 0")
    if step is not None and not (_is_number(step) and 0 < step < np.inf):
        raise ValueError(f"step={step!r}: give a number above 0, or None to have it chosen")
    if complex_step != "auto" and not isinstance(complex_step, bool | np.bool_):
        raise ValueError(f"complex_step={complex_step!r}: give 'auto', True or False")
    eps = resolution(problem)
    coarsest = max([eps, *(np.finfo(a.dtype).eps for a in problem.leaves if a.dtype.kind == "f")])
    default = _DOUBLE_TOLERANCE
    for dtype, tolerance in _TOLERANCES.items():
        if coarsest >= np.finfo(dtype).eps:
            default = max(default, tolerance)
    tight = _COMPLEX_TOLERANCE if default == _DOUBLE_TOLERANCE else default
    if rtol is not None:
        default = tight = rtol
    wanted: ComplexStep = "auto" if complex_step == "auto" else bool(complex_step)
    return Settings(default, tight, atol, step, eps, wanted)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating)


def random_cotangents(
    problem: Problem, rng: np.random.Generator, unit_for_a_number: bool = False
) -> Leaves:
    """A random cotangent for every result, of its shape and dtype; 1 where a user's gradient is.

    With `unit_for_a_number` it is 1 also where the only result is one number: a gradient to show.
    """
    with np.errstate(all="ignore"):
        results = problem.call([leaf.copy() for leaf in problem.leaves])
    is_number = [np.size(result) for result in results] == [1]
    if problem.is_given or (is_number and unit_for_a_number):
        return [np.ones(np.shape(result), result.dtype) for result in results]
    return [
        np.asarray(random_direction(np.ones(np.shape(result)), rng), result.dtype)
        for result in results
    ]


@dataclass
class Comparison:
    """One order of derivative under comparison, and what it has shown so far.

    `run` compares in random directions until something disagrees, and then asks why. `silent` says
    of each leaf whether gradient and numerical derivative were zero throughout, `unresolved` how
    far off a derivative may be that agrees within the rounding of the function only, and `kinks`
    where the function has one; by an `unchecked` leaf no gradient was given. `weighted` says that
    the elements belong to a random cotangent.
    """

    problem: Problem
    settings: Settings
    rng: np.random.Generator
    worst: float = 0.0
    directions: int = 0
    methods: set[str] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)
    silent: dict[int, bool] = field(default_factory=dict)
    unresolved: dict[int, float] = field(default_factory=dict)
    unchecked: set[int] = field(default_factory=set)
    kinks: set[int] = field(default_factory=set)
    weighted: bool = False

    def run(self, modes: Sequence[str]) -> None:
        """Compare both modes in a few random directions per leaf."""
        for current in range(_N_ROUNDS):
            cotangents = random_cotangents(self.problem, self.rng, unit_for_a_number=current == 0)
            try:
                given = self.problem.gradient(self.problem.leaves, cotangents)
            except BackwardError as error:
                self.faults.append(
                    Fault(f"the reverse pass raised {error}{_hint(error)}", "raises")
                )
                return
            self.unchecked |= {k for k, found in enumerate(given) if found is None}
            directions = [random_direction(leaf, self.rng) for leaf in self.problem.reference]
            numerical: list[Estimate] = []
            for position, direction in enumerate(directions):
                if given[position] is None:
                    continue
                fault = self._not_comparable(position, given[position])
                if fault is not None:
                    self.faults.append(fault)
                    continue
                numerical.append(self._numerical(position, direction))
                self.directions += 1
                if kinked(self.problem, position, direction, self.settings.eps):
                    self.kinks.add(position)
                if "vjp" in modes:
                    self._compare_vjp(
                        position, cotangents, given[position], direction, numerical[-1]
                    )
            if "jvp" in modes and not self.faults:
                self._compare_jvp(directions, numerical)
            if self.faults:
                return

    def notes(self) -> list[str]:
        """What is worth knowing of a derivative that agrees."""
        label, names, leaves = self.problem.label, self.problem.names, self.problem.leaves
        notes = [
            f"{label} does not depend on {names[position]} at this point"
            for position, silent in self.silent.items()
            if silent and leaves[position].size
        ]
        notes += [
            f"{names[position]} has no elements: of its gradient only the shape was compared"
            for position in self.silent
            if not leaves[position].size
        ]
        notes += [
            f"{names[position]} was not checked: no gradient by it was given"
            for position in sorted(self.unchecked)
            if leaves[position].dtype.kind == "f"
        ]
        notes += [
            f"the derivative by {names[position]} is so small beside the rounding of {label} that "
            f"it was checked to {share:.0%} only"
            for position, share in self.unresolved.items()
            if not self.faults
        ]
        notes += [
            f"{label} has a kink in {names[position]} at this point: the slopes on its two sides "
            "differ, and a gradient that agrees is their mean, by convention"
            for position in sorted(self.kinks)
        ]
        return notes

    def _not_comparable(self, position: int, given: Any) -> Fault | None:
        """What keeps a gradient from being compared at all: it is of, or by, no real numbers."""
        name, leaf = self.problem.names[position], self.problem.leaves[position]
        if leaf.dtype.kind != "f":
            text = (
                f"{name} is {leaf.dtype}, but a gradient is given for it: return None in its "
                "place, or check with .astype(float)"
            )
            return Fault(text, "argument", position)
        if given.dtype.kind in "biuf":
            return None
        what = type(given.item()).__name__ if given.shape == () else f"an array of {given.dtype}"
        text = f"the gradient by {name} is not of real numbers but {what}: return a float array"
        return Fault(text, "no numbers", position)

    def _numerical(self, position: int, direction: Vector) -> Estimate:
        """The finite difference, or the complex step where the function is analytic."""
        problem, settings = self.problem, self.settings
        found = estimate(problem, position, direction, settings.step, settings.eps)
        self.methods.add(found.label)
        wanted = settings.complex_step
        if wanted is False or (wanted == "auto" and settings.step is not None):
            return found
        exact = complex_step(problem, position, direction, found, settings.eps)
        if exact is not None:
            self.methods.add(exact.label)
            return exact
        if wanted is True:
            text = (
                f"the complex step was asked for, but {problem.label} is not analytic in "
                f"{problem.names[position]}, or does not take complex arrays"
            )
            self.faults.append(Fault(text, "complex step", position))
        return found

    def _compare_vjp(
        self, position: int, cotangents: Leaves, given: Any, direction: Vector, found: Estimate
    ) -> None:
        """<gradient, v> against <u, J v>; where they disagree, the elements and the cause."""
        u = np.concatenate([np.ravel(cotangent) for cotangent in cotangents]).astype(np.float64)
        gradient = np.asarray(given, np.float64)
        if gradient.shape != direction.shape:
            self._refuse_shape(position, u, gradient)
            return
        quiet = not gradient.any() and not found.value.any()
        self.silent[position] = self.silent.get(position, True) and quiet
        ok, relative = self._inner_products_agree(gradient * direction, u, found)
        if not ok and found.method == "central differences" and found.step is None:
            found = careful(self.problem, position, direction, self.settings.eps)
            ok, relative = self._inner_products_agree(gradient * direction, u, found)
        self.worst = max(self.worst, relative)
        self._note_rounding(position, gradient * direction, u, found)
        if not ok:
            evidence = gather(self.problem, position, cotangents, gradient, self.settings, self.rng)
            self.faults.append(diagnose(evidence))
            self.elements += evidence.worst_elements()
            self.weighted = any(np.any(u != 1) for u in cotangents)

    def _note_rounding(self, position: int, products: Vector, u: Vector, found: Estimate) -> None:
        size = np.sqrt((products**2).sum())
        error = np.abs(u) @ found.error
        if 0 < 0.01 * size < 10 * error:
            self.unresolved[position] = min(1.0, float(10 * error / size))

    def _refuse_shape(self, position: int, u: Vector, gradient: Vector) -> None:
        leaf, settings = self.problem.reference[position], self.settings
        numerical, _ = element_derivatives(
            self.problem, position, u, np.arange(leaf.size), settings.step, settings.eps
        )
        self.worst = np.inf
        name = self.problem.names[position]
        numerical = numerical.reshape(leaf.shape)
        text = wrong_shape(name, gradient, leaf, numerical, settings.rtol)
        self.faults.append(Fault(text, "shape", position))

    def _inner_products_agree(
        self, products: Vector, u: Vector, found: Estimate
    ) -> tuple[bool, float]:
        with np.errstate(all="ignore"):
            terms = u * found.value
            ours, numerical = products.sum(), terms.sum()
            # The sums may cancel; what they are compared by is the size of their terms.
            sizes = np.sqrt((products**2).sum()), np.sqrt((terms**2).sum())
            scale = max(abs(ours), abs(numerical), *sizes)
            size = np.abs(u) @ magnitude(self.problem)
            summed = replace(found, value=numerical, error=np.abs(u) @ found.error)
        return self._verdict(ours, summed, scale, size)

    def _compare_jvp(self, directions: list[Vector], numerical: list[Estimate]) -> None:
        """J v, all leaves moving at once, against the sum of the numerical derivatives."""
        problem = self.problem
        tangents = [
            direction.astype(leaf.dtype)
            for direction, leaf in zip(directions, problem.leaves, strict=True)
        ]
        try:
            with np.errstate(all="ignore"):
                _, results = jvp(
                    lambda *point: problem.call(list(point)), tuple(problem.leaves), tuple(tangents)
                )
        except Exception as error:  # whatever a rule raises when it is itself recorded
            text = f"the jvp raised {type(error).__name__}: {error}"
            self.faults.append(Fault(text, "raises"))
            return
        ours = np.concatenate([np.ravel(result) for result in results]).astype(np.float64)
        zeros = np.zeros(ours.shape)
        methods = {found.method for found in numerical}
        found = Estimate(
            sum((n.value for n in numerical), zeros),
            sum((n.error for n in numerical), zeros),
            methods.pop() if len(methods) == 1 else "central differences",
        )
        with np.errstate(all="ignore"):
            sizes = np.sqrt(sum((n.value**2 for n in numerical), zeros))
            typical = np.sqrt(np.mean(sizes**2)) if sizes.size else 0.0
            scale = np.maximum.reduce([np.abs(ours), np.abs(found.value), sizes + typical])
        ok, relative = self._verdict(ours, found, scale, magnitude(problem))
        self.worst = max(self.worst, relative)
        if not ok:
            text = (
                "the numerical derivative agrees with the vjp but not with the jvp, which is the "
                "vjp of the vjp: a rule is not linear in its cotangent, or leaves the record"
            )
            self.faults.append(Fault(text, "not linear"))

    def _verdict(self, ours: Any, found: Estimate, scale: Any, size: Any) -> tuple[bool, float]:
        """Whether all agree, and the worst relative error (0 where rounding explains it)."""
        settings = self.settings
        if found.method == "complex step":
            settings = replace(settings, rtol=settings.complex_rtol)
        ok = agrees(ours, found.value, found.error, scale, size, settings)
        with np.errstate(all="ignore"):
            distance = np.abs(ours - found.value)
            relative = np.maximum(distance - settings.atol, 0) / scale
        explained = ok & (distance <= 10 * found.error) & ~(relative <= settings.rtol)
        relative = np.where(explained, 0, relative)
        relative = np.where(np.isnan(relative), np.where(ok, 0, np.inf), relative)
        return bool(np.all(ok)), float(np.max(relative, initial=0.0))


def _hint(error: BackwardError) -> str:
    """A rule whose matrices do not fit together most often lacks a transposition."""
    misfit = isinstance(error.__cause__, ValueError)
    return ". If shapes do not fit in a vjp rule: a transposition forgotten?" if misfit else ""
