"""E10: MNIST shrunk to 14x14 with the toolkit (Kneusel, "Math for Deep Learning", chapter 10).

196-100-50-10, sigmoid after each layer, weights and biases uniform on (-0.5, 0.5); 40 000
mini-batches, each of 64 images drawn at random without regard to earlier ones; mean gradient of
half the squares, learning rate 1. The publication needed 17 minutes on an Intel i5.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chainrule import data, nn, optim, plots
from chainrule.experiments import ENGINE, Row, at_least
from chainrule.experiments.seeds import beside, for_each
from chainrule.training.reports import ClassificationReport, classification_report

__all__ = [
    "QUICK",
    "TITLE",
    "run",
    "train",
]

TITLE = "System D: MNIST 14x14 with the toolkit, 196-100-50-10, from several starts"
QUICK = False

SEEDS = range(3)
BATCH_SIZE = 64
STEPS, PARTS = 40_000, 40  # mini-batches in all, and numbers in the curve of the loss


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Train from three starts and measure the accuracy on the 10 000 test images."""
    mnist = data.load("mnist", shrink=True)
    seeds = SEEDS if seeds is None else seeds
    reports = for_each(seeds, lambda seed: train(mnist, seed))
    if output is not None:
        title = f"E10: MNIST 14x14, accuracy {reports[0].accuracy:.4f}"
        figure = plots.confusion_matrix(reports[0].confusion, mnist.class_names, title=title)
        plots.save(figure, output / "E10_confusion_matrix.png")
        (output / "E10_report.txt").write_text(f"{reports[0]}\n", encoding="utf-8")
    accuracies = [report.accuracy for report in reports]
    holds = at_least(0.9720, np.median(accuracies))
    measured = beside(0.9720, accuracies, known="of 16 starts: percentile 9")
    return [Row("E10", "accuracy on 10 000 test images", 0.9720, measured, holds)]


def train(mnist: data.Dataset, seed: int) -> ClassificationReport:
    """One network, and how it does on the test images."""
    uniform = nn.initializers.uniform(-0.5, 0.5)
    network = nn.Network(seed=seed)
    for units in (100, 50, 10):
        network.add(nn.Dense(units, weight=uniform, bias=uniform))
        network.add(nn.Sigmoid())
    targets = data.one_hot(mnist.y, 10)
    network.fit(
        mnist.x,
        targets,
        loss="squared_error",
        optimizer=optim.SGD(1.0),
        shuffle="replacement",
        steps=STEPS,
        epochs=PARTS,
        batch_size=BATCH_SIZE,
        seed=seed,
        verbose=0,
        engine=ENGINE,
    )
    x_test, y_test = mnist.test
    predicted = network.predict(x_test).argmax(axis=1)
    return classification_report(y_test, predicted, mnist.class_names)
