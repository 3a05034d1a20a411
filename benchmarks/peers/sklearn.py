"""scikit-learn: `partial_fit` of an epoch."""

from __future__ import annotations

import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor
from works import Array, Parameters, Runner, Work

VERSION = sklearn.__version__

# Its sigmoid outputs go with this loss and no other; the step is one product shorter.
DIFFERS = {"e10": {"loss": "binary_cross_entropy"}}


def prepare(threads: int) -> None:
    """Nothing: the threads are in the environment."""


def epoch(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """scikit-learn: `MLPClassifier.partial_fit` of a whole epoch; with binary cross-entropy"""
    net = MLPClassifier(
        hidden_layer_sizes=work.sizes[1:-1],
        activation={"sigmoid": "logistic"}.get(work.activation, work.activation),
        solver=work.optimizer,
        alpha=0.0,
        momentum=0.0,
        epsilon=3e-10,  # of Adam; it stands beside the root that is not yet corrected
        batch_size=work.batch_size,
        learning_rate_init=work.learning_rate,
        shuffle=False,
    )
    # The first call makes the parameters and the optimizer that refers to them.
    net.partial_fit(x[: work.batch_size], y[: work.batch_size], classes=range(work.sizes[-1]))
    _set(net, start)
    if work.optimizer == "adam":
        rule = net._optimizer
        rule.t = 0
        for array in (*rule.ms, *rule.vs):
            array.fill(0)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            net.partial_fit(x, y)

    return Runner(run, lambda: _get(net))


def predict(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """scikit-learn: `MLPRegressor.predict`"""
    net = MLPRegressor(hidden_layer_sizes=work.sizes[1:-1], activation="relu")
    net.partial_fit(x, y)
    _set(net, start)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            net.predict(x)

    return Runner(run, lambda: [net.predict(x)])


def _get(net: MLPClassifier | MLPRegressor) -> list[Array]:
    pairs = zip(net.coefs_, net.intercepts_, strict=True)
    return [array for pair in pairs for array in pair]


def _set(net: MLPClassifier | MLPRegressor, start: Parameters) -> None:
    for own, array in zip(_get(net), start, strict=True):
        own[...] = array


SIDES = {"epoch": epoch, "predict": predict}
