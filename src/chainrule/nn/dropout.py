"""Dropout: random zeros in training, nothing in prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from chainrule import primitives
from chainrule.nn.layer import Context, Layer
from chainrule.primitives.dispatch import Array

__all__ = ["Dropout"]


@final
class Dropout(Layer):
    """x * keep / (1 - rate) in training, with `keep` 0 in a share `rate` of places, else 1.

    The places are drawn anew for each step and each value, from the rng of the context, which `fit`
    makes of its `seed`. What is kept is scaled up, so that the mean stays and prediction, where x
    passes as it is, needs no factor. Raises ValueError unless 0 <= rate < 1.
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, "Dropout: a simple way to prevent
    neural networks from overfitting", 2014, sections 4 and 10.

    >>> from chainrule import nn
    >>> context = nn.Context(training=True, rng=np.random.default_rng(0))
    >>> nn.Dropout(0.5).forward(np.ones((1, 6)), {}, context)
    array([[2., 0., 0., 0., 2., 2.]])
    """

    def __init__(self, rate: float = 0.5, *, name: str = "") -> None:
        super().__init__(name=name)
        if not 0 <= rate < 1:
            raise ValueError(
                f"Dropout got rate={rate}, the share of values it makes zero: give a number from "
                "0 to below 1"
            )
        self.rate = float(rate)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        if not context.training or self.rate == 0:
            return x
        if context.rng is None:
            raise ValueError(
                f"{self.label} draws random numbers in training, but the context has no rng: "
                "give nn.Context(training=True, rng=np.random.default_rng(0))"
            )
        dtype = np.float32 if x.dtype == np.float32 else np.float64
        drawn = primitives.random_uniform(context.rng, shape=x.shape, dtype=dtype)
        return np.where(drawn >= self.rate, x * (1 / (1 - self.rate)), 0)

    def __repr__(self) -> str:
        return f"Dropout({self.rate})"
