"""Special functions, which answer for those of `scipy.special` that have their names.

The NumPy forms are our own and need no SciPy. They compute in float64 and round once to the dtype
of the result. Relative errors are a few ulp, but near a zero of `gammaln` and `polygamma`, where
the absolute error is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.primitives.activation import erf, softplus
from chainrule.primitives.dispatch import Array, implements_special
from chainrule.primitives.elementwise import cbrt, exp2, expm1, log1p, rint, where
from chainrule.primitives.gamma import log_gamma, polygamma_of
from chainrule.primitives.normal import scaled_erfc, standard_normal_quantile
from chainrule.primitives.primitive import defvjp, fused, primitive

__all__ = [
    "digamma",
    "entr",
    "erfc",
    "erfcx",
    "erfinv",
    "expit",
    "gammaln",
    "kl_div",
    "log_expit",
    "log_ndtr",
    "logit",
    "ndtr",
    "ndtri",
    "polygamma",
    "rel_entr",
    "xlog1py",
    "xlogy",
]

_SQRT_2 = math.sqrt(2)
_SQRT_HALF = math.sqrt(0.5)
_HALF_SQRT_PI = 0.5 * math.sqrt(math.pi)
_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)

for _name, _known in {
    "erf": erf,
    "softplus": softplus,
    "cbrt": cbrt,
    "exp2": exp2,
    "expm1": expm1,
    "log1p": log1p,
    "round": rint,
}.items():
    implements_special(_name)(_known)


@implements_special("exp10")
def _exp10(x: Array) -> Array:
    return np.power(10.0, x)


def _rounded(value: Any, x: Any) -> Any:
    """A float64 value in the dtype that NumPy gives to a function of x."""
    return np.asarray(value).astype(np.result_type(np.asarray(x), np.float16))[()]


def _double(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(x, np.float64)


# The logistic function: `sigmoid` is the faster one, to an absolute error; these to a relative one


@implements_special("expit")
@fused
def expit(x: Array) -> Array:
    """1 / (1 + exp(-x)), to a few ulp also where it is small.

    >>> float(expit(-800.0 + 100.0)) > 0
    True
    """
    return np.exp(np.minimum(x, 0)) / (1 + np.exp(-np.abs(x)))


@implements_special("log_expit")
@fused
def log_expit(x: Array) -> Array:
    """The logarithm of expit(x), as min(x, 0) - log(1 + exp(-|x|)).

    >>> log_expit(-1000.0)
    np.float64(-1000.0)
    """
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


@implements_special("logit")
@primitive(elementwise=True)
def logit(x: Array) -> Array:
    """The inverse of expit, log(x / (1 - x)); of numbers outside [0, 1] it is NaN.

    Near 0.5, where the quotient is near 1, as 2 * arctanh(2 * x - 1).

    >>> logit(0.5)
    np.float64(0.0)
    """
    x_64 = _double(x)
    is_central = np.abs(x_64 - 0.5) < 0.25
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = np.log(x_64 / (1 - x_64))
    centre = 2 * np.arctanh(np.where(is_central, 2 * x_64 - 1, 0))
    return _rounded(np.where(is_central, centre, tails), x)


# The normal distribution and the error function


@implements_special("erfcx")
@primitive(elementwise=True)
def erfcx(x: Array) -> Array:
    """The product exp(x * x) * erfc(x), which falls off as 1 / x only; inf below about -26.6."""
    return _rounded(scaled_erfc(_double(x)), x)


@implements_special("erfc")
@primitive(elementwise=True)
def erfc(x: Array) -> Array:
    """1 - erf(x), to a relative error also where it is small.

    >>> float(erfc(10.0))
    2.088487583762545e-45
    """
    return _rounded(_erfc_64(_double(x)), x)


def _erfc_64(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    far = np.minimum(np.abs(x), 64)  # from 27.3 on it is 0 as a number, and nothing overflows
    with np.errstate(under="ignore"):
        high = np.floor(far * 16) / 16  # exp(-x * x) in two parts, of which one is exact
        tail = np.exp(-high * high) * np.exp((high - far) * (high + far)) * scaled_erfc(far)
    near = 1 - erf(np.clip(x, -1, 1))
    return np.where(np.isnan(x), x, np.where(far < 0.5, near, np.where(x > 0, tail, 2 - tail)))


@implements_special("ndtr")
@primitive(elementwise=True)
def ndtr(x: Array) -> Array:
    """The distribution function of the standard normal distribution, erfc(-x / sqrt(2)) / 2."""
    return _rounded(0.5 * _erfc_64(_double(x) * -_SQRT_HALF), x)


@implements_special("log_ndtr")
@primitive(elementwise=True)
def log_ndtr(x: Array) -> Array:
    """The logarithm of ndtr(x), also where ndtr(x) is 0 or 1 as a number.

    >>> float(log_ndtr(-100.0))
    -5005.524208694205
    """
    x_64 = _double(x)
    below, above = np.minimum(x_64, 0), np.maximum(x_64, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.log(0.5 * scaled_erfc(-below * _SQRT_HALF)) - 0.5 * below * below
    left = np.where(np.isneginf(x_64), -np.inf, left)
    return _rounded(np.where(x_64 < 0, left, np.log1p(-0.5 * _erfc_64(above * _SQRT_HALF))), x)


@implements_special("ndtri")
@primitive(elementwise=True)
def ndtri(x: Array) -> Array:
    """The quantile of the standard normal distribution, the inverse of ndtr.

    >>> ndtri(0.5)
    np.float64(0.0)
    """
    x_64 = _double(x)
    return _rounded(standard_normal_quantile(x_64 - 0.5, np.minimum(x_64, 1 - x_64)), x)


@implements_special("erfinv")
@primitive(elementwise=True)
def erfinv(x: Array) -> Array:
    """The inverse of erf on [-1, 1]."""
    x_64 = _double(x)
    return _rounded(standard_normal_quantile(0.5 * x_64, 0.5 * (1 - np.abs(x_64))) / _SQRT_2, x)


# Entropies: x * log(y) is 0 where x is 0, whatever y is


@implements_special("xlogy")
@primitive(elementwise=True)
def xlogy(x: Array, y: Array) -> Array:
    """The product x * log(y), and 0 where x = 0.

    >>> xlogy(0.0, 0.0)
    np.float64(0.0)
    """
    return x * np.log(np.where((x == 0) & ~np.isnan(y), 1, y))


@implements_special("xlog1py")
@primitive(elementwise=True)
def xlog1py(x: Array, y: Array) -> Array:
    """The product x * log(1 + y), and 0 where x = 0."""
    return x * np.log1p(np.where((x == 0) & ~np.isnan(y), 0, y))


@implements_special("entr")
def entr(x: Array) -> Array:
    """-x * log(x), 0 at 0 and -inf below: what each x adds to the entropy.

    >>> float(entr(0.5)) == 0.5 * math.log(2)
    True
    """
    return where(x < 0, -np.inf, -xlogy(x, where(x < 0, 1, x)))


@implements_special("rel_entr")
def rel_entr(x: Array, y: Array) -> Array:
    """The relative entropy x * log(x / y): 0 where x = 0, inf where one is negative or y alone 0.

    >>> float(rel_entr(2.0, 1.0))
    1.3862943611198906
    """
    is_inside = (x > 0) & (y > 0)
    x_in, y_in = where(is_inside, x, 1), where(is_inside, y, 1)
    at_0 = where((x == 0) & (y >= 0), 0.0, _outside(x, y))
    return where(is_inside, x_in * np.log(x_in / y_in), at_0)


def _outside(x: Array, y: Array) -> Array:
    return where(np.isnan(x) | np.isnan(y), np.nan, np.inf)


@implements_special("kl_div")
def kl_div(x: Array, y: Array) -> Array:
    """The divergence x * log(x / y) - x + y, which is 0 where x = y and positive elsewhere."""
    is_inside = (x >= 0) & (y >= 0)
    linear = where(is_inside, y, 0) - where(is_inside, x, 0)
    return where(is_inside, rel_entr(x, y) + linear, _outside(x, y))


# The gamma function


@implements_special("gammaln")
@primitive(elementwise=True)
def gammaln(x: Array) -> Array:
    """The logarithm of |Gamma(x)|, inf at 0 and the negative integers.

    >>> bool(np.isclose(gammaln(11.0), np.log(3628800.0)))
    True
    """
    return _rounded(log_gamma(_double(x)), x)


@implements_special("digamma", "psi")
def digamma(x: Array) -> Array:
    """The derivative of gammaln."""
    return polygamma(x, order=0)


@primitive(elementwise=True)
def polygamma(x: Array, *, order: int) -> Array:
    """The derivative of digamma of this order, for order 0 digamma itself.

    Not in scipy's order: there it is `scipy.special.polygamma(order, x)`.

    >>> bool(np.isclose(polygamma(1.0, order=1), np.pi**2 / 6))
    True
    """
    return _rounded(polygamma_of(order, _double(x)), x)


@implements_special("polygamma")
def _scipy_polygamma(n: int, x: Array) -> Array:
    return polygamma(x, order=n)


# fmt: off
defvjp(expit,     lambda g, out, x: g * (out * expit(-x)))
defvjp(log_expit, lambda g, out, x: g * expit(-x))
defvjp(logit,     lambda g, out, x: g / (x * (1 - x)))
defvjp(erfcx,     lambda g, out, x: g * (2 * x * out - _TWO_OVER_SQRT_PI))
defvjp(erfc,      lambda g, out, x: -g * (np.exp(-x * x) * _TWO_OVER_SQRT_PI))
defvjp(ndtr,      lambda g, out, x: g * (np.exp(-0.5 * (x * x)) * _INV_SQRT_2PI))
defvjp(log_ndtr,  lambda g, out, x: g * (_SQRT_2_OVER_PI / erfcx(x * -_SQRT_HALF)))
defvjp(ndtri,     lambda g, out, x: g * (np.exp(0.5 * (out * out)) / _INV_SQRT_2PI))
defvjp(erfinv,    lambda g, out, x: g * (np.exp(out * out) * _HALF_SQRT_PI))
defvjp(xlogy,     lambda g, out, x, y: g * np.log(where((x == 0) & (y == 0), 1, y)),
                  lambda g, out, x, y: g * (x / where((x == 0) & (y == 0), 1, y)))
defvjp(xlog1py,   lambda g, out, x, y: g * np.log1p(where((x == 0) & (y == -1), 0, y)),
                  lambda g, out, x, y: g * (x / (1 + where((x == 0) & (y == -1), 0, y))))
defvjp(gammaln,   lambda g, out, x: g * polygamma(x, order=0))
defvjp(polygamma, lambda g, out, x, order: g * polygamma(x, order=order + 1))
# fmt: on
