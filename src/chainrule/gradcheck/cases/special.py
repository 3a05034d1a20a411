"""Example calls of the special functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng
from chainrule.gradcheck.cases.elementwise import SHAPES, unary

__all__ = ["cases"]

Array = np.ndarray[Any, Any]


def cases(rng: Rng) -> Cases:
    """Cases by the primitive's name, inside the interval where the function is real."""

    def between(low: float, high: float) -> Any:
        return lambda shape: np.asarray(rng.uniform(low, high, shape))

    inside, positive, real = between(0.1, 0.9), between(0.3, 12.0), between(-3.0, 3.0)
    pairs = [(real(shape), between(0.3, 3.0)(shape)) for shape in SHAPES]
    zeros = (np.array([0.0, 2.0]), np.array([0.5, 1.5]))
    return {
        "expit": [*unary(real, analytic=False), Case((np.array([-40.0, 40.0]),), {}, False)],
        "log_expit": unary(real, analytic=False),
        "logit": unary(inside, analytic=False),
        "erfcx": unary(between(-2.0, 6.0), analytic=False),
        "erfc": unary(real, analytic=False),
        "ndtr": unary(real, analytic=False),
        "log_ndtr": [*unary(real, analytic=False), Case((np.array([-20.0, -8.0]),), {}, False)],
        "ndtri": unary(inside, analytic=False),
        "erfinv": unary(between(-0.9, 0.9), analytic=False),
        "xlogy": [Case(pair, {}, False) for pair in (*pairs, zeros)],
        "xlog1py": [Case(pair, {}, False) for pair in (*pairs, zeros)],
        "gammaln": [
            *unary(positive, analytic=False),
            Case((np.array([-0.4, -1.6, -7.5]),), {}, False),
        ],
        "polygamma": [
            Case((draw(shape),), {"order": order}, False)
            for draw, shape in ((positive, (4,)), (positive, (2, 3)), (between(-0.8, -0.3), (3,)))
            for order in (0, 1, 3)
        ],
    }
