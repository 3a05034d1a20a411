"""From a graph to a C library that runs: print it, compile the text, bind the memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from chainrule.compiler.check import check_graph
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.lower import expand_fused
from chainrule.compiler.naming import Labels, wish_names
from chainrule.compiler.passes import EXACT, Pass, run_passes
from chainrule.compiler.plan import make_plan
from chainrule.compiler.scales import TRAINING
from chainrule.engines.batches import Batches
from chainrule.engines.c.abilities import CAbilities
from chainrule.engines.c.blas import find_blas
from chainrule.engines.c.epochs import generator_address
from chainrule.engines.c.file import print_files
from chainrule.engines.c.many import ManySteps, batch_fields
from chainrule.engines.c.nests import group_nests
from chainrule.engines.c.parts import Field, File, Result
from chainrule.engines.c.sharing import PARTS, team_of
from chainrule.engines.c.toolchain import Library, build_library
from chainrule.engines.c.types import UnsupportedError
from chainrule.engines.c.write import write_statements
from chainrule.engines.engine import NumPyArray, Program
from chainrule.engines.numpy import program as numpy_program
from chainrule.engines.threads import limit_beside_loops, loop_threads
from chainrule.files import replacing

__all__ = ["CProgram", "Memory", "Prepared", "build", "load", "prepare", "text_of"]


@final
class CProgram(Program):
    """A graph as C source, and the library that a compiler makes of it."""

    engine = "c"

    def __init__(self, prepared: Prepared, source: str, built: Library) -> None:
        file, library = prepared.file, built.functions
        self.compiler, self.flags = str(built.compiler), built.flags
        graph = self.graph = prepared.simplified
        self.source = source
        self._threads = loop_threads(graph) if built.threads and file.has_threads else 1
        self._memory = Memory(file, self._threads)
        self._function = library[file.function]
        self._function.argtypes = [ctypes.c_void_p]
        self._function.restype = ctypes.c_int
        self._address = self._memory.address
        self._results = [self._result(result) for result in file.results]
        self._is_one = len(file.results) == 1
        self._exact = prepared.exact
        self._state: tuple[NumPyArray, ...] = ()
        self._inputs = [self._memory.giver(variable) for variable in graph.inputs]
        generators = [i for i, v in enumerate(graph.inputs) if v.kind == "generator"]
        self._draws = generators[0] if generators else None
        self._many = ManySteps(file, library, self._memory) if batch_fields(file) else None
        is_plain = len(graph.inputs) == 1 and self._is_one and self._draws is None
        is_quick = is_plain and not self._exact
        self.function: Callable[..., Any] = self._call_quickly if is_quick else self._call
        self._called = self.function
        if graph.state:
            self.function = self._refuse

    def _refuse(self, *inputs: Any) -> Any:
        """What a call does before there is a state: C would read from nowhere."""
        names = ", ".join(v.name or "value" for v in self.graph.state)
        raise ValueError(f"the program has no state yet: give it {names} with write_state")

    def _call_quickly(self, x: Any) -> Any:
        """One step from one array to another, as a prediction is: what it costs beside is felt."""
        self._inputs[0](x)
        if self._function(self._address):
            self._raise((x,))
        return self._results[0]

    def _call(self, *inputs: Any) -> Any:
        """One step."""
        for give, value in zip(self._inputs, inputs, strict=True):
            give(value)
        if self._draws is None:
            status = self._function(self._address)
        else:
            with self._memory.drawing(inputs[self._draws]):
                status = self._function(self._address)
        if status:
            self._raise(inputs)
        results = self._results
        if self._exact:
            results = [r.copy() if isinstance(r, np.ndarray) else r for r in results]
        return results[0] if self._is_one else tuple(results)

    def _raise(self, inputs: Sequence[Any]) -> None:
        """Raise what NumPy raises for these inputs, by the program of the NumPy engine."""
        program = numpy_program.build(self.graph, self._memory.file.labels, exact=self._exact)
        program.write_state([array.copy() for array in self._state])
        program(*inputs)
        raise RuntimeError(f"{self.graph} failed in C and not in NumPy: please report it")

    def _result(self, result: Result) -> Any:
        """A number, or the array in which a result stands after each call."""
        if result.access is None or result.field is None:
            return result.number
        return self._memory.view(result)

    def take_in_place(self) -> tuple[list[NumPyArray], Callable[[float, int], Any]] | None:
        """The memory of the inputs, and the call of the C function."""
        found, loss = batch_fields(self._memory.file), self._results[0]
        if found is None or self._draws is not None:
            return None
        arrays, rate, step = found
        held = self._memory.arrays
        give_rate = self._memory.giver(rate.variable) if rate.variable is not None else None
        give_step = self._memory.giver(step.variable) if step and step.variable else None
        function, address, inputs = self._function, self._address, [held[a.name] for a in arrays]
        assert give_rate is not None

        def take(rate: float, step: int) -> Any:
            give_rate(rate)
            if give_step is not None:
                give_step(step)
            if function(address):
                self._raise((*inputs, rate) if give_step is None else (*inputs, rate, step))
            return loss

        return inputs, take

    def run(self, batches: Batches, rng: Any, until: float, interrupted: Sequence[bool]) -> int:
        """Take batches inside C, for as long as nobody needs to look."""
        if self._many is None or not self._many.fits(batches):
            return super().run(batches, rng, until, interrupted)
        with self._memory.drawing(rng):
            taken = self._many.run(batches, until, interrupted)
        # a step that fails is taken once more by itself, which says why
        return taken or super().run(batches, rng, until, interrupted)

    def run_epochs(
        self,
        batches: Batches,
        n_epochs: int,
        order_rng: np.random.Generator | None,
        rng: Any,
    ) -> NumPyArray | None:
        """Whole epochs inside C."""
        if self._many is None or not self._many.fits(batches):
            return None
        with (
            self._memory.drawing(rng),
            nullcontext() if order_rng is None else order_rng.bit_generator.lock,
        ):
            return self._many.run_epochs(batches, n_epochs, order_rng)

    def thread_limit(self) -> AbstractContextManager[None]:
        return limit_beside_loops(self.graph, self._threads)

    def read_state(self) -> tuple[NumPyArray, ...]:
        return self._state

    def write_state(self, arrays: Sequence[NumPyArray]) -> None:
        """Work in place on these arrays from now on."""
        self._state, self.function = tuple(arrays), self._called
        for variable, array in zip(self.graph.state, arrays, strict=True):
            self._memory.bind(variable, array)
        self._results = [self._result(result) for result in self._memory.file.results]

    def save_source(self, path: str | Path) -> None:
        with replacing(Path(path)) as beside:
            beside.write_text(self.source, encoding="utf-8")


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


@final
@dataclass(frozen=True)
class Prepared:
    """A program before it is compiled: the graph as it was simplified, and taken apart, and what
    its file is printed from.
    """

    simplified: Graph
    expanded: Graph
    file: File
    exact: bool


def prepare(
    graph: Graph,
    labels: Labels,
    *,
    exact: bool = True,
    passes: Sequence[Pass] | None = None,
    first_kernel: int = 1,
) -> Prepared:
    """Simplify a traced graph, plan it and write its statements.

    Raises UnsupportedError where a primitive or a dtype has no form in C.
    """
    if passes is None:
        passes = EXACT if exact else TRAINING
    if sum(variable.kind == "generator" for variable in graph.inputs) > 1:
        raise UnsupportedError("several random generators in one function")
    simplified = run_passes(graph, passes)
    expanded = check_graph(expand_fused(simplified))
    symbols, titled = wish_names(expanded, labels)
    plan = make_plan(
        expanded, titled, CAbilities(), fresh_results=False, exact=False, group=group_nests
    )
    file = write_statements(plan, simplified, labels, symbols, titled, first_kernel)
    return Prepared(simplified, expanded, file, exact)


def build(
    graph: Graph,
    labels: Labels,
    *,
    exact: bool = True,
    passes: Sequence[Pass] | None = None,
    strides: Mapping[Variable, tuple[int, ...]] | None = None,
) -> CProgram:
    """Simplify a traced graph, print it as C, compile it and load it.

    Raises UnsupportedError where a primitive or a dtype has no form in C, and CompileError where
    there is no compiler that works. Results round otherwise than NumPy's in the last digits; those
    of an `exact` program belong to the caller. Inputs may lie in any order (`strides`).
    """
    (program,) = load([prepare(graph, labels, exact=exact, passes=passes)])
    return program


def text_of(programs: Sequence[Prepared]) -> str:
    """The C file of one program, or of several."""
    return print_files([prepared.file for prepared in programs])


def load(programs: Sequence[Prepared], *, extra: Sequence[str] = ()) -> list[CProgram]:
    """Compile programs as one file and load it; their functions' names must differ.

    `extra` are flags for tests, after the usual ones. Raises CompileError where there is no
    compiler that works.
    """
    source = text_of(programs)
    blas = find_blas()
    bits = blas.integer_bits if blas is not None else 64
    defined = f"#define LIBRARY\n#define BLAS_INTEGER int{bits}_t\n"
    threads = any(prepared.file.has_threads for prepared in programs)
    library = build_library(defined + source, threads=threads, extra=extra)
    return [CProgram(prepared, source, library) for prepared in programs]
