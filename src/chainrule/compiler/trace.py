"""Recording: run a function once on variables that have a shape and a dtype but no value.

Every primitive the function reaches becomes an equation, those of nested `grad`s included, because
the reverse pass calls the same primitives. Where the function asks a variable for its value, there
is nothing to answer, and `TracedValueError` names the line that asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from chainrule import tree
from chainrule.compiler.graph import Atom, Graph, Variable
from chainrule.compiler.infer import infer, infer_number, loop_results
from chainrule.compiler.recording import Recording, TracedValueError
from chainrule.loop import LOOP, Form
from chainrule.primitives import PRIMITIVES
from chainrule.primitives.dispatch import AbstractArray
from chainrule.primitives.primitive import Primitive
from chainrule.scope import current_scope, scope
from chainrule.tensor import Tensor

__all__ = ["SCALAR_POWER", "TracedArray", "trace", "user_line"]


class TracedArray(AbstractArray):
    """Stands for an array, a number or a generator while a function is traced: it has no value."""

    __slots__ = ("_recording", "level", "variable")

    def __init__(self, variable: Variable, recording: Recording) -> None:
        self.variable = variable
        self._recording = recording
        self.level = recording.level

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.variable.dtype

    def apply(self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]) -> Any:
        """Record the primitive as an equation; a loop gives a tuple of results."""
        if primitive is PRIMITIVES["stop_gradient"] and _is_number(args[0]):
            return args[0]
        if not (primitive.elementwise or primitive.is_fused):  # these take numbers as they are
            args = tuple(_as_array(argument) for argument in args)
        atoms = tuple(self._atom(argument, primitive) for argument in args)
        if primitive is LOOP:
            return self._loop(atoms, params["form"])
        if primitive in _INDEXING and any(map(_is_mask, atoms[1:])):
            self._refuse(
                "indexing with a boolean array, whose result has as many elements as it is true,",
                "use np.where(mask, x, 0), or np.flatnonzero(mask) outside the function",
            )
        return self._record(primitive, atoms, params, Variable(*infer(primitive, atoms, params)))

    def calculate(self, primitive: Primitive, args: tuple[Any, ...]) -> TracedArray:
        """Record what Python computes with numbers alone; the result is a number again."""
        atoms = tuple(self._atom(argument, primitive) for argument in args)
        number = Variable.number(infer_number(primitive, atoms))
        return self._record(primitive, atoms, {}, number)

    def _record(
        self, primitive: Primitive, atoms: tuple[Atom, ...], params: Any, out: Variable
    ) -> TracedArray:
        self._recording.note(primitive, atoms, params, (out,))
        return TracedArray(out, self._recording)

    def _loop(self, atoms: tuple[Atom, ...], form: Form) -> tuple[TracedArray, ...]:
        """Record a loop as one equation, which holds the graph of its cell."""
        recording = self._recording
        arrays = [
            a if isinstance(a, Variable) else recording.constant(np.asarray(a)) for a in atoms
        ]
        carry, xs, constants = form.split(arrays)
        inputs = [
            [Variable(v.shape, v.dtype, form.name(i)) for i, v in enumerate(carry)],
            [Variable(v.shape[1:], v.dtype, form.name(form.n_carry + i)) for i, v in enumerate(xs)],
            [Variable(v.shape, v.dtype) for v in constants],
        ]

        def cell(*arrays: Any) -> Any:
            carry, x, constants = (tuple(part) for part in form.split(arrays))
            return form.step(carry, x, constants)

        with scope(rule=None, in_loop=True):
            body, _ = trace(cell, [v for part in inputs for v in part])
        names = dict(body.names)
        for i, new in enumerate(body.outputs[: form.n_carry]):
            if isinstance(new, Variable) and form.name(i) and not body.name_of(new):
                names.setdefault(new, f"new_{form.name(i)}")
        body = replace(body, names=names)
        outs = loop_results(body, form, xs[0].shape[0])
        for i, (out, keeps) in enumerate(zip(outs, form.keeps, strict=False)):
            if form.name(i):
                recording.names[out] = f"{form.name(i)}_steps" if keeps else form.name(i)
        with scope(rule=None):  # a loop back is several rules at once
            recording.note(LOOP, tuple(arrays), {"form": form, "body": body}, outs)
        return tuple(TracedArray(out, recording) for out in outs)

    def as_float(self) -> TracedArray:
        if not self.variable.is_number:
            return self
        array: TracedArray = _as_array(self).astype(np.float64)
        return array

    def note_cotangent_of(self, value: Any) -> None:
        if isinstance(value, TracedArray):
            self._recording.note_cotangent(self.variable, value.variable)

    def note_name(self, name: str) -> None:
        self._recording.note_name(self.variable, name)

    def _atom(self, argument: Any, primitive: Primitive) -> Atom:
        if isinstance(argument, TracedArray):
            if argument._recording is not self._recording:
                if current_scope().in_loop:
                    raise TracedValueError(_FROM_OUTSIDE)
                raise TracedValueError(
                    f"{primitive.name} mixes arrays of two functions being compiled; a compiled "
                    "function must receive everything it differentiates as arguments"
                )
            return argument.variable
        if isinstance(argument, Tensor):
            raise TracedValueError(
                f"the function being compiled uses a tensor of shape {argument.shape} from "
                f"outside (in {primitive.name}, {user_line()}): pass it in as an argument, or "
                "use its .value if it is a constant"
            )
        return self._recording.atom(argument, primitive)

    # Whatever asks for the value

    def _refuse(self, what: str, instead: str) -> NoReturn:
        raise TracedValueError(
            f"{what} asks for the value of an array of shape {self.shape}, {self.dtype}, while "
            f"the function is compiled and has none ({user_line()}): {instead}"
        )

    def __bool__(self) -> bool:
        self._refuse("a condition (if, while, and, or, not, assert)", "use np.where")

    def __float__(self) -> float:
        self._refuse("float() or a math function", "use the NumPy function of the same name")

    def __int__(self) -> int:
        self._refuse("int()", "use .astype(int)")

    def __index__(self) -> int:
        self._refuse("an index or range()", "use np.take, or pass a plain int to the function")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self._refuse("a NumPy function without a derivative rule", "use one chainrule supports")

    def item(self) -> Any:
        self._refuse(".item()", "return the array from the function and read it there")

    @property
    def value(self) -> Any:
        self._refuse(".value", "return the array from the function and read it there")

    def detach(self) -> Any:
        self._refuse(".detach()", "use chainrule.primitives.stop_gradient")

    def __repr__(self) -> str:
        return f"TracedArray({self.variable})"


def _as_array(value: Any) -> Any:
    """A traced number as an array without axes."""
    if isinstance(value, TracedArray) and value.variable.is_number:
        return value.apply(PRIMITIVES["positive"], (value,), {})
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, TracedArray):
        return value.variable.is_number
    return type(value) in (int, float)


SCALAR_POWER = Primitive("power", lambda x, y: x**y, elementwise=True)
"""The operator ** of NumPy's scalars, which takes another way than np.power to the last digit."""


def _operator(primitive: Primitive, method: str, reflected: bool) -> Callable[..., Any]:
    """An operator that is Python's own where it meets numbers alone, and NumPy's elsewhere."""
    numpys = getattr(AbstractArray, method)

    def operate(self: TracedArray, *other: Any) -> Any:
        if not (_is_number(self) and all(map(_is_number, other))):
            is_power = method == "__pow__" and type(other[0]) in (int, float)
            if is_power and not self.shape and current_scope().rule is None:
                return self.apply(SCALAR_POWER, (self, *other), {})
            return numpys(self, *other)
        return self.calculate(primitive, (*other, self) if reflected else (self, *other))

    return operate


for _method, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "mod": "remainder",
    "floordiv": "floor_divide", "pow": "power",
}.items():  # fmt: skip
    for _side in ("", "r"):
        _full = f"__{_side}{_method}__"
        setattr(TracedArray, _full, _operator(PRIMITIVES[_name], _full, bool(_side)))
for _method, _name in {"neg": "negative", "pos": "positive", "abs": "absolute"}.items():
    _full = f"__{_method}__"
    setattr(TracedArray, _full, _operator(PRIMITIVES[_name], _full, False))


_FROM_OUTSIDE = (
    "the cell of a loop reads an array from outside that is being compiled: hand it to the loop, "
    "as one of its constants"
)
_INDEXING = {PRIMITIVES["index"], PRIMITIVES["scatter_add"]}


def _is_mask(atom: Atom) -> bool:
    return isinstance(atom, Variable) and atom.dtype == np.bool_


def user_line() -> str:
    """File and line of the innermost call outside chainrule and NumPy."""
    ours = str(Path(__file__).parents[1])
    numpys = str(Path(np.__file__).parent)
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((ours, numpys, "<")):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"


def trace(function: Any, args: Any, state: Any = None) -> tuple[Graph, Any]:
    """The graph of `function(*args)`, or of `function(state, *args)` where there is state.

    `args` and `state` are nested dicts, lists and tuples of variables, each with the name it is to
    have. A function with state returns `(outputs, new_state)`. Also returns the form of the
    outputs, for `tree.unflatten`; None, strings and booleans among them are part of the form.
    """
    recording = Recording()

    def start(variable: Variable) -> TracedArray:
        return TracedArray(variable, recording)

    with scope(tracing=True):
        if state is None:
            outputs, new_state = function(*tree.map_tree(start, args)), None
        else:
            traced = tree.map_tree(start, state)
            outputs, new_state = function(traced, *tree.map_tree(start, args))
    variables = tree.flatten(state) if state is not None else []
    values = tree.flatten(new_state) if state is not None else []
    graph = recording.graph(tree.flatten(args), tree.flatten(outputs), variables, values)
    return graph, outputs
