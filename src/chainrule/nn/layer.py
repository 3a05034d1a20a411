"""Layer: what every building block of a network is, and the context it runs in."""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array

__all__ = ["Context", "Layer", "Shape", "call_of", "positive_count"]

Shape = tuple[int, ...]


@dataclass(slots=True)
class Context:
    """How a forward pass runs: for training or not, with which randomness and which state.

    `state` holds arrays that are kept but not trained (running statistics); a layer reads them
    here and leaves their new values in `updates`, under the same names. `rng` is None where
    nothing random is wanted.
    """

    training: bool = False
    rng: np.random.Generator | None = None
    state: Mapping[str, Array] = field(default_factory=dict)
    updates: dict[str, Array] = field(default_factory=dict)


class Layer(ABC):
    """A step of a network. It holds options only; the arrays belong to the network.

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

    def __init__(self, *, name: str = "") -> None:
        self.name = name

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
