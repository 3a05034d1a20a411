"""E10: MNIST shrunk to 14x14 with the toolkit (Kneusel, "Math for Deep Learning", chapter 10).

196-100-50-10, sigmoid after each layer, weights and biases uniform on (-0.5, 0.5); 40 000
mini-batches, each of 64 images drawn at random without regard to earlier ones; mean gradient of
half the squares, learning rate 1. The publication needed 17 minutes on an Intel i5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule import data, nn, optim, plots
from chainrule.experiments import ENGINE, Row, at_least
from chainrule.experiments.seeds import spread
from chainrule.training.reports import ClassificationReport, classification_report

__all__ = [
    "QUICK",
    "TITLE",
    "run",
    "train",
]

TITLE = "System D: MNIST 14x14 with the toolkit, 196-100-50-10, from 3 starts"
QUICK = False

SEEDS = range(3)
BATCH_SIZE = 64
BATCHES, AT_ONCE = 40_000, 2_000  # images for so many mini-batches are drawn at a time


def run(output: Path | None) -> list[Row]:
    """Train from three starts and measure the accuracy on the 10 000 test images."""
    mnist = data.load("mnist", shrink=True)
    reports = [train(mnist, seed) for seed in SEEDS]
    if output is not None:
        title = f"E10: MNIST 14x14, accuracy {reports[0].accuracy:.4f}"
        figure = plots.confusion_matrix(reports[0].confusion, mnist.class_names, title=title)
        plots.save(figure, output / "E10_confusion_matrix.png")
        (output / "E10_report.txt").write_text(f"{reports[0]}\n", encoding="utf-8")
    accuracies = [report.accuracy for report in reports]
    holds = at_least(0.9720, np.median(accuracies))
    return [Row("E10", "accuracy on 10 000 test images", 0.9720, spread(accuracies), holds)]


def train(mnist: data.Dataset, seed: int) -> ClassificationReport:
    """One network, and how it does on the test images."""
    uniform = nn.initializers.uniform(-0.5, 0.5)
    network = nn.Network(seed=seed)
    for units in (100, 50, 10):
        network.add(nn.Dense(units, weight=uniform, bias=uniform))
        network.add(nn.Sigmoid())
    targets = data.one_hot(mnist.y, 10)
    rng = np.random.default_rng(seed)
    for _ in range(BATCHES // AT_ONCE):
        batches = [rng.choice(len(targets), BATCH_SIZE, replace=False) for _ in range(AT_ONCE)]
        drawn = np.concatenate(batches)
        network.fit(
            mnist.x[drawn],
            targets[drawn],
            loss="squared_error",
            optimizer=optim.SGD(1.0),
            epochs=1,
            batch_size=BATCH_SIZE,
            shuffle=False,
            verbose=0,
            engine=ENGINE,
        )
    x_test, y_test = mnist.test
    predicted = network.predict(x_test).argmax(axis=1)
    return classification_report(y_test, predicted, mnist.class_names)
