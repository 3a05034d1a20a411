"""Layer: what every building block of a network is."""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.nn.alone import call_layer, parameters_of
from chainrule.nn.built import InnerArrays, LayerArrays
from chainrule.nn.context import Context, Shape
from chainrule.nn.parameters import Parameters
from chainrule.primitives.dispatch import Array

__all__ = ["Context", "Layer", "Shape", "call_of", "positive_count"]


class Layer(ABC):
    """A step of a network. It holds options only; the arrays belong to the network.

    Called alone, as in `nn.Dense(3)(x)`, it has arrays of its own: see `__call__`.

    A layer of your own defines `forward`, `output_shape` where it changes the shape of a sample,
    and `init` where it has parameters. `forward` is pure: it computes from its arguments alone,
    with NumPy functions and primitives, and decides by shapes, never by values.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> class Scale(nn.Layer):
    ...     def init(self, input_shape, rng):
    ...         return {"weight": np.ones(input_shape)}
    ...     def forward(self, x, parameters, context):
    ...         return x * parameters["weight"]
    >>> nn.Network([Scale()], input_shape=3).parameters
    Parameters(scale_1.weight (3,); 3 values, float32)
    """

    name: str = ""
    _arrays: LayerArrays | InnerArrays | None = None  # once it was called alone, or is in a network

    def __init__(self, *, name: str = "") -> None:
        self.name = name

    def __call__(self, x: Any, *, seed: int | None = None) -> Array:
        """The outputs for inputs x (N, ...): an array for arrays, a tensor for a tensor.

        A layer that is in a network computes with the network's parameters. Any other is built at
        its first call: `seed` fixes what it draws, and its parameters are float64 for such inputs,
        float32 for all others. A network that it is put in later starts from them. Runs as in
        prediction, and in a function that is differentiated or compiled the parameters are
        constants: one of the parameters calls `forward`. Raises ValueError or TypeError for inputs
        that do not fit, and where a layer with parameters is called inside another layer, which
        would not train them.

        >>> import numpy as np, chainrule as cr
        >>> from chainrule import nn
        >>> dense = nn.Dense(1, weight=[[2.0], [3.0]])
        >>> dense(np.array([[1.0, 10.0]]))
        array([[32.]])
        >>> cr.grad(lambda x: np.sum(np.tanh(dense(x))))(np.zeros((1, 2)))
        array([[2., 3.]])
        """
        return call_layer(self, x, seed)

    @property
    def parameters(self) -> Parameters:
        """What the layer computes with when it is called: "weight", "bias", … by name.

        In a network these are the network's own, in the same memory. Raises ValueError before there
        are any.

        >>> from chainrule import nn
        >>> dense = nn.Dense(3)
        >>> out = dense(np.ones((4, 2)), seed=0)
        >>> dense.parameters
        Parameters(weight (2, 3), bias (3,); 9 values, float64)
        """
        return parameters_of(self)

    @property
    def kind(self) -> str:
        """The class name in snake case: what a network names its layers after."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", type(self).__name__).lower()

    @property
    def label(self) -> str:
        """What an error message calls this layer: its name, or its kind while it has none."""
        return self.name or self.kind

    @property
    def takes_integers(self) -> bool:
        """Whether the inputs are whole numbers, such as labels; a network then keeps them so."""
        return False

    def check_inputs(self, x: np.ndarray) -> None:  # noqa: B027 - most layers take any
        """Raise ValueError for values of x that this layer, as the first one, cannot take.

        Called before a computation, since `forward` cannot decide by values.
        """

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one output sample; raises ValueError for an input it cannot take."""
        return input_shape

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The initial parameters by their short names ("weight", "bias")."""
        return {}

    def init_state(self, input_shape: Shape) -> dict[str, np.ndarray]:
        """The initial state by its short names."""
        return {}

    @abstractmethod
    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        """The outputs (N, *output_shape) for the inputs x (N, *input_shape)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def call_of(layer: Layer, *first: Any, **options: tuple[Any, Any]) -> str:
    """The call that makes a layer: what it takes first, and each option (value, default) that
    differs from its default.

    >>> from chainrule import nn
    >>> call_of(nn.Tanh(), 3, use_bias=(False, True), stride=(1, 1))
    'Tanh(3, use_bias=False)'
    """
    words = [repr(each) for each in first]
    words += [f"{name}={value!r}" for name, (value, default) in options.items() if value != default]
    return f"{type(layer).__name__}({', '.join(words)})"


def positive_count(value: Any, layer: str, what: str) -> int:
    """The option as an int of at least 1; raises TypeError or ValueError naming it."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{layer} takes a whole number as {what}, but got {value!r}") from None
    if count < 1:
        raise ValueError(f"{layer} needs {what} of at least 1 but got {what}={value}")
    return count
