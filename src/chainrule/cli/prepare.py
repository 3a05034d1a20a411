"""A data set made ready for a network, and a network made ready for it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule import nn, optim
from chainrule.cli.console import CommandError
from chainrule.data import Dataset, Standardizer, one_hot, split
from chainrule.engines.choice import Engine
from chainrule.training.reports import (
    ClassificationReport,
    RegressionReport,
    classification_report,
    regression_report,
)

__all__ = ["PreparedData", "Setup", "make_network", "make_optimizer", "prepare"]

Array = npt.NDArray[Any]

_TEST_SHARE = 0.25
_FEWEST_TO_SPLIT = (
    20  # below that many samples a test part would say nothing, and all are trained on
)


@dataclass(frozen=True)
class Setup:
    """How a network is made and trained.

    `layers` is None for a model that has its own, `learning_rate` for the optimizer's own, and
    `schedule` for a minimizer, which has none. `engine` is the one asked for.
    """

    model: str
    layers: tuple[int, ...] | None
    activation: str
    loss: str
    optimizer: str
    learning_rate: float | None
    schedule: str | None
    epochs: int
    batch_size: int
    seed: int
    dtype: str
    engine: Engine


@dataclass(frozen=True)
class PreparedData:
    """Training and test samples in their own units, and how they are scaled for the network.

    `features` is None for images, whose pixels are scaled already; `values` scales the targets of
    a regression. Without a test part (`has_test` false) the test samples are the training samples.
    With `as_images` the network takes images with one channel, (N, height, width, 1), else rows.
    """

    dataset: Dataset
    x: Array
    y: Array
    x_test: Array
    y_test: Array
    has_test: bool
    features: Standardizer | None
    values: Standardizer | None
    loss: str
    as_images: bool

    @property
    def n_outputs(self) -> int:
        """One output per class; one for a regression, and for the two classes of the hinge loss."""
        if self.values is not None or self.loss == "hinge":
            return 1
        return len(self.dataset.class_names)

    def inputs(self, x: Array) -> Array:
        """Samples as the network takes them."""
        if self.as_images:
            return self.dataset.images(x)[..., None]
        return x if self.features is None else self.features.transform(x)

    def targets(self, y: Array) -> Array:
        """Labels or values as the loss takes them."""
        if self.values is not None:
            return self.values.transform(y.reshape(-1, 1))
        if self.loss in ("cross_entropy", "hinge"):
            return y
        return one_hot(y, self.n_outputs)

    def decide(self, outputs: Array) -> Array:
        """The network's outputs as classes, or as values in their own unit; (n_samples,)."""
        if self.values is not None:
            return self.values.inverse(outputs).reshape(-1)
        if self.n_outputs == 1:
            return (outputs.reshape(-1) > 0).astype(np.int64)
        return np.asarray(outputs.argmax(axis=1))

    def predict(self, network: nn.Network, x: Array) -> Array:
        """Classes or values (n_samples,) of samples in their own units."""
        return self.decide(network.predict(self.inputs(x)))

    def report(self, y: Array, predicted: Array) -> ClassificationReport | RegressionReport:
        """How good predictions are."""
        if self.values is not None:
            return regression_report(y, predicted)
        return classification_report(y, predicted, self.dataset.class_names)


def prepare(dataset: Dataset, setup: Setup) -> PreparedData:
    """Split a data set for a network, and measure on its training part how to scale it.

    The test part is the data set's own, or a quarter drawn at random with the shares of the
    classes kept.
    """
    x, y, x_test, y_test = dataset.x, dataset.y, dataset.x_test, dataset.y_test
    has_test = x_test is not None or len(x) >= _FEWEST_TO_SPLIT
    is_regression = dataset.kind == "regression"
    if x_test is None or y_test is None:
        x_test, y_test = x, y
        if has_test:
            x, x_test, y, y_test = split(
                x, y, _TEST_SHARE, seed=setup.seed, stratify=not is_regression
            )
    return PreparedData(
        dataset,
        x,
        y,
        x_test,
        y_test,
        has_test,
        features=None if dataset.image_shape else Standardizer.fit(x),
        values=Standardizer.fit(y.reshape(-1, 1)) if is_regression else None,
        loss=setup.loss,
        as_images=setup.model != "dense",
    )


def make_network(prepared: PreparedData, setup: Setup) -> nn.Network:
    """The network of a setup; raises CommandError for images that are too small for the model."""
    if setup.layers is not None:
        layers = nn.models.dense(prepared.n_outputs, setup.layers, setup.activation)
    else:
        layers = nn.models.MODELS[setup.model](prepared.n_outputs, setup.activation)
    input_shape = prepared.inputs(prepared.x[:1]).shape[1:]
    try:
        return nn.Network(layers, input_shape=input_shape, dtype=setup.dtype, seed=setup.seed)
    except ValueError as error:
        if not prepared.as_images:
            raise
        height, width, _ = input_shape
        raise CommandError(
            f"{setup.model} cannot take images of {height}x{width}, as {prepared.dataset.name} has "
            "them: take larger ones, or --model dense",
            status=2,
        ) from error


def make_optimizer(setup: Setup, n_samples: int) -> optim.Optimizer | optim.Minimizer:
    """The optimizer of the setup, its schedule laid out for so many training samples.

    SciPy's minimizers make one iteration an epoch.
    """
    optimizer = optim.get_optimizer(setup.optimizer)
    if isinstance(optimizer, optim.Minimizer):
        return optimizer
    rate = optimizer.learning_rate_at(1) if setup.learning_rate is None else setup.learning_rate
    if setup.schedule == "constant":
        return dataclasses.replace(optimizer, learning_rate=rate)
    steps = setup.epochs * math.ceil(n_samples / setup.batch_size)
    return dataclasses.replace(optimizer, learning_rate=optim.CosineDecay(rate, steps=steps))
