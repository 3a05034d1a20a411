"""Polynomials, of which the special functions are made."""

from __future__ import annotations

from chainrule.primitives.dispatch import Array

__all__ = ["horner"]


def horner(coefficients: tuple[float, ...], t: Array) -> Array:
    """The polynomial with these coefficients, highest power first, at t.

    >>> horner((2.0, 0.0, 1.0), 3.0)
    19.0
    """
    total = coefficients[0] * t + coefficients[1]
    for coefficient in coefficients[2:]:
        total *= t
        total += coefficient
    return total
