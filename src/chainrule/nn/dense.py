"""Dense: the fully connected layer."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from typing import final

import numpy as np

from chainrule.nn.initializers import Start, draw
from chainrule.nn.layer import Context, Layer, Shape, call_of
from chainrule.primitives.dispatch import Array

__all__ = ["Dense"]


@final
class Dense(Layer):
    """x @ weight + bias: every output is a weighted sum of all inputs.

    x (N, ..., n_in) -> (N, ..., units); it acts on the last axis. Parameters: "weight"
    (n_in, units) and, unless `use_bias=False`, "bias" (units,). Each start is the name of an
    initializer, a function `(rng, shape) -> array`, or the array itself. The number of inputs is
    found when the network is built. An activation is a layer of its own and comes after this one.
    Raises ValueError where `units` is not positive or a given array has another shape.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(1, weight=[[2.0], [3.0]], bias=[0.5])])
    >>> net(np.array([[1.0, 10.0]]))
    array([[32.5]], dtype=float32)
    """

    def __init__(
        self,
        units: int,
        *,
        use_bias: bool = True,
        weight: Start = "glorot_uniform",
        bias: Start = "zeros",
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        try:
            self.units = operator.index(units)
        except TypeError:
            raise TypeError(f"Dense takes its number of units first, but got {units!r}") from None
        if self.units < 1:
            raise ValueError(f"Dense needs at least one unit but got units={units}")
        self.use_bias = use_bias
        self.weight = weight
        self.bias = bias

    def output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape:
            raise ValueError(
                f"{self.label} got samples that are single numbers: x needs an axis of features; "
                "x[:, None] makes one feature of each number"
            )
        return (*input_shape[:-1], self.units)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        weight_shape = (input_shape[-1], self.units)
        parameters = {"weight": draw(self.weight, rng, weight_shape, f"{self.label}.weight")}
        if self.use_bias:
            parameters["bias"] = draw(self.bias, rng, (self.units,), f"{self.label}.bias")
        return parameters

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        weight = parameters["weight"]
        if x.shape[-1:] != weight.shape[:1]:
            raise ValueError(
                f"{self.label} was built for {weight.shape[0]} features but got {x.shape}: "
                f"the last axis must have {weight.shape[0]}"
            )
        # One product of two matrices is faster than one for each sample.
        rows = np.reshape(x, (math.prod(x.shape[:-1]), x.shape[-1])) if x.ndim > 2 else x
        z = rows @ weight
        z = z + parameters["bias"] if self.use_bias else z
        return np.reshape(z, (*x.shape[:-1], self.units)) if x.ndim > 2 else z

    def __repr__(self) -> str:
        return call_of(self, self.units, use_bias=(self.use_bias, True))
