"""Simplifying: functions from graph to graph that leave the result the same, at most to rounding.

Each pass does one thing and can be left out; `simplify` runs them all and checks the graph after
each. None of them knows an engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.compiler.check import check_graph
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.trace import infer
from chainrule.primitives.primitive import PRIMITIVES, Primitive

__all__ = [
    "PASSES",
    "Pass",
    "divisor_of",
    "drop_broadcasts",
    "fold_constants",
    "is_elementwise",
    "merge_common_subexpressions",
    "merge_scales",
    "merge_sums",
    "move_scales",
    "remove_dead_code",
    "run_passes",
    "simplify_algebra",
]

Pass = Callable[[Graph], Graph]


def run_passes(graph: Graph, passes: Sequence[Pass]) -> Graph:
    """The graph after these passes in turn, checked after each."""
    check_graph(graph)
    for one_pass in passes:
        graph = check_graph(one_pass(graph))
    return graph


def is_elementwise(primitive: Primitive) -> bool:
    """Whether element i of the result depends on element i of the (broadcast) arguments only."""
    ufunc = primitive.evaluate
    is_ufunc = isinstance(ufunc, np.ufunc) and ufunc.signature is None
    return is_ufunc or primitive.name in {"clip", "where"}


def remove_dead_code(graph: Graph) -> Graph:
    """Drop equations and constants whose result nothing reads."""
    ends = (*graph.outputs, *graph.updates.values())
    needed = {atom for atom in ends if isinstance(atom, Variable)}
    kept: list[Equation] = []
    for equation in reversed(graph.equations):
        if equation.out in needed:
            needed.update(equation.variables)
            kept.append(equation)
    constants = {v: array for v, array in graph.constants.items() if v in needed}
    return replace(graph, equations=tuple(reversed(kept)), constants=constants)


def merge_common_subexpressions(graph: Graph) -> Graph:
    """Compute the same thing once: equations of equal primitive, arguments and parameters."""
    seen: dict[Any, Variable] = {}
    new: dict[Variable, Atom] = {}
    kept: list[Equation] = []
    for equation in graph.equations:
        args = tuple(new.get(a, a) if isinstance(a, Variable) else a for a in equation.args)
        key = (
            equation.primitive,
            tuple(id(a) if isinstance(a, Variable) else (type(a), a) for a in args),
            repr(equation.params),
        )
        if key in seen and not equation.primitive.is_random:
            first = seen[key]
            new[equation.out] = first
            _stand_in(first, equation.out)
        else:
            seen[key] = equation.out
            kept.append(equation)
    return graph.substitute(new, kept)


def _stand_in(variable: Variable, gone: Variable) -> None:
    """Let a variable that takes another's place answer to its name too."""
    variable.name = variable.name or gone.name
    variable.cotangent_of += gone.cotangent_of


def fold_constants(graph: Graph) -> Graph:
    """Write constant arrays of one repeated value as numbers, where the result keeps its form."""
    numbers = {v: number for v, array in graph.constants.items() if (number := _uniform(array))}
    equations = []
    for equation in graph.equations:
        if is_elementwise(equation.primitive):
            for variable, number in numbers.items():
                args = tuple(number[0] if a is variable else a for a in equation.args)
                if args != equation.args and _gives(equation, args):
                    equation = replace(equation, args=args)
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


def _uniform(array: np.ndarray[Any, Any]) -> tuple[Atom] | None:
    """The one value of a constant array, in a tuple; None where there are several, or NaN."""
    if array.size and array.dtype.kind in "fiub" and (array == array.flat[0]).all():
        return (_plain_number(array.flat[0]),)
    return None


def _plain_number(value: Any) -> Atom:
    """The number that was rounded to this value: 0.001, where float32 has 0.0010000000474974513.

    It gives the same wherever it meets an array of that dtype, and is nearer to what was meant
    where it meets another number first. Tried are four digits, then 1 / n, then all digits.
    """
    if value.dtype.kind != "f" or value.dtype.itemsize >= 8 or not np.isfinite(value):
        as_it_is: Atom = value.item()
        return as_it_is
    exact: float = value.item()
    shares = [1 / round(1 / exact)] if 1e-6 < exact < 0.5 else []
    decimals = [float(f"{exact:.{digits}g}") for digits in range(1, 10)]
    with np.errstate(over="ignore"):
        candidates = (*decimals[:4], *shares, *decimals[4:])
        return next(number for number in candidates if value.dtype.type(number) == value)


def _gives(equation: Equation, args: tuple[Atom, ...], primitive: Primitive | None = None) -> bool:
    """Whether the equation with other arguments has the result it had, in shape and dtype."""
    out = equation.out
    return infer(primitive or equation.primitive, args, equation.params) == (out.shape, out.dtype)


def drop_broadcasts(graph: Graph) -> Graph:
    """Let elementwise equations broadcast by themselves what was broadcast for them."""
    sources = {e.out: e.args[0] for e in graph.equations if e.primitive.name == "broadcast_to"}
    equations = []
    for equation in graph.equations:
        if is_elementwise(equation.primitive):
            for position, atom in enumerate(equation.args):
                if isinstance(atom, Variable) and atom in sources:
                    before, after = equation.args[:position], equation.args[position + 1 :]
                    args = (*before, sources[atom], *after)
                    if _gives(equation, args):
                        equation = replace(equation, args=args)
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


# Algebra that is exact in floating point


def simplify_algebra(graph: Graph) -> Graph:
    """Rewrite equations by identities that hold bit for bit, as x * 1 = x and x + (-y) = x - y.

    Never 0 * x = 0, which loses NaN and infinity.
    """
    made_by: dict[Variable, Equation] = {}
    new: dict[Variable, Atom] = {}
    kept: list[Equation] = []
    for equation in graph.equations:
        args = tuple(new.get(a, a) if isinstance(a, Variable) else a for a in equation.args)
        equation = _rewrite(replace(equation, args=args), made_by)
        same = _identity(equation)
        if same is not None:
            new[equation.out] = same
            _stand_in(same, equation.out)
        else:
            made_by[equation.out] = equation
            kept.append(equation)
    return remove_dead_code(graph.substitute(new, kept))


def _identity(equation: Equation) -> Variable | None:
    """The argument that the equation's result is equal to, if there is one."""
    name, args, out = equation.primitive.name, equation.args, equation.out
    x = args[0]
    neutral = {"multiply": 1, "divide": 1, "subtract": 0, "power": 1}
    if name in {"reshape", "broadcast_to", "astype"}:
        candidate: Atom = x
    elif len(args) == 2 and name in neutral and _is_number(args[1], neutral[name]):
        candidate = x
    elif name == "multiply" and _is_number(x, 1):
        candidate = args[1]
    else:
        return None
    if isinstance(candidate, Variable) and candidate.shape == out.shape:
        return candidate if candidate.dtype == out.dtype else None
    return None


def _is_number(atom: Atom, value: float) -> bool:
    return not isinstance(atom, Variable) and atom == value


def _rewrite(equation: Equation, made_by: dict[Variable, Equation]) -> Equation:
    """The equation itself, or one of equal result that is cheaper."""

    def source(position: int, name: str) -> Atom | None:
        atom = equation.args[position]
        maker = made_by.get(atom) if isinstance(atom, Variable) else None
        return maker.args[0] if maker is not None and maker.primitive.name == name else None

    def become(name: str, *args: Atom, **params: Any) -> Equation:
        new = replace(equation, primitive=PRIMITIVES[name], args=args, params=params)
        return new if _gives(new, args) else equation

    name, args = equation.primitive.name, equation.args
    if name == "reshape" and (inner := source(0, "reshape")) is not None:
        return become("reshape", inner, **equation.params)
    if name == "add" and (negated := source(1, "negative")) is not None:
        return become("subtract", args[0], negated)
    if name == "subtract" and (negated := source(1, "negative")) is not None:
        return become("add", args[0], negated)
    if name == "add" and args[0] is args[1]:
        return become("multiply", 2.0, args[0])
    if name == "power" and _is_number(args[1], 2):
        return become("square", args[0])
    if name == "multiply" and args[0] is args[1]:
        return become("square", args[0])
    if name == "sum" and _sums_one_element(equation):
        return become("reshape", args[0], shape=equation.out.shape)
    return equation


def _sums_one_element(equation: Equation) -> bool:
    x = equation.args[0]
    return isinstance(x, Variable) and bool(equation.out.shape) and x.size == equation.out.size


# Scales: exact to rounding


def merge_scales(graph: Graph) -> Graph:
    """Multiply numbers with each other before they meet an array: a * (b * x) = (a * b) * x."""
    counts = graph.use_counts()
    scaled: dict[Variable, tuple[float, Variable]] = {}
    equations = []
    for equation in graph.equations:
        split = _split_scale(equation)
        if split is not None:
            number, x = split
            if x in scaled and counts[x] == 1:
                number, x = number * scaled[x][0], scaled[x][1]
                primitive, args = _scaled(number, x)
                if _gives(equation, args, primitive):
                    equation = replace(equation, primitive=primitive, args=args, params={})
            scaled[equation.out] = (number, x)
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


def divisor_of(number: Any) -> int | None:
    """The n of a number that reads better as 1 / n: 1 / 64, 1 / 96, but 0.5, 0.1 and 0.001."""
    if type(number) is not float or not 1e-7 < number < 0.5:
        return None
    n = round(1 / number)
    digits = repr(number).split("e")[0].replace(".", "").strip("0")
    is_power_of_two = n & (n - 1) == 0
    return n if 1 / n == number and (is_power_of_two or len(digits) > 3) else None


def _scaled(number: Atom, x: Variable) -> tuple[Primitive, tuple[Atom, ...]]:
    """The product of x and a number, or x / n where the number is 1 / n and x is no array."""
    n = divisor_of(number)
    if n is not None and not x.shape:
        return PRIMITIVES["divide"], (x, n)
    return PRIMITIVES["multiply"], (number, x)


def _split_scale(equation: Equation) -> tuple[float, Variable] | None:
    """Number and array, where the equation is a product of the two or a division by the number."""
    name, args = equation.primitive.name, equation.args
    if len(args) != 2 or equation.out.dtype is None or equation.out.dtype.kind != "f":
        return None
    if name == "multiply":
        for number, x in (args, args[::-1]):
            if isinstance(number, int | float) and isinstance(x, Variable):
                return float(number), x
    if name == "divide" and isinstance(args[1], int | float) and isinstance(args[0], Variable):
        return 1.0 / args[1], args[0]
    return None


def merge_sums(graph: Graph) -> Graph:
    """Sum everything at once: sum(c * sum(x, axis)) = c * sum(x), sum(x**2) = vdot(x, x)."""
    counts = graph.use_counts()
    made_by = {e.out: e for e in graph.equations}
    equations: list[Equation] = []
    for equation in graph.equations:
        x = equation.args[0] if equation.args else None
        if equation.primitive.name == "sum" and not equation.out.shape and isinstance(x, Variable):
            number, inner = 1.0, made_by.get(x)
            while inner is not None and counts[inner.out] == 1:
                split = _split_scale(inner)
                if split is not None:
                    number, x = number * split[0], split[1]
                elif inner.primitive.name in {"sum", "reshape"} and isinstance(
                    inner.args[0], Variable
                ):
                    x = inner.args[0]
                else:
                    break
                inner = made_by.get(x)
            total = Variable((), equation.out.dtype)
            if inner is not None and inner.primitive.name == "square" and counts[inner.out] == 1:
                vdot, squared = PRIMITIVES["vdot"], inner.args[0]
                args: tuple[Atom, ...] = (squared, squared)
                equations.append(replace(equation, out=total, primitive=vdot, args=args, params={}))
            elif x is not equation.args[0]:
                params = {"axis": None, "keepdims": False}
                equations.append(replace(equation, out=total, args=(x,), params=params))
            if equations and equations[-1].out is total:
                primitive, args = _scaled(number, total)
                equation = replace(equation, primitive=primitive, args=args, params={})
        equations.append(equation)
    return remove_dead_code(graph.replace_equations(equations))


_LINEAR_IN_ALL = {
    "add", "subtract", "negative", "sum", "reshape", "transpose", "broadcast_to", "concatenate",
}  # fmt: skip


def move_scales(graph: Graph) -> Graph:
    """Move the factor on a large array back along the reverse pass to where arrays are small.

    The reverse pass is linear in the cotangent it starts from, so `rate * gradients` may scale
    that cotangent instead: the update then reads gradients that carry the factor already. Done
    only where every reader of what is scaled on the way is scaled with it.
    """
    for equation in graph.equations:
        if equation.primitive.name != "multiply" or equation.section != "update":
            continue
        for factor, x in (equation.args, equation.args[::-1]):
            if _is_number_atom(factor) and isinstance(x, Variable) and x.shape:
                starts = _starts_of(graph, x, equation)
                if starts:
                    return _scale_starts(graph, factor, starts, equation, x)
    return graph


def _is_number_atom(atom: Atom) -> bool:
    return not isinstance(atom, Variable) or atom.dtype is None


def _starts_of(graph: Graph, x: Variable, scaling: Equation) -> set[Variable]:
    """Where the reverse pass that ends in `x` starts from a number; empty where `x` is not linear
    in these numbers, or where something else reads a value on the way.
    """
    made_by = {e.out: e for e in graph.equations}
    carrying, all_starts = _cotangents(graph)
    scaled, starts, pending = {x}, set(), [x]
    while pending:
        variable = pending.pop()
        if variable in all_starts:
            starts.add(variable)
            continue
        maker = made_by.get(variable)
        carriers = None if maker is None else _carriers(maker, carrying)
        if carriers is None:
            return set()
        pending += [v for v in carriers if v not in scaled]
        scaled.update(carriers)
    ends = (*graph.outputs, *graph.updates.values())
    read_elsewhere = any(end in scaled for end in ends if isinstance(end, Variable)) or any(
        e is not scaling and e.out not in scaled and any(v in scaled for v in e.variables)
        for e in graph.equations
    )
    return set() if read_elsewhere else starts


def _cotangents(graph: Graph) -> tuple[set[Variable], set[Variable]]:
    """The values that the cotangent of the loss has flowed into, and those where it starts.

    A rule's cotangent is its argument `g`. Where that was a number, it has been folded into the
    last product of the rule.
    """
    last_of_group = {e.group: e for e in graph.equations if e.group is not None}
    carrying: set[Variable] = set()
    starts: set[Variable] = set()
    for e in graph.equations:
        if e.section == "forward":
            continue
        given = dict(e.group.arguments) if e.group is not None else {}
        if e.section == "backward" and e.group is not None and "g" not in given:
            if e is last_of_group[e.group] and _is_scaled_by_number(e):
                carrying.add(e.out)
                starts.add(e.out)
        elif any(v in carrying for v in e.variables):
            carrying.add(e.out)
    return carrying, starts


def _is_scaled_by_number(equation: Equation) -> bool:
    return equation.primitive.name == "multiply" and any(
        isinstance(a, int | float) for a in equation.args
    )


def _carriers(maker: Equation, carrying: set[Variable]) -> list[Variable] | None:
    """The arguments that carry the cotangent, such that scaling them scales the result.

    None where the result is not linear in them.
    """
    name, args = maker.primitive.name, maker.args
    carriers = [v for v in maker.variables if v in carrying]
    if name in _LINEAR_IN_ALL:
        return carriers if len(carriers) == len(args) else None
    if name == "where":
        chosen = all(a in carriers or _is_number(a, 0) for a in args[1:])
        return carriers if chosen and args[0] not in carriers else None
    linear = carriers == [args[0]] if name == "divide" else name in {"multiply", "matmul"}
    return carriers if linear and len(carriers) == 1 else None


def _scale_starts(
    graph: Graph, factor: Atom, starts: set[Variable], scaling: Equation, x: Variable
) -> Graph:
    """The graph with the factor on the numbers the reverse pass starts from, not on `x`.

    Equations of numbers alone, among them those of the factor, come first.
    """
    numbers = [e for e in graph.equations if e.out.dtype is None]
    equations: list[Equation] = list(numbers)
    scales: dict[Atom, Variable] = {}
    for equation in graph.equations:
        if equation.out.dtype is None or equation is scaling:
            continue
        if equation.out in starts:
            place = next(i for i, a in enumerate(equation.args) if not isinstance(a, Variable))
            number = equation.args[place]
            if number not in scales:
                scales[number] = Variable((), None, "scale")
                product = _scaled_number(factor, number)
                equations.append(Equation(scales[number], *product, {}, section="backward"))
            args = (*equation.args[:place], scales[number], *equation.args[place + 1 :])
            equation = replace(equation, args=args)
        equations.append(equation)
    return remove_dead_code(graph.substitute({scaling.out: x}, equations))


def _scaled_number(factor: Atom, number: Atom) -> tuple[Primitive, tuple[Atom, ...]]:
    """The product of two numbers, the second as a divisor where it is 1 / n."""
    n = divisor_of(number)
    if n is not None:
        return PRIMITIVES["divide"], (factor, n)
    return PRIMITIVES["multiply"], (factor, number)


PASSES: tuple[Pass, ...] = (
    remove_dead_code,
    drop_broadcasts,
    fold_constants,
    simplify_algebra,
    merge_common_subexpressions,
    merge_sums,
    merge_scales,
    move_scales,
    simplify_algebra,
)
