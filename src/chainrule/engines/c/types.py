"""NumPy's dtypes as C's types, and Python's numbers as C writes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["C_TYPES", "UnsupportedError", "c_type", "literal"]

C_TYPES = {
    "bool": "bool",
    "int8": "int8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "uint8": "uint8_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "uint64": "uint64_t",
    "float32": "float",
    "float64": "double",
}


class UnsupportedError(TypeError):
    """What the C engine has no way to write down; the text names it."""


def c_type(dtype: Any) -> str:
    """The C type of a dtype. Raises UnsupportedError where there is none (float16, say)."""
    name = np.dtype(dtype).name
    if name not in C_TYPES or not np.dtype(dtype).isnative:
        raise UnsupportedError(f"arrays of {np.dtype(dtype)}")
    return C_TYPES[name]


def literal(number: float | int | bool, dtype: Any) -> str:
    """A number as C reads it in this dtype, which it is rounded to first."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return "true" if number else "false"
    with np.errstate(all="ignore"):
        value = np.asarray(number).astype(dtype)
    if dtype.kind in "iu":
        return _integer(int(value), dtype)
    c_type(dtype)
    text = str(value)
    if not np.isfinite(value):
        text = "NAN" if np.isnan(value) else "INFINITY"
        return f"-{text}" if not np.isnan(value) and value < 0 else text
    suffix = "f" if dtype.itemsize == 4 else ""
    sign = "-" if math.copysign(1, float(value)) < 0 and not text.startswith("-") else ""
    return sign + text + suffix


def _integer(value: int, dtype: np.dtype[Any]) -> str:
    if value == -(2**63):
        return "INT64_MIN"
    if dtype.kind == "u" and value >= 2**31:
        return f"UINT64_C({value})"
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"
