"""What a network computes when it is used, as a graph, and as programs that run it.

A compiled program pays where the engine has a faster form of something in it, of a convolution,
say. What nothing is gained by runs layer by layer as it stands.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, final

import numpy as np

from chainrule import tree
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.choice import Engine, build_program
from chainrule.engines.engine import Program
from chainrule.engines.numpy.program import has_faster_forms
from chainrule.primitives.dispatch import named
from chainrule.training.frozen import Observed, refuse_draws
from chainrule.version import __version__

if TYPE_CHECKING:
    from chainrule.nn.network import Network

__all__ = ["Inference", "inference_graph"]

_KEPT = 4
"""Programs that are kept, for the numbers of rows that were asked for last."""

_ROWS = (1, 16, 128, 1024)
"""Numbers of rows that C programs are made for: compiling takes long, and copying rows does not."""


def inference_graph(network: Network, n_rows: int, *, constants: bool = False) -> Graph:
    """The graph of the outputs (N, ...) of a network for `n_rows` inputs, without training.

    Parameters and state are the state of the graph, in the order of the network's, or with
    `constants` constants of it.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(3), nn.ReLU()], input_shape=2)
    >>> [equation.primitive.name for equation in inference_graph(net, 5).equations]
    ['index', 'reshape', 'index', 'reshape', 'matmul', 'add', 'relu']
    """
    x = Variable((n_rows, *network.input_shape), network.input_dtype, "x")
    names, layout = network.textbook_names().parameters, network.parameters

    def outputs(flat: Any, state: Any, x: Any) -> Any:
        arrays = {name: named(names[name], part) for name, part in layout.unflatten(flat).items()}
        return network.apply(arrays, state, x)[0]

    flat, state = network.parameters.flat, network.state
    if constants:
        return trace(lambda x: outputs(flat, state, x), [x])[0]
    variables = (
        Variable(flat.shape, flat.dtype, "parameters"),
        {name: Variable(array.shape, array.dtype, name) for name, array in state.items()},
    )
    return trace(lambda held, x: (outputs(held[0], held[1], x), held), [x], variables)[0]


@final
class Inference:
    """Runs a network by programs; `is_compiled` says whether these are faster than its layers.

    Those of C are, always; `remark` says why they are not there where the engine is "c". A program
    reads the parameters where they lie, so it goes on being right while they change.
    """

    def __init__(self, network: Network, engine: Engine = "numpy") -> None:
        self._network = network
        self._engine: Engine = engine
        self.remark = ""
        self._programs: OrderedDict[int, Program] = OrderedDict()
        self._as_read = Observed(network.parts)
        self._lock = threading.Lock()  # programs own their buffers: one call at a time
        self.is_compiled = self._gains()

    def _gains(self) -> bool:
        try:
            with refuse_draws("prediction", self._network.parts):
                if self._engine == "c":
                    self._programs[1] = self._build(1)
                    return not self.remark
                return has_faster_forms(inference_graph(self._network, 1))
        except Exception:  # a layer of the user's own may do anything; it runs as it stands
            return False

    def outputs(self, x: np.ndarray) -> np.ndarray:
        """The outputs for these inputs, in an array of the caller's own."""
        with self._lock:
            if not self._as_read.is_as_before() and self._as_read.difference():
                self._programs.clear()
                self._as_read = Observed(self._network.parts)
            if self._engine == "c":
                if len(x) == 1:  # the shortest way: a product of one row needs no limit
                    program = self._programs.get(1) or self._program(1)
                    return program.function(x).copy()  # type: ignore[no-any-return]
                return self._in_parts(x)
            program = self._program(len(x))
            with program.thread_limit():
                (outputs,) = program(x)
                return np.array(outputs)

    def _in_parts(self, x: np.ndarray) -> np.ndarray:
        """The outputs by programs of some numbers of rows, filled up with zeros."""
        n_rows = next((rows for rows in _ROWS if rows >= len(x)), _ROWS[-1])
        program = self._program(n_rows)
        outputs = np.empty((len(x), *self._network.output_shape), self._network.dtype)
        with program.thread_limit():
            for start in range(0, len(x), n_rows):
                part = x[start : start + n_rows]
                filled = part
                if len(part) < n_rows:
                    filled = np.zeros((n_rows, *x.shape[1:]), x.dtype)
                    filled[: len(part)] = part
                outputs[start : start + n_rows] = program.function(filled)[: len(part)]
        return outputs

    def _program(self, n_rows: int) -> Program:
        program = self._programs.get(n_rows) or self._build(n_rows)
        self._programs[n_rows] = program
        self._programs.move_to_end(n_rows)
        if len(self._programs) > _KEPT:
            self._programs.popitem(last=False)
        return program

    def _build(self, n_rows: int) -> Program:
        network = self._network
        title = f"Outputs of {network} for {n_rows} samples, written by chainrule {__version__}."
        labels = Labels("predict", title, "the outputs", network.textbook_names().layers)
        graph = inference_graph(network, n_rows)
        program, self.remark = build_program(graph, labels, self._engine, exact=False)
        program.write_state(tree.flatten((network.parameters.flat, network.state)))
        return program
