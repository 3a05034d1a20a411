"""Activation functions, each fused into one primitive for speed or numerical safety."""

from __future__ import annotations

import math

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.primitives.elementwise import where
from chainrule.primitives.polynomial import horner
from chainrule.primitives.primitive import defvjp, fused, primitive

__all__ = ["elu", "erf", "gelu", "leaky_relu", "relu", "sigmoid", "silu", "softplus"]

_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
_TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)


@fused
def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow, as 0.5 * tanh(0.5 * x) + 0.5."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


@fused
def softplus(x: Array) -> Array:
    """log(1 + exp(x)) without overflow, as max(x, 0) + log(1 + exp(-|x|))."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@fused
def relu(x: Array) -> Array:
    """max(x, 0); the gradient at 0 is 0."""
    return np.maximum(x, 0)


@fused
def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    """`x` where x > 0, slope * x elsewhere; the gradient at 0 is the slope (Maas et al. 2013)."""
    return np.where(x > 0, x, slope * x)


@fused
def elu(x: Array, alpha: float = 1.0) -> Array:
    """`x` where x > 0, alpha * (exp(x) - 1) elsewhere; the gradient at 0 is alpha.

    Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by exponential
    linear units", 2016, section 3.
    """
    return np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0))


@fused
def silu(x: Array) -> Array:
    """`x * sigmoid(x)`, as h * tanh(h) + h with h = x / 2 (Elfwing, Uchibe and Doya 2018)."""
    h = 0.5 * x
    return h * np.tanh(h) + h


@fused
def gelu(x: Array) -> Array:
    """`x * Phi(x)` with the normal distribution function Phi, exact (Hendrycks and Gimpel 2016)."""
    return 0.5 * x * (1 + erf(x * _SQRT_HALF))


# erf(x) = x * P(x * x) / Q(x * x) up to the limit, beyond which it rounds to 1. The coefficients,
# highest power first, are the least-squares fit of P(t) - Q(t) * erf(sqrt(t)) / sqrt(t) at
# Chebyshev points, reweighted towards the largest relative error (C. L. Lawson, 1961), in 60-digit
# arithmetic. All are positive, so nothing cancels. Relative error 2e-8 and 3e-17 before rounding.
# fmt: off
_ERF_LIMIT_32 = 3.95
_ERF_P_32: tuple[float, ...] = (
    2.0424190878582972e-06, 2.847284744585685e-04, 3.776454513110315e-03,
    5.278058984613101e-02, 1.9071164815160938e-01, 1.1283791470906157e+00)
_ERF_Q_32: tuple[float, ...] = (
    3.800449562969922e-05, 1.1644289715881306e-03, 1.4991153378788405e-02,
    1.1422753940639285e-01, 5.023465385152605e-01, 1.0)
_ERF_LIMIT_64 = 5.98
_ERF_P_64: tuple[float, ...] = (
    1.5750396911642838e-17, 2.2295359905545717e-14, 3.3347623096758014e-12,
    1.7166214236392167e-10, 6.7502842260211885e-09, 1.691883553478063e-07,
    3.8959249772062565e-06, 5.686610866191183e-05, 8.550327727928844e-04,
    6.882955815713981e-03, 6.609987753175711e-02, 2.2005407478015213e-01, 1.1283791670955126e+00)
_ERF_Q_64: tuple[float, ...] = (
    8.867237743300212e-16, 3.320548900117437e-13, 2.5457664481196864e-11,
    1.1227494030427505e-09, 3.509976860452104e-08, 8.338254353291167e-07,
    1.5479361163301477e-05, 2.2586101446630166e-04, 2.5626306464248453e-03,
    2.1973116986545433e-02, 1.3469655105750103e-01, 5.283511794590967e-01, 1.0)
# fmt: on


@primitive
def erf(x: Array) -> Array:
    """The error function 2 / sqrt(pi) * integral of exp(-t * t) from 0 to x, to a few ulp."""
    dtype = np.result_type(x)
    if dtype == np.float16:  # it does not hold the coefficients
        return np.astype(erf(np.astype(x, np.float32)), np.float16)
    if dtype == np.float32:
        limit, p, q = _ERF_LIMIT_32, _ERF_P_32, _ERF_Q_32
    else:
        limit, p, q = _ERF_LIMIT_64, _ERF_P_64, _ERF_Q_64
    x = np.clip(x, -limit, limit)
    t = x * x
    return np.clip(x * horner(p, t) / horner(q, t), -1, 1)


# fmt: off
defvjp(sigmoid,    lambda g, out, x: g * (out * (1 - out)))
defvjp(softplus,   lambda g, out, x: g * sigmoid(x))
defvjp(relu,       lambda g, out, x: g * (out > 0))
defvjp(leaky_relu, lambda g, out, x, slope: where(x > 0, g, g * slope))
defvjp(elu,        lambda g, out, x, alpha: where(x > 0, g, g * (out + alpha)))
defvjp(silu,       lambda g, out, x: g * (out + sigmoid(x) * (1 - out)))
defvjp(gelu,       lambda g, out, x: g * (_normal_cdf(x) + x * _normal_density(x)))
defvjp(erf,        lambda g, out, x: g * (np.exp(-x * x) * _TWO_OVER_SQRT_PI))
# fmt: on


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + erf(x * _SQRT_HALF))


def _normal_density(x: Array) -> Array:
    return np.exp(-0.5 * (x * x)) * _INV_SQRT_2PI
