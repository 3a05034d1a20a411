"""What makes a check meaningless before anything is compared, each fault in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff import vjp
from chainrule.gradcheck.problem import Arrays, Problem, evaluate, function_name

__all__ = ["comparable", "faults_of_the_gradient", "faults_of_the_point", "writes_in_place"]

Vector = np.ndarray[Any, Any]

_ALIAS = "`b = a` gives one array a second name and copies nothing; begin with b = a.copy()"


def faults_of_the_point(problem: Problem, by_us: bool, record: bool) -> list[str]:
    """What is wrong with the function or its arguments, whatever the gradient is.

    `by_us` says that the gradient is ours, which takes floating-point arguments only; with
    `record` the recorded function is compared with the plain one too.
    """
    for name, leaf in zip(problem.names, problem.leaves, strict=True):
        if by_us and leaf.dtype.kind != "f":
            return [
                f"{name} is {leaf.dtype}, which has no derivative: give float64 with "
                ".astype(float), or leave it out of the arguments, as lambda w: f(w, labels) does"
            ]
    copies = [leaf.copy() for leaf in problem.leaves]
    with np.errstate(all="ignore"):
        results = [np.array(result) for result in problem.call(copies)]
    if not results:
        return [f"{problem.label} returns no floating-point array, so it has no derivative"]
    changed = _changed(problem.names, problem.leaves, copies)
    if changed:
        return [f"{problem.label} {changed}"]
    here = evaluate(problem, problem.leaves)
    again = np.concatenate([np.ravel(result) for result in results])
    if not np.array_equal(here, again, equal_nan=True):
        return [
            f"{problem.label} returns different values when called twice at the same point, by up "
            f"to {np.nanmax(np.abs(here - again)):.3g}: it draws random numbers or keeps state; "
            "fix the seed inside it, or pass what was drawn as an argument"
        ]
    bad = ~np.isfinite(here)
    if bad.any():
        return [
            f"{problem.label} returns NaN or infinity in {bad.sum()} of {bad.size} results at this "
            "point, where no derivative can be checked: choose another point"
        ]
    return _difference_when_recorded(problem, here) if record else []


def _difference_when_recorded(problem: Problem, here: Vector) -> list[str]:
    recorded, _ = vjp(lambda *point: problem.call(list(point)), *problem.leaves)
    values = np.concatenate([np.ravel(result) for result in recorded] or [np.zeros(0)])
    tolerance = float(np.sqrt(np.finfo(here.dtype).eps))
    if values.shape != here.shape or not np.allclose(values, here, tolerance, tolerance):
        return [
            f"{problem.label} returns another result when it is recorded than with plain arrays: "
            "it does something else for tensors (an isinstance, a try)"
        ]
    return []


def faults_of_the_gradient(
    problem: Problem, gradient: Callable[..., Any], args: tuple[Any, ...]
) -> list[str]:
    """What a gradient function of the user's does beside computing: change arguments, draw."""
    faults: list[str] = []
    name = function_name(gradient, "the gradient function")
    copies = [leaf.copy() for leaf in problem.leaves]
    with np.errstate(all="ignore"):
        gradient(*tree.unflatten(args, copies))
        first, second = problem.gradient(problem.leaves, []), problem.gradient(problem.leaves, [])
    changed = _changed(problem.names, problem.leaves, copies)
    if changed:
        faults.append(f"{name} {changed}")
    for leaf_name, a, b in zip(problem.names, first, second, strict=True):
        if a is not None and not np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"):
            faults.append(
                f"{name} returns different gradients by {leaf_name} when called twice at the same "
                "point: it draws random numbers (weights drawn anew?) or keeps state"
            )
    return faults


def writes_in_place(
    problem: Problem, gradient: Callable[..., Any], args: tuple[Any, ...]
) -> list[str]:
    """Whether a gradient function writes into its arguments, even if it restores them.

    Harmless where the gradient is right; where it is wrong, `plus = theta` is likely to be why.
    """
    name = function_name(gradient, "the gradient function")
    for position, leaf_name in enumerate(problem.names):
        copies = [leaf.copy() for leaf in problem.leaves]
        copies[position].flags.writeable = False
        try:
            with np.errstate(all="ignore"):
                gradient(*tree.unflatten(args, copies))
        except ValueError as error:
            if "read-only" in str(error):
                return [f"{name} writes into {leaf_name} while it computes: {_ALIAS}"]
        except Exception:  # only a trial: what else the function may mind is not our matter
            continue
    return []


def _changed(names: list[str], leaves: Arrays, copies: Arrays) -> str:
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
