"""The matrix products that NumPy brings, as addresses that C can call.

NumPy's wheels carry a BLAS of their own, OpenBLAS as a rule, and a distribution's NumPy is linked
with one. Its functions are looked up by name through NumPy's extension module, among whose
libraries they are: the same library with the same threads and limits, and nothing is loaded.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, final

import numpy as np

__all__ = ["FUNCTIONS", "Blas", "find_blas"]

FUNCTIONS = ("sgemm", "dgemm", "sgemv", "dgemv", "sger", "dger")
"""matrix @ matrix, matrix @ vector, and matrix += column * row, in float32 (s) and float64 (d)."""

# How a library may name cblas_sgemm, and whether its integers then have 64 bits (None: ask NumPy).
# scipy_ is put before the names in the OpenBLAS that NumPy and SciPy build for their wheels;
# $NEWLAPACK stands behind those of Apple's Accelerate.
_SPELLINGS: tuple[tuple[str, bool | None], ...] = (
    ("scipy_cblas_{}64_", True),
    ("cblas_{}64_", True),
    ("cblas_{}$NEWLAPACK$ILP64", True),
    ("scipy_cblas_{}", None),
    ("cblas_{}$NEWLAPACK", None),
    ("cblas_{}", None),
)


@final
@dataclass(frozen=True)
class Blas:
    """Where the functions of a BLAS are in this process.

    `functions` maps each name of FUNCTIONS to its address, `integer_bits` is 32 or 64, `library`
    the file they are from. `convention` is "cblas": the order (101, by rows) comes first,
    transpositions are 111 (no) and 112 (yes), sizes and factors are passed by value; or "fortran":
    matrices lie by columns, transpositions are letters, everything is passed by pointer.
    """

    functions: Mapping[str, int]
    integer_bits: Literal[32, 64]
    convention: Literal["cblas", "fortran"]
    library: str


@cache
def find_blas() -> Blas | None:
    """NumPy's own BLAS; else SciPy's, where SciPy is installed; else None. Asked once a process.

    >>> blas = find_blas()
    >>> blas is None or sorted(blas.functions) == sorted(FUNCTIONS)
    True
    """
    return _in_libraries(_numpy_libraries()) or _of_scipy()


def _numpy_libraries() -> Iterable[ctypes.CDLL]:
    """NumPy's extension module, through which its libraries are seen; then those themselves."""
    extension = import_module("numpy._core._multiarray_umath")
    with suppress(OSError):
        yield ctypes.CDLL(extension.__file__)
    # Windows finds no name through another library: there it is searched for among those loaded.
    from threadpoolctl import ThreadpoolController

    folder = Path(np.__file__).parent
    own = (str(folder) + os.sep, str(folder.with_name("numpy.libs")) + os.sep)
    for found in ThreadpoolController().select(user_api="blas").lib_controllers:
        if os.path.realpath(found.filepath).startswith(own):
            with suppress(OSError):
                yield ctypes.CDLL(found.filepath)


def _in_libraries(libraries: Iterable[ctypes.CDLL]) -> Blas | None:
    """The first of these libraries, and the first spelling, that has all the functions."""
    for library in libraries:
        for spelling, has_64_bits in _SPELLINGS:
            with suppress(AttributeError):
                addresses = {
                    name: _address(getattr(library, spelling.format(name))) for name in FUNCTIONS
                }
                if has_64_bits is None:
                    has_64_bits = bool(getattr(np.linalg._umath_linalg, "_ilp64", False))
                return Blas(
                    MappingProxyType(addresses),
                    64 if has_64_bits else 32,
                    "cblas",
                    _file_of(addresses["sgemm"]) or library._name,
                )
    return None


def _of_scipy() -> Blas | None:
    """The functions that SciPy hands to Cython code.

    They stand in capsules, each named by its signature (SciPy's reference: "BLAS functions for
    Cython"; a capsule is PyCapsule in Python's C interface).
    """
    try:
        from scipy.linalg import cython_blas
    except ImportError:
        return None
    name_of = ctypes.pythonapi.PyCapsule_GetName
    pointer_in = ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_in.restype, pointer_in.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    addresses = {}
    for name in FUNCTIONS:
        capsule = cython_blas.__pyx_capi__.get(name)
        signature = name_of(capsule) if capsule is not None else b""
        if b" int *" not in signature:  # none, or integers of an unknown width
            return None
        addresses[name] = pointer_in(capsule, signature)
    return Blas(MappingProxyType(addresses), 32, "fortran", "scipy.linalg.cython_blas")


def _address(function: Any) -> int:
    return int(ctypes.cast(function, ctypes.c_void_p).value or 0)


class _Place(ctypes.Structure):
    """What dladdr says of an address (its manual: Dl_info)."""

    _fields_ = (
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    )


def _file_of(address: int) -> str:
    """The file that a function is loaded from; "" where the system does not say."""
    place = _Place()
    with suppress(OSError, AttributeError, TypeError):
        if ctypes.CDLL(None).dladdr(ctypes.c_void_p(address), ctypes.byref(place)) and place.file:
            return os.fsdecode(place.file)
    return ""
