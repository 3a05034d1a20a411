"""The training step of a network, compiled: the pure function of `step.py` as NumPy source.

One program per batch size; all of them work in place on the same parameters, slots and state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, final

import numpy as np

from chainrule import tree
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.program import NumPyProgram as Program
from chainrule.engines.numpy.program import build
from chainrule.nn.network import Network
from chainrule.optim import Optimizer
from chainrule.primitives.dispatch import Array
from chainrule.training.step import Arrays, Penalty, make_step
from chainrule.version import __version__

__all__ = ["CompiledStep", "network_labels", "parameter_symbols"]


@final
class CompiledStep:
    """A training step that runs as source; it takes and returns what `train_step` does.

    The arrays it returns are its own and change at the next call: `flat`, `slots` and `state` are
    updated in place. Arrays that are not its own are copied in first, so it can be handed other
    parameters at any time. Raises `TracedValueError` or `NotEmittableError` at the first call
    where the network or the loss cannot be compiled.
    """

    def __init__(
        self,
        network: Network,
        loss: Callable[[Array, Array], Array],
        optimizer: Optimizer,
        penalties: tuple[Penalty, ...] = (),
    ) -> None:
        names = parameter_symbols(network)
        self._train_step = make_step(network, loss, optimizer, penalties, names)
        self._network = network
        self._summary = f"{_name_of(loss)}, {optimizer!r}"
        rule = (type(optimizer).__doc__ or "").split("\n")[0]
        self._docs = {type(optimizer).__name__.lower(): rule}
        flat = network.parameters.flat
        self._flat = flat.copy()
        self._slots = {name: np.array(slot) for name, slot in optimizer.init(flat).items()}
        self._state = {name: array.copy() for name, array in network.state.items()}
        self._programs: dict[int, Program] = {}  # by batch size
        self._takes_step = self._takes_rng = False  # whether the source uses them

    def __call__(
        self,
        flat: Array,
        slots: Arrays,
        state: Arrays,
        x: Array,
        y: Array,
        weight: Array | None,
        learning_rate: float,
        step: int,
        rng: Any = None,
    ) -> tuple[Any, Array, Array, Arrays, Arrays]:
        if flat is not self._flat:
            np.copyto(self._flat, flat)
            _copy_into(self._state, state)
        if slots is not self._slots:
            _copy_into(self._slots, slots)
        program = self._programs.get(len(x))
        if program is None:
            program = self._build(x, y, weight)
        more: tuple[Any, ...] = (step,) if self._takes_step else ()
        if self._takes_rng:
            more += (rng,)
        if weight is None:
            loss, outputs = program.function(x, y, learning_rate, *more)
        else:
            loss, outputs = program.function(x, y, weight, learning_rate, *more)
        return loss, outputs, self._flat, self._slots, self._state

    @property
    def source(self) -> str:
        """The step as a Python file of its own, for the batch size compiled first."""
        return self._first().source

    @property
    def graph(self) -> Graph:
        """The step as equations, for the batch size compiled first."""
        return self._first().graph

    def compile_for(self, x: Array, y: Array, weight: Array | None = None) -> None:
        """Make the program for batches of these shapes and dtypes, where there is none yet."""
        if len(x) not in self._programs:
            self._build(x, y, weight)

    def _first(self) -> Program:
        if not self._programs:
            raise ValueError("the step has not been compiled: train the network first, with fit")
        return next(iter(self._programs.values()))

    def _build(self, x: Array, y: Array, weight: Array | None) -> Program:
        """Trace and print the step for one batch size, and bind it to our arrays."""
        state = {"parameters": self._flat, "slots": self._slots, "state": self._state}
        variables = {
            "parameters": Variable(self._flat.shape, self._flat.dtype, "parameters"),
            "slots": _variables(self._slots),
            "state": _variables(self._state),
        }
        inputs = [Variable(x.shape, x.dtype, "x"), Variable(y.shape, y.dtype, "y")]
        if weight is not None:
            inputs.append(Variable(weight.shape, weight.dtype, "weight"))
        numbers = [
            Variable.number(float, "learning_rate"),
            Variable.number(int, "step"),
            Variable.generator("rng"),
        ]

        def one_step(state: Any, *arrays: Any) -> Any:
            *batch, learning_rate, step, rng = arrays
            x, y, weight = (*batch, None)[:3]
            loss, outputs, flat, slots, new_state = self._train_step(
                state["parameters"], state["slots"], state["state"], x, y, weight,
                learning_rate, step, rng,
            )  # fmt: skip
            return (loss, outputs), {"parameters": flat, "slots": slots, "state": new_state}

        graph, _ = trace(one_step, [*inputs, *numbers], variables)
        counts = graph.use_counts()
        rate, step_number, generator = numbers
        self._takes_step, self._takes_rng = counts[step_number] > 0, counts[generator] > 0
        used = [v for v in (step_number, generator) if counts[v]]
        graph = replace(graph, inputs=(*inputs, rate, *used))
        labels = network_labels(self._network, self._title(len(x)), self._docs)
        program = build(graph, labels, exact=False)
        program.write_state(tree.flatten(state))
        self._programs[len(x)] = program
        return program

    def _title(self, batch_size: int) -> str:
        numpy_version = np.__version__.split(".")[0]
        network = self._network
        return (
            f"Training step of {network}: batch {batch_size}, {network.dtype}, {self._summary}.\n\n"
            f"Written by chainrule {__version__} for NumPy {numpy_version}. Regenerate: "
            "net.step.source.\nRun this file for one step on random data.\n"
        )


_LETTERS = {"weight": "W", "bias": "b", "recurrent_weight": "U"}


def parameter_symbols(network: Network) -> dict[str, str]:
    """What a textbook calls the parameters: W1 and b1 for those of the first layer that has any."""
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name in network.parameters))
    symbols = {}
    for name in network.parameters:
        owner, _, short = name.rpartition(".")
        symbols[name] = f"{_LETTERS.get(short, f'{short}_')}{owners.index(owner) + 1}"
    return symbols


def network_labels(network: Network, title: str, docs: dict[str, str]) -> Labels:
    """The names a textbook gives the values of a network: z1 and a1 for its first layer.

    A layer with parameters begins a number, and the activation after it belongs to that number.
    Of a layer made of others, each with parameters begins a number, and the result has its name.
    """
    layers = {"loss": "loss"}
    number, shape = 0, network.input_shape
    owners = dict.fromkeys(name.rpartition(".")[0] for name in network.parameters)
    for layer in network.layers:
        before, shape = shape, layer.output_shape(shape)
        own = [name for name in owners if f"{name}.".startswith(f"{layer.name}.")]
        if own and own != [layer.name]:
            layers[layer.name] = layer.name
        for name in own:
            number += 1
            layers[name] = f"z{number}"
        if not own:
            layers[layer.name] = f"a{number}" if number and shape == before else layer.name
    return Labels(
        "train_step",
        title,
        "updates the parameters in place, returns the loss and the outputs before the update",
        layers,
        {"learning_rate": "0.01", "step": "1", "rng": "np.random.default_rng(1)"},
        docs,
    )


def _name_of(loss: Callable[..., Any]) -> str:
    return getattr(loss, "__name__", type(loss).__name__).replace("_", " ")


def _variables(arrays: Arrays) -> dict[str, Variable]:
    return {name: Variable(a.shape, a.dtype, name) for name, a in arrays.items()}


def _copy_into(own: dict[str, Any], arrays: Arrays) -> None:
    for name, array in arrays.items():
        np.copyto(own[name], array)
