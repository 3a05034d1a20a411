"""Recurrent layers: SimpleRNN, LSTM and GRU, which read a sequence one step after the other.

They take x (N, T, D) and give the last hidden state (N, units), or with `return_sequences=True`
that of every step, (N, T, units). The state before the first step is 0. Each is a cell and a
`chainrule.loop` over it: the source of a compiled training step has a loop there, however long the
sequence is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import final

import numpy as np

from chainrule import primitives
from chainrule.loop import loop
from chainrule.nn.activation import Activation, ArrayFunction, get_activation
from chainrule.nn.initializers import Start, draw
from chainrule.nn.layer import Context, Layer, Shape, call_of, positive_count
from chainrule.primitives.dispatch import Array, named

__all__ = ["GRU", "LSTM", "SimpleRNN"]


State = tuple[Array, ...]
"""What goes from step to step, each (N, units); the hidden state h first."""


class _Recurrent(Layer):
    """What all three do: parameters in parts, one a gate or a candidate, and the way in time."""

    _n_parts: int
    _state_names: tuple[str, ...] = ("h",)

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
        self.units = positive_count(units, type(self).__name__, "units")
        self.return_sequences = return_sequences
        self.weight, self.recurrent_weight, self.bias = weight, recurrent_weight, bias

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2:
            raise ValueError(
                f"{self.label} reads sequences, samples of shape (n_steps, n_features), but got "
                f"samples of shape {input_shape}: reshape them, or put return_sequences=True into "
                "the recurrent layer before"
            )
        return (input_shape[0], self.units) if self.return_sequences else (self.units,)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Weights and bias; a named initializer draws those of each part by itself, since it goes
        by their sizes.
        """
        parameters = {}
        for name, start, shape in (
            ("weight", self.weight, (input_shape[-1], self.units)),
            ("recurrent_weight", self.recurrent_weight, (self.units, self.units)),
            ("bias", self.bias, (self.units,)),
        ):
            full = f"{self.label}.{name}"
            if isinstance(start, str) or callable(start):
                parts = [draw(start, rng, shape, full) for _ in range(self._n_parts)]
                parameters[name] = np.concatenate(parts, axis=-1)
            else:
                shape = (*shape[:-1], self._n_parts * self.units)
                parameters[name] = draw(start, rng, shape, full)
        return parameters

    @abstractmethod
    def cell(self, parameters: Mapping[str, Array], z: Array, state: State) -> State:
        """The state after a step; z is x_t @ weight + bias."""

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        z = _project(x, parameters, self.label)
        start = [np.zeros((x.shape[0], self.units), z.dtype) for _ in self._state_names]
        recurrent = [name for name in parameters if name.startswith("recurrent")]

        def step(state: State, z: State, constants: State) -> tuple[State, State]:
            return self.cell(dict(zip(recurrent, constants, strict=True)), z[0], state), ()

        constants = [parameters[name] for name in recurrent]
        (hidden, *_), _ = loop(step, start, [z], constants, (*self._state_names, "z"))
        return np.swapaxes(hidden[1:], 0, 1) if self.return_sequences else hidden[-1]

    def __repr__(self) -> str:
        return call_of(self, self.units, return_sequences=(self.return_sequences, False))


@final
class SimpleRNN(_Recurrent):
    """h = activation(x_t @ weight + h @ recurrent_weight + bias), step after step.

    x (N, T, D) -> (N, units), or (N, T, units) with `return_sequences`. Parameters: "weight"
    (D, units), "recurrent_weight" (units, units), "bias" (units,). `activation` is a name or a
    function of one array.
    Elman, "Finding structure in time", 1990.

    >>> from chainrule import nn
    >>> nn.Network([nn.SimpleRNN(3)])(np.zeros((2, 5, 4))).shape
    (2, 3)
    """

    _n_parts = 1

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
        super().__init__(
            units, return_sequences=return_sequences, weight=weight,
            recurrent_weight=recurrent_weight, bias=bias, name=name,
        )  # fmt: skip
        self.activation = get_activation(activation)

    @property
    def kind(self) -> str:
        return "simple_rnn"

    def cell(self, parameters: Mapping[str, Array], z: Array, state: State) -> State:
        (h,) = state
        z = z + h @ parameters["recurrent_weight"]
        return (self.activation.forward(z, {}, Context()),)

    def __repr__(self) -> str:
        own = self.activation
        activation = own.function if isinstance(own, Activation) else own.kind
        sequences = (self.return_sequences, False)
        return call_of(
            self, self.units, return_sequences=sequences, activation=(activation, "tanh")
        )


@final
class LSTM(_Recurrent):
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

    _n_parts = 4
    _state_names = ("h", "c")

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        parameters = super().init(input_shape, rng)
        if isinstance(self.bias, str) or callable(self.bias):
            parameters["bias"][self.units : 2 * self.units] += 1
        return parameters

    def cell(self, parameters: Mapping[str, Array], z: Array, state: State) -> State:
        h, c = state
        n = self.units
        z = z + h @ parameters["recurrent_weight"]
        write, keep, new, read = (z[:, start : start + n] for start in range(0, 4 * n, n))
        i, f = named("i", primitives.sigmoid(write)), named("f", primitives.sigmoid(keep))
        g, o = named("g", np.tanh(new)), named("o", primitives.sigmoid(read))
        c = f * c + i * g
        return o * named("tanh_c", np.tanh(c)), c


@final
class GRU(_Recurrent):
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

    _n_parts = 3

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
        super().__init__(
            units, return_sequences=return_sequences, weight=weight,
            recurrent_weight=recurrent_weight, bias=bias, name=name,
        )  # fmt: skip
        self.recurrent_bias = recurrent_bias

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        parameters = super().init(input_shape, rng)
        name = f"{self.label}.recurrent_bias"
        parameters["recurrent_bias"] = draw(self.recurrent_bias, rng, (self.units,), name)
        return parameters

    def cell(self, parameters: Mapping[str, Array], z: Array, state: State) -> State:
        (h,) = state
        n = self.units
        b = h @ parameters["recurrent_weight"]
        gates = named("gates", primitives.sigmoid(z[:, : 2 * n] + b[:, : 2 * n]))
        update, reset = gates[:, :n], gates[:, n:]
        bias = b[:, 2 * n :] + parameters["recurrent_bias"]
        candidate = named("candidate", np.tanh(z[:, 2 * n :] + reset * bias))
        return (candidate + update * (h - candidate),)  # u * h + (1 - u) * candidate


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
