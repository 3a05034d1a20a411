"""A layer in its network: its arrays under the network's names, and the shape it gives."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from chainrule.nn.context import Context, Shape
from chainrule.nn.parameters import Parameters
from chainrule.primitives.dispatch import Array

if TYPE_CHECKING:
    from chainrule.nn.layer import Layer

__all__ = ["BuiltLayer", "InnerArrays", "LayerArrays", "build_layer", "build_layers", "taken_over"]


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


@final
class LayerArrays:
    """Where the arrays of a layer are, and by which names.

    `fitting` are the shapes of samples that they have been found to fit. `seed` is the one that the
    layer was built with, where it was built by a call.
    """

    __slots__ = ("built", "fitting", "is_own", "parameters", "seed", "state")

    def __init__(
        self,
        built: BuiltLayer,
        parameters: Parameters,
        state: dict[str, np.ndarray],
        input_shape: Shape,
        *,
        is_own: bool,
        seed: int | None = None,
    ) -> None:
        self.built = built
        self.parameters = parameters
        self.state = state
        self.fitting = {input_shape}
        self.is_own = is_own
        self.seed = seed

    def given(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The parameters and the state by the layer's short names."""
        return (
            {short: self.parameters[full] for short, full in self.built.parameters},
            {short: self.state[full] for short, full in self.built.state},
        )


@final
class InnerArrays:
    """What a layer keeps that is part of another one: no parameters, for those are the outer one's.

    `state` is what it had when it was called alone, until the outer one is given it.
    """

    __slots__ = ("state",)

    def __init__(self, state: dict[str, np.ndarray]) -> None:
        self.state = state


def build_layers(
    layers: Iterable[Layer], shape: Shape, rng: np.random.Generator, dtype: np.dtype[Any]
) -> tuple[list[BuiltLayer], dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The layers built for samples of this shape, with their initial parameters and state."""
    built: list[BuiltLayer] = []
    arrays: dict[str, np.ndarray] = {}
    state: dict[str, np.ndarray] = {}
    for layer in layers:
        each, initial, kept = build_layer(layer, shape, rng, dtype, f"{layer.name}.")
        arrays.update(initial)
        state.update(kept)
        built.append(each)
        shape = each.output_shape
    return built, arrays, state


def build_layer(
    layer: Layer, shape: Shape, rng: np.random.Generator, dtype: np.dtype[Any], prefix: str = ""
) -> tuple[BuiltLayer, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """One layer, its initial parameters and its state; their names begin with the prefix."""
    output_shape = layer.output_shape(shape)
    initial, kept = layer.init(shape, rng), layer.init_state(shape)
    arrays_alone = layer._arrays
    if isinstance(arrays_alone, LayerArrays) and arrays_alone.is_own:
        had, had_state = arrays_alone.given()
        initial, kept = taken_over(layer, had, initial), taken_over(layer, had_state, kept)
    parameter_names = tuple((short, f"{prefix}{short}") for short in initial)
    state_names = tuple((short, f"{prefix}{short}") for short in kept)
    arrays = {full: initial[short] for short, full in parameter_names}
    state = {full: np.array(kept[short], dtype) for short, full in state_names}
    return BuiltLayer(layer, output_shape, parameter_names, state_names), arrays, state


def taken_over(
    layer: Layer, had: Mapping[str, np.ndarray], initial: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The arrays that a layer had when it was called alone, in place of its initial ones.

    Raises ValueError where they have other shapes, as for samples of another shape.
    """
    for name, array in initial.items():
        if name not in had or had[name].shape != np.shape(array):
            was = f"of shape {had[name].shape}" if name in had else "missing"
            raise ValueError(
                f"{layer.label} was called alone, and its {name} is {was}, but here it is to be of "
                f"shape {np.shape(array)}: make a new layer"
            )
    return {name: had[name] for name in initial}
