"""From a plan to the statements of a C file: loop nests, calls of kernels, and what they need."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.compiler.formula import formula_of, meaning_of_derivatives
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.groups import Group
from chainrule.compiler.layouts import Layouts
from chainrule.compiler.naming import Labels, Scope, Symbol, name_buffers
from chainrule.compiler.plan import Buffer, Plan
from chainrule.engines.c.access import Access, contiguous_strides, index_text
from chainrule.engines.c.expressions import Operand, limits_of_numbers
from chainrule.engines.c.kernels.table import kernel_of
from chainrule.engines.c.loops import Nest, nest_lines
from chainrule.engines.c.numbers import number_lines
from chainrule.engines.c.types import UnsupportedError, c_type, literal
from chainrule.engines.c.words import RESERVED

__all__ = ["Field", "File", "Result", "comment", "copy_lines", "write_statements"]


@dataclass(frozen=True)
class Field:
    """A member of the structure that a step works on: memory for an array, a number, a generator.

    `variable` is the input, state or constant that it holds, None for memory of the step's own.
    """

    name: str
    c_type: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    variable: Variable | None = None
    constant: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class Result:
    """What the function gives: a number written into it, or a field and where in it to read."""

    number: float | int | bool | None = None
    access: Access | None = None
    field: Field | None = None


@dataclass
class File:
    """Everything that a file is printed from."""

    labels: Labels
    graph: Graph
    scope: Scope
    function: str
    first_kernel: int = 1
    fields: list[Field] = field(default_factory=list)
    kernels: dict[tuple[str, ...], str] = field(default_factory=dict)  # text -> name
    body: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    can_fail: bool = False


def write_statements(
    plan: Plan,
    original: Graph,
    labels: Labels,
    symbols: dict[Variable, Symbol],
    titled: set[Variable],
    first_kernel: int = 1,
) -> File:
    """The statements of a plan; formulas in comments are those of the `original` graph.

    The functions of its own are numbered from `first_kernel`, for files of several programs.
    """
    scope = Scope(RESERVED, is_ascii=True)
    function = scope.claim(Symbol(labels.function))
    file = File(labels, plan.graph, scope, function, first_kernel)
    step = _Step(file, plan, original, symbols, titled)
    step.declare()
    step.write()
    file.body = [*step.numbers_first, *step.lines]
    file.results = [step.result(atom) for atom in plan.graph.outputs]
    return file


class _Step:
    """One writing of one plan: that of the function, or of what a loop over time does at a step."""

    def __init__(
        self,
        file: File,
        plan: Plan,
        original: Graph,
        symbols: dict[Variable, Symbol],
        titled: set[Variable],
    ) -> None:
        self.file = file
        self.plan = plan
        self.graph = plan.graph
        self.original = original.makers()
        self.symbols = symbols
        self.titled = titled
        self.scope = file.scope
        self.layouts = Layouts(plan.graph, {}, follow=False)
        self.lines: list[str] = []
        self.numbers_first: list[str] = []
        made = {out for g in plan.groups for e in g.equations for out in e.outs}
        self.made = made
        self.memory: dict[Buffer, Access] = {}
        self.numbers: dict[Variable, Operand] = {}
        self.kept: dict[Atom, Field] = {}
        self.shown_as: dict[Variable, Variable] = {}  # by whose name values go in comments
        self.hoisted: dict[Variable, str] = {}  # named parts of the state: pointers to them
        self.pointers: set[Symbol] = set()
        self.new = {
            new: old for old, new in plan.graph.updates.items() if isinstance(new, Variable)
        }
        unit_of = {
            out: number
            for number, group in enumerate(plan.groups)
            for e in group.equations
            for out in e.outs
        }
        self.local: set[Variable] = {
            out for group in plan.groups if group.is_nest for e in group.equations for out in e.outs
        }
        for number, group in enumerate(plan.groups):
            for equation in group.equations:
                self.local -= {v for v in equation.variables if unit_of.get(v) != number}
        self.local -= {atom for atom in plan.graph.ends if isinstance(atom, Variable)}

    # Memory and names

    def declare(self) -> None:
        """A field for every array that lives outside the loops, and for every number."""
        graph = self.graph
        for variable in (*graph.state, *graph.inputs):
            self.scope.claim(self.symbols[variable])
        for variable in graph.inputs:
            if not variable.is_array:
                self._declare_number(variable)
        self._declare_buffers()
        self._name_parts()

    def _name_parts(self) -> None:
        """Pointers to parts of the state that have a name, and to those of a concatenation."""
        names = name_buffers(self.plan, self.symbols, self.titled)
        for view in self.plan.views:
            access = self.access(view)
            root = view
            while root in self.plan.views:
                (root,) = self.plan.views[root].variables
            is_part = root in self.graph.state and bool(self.graph.name_of(view))
            if is_part and access is not None and access.is_contiguous:
                name = self.scope.claim(self.symbols[view])
                self.lines.append(f"{access.c_type} *{name} = {access.first};")
                self.hoisted[view] = name
        for buffer, memory in self.memory.items():
            if buffer.parent is not None:
                name = self.scope.claim(names[buffer])
                self.lines.append(f"{memory.c_type} *{name} = {memory.first};")
                self.memory[buffer] = replace(memory, pointer=name, start=0)

    def _declare_buffers(self) -> None:
        """A field for each buffer that has no memory yet."""
        names = name_buffers(self.plan, self.symbols, self.titled)
        live = self._live_buffers()
        found: list[Field] = []
        for buffer, held in self.plan.holds.items():
            if buffer.parent is not None or buffer not in live or buffer in self.memory:
                continue
            name = self.scope.claim(names[buffer])
            is_given = buffer.kind in {"input", "state", "constant"}
            first = held[0] if is_given else None
            constant = self.graph.constants.get(first) if first is not None else None
            own = Field(
                name, c_type(buffer.dtype), buffer.shape, buffer.dtype, buffer.kind, first, constant
            )
            found.append(own)
            self.memory[buffer] = _whole(own)
        order = {"input": 0, "state": 1, "constant": 2, "work": 3, "scratch": 3}
        self.file.fields += sorted(found, key=lambda own: order[own.kind])
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

    def _declare_number(self, variable: Variable) -> None:
        name = self.scope.claim(self.symbols[variable])
        kind = "generator" if not variable.is_number else "number"
        text = "struct generator *" if kind == "generator" else c_type(variable.dtype)
        own = Field(name, text, (), variable.dtype, kind, variable)
        self.file.fields.append(own)
        self.numbers[variable] = Operand(name, variable.dtype)

    def add_memory(self, wish: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Field:
        """A field for memory that the plan does not know of."""
        name = self.scope.claim(Symbol(wish))
        own = Field(name, c_type(dtype), shape, dtype, "work")
        self.file.fields.append(own)
        return own

    def access(self, variable: Variable) -> Access | None:
        """Where a value stands; None where it is a local variable of its nest."""
        if variable in self.local and variable not in self.plan.views:
            return None
        root = variable
        while root in self.plan.views and root not in self.hoisted:
            (root,) = self.plan.views[root].variables
        buffer = self.plan.buffers.get(root)
        if buffer is None:
            raise UnsupportedError(f"a value of {root.shape} without memory")
        base, array = self.layouts.array(root), self.layouts.array(variable)
        item = base.itemsize
        start = (array.ctypes.data - base.ctypes.data) // item if variable is not root else 0
        strides = tuple(step // item for step in array.strides)
        if variable is root:
            strides = contiguous_strides(root.shape)
        if root in self.hoisted:
            return Access(self.hoisted[root], variable.dtype, variable.shape, strides, start)
        memory = self.memory[buffer]
        start += memory.start
        return Access(memory.pointer, variable.dtype, variable.shape, strides, start)

    def name(self, variable: Variable) -> str:
        """What a value is called in comments: the new value of a state by the state's name."""
        while variable in self.new and self.new[variable] is not variable:
            variable = self.new[variable]
        variable = self.shown_as.get(variable, variable)
        return self.scope.claim(self.symbols[variable])

    # The groups

    def write(self, with_headings: bool = True) -> None:
        """The lines of all groups, and of the updates of the state after them."""
        section = ""
        for group in self.plan.groups:
            if all(e.out in self.plan.views or e.out in self.plan.placed for e in group.equations):
                continue
            if group.section != section:
                section = group.section
                self.lines += ["", *self._heading(section)] if with_headings else []
            self.lines += self._group(group)
        self._write_updates()

    def _heading(self, section: str) -> list[str]:
        words = section
        if section == "backward":
            words += ": d_v is the derivative of the loss by v"
            factors = [self.name(v) for v in meaning_of_derivatives(self.graph)]
            words += f", times {' and '.join(factors)}" if factors else ""
        return [f"/* {words} */"]

    def _group(self, group: Group) -> list[str]:
        equation = group.equations[0]
        if equation.out.is_number:  # all of them before any state changes, for one may fail
            self.numbers_first += self._number(group)
            return []
        if equation.body is not None:
            return self._loop(equation)
        if group.is_nest:
            return [*self._comments(group), *self._nest(group)]
        lines: list[str] = []
        for equation in group.equations:
            if equation.out not in self.plan.views and equation.out not in self.plan.placed:
                call = self._call(equation)
                lines += [*self._comments(Group((equation,))), *call] if call else []
        return lines

    def _number(self, group: Group) -> list[str]:
        lines: list[str] = []
        for equation in group.equations:
            name = self.scope.claim(self.symbols[equation.out])
            args = [self.numbers[a].text if isinstance(a, Variable) else a for a in equation.args]
            kinds = [
                a.dtype.kind if isinstance(a, Variable) else np.asarray(a).dtype.kind
                for a in equation.args
            ]
            lines += number_lines(equation, name, args, kinds)
            self.file.can_fail |= any("return 1" in line for line in lines)
            self.numbers[equation.out] = Operand(name, equation.out.dtype)
        return lines

    def _nest(self, group: Group) -> list[str]:
        nest = Nest(
            group.equations,
            self.access,
            lambda variable: self.numbers[variable],
            lambda variable: self.scope.claim(Symbol(_local_wish(self.symbols[variable]))),
            self.indices,
        )
        lines = [*self._limits(group), *nest_lines(nest)]
        self.file.can_fail |= any("return 1;" in line for line in lines)
        return lines

    def _limits(self, group: Group) -> list[str]:
        """Python ints that meet narrower integers must fit these, else NumPy raises."""
        lines: dict[str, None] = {}
        for equation in group.equations:
            for atom, least, most in limits_of_numbers(equation):
                name = self.numbers[atom].text
                outside = [f"{name} < {least}"] if least is not None else []
                outside += [f"{name} > {most}"] if most is not None else []
                lines[f"if ({' || '.join(outside)})"] = None
        return [line for head in lines for line in (head, "    return 1;")]

    @property
    def indices(self) -> list[str]:
        return [*"ijkl", *(f"l{number}" for number in range(5, 65))]

    def _call(self, equation: Equation) -> list[str]:
        """The call of a kernel, which is written where no equal one is."""
        kernel = kernel_of(equation)
        if reason := kernel.refuses(equation):
            raise UnsupportedError(reason)
        if not equation.out.size and not kernel.fails:
            return []
        arrays: list[Access] = []
        lines: list[str] = []
        passed: list[str] = []
        generators = [v for v in equation.variables if v.kind == "generator"]
        for atom in equation.args:
            if not isinstance(atom, Variable) or atom.is_number:
                text, access = self._number_as_array(atom)
                arrays.append(access)
                passed.append(text)
                continue
            if atom in generators:
                passed.append(self.numbers[atom].text)
                continue
            access = self._as_wanted(atom, kernel.contiguous, lines)
            arrays.append(access)
            passed.append(access.first)
        out = self.access(equation.out)
        assert out is not None
        arrays.append(out)
        passed.append(out.first)
        if kernel.wants_blas(equation):
            passed.insert(0, self._product(equation.out.dtype))
        name, fails = self._kernel(equation, arrays, bool(generators))
        if size := kernel.workspace(equation):
            passed.append(self.add_memory("workspace", (size,), equation.out.dtype).name)
        call = f"{name}({', '.join(passed)})"
        self.file.can_fail |= fails
        return [*lines, *([f"if ({call})", "    return 1;"] if fails else [f"{call};"])]

    def _product(self, dtype: np.dtype[Any]) -> str:
        """The name of the field with the matrix product of BLAS for this dtype."""
        kind = f"product_{c_type(dtype)}"
        for own in self.file.fields:
            if own.c_type == kind:
                return own.name
        name = self.scope.claim(Symbol("product"))
        self.file.fields.append(Field(name, kind, (), dtype, "product"))
        return name

    def _number_as_array(self, atom: Atom) -> tuple[str, Access]:
        """A Python number where a kernel wants an array: one of one element."""
        if isinstance(atom, Variable):
            text, dtype = self.numbers[atom].text, atom.dtype
        else:
            dtype = np.asarray(atom).dtype
            text = literal(atom, dtype)
        return f"(const {c_type(dtype)}[]){{{text}}}", Access("", dtype, (), ())

    def _as_wanted(self, variable: Variable, contiguous: bool, lines: list[str]) -> Access:
        """Where an argument stands; a copy in C order where the kernel wants one."""
        access = self.access(variable)
        assert access is not None
        if not contiguous or access.is_contiguous:
            return access
        own = self.add_memory("in_order", variable.shape, variable.dtype)
        copy = Access(own.name, own.dtype, own.shape, contiguous_strides(own.shape))
        lines += copy_lines(access, copy, self.indices)
        return copy

    def _kernel(self, equation: Equation, arrays: list[Access], draws: bool) -> tuple[str, bool]:
        """The name of the function that computes an equation so."""
        kernel = kernel_of(equation)
        names = [
            *(f"{'xyz'[i]}" if len(arrays) <= 4 else f"x{i + 1}" for i in range(len(arrays) - 1)),
            "out",
        ]
        inner = [
            Access(name, a.dtype, a.shape, a.strides) for name, a in zip(names, arrays, strict=True)
        ]
        *inputs, result = inner
        parameters = ["struct generator *generator"] if draws else []
        if kernel.wants_blas(equation):
            parameters.append(f"product_{result.c_type} product")
        parameters += [f"const {a.c_type} *restrict {a.pointer}" for a in inputs]
        parameters += [f"{result.c_type} *restrict {result.pointer}"]
        if kernel.workspace(equation):
            parameters.append(f"{result.c_type} *restrict workspace")
        body = kernel.write(equation, inner)
        used = set(re.findall(r"\w+", "\n".join(body)))
        unused = [own.pointer for own in inner if own.pointer not in used]
        body = [*(f"(void){pointer};" for pointer in unused), *body]
        fails = kernel.fails and any("return 1;" in line for line in body)
        kind = "int" if fails else "void"
        text = (kind, f"({', '.join(parameters)})", equation.primitive.name, *body)
        known = self.file.kernels.get(text)
        if known is None:
            wish = _identifier(equation.primitive.name)
            known = self.scope.claim(Symbol(wish, self.file.first_kernel))
            self.file.kernels[text] = known
        return known, fails

    # Loops over time

    def _loop(self, equation: Equation) -> list[str]:
        """A loop: its results begin with the first carries, and each step writes its part of them.

        What a step reads and gives are pointers into the arrays outside.
        """
        form, body = equation.params["form"], self.plan.bodies[equation.out]
        original = self.original[equation.out].body
        assert original is not None
        assert equation.body is not None
        step = _Step(self.file, body, original, self.symbols, self.titled)
        t = self.scope.claim(Symbol("t"))
        n_steps = next(v.shape[0] for v in list(equation.variables)[form.n_carry :])
        before: list[str] = []
        pairs = list(zip(equation.variables, equation.body.inputs, strict=True))
        carry, xs, constants = form.split(pairs)
        read, written = (f"{t} + 1", t) if form.reverse else (t, f"{t} + 1")
        for (outer, inner), out, keeps in zip(carry, equation.outs, form.keeps, strict=False):
            memory, start = self.access(out), self.access(outer)
            assert memory is not None
            assert start is not None
            if keeps:
                edge = n_steps if form.reverse else 0
                first = replace(_part(memory), start=memory.start + edge * memory.strides[0])
                before += copy_lines(start, first, self.indices)
                step.points(inner, body.buffers[inner], memory, read)
            else:
                before += copy_lines(start, memory, self.indices)
                step.memory[body.buffers[inner]] = memory
        for outer, inner in xs:
            access = self._in_order(outer, before, is_stack=True)
            step.points(inner, body.buffers[inner], access, t)
        for outer, inner in constants:
            step.shown_as[inner] = outer
            step.memory[body.buffers[inner]] = self._in_order(outer, before)
        outs = [(out, t) for out in equation.outs[form.n_carry :]]
        kept = zip(equation.outs, form.keeps, strict=False)
        outs = [*((out, written) for out, keeps in kept if keeps), *outs]
        left: list[tuple[Atom, Access]] = []  # results that are copied to their places
        for (out, place), atom in zip(outs, body.graph.outputs, strict=True):
            memory = self.access(out)
            assert memory is not None
            buffer = body.buffers.get(atom) if isinstance(atom, Variable) else None
            is_work = buffer is not None and buffer.kind == "work" and buffer.parent is None
            if buffer is not None and is_work and buffer not in step.memory:
                assert isinstance(atom, Variable)
                if atom not in body.views:
                    step.points(atom, buffer, memory, place, is_written=True)
                    continue
            wish = self.symbols[atom] if isinstance(atom, Variable) else Symbol("result")
            left.append((atom, step.pointer(wish, memory, place, is_written=True)))
        step._declare_buffers()
        step.write(with_headings=False)
        self.numbers_first += step.numbers_first
        for atom, place_of in left:
            own = step.kept.get(atom)
            assert isinstance(atom, Variable)
            source = _whole(own) if own is not None else step.access(atom)
            assert source is not None
            step.lines += copy_lines(source, place_of, self.indices)
        head = f"for (long {t} = 0; {t} < {n_steps}; {t}++) {{"
        if form.reverse:
            head = f"for (long {t} = {n_steps - 1}; {t} >= 0; {t}--) {{"
        where = comment(f"{equation.layer}: {n_steps} steps" if equation.layer else "one by one")
        return [*where, *before, head, *(f"    {line}" for line in step.lines), "}"]

    def points(
        self, variable: Variable, buffer: Buffer, stack: Access, place: str,
        is_written: bool = False,
    ) -> None:  # fmt: skip
        """Let a value of a step stand in its part of an array outside."""
        self.memory[buffer] = self.pointer(self.symbols[variable], stack, place, is_written)

    def pointer(self, wish: Symbol, stack: Access, place: str, is_written: bool = False) -> Access:
        """A pointer, set at the top of each step, to a part of an array outside."""
        name = self.scope.claim(wish if wish not in self.pointers else Symbol(wish.wish or "part"))
        self.pointers.add(wish)
        part = _part(stack)
        offset = index_text(stack.strides[:1], [place], stack.start)
        kind = stack.c_type if is_written else f"const {stack.c_type}"
        self.lines.append(f"{kind} *restrict {name} = {stack.pointer} + {offset};")
        return replace(part, pointer=name, start=0)

    def _in_order(self, variable: Variable, lines: list[str], is_stack: bool = False) -> Access:
        """Where an argument of a loop stands, its parts in C order; a copy of it where need be."""
        access = self.access(variable)
        assert access is not None
        if (_part(access) if is_stack else access).is_contiguous:
            return access
        own = self.add_memory("in_order", variable.shape, variable.dtype)
        lines += copy_lines(access, _whole(own), self.indices)
        return _whole(own)

    # Comments

    def _comments(self, group: Group) -> list[str]:
        """A formula for each value that the group hands out."""
        lines: list[str] = []
        own = {e.out for e in group.equations} & self.local
        known = self.known

        def is_written_out(variable: Variable) -> bool:
            if variable in self.hoisted:
                return False
            return variable in own or variable in self.plan.views or variable not in known

        for equation in group.equations:
            out = equation.out
            if out in self.local:
                continue
            last = self.original.get(out, equation)
            formula = formula_of(last, self.original, is_written_out).show(self.name)
            layer = f", {equation.layer}" if equation.layer and group.section == "forward" else ""
            lines += comment(f"{self.name(out)} = {formula}   {_shape(out)}{layer}")
        return lines

    @property
    def known(self) -> set[Variable]:
        """The values that have a place of their own, which formulas call by name."""
        graph = self.graph
        return {*graph.inputs, *graph.state, *graph.constants, *(self.made - self.local)}

    def _write_updates(self) -> None:
        """Copy into the state what could not be computed in its place, all of it at once."""
        body = self.lines
        for atom in self.plan.kept:
            access = self.access(atom)
            assert access is not None
            own = self.add_memory("old_" + access.pointer, atom.shape, atom.dtype)
            self.kept[atom] = own
            body += comment(f"{access.pointer} is returned as it was before the update")
            body += copy_lines(access, _whole(own), self.indices)
        copies: list[str] = []
        for old, new in self.plan.copies.items():
            source, target = self.access(new), self.access(old)
            assert source is not None
            assert target is not None
            buffer = self.plan.buffers.get(new)
            if buffer is not None and buffer.kind == "state":
                own = self.add_memory("new_" + target.pointer, old.shape, old.dtype)
                body += copy_lines(source, _whole(own), self.indices)
                source = _whole(own)
            copies += copy_lines(source, target, self.indices)
        body += copies

    def result(self, atom: Atom) -> Result:
        """Where the caller finds what the function gives."""
        if not isinstance(atom, Variable):
            return Result(number=atom)
        fields = {own.name: own for own in self.file.fields}
        if atom in self.kept:
            own = self.kept[atom]
            return Result(access=_whole(own), field=own)
        if not atom.is_array:
            raise UnsupportedError("a Python number as a result")
        access = self.access(atom)
        assert access is not None
        return Result(access=access, field=fields[access.pointer])


def copy_lines(source: Access, target: Access, indices: list[str]) -> list[str]:
    """The elements of one array written to another of equal shape."""
    if source.is_contiguous and target.is_contiguous:
        size = f"{source.size} * sizeof({source.c_type})"
        return [f"memcpy({target.first}, {source.first}, {size});"] if source.size else []
    loops = indices[: len(source.shape)]
    lines = [f"{target.at(*loops)} = {source.at(*loops)};"]
    for index, extent in reversed(list(zip(loops, source.shape, strict=True))):
        head = f"for (long {index} = 0; {index} < {extent}; {index}++)"
        lines = [head, *(f"    {line}" for line in lines)]
    return lines


def _part(stack: Access) -> Access:
    """One part of an array along its first axis, the first."""
    return replace(stack, shape=stack.shape[1:], strides=stack.strides[1:])


def _whole(own: Field) -> Access:
    return Access(own.name, own.dtype, own.shape, contiguous_strides(own.shape))


def comment(text: str) -> list[str]:
    """Text as a comment, on as many lines as it takes; what ends a comment in C does not end it."""
    import textwrap

    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    text = text.replace("*/", "* /").replace("/*", "/ *")
    lines = textwrap.wrap(text, 92, break_long_words=False)[:4]
    if len(lines) == 1:
        return [f"/* {lines[0]} */"]
    return [f"/* {lines[0]}", *(f"   {line}" for line in lines[1:-1]), f"   {lines[-1]} */"]


def _shape(variable: Variable) -> str:
    return str(variable.shape) if variable.shape else ""


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "kernel"


def _local_wish(symbol: Symbol) -> str:
    return symbol.wish + (_local_wish(symbol.of) if symbol.of else "")
