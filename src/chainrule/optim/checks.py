"""Checks of the numbers an optimizer or a schedule is made with, in one form of words."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

__all__ = ["require_count", "require_number", "require_scheduled"]


def require_number(
    owner: object, name: str, value: Any, *, high: float = math.inf, positive: bool = False
) -> float:
    """The value as Python's float, if 0 <= value < high (0 < value where it must be positive).

    A NumPy scalar must not stay one: a float64 among float32 arrays makes float64 arrays.
    Raises TypeError for what is not a number and ValueError for a number out of range.

    >>> require_number(object(), "momentum", 1.5, high=1.0)
    Traceback (most recent call last):
    ValueError: object got momentum=1.5: give a number with 0 <= momentum < 1
    """
    who = type(owner).__name__
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{who} got {name}={value!r}, a {type(value).__name__}: give a number")
    number = float(value)
    above = number > 0.0 if positive else number >= 0.0
    if not (above and number < high):
        below = "a finite" if high == math.inf else "a"
        until = "" if high == math.inf else f" < {high:g}"
        sign = "<" if positive else "<="
        raise ValueError(
            f"{who} got {name}={number:g}: give {below} number with 0 {sign} {name}{until}"
        )
    return number


def require_count(owner: object, name: str, value: Any) -> int:
    """The value as Python's int, if it is a whole number of at least 1.

    Raises TypeError for what is not a whole number and ValueError for one below 1.

    >>> require_count(object(), "steps", 0)
    Traceback (most recent call last):
    ValueError: object got steps=0: give a whole number of at least 1
    """
    who = type(owner).__name__
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(
            f"{who} got {name}={value!r}, a {type(value).__name__}: give a whole number of steps"
        )
    if value < 1:
        raise ValueError(f"{who} got {name}={value}: give a whole number of at least 1")
    return int(value)


def require_scheduled(schedule: object, value: Any, step: int) -> float:
    """What a schedule gave for a step as Python's float, if it is a finite number of at least 0.

    Raises TypeError for what is not one number and ValueError for a number out of range.

    >>> require_scheduled(abs, 0.5, 1)
    0.5
    """
    is_number = isinstance(value, Real) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
    )
    if not is_number or np.ndim(value):
        what = f"shape {np.shape(value)}" if np.ndim(value) else type(value).__name__
        raise TypeError(f"{_name(schedule)} gave {what} for step {step}: return one number")
    number = float(value)
    if not 0.0 <= number < math.inf:
        raise ValueError(
            f"{_name(schedule)} gave {number:g} for step {step}: return a finite number >= 0"
        )
    return number


def _name(schedule: object) -> str:
    return f"the schedule {getattr(schedule, '__name__', type(schedule).__name__)}"
