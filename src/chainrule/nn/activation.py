"""Activations: the nonlinear layers, applied element by element (softmax: along the last axis)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, final

import numpy as np

from chainrule import primitives
from chainrule.names import look_up
from chainrule.nn.layer import Context, Layer
from chainrule.primitives.dispatch import Array

__all__ = [
    "ACTIVATIONS",
    "ELU",
    "GELU",
    "Activation",
    "ArrayFunction",
    "Identity",
    "LeakyReLU",
    "LogSoftmax",
    "ReLU",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "get_activation",
]

ArrayFunction: TypeAlias = Callable[[Array], Array]


@final
class Sigmoid(Layer):
    """1 / (1 + exp(-z)): from 0 to 1, steepest at 0 with slope 1/4."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.sigmoid(x)


@final
class Tanh(Layer):
    """tanh(z): from -1 to 1, with slope 1 at 0."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return np.tanh(x)


@final
class ReLU(Layer):
    """max(z, 0), with derivative 0 at 0. Nair and Hinton, 2010."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.relu(x)


@final
class LeakyReLU(Layer):
    """z where z > 0, else slope * z. Maas, Hannun and Ng, 2013."""

    def __init__(self, slope: float = 0.01, *, name: str = "") -> None:
        super().__init__(name=name)
        self.slope = slope

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.leaky_relu(x, slope=self.slope)

    def __repr__(self) -> str:
        return f"LeakyReLU({self.slope})"


@final
class ELU(Layer):
    """z where z > 0, else alpha * (exp(z) - 1). Clevert, Unterthiner and Hochreiter, 2016."""

    def __init__(self, alpha: float = 1.0, *, name: str = "") -> None:
        super().__init__(name=name)
        self.alpha = alpha

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.elu(x, alpha=self.alpha)

    def __repr__(self) -> str:
        return f"ELU({self.alpha})"


@final
class GELU(Layer):
    """z * Φ(z), Φ the normal distribution function, exactly. Hendrycks and Gimpel, 2016."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.gelu(x)


@final
class SiLU(Layer):
    """z * sigmoid(z), also called swish. Elfwing, Uchibe and Doya, 2017."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.silu(x)


@final
class Softplus(Layer):
    """log(1 + exp(z)): a smooth ReLU whose derivative is the sigmoid."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.softplus(x)


@final
class Softmax(Layer):
    """exp(z) / sum of exp(z) along the last axis: each row becomes probabilities.

    Not before the loss "cross_entropy", which takes the logits and contains it.
    """

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.softmax(x, axis=-1)


@final
class LogSoftmax(Layer):
    """z - log(sum of exp(z)) along the last axis: the logarithm of softmax, without overflow."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return primitives.log_softmax(x, axis=-1)


@final
class Identity(Layer):
    """The input itself."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return x


@final
class Activation(Layer):
    """A function of your own, of one array, made of NumPy functions and primitives.

    It must keep the shape of its input.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> nn.Network([nn.Activation(np.sin)])(np.zeros((1, 2)))
    array([[0., 0.]], dtype=float32)
    """

    def __init__(self, function: ArrayFunction, *, name: str = "") -> None:
        super().__init__(name=name)
        self.function = function

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        out = self.function(x)
        if np.shape(out) != x.shape:
            raise ValueError(
                f"{self.label}: the function turned shape {x.shape} into {np.shape(out)}, but an "
                "activation keeps the shape: write a Layer with an output_shape of its own"
            )
        return out

    def __repr__(self) -> str:
        return f"Activation({getattr(self.function, '__name__', self.function)})"


ACTIVATIONS: dict[str, type[Layer]] = {
    "elu": ELU,
    "gelu": GELU,
    "identity": Identity,
    "leaky_relu": LeakyReLU,
    "log_softmax": LogSoftmax,
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "silu": SiLU,
    "softmax": Softmax,
    "softplus": Softplus,
    "tanh": Tanh,
}
"""The activations that can be asked for by name, with their default options."""


def get_activation(activation: str | ArrayFunction) -> Layer:
    """A new activation layer: of that name, or of a function of one array.

    Raises ValueError for an unknown name, naming the nearest.

    >>> get_activation("leaky_relu")
    LeakyReLU(0.01)
    """
    if callable(activation):
        return Activation(activation)
    layer: Any = look_up(ACTIVATIONS, activation, "activation")
    return layer()  # type: ignore[no-any-return]
