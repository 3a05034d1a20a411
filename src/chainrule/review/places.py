"""Where arrays stand in what the reader handed over: attributes, lists, dicts, globals, arguments.

A place is a way from the roots, a list of objects and arguments that is copied for every trial, to
one array (or number, or list of numbers): it is read as an array and written back in its own form.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

__all__ = ["Place", "as_numbers", "find_places", "plain"]

_MOST_PLACES = 400
_DEEPEST = 8
_CLOSED = (FunctionType, BuiltinFunctionType, ModuleType, type, str, bytes, np.dtype, np.ufunc)


@dataclass(frozen=True)
class Place:
    """One array within the roots: its name for people, and the way to it, ("attribute", "W") …"""

    name: str
    way: tuple[tuple[str, Any], ...]

    def read(self, roots: list[Any]) -> Any:
        """What stands there."""
        value: Any = roots
        for kind, key in self.way:
            value = getattr(value, key) if kind == "attribute" else value[key]
        return value

    def array(self, roots: list[Any]) -> np.ndarray[Any, Any]:
        """What stands there as an array."""
        return np.asarray(plain(self.read(roots)))

    def write(self, roots: list[Any], array: Any) -> None:
        """Put an array there; a number or a list of numbers stays one."""
        self._write(roots, 0, array)

    def _write(self, holder: Any, depth: int, array: Any) -> Any:
        kind, key = self.way[depth]
        inside = getattr(holder, key) if kind == "attribute" else holder[key]
        if depth + 1 < len(self.way):
            new = self._write(inside, depth + 1, array)
        else:
            new = _in_form_of(inside, array)
        if new is inside:
            return holder
        if kind == "attribute":
            object.__setattr__(holder, key, new)
        elif isinstance(holder, tuple):
            parts = [new if i == key else part for i, part in enumerate(holder)]
            return type(holder)(*parts) if hasattr(holder, "_fields") else tuple(parts)
        else:
            holder[key] = new
        return holder


def plain(value: Any) -> Any:
    """A matrix as an array of two axes; everything else as it is."""
    return np.asarray(value) if isinstance(value, np.matrix) else value


def _in_form_of(like: Any, array: Any) -> Any:
    if not isinstance(array, np.ndarray | np.generic | float | int):
        return array  # a tensor
    if isinstance(like, list):
        return np.asarray(array).tolist()
    if isinstance(like, np.matrix):
        return np.asmatrix(array)
    if isinstance(like, np.ndarray):
        return np.array(array)
    return type(like)(array) if isinstance(like, np.generic) else float(np.asarray(array))


def as_numbers(value: Any) -> np.ndarray[Any, Any] | None:
    """A value as an array of real numbers, if it is an array, a number or a list of numbers."""
    if isinstance(value, np.ndarray | np.generic):
        return np.asarray(value) if value.dtype.kind in "fiub" else None
    if isinstance(value, bool):
        return None
    if isinstance(value, numbers.Real):
        return np.asarray(float(value))
    if isinstance(value, list) and value and _is_numbers(value):
        try:
            array = np.array(value)
        except ValueError:
            return None
        return array if array.dtype.kind in "fiu" else None
    return None


def _is_numbers(value: Any) -> bool:
    """Whether these are lists of Python's numbers all the way down, and no arrays."""
    if isinstance(value, list):
        return bool(value) and all(_is_numbers(item) for item in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def find_places(roots: list[Any], names: list[str]) -> list[Place]:
    """Every array within the roots, once, by the names of the roots."""
    seen: set[int] = set()
    found: list[Place] = []
    for index, (root, name) in enumerate(zip(roots, names, strict=True)):
        for place in _walk(root, name, ((("item"), index),), seen):
            found.append(place)
            if len(found) == _MOST_PLACES:
                return found
    return found


def _walk(
    value: Any, name: str, way: tuple[tuple[str, Any], ...], seen: set[int]
) -> Iterator[Place]:
    if len(way) > _DEEPEST or isinstance(value, _CLOSED):
        return
    if isinstance(value, np.ndarray | list | dict | tuple) or hasattr(value, "__dict__"):
        if id(value) in seen:
            return
        seen.add(id(value))
    if as_numbers(value) is not None:
        yield Place(name, way)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, f"{name}[{key!r}]", (*way, ("item", key)), seen)
    elif isinstance(value, list | tuple) or (
        isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1
    ):
        for i, item in enumerate(value):
            yield from _walk(item, f"{name}[{i}]", (*way, ("item", i)), seen)
    elif isinstance(value, MethodType):
        yield from _walk(value.__self__, name, (*way, ("attribute", "__self__")), seen)
    elif not isinstance(value, np.random.Generator | np.random.RandomState) and hasattr(
        value, "__dict__"
    ):
        prefix = f"{name}." if name and name != "self" else ""
        for key, item in vars(value).items():
            yield from _walk(item, f"{prefix}{key}", (*way, ("attribute", key)), seen)
        # numbers and lists of a class are read through its objects too
