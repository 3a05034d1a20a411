"""Recurrent layers: SimpleRNN, LSTM and GRU, which read a sequence one step after the other.

They take x (N, T, D) and give the last hidden state (N, units), or with `return_sequences=True`
that of every step, (N, T, units). The state before the first step is 0. They are compositions that
are written out step by step: a compiled training step grows with the length of the sequence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import numpy.typing as npt

from chainrule import primitives
from chainrule.nn.activation import ArrayFunction, get_activation
from chainrule.nn.embedding import positive_count
from chainrule.nn.initializers import Initializer, draw
from chainrule.nn.layer import Context, Layer, Shape
from chainrule.primitives.dispatch import Array

__all__ = ["GRU", "LSTM", "SimpleRNN"]

Start = str | Initializer | npt.ArrayLike


@final
class SimpleRNN(Layer):
    """h = activation(x_t @ weight + h @ recurrent_weight + bias), step after step.

    x (N, T, D) -> (N, units), or (N, T, units) with `return_sequences`. Parameters: "weight"
    (D, units), "recurrent_weight" (units, units), "bias" (units,). `activation` is a name or a
    function of one array.
    Elman, "Finding structure in time", 1990.

    >>> from chainrule import nn
    >>> nn.Network([nn.SimpleRNN(3)])(np.zeros((2, 5, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        activation: str | ArrayFunction = "tanh",
        weight: Start = "glorot_uniform",
        recurrent_weight: Start = "orthogonal",
        bias: Start = "zeros",
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.units = positive_count(units, "SimpleRNN", "units")
        self.return_sequences = return_sequences
        self.activation = get_activation(activation)
        self.weight, self.recurrent_weight, self.bias = weight, recurrent_weight, bias

    @property
    def kind(self) -> str:
        return "simple_rnn"

    def output_shape(self, input_shape: Shape) -> Shape:
        return _output_shape(self.units, self.return_sequences, input_shape, self.label)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        starts = (self.weight, self.recurrent_weight, self.bias)
        return _init(starts, input_shape[-1], self.units, 1, rng, self.label)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        inputs = _steps(_project(x, parameters, self.label))
        h = self.activation.forward(inputs[0], {}, context)
        states = [h]
        for z in inputs[1:]:
            h = self.activation.forward(z + h @ parameters["recurrent_weight"], {}, context)
            states.append(h)
        return np.stack(states, axis=1) if self.return_sequences else h

    def __repr__(self) -> str:
        return _representation("SimpleRNN", self.units, self.return_sequences)


@final
class LSTM(Layer):
    """Long short-term memory: a cell c that gates write to, keep, and read from.

    With z = x_t @ weight + h @ recurrent_weight + bias, its columns in four parts i, f, g and o:
    c = sigmoid(f) * c + sigmoid(i) * tanh(g) and h = sigmoid(o) * tanh(c).
    x (N, T, D) -> (N, units), or (N, T, units) with `return_sequences`. Parameters: "weight"
    (D, 4 * units), "recurrent_weight" (units, 4 * units), "bias" (4 * units,), whose part f starts
    at 1 more than `bias` says (Jozefowicz, Zaremba and Sutskever, 2015, section 2.2), unless an
    array is given.
    Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers, Schmidhuber and Cummins,
    "Learning to forget", 2000, for f.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.LSTM(3, return_sequences=True), nn.LSTM(2)], input_shape=(5, 4))
    >>> net.output_shape
    (2,)
    """

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        weight: Start = "glorot_uniform",
        recurrent_weight: Start = "orthogonal",
        bias: Start = "zeros",
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.units = positive_count(units, "LSTM", "units")
        self.return_sequences = return_sequences
        self.weight, self.recurrent_weight, self.bias = weight, recurrent_weight, bias

    def output_shape(self, input_shape: Shape) -> Shape:
        return _output_shape(self.units, self.return_sequences, input_shape, self.label)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        starts = (self.weight, self.recurrent_weight, self.bias)
        parameters = _init(starts, input_shape[-1], self.units, 4, rng, self.label)
        if isinstance(self.bias, str) or callable(self.bias):
            parameters["bias"][self.units : 2 * self.units] += 1
        return parameters

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        n, states = self.units, []
        h = c = None
        for z in _steps(_project(x, parameters, self.label)):
            if h is not None:
                z = z + h @ parameters["recurrent_weight"]
            write, keep, new, read = (z[:, start : start + n] for start in range(0, 4 * n, n))
            written = primitives.sigmoid(write) * np.tanh(new)
            c = written if c is None else primitives.sigmoid(keep) * c + written
            h = primitives.sigmoid(read) * np.tanh(c)
            states.append(h)
        return np.stack(states, axis=1) if self.return_sequences else h

    def __repr__(self) -> str:
        return _representation("LSTM", self.units, self.return_sequences)


@final
class GRU(Layer):
    """Gated recurrent unit: one state, moved towards a candidate as far as a gate lets it.

    With a = x_t @ weight + bias and b = h @ recurrent_weight, the columns of both in three parts
    u, r and n: the new state is u * h + (1 - u) * candidate, u = sigmoid(a_u + b_u), the candidate
    tanh(a_n + r * (b_n + recurrent_bias)), r = sigmoid(a_r + b_r).
    x (N, T, D) -> (N, units), or (N, T, units) with `return_sequences`. Parameters: "weight"
    (D, 3 * units), "recurrent_weight" (units, 3 * units), "bias" (3 * units,), "recurrent_bias"
    (units,). The gate r is applied after the product, as cuDNN, PyTorch and Keras do.
    Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014, section 2.3.

    >>> from chainrule import nn
    >>> nn.Network([nn.GRU(3)])(np.zeros((2, 5, 4))).shape
    (2, 3)
    """

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        weight: Start = "glorot_uniform",
        recurrent_weight: Start = "orthogonal",
        bias: Start = "zeros",
        recurrent_bias: Start = "zeros",
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.units = positive_count(units, "GRU", "units")
        self.return_sequences = return_sequences
        self.weight, self.recurrent_weight, self.bias = weight, recurrent_weight, bias
        self.recurrent_bias = recurrent_bias

    def output_shape(self, input_shape: Shape) -> Shape:
        return _output_shape(self.units, self.return_sequences, input_shape, self.label)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        starts = (self.weight, self.recurrent_weight, self.bias)
        parameters = _init(starts, input_shape[-1], self.units, 3, rng, self.label)
        name = f"{self.label}.recurrent_bias"
        parameters["recurrent_bias"] = draw(self.recurrent_bias, rng, (self.units,), name)
        return parameters

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        n, states = self.units, []
        h = None
        for a in _steps(_project(x, parameters, self.label)):
            gates, candidate, bias = a[:, : 2 * n], a[:, 2 * n :], parameters["recurrent_bias"]
            if h is not None:
                b = h @ parameters["recurrent_weight"]
                gates, bias = gates + b[:, : 2 * n], b[:, 2 * n :] + bias
            gates = primitives.sigmoid(gates)
            update, reset = gates[:, :n], gates[:, n:]
            candidate = np.tanh(candidate + reset * bias)
            # u * h + (1 - u) * candidate, with h = 0 before the first step
            h = candidate + update * ((-candidate) if h is None else h - candidate)
            states.append(h)
        return np.stack(states, axis=1) if self.return_sequences else h

    def __repr__(self) -> str:
        return _representation("GRU", self.units, self.return_sequences)


def _output_shape(units: int, return_sequences: bool, input_shape: Shape, label: str) -> Shape:
    if len(input_shape) != 2:
        raise ValueError(
            f"{label} reads sequences, samples of shape (n_steps, n_features), but got samples of "
            f"shape {input_shape}: reshape them, or put return_sequences=True into the recurrent "
            "layer before"
        )
    return (input_shape[0], units) if return_sequences else (units,)


def _init(
    starts: tuple[Start, Start, Start],
    n_features: int,
    units: int,
    n_parts: int,
    rng: np.random.Generator,
    label: str,
) -> dict[str, np.ndarray]:
    """Weights and bias of a layer with several parts: gates and candidates.

    A named initializer draws the weights of each part by itself, since it goes by their sizes.
    """
    parameters = {}
    sizes = {"weight": (n_features, units), "recurrent_weight": (units, units), "bias": (units,)}
    for start, (name, shape) in zip(starts, sizes.items(), strict=True):
        full = f"{label}.{name}"
        if isinstance(start, str) or callable(start):
            parts = [draw(start, rng, shape, full) for _ in range(n_parts)]
            parameters[name] = np.concatenate(parts, axis=-1)
        else:
            parameters[name] = draw(start, rng, (*shape[:-1], n_parts * units), full)
    return parameters


def _project(x: Array, parameters: Mapping[str, Array], label: str) -> Array:
    """x_t @ weight + bias of all steps in one product, the steps first: (T, N, columns)."""
    weight = parameters["weight"]
    if x.ndim != 3 or x.shape[-1] != weight.shape[0]:
        raise ValueError(
            f"{label} was built for sequences of {weight.shape[0]} features but got {x.shape}: "
            f"give (n_samples, n_steps, {weight.shape[0]})"
        )
    n_samples, n_steps, n_features = x.shape
    rows = np.reshape(np.swapaxes(x, 0, 1), (n_steps * n_samples, n_features))
    z = rows @ weight + parameters["bias"]
    return np.reshape(z, (n_steps, n_samples, weight.shape[1]))


def _steps(z: Array) -> list[Array]:
    """The parts of z (T, ...) along the first axis.

    Halved again and again, so that the cotangents are put together in log2(T) additions of arrays
    of the full size, and not in T of them.
    """
    if z.shape[0] == 1:
        return [z[0]]
    middle = z.shape[0] // 2
    return _steps(z[:middle]) + _steps(z[middle:])


def _representation(kind: str, units: int, return_sequences: bool) -> str:
    return f"{kind}({units}{', return_sequences=True' if return_sequences else ''})"
