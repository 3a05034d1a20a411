"""Kernels of the C engine, many in one file, compiled once and called with arrays."""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from kernel_checks import poisoned

from chainrule.compiler.graph import Variable
from chainrule.compiler.trace import trace
from chainrule.engines.c.access import Access, contiguous_strides
from chainrule.engines.c.kernels import convolution, pooling
from chainrule.primitives import PRIMITIVES

KERNELS = {**convolution.KERNELS, **pooling.KERNELS}
FLAGS = "-std=gnu99 -O3 -march=native -ffp-contract=fast -fno-math-errno -fopenmp-simd".split()
NAMES = ("first", "second", "third")
PARTS = 3
"""In how many parts a kernel is divided that shares its work among threads."""


def equation_of(name, arrays, params):
    """The equation of one call of a primitive."""
    variables = [Variable(a.shape, a.dtype, NAMES[i]) for i, a in enumerate(arrays)]
    graph, _ = trace(lambda *args: PRIMITIVES[name](*args, **params), variables)
    (equation,) = graph.equations
    return equation


def n_workspace(equation):
    """The elements of the workspace of an equation's kernel."""
    kernel = KERNELS[equation.name]
    return kernel.workspace(equation) + PARTS * kernel.for_each_part(equation)


def function_text(symbol, equation, **words):
    """A C function around the lines of a kernel."""
    kernel = KERNELS[equation.name]
    assert kernel.refuses(equation) == ""
    T = {4: "float", 8: "double"}[equation.out.dtype.itemsize]
    names = [*NAMES[: len(equation.args)], "out"]
    parameters = [f"const {T} *restrict {name}" for name in names[:-1]]
    parameters.append(f"{T} *restrict {names[-1]}")
    if kernel.shares(equation):
        parameters.insert(0, "int parts")
    if n_workspace(equation):
        parameters.append(f"{T} *restrict workspace")
    variables = [*equation.variables, equation.out]
    arrays = [
        Access(name, v.dtype, v.shape, contiguous_strides(v.shape))
        for name, v in zip(names, variables)
    ]
    lines = [*["(void)parts;"] * kernel.shares(equation)]
    lines += kernel.write(equation, arrays, **words)
    return "\n".join([f"void {symbol}({', '.join(parameters)}) {{", *lines, "}\n"])


def build(text, folder, *flags, name="kernels"):
    """Compile the text, without a warning, and load it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on the path")
    source, library = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(text)
    command = [compiler, *FLAGS, "-Wall", "-Wextra", *flags, "-fPIC", "-shared"]
    found = subprocess.run(
        [*command, str(source), "-o", str(library)], capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-2000:]
    assert found.stderr == ""
    return ctypes.CDLL(str(library))


def call(library, symbol, equation, arrays):
    """The function's result, in memory that is full of NaN before; nothing beside it is written."""
    before = [a.copy() for a in arrays]
    memory = poisoned(equation.out.size + 2, equation.out.dtype)
    out = memory[1:-1]
    n = n_workspace(equation)
    workspace = poisoned(n + 2, equation.out.dtype)
    pointers = [a.ctypes.data for a in arrays] + [out.ctypes.data]
    if n:
        pointers.append(workspace[1:].ctypes.data)
    parts = [ctypes.c_int(PARTS)] if KERNELS[equation.name].shares(equation) else []
    getattr(library, symbol)(*parts, *map(ctypes.c_void_p, pointers))
    for array, old in zip(arrays, before):
        np.testing.assert_array_equal(array, old)
    assert np.isnan(memory[[0, -1]]).all()
    assert np.isnan(workspace[[0, -1]]).all()
    return out.reshape(equation.out.shape)


def run_sanitized(text, found, folder):
    """Call every function once, in memory of exactly its sizes, under sanitizers."""
    calls = []
    for symbol, equation, arrays in found:
        T = {4: "float", 8: "double"}[equation.out.dtype.itemsize]
        sizes = [a.size for a in arrays] + [equation.out.size]
        sizes += [n] if (n := n_workspace(equation)) else []
        memory = ", ".join(f"{T}s({size})" for size in sizes)
        # the braces give the arguments an order, and the memory back
        calls.append(f"    {{ {T} *a[] = {{{memory}}};")
        passed = [f"a[{i}]" for i in range(len(sizes))]
        if KERNELS[equation.name].shares(equation):
            passed.insert(0, str(PARTS))
        calls.append(f"      {symbol}({', '.join(passed)});")
        calls.append(f"      for (int i = 0; i < {len(sizes)}; i++) free(a[i]); }}")
    makers = [
        f"static {T} *{T}s(long n) {{ {T} *a = malloc(n * sizeof *a);"
        " for (long i = 0; i < n; i++) a[i] = i % 7 - 3; return a; }"
        for T in ("float", "double")
    ]
    lines = ["#include <stdlib.h>", text, *makers, "int main(void) {", *calls, "}"]
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) on the path")
    source, binary = folder / "sanitized.c", folder / "sanitized"
    source.write_text("\n".join(lines))
    flags = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-lm"]
    command = [compiler, *FLAGS, *flags, "-Wall", "-Wextra", "-Werror", str(source)]
    built = subprocess.run([*command, "-o", str(binary)], capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert built.returncode == 0, built.stderr[-2000:]
    ran = subprocess.run([str(binary)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
