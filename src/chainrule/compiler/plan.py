"""The plan of a program: which groups of equations run in which order, and where values live.

Memory is allocated once, before the first step. A result takes over the memory of an argument that
nobody reads afterwards (in place), the update of a state takes the state's own, a part of a
concatenation is computed where it will stand, and values that live inside one group share scratch
memory. Views have no memory of their own. The plan knows no engine's language; what an engine can
do in place or in memory that it is given, it asks of the engine's `Abilities`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from chainrule.compiler.graph import Atom, Equation, Graph, Origin, Variable
from chainrule.compiler.groups import Group, group_equations
from chainrule.compiler.layouts import Layouts

__all__ = [
    "TILE",
    "Abilities",
    "Buffer",
    "Plan",
    "PlanError",
    "check_plan",
    "make_plan",
    "with_last_values_as_state",
]

TILE = 32_768
"""Elements of a long vector that are updated at a time, so that they stay in the cache."""


Grouping: TypeAlias = Callable[[Graph, set[Variable]], list[Group]]
"""(graph, titled values) -> the equations in groups, in the order in which they run."""


class PlanError(Exception):
    """A value would be read where it no longer stands: a fault of the plan, not of the user."""


class Abilities(Protocol):
    """What an engine can do with memory."""

    def writes_into(self, equation: Equation) -> bool:
        """Whether it can write the equation's result to memory that it is given."""

    def writes_over(self, equation: Equation, position: int) -> bool:
        """Whether it can write the result over this argument, of equal shape, as it reads it."""


@dataclass(frozen=True, eq=False, slots=True)
class Buffer:
    """Memory for one array.

    `work` memory holds values with a line of their own, `scratch` such as live in one group only.
    A buffer with a parent is the part of it that begins at `start` and has this buffer's size.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: Literal["input", "state", "constant", "work", "scratch"]
    parent: Buffer | None = None
    start: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(slots=True)
class Plan:
    """What an engine needs to know to write a program down.

    `buffers` has the buffer of every value that stands in one, a view its source's; `views` are the
    equations that only read memory otherwise; `placed` the concatenations whose parts were computed
    in their places. Values without a buffer are numbers, and what the engine allocates anew.
    `holds` lists what each buffer holds in turn. Before the state changes, `kept` results are set
    aside; then every state in `copies` takes its new value, the old states among them first.
    `tiles` are the lengths of the groups that run over long vectors, a tile at a time. `bodies` are
    the plans of what loops do at a step, by the loop's first result. Loops read copies, in C order,
    of what is `straightened`.
    """

    graph: Graph
    groups: list[Group] = field(default_factory=list)
    buffers: dict[Variable, Buffer] = field(default_factory=dict)
    views: dict[Variable, Equation] = field(default_factory=dict)
    placed: set[Variable] = field(default_factory=set)
    holds: dict[Buffer, list[Variable]] = field(default_factory=lambda: defaultdict(list))
    kept: list[Variable] = field(default_factory=list)
    copies: dict[Variable, Variable] = field(default_factory=dict)
    tiles: dict[Origin, int] = field(default_factory=dict)
    bodies: dict[Variable, Plan] = field(default_factory=dict)
    straightened: set[Variable] = field(default_factory=set)

    def stands(self, variable: Variable) -> bool:
        """Whether the value has a buffer of its own, and is no view of one."""
        return variable in self.buffers and variable not in self.views

    def is_allocated_anew(self, variable: Variable) -> bool:
        """Whether the engine allocates the value at each call."""
        return variable not in self.buffers and variable not in self.views


def make_plan(
    graph: Graph,
    titled: set[Variable],
    abilities: Abilities,
    *,
    fresh_results: bool = True,
    exact: bool = True,
    strides: Mapping[Variable, tuple[int, ...]] | None = None,
    group: Grouping = group_equations,
) -> Plan:
    """The plan of a graph; `titled` are the values with a name of their own.

    The memory of a titled value is taken over only by another. With `fresh_results` the results
    belong to the caller; without, they stand in memory that the next call overwrites. An `exact`
    plan keeps to NumPy's order of elements, given the `strides` of inputs that are not in C order.
    `group` says which equations run together, and in which order.
    """
    groups = group(graph, titled)
    layouts = Layouts(graph, strides or {}, follow=exact)
    plan = _Planner(graph, groups, titled, abilities, fresh_results, layouts).run()
    _plan_updates(plan)
    for unit in groups:
        if unit.origin is not None and (length := _tiled_length(unit)):
            plan.tiles[unit.origin] = length
    for equation in graph.equations:
        if equation.body is not None:
            arrays = [*equation.variables][equation.params["form"].n_carry :]
            plan.straightened |= {v for v in arrays if exact and not layouts.is_plain(v)}
            body = with_last_values_as_state(equation)
            own = {atom for atom in body.ends if isinstance(atom, Variable)}
            plan.bodies[equation.out] = make_plan(
                body, titled | own, abilities, fresh_results=False, exact=exact, group=group
            )
    return check_plan(plan, abilities)


def with_last_values_as_state(loop: Equation) -> Graph:
    """The body of a loop as a program for one step, whose state are the carries of which only the
    last value is wanted; its inputs are the others, the xs and the constants.
    """
    body, form = loop.body, loop.params["form"]
    assert body is not None
    carry, xs, constants = form.split(body.inputs)
    changes = zip(carry, body.outputs, form.keeps, strict=False)
    updates = {old: new for old, new, keeps in changes if not keeps and new is not old}
    state = tuple(v for v, keeps in zip(carry, form.keeps, strict=True) if not keeps)
    kept = tuple(v for v, keeps in zip(carry, form.keeps, strict=True) if keeps)
    is_output = [*form.keeps, *(True for _ in body.outputs[form.n_carry :])]
    outputs = tuple(a for a, is_one in zip(body.outputs, is_output, strict=True) if is_one)
    inputs = (*kept, *xs, *constants)
    return replace(body, inputs=inputs, state=state, outputs=outputs, updates=updates)


def _plan_updates(plan: Plan) -> None:
    """What could not be computed in the place of its state: it is copied there, all at once.

    An old state that is a result of the function is set aside before it changes.
    """
    graph, buffers = plan.graph, plan.buffers
    for old, new in graph.updates.items():
        assert isinstance(new, Variable)  # check_graph has seen to it
        if buffers.get(new) is not buffers[old] or new in plan.views:
            plan.copies[old] = new
    changing = {buffers[old] for old in plan.copies}
    results = dict.fromkeys(atom for atom in graph.outputs if isinstance(atom, Variable))
    plan.kept += [variable for variable in results if buffers.get(variable) in changing]


def _tiled_length(group: Group) -> int | None:
    """The length of the vectors an update works on, where they are too long for the cache."""
    if not group.updates_state or not all(e.primitive.elementwise for e in group.equations):
        return None
    shapes = {v.shape for e in group.equations for v in (*e.variables, e.out) if v.shape}
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    return shape[0] if len(shape) == 1 and shape[0] > TILE else None


class _Planner:
    """The walk over the equations; `plan` is what it finds."""

    def __init__(
        self,
        graph: Graph,
        groups: list[Group],
        titled: set[Variable],
        abilities: Abilities,
        fresh_results: bool,
        layouts: Layouts,
    ) -> None:
        self.graph = graph
        self.titled = titled
        self.abilities = abilities
        self.fresh_results = fresh_results
        self.layouts = layouts
        self.plan = Plan(graph, groups, views=layouts.views)
        self.free: dict[Any, list[Buffer]] = defaultdict(list)
        self.target = {new: old for old, new in graph.updates.items() if isinstance(new, Variable)}
        # what runs as one: a group with an origin, or an equation on a line of its own
        units = [
            unit
            for group in groups
            for unit in ([group.equations] if group.is_unit else [(e,) for e in group.equations])
        ]
        self.nest_of = {e.out: g for g in groups if g.is_nest for e in g.equations}
        self.result_of = [unit[-1].out for unit in units]
        self.unit_of = {out: i for i, unit in enumerate(units) for e in unit for out in e.outs}
        self.equations = [e for unit in units for e in unit]
        self.until: dict[Buffer, float] = {}  # where what it has held is read for the last time
        self.parts: dict[Buffer, list[Buffer]] = defaultdict(list)
        self.readers: dict[Variable, list[int]] = defaultdict(list)
        self.reading_units: dict[Variable, set[int]] = defaultdict(set)
        for position, equation in enumerate(self.equations):
            for variable in equation.variables:
                self.readers[variable].append(position)
                self.reading_units[variable].add(self.unit_of[equation.out])
        self.escapes = {a for a in graph.outputs if isinstance(a, Variable)}

    def run(self) -> Plan:
        self._give_all("input", self.graph.inputs)
        self._give_all("state", self.graph.state)
        self._give_all("constant", tuple(self.graph.constants))
        self._place_parts()
        for position, equation in enumerate(self.equations):
            self._allocate(position, equation)
        return self.plan

    def _give_all(self, kind: Any, variables: tuple[Variable, ...]) -> None:
        for variable in variables:
            if variable.is_array:
                self._give(variable, Buffer(variable.shape, variable.dtype, kind))

    def _give(self, variable: Variable, buffer: Buffer) -> None:
        self.plan.buffers[variable] = buffer
        self.plan.holds[buffer].append(variable)
        is_kept = variable in self.escapes or variable in self.target
        last = math.inf if is_kept else max(self.readers[variable], default=-1)
        self.until[buffer] = max(last, self.until.get(buffer, -1))
        if buffer.parent is not None and buffer not in self.parts[buffer.parent]:
            self.parts[buffer.parent].append(buffer)

    def _writes_into(self, equation: Equation) -> bool:
        out = equation.out
        is_array = out.is_array and equation.body is None
        return is_array and self.layouts.is_plain(out) and self.abilities.writes_into(equation)

    def _place_parts(self) -> None:
        """Let the flattened parts of a concatenation be computed where they will stand."""
        made_by = {e.out: e for e in self.equations}
        for equation in self.equations:
            out = equation.out
            if equation.name != "concatenate" or len(out.shape) != 1:
                continue
            if out in self.target or out in self.escapes or not self.layouts.is_plain(out):
                continue
            whole = Buffer(out.shape, out.dtype, "work")
            parts: list[tuple[Variable, Buffer]] = []
            start = 0
            for atom in equation.args:
                part = self._source(atom) if isinstance(atom, Variable) else None
                maker = made_by.get(part) if part is not None else None
                if part is None or maker is None or not self._writes_into(maker):
                    break
                if part in self.target or part in self.escapes or part in (v for v, _ in parts):
                    break
                if part.dtype != out.dtype or part in self.plan.buffers:
                    break
                parts.append((part, Buffer(part.shape, part.dtype, "work", whole, start)))
                start += part.size
            if len(parts) == len(equation.args) and parts:
                for part, buffer in parts:
                    term = self._term(made_by[part])
                    if term is not None and term in made_by and self._writes_into(made_by[term]):
                        self._give(term, buffer)
                    self._give(part, buffer)
                self._give(out, whole)
                self.plan.placed.add(out)

    def _term(self, equation: Equation) -> Variable | None:
        """The last term of a sum, where the sum may be added up in its place: dot into d_W, then
        add to it.
        """
        if equation.name != "add" or equation.origin is not None:
            return None
        for position, term in reversed(list(enumerate(equation.args))):
            if not isinstance(term, Variable) or not self._reads_as_it_writes(
                position, term, equation
            ):
                continue
            is_free = term not in self.target and term not in self.escapes
            if is_free and len(self.readers[term]) == 1:
                is_own = term not in self.titled
                return term if is_own and term not in self.plan.buffers else None
        return None

    def _source(self, variable: Variable) -> Variable | None:
        """What a contiguous, whole view (a reshape) was made from."""
        while variable in self.plan.views:
            view = self.plan.views[variable]
            source = view.args[0]
            if view.name != "reshape" or not isinstance(source, Variable):
                return None
            variable = source
        return variable

    def _allocate(self, position: int, equation: Equation) -> None:
        for out in equation.outs:
            if equation.body is not None:  # a loop writes its results step by step
                self._give(out, Buffer(out.shape, out.dtype, "work"))
            elif out in self.plan.views:
                (source,) = equation.variables
                if source in self.plan.buffers:
                    self._give(out, self.plan.buffers[source])
            elif out in self.plan.buffers:
                pass  # a part of a concatenation, placed already
            elif self._writes_into(equation) and not (self.fresh_results and out in self.escapes):
                self._give(out, self._choose(position, equation))
        self._release(position, equation)

    def _choose(self, position: int, equation: Equation) -> Buffer:
        out = equation.out
        if out in self.target:
            state = self.plan.buffers[self.target[out]]
            if self._may_overwrite(state, position, equation):
                return state
        for argument in equation.variables:
            buffer = self.plan.buffers.get(argument)
            if (
                buffer is not None
                and (buffer.kind != "scratch" or self._is_inner(out))
                and self._may_rename(argument, equation)
                and self._may_overwrite(buffer, position, equation)
            ):
                return buffer
        if not self._is_inner(out):
            return Buffer(out.shape, out.dtype, "work")
        free = self.free[out.shape, out.dtype]
        return free.pop() if free else Buffer(out.shape, out.dtype, "scratch")

    def _may_rename(self, argument: Variable, equation: Equation) -> bool:
        """Whether the memory of an argument may go to the result without confusing the reader:
        z1 becomes a1 and d_a1 becomes d_z1, but a1 does not become a part of d_z1.
        """
        if argument not in self.titled:
            return True
        if equation.section == "update":
            return True  # an old mean, say, becomes the new one step by step
        result = self.result_of[self.unit_of[equation.out]]
        is_carried_on = equation.section == "forward" or bool(self.graph.cotangents.get(argument))
        return result in self.titled and result.shape == argument.shape and is_carried_on

    def _is_inner(self, variable: Variable) -> bool:
        """Whether a value is read only inside the unit that makes it."""
        if variable in self.target or variable in self.escapes:
            return False
        return self.reading_units[variable] <= {self.unit_of[variable]}

    def _may_overwrite(self, buffer: Buffer, position: int, equation: Equation) -> bool:
        """Whether everything the buffer holds has been read for the last time at this position."""
        if buffer.kind in {"input", "constant"} or buffer.parent is not None:
            return False
        is_updated = any(self.plan.buffers[old] is buffer for old in self.graph.updates)
        if buffer.kind == "state" and not is_updated:
            return False
        # a concatenation placed in parts: its parts are dead once the whole is
        buffers = [buffer, *self.parts[buffer]]
        if any(self.until.get(held, -1) > position for held in buffers):
            return False
        nest = self.nest_of.get(equation.out)
        if nest is not None and not _reads_in_step(self.plan, nest, buffers, equation.out.shape):
            return False
        return all(
            self._reads_as_it_writes(i, atom, equation)
            for i, atom in enumerate(equation.args)
            if isinstance(atom, Variable) and self.plan.buffers.get(atom) in buffers
        )

    def _reads_as_it_writes(self, position: int, argument: Variable, equation: Equation) -> bool:
        """Whether an argument may be overwritten while it is read: where it is read element by
        element in the order in which it is written.
        """
        return (
            argument not in self.plan.views
            and argument.shape == equation.out.shape
            and argument.dtype == equation.out.dtype
            and self.abilities.writes_over(equation, position)
        )

    def _release(self, position: int, equation: Equation) -> None:
        """Hand scratch memory back that nobody reads any more."""
        for variable in dict.fromkeys((*equation.variables, *equation.outs)):
            buffer = self.plan.buffers.get(variable)
            if buffer is None or buffer.kind != "scratch":
                continue
            free = self.free[buffer.shape, buffer.dtype]
            if self.until[buffer] <= position and buffer not in free:
                free.append(buffer)


def _reads_in_step(
    plan: Plan, nest: Group, buffers: Sequence[Buffer], shape: tuple[int, ...]
) -> bool:
    """Whether a nest reads these buffers only at the element that it is about to write."""
    return all(
        variable.shape == shape and variable not in plan.views
        for equation in nest.equations
        for variable in equation.variables
        if plan.buffers.get(variable) in buffers
    )


def check_plan(plan: Plan, abilities: Abilities) -> Plan:
    """Return the plan if every value is read only while it stands where the plan says.

    Walks over the equations once more, without the planner's bookkeeping: a buffer holds what was
    written to it last, and whatever overlaps with it holds nothing any more.
    """
    graph = plan.graph
    standing: dict[Buffer, dict[Buffer, Variable]] = defaultdict(dict)  # by the whole they are in
    for variable in (*graph.state, *graph.inputs, *graph.constants):
        if variable.is_array:
            buffer = plan.buffers[variable]
            standing[_whole(buffer)][buffer] = variable

    def require(variable: Variable, reader: str) -> None:
        while variable in plan.views:
            (variable,) = plan.views[variable].variables
        buffer = plan.buffers.get(variable)
        if buffer is not None and standing[_whole(buffer)].get(buffer) is not variable:
            raise PlanError(f"{reader} reads a value of shape {variable.shape} that is gone")

    for group in plan.groups:
        for equation in group.equations:
            name = equation.name
            for variable in equation.variables:
                require(variable, name)
            for out in filter(plan.stands, equation.outs):
                target = plan.buffers[out]
                held = standing[_whole(target)]
                if (target.shape, target.dtype) != (out.shape, out.dtype):
                    raise PlanError(f"{name} writes a result into memory of another form")
                if target.kind in {"input", "constant"}:
                    raise PlanError(f"{name} writes into memory that is not the program's own")
                if out not in plan.placed:
                    for i, atom in enumerate(equation.args):
                        _check_overlap(plan, abilities, equation, i, atom, target)
                    over = [b for b in plan.holds if group.is_nest and _overlap(b, target)]
                    if not _reads_in_step(plan, group, over, out.shape):
                        raise PlanError(f"{name} writes over what its nest reads elsewhere")
                    for other in [b for b in held if _overlap(b, target)]:
                        del held[other]
                held[target] = out
    for atom in graph.outputs:
        if isinstance(atom, Variable) and atom not in plan.kept:
            require(atom, "the result")
    for new in (*plan.copies.values(), *plan.kept):
        require(new, "an update")
    return plan


def _check_overlap(
    plan: Plan, abilities: Abilities, equation: Equation, position: int, atom: Atom, target: Buffer
) -> None:
    """Raise if the equation reads the argument otherwise than it writes over it."""
    if not isinstance(atom, Variable) or atom not in plan.buffers:
        return
    source = plan.buffers[atom]
    if not _overlap(source, target):
        return
    in_step = source is target and atom not in plan.views and atom.shape == equation.out.shape
    if not (in_step and abilities.writes_over(equation, position)):
        raise PlanError(f"{equation.name} writes over its argument while it reads it")


def _whole(buffer: Buffer) -> Buffer:
    return buffer.parent or buffer


def _overlap(a: Buffer, b: Buffer) -> bool:
    """Whether two buffers share memory."""
    if a is b or a.parent is b or b.parent is a:
        return True
    is_sibling = a.parent is not None and a.parent is b.parent
    return is_sibling and a.start < b.start + b.size and b.start < a.start + a.size
