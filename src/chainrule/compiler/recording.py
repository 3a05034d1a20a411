"""What a function does, written down as it runs: equations over variables.

Two kinds of arrays write here: the compiler's, which have no value, and those of `chainrule.see`,
which compute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from chainrule.compiler.graph import Atom, Equation, Graph, Origin, Variable
from chainrule.primitives.dispatch import AbstractArray
from chainrule.primitives.operands import as_operand
from chainrule.primitives.primitive import Primitive
from chainrule.scope import RuleCall, current_scope
from chainrule.tensor import Tensor, new_level

__all__ = ["Recording", "TracedValueError", "is_static", "variable_of"]


class TracedValueError(TypeError):
    """A function being compiled asked for a value that exists only when the compiled step runs."""


@dataclass
class Recording:
    """What has been recorded so far."""

    level: int = field(default_factory=new_level)
    equations: list[Equation] = field(default_factory=list)
    constants: dict[Variable, np.ndarray[Any, Any]] = field(default_factory=dict)
    names: dict[Variable, str] = field(default_factory=dict)
    cotangents: dict[Variable, tuple[Variable, ...]] = field(default_factory=dict)
    _originals: dict[int, list[tuple[Variable, Any]]] = field(default_factory=dict)
    _origins: dict[RuleCall, Origin] = field(default_factory=dict)
    _serials: Any = field(default_factory=count)

    def constant(self, array: np.ndarray[Any, Any]) -> Variable:
        """The array as it is now: the function may write into its own one later."""
        known = self._originals.setdefault(id(array), [])
        for variable, _ in known:
            if _same_bits(self.constants[variable], array):
                return variable
        variable = Variable(array.shape, array.dtype, "constant")
        self.constants[variable] = np.array(array)
        known.append((variable, array))  # which lives on, so that no other has its id
        return variable

    def atom(self, operand: Any, primitive: Primitive) -> Atom:
        """What an equation reads for an operand that nobody has recorded."""
        operand = as_operand(operand, primitive)
        if isinstance(operand, np.ndarray | np.generic):
            return self.constant(np.asarray(operand))
        kind = bool if isinstance(operand, bool) else int if isinstance(operand, int) else float
        return kind(operand)

    def note(
        self,
        primitive: Primitive,
        atoms: tuple[Atom, ...],
        params: Mapping[str, Any],
        outs: tuple[Variable, ...],
    ) -> None:
        """Write an equation down, with the layer, the section and the rule that run just now."""
        here = current_scope()
        origin = self._origin(here.rule)
        self.equations.append(
            Equation(outs, primitive, atoms, params, here.layer, here.section, origin)
        )

    def note_name(self, variable: Variable, name: str) -> None:
        """Whoever computed this calls it so."""
        self.names.setdefault(variable, name)

    def note_cotangent(self, variable: Variable, of: Variable) -> None:
        """The reverse pass found the first to be the whole derivative of the loss by the other."""
        self.cotangents[variable] = (*self.cotangents.get(variable, ()), of)

    def _origin(self, rule: RuleCall | None) -> Origin | None:
        """The origin of the vjp rule that is running, made at its first equation."""
        if rule is None:
            return None
        known = self._origins.get(rule)
        if known is None:
            arguments = tuple(
                (name, variable)
                for name, argument in rule.arguments
                if (variable := variable_of(argument)) is not None
            )
            known = self._origins[rule] = Origin(rule.name, next(self._serials), arguments)
        return known

    def graph(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Any],
        state: Sequence[Variable] = (),
        new_state: Sequence[Any] = (),
    ) -> Graph:
        """What has been recorded, as a graph with these ends."""

        def atom(leaf: Any) -> Atom:
            variable = variable_of(leaf)
            if variable is not None:
                return variable
            if isinstance(leaf, Tensor):
                raise TracedValueError(
                    "the function returns a tensor it was not given; return arrays"
                )
            return self.constant(np.asarray(leaf))

        ends = tuple(atom(leaf) for leaf in outputs if not is_static(leaf))
        pairs = zip(state, map(atom, new_state), strict=True)
        updates = {old: new for old, new in pairs if new is not old}
        return Graph(
            tuple(inputs),
            tuple(state),
            self.constants,
            tuple(self.equations),
            ends,
            updates,
            self.names,
            self.cotangents,
        )


def variable_of(array: Any) -> Variable | None:
    """The variable that an array stands for in a recording; None for all other values."""
    return getattr(array, "variable", None) if isinstance(array, AbstractArray) else None


def is_static(leaf: Any) -> bool:
    """Whether a leaf of arguments or results is no array: it is part of their form."""
    return leaf is None or isinstance(leaf, str | bool)


def _same_bits(copy: np.ndarray[Any, Any], array: np.ndarray[Any, Any]) -> bool:
    return copy.tobytes() == array.tobytes()
