"""Printing: a graph as a Python file that imports only NumPy, reads like a textbook, and runs.

The code column is what makes the step fast, the comment column is the mathematics. Equations of
one vjp rule, or of one fused primitive, become a call of a helper that stands above the step.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.compiler.borrow import Borrowed
from chainrule.compiler.expressions import assign, expression, formula, show_value, write_into
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.grouping import Step, group_equations
from chainrule.compiler.layout import LINE_LENGTH, TILE, Pieces, bound_variables, print_file
from chainrule.compiler.memory import Buffer, plan_memory
from chainrule.compiler.naming import Labels, name_variables
from chainrule.primitives.primitive import PRIMITIVES

__all__ = ["Emitted", "emit"]

_NUMBER_NAMES = {0.5: "half", 1: "one", 2: "two", 0: "zero", -1: "minus_one"}
_SMALL = 32_768
"""Where no array is larger, what a call of NumPy costs beside the computing is worth saving: the
numbers stand ready as arrays, since to convert one takes 0.3 µs, and functions have bare names."""


@dataclass(frozen=True)
class Emitted:
    """The text of a compiled function; `bound` are the arrays its `bind` takes, in order."""

    source: str
    bound: tuple[Variable, ...]


def emit(graph: Graph, original: Graph, labels: Labels, fresh_outputs: bool = True) -> Emitted:
    """Print a graph whose fused primitives have been expanded (`expand_fused`).

    The formulas in the comments are those of the `original`, in which they have not. With
    `fresh_outputs` the arrays the function returns belong to the caller; without, they are
    buffers that the next call overwrites.
    """
    return _Emitter(graph, original, labels, fresh_outputs).emit()


@dataclass
class _Helper:
    """A helper while it is written: the names its parameters have inside, and its lines."""

    names: dict[Variable, str] = field(default_factory=dict)
    buffers: dict[Buffer, str] = field(default_factory=dict)
    call: dict[str, str] = field(default_factory=dict)  # parameter -> what the step passes
    lines: list[str] = field(default_factory=list)


class _Emitter:
    """One printing of one graph."""

    def __init__(self, graph: Graph, original: Graph, labels: Labels, fresh_outputs: bool) -> None:
        self.graph = graph
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
        self.plan = plan_memory(graph, units, self.titled, fresh_outputs)
        parts = set(labels.parts.values())
        self.hoisted = [v for v in self.plan.views if self.names[v] in parts]
        self.buffer_names = self._name_buffers()
        self.helpers: dict[tuple[str, str], str] = {}  # wished name and text -> name
        self.borrowed = Borrowed()
        self.ones: dict[str, str] = {}  # name -> expression
        self.numbers: dict[str, str] = {}
        self.imported: set[str] = set()  # functions under bare names
        sizes = [e.out.size for e in graph.equations if e.section != "update" and e.group is None]
        self.is_small = max(sizes, default=0) <= _SMALL
        self.tiled: set[Buffer] = set()
        self.returned: set[Variable] = set()  # views that a helper makes and returns
        self.body: list[tuple[str, str]] = []

    def emit(self) -> Emitted:
        section = ""
        for step in self.steps:
            if all(e.out in self.plan.views or e.out in self.plan.placed for e in step.equations):
                continue
            if step.equations[-1].section != section:
                section = step.equations[-1].section
                meaning = (
                    ": d_v is the derivative of the loss by v" if section == "backward" else ""
                )
                self.body += [("", ""), (f"# {section}{meaning}", "")]
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
            self.numbers | self.ones,
            self.imported,
            self.body,
            self._result,
        )
        return Emitted(print_file(pieces), bound_variables(self.graph))

    # Names and operands

    def _name_buffers(self) -> dict[Buffer, str]:
        """Each buffer's name: that of the last value it holds which has a name of its own."""
        names: dict[Buffer, str] = {}
        scratch = 0
        for buffer, held in self.plan.holds.items():
            own = [v for v in held if v not in self.plan.views]
            if buffer.kind == "scratch":
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
        return self.names[atom] if isinstance(atom, Variable) else show_value(atom)

    def _ones(self, equation: Equation) -> str:
        """A vector of ones as long as the axis that is summed (see expressions.write_into)."""
        x = equation.args[0]
        assert isinstance(x, Variable)
        assert x.dtype is not None
        name = f"ones_{x.shape[0]}"
        self.ones[name] = f"np.ones({x.shape[0]}, np.{x.dtype.name})"
        return name

    def _write(
        self, equation: Equation, name: str, operand: Callable[[Atom], str], ones: Any
    ) -> list[str]:
        """The statements for an equation with a buffer, in the terse form if that pays."""
        if not self.is_small:
            return write_into(equation, name, operand, ones)
        arrays = [v for v in equation.variables if v.dtype is not None]
        dtype = arrays[0].dtype if arrays else None

        def ready(atom: Atom) -> str:
            if isinstance(atom, Variable) or dtype is None or dtype.kind != "f":
                return operand(atom)
            text = show_value(atom)
            number = _NUMBER_NAMES.get(atom, "number_" + re.sub(r"\W", "_", text))
            self.numbers[number] = f"np.array({text}, np.{dtype.name})"
            return number

        is_ufunc = isinstance(equation.primitive.evaluate, np.ufunc)
        lines = write_into(equation, name, ready if is_ufunc else operand, ones)
        return [self._terse(line) for line in lines]

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
        self.body[first] = (code, "" if comment.startswith(code) else comment)

    def _comment(self, step: Step) -> str:
        """`layer: value = formula  (shape)`, without the formula where it would be too long."""
        out, equation = step.out, step.equations[-1]
        layer = f"{equation.layer}: " if equation.layer and equation.section == "forward" else ""
        shape = f"  {out.shape}" if out.shape else ""
        text = self._formula(step)
        return f"{layer}{self.names[out]}" + (f" = {text}" if len(text) <= 60 else "") + shape

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

        An old state that is to be the new value of another is set aside before either changes.
        """
        copies = []
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
            if atom in self.plan.unbuffered:
                return self.names[atom]
            return helper.buffers[self.plan.buffer_of[atom]]

        for equation in step.equations:
            out = equation.out
            if out in self.plan.views:
                continue
            if out in self.plan.unbuffered:
                helper.lines += assign(equation, self.names[out], operand, self.borrowed)
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
            wish = own_names.get(variable, self.names[variable])
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
        if group.name in self.labels.docs:
            return self.labels.docs[group.name]
        if group.name in PRIMITIVES:
            doc = PRIMITIVES[group.name].evaluate.__doc__ or ""
            return doc.strip().split("\n")[0]

        def show(atom: Atom) -> str:
            if isinstance(atom, Variable) and atom in helper.names:
                return helper.names[atom]
            return self._mathematical(atom)

        text = formula(step.out, self._inner(step), show)
        return text if len(text) <= 90 else f"The vjp rule of {group.name.split('_vjp')[0]}."

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
