"""Statements as data, and the one place where text is made of them.

What will be written is put together of these small parts first: calls with their operands, what
they are assigned to, the formula of what they compute. Names stand in them as symbols. Only when a
file is whole are names given out and text made.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.compiler.formula import Formula, infix, show_number
from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Symbol
from chainrule.compiler.passes import plain_number, uniform

__all__ = [
    "LINE_LENGTH",
    "Attribute",
    "Builtin",
    "Call",
    "Code",
    "Comment",
    "Infix",
    "Item",
    "Literal",
    "Loop",
    "Method",
    "NumPy",
    "Printer",
    "Statement",
    "Tuple",
    "one_line",
    "show_array",
    "show_value",
]

LINE_LENGTH = 100

_COMMENT_COLUMN = 48
_LONGEST_FORMULA = 72


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a static parameter, written into the text."""

    value: Any


@dataclass(frozen=True, slots=True)
class NumPy:
    """What NumPy has under this name, such as add or add.reduce.

    `bare` stands for it where it is imported under its own name, if that is free.
    """

    name: str
    bare: Symbol | None = None


@dataclass(frozen=True, slots=True)
class Builtin:
    """A function that Python has by itself."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """`function(*args, **keywords)`; `out`, if any, is where the result is written to."""

    function: NumPy | Builtin | Symbol
    args: tuple[Code, ...]
    keywords: tuple[tuple[str, Code], ...] = ()
    out: Code | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """`of.name(*args, **keywords)`."""

    of: Code
    name: str
    args: tuple[Code, ...] = ()
    keywords: tuple[tuple[str, Code], ...] = ()


@dataclass(frozen=True, slots=True)
class Attribute:
    """`of.name`."""

    of: Code
    name: str


@dataclass(frozen=True, slots=True)
class Item:
    """`of[keys]`, each key a slice, None, Ellipsis, an integer, or code."""

    of: Code
    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Infix:
    """Two operands with the sign of a primitive between them; for a negation one operand."""

    primitive: str
    operands: tuple[Code, ...]


@dataclass(frozen=True, slots=True)
class Tuple:
    """`(parts,)`."""

    parts: tuple[Code, ...]


Code = Symbol | Literal | NumPy | Builtin | Call | Method | Attribute | Item | Infix | Tuple


@dataclass(frozen=True, slots=True)
class Comment:
    """What stands beside a statement: the layer, what it computes, its formula and shape.

    `short` is the application of a rule, shown where the formula would be too long. `changes` are
    states that get new values, `factors` the numbers that derivatives carry with them.
    """

    of: Variable | None = None
    formula: Formula | None = None
    short: tuple[str, tuple[Variable, ...]] | None = None
    layer: str = ""
    words: str = ""
    changes: tuple[Variable, ...] = ()
    factors: tuple[Variable, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """A line: code, what its value is called where it has a name, and a comment.

    Without code it is a heading, a comment alone.
    """

    code: Code | None
    target: Symbol | Item | None = None
    comment: Comment | None = None


@dataclass(frozen=True, slots=True)
class Loop:
    """`for variable in range(start, stop, step):`, or reversed, and what is done in it."""

    variable: Symbol
    bounds: tuple[Code, ...]
    body: tuple[Statement | Loop, ...]
    comment: Comment | None = None
    reverse: bool = False


class Printer:
    """Makes text of code and statements, in which symbols have names.

    `titles` are the names of values in formulas. A `terse` text calls ufuncs by bare names and
    hands them memory by place, which takes an eighth less of such a small call's time.
    """

    def __init__(self, names: Any, titles: Any, terse: bool) -> None:
        self.names = names
        self.titles = titles
        self.terse = terse

    def lines(self, statement: Statement | Loop) -> list[str]:
        """The lines of a statement, with its comment beside it, or above where that is too long."""
        if isinstance(statement, Loop):
            bounds = ", ".join(map(self.text, statement.bounds))
            steps = f"reversed(range({bounds}))" if statement.reverse else f"range({bounds})"
            head = f"for {self.names[statement.variable]} in {steps}:"
            body = [f"    {line}" for inner in statement.body for line in self.lines(inner)]
            return [*self._commented([head], statement.comment), *body]
        if statement.code is None:
            return [f"# {self._comment(statement.comment)}"]
        text = self.text(statement.code)
        if statement.target is not None:
            text = f"{self.text(statement.target)} = {text}"
        code = [text]
        if len(text) > LINE_LENGTH - 8 and isinstance(statement.code, Call):
            head, _, rest = text.partition("(")
            code = [f"{head}(", *(f"    {w}" for w in textwrap.wrap(rest[:-1], 80)), ")"]
        return self._commented(code, statement.comment)

    def _commented(self, code: list[str], comment: Comment | None) -> list[str]:
        text = self._comment(comment)
        if not text or text.endswith(code[0]):
            return code
        gap = " " * max(2, _COMMENT_COLUMN - len(code[0]))
        line = f"{code[0]}{gap}# {text}"
        if len(line) > LINE_LENGTH - 4:
            return [f"# {text}", *code]
        return [line, *code[1:]]

    def _comment(self, comment: Comment | None) -> str:
        """`layer: value = formula  (shape)`, without the formula where it would be too long."""
        if comment is None:
            return ""
        if comment.of is None:
            factors = "".join(f", times {self.titles(v)}" for v in comment.factors)
            return one_line(comment.words) + factors
        text = f"{comment.layer}: " if comment.layer else ""
        changes = ", ".join(map(self.titles, comment.changes))
        text += f"new {changes}" if changes else self.titles(comment.of)
        if comment.formula is not None:
            formula = comment.formula.show(self.titles)
            if len(formula) > _LONGEST_FORMULA and comment.short is not None:
                name, read = comment.short
                formula = f"{name}({', '.join(map(self.titles, read))})"
            text += f" = {formula}" if len(formula) <= _LONGEST_FORMULA else ""
        shape = f"  {comment.of.shape}" if comment.of.shape else ""
        return one_line(text + shape)

    def text(self, code: Code) -> str:
        """The code as Python source."""
        return self._bound(code)[0]

    def _bound(self, code: Code) -> tuple[str, int]:
        """The text, and how tightly it binds (5: needs no parentheses)."""
        if isinstance(code, Symbol):
            return self.names[code], 5
        if isinstance(code, Literal):
            return show_value(code.value)
        if isinstance(code, NumPy):
            return self._function(code), 5
        if isinstance(code, Builtin):
            return code.name, 5
        if isinstance(code, Call):
            return self._call(code), 5
        if isinstance(code, Infix):
            return self._infix(code)
        if isinstance(code, Tuple):
            return f"({''.join(f'{self.text(part)}, ' for part in code.parts).strip()})", 5
        text, binding = self._bound(code.of)
        text = text if binding == 5 and not text[0].isdigit() else f"({text})"
        if isinstance(code, Method):
            words = [f"{key}={self.text(value)}" for key, value in code.keywords]
            return f"{text}.{code.name}({', '.join([*map(self.text, code.args), *words])})", 5
        if isinstance(code, Attribute):
            return f"{text}.{code.name}", 5
        return f"{text}[{', '.join(map(self._key, code.keys)) or '()'}]", 5

    def _call(self, call: Call) -> str:
        words = [self.text(argument) for argument in call.args]
        named = [f"{key}={self.text(value)}" for key, value in call.keywords]
        if call.out is not None:
            out = self.text(call.out)
            by_place = self.terse and not named and _takes_out_by_place(call.function)
            named.append(out if by_place else f"out={out}")
        return f"{self.text(call.function)}({', '.join([*words, *named])})"

    def _function(self, function: NumPy) -> str:
        is_bare = function.bare is not None and self.names[function.bare] == function.name
        return function.name if is_bare else f"np.{function.name}"

    def _infix(self, code: Infix) -> tuple[str, int]:
        operands = [self._bound(operand) for operand in code.operands]
        if len(operands) == 2:
            return infix(code.primitive, operands[0], operands[1], as_code=True)
        ((text, binding),) = operands
        if code.primitive == "absolute":
            return f"abs({text})", 5
        sign = {"negative": "-", "positive": "+"}[code.primitive]
        return f"{sign}{text if binding > 3 else f'({text})'}", 3

    def _key(self, key: Any) -> str:
        if key is Ellipsis:
            return "..."
        if isinstance(key, slice):
            bounds = [
                "" if bound is None else self.text(bound) if isinstance(bound, Code) else str(bound)
                for bound in (key.start, key.stop, key.step)
            ]
            return ":".join(bounds if bounds[2] else bounds[:2])
        return self.text(key) if isinstance(key, Code) else repr(key)


def _takes_out_by_place(function: NumPy | Builtin | Symbol) -> bool:
    """Whether memory may follow the arguments; np.maximum and np.minimum want the word there."""
    if not isinstance(function, NumPy) or function.name in {"maximum", "minimum"}:
        return False
    return function.name == "dot" or isinstance(getattr(np, function.name, None), np.ufunc)


def show_value(value: Any) -> tuple[str, int]:
    """A number or a static parameter as Python source, and how tightly it binds."""
    if isinstance(value, np.generic) and not isinstance(value, np.inexact):
        value = value.item()
    if isinstance(value, bool | int | float) and not isinstance(value, np.generic):
        if isinstance(value, float) and not math.isfinite(value):
            text = "np.nan" if math.isnan(value) else "np.inf"
            return (f"-{text}", 3) if value < 0 else (text, 5)
        return show_number(value)
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return f"np.{np.dtype(value).name}", 5
    if isinstance(value, np.generic):
        return f"np.{value.dtype.name}({_show_element(value)})", 5
    if isinstance(value, np.ndarray):
        return show_array(value), 5
    if isinstance(value, tuple | list):
        parts = [show_value(part)[0] for part in value]
        if isinstance(value, list):
            return f"[{', '.join(parts)}]", 5
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})", 5
    return repr(value), 5


def show_array(array: np.ndarray[Any, Any]) -> str:
    """An array as a call of np.array that makes it again, bit for bit."""

    def nested(part: Any) -> str:
        return f"[{', '.join(map(nested, part))}]" if np.ndim(part) else _show_element(part)

    dtype = f"np.{array.dtype.name}"
    if array.size > 1 and (value := uniform(array)) is not None:
        return f"np.full({array.shape}, {show_value(plain_number(value[0]))[0]}, {dtype})"
    if not array.size:
        return f"np.empty({array.shape}, {dtype})"
    return f"np.array({nested(array)}, {dtype})"


def _show_element(value: Any) -> str:
    """A NumPy scalar as a number in Python source, with as many digits as its dtype needs."""
    if value.dtype.kind == "f" and not np.isfinite(value):
        return "np.nan" if np.isnan(value) else "-np.inf" if value < 0 else "np.inf"
    return str(value)


def one_line(text: str) -> str:
    """Text that may come from a user, as it can stand in a comment."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
