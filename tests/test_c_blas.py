"""NumPy's matrix products by their addresses: the same bits, and no other library is loaded."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from chainrule.engines.c import blas
from chainrule.engines.c.blas import FUNCTIONS, find_blas


def called(found: blas.Blas, name: str, *arguments):
    """Call a function of a BLAS by its address: arrays as pointers, integers as wide as it has."""
    integer = ctypes.c_int64 if found.integer_bits == 64 else ctypes.c_int32
    real = ctypes.c_float if name[0] == "s" else ctypes.c_double
    by_value = found.convention == "cblas"

    def passed(argument):
        if isinstance(argument, np.ndarray):
            return argument.ctypes.data_as(ctypes.c_void_p)
        if isinstance(argument, bytes):
            return ctypes.c_char_p(argument)
        if isinstance(argument, float):
            return real(argument) if by_value else ctypes.byref(real(argument))
        return integer(argument) if by_value else ctypes.byref(integer(argument))

    given = [passed(argument) for argument in arguments]
    if by_value:
        choices = 3 if name[1:] == "gemm" else 2 if name[1:] == "gemv" else 1
        given[:choices] = [ctypes.c_int(argument) for argument in arguments[:choices]]
    ctypes.CFUNCTYPE(None)(found.functions[name])(*given)


BY_ROWS, PLAIN, TRANSPOSED = 101, 111, 112


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("m", "k", "n"), [(64, 196, 100), (7, 5, 3), (130, 257, 65)])
def test_products_by_the_addresses_are_numpys_bit_for_bit(dtype, m, k, n):
    found = find_blas()
    if found is None or found.convention != "cblas":
        pytest.skip("this NumPy shows no BLAS")
    letter = np.dtype(dtype).char.replace("f", "s")
    rng = np.random.default_rng(m)
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    c = np.full((m, n), np.nan, dtype)
    gemm = f"{letter}gemm"
    called(found, gemm, BY_ROWS, PLAIN, PLAIN, m, n, k, 1.0, a, k, b, n, 0.0, c, n)
    np.testing.assert_array_equal(c, a @ b)
    b_t = np.ascontiguousarray(b.T)
    called(
        found, f"{letter}gemm", BY_ROWS, PLAIN, TRANSPOSED, m, n, k, 1.0, a, k, b_t, k, 0.0, c, n
    )
    np.testing.assert_array_equal(c, a @ b_t.T)
    a_t = np.ascontiguousarray(a.T)
    called(
        found, f"{letter}gemm", BY_ROWS, TRANSPOSED, PLAIN, m, n, k, 1.0, a_t, m, b, n, 0.0, c, n
    )
    np.testing.assert_array_equal(c, a_t.T @ b)
    x, y = b[:, 0].copy(), np.full(m, np.nan, dtype)
    called(found, f"{letter}gemv", BY_ROWS, PLAIN, m, k, 1.0, a, k, x, 1, 0.0, y, 1)
    np.testing.assert_array_equal(y, a @ x)
    total = np.ones((m, k), dtype)
    called(found, f"{letter}ger", BY_ROWS, m, k, 1.0, y, 1, x, 1, total, k)
    # the sum may be rounded together with the product
    np.testing.assert_allclose(total, 1 + np.outer(y, x), rtol=1e-5, atol=1e-5)


def test_it_is_the_library_whose_threads_are_limited():
    found = find_blas()
    if found is None or found.convention != "cblas" or "numpy.libs" not in found.library:
        pytest.skip("not a wheel of NumPy")
    loaded = [os.path.realpath(lib.filepath) for lib in ThreadpoolController().lib_controllers]
    assert os.path.realpath(found.library) in loaded
    assert found.integer_bits == (64 if "64" in Path(found.library).name else 32)


def test_finding_it_imports_neither_scipy_nor_threadpoolctl():
    found = find_blas()
    if found is None or found.convention != "cblas":
        pytest.skip("this NumPy shows no BLAS")
    code = """
import sys
import chainrule.engines.c.blas as blas
print(blas.find_blas() is not None, "scipy" in sys.modules, "threadpoolctl" in sys.modules)
"""
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert fresh.stdout == "True False False\n", fresh.stderr


def test_without_names_through_numpys_module_its_libraries_are_searched(monkeypatch):
    found = find_blas()
    if found is None or found.convention != "cblas" or "numpy.libs" not in found.library:
        pytest.skip("not a wheel of NumPy")
    real = ctypes.CDLL

    def loaded(name, *arguments):
        if name is not None and "_multiarray_umath" in str(name):
            raise OSError
        return real(name, *arguments)

    monkeypatch.setattr(blas.ctypes, "CDLL", loaded)
    other = blas._in_libraries(blas._numpy_libraries())
    assert other is not None
    assert dict(other.functions) == dict(found.functions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scipys_addresses_follow_fortran(dtype, monkeypatch):
    pytest.importorskip("scipy")
    monkeypatch.setattr(blas, "_numpy_libraries", list)
    found = find_blas.__wrapped__()
    assert found is not None
    assert found.convention == "fortran"
    assert sorted(found.functions) == sorted(FUNCTIONS)
    letter = np.dtype(dtype).char.replace("f", "s")
    rng = np.random.default_rng(0)
    a = np.asfortranarray(rng.normal(size=(7, 5)).astype(dtype))
    b = np.asfortranarray(rng.normal(size=(5, 3)).astype(dtype))
    c = np.full((7, 3), np.nan, dtype, order="F")
    called(found, f"{letter}gemm", b"N", b"N", 7, 3, 5, 1.0, a, 7, b, 5, 0.0, c, 7)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5)


def test_without_any_blas_there_is_none(monkeypatch):
    monkeypatch.setattr(blas, "_numpy_libraries", lambda: [ctypes.CDLL(None)])
    monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    assert find_blas.__wrapped__() is None


@pytest.mark.parametrize("signature", [None, b"void (char *, char *, int64_t *)"])
def test_scipys_functions_with_integers_of_unknown_width_are_left_alone(signature, monkeypatch):
    pytest.importorskip("scipy.linalg.cython_blas")
    make = ctypes.pythonapi.PyCapsule_New
    monkeypatch.setattr(make, "restype", ctypes.py_object)
    monkeypatch.setattr(make, "argtypes", [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p])
    capsules = {name: make(1, signature, None) for name in FUNCTIONS} if signature else {}
    monkeypatch.setattr("scipy.linalg.cython_blas.__pyx_capi__", capsules)
    assert blas._of_scipy() is None
