"""Numbers, ones and zeros that stand ready as arrays: NumPy is slow to make them at each call."""

from __future__ import annotations

import re
from math import prod
from typing import Any, final

import numpy as np

from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Symbol
from chainrule.engines.numpy.code import Call, Code, Literal, NumPy, show_value

__all__ = ["ReadyArrays"]

_NUMBER_NAMES = {0.5: "half", 1: "one", 2: "two", 0: "zero"}
_LONG = 512  # elements from which on a run of memory is computed at full speed


@final
class ReadyArrays:
    """The arrays that a file makes once: what is called so, and the code that makes it."""

    def __init__(self) -> None:
        self.made: dict[Symbol, Code] = {}
        self._known: dict[Any, Symbol] = {}
        self._wishes: dict[str, tuple[str, np.dtype[Any]]] = {}

    def ones(self, length: int, dtype: np.dtype[Any]) -> Symbol:
        """A vector of ones."""
        return self._keep(f"ones_{length}", "", NumPy("ones"), Literal(length), dtype)

    def zeros(self, out: Variable) -> Symbol:
        """Zeros to take the maximum with, in the shape of one sample where that is large.

        NumPy compares two arrays several times as fast as an array and a number.
        """
        shape = out.shape[1:] if prod(out.shape[1:]) >= _LONG else out.shape
        name = f"zeros_{'_'.join(map(str, shape))}"
        sizes = Literal(shape if len(shape) > 1 else shape[0])
        return self._keep(name, "", NumPy("zeros"), sizes, out.dtype)

    def number(self, value: float, dtype: np.dtype[Any]) -> Symbol:
        """A number as an array without axes: to convert one takes 0.3 µs at each call."""
        text = show_value(value)[0]
        short, long = _number_name(value, text[:7]), _number_name(value, text)
        return self._keep(short, long, NumPy("array"), Literal(value), dtype)

    def _keep(
        self, wish: str, other_wish: str, function: NumPy, value: Literal, dtype: np.dtype[Any]
    ) -> Symbol:
        """The symbol of what the call makes, made now where there is none.

        Another number that begins with the same digits takes the other wish, and of two dtypes the
        second has its own in the name.
        """
        key = (function.name, show_value(value.value)[0], dtype)
        if key not in self._known:
            text, own_dtype = self._wishes.setdefault(wish, key[1:])
            if text != key[1]:
                wish = other_wish
            elif own_dtype != dtype:
                wish = f"{wish}_{dtype.name}"
            symbol = self._known[key] = Symbol(wish)
            self.made[symbol] = Call(function, (value, Literal(dtype)))
        return self._known[key]


def _number_name(number: float, text: str) -> str:
    """A name for a number that stands ready: half, number_0_9, one_over_64, one_minus_0_9."""
    sign = "minus_" if text.startswith("-") else ""
    if abs(number) in _NUMBER_NAMES:
        return sign + _NUMBER_NAMES[abs(number)]
    words = text.replace("1 / ", "one_over_").replace("1 - ", "one_minus_")
    words = re.sub(r"\W", "_", words.removeprefix("-"))
    return sign + (words if words.startswith("one_") else f"number_{words}")
