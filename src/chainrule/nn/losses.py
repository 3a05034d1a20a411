"""The losses, and which layer must not stand before them.

The losses themselves are defined in `chainrule.training.losses`; here they have their public names.
"""

from __future__ import annotations

from typing import Any

from chainrule.nn.activation import Activation, Identity, LogSoftmax, Sigmoid, Softmax
from chainrule.nn.dropout import Dropout
from chainrule.nn.layer import Layer
from chainrule.nn.reshape import Flatten, Reshape
from chainrule.nn.stack import Stack
from chainrule.training.losses import (
    LOSSES,
    Loss,
    LossFunction,
    LossLike,
    binary_cross_entropy,
    check_targets,
    cross_entropy,
    get_loss,
    hinge,
    huber,
    kl_divergence,
    mean_absolute_error,
    mean_squared_error,
    squared_error,
)

__all__ = [
    "LOSSES",
    "Loss",
    "LossFunction",
    "LossLike",
    "binary_cross_entropy",
    "check_output_layer",
    "check_targets",
    "cross_entropy",
    "get_loss",
    "hinge",
    "huber",
    "kl_divergence",
    "mean_absolute_error",
    "mean_squared_error",
    "output_activation",
    "squared_error",
]

_KEEP_VALUES = (Dropout, Flatten, Identity, Reshape)
_MAKE_PROBABILITIES = {
    "expit": "sigmoid",
    "log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
}


def check_output_layer(loss: LossLike, *layers: Layer) -> None:
    """Raise ValueError where the loss takes logits, but the last layer makes probabilities of them.

    `layers` are those of a network in order; layers within a `Stack` are looked at too.

    >>> check_output_layer("cross_entropy", Softmax(name="softmax_1"))
    Traceback (most recent call last):
    ValueError: cross_entropy takes logits, but the last layer, softmax_1, makes probabilities ...
    """
    loss = get_loss(loss)
    label, activation = output_activation(layers)
    if loss.takes_logits and activation in ("sigmoid", "softmax"):
        twice = f" and {activation} would be applied twice" if activation == loss.contains else ""
        raise ValueError(
            f"{loss.name} takes logits, but the last layer, {label}, makes probabilities of "
            f"them{twice}: leave that layer out"
        )


def output_activation(layers: tuple[Layer, ...]) -> tuple[str, str]:
    """The layer that makes the outputs probabilities, and what it applies; ("", "") for none.

    "log_softmax" makes logarithms of them.
    """
    for layer in reversed(layers):
        if isinstance(layer, _KEEP_VALUES):
            continue
        if isinstance(layer, Stack):
            label, activation = output_activation(layer.layers)
            return f"{layer.label}.{label}", activation
        if isinstance(layer, Sigmoid | Softmax | LogSoftmax):
            return layer.label, layer.kind
        if isinstance(layer, Activation):
            function: Any = layer.function  # a primitive has a name, a function a __name__
            name = getattr(function, "name", getattr(function, "__name__", ""))
            return layer.label, _MAKE_PROBABILITIES.get(name, "")
        break
    return "", ""
