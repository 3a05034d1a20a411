"""Rescale: fixed scaling of the inputs, as the first layer of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import final

import numpy as np

from chainrule.nn.layer import Context, Layer, Shape
from chainrule.primitives.dispatch import Array

__all__ = ["Rescale"]


@final
class Rescale(Layer):
    """(x - offset) / width along the last axis, with numbers that are not trained.

    x (N, ..., n_features) keeps its shape; `offset` and `width` are one number, or one for each
    feature. It stands first in a network that is to take data as they were measured:
    `chainrule.data.Preprocessing.layers` makes it of what was fitted to them. Raises ValueError
    where a width is zero or a number is not finite.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> nn.Rescale([0.0, 10.0], [4.0, 20.0])(np.array([[1.0, 20.0]]))
    array([[0.25, 0.5 ]])
    """

    def __init__(
        self, offset: float | Iterable[float] = 0.0, width: float | Iterable[float] = 1.0,
        *, name: str = "",
    ) -> None:  # fmt: skip
        super().__init__(name=name)
        self.offset, self.width = _numbers(offset), _numbers(width)
        finite = all(map(math.isfinite, (*self.offset, *self.width)))
        if not finite or 0.0 in self.width or not self.offset or not self.width:
            raise ValueError("Rescale takes finite numbers, and widths that are not zero")
        if len({len(self.offset), len(self.width)} - {1}) > 1:
            raise ValueError(
                f"Rescale got {len(self.offset)} offsets and {len(self.width)} widths: give one "
                "number, or one for each feature"
            )

    def output_shape(self, input_shape: Shape) -> Shape:
        n_features = max(len(self.offset), len(self.width))
        if n_features > 1 and input_shape[-1:] != (n_features,):
            raise ValueError(
                f"{self.label} scales {n_features} features but got samples of shape "
                f"{input_shape}: the last axis must have {n_features}"
            )
        return input_shape

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        self.output_shape(x.shape[1:])
        dtype = x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)
        return (x - np.array(self.offset, dtype)) / np.array(self.width, dtype)

    def __repr__(self) -> str:
        return f"Rescale({list(self.offset)}, {list(self.width)})"


def _numbers(given: float | Iterable[float]) -> tuple[float, ...]:
    return tuple(np.asarray(given, np.float64).reshape(-1).tolist())
