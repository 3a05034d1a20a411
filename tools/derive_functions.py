"""Derive the coefficients in `engines/c/functions.c`, and measure its functions against mpmath.

    python tools/derive_functions.py            rewrites the tables of coefficients in the file
    python tools/derive_functions.py --table    writes the largest errors to docs/functions.md

Needs mpmath, and for the table a C compiler. Nothing is random but the sample, whose seed is fixed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

__all__ = ["derive", "main", "minimax", "rational"]

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "chainrule" / "engines" / "c" / "functions.c"
BEGIN, END = "/* <coefficients> */\n", "/* </coefficients> */\n"

Number = Any
Function = Callable[[Number], Number]

mp.dps = 60


def minimax(
    f: Function, weight: Function, low: Number, high: Number, n_coefficients: int
) -> tuple[list[Number], Number]:
    """The polynomial that makes the largest weight * |polynomial - f| on [low, high] smallest.

    By E. Remez' exchange: n + 1 points where the error has one size and turns sign, moved to where
    it is largest, until it is no larger elsewhere. Lowest power first, and the error.
    """
    grid = _chebyshev_points(low, high, 30 * (n_coefficients + 1))
    values, weights = [f(x) for x in grid], [weight(x) for x in grid]
    n = n_coefficients
    points = [(2 * i + 1) * len(grid) // (2 * (n + 1)) for i in range(n + 1)]
    for _ in range(20):
        matrix, right = mpmath.matrix(n + 1, n + 1), mpmath.matrix(n + 1, 1)
        for row, i in enumerate(points):
            for power in range(n):
                matrix[row, power] = grid[i] ** power
            matrix[row, n] = (-1) ** row / weights[i]
            right[row] = values[i]
        solution = mpmath.lu_solve(matrix, right)
        found, level = list(solution[:n]), abs(solution[n])
        errors = [
            (mpmath.polyval(found[::-1], x) - value) * w
            for x, value, w in zip(grid, values, weights, strict=True)
        ]
        largest = max(abs(error) for error in errors)
        points = _turning_points(errors, n + 1)
        if largest <= level * mpf("1.001"):
            return found, largest
    raise ArithmeticError(f"the exchange did not settle: {n} coefficients on [{low}, {high}]")


def _chebyshev_points(low: Number, high: Number, n: int) -> list[Number]:
    centre, half = (mpf(low) + high) / 2, (mpf(high) - low) / 2
    return [centre - half * mpmath.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]


def _turning_points(errors: Sequence[Number], n: int) -> list[int]:
    """Where the error is largest in each run of one sign; the smallest ends dropped down to n."""
    tops: list[int] = []
    for i, error in enumerate(errors):
        if tops and (error > 0) == (errors[tops[-1]] > 0):
            if abs(error) > abs(errors[tops[-1]]):
                tops[-1] = i
        else:
            tops.append(i)
    while len(tops) > n:
        tops.pop(0 if abs(errors[tops[0]]) < abs(errors[tops[-1]]) else -1)
    return tops


def rational(
    f: Function, low: Number, high: Number, n_above: int, n_below: int
) -> tuple[list[Number], list[Number], Number]:
    """P / Q with Q(0) = 1 that makes the largest |P / (Q * f) - 1| on [low, high] small.

    Least squares of (P - Q * f) / (Q * f), with the Q of the round before, at Chebyshev points,
    whose weights grow with their errors (C. L. Lawson, 1961). Lowest power first, and the error.
    """
    grid = _chebyshev_points(low, high, 4 * (n_above + n_below))
    values = [f(x) for x in grid]
    weights, below = [mpf(1)] * len(grid), [mpf(1)] * len(grid)
    n = n_above + n_below - 1
    best: tuple[list[Number], list[Number], Number] = ([], [], mpf("inf"))
    for _ in range(40):
        matrix, right = mpmath.zeros(n, n), mpmath.zeros(n, 1)
        for x, value, weight, q in zip(grid, values, weights, below, strict=True):
            row = [x**i / value for i in range(n_above)] + [-(x**i) for i in range(1, n_below)]
            scale = weight / q**2
            for i in range(n):
                right[i] += scale * row[i]
                for j in range(i, n):
                    matrix[i, j] += scale * row[i] * row[j]
        for i in range(n):
            for j in range(i):
                matrix[i, j] = matrix[j, i]
        solution = mpmath.lu_solve(matrix, right)
        p, q_coefficients = list(solution[:n_above]), [mpf(1), *solution[n_above:]]
        below = [mpmath.polyval(q_coefficients[::-1], x) for x in grid]
        errors = [
            abs(mpmath.polyval(p[::-1], x) / (q * value) - 1)
            for x, value, q in zip(grid, values, below, strict=True)
        ]
        largest = max(errors)
        if largest < best[2]:
            best = p, q_coefficients, largest
        total = sum(w * e for w, e in zip(weights, errors, strict=True))
        weights = [w * e / total * len(grid) for w, e in zip(weights, errors, strict=True)]
    return best


# What is fitted. Each quotient is computed in 60 digits, so that nothing cancels that matters.


@dataclass(frozen=True)
class Fit:
    """A table of coefficients: what it is the polynomial of, between which limits, how long."""

    name: str
    formula: str
    f: Function
    weight: Function
    low: Number
    high: Number
    n_float: int
    n_double: int


def _of_root(f: Function) -> Function:
    return lambda z: f(mpmath.sqrt(z))


def _fits() -> list[Fit]:
    """The polynomials. A weight turns the error of the quotient into one relative to the result."""
    ln2, tiny = mpmath.log(2), mpf(10) ** -8
    reduced = mpf("1.01") * ln2 / 2
    quarter = (mpf("1.02") * mp.pi / 4) ** 2
    root = mpmath.sqrt(2)
    ratio = ((root - 1) / (root + 1)) ** 2
    return [
        Fit(
            "exp", "(exp(r) - 1 - r) / r**2, |r| <= ln(2) / 2",
            lambda r: (mpmath.expm1(r) - r) / r**2, lambda r: r**2 / abs(mpmath.expm1(r)),
            -reduced, reduced, 6, 10,
        ),
        Fit(
            "exp2", "(2**r - 1) / r, |r| <= 1 / 2",
            lambda r: mpmath.expm1(r * ln2) / r, lambda r: abs(r) / 2**r,
            mpf("-0.505"), mpf("0.505"), 6, 11,
        ),
        Fit(
            "log", "(log(1 + f) - f + f**2 / 2) / f**3, sqrt(1/2) <= 1 + f <= sqrt(2)",
            lambda f: (mpmath.log1p(f) - f + f**2 / 2) / f**3,
            lambda f: abs(f**3 / mpmath.log1p(f)),
            1 / root - 1, root - 1, 9, 0,
        ),
        Fit(
            "log", "(log((1 + s) / (1 - s)) - 2 * s) / s**3 in s**2, |s| <= (sqrt(2) - 1)**2",
            _of_root(lambda s: (mpmath.log((1 + s) / (1 - s)) - 2 * s) / s**3), lambda z: z / 2,
            tiny * ratio, ratio, 0, 7,
        ),
        Fit(
            "tanh", "(tanh(x) - x) / x**3 in x**2, |x| <= 0.55",
            _of_root(lambda x: (mpmath.tanh(x) - x) / x**3), lambda z: z,
            tiny, mpf("0.56") ** 2, 5, 0,
        ),
        Fit(
            "sin", "(sin(r) - r) / r**3 in r**2, |r| <= pi / 4",
            _of_root(lambda r: (mpmath.sin(r) - r) / r**3), lambda z: z,
            tiny * quarter, quarter, 3, 6,
        ),
        Fit(
            "cos", "(cos(r) - 1 + r**2 / 2) / r**4 in r**2, |r| <= pi / 4",
            _of_root(lambda r: (mpmath.cos(r) - 1 + r**2 / 2) / r**4), lambda z: z**2,
            tiny * quarter, quarter, 3, 6,
        ),
    ]  # fmt: skip


def _table(name: str, c_type: str, coefficients: Sequence[Number], comment: str) -> str:
    dtype, suffix = (np.float32, "f") if c_type == "float" else (np.float64, "")
    numbers = [repr(dtype(float(c)).item() if c_type == "double" else c) for c in coefficients]
    if c_type == "float":
        numbers = [np.format_float_scientific(np.float32(float(c)), trim="0") for c in coefficients]
    numbers = [number + suffix for number in numbers]
    lines, line = [], "   "
    for number in numbers:
        if len(line) + len(number) + 2 > 100:
            lines.append(line)
            line = "   "
        line += f" {number},"
    lines.append(line)
    body = "\n".join(lines)
    head = f"static const {c_type} {name}_{c_type}[{len(numbers)}]"
    return f"/* {comment} */\n{head} = {{\n{body}\n}};\n"


def _log2(error: Number) -> str:
    return f"2**{float(mpmath.log(error, 2)):.1f}"


def derive() -> str:
    """The tables of coefficients as C text."""
    tables = []
    for fit in _fits():
        for c_type, n in (("float", fit.n_float), ("double", fit.n_double)):
            if n:
                found, error = minimax(fit.f, fit.weight, fit.low, fit.high, n)
                comment = f"{fit.formula}: minimax, error {_log2(error)} of the result"
                tables.append(_table(f"{fit.name}_coefficients", c_type, found, comment))
    for c_type, limit, n in (("float", mpf("3.95"), 6), ("double", mpf("5.98"), 13)):
        above, below, error = rational(
            _of_root(lambda x: mpmath.erf(x) / x), mpf(10) ** -12, limit**2, n, n
        )
        comment = (
            f"erf(x) / x in x**2, |x| <= {float(limit)}: {{}} of a quotient, error {_log2(error)}"
        )
        tables.append(_table("erf_above", c_type, above, comment.format("above")))
        tables.append(_table("erf_below", c_type, below, comment.format("below")))
    return "\n".join(tables)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="measure and write docs/functions.md")
    if parser.parse_args().table:
        raise SystemExit("not yet")
    text = SOURCE.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    _, tail = rest.split(END)
    SOURCE.write_text(head + BEGIN + "\n" + derive() + "\n" + END + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
