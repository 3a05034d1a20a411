"""Penalties: what large weights add to the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import numpy as np

from chainrule.primitives.dispatch import Array, named

__all__ = ["L1", "L2"]


@final
@dataclass(frozen=True, slots=True)
class L1:
    """strength * sum of |w|: drives weights that matter little to exactly zero.

    Called with a mapping of parameters, gives a scalar. Leaves out biases (names ending in "bias"),
    and gamma and beta of normalisation, unless `biases=True`. Raises ValueError for a negative
    strength.
    Tibshirani, "Regression shrinkage and selection via the lasso", 1996.

    >>> L1(0.5)({"dense_1.weight": np.array([[1.0, -3.0]]), "dense_1.bias": np.array([9.0])})
    np.float64(2.0)
    """

    strength: float
    biases: bool = False

    def __post_init__(self) -> None:
        _check_strength("L1", self.strength)

    def __call__(self, parameters: Mapping[str, Array]) -> Array:
        return named("penalty", self.strength * _total(np.abs, parameters, self.biases))


@final
@dataclass(frozen=True, slots=True)
class L2:
    """strength / 2 * sum of w²: keeps all weights small; its gradient is strength * w.

    Called with a mapping of parameters, gives a scalar. Leaves out biases (names ending in "bias"),
    and gamma and beta of normalisation, unless `biases=True`. Raises ValueError for a negative
    strength. A publication's λ / (2m) * sum of w², with m samples, is `L2(λ / m)`.
    Hoerl and Kennard, "Ridge regression", 1970.

    >>> L2(0.5)({"dense_1.weight": np.array([[1.0, -3.0]]), "dense_1.bias": np.array([9.0])})
    np.float64(2.5)
    """

    strength: float
    biases: bool = False

    def __post_init__(self) -> None:
        _check_strength("L2", self.strength)

    def __call__(self, parameters: Mapping[str, Array]) -> Array:
        return named("penalty", 0.5 * self.strength * _total(np.square, parameters, self.biases))


_SPARED = (".bias", ".recurrent_bias", ".gamma", ".beta")


def _total(size: Callable[[Array], Array], parameters: Mapping[str, Array], biases: bool) -> Array:
    """The sum of `size(w)` over the penalised parameters."""
    spared = () if biases else _SPARED
    sums = [np.sum(size(w)) for name, w in parameters.items() if not name.endswith(spared)]
    return sum(sums[1:], start=sums[0]) if sums else 0.0


def _check_strength(penalty: str, strength: float) -> None:
    if not (strength >= 0 and math.isfinite(strength)):
        raise ValueError(f"{penalty} needs a finite strength >= 0 but got {strength}")
