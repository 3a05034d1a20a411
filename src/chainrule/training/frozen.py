"""What a program has fixed that is not among its arguments: attributes it read, numbers it drew.

A step is traced once and runs many times. An attribute of a layer that was read then is a constant
from there on, and so is a number drawn from a generator that the graph does not know. Both would
train on something else than the user wrote, without a word, so both are noticed here.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

__all__ = ["difference", "hidden_draws", "observe", "refuse_draws"]

_MANY_BYTES = 2**20  # of a larger array a sample of its elements is looked at
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)


def observe(parts: Mapping[str, object]) -> dict[str, Hashable]:
    """The values of the attributes of these objects, theirs, and so on, by name: "dense_1.units".

    Of a function those that it has closed over, and the numbers and arrays among the global
    variables it names.
    """
    found: dict[str, Hashable] = {}
    for name, part in parts.items():
        _observe(name, part, found, set())
    return found


def difference(before: Mapping[str, Hashable], after: Mapping[str, Hashable]) -> str:
    """The first name whose value is not the same in both, "" where there is none."""
    names = [*before, *(name for name in after if name not in before)]
    missing = object()
    return next((n for n in names if before.get(n, missing) != after.get(n, missing)), "")


def _observe(name: str, value: Any, found: dict[str, Hashable], seen: set[int]) -> None:
    if isinstance(value, _PLAIN):
        found[name] = (type(value), repr(value))  # NaN is as good as NaN
        return
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        step = 1 + value.nbytes // _MANY_BYTES
        found[name] = (value.shape, value.dtype.str, hash(value.reshape(-1)[::step].tobytes()))
        return
    for inner, child in _children(value):
        _observe(f"{name}.{inner}", child, found, seen)
    if not isinstance(value, Mapping | list | tuple):
        found[name] = id(value)


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object consists of, as far as it is not an implementation of Python or NumPy."""
    if isinstance(value, Mapping):
        yield from ((str(key), child) for key, child in value.items())
    elif isinstance(value, list | tuple):
        yield from ((str(i), child) for i, child in enumerate(value))
    elif isinstance(value, MethodType):
        yield from (("self", value.__self__), ("function", value.__func__))
    elif isinstance(value, FunctionType):
        yield from _read_by(value)
    elif not isinstance(value, type | ModuleType):
        yield from getattr(value, "__dict__", {}).items()


def _read_by(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables outside a function that it reads."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            yield name, cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, (*_PLAIN, np.ndarray)):
            yield name, value


# Generators


class _Generators:
    """The generators that can be reached from some objects, and the global ones, as they stand."""

    def __init__(self, parts: Mapping[str, object]) -> None:
        self._own: dict[str, Any] = {}
        for name, part in parts.items():
            self._find(name, part, set())
        self._states = self._read()

    def _find(self, name: str, value: Any, seen: set[int]) -> None:
        if isinstance(value, (*_PLAIN, np.ndarray)) or id(value) in seen:
            return
        seen.add(id(value))
        if isinstance(value, np.random.Generator | np.random.RandomState | random.Random):
            self._own[name] = value
            return
        for inner, child in _children(value):
            self._find(f"{name}.{inner}", child, seen)

    def _read(self) -> dict[str, Any]:
        states = {
            "NumPy's global generator": np.random.get_state(),
            "Python's global generator": random.getstate(),
        }
        for name, generator in self._own.items():
            states[name] = _state_of(generator)
        return states

    def changed(self) -> str:
        """The name of the first that has been drawn from, "" for none."""
        now = self._read()
        return next((n for n, was in self._states.items() if _token(was) != _token(now[n])), "")

    def restore(self) -> None:
        """Let all of them go on as if nothing had been drawn."""
        np.random.set_state(self._states["NumPy's global generator"])
        random.setstate(self._states["Python's global generator"])
        for name, generator in self._own.items():
            state = self._states[name]
            if isinstance(generator, np.random.Generator):
                generator.bit_generator.state = state
            elif isinstance(generator, np.random.RandomState):
                generator.set_state(state)
            else:
                generator.setstate(state)


def _state_of(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return generator.bit_generator.state
    if isinstance(generator, np.random.RandomState):
        return generator.get_state()
    return generator.getstate()


def _token(state: Any) -> Any:
    """The state of a generator as something that can be compared by `==`."""
    if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], np.ndarray):
        return state[0], state[1].tobytes(), *state[2:]
    return repr(state) if isinstance(state, Mapping) else state


@contextmanager
def hidden_draws(parts: Mapping[str, object]) -> Iterator[_Generators]:
    """What is drawn inside, from global generators or from those of `parts`, counts as not drawn.

    Gives what can say, by `changed()`, whether there was such a draw.
    """
    generators = _Generators(parts)
    try:
        yield generators
    finally:
        generators.restore()


@contextmanager
def refuse_draws(owner: str, parts: Mapping[str, object]) -> Iterator[None]:
    """Raise TypeError where numbers are drawn inside that a graph would not draw again.

    Those are the draws from global generators and from generators that `parts` hold. For what is
    traced; the generators are left as they were.
    """
    with hidden_draws(parts) as generators:
        yield
        if name := generators.changed():
            raise TypeError(
                f"{owner} draws from {name}, which a compiled step could do only once, for all "
                "steps: draw with primitives.random_uniform(context.rng, ...)"
            )
