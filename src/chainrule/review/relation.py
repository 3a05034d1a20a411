"""What the numbers say of a wrong value beside the true one, where no edit explains it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.review.bearings import Situation

__all__ = ["relation"]

Vector = np.ndarray[Any, Any]


def relation(
    actual: Vector, expected: Vector, situation: Situation, values: Sequence[tuple[str, Any]]
) -> tuple[str, str]:
    """The kind of slip, and a sentence; "unexplained" where the numbers show no pattern.

    `values` are arrays by their text that the difference may be a multiple of, as a penalty's is.
    """
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    if actual.shape != expected.shape and actual.size != expected.size:
        for axis in range(actual.ndim):
            for name, made in (("sum", actual.sum(axis)), ("mean", actual.mean(axis))):
                if made.size == expected.size and np.allclose(
                    made.ravel(), expected.ravel(), rtol=1e-5
                ):
                    return "bias gradient not summed", f"the {name} over axis {axis} is missing"
        return "wrong shape", f"its shape is {actual.shape}, and {expected.shape} was wanted"
    a, b = actual.ravel(), expected.ravel()
    square = float(b @ b)
    if square and np.isfinite(a).all():
        factor = float(a @ b) / square
        if _near(a, factor * b) and factor:
            return _factor(factor, situation)
    same_shape = actual.shape == expected.shape
    is_square = actual.ndim == 2 and same_shape and actual.shape[0] == actual.shape[1]
    if is_square and _near(actual.T, expected):
        return "missing transpose", "it is the transpose of what it should be"
    for axes in ((0,), (1,), (0, 1), (-2, -1)):
        fits = same_shape and max(axes) < actual.ndim >= len(axes)
        if fits and _near(np.flip(actual, axes), expected):
            return "kernel not flipped", f"it is flipped along the axes {axes}"
    if _near(np.sort(a), np.sort(b)):
        return "wrong place", "the values are right, and stand in the wrong places"
    if np.array_equal(a, np.trunc(b)) or np.array_equal(a, np.floor(b)):
        return "integer arrays", "the values are those that it should have, cut to integers"
    difference = actual - expected if actual.shape == expected.shape else a - b
    return _penalty(difference, values) or (
        "unexplained",
        "it is not what the derivative of the loss makes it, and no small change of the line "
        "explains it",
    )


def _near(a: Vector, b: Vector) -> bool:
    return bool(np.allclose(a, b, rtol=1e-5, atol=1e-7 * (float(np.abs(b).max(initial=0)) + 1e-30)))


def _factor(factor: float, situation: Situation) -> tuple[str, str]:
    if abs(factor + 1) < 1e-5:
        return "wrong sign", "its sign is wrong"
    sizes = {
        n
        for place in situation.bench.places
        for n in np.shape(place.read(situation.bench.start))
        if n > 1
    }
    for n in sizes:
        if abs(factor - n) < 1e-4 * n:
            return "sum for mean", f"it is {n} times too large: a sum where a mean was meant?"
        if abs(factor * n - 1) < 1e-4:
            return "mean for sum", f"it is {n} times too small: a mean where a sum was meant?"
    if situation.rate and abs(factor - situation.rate) < 1e-5:
        return "learning rate twice", "the learning rate is multiplied in twice"
    return "wrong factor", f"it is {factor:.6g} times what it should be"


def _penalty(difference: Vector, values: Sequence[tuple[str, Any]]) -> tuple[str, str] | None:
    """Whether the difference is a multiple of a parameter, or of its first column or row."""
    for name, value in values:
        array = np.asarray(value)
        if array.dtype.kind != "f" or array.size != difference.size or not np.any(difference):
            continue
        d = difference.reshape(array.shape)
        touched = np.abs(d) > 1e-9 * np.abs(d).max()
        x, y = array[touched], d[touched]
        factor = float(x @ y) / float(x @ x) if float(x @ x) else 0.0
        if not factor or not _near(y, factor * x) or touched.sum() < 2:
            continue
        part = "" if touched.all() else " in a part of it"
        if factor < 0:
            return (
                "weights not regularised",
                f"{-factor:.6g} times {name} is missing{part}: the derivative of the penalty",
            )
        kind = "weights regularised" if touched.all() and array.ndim > 1 else "bias regularised"
        return kind, f"{factor:.6g} times {name} is too much{part}: a penalty the loss has not"
    return None
