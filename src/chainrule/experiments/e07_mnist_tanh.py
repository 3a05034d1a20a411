"""E7: MNIST with System C's library of layers: 784-100-50-10, tanh after each (Omar Aflak).

The first 1000 training images, one update per sample in file order, learning rate 0.1, mean squared
error over the ten outputs, weights and biases from uniform(-0.5, 0.5). Mind that the publication's
derivative of the mean squared error is that of the mean, factor 2/10 and all; ours follows from it.
The publication's network reads the first three test images as 7, 2, 1. The second is a hard one: of
networks trained on 1000 images little less than half read it so, and others see a 5 or a 6.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from chainrule import data, nn, optim, plots
from chainrule.experiments import ENGINE, Row
from chainrule.experiments.seeds import beside, fits, for_each

__all__ = ["QUICK", "TITLE", "run"]

TITLE = "System C: 1000 images of MNIST, 784-100-50-10, tanh, 30 epochs from many starts"
QUICK = False

SEEDS = range(30)
SHOWN = 5  # curves in the picture
PUBLISHED_ERRORS = {1: 0.238658, 2: 0.093187, 3: 0.073039, 28: 0.011636, 29: 0.011306, 30: 0.010901}
PUBLISHED_DIGITS = [7, 2, 1]


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Train one network per seed; compare the errors of six epochs and three test images."""
    mnist = data.load("mnist")
    x, y = mnist.x[:1000], data.one_hot(mnist.y[:1000], 10)
    x_test, _ = mnist.test

    def train(seed: int) -> tuple[list[float], list[int]]:
        uniform = nn.initializers.uniform(-0.5, 0.5)
        network = nn.Network(seed=seed)
        for units in (100, 50, 10):
            network.add(nn.Dense(units, weight=uniform, bias=uniform))
            network.add(nn.Tanh())
        history = network.fit(
            x,
            y,
            loss="mean_squared_error",
            optimizer=optim.SGD(0.1),
            epochs=30,
            batch_size=1,
            shuffle=False,
            verbose=0,
            engine=ENGINE,
        )
        return history["loss"], network.predict(x_test[:3]).argmax(axis=1).tolist()

    seeds = SEEDS if seeds is None else seeds
    curves, found = zip(*for_each(seeds, train), strict=True)
    if output is not None:
        figure = plots.loss_curve(
            {
                f"seed {seed}": curve
                for seed, curve in list(zip(seeds, curves, strict=True))[:SHOWN]
            },
            published=PUBLISHED_ERRORS,
            title="E7: MNIST, 784-100-50-10, tanh",
        )
        plots.save(figure, output / "E7_loss.png")
    rows = []
    for epoch, published in PUBLISHED_ERRORS.items():
        errors = [curve[epoch - 1] for curve in curves]
        holds = fits(published, errors, logarithmic=True)
        rows.append(
            Row("E7", f"error in epoch {epoch}", published, beside(published, errors), holds)
        )
    n_right = found.count(PUBLISHED_DIGITS)
    measured = f"7, 2, 1 by {n_right} of {len(seeds)} seeds"
    holds = n_right >= len(seeds) / 4  # often enough for one run to show it
    return [*rows, Row("E7", "the first three test images", PUBLISHED_DIGITS, measured, holds)]
