"""The outputs of a network as probabilities: `predict_proba`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import primitives
from chainrule.engines.choice import Engine
from chainrule.nn.losses import output_activation
from chainrule.training.losses import LossLike, get_loss

if TYPE_CHECKING:
    from chainrule.nn.network import Network

__all__ = ["predict_proba"]

_OF_OUTPUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "sigmoid": primitives.sigmoid,
    "softmax": lambda z: primitives.softmax(z, axis=-1),
}
"""Outputs -> probabilities, by the activation that a loss contains."""

_OF_ACTIVATED: dict[str, Callable[[np.ndarray], Any]] = {
    "log_softmax": np.exp,
    "sigmoid": np.asarray,
    "softmax": np.asarray,
}
"""Outputs -> probabilities, by the activation that the network ends with."""


def predict_proba(
    network: Network,
    x: Any,
    batch_size: int | None = None,
    *,
    loss: LossLike | None = None,
    engine: Engine | None = None,
) -> np.ndarray:
    """The outputs (N, *output_shape) for inputs x (N, *input_shape) as probabilities.

    Where the last layer gives probabilities, as Softmax and Sigmoid do, they are the outputs as
    they are, and of LogSoftmax their exp. Else it depends on the loss, by default that of the last
    fit: softmax of the outputs for "cross_entropy" and "kl_divergence", their sigmoid for
    "binary_cross_entropy", which is the probability of yes for each output. `batch_size` and
    `engine` are as for `predict`. Raises ValueError where the outputs stand for no probabilities,
    saying what to do.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(2, weight=[[1.0, -1.0]])], input_shape=1)
    >>> predict_proba(net, np.zeros((1, 1)), loss="cross_entropy")
    array([[0.5, 0.5]], dtype=float32)
    """
    _, activation = output_activation(network.layers)
    to_probabilities = _OF_ACTIVATED.get(activation) or _of_loss(network, loss)
    return np.asarray(to_probabilities(network.predict(x, batch_size, engine=engine)))


def _of_loss(network: Network, loss: LossLike | None) -> Callable[[np.ndarray], Any]:
    """What makes probabilities of outputs that were trained by a loss."""
    given = network.measured.kept("loss") if loss is None else loss
    if given is None:
        raise ValueError(
            "predict_proba does not know the loss before a fit, and the last layer gives no "
            "probabilities: give loss=, a name, or end the network with Softmax or Sigmoid"
        )
    found = get_loss(given)
    if found.contains not in _OF_OUTPUTS:
        last = network.layers[-1].label if network.layers else "none"
        raise ValueError(
            f"the loss {found.name} makes no probabilities of the outputs, and neither does the "
            f"last layer, {last}: use predict, train with cross_entropy or binary_cross_entropy, "
            "or end the network with Softmax or Sigmoid"
        )
    return _OF_OUTPUTS[found.contains]
