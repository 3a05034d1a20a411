"""What a statement may lack: a factor, a sum, a term, a copy, a flip."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from chainrule.review.edit import Edit, Scene, Spot, expression, placed
from chainrule.review.edits import spots_of

__all__ = ["insertions", "is_whole_value", "rearrangements"]

_LOCAL_DERIVATIVES = {
    "{v} * (1 - {v})": "the derivative of the sigmoid",
    "(1 - {v} ** 2)": "the derivative of tanh",
    "({v} > 0)": "the derivative of ReLU",
    "(1 - {v})": "a part of the derivative of the sigmoid",
    "{v}": "",
}


def insertions(scene: Scene) -> Iterator[Edit]:
    """Every change that puts something in."""
    for spot in spots_of(scene.statement):
        if not _takes_more(spot):
            continue
        for generator in (
            _products,
            _without_bias,
            _factors,
            _scalars,
            _sums,
            _wrapped,
            _flips,
            _terms,
            _jacobian,
        ):
            yield from generator(spot, scene)


def _takes_more(spot: Spot) -> bool:
    node = spot.node
    if not isinstance(
        node, ast.BinOp | ast.UnaryOp | ast.Call | ast.Name | ast.Attribute | ast.Subscript
    ):
        return False
    if not isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
        return False
    if isinstance(spot.holder, ast.Attribute) or spot.field == "func":
        return isinstance(spot.holder, ast.Attribute) and spot.holder.attr == "T"
    return not (spot.field == "slice" or isinstance(spot.holder, ast.Slice))


def _is_scalar(node: ast.AST, scene: Scene) -> bool:
    value = scene.value(node)
    return value is not None and not (isinstance(value, np.ndarray) and value.ndim)


def is_whole_value(spot: Spot) -> bool:
    """Whether a node is all that a statement assigns, returns or lists."""
    holder = spot.holder
    if spot.field == "value" and isinstance(holder, ast.stmt | ast.DictComp | ast.keyword):
        return True
    return isinstance(holder, ast.Return | ast.Lambda) or spot.field in ("elts", "elt", "values")


def _factors(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """An activation's derivative, or a mask, times what is there."""
    if _is_scalar(spot.node, scene) and scene.arrays:
        return
    weight = 2.0 if is_whole_value(spot) else 2.1
    in_product = isinstance(spot.holder, ast.BinOp) and isinstance(spot.holder.op, ast.Mult)
    if in_product:
        weight += 0.05
    names = list(scene.arrays) or [n for n, v in scene.scalars.items() if isinstance(v, float)]
    for name in names:
        for template, meaning in _LOCAL_DERIVATIVES.items():
            text = template.format(v=name)
            kind = "missing activation derivative" if meaning else "missing factor"
            rarer = 0.1 if not meaning or meaning.startswith("a part") else 0.0
            if rarer:
                rarer = -0.05 if template.startswith("(1") and spot.node is not None else rarer
            yield _times(spot, expression(text), kind, weight + rarer, text)
        for function in scene.functions:
            text = f"{function}({name})"
            kind = "missing activation derivative"
            yield _times(spot, expression(text), kind, weight - 0.1, text)


def _products(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """All of a value made anew, from one thing it has and another: `g * mask`, and no more."""
    if not is_whole_value(spot) or not isinstance(spot.node, ast.BinOp):
        return
    own = {
        ast.unparse(node)
        for node in ast.walk(spot.node)
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript)
    }
    for left in sorted(own & scene.arrays.keys()):
        for right in scene.arrays:
            if right != left:
                new = expression(f"{left} * {right}")
                is_mask = _is_mask(scene.arrays[right])
                weight = 1.5 if is_mask else 2.6
                yield Edit("missing factor", weight, ((spot, placed(new, spot.node)),), right)
        for name in scene.arrays if isinstance(spot.node.op, ast.Mult) else ():
            if name != left:
                forms = [t.format(v=name) for t, meaning in _LOCAL_DERIVATIVES.items() if meaning]
                forms += [f"{function}({name})" for function in scene.functions]
                for form in forms:
                    new = expression(f"{left} * {form}")
                    kind = "wrong activation derivative"
                    yield Edit(kind, 2.2, ((spot, placed(new, spot.node)),), form)


def _is_mask(value: object) -> bool:
    """Whether an array has two values, one of them zero."""
    if not isinstance(value, np.ndarray) or value.size < 2:
        return False
    numbers = np.unique(value)
    return numbers.size == 2 and numbers[0] == 0


_WITHOUT_BIAS = (
    "np.hstack([np.zeros(({v}.shape[0], 1)), {v}[:, 1:]])",
    "np.vstack([np.zeros((1, {v}.shape[1])), {v}[1:]])",
    "np.vstack([{v}[:-1], np.zeros((1, {v}.shape[1]))])",
    "np.hstack([{v}[:, :-1], np.zeros(({v}.shape[0], 1))])",
)


def _without_bias(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """A matrix of weights whose first column or row, or the last, is the bias: without it."""
    if not isinstance(spot.node, ast.Name | ast.Attribute | ast.Subscript):
        return
    value = scene.value(spot.node)
    text = ast.unparse(spot.node)
    if isinstance(value, np.ndarray) and value.ndim == 2 and min(value.shape) > 1:
        for template in _WITHOUT_BIAS:
            new = expression(template.format(v=text))
            yield Edit("bias regularised", 1.6, ((spot, placed(new, spot.node)),), text)


def _times(spot: Spot, factor: ast.expr, kind: str, weight: float, part: str) -> Edit:
    new = ast.BinOp(spot.node, ast.Mult(), factor)
    return Edit(kind, weight, ((spot, placed(new, spot.node)),), part)


def _scalars(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """A number times what is there, or what is there divided by it."""
    weight = 2.0 if is_whole_value(spot) else 2.25
    sizes: dict[int, str] = {}
    for name, value in scene.arrays.items():
        if isinstance(value, np.ndarray):
            for axis, size in enumerate(value.shape):
                if size > 1:
                    sizes.setdefault(size, f"{name}.shape[{axis}]")
            if value.ndim > 1 and value.size > 1:
                sizes.setdefault(value.size, f"{name}.size")
    numbers: dict[str, float] = {**scene.scalars}
    known = set(numbers.values())
    numbers |= {text: float(size) for size, text in sizes.items() if size not in known}
    numbers |= {"2": 2.0}
    for text, number in numbers.items():
        if number in (0.0, 1.0):
            continue
        for operator in (ast.Mult(), ast.Div()):
            new = ast.BinOp(spot.node, operator, expression(text))
            kind = "missing factor" if isinstance(operator, ast.Mult) else "missing divisor"
            # a factor 2 is a square's more often than a size's, a divisor 2 a size's
            rarer = 0.05 if isinstance(operator, ast.Mult) == (text == "2") else 0.3
            rarer = rarer if number == 2 else 0.0
            yield Edit(kind, weight + rarer, ((spot, placed(new, spot.node)),), text)
    if is_whole_value(spot):
        squared = ast.BinOp(spot.node, ast.Mult(), spot.node)
        if isinstance(spot.node, ast.Name | ast.Attribute):
            yield Edit("missing factor", 2.2, ((spot, placed(squared, spot.node)),), "itself")


def _sums(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """The sum over the samples, for a bias above all; and powers."""
    weight = 1.5 if is_whole_value(spot) else 1.7
    for rest in ("axis=0", "axis=1", "axis=0, keepdims=True", "axis=1, keepdims=True"):
        for name in ("sum", "mean"):
            text = f"np.{name}(0, {rest})"
            call = expression(text)
            assert isinstance(call, ast.Call)
            call = ast.Call(call.func, [spot.node], call.keywords)
            later = (0.05 if "keepdims" in rest else 0) + (0.03 if name == "mean" else 0)
            node = spot.node
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
                "sum",
                "mean",
            ):
                base = (
                    node.func.value
                    if isinstance(node.func, ast.Attribute)
                    and not (
                        isinstance(node.func.value, ast.Name)
                        and node.func.value.id in ("np", "numpy")
                    )
                    else (node.args[0] if node.args else None)
                )
                if base is None:
                    continue
                call = ast.Call(call.func, [base], call.keywords)
                yield Edit("wrong axis", 1.1 + later, ((spot, placed(call, node)),), rest)
                continue
            kind = "bias gradient not summed"
            yield Edit(kind, weight + later, ((spot, placed(call, node)),), rest)
    if not _is_scalar(spot.node, scene):
        power = ast.BinOp(spot.node, ast.Pow(), ast.Constant(2))
        yield Edit("wrong power", 1.2, ((spot, placed(power, spot.node)),), "2")
    one_minus = ast.BinOp(ast.Constant(1), ast.Sub(), spot.node)
    yield Edit("wrong value", 2.0, ((spot, placed(one_minus, spot.node)),), "1 - ")


def _wrapped(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """A function of what is there, a copy of it, or it as numbers with a fraction."""
    for function in scene.functions:
        new = ast.Call(expression(function), [spot.node], [])
        simple = isinstance(spot.node, ast.Name | ast.Attribute | ast.Subscript)
        yield Edit(
            "function missing", 1.6 if simple else 2.3, ((spot, placed(new, spot.node)),), function
        )
    if isinstance(spot.node, ast.Name | ast.Attribute | ast.Subscript):
        copied = ast.Call(ast.Attribute(spot.node, "copy", ast.Load()), [], [])
        yield Edit("alias", 1.3, ((spot, placed(copied, spot.node)),), ast.unparse(spot.node))
    call = spot.node
    if isinstance(call, ast.Call):
        name = ast.unparse(call.func).rpartition(".")[2]
        if name in _MAKERS and all(k.arg != "dtype" for k in call.keywords):
            keyword = ast.keyword("dtype", expression("float"))
            new = ast.Call(call.func, call.args, [*call.keywords, keyword])
            yield Edit("integer arrays", 1.2, ((spot, placed(new, call)),), name)


_MAKERS = (
    "zeros_like",
    "ones_like",
    "empty_like",
    "full_like",
    "array",
    "full",
    "zeros",
    "asarray",
)


def _flips(spot: Spot, scene: Scene) -> Iterator[Edit]:
    if not isinstance(spot.node, ast.Name | ast.Attribute | ast.Subscript):
        return
    value = scene.value(spot.node)
    if value is not None and not (isinstance(value, np.ndarray) and value.ndim):
        return
    ndim = value.ndim if isinstance(value, np.ndarray) else 2
    last = {1: "[::-1]", 2: "[::-1, ::-1]"}.get(ndim, "[..., ::-1, ::-1]")
    texts = [last]
    if ndim == 4:
        texts += ["[::-1, ::-1]", "[:, ::-1, ::-1]"]
    if ndim == 3:
        texts += ["[::-1, ::-1]"]
    for text in texts:
        new = expression(f"x{text}")
        assert isinstance(new, ast.Subscript)
        new = ast.Subscript(spot.node, new.slice, ast.Load())
        kind = "kernel not flipped"
        yield Edit(
            kind,
            1.25 if is_whole_value(spot) else 1.4,
            ((spot, placed(new, spot.node)),),
            ast.unparse(spot.node),
        )


def _terms(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """A penalty's derivative: a number times a parameter, added."""
    if not is_whole_value(spot):
        return
    small = [n for n, v in scene.scalars.items() if isinstance(v, float) or n.lower() in ("m", "n")]
    small += [n for n in scene.scalars if n not in small][:3]
    for name in [*scene.arrays, *scene.blank]:
        new = ast.BinOp(spot.node, ast.Add(), expression(name))
        yield Edit("missing term", 2.15, ((spot, placed(new, spot.node)),), name)
    for array, value in scene.arrays.items():
        names = [array]
        if isinstance(value, np.ndarray) and value.ndim == 2 and min(value.shape) > 1:
            names.append(_WITHOUT_BIAS[0].format(v=array))
        for name, a in product(names, small[:6]):
            for text in (f"{a} * {name}", *(f"{a} / {b} * {name}" for b in small[:6] if b != a)):
                new = ast.BinOp(spot.node, ast.Add(), expression(text))
                yield Edit("weights not regularised", 2.4, ((spot, placed(new, spot.node)),), text)


def _jacobian(spot: Spot, scene: Scene) -> Iterator[Edit]:
    """Softmax's derivative s * (g - sum(g * s)) for g * s * (1 - s), g * s or a wrong mean."""
    for name, value in scene.arrays.items():
        axis = _distribution_axis(value)
        if axis is None:
            continue
        for g in _cotangents_in(spot.node, scene):
            text = f"{name} * ({g} - np.sum({g} * {name}, axis={axis}, keepdims=True))"
            part = f"{name} * (1 - {name})"
            kind = "softmax derivative as if elementwise"
            yield Edit(kind, 2.3, ((spot, placed(expression(text), spot.node)),), part)


def _distribution_axis(value: object) -> int | None:
    if not isinstance(value, np.ndarray) or value.ndim not in (1, 2) or value.dtype.kind != "f":
        return None
    if not (np.all(value > 0) and np.all(value < 1)):
        return None
    for axis in range(value.ndim - 1, -1, -1):
        if value.shape[axis] > 1 and np.allclose(value.sum(axis=axis), 1):
            return axis
    return None


def _cotangents_in(node: ast.AST, scene: Scene) -> list[str]:
    texts = [
        ast.unparse(inner)
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name | ast.Attribute | ast.BinOp | ast.Call)
        and isinstance(getattr(inner, "ctx", ast.Load()), ast.Load)
    ]
    return list(dict.fromkeys(t for t in texts if t not in ("np",)))[:12]


# The statement as a whole


def rearrangements(
    scene: Scene, find_block: Callable[[ast.stmt], tuple[list[ast.stmt], int] | None]
) -> Iterator[Edit]:
    """`+=` for `=` and the reverse, and the statement later or earlier in its block."""
    statement = scene.statement
    if isinstance(statement, ast.AugAssign):
        yield from _augmented(statement, find_block)
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Subscript | ast.Name):
            new = ast.AugAssign(target, ast.Add(), statement.value)
            yield from _replaced(statement, new, "overwritten, not added", 1.2, find_block)


def _augmented(
    statement: ast.AugAssign, find_block: Callable[[ast.stmt], tuple[list[ast.stmt], int] | None]
) -> Iterator[Edit]:
    other = {ast.Add: ast.Sub, ast.Sub: ast.Add}.get(type(statement.op))
    if other is not None:
        new = ast.AugAssign(statement.target, other(), statement.value)
        yield from _replaced(statement, new, "wrong sign", 1.0, find_block)
        assigned = ast.Assign([statement.target], statement.value)
        yield from _replaced(statement, assigned, "accumulated, not reset", 1.1, find_block)
    if isinstance(statement.op, ast.Mult | ast.Div):
        swapped = ast.Div() if isinstance(statement.op, ast.Mult) else ast.Mult()
        new = ast.AugAssign(statement.target, swapped, statement.value)
        yield from _replaced(statement, new, "wrong factor", 1.2, find_block)
        nothing = ast.Pass()
        yield from _replaced(
            statement, nothing, "extra factor", 1.2, find_block, ast.unparse(statement.value)
        )
    elif isinstance(statement.op, ast.Add | ast.Sub):
        yield from _replaced(
            statement, ast.Pass(), "extra term", 1.4, find_block, ast.unparse(statement.value)
        )


def _replaced(
    statement: ast.stmt,
    new: ast.stmt,
    kind: str,
    weight: float,
    find_block: Callable[[ast.stmt], tuple[list[ast.stmt], int] | None],
    part: str = "",
) -> Iterator[Edit]:
    found = find_block(statement)
    if found is None:
        return
    block, index = found
    holder = _Block(block)
    spot = Spot(statement, holder, "body", index)
    ast.copy_location(new, statement)
    yield Edit(kind, weight, ((spot, ast.fix_missing_locations(new)),), part)


class _Block(ast.AST):
    """A list of statements as a node, so that a spot can hang in it."""

    _fields = ("body",)

    def __init__(self, body: list[ast.stmt]) -> None:
        super().__init__()
        self.body = body
