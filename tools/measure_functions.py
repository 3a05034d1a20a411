"""The functions of `engines/c/functions.c` as NumPy calls, and their errors against mpmath.

`derive_functions.py --table` writes what is measured here to docs/functions.md, and the tests
measure a smaller sample.
"""

from __future__ import annotations

import ctypes
import math
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mp, mpf

from chainrule.engines.c.functions import function_text

__all__ = [
    "FLAGS",
    "HEADERS",
    "REFERENCES",
    "Library",
    "Reference",
    "build",
    "errors_in_ulp",
    "sample",
    "table",
]

HEADERS = "".join(f"#include <{name}.h>\n" for name in ("math", "stdbool", "stdint", "string"))
FLAGS = "-O3 -march=native -std=c99 -fno-math-errno -fno-trapping-math -ffp-contract=fast".split()
DTYPES = {"float": np.float32, "double": np.float64, "bool": np.bool_, "int": np.intc} | {
    f"{name}_t": np.dtype(name)
    for name in "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
}
_SIGNATURE = r"static inline (\w+) {name}\(([\w ,]+)\)"
_GUARD_BITS = 120  # of the references; sines of large numbers take more


# A shared library with a loop over arrays for each function


class Library:
    """The functions of a compiled library, called with arrays: `library("exp_float", x)`."""

    def __init__(self, path: Path, results: dict[str, str]) -> None:
        self._functions = ctypes.CDLL(str(path))
        self._results = results

    def __call__(self, name: str, *arguments: Any) -> Any:
        """The function of each element; a Python int is handed on as it is."""
        arrays = [np.ascontiguousarray(a) for a in arguments if not isinstance(a, int)]
        out = np.empty(arrays[0].shape, DTYPES[self._results[name]])
        handed = [
            ctypes.c_int(a)
            if isinstance(a, int)
            else np.ascontiguousarray(a).ctypes.data_as(_POINTER)
            for a in arguments
        ]
        self._functions[f"each_{name}"](
            ctypes.c_long(out.size), *handed, out.ctypes.data_as(_POINTER)
        )
        return out


_POINTER = ctypes.c_void_p


def build(names: list[str], folder: Path, flags: list[str] | None = None) -> Library:
    """Compile these functions with a loop for each; raises RuntimeError without a compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise RuntimeError("no C compiler: install gcc")
    text, results = function_text(names), {}
    loops = []
    for name in names:
        results[name], loop = _loop(name, text)
        loops.append(loop)
    source, library = folder / "functions.c", folder / "functions.so"
    source.write_text(f"{HEADERS}\n{text}\n{''.join(loops)}", encoding="utf-8")
    warnings = ["-Wall", "-Wextra", "-Werror"]
    options = [*(FLAGS if flags is None else flags), *warnings, "-shared", "-fPIC"]
    command = [compiler, *options, "-o", str(library), str(source), "-lm"]
    subprocess.run(command, check=True)
    return Library(library, results)


def _loop(name: str, text: str) -> tuple[str, str]:
    """The type of the result, and `void each_name(long n, const T *x, ..., T *out)`."""
    signature = re.search(_SIGNATURE.format(name=name), text)
    assert signature, name
    c_type, parameters, values = signature[1], [], []
    for parameter in signature[2].split(", "):
        its_type, letter = parameter.split()
        is_array = its_type != "int"
        parameters.append(f"const {its_type} *{letter}" if is_array else parameter)
        values.append(f"{letter}[i]" if is_array else letter)
    head = f"void each_{name}(long count, {', '.join(parameters)}, {c_type} *restrict out)"
    body = f"for (long i = 0; i < count; i++)\n        out[i] = {name}({', '.join(values)});"
    return c_type, f"\n{head};\n{head}\n{{\n    {body}\n}}\n"


# What the functions are measured against


@dataclass(frozen=True)
class Reference:
    """A function in mpmath, and where it is measured: |x| or x between these, for each type."""

    f: Callable[[Any], Any]
    low: float = -math.inf
    high: float = math.inf
    float_limit: float = math.inf  # of |x|, beyond which the result overflows or is constant
    double_limit: float = math.inf


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


REFERENCES = {
    "exp": Reference(mpmath.exp, float_limit=106, double_limit=750),
    "exp2": Reference(lambda x: mpf(2) ** x, float_limit=152, double_limit=1080),
    "expm1": Reference(mpmath.expm1, float_limit=106, double_limit=750),
    "log": Reference(mpmath.log, low=0),
    "log2": Reference(lambda x: mpmath.log(x) / mpmath.log(2), low=0),
    "log10": Reference(lambda x: mpmath.log(x) / mpmath.log(10), low=0),
    "log1p": Reference(mpmath.log1p, low=-1),
    "tanh": Reference(mpmath.tanh, float_limit=20, double_limit=50),
    "sinh": Reference(mpmath.sinh, float_limit=90, double_limit=711),
    "cosh": Reference(mpmath.cosh, float_limit=90, double_limit=711),
    "sin": Reference(mpmath.sin),
    "cos": Reference(mpmath.cos),
    "tan": Reference(mpmath.tan),
    "sin_near": Reference(mpmath.sin, float_limit=1e5, double_limit=1e8),
    "cos_near": Reference(mpmath.cos, float_limit=1e5, double_limit=1e8),
    "tan_near": Reference(mpmath.tan, float_limit=1e5, double_limit=1e8),
    "arctan": Reference(mpmath.atan),
    "arcsin": Reference(mpmath.asin, low=-1, high=1),
    "arccos": Reference(mpmath.acos, low=-1, high=1),
    "sigmoid": Reference(_sigmoid, float_limit=106, double_limit=750),
    "erf": Reference(mpmath.erf, float_limit=10, double_limit=20),
    "erfc": Reference(mpmath.erfc, float_limit=10.5, double_limit=28),
    "cbrt": Reference(lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x))),
}


def sample(name: str, c_type: str, n: int, seed: int = 0) -> Any:
    """About n points: over all exponents, between -4 and 4, next to 0 and 1, and the far ends."""
    reference, dtype = REFERENCES[name], DTYPES[c_type]
    rng = np.random.default_rng(seed)
    limit = min(
        reference.float_limit if c_type == "float" else reference.double_limit,
        3e38 if c_type == "float" else 1e308,
    )
    lowest = -149 if c_type == "float" else -1074
    highest = min(math.log2(limit), 127 if c_type == "float" else 1023)
    sign = rng.choice([-1.0, 1.0], n // 4)
    wide = sign * np.exp2(rng.uniform(lowest, highest, n // 4))
    near = sign * np.exp2(rng.uniform(-6, min(6, highest), n // 4))
    middle = rng.uniform(-1, 1, n // 4) * min(4.0, limit)
    span = min(limit, 700.0)
    ends = np.concatenate([rng.uniform(-span, span, n // 8), 1 + rng.normal(0, 0.02, n // 8)])
    x = np.concatenate([wide, near, middle, ends]).astype(dtype)
    x = np.abs(x) if reference.low == 0 else x
    return x[(x >= reference.low) & (x <= reference.high) & (np.abs(x) <= limit) & (x != 0)]


def errors_in_ulp(f: Callable[[Any], Any], x: Any, y: Any) -> Any:
    """|y - f(x)| in spacings of y's dtype at f(x), by mpmath.

    inf where only one of them is too large for the dtype, and where y alone is NaN.
    """
    largest = np.finfo(y.dtype).max
    below_largest = mpf(float(np.nextafter(largest, y.dtype.type(0))))
    largest = mpf(float(largest))
    errors = np.empty(x.size)
    for i, (number, got) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
        with mp.workprec(_GUARD_BITS + max(0, math.frexp(number)[1])):
            exact = f(mpf(number))
            if not mpmath.isfinite(exact) or mpmath.im(exact):
                errors[i] = math.inf if math.isfinite(got) else 0
                continue
            spacing = mpf(float(np.spacing(y.dtype.type(float(min(abs(exact), below_largest))))))
            if math.isfinite(got):
                errors[i] = float(abs(got - exact) / spacing)
            else:
                beyond = not math.isnan(got) and abs(exact) > largest and got * exact > 0
                errors[i] = 0 if beyond else math.inf
    return errors


def _more_exact(name: str, x: Any, library: Library) -> Any:
    """The function in a wider type, to find where it is worth to look: None where there is none."""
    if x.dtype == np.float32:
        return library(f"{name}_double", x.astype(np.float64))
    name = name.removesuffix("_near")
    if np.finfo(np.longdouble).nmant <= 52 or not hasattr(np, name):
        return None
    with np.errstate(all="ignore"):
        return getattr(np, name)(x.astype(np.longdouble))


def table(folder: Path, n: int = 40_000) -> str:
    """A Markdown row for each function: its largest errors, and where they were found."""
    names = [f"{name}_{c_type}" for name in REFERENCES for c_type in ("float", "double")]
    library = build(names, folder)
    rows = ["| function | float: ulp | at | double: ulp | at |", "|---|--:|--:|--:|--:|"]
    for name, reference in REFERENCES.items():
        cells = [f"`{name}`"]
        for c_type in ("float", "double"):
            x = sample(name, c_type, n)
            many = sample(name, c_type, 50 * n, seed=1)
            if (better := _more_exact(name, many, library)) is not None:
                y = library(f"{name}_{c_type}", many).astype(better.dtype)
                with np.errstate(all="ignore"):
                    spacings = np.spacing(np.abs(better.astype(many.dtype))).astype(better.dtype)
                    apart = np.nan_to_num(np.abs(y - better) / spacings, posinf=0.0)
                x = np.concatenate([x[: n // 4], many[np.argsort(apart)[-200:]]])
            errors = errors_in_ulp(reference.f, x, library(f"{name}_{c_type}", x))
            worst = int(np.argmax(errors))
            cells += [f"{errors[worst]:.2f}", f"{x[worst]:.6g}"]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)
