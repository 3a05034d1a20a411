"""Small changes of one statement, each with the name of the slip that it would mend.

An `Edit` says which nodes of the reader's tree become which. The generators here change what is
there: operators, operands, transpositions, names, indices, functions. `inserted.py` puts in what is
missing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.review.edit import (
    Edit,
    Scene,
    Spot,
    edit,
    expression,
    is_load,
    is_numpy,
    placed,
    transposed,
)
from chainrule.review.exchanges import calls, constants, indices, names

__all__ = ["Edit", "Scene", "Spot", "changes", "spots_of"]


def spots_of(statement: ast.stmt | ast.Lambda) -> list[Spot]:
    """Every expression that a statement computes with, from the outside in; its own block not."""
    found: list[Spot] = []

    def enter(holder: ast.AST) -> None:
        for name, value in ast.iter_fields(holder):
            if name in (
                "body",
                "orelse",
                "finalbody",
                "handlers",
                "decorator_list",
            ) and not isinstance(holder, ast.Lambda | ast.IfExp):
                continue
            children = value if isinstance(value, list) else [value]
            for i, child in enumerate(children):
                if isinstance(child, ast.expr):
                    found.append(Spot(child, holder, name, i if isinstance(value, list) else None))
                    enter(child)
                elif isinstance(child, ast.keyword | ast.comprehension):
                    enter(child)

    enter(statement)
    return found


def changes(scene: Scene) -> Iterator[Edit]:
    """Every change of what the statement has, the simplest first."""
    spots = spots_of(scene.statement)
    for spot in spots:
        for generator in _GENERATORS:
            yield from generator(spot, scene)
    yield from _both_names(spots, scene)
    yield from _all_calls(spots)
    yield from _exchanged(spots)


def _signs(spot: Spot, scene: Scene) -> Iterator[Edit]:
    node = spot.node
    is_negative = isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub)
    if is_negative and not isinstance(node.operand, ast.Constant):
        yield edit("wrong sign", 1, spot, node.operand)
    if isinstance(node, ast.BinOp):
        other = _OTHER_SIGN.get(type(node.op))
        if other is not None:
            yield edit("wrong sign", 1, spot, ast.BinOp(node.left, other(), node.right))
        if isinstance(node.op, ast.Sub):
            yield edit("wrong sign", 1, spot, ast.BinOp(node.right, ast.Sub(), node.left))
            negative = ast.UnaryOp(ast.USub(), ast.BinOp(node.left, ast.Add(), node.right))
            yield edit("wrong sign", 1.6, spot, negative)
    if _is_value(node) and not isinstance(node, ast.UnaryOp | ast.Name | ast.Attribute):
        yield edit("wrong sign", 1.5, spot, ast.UnaryOp(ast.USub(), node))


_OTHER_SIGN: dict[type[Any], type[Any]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}


def _is_value(node: ast.AST) -> bool:
    return isinstance(
        node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Name | ast.Attribute | ast.Subscript
    ) and is_load(node)


def _operators(spot: Spot, scene: Scene) -> Iterator[Edit]:
    node = spot.node
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in (ast.Gt, ast.Lt, ast.GtE, ast.LtE):
            if type(node.ops[0]) is not other:
                new = ast.Compare(node.left, [other()], node.comparators)
                yield edit("wrong comparison", 1.2, spot, new)
    if not isinstance(node, ast.BinOp):
        return
    left, right = node.left, node.right
    if isinstance(node.op, ast.FloorDiv):
        yield edit("integer arrays", 1, spot, ast.BinOp(left, ast.Div(), right))
    if isinstance(node.op, ast.Mult):
        yield edit("wrong product", 1.2, spot, ast.BinOp(left, ast.MatMult(), right))
        yield edit("wrong factor", 1.3, spot, ast.BinOp(left, ast.Div(), right), ast.unparse(right))
        yield edit("extra term", 1.6, spot, ast.BinOp(left, ast.Add(), right))
    if isinstance(node.op, ast.Div):
        yield edit(
            "wrong factor", 1.3, spot, ast.BinOp(left, ast.Mult(), right), ast.unparse(right)
        )
        yield edit("wrong factor", 1.5, spot, ast.BinOp(right, ast.Div(), left))
    if isinstance(node.op, ast.MatMult):
        yield edit("wrong product", 1.2, spot, ast.BinOp(left, ast.Mult(), right))
        yield edit("outer product swapped", 1, spot, ast.BinOp(right, ast.MatMult(), left))
        turned = ast.BinOp(transposed(right), ast.MatMult(), transposed(left))
        yield edit("outer product swapped", 1.05, spot, turned)
        for a, b in (
            (transposed(left), transposed(right)),
            (right, transposed(left)),
            (transposed(right), left),
        ):
            yield edit("outer product swapped", 1.6, spot, ast.BinOp(a, ast.MatMult(), b))
    if isinstance(node.op, ast.Add | ast.Sub):
        if isinstance(node.op, ast.Add):
            yield edit("wrong product", 1.8, spot, ast.BinOp(left, ast.Mult(), right))
        yield edit("extra term", 1.1, spot, left, ast.unparse(right))
        second = right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), right)
        yield edit("extra term", 1.2, spot, second, ast.unparse(left))


def _is_array(node: ast.AST, scene: Scene) -> bool:
    value = scene.value(node)
    if value is None:
        return not isinstance(node, ast.Constant)
    return isinstance(value, np.ndarray) and value.ndim > 0


def _transpositions(spot: Spot, scene: Scene) -> Iterator[Edit]:
    node = spot.node
    if not _is_value(node) or (isinstance(spot.holder, ast.Call) and spot.field == "func"):
        return
    if isinstance(spot.holder, ast.Attribute) and spot.holder.attr in ("T", "shape"):
        return
    turned = transposed(node)
    was_turned = not (isinstance(turned, ast.Attribute) and turned.value is node)
    if was_turned:
        yield edit("extra transpose", 1, spot, turned, ast.unparse(node))
    elif _is_array(node, scene):
        simple = isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        yield edit("missing transpose", 1 if simple else 1.2, spot, turned, ast.unparse(node))


def _drops(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """A factor, a divisor, a call, a slice, a power that is too much."""
    node = spot.node
    if isinstance(node, ast.BinOp):
        left, right = node.left, node.right
        if isinstance(node.op, ast.Mult):
            yield edit("extra factor", 1, spot, left, ast.unparse(right))
            yield edit("extra factor", 1, spot, right, ast.unparse(left))
            inner = node.left
            if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Mult):
                pair = ast.BinOp(inner.right, ast.Mult(), right)
                yield edit("extra factor", 1.1, spot, inner.left, ast.unparse(pair))
                yield edit("extra factor", 1.1, spot, right, ast.unparse(inner))
                if isinstance(inner.left, ast.BinOp) and isinstance(inner.left.op, ast.Mult):
                    kept = ast.BinOp(inner.left.left, ast.Mult(), right)
                    yield edit("extra factor", 1.3, spot, kept, ast.unparse(inner.right))
        elif isinstance(node.op, ast.Div):
            yield edit("extra divisor", 1, spot, left, ast.unparse(right))
        elif isinstance(node.op, ast.MatMult):
            yield edit("extra factor", 1.5, spot, left, ast.unparse(right))
            yield edit("extra factor", 1.5, spot, right, ast.unparse(left))
        elif isinstance(node.op, ast.Pow):
            yield edit("wrong power", 1.1, spot, left, ast.unparse(right))
    elif isinstance(node, ast.Call):
        yield from _unwrapped(spot)
    elif isinstance(node, ast.Subscript) and is_load(node):
        yield edit(_slice_kind(node), 1.1, spot, node.value, ast.unparse(node.slice))


def _slice_kind(node: ast.Subscript) -> str:
    return "kernel flipped" if "::-1" in ast.unparse(node.slice) else "wrong slice"


def _unwrapped(spot: Spot) -> Iterator[Edit]:
    node = spot.node
    name = ast.unparse(node.func).rpartition(".")[2]
    is_method = isinstance(node.func, ast.Attribute) and not is_numpy(node.func.value)
    inner = (
        node.func.value if is_method and not node.args else (node.args[0] if node.args else None)
    )
    if is_method and name in ("sum", "mean", "astype", "clip", "round"):
        inner = node.func.value
    if inner is None:
        return
    kind = _UNWRAPPED.get(name, "extra function")
    yield edit(kind, 1.1, spot, inner, name)


_UNWRAPPED = {
    "sum": "extra sum",
    "mean": "mean for sum",
    "astype": "integer arrays",
    "int": "integer arrays",
    "round": "integer arrays",
    "float32": "float32",
    "flip": "kernel flipped",
    "rot90": "kernel flipped",
    "flipud": "kernel flipped",
    "fliplr": "kernel flipped",
    "transpose": "extra transpose",
}


def _both_names(spots: list[Spot], scene: Scene) -> Iterator[Edit]:
    """Every occurrence of a name by another or a function of it: `a` for `z`, `f(z)` for `z`."""
    by_text: dict[str, list[Spot]] = {}
    for spot in spots:
        if isinstance(spot.node, ast.Name | ast.Attribute | ast.Subscript) and is_load(spot.node):
            if isinstance(spot.holder, ast.Call) and spot.field == "func":
                continue
            by_text.setdefault(ast.unparse(spot.node), []).append(spot)
    for text, places in by_text.items():
        value = scene.values.get(text)
        if not isinstance(value, np.ndarray) or not value.ndim:
            continue
        if len(places) > 1:
            for other in scene.arrays:
                if other != text:
                    puts = tuple((s, placed(expression(other), s.node)) for s in places)
                    yield Edit("wrong value", 1.3, puts, text)
        for function in scene.functions:
            new = expression(f"{function}({text})")
            puts = tuple((s, placed(new, s.node)) for s in places)
            yield Edit("function missing", 1.5, puts, text)


def _exchanged(spots: list[Spot]) -> Iterator[Edit]:
    """Two names, each in the other's place."""
    names = [
        spot
        for spot in spots
        if isinstance(spot.node, ast.Name | ast.Attribute)
        and is_load(spot.node)
        and not isinstance(spot.holder, ast.Attribute)
        and spot.field != "func"
    ]
    for i, one in enumerate(names[:10]):
        for other in names[i + 1 : 10]:
            if ast.unparse(one.node) != ast.unparse(other.node):
                yield Edit("exchanged", 1.1, ((one, other.node), (other, one.node)))


def _all_calls(spots: list[Spot]) -> Iterator[Edit]:
    """A function that is applied at every place where it should be at none."""
    by_text: dict[str, list[Spot]] = {}
    for spot in spots:
        if isinstance(spot.node, ast.Call) and len(spot.node.args) == 1 and not spot.node.keywords:
            by_text.setdefault(ast.unparse(spot.node), []).append(spot)
    for places in by_text.values():
        if len(places) > 1:
            puts = tuple((s, s.node.args[0]) for s in places)
            yield Edit("extra function", 1.3, puts, ast.unparse(places[0].node.func))


_GENERATORS: list[Callable[[Spot, Scene], Iterator[Edit]]] = [
    _signs,
    _operators,
    _transpositions,
    _drops,
    names,
    calls,
    constants,
    indices,
]
