"""E3: XOR with System A's 2-1 network: without a hidden layer it cannot be learned (PyImageSearch).

The loss has one lowest point, which every start reaches: near 0.5 for all four inputs, and off it
by what the last samples of an epoch pull. That makes even the digits of the outputs certain.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule import data, plots
from chainrule.experiments import ENGINE, Row, exact
from chainrule.experiments.bias_trick import outputs, starts, summed_loss, train, with_ones

__all__ = ["QUICK", "TITLE", "run"]

TITLE = "System A: XOR without a hidden layer, 2-1, from many starts"
QUICK = False

SEEDS = range(100)
EPOCHS = 20_000
PUBLISHED_OUTPUTS = [0.5161, 0.5000, 0.4839, 0.4678]


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Train a network from each start, and see that all of them end at the same useless outputs."""
    seeds = SEEDS if seeds is None else seeds
    xor = data.load("xor")
    x, y = with_ones(xor.x), xor.y[:, None].astype(np.float64)

    weights, curves = starts([2, 1], seeds), np.empty((EPOCHS, len(seeds)))
    losses_of = cr.compile(summed_loss, engine=ENGINE)
    for epoch, trained in enumerate(train(weights, x, y, learning_rate=0.5, epochs=EPOCHS)):
        curves[epoch] = losses_of(trained, x, y)

    found = outputs(trained, x)[..., 0]  # (n_seeds, 4)
    apart = float(np.ptp(found, axis=0).max())
    n_right = int(np.sum(np.all((found > 0.5) == xor.y, axis=1)))
    if output is not None:
        low, middle, high = np.quantile(curves, [0.05, 0.5, 0.95], axis=1)
        figure = plots.loss_curve(
            {"median": middle, "5 %": low, "95 %": high},
            title=f"E3: XOR, 2-1, loss of {len(seeds)} seeds",
        )
        plots.save(figure, output / "E3_loss.png")
    everywhere = np.broadcast_to(PUBLISHED_OUTPUTS, found.shape)
    return [
        Row(
            "E3",
            f"outputs after epoch 20 000, each of {len(seeds)} seeds",
            PUBLISHED_OUTPUTS,
            found[0].tolist(),
            exact(everywhere, found, digits=4),
        ),
        Row(
            "E3",
            "starts that solve it",
            "none can",
            f"{n_right} of {len(seeds)} seeds; their outputs differ by at most {apart:.1g}",
            n_right == 0,
        ),
    ]
