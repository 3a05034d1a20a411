"""log |Gamma| and its derivatives, as NumPy computations in float64.

Far from 0 by Stirling's series (NIST Handbook of Mathematical Functions, 2010, 5.11.1, 5.11.2 and
5.15.8), nearer by the recurrence Gamma(x + 1) = x * Gamma(x), and at negative x by reflection
(5.5.3, 5.15.6). Between 0.5 and 2.5, where log Gamma has its zeros, by its power series at 1 and 2
(5.7.3), so that the zeros are exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.primitives.polynomial import horner

__all__ = ["log_gamma", "polygamma_of"]

Values = np.ndarray[Any, Any]

# The Bernoulli numbers B2, B4, ..., B22
_BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798,
    -174611 / 330, 854513 / 138,
)  # fmt: skip
_ONE_MINUS_EULER = 1 - 0.57721566490153286061
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_LOG_PI = math.log(math.pi)
_FAR = 10.0  # from here on Stirling's series


def _zeta_minus_1(k: int) -> float:
    """zeta(k) - 1, its first terms and the rest by the formula of Euler and Maclaurin."""
    n = 12
    head = math.fsum(i**-k for i in range(2, n))
    rest = n ** (1 - k) / (k - 1) + 0.5 * n**-k
    factor = float(k)
    for j, b in enumerate(_BERNOULLI[:6], start=1):
        rest += b / math.factorial(2 * j) * factor * n ** (1.0 - k - 2 * j)
        factor *= (k + 2 * j - 1) * (k + 2 * j)
    return float(head + rest)


# log Gamma(2 + z) = z * (1 - euler) + sum of (-z)**k * (zeta(k) - 1) / k from k = 2 on, |z| <= 1/2
_AT_2 = (*((-1) ** k * _zeta_minus_1(k) / k for k in range(27, 1, -1)), _ONE_MINUS_EULER, 0.0)


def log_gamma(x: Values) -> Any:
    """The logarithm of |Gamma(x)|.

    >>> log_gamma(np.array([1.0, 2.0])).tolist()
    [0.0, 0.0]
    """
    with np.errstate(all="ignore"):
        positive = np.where(x < 0.5, 1 - x, x)
        out = _of_positive(np.where(x > 0, np.maximum(x, 1e-320), positive))
        sine = np.abs(np.sin(math.pi * (x - np.rint(x))))
        out = np.where(x <= 0, _LOG_PI - np.log(sine) - out, out)
    return np.where(np.isinf(x), np.inf, out)


def _of_positive(x: Values) -> Any:
    factor, y = np.ones_like(x), np.minimum(x, _FAR)
    for _ in range(8):  # from [2.5, 10] down to [1.5, 2.5], by the product of the steps
        above = y > 2.5
        y = np.where(above, y - 1, y)
        factor = np.where(above, factor * y, factor)
    near_1, near_0 = y < 1.5, y < 0.5
    z = np.where(near_0, y, np.where(near_1, y - 1, y - 2))
    near = horner(_AT_2, z) + np.log(factor) - np.where(near_1, np.log1p(z), 0)
    near -= np.where(near_0, np.log(y), 0)
    far = np.maximum(x, _FAR)
    t = 1 / (far * far)
    terms = tuple(b / (2 * k * (2 * k - 1)) for k, b in enumerate(_BERNOULLI[:9], start=1))
    series = horner(terms[::-1], t) / far
    stirling = (far - 0.5) * (np.log(far) - 1) + (_HALF_LOG_2PI - 0.5) + series
    return np.where(x < _FAR, near, stirling)


def polygamma_of(n: int, x: Values) -> Any:
    """The n-th derivative of digamma; for n = 0 digamma itself.

    >>> float(np.round(polygamma_of(0, np.array(1.0)), 12))  # minus Euler's constant
    -0.577215664902
    """
    if n < 0 or n != int(n):
        raise ValueError(f"polygamma has the orders 0, 1, 2, ..., not {n}")
    n = int(n)
    with np.errstate(all="ignore"):
        mirrored = x <= 0
        out = _polygamma_of_positive(n, np.where(mirrored, 1 - x, x))
        if mirrored.any():
            out = np.where(mirrored, (-1) ** n * out - _cotangent_derivative(n, x), out)
    # At 0 and the negative integers are poles; digamma's have two signs, and at 0 the one of +0.
    is_pole = mirrored & (x == np.rint(x))
    out = np.where(is_pole, (-1.0) ** (n + 1) * np.inf, out)
    return np.where(is_pole & (x < 0), np.nan, out) if n == 0 else out


def _polygamma_of_positive(n: int, x: Values) -> Any:
    """Stirling's series at x + 10 + n or so, and the steps down to x."""
    sign = (-1.0) ** (n + 1)
    steps, y = np.zeros_like(x), x
    for _ in range(int(_FAR) + n):
        below = y < _FAR + n
        steps = np.where(below, steps + y ** (-n - 1.0), steps)
        y = np.where(below, y + 1, y)
    t = 1 / (y * y)
    first = np.log(y) if n == 0 else sign * math.factorial(n - 1) * y ** (-float(n))
    half = sign * math.factorial(n) * 0.5 * y ** (-n - 1.0)
    terms = tuple(
        b * (math.factorial(2 * k + n - 1) / math.factorial(2 * k))
        for k, b in enumerate(_BERNOULLI, start=1)
    )
    series = sign * horner(terms[::-1], t) * t * y ** (-float(n))
    return first + half + series + sign * math.factorial(n) * steps


def _cotangent_derivative(n: int, x: Values) -> Any:
    """The n-th derivative of pi * cot(pi * x): a polynomial in c = cot, as c' = -(1 + c**2)."""
    polynomial = np.polynomial.Polynomial([0.0, 1.0])
    for _ in range(n):
        polynomial = -np.polynomial.Polynomial([1.0, 0.0, 1.0]) * polynomial.deriv()
    cotangent = 1 / np.tan(math.pi * (x - np.rint(x)))
    return math.pi ** (n + 1) * polynomial(cotangent)
