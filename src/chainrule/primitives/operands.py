"""The one gate for what a primitive computes with: plain arrays and numbers, or a refusal by name.

An operand that is not one has a meaning of its own (a mask, a unit, zeros that are not stored, a
`*` that multiplies matrices), which the derivative would not know of. Such a one is never taken for
the array it looks like.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_operand", "has_own_ufuncs"]

_REAL = "fiub"


def as_operand(value: Any, where: Any) -> Any:
    """The value as a plain array of real numbers, or as the Python or NumPy number it is.

    Lists, tuples, pandas objects and whatever else NumPy reads as an array become an array of their
    own. `where` says in an error whose operand it is: a primitive, or words such as "the argument".
    Raises TypeError for masked, sparse, matrix and foreign arrays, and for complex numbers, text
    and objects.

    >>> as_operand([1, 2], "the argument")
    array([1, 2])
    """
    kind = type(value)
    if kind is float or kind is int:
        return value
    if kind is np.ndarray or isinstance(value, np.generic):
        if value.dtype.kind in _REAL:
            return value
        raise _wrong_dtype(value, where)
    if isinstance(value, int | float | np.random.Generator):  # a generator is an operand of its own
        return value
    home = kind.__module__
    name = f"{home}.{kind.__qualname__}".removeprefix("builtins.")
    if isinstance(value, np.ma.MaskedArray):
        raise _refused(where, "a masked array", "its mask would be forgotten", _FILL)
    if isinstance(value, np.matrix):
        raise _refused(where, "an np.matrix", "its * is a matrix product", "pass np.asarray of it")
    if home.startswith("scipy.sparse"):
        raise _refused(where, name, "sparse arrays have no rules here", "pass its .toarray()")
    if isinstance(value, complex):
        raise _wrong_dtype(np.asarray(value), where)
    if value is None or isinstance(value, str | bytes | dict | set):
        what = "None" if value is None else f"a {name}"
        raise _refused(where, what, _NO_NUMBERS, "pass an array")
    if has_own_ufuncs(value):
        advice = "pass the plain array that it holds"
        raise _refused(where, f"a {name}", "it computes by rules of its own", advice)
    array = np.asarray(value).copy()  # what it was read from may change
    if array.dtype.kind in _REAL:
        return array
    if array.dtype.kind == "O" and not array.shape:
        raise _refused(where, f"a {name}", _NO_NUMBERS, "pass an array")
    raise _wrong_dtype(array, where)


_NO_NUMBERS = "derivatives need floating-point numbers"
_FILL = "use np.where(mask, x, 0) on plain arrays, or pass its .filled(0)"


def has_own_ufuncs(value: Any) -> bool:
    """Whether NumPy leaves its functions on this object to the object itself (pandas apart)."""
    kind = type(value)
    own = getattr(kind, "__array_ufunc__", np.ndarray.__array_ufunc__)
    return own is not np.ndarray.__array_ufunc__ and not kind.__module__.startswith("pandas")


def _refused(where: Any, what: str, why: str, advice: str) -> TypeError:
    place = where if isinstance(where, str) else f"an operand of {where.name}"
    return TypeError(f"{place} is {what}: {why}; {advice}")


def _wrong_dtype(array: Any, where: Any) -> TypeError:
    place = where if isinstance(where, str) else f"an operand of {where.name}"
    advice = {
        "c": "take np.real and np.imag of it before, and compute with these two",
        "O": "it holds Python objects, or rows of unequal length: make it an array of one dtype",
    }.get(array.dtype.kind, "convert it to numbers with .astype(float)")
    return TypeError(
        f"{place} has dtype {array.dtype}, shape {array.shape}: derivatives need floating-point "
        f"numbers, and constants real ones; {advice}"
    )
