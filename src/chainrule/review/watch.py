"""The reader's functions with every value told to a hook: recorded, or replaced by another.

`watched_tree` writes `__chainrule_value__(number, …)` around each value of a statement, each
returned value and each part of an expression, and behind each statement or loop that writes into an
array.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, final

import numpy as np

from chainrule.primitives.dispatch import AbstractArray
from chainrule.review.lifted import is_ours
from chainrule.review.places import as_numbers
from chainrule.review.source import Definition

__all__ = [
    "DOT",
    "HOOK",
    "LOCALS",
    "Event",
    "Point",
    "Role",
    "Watch",
    "dot",
    "points_of",
    "watched_tree",
]

HOOK = "__chainrule_value__"
DOT = "__chainrule_dot__"
LOCALS = 0  # the number under which the names of a function are told
_MOST_EVENTS = 20_000
_PARTS = (ast.BinOp, ast.UnaryOp, ast.Call, ast.Subscript, ast.IfExp)
_LEAVES = (ast.Name, ast.Attribute)

Role: TypeAlias = Literal["value", "return", "argument", "container", "part", "operand"]
"""What is told: a statement's value, a returned one, an argument of a call that is a statement, an
array that was written into, a part of an expression, or a name within a difference or call."""


@dataclass(frozen=True)
class Point:
    """One place of the source whose values are told: its statement, and the function it is in."""

    number: int
    role: Role
    node: ast.expr | ast.stmt
    statement: ast.stmt | ast.Lambda
    function: Definition
    name: str = ""

    @property
    def line(self) -> int:
        return self.statement.lineno


@dataclass(frozen=True)
class Event:
    """One value that came by: at which point, for the how-manieth time."""

    number: int
    occurrence: int
    value: Any

    @property
    def key(self) -> tuple[int, int]:
        return self.number, self.occurrence


@final
@dataclass
class Watch:
    """The hook: keeps copies of the values that pass, and puts others in the place of some."""

    substitutes: dict[tuple[int, int], Any] = field(default_factory=dict)
    points: dict[int, Point] = field(default_factory=dict)
    recording: bool = True
    only: tuple[int, int] | None = None
    spy: Callable[[], None] | None = None
    look: Callable[[dict[str, Any]], None] | None = None
    events: list[Event] = field(default_factory=list)
    moved: dict[tuple[int, int], Any] = field(default_factory=dict)
    _counts: Counter[int] = field(default_factory=Counter)

    def __call__(self, number: int, value: Any) -> Any:
        if number == LOCALS:
            if self.look is not None:
                self.look(value)
            return value
        occurrence = self._counts[number]
        self._counts[number] += 1
        key = number, occurrence
        if self.spy is not None:
            self.spy()
        if key in self.substitutes:
            value = self._replace(number, value, self.substitutes[key])
        elif key in self.moved:
            value = value + self.moved[key]
        if self.only is not None and key != self.only:
            return value
        if self.recording and type(value) is not int and len(self.events) < _MOST_EVENTS:
            if isinstance(value, AbstractArray):
                self.events.append(Event(number, occurrence, value))
            elif (array := as_numbers(value)) is not None and array.dtype.kind != "b":
                self.events.append(Event(number, occurrence, np.array(array)))
        return value

    def _replace(self, number: int, value: Any, new: Any) -> Any:
        if self.points[number].role == "container":
            if isinstance(value, np.ndarray) and value.shape == np.shape(new):
                value[...] = new
            return value
        if isinstance(value, np.matrix):
            return np.asmatrix(new)
        if isinstance(value, list):
            return np.asarray(new).tolist()
        return np.array(new) if isinstance(value, np.ndarray) else float(np.asarray(new))


def points_of(tree: ast.Module, first: int) -> dict[int, Point]:
    """The points of a tree, numbered from `first`; the numbers are left on its nodes."""
    points: dict[int, Point] = {}
    for number, (role, node, statement, function, name) in enumerate(_find(tree), first):
        points[number] = Point(number, role, node, statement, function, name)
    for node in ast.walk(tree):
        node.__dict__.pop("told", None)
    for point in points.values():
        point.node.__dict__.setdefault("told", []).append((point.number, point.role, point.name))
    return points


_Found: TypeAlias = tuple[Role, Any, Any, Any, str]


def _find(tree: ast.Module) -> Iterator[_Found]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            yield from _expressions(node.body, "return", node, node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _block(node.body, node, in_loop=False)


def _block(body: list[ast.stmt], function: Definition, in_loop: bool) -> Iterator[_Found]:
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if is_ours(statement):
            continue
        yield from _statement(statement, function)
        is_loop = isinstance(statement, ast.For | ast.While)
        for block in ("body", "orelse", "finalbody"):
            inner = getattr(statement, block, [])
            if isinstance(inner, list):
                yield from _block(inner, function, in_loop or is_loop)
        for handler in getattr(statement, "handlers", []):
            yield from _block(handler.body, function, in_loop)
        if not in_loop:
            for name in _written_into(statement):
                yield "container", statement, statement, function, name


def _statement(statement: ast.stmt, function: Definition) -> Iterator[_Found]:
    if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign):
        if statement.value is not None:
            yield from _values(statement.value, "value", statement, function)
    elif isinstance(statement, ast.Return):
        if statement.value is not None:
            yield from _values(statement.value, "return", statement, function)
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        call = statement.value
        for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
            if not isinstance(argument, ast.Starred):
                yield from _expressions(argument, "argument", statement, function)
        if isinstance(call.func, ast.Attribute):
            yield from _parts(call.func.value, statement, function)
    elif isinstance(statement, ast.For):
        yield from _parts(statement.iter, statement, function)
    elif isinstance(statement, ast.If | ast.While):
        yield from _parts(statement.test, statement, function)


def _values(
    value: ast.expr, role: Role, statement: ast.stmt, function: Definition
) -> Iterator[_Found]:
    if isinstance(value, ast.Tuple | ast.List):
        for element in value.elts:
            if not isinstance(element, ast.Starred):
                yield from _values(element, role, statement, function)
    elif isinstance(value, ast.Dict):
        for element in value.values:
            yield from _values(element, role, statement, function)
    elif isinstance(value, ast.ListComp | ast.GeneratorExp):
        yield from _expressions(value.elt, role, statement, function)
    elif isinstance(value, ast.DictComp):
        yield from _expressions(value.value, role, statement, function)
    else:
        yield from _expressions(value, role, statement, function)


def _expressions(
    value: ast.expr, role: Role, statement: ast.stmt | ast.Lambda, function: Definition
) -> Iterator[_Found]:
    if isinstance(value, ast.Constant):
        return
    yield from _parts(value, statement, function, but=value)
    yield role, value, statement, function, ""


def _parts(
    value: ast.expr,
    statement: ast.stmt | ast.Lambda,
    function: Definition,
    but: ast.expr | None = None,
) -> Iterator[_Found]:
    """The parts of an expression from the inside out, as they are computed."""
    if isinstance(value, ast.Lambda | ast.JoinedStr):
        return
    for child in ast.iter_child_nodes(value):
        if isinstance(child, ast.expr):
            yield from _parts(child, statement, function)
        elif isinstance(child, ast.keyword | ast.comprehension):
            for inner in ast.iter_child_nodes(child):
                if isinstance(inner, ast.expr):
                    yield from _parts(inner, statement, function)
    operands: list[ast.expr] = []
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub | ast.Div):
        operands = [value.left, value.right]
    elif isinstance(value, ast.Call):
        operands = list(value.args)
    for operand in operands:
        if isinstance(operand, _LEAVES) and isinstance(operand.ctx, ast.Load):
            yield "operand", operand, statement, function, ""
    if value is not but and isinstance(value, _PARTS) and _is_read(value):
        yield "part", value, statement, function, ""


def _is_read(value: ast.expr) -> bool:
    return isinstance(getattr(value, "ctx", ast.Load()), ast.Load)


def _written_into(statement: ast.stmt) -> list[str]:
    """The names, as `dx` or `self.dx`, of what a statement or the loops in it write into."""
    names: dict[str, None] = {}
    for node in ast.walk(statement):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, ast.AugAssign):
            targets = [node.target]
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            for argument in node.value.args[:1]:
                if isinstance(argument, _LEAVES) and isinstance(node.value.func, ast.Attribute):
                    names[ast.unparse(argument)] = None
        for target in targets:
            is_loop = isinstance(statement, ast.For | ast.While)
            if isinstance(target, ast.Subscript):
                base = target.value
                while isinstance(base, ast.Subscript):
                    base = base.value
                if isinstance(base, _LEAVES):
                    names[ast.unparse(base)] = None
            elif is_loop and isinstance(node, ast.AugAssign) and isinstance(target, _LEAVES):
                names[ast.unparse(target)] = None
    return list(names)


@final
class _Telling(ast.NodeTransformer):
    """Writes the hook around the nodes that carry a number."""

    def visit(self, node: ast.AST) -> Any:
        told = node.__dict__.pop("told", ())
        self.generic_visit(node)
        if isinstance(node, ast.Call) and _is_dot(node):
            node = _as_dot(node)
        behind: list[ast.stmt] = []
        for number, role, name in told:
            if role == "container":
                behind.append(_tell_name(number, name, node))
            else:
                node = _call(number, node)  # type: ignore[arg-type]
        return [node, *behind] if behind else node


def _is_dot(node: ast.Call) -> bool:
    function = node.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "dot"
        and len(node.args) == 1
        and not node.keywords
    )


def _as_dot(node: ast.Call) -> ast.Call:
    assert isinstance(node.func, ast.Attribute)
    name = ast.copy_location(ast.Name(DOT, ast.Load()), node)
    return ast.copy_location(ast.Call(name, [node.func.value, *node.args], []), node)


def dot(left: Any, right: Any) -> Any:
    """`left.dot(right)`, which an ndarray does not leave to a tensor on its right."""
    if isinstance(right, AbstractArray) and isinstance(left, np.ndarray):
        return np.dot(left, right)
    return left.dot(right)


def _call(number: int, value: ast.expr) -> ast.Call:
    call = ast.Call(ast.Name(HOOK, ast.Load()), [ast.Constant(number), value], [])
    return ast.fix_missing_locations(ast.copy_location(call, value))


def _tell_name(number: int, name: str, like: ast.AST) -> ast.stmt:
    """Tell the value of a name, if there is one by now."""
    text = f"try:\n    {HOOK}({number}, {name})\nexcept (NameError, AttributeError):\n    pass"
    statement = ast.parse(text).body[0]
    for node in ast.walk(statement):
        if isinstance(node, ast.stmt | ast.expr | ast.ExceptHandler):
            ast.copy_location(node, like)
    return statement


def watched_tree(tree: ast.Module) -> ast.Module:
    """A copy of a tree whose points, as `points_of` left them, tell their values."""
    new: ast.Module = _Telling().visit(copy.deepcopy(tree))
    return ast.fix_missing_locations(new)
