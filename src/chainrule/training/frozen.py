"""What a program has fixed that is not among its arguments: attributes it read, numbers it drew.

A step is traced once and runs many times. An attribute of a layer that was read then is a constant
from there on, and so is a number drawn from a generator that the graph does not know. Both would
train on something else than the user wrote, without a word, so both are noticed here.
"""

from __future__ import annotations

import copy
import operator
import random
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import Any, final

import numpy as np

__all__ = ["Observed", "hidden_draws", "refuse_draws"]

_MOST_OBJECTS, _DEEPEST = 10_000, 30  # a layer's options are few, but it may hold what is not
_MANY_BYTES = 2**20  # of a larger array a sample of its elements is looked at
_PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)


@final
class Observed:
    """The values of the attributes of some objects, theirs, and so on, by name: "dense_1.units".

    Of a function those that it has closed over, and the numbers and arrays among the global
    variables it names. Whether they are as they were is asked in every epoch, so that is quick
    where they are the same objects.
    """

    def __init__(self, parts: Mapping[str, object]) -> None:
        self._parts = parts
        self._look()

    def _look(self) -> None:
        self.values: dict[str, Hashable] = {}
        # what tells the children of an object, those it had, and how many
        self._holders: list[tuple[Callable[[], Collection[Any]], tuple[Any, ...], int]] = []
        self._changeable: list[
            tuple[Any, Hashable]
        ] = []  # what can change and stay the same object
        self._plain: list[dict[str, Any] | list[Any]] = []
        for name, part in self._parts.items():
            self._observe(name, part, set())
        self._copies = [copy.copy(holder) for holder in self._plain]

    def difference(self) -> str:
        """The name of the first value that is another by now, "" where there is none."""
        if self.is_as_before():
            return ""
        before = self.values
        self._look()
        names = [*before, *(name for name in self.values if name not in before)]
        missing = object()
        return next((n for n in names if before.get(n, missing) != self.values.get(n, missing)), "")

    def looks_the_same(self) -> bool:
        """Whether attributes, dicts and lists hold what they held, in a fraction of a microsecond.

        What has become of the arrays they hold, and of the variables that functions read, it does
        not see.
        """
        try:
            return self._plain == self._copies  # C compares, and sees that most are the same
        except Exception:  # of arrays, which are others then
            return False

    def is_as_before(self) -> bool:
        """Whether everything holds the very same objects; asked at each prediction, so in haste."""
        is_same = operator.is_
        for contents, held, n_held in self._holders:
            now = contents()
            if len(now) != n_held or not all(map(is_same, now, held)):
                return False
        changeable = self._changeable  # often there is nothing of the kind
        return not changeable or all(_token(value) == token for value, token in changeable)

    def _observe(self, name: str, value: Any, seen: set[int]) -> None:
        if len(self.values) >= _MOST_OBJECTS:
            return
        if isinstance(value, _PLAIN):
            self.values[name] = (type(value), repr(value))  # NaN is as good as NaN
            return
        if not _is_new(name, value, seen):
            return
        if isinstance(value, np.ndarray | set):
            self.values[name] = token = _token(value)
            self._changeable.append((value, token))
            return
        children = tuple(_children(value))
        if children:
            contents = _contents(value)
            held = tuple(contents())
            self._holders.append((contents, held, len(held)))
            holder = value if isinstance(value, dict | list) else getattr(value, "__dict__", None)
            if isinstance(holder, dict | list):
                self._plain.append(holder)
        for inner, child in children:
            self._observe(f"{name}.{inner}", child, seen)
        if not isinstance(value, Mapping | list | tuple):
            self.values[name] = id(value)


def _is_new(name: str, value: Any, seen: set[int]) -> bool:
    """Whether to look into an object: not twice, not into ever more or ever deeper ones."""
    if id(value) in seen or len(seen) >= _MOST_OBJECTS or name.count(".") > _DEEPEST:
        return False
    seen.add(id(value))
    return True


def _token(value: np.ndarray | set[Any]) -> Hashable:
    """What is another where the value is another."""
    if isinstance(value, set):
        return frozenset(map(repr, value))
    if value.dtype.kind == "O":
        return tuple(map(repr, value.flat))
    step = 1 + value.nbytes // _MANY_BYTES
    return value.shape, value.dtype.str, hash(value.reshape(-1)[::step].tobytes())


def _contents(holder: Any) -> Callable[[], Collection[Any]]:
    """What gives the children of an object as they are now, without their names."""
    if isinstance(holder, Mapping):
        return holder.values
    if isinstance(holder, list | tuple):
        return lambda: holder
    if isinstance(holder, MethodType | FunctionType):
        return lambda: tuple(child for _, child in _children(holder))
    attributes: dict[str, Any] = vars(holder)
    return attributes.values


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
        if isinstance(value, (*_PLAIN, np.ndarray)) or not _is_new(name, value, seen):
            return
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
        return next(
            (n for n, was in self._states.items() if _state_token(was) != _state_token(now[n])), ""
        )

    def restore(self) -> None:
        """Let them go on as if nothing had been drawn.

        Not the global ones: another thread may have drawn from those meanwhile, and would draw the
        same numbers again.
        """
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


def _state_token(state: Any) -> Any:
    """The state of a generator as something that can be compared by `==`."""
    if isinstance(state, tuple) and len(state) > 1 and isinstance(state[1], np.ndarray):
        return state[0], state[1].tobytes(), *state[2:]
    return repr(state) if isinstance(state, Mapping) else state


@contextmanager
def hidden_draws(parts: Mapping[str, object]) -> Iterator[_Generators]:
    """What is drawn inside from the generators that `parts` hold counts as not drawn.

    Gives what can say, by `changed()`, whether there was a draw from these or the global ones.
    """
    generators = _Generators(parts)
    try:
        yield generators
    finally:
        if generators.changed():
            generators.restore()


@contextmanager
def refuse_draws(owner: str, parts: Mapping[str, object]) -> Iterator[None]:
    """Raise TypeError where numbers are drawn inside that a graph would not draw again.

    Those are the draws from global generators and from generators that `parts` hold. For what is
    traced.
    """
    with hidden_draws(parts) as generators:
        yield
        if name := generators.changed():
            raise TypeError(
                f"{owner} draws from {name}, which a compiled step could do only once, for all "
                "steps: draw with primitives.random_uniform(context.rng, ...)"
            )
