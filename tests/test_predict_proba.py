"""`predict_proba`: what the outputs mean, by the last layer and by the loss."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from chainrule import nn, primitives
from chainrule.nn import losses

X = np.random.default_rng(0).normal(size=(700, 3))
LABELS = (X[:, 0] > 0).astype(int)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def fitted(units, loss, y, *layers):
    net = nn.Network([nn.Dense(units), *layers], dtype="float64", seed=0)
    net.fit(X, y, loss=loss, epochs=1, seed=0, verbose=0)
    return net


@pytest.mark.parametrize("engine", ["numpy", "c"])
def test_by_the_loss_of_the_last_fit(engine):
    net = fitted(4, "cross_entropy", LABELS)
    found = net.predict_proba(X, engine=engine)
    np.testing.assert_allclose(found, softmax(net.predict(X)), rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_array_equal(net.predict_proba(X, batch_size=7), net.predict_proba(X))
    net = fitted(1, losses.binary_cross_entropy, LABELS)
    np.testing.assert_allclose(net.predict_proba(X), sigmoid(net.predict(X)), rtol=1e-12)
    net = fitted(2, "kl_divergence", np.full((700, 2), 0.5))
    np.testing.assert_allclose(net.predict_proba(X), softmax(net.predict(X)), rtol=1e-12)


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([nn.Sigmoid()], "squared_error"),
        ([nn.Softmax()], "mean_squared_error"),
        ([nn.Stack([nn.Tanh(), nn.Softmax()]), nn.Dropout(0.1), nn.Flatten()], "squared_error"),
        ([nn.Activation(primitives.sigmoid), nn.Identity()], "huber"),
    ],
)
def test_a_last_layer_that_gives_probabilities_is_taken_as_it_is(layers, loss):
    net = fitted(2, loss, np.eye(2)[LABELS], *layers)
    np.testing.assert_array_equal(net.predict_proba(X), net.predict(X))


def test_the_last_layer_is_enough_before_a_fit():
    net = nn.Network([nn.Dense(2), nn.Softmax()], seed=0)
    np.testing.assert_array_equal(net.predict_proba(X), net(X))
    net = nn.Network([nn.Dense(2), nn.LogSoftmax()], dtype="float64", seed=0)
    np.testing.assert_allclose(net.predict_proba(X), softmax(net(X)), rtol=1e-12)
    net.fit(X, np.eye(2)[LABELS], loss="kl_divergence", verbose=0)
    np.testing.assert_allclose(net.predict_proba(X), softmax(net(X)), rtol=1e-12)


def test_the_loss_can_be_given():
    net = nn.Network([nn.Dense(2)], dtype="float64", seed=0)
    np.testing.assert_allclose(
        net.predict_proba(X, loss="binary_cross_entropy"), sigmoid(net.predict(X)), rtol=1e-12
    )


def own_loss(outputs, targets):
    return np.mean((outputs - targets) ** 2)


@pytest.mark.parametrize("loss", ["squared_error", "hinge", own_loss])
def test_outputs_that_stand_for_no_probabilities(loss):
    name = loss if isinstance(loss, str) else "own_loss"
    net = fitted(2, loss, np.eye(2)[LABELS], nn.Tanh())
    with pytest.raises(ValueError, match=f"the loss {name} makes no .* last layer, tanh_1: use"):
        net.predict_proba(X)


def test_what_is_not_known():
    net = nn.Network([nn.Dense(2)], input_shape=3)
    with pytest.raises(ValueError, match="does not know the loss before a fit"):
        net.predict_proba(X)
    net.fit(X, np.eye(2)[LABELS], loss=own_loss, verbose=0)
    with pytest.raises(ValueError, match="the loss of the last fit was own_loss"):
        pickle.loads(pickle.dumps(net)).predict_proba(X)


def test_large_outputs_do_not_overflow():
    net = nn.Network([nn.Dense(2, weight=[[1e4, -1e4]])], input_shape=1, dtype="float64")
    found = net.predict_proba([[1.0], [-1.0]], loss="cross_entropy")
    np.testing.assert_array_equal(found, [[1, 0], [0, 1]])
    found = net.predict_proba([[1.0], [-1.0]], loss="binary_cross_entropy")
    np.testing.assert_array_equal(found, [[1, 0], [0, 1]])
