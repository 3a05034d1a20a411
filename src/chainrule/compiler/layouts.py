"""In which order the elements of a value lie in memory: a fact that the plan goes by.

NumPy lays a result out as its arguments lie, and it adds up and vectorises in that order. So a
program that is to give the same bits keeps to it, and what shares memory with what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.compiler.graph import Equation, Graph, Variable

__all__ = ["Layouts"]

Strides = tuple[int, ...]


class Layouts:
    """Arrays with the shape, dtype and strides of the values of a graph.

    They hold zeros, and as nobody writes to them, all stand in the same memory.

    `given` are the strides of inputs that do not lie in C order. Without `follow`, results are
    taken to lie in C order, whatever their arguments do.
    """

    def __init__(self, graph: Graph, given: Mapping[Variable, Strides], follow: bool) -> None:
        self.follow = follow
        self.views: dict[Variable, Equation] = {}
        self._arrays: dict[Variable, np.ndarray[Any, Any]] = {}
        self._zeros = np.zeros(0, np.uint8)
        for variable in (*graph.state, *graph.inputs):
            if variable.is_array:
                self._arrays[variable] = self._array(variable, given.get(variable))
        self._arrays.update(graph.constants)
        for equation in graph.equations:
            for out in equation.outs:
                if out.is_array:
                    self._arrays[out] = self._result(equation, out)

    def array(self, variable: Variable) -> np.ndarray[Any, Any]:
        """An array that lies as the variable does."""
        return self._arrays[variable]

    def is_plain(self, variable: Variable) -> bool:
        """Whether the value lies in C order, in one piece."""
        return bool(self._arrays[variable].flags.c_contiguous)

    def _result(self, equation: Equation, out: Variable) -> np.ndarray[Any, Any]:
        arrays = [self._arrays[v] for v in equation.variables if v.is_array]
        primitive = equation.primitive
        if primitive.is_view and len(equation.args) == 1 and len(arrays) == 1 and out.size:
            array: np.ndarray[Any, Any] = np.asarray(
                primitive.evaluate(arrays[0], **equation.params)
            )
            if np.may_share_memory(array, arrays[0]):
                self.views[out] = equation
                return array
            return array if self.follow else self._array(out)
        if equation.body is not None:  # a loop reads copies, and stacks what it gives
            return self._array(out)
        is_plain = all(a.flags.c_contiguous for a in arrays) and not _gathers(equation)
        if is_plain or not self.follow:
            return self._array(out)
        if primitive.elementwise:
            return self._as_numpy_allocates(arrays, out)
        return self._as_computed(equation, out)

    def _as_computed(self, equation: Equation, out: Variable) -> np.ndarray[Any, Any]:
        """What the primitive makes of arguments that lie so."""
        args = [
            self._arrays[a] if isinstance(a, Variable) and a.is_array else _plain(a)
            for a in equation.args
        ]
        if equation.primitive.is_random or any(a is None for a in args):
            return self._array(out)
        with np.errstate(all="ignore"):
            try:
                made = equation.primitive.evaluate(*args, **equation.params)
            except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
                return self._array(
                    out
                )  # values decide whether it works: LAPACK's results are plain
        return np.asarray(made)

    def _array(self, variable: Variable, strides: Strides | None = None) -> np.ndarray[Any, Any]:
        """Zeros in C order or with these strides."""
        steps = [
            stride * max(0, size - 1)
            for stride, size in zip(strides or (), variable.shape, strict=strides is not None)
        ]
        n_bytes = variable.dtype.itemsize
        n_bytes = n_bytes * variable.size if strides is None else n_bytes + sum(map(abs, steps))
        if n_bytes > self._zeros.size:
            self._zeros = np.zeros(n_bytes, np.uint8)
        first = -sum(step for step in steps if step < 0)
        return np.ndarray(variable.shape, variable.dtype, self._zeros, first, strides)

    def _as_numpy_allocates(
        self, arrays: list[np.ndarray[Any, Any]], out: Variable
    ) -> np.ndarray[Any, Any]:
        """A new array for the result of an elementwise function of these."""
        flags = [*([["readonly"]] * len(arrays)), ["writeonly", "allocate"]]
        dtypes = [*(a.dtype for a in arrays), out.dtype]
        iterator = np.nditer([*arrays, None], ["zerosize_ok", "refs_ok"], flags, dtypes)  # type: ignore[arg-type]
        array = iterator.operands[-1]
        array.fill(0)
        return array if array.shape == out.shape else self._array(out)


def _gathers(equation: Equation) -> bool:
    """Whether this picks elements by arrays of indices, whose result NumPy lays out its own way."""
    return equation.name in {"index", "take_along_axis", "einsum"}


def _plain(atom: Any) -> Any:
    if not isinstance(atom, Variable):
        return atom
    return (1 if atom.dtype.kind == "i" else 1.0) if atom.is_number else None
