"""Example calls of NumPy's element-by-element functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng

__all__ = ["SHAPES", "away_from_zero", "cases", "unary"]

SHAPES: tuple[tuple[int, ...], ...] = ((), (1,), (4,), (2, 3), (2, 1, 3), (0,), (2, 0))
_SHAPE_PAIRS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()),
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((2, 3), ()),
    ((), (2, 3)),
    ((2, 1), (1, 3)),
    ((1,), (4,)),
    ((2, 3), (2, 1)),
    ((2, 1, 3), (2, 1)),
    ((0, 3), (1, 3)),
    ((2, 0), (1,)),
)

Array = np.ndarray[Any, Any]
Draw = Callable[[tuple[int, ...]], Array]


def away_from_zero(rng: Rng, shape: tuple[int, ...]) -> Array:
    """Numbers of both signs with a distance of 0.3 to 0, where kinks and poles are."""
    sign = np.where(rng.random(shape) < 0.5, -1.0, 1.0)
    return np.asarray(sign * rng.uniform(0.3, 2.0, shape))


def unary(draw: Draw, *, analytic: bool = True) -> list[Case]:
    """One case for each shape."""
    return [Case((draw(shape),), analytic=analytic) for shape in SHAPES]


def _binary(draw_x: Draw, draw_y: Draw, *, analytic: bool = True) -> list[Case]:
    """One case for each pair of shapes that broadcast."""
    return [Case((draw_x(s), draw_y(t)), analytic=analytic) for s, t in _SHAPE_PAIRS]


def cases(rng: Rng) -> Cases:
    """Cases by the primitive's name, drawn away from kinks and poles."""

    def real(shape: tuple[int, ...]) -> Array:
        return np.asarray(rng.normal(size=shape))

    def between(low: float, high: float) -> Draw:
        return lambda shape: np.asarray(rng.uniform(low, high, shape))

    def nonzero(shape: tuple[int, ...]) -> Array:
        return away_from_zero(rng, shape)

    return {
        **_arithmetic(real, nonzero, between),
        **_functions(real, nonzero, between),
        **_kinks(rng, real, nonzero),
        **_constants(rng, real, nonzero),
    }


def _arithmetic(real: Draw, nonzero: Draw, between: Callable[[float, float], Draw]) -> Cases:
    positive = between(0.5, 2.0)
    powers = [
        Case((np.array([-1.5, 0.7, 2.0]), np.array([3, -2, 2]))),
        Case((np.array([-1.0, 0.0, 2.0]), np.array([2, 1, 0]))),
        Case((np.array([0.0, -0.5]), np.array(2))),
        Case((np.array([3, 2]), np.array([[0.0], [-1.3]]))),
    ]
    return {
        "add": _binary(real, real),
        "subtract": _binary(real, real),
        "multiply": _binary(real, real),
        "divide": _binary(real, nonzero),
        "remainder": [
            Case((np.array([5.3, -5.3, 0.8]), np.array([2.0, 2.0, -3.0])), analytic=False),
            Case((np.array([[5.3], [-4.1]]), np.array([1.9, -1.4, 3.0])), analytic=False),
            Case((np.zeros((0, 2)), np.array(3.0)), analytic=False),
        ],
        "power": [*_binary(positive, real), *powers],
        "positive": unary(real),
        "negative": unary(real),
        "reciprocal": unary(nonzero),
        "square": unary(real),
        "sqrt": unary(positive),
        "cbrt": unary(nonzero, analytic=False),
    }


def _functions(real: Draw, nonzero: Draw, between: Callable[[float, float], Draw]) -> Cases:
    positive, inside = between(0.3, 3.0), between(-0.8, 0.8)
    return {
        "exp": unary(real),
        "exp2": unary(real),
        "expm1": unary(real),
        "log": unary(positive),
        "log2": unary(positive),
        "log10": unary(positive),
        "log1p": unary(between(-0.6, 3.0)),
        "logaddexp": [
            *_binary(real, real, analytic=False),
            Case((np.array([800.0, -800.0]), np.array([-800.0, -801.0])), analytic=False),
        ],
        "sin": unary(real),
        "cos": unary(real),
        "tan": unary(between(-1.2, 1.2)),
        "arcsin": unary(inside),
        "arccos": unary(inside),
        "arctan": unary(real),
        "arctan2": _binary(nonzero, nonzero, analytic=False),
        "sinh": unary(real),
        "cosh": unary(real),
        "tanh": unary(real),
        "arcsinh": unary(real),
        "arccosh": unary(between(1.3, 3.0)),
        "arctanh": unary(inside),
        "deg2rad": unary(real, analytic=False),
        "rad2deg": unary(real, analytic=False),
    }


def _kinks(rng: Rng, real: Draw, nonzero: Draw) -> Cases:
    def near(*centres: int) -> Draw:
        """Numbers near one of some integers: near even and near odd ones never tie."""
        return lambda shape: np.asarray(
            rng.choice(centres, shape) + rng.uniform(-0.3, 0.3, shape), dtype=np.float64
        )

    even, odd = near(-2, 0, 2), near(-3, -1, 1, 3)
    low, high = near(-1), near(1)
    mask = rng.random((2, 3)) < 0.5
    return {
        "absolute": unary(nonzero, analytic=False),
        "hypot": _binary(nonzero, real, analytic=False),
        "maximum": _binary(even, odd, analytic=False),
        "minimum": _binary(even, odd, analytic=False),
        "clip": [
            *(
                Case((even(shape), low(bound), high(bound)), analytic=False)
                for shape in SHAPES
                for bound in ((), shape)
            ),
            Case((even((2, 3)), low((2, 1)), high((3,))), analytic=False),
            Case((even(()), low((2, 1)), high((3,))), analytic=False),
            Case((even((4,)), high((4,)), low((4,))), analytic=False),
        ],
        "where": [
            Case((mask, real((2, 3)), real((2, 3)))),
            Case((mask, real((3,)), real((2, 1)))),
            Case((mask, real(()), real(()))),
            Case((mask[0], real((2, 3)), real(()))),
            Case((np.array(True), real((2,)), real((2,)))),
            Case((mask[:0], real((1, 3)), real((0, 3)))),
        ],
    }


def _constants(rng: Rng, real: Draw, nonzero: Draw) -> Cases:
    def some_nonfinite(shape: tuple[int, ...]) -> Array:
        return np.asarray(rng.choice([0.0, np.inf, -np.inf, np.nan], shape))

    def truth(shape: tuple[int, ...]) -> Array:
        return np.asarray(rng.random(shape) < 0.5)

    comparisons = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
    roundings = ("sign", "floor", "ceil", "trunc", "rint")
    return {
        **{name: _binary(real, real, analytic=False) for name in comparisons},
        **{
            f"{kind}_{name}": _binary(truth, truth, analytic=False)
            for kind in ("logical", "bitwise")
            for name in ("and", "or", "xor")
        },
        "logical_not": unary(truth, analytic=False),
        "invert": unary(truth, analytic=False),
        **{name: unary(some_nonfinite, analytic=False) for name in ("isfinite", "isinf", "isnan")},
        "signbit": unary(nonzero, analytic=False),
        **{name: unary(nonzero, analytic=False) for name in roundings},
        "round": [*unary(real, analytic=False), Case((real((3,)),), {"decimals": 1}, False)],
        "floor_divide": _binary(real, nonzero, analytic=False),
    }
