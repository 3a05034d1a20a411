"""Derive the coefficients in `engines/c/functions.c`, and measure its functions against mpmath.

    python tools/derive_functions.py            rewrites the tables of coefficients in the file
    python tools/derive_functions.py --table    writes the largest errors to docs/functions.md

Needs mpmath, and for the table a C compiler. Nothing is random but the sample, whose seed is fixed.
"""

from __future__ import annotations

import argparse
import tempfile
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

from chainrule.primitives import gamma, normal

__all__ = ["derive", "main", "minimax"]

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "chainrule" / "engines" / "c" / "functions.c"
DOCS = ROOT / "docs" / "functions.md"

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


def _scaled_erfc(t: Number) -> Number:
    x = mpf("4.5") * (1 + t) / (1 - t)
    return (1 + 2 * x) * mpmath.exp(x**2) * mpmath.erfc(x)


def _far(power: int) -> tuple[Function, Function]:
    """The root of 1 / erfc, and what its error does to 1 - 1 / root**power."""
    root = -mpf(1) / power
    return lambda x: mpmath.erfc(x) ** root, lambda x: power * mpmath.erfc(x) ** (1 - root)


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
        Fit(
            "arctan", "(arctan(t) - t) / t**3 in t**2, |t| <= tan(pi / 8)",
            _of_root(lambda t: (mpmath.atan(t) - t) / t**3), lambda z: z,
            tiny, mpf("1.001") * (root - 1) ** 2, 0, 11,
        ),
        Fit(
            "arcsin", "(arcsin(s) - s) / s**3 in s**2, |s| <= 1 / 2",
            _of_root(lambda s: (mpmath.asin(s) - s) / s**3), lambda z: z,
            tiny, mpf("0.25"), 0, 13,
        ),
        Fit(
            "cbrt", "cbrt(1 + f), 0 <= f <= 1",
            lambda f: mpmath.cbrt(1 + f), lambda f: 1 / mpmath.cbrt(1 + f),
            mpf(0), mpf(1), 0, 6,
        ),
        Fit(
            "erf_near", "erf(x) / x - 1 in x**2, |x| <= 1.3",
            _of_root(lambda x: mpmath.erf(x) / x - 1), lambda z: mpf(1),
            tiny, mpf("1.3") ** 2, 8, 0,
        ),
        Fit(
            "erf_near", "erf(x) / x - 1 in x**2, |x| <= 1.25",
            _of_root(lambda x: mpmath.erf(x) / x - 1), lambda z: mpf(1),
            tiny, mpf("1.25") ** 2, 0, 14,
        ),
        Fit(
            "erf_far", "erfc(x)**(-1/8), 1.3 <= x <= 3.95", *_far(8),
            mpf("1.3"), mpf("3.95"), 8, 0,
        ),
        Fit(
            "erf_far", "erfc(x)**(-1/16), 1.25 <= x <= 5.95", *_far(16),
            mpf("1.25"), mpf("5.95"), 0, 16,
        ),
        Fit(
            "erfc", "(1 + 2 * x) * exp(x**2) * erfc(x) in (x - 4.5) / (x + 4.5), 0 <= x <= 27.5",
            _scaled_erfc, lambda t: 1 / _scaled_erfc(t),
            mpf(-1), (mpf("27.5") - mpf("4.5")) / (mpf("27.5") + mpf("4.5")), 0, 23,
        ),
    ]  # fmt: skip


def _known() -> list[tuple[str, Sequence[Number], str]]:
    """The coefficients that the library's NumPy forms have too, highest power first."""
    cody = "highest power first, W. J. Cody, 1969"
    wichura = "highest power first, M. J. Wichura, 1988"
    stirling = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(gamma._BERNOULLI[:9], start=1)]
    return [
        ("erfcx_middle_p", normal._MIDDLE_P, f"erfcx, 0.46875 <= x <= 4, above: {cody}"),
        ("erfcx_middle_q", normal._MIDDLE_Q, f"erfcx, 0.46875 <= x <= 4, below: {cody}"),
        ("erfcx_far_p", normal._FAR_P, f"erfcx, x > 4, above: {cody}"),
        ("erfcx_far_q", normal._FAR_Q, f"erfcx, x > 4, below: {cody}"),
        ("quantile_centre_p", normal._CENTRE_P, f"normal quantile, centre, above: {wichura}"),
        ("quantile_centre_q", normal._CENTRE_Q, f"normal quantile, centre, below: {wichura}"),
        ("quantile_tail_p", normal._TAIL_P, f"normal quantile, tails, above: {wichura}"),
        ("quantile_tail_q", normal._TAIL_Q, f"normal quantile, tails, below: {wichura}"),
        ("quantile_end_p", normal._END_P, f"normal quantile, ends, above: {wichura}"),
        ("quantile_end_q", normal._END_Q, f"normal quantile, ends, below: {wichura}"),
        ("gammaln_at_2", gamma._AT_2, "log(Gamma(2 + z)), |z| <= 1/2: highest power first"),
        ("gammaln_stirling", stirling[::-1], "B(2 * k) / (2 * k * (2 * k - 1)), k = 9 ... 1"),
        ("bernoulli_numbers", gamma._BERNOULLI, "B2, B4, ..., B22"),
    ]


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
    wrapped = textwrap.fill(f"/* {comment} */", 100, subsequent_indent="   ")
    return f"{wrapped}\n{head} = {{\n{body}\n}};\n"


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
                name = fit.name if "_" in fit.name else f"{fit.name}_coefficients"
                tables.append(_table(name, c_type, found, comment))
    for name, numbers, comment in _known():
        tables.append(_table(name, "double", numbers, comment).replace(f"{name}_double", name))
    return "\n".join(tables)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="measure and write docs/functions.md")
    if parser.parse_args().table:
        from measure_functions import table  # beside this file

        with tempfile.TemporaryDirectory() as folder:
            rows = table(Path(folder))
        _rewrite(DOCS, "<!-- errors -->\n", "<!-- /errors -->\n", rows + "\n")
    else:
        _rewrite(SOURCE, "/* <coefficients> */\n", "/* </coefficients> */\n", f"\n{derive()}\n")


def _rewrite(path: Path, begin: str, end: str, new: str) -> None:
    """Put new text between the two marks of a file."""
    head, rest = path.read_text(encoding="utf-8").split(begin)
    tail = rest.split(end)[1]
    path.write_text(head + begin + new + end + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
