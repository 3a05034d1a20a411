"""E6: XOR with System C's library of layers: 2-3-1, tanh after both layers (Omar Aflak).

Mean squared error, learning rate 0.1, one update per sample in file order, 1000 epochs; weights and
biases start uniform between -0.5 and 0.5. The error of an epoch is the mean over its samples, each
before its own update, which is what `fit` records too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule import data, nn, optim, plots
from chainrule.experiments import ENGINE, Row
from chainrule.experiments.seeds import beside, fits, for_each

__all__ = ["QUICK", "TITLE", "run"]

TITLE = "System C: XOR, 2-3-1, tanh, 1000 epochs from many starts"
QUICK = True

Array: TypeAlias = npt.NDArray[np.float32]

SEEDS = range(30)
PUBLISHED_OUTPUTS = [0.00077435, 0.97760742, 0.97847793, -0.00131305]


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Train one network per seed; compare the errors of the first and last epoch, and outputs."""
    xor = data.load("xor")

    def train(seed: int) -> tuple[list[float], Array]:
        uniform = nn.initializers.uniform(-0.5, 0.5)
        network = nn.Network(seed=seed)
        network.add(nn.Dense(3, weight=uniform, bias=uniform))
        network.add(nn.Tanh())
        network.add(nn.Dense(1, weight=uniform, bias=uniform))
        network.add(nn.Tanh())
        history = network.fit(
            xor.x,
            xor.y,
            loss="mean_squared_error",
            optimizer=optim.SGD(0.1),
            epochs=1000,
            batch_size=1,
            shuffle=False,
            verbose=0,
            engine=ENGINE,
        )
        return history["loss"], network.predict(xor.x).ravel()

    seeds = SEEDS if seeds is None else seeds
    curves, found = zip(*for_each(seeds, train), strict=True)
    if output is not None:
        figure = plots.loss_curve(
            {f"seed {seed}": curve for seed, curve in zip(seeds, curves, strict=True)},
            published={1: 0.322980, 1000: 0.000242},
            title="E6: XOR, 2-3-1, tanh",
        )
        plots.save(figure, output / "E6_loss.png")
    first = [curve[0] for curve in curves]
    outputs = np.array(found)  # (n_seeds, 4)
    solved = np.all(np.abs(outputs - xor.y) < 0.1, axis=1)
    last = [curve[-1] for curve, is_solved in zip(curves, solved, strict=True) if is_solved]
    medians = [round(float(m), 5) for m in np.median(outputs[solved], axis=0)]
    return [
        Row("E6", "error in epoch 1", 0.322980, beside(0.322980, first), fits(0.322980, first)),
        Row(
            "E6",
            "starts that solve it (every output within 0.1)",
            None,
            f"{solved.sum()} of {len(seeds)} seeds",
            bool(solved.mean() > 0.5),
        ),
        Row(
            "E6",
            "error in epoch 1000, where solved",
            0.000242,
            beside(0.000242, last),
            fits(0.000242, last, logarithmic=True),
        ),
        Row(
            "E6",
            "outputs after epoch 1000, where solved (medians)",
            PUBLISHED_OUTPUTS,
            medians,
            fits(PUBLISHED_OUTPUTS, outputs[solved]),
        ),
    ]
