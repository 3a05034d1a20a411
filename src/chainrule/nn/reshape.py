"""Layers that only change the shape of a sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import final

import numpy as np

from chainrule.nn.layer import Context, Layer, Shape
from chainrule.primitives.dispatch import Array

__all__ = ["Flatten", "Reshape"]


@final
class Flatten(Layer):
    """All values of a sample in one row: x (N, a, b, ...) -> (N, a * b * ...)."""

    def output_shape(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return np.reshape(x, (x.shape[0], *self.output_shape(x.shape[1:])))


@final
class Reshape(Layer):
    """The values of a sample in another shape: x (N, ...) -> (N, *shape).

    One size may be -1 and is then found from the others. Raises ValueError where the number of
    values differs.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> nn.Network([nn.Reshape((2, -1))])(np.zeros((5, 6))).shape
    (5, 2, 3)
    """

    def __init__(self, shape: Iterable[int], *, name: str = "") -> None:
        super().__init__(name=name)
        self.shape = tuple(shape)
        if self.shape.count(-1) > 1 or any(size < 1 and size != -1 for size in self.shape):
            raise ValueError(
                f"Reshape got {self.shape}: sizes must be positive, and at most one of them -1"
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        n_values = math.prod(input_shape)
        known = math.prod(size for size in self.shape if size != -1)
        shape = tuple(n_values // known if size == -1 else size for size in self.shape)
        if math.prod(shape) != n_values:
            raise ValueError(
                f"{self.label} cannot give samples of shape {input_shape}, {n_values} values, "
                f"the shape {self.shape}: the numbers of values must agree"
            )
        return shape

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return np.reshape(x, (x.shape[0], *self.output_shape(x.shape[1:])))

    def __repr__(self) -> str:
        return f"Reshape({self.shape})"
