"""E13: the cost of exercise 4 with the given weights (System E, Ng's machine-learning course).

Cross-entropy summed over the ten outputs, mean over 5000 digits, plus lambda / (2 m) times the
squares of all weights but the biases; the slope of the sigmoid at 0; the accuracy. Our loss takes
the last layer's values before their sigmoid, and `nn.L2(lambda / m)` leaves the biases out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import chainrule as cr
from chainrule import data, nn
from chainrule.data.storage import find_local
from chainrule.experiments import Row, exact
from chainrule.experiments.ex4 import N_SAMPLES, given_network, samples
from chainrule.primitives import sigmoid

__all__ = [
    "QUICK",
    "TITLE",
    "compare_with_mnist",
    "run",
]

TITLE = "System E: the regularised cost of the given weights"
QUICK = True

# All that float64 has; the last digit may differ with the order of summation.
DIGITS = 15
PUBLISHED = {0: 0.2876291651613189, 1: 0.38376985909092365}


def run(output: Path | None) -> list[Row]:
    """Evaluate the cost without and with the penalty, and what else the exercise computes."""
    x, y = samples()
    network = given_network()
    rows = []
    for strength, published in PUBLISHED.items():
        measured = network.evaluate(
            x,
            y,
            loss="binary_cross_entropy",
            penalty=nn.L2(strength / N_SAMPLES),
            metrics=(),
            batch_size=N_SAMPLES,
        )["loss"]
        holds = exact(published, measured, DIGITS)
        rows.append(Row("E13", f"cost, lambda = {strength}", published, measured, holds))
    slope = float(cr.grad(sigmoid)(np.array(0.0)))
    rows.append(Row("E13", "sigmoid gradient at 0", 0.25, slope, slope == 0.25))
    accuracy = float(np.mean(network.predict(x).argmax(axis=1) == y.argmax(axis=1)))
    holds = exact(0.9752, accuracy, digits=4)
    rows.append(Row("E13", "accuracy of the given weights", 0.9752, accuracy, holds))
    return [*rows, compare_with_mnist(x)]


def compare_with_mnist(x: npt.NDArray[np.float64]) -> Row:
    """The digits of the course's file against those made anew from MNIST; both must be there."""
    name = "digits made from MNIST against the course's, largest difference"
    if find_local("ex4", "ex4data1.mat") is None:
        return Row("E13", name, "< 1e-14", "not run: there is no ex4data1.mat", None)
    try:
        made, _ = data.rebuild_ex4_from_mnist()
    except data.DataNotFoundError as missing:
        return Row("E13", name, "< 1e-14", f"not run: {missing}", None)
    difference = float(np.abs(made - x).max())
    return Row("E13", name, "< 1e-14", difference, difference < 1e-14)
