"""The printed file around the body of the function: helpers, memory, `bind`, and its own run."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from chainrule.compiler.graph import Atom, Graph, Variable
from chainrule.compiler.memory import Buffer, MemoryPlan
from chainrule.compiler.naming import Labels
from chainrule.engines.numpy.borrow import Borrowed
from chainrule.engines.numpy.expressions import expression

__all__ = ["LINE_LENGTH", "TILE", "Pieces", "bound_variables", "print_file"]

LINE_LENGTH = 100
TILE = 32_768
"""Elements of a long vector that are updated at a time, so that they stay in the cache."""

_COMMENT_COLUMN = 48
_SHORT = 32  # elements of a constant that is written into the file


@dataclass(frozen=True)
class Pieces:
    """What the emitter has found and written: all that the file is put together from."""

    graph: Graph
    labels: Labels
    plan: MemoryPlan
    names: dict[Variable, str]
    buffer_names: dict[Buffer, str]
    hoisted: list[Variable]  # named views of the state
    tiled: set[Buffer]  # scratch of the size of one tile
    borrowed: Borrowed
    helpers: dict[tuple[str, str], str]  # (wish, text) -> name
    ready: dict[str, str]  # numbers and vectors of ones that stand ready: name -> expression
    imported: set[str]  # functions under bare names
    body: list[tuple[str, str]]  # code and comment
    result: Callable[[Atom], str]  # how the function returns a value


def bound_variables(graph: Graph) -> tuple[Variable, ...]:
    """The arrays a file's `bind` takes: the state, and constants too long to write down."""
    return (*graph.state, *(v for v in graph.constants if not _is_short(v)))


def _is_short(constant: Variable) -> bool:
    return 0 < constant.size <= _SHORT


def print_file(pieces: Pieces) -> str:
    """The whole text."""
    code = [*_bind(pieces), *_function(pieces), *_main(pieces)]  # first: these borrow functions
    standard = [s for s in pieces.borrowed.sources if re.match(r"(import|from) (?!numpy)\w+", s)]
    lines = [f'"""{pieces.labels.title}"""', "", *sorted(standard), *([""] if standard else [])]
    lines.append("import numpy as np")
    if pieces.imported:
        lines += _wrapped("from numpy import ", sorted(pieces.imported))
    lines.append("")
    sources = [s for s in pieces.borrowed.sources if s not in standard]
    functions = [s for s in sources if s.startswith(("def ", "@"))]
    constants = [s for s in sources if s not in functions]
    if constants:
        lines += ["", *constants, ""]
    for source in functions:
        lines += ["", source, ""]
    for (_, text), name in pieces.helpers.items():
        lines += ["", f"def {name}{text}", ""]
    return "\n".join([*lines, *_memory(pieces), *code]) + "\n"


def _wrapped(head: str, words: list[str]) -> list[str]:
    line = head + ", ".join(words)
    if len(line) <= LINE_LENGTH:
        return [line]
    return [f"{head}(", *(f"    {part}" for part in textwrap.wrap(", ".join(words), 92)), ")"]


def _memory(pieces: Pieces) -> list[str]:
    """Buffers, the parts of them, and the constants."""
    wholes, others = [], []
    for variable, array in pieces.graph.constants.items():
        if _is_short(variable):
            text = np.array2string(array, separator=", ", floatmode="unique").replace("\n", "")
            others.append(f"{pieces.names[variable]} = np.array({text}, np.{array.dtype.name})")
    others += [f"{name} = {text}" for name, text in sorted(pieces.ready.items())]
    for buffer, name in pieces.buffer_names.items():
        if buffer.kind not in {"work", "scratch"}:
            continue
        if buffer.parent is not None:
            whole = pieces.buffer_names[buffer.parent]
            part = f"{whole}[{buffer.start}:{buffer.start + buffer.size}]"
            sizes = ", ".join(map(str, buffer.shape))
            others.append(f"{name} = {part}" + ("" if sizes.isdigit() else f".reshape({sizes})"))
        else:
            shape: object = (TILE,) if buffer in pieces.tiled else buffer.shape
            shape = shape[0] if len(buffer.shape) == 1 else shape  # type: ignore[index]
            wholes.append(f"{name} = np.empty({shape}, np.{buffer.dtype.name})")
    return ["", "# memory, allocated once", *wholes, *others, ""] if wholes or others else [""]


def _bind(pieces: Pieces) -> list[str]:
    """The function that points the step at the arrays it works on."""
    names = [pieces.names[v] for v in bound_variables(pieces.graph)]
    if not names:
        return []

    def operand(atom: Atom) -> str:
        assert isinstance(atom, Variable)
        view = pieces.plan.views.get(atom)
        return expression(view, operand, pieces.borrowed) if view else pieces.names[atom]

    views = {pieces.names[v]: operand(v) for v in pieces.hoisted}
    return [
        "",
        f"def bind({', '.join('new_' + name for name in names)}):",
        '    """Let the step work on these arrays; it changes them in place."""',
        f"    global {', '.join([*names, *views])}",
        *(f"    {name} = new_{name}" for name in names),
        *(f"    {name} = {text}" for name, text in views.items()),
        "",
    ]


def _function(pieces: Pieces) -> list[str]:
    graph, labels = pieces.graph, pieces.labels
    inputs = ", ".join(pieces.names[v] for v in graph.inputs)
    shapes = ", ".join(f"{pieces.names[v]} {v.shape}" for v in graph.inputs if v.shape)
    doc = f'"""{shapes}{": " if shapes else ""}{labels.returns}."""'
    lines = ["", f"def {labels.function}({inputs}):"]
    lines += [f"    {line}" for line in textwrap.wrap(doc, LINE_LENGTH - 4)]
    body = pieces.body[1:] if pieces.body and not pieces.body[0][0] else pieces.body
    for code, comment in body:
        lines += _with_comment(code, comment)
    outputs = ", ".join(pieces.result(atom) for atom in graph.outputs)
    return [*lines, f"    return {outputs}", ""]


def _with_comment(code: str, comment: str) -> list[str]:
    """A line of the step, the comment beside it, or above it where the two are too long."""
    if not code:
        return [""]
    if not comment:
        return [f"    {code}"]
    gap = " " * max(2, _COMMENT_COLUMN - len(code))
    line = f"    {code}{gap}# {comment}"
    return [line] if len(line) <= LINE_LENGTH else [f"    # {comment}", f"    {code}"]


def _main(pieces: Pieces) -> list[str]:
    """What the file does when it is run: one call on random data."""
    graph, names, function = pieces.graph, pieces.names, pieces.labels.function
    bound = bound_variables(graph)
    lines = ["", 'if __name__ == "__main__":', "    rng = np.random.default_rng(0)"]
    if bound:
        lines += ["    bind(", *(f"        {_random(v)},  # {names[v]}" for v in bound), "    )"]
    for variable in graph.inputs:
        value = pieces.labels.examples.get(variable.name) or _random(variable)
        lines.append(f"    {names[variable]} = {value}")
    first = "[0]" if len(graph.outputs) > 1 else ""
    return [
        *lines,
        f"    result = {function}({', '.join(names[v] for v in graph.inputs)}){first}",
        f'    print("{function} on random data returned", result)',
    ]


def _random(variable: Variable) -> str:
    """An expression for random data of a variable's shape and dtype: small, and not negative."""
    if variable.dtype is None:
        return "1.0"
    if variable.dtype.kind == "f":
        cast = "" if variable.dtype == np.float64 else f".astype(np.{variable.dtype.name})"
        return f"(0.1 * rng.random({variable.shape})){cast}"
    return f"np.zeros({variable.shape}, np.{variable.dtype.name})"
