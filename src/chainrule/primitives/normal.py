"""The error function's tail and the normal quantile, as NumPy computations in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.primitives.activation import erf
from chainrule.primitives.polynomial import horner

__all__ = ["scaled_erfc", "standard_normal_quantile"]

Values = np.ndarray[Any, Any]

# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation
# 23 (1969), in the form of his CALERF (Netlib): erfcx on [0.46875, 4], and beyond as
# (1 / sqrt(pi) - r(1 / x**2)) / x. Highest power first.
# fmt: off
_MIDDLE_P = (
    2.15311535474403846343e-8, 5.64188496988670089180e-1, 8.88314979438837594118,
    6.61191906371416294775e1, 2.98635138197400131132e2, 8.81952221241769090411e2,
    1.71204761263407058314e3, 2.05107837782607146532e3, 1.23033935479799725272e3)
_MIDDLE_Q = (
    1.0, 1.57449261107098347253e1, 1.17693950891312499305e2, 5.37181101862009857509e2,
    1.62138957456669018874e3, 3.29079923573345962678e3, 4.36261909014324715820e3,
    3.43936767414372163696e3, 1.23033935480374942043e3)
_FAR_P = (
    1.63153871373020978498e-2, 3.05326634961232344035e-1, 3.60344899949804439429e-1,
    1.25781726111229246204e-1, 1.60837851487422766278e-2, 6.58749161529837803157e-4)
_FAR_Q = (
    1.0, 2.56852019228982242072, 1.87295284992346725209, 5.27905102951428412248e-1,
    6.05183413124413191178e-2, 2.33520497626869185443e-3)

# M. J. Wichura, "Algorithm AS 241: the percentage points of the normal distribution", Applied
# Statistics 37 (1988), PPND16. Highest power first.
_CENTRE_P = (
    2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
    4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
    1.3314166789178437745e2, 3.3871328727963666080)
_CENTRE_Q = (
    5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
    2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
    4.2313330701600911252e1, 1.0)
_TAIL_P = (
    7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
    1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550,
    4.63033784615654529590, 1.42343711074968357734)
_TAIL_Q = (
    1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
    1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940,
    2.05319162663775882187, 1.0)
_END_P = (
    2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
    2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580,
    5.46378491116411436990, 6.65790464350110377720)
_END_Q = (
    2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
    7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
    5.99832206555887937690e-1, 1.0)
# fmt: on
_INV_SQRT_PI = 1 / math.sqrt(math.pi)


def scaled_erfc(x: Values) -> Any:
    """exp(x * x) * erfc(x).

    Below 0.46875 by erf itself: exp(x * x) * (1 - erf(x)).
    """
    with np.errstate(over="ignore", divide="ignore", under="ignore", invalid="ignore"):
        small = np.exp(np.minimum(x, 0.5) ** 2) * (1 - erf(np.minimum(x, 0.5)))
        y = np.clip(x, 0.46875, 4.0)
        middle = horner(_MIDDLE_P, y) / horner(_MIDDLE_Q, y)
        far = np.maximum(x, 4.0)
        t = 1 / (far * far)
        tail = (_INV_SQRT_PI - t * horner(_FAR_P, t) / horner(_FAR_Q, t)) / far
    return np.where(x < 0.46875, small, np.where(x <= 4, middle, tail))


def standard_normal_quantile(centred: Values, tail: Values) -> Any:
    """The quantile of p, given p - 1/2 and min(p, 1 - p), each as exact as it is known."""
    r = 0.180625 - np.clip(centred, -0.425, 0.425) ** 2
    centre = centred * horner(_CENTRE_P, r) / horner(_CENTRE_Q, r)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.sqrt(-np.log(tail))
        r_tail, r_end = np.clip(r, 1.6, 5.0) - 1.6, np.maximum(r, 5.0) - 5.0
        outer = np.where(
            r <= 5,
            horner(_TAIL_P, r_tail) / horner(_TAIL_Q, r_tail),
            horner(_END_P, r_end) / horner(_END_Q, r_end),
        )
        outer = np.where(tail == 0, np.inf, np.where(tail < 0, np.nan, outer))
    return np.where(np.abs(centred) <= 0.425, centre, np.copysign(outer, centred))
