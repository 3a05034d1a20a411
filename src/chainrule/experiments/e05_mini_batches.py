"""E5: System B (Towards Data Science): gradients of single examples, summed over a mini-batch.

`Network([784, 30, 10])`, sigmoid, standard normal starts. Backpropagation gives the gradients of
one example, a mini-batch sums them and takes one step: that the sum is what our batched pass gives
is checked in float64. No figure was published for its 800 updates; the same network on all of MNIST
reaches 0.95 within 30 epochs at learning rate 3.0 and batches of 10, divided by the batch (Nielsen,
"Neural Networks and Deep Learning", chapter 1, whose best epoch is counted; he trains on 50 000).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule import data, nn, optim, plots
from chainrule.experiments import ENGINE, Row, at_least
from chainrule.experiments.seeds import beside, for_each
from chainrule.primitives.dispatch import Array
from chainrule.training.history import History

__all__ = [
    "QUICK",
    "TITLE",
    "new_network",
    "run",
    "sum_against_batch",
    "train",
]

TITLE = "System B: MNIST in mini-batches, 784-30-10, 30 epochs from several starts"
QUICK = False

SEEDS = range(3)


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Check the sum over a mini-batch, take the publication's 800 updates, train on all."""
    mnist = data.load("mnist")
    y = data.one_hot(mnist.y, 10)
    x_test, y_test = mnist.test
    test = x_test, data.one_hot(y_test, 10)

    # 40 mini-batches of 10 images, 20 epochs: 800 updates
    few = new_network(seed=0)
    history = train(few, mnist.x[:400], y[:400], epochs=20, test=test, seed=0)
    first, last = history["loss"][0], history["loss"][-1]
    rows = [
        Row(
            "E5",
            "one mini-batch against the sum of its examples, largest difference of gradients",
            None,
            difference := sum_against_batch(mnist.x[:10], y[:10]),
            difference < 1e-12,
        ),
        Row(
            "E5",
            "loss over 800 updates (40 mini-batches of 10 images, 20 epochs)",
            None,
            f"{first:.3g} to {last:.3g}",
            40 * history.epochs == 800 and last < first,
        ),
    ]

    def train_on_all(seed: int) -> History:
        return train(new_network(seed), mnist.x, y, epochs=30, test=test, seed=seed)

    histories = for_each(SEEDS if seeds is None else seeds, train_on_all)
    best = [max(history["val_accuracy"]) for history in histories]
    if output is not None:
        figure = plots.learning_curves(
            histories[0], validation_label="test", title="E5: MNIST, 784-30-10, batches of 10"
        )
        plots.save(figure, output / "E5_curves.png")
    name = "accuracy on 10 000 test images, best of 30 epochs"
    holds = at_least(0.95, np.median(best))
    return [*rows, Row("E5", name, 0.95, beside(0.95, best, decimals=2), holds)]


def new_network(seed: int, dtype: str = "float32") -> nn.Network:
    """784-30-10, sigmoid, weights and biases standard normal."""
    normal = nn.initializers.normal(std=1.0)
    return nn.Network(
        [
            nn.Dense(30, weight=normal, bias=normal),
            nn.Sigmoid(),
            nn.Dense(10, weight=normal, bias=normal),
            nn.Sigmoid(),
        ],
        input_shape=784,
        dtype=dtype,
        seed=seed,
    )


def train(
    network: nn.Network, x: Array, y: Array, *, epochs: int, test: tuple[Array, Array], seed: int
) -> History:
    """Mini-batches of 10 in a new random order each epoch, learning rate 3.0."""
    return network.fit(
        x,
        y,
        loss="squared_error",
        optimizer=optim.SGD(3.0),
        epochs=epochs,
        batch_size=10,
        validation_data=test,
        metrics="accuracy",
        seed=seed,
        verbose=0,
        engine=ENGINE,
    )


def sum_against_batch(x: Array, y: Array) -> float:
    """The gradients of a batch against those of its examples, one by one, summed."""
    network = new_network(seed=0, dtype="float64")
    x, y = x.astype(np.float64), y.astype(np.float64)

    def loss(parameters: dict[str, Array], x: Array, y: Array) -> Array:
        return np.sum(nn.losses.squared_error(network.forward(parameters, x), y))

    backpropagate = cr.grad(loss)
    parameters = dict(network.parameters)
    of_batch = backpropagate(parameters, x, y)
    of_examples = [backpropagate(parameters, x[i : i + 1], y[i : i + 1]) for i in range(len(x))]
    return max(
        float(np.abs(of_batch[name] - sum(one[name] for one in of_examples)).max())
        for name in parameters
    )
