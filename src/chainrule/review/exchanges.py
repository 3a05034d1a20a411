"""One name, function, argument, number or index in another's place."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.review.edit import Edit, Scene, Spot, edit, expression, is_load, transposed

__all__ = ["calls", "constants", "indices", "names"]


def names(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """Another array, number or function in the place of one."""
    node = spot.node
    if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript) or not is_load(node):
        return
    if isinstance(spot.holder, ast.Call) and spot.field == "func":
        yield from _functions(spot, scene)
        return
    of_attribute = isinstance(spot.holder, ast.Attribute) and not isinstance(node, ast.Name)
    if of_attribute and spot.holder.attr != "T":  # type: ignore[attr-defined]
        return
    text = ast.unparse(node)
    value = scene.values.get(text)
    pool: Sequence[str] = ()
    if isinstance(value, np.ndarray) and value.ndim:
        pool = list(scene.arrays)
    elif isinstance(value, int | float | np.generic | np.ndarray):
        pool = list(scene.scalars)
    elif isinstance(value, list):
        pool = scene.lists
    for other in pool:
        if other != text:
            yield edit("wrong value", 1.2, spot, expression(other), text)


def _functions(spot: Spot, scene: Scene) -> Iterator[Edit]:
    text = ast.unparse(spot.node)
    name = text.rpartition(".")[2]
    call = spot.holder
    for group, kind in _ALIKE.items():
        if name in group:
            for other in group:
                if other != name:
                    new = expression(text[: len(text) - len(name)] + other)
                    found = kind
                    if (name, other) in _DIRECTED:
                        found = _DIRECTED[name, other]
                    yield edit(found, 1, spot, new, other)
    if isinstance(call, ast.Call) and len(call.args) == 1 and name not in _NOT_ACTIVATIONS:
        for other in scene.functions:
            if other != text:
                yield edit("wrong function", 1.2, spot, expression(other), text)


_NOT_ACTIVATIONS = {"sum", "mean", "len", "range", "zip", "enumerate", "reversed", "list", "append"}


_ALIKE = {
    ("sum", "mean"): "sum for mean",
    ("argmax", "argmin"): "pooling",
    ("max", "min"): "pooling",
    ("maximum", "minimum"): "pooling",
    ("convolve2d", "correlate2d"): "kernel not flipped",
    ("convolve", "correlate"): "kernel not flipped",
    ("dot", "multiply", "outer"): "wrong product",
    ("float32", "float64"): "float32",
    ("float16", "float64"): "float32",
    ("zeros", "ones"): "wrong start",
    ("zeros_like", "ones_like"): "wrong start",
    ("sin", "cos"): "wrong function",
    ("add", "subtract"): "wrong sign",
    ("repeat", "tile"): "pooling",
}


_DIRECTED = {("sum", "mean"): "sum for mean", ("mean", "sum"): "mean for sum"}


def calls(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """Arguments in the other order, the other axis, another word."""
    node = spot.node
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func).rpartition(".")[2]
    if len(node.args) == 2 and name not in ("sum", "mean", "reshape", "zeros"):
        kind = "outer product swapped" if name in ("dot", "outer", "matmul") else "wrong order"
        swapped = ast.Call(node.func, [node.args[1], node.args[0]], node.keywords)
        yield edit(kind, 1, spot, swapped)
        if name in ("dot", "matmul"):
            turned = [transposed(node.args[1]), transposed(node.args[0])]
            yield edit(kind, 1.05, spot, ast.Call(node.func, turned, node.keywords))
            for pair in (
                [transposed(node.args[0]), transposed(node.args[1])],
                [node.args[1], transposed(node.args[0])],
                [transposed(node.args[1]), node.args[0]],
            ):
                yield edit(kind, 1.6, spot, ast.Call(node.func, pair, node.keywords))
    if name == "dot" and len(node.args) == 1 and isinstance(node.func, ast.Attribute):
        left, right = node.func.value, node.args[0]
        for a, b in (
            (right, left),
            (transposed(right), transposed(left)),
            (transposed(left), transposed(right)),
        ):
            new = ast.Call(ast.Attribute(a, "dot", ast.Load()), [b], [])
            yield edit("outer product swapped", 1.05, spot, new)
    if name in ("dot", "matmul") and len(node.args) == 2:
        product = ast.BinOp(node.args[0], ast.Mult(), node.args[1])
        yield edit("wrong product", 1.3, spot, product)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg == "keepdims":
            rest = [k for k in node.keywords if k is not keyword]
            yield edit("wrong axis", 1.3, spot, ast.Call(node.func, node.args, rest))
        if keyword.arg == "dtype":
            for text, kind in (("float", "integer arrays"), ("np.float64", "float32")):
                keywords = list(node.keywords)
                keywords[i] = ast.keyword("dtype", expression(text))
                yield edit(kind, 1, spot, ast.Call(node.func, node.args, keywords))
        if keyword.arg == "axis":
            rest = [k for k in node.keywords if k is not keyword]
            yield edit("wrong axis", 1.3, spot, ast.Call(node.func, node.args, rest))
    if name == "astype":
        given = ast.unparse(node)
        short = any(word in given for word in ("float32", "float16", "single", "half"))
        kind = "float32" if short else "integer arrays"
        yield edit(kind, 0.9, spot, ast.Call(node.func, [expression("float")], []))


def constants(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """Another number or word: one more or less, twice or half, the name of a number."""
    node = spot.node
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool) or value is None:
        if isinstance(value, bool):
            yield edit("wrong axis", 1.4, spot, ast.Constant(not value))
        return
    if isinstance(value, str):
        for other in ("valid", "full", "same") if value in ("valid", "full", "same") else ():
            if other != value:
                yield edit("kernel not flipped", 1, spot, ast.Constant(other), repr(value))
        if isinstance(spot.holder, ast.Subscript):
            for other in scene.keys:
                if other != value:
                    yield edit("wrong value", 1.2, spot, ast.Constant(other), repr(value))
        return
    if isinstance(value, int):
        is_axis = isinstance(spot.holder, ast.keyword) and spot.holder.arg == "axis"
        kind = "wrong axis" if is_axis else ("off by one" if _in_index(spot) else "wrong factor")
        for number in {value - 1, value + 1, -value} - {value}:
            yield edit(kind, 0.95 if is_axis else 1.1, spot, ast.Constant(number), str(value))
    if isinstance(value, int | float):
        for other_value in (0.5 * value, 2.0 * value):
            shown: Any = int(other_value) if float(other_value).is_integer() else other_value
            if shown != value and not _in_index(spot):
                yield edit("wrong factor", 1.2, spot, ast.Constant(shown), str(value))
        for text, scalar in scene.scalars.items():
            if scalar != value and not _in_index(spot) and spot.field not in ("args", "slice"):
                yield edit("wrong factor", 1.3, spot, expression(text), str(value))


def _in_index(spot: Spot) -> bool:
    return isinstance(spot.holder, ast.Subscript | ast.Slice) or (
        isinstance(spot.holder, ast.UnaryOp | ast.BinOp)
        and spot.field != "value"
        and isinstance(spot.node, ast.Constant)
        and isinstance(spot.node.value, int)
        and getattr(spot.holder, "in_index", False)
    )


def indices(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """One layer further, or one back: `[i]` as `[i + 1]`; a label as it is."""
    holder = spot.holder
    in_tuple = isinstance(holder, ast.Tuple) and isinstance(spot.node, ast.Name | ast.BinOp)
    if not in_tuple and not (isinstance(holder, ast.Subscript) and spot.field == "slice"):
        return
    node = spot.node
    if isinstance(node, ast.Tuple | ast.Slice | ast.Constant):
        if isinstance(node, ast.Slice):
            yield from _slices(spot)
        return
    text = ast.unparse(node)
    for other in (f"{text} + 1", f"{text} - 1", f"-1 - ({text})"):
        kind = "kernel not flipped" if other.startswith("-1") else "off by one"
        weight = 1.8 if kind != "off by one" else 1.1
        yield edit(kind, weight, spot, expression(_tidy(other)), text)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield edit("off by one", 1, spot, node.left, text)


def _tidy(text: str) -> str:
    return text.replace("- 1 + 1", "").replace("+ 1 - 1", "")


def _slices(spot: Spot) -> Iterator[Edit]:
    node = spot.node
    if node.lower is None and node.upper is None and node.step is None:
        yield edit("bias regularised", 1.4, spot, ast.Slice(ast.Constant(1), None, None))
    for name in ("lower", "upper"):
        if getattr(node, name) is not None:
            parts = {n: getattr(node, n) for n in ("lower", "upper", "step")}
            parts[name] = None
            yield edit("off by one", 1.2, spot, ast.Slice(**parts), ast.unparse(node))
