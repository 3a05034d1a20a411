"""The traced program: a graph of equations over variables.

    graph(x f32[64,3], W f32[3,2]):
        z f32[64,2] = matmul x W            forward
        a f32[64,2] = sigmoid z             forward
    return a

Inputs, constants, state with its updates, and outputs are all explicit. A graph knows shapes and
dtypes but no values, and nothing of the engine that will run it. Passes take a graph and return a
new one; `check.check_graph` holds them to the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.primitives.primitive import Primitive

__all__ = ["Atom", "Equation", "Graph", "Group", "Variable"]


@dataclass(eq=False, slots=True)
class Variable:
    """A value of known shape and dtype, defined once.

    A variable whose dtype is None is a Python number: like a literal it takes the dtype of
    whatever array it meets. `name` is a wish; the emitter makes it unique. Where the variable is
    the derivative of the loss by others, `cotangent_of` says by which: often several, since what
    flows back through a sum is the derivative by the sum and by each term.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any] | None
    name: str = ""
    cotangent_of: tuple[Variable, ...] = ()

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def __str__(self) -> str:
        if self.dtype is None:
            return "float"
        return f"{self.dtype.kind}{8 * self.dtype.itemsize}[{','.join(map(str, self.shape))}]"


Atom = Variable | float | int | bool
"""What an equation reads: a variable, or a number written into it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Equations that came from one vjp rule, or one fused primitive: one helper in the source.

    `arguments` gives the helper's parameters: the rule's own name of each atom it was given.
    """

    name: str
    serial: int
    arguments: tuple[tuple[str, Atom], ...] = field(hash=False, compare=False, default=())


@dataclass(frozen=True, slots=True)
class Equation:
    """One call of a primitive. `section` is forward, backward or update."""

    out: Variable
    primitive: Primitive
    args: tuple[Atom, ...]
    params: dict[str, Any]
    layer: str = ""
    section: str = "forward"
    group: Group | None = None

    @property
    def variables(self) -> Iterator[Variable]:
        return (atom for atom in self.args if isinstance(atom, Variable))


@dataclass(frozen=True, slots=True)
class Graph:
    """A traced program.

    `state` are the variables that live from call to call, `updates` their new values by variable
    (absent: unchanged), `constants` the arrays the traced function brought along.
    """

    inputs: tuple[Variable, ...]
    state: tuple[Variable, ...]
    constants: dict[Variable, np.ndarray[Any, Any]]
    equations: tuple[Equation, ...]
    outputs: tuple[Atom, ...]
    updates: dict[Variable, Atom]

    def replace_equations(self, equations: Iterable[Equation]) -> Graph:
        return replace(self, equations=tuple(equations))

    def substitute(self, new: dict[Variable, Atom], equations: Iterable[Equation]) -> Graph:
        """The graph of these equations, with every variable in `new` read as what it maps to.

        What a variable is the derivative by is renamed on the variable itself: it is the same
        value in every version of the graph.
        """

        def read(atom: Atom) -> Atom:
            while isinstance(atom, Variable) and atom in new:
                atom = new[atom]
            return atom

        def rewrite(equation: Equation) -> Equation:
            of = map(read, equation.out.cotangent_of)
            equation.out.cotangent_of = tuple(v for v in of if isinstance(v, Variable))
            group = equation.group
            if group is not None:
                arguments = tuple((name, read(atom)) for name, atom in group.arguments)
                group = replace(group, arguments=arguments)
            return replace(equation, args=tuple(map(read, equation.args)), group=group)

        return replace(
            self,
            equations=tuple(map(rewrite, equations)),
            outputs=tuple(map(read, self.outputs)),
            updates={variable: read(atom) for variable, atom in self.updates.items()},
        )

    def use_counts(self) -> Counter[Variable]:
        """How often each variable is read, by equations, outputs and updates."""
        counts: Counter[Variable] = Counter()
        for equation in self.equations:
            counts.update(equation.variables)
        ends = (*self.outputs, *self.updates.values())
        counts.update(atom for atom in ends if isinstance(atom, Variable))
        return counts

    def __str__(self) -> str:
        names = _display_names(self)

        def show(atom: Atom) -> str:
            return names[atom] if isinstance(atom, Variable) else repr(atom)

        signature = ", ".join(f"{names[v]} {v}" for v in (*self.state, *self.inputs))
        lines = [f"graph({signature}):"]
        lines += [f"    {names[v]} {v} = constant" for v in self.constants]
        for equation in self.equations:
            params = "".join(f" {key}={value!r}" for key, value in equation.params.items())
            call = " ".join([equation.primitive.name + params, *map(show, equation.args)])
            left = f"    {names[equation.out]} {equation.out} = {call}"
            where = f"{equation.section} {equation.layer}".strip()
            lines.append(f"{left:<60}  # {where}")
        lines += [f"    {names[v]} <- {show(atom)}" for v, atom in self.updates.items()]
        lines.append(f"return {', '.join(map(show, self.outputs))}")
        return "\n".join(lines)


def _display_names(graph: Graph) -> dict[Variable, str]:
    """A name for every variable: its own where no other has it, else with a number."""
    defined = [*graph.state, *graph.inputs, *graph.constants, *(e.out for e in graph.equations)]
    taken: set[str] = set()
    names: dict[Variable, str] = {}
    for number, variable in enumerate(defined):
        name = variable.name or f"v{number}"
        if name in taken:
            name = f"{name}_{number}"
        taken.add(name)
        names[variable] = name
    return names
