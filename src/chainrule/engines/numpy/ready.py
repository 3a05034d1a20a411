"""Numbers, ones and zeros that stand ready as arrays: NumPy is slow to make them at each call."""

from __future__ import annotations

import re
from math import prod
from typing import final

import numpy as np

from chainrule.compiler.graph import Variable
from chainrule.engines.numpy.expressions import show_value

__all__ = ["ReadyArrays"]

_NUMBER_NAMES = {0.5: "half", 1: "one", 2: "two", 0: "zero"}
_LONG = 512  # elements from which on a run of memory is computed at full speed


@final
class ReadyArrays:
    """The arrays that a file makes once; `expressions` are how, by their names."""

    def __init__(self) -> None:
        self.expressions: dict[str, str] = {}

    def ones(self, x: Variable) -> str:
        """A vector of ones as long as the first axis of x."""
        assert x.dtype is not None
        return self._keep(f"ones_{x.shape[0]}", f"np.ones({x.shape[0]}", x.dtype)

    def zeros(self, out: Variable) -> str:
        """Zeros to take the maximum with, in the shape of one sample where that is large.

        NumPy compares two arrays several times as fast as an array and a number.
        """
        assert out.dtype is not None
        shape = out.shape[1:] if prod(out.shape[1:]) >= _LONG else out.shape
        sizes = shape if len(shape) > 1 else shape[0]
        name = f"zeros_{'_'.join(map(str, shape))}"
        return self._keep(name, f"np.zeros({sizes}", out.dtype)

    def number(self, value: float, dtype: np.dtype) -> str:
        """A number as an array without axes: to convert one takes 0.3 µs at each call."""
        text = show_value(value)
        call = f"np.array({text}"
        name = _number_name(value, text[:7])
        if not self.expressions.get(name, f"{call},").startswith(f"{call},"):
            name = _number_name(value, text)  # another number begins with the same digits
        return self._keep(name, call, dtype)

    def _keep(self, name: str, call: str, dtype: np.dtype) -> str:
        """Keep what the call makes; of two dtypes the second has its own in the name."""
        expression = f"{call}, np.{dtype.name})"
        if self.expressions.get(name, expression) != expression:
            name = f"{name}_{dtype.name}"
        self.expressions[name] = expression
        return name


def _number_name(number: float, text: str) -> str:
    """A name for a number that stands ready: half, number_0_9, one_over_64, one_minus_0_9."""
    sign = "minus_" if text.startswith("-") else ""
    if abs(number) in _NUMBER_NAMES:
        return sign + _NUMBER_NAMES[abs(number)]
    words = text.replace("1 / ", "one_over_").replace("1 - ", "one_minus_")
    words = re.sub(r"\W", "_", words.removeprefix("-"))
    return sign + (words if words.startswith("one_") else f"number_{words}")
