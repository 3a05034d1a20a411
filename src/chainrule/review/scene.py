"""What can be used at a statement: the names in its reach with their values, and functions."""

from __future__ import annotations

import ast
import copy
import inspect
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.edit import Scene, expression
from chainrule.review.places import as_numbers
from chainrule.review.source import ReaderFile
from chainrule.review.trial import quiet
from chainrule.review.watch import HOOK

__all__ = ["block_of", "fill", "is_activation_derivative", "keys_of", "pruned", "texts_of", "where"]

_MOST_NAMES = 40


def where(file: ReaderFile, definition: ast.AST) -> list[ast.AST]:
    """The way from the file's top to a definition, both ends included."""

    def find(node: ast.AST) -> list[ast.AST] | None:
        if node is definition:
            return [node]
        for child in ast.iter_child_nodes(node):
            way = find(child)
            if way is not None:
                return [node, *way]
        return None

    return find(file.tree) or []


def pruned(way: list[ast.AST]) -> ast.stmt | None:
    """The statement at the top that holds a definition, classes without their other methods."""
    if len(way) < 2:
        return None
    top = way[1]
    if isinstance(top, ast.ClassDef):
        inner = pruned(way[1:])
        if inner is None:
            return None
        new = ast.ClassDef(top.name, [], [], [inner], [])
        return ast.copy_location(new, top)
    return top if isinstance(top, ast.stmt) else None


def is_activation_derivative(function: FunctionType) -> bool:
    """Whether a function is the derivative of a known activation, at its own argument."""
    if not _is_of_one(function):
        return False
    x = np.array([[-1.3, 0.4, 0.9], [0.2, -0.6, 1.7]])
    try:
        with quiet():
            found = np.asarray(function(x))
    except Exception:  # not of an array
        return False
    s = 1 / (1 + np.exp(-x))
    known = [s * (1 - s), 1 - np.tanh(x) ** 2, (x > 0) * 1.0, np.cos(x), s, s + x * s * (1 - s)]
    known += [np.where(x > 0, 1, slope) for slope in (0.01, 0.1, 0.2)]
    return any(found.shape == x.shape and np.allclose(found, form) for form in known)


def block_of(function: Any) -> dict[int, tuple[list[ast.stmt], int]]:
    """For each statement of a function the list it stands in and its place there."""
    found: dict[int, tuple[list[ast.stmt], int]] = {}
    for node in ast.walk(function):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                for index, statement in enumerate(block):
                    found[id(statement)] = block, index
    return found


def keys_of(file: ReaderFile) -> list[str]:
    """The words that a file takes elements of dicts by."""
    found = {
        node.slice.value: None
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    }
    return list(found)[:30]


def texts_of(function: Any) -> list[str]:
    """The names, attributes and elements a function reads or sets, in the order of its text."""
    found: dict[str, None] = {}
    for argument in function.args.args:
        found[argument.arg] = None
    for node in ast.walk(function):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp):
            text = ast.unparse(node)
            if len(text) < (30 if isinstance(node, ast.BinOp) else 60) and not text.startswith(
                ("np.", "numpy.")
            ):
                found[text] = None
    return list(found)


def fill(
    scene: Scene,
    texts: list[str],
    names: dict[str, Any],
    space: dict[str, Any],
    function: Any,
    file: ReaderFile,
) -> None:
    """Put into a scene what the names, attributes and elements of a function are by now."""
    first = function.args.args[0].arg if function.args.args else ""
    owner = names.get(first)
    extra = []
    if hasattr(owner, "__dict__") and first in ("self", "net", "model", "layer"):
        extra = [f"{first}.{name}" for name in vars(owner)]
    seen: dict[bytes, str] = {}
    here = {ast.unparse(node) for node in ast.walk(scene.statement) if isinstance(node, ast.expr)}
    turning = _loop_names(function)
    for text in dict.fromkeys([*texts, *(n for n in names if n.isidentifier()), *extra]):
        try:
            value = eval(text, space, dict(names))  # an expression of the reader's own file
        except Exception:  # not bound yet
            continue
        scene.values[text] = _kept(value)
        if isinstance(value, list | tuple) and len(value) and isinstance(value, list):
            scene.lists.append(text)
            if len(value) > 1:
                scene.scalars.setdefault(f"len({text})", len(value))
        array = as_numbers(value)
        if array is None or isinstance(value, list):
            continue
        is_sum = isinstance(expression(text), ast.BinOp)
        if array.ndim and array.size > 0 and isinstance(value, np.ndarray):
            if is_sum:
                continue
            mark = array.tobytes() + str(array.shape).encode()
            if array.size > 1 and not np.ptp(array):
                scene.blank.append(text)  # zeros to begin with say nothing
                continue
            if mark in seen and _reads_better(seen[mark], text, here):
                continue
            if mark in seen:
                scene.arrays.pop(seen[mark], None)
            seen[mark] = text
            if len(scene.arrays) < _MOST_NAMES:
                scene.arrays[text] = _kept(value)
        elif array.size == 1 and not isinstance(value, bool) and text not in turning:
            scene.scalars[text] = (
                float(array.reshape(-1)[0])
                if isinstance(value, float | np.ndarray | np.floating)
                else int(array)
            )
    scene.functions = _functions(names, space, owner, first, file, function.name)


def _reads_better(one: str, other: str, here: set[str]) -> bool:
    """Whether a name of the same values is better: one of the statement itself, or shorter."""

    def key(text: str) -> tuple[bool, bool, int]:
        return text not in here, text.startswith("_"), len(text)

    return key(one) <= key(other)


def _loop_names(function: Any) -> set[str]:
    """The names that loops count with: no numbers to multiply by."""
    return {
        name.id
        for loop in ast.walk(function)
        if isinstance(loop, ast.For | ast.comprehension)
        for name in ast.walk(loop.target)
        if isinstance(name, ast.Name)
    }


def _kept(value: Any) -> Any:
    return np.array(value) if isinstance(value, np.ndarray) else value


def _functions(
    names: dict[str, Any], space: dict[str, Any], owner: Any, first: str, file: ReaderFile, own: str
) -> list[str]:
    """The reader's functions of one array, as they are called here."""
    found: dict[str, Any] = {}
    for name, value in {**space, **names}.items():
        if isinstance(value, FunctionType) and value.__code__.co_filename == file.path:
            found[name] = value
    if hasattr(owner, "__dict__"):
        for name in dir(owner):
            if name.startswith("__"):
                continue
            value = getattr(owner, name, None)
            if isinstance(value, MethodType | FunctionType):
                inner = getattr(value, "__func__", value)
                if inner.__code__.co_filename == file.path:
                    found[f"{first}.{name}"] = value
    avoid = {*roles.FORWARD, *roles.STEP, *roles.LOSS, *roles.GRADIENT}
    return [
        name
        for name, value in found.items()
        if _is_of_one(value)
        and roles.simple(name.rpartition(".")[2]) not in avoid
        and name.rpartition(".")[2] not in (own, HOOK)
        and _keeps_shape(value)
    ][:10]


def _keeps_shape(function: Any) -> bool:
    """Whether a function makes of an array one of its shape, as activations do."""
    x = np.array([[0.3, -0.4, 1.2], [-0.7, 0.6, 0.1]])
    try:
        with quiet():
            if isinstance(function, MethodType):
                function = getattr(copy.deepcopy(function.__self__), function.__name__)
            found = function(x)
    except Exception:  # of something else
        return False
    return isinstance(found, np.ndarray) and found.shape == x.shape


def _is_of_one(function: Any) -> bool:
    with suppress(TypeError, ValueError):
        parameters = inspect.signature(function).parameters.values()
        required = [p for p in parameters if p.default is p.empty]
        return len(required) == 1 and required[0].kind in (
            required[0].POSITIONAL_ONLY,
            required[0].POSITIONAL_OR_KEYWORD,
        )
    return False
