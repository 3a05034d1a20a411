"""Example calls of the activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng
from chainrule.gradcheck.cases.elementwise import away_from_zero, unary

__all__ = ["cases"]


def cases(rng: Rng) -> Cases:
    """Cases by the primitive's name, with large arguments and away from the kinks at 0."""

    def real(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return np.asarray(rng.normal(size=shape))

    def nonzero(shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        return away_from_zero(rng, shape)

    large = np.array([-1000.0, -30.0, 30.0, 1000.0])

    def smooth(analytic: bool) -> list[Case]:
        return [*unary(real, analytic=analytic), Case((large,), analytic=False)]

    def kinked(**params: float) -> list[Case]:
        return [
            *unary(nonzero, analytic=False),
            Case((large,), analytic=False),
            *([Case((nonzero((2, 3)),), params, False)] if params else []),
        ]

    return {
        "sigmoid": smooth(analytic=True),
        "softplus": smooth(analytic=False),
        "relu": kinked(),
        "leaky_relu": kinked(slope=0.3),
        "elu": kinked(alpha=0.7),
        "silu": smooth(analytic=True),
        "gelu": smooth(analytic=False),
        "erf": smooth(analytic=False),
    }
