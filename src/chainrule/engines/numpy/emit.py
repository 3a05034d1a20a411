"""Printing: a graph as a Python file that imports only NumPy, reads like a textbook, and runs.

The code column is what makes the step fast, the comment column is the mathematics. Equations of
one vjp rule, or of one fused primitive, become a call of a helper that stands above the step.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.grouping import Step, group_equations
from chainrule.compiler.memory import Buffer, plan_memory
from chainrule.compiler.naming import Labels, name_variables
from chainrule.engines.numpy import expressions
from chainrule.engines.numpy.borrow import Borrowed
from chainrule.engines.numpy.comments import meaning_of_derivatives, update_formulas
from chainrule.engines.numpy.expressions import assign, expression, formula, show_value, write_into
from chainrule.engines.numpy.layout import LINE_LENGTH, TILE, Pieces, bound_variables, print_file
from chainrule.engines.numpy.ready import ReadyArrays

__all__ = ["Emitted", "emit"]

_SMALL = 32_768
"""Where no array is larger, what a call of NumPy costs beside the computing is worth saving: the
numbers stand ready as arrays, since to convert one takes 0.3 µs, and functions have bare names."""


@dataclass(frozen=True)
class Emitted:
    """The text of a compiled function; `bound` are the arrays its `bind` takes, in order."""

    source: str
    bound: tuple[Variable, ...]


def emit(
    graph: Graph,
    original: Graph,
    labels: Labels,
    fresh_outputs: bool = True,
    threads: Mapping[Variable, int] | None = None,
) -> Emitted:
    """Print a graph whose fused primitives have been expanded (`expand_fused`).

    The formulas in the comments are those of the `original`, in which they have not. With
    `fresh_outputs` the arrays the function returns belong to the caller; without, they are
    buffers that the next call overwrites. `threads` are how many kernels should use, by result;
    one where nothing is said.
    """
    return _Emitter(graph, original, labels, fresh_outputs, threads or {}).emit()


@dataclass
class _Helper:
    """A helper while it is written: the names its parameters have inside, and its lines."""

    names: dict[Variable, str] = field(default_factory=dict)
    buffers: dict[Buffer, str] = field(default_factory=dict)
    call: dict[str, str] = field(default_factory=dict)  # parameter -> what the step passes
    lines: list[str] = field(default_factory=list)

    def name(self, variable: Variable, wish: str) -> None:
        """Call a value made inside the helper by a name of its own there."""
        taken = {*self.names.values(), *self.call}
        name, number = f"{wish}_1", 1
        while name in taken:
            name, number = f"{wish}_{number + 1}", number + 1
        self.names[variable] = name


class _Emitter:
    """One printing of one graph."""

    def __init__(
        self,
        graph: Graph,
        original: Graph,
        labels: Labels,
        fresh_outputs: bool,
        threads: Mapping[Variable, int],
    ) -> None:
        self.graph = graph
        self.threads = threads
        self.fresh_outputs = fresh_outputs
        self.original = {e.out: e for e in original.equations}
        self.labels = labels
        self.names, self.titled = name_variables(graph, labels)
        self.steps = group_equations(graph, self.titled)
        units = [
            unit
            for step in self.steps
            for unit in ([step.equations] if step.group else [[e] for e in step.equations])
        ]
        self.plan = plan_memory(graph, units, self.titled, fresh_outputs, expressions.takes_out)
        parts = set(labels.parts.values())
        self.hoisted = [v for v in self.plan.views if self.names[v] in parts]
        self.buffer_names = self._name_buffers()
        self.helpers: dict[tuple[str, str], str] = {}  # wished name and text -> name
        self.borrowed = Borrowed()
        self.ready = ReadyArrays()
        self.imported: set[str] = set()  # functions under bare names
        sizes = [e.out.size for e in graph.equations if e.section != "update" and e.group is None]
        self.is_small = max(sizes, default=0) <= _SMALL
        self.tiled: set[Buffer] = set()
        self.returned: set[Variable] = set()  # views that a helper makes and returns
        # in a formula, the new value of a state goes by the name of the state
        self.shown = {
            new: self.names[old] for old, new in graph.updates.items() if isinstance(new, Variable)
        }
        self.kept: dict[Atom, str] = {}  # results copied before the state they stand in changes
        self.body: list[tuple[str, str]] = []

    def emit(self) -> Emitted:
        section = ""
        for step in self.steps:
            if all(e.out in self.plan.views or e.out in self.plan.placed for e in step.equations):
                continue
            if step.equations[-1].section != section:
                section = step.equations[-1].section
                heading = f"# {section}"
                if section == "backward":
                    heading += f": {meaning_of_derivatives(self.graph, self.names)}"
                self.body += [("", ""), (heading, "")]
            if step.group is None:
                self._statements(step)
            else:
                self._helper_call(step)
        self._write_updates()
        pieces = Pieces(
            self.graph,
            self.labels,
            self.plan,
            self.names,
            self.buffer_names,
            self.hoisted,
            self.tiled,
            self.borrowed,
            self.helpers,
            self.ready.expressions,
            self.imported,
            self.body,
            self._result,
        )
        return Emitted(print_file(pieces), bound_variables(self.graph))

    # Names and operands

    def _name_buffers(self) -> dict[Buffer, str]:
        """Each buffer's name: that of the last value it holds which has a name of its own."""
        lines = [step.equations for step in self.steps if not step.group]
        inner = {e.out for line in lines for e in line[:-1]}
        inner -= {
            v for line in lines if line[-1].out in self.plan.views for v in line[-1].variables
        }
        names: dict[Buffer, str] = {}
        scratch = 0
        for buffer, held in self.plan.holds.items():
            own = [v for v in held if v not in self.plan.views]
            if buffer.kind == "scratch" or (buffer.kind == "work" and inner.issuperset(own)):
                scratch += 1
                names[buffer] = f"scratch_{scratch}"
            elif buffer.kind == "work":
                names[buffer] = self.names[([v for v in own if v in self.titled] or own)[-1]]
            else:
                names[buffer] = self.names[own[0]]
        return names

    def _operand(self, atom: Atom) -> str:
        """How the step refers to a value: a number, a name, or a view written out."""
        if not isinstance(atom, Variable):
            return show_value(atom)
        if atom in self.plan.views and atom not in self.hoisted and atom not in self.returned:
            return expression(self.plan.views[atom], self._operand, self.borrowed)
        if atom in self.plan.buffer_of and atom not in self.plan.views:
            return self.buffer_names[self.plan.buffer_of[atom]]
        return self.names[atom]

    def _mathematical(self, atom: Atom) -> str:
        return self._title(atom) if isinstance(atom, Variable) else show_value(atom)

    def _title(self, variable: Variable) -> str:
        return self.shown.get(variable, self.names[variable])

    def _ones(self, equation: Equation) -> str:
        """A vector of ones as long as the axis that is summed (see expressions.write_into)."""
        (x, *_) = equation.variables
        return self.ready.ones(x)

    def _write(
        self, equation: Equation, name: str, operand: Callable[[Atom], str], ones: Any
    ) -> list[str]:
        """The statements for an equation with a buffer, in the terse form if that pays."""
        arrays = [v for v in equation.variables if v.dtype is not None]
        dtype = arrays[0].dtype if arrays else None

        def ready(atom: Atom) -> str:
            if isinstance(atom, Variable) or dtype is None or dtype.kind != "f":
                return operand(atom)
            if atom == 0 and equation.primitive.name == "maximum" and equation.out.shape:
                return self.ready.zeros(equation.out)
            return self.ready.number(atom, dtype) if self.is_small else operand(atom)

        is_ufunc = isinstance(equation.primitive.evaluate, np.ufunc)
        render, threads = ready if is_ufunc else operand, self.threads.get(equation.out, 1)
        lines = write_into(equation, name, render, ones, self.borrowed, threads)
        return [self._terse(line) for line in lines] if self.is_small else lines

    def _terse(self, line: str) -> str:
        """`np.add(a, b, out=c)` as `add(a, b, c)`, an eighth less of such a small call's time."""
        call = re.fullmatch(r"np\.(\w+)\((.*), out=(\w+)\)", line)
        if call is None:
            return line
        function, arguments, out = call.groups()
        if function != "dot" and not isinstance(getattr(np, function), np.ufunc):
            return line
        self.imported.add(function)
        if function in {"maximum", "minimum"}:  # NumPy wants the word there
            return f"{function}({arguments}, out={out})"
        return f"{function}({arguments}, {out})"

    # The body of the step

    def _statements(self, step: Step) -> None:
        """A chain of equations on lines of their own, under the formula of the last."""
        out = step.out
        if out.dtype is None:  # Python numbers: the formula is the code
            self.body.append((f"{self.names[out]} = {self._formula(step)}", ""))
            return
        first = len(self.body)
        for equation in step.equations:
            result = equation.out
            if result in self.plan.views or result in self.plan.placed:
                continue
            if result in self.plan.unbuffered:
                lines = assign(equation, self.names[result], self._operand, self.borrowed)
                self.body += [(line, "") for line in lines]
            else:
                name = self.buffer_names[self.plan.buffer_of[result]]
                lines = self._write(equation, name, self._operand, self._ones)
                self.body += [(line, "") for line in lines]
        code, comment = self.body[first][0], self._comment(step)
        self.body[first] = (code, "" if comment.endswith(code) else comment)

    def _comment(self, step: Step) -> str:
        """`layer: value = formula  (shape)`, without the formula where it would be too long."""
        out, equation = step.out, step.equations[-1]
        layer = f"{equation.layer}: " if equation.layer and equation.section == "forward" else ""
        shape = f"  {out.shape}" if out.shape else ""
        if step.group is not None and equation.section == "update":  # the helper has the formulas
            changed = [self.shown[e.out] for e in step.equations if e.out in self.shown]
            return f"new {', '.join(changed)}{shape}"
        text = self._formula(step)
        if len(text) > 72 and step.group is not None:
            given = (a for _, a in step.group.arguments if isinstance(a, Variable))
            read = {v for e in step.equations for v in e.variables}
            words = [self._mathematical(a) for a in given if a in read]
            text = f"{step.group.name}({', '.join(words)})"
        return f"{layer}{self._title(out)}" + (f" = {text}" if len(text) <= 72 else "") + shape

    def _formula(self, step: Step) -> str:
        """What a step computes, written in the values that have lines of their own."""
        return formula(step.out, self._inner(step), self._mathematical)

    def _inner(self, step: Step) -> dict[Variable, Equation]:
        """The equations a step's formula writes out: its own, as they were before fused primitives
        were taken apart, and the views it reads.
        """
        last = self.original.get(step.out, step.equations[-1])
        inner = {last.out: last}
        own = {e.out for e in step.equations}
        pending = list(last.variables)
        while pending:
            variable = pending.pop()
            maker = self.original.get(variable)
            is_view = variable in self.plan.views and variable not in self.hoisted
            if maker is not None and (variable in own or is_view):
                inner[variable] = maker
                pending += maker.variables
        return inner

    def _write_updates(self) -> None:
        """Copy into the state what could not be computed in its place, all of it at once.

        An old state that is to be the new value of another, or a result of the function, is set
        aside before either changes.
        """
        copies = []
        for old, new in self.graph.updates.items():
            for atom in self.graph.outputs:
                if not isinstance(atom, Variable) or atom is new or atom in self.kept:
                    continue
                if self.plan.buffer_of.get(atom) is self.plan.buffer_of[old]:
                    self.kept[atom] = f"old_{self.names[atom]}"
                    copy = f"{self.kept[atom]} = {self._operand(atom)}.copy()"
                    self.body.append((copy, "returned as it was before the update"))
        for old, new in self.graph.updates.items():
            placed = self.plan.buffer_of.get(new) if isinstance(new, Variable) else None
            if placed is self.plan.buffer_of[old] and new not in self.plan.views:
                continue
            source = self._operand(new)
            if placed is not None and placed.kind == "state":
                self.body.append((f"new_{self.names[old]} = {source}.copy()", ""))
                source = f"new_{self.names[old]}"
            copies.append((f"np.copyto({self.names[old]}, {source})", ""))
        self.body += copies

    def _result(self, atom: Atom) -> str:
        """How the function returns a value: a view of our memory as an array of its own."""
        if atom in self.kept:
            return self.kept[atom]
        text = self._operand(atom)
        buffer = self.plan.buffer_of.get(atom) if isinstance(atom, Variable) else None
        is_ours = buffer is not None and buffer.kind != "input"
        return f"{text}.copy()" if self.fresh_outputs and is_ours else text

    # Helpers

    def _helper_call(self, step: Step) -> None:
        """One call of a helper for the equations of a group."""
        helper = self._open_helper(step)

        def operand(atom: Atom) -> str:
            if not isinstance(atom, Variable):
                return show_value(atom)
            if atom in helper.names:
                return helper.names[atom]
            if atom in self.plan.views:
                return expression(self.plan.views[atom], operand, self.borrowed)
            return helper.buffers[self.plan.buffer_of[atom]]

        for equation in step.equations:
            out = equation.out
            if out in self.plan.views:
                continue
            if out in self.plan.unbuffered:
                helper.name(out, equation.primitive.name)
                helper.lines += assign(equation, helper.names[out], operand, self.borrowed)
            else:
                name = self._local_buffer(helper, out, step)
                helper.lines += self._write(
                    equation, name, operand, lambda e: self._passed_ones(helper, e)
                )
        if step.out in self.plan.unbuffered:
            helper.lines.append(f"return {operand(step.out)}")
            self.returned.add(step.out)
        self._call(step, helper)

    def _open_helper(self, step: Step) -> _Helper:
        """A helper with a parameter for everything the group reads from outside."""
        helper = _Helper()
        made = {e.out for e in step.equations}
        own_names = {a: n for n, a in step.group.arguments if isinstance(a, Variable)}  # type: ignore[union-attr]
        read = dict.fromkeys(v for e in step.equations for v in e.variables if v not in made)
        for variable in sorted(
            read, key=lambda v: list(own_names).index(v) if v in own_names else 99
        ):
            wish = own_names.get(variable, variable.name or self.names[variable])
            name = "value" if wish == "out" else wish
            while name in helper.call:
                name += "_"
            helper.names[variable] = name
            helper.call[name] = self._operand(variable)
            buffer = self.plan.buffer_of.get(variable)
            if buffer is not None and variable not in self.plan.views:
                helper.buffers.setdefault(buffer, name)
        return helper

    def _local_buffer(self, helper: _Helper, variable: Variable, step: Step) -> str:
        """The name, inside the helper, of the memory a result is written to."""
        buffer = self.plan.buffer_of[variable]
        is_result = buffer is self.plan.buffer_of.get(step.out) and len(step.equations) > 0
        if is_result and not self._updates_state(step):
            helper.call.setdefault("out", self.buffer_names[buffer])
            helper.buffers[buffer] = "out"
            return "out"
        if buffer not in helper.buffers:
            number = sum(name.startswith("scratch") for name in helper.call) + 1
            name = "scratch" if number == 1 else f"scratch_{number}"
            helper.buffers[buffer] = name
            helper.call[name] = self.buffer_names[buffer]
        return helper.buffers[buffer]

    def _passed_ones(self, helper: _Helper, equation: Equation) -> str:
        name = self._ones(equation)
        parameter = "ones" if helper.call.get("ones", name) == name else name
        helper.call[parameter] = name
        return parameter

    def _updates_state(self, step: Step) -> bool:
        return step.equations[-1].section == "update"

    def _call(self, step: Step, helper: _Helper) -> None:
        assert step.group is not None
        if "out" in helper.call:  # the last, whatever was met first
            helper.call["out"] = helper.call.pop("out")
        text = f"({', '.join(helper.call)}):\n"
        text += f'    """{self._helper_doc(step, helper)}"""\n'
        text += "\n".join(f"    {line}" for line in helper.lines)
        name = self._helper_name(step.group.name, text)
        length = self._tiled_length(step)
        if length is not None:
            self._tiled_call(helper, name, length)
            return
        call = f"{name}({', '.join(self._keywords_after_out(helper))})"
        if step.out in self.plan.unbuffered:
            call = f"{self.names[step.out]} = {call}"
        self.body.append((call, self._comment(step)))

    def _keywords_after_out(self, helper: _Helper) -> list[str]:
        """The arguments of a call: `out` and what follows it by keyword."""
        words: list[str] = []
        keyword = False
        for parameter, passed in helper.call.items():
            keyword = keyword or parameter == "out"
            words.append(f"{parameter}={passed}" if keyword else passed)
        return words

    def _helper_name(self, wish: str, text: str) -> str:
        known = self.helpers.get((wish, text))
        if known is None:
            same = sum(1 for other, _ in self.helpers if other == wish)
            known = wish if same == 0 else f"{wish}_{same + 1}"
            self.helpers[wish, text] = known
        return known

    def _helper_doc(self, step: Step, helper: _Helper) -> str:
        """What a helper computes: the primitive's own words, or the formula of the rule."""
        group = step.group
        assert group is not None
        if self._updates_state(step):
            doc = self.labels.docs.get(group.name, f"The update of {group.name}.")
            formulas = update_formulas(step.equations, self.graph.updates, helper.names)
            return "\n    ".join([f"{doc}\n", *formulas, ""]) if formulas else doc
        whole = self.original.get(step.out)
        if whole is not None and whole.primitive.is_fused and whole.primitive.name == group.name:
            doc = whole.primitive.evaluate.__doc__ or f"{group.name}, a function of the user's."
            line = doc.strip().split("\n")[0]
            return line.replace("\\", "\\\\").replace('"', "'")  # a user may have written it

        def show(atom: Atom) -> str:
            if isinstance(atom, Variable) and atom in helper.names:
                return helper.names[atom]
            return self._mathematical(atom)

        passed = {v for v, name in helper.names.items() if name in helper.call}
        inner = {v: e for v, e in self._inner(step).items() if v not in passed}
        text = formula(step.out, inner, show)
        if len(text) > 180:
            return f"The vjp rule of {group.name.split('_vjp')[0]}."
        return "\n    ".join(textwrap.wrap(text, 90, break_long_words=False))

    # Long vectors, a tile at a time

    def _tiled_length(self, step: Step) -> int | None:
        """The length of the vectors an update works on, where they are too long for the cache."""
        if not self._updates_state(step):
            return None
        shapes = {v.shape for e in step.equations for v in (*e.variables, e.out) if v.shape}
        if len(shapes) != 1:
            return None
        (shape,) = shapes
        return shape[0] if len(shape) == 1 and shape[0] > TILE else None

    def _tiled_call(self, helper: _Helper, name: str, length: int) -> None:
        """Call a helper on one part of its long vectors after the other."""
        buffers = {name: buffer for buffer, name in helper.buffers.items()}
        words = []
        for parameter, passed in helper.call.items():
            buffer = buffers.get(parameter)
            if buffer is None:
                words.append(passed)
            elif buffer.kind == "scratch":
                self.tiled.add(buffer)
                words.append(f"{passed}[part]")
            else:
                words.append(f"{passed}[tile]")
        has_scratch = any(word.endswith("[part]") for word in words)
        self.body += [
            (f"for start in range(0, {length}, {TILE}):", "in tiles that fit the cache"),
            (f"    tile = slice(start, start + {TILE})", ""),
        ]
        if has_scratch:
            self.body.append((f"    part = slice({length} - start)", ""))
        self.body += [(f"    {line}", "") for line in _wrapped_call(name, words)]


def _wrapped_call(name: str, words: list[str]) -> list[str]:
    """A call on one line, or with its arguments on lines of their own where that is too long."""
    line = f"{name}({', '.join(words)})"
    if len(line) <= LINE_LENGTH - 8:
        return [line]
    return [f"{name}(", *(f"    {w}" for w in textwrap.wrap(", ".join(words), 80)), ")"]
