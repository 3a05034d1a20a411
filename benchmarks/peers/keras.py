"""Keras on JAX: `fit`, and time to 0.990."""

from __future__ import annotations

import os
from collections.abc import Callable

os.environ["KERAS_BACKEND"] = "jax"

import keras
import mnist
from works import TO_0990_EPOCHS, Array, Parameters, Runner, Work, layers

VERSION = keras.__version__


def prepare(threads: int) -> None:
    """Start the backend; the threads are in the environment."""
    keras.ops.zeros(1).block_until_ready()


def network(work: Work, start: Parameters) -> keras.Sequential:
    """The network of a work with its initial parameters."""
    parts = [keras.Input(work.input_shape)]
    pooled = False
    for layer in layers(work, start):
        size, activation = len(layer.bias), layer.activation
        if layer.is_convolution:
            padding = "same" if layer.padding else "valid"
            kernel = layer.weight.shape[:2]
            parts.append(keras.layers.Conv2D(size, kernel, padding=padding, activation=activation))
            parts.append(keras.layers.MaxPooling2D(2))
        else:
            if pooled:
                parts.append(keras.layers.Flatten())
            activation = None if activation == "identity" else activation
            parts.append(keras.layers.Dense(size, activation=activation))
        pooled = layer.is_convolution
    net = keras.Sequential(parts)
    net.set_weights(start)
    return net


def loss_of(work: Work) -> Callable[[Array, Array], Array]:
    """The loss of each sample from targets and outputs."""
    if work.loss == "cross_entropy":
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return lambda y, outputs: 0.5 * keras.ops.sum(keras.ops.square(outputs - y), axis=-1)


def optimizer(work: Work, rate: Array) -> keras.optimizers.Optimizer:
    """The optimizer of a work.

    Adam's epsilon, 1e-8, stands beside the corrected root for all others, but for Keras beside the
    root that is not yet corrected, which is a tenth of it or less in the first ten steps.
    """
    if work.optimizer == "sgd":
        return keras.optimizers.SGD(rate)
    return keras.optimizers.Adam(rate, epsilon=1e-9)


def fit(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """Keras on JAX, inside `fit`: the whole call; one step an execution"""
    return _fit(work, x, y, start, 1)


def fit_in_groups(work: Work, x: Array, y: Array, start: Parameters) -> Runner:
    """Keras on JAX, inside `fit`, 20 steps an execution: the whole call"""
    return _fit(work, x, y, start, 20)


def _fit(work: Work, x: Array, y: Array, start: Parameters, steps: int) -> Runner:
    net = network(work, start)
    net.compile(
        optimizer=optimizer(work, work.learning_rate),
        loss=loss_of(work),
        steps_per_execution=min(steps, work.n_steps),
    )
    how = {"batch_size": work.batch_size, "shuffle": work.data == "mnist", "verbose": 0}

    def run(epochs: int) -> None:
        net.fit(x, y, epochs=epochs, **how)

    return Runner(run, net.get_weights)


def learn(work: Work, start: Parameters, is_enough: Callable[[float], bool]) -> None:
    """Keras on JAX: `fit` with `validation_data`"""
    (x, y), test = mnist.read("train"), mnist.read("test")
    n_steps = TO_0990_EPOCHS * -(-len(x) // work.batch_size)
    net = network(work, start)
    rate = keras.optimizers.schedules.CosineDecay(work.learning_rate, n_steps)
    net.compile(optimizer(work, rate), loss_of(work), metrics=["accuracy"])

    def stop(epoch: int, logs: dict[str, float]) -> None:
        net.stop_training = is_enough(logs["val_accuracy"])

    net.fit(
        x,
        y,
        batch_size=work.batch_size,
        epochs=TO_0990_EPOCHS,
        validation_data=test,
        callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=stop)],
        verbose=0,
    )


SIDES = {"fit": fit, "groups": fit_in_groups, "learn": learn}
