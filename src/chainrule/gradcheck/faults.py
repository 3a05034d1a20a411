"""What makes a check meaningless before anything is compared, each fault in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff import vjp
from chainrule.gradcheck.problem import Leaves, Problem, evaluate, function_name
from chainrule.gradcheck.report import Fault

__all__ = ["comparable", "faults_of_the_gradient", "faults_of_the_point", "writes_in_place"]

Vector = np.ndarray[Any, Any]

_ALIAS = "`b = a` gives one array a second name and copies nothing; begin with b = a.copy()"


def faults_of_the_point(problem: Problem, by_us: bool, record: bool) -> list[Fault]:
    """What is wrong with the function or its arguments, whatever the gradient is.

    `by_us` says that the gradient is ours, which takes floating-point arguments only; with
    `record` the recorded function is compared with the plain one too.
    """
    for position, (name, leaf) in enumerate(zip(problem.names, problem.leaves, strict=True)):
        if by_us and leaf.dtype.kind != "f":
            text = (
                f"{name} is {leaf.dtype}, which has no derivative: give float64 with "
                ".astype(float), or leave it out of the arguments, as lambda w: f(w, labels) does"
            )
            return [Fault(text, "argument", position)]
    copies = [leaf.copy() for leaf in problem.leaves]
    with np.errstate(all="ignore"):
        results = [np.array(result) for result in problem.call(copies)]
    if not results:
        text = f"{problem.label} returns no floating-point array, so it has no derivative"
        return [Fault(text, "result")]
    if any(result.dtype.kind == "c" for result in results):
        text = (
            f"{problem.label} returns complex numbers, which have no derivative here: return "
            "their real and imaginary parts, or their absolute value"
        )
        return [Fault(text, "result")]
    changed = _changed(problem.names, problem.leaves, copies)
    if changed:
        return [Fault(f"{problem.label} {changed}", "in place")]
    here = evaluate(problem, problem.leaves)
    again = np.concatenate([np.ravel(result) for result in results])
    if not np.array_equal(here, again, equal_nan=True):
        text = (
            f"{problem.label} returns different values when called twice at the same point, by up "
            f"to {np.nanmax(np.abs(here - again)):.3g}: it draws random numbers or keeps state; "
            "fix the seed inside it, or pass what was drawn as an argument"
        )
        return [Fault(text, "random")]
    bad = ~np.isfinite(here)
    if bad.any():
        text = (
            f"{problem.label} returns NaN or infinity in {bad.sum()} of {bad.size} results at this "
            "point, where no derivative can be checked: choose another point"
        )
        return [Fault(text, "function not finite")]
    return _difference_when_recorded(problem, here) if record else []


def _difference_when_recorded(problem: Problem, here: Vector) -> list[Fault]:
    recorded, _ = vjp(lambda *point: problem.call(list(point)), *problem.leaves)
    values = np.concatenate([np.ravel(result) for result in recorded] or [np.zeros(0)])
    tolerance = float(np.sqrt(np.finfo(here.dtype).eps))
    if values.shape != here.shape or not np.allclose(values, here, tolerance, tolerance):
        text = (
            f"{problem.label} returns another result when it is recorded than with plain arrays: "
            "it does something else for tensors (an isinstance, a try)"
        )
        return [Fault(text, "recording")]
    return []


def faults_of_the_gradient(
    problem: Problem, gradient: Callable[..., Any], args: tuple[Any, ...]
) -> list[Fault]:
    """What a gradient function of the user's does beside computing: change arguments, draw."""
    faults: list[Fault] = []
    name = function_name(gradient, "the gradient function")
    copies = [leaf.copy() for leaf in problem.leaves]
    with np.errstate(all="ignore"):
        gradient(*tree.unflatten(args, copies))
        first, second = problem.gradient(problem.leaves, []), problem.gradient(problem.leaves, [])
    changed = _changed(problem.names, problem.leaves, copies)
    if changed:
        faults.append(Fault(f"{name} {changed}", "in place"))
    for position, (a, b) in enumerate(zip(first, second, strict=True)):
        numbers = [given for given in (a, b) if given is not None and given.dtype.kind in "biuf"]
        if len(numbers) == 2 and not np.array_equal(a, b, equal_nan=True):
            text = (
                f"{name} returns different gradients by {problem.names[position]} when called "
                "twice at the same point: it draws random numbers (weights drawn anew?) or keeps "
                "state"
            )
            faults.append(Fault(text, "random", position))
    return faults


def writes_in_place(
    problem: Problem, gradient: Callable[..., Any], args: tuple[Any, ...]
) -> list[Fault]:
    """Whether a gradient function writes into its arguments, even if it restores them.

    Harmless where the gradient is right; where it is wrong, `plus = theta` is likely to be why.
    """
    name = function_name(gradient, "the gradient function")

    def runs(read_only: int | None) -> bool:
        copies = [leaf.copy() for leaf in problem.leaves]
        if read_only is not None:
            copies[read_only].flags.writeable = False
        try:
            with np.errstate(all="ignore"):
                gradient(*tree.unflatten(args, copies))
        except Exception:  # only a trial: what the function may mind is not our matter
            return False
        return True

    # It writes into an argument if that one being read-only is all that stops it.
    return [
        Fault(f"{name} writes into {leaf_name} while it computes: {_ALIAS}", "in place", position)
        for position, leaf_name in enumerate(problem.names)
        if not runs(position) and runs(None)
    ][:1]


def _changed(names: list[str], leaves: Leaves, copies: Leaves) -> str:
    """`changes w [0] in place ...` for the first leaf whose copy is no longer equal to it."""
    for name, leaf, copy in zip(names, leaves, copies, strict=True):
        different = leaf != copy
        if leaf.dtype.kind in "fc":
            different &= ~(np.isnan(leaf) & np.isnan(copy))
        if different.any():
            index = tuple(int(i) for i in np.argwhere(different)[0])
            return (
                f"changes {name} in place, [{', '.join(map(str, index))}] from {leaf[index]:.6g} "
                f"to {copy[index]:.6g}: {_ALIAS}"
            )
    return ""


def comparable(problem: Problem) -> bool:
    """Whether the function gives the same finite results twice, so that differences mean much."""
    try:
        here, again = (evaluate(problem, problem.reference) for _ in range(2))
    except ValueError:
        return False
    return here.size > 0 and bool(np.isfinite(here).all() and np.array_equal(here, again))
