"""NumPy forms of primitives as text, for those the emitter has no notation of its own for."""

from __future__ import annotations

import ast
import inspect
import symtable
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.compiler.lower import NotEmittableError
from chainrule.compiler.naming import Symbol
from chainrule.engines.numpy.code import NumPy
from chainrule.engines.numpy.plain_source import explanation, plain_source
from chainrule.primitives.primitive import Primitive

__all__ = ["Borrowed"]


class Borrowed:
    """The functions a file needs above its step, each once, what they call before them.

    They come with the names that they have in the library, and so do the globals they use.
    """

    def __init__(self) -> None:
        self.sources: list[str] = []
        self._known: dict[str, Any] = {}  # what each name stands for
        self._symbols: dict[str, Symbol] = {}

    @property
    def symbols(self) -> list[Symbol]:
        """Everything that has a name in the sources."""
        return [self._symbol(name) for name in self._known]

    def call(self, primitive: Primitive) -> NumPy | Symbol:
        """What to call for a primitive's NumPy form."""
        evaluate = primitive.evaluate
        if isinstance(evaluate, np.ufunc):
            if getattr(np, evaluate.__name__, None) is not evaluate:
                raise NotEmittableError(f"{primitive.name} is a ufunc that NumPy does not have")
            return NumPy(evaluate.__name__)
        if evaluate.__name__ == "<lambda>" or not evaluate.__module__.startswith("chainrule."):
            raise NotEmittableError(
                f"{primitive.name} has a NumPy form of the user's own, which the file would not "
                "find"
            )
        function = inspect.unwrap(evaluate)
        if not isinstance(function, types.FunctionType):
            raise NotEmittableError(f"the NumPy form of {primitive.name} has no source")
        return self.function(function)

    def function(self, function: Callable[..., Any]) -> Symbol:
        """What to call for a function of the library that is written in NumPy."""
        assert isinstance(function, types.FunctionType)
        self._take(function)
        return self._symbol(function.__name__)

    def _symbol(self, name: str) -> Symbol:
        return self._symbols.setdefault(name, Symbol(name))

    def _is_new(self, name: str, value: Any) -> bool:
        """Whether a name has not been taken; raises where it stands for something else."""
        if name not in self._known:
            self._known[name] = value
            return True
        known = self._known[name]
        is_plain = isinstance(value, int | float | str | tuple)
        if known is not value and not (is_plain and known == value):
            raise NotEmittableError(
                f"two NumPy forms use the name {name} for different things, which cannot stand in "
                "one file: rename one of them"
            )
        return False

    def _take(self, function: types.FunctionType) -> None:
        if not self._is_new(function.__name__, function):
            return
        try:
            text = plain_source(function)
        except (TypeError, OSError) as error:
            raise NotEmittableError(str(error)) from error
        for name in _global_names(text):
            self._take_name(name, function)
        self.sources.append(text)

    def _take_name(self, name: str, function: types.FunctionType) -> None:
        """What a global name of the function stands for, where it is not NumPy or a builtin."""
        if name == "np" or name not in function.__globals__:
            return
        value: Any = function.__globals__[name]
        if isinstance(value, Primitive):
            value = value.evaluate
        value = inspect.unwrap(value) if callable(value) else value
        if isinstance(value, types.FunctionType) and value.__module__.startswith("chainrule."):
            self._take(value)
        elif self._is_new(name, value):
            self.sources.append(self._definition(name, value, function))

    def _definition(self, name: str, value: Any, function: types.FunctionType) -> str:
        """The line that gives a global name of the function its value."""
        if isinstance(value, types.ModuleType) and name in sys.stdlib_module_names:
            return f"import {name}"
        if isinstance(value, types.FunctionType | type) and _is_importable(value):
            as_name = "" if value.__name__ == name else f" as {name}"
            return f"from {value.__module__} import {value.__name__}{as_name}"
        if isinstance(value, int | float | tuple | str | bool):
            return f"{explanation(name, function.__module__)}{name} = {value!r}"
        if isinstance(value, np.ndarray):
            numbers = np.array2string(value, separator=", ", floatmode="unique", threshold=10_000)
            return f"{name} = np.array({numbers})"
        if isinstance(value, np.ufunc):
            return f"{name} = np.{value.__name__}"
        raise NotEmittableError(f"{function.__name__} uses {name}, a {type(value).__name__}")


def _is_importable(value: Any) -> bool:
    """Whether a function or class comes with NumPy or with Python."""
    return value.__module__.partition(".")[0] in {"numpy", *sys.stdlib_module_names}


def _global_names(text: str) -> list[str]:
    """The names in a function's text that are neither its arguments nor its own variables."""
    whole = symtable.symtable(text, "", "exec")
    found = {symbol.get_name() for symbol in whole.get_symbols() if symbol.is_referenced()}
    pending = whole.get_children()
    while pending:
        table = pending.pop()
        pending += table.get_children()
        found |= {s.get_name() for s in table.get_symbols() if s.is_global()}
    names = (n.id for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Name))
    return [name for name in dict.fromkeys(names) if name in found]
