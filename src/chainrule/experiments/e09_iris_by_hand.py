"""E9: iris with derivatives worked out by hand (Kneusel, "Math for Deep Learning", chapter 10).

Two inputs, two sigmoid units, one linear output and the loss ½ (a2 - y)². The book derives the nine
partial derivatives on paper and trains with them; here they stand beside those of `cr.grad`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule import plots
from chainrule.experiments import ENGINE, Row
from chainrule.experiments.iris_pair import load_iris_pair
from chainrule.primitives import sigmoid
from chainrule.primitives.dispatch import Array
from chainrule.training.reports import classification_report

__all__ = [
    "QUICK",
    "TITLE",
    "by_hand",
    "confusion",
    "difference",
    "loss",
    "outputs",
    "run",
    "start",
    "step",
]

TITLE = "System D: iris, nine partial derivatives by hand, from 10 starts"
QUICK = True

SEEDS = range(30)
BEFORE, AFTER = [15, 0, 15, 0], [14, 1, 1, 14]  # TN, FP, FN, TP

Net = Mapping[str, Array]


def outputs(net: Net, x: Array) -> tuple[Array, Array, Array]:
    """The hidden units a0 and a1 and the output a2, (n_samples,) each."""
    a0 = sigmoid(net["w0"] * x[:, 0] + net["w2"] * x[:, 1] + net["b0"])
    a1 = sigmoid(net["w1"] * x[:, 0] + net["w3"] * x[:, 1] + net["b1"])
    return a0, a1, net["w4"] * a0 + net["w5"] * a1 + net["b2"]


def loss(net: Net, x: Array, y: Array) -> Array:
    """½ (a2 - y)², mean over the samples."""
    *_, a2 = outputs(net, x)
    return np.mean(0.5 * (a2 - y) ** 2)


def by_hand(net: Net, x: Array, y: Array) -> dict[str, Array]:
    """The book's nine derivatives of the loss, each the mean over the samples."""
    a0, a1, a2 = outputs(net, x)
    x0, x1 = x[:, 0], x[:, 1]
    of_samples = {
        "b2": a2 - y,
        "w4": (a2 - y) * a0,
        "w5": (a2 - y) * a1,
        "b0": (a2 - y) * net["w4"] * a0 * (1 - a0),
        "w0": (a2 - y) * net["w4"] * a0 * (1 - a0) * x0,
        "w2": (a2 - y) * net["w4"] * a0 * (1 - a0) * x1,
        "b1": (a2 - y) * net["w5"] * a1 * (1 - a1),
        "w1": (a2 - y) * net["w5"] * a1 * (1 - a1) * x0,
        "w3": (a2 - y) * net["w5"] * a1 * (1 - a1) * x1,
    }
    return {name: np.mean(values) for name, values in of_samples.items()}


def start(seed: int) -> dict[str, Array]:
    """Weights uniform(-0.5, 0.5) * 1e-4, biases 0."""
    rng = np.random.default_rng(seed)
    weights = {f"w{i}": np.asarray(1e-4 * rng.uniform(-0.5, 0.5)) for i in range(6)}
    return {**weights, **{f"b{i}": np.zeros(()) for i in range(3)}}


@partial(cr.compile, engine=ENGINE)
def step(net: Net, x: Array, y: Array) -> dict[str, Array]:
    """One update with the gradient over all samples, learning rate 0.1."""
    gradient = cr.grad(loss)(net, x, y)
    return {name: value - 0.1 * gradient[name] for name, value in net.items()}


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Compare the derivatives before and after training, and both confusion matrices."""
    iris = load_iris_pair()
    x, y = iris.x_train, iris.y_train.astype(np.float64)

    differences, before, after = [], [], []
    for seed in SEEDS if seeds is None else seeds:
        net = start(seed)
        before.append(confusion(net, iris.x_test, iris.y_test))
        differences.append(difference(net, x, y))
        for _ in range(1000):
            net = step(net, x, y)
        differences.append(difference(net, x, y))
        after.append(confusion(net, iris.x_test, iris.y_test))

    if output is not None:
        figure = plots.decision_regions(
            lambda points: outputs(net, points)[2],
            iris.x_test,
            iris.y_test,
            class_names=iris.class_names,
            feature_names=iris.feature_names,
            threshold=0.5,
            title="E9: iris by hand, 30 test samples",
        )
        plots.save(figure, output / "E9_regions.png")
    worst = max(differences)
    return [
        Row(
            "E9",
            "nine derivatives by hand against ours, largest relative difference",
            None,
            worst,
            worst < 1e-12,
        ),
        _confusion_row("TN, FP, FN, TP before training", BEFORE, before),
        _confusion_row("TN, FP, FN, TP after 1000 epochs", AFTER, after),
    ]


def difference(net: Net, x: Array, y: Array) -> float:
    """The largest relative difference of a derivative, ours against the one by hand."""
    ours, book = cr.grad(loss)(net, x, y), by_hand(net, x, y)
    return max(float(abs(ours[name] - book[name]) / abs(book[name])) for name in book)


def confusion(net: Net, x: Array, y: Array) -> list[int]:
    """TN, FP, FN and TP at the threshold 0.5."""
    predicted = (outputs(net, x)[2] > 0.5).astype(np.int64)
    report = classification_report(y, predicted, ["0", "1"])
    return [int(count) for count in report.confusion.ravel()]


def _confusion_row(quantity: str, published: list[int], found: list[list[int]]) -> Row:
    n_equal = found.count(published)
    measured = f"{', '.join(map(str, found[0]))} for seed 0; {n_equal} of {len(found)} seeds agree"
    return Row("E9", quantity, published, measured, n_equal > len(found) / 2)
