"""Weights that a training function makes within itself, taken out to be moved and read.

`W = rng.normal(...)` before the loop that updates W becomes a value of the roots, as an argument
would be: the statement gives what stands there instead of what it makes, and each later assignment
is noted.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.review.source import Definition

__all__ = ["KEEP", "START", "hooks", "is_ours", "lift"]

START = "__chainrule_start__"
KEEP = "__chainrule_keep__"


def lift(function: Definition) -> list[str]:
    """Mark, in the tree, the local arrays that a function makes and then updates; their names."""
    if not isinstance(function, ast.FunctionDef):
        return []
    parameters = {a.arg for a in [*function.args.args, *function.args.kwonlyargs]}
    names = [
        name
        for name in dict.fromkeys(_updated(function))
        if name not in parameters and _start(function, name) is not None
    ]
    for name in names:
        first = _start(function, name)
        assert first is not None
        first.value = ast.copy_location(
            ast.Call(ast.Name(START, ast.Load()), [ast.Constant(name), first.value], []), first
        )
        _keep_after_assignments(function, name, first)
    ast.fix_missing_locations(function)
    return names


def _updated(function: ast.FunctionDef) -> list[str]:
    """Names that become something from themselves: `W -= …`, `W = W - …`, in a loop or after it."""
    found = []
    for node in ast.walk(function):
        if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            if isinstance(node.op, ast.Sub | ast.Add):
                found.append(node.target.id)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            value = node.value
            is_sum = isinstance(value, ast.BinOp) and isinstance(value.op, ast.Sub | ast.Add)
            if is_sum and isinstance(value.left, ast.Name) and value.left.id == name:  # type: ignore[attr-defined]
                found.append(name)
    return found


def _start(function: ast.FunctionDef, name: str) -> ast.Assign | None:
    """The assignment at the top of a function that makes a name, by a call in it."""
    for statement in function.body:
        if isinstance(statement, ast.For | ast.While):
            return None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target = statement.targets[0]
            if isinstance(target, ast.Name) and target.id == name:
                made = any(isinstance(node, ast.Call) for node in ast.walk(statement.value))
                return statement if made else None
    return None


def _keep_after_assignments(function: ast.FunctionDef, name: str, first: ast.Assign) -> None:
    for node in ast.walk(function):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(node, field, None)
            if not isinstance(block, list):
                continue
            for index in range(len(block) - 1, -1, -1):
                statement = block[index]
                if statement is first or not isinstance(statement, ast.Assign | ast.AugAssign):
                    continue
                targets = getattr(statement, "targets", None) or [statement.target]  # type: ignore[union-attr]
                if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                    keep = ast.parse(f"{KEEP}({name!r}, {name})").body[0]
                    for inner in ast.walk(keep):
                        if isinstance(inner, ast.stmt | ast.expr):
                            ast.copy_location(inner, statement)
                    block.insert(index + 1, keep)


def is_ours(statement: Any) -> bool:
    """Whether a statement is one that `lift` has put in."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and isinstance(statement.value.func, ast.Name)
        and statement.value.func.id == KEEP
    )


def hooks(values: dict[str, Any], first: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """The functions that lifted code calls: both work on these values, the arrays by name.

    `first` keeps copies of arrays as the function itself makes them.
    """

    def start(name: str, made: Any) -> Any:
        if name not in values:
            if not isinstance(made, np.ndarray) or made.dtype.kind != "f":
                return made
            first[name] = np.array(made)
            values[name] = made
        return values[name]

    def keep(name: str, value: Any) -> None:
        if name in values:
            values[name] = value

    return {START: start, KEEP: keep}
