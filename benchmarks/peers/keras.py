"""Keras on JAX: `fit`."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from works import Array, Parameters, Runner, Work

VERSION = keras.__version__


def prepare(threads: int) -> None:
    """Start the backend; the threads are in the environment."""
    keras.ops.zeros(1).block_until_ready()


def fit(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """Keras on JAX, inside `fit`: the whole call; one step an execution"""
    return _fit(work, x, y, start, 1)


def fit_in_groups(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """Keras on JAX, inside `fit`, 20 steps an execution: the whole call"""
    return _fit(work, x, y, start, 20)


def _fit(work: Work, x: Array, y: Array, start: Parameters, steps: int) -> Runner:
    layers = [keras.Input((work.sizes[0],))]
    for size, activation in zip(work.sizes[1:], work.activations, strict=True):
        layers.append(keras.layers.Dense(size, activation=activation))
    net = keras.Sequential(layers)
    net.set_weights(start)
    net.compile(
        optimizer=keras.optimizers.SGD(work.learning_rate),
        loss=lambda y, outputs: 0.5 * keras.ops.sum(keras.ops.square(outputs - y), axis=-1),
        steps_per_execution=min(steps, work.n_steps),
    )

    def run(epochs: int) -> None:
        net.fit(x, y, batch_size=work.batch_size, epochs=epochs, shuffle=False, verbose=0)

    return Runner(run, net.get_weights)


SIDES = {"fit": fit, "groups": fit_in_groups}
