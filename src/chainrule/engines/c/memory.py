"""The memory that a step in C works on: arrays of its own, and those of whoever calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, final

import numpy as np

from chainrule.compiler.graph import Variable
from chainrule.engines.c.blas import find_blas
from chainrule.engines.c.epochs import generator_address
from chainrule.engines.c.parts import Field, File, Result
from chainrule.engines.c.sharing import PARTS, team_of
from chainrule.engines.engine import NumPyArray

__all__ = ["Memory"]


@final
class Memory:
    """The structure that a step works on: a table of addresses and numbers, of 8 bytes each."""

    def __init__(self, file: File, threads: int = 1) -> None:
        self.file = file
        self.table = np.zeros(max(1, len(file.fields)), np.uint64)
        self.address = self.table.ctypes.data
        self.arrays: dict[str, NumPyArray] = {}
        numbers = {"threads": team_of(threads), "parts": PARTS * threads if threads > 1 else 1}
        self._slots = {own.name: slot for slot, own in enumerate(file.fields)}
        self._fields = {own.variable: own for own in file.fields if own.variable is not None}
        for own in file.fields:
            if own.for_each_part:
                size = own.shape[0] + numbers["parts"] * own.for_each_part
                self._hold(own, _aligned((size,), own.dtype))
            elif own.kind in {"work", "input"}:
                self._hold(own, _aligned(own.shape, own.dtype))
            elif own.kind == "constant":
                assert own.constant is not None
                self._hold(own, np.ascontiguousarray(own.constant).reshape(own.shape))
            elif own.kind in numbers:
                self.table[self._slots[own.name]] = numbers[own.kind]
            elif own.kind == "product":
                self.table[self._slots[own.name]] = _product_address(own.dtype)
        self._inputs = [own for own in file.fields if own.kind == "input"]
        self._generator = next((o for o in file.fields if o.kind == "generator"), None)

    def _hold(self, own: Field, array: NumPyArray) -> None:
        self.arrays[own.name] = array
        self.table[self._slots[own.name]] = array.ctypes.data

    def restore_inputs(self) -> None:
        """Let the inputs stand in our own arrays again, after a call that pointed at others."""
        for own in self._inputs:
            self.table[self._slots[own.name]] = self.arrays[own.name].ctypes.data

    @contextmanager
    def drawing(self, rng: np.random.Generator) -> Iterator[None]:
        """Let the step draw from a generator that nobody else draws from meanwhile."""
        if self._generator is None:
            yield
            return
        self.table[self._slots[self._generator.name]] = generator_address(rng)
        with rng.bit_generator.lock:
            yield

    def bind(self, variable: Variable, array: NumPyArray) -> None:
        """Let the state stand in this array, which must be in C order."""
        own = self._fields.get(variable)
        if own is not None:
            lies_well = array.flags.c_contiguous and array.flags.aligned
            if not lies_well or (array.dtype, array.shape) != (own.dtype, own.shape):
                raise ValueError(
                    f"the state {own.name} is {array.dtype} {array.shape}: the program takes "
                    f"{own.dtype} {own.shape}, aligned and in C order"
                )
            self._hold(own, array)

    def giver(self, variable: Variable) -> Callable[[Any], Any]:
        """A function that hands an input to the step."""
        own = self._fields.get(variable)
        if own is None:
            return lambda value: None
        slot = self._slots[own.name]
        if own.kind == "number":
            numbers = self.table.view(np.float64 if own.dtype.kind == "f" else np.int64)

            def give_number(value: Any) -> None:
                numbers[slot] = value

            return give_number
        if own.kind == "generator":
            return lambda value: None  # `drawing` hands it over
        target, shape, dtype = self.arrays[own.name], own.shape, own.dtype

        def give_array(value: Any) -> None:
            array = value if type(value) is np.ndarray else np.asarray(value)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"{own.name} is {array.dtype} {array.shape}: the compiled step takes "
                    f"{dtype} {shape}"
                )
            target[...] = array

        return give_array

    def reader(self, own: Field) -> Callable[[], float | int]:
        """A function that gives a number which the step has written down."""
        numbers = self.table.view(np.float64 if own.dtype.kind == "f" else np.int64)
        return partial(numbers.item, self._slots[own.name])

    def view(self, result: Result) -> NumPyArray | None:
        """The elements of a result, in the memory that they stand in; None while there is none."""
        access, own = result.access, result.field
        assert access is not None
        assert own is not None
        array = self.arrays.get(own.name)
        if array is None:
            return None
        item = access.dtype.itemsize
        return np.lib.stride_tricks.as_strided(
            array.reshape(-1)[access.start :] if access.size else array,
            access.shape,
            tuple(step * item for step in access.strides),
        )


def _product_address(dtype: np.dtype[Any]) -> int:
    """Where BLAS's matrix product for this dtype is; 0 where there is none that C can call."""
    blas = find_blas()
    if blas is None or blas.convention != "cblas":
        return 0
    return blas.functions["sgemm" if dtype.itemsize == 4 else "dgemm"]


def _aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NumPyArray:
    """An empty array that begins at a cache line."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
