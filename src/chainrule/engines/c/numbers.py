"""Arithmetic of Python's numbers, such as 1 - 0.9**step, as C does it once a call."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.compiler.graph import Equation
from chainrule.engines.c.types import UnsupportedError, literal

__all__ = ["number_lines"]

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*"}


def number_lines(
    equation: Equation, name: str, args: Sequence[str | float | int | bool], kinds: Sequence[str]
) -> list[str]:
    """The lines that define a number; `args` are names or numbers, `kinds` their dtypes' kinds.

    Where Python would divide by zero the function returns 1.
    """
    of = equation.primitive.name
    is_int = equation.out.dtype.kind == "i"
    kind = "int64_t" if is_int else "double"
    texts = [
        arg if isinstance(arg, str) else literal(arg, "int64" if is_int else "float64")
        for arg in args
    ]
    closed = [f"({text})" if text.startswith("-") else text for text in texts]
    if not is_int:
        closed = [
            f"(double){text}" if isinstance(arg, str) and of_kind in "iub" else text
            for text, arg, of_kind in zip(closed, args, kinds, strict=True)
        ]
    before: list[str] = []
    after: list[str] = []
    if of in _SIGNS:
        value = f" {_SIGNS[of]} ".join(closed)
    elif of == "divide":
        before = _not_zero(closed[1], args[1])
        value = f"{closed[0]} / {closed[1]}"
    elif of in {"floor_divide", "remainder"}:
        before = _not_zero(closed[1], args[1])
        value = f"{of}_{kind}({closed[0]}, {closed[1]})"
    elif of == "power":
        if is_int:
            value = f"power_{kind}({closed[0]}, {closed[1]})"
        else:
            value = f"pow({closed[0]}, {closed[1]})"
            after = _real_power(name, closed, args)
    elif of in {"negative", "positive"}:
        value = f"-{closed[0]}" if of == "negative" else closed[0]
    elif of == "absolute":
        value = f"{closed[0]} < 0 ? -{closed[0]} : {closed[0]}"
    else:
        raise UnsupportedError(f"{of} of Python numbers")
    return [*before, f"const {kind} {name} = {value};", *after]


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
    return [f"if (!isfinite({name}) && {finite})", "    return 1;"]
