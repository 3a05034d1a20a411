"""E11: iris with the toolkit of Kneusel, "Math for Deep Learning", chapter 10.

E9's data, now with a network of layers: 2-2-2, sigmoid between, linear outputs, one-hot targets,
weights and biases from uniform(-0.5, 0.5), 4000 steps over all 70 samples at learning rate 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chainrule import data, nn, optim, plots
from chainrule.experiments import ENGINE, Row
from chainrule.experiments.iris_pair import load_iris_pair
from chainrule.experiments.seeds import for_each

__all__ = ["QUICK", "TITLE", "run"]

TITLE = "System D: iris with layers, 2-2-2, 4000 steps from many starts"
QUICK = True

SEEDS = range(30)
PUBLISHED = [14, 15]


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Train one network per seed, and count the test samples of each class that are right."""
    iris = load_iris_pair()

    def train(seed: int) -> tuple[nn.Network, list[int]]:
        uniform = nn.initializers.uniform(-0.5, 0.5)
        network = nn.Network(
            [
                nn.Dense(2, weight=uniform, bias=uniform),
                nn.Sigmoid(),
                nn.Dense(2, weight=uniform, bias=uniform),
            ],
            seed=seed,
        )
        network.fit(
            iris.x_train,
            data.one_hot(iris.y_train, 2),
            loss="squared_error",
            optimizer=optim.SGD(0.1),
            epochs=4000,
            batch_size=None,
            shuffle=False,
            verbose=0,
            engine=ENGINE,
        )
        right = network.predict(iris.x_test).argmax(axis=1) == iris.y_test
        return network, [int(np.sum(right[iris.y_test == c])) for c in (0, 1)]

    networks, found = zip(*for_each(SEEDS if seeds is None else seeds, train), strict=True)
    if output is not None:
        figure = plots.decision_regions(
            networks[-1].predict,
            iris.x_test,
            iris.y_test,
            class_names=iris.class_names,
            feature_names=iris.feature_names,
            title="E11: iris, 2-2-2, 30 test samples",
        )
        plots.save(figure, output / "E11_regions.png")
    n_equal = found.count(PUBLISHED)
    measured = f"{found[0][0]}, {found[0][1]} for seed 0; {n_equal} of {len(found)} seeds agree"
    name = "right of 15 test samples of each class"
    return [Row("E11", name, PUBLISHED, measured, n_equal > len(found) / 2)]
