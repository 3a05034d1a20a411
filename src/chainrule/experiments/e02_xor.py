"""E2: XOR with System A's 2-2-1 network, sigmoid, one update per sample (PyImageSearch).

A hidden layer learns what a straight line cannot, from most starts: some stall where two of the
four outputs stay near 0.5. All seeds are trained at once, as one array with an axis of seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule import data, plots
from chainrule.experiments import ENGINE, Row
from chainrule.experiments.bias_trick import diagram, outputs, starts, summed_loss, train, with_ones
from chainrule.experiments.seeds import beside, fits

__all__ = ["QUICK", "TITLE", "run"]

TITLE = "System A: XOR, 2-2-1, 20 000 epochs from many starts"
QUICK = False

SEEDS = range(100)
EPOCHS = 20_000
PUBLISHED_OUTPUTS = [0.0054, 0.9894, 0.9876, 0.0140]


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Train a network from each start and see how many learn XOR; where they do, how far."""
    seeds = SEEDS if seeds is None else seeds
    xor = data.load("xor")
    x, y = with_ones(xor.x), xor.y[:, None].astype(np.float64)

    weights, curves = starts([2, 2, 1], seeds), np.empty((EPOCHS, len(seeds)))
    losses_of = cr.compile(summed_loss, engine=ENGINE)
    for epoch, trained in enumerate(train(weights, x, y, learning_rate=0.5, epochs=EPOCHS)):
        curves[epoch] = losses_of(trained, x, y)

    found = outputs(trained, x)[..., 0]  # (n_seeds, 4)
    solved = np.all(np.abs(found - xor.y) < 0.1, axis=1)
    found, last = found[solved], curves[-1, solved]
    medians = [round(float(m), 4) for m in np.median(found, axis=0)]
    if output is not None:
        low, middle, high = np.quantile(curves, [0.05, 0.5, 0.95], axis=1)
        figure = plots.loss_curve(
            {"median": middle, "5 %": low, "95 %": high},
            published={1: 0.5092796, EPOCHS: 0.0002452},
            title=f"E2: XOR, 2-2-1, loss of {len(seeds)} seeds",
        )
        plots.save(figure, output / "E2_loss.png")
        if solved.any():
            first = int(solved.argmax())
            weights_of_first = [weight[first] for weight in trained]
            title = f"E2: XOR, 2-2-1 with the bias trick, seed {first} after training"
            diagram(weights_of_first, ["x1", "x2"], title).save(output / "E2_network.svg")
    return [
        Row(
            "E2",
            "loss after epoch 1",
            0.5092796,
            beside(0.5092796, curves[0]),
            fits(0.5092796, curves[0]),
        ),
        Row(
            "E2",
            "starts that solve it (every output within 0.1)",
            None,
            f"{solved.sum()} of {len(seeds)} seeds",
            bool(solved.mean() > 0.5),
        ),
        Row(
            "E2",
            "loss after epoch 20 000, where solved",
            0.0002452,
            beside(0.0002452, last),
            fits(0.0002452, last, logarithmic=True),
        ),
        Row(
            "E2",
            "outputs after epoch 20 000, where solved (medians)",
            PUBLISHED_OUTPUTS,
            medians,
            fits(PUBLISHED_OUTPUTS, found),
        ),
    ]
