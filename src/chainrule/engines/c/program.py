"""From a graph to a C library that runs: print it, compile the text, bind the memory."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
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
from chainrule.engines.c.file import print_files
from chainrule.engines.c.many import ManySteps, batch_fields
from chainrule.engines.c.memory import Memory
from chainrule.engines.c.nests import group_nests
from chainrule.engines.c.parts import File, Result
from chainrule.engines.c.toolchain import Library, build_library, finding_compiler
from chainrule.engines.c.types import UnsupportedError
from chainrule.engines.c.write import write_statements
from chainrule.engines.engine import NumPyArray, Program
from chainrule.engines.numpy import program as numpy_program
from chainrule.engines.threads import limit_beside_loops, loop_threads
from chainrule.files import replacing

__all__ = ["CProgram", "Prepared", "build", "build_all", "load", "prepare", "text_of"]


_ONLY_PYTHONS = 2  # what a function returns where a number is one that only Python has


@final
class CProgram(Program):
    """A graph as C source, and the library that a compiler makes of it."""

    engine = "c"

    def __init__(self, prepared: Prepared, source: str, built: Library) -> None:
        file, library = prepared.file, built.functions
        self.compiler, self.flags = str(built.compiler), built.flags
        graph = self.graph = prepared.simplified
        self.source = source
        self._threads = loop_threads() if built.threads and file.has_threads else 1
        self._memory = Memory(file, self._threads)
        self._function = library[file.function]
        self._function.argtypes = [ctypes.c_void_p]
        self._function.restype = ctypes.c_int
        self._address = self._memory.address
        self._results = [self._result(result) for result in file.results]
        self._is_one = len(file.results) == 1
        self._exact = prepared.exact
        # results that are made new for each call: of the user's own, and numbers
        self._is_fresh = self._exact or any(callable(result) for result in self._results)
        self._state: tuple[NumPyArray, ...] = ()
        self._inputs = [self._memory.giver(variable) for variable in graph.inputs]
        generators = [i for i, v in enumerate(graph.inputs) if v.kind == "generator"]
        self._draws = generators[0] if generators else None
        self._many = ManySteps(file, library, self._memory) if batch_fields(file) else None
        is_plain = len(graph.inputs) == 1 and self._is_one and self._draws is None
        is_quick = is_plain and not self._is_fresh
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
        if status := self._function(self._address):
            return self._in_numpy((x,), status)
        return self._results[0]

    def _call(self, *inputs: Any) -> Any:
        """One step."""
        try:
            for give, value in zip(self._inputs, inputs, strict=True):
                give(value)
        except OverflowError:  # an integer of more than 64 bits
            return self._in_numpy(inputs, _ONLY_PYTHONS)
        if self._draws is None:
            status = self._function(self._address)
        else:
            with self._memory.drawing(inputs[self._draws]):
                status = self._function(self._address)
        if status:
            return self._in_numpy(inputs, status)
        results = self._results
        if self._is_fresh:
            results = [_made_new(result) for result in results]
        return results[0] if self._is_one else tuple(results)

    @cached_property
    def _numpys(self) -> Program:
        """The program of the NumPy engine."""
        return numpy_program.build(self.graph, self._memory.file.labels, exact=self._exact)

    def _in_numpy(self, inputs: Sequence[Any], status: int) -> Any:
        """What NumPy raises for these inputs, where C has no words for it; or what it gives, where
        numbers are such as only Python has.
        """
        program = self._numpys
        program.write_state([array.copy() for array in self._state])
        results = program.function(*inputs)
        if status != _ONLY_PYTHONS:
            raise RuntimeError(f"{self.graph} failed in C and not in NumPy: please report it")
        for own, new in zip(self._state, program.read_state(), strict=True):
            own[...] = new
        return results

    def _result(self, result: Result) -> Any:
        """A number, a function that reads one, or the array in which a result will stand."""
        if result.field is None:
            return result.number
        return self._memory.view(result) if result.access else self._memory.reader(result.field)

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
            if status := function(address):
                numbers = (rate,) if give_step is None else (rate, step)
                return self._in_numpy((*inputs, *numbers), status)[0]
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


def _made_new(result: Any) -> Any:
    """A result that belongs to the caller."""
    if callable(result):
        return result()
    return result.copy() if isinstance(result, np.ndarray) else result


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
    with finding_compiler():
        prepared = prepare(graph, labels, exact=exact, passes=passes)
    (program,) = load([prepared])
    return program


def build_all(traced: Sequence[tuple[Graph, Labels]], *, exact: bool = True) -> list[CProgram]:
    """What `build` makes of each of these graphs, whose compilers run at the same time."""
    from concurrent.futures import (
        ThreadPoolExecutor,
    )  # takes milliseconds, and is needed here alone

    with finding_compiler():
        prepared = [prepare(graph, labels, exact=exact) for graph, labels in traced]
    with ThreadPoolExecutor(len(prepared)) as pool:
        return [program for (program,) in pool.map(lambda one: load([one]), prepared)]


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
