"""An array that computes and writes down what it does: the compiler's graph, with the values.

Where the compiler's arrays have a shape and no value, these have one. So a function may decide by
it, and whatever eager code can do can be seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import numpy as np

from chainrule.compiler.graph import Atom, Graph, Variable
from chainrule.compiler.recording import Recording, variable_of
from chainrule.primitives.dispatch import AbstractArray
from chainrule.primitives.operands import as_operand
from chainrule.primitives.primitive import Primitive
from chainrule.scope import current_scope
from chainrule.tape import check_finite

__all__ = ["RecordedArray", "Recorder"]


@final
class Recorder:
    """Makes arrays that write down what is computed with them, and keeps every value."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.values: dict[Variable, Any] = {}

    def start(self, value: np.ndarray[Any, Any], name: str) -> RecordedArray:
        """What stands for an array of this name while the function runs; it gets a copy."""
        return self._made(Variable(value.shape, value.dtype, name), np.array(value))

    def end_forward(self) -> None:
        """What has been recorded so far is the forward pass, derivatives in it included."""
        recording = self.recording
        recording.equations = [replace(e, section="forward") for e in recording.equations]
        recording.cotangents.clear()

    def graph(self, inputs: list[RecordedArray], outputs: list[Any]) -> Graph:
        """What has been recorded, of these inputs and outputs."""
        graph = self.recording.graph([array.variable for array in inputs], outputs)
        self.values.update(graph.constants)
        return graph

    def compute(
        self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]
    ) -> RecordedArray:
        """The value of a primitive, and the equation that made it."""
        operands = [
            a.value if isinstance(a, RecordedArray) else as_operand(a, primitive) for a in args
        ]
        atoms = tuple(map(self._atom, args, operands, [primitive] * len(args)))
        out = np.asarray(primitive(*operands, **params))
        if current_scope().detect_nonfinite:
            here = current_scope()
            check_finite(out, primitive, here.layer, here.section)
        variable = Variable(out.shape, out.dtype)
        self.recording.note(primitive, atoms, params, (variable,))
        return self._made(variable, out)

    def _atom(self, argument: Any, operand: Any, primitive: Primitive) -> Atom:
        variable = variable_of(argument)
        return self.recording.atom(operand, primitive) if variable is None else variable

    def _made(self, variable: Variable, value: np.ndarray[Any, Any]) -> RecordedArray:
        value.flags.writeable = False
        self.values[variable] = value
        return RecordedArray(variable, value, self)


@final
class RecordedArray(AbstractArray):
    """An array with its value, and the variable that it is in the graph being recorded."""

    __slots__ = ("_recorder", "level", "value", "variable")

    def __init__(self, variable: Variable, value: np.ndarray[Any, Any], recorder: Recorder) -> None:
        self.variable = variable
        self.value = value
        self._recorder = recorder
        self.level = recorder.recording.level

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.value.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        dtype: np.dtype[Any] = self.value.dtype
        return dtype

    def apply(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        return self._recorder.compute(primitive, args, params)

    def note_cotangent_of(self, value: Any) -> None:
        of = variable_of(value)
        if of is not None:
            self._recorder.recording.note_cotangent(self.variable, of)

    def note_name(self, name: str) -> None:
        self._recorder.recording.note_name(self.variable, name)

    # Whoever asks for the value gets it. Tensors, which are differentiated, guard their own.

    def detach(self) -> Any:
        return self.value

    def item(self) -> Any:
        return self.value.item()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.value, dtype, copy=copy)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __index__(self) -> int:
        return self.value.__index__()

    def __repr__(self) -> str:
        return f"RecordedArray({self.value!r})"
