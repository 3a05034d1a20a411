"""Where the values of a plan stand in C, and what they are called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

import numpy as np

from chainrule.compiler.graph import Variable
from chainrule.compiler.layouts import Layouts
from chainrule.compiler.naming import Symbol, name_buffers
from chainrule.compiler.plan import Buffer, Plan
from chainrule.engines.c.access import Access, contiguous_strides, index_text
from chainrule.engines.c.blocks import copied
from chainrule.engines.c.expressions import Operand
from chainrule.engines.c.parts import Field, File
from chainrule.engines.c.types import UnsupportedError, c_type

__all__ = ["Places"]


@final
class Places:
    """The memory of one plan: that of the function, or of what a loop over time does at a step.

    `memory` says where each buffer is, `numbers` what a Python number is called, and `local` are
    the values that live in a nest alone. `lines` point to parts of arrays, at the top of the step.
    """

    def __init__(
        self, file: File, plan: Plan, symbols: dict[Variable, Symbol], titled: set[Variable]
    ) -> None:
        self.file = file
        self.plan = plan
        self.scope = file.scope
        self.symbols = symbols
        self.lines: list[str] = []
        self.memory: dict[Buffer, Access] = {}
        self.numbers: dict[Variable, Operand] = {}
        self.shown_as: dict[Variable, Variable] = {}  # by whose name values go in comments
        self.local = _local_values(plan)
        self.named: dict[Variable, str] = {}  # parts of the state: pointers to them
        self._parts: dict[str, Access] = {}  # by the name of such a pointer: what it points to
        self._buffer_names = name_buffers(plan, symbols, titled)
        self._layouts = Layouts(plan.graph, {}, follow=False)
        self._pointers: set[Symbol] = set()
        # an old state that is the new value of another one keeps its own name
        self._new = {
            new: old
            for old, new in plan.graph.updates.items()
            if isinstance(new, Variable) and new not in plan.graph.updates
        }

    # Fields

    def declare(self) -> None:
        """A field for every array that lives outside the loops, and for every number."""
        graph = self.plan.graph
        for variable in (*graph.state, *graph.inputs):
            self.scope.claim(self.symbols[variable])
        for variable in graph.inputs:
            if not variable.is_array:
                self._declare_number(variable)
        self.declare_buffers()
        self._name_parts()

    def declare_buffers(self) -> None:
        """A field for each buffer that has no memory yet."""
        live, constants = self._live_buffers(), self.plan.graph.constants
        found: list[Field] = []
        for buffer, held in self.plan.holds.items():
            if buffer.parent is not None or buffer not in live or buffer in self.memory:
                continue
            name = self.scope.claim(self._buffer_names[buffer])
            kind = "work" if buffer.kind == "scratch" else buffer.kind
            first = held[0] if kind != "work" else None
            constant = constants.get(first) if first is not None else None
            own = Field(
                name, c_type(buffer.dtype), buffer.shape, buffer.dtype, kind, first, constant
            )
            found.append(own)
            self.memory[buffer] = own.access
        order = ["input", "state", "constant", "work"]
        self.file.fields += sorted(found, key=lambda own: order.index(own.kind))
        for buffer in self.plan.holds:
            whole = buffer.parent
            if whole is not None and whole in self.memory:
                start = self.memory[whole].start + buffer.start
                strides = contiguous_strides(buffer.shape)
                pointer = self.memory[whole].pointer
                self.memory[buffer] = Access(pointer, buffer.dtype, buffer.shape, strides, start)

    def _live_buffers(self) -> set[Buffer]:
        """The buffers that something is written to or read from, by their wholes."""
        live: set[Buffer] = set()
        for variable, buffer in self.plan.buffers.items():
            if variable not in self.local:
                live.add(buffer.parent or buffer)
        return live

    def _name_parts(self) -> None:
        """Pointers to parts of the state that have a name, and to those of a concatenation."""
        for view in self.plan.views:
            access = self.access(view)
            root = view
            while root in self.plan.views:
                (root,) = self.plan.views[root].variables
            is_part = root in self.plan.graph.state and bool(self.plan.graph.name_of(view))
            if is_part and access is not None and access.is_contiguous:
                name = self.scope.claim(self.symbols[view])
                self.lines.append(f"{access.c_type} *{name} = {access.first};")
                self.named[view], self._parts[name] = name, access
        for buffer, memory in self.memory.items():
            if buffer.parent is not None:
                name = self.scope.claim(self._buffer_names[buffer])
                self.lines.append(f"{memory.c_type} *{name} = {memory.first};")
                self.memory[buffer] = replace(memory, pointer=name, start=0)
                self._parts[name] = memory

    def _declare_number(self, variable: Variable) -> None:
        name = self.scope.claim(self.symbols[variable])
        kind, text = "generator", ""
        if variable.is_number:
            kind, text = "number", c_type(variable.dtype)
        own = Field(name, text, (), variable.dtype, kind, variable)
        self.file.fields.append(own)
        self.numbers[variable] = Operand(name, variable.dtype)

    def add_memory(self, wish: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Field:
        """A field for memory that the plan does not know of."""
        name = self.scope.claim(Symbol(wish))
        own = Field(name, c_type(dtype), shape, dtype, "work")
        self.file.fields.append(own)
        return own

    def workspace(self, size: int, dtype: np.dtype[Any], for_each_part: int) -> str:
        """The name of the field whose memory the kernels use one after the other: as large as the
        largest of them needs it.
        """
        fields, workspaces = self.file.fields, self.file.workspaces
        name = workspaces.get(c_type(dtype))
        if name is None:
            name = self.add_memory("workspace", (0,), dtype).name
            workspaces[c_type(dtype)] = name
        number = next(i for i, own in enumerate(fields) if own.name == name)
        own = fields[number]
        fields[number] = replace(
            own,
            shape=(max(own.shape[0], size),),
            for_each_part=max(own.for_each_part, for_each_part),
        )
        return name

    def product(self, dtype: np.dtype[Any]) -> str:
        """The name of the field with the matrix product of BLAS for this dtype."""
        kind = f"product_{c_type(dtype)}"
        for own in self.file.fields:
            if own.c_type == kind:
                return own.name
        name = self.scope.claim(Symbol("product"))
        self.file.fields.append(Field(name, kind, (), dtype, "product"))
        return name

    def share(self) -> None:
        """Fields for the numbers of threads and of the parts of long loops."""
        if not self.file.has_threads:
            kind = np.dtype(np.int64)
            self.file.fields += [
                Field(name, "int64_t", (), kind, name) for name in ("threads", "parts")
            ]

    def add_result(self, variable: Variable) -> Field:
        """A field for a number that the function gives."""
        name = self.scope.claim(Symbol(f"{self.numbers[variable].text}_given"))
        own = Field(name, c_type(variable.dtype), (), variable.dtype, "result")
        self.file.fields.append(own)
        return own

    # Values

    def access(self, variable: Variable) -> Access | None:
        """Where a value stands; None where it is a local variable of its nest."""
        if variable in self.local and variable not in self.plan.views:
            return None
        root = variable
        while root in self.plan.views and root not in self.named:
            (root,) = self.plan.views[root].variables
        buffer = self.plan.buffers.get(root)
        if buffer is None:
            raise UnsupportedError(f"a value of {root.shape} without memory")
        base, array = self._layouts.array(root), self._layouts.array(variable)
        item = base.itemsize
        start = (array.ctypes.data - base.ctypes.data) // item if variable is not root else 0
        strides = tuple(step // item for step in array.strides)
        if variable is root:
            strides = contiguous_strides(root.shape)
        if root in self.named:
            return Access(self.named[root], variable.dtype, variable.shape, strides, start)
        memory = self.memory[buffer]
        start += memory.start
        return Access(memory.pointer, variable.dtype, variable.shape, strides, start)

    def standing(self, variable: Variable) -> Access:
        """Where a value stands that is no local one."""
        access = self.access(variable)
        assert access is not None, "a local value is read outside of its nest"
        return access

    def in_field(self, variable: Variable) -> tuple[Access, Field]:
        """Where a value stands, counted from the field that it is a part of."""
        access = self.standing(variable)
        part = self._parts.get(access.pointer)
        if part is not None:
            access = replace(access, pointer=part.pointer, start=access.start + part.start)
        return access, next(own for own in self.file.fields if own.name == access.pointer)

    def in_order(self, variable: Variable, lines: list[str], is_stack: bool = False) -> Access:
        """Where a value stands, or its parts along the first axis, in C order; a copy of it, made
        by these lines, where that is not so.
        """
        access = self.standing(variable)
        if (access.part if is_stack else access).is_contiguous:
            return access
        own = self.add_memory("in_order", variable.shape, variable.dtype)
        lines += copied(access, own.access)
        return own.access

    def point(self, wish: Symbol, stack: Access, place: str, *, is_written: bool = False) -> Access:
        """A pointer, set at the top of each step of a loop, to a part of an array outside."""
        name = self.scope.claim(wish if wish not in self._pointers else Symbol(wish.wish or "part"))
        self._pointers.add(wish)
        offset = index_text(stack.strides[:1], [place], stack.start)
        kind = stack.c_type if is_written else f"const {stack.c_type}"
        self.lines.append(f"{kind} *restrict {name} = {stack.pointer} + {offset};")
        return replace(stack.part, pointer=name, start=0)

    def name(self, variable: Variable) -> str:
        """What a value is called in comments: the new value of a state by the state's name."""
        variable = self._new.get(variable, variable)
        variable = self.shown_as.get(variable, variable)
        return self.scope.claim(self.symbols[variable])

    def local_name(self, variable: Variable) -> str:
        """A new name for a variable in a loop, after that of a value."""
        return self.scope.claim(Symbol(_wish(self.symbols[variable])))

    @property
    def known(self) -> set[Variable]:
        """The values that have a place of their own, which formulas call by name."""
        graph = self.plan.graph
        made = {out for g in self.plan.groups for e in g.equations for out in e.outs}
        return {*graph.inputs, *graph.state, *graph.constants, *(made - self.local)}


def _local_values(plan: Plan) -> set[Variable]:
    """What only the nest that makes it reads."""
    nest_of = {
        out: group
        for group in plan.groups
        if group.is_nest
        for e in group.equations
        for out in e.outs
    }
    local = set(nest_of)
    for group in plan.groups:
        for equation in group.equations:
            local -= {v for v in equation.variables if nest_of.get(v) is not group}
    return local - {atom for atom in plan.graph.ends if isinstance(atom, Variable)}


def _wish(symbol: Symbol) -> str:
    return symbol.wish + (_wish(symbol.of) if symbol.of else "")
