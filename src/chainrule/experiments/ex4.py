"""What the experiments on exercise 4 of Ng's course (System E) share: its network and its cost."""

from __future__ import annotations

from typing import Any

from chainrule import data, nn

__all__ = ["N_SAMPLES", "given_network", "network", "samples"]

N_SAMPLES = 5000


def samples() -> tuple[Any, Any]:
    """The digits x (5000, 400) and their labels, one-hot."""
    digits = data.load("ex4")
    return digits.x, data.one_hot(digits.y, 10)


def network(**given: Any) -> nn.Network:
    """400-25-10 with a sigmoid between; the last one is in the loss, binary cross-entropy."""
    return nn.Network(
        [
            nn.Dense(25, weight=given.get("w1", "glorot_uniform"), bias=given.get("b1", "zeros")),
            nn.Sigmoid(),
            nn.Dense(10, weight=given.get("w2", "glorot_uniform"), bias=given.get("b2", "zeros")),
        ],
        input_shape=400,
        dtype="float64",
        seed=given.get("seed"),
    )


def given_network() -> nn.Network:
    """The network of the given weights; in each Theta the bias is the first column."""
    theta1, theta2 = data.ex4_weights()
    return network(w1=theta1[:, 1:].T, b1=theta1[:, 0], w2=theta2[:, 1:].T, b2=theta2[:, 0])
