"""The printed file around the body of the function: helpers, memory, `bind`, and its own run."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Scope, Symbol
from chainrule.compiler.passes import uniform
from chainrule.compiler.plan import TILE, Buffer
from chainrule.engines.engine import NumPyArray
from chainrule.engines.numpy.code import LINE_LENGTH, Loop, Printer, Statement, show_array
from chainrule.engines.numpy.parts import File, Helper

__all__ = ["Text", "print_file"]

_SHORT = 32  # elements of a constant that is written into the file
_LONGEST_DOC = 180


@dataclass(frozen=True)
class Text:
    """The text of a file, and what its function, and the one that binds arrays, are called."""

    source: str
    function: str
    bind: str
    constants: dict[str, Variable]  # those that are too large to stand in it, by name


def _stands_in_text(constant: NumPyArray) -> bool:
    return constant.size <= _SHORT or uniform(constant) is not None


def print_file(file: File) -> Text:
    """Give out names, and make text of everything."""
    printed = _Printed(file)
    source = "\n".join(printed.lines()) + "\n"
    names = printed.names
    constants = {names[file.symbols[v]]: v for v in printed.large}
    return Text(source, names[printed.function], names[printed.bind], constants)


class _Printed:
    """One file while it is printed."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.graph = file.plan.graph
        self.function = Symbol(file.labels.function)
        self.bind = Symbol("bind")
        self.names = Scope(["np"])
        self.constants_read = {v: a for v, a in file.constants.items() if v in file.read}
        self.large = [v for v, a in self.constants_read.items() if not _stands_in_text(a)]
        self.constants = Symbol("constants")
        self._give_names()
        self.printer = Printer(self.names, self._title, file.terse)
        self.helpers = self._print_helpers()

    def _give_names(self) -> None:
        """Names for everything but the helpers, the user's own first.

        Functions of the library that the file holds come with theirs, which nothing else may take.
        """
        file, claim = self.file, self.names.claim
        if self.large:
            claim(self.constants)
        for symbol in (*file.borrowed.symbols, self.function, self.bind):
            claim(symbol)
        for variable in (*self.graph.state, *self.graph.inputs):
            claim(file.symbols[variable])
        for symbol, earlier in file.same_names:
            self.names.share(symbol, claim(earlier))
        for symbol in file.symbols.values():
            claim(symbol)
        for symbol in file.buffer_symbols.values():
            claim(symbol)
        for symbol in (*file.ready.made, *file.imports.values()):
            claim(symbol)
        self._name_targets(file.body)

    def _name_targets(self, body: Sequence[Statement | Loop | None]) -> None:
        """Names for what lines of the step assign to."""
        for statement in body:
            if isinstance(statement, Loop):
                self.names.claim(statement.variable)
                self._name_targets(statement.body)
            elif statement is not None and isinstance(statement.target, Symbol):
                self.names.claim(statement.target)

    def _title(self, variable: Variable) -> str:
        """What a value is called in formulas: the new value of a state by the state's name."""
        while variable in self.file.shown_as:
            variable = self.file.shown_as[variable]
        return self.names[self.file.symbols[variable]]

    def lines(self) -> list[str]:
        """The whole text."""
        code = [*self._bind(), *self._function(), *self._main()]
        sources = self.file.borrowed.sources
        standard = [s for s in sources if re.match(r"(import|from) (?!numpy)\w+", s)]
        lines = [f'"""{_in_docstring(self.file.labels.title)}"""', "", *sorted(standard)]
        lines += [*([""] if standard else []), "import numpy as np"]
        bare = [name for name, symbol in self.file.imports.items() if self.names[symbol] == name]
        if bare:
            lines += _wrapped("from numpy import ", sorted(bare))
        lines.append("")
        functions = [s for s in sources if s.startswith(("def ", "@"))]
        constants = [s for s in sources if s not in functions and s not in standard]
        if constants:
            lines += ["", *constants, ""]
        for source in functions:
            lines += ["", source, ""]
        for helper in self.helpers:
            lines += ["", *helper, ""]
        return [*lines, *self._memory(), *code]

    # Helpers

    def _print_helpers(self) -> list[list[str]]:
        """The lines of each helper; those of equal text are one, under one name."""
        file = self.file
        known: dict[tuple[str, str], str] = {}
        reserved = [self.names[symbol] for symbol in (*file.ready.made, *file.imports.values())]
        reserved += [self.names[symbol] for symbol in file.borrowed.symbols]
        printed: list[list[str]] = []
        for helper in file.helpers:
            lines = self._print_helper(helper, reserved)
            key = (helper.function.wish, "\n".join(lines))
            if key not in known:
                known[key] = self.names.claim(helper.function)
                printed.append([f"def {known[key]}{lines[0]}", *lines[1:]])
            self.names.share(helper.function, known[key])
        return printed

    def _print_helper(self, helper: Helper, reserved: list[str]) -> list[str]:
        """The lines of a helper without its name."""
        names = Scope(["np", *reserved], parent=self.names)
        for symbol in (*helper.passed, *helper.names.values()):
            names.claim(symbol)

        def title(variable: Variable) -> str:
            own = helper.names.get(self.file.shown_as.get(variable, variable))
            own = helper.names.get(variable, own)
            return names[own] if own is not None else self._title(variable)

        printer = Printer(names, title, self.file.terse)
        lines = [f"({', '.join(names[symbol] for symbol in helper.passed)}):"]
        doc, formulas = (
            helper.doc,
            [
                (f"{title(state)} = " if state is not None else "") + formula.show(title)
                for state, formula in helper.formulas
            ],
        )
        if doc and formulas:
            doc = "\n    ".join([f"{_in_docstring(doc)}\n", *map(_in_docstring, formulas), ""])
        elif not doc:
            (text,) = formulas
            text = text if len(text) <= _LONGEST_DOC else helper.fallback
            doc = "\n    ".join(textwrap.wrap(_in_docstring(text), 90, break_long_words=False))
        else:
            doc = _in_docstring(doc)
        lines.append(f'    """{doc}"""')
        for statement in helper.lines:
            lines += [f"    {line}" for line in printer.lines(statement)]
        if helper.result is not None:
            lines.append(f"    return {printer.text(helper.result)}")
        return lines

    # Memory

    def _memory(self) -> list[str]:
        """Buffers, the parts of them, and the constants."""
        file, names = self.file, self.names
        wholes, others = [], []
        for variable, array in self.constants_read.items():
            if _stands_in_text(array):
                others.append(f"{names[file.symbols[variable]]} = {show_array(array)}")
        ready = {names[symbol]: self.printer.text(code) for symbol, code in file.ready.made.items()}
        others += [f"{name} = {text}" for name, text in sorted(ready.items())]
        for buffer, symbol in file.buffer_symbols.items():
            if buffer.kind not in {"work", "scratch"} or buffer in file.bound:
                continue
            if buffer.parent is not None:
                others.append(f"{names[symbol]} = {self._part(buffer, buffer.parent)}")
            else:
                shape: Any = (TILE,) if buffer in file.tiled else buffer.shape
                shape = shape[0] if len(shape) == 1 else shape
                wholes.append(f"{names[symbol]} = np.empty({shape}, np.{buffer.dtype.name})")
        memory = (
            ["", "# memory, allocated once", *wholes, *others, ""] if wholes or others else [""]
        )
        return [*self._constants(), *memory]

    def _constants(self) -> list[str]:
        """How the arrays that are too large for the file come into it."""
        if not self.large:
            return []
        names = {self.names[self.file.symbols[v]]: v for v in self.large}
        constants = self.names[self.constants]
        return [
            "",
            "# arrays that are too large for this file: they stand in the .npz that belongs to it",
            f'if "{constants}" not in globals():',
            "    from pathlib import Path",
            "",
            '    beside = Path(__file__).with_suffix(".npz")',
            '    if beside.exists() or __name__ != "__main__":',
            f"        {constants} = np.load(beside)",
            "    else:  # without it, random data will do for a try",
            "        rng = np.random.default_rng(0)",
            f"        {constants} = {{",
            *(f'            "{name}": {_random(v, "rng")},' for name, v in names.items()),
            "        }",
            *(f'{name} = {constants}["{name}"]' for name in names),
            "",
        ]

    def _part(self, buffer: Buffer, parent: Buffer) -> str:
        whole = self.names[self.file.buffer_symbols[parent]]
        sizes = ", ".join(map(str, buffer.shape))
        part = f"{whole}[{buffer.start}:{buffer.start + buffer.size}]"
        return part if len(buffer.shape) == 1 else f"{part}.reshape({sizes or '()'})"

    # Functions

    def _bind(self) -> list[str]:
        """The function that points the step at the arrays it works on."""
        bound = [self.file.symbols[v] for v in self.graph.state]
        if not bound:
            return []
        given = [self.names.claim(Symbol("new_", of=symbol)) for symbol in bound]
        names = [self.names[symbol] for symbol in bound]
        views = {
            self.names[self.file.symbols[v]]: self.printer.text(code)
            for v, code in self.file.hoisted.items()
        }
        return [
            "",
            f"def {self.names[self.bind]}({', '.join(given)}):",
            '    """Let the step work on these arrays; it changes them in place."""',
            *_wrapped("    global ", [*names, *views], "\\"),
            *(f"    {name} = {new}" for name, new in zip(names, given, strict=True)),
            *(f"    {name} = {text}" for name, text in views.items()),
            "",
        ]

    def _function(self) -> list[str]:
        graph, labels, symbols = self.graph, self.file.labels, self.file.symbols
        inputs = [(self.names[symbols[v]], v) for v in graph.inputs]
        shapes = ", ".join(f"{name} {v.shape}" for name, v in inputs if v.shape)
        doc = f'"""{shapes}{": " if shapes else ""}{_in_docstring(labels.returns)}."""'
        lines = ["", f"def {self.names[self.function]}({', '.join(name for name, _ in inputs)}):"]
        lines += [f"    {line}" for line in textwrap.wrap(doc, LINE_LENGTH - 4)]
        body = self.file.body
        for statement in body[1:] if body and body[0] is None else body:
            text = self.printer.lines(statement) if statement is not None else [""]
            lines += [f"    {line}" if line else "" for line in text]
        outputs = ", ".join(map(self.printer.text, self.file.results))
        return [*lines, f"    return {outputs or '()'}", ""]

    def _main(self) -> list[str]:
        """What the file does when it is run: one call on random data."""
        graph, names, symbols = self.graph, self.names, self.file.symbols
        claim = names.claim
        rng = claim(Symbol("rng"))
        lines = ["", 'if __name__ == "__main__":', f"    {rng} = np.random.default_rng(0)"]
        if graph.state:
            lines.append(f"    {names[self.bind]}(")
            for variable in graph.state:
                lines.append(f"        {_random(variable, rng)},  # {names[symbols[variable]]}")
            lines.append("    )")
        for variable in graph.inputs:
            value = self.file.labels.examples.get(variable.name) or _random(variable, rng)
            lines.append(f"    {names[symbols[variable]]} = {value}")
        first = "[0]" if len(graph.outputs) > 1 else ""
        function, result = names[self.function], claim(Symbol("result"))
        given = ", ".join(names[symbols[v]] for v in graph.inputs)
        return [
            *lines,
            f"    {result} = {function}({given}){first}",
            f'    print("{function} on random data returned", {result})',
        ]


def _random(variable: Variable, rng: str) -> str:
    """An expression for random data of a variable's shape and dtype: small, and not negative."""
    if variable.is_number:
        return "1" if variable.dtype.kind == "i" else "1.0"
    if not variable.is_array:
        return "np.random.default_rng(1)"
    if variable.dtype.kind == "f":
        if not variable.shape:
            return f"np.{variable.dtype.name}(0.1 * {rng}.random())"
        cast = "" if variable.dtype.name == "float64" else f".astype(np.{variable.dtype.name})"
        return f"(0.1 * {rng}.random({variable.shape})){cast}"
    return f"np.zeros({variable.shape}, np.{variable.dtype.name})"


def _in_docstring(text: str) -> str:
    """Text that may come from a user, as it can stand between three quotes."""
    text = "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
    return text.replace("\\", "\\\\").replace('"', "'") if '"' in text or "\\" in text else text


def _wrapped(head: str, words: list[str], continued: str = "(") -> list[str]:
    """Words behind a head, on as many lines as they take."""
    line = head + ", ".join(words)
    if len(line) <= LINE_LENGTH:
        return [line]
    if continued == "(":
        return [f"{head}(", *(f"    {part}" for part in textwrap.wrap(", ".join(words), 92)), ")"]
    indent = " " * (len(head) - len(head.lstrip()))
    parts = textwrap.wrap(", ".join(words), 85 - len(indent))
    return [f"{indent}{head.strip()} {part.removesuffix(',')}" for part in parts]
