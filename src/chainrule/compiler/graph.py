"""The traced program: a graph of equations over variables.

    graph(x f32[64,3], W f32[3,2]):
        z f32[64,2] = matmul x W            forward
        a f32[64,2] = sigmoid z             forward
    return a

Inputs, constants, state with its updates, and outputs are all explicit, and nothing of a graph is
ever changed: a pass takes one and returns a new one. A graph knows shapes and dtypes but no values,
and nothing of the engine that will run it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, Literal

import numpy as np

from chainrule.loop import LOOP
from chainrule.primitives.primitive import PRIMITIVES, Primitive

__all__ = ["Atom", "Equation", "Graph", "Origin", "Variable"]


@dataclass(frozen=True, eq=False, slots=True)
class Variable:
    """A value of known shape and dtype, defined once.

    Its kind is an array; a number of Python's, which takes the dtype of whatever array it meets
    (its own `dtype` says whether it is an int or a float); or a random generator. `name` is what
    the caller calls an input.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    name: str = ""
    kind: Literal["array", "number", "generator"] = "array"

    @staticmethod
    def number(of_type: type, name: str = "") -> Variable:
        """A Python int or float."""
        return Variable((), np.dtype(of_type), name, "number")

    @staticmethod
    def generator(name: str = "") -> Variable:
        """A `numpy.random.Generator`."""
        return Variable((), np.dtype(object), name, "generator")

    @property
    def is_array(self) -> bool:
        return self.kind == "array"

    @property
    def is_number(self) -> bool:
        return self.kind == "number"

    @property
    def size(self) -> int:
        return prod(self.shape)

    def __str__(self) -> str:
        if self.is_number:
            return "int" if self.dtype.kind == "i" else "float"
        if not self.is_array:
            return self.kind
        return f"{self.dtype.kind}{8 * self.dtype.itemsize}[{','.join(map(str, self.shape))}]"


Atom = Variable | float | int | bool
"""What an equation reads: a variable, or a number written into it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One application of a vjp rule, a fused primitive or an optimizer: what equations came from.

    `arguments` gives each atom that it was handed under its own name of it.
    """

    name: str
    serial: int
    arguments: tuple[tuple[str, Atom], ...] = field(hash=False, compare=False, default=())


@dataclass(frozen=True, slots=True)
class Equation:
    """One call of a primitive. `section` is forward, backward or update."""

    outs: tuple[Variable, ...]
    primitive: Primitive
    args: tuple[Atom, ...]
    params: Mapping[str, Any]
    layer: str = ""
    section: str = "forward"
    origin: Origin | None = None

    @property
    def name(self) -> str:
        """What the table calls the primitive; "" for a function of the user's own, whatever its
        name is.
        """
        own = self.primitive.name
        return own if PRIMITIVES.get(own) is self.primitive else ""

    @property
    def body(self) -> Graph | None:
        """The graph of what a loop does at a step; None for all other primitives."""
        return self.params.get("body") if self.primitive is LOOP else None

    @property
    def out(self) -> Variable:
        """The result, the first where there are several."""
        return self.outs[0]

    @property
    def variables(self) -> Iterator[Variable]:
        return (atom for atom in self.args if isinstance(atom, Variable))


@dataclass(frozen=True, slots=True)
class Graph:
    """A traced program.

    `state` are the variables that live from call to call, `updates` their new values by variable
    (absent: unchanged), `constants` the arrays the traced function brought along. Of the variables
    that have one, `names` holds the name that whoever computed them gave them, and `cotangents` the
    values they are the derivative of the loss by: often several, since what flows back through a
    sum is the derivative by the sum and by each term.
    """

    inputs: tuple[Variable, ...]
    state: tuple[Variable, ...]
    constants: Mapping[Variable, np.ndarray[Any, Any]]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    updates: Mapping[Variable, Atom]
    names: Mapping[Variable, str] = field(default_factory=dict)
    cotangents: Mapping[Variable, tuple[Variable, ...]] = field(default_factory=dict)

    def replace_equations(self, equations: Iterable[Equation]) -> Graph:
        return replace(self, equations=tuple(equations))

    @property
    def ends(self) -> tuple[Atom, ...]:
        """What the program gives to the outside: its outputs, and the new values of the state."""
        return (*self.outputs, *self.updates.values())

    def substitute(self, new: Mapping[Variable, Atom], equations: Iterable[Equation]) -> Graph:
        """The graph of these equations, with every variable in `new` read as what it maps to.

        A variable that takes another's place answers to its name too.
        """
        if not new:
            return self.replace_equations(equations)

        def read(atom: Atom) -> Atom:
            while isinstance(atom, Variable) and atom in new:
                atom = new[atom]
            return atom

        origins: dict[Origin, Origin] = {}

        def rewrite(equation: Equation) -> Equation:
            origin = equation.origin
            if origin is not None:
                if origin not in origins:
                    arguments = tuple((name, read(atom)) for name, atom in origin.arguments)
                    is_same = all(
                        a is b for (_, a), (_, b) in zip(arguments, origin.arguments, strict=True)
                    )
                    origins[origin] = origin if is_same else replace(origin, arguments=arguments)
                origin = origins[origin]
            if origin is equation.origin and not any(a in new for a in equation.variables):
                return equation
            return replace(equation, args=tuple(map(read, equation.args)), origin=origin)

        names = dict(self.names)
        cotangents: dict[Variable, tuple[Variable, ...]] = {}
        for variable, of in self.cotangents.items():
            kept = read(variable)
            if isinstance(kept, Variable):
                others = (v for v in map(read, of) if isinstance(v, Variable))
                cotangents[kept] = (*cotangents.get(kept, ()), *others)
        for gone in new:
            kept = read(gone)
            if isinstance(kept, Variable) and gone in names:
                names.setdefault(kept, names[gone])
        return replace(
            self,
            equations=tuple(map(rewrite, equations)),
            outputs=tuple(map(read, self.outputs)),
            updates={variable: read(atom) for variable, atom in self.updates.items()},
            names=names,
            cotangents=cotangents,
        )

    def map_bodies(self, change: Callable[[Graph], Graph]) -> Graph:
        """The graph with the bodies of its loops changed."""
        if all(equation.body is None for equation in self.equations):
            return self
        return self.replace_equations(
            equation
            if (body := equation.body) is None
            else replace(equation, params={**equation.params, "body": change(body)})
            for equation in self.equations
        )

    def all_equations(self) -> Iterator[Equation]:
        """The equations, and those of the bodies of loops."""
        for equation in self.equations:
            yield equation
            if (body := equation.body) is not None:
                yield from body.all_equations()

    def use_counts(self) -> Counter[Variable]:
        """How often each variable is read, by equations, outputs and updates."""
        counts: Counter[Variable] = Counter()
        for equation in self.equations:
            counts.update(equation.variables)
        counts.update(atom for atom in self.ends if isinstance(atom, Variable))
        return counts

    def makers(self) -> dict[Variable, Equation]:
        """The equation that makes each variable, for those that one makes."""
        return {out: equation for equation in self.equations for out in equation.outs}

    def name_of(self, variable: Variable) -> str:
        """What its caller or its maker calls a variable, "" where nobody does."""
        return variable.name or self.names.get(variable, "")

    def __str__(self) -> str:
        names = _display_names(self)

        def show(atom: Atom) -> str:
            return names[atom] if isinstance(atom, Variable) else repr(atom)

        signature = ", ".join(f"{names[v]} {v}" for v in (*self.state, *self.inputs))
        lines = [f"graph({signature}):"]
        lines += [f"    {names[v]} {v} = constant" for v in self.constants]
        for equation in self.equations:
            shown = equation.params if equation.body is None else {}
            params = "".join(f" {key}={value!r}" for key, value in shown.items())
            call = " ".join([equation.primitive.name + params, *map(show, equation.args)])
            outs = ", ".join(f"{names[out]} {out}" for out in equation.outs)
            where = f"{equation.section} {equation.layer}".strip()
            lines.append(f"{f'    {outs} = {call}':<60}  # {where}")
            if equation.body is not None:
                lines += [f"        {line}" for line in str(equation.body).splitlines()]
        lines += [f"    {names[v]} <- {show(atom)}" for v, atom in self.updates.items()]
        lines.append(f"return {', '.join(map(show, self.outputs))}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        sections = Counter(equation.section for equation in self.equations)
        counts = ", ".join(f"{n} {section}" for section, n in sections.items())
        return f"Graph({counts or 'no'} equations)"

    def _repr_html_(self) -> str:
        from chainrule import html  # for notebooks alone

        return html.block(
            html.paragraph(repr(self), strong=True),
            html.source(str(self), "python", "print(graph)"),
        )


def _display_names(graph: Graph) -> dict[Variable, str]:
    """A name for every variable: its own where no other has it, else with a number."""
    made = (out for equation in graph.equations for out in equation.outs)
    defined = [*graph.state, *graph.inputs, *graph.constants, *made]
    taken: set[str] = set()
    names: dict[Variable, str] = {}
    for number, variable in enumerate(defined):
        wish = name = graph.name_of(variable) or f"v{number}"
        while name in taken:
            name = f"{wish}_{number}"
            number += len(defined)
        taken.add(name)
        names[variable] = name
    return names
