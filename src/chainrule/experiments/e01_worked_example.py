"""E1: the worked example of System A (PyImageSearch, "Backpropagation from scratch with Python").

One forward pass of a 2-2-1 sigmoid network, in numbers: what goes into each unit and what comes
out. The third input is the constant 1 that stands for the bias, and the hidden layer has a third
unit (`bias_trick` says why). The text has lost the minus signs of the weights; these are right. It
cuts figures off after three decimals: rounded, the first would be 0.900 and the output 0.507.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from chainrule import nn
from chainrule.experiments import Row

__all__ = [
    "QUICK",
    "TITLE",
    "cut_off",
    "run",
]

TITLE = "System A: a worked example of the forward pass"
QUICK = True

X = np.array([[0.0, 1.0, 1.0]])
HIDDEN = np.column_stack(  # one column per unit
    [(0.351, 1.076, 1.116), (-0.097, -0.165, 0.542), (0.457, -0.165, -0.331)]
)
OUTPUT = np.array([[0.383], [-0.327], [-0.329]])


def run(output: Path | None) -> list[Row]:
    """Compute the hidden values and the output, and compare the digits that were published."""
    network = nn.Network(
        [
            nn.Dense(3, weight=HIDDEN, use_bias=False),
            nn.Sigmoid(),
            nn.Dense(1, weight=OUTPUT, use_bias=False),
            nn.Sigmoid(),
        ],
        dtype="float64",
    )
    values = network.layer_outputs(X)
    published = {"hidden units": [0.899, 0.593, 0.378], "output": [0.506]}
    measured = {"hidden units": values["sigmoid_1"][0], "output": values["sigmoid_2"][0]}
    return [
        Row("E1", name, figures, measured[name].tolist(), cut_off(measured[name]) == figures)
        for name, figures in published.items()
    ]


def cut_off(values: npt.NDArray[np.float64]) -> list[float]:
    """The values with three decimals, not rounded."""
    return [float(thousandths) / 1000 for thousandths in np.floor(1000 * values)]
