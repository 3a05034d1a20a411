"""Why a gradient disagrees with its numerical value: one small function per cause.

Each looks at the evidence and returns a sentence where it recognises its cause. They are asked from
faults of the check itself (kinks, steps, precision) to faults of the gradient, and the first
answer counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np

from chainrule.gradcheck.evidence import Evidence
from chainrule.gradcheck.numeric import (
    difference,
    element_derivatives,
    element_size,
    magnitude,
    one_sided,
    random_direction,
)
from chainrule.gradcheck.problem import Leaves
from chainrule.gradcheck.report import Fault

__all__ = ["diagnose", "wrong_shape"]

Vector = np.ndarray[Any, Any]


def diagnose(evidence: Evidence) -> Fault:
    """The cause of a wrong gradient in one sentence, or what is known where none is recognised."""
    for cause, recognise in _CAUSES.items():
        sentence = recognise(evidence)
        if sentence:
            return Fault(sentence, cause, evidence.position)
    n_wrong = int(evidence.wrong.sum())
    text = (
        f"the gradient by {evidence.name} is wrong in {n_wrong} of {evidence.indices.size} "
        "elements examined; no sign, factor, transposition, exchanged variable or penalty "
        "explains it"
    )
    return Fault(text, leaf=evidence.position)


# Faults of the point, the step and the precision


def _gradient_not_finite(evidence: Evidence) -> str | None:
    bad = ~np.isfinite(evidence.examined)
    if not bad.any():
        return None
    first = int(evidence.indices[np.argmax(bad)])
    value = float(np.ravel(evidence.gradient)[first])
    return (
        f"the gradient is {value:g} in {int(bad.sum())} of {bad.size} elements, the first at "
        f"{evidence.where(first)}: look for a division by zero, a logarithm or root of zero, an "
        "overflow, or 0 * inf behind np.where; chainrule.detect_nonfinite names the primitive"
    )


def _function_not_finite(evidence: Evidence) -> str | None:
    bad = ~np.isfinite(evidence.numerical)
    if not bad.any():
        return None
    first = int(evidence.indices[np.argmax(bad)])
    return (
        f"the function is not finite beside {evidence.where(first)}: the point lies at the edge of "
        "its domain, where there is no two-sided derivative; check at a point inside"
    )


def _kink(evidence: Evidence) -> str | None:
    """One-sided slopes that stay apart as the step shrinks, or part at one step and not below."""
    worst = np.argsort(-np.abs(evidence.examined - evidence.numerical), kind="stable")
    for k in worst[: min(3, int(evidence.wrong.sum()))]:
        sentence = _kink_at(evidence, int(evidence.indices[k]), float(evidence.examined[k]))
        if sentence:
            return sentence
    return None


def _kink_at(evidence: Evidence, flat_index: int, gradient: float) -> str | None:
    problem, position, u = evidence.problem, evidence.position, evidence.cotangent
    direction = np.zeros(evidence.leaf.size)
    direction[flat_index] = np.ravel(element_size(evidence.leaf))[flat_index]
    size = direction[flat_index]
    direction = direction.reshape(evidence.leaf.shape)
    first = evidence.settings.step or 1e-3
    steps = first * 0.25 ** np.arange(6)
    slopes = np.array(
        [[u @ side / size for side in one_sided(problem, position, direction, h)] for h in steps]
    )
    if not np.isfinite(slopes).all():
        return None
    jumps = np.abs(slopes[:, 1] - slopes[:, 0])
    rounding = 10 * evidence.settings.eps * (np.abs(u) @ magnitude(problem)) / (steps * size)
    left, right = slopes[-1] if jumps[-1] > rounding[-1] else slopes[0]
    seen = jumps > rounding + 1e-4 * np.abs(slopes).max()
    means = np.abs(slopes.mean(axis=1))
    if np.all(means[-3:] > 1.5 * means[-4:-1]) and means[-1] > 100 * rounding[-1]:
        return (
            f"the difference quotient grows as the step shrinks at {evidence.where(flat_index)}: "
            "the function has a jump or a vertical tangent there, and no derivative"
        )
    if seen.all() and jumps[-1] > 0.5 * jumps[0]:
        between = min(left, right) - 1e-6 <= gradient <= max(left, right) + 1e-6
        verdict = "is a subgradient between them" if between else "is not between them either"
        return (
            f"a kink at {evidence.where(flat_index)}: the slope is {left:.6g} on the left and "
            f"{right:.6g} on the right, however small the step, so there is no derivative; the "
            f"gradient {gradient:.6g} {verdict}. Check at a point without a kink"
        )
    for k in range(len(steps) - 1):
        if seen[k] and jumps[k] > 20 * jumps[k + 1] and jumps[k + 1] <= 0.05 * jumps.max():
            return (
                f"a kink within the step at {evidence.where(flat_index)}: at step {steps[k]:.2g} "
                f"the slopes on the two sides are {slopes[k, 0]:.6g} and {slopes[k, 1]:.6g}, at "
                f"step {steps[k + 1]:.2g} they agree; use a smaller step or another point"
            )
    return None


def _step(evidence: Evidence) -> str | None:
    """With the user's step: whether the gradient agrees once the step is chosen well."""
    step, eps = evidence.settings.step, evidence.settings.eps
    if step is None:
        return None
    problem, position, u = evidence.problem, evidence.position, evidence.cotangent
    wrong = evidence.indices[evidence.wrong][:10]
    better, errors = element_derivatives(problem, position, u, wrong, None, eps)
    gradient = np.ravel(evidence.gradient)[wrong]
    allowed = 10 * evidence.settings.rtol * np.abs(better) + 10 * errors + evidence.settings.atol
    if not (np.abs(gradient - better) <= allowed).all():
        return None
    direction = np.zeros(evidence.leaf.size)
    direction[wrong[0]] = np.ravel(element_size(evidence.leaf))[wrong[0]]
    size = direction[wrong[0]]
    direction = direction.reshape(evidence.leaf.shape)

    def error_at(h: float) -> float:
        slope = float(u @ difference(problem, position, direction, h)) / float(size)
        return abs(slope - float(better[0]))

    smaller, larger = error_at(step / 16), error_at(step * 16)
    smaller, larger = np.nan_to_num(smaller, nan=np.inf), np.nan_to_num(larger, nan=np.inf)
    verdict = (
        "too large: the function curves within it"
        if smaller < larger
        else ("too small: the rounding of the function, divided by it, drowns the difference")
    )
    return (
        f"the step {step:g} is {verdict}. With the error {error_at(step):.2g} at this step it is "
        f"{smaller:.2g} at {step / 16:.2g} and {larger:.2g} at {step * 16:.2g}; with a step chosen "
        "by the checker (step=None) the gradient agrees"
    )


def _single_precision(evidence: Evidence) -> str | None:
    dtype = evidence.problem.leaves[evidence.position].dtype
    inside = np.finfo(np.float32).eps
    if dtype.type in (np.float16, np.float32):
        gradient = _gradient_with(evidence, evidence.problem.reference, evidence.cotangents)
        if gradient is not None and evidence.explains(np.ravel(gradient)[evidence.indices]):
            return (
                f"{evidence.name} is {dtype}: the difference is rounding, for in float64 the same "
                "gradient agrees. Check with float64 arrays, or give a larger rtol"
            )
    elif evidence.settings.eps >= inside and np.any(
        10 * evidence.errors >= np.abs(evidence.examined - evidence.numerical)
    ):
        return (
            "the function rounds to float32 on its way, though its arguments are float64: look "
            "for an array or an astype of float32 inside it"
        )
    return None


def _rounding(evidence: Evidence) -> str | None:
    errors = evidence.errors[evidence.wrong]
    distance = np.abs(evidence.examined - evidence.numerical)[evidence.wrong]
    largest = np.abs(evidence.numerical).max(initial=0.0)
    if not np.any(10 * errors > 1e-2 * largest) or np.any(distance > 100 * errors):
        return None
    return (
        f"rounding of the function hides its derivative by {evidence.name}: its results are up to "
        f"{np.abs(evidence.problem.here).max():.3g}, the derivative is known to "
        f"{evidence.errors.max():.2g} only; take a large constant away, or scale the argument"
    )


# Faults of the gradient


def _cut(evidence: Evidence) -> str | None:
    if evidence.gradient.any() or not np.abs(evidence.numerical).max() > 0:
        return None
    return (
        f"the gradient by {evidence.name} is zero, but the function depends on it: the way "
        "from it to the result is cut (.value, .detach(), .item(), stop_gradient), or its "
        "contribution was forgotten, or a difference was taken between a point and itself"
    )


def _no_dependence(evidence: Evidence) -> str | None:
    if evidence.numerical.any() or not evidence.examined.any():
        return None
    return (
        f"the function does not depend on {evidence.name}: its numerical derivative is 0, yet "
        "the gradient is not"
    )


def _not_linear(evidence: Evidence) -> str | None:
    """A vjp doubles with its cotangent."""
    if evidence.problem.is_given:
        return None
    doubled = [2 * u for u in evidence.cotangents]
    gradient = _gradient_with(evidence, evidence.problem.leaves, doubled)
    if gradient is None or np.allclose(gradient, 2 * evidence.gradient, rtol=1e-3, atol=1e-300):
        return None
    return (
        f"the gradient by {evidence.name} does not double with the cotangent: a vjp rule is linear "
        "in g, that is, g enters as a factor once"
    )


def _constant_factor(evidence: Evidence) -> str | None:
    square = float(evidence.numerical @ evidence.numerical)
    if square == 0:
        return None
    factor = float(evidence.examined @ evidence.numerical) / square
    if factor == 0 or not evidence.equals(evidence.examined, factor * evidence.numerical).all():
        return None
    if abs(factor - 1) < 5e-4:  # a small error that only looks like a factor here
        return None
    if not _factor_holds_elsewhere(evidence, factor):
        return None
    if abs(factor + 1) < 1e-4:
        return (
            f"the gradient by {evidence.name} has the wrong sign: it is -1 times the numerical one"
        )
    return (
        f"the gradient by {evidence.name} is {_number(factor)} times the numerical one, the same "
        f"factor in every element{_meaning(evidence, abs(factor))}"
    )


def _factor_holds_elsewhere(evidence: Evidence, factor: float) -> bool:
    """The same factor at another point, so that one element alone does not pass for a constant."""
    rng = np.random.default_rng(1)
    moved = [
        leaf + 0.01 * random_direction(leaf, rng) if leaf.dtype.kind == "f" else leaf
        for leaf in evidence.problem.reference
    ]
    gradient = _gradient_with(evidence, moved, evidence.cotangents)
    if gradient is None:
        return False
    some = evidence.indices[:8]
    numerical, errors = element_derivatives(
        evidence.problem.at(moved),
        evidence.position,
        evidence.cotangent,
        some,
        None,
        evidence.settings.eps,
    )
    there = np.ravel(gradient)[some]
    scale = np.maximum(np.abs(there), np.abs(factor) * np.abs(numerical))
    allowed = 1e-4 * np.maximum(scale, 1e-3 * scale.max(initial=0.0)) + 10 * errors * abs(factor)
    return bool(np.all(np.abs(there - factor * numerical) <= allowed))


def _number(factor: float) -> str:
    inverse = 1 / factor
    if abs(factor) < 1 and abs(inverse - round(inverse)) < 1e-4 * abs(inverse):
        return f"{factor:.6g} (1/{round(inverse)})"
    return f"{factor:.6g}"


def _meaning(evidence: Evidence, factor: float) -> str:
    """Which size of an argument or result the factor, or its inverse, is."""
    sizes = [
        (f"axis {axis} of {name}", n)
        for name, leaf in zip(evidence.problem.names, evidence.problem.leaves, strict=True)
        for axis, n in enumerate(leaf.shape)
    ]
    sizes += [
        (f"axis {axis} of the result", n)
        for u in evidence.cotangents
        for axis, n in enumerate(np.shape(u))
    ]
    sizes += [("all elements of the result", int(np.size(u))) for u in evidence.cotangents]
    for label, n in sizes:
        if n > 1 and abs(factor - n) < 1e-4 * n:
            return f"; {n} is the size of {label}: a sum where a mean was meant?"
        if n > 1 and abs(factor * n - 1) < 1e-4:
            return f"; {n} is the size of {label}: a mean where a sum was meant?"
    return ""


def _transposed(evidence: Evidence) -> str | None:
    gradient = evidence.gradient
    if gradient.ndim < 2 or gradient.shape[-1] != gradient.shape[-2]:
        return None
    if evidence.explains(np.ravel(np.swapaxes(gradient, -1, -2))[evidence.indices]):
        return f"the gradient by {evidence.name} is transposed: its transpose agrees"
    return None


def _wrong_variable(evidence: Evidence) -> str | None:
    """Whether the gradient would be right with something transposed or two arguments exchanged."""
    for change, leaves, cotangents in _exchanges(evidence):
        gradient = _gradient_with(evidence, leaves, cotangents)
        if gradient is not None and gradient.shape == evidence.gradient.shape:
            candidate = np.asarray(np.ravel(gradient)[evidence.indices], np.float64)
            if evidence.explains(candidate):
                return f"the gradient by {evidence.name} would be right with {change}"
    return None


def _exchanges(evidence: Evidence) -> Iterator[tuple[str, Leaves, Leaves]]:
    problem, cotangents = evidence.problem, evidence.cotangents
    for k, leaf in enumerate(problem.leaves):
        if leaf.ndim >= 2 and leaf.shape[-1] == leaf.shape[-2]:
            leaves = list(problem.leaves)
            leaves[k] = np.ascontiguousarray(np.swapaxes(leaf, -1, -2))
            yield f"{problem.names[k]} transposed: a transposition forgotten?", leaves, cotangents
    for k, u in enumerate(cotangents):
        if np.ndim(u) >= 2 and u.shape[-1] == u.shape[-2]:
            turned = list(cotangents)
            turned[k] = np.ascontiguousarray(np.swapaxes(u, -1, -2))
            yield "the cotangent transposed: a transposition forgotten?", problem.leaves, turned
    for j, k in combinations(range(len(problem.leaves)), 2):
        left, right = problem.leaves[j], problem.leaves[k]
        if left.shape == right.shape and left.dtype == right.dtype:
            leaves = list(problem.leaves)
            leaves[j], leaves[k] = right, left
            names = f"{problem.names[j]} and {problem.names[k]}"
            yield f"{names} exchanged: it reads the wrong variable", leaves, cotangents


def _penalty(evidence: Evidence) -> str | None:
    """Whether what is wrong is a multiple of the argument itself, or of its sign."""
    x = np.ravel(evidence.leaf)[evidence.indices].astype(np.float64)[evidence.wrong]
    excess = (evidence.examined - evidence.numerical)[evidence.wrong]
    for shape, name in ((x, "L2"), (np.sign(x), "L1")):
        if x.size < 2 or not shape.any() or np.unique(np.abs(x)).size < 2:
            continue
        strength = float(excess @ shape / (shape @ shape))
        allowed = 1e-3 * np.abs(strength) * np.abs(shape).max() + 10 * evidence.errors.max()
        if np.all(np.abs(excess - strength * shape) <= allowed) and strength != 0:
            what = "the argument itself" if name == "L2" else "the argument's sign"
            fault = "that the function does not have" if strength > 0 else "of the function missing"
            return (
                f"the gradient by {evidence.name} is off by {strength:.6g} times {what}"
                f"{_place(evidence)}: an {name} penalty {fault}"
            )
    return None


def _slice(evidence: Evidence) -> str | None:
    place = _place(evidence)
    if not place:
        return None
    return f"the gradient by {evidence.name} is wrong{place}, and right elsewhere"


def _place(evidence: Evidence) -> str:
    """` at index 0 of axis 1` where exactly that part of the array is wrong, else nothing."""
    if evidence.leaf.ndim == 0:
        return ""
    places = np.unravel_index(evidence.indices, evidence.leaf.shape)
    for axis, place in enumerate(places):
        hit = np.unique(place[evidence.wrong])
        there = place == hit[0]
        if hit.size == 1 and evidence.wrong[there].all() and there.sum() > 1 and not there.all():
            return f" at index {hit[0]} of axis {axis}"
    return ""


def _gradient_with(evidence: Evidence, leaves: Leaves, cotangents: Leaves) -> Vector | None:
    """The gradient under check at other leaves or cotangents; None where it cannot be had."""
    try:
        with np.errstate(all="ignore"):
            gradient = evidence.problem.gradient(list(leaves), list(cotangents))
    except Exception:  # a trial at a point nobody asked for may fail in any way
        return None
    found = gradient[evidence.position]
    return None if found is None else np.asarray(found, np.float64)


# In the order in which they are asked: a fault of the check itself would look like another below.
_CAUSES: dict[str, Callable[[Evidence], str | None]] = {
    "gradient not finite": _gradient_not_finite,
    "function not finite": _function_not_finite,
    "kink": _kink,
    "step": _step,
    "single precision": _single_precision,
    "rounding": _rounding,
    "cut": _cut,
    "no dependence": _no_dependence,
    "not linear": _not_linear,
    "factor": _constant_factor,
    "transposed": _transposed,
    "wrong variable": _wrong_variable,
    "penalty": _penalty,
    "part": _slice,
}


# Shapes


def wrong_shape(name: str, gradient: Vector, leaf: Vector, numerical: Vector, rtol: float) -> str:
    """What to say of a gradient that has not its argument's shape; `numerical` is the true one."""
    said = f"the gradient by {name} has shape {gradient.shape}, the argument {leaf.shape}"

    def same(candidate: Vector) -> bool:
        scale = np.abs(numerical).max(initial=0.0)
        return candidate.shape == numerical.shape and bool(
            np.all(np.abs(candidate - numerical) <= 100 * rtol * scale + 1e-12)
        )

    if gradient.ndim >= 2 and same(gradient.T):
        return f"{said}: it is transposed, its transpose agrees"
    if gradient.size == leaf.size and same(gradient.reshape(leaf.shape)):
        return f"{said}: its values are right; give them the argument's shape with reshape"
    for n_axes in range(1, gradient.ndim + 1):
        for axes in combinations(range(gradient.ndim), n_axes):
            for keepdims in (False, True):
                if same(gradient.sum(axis=axes, keepdims=keepdims)):
                    place = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
                    return (
                        f"{said}: the sum over {place} is missing, along which the argument was "
                        "broadcast (for a bias, the batch)"
                    )
    if gradient.ndim >= 2 and gradient.shape[::-1] == leaf.shape:
        return f"{said}: transposed, and its transpose does not agree either"
    return f"{said}: a gradient has the shape of its argument"
