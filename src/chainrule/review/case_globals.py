"""Arrays that the reader's functions read as globals: they are copied with the roots."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from chainrule.review.case import Case

__all__ = ["keep_globals"]


def keep_globals(case: Case, functions: list[Any]) -> None:
    """Arrays that the reader's functions read as globals are copied with the roots too."""
    spaces: dict[int, dict[str, Any]] = {}
    for function in functions:
        inner = getattr(function, "__func__", function)
        if isinstance(inner, FunctionType):
            spaces[id(inner.__globals__)] = inner.__globals__
    for space in spaces.values():
        used = {name for function in _functions_in(space) for name in function.__code__.co_names}
        own = {
            name: space[name]
            for name in sorted(used)
            if name in space and _holds_arrays(space[name])
        }
        if own:
            case.spaces.append((space, len(case.roots)))
            case.roots.append(own)
            case.names.append("")


def _functions_in(space: dict[str, Any]) -> list[FunctionType]:
    return [
        value
        for value in space.values()
        if isinstance(value, FunctionType) and value.__globals__ is space
    ]


def _holds_arrays(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(_holds_arrays(item) for item in value)
    if isinstance(value, dict):
        return bool(value) and all(_holds_arrays(item) for item in value.values())
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
