"""What runs along an axis: running sums and products, the place of an extreme, spreads, norms."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, prod

from numpy.lib.array_utils import normalize_axis_index

from chainrule.compiler.graph import Equation
from chainrule.engines.c.access import Access, collapse, index_text
from chainrule.engines.c.blocks import block, count, looped
from chainrule.engines.c.expressions import Operand, cast
from chainrule.engines.c.indices import INDICES
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.engines.c.types import literal
from chainrule.primitives.reduce import reduced_axes

__all__ = ["KERNELS", "extreme_place", "norm", "running", "spread", "vdot"]


def _around(shape: tuple[int, ...], axis: int | None) -> tuple[int, int, int]:
    """How many elements stand before an axis, along it and behind it; all along it for None."""
    if axis is None or not shape:
        return 1, prod(shape), 1
    axis = normalize_axis_index(axis, len(shape))
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def running(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The sums (products) of the elements up to each, in the type of the result."""
    x, out = arrays
    if not out.size:
        return []
    before, length, behind = _around(x.shape, equation.params["axis"])
    sign, binding = ("+", 6) if equation.name == "cumsum" else ("*", 7)
    start = index_text([length * behind], ["i" if before > 1 else "0"])
    index = "j" if start == "0" else f"{start} + j"
    value = cast(Operand(f"{x.pointer}[{index}]", x.dtype), out.dtype)
    place, kind = f"{out.pointer}[{index}]", out.c_type
    if behind == 1:
        lines = [
            f"{kind} total = {literal(1 if sign == '*' else -0.0, out.dtype)};",
            *looped(
                [("j", length)],
                [f"total = ({kind})(total {sign} {value.within(binding)});", f"{place} = total;"],
            ),
        ]
    else:
        earlier = f"{out.pointer}[{index} - {behind}]"
        lines = [
            *looped([("j", behind)], [f"{place} = {value.text};"]),
            count("j", length * behind, first=behind, kind="long"),
            f"    {place} = ({kind})({earlier} {sign} {value.within(binding)});",
        ]
    return looped([("i", before)], lines) if before > 1 else lines


def extreme_place(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The place of the first largest (smallest) element; NaN is more than all others."""
    x, out = arrays
    before, length, behind = _around(x.shape, equation.params["axis"])
    row = Access(x.pointer, x.dtype, (before, length, behind), (length * behind, behind, 1))
    i, j = "i" if before > 1 else "0", "j" if behind > 1 else "0"
    target = Access(out.pointer, out.dtype, (before, behind), (behind, 1))
    sign = ">" if equation.name == "argmax" else "<"
    is_better = f"x_k {sign} best"
    if x.dtype.kind == "f":
        is_better += " || (x_k != x_k && best == best)"
    lines = [
        "long place = 0;",
        f"{x.c_type} best = {row.at(i, '0', j)};",
        *block(
            count("k", length, first=1, kind="long"),
            [
                f"const {x.c_type} x_k = {row.at(i, 'k', j)};",
                *block(f"if ({is_better})", ["best = x_k;", "place = k;"]),
            ],
        ),
        f"{target.at(i, j)} = place;",
    ]
    if not out.size:
        return []
    return looped([(i, before), (j, behind)], lines)


def _reduced(x: Access, axis: object) -> tuple[Access, Access]:
    """The array as read along the axes that stay, and along those that are reduced."""
    axes = reduced_axes(len(x.shape), axis)  # type: ignore[arg-type]
    kept = [i for i in range(len(x.shape)) if i not in axes]
    return tuple(  # type: ignore[return-value]
        Access(x.pointer, x.dtype, tuple(x.shape[i] for i in own), tuple(x.strides[i] for i in own))
        for own in (kept, axes)
    )


def _each_result(x: Access, out: Access, axis: object, lines: list[str]) -> list[str]:
    """The lines for each element of the result; in them, X is where its part of x begins, and a
    line that begins with SUM is done for each element of the part, x[...], which it adds up.
    """
    kept, reduced = _reduced(x, axis)
    around, (kept, target) = collapse(
        kept.shape, [kept, Access(out.pointer, out.dtype, kept.shape, _steps(kept.shape))]
    )
    inner, (reduced,) = collapse(reduced.shape, [reduced])
    names = INDICES[: len(around) + len(inner)]
    whole = Access(x.pointer, x.dtype, (*around, *inner), (*kept.strides, *reduced.strides))
    element = cast(Operand(whole.at(*names), x.dtype), "float64").text
    written: list[str] = []
    for line in lines:
        if not line.startswith("SUM "):
            written.append(line.replace("OUT", target.at(*names[: len(around)])))
            continue
        _, total, term = line.split(" ", 2)
        statements = [f"const double value = {element};", f"{total} += {term};"]
        loops = zip(names[len(around) :], inner, strict=True)
        simd = f"#pragma omp simd reduction(+ : {total})"
        written += looped(loops, statements, simd) if inner else block("", statements)
    return looped(zip(names, around, strict=False), written)


def _steps(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))


def spread(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The mean, then the squares of what is left, in double: sum((x - mean)**2) / (n - ddof)."""
    x, out = arrays
    params = equation.params
    n = prod(_reduced(x, params["axis"])[1].shape)
    divisor = literal(float(max(n - params["ddof"], 0)), "float64")
    result = f"squares / {divisor}"
    result = f"({result})" if equation.name == "var" else f"sqrt({result})"
    lines = [
        "double mean = 0.0;",
        "SUM mean value",
        f"mean /= {literal(float(n), 'float64')};",
        "double squares = 0.0;",
        "SUM squares (value - mean) * (value - mean)",
        f"OUT = ({out.c_type}){result};",
    ]
    return _each_result(x, out, params["axis"], lines)


def norm(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The root of the sum of powers, (sum |x|**p)**(1/p), in double."""
    x, out = arrays
    order = equation.params["ord"]
    term, root = {
        1: ("fabs(value)", "total"),
        2: ("value * value", "sqrt(total)"),
    }.get(
        order,
        (
            f"pow(fabs(value), {literal(float(order), 'float64')})",
            f"pow(total, {literal(1 / order, 'float64')})",
        ),
    )
    lines = ["double total = 0.0;", f"SUM total {term}", f"OUT = ({out.c_type}){root};"]
    return _each_result(x, out, equation.params["axis"], lines)


def _no_finite_order(equation: Equation) -> str:
    order = equation.params["ord"]
    return "" if order and isfinite(order) else f"norm with ord={order}"


def vdot(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The sum of products of the elements of two arrays of different shapes, in their orders."""
    x, y, out = arrays
    a, b = (cast(Operand(f"{z.pointer}[i]", z.dtype), out.dtype) for z in (x, y))
    if out.dtype.kind == "b":
        lines = [f"total |= {a.within(3)} & {b.within(3)};"]
    else:
        lines = [f"total += {a.within(7)} * {b.within(7)};"]
    kind = "double" if out.c_type == "float" else out.c_type
    return [
        f"{kind} total = 0;",
        *looped([("i", x.size)], lines),
        f"{out.pointer}[0] = ({out.c_type})total;",
    ]


KERNELS = {
    "argmax": Kernel(extreme_place, contiguous=True),
    "argmin": Kernel(extreme_place, contiguous=True),
    "cumprod": Kernel(running, contiguous=True),
    "cumsum": Kernel(running, contiguous=True),
    "norm": Kernel(norm, refuses=_no_finite_order),
    "std": Kernel(spread),
    "var": Kernel(spread),
    "vdot": Kernel(vdot, contiguous=True),
}
