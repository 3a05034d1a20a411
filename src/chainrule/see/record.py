"""A computation with its derivatives, every value by name.

`record(f)(x)` runs a function, and its reverse pass, on arrays that write down what they compute.
What comes of it is a `Record`: the graph of both passes, as the mathematics has them (no scale is
moved, no buffer shared), and the value of each variable in it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, final

import numpy as np

from chainrule import tree
from chainrule.autodiff import jacobian, vjp
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.naming import Labels, Scope, Symbol, argument_names, wish_names
from chainrule.compiler.recording import is_static
from chainrule.names import unknown_name
from chainrule.primitives.dispatch import AbstractArray, Array, named
from chainrule.primitives.operands import as_operand
from chainrule.scope import scope
from chainrule.see.recorded import RecordedArray, Recorder
from chainrule.tensor import require_float

__all__ = ["Record", "Step", "record", "record_call"]

_MOST_ELEMENTS = 10_000_000  # of a Jacobian that is written out


@final
@dataclass(frozen=True, eq=False)
class Step:
    """One call of a primitive in the forward pass, with its numbers.

    `arguments` are names of the record, or numbers; `cotangent` is the derivative of the result of
    the whole computation by this value, None where it does not depend on it.
    """

    name: str
    arguments: tuple[str | float | int | bool, ...]
    operands: tuple[Any, ...]
    value: np.ndarray[Any, Any]
    cotangent: np.ndarray[Any, Any] | None
    equation: Equation

    @property
    def primitive(self) -> str:
        """The primitive's name in the table."""
        return self.equation.primitive.name

    @property
    def layer(self) -> str:
        """The layer that computed it, "" outside one."""
        return self.equation.layer

    def local_derivative(self, position: int = 0) -> np.ndarray[Any, Any]:
        """The derivative of this value by one of its arguments, all others held still.

        Of an elementwise primitive it is an array of the value's shape, element by element; of any
        other it is the Jacobian, of shape `value.shape + argument.shape`. Raises ValueError where
        there is no derivative, and for a Jacobian of more than ten million elements.

        >>> import chainrule as cr
        >>> seen = cr.record(lambda x: np.tanh(x) ** 2)(0.5)
        >>> seen.steps[0].local_derivative() == 1 - np.tanh(0.5) ** 2
        np.True_
        """
        primitive, params = self.equation.primitive, dict(self.equation.params)
        rule = primitive.rule(position) if position < len(self.operands) else None
        if rule is None or np.result_type(self.operands[position]).kind != "f":
            raise ValueError(
                f"{self.name} = {self.primitive}({', '.join(map(str, self.arguments))}) has no "
                f"derivative by its argument {position}"
            )
        if primitive.elementwise:
            ones = np.ones(self.value.shape, self.value.dtype)
            derivative = rule(ones, self.value, *self.operands, **params)
            return np.array(np.broadcast_to(derivative, self.value.shape))
        size = self.value.size * np.size(self.operands[position])
        if size > _MOST_ELEMENTS:
            raise ValueError(
                f"the Jacobian of {self.name} {self.value.shape} by {self.arguments[position]} "
                f"{np.shape(self.operands[position])} has {size:,} elements: take fewer samples"
            )

        def of_argument(argument: Array) -> Array:
            operands = list(self.operands)
            operands[position] = argument
            return primitive(*operands, **params)

        return np.asarray(jacobian(of_argument)(self.operands[position]))


@final
class Record(Mapping[str, np.ndarray]):
    """Every value of a computation and every cotangent, as read-only arrays by name.

    As a mapping it holds inputs, then what the forward pass computed, in order, then the cotangents
    in the order of the reverse pass: `d_z1` is the derivative of the result by `z1`, in its shape.
    Names are those of layers and parameters, of the function's arguments and of its variables;
    values without one are called after their primitive. `steps` are the calls of primitives,
    `gradients` the cotangents of what was differentiated by, and `graph` holds both passes as
    equations, whose values `value_of` gives.

    >>> import chainrule as cr
    >>> def f(w, x):
    ...     z = w * x
    ...     return z**2
    >>> seen = cr.record(f)(3.0, 2.0)
    >>> {name: float(value) for name, value in seen.items()}
    {'w': 3.0, 'x': 2.0, 'z': 6.0, 'square_1': 36.0, 'd_square_1': 1.0, 'd_z': 12.0, 'd_w': 24.0, \
'd_x': 36.0}
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[Variable, Any],
        labels: Labels,
        by: Mapping[str, Variable] | Sequence[Variable],
        per_sample: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.graph = graph
        self._values = values
        self._per_sample = per_sample
        self._cotangents = {
            of: cotangent for cotangent, every in graph.cotangents.items() for of in every
        }
        self._names, self._titled = _names(graph, labels)
        self._shown = _shown(graph, self._names, self._cotangents)
        self._by = by if isinstance(by, Mapping) else {self._names[v]: v for v in by}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._shown:
            raise KeyError(unknown_name("value", name, self._shown))
        return np.asarray(self._values[self._shown[name]])

    def __iter__(self) -> Iterator[str]:
        return iter(self._shown)

    def __len__(self) -> int:
        return len(self._shown)

    @property
    def result(self) -> np.ndarray:
        """What was differentiated: the loss, or the value of the function."""
        (result,) = self.graph.outputs
        return np.asarray(self._values[result] if isinstance(result, Variable) else result)

    @property
    def gradients(self) -> dict[str, np.ndarray]:
        """The derivative by each parameter, or by each argument, under its own name."""
        return {name: self._gradient(variable) for name, variable in self._by.items()}

    @property
    def by(self) -> Mapping[str, Variable]:
        """What was differentiated by: variables of the graph, by the names of `gradients`."""
        return self._by

    @property
    def per_sample(self) -> dict[str, np.ndarray]:
        """The gradients of each sample's loss alone, (N, *shape), by the names of `gradients`.

        Raises ValueError where they were not asked for.
        """
        if self._per_sample is None:
            raise ValueError(
                "the gradients of each sample were not asked for: call backprop with "
                "per_sample=True"
            )
        return dict(self._per_sample)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The calls of primitives of the forward pass, in their order."""
        return tuple(
            Step(
                self._names[equation.out],
                tuple(self.name_of(atom) for atom in equation.args),
                tuple(self.value_of(atom) for atom in equation.args),
                np.asarray(self._values[equation.out]),
                self.cotangent_of(equation.out),
                equation,
            )
            for equation in self.graph.equations
            if equation.section == "forward"
        )

    def name_of(self, atom: Atom) -> Any:
        """What a variable of the graph is called; a number is itself."""
        return self._names[atom] if isinstance(atom, Variable) else atom

    def is_titled(self, variable: Variable) -> bool:
        """Whether the name of a variable says what it is: not one made up after its primitive."""
        return variable in self._titled

    def value_of(self, atom: Atom) -> Any:
        """The value of a variable of the graph; a number is itself."""
        return self._values[atom] if isinstance(atom, Variable) else atom

    def cotangent_of(self, variable: Variable) -> np.ndarray | None:
        """The derivative of the result by a variable of the forward pass, None for none."""
        cotangent = self._cotangents.get(variable)
        return None if cotangent is None else np.asarray(self._values[cotangent])

    def cotangent_variable(self, variable: Variable) -> Variable | None:
        """The variable of the graph that holds the derivative by another, None for none."""
        return self._cotangents.get(variable)

    def _gradient(self, variable: Variable) -> np.ndarray:
        found = self.cotangent_of(variable)
        return np.zeros(variable.shape, variable.dtype) if found is None else found

    def __repr__(self) -> str:
        n_forward = sum(e.section == "forward" for e in self.graph.equations)
        names = list(self._by)
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        by = ", ".join(names[:_MOST_NAMES]) or "nothing"
        return f"Record({n_forward} steps, result {_short(self.result)}, gradients by {by}{more})"

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(name, str(self[name].shape), _short(self[name])) for name in self]

    def _repr_html_(self) -> str:
        from chainrule import html  # for notebooks alone

        table = html.table(["name", "shape", "value"], self._rows(), left=3, more="values")
        return html.block(html.paragraph(repr(self), strong=True), table)

    def __str__(self) -> str:
        rows = self._rows()
        widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
        return "\n".join(
            f"{name:{widths[0]}}  {shape:{widths[1]}}  {value}" for name, shape, value in rows
        )


def record(
    f: Callable[..., Any], argnums: int | Sequence[int] | None = None
) -> Callable[..., Record]:
    """A function that runs `f` and its reverse pass, and returns every value as a `Record`.

    `f` takes what it takes with `chainrule.grad`, and returns one array. It is differentiated by
    the arguments `argnums`, by default by all that are floating point (by Python's integers where
    there are no others). Where the result is not one number, the returned function takes its
    `cotangent=`, of the result's shape. Raises ValueError without it, and TypeError where nothing
    can be differentiated.

    >>> import chainrule as cr
    >>> seen = cr.record(lambda x: np.sum(x**2))(np.array([1.0, -3.0]))
    >>> seen["d_x"]
    array([ 2., -6.])
    """

    def recorded(*args: Any, cotangent: Any = None, **kwargs: Any) -> Record:
        positions = _positions(argnums, args)
        recorder, by = Recorder(), []
        names = iter(argument_names(f, args))
        inputs: list[RecordedArray] = []

        def start(leaf: Any, is_by: bool) -> Any:
            name = next(names)
            if is_static(leaf) or isinstance(leaf, np.random.Generator):
                return leaf
            if isinstance(leaf, int) and not is_by:
                return leaf
            array = recorder.start(_as_array(leaf, is_by, name), name)
            inputs.append(array)
            if is_by:
                by.append(array.variable)
            return array

        started = [
            tree.map_tree(partial(start, is_by=i in positions), arg) for i, arg in enumerate(args)
        ]

        def of_chosen(*chosen: Any) -> Any:
            together = list(started)
            for position, value in zip(positions, chosen, strict=True):
                together[position] = value
            return _call_with_names(partial(f, **kwargs) if kwargs else f, together)

        return record_call(
            recorder, of_chosen, [started[i] for i in positions], inputs, by, cotangent=cotangent
        )

    recorded.__name__ = f"record_{getattr(f, '__name__', 'f')}"
    return recorded


def record_call(
    recorder: Recorder,
    f: Callable[..., Any],
    by: Sequence[Any],
    inputs: Sequence[RecordedArray],
    variables: Mapping[str, Variable] | Sequence[Variable],
    labels: Labels | None = None,
    cotangent: Any = None,
    per_sample: Mapping[str, np.ndarray] | None = None,
) -> Record:
    """Run `f(*by)` on recorded arrays, and back, and return the record.

    `inputs` are all arrays that the recorder has started; the record has the gradients by the
    `variables`, under the names that these are given with, else under their own.
    """
    with scope(unrolls=True):
        result, pull = vjp(f, *by)
        if not isinstance(result, RecordedArray):
            raise TypeError(
                f"the function returned {_described(result)}: a record goes back from one array "
                "that depends on what it is differentiated by"
            )
        recorder.end_forward()
        start = recorder.start(_cotangent(cotangent, result), "cotangent")
        pull(start)
    graph = recorder.graph([*inputs, start], [result])
    return Record(graph, recorder.values, labels or Labels(), variables, per_sample)


def _positions(argnums: int | Sequence[int] | None, args: Sequence[Any]) -> list[int]:
    """The arguments to differentiate by: those asked for, else what has a derivative."""
    if argnums is not None:
        several = [argnums] if isinstance(argnums, int) else list(argnums)
        wrong = [p for p in several if not -len(args) <= p < len(args)]
        if wrong:
            raise ValueError(
                f"argnums={argnums} asks for argument {wrong[0]}, but the function was called "
                f"with {len(args)}"
            )
        return sorted({p % len(args) for p in several})
    floats = [i for i, arg in enumerate(args) if _all_leaves(arg, _is_float)]
    return floats or [i for i, arg in enumerate(args) if _all_leaves(arg, _is_python_number)]


def _all_leaves(arg: Any, test: Callable[[Any], bool]) -> bool:
    leaves = tree.flatten(arg)
    return bool(leaves) and all(map(test, leaves))


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, float) or getattr(leaf, "dtype", np.dtype(int)).kind == "f"


def _is_python_number(leaf: Any) -> bool:
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def _as_array(leaf: Any, is_by: bool, name: str) -> np.ndarray:
    if isinstance(leaf, AbstractArray):
        raise TypeError(
            f"{name} is a {type(leaf).__name__} of shape {leaf.shape}: a record is made of plain "
            "arrays, so give its .value or .detach()"
        )
    return np.asarray(require_float(leaf, name) if is_by else as_operand(leaf, name))


def _call_with_names(f: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Call `f`, and let what its variables hold at its end go by their names.

    The profiling hook of Python sees the function's frame as it returns; one that was set before
    is set again.
    """
    code = getattr(getattr(f, "func", f), "__code__", None)
    if code is None:
        return f(*args)
    before = sys.getprofile()

    def at_return(frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and frame.f_code is code:
            for name, value in frame.f_locals.items():
                named(name, value)

    sys.setprofile(at_return)
    try:
        return f(*args)
    finally:
        sys.setprofile(before)


def _cotangent(cotangent: Any, result: RecordedArray) -> np.ndarray:
    """What the reverse pass starts from: 1 for a number."""
    if cotangent is not None:
        given = np.asarray(as_operand(cotangent, "cotangent"), result.dtype)
        if given.shape == result.shape:
            return given
        raise ValueError(f"the result has shape {result.shape} but its cotangent {given.shape}")
    if result.size != 1:
        raise ValueError(
            f"the function returned shape {result.shape}; a gradient is that of one number: sum or "
            f"average it, or say where to start, as in cotangent=np.ones({result.shape})"
        )
    return np.ones(result.shape, result.dtype)


def _names(graph: Graph, labels: Labels) -> tuple[dict[Variable, str], set[Variable]]:
    """A name for every variable of the graph, and those whose name says what they are."""
    symbols, titled = wish_names(graph, labels)
    for variable in graph.inputs:
        if variable in graph.cotangents:  # where the reverse pass starts
            of = graph.cotangents[variable][0]
            symbols[variable] = Symbol("d_", of=symbols[of])
    names = Scope(is_code=False)
    made = [out for equation in graph.equations for out in equation.outs]
    every = (*graph.inputs, *made, *graph.constants)
    return {v: names.claim(symbols[v]) for v in every}, titled


def _shown(
    graph: Graph, names: Mapping[Variable, str], cotangents: Mapping[Variable, Variable]
) -> dict[str, Variable]:
    """The names in a reader's order: inputs, the forward pass, what flows back."""
    forward = [e.out for e in graph.equations if e.section == "forward"]
    shown = {names[v]: v for v in (*graph.inputs, *forward) if v not in graph.cotangents}
    back = [e.out for e in graph.equations if e.section != "forward"]
    for variable in (*graph.inputs, *forward, *back):
        for of in graph.cotangents.get(variable, ()):
            if cotangents[of] is variable:
                shown[f"d_{names[of]}"] = variable
    return shown


def _short(value: np.ndarray) -> str:
    """An array on one line, cut where it is long."""
    text = np.array2string(
        value, precision=4, suppress_small=False, threshold=6, edgeitems=2, separator=", "
    )
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


_LONGEST = 72
_MOST_NAMES = 6


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"a {type(value).__name__}" + ("" if shape is None else f" of shape {shape}")
