"""Recording: run a function once on variables that have a shape and a dtype but no value.

Every primitive the function reaches becomes an equation, those of nested `grad`s included, because
the reverse pass calls the same primitives. Where the function asks a variable for its value, there
is nothing to answer, and `TracedValueError` names the line that asked.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from chainrule import tree
from chainrule.compiler.graph import Atom, Equation, Graph, Group, Variable
from chainrule.primitives.dispatch import AbstractArray
from chainrule.primitives.primitive import Primitive
from chainrule.scope import RuleCall, current_scope, scope
from chainrule.tensor import Tensor, new_level

__all__ = ["TracedArray", "TracedValueError", "infer", "trace", "user_line"]


class TracedValueError(TypeError):
    """A function being compiled asked for a value that exists only when the compiled step runs."""


@dataclass
class _Recording:
    """The equations recorded so far."""

    equations: list[Equation] = field(default_factory=list)
    constants: dict[Variable, np.ndarray[Any, Any]] = field(default_factory=dict)
    groups: dict[RuleCall, Group] = field(default_factory=dict)
    serials: Any = field(default_factory=count)

    def constant(self, array: np.ndarray[Any, Any]) -> Variable:
        for variable, known in self.constants.items():
            if known is array:
                return variable
        variable = Variable(array.shape, array.dtype, "constant")
        self.constants[variable] = array
        return variable


class TracedArray(AbstractArray):
    """Stands for an array while a function is traced: it has a shape and a dtype but no value."""

    __slots__ = ("_recording", "level", "variable")

    def __init__(self, variable: Variable, recording: _Recording, level: int) -> None:
        self.variable = variable
        self._recording = recording
        self.level = level

    @property
    def shape(self) -> tuple[int, ...]:
        return self.variable.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.variable.dtype or np.dtype(np.float64)

    def apply(
        self, primitive: Primitive, args: tuple[Any, ...], params: dict[str, Any]
    ) -> TracedArray:
        """Record the primitive as an equation."""
        atoms = tuple(self._atom(argument, primitive) for argument in args)
        if primitive.name in {"index", "scatter_add"} and any(map(_is_mask, atoms[1:])):
            self._refuse(
                "indexing with a boolean array, whose result has as many elements as it is true,",
                "use np.where(mask, x, 0), or np.flatnonzero(mask) outside the function",
            )
        shape, dtype = infer(primitive, atoms, params)
        here = current_scope()
        out = Variable(shape, dtype)
        self._recording.equations.append(
            Equation(
                out, primitive, atoms, params, here.layer, here.section, self._group(here.rule)
            )
        )
        return TracedArray(out, self._recording, self.level)

    def note_cotangent_of(self, value: Any) -> None:
        if isinstance(value, TracedArray):
            self.variable.cotangent_of += (value.variable,)

    def note_name(self, name: str) -> None:
        self.variable.name = self.variable.name or name

    def _group(self, rule: RuleCall | None) -> Group | None:
        """The group of the vjp rule that is running, made at its first equation."""
        if rule is None:
            return None
        known = self._recording.groups.get(rule)
        if known is None:
            arguments = tuple(
                (name, argument.variable)
                for name, argument in rule.arguments
                if isinstance(argument, TracedArray)
            )
            known = Group(rule.name, next(self._recording.serials), arguments)
            self._recording.groups[rule] = known
        return known

    def _atom(self, argument: Any, primitive: Primitive) -> Atom:
        if isinstance(argument, TracedArray):
            if argument._recording is not self._recording:
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
        if isinstance(argument, bool | int | float):
            return argument
        return self._recording.constant(np.asarray(argument))

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


_inferred: dict[Any, tuple[tuple[int, ...], np.dtype[Any] | None]] = {}


def infer(
    primitive: Primitive, args: tuple[Atom, ...], params: dict[str, Any]
) -> tuple[tuple[int, ...], np.dtype[Any] | None]:
    """Shape and dtype of a primitive's result.

    NumPy knows its own rules best, so the primitive is run on zeros: elementwise ones on single
    elements, others at full size. A dtype of None stands for a Python number.
    """
    signature = tuple(
        (arg.shape, arg.dtype) if isinstance(arg, Variable) else type(arg) for arg in args
    )
    key = (primitive, signature, repr(params))
    if key not in _inferred:
        _inferred[key] = _infer(primitive, args, params)
    return _inferred[key]


def _infer(
    primitive: Primitive, args: tuple[Atom, ...], params: dict[str, Any]
) -> tuple[tuple[int, ...], np.dtype[Any] | None]:
    if primitive.is_random:
        return tuple(params["shape"]), np.dtype(params["dtype"])
    if all(not isinstance(arg, Variable) or arg.dtype is None for arg in args):
        return (), None
    ufunc = primitive.evaluate
    elementwise = isinstance(ufunc, np.ufunc) and ufunc.signature is None
    with np.errstate(all="ignore"):
        try:
            out = primitive.evaluate(*(_zeros(arg, elementwise) for arg in args), **params)
        except np.linalg.LinAlgError:  # a singular matrix: any regular one has the same shape
            out = primitive.evaluate(*(_identity(arg) for arg in args), **params)
    if elementwise:
        return np.broadcast_shapes(*(getattr(arg, "shape", ()) for arg in args)), out.dtype
    return np.shape(out), np.asarray(out).dtype


def _zeros(arg: Atom, elementwise: bool) -> Any:
    if not isinstance(arg, Variable):
        return arg
    if arg.dtype is None:
        return 1.0
    return np.zeros((1,) * len(arg.shape) if elementwise else arg.shape, arg.dtype)


def _identity(arg: Atom) -> Any:
    if not isinstance(arg, Variable) or len(arg.shape) < 2 or arg.dtype is None:
        return _zeros(arg, False)
    return np.broadcast_to(np.eye(*arg.shape[-2:], dtype=arg.dtype), arg.shape).copy()


def trace(function: Any, args: Any, state: Any = None) -> tuple[Graph, Any]:
    """The graph of `function(*args)`, or of `function(state, *args)` where there is state.

    `args` and `state` are nested dicts, lists and tuples of variables, each with the name it is to
    have. A function with state returns `(outputs, new_state)`. Also returns the form of the
    outputs, for `tree.unflatten`.
    """
    recording = _Recording()
    level = new_level()

    def start(leaf: Variable) -> TracedArray:
        return TracedArray(leaf, recording, level)

    traced_args = tree.map_tree(start, args)
    with scope(tracing=True):
        if state is None:
            outputs, new_state = function(*traced_args), None
        else:
            outputs, new_state = function(tree.map_tree(start, state), *traced_args)

    def atom(leaf: Any) -> Atom:
        if isinstance(leaf, TracedArray):
            return leaf.variable
        if isinstance(leaf, Tensor):
            raise TracedValueError("the function returns a tensor it was not given; return arrays")
        return recording.constant(np.asarray(leaf))

    updates = (
        {
            old: new
            for old, new in zip(
                tree.flatten(state), map(atom, tree.flatten(new_state)), strict=True
            )
            if new is not old
        }
        if state is not None
        else {}
    )
    graph = Graph(
        tuple(tree.flatten(args)),
        tuple(tree.flatten(state)) if state is not None else (),
        recording.constants,
        tuple(recording.equations),
        tuple(map(atom, tree.flatten(outputs))),
        updates,
    )
    return graph, outputs
