"""Elementwise primitives as C expressions of one element: a table by the name of the primitive.

Every entry takes the operands, cast to the dtype that NumPy computes in, and gives the text of the
result and how tightly it binds. Functions are those of `functions.c`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.compiler.graph import Atom, Equation, Variable
from chainrule.compiler.trace import SCALAR_POWER
from chainrule.engines.c.functions import function_names
from chainrule.engines.c.types import UnsupportedError, c_type, literal

__all__ = [
    "Operand",
    "cast",
    "combine",
    "computed_in",
    "element",
    "limits_of_numbers",
    "number_as_operand",
    "own_function",
    "raises_below_0",
    "start_value",
]


@dataclass(frozen=True, slots=True)
class Operand:
    """The text of a value, its dtype, and how tightly it binds: 9 a name, a call, 8 a sign, ..."""

    text: str
    dtype: np.dtype[Any]
    binding: int = 9

    def within(self, binding: int) -> str:
        """The text as it stands in an operation that binds so, in parentheses if need be."""
        return self.text if self.binding > binding else f"({self.text})"


_SIGNS = {
    "multiply": ("*", 7), "divide": ("/", 7), "add": ("+", 6), "subtract": ("-", 6),
    "less": ("<", 5), "less_equal": ("<=", 5), "greater": (">", 5), "greater_equal": (">=", 5),
    "equal": ("==", 4), "not_equal": ("!=", 4),
    "bitwise_and": ("&", 3), "bitwise_xor": ("^", 2), "bitwise_or": ("|", 1),
}  # fmt: skip
"""How C writes what it has a sign for, and how tightly that binds."""

_COMPARISONS = {name for name, (_, binding) in _SIGNS.items() if binding in {4, 5}}

_OF_BOOLEANS = {"add": "bitwise_or", "multiply": "bitwise_and", "maximum": "bitwise_or",
                "minimum": "bitwise_and"}  # fmt: skip

_QUESTIONS = ["isfinite", "isinf", "isnan", "signbit"]

_OF_INTEGERS_TOO = {"floor", "ceil", "trunc", "rint"}


def cast(operand: Operand, dtype: Any) -> Operand:
    """The operand converted as NumPy's astype does it."""
    dtype = np.dtype(dtype)
    if operand.dtype == dtype:
        return operand
    if dtype.kind == "b":
        return Operand(f"{operand.within(4)} != 0", dtype, 4)
    if operand.dtype.kind == "f" and dtype.kind in "iu":
        name = own_function(f"convert_{c_type(operand.dtype)}_to_{c_type(dtype)}")
        return Operand(f"{name}({operand.text})", dtype)
    return Operand(f"({c_type(dtype)}){operand.within(8)}", dtype, 8)


def own_function(name: str) -> str:
    """The name of a function of `functions.c`. Raises UnsupportedError where it has none."""
    if name not in function_names():
        raise UnsupportedError(f"{name}, which functions.c does not have,")
    return name


def element(equation: Equation, operands: Sequence[Operand]) -> Operand:
    """One element of an equation's result. Raises UnsupportedError for what has no form in C."""
    out = equation.out.dtype
    name = "power" if equation.primitive is SCALAR_POWER else equation.name
    dtypes = computed_in(equation)
    if name == "clip":
        operands = [
            _limited(o, d, atom) for o, d, atom in zip(operands, dtypes, equation.args, strict=True)
        ]
    known = [cast(o, d) if d is not None else o for o, d in zip(operands, dtypes, strict=True)]
    compute = _TABLE.get(name, _call)
    made = compute(name, known, equation)
    return made if made.dtype == out else cast(made, out)


def _limited(bound: Operand, dtype: np.dtype[Any] | None, atom: Atom) -> Operand:
    """A Python int as a bound, which may be beyond what the integers that it bounds can be."""
    is_number = isinstance(atom, Variable) and atom.is_number and atom.dtype.kind == "i"
    if dtype is None or not is_number or dtype.kind not in "iu" or dtype == bound.dtype:
        return bound
    limits, text = np.iinfo(dtype), f"maximum_int64_t({bound.text}, {np.iinfo(dtype).min})"
    if limits.max < 2**63:
        text = f"minimum_int64_t({text}, {limits.max})"
    return Operand(text, bound.dtype)


def limits_of_numbers(equation: Equation) -> list[tuple[Variable, int | None, int | None]]:
    """The Python ints that NumPy takes between two limits only, and raises where they are not."""
    found: list[tuple[Variable, int | None, int | None]] = []
    if equation.name == "where":  # lets them wrap around
        return found
    for position, (atom, dtype) in enumerate(
        zip(equation.args, computed_in(equation), strict=True)
    ):
        if not isinstance(atom, Variable) or not atom.is_number or dtype is None:
            continue
        if atom.dtype.kind != "i" or dtype.kind not in "iu" or dtype == atom.dtype:
            continue
        limits = np.iinfo(dtype)
        least: int | None = int(limits.min)
        most = int(limits.max) if limits.max < 2**63 else None
        if equation.name == "clip":  # a bound beyond its end is none
            least, most = (None, most) if position == 1 else (least, None)
        found.append((atom, least, most))
    return found


def raises_below_0(equation: Equation) -> bool:
    """Whether NumPy raises where the last operand is negative: a whole power of an integer."""
    exponent = equation.args[-1]
    is_signed = isinstance(exponent, Variable) and exponent.dtype.kind == "i"
    return equation.primitive.name == "power" and equation.out.dtype.kind == "i" and is_signed


def computed_in(equation: Equation) -> Sequence[np.dtype[Any] | None]:
    """The dtypes that the operands are converted to before anything is computed."""
    function, args, out = equation.primitive.evaluate, equation.args, equation.out.dtype
    name = equation.name
    if equation.primitive is SCALAR_POWER:
        function = np.power
    if name in _QUESTIONS:
        return [None]
    if isinstance(function, np.ufunc):
        kinds = [_kind(atom) for atom in args]
        known = list(function.resolve_dtypes((*kinds, *(None,) * function.nout)))[: len(args)]
        if name in _COMPARISONS:  # which a Python int takes part in as the number that it is
            long = np.dtype(np.int64)
            return [
                long if k is int and d.kind in "iu" else d
                for k, d in zip(kinds, known, strict=True)
            ]
        return known
    if name == "where":
        return [np.dtype(bool), out, out]
    if name in {"astype", "to_discrete", "copy", "round"}:
        return [None for _ in args]
    return [out for _ in args]


def _kind(atom: Atom) -> Any:
    """An operand as NumPy's promotion sees it: a number of Python's takes the array's dtype."""
    if isinstance(atom, Variable):
        if not atom.is_number:
            return atom.dtype
        return int if atom.dtype.kind == "i" else float
    return np.dtype(bool) if isinstance(atom, bool | np.bool_) else type(atom)


def number_as_operand(number: Any, equation: Equation, position: int) -> Operand:
    """A number that is written into an equation, in the dtype that it is computed in there."""
    wanted = computed_in(equation)[position]
    dtype = wanted if wanted is not None else np.asarray(number).dtype
    if dtype.kind in "iu" and equation.name == "clip":
        limits = np.iinfo(dtype)
        number = min(max(int(number), int(limits.min)), int(limits.max))
    if dtype.kind in "iu" and not _fits(number, dtype) and equation.name != "where":  # which wraps
        raise UnsupportedError(f"{equation.primitive.name} of the number {number} in {dtype}")
    text = literal(number, dtype)
    return Operand(text, dtype, 8 if text.startswith("-") else 9)


def _fits(number: Any, dtype: np.dtype[Any]) -> bool:
    limits = np.iinfo(dtype)
    return int(limits.min) <= int(number) <= int(limits.max)


Operands = list[Operand]


def _infix(name: str, operands: Operands, equation: Equation) -> Operand:
    left, right = operands
    dtype = left.dtype
    if dtype.kind == "b" and name in _OF_BOOLEANS:
        name = _OF_BOOLEANS[name]
    sign, binding = _SIGNS[name]
    if {left.dtype.kind, right.dtype.kind} == {"i", "u"} and name in _COMPARISONS:
        return _compared(sign, left, right)
    if binding <= 5:  # what compilers warn of gets parentheses on both sides
        text = f"{left.within(7)} {sign} {right.within(7)}"
    else:
        text = f"{left.within(binding - 1)} {sign} {right.within(binding)}"
    return _narrowed(text, np.dtype(bool) if name in _COMPARISONS else dtype, binding)


def _compared(sign: str, left: Operand, right: Operand) -> Operand:
    """A comparison of a signed integer with one that has no sign, by their values as NumPy's are;
    C would take -1 for the largest number.
    """
    signed, is_left = (left, True) if left.dtype.kind == "i" else (right, False)
    left, right = (
        Operand(f"(uint64_t){operand.within(8)}", operand.dtype, 8) for operand in (left, right)
    )
    compared = f"({left.within(5)} {sign} {right.within(5)})"
    holds_below_0 = sign == "!=" or (sign[0] == "<" if is_left else sign[0] == ">")
    if holds_below_0:
        return Operand(f"({signed.within(5)} < 0) | {compared}", np.dtype(bool), 1)
    return Operand(f"({signed.within(5)} >= 0) & {compared}", np.dtype(bool), 3)


def _negative(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    return _narrowed(f"-{x.within(8)}", x.dtype)


def _narrowed(text: str, dtype: np.dtype[Any], binding: int = 8) -> Operand:
    """What C has computed as an int, in the type of its operands again."""
    if dtype.kind in "iu" and dtype.itemsize < 4:
        return Operand(f"({c_type(dtype)})({text})", dtype, 8)
    return Operand(text, dtype, binding)


def _same(name: str, operands: Operands, equation: Equation) -> Operand:
    return operands[0]


def _square(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    if x.dtype.kind == "b":
        return x
    return _narrowed(f"{x.within(7)} * {x.within(7)}", x.dtype, 7)


def _reciprocal(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    if x.dtype.kind != "f":
        return cast(Operand(f"1.0 / {x.within(7)}", np.dtype(np.float64), 7), x.dtype)
    return Operand(f"{literal(1, x.dtype)} / {x.within(7)}", x.dtype, 7)


def _absolute(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    if x.dtype.kind in "bu":
        return x
    if x.dtype.kind == "i":
        return _narrowed(f"({x.within(5)} < 0 ? -{x.within(8)} : {x.within(5)})", x.dtype)
    return _call(name, operands, equation)


def _rounded(name: str, operands: Operands, equation: Equation) -> Operand:
    return operands[0] if operands[0].dtype.kind in "biu" else _call(name, operands, equation)


def _logical(name: str, operands: Operands, equation: Equation) -> Operand:
    dtype = np.dtype(bool)
    truths = [x.text if x.dtype.kind == "b" else f"{x.within(5)} != 0" for x in operands]
    if name == "logical_not":
        (x,) = operands
        if x.dtype.kind == "b":
            return Operand(f"!{x.within(8)}", dtype, 8)
        return Operand(f"{x.within(5)} == 0", dtype, 4)
    sign, binding = {"logical_and": ("&", 3), "logical_xor": ("!=", 4), "logical_or": ("|", 1)}[
        name
    ]
    return Operand(f" {sign} ".join(f"({truth})" for truth in truths), dtype, binding)


def _invert(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    if x.dtype.kind == "b":
        return Operand(f"!{x.within(8)}", x.dtype, 8)
    return _narrowed(f"~{x.within(8)}", x.dtype)


def _question(name: str, operands: Operands, equation: Equation) -> Operand:
    """isfinite, isnan, isinf, signbit."""
    (x,) = operands
    dtype = np.dtype(bool)
    if x.dtype.kind != "f":
        if name == "signbit" and x.dtype.kind == "i":
            return Operand(f"{x.within(5)} < 0", dtype, 5)
        return Operand("true" if name == "isfinite" else "false", dtype)
    return Operand(f"{name}({x.text}) != 0", dtype, 4)


def _where(name: str, operands: Operands, equation: Equation) -> Operand:
    condition, x, y = operands
    return Operand(f"{condition.within(1)} ? {x.within(0)} : {y.within(0)}", x.dtype, 0)


def _clip(name: str, operands: Operands, equation: Equation) -> Operand:
    x, low, high = operands
    if x.dtype.kind == "b":
        return Operand(f"({x.within(1)} | {low.within(1)}) & {high.within(3)}", x.dtype, 3)
    larger, smaller = (own_function(f"{name}_{c_type(x.dtype)}") for name in ("maximum", "minimum"))
    return Operand(f"{smaller}({larger}({x.text}, {low.text}), {high.text})", x.dtype)


def _angle(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    factor = np.pi / 180 if name == "deg2rad" else 180 / np.pi
    return Operand(f"{x.within(6)} * {literal(factor, x.dtype)}", x.dtype, 7)


def _round(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    decimals = equation.params["decimals"]
    if x.dtype.kind != "f":
        if decimals >= 0:
            return x
        name = own_function(f"round_{c_type(x.dtype)}")
        return Operand(f"{name}({x.text}, {decimals})", x.dtype)
    rint = "rintf" if x.dtype.itemsize == 4 else "rint"
    if decimals == 0:
        return Operand(f"{rint}({x.text})", x.dtype)
    power = literal(10.0 ** abs(decimals), x.dtype)
    first, then = ("*", "/") if decimals > 0 else ("/", "*")
    return Operand(f"{rint}({x.within(6)} {first} {power}) {then} {power}", x.dtype, 7)


def _polygamma(name: str, operands: Operands, equation: Equation) -> Operand:
    (x,) = operands
    name = own_function(f"polygamma_{c_type(x.dtype)}")
    return Operand(f"{name}({x.text}, {equation.params['order']})", x.dtype)


def _maximum(name: str, operands: Operands, equation: Equation) -> Operand:
    if operands[0].dtype.kind == "b":
        return _infix(name, operands, equation)
    return _call(name, operands, equation)


def _call(name: str, operands: Operands, equation: Equation) -> Operand:
    """A call of a function of `functions.c`."""
    dtype = operands[0].dtype
    own = f"{name}_{c_type(dtype)}"
    if own not in function_names():
        raise UnsupportedError(f"{equation.primitive.name} of {dtype}")
    return Operand(f"{own}({', '.join(operand.text for operand in operands)})", dtype)


_TABLE: dict[str, Callable[[str, Operands, Equation], Operand]] = {
    **dict.fromkeys(_SIGNS, _infix),
    **dict.fromkeys(_OF_INTEGERS_TOO, _rounded),
    **dict.fromkeys(["logical_and", "logical_or", "logical_xor", "logical_not"], _logical),
    **dict.fromkeys(_QUESTIONS, _question),
    **dict.fromkeys(["astype", "to_discrete", "copy", "positive", "stop_gradient"], _same),
    **dict.fromkeys(["maximum", "minimum"], _maximum),
    **dict.fromkeys(["deg2rad", "rad2deg"], _angle),
    "absolute": _absolute,
    "clip": _clip,
    "invert": _invert,
    "negative": _negative,
    "polygamma": _polygamma,
    "reciprocal": _reciprocal,
    "round": _round,
    "square": _square,
    "where": _where,
}


def start_value(name: str, dtype: np.dtype[Any]) -> str:
    """What a reduction starts from."""
    if name in {"sum", "vdot", "any"}:
        return literal(0, dtype)
    if name in {"prod", "all"}:
        return literal(1, dtype)
    if dtype.kind == "f":
        return literal(-np.inf if name == "max" else np.inf, dtype)
    if dtype.kind == "b":
        return literal(name == "min", dtype)
    limits = np.iinfo(dtype)
    return literal(int(limits.min if name == "max" else limits.max), dtype)


def combine(name: str, total: str, x: Operand) -> str:
    """The statement that takes one element into a reduction."""
    if name in {"sum", "vdot"}:
        return f"{total} += {x.text};" if x.dtype.kind != "b" else f"{total} |= {x.text};"
    if name == "prod":
        return f"{total} *= {x.within(6)};"
    if name in {"any", "all"}:
        truth = cast(x, bool)
        return f"{total} {'|' if name == 'any' else '&'}= {truth.text};"
    if x.dtype.kind == "b":
        return f"{total} {'|' if name == 'max' else '&'}= {x.text};"
    return f"{total} = {name}imum_{c_type(x.dtype)}({total}, {x.text});"
