"""E8: System C's network with a convolution in front: 784 as 28×28, 3×3, 676-100-10 (Omar Aflak).

The first 1000 training images of MNIST, one update per sample in file order, learning rate 0.1,
tanh after each layer, mean squared error; weights and biases from uniform(-0.5, 0.5). No figure was
published, so ours stand alone: the error must fall, and half of the networks read most images. From
these starts the tanh units are saturated. In about one network of six an output is driven to +1
and stays there, where tanh is flat: it is the largest for every image, so that the network gives
one digit for all. Which networks these are is chance, for what rounds otherwise in the last digit
has another path after 50 steps.

The publication's convolution layer adds its bias once for each channel of its input, and multiplies
the bias's gradient by the number of channels of its *output*. With as many of one as of the other
the two cancel; otherwise the gradient is wrong by a factor, which `check_gradient` finds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import check_gradient, data, nn, optim, plots
from chainrule.experiments import ENGINE, Row
from chainrule.experiments.seeds import for_each, spread
from chainrule.primitives import convolve, convolve_kernel_vjp

__all__ = ["QUICK", "TITLE", "check_published_gradient", "run"]

TITLE = "System C: 1000 images of MNIST, a 3×3 convolution, 676-100-10, tanh, from many starts"
QUICK = False

SEEDS = range(30)
SHOWN = 5  # curves in the picture
EPOCHS = 30
DEPTHS = [(1, 1), (2, 2), (1, 3), (3, 2)]  # channels in, channels out


def run(output: Path | None, seeds: Sequence[int] | None = None) -> list[Row]:
    """Train one network per seed; then check the published gradients for several depths."""
    mnist = data.load("mnist")
    x, y = mnist.x[:1000].reshape(-1, 28, 28, 1), data.one_hot(mnist.y[:1000], 10)
    x_test, y_test = mnist.test

    def train(seed: int) -> tuple[list[float], float, int]:
        network = _network(seed)
        history = network.fit(
            x,
            y,
            loss="mean_squared_error",
            optimizer=optim.SGD(0.1),
            epochs=EPOCHS,
            batch_size=1,
            shuffle=False,
            verbose=0,
            engine=ENGINE,
        )
        found = network.predict(x_test.reshape(-1, 28, 28, 1)).argmax(axis=1)
        return history["loss"], float(np.mean(found == y_test)), len(np.unique(found))

    seeds = SEEDS if seeds is None else seeds
    curves, accuracies, n_digits = zip(*for_each(seeds, train), strict=True)
    if output is not None:
        figure = plots.loss_curve(
            {
                f"seed {seed}": curve
                for seed, curve in list(zip(seeds, curves, strict=True))[:SHOWN]
            },
            title="E8: MNIST, 3×3 convolution, 676-100-10, tanh",
        )
        plots.save(figure, output / "E8_loss.png")
    first, last = ([curve[epoch] for curve in curves] for epoch in (0, -1))
    falls = bool(np.all(np.array(last) < 0.5 * np.array(first)))
    quantity = f"error in epoch {EPOCHS} (at most half of that)"
    learned = bool(np.median(accuracies) > 0.5)
    return [
        Row("E8", "error in epoch 1", None, spread(first), True),
        Row("E8", quantity, None, spread(last), falls),
        Row("E8", "accuracy on the test images", None, spread(accuracies), learned),
        Row(
            "E8",
            "networks that give one digit for every image: an output stays at +1",
            None,
            f"{n_digits.count(1)} of {len(seeds)} seeds",
            n_digits.count(1) < len(seeds) / 2,
        ),
        *(check_published_gradient(*depths) for depths in DEPTHS),
    ]


def _network(seed: int) -> nn.Network:
    uniform = nn.initializers.uniform(-0.5, 0.5)
    network = nn.Network(seed=seed)
    network.add(nn.Conv2D(1, 3, weight=uniform, bias=uniform))
    network.add(nn.Tanh())
    network.add(nn.Flatten())
    for units in (100, 10):
        network.add(nn.Dense(units, weight=uniform, bias=uniform))
        network.add(nn.Tanh())
    return network


def check_published_gradient(n_in: int, n_out: int) -> Row:
    """Whether the checker accepts the published gradient just where the two depths are equal."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 6, 6, n_in))

    def published_loss(kernel: Any, bias: Any) -> Any:
        z = convolve(x, kernel) + n_in * bias  # the bias is added in the loop over channels
        return 0.5 * np.sum(z**2)

    def published_gradient(kernel: Any, bias: Any) -> tuple[Any, Any]:
        g = convolve(x, kernel) + n_in * bias
        return convolve_kernel_vjp(x, g, size=(3, 3)), n_out * np.sum(g, axis=(0, 1, 2))

    point = (rng.uniform(-0.5, 0.5, (3, 3, n_in, n_out)), rng.uniform(-0.5, 0.5, n_out))
    report = check_gradient(published_loss, published_gradient, point, raises=False)
    measured = "right" if report.ok else report.reasons[0]
    is_told = report.ok or ("by bias" in measured and f"{n_out / n_in:.6g} times" in measured)
    return Row(
        "E8",
        f"the published gradient, channels in and out: {n_in}, {n_out}",
        None,
        measured,
        is_told and report.ok == (n_in == n_out),
    )
