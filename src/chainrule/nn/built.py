"""A layer in its network: its arrays under the network's names, and the shape it gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.nn.layer import Context, Layer, Shape
from chainrule.primitives.dispatch import Array

__all__ = ["BuiltLayer", "build_layers"]


@dataclass(frozen=True, slots=True)
class BuiltLayer:
    """A layer in its network: the shape it gives, and what its arrays are called there.

    `parameters` and `state` pair the layer's short names with the network's: ("weight",
    "dense_1.weight").
    """

    layer: Layer
    output_shape: Shape
    parameters: tuple[tuple[str, str], ...]
    state: tuple[tuple[str, str], ...]

    def forward(self, parameters: Mapping[str, Array], x: Array, context: Context) -> Array:
        """The layer's outputs, with its arrays taken from the network's."""
        own = {short: parameters[full] for short, full in self.parameters}
        if not self.state:
            return self.layer.forward(x, own, context)
        state = {s: context.state[full] for s, full in self.state if full in context.state}
        inner = Context(context.training, context.rng, state)
        x = self.layer.forward(x, own, inner)
        for short, full in self.state:
            if short in inner.updates:
                context.updates[full] = inner.updates[short]
        return x

    def parameter_counts(self, shapes: Mapping[str, Shape]) -> dict[str, int]:
        """How many parameters belong to each inner layer, and under "" to the layer itself."""
        counts: dict[str, int] = {}
        for short, full in self.parameters:
            inner = short.rpartition(".")[0]
            counts[inner] = counts.get(inner, 0) + math.prod(shapes[full])
        return counts


def build_layers(
    layers: Iterable[Layer], shape: Shape, rng: np.random.Generator, dtype: np.dtype[Any]
) -> tuple[list[BuiltLayer], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The layers built for samples of this shape, with their initial parameters and state."""
    built: list[BuiltLayer] = []
    arrays: dict[str, np.ndarray] = {}
    state: dict[str, np.ndarray] = {}
    for layer in layers:
        output_shape = layer.output_shape(shape)
        initial, kept = layer.init(shape, rng), layer.init_state(shape)
        parameter_names = tuple((short, f"{layer.name}.{short}") for short in initial)
        state_names = tuple((short, f"{layer.name}.{short}") for short in kept)
        arrays.update({full: initial[short] for short, full in parameter_names})
        state.update({full: np.array(kept[short], dtype) for short, full in state_names})
        built.append(BuiltLayer(layer, output_shape, parameter_names, state_names))
        shape = output_shape
    return built, arrays, state
