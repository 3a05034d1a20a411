"""From a plan to the statements of a C file: loop nests, calls of kernels, loops over time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import final

import numpy as np

from chainrule.compiler.formula import formula_of, meaning_of_derivatives
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.groups import Group
from chainrule.compiler.naming import Labels, Scope, Symbol
from chainrule.compiler.plan import Plan
from chainrule.engines.c.access import Access
from chainrule.engines.c.blocks import block, copied, count
from chainrule.engines.c.comments import comment
from chainrule.engines.c.expressions import Operand, limits_of_numbers
from chainrule.engines.c.functions import defined_names
from chainrule.engines.c.indices import INDICES
from chainrule.engines.c.kernels.table import kernel_of
from chainrule.engines.c.loops import Nest, nest_lines
from chainrule.engines.c.numbers import number_lines
from chainrule.engines.c.parts import Field, File, Result
from chainrule.engines.c.places import Places
from chainrule.engines.c.types import UnsupportedError, c_type, literal
from chainrule.engines.c.words import RESERVED

__all__ = ["write_statements"]


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
    scope = Scope(RESERVED | defined_names() | {*INDICES}, is_ascii=True)
    function = scope.claim(Symbol(labels.function))
    file = File(labels, plan.graph, scope, function, first_kernel)
    places = Places(file, plan, symbols, titled)
    places.declare()
    step = _Step(places, original, titled)
    step.write()
    file.results = [step.result(atom) for atom in plan.graph.outputs]
    file.body = [*step.numbers_first, *places.lines, *step.lines]
    return file


@final
class _Step:
    """One writing of one plan: that of the function, or of what a loop over time does at a step."""

    def __init__(self, places: Places, original: Graph, titled: set[Variable]) -> None:
        self.places = places
        self.plan = places.plan
        self.file = places.file
        self.original = original.makers()
        self.titled = titled
        self.lines: list[str] = []
        self.numbers_first: list[str] = []
        self.kept: dict[
            Atom, Field
        ] = {}  # results set aside before the state they stand in changes

    def write(self, with_headings: bool = True) -> None:
        """The lines of all groups, and of the updates of the state after them."""
        section = ""
        for group in self.plan.groups:
            if all(e.out in self.plan.views or e.out in self.plan.placed for e in group.equations):
                continue
            if group.out.is_number:  # all of them before any state changes, for one may fail
                self.numbers_first += self._number(group)
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
            factors = [self.places.name(v) for v in meaning_of_derivatives(self.plan.graph)]
            words += f", times {' and '.join(factors)}" if factors else ""
        return [f"/* {words} */"]

    def _group(self, group: Group) -> list[str]:
        equation = group.equations[0]
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
        numbers = self.places.numbers
        lines: list[str] = []
        for equation in group.equations:
            name = self.places.scope.claim(self.places.symbols[equation.out])
            args = [numbers[a].text if isinstance(a, Variable) else a for a in equation.args]
            kinds = [
                a.dtype.kind if isinstance(a, Variable) else np.asarray(a).dtype.kind
                for a in equation.args
            ]
            lines += number_lines(equation, name, args, kinds)
            numbers[equation.out] = Operand(name, equation.out.dtype)
        return lines

    def _nest(self, group: Group) -> list[str]:
        places = self.places
        nest = Nest(
            group.equations,
            places.access,
            places.numbers.__getitem__,
            places.local_name,
            places.share,
        )
        return [*self._limits(group), *nest_lines(nest)]

    def _limits(self, group: Group) -> list[str]:
        """Python ints that meet narrower integers must fit these, else NumPy raises."""
        lines: dict[str, None] = {}
        for equation in group.equations:
            for atom, least, most in limits_of_numbers(equation):
                name = self.places.numbers[atom].text
                outside = [f"{name} < {least}"] if least is not None else []
                outside += [f"{name} > {most}"] if most is not None else []
                lines[f"if ({' || '.join(outside)})"] = None
        return [line for head in lines for line in (head, "    return 1;")]

    def _call(self, equation: Equation) -> list[str]:
        """The call of a kernel, which is written where no equal one is."""
        kernel, places, dtype = kernel_of(equation), self.places, equation.out.dtype
        if reason := kernel.refuses(equation):
            raise UnsupportedError(reason)
        if not equation.out.size and not kernel.fails:
            return []
        lines: list[str] = []  # that put arguments in order
        arrays, handed = self._arrays(equation, lines)
        if kernel.wants_blas(equation):
            handed = [(f"product_{c_type(dtype)} product", places.product(dtype)), *handed]
        if kernel.shares(equation):
            places.share()
            handed = [("int parts", "parts"), *handed]
        size, each = kernel.workspace(equation), kernel.for_each_part(equation)
        if size or each:
            workspace = places.workspace(size, dtype, each)
            handed = [*handed, (f"{c_type(dtype)} *restrict workspace", workspace)]
        declared, passed = zip(*handed, strict=True)
        name, fails = self._function(equation, arrays, declared)
        call = f"{name}({', '.join(passed)})"
        return [*lines, *([f"if ({call})", "    return 1;"] if fails else [f"{call};"])]

    def _arrays(
        self, equation: Equation, lines: list[str]
    ) -> tuple[list[Access], list[tuple[str, str]]]:
        """The arguments and the result of an equation: the arrays as its kernel calls them, and how
        each is declared there, with what it is handed.
        """
        places, is_ordered = self.places, kernel_of(equation).contiguous
        arrays: list[Access] = []
        handed: list[tuple[str, str]] = []
        n_arrays = sum(not isinstance(a, Variable) or a.kind != "generator" for a in equation.args)
        names = ["x", "y", "z"] if n_arrays < 4 else [f"x{i + 1}" for i in range(n_arrays)]
        for atom in equation.args:
            if not isinstance(atom, Variable) or atom.is_number:
                text, access = self._number_as_array(atom)
            elif atom.kind == "generator":
                handed.append(("struct generator *generator", places.numbers[atom].text))
                continue
            else:
                access = places.in_order(atom, lines) if is_ordered else places.standing(atom)
                text = access.first
            name = names[len(arrays)]
            arrays.append(replace(access, pointer=name, start=0))
            handed.append((f"const {access.c_type} *restrict {name}", text))
        out = places.standing(equation.out)
        arrays.append(replace(out, pointer="out", start=0))
        return arrays, [*handed, (f"{out.c_type} *restrict out", out.first)]

    def _number_as_array(self, atom: Atom) -> tuple[str, Access]:
        """A Python number where a kernel wants an array: one of one element."""
        if isinstance(atom, Variable):
            text, dtype = self.places.numbers[atom].text, atom.dtype
        else:
            dtype = np.asarray(atom).dtype
            text = literal(atom, dtype)
        return f"(const {c_type(dtype)}[]){{{text}}}", Access("", dtype, (), ())

    def _function(
        self, equation: Equation, arrays: list[Access], declared: Sequence[str]
    ) -> tuple[str, bool]:
        """The name of the function that computes an equation so, and whether it may fail."""
        kernel = kernel_of(equation)
        body = kernel.write(equation, arrays)
        used = set(re.findall(r"\w+", "\n".join(body)))
        unused = [own.pointer for own in arrays if own.pointer not in used]
        if kernel.shares(equation):
            unused.append("parts")  # where the compiler has no OpenMP
        body = [*(f"(void){name};" for name in unused), *body]
        fails = kernel.fails and any("return 1;" in line for line in body)
        kind = "int" if fails else "void"
        text = (kind, f"({', '.join(declared)})", equation.primitive.name, *body)
        known = self.file.kernels.get(text)
        if known is None:
            wish = _identifier(equation.primitive.name)
            known = self.places.scope.claim(Symbol(wish, self.file.first_kernel))
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
        outside = self.places
        inside = Places(self.file, body, outside.symbols, self.titled)
        t = outside.scope.claim(Symbol("t"))
        n_steps = next(v.shape[0] for v in list(equation.variables)[form.n_carry :])
        before: list[str] = []
        pairs = list(zip(equation.variables, equation.body.inputs, strict=True))
        carry, xs, constants = form.split(pairs)
        read, written = (f"{t} + 1", t) if form.reverse else (t, f"{t} + 1")
        for (outer, inner), out, keeps in zip(carry, equation.outs, form.keeps, strict=False):
            memory, start = outside.standing(out), outside.standing(outer)
            if keeps:
                edge = n_steps if form.reverse else 0
                first = replace(memory.part, start=memory.start + edge * memory.strides[0])
                before += copied(start, first)
                point = inside.point(inside.symbols[inner], memory, read)
                inside.memory[body.buffers[inner]] = point
            else:
                before += copied(start, memory)
                inside.memory[body.buffers[inner]] = memory
        for outer, inner in xs:
            stack = outside.in_order(outer, before, is_stack=True)
            point = inside.point(inside.symbols[inner], stack, t)
            inside.memory[body.buffers[inner]] = point
        for outer, inner in constants:
            inside.shown_as[inner] = outer
            inside.memory[body.buffers[inner]] = outside.in_order(outer, before)
        outs = [(out, t) for out in equation.outs[form.n_carry :]]
        kept = zip(equation.outs, form.keeps, strict=False)
        outs = [*((out, written) for out, keeps in kept if keeps), *outs]
        left: list[tuple[Variable, Access]] = []  # results that are copied to their places
        for (out, place), atom in zip(outs, body.graph.outputs, strict=True):
            assert isinstance(atom, Variable)
            point = inside.point(
                inside.symbols[atom], outside.standing(out), place, is_written=True
            )
            buffer = body.buffers.get(atom)
            is_free = buffer is not None and buffer not in inside.memory
            is_own = buffer is not None and buffer.kind == "work" and buffer.parent is None
            if buffer is not None and is_free and is_own and atom not in body.views:
                inside.memory[buffer] = point
            else:
                left.append((atom, point))
        inside.declare_buffers()
        step = _Step(inside, original, self.titled)
        step.write(with_headings=False)
        self.numbers_first += step.numbers_first
        for atom, point in left:
            own = step.kept.get(atom)
            source = own.access if own is not None else inside.standing(atom)
            step.lines += copied(source, point)
        head = count(t, n_steps, kind="long")
        if form.reverse:
            head = f"for (long {t} = {n_steps - 1}; {t} >= 0; {t}--)"
        where = comment(f"{equation.layer}: {n_steps} steps" if equation.layer else "one by one")
        pointers = _read_pointers(inside.lines, step.lines)
        return [*where, *before, *block(head, [*pointers, *step.lines])]

    # Comments

    def _comments(self, group: Group) -> list[str]:
        """A formula for each value that the group hands out."""
        lines: list[str] = []
        own = {e.out for e in group.equations} & self.places.local
        known = self.places.known

        def is_written_out(variable: Variable) -> bool:
            if variable in self.places.named:
                return False
            return variable in own or variable in self.plan.views or variable not in known

        for equation in group.equations:
            out = equation.out
            if out in self.places.local:
                continue
            last = self.original.get(out, equation)
            formula = formula_of(last, self.original, is_written_out).show(self.places.name)
            layer = equation.layer if group.section == "forward" else ""
            where = ", ".join(filter(None, [_shape(out), layer]))
            lines += comment(f"{self.places.name(out)} = {formula}   {where}".rstrip())
        return lines

    def _write_updates(self) -> None:
        """Copy into the state what could not be computed in its place, all of it at once."""
        body = self.lines
        for atom in self.plan.kept:
            access = self.places.standing(atom)
            own = self.places.add_memory("old_" + access.pointer, atom.shape, atom.dtype)
            self.kept[atom] = own
            body += comment(f"{access.pointer} is returned as it was before the update")
            body += copied(access, own.access)
        copies: list[str] = []
        for old, new in self.plan.copies.items():
            source, target = self.places.standing(new), self.places.standing(old)
            buffer = self.plan.buffers.get(new)
            if buffer is not None and buffer.kind == "state":
                own = self.places.add_memory("new_" + target.pointer, old.shape, old.dtype)
                body += copied(source, own.access)
                source = own.access
            copies += copied(source, target)
        body += copies

    def result(self, atom: Atom) -> Result:
        """Where the caller finds what the function gives."""
        if not isinstance(atom, Variable):
            return Result(number=atom)
        if atom in self.kept:
            own = self.kept[atom]
            return Result(access=own.access, field=own)
        if atom.is_number:
            own = self.places.add_result(atom)
            self.lines.append(f"own->{own.name} = {self.places.numbers[atom].text};")
            return Result(field=own)
        access, own = self.places.in_field(atom)
        return Result(access=access, field=own)


def _shape(variable: Variable) -> str:
    return str(variable.shape) if variable.shape else ""


def _identifier(name: str) -> str:
    return name if name.isidentifier() else "kernel"


def _read_pointers(pointers: list[str], lines: list[str]) -> list[str]:
    """The lines that set pointers which other lines read."""
    words = set(re.findall(r"\w+", "\n".join(lines)))
    return [line for line in pointers if line.partition(" = ")[0].split()[-1] in words]
