"""Embedding: a trained vector for each whole number, such as that of a word or a category."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np

from chainrule.nn.initializers import Start, draw
from chainrule.nn.layer import Context, Layer, Shape, positive_count
from chainrule.primitives.dispatch import Array

__all__ = ["Embedding"]


@final
class Embedding(Layer):
    """weight[x]: the vector of each number. x (N, ...) of whole numbers -> (N, ..., units).

    The inputs are from 0 to `vocabulary_size` - 1. It is the first layer of a network, which then
    keeps its inputs whole; sentences of `length` words are inputs (N, length), a column of
    categories (N, 1). Parameters: "weight" (vocabulary_size, units), which starts normal with
    standard deviation 0.05, or as an initializer or array says. A number that occurs several times
    receives the sum of the cotangents. Raises ValueError, before anything is computed, for numbers
    outside the vocabulary.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> net = nn.Network([nn.Embedding(3, 2, weight=[[0, 0], [1, 2], [3, 4]])])
    >>> net(np.array([[2, 1]]))
    array([[[3., 4.],
            [1., 2.]]], dtype=float32)
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int,
        *,
        weight: Start = "normal",
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.vocabulary_size = positive_count(vocabulary_size, "Embedding", "vocabulary_size")
        self.units = positive_count(units, "Embedding", "units")
        self.weight = weight

    @property
    def takes_integers(self) -> bool:
        return True

    def check_inputs(self, x: np.ndarray) -> None:
        outside = (x < 0) | (x >= self.vocabulary_size)
        if outside.any():
            where = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"{self.label} has vectors for 0 to {self.vocabulary_size - 1}, but x holds "
                f"{x[where]} at {where} ({outside.sum()} of {x.size} values): number the words or "
                "categories from 0, or set vocabulary_size higher"
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.units)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shape = (self.vocabulary_size, self.units)
        return {"weight": draw(self.weight, rng, shape, f"{self.label}.weight")}

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        if x.dtype.kind not in "iu":
            raise TypeError(
                f"{self.label} takes whole numbers, but got {x.dtype} of shape {x.shape}: make it "
                "the first layer, or convert with .astype(int)"
            )
        return np.take(parameters["weight"], x, axis=0)

    def __repr__(self) -> str:
        return f"Embedding({self.vocabulary_size}, {self.units})"
