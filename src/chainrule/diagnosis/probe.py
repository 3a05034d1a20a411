"""One batch through the network and back, with every value and cotangent on the way.

It is the tape of an ordinary gradient, looked at before it is thrown away: each node has the
primitive, the layer that ran, what went in and what came out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from chainrule.diagnosis.case import Case
from chainrule.scope import NonFiniteError, detect_nonfinite
from chainrule.tape import Node, ancestors, backpropagate
from chainrule.tensor import Tensor, parameter
from chainrule.training.goal import ignore_overflow
from chainrule.training.samples import Batch
from chainrule.training.step import Learned, make_loss

__all__ = ["Probe", "probe"]

_KEEP_THE_RANGE = {"reshape", "transpose", "moveaxis", "squeeze", "positive", "index"}


@final
@dataclass(frozen=True)
class Probe:
    """The loss of a batch, and the nodes it was computed by, in the order of their making.

    `nonfinite` says which primitive made the first value that is not finite, forward or backward,
    and is "" where all are; there are no nodes then.
    """

    loss: float
    outputs: np.ndarray
    nodes: tuple[Node, ...]
    cotangents: dict[Node, np.ndarray]
    names: dict[Node, str]
    parameters: dict[str, np.ndarray]
    last: Node | None
    batch: Batch
    nonfinite: str = ""

    @cached_property
    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient by each parameter; zeros where the loss does not depend on it."""
        return {
            name: np.asarray(self.cotangents.get(leaf, np.zeros(self.parameters[name].shape)))
            for leaf, name in self.names.items()
        }

    @property
    def products(self) -> Iterator[tuple[Node, np.ndarray]]:
        """The products of values with weights: each with what went in beside the weight."""
        for node in self.nodes:
            if node.primitive is None or node.primitive.linear != "each" or not node.layer:
                continue
            if node.primitive.elementwise or node.layer == "loss":
                continue
            of_weights = [i for i, parent in node.parents if self._is_weight(parent)]
            if len(of_weights) == 1:
                other = next((i for i in range(len(node.args)) if i != of_weights[0]), None)
                if other is not None and isinstance(node.args[other], np.ndarray):
                    yield node, node.args[other]

    def _is_weight(self, node: Node) -> bool:
        while node.primitive is not None and node.primitive.is_view and len(node.parents) == 1:
            node = node.parents[0][1]
        return node in self.names

    @property
    def output_function(self) -> Node | None:
        """The node that gave the outputs their values, past what only changes their shape."""
        node = self.last
        while node is not None and node.primitive is not None:
            if node.primitive.name not in _KEEP_THE_RANGE and not node.primitive.is_view:
                return node
            node = node.parents[0][1] if node.parents else None
        return None


def probe(case: Case, learned: Learned, batch: Batch) -> Probe:
    """The loss of a batch with all it came from, as one training step would compute it."""
    network = case.goal.network
    parts = network.parameters.unflatten(learned.flat)
    tensors = {name: parameter(np.array(part)) for name, part in parts.items()}
    names = {t.node: name for name, t in tensors.items() if t.node is not None}
    loss_of = make_loss(network, case.goal.loss)

    def run() -> tuple[Any, Any]:
        value, (outputs, _) = loss_of(tensors, learned.state, batch, case.rng(2))
        return value, outputs

    def gave(outputs: Any, **rest: Any) -> Probe:
        array = outputs.detach() if isinstance(outputs, Tensor) else np.asarray(outputs)
        empty: dict[str, Any] = {"nodes": (), "cotangents": {}, "last": None, "loss": float("nan")}
        always = {"outputs": array, "names": names, "parameters": parts, "batch": batch}
        return Probe(**{**empty, **always, **rest})

    with ignore_overflow():
        try:
            with detect_nonfinite():
                value, outputs = run()
        except NonFiniteError as error:
            return gave(np.zeros((len(batch.x), *network.output_shape)), nonfinite=str(error))
        number = float(value.detach()) if isinstance(value, Tensor) else float(value)
        root = value.node if isinstance(value, Tensor) else None
        if root is None:  # the loss depends on no parameter
            return gave(outputs, loss=number, nonfinite="" if np.isfinite(number) else "the loss")
        nodes = ancestors(root)
        try:
            with detect_nonfinite():
                start = {root: np.ones(value.shape, value.dtype)}
                cotangents = backpropagate(start, nodes)
        except NonFiniteError as error:
            return gave(outputs, nonfinite=str(error))
    last = outputs.node if isinstance(outputs, Tensor) else None
    return gave(outputs, loss=number, nodes=tuple(nodes), cotangents=cotangents, last=last)
