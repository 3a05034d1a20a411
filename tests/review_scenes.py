"""How each of the hand-written programs in `review_cases/` is handed to `check_backprop`."""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path

import numpy as np

from chainrule.review import check_backprop

CASES = Path(__file__).parent / "review_cases"
_numbers = itertools.count()


def load(path):
    """Run a file as a new module."""
    path = Path(path) if Path(path).is_absolute() else CASES / path
    spec = importlib.util.spec_from_file_location(f"reviewed_{next(_numbers)}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def one_hot(n, k, seed=0):
    return np.eye(k)[np.random.default_rng(seed).integers(0, k, n)]


def parameters():
    return {
        "W1": numbers(3, 5, seed=1),
        "b1": numbers(5, seed=2),
        "W2": numbers(5, 4, seed=3),
        "b2": numbers(4, seed=4),
        "W3": numbers(4, 3, seed=5),
        "b3": numbers(3, seed=6),
    }


def bias_trick(m):
    net = m.NeuralNetwork([2, 3, 3, 2])
    return check_backprop(net, np.append(numbers(2), 1.0), np.array([0.0, 1.0]))


def columns(m):
    return check_backprop(m.Network([3, 4, 4, 2]), numbers(3, 1), np.array([[1.0], [0.0]]))


def columns_batch(m):
    net = m.Network([3, 4, 2])
    batch = [(numbers(3, 1, seed=i), one_hot(1, 2, seed=i).T) for i in range(4)]
    return check_backprop(net.update_mini_batch, batch, 0.5)


def dense_layers(m):
    net = m.Network()
    for layer in (
        m.Dense(3, 4, 1),
        m.Activation(m.tanh, m.tanh_prime),
        m.Dense(4, 2, 2),
        m.Activation(m.tanh, m.tanh_prime),
    ):
        net.add(layer)
    net.use(m.mse, m.mse_prime)
    return check_backprop(net, numbers(1, 5, 3), numbers(1, 5, 2, seed=1))


def layer_list(m):
    layers = [
        m.Dense(3, 6, 1),
        m.Activation(m.tanh, m.tanh_prime),
        m.Dropout(0.4),
        m.Dense(6, 2, 2),
    ]
    return check_backprop(
        layers, numbers(5, 3), numbers(5, 2, seed=1), loss=m.mse, loss_gradient=m.mse_prime
    )


def softmax_layers(m):
    layers = [m.Dense(3, 4, 1), m.Softmax()]
    return check_backprop(
        layers, numbers(5, 3), numbers(5, 4, seed=1), loss=m.mse, loss_gradient=m.mse_prime
    )


def convolution(m):
    return check_backprop([m.Convolution(3)], numbers(6, 6))


def convolution_stack(m):
    return check_backprop([m.Convolution(3, 1), m.MaxPool()], numbers(6, 6))


def pooling(m):
    return check_backprop([m.MaxPool()], numbers(6, 6))


def matrices(m):
    theta = numbers(4 * 4 + 3 * 5) * 0.5
    return check_backprop(m.backprop, theta, 3, 4, 3, numbers(5, 3), one_hot(5, 3), 1.0)


def numeric(m):
    y = np.array([0.0, 1.0, 1.0, 0.0, 1.0, 0.0])
    return check_backprop(m.numerical_gradient, numbers(3), numbers(6, 3, seed=1), y)


def functions(m):
    labels = np.array([0, 2, 1, 1, 0, 2, 1])
    return check_backprop(m.forward, m.backward, parameters(), numbers(7, 3), labels, lam=0.1)


def stateful(m):
    return check_backprop(m.MLP(3, 4, 2), numbers(6, 3), numbers(6, 2, seed=1))


def train(m):
    y = np.random.default_rng(0).random((6, 2))
    return check_backprop(
        m.train, numbers(6, 3), y, numbers(3, 4, seed=1), numbers(4, 2, seed=2), 1
    )


SCENES = {
    "bias trick": ("bias_trick.py", bias_trick),
    "columns": ("columns.py", columns),
    "columns, a batch": ("columns.py", columns_batch),
    "layers": ("layers.py", dense_layers),
    "layers, a list": ("layers.py", layer_list),
    "layers, softmax": ("layers.py", softmax_layers),
    "layers, convolution": ("layers.py", convolution),
    "layers, convolution and pooling": ("layers.py", convolution_stack),
    "layers, pooling": ("layers.py", pooling),
    "matrices": ("exercise4.py", matrices),
    "numerical": ("exercise4.py", numeric),
    "functions": ("functions.py", functions),
    "stateful": ("stateful.py", stateful),
    "training function": ("stateful.py", train),
}
