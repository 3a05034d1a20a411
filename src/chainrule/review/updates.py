"""Slips of order: a weight that is updated before the backward pass has read it."""

from __future__ import annotations

import ast
from typing import Any

from chainrule.review.bearings import Situation
from chainrule.review.report import Finding
from chainrule.review.scene import block_of, pruned, where
from chainrule.review.source import compiled

__all__ = ["used_after_update"]


def used_after_update(situation: Situation) -> Finding | None:
    """Whether the gradients are right with an update later in its block.

    At a learning rate near zero a weight is the same before and after its update, so a gradient
    that is wrong at the usual rate and right there has read a weight too late.
    """
    if not situation.reading.is_update:
        return None
    moved = _moved(situation)
    if moved is not None:
        return moved
    return None


def _moved(situation: Situation) -> Finding | None:
    """The update of a parameter, moved behind the statements that read it: does that mend it?"""
    bench = situation.bench
    for file in bench.files:
        for function, code in bench.definitions.items():
            if code not in file.codes or isinstance(function, ast.Lambda):
                continue
            blocks = block_of(function)
            updates = [
                node
                for node in ast.walk(function)
                if isinstance(node, ast.AugAssign | ast.Assign)
                and id(node) in blocks
                and _is_update(node)
            ]
            for node in updates:
                block, index = blocks[id(node)]
                for later in range(index + 1, len(block)):
                    if isinstance(block[later], ast.Return):
                        continue
                    finding = _try(situation, file, function, block, index, later)
                    if finding is not None:
                        return finding
                following = block[index + 1] if index + 1 < len(block) else None
                if isinstance(following, ast.Return) and following.value is not None:
                    finding = _try_return(situation, file, function, block, index)
                    if finding is not None:
                        return finding
    return None


def _is_update(node: Any) -> bool:
    """Whether a statement makes a name from itself: `W -= …`, `W = W - …`."""
    if isinstance(node, ast.AugAssign):
        return True
    target = ast.unparse(node.targets[0])
    return any(
        ast.unparse(inner) == target
        for inner in ast.walk(node.value)
        if isinstance(inner, ast.expr)
    )


def _try(
    situation: Situation, file: Any, function: Any, block: list[ast.stmt], index: int, later: int
) -> Finding | None:
    """Move one statement of a block behind another."""
    if situation.bench.is_late:
        return None
    order = [*block[:index], *block[index + 1 : later + 1], block[index], *block[later + 1 :]]
    return _judged(situation, file, function, block, index, order)


def _try_return(
    situation: Situation, file: Any, function: Any, block: list[ast.stmt], index: int
) -> Finding | None:
    """Compute what is returned before the update, and return it after."""
    last = block[index + 1]
    assert isinstance(last, ast.Return)
    assert last.value is not None
    kept = ast.Assign([ast.Name("__kept", ast.Store())], last.value)
    given = ast.Return(ast.Name("__kept", ast.Load()))
    for new in (kept, given):
        ast.copy_location(new, last)
        ast.fix_missing_locations(new)
    order = [*block[:index], kept, block[index], given, *block[index + 2 :]]
    return _judged(situation, file, function, block, index, order)


def _judged(
    situation: Situation,
    file: Any,
    function: Any,
    block: list[ast.stmt],
    index: int,
    order: list[ast.stmt],
) -> Finding | None:
    was = list(block)
    block[:] = order
    try:
        codes = compiled(file, file.tree, pruned(where(file, function)))
    except (SyntaxError, ValueError):
        return None
    finally:
        block[:] = was
    judgement, _ = situation.try_step(codes=codes)
    if judgement.n_right <= situation.judgement.n_right or judgement.wrong:
        return None
    update = block[index]
    reader = _reader(update, was[index + 1 :])
    fixed = [n for n, ok in judgement.right.items() if ok and not situation.judgement.right.get(n)]
    name = ast.unparse(update.target if isinstance(update, ast.AugAssign) else update.targets[0])  # type: ignore[attr-defined]
    return Finding(
        kind="updated weight",
        line=reader.lineno,
        file=file.path,
        text=ast.unparse(reader).splitlines()[0],
        expected=f"{ast.unparse(reader).splitlines()[0]} before `{ast.unparse(update)}`",
        why=f"it reads {name} after line {update.lineno} has updated it: move line "
        f"{update.lineno} behind it, for the derivative is that at the weights of the forward pass",
        evidence=max((situation.first_errors.get(n, 0.0) for n in fixed), default=0.0),
        lines=(reader.lineno, update.lineno),
        parameters=tuple(fixed),
    )


def _reader(update: Any, later: list[ast.stmt]) -> ast.stmt:
    target = ast.unparse(update.target if isinstance(update, ast.AugAssign) else update.targets[0])
    for statement in later:
        for node in ast.walk(statement):
            if isinstance(node, ast.expr) and ast.unparse(node) == target:
                return statement
    return later[0] if later else update
