"""Arithmetic of Python's numbers, such as 1 - 0.9**step, as C does it once a call."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.compiler.graph import Equation
from chainrule.engines.c.types import UnsupportedError, literal

__all__ = ["number_lines"]

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
_DIVISIONS = {"divide", "floor_divide", "remainder"}
_SAFE = "9e18"  # less than 2**63, by more than doubles round


def number_lines(
    equation: Equation, name: str, args: Sequence[str | float | int | bool], kinds: Sequence[str]
) -> list[str]:
    """The lines that define a number; `args` are names or numbers, `kinds` their dtypes' kinds.

    Where Python would divide by zero the function returns 1, and 2 where what Python makes may be
    no number of C's: an integer of more than 64 bits, a fraction of integers, a complex number.
    """
    of = equation.primitive.name
    is_int = equation.out.dtype.kind == "i"
    kind = "int64_t" if is_int else "double"
    real = [_as_double(arg, of_kind) for arg, of_kind in zip(args, kinds, strict=True)]
    closed = [_closed(arg, "int64") for arg in args] if is_int else real
    before = _not_zero(closed[1], args[1]) if of in _DIVISIONS else []
    after: list[str] = []
    if of == "power" and not is_int:
        after = _real_power(name, closed, args)
    elif is_int:
        before += _too_large(of, real, args)
    return [*before, f"const {kind} {name} = {_value(of, kind, closed)};", *after]


def _value(of: str, kind: str, closed: Sequence[str]) -> str:
    """What Python computes, in numbers of this kind of C's."""
    if of in _SIGNS:
        return f" {_SIGNS[of]} ".join(closed)
    if of == "power" and kind == "double":
        return f"pow({closed[0]}, {closed[1]})"
    if of in {"floor_divide", "remainder", "power"}:
        return f"{of}_{kind}({closed[0]}, {closed[1]})"
    if of in {"negative", "positive"}:
        return f"-{closed[0]}" if of == "negative" else closed[0]
    if of == "absolute":
        return f"{closed[0]} < 0 ? -{closed[0]} : {closed[0]}"
    raise UnsupportedError(f"{of} of Python numbers")


def _closed(arg: str | float | int | bool, dtype: str) -> str:
    text = arg if isinstance(arg, str) else literal(arg, dtype)
    return f"({text})" if text.startswith("-") else text


def _as_double(arg: str | float | int | bool, kind: str) -> str:
    text = _closed(arg, "float64")
    return f"(double){text}" if isinstance(arg, str) and kind in "iub" else text


def _too_large(of: str, real: Sequence[str], args: Sequence[str | float | int | bool]) -> list[str]:
    """An end where an integer may be beyond 64 bits, which Python's are not bound to, by its size
    as a double; or where it is a fraction.
    """
    lines: list[str] = []
    if of == "power" and isinstance(args[1], str):
        lines = [f"if ({args[1]} < 0)", "    return 2;"]
    if of in {"positive", "remainder"}:
        return lines
    if of in {"negative", "absolute"}:
        value = real[0]
    else:
        value = _value("divide" if of == "floor_divide" else of, "double", real)
    return [*lines, f"if (!(fabs({value}) < {_SAFE}))", "    return 2;"]


def _not_zero(text: str, arg: str | float | int | bool) -> list[str]:
    """Python raises where a divisor is zero."""
    if isinstance(arg, str) or not arg:
        return [f"if ({text} == 0)", "    return 1;"]
    return []


def _real_power(
    name: str, closed: Sequence[str], args: Sequence[str | float | int | bool]
) -> list[str]:
    """Python raises where a power of finite numbers is infinite, as 0**-1 and 10.0**400 are, and
    goes to complex numbers where C gives NaN. With a base such as 0.9 there is nothing to see.
    """
    base = args[0]
    if not isinstance(base, str) and 0 < base <= 1:
        return []
    given = [text for text, arg in zip(closed, args, strict=True) if isinstance(arg, str)]
    if not given:
        return []
    finite = " && ".join(f"isfinite({text})" for text in given)
    return [f"if (!isfinite({name}) && {finite})", "    return 2;"]
