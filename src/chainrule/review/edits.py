"""Small changes of one statement, each with the name of the slip that it would mend.

An `Edit` says which nodes of the reader's tree become which. The generators here change what is there:
operators, operands, transpositions, names, indices, functions. `inserted.py` puts in what is missing.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

__all__ = ["Edit", "Scene", "Spot", "changes", "spots_of"]


@dataclass(frozen=True)
class Spot:
    """A node of the tree and where it hangs: `holder.field`, or `holder.field[index]`."""

    node: Any
    holder: ast.AST
    field: str
    index: int | None = None

    def put(self, new: Any) -> None:
        """Hang another node there."""
        if self.index is None:
            setattr(self.holder, self.field, new)
        else:
            getattr(self.holder, self.field)[self.index] = new


@dataclass(frozen=True)
class Edit:
    """Nodes in other nodes' places: the kind of slip it mends, how far-fetched it is, the part."""

    kind: str
    weight: float
    puts: tuple[tuple[Spot, Any], ...]
    part: str = ""
    statement: Any = None

    def apply(self) -> Callable[[], None]:
        """Change the tree; the function that is returned changes it back."""
        for spot, new in self.puts:
            spot.put(ast.fix_missing_locations(new))

        def undo() -> None:
            for spot, _ in reversed(self.puts):
                spot.put(spot.node)

        return undo

    def for_good(self) -> Edit:
        """The same edit with nodes of its own, to stay in the tree."""
        return replace(self, puts=tuple((spot, owned(new)) for spot, new in self.puts))


Values: TypeAlias = Mapping[str, Any]


@dataclass
class Scene:
    """What can be used at a statement: expressions by their text with their values there.

    `arrays` are arrays of more than one element, `scalars` single numbers, `functions` the texts of
    functions of one array, such as `sigmoid_prime` or `self.d_act`; `keys` the file's keys of dicts, `blank` arrays that are all zero yet; `rate` is the learning rate.
    """

    statement: ast.stmt | ast.Lambda
    function: Any
    arrays: dict[str, Any] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    rate: float | None = None

    def value(self, node: ast.AST) -> Any:
        """The value of an expression where it is known: of a name, attribute, or part."""
        return self.values.get(ast.unparse(node)) if isinstance(node, ast.expr) else None


@lru_cache(maxsize=4096)
def expression(text: str) -> ast.expr:
    """The tree of an expression; edits share it, and never change it."""
    return ast.parse(text, mode="eval").body


def placed(new: Any, like: ast.AST) -> Any:
    """A new node at the line of another; what it has of the old tree stays the same nodes."""
    return new if hasattr(new, "lineno") else ast.copy_location(new, like)


def owned(new: Any) -> Any:
    """A copy of a new node that shares nothing with any tree, to stay in one."""
    new = copy.deepcopy(new)
    for node in ast.walk(new):
        node.__dict__.pop("told", None)
    return ast.fix_missing_locations(new)


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


def _is_load(node: ast.AST) -> bool:
    return isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def changes(scene: Scene) -> Iterator[Edit]:
    """Every change of what the statement has, the simplest first."""
    spots = spots_of(scene.statement)
    for spot in spots:
        for generator in _GENERATORS:
            for edit in generator(spot, scene):
                yield edit
    yield from _both_names(spots, scene)
    yield from _all_calls(spots)
    yield from _exchanged(spots)


def _edit(kind: str, weight: float, spot: Spot, new: ast.AST, part: str = "") -> Edit:
    return Edit(kind, weight, ((spot, placed(new, spot.node)),), part)


def _signs(spot: Spot, scene: Scene) -> Iterator[Edit]:
    node = spot.node
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if not isinstance(node.operand, ast.Constant):
            yield _edit("wrong sign", 1, spot, node.operand)
    if isinstance(node, ast.BinOp):
        other = _OTHER_SIGN.get(type(node.op))
        if other is not None:
            yield _edit("wrong sign", 1, spot, ast.BinOp(node.left, other(), node.right))
        if isinstance(node.op, ast.Sub):
            yield _edit("wrong sign", 1, spot, ast.BinOp(node.right, ast.Sub(), node.left))
            negative = ast.UnaryOp(ast.USub(), ast.BinOp(node.left, ast.Add(), node.right))
            yield _edit("wrong sign", 1.6, spot, negative)
    if _is_value(node) and not isinstance(node, ast.UnaryOp | ast.Name | ast.Attribute):
        yield _edit("wrong sign", 1.5, spot, ast.UnaryOp(ast.USub(), node))


_OTHER_SIGN: dict[type[Any], type[Any]] = {ast.Add: ast.Sub, ast.Sub: ast.Add}


def _is_value(node: ast.AST) -> bool:
    return isinstance(
        node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Name | ast.Attribute | ast.Subscript
    ) and _is_load(node)


def _operators(spot: Spot, scene: Scene) -> Iterator[Edit]:
    node = spot.node
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in (ast.Gt, ast.Lt, ast.GtE, ast.LtE):
            if type(node.ops[0]) is not other:
                new = ast.Compare(node.left, [other()], node.comparators)
                yield _edit("wrong comparison", 1.2, spot, new)
    if not isinstance(node, ast.BinOp):
        return
    left, right = node.left, node.right
    if isinstance(node.op, ast.FloorDiv):
        yield _edit("integer arrays", 1, spot, ast.BinOp(left, ast.Div(), right))
    if isinstance(node.op, ast.Mult):
        yield _edit("wrong product", 1.2, spot, ast.BinOp(left, ast.MatMult(), right))
        yield _edit(
            "wrong factor", 1.3, spot, ast.BinOp(left, ast.Div(), right), ast.unparse(right)
        )
        yield _edit("extra term", 1.6, spot, ast.BinOp(left, ast.Add(), right))
    if isinstance(node.op, ast.Div):
        yield _edit(
            "wrong factor", 1.3, spot, ast.BinOp(left, ast.Mult(), right), ast.unparse(right)
        )
        yield _edit("wrong factor", 1.5, spot, ast.BinOp(right, ast.Div(), left))
    if isinstance(node.op, ast.MatMult):
        yield _edit("wrong product", 1.2, spot, ast.BinOp(left, ast.Mult(), right))
        yield _edit("outer product swapped", 1, spot, ast.BinOp(right, ast.MatMult(), left))
        turned = ast.BinOp(_turned(right), ast.MatMult(), _turned(left))
        yield _edit("outer product swapped", 1.05, spot, turned)
        for a, b in (
            (_turned(left), _turned(right)),
            (right, _turned(left)),
            (_turned(right), left),
        ):
            yield _edit("outer product swapped", 1.6, spot, ast.BinOp(a, ast.MatMult(), b))
    if isinstance(node.op, ast.Add | ast.Sub):
        if isinstance(node.op, ast.Add):
            yield _edit("wrong product", 1.8, spot, ast.BinOp(left, ast.Mult(), right))
        yield _edit("extra term", 1.1, spot, left, ast.unparse(right))
        second = right if isinstance(node.op, ast.Add) else ast.UnaryOp(ast.USub(), right)
        yield _edit("extra term", 1.2, spot, second, ast.unparse(left))


def _turned(node: ast.expr) -> ast.expr:
    """The transpose, without a second .T."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return node.value
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "transpose"
    ):
        if not node.args and not _is_numpy(node.func.value):
            return node.func.value
        if len(node.args) == 1 and _is_numpy(node.func.value):
            return node.args[0]
    return ast.Attribute(node, "T", ast.Load())


def _is_numpy(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "xp", "jnp")


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
    turned = _turned(node)
    was_turned = not (isinstance(turned, ast.Attribute) and turned.value is node)
    if was_turned:
        yield _edit("extra transpose", 1, spot, turned, ast.unparse(node))
    elif _is_array(node, scene):
        simple = isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
        yield _edit("missing transpose", 1 if simple else 1.2, spot, turned, ast.unparse(node))


def _drops(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """A factor, a divisor, a call, a slice, a power that is too much."""
    node = spot.node
    if isinstance(node, ast.BinOp):
        left, right = node.left, node.right
        if isinstance(node.op, ast.Mult):
            yield _edit("extra factor", 1, spot, left, ast.unparse(right))
            yield _edit("extra factor", 1, spot, right, ast.unparse(left))
            inner = node.left
            if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Mult):
                pair = ast.BinOp(inner.right, ast.Mult(), right)
                yield _edit("extra factor", 1.1, spot, inner.left, ast.unparse(pair))
                yield _edit("extra factor", 1.1, spot, right, ast.unparse(inner))
                if isinstance(inner.left, ast.BinOp) and isinstance(inner.left.op, ast.Mult):
                    kept = ast.BinOp(inner.left.left, ast.Mult(), right)
                    yield _edit("extra factor", 1.3, spot, kept, ast.unparse(inner.right))
        elif isinstance(node.op, ast.Div):
            yield _edit("extra divisor", 1, spot, left, ast.unparse(right))
        elif isinstance(node.op, ast.MatMult):
            yield _edit("extra factor", 1.5, spot, left, ast.unparse(right))
            yield _edit("extra factor", 1.5, spot, right, ast.unparse(left))
        elif isinstance(node.op, ast.Pow):
            yield _edit("wrong power", 1.1, spot, left, ast.unparse(right))
    elif isinstance(node, ast.Call):
        yield from _unwrapped(spot)
    elif isinstance(node, ast.Subscript) and _is_load(node):
        yield _edit(_slice_kind(node), 1.1, spot, node.value, ast.unparse(node.slice))


def _slice_kind(node: ast.Subscript) -> str:
    return "kernel flipped" if "::-1" in ast.unparse(node.slice) else "wrong slice"


def _unwrapped(spot: Spot) -> Iterator[Edit]:
    node = spot.node
    name = ast.unparse(node.func).rpartition(".")[2]
    is_method = isinstance(node.func, ast.Attribute) and not _is_numpy(node.func.value)
    inner = (
        node.func.value if is_method and not node.args else (node.args[0] if node.args else None)
    )
    if is_method and name in ("sum", "mean", "astype", "clip", "round"):
        inner = node.func.value
    if inner is None:
        return
    kind = _UNWRAPPED.get(name, "extra function")
    yield _edit(kind, 1.1, spot, inner, name)


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


def _names(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """Another array, number or function in the place of one."""
    node = spot.node
    if not isinstance(node, ast.Name | ast.Attribute | ast.Subscript) or not _is_load(node):
        return
    if isinstance(spot.holder, ast.Call) and spot.field == "func":
        yield from _functions(spot, scene)
        return
    if isinstance(spot.holder, ast.Attribute) and not isinstance(node, ast.Name):
        if spot.holder.attr != "T":
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
            yield _edit("wrong value", 1.2, spot, expression(other), text)


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
                    yield _edit(found, 1, spot, new, other)
    if isinstance(call, ast.Call) and len(call.args) == 1 and name not in _NOT_ACTIVATIONS:
        for other in scene.functions:
            if other != text:
                yield _edit("wrong function", 1.2, spot, expression(other), text)


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


def _calls(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """Arguments in the other order, the other axis, another word."""
    node = spot.node
    if not isinstance(node, ast.Call):
        return
    name = ast.unparse(node.func).rpartition(".")[2]
    if len(node.args) == 2 and name not in ("sum", "mean", "reshape", "zeros"):
        kind = "outer product swapped" if name in ("dot", "outer", "matmul") else "wrong order"
        swapped = ast.Call(node.func, [node.args[1], node.args[0]], node.keywords)
        yield _edit(kind, 1, spot, swapped)
        if name in ("dot", "matmul"):
            turned = [_turned(node.args[1]), _turned(node.args[0])]
            yield _edit(kind, 1.05, spot, ast.Call(node.func, turned, node.keywords))
            for pair in (
                [_turned(node.args[0]), _turned(node.args[1])],
                [node.args[1], _turned(node.args[0])],
                [_turned(node.args[1]), node.args[0]],
            ):
                yield _edit(kind, 1.6, spot, ast.Call(node.func, pair, node.keywords))
    if name == "dot" and len(node.args) == 1 and isinstance(node.func, ast.Attribute):
        left, right = node.func.value, node.args[0]
        for a, b in (
            (right, left),
            (_turned(right), _turned(left)),
            (_turned(left), _turned(right)),
        ):
            new = ast.Call(ast.Attribute(a, "dot", ast.Load()), [b], [])
            yield _edit("outer product swapped", 1.05, spot, new)
    if name in ("dot", "matmul") and len(node.args) == 2:
        new = ast.BinOp(node.args[0], ast.Mult(), node.args[1])
        yield _edit("wrong product", 1.3, spot, new)
    for i, keyword in enumerate(node.keywords):
        if keyword.arg == "keepdims":
            rest = [k for k in node.keywords if k is not keyword]
            yield _edit("wrong axis", 1.3, spot, ast.Call(node.func, node.args, rest))
        if keyword.arg == "dtype":
            for text, kind in (("float", "integer arrays"), ("np.float64", "float32")):
                keywords = list(node.keywords)
                keywords[i] = ast.keyword("dtype", expression(text))
                yield _edit(kind, 1, spot, ast.Call(node.func, node.args, keywords))
        if keyword.arg == "axis":
            rest = [k for k in node.keywords if k is not keyword]
            yield _edit("wrong axis", 1.3, spot, ast.Call(node.func, node.args, rest))
    if name == "astype":
        yield _edit("integer arrays", 1.0, spot, ast.Call(node.func, [expression("float")], []))


def _constants(spot: Spot, scene: Scene) -> Iterator[Edit]:
    node = spot.node
    if not isinstance(node, ast.Constant):
        return
    value = node.value
    if isinstance(value, bool) or value is None:
        if isinstance(value, bool):
            yield _edit("wrong axis", 1.4, spot, ast.Constant(not value))
        return
    if isinstance(value, str):
        for other in ("valid", "full", "same") if value in ("valid", "full", "same") else ():
            if other != value:
                yield _edit("kernel not flipped", 1, spot, ast.Constant(other), repr(value))
        if isinstance(spot.holder, ast.Subscript):
            for other in scene.keys:
                if other != value:
                    yield _edit("wrong value", 1.2, spot, ast.Constant(other), repr(value))
        return
    if isinstance(value, int):
        is_axis = isinstance(spot.holder, ast.keyword) and spot.holder.arg == "axis"
        kind = "wrong axis" if is_axis else ("off by one" if _in_index(spot) else "wrong factor")
        for other in {value - 1, value + 1, -value} - {value}:
            yield _edit(kind, 0.95 if is_axis else 1.1, spot, ast.Constant(other), str(value))
    if isinstance(value, int | float):
        for other_value in (0.5 * value, 2.0 * value):
            shown: Any = int(other_value) if float(other_value).is_integer() else other_value
            if shown != value and not _in_index(spot):
                yield _edit("wrong factor", 1.2, spot, ast.Constant(shown), str(value))
        for text, number in scene.scalars.items():
            if number != value and not _in_index(spot) and spot.field not in ("args", "slice"):
                yield _edit("wrong factor", 1.3, spot, expression(text), str(value))


def _in_index(spot: Spot) -> bool:
    return isinstance(spot.holder, ast.Subscript | ast.Slice) or (
        isinstance(spot.holder, ast.UnaryOp | ast.BinOp)
        and spot.field != "value"
        and isinstance(spot.node, ast.Constant)
        and isinstance(spot.node.value, int)
        and getattr(spot.holder, "in_index", False)
    )


def _indices(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """One layer further, or one back: `[i]` as `[i + 1]`; a label as it is."""
    holder = spot.holder
    if not (isinstance(holder, ast.Subscript) and spot.field == "slice"):
        if not (isinstance(holder, ast.Tuple) and isinstance(spot.node, ast.Name | ast.BinOp)):
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
        yield _edit(kind, weight, spot, expression(_tidy(other)), text)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        yield _edit("off by one", 1, spot, node.left, text)


def _tidy(text: str) -> str:
    return text.replace("- 1 + 1", "").replace("+ 1 - 1", "")


def _slices(spot: Spot) -> Iterator[Edit]:
    node = spot.node
    if node.lower is None and node.upper is None and node.step is None:
        yield _edit("bias regularised", 1.4, spot, ast.Slice(ast.Constant(1), None, None))
    for name in ("lower", "upper"):
        if getattr(node, name) is not None:
            parts = {n: getattr(node, n) for n in ("lower", "upper", "step")}
            parts[name] = None
            yield _edit("off by one", 1.2, spot, ast.Slice(**parts), ast.unparse(node))


def _both_names(spots: list[Spot], scene: Scene) -> Iterator[Edit]:
    """Every occurrence of a name by another, or by a function of it: `a` for `z`, `f(z)` for `z`."""
    by_text: dict[str, list[Spot]] = {}
    for spot in spots:
        if isinstance(spot.node, ast.Name | ast.Attribute | ast.Subscript) and _is_load(spot.node):
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
        and _is_load(spot.node)
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
    _names,
    _calls,
    _constants,
    _indices,
]
