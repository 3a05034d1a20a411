"""Layers within layers: their names, their arrays, and Stack, the plainest layer of layers."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, final

import numpy as np

from chainrule.nn.activation import ArrayFunction, get_activation
from chainrule.nn.alone import hand_over, hand_over_state
from chainrule.nn.layer import Context, Layer, Shape
from chainrule.primitives.dispatch import Array
from chainrule.scope import current_scope, layer_scope

__all__ = [
    "LayerLike",
    "Stack",
    "as_layer",
    "forward_inner",
    "init_inner",
    "init_state_inner",
    "name_layer",
    "name_layers",
]

LayerLike: TypeAlias = Layer | str | ArrayFunction


def as_layer(layer: Any) -> Layer:
    """The layer itself, or the activation layer of a name or of a function.

    Raises TypeError for what is neither, saying what to do.
    """
    if isinstance(layer, Layer):
        return layer
    if isinstance(layer, type):
        raise TypeError(f"{layer.__name__} is a class: call it to make a layer, {layer.__name__}()")
    if isinstance(getattr(layer, "layers", None), tuple):
        raise TypeError(
            f"{layer!r} has parameters of its own and cannot be a layer of another network: use "
            "nn.Stack(net.layers), whose parameters start anew"
        )
    if isinstance(layer, str) or callable(layer):
        return get_activation(layer)
    raise TypeError(f"a network takes layers, not {type(layer).__name__} {layer!r}")


def name_layer(layer: Layer, others: Sequence[Layer]) -> None:
    """Give a layer without a name that of its kind and number; check one that has a name.

    Raises ValueError for a layer that is among the others, for a name that one of them has, and
    for one that is no Python name.
    """
    if any(layer is other for other in others):
        raise ValueError(f"{layer.label} is in this network already: make a second layer")
    number = 1 + sum(other.kind == layer.kind for other in others)
    name = layer.name or f"{layer.kind}_{number}"
    # A layer's name becomes part of the names of variables in the source that is written out.
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{name!r} cannot name a layer: use letters, digits and _")
    if any(name == other.name for other in others):
        raise ValueError(f"two layers are named {name!r}: give one of them another name=")
    layer.name = name


def name_layers(layers: Iterable[LayerLike]) -> tuple[Layer, ...]:
    """These as layers, each with a name of its own. Raises as `as_layer` and `name_layer` do."""
    named: list[Layer] = []
    for layer in map(as_layer, layers):
        name_layer(layer, named)
        named.append(layer)
    return tuple(named)


# What a layer made of others does with them. An inner layer must have a name.


def init_inner(layer: Layer, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The initial parameters of an inner layer, under its name: "value.weight", "value.bias".

    A layer that was called alone before brings those that it has.
    """
    return _with_prefix(layer.name, hand_over(layer, layer.init(input_shape, rng)))


def init_state_inner(layer: Layer, input_shape: Shape) -> dict[str, np.ndarray]:
    """The initial state of an inner layer, under its name."""
    return _with_prefix(layer.name, hand_over_state(layer, layer.init_state(input_shape)))


def forward_inner(
    layer: Layer, x: Array, parameters: Mapping[str, Array], context: Context
) -> Array:
    """The outputs of an inner layer, which takes its own from the arrays of the outer one.

    In a layer of your own, whose parameters are then "gated_1.value.weight" and so on:

    >>> from chainrule import nn
    >>> class Gated(nn.Layer):
    ...     def __init__(self, units, *, name=""):
    ...         super().__init__(name=name)
    ...         self.value = nn.Dense(units, name="value")
    ...         self.gate = nn.Stack([nn.Dense(units), "sigmoid"], name="gate")
    ...     def output_shape(self, input_shape):
    ...         return self.value.output_shape(input_shape)
    ...     def init(self, input_shape, rng):
    ...         return {
    ...             **nn.init_inner(self.value, input_shape, rng),
    ...             **nn.init_inner(self.gate, input_shape, rng),
    ...         }
    ...     def forward(self, x, parameters, context):
    ...         value = nn.forward_inner(self.value, x, parameters, context)
    ...         return value * nn.forward_inner(self.gate, x, parameters, context)
    >>> list(nn.Network([Gated(3)], input_shape=2).parameters)[::2]
    ['gated_1.value.weight', 'gated_1.gate.dense_1.weight']

    Where an inner layer has state, as BatchNorm has, define `init_state` with `init_state_inner`
    in the same way. `nn.Combine` makes such a layer of a function.
    """
    if not layer.name:
        raise ValueError(
            f"the inner layer {layer!r} has no name to find its parameters by: give it name="
        )
    own = _without_prefix(layer.name, parameters)
    inner = Context(context.training, context.rng, _without_prefix(layer.name, context.state))
    outer = current_scope().layer
    with layer_scope(f"{outer}.{layer.name}" if outer else layer.name):
        out = layer.forward(x, own, inner)
    context.updates.update(_with_prefix(layer.name, inner.updates))
    return out


def _with_prefix(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{name}.{short}": array for short, array in arrays.items()}


def _without_prefix(name: str, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays whose names begin with this one, by the rest of their names."""
    start = f"{name}."
    return {full[len(start) :]: a for full, a in arrays.items() if full.startswith(start)}


@final
class Stack(Layer):
    """Layers one after the other as one layer: a network within a network.

    `layers` are what `Network` takes: layers, and activations by name or function. Their
    parameters are "stack_1.dense_1.weight" and so on. Raises ValueError without layers.

    >>> from chainrule import nn
    >>> nn.Network([nn.Stack([nn.Dense(3), "tanh"]), nn.Dense(1)], input_shape=2).output_shape
    (1,)
    """

    def __init__(self, layers: Iterable[LayerLike], *, name: str = "") -> None:
        super().__init__(name=name)
        self.layers = name_layers(layers)
        if not self.layers:
            raise ValueError("a stack needs at least one layer, as in nn.Stack([nn.Dense(10)])")

    @property
    def takes_integers(self) -> bool:
        return self.layers[0].takes_integers

    def check_inputs(self, x: np.ndarray) -> None:
        self.layers[0].check_inputs(x)

    def output_shape(self, input_shape: Shape) -> Shape:
        for layer in self.layers:
            input_shape = layer.output_shape(input_shape)
        return input_shape

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        parameters: dict[str, np.ndarray] = {}
        for layer in self.layers:
            parameters.update(init_inner(layer, input_shape, rng))
            input_shape = layer.output_shape(input_shape)
        return parameters

    def init_state(self, input_shape: Shape) -> dict[str, np.ndarray]:
        state: dict[str, np.ndarray] = {}
        for layer in self.layers:
            state.update(init_state_inner(layer, input_shape))
            input_shape = layer.output_shape(input_shape)
        return state

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        for layer in self.layers:
            x = forward_inner(layer, x, parameters, context)
        return x

    def __repr__(self) -> str:
        return f"Stack([{', '.join(map(repr, self.layers))}])"
