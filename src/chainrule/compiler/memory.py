"""Where every value of a graph lives: in memory that is allocated once, before the first step.

`plan_memory` walks the equations in order and gives each result a buffer. A result takes over the
buffer of an argument that nobody reads afterwards (in place), the update of a state takes the
state's own memory, a part of a concatenation is computed where it will stand, and values that live
inside one helper share scratch buffers. Views (transposes, slices) have no memory of their own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.passes import is_elementwise

__all__ = ["Buffer", "MemoryPlan", "is_view", "plan_memory"]

_MAY_BE_VIEW = {
    "broadcast_to", "diagonal", "expand_dims", "flip", "index", "moveaxis", "ravel", "reshape",
    "squeeze", "swapaxes", "transpose",
}  # fmt: skip


@dataclass(eq=False, slots=True)
class Buffer:
    """Memory for one array. `kind` is input, state, constant, work or scratch.

    A buffer with a parent is the part of it that begins at `start` and has this buffer's size.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    name: str = ""
    parent: Buffer | None = None
    start: int = 0

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(slots=True)
class MemoryPlan:
    """The buffer of every array variable (a view has its source's), which are views, and which
    results no buffer holds: numbers, and arrays that the primitive allocates each time.
    """

    buffer_of: dict[Variable, Buffer] = field(default_factory=dict)
    views: dict[Variable, Equation] = field(default_factory=dict)
    unbuffered: set[Variable] = field(default_factory=set)
    placed: set[Variable] = field(default_factory=set)
    holds: dict[Buffer, list[Variable]] = field(default_factory=lambda: defaultdict(list))


def is_view(equation: Equation, plan: MemoryPlan) -> bool:
    """Whether the result shares its argument's memory, which NumPy decides by strides."""
    if equation.primitive.name not in _MAY_BE_VIEW or len(equation.args) != 1:
        return False
    source = equation.args[0]
    if not isinstance(source, Variable) or source.dtype is None or not equation.out.size:
        return False
    array = _layout(source, plan)
    return np.may_share_memory(equation.primitive.evaluate(array, **equation.params), array)


def _layout(variable: Variable, plan: MemoryPlan) -> np.ndarray[Any, Any]:
    """An array with the strides the variable will have; its values are never touched."""
    view = plan.views.get(variable)
    if view is None:
        return np.empty(variable.shape, variable.dtype)
    source = view.args[0]
    assert isinstance(source, Variable)  # is_view has seen to it
    array: np.ndarray[Any, Any] = view.primitive.evaluate(_layout(source, plan), **view.params)
    return array


class _Planner:
    """The walk over the equations; `plan` is what it finds."""

    def __init__(
        self,
        graph: Graph,
        steps: list[list[Equation]],
        titled: set[Variable],
        fresh_outputs: bool,
        takes_out: Callable[[Equation], bool],
    ) -> None:
        self.graph = graph
        self.takes_out = takes_out
        self.titled = titled
        self.fresh_outputs = fresh_outputs
        self.plan = MemoryPlan()
        self.free: dict[Any, list[Buffer]] = defaultdict(list)
        self.target = {new: old for old, new in graph.updates.items() if isinstance(new, Variable)}
        self.result_of = [equations[-1].out for equations in steps]
        self.step_of = {e.out: i for i, equations in enumerate(steps) for e in equations}
        self.equations = [e for equations in steps for e in equations]
        self.until: dict[Buffer, float] = {}  # where what it has held is read for the last time
        self.parts: dict[Buffer, list[Buffer]] = defaultdict(list)
        self.readers: dict[Variable, list[int]] = defaultdict(list)
        for position, equation in enumerate(self.equations):
            for variable in equation.variables:
                self.readers[variable].append(position)
        self.escapes = {a for a in graph.outputs if isinstance(a, Variable)}
        self.step_readers: dict[Variable, set[int]] = defaultdict(set)
        for i, equations in enumerate(steps):
            for e in equations:
                for variable in e.variables:
                    self.step_readers[variable].add(i)

    def _writes_out(self, equation: Equation) -> bool:
        """Whether the result is an array that the engine can write into memory it is given."""
        return (
            bool(equation.out.shape) and equation.out.dtype is not None and self.takes_out(equation)
        )

    def run(self) -> MemoryPlan:
        for kind, variables in (
            ("input", self.graph.inputs),
            ("state", self.graph.state),
            ("constant", tuple(self.graph.constants)),
        ):
            for variable in variables:
                if variable.dtype is not None:
                    self._give(variable, Buffer(variable.shape, variable.dtype, kind))
                else:
                    self.plan.unbuffered.add(variable)
        self._find_views()
        self._place_parts()
        for position, equation in enumerate(self.equations):
            self._allocate(position, equation)
        return self.plan

    def _give(self, variable: Variable, buffer: Buffer) -> None:
        self.plan.buffer_of[variable] = buffer
        self.plan.holds[buffer].append(variable)
        is_kept = variable in self.escapes or variable in self.target
        last = math.inf if is_kept else max(self.readers[variable], default=-1)
        self.until[buffer] = max(last, self.until.get(buffer, -1))
        if buffer.parent is not None and buffer not in self.parts[buffer.parent]:
            self.parts[buffer.parent].append(buffer)

    def _find_views(self) -> None:
        for equation in self.equations:
            if is_view(equation, self.plan):
                self.plan.views[equation.out] = equation

    def _place_parts(self) -> None:
        """Let the flattened parts of a concatenation be computed where they will stand."""
        made_by = {e.out: e for e in self.equations}
        for equation in self.equations:
            if equation.primitive.name != "concatenate" or len(equation.out.shape) != 1:
                continue
            if equation.out in self.target or equation.out in self.escapes:
                continue
            assert equation.out.dtype is not None
            whole = Buffer(equation.out.shape, equation.out.dtype, "work")
            parts: list[tuple[Variable, Buffer]] = []
            start = 0
            for atom in equation.args:
                part = self._source(atom) if isinstance(atom, Variable) else None
                maker = made_by.get(part) if part is not None else None
                if part is None or maker is None or not self._writes_out(maker):
                    break
                if part in self.target or part in self.escapes or part in (v for v, _ in parts):
                    break
                assert part.dtype is not None
                parts.append((part, Buffer(part.shape, part.dtype, "work", "", whole, start)))
                start += part.size
            if len(parts) == len(equation.args) and parts:
                for part, buffer in parts:
                    term = self._term(made_by[part])
                    if term is not None and term in made_by and self._writes_out(made_by[term]):
                        self._give(term, buffer)
                    self._give(part, buffer)
                self._give(equation.out, whole)
                self.plan.placed.add(equation.out)

    def _term(self, equation: Equation) -> Variable | None:
        """The last term of a sum, where the sum may be added up in its place: dot into d_W, then
        add to it.
        """
        if equation.primitive.name != "add" or equation.group is not None:
            return None
        for term in reversed(list(equation.variables)):
            is_alike = (term.shape, term.dtype) == (equation.out.shape, equation.out.dtype)
            is_free = term not in self.target and term not in self.escapes
            if is_alike and is_free and self.readers[term] == [self.equations.index(equation)]:
                return term if term not in self.plan.views and term not in self.titled else None
        return None

    def _source(self, variable: Variable) -> Variable | None:
        """What a contiguous, whole view (a reshape) was made from."""
        while variable in self.plan.views:
            view = self.plan.views[variable]
            source = view.args[0]
            if view.primitive.name not in {"reshape", "ravel"} or not isinstance(source, Variable):
                return None
            variable = source
        return variable

    def _allocate(self, position: int, equation: Equation) -> None:
        out = equation.out
        if out in self.plan.views:
            source = equation.args[0]
            assert isinstance(source, Variable)
            if source in self.plan.unbuffered:
                self.plan.unbuffered.add(out)
            else:
                self._give(out, self.plan.buffer_of[source])
        elif out in self.plan.buffer_of:
            pass  # a part of a concatenation, placed already
        elif not self._writes_out(equation) or (self.fresh_outputs and out in self.escapes):
            self.plan.unbuffered.add(out)
        else:
            self._give(out, self._choose(position, equation))
        self._release(position, equation)

    def _choose(self, position: int, equation: Equation) -> Buffer:
        out = equation.out
        if out in self.target:
            state = self.plan.buffer_of[self.target[out]]
            if self._may_overwrite(state, position, equation):
                return state
        if is_elementwise(equation.primitive):
            for argument in equation.variables:
                buffer = self.plan.buffer_of.get(argument)
                if (
                    buffer is not None
                    and (argument.shape, argument.dtype) == (out.shape, out.dtype)
                    and argument not in self.plan.views
                    and buffer.shape == out.shape
                    and (buffer.kind != "scratch" or self._is_inner(out))
                    and self._may_rename(argument, equation)
                    and self._may_overwrite(buffer, position, equation)
                ):
                    return buffer
        key = (out.shape, out.dtype)
        assert out.dtype is not None
        if not self._is_inner(out):
            return Buffer(out.shape, out.dtype, "work")
        return self.free[key].pop() if self.free[key] else Buffer(out.shape, out.dtype, "scratch")

    def _may_rename(self, argument: Variable, equation: Equation) -> bool:
        """Whether the memory of an argument may go to the result without confusing the reader:
        z1 becomes a1 and d_a1 becomes d_z1, but a1 does not become a part of d_z1.
        """
        if argument not in self.titled:
            return True
        if equation.section == "update":
            return True  # an old mean, say, becomes the new one step by step
        result = self.result_of[self.step_of[equation.out]]
        is_carried_on = equation.section == "forward" or bool(argument.cotangent_of)
        return result in self.titled and result.shape == argument.shape and is_carried_on

    def _is_inner(self, variable: Variable) -> bool:
        """Whether a value is read only inside the helper (or the line) that makes it."""
        own = self.step_of[variable]
        if variable in self.target or variable in self.escapes:
            return False
        return self.step_readers[variable] <= {own}

    def _may_overwrite(self, buffer: Buffer, position: int, equation: Equation) -> bool:
        """Whether everything the buffer holds has been read for the last time at this position."""
        if buffer.kind in {"input", "constant"}:
            return False
        if buffer.kind == "state" and not any(
            self.plan.buffer_of[old] is buffer for old in self.graph.updates
        ):
            return False
        if buffer.parent is not None:
            return False
        # a concatenation placed in parts: its parts are dead once the whole is
        buffers = [buffer, *self.parts[buffer]]
        if any(self.until.get(held, -1) > position for held in buffers):
            return False
        return all(
            self._same_layout(variable, equation)
            for variable in equation.variables
            if self.plan.buffer_of.get(variable) in buffers
        )

    def _same_layout(self, variable: Variable, equation: Equation) -> bool:
        """Whether overwriting a value while an elementwise equation reads it is safe: it must be
        read element by element in the order it is written.
        """
        if equation.primitive.name == "where" and variable in equation.args[:2]:
            return False  # written in two statements: first the third argument, then the second
        return is_elementwise(equation.primitive) and (
            variable not in self.plan.views and variable.shape == equation.out.shape
        )

    def _release(self, position: int, equation: Equation) -> None:
        """Hand scratch buffers back that nobody reads any more."""
        for variable in dict.fromkeys((*equation.variables, equation.out)):
            buffer = self.plan.buffer_of.get(variable)
            if buffer is None or buffer.kind != "scratch":
                continue
            key = (buffer.shape, buffer.dtype)
            if self.until[buffer] <= position and buffer not in self.free[key]:
                self.free[key].append(buffer)


def plan_memory(
    graph: Graph,
    steps: list[list[Equation]],
    titled: set[Variable],
    fresh_outputs: bool,
    takes_out: Callable[[Equation], bool],
) -> MemoryPlan:
    """The memory of a graph whose equations are run in these steps (a helper is one step).

    The memory of a `titled` value, one with a name of its own, is taken over only by another. With
    `fresh_outputs` the results belong to the caller; without, they stand in buffers that the next
    call overwrites. `takes_out` says which results the engine can write into memory it is given.
    """
    return _Planner(graph, steps, titled, fresh_outputs, takes_out).run()
