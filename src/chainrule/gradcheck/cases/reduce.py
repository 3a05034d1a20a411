"""Example calls of the reductions."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng

__all__ = ["cases"]

Shape = tuple[int, ...]
_AXES: tuple[tuple[Shape, Any], ...] = (
    ((), None),
    ((), ()),
    ((3,), None),
    ((3,), 0),
    ((2, 3), None),
    ((2, 3), 0),
    ((2, 3), -1),
    ((2, 3), ()),
    ((2, 3, 4), 1),
    ((2, 3, 4), (0, 2)),
    ((2, 3, 4), (-1, 0)),
    ((2, 3, 4), (0, 1, 2)),
    ((1, 3), 0),
    ((0, 3), 1),
)
_EMPTY_AXES: tuple[tuple[Shape, Any], ...] = (((0, 3), 0), ((0,), None), ((2, 0, 3), (1, 2)))


def cases(rng: Rng) -> Cases:
    """Cases by the primitive's name; elements are distinct, away from the kinks of max and std."""

    def real(shape: Shape) -> np.ndarray[Any, Any]:
        return np.asarray(rng.normal(size=shape))

    def distinct(shape: Shape) -> np.ndarray[Any, Any]:
        n = int(np.prod(shape))
        spread = rng.permutation(n) - n / 2 + rng.uniform(-0.3, 0.3, n)
        return np.asarray(spread.reshape(shape), dtype=np.float64)

    def each(draw: Any, axes: Any, *, analytic: bool = True, **params: Any) -> list[Case]:
        return [
            Case((draw(shape),), {"axis": axis, "keepdims": keepdims, **params}, analytic)
            for shape, axis in axes
            for keepdims in (False, True)
        ]

    spread = [(shape, axis) for shape, axis in _AXES if shape and axis != ()]
    spread.remove(((1, 3), 0))  # of one element: no spread
    one_axis = [(shape, axis) for shape, axis in _AXES if not isinstance(axis, tuple)]
    signs = (np.sign(real((2, 3))),)
    return {
        "sum": each(real, _AXES + _EMPTY_AXES),
        "var": each(real, spread, analytic=False) + each(real, spread, analytic=False, ddof=1),
        "std": each(distinct, spread, analytic=False)
        + each(distinct, spread, analytic=False, ddof=1),
        "prod": [*each(real, _AXES + _EMPTY_AXES), *_with_zeros(rng, "keepdims", False)],
        "max": each(distinct, _AXES, analytic=False),
        "min": each(distinct, _AXES, analytic=False),
        "logsumexp": [
            *each(real, _AXES),
            Case((np.array([[900.0, 901.0, -900.0], [-900.0, -901.0, -902.0]]),), {"axis": 1}),
        ],
        "cumsum": _running(real),
        "cumprod": [*_running(real), *_with_zeros(rng, "axis", 1)],
        "argmax": each(distinct, one_axis, analytic=False),
        "argmin": each(distinct, one_axis, analytic=False),
        "all": each(lambda shape: rng.random(shape) < 0.7, _AXES, analytic=False),
        "any": [*each(lambda shape: rng.random(shape) < 0.3, _AXES, analytic=False), Case(signs)],
    }


def _running(draw: Any) -> list[Case]:
    axes: list[tuple[Shape, int | None]] = [
        ((), None),
        ((1,), 0),
        ((5,), None),
        ((5,), 0),
        ((2, 3), None),
        ((2, 3), 0),
        ((2, 3), -1),
        ((2, 3, 4), 1),
        ((0, 3), 0),
        ((0, 3), 1),
        ((0,), None),
    ]
    return [Case((draw(shape),), {"axis": axis}) for shape, axis in axes]


def _with_zeros(rng: Rng, name: str, value: Any) -> list[Case]:
    """Rows with none, one, two and only zeros."""
    x = rng.normal(size=(4, 3))
    x[1, 1] = x[2, 0] = x[2, 2] = 0
    x[3] = 0
    return [Case((x,), {"axis": 1, name: value}), Case((x,))]
