"""The C engine in tests: many programs in one C file, and how closely they are to follow NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.engines.c import program as c_program
from chainrule.engines.c.program import CProgram, Prepared
from chainrule.engines.c.toolchain import Compiler, find_compiler
from chainrule.engines.c.types import UnsupportedError
from chainrule.engines.engine import Program

__all__ = ["OF_ONE", "TOLERANCE", "LateProgram", "Shared", "assert_close", "needs_compiler"]

TOLERANCE = {"float64": 1e-12, "float32": 1e-4}
"""How far results may be from NumPy's: of each element, and of the largest one of its array.

Sums run in another order, a product and a sum round once, and exp, tanh and their like are within a
few units in the last place: a few hundred such units in all, in the networks of these tests.
"""

OF_ONE = {"float64": 1e-13, "float32": 3e-6}
"""The same for one primitive, with its rules: what is left is a few units in the last place."""

needs_compiler = pytest.mark.skipif(
    not isinstance(find_compiler(), Compiler), reason="needs a C compiler"
)


def assert_close(
    found: Any,
    expected: Any,
    what: str = "",
    computed_in: str = "",
    table: Mapping[str, float] = TOLERANCE,
) -> None:
    """Shape and dtype are equal; so are integers and booleans, and floats to a tolerance.

    It is that of their dtype, or of the one that they were computed in where that was another.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), what
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, err_msg=what)
        return
    tolerance = max(table[expected.dtype.name], table[computed_in or "float64"])
    scale = float(np.max(np.abs(expected[np.isfinite(expected)]), initial=0.0))
    np.testing.assert_allclose(
        found, expected, rtol=tolerance, atol=tolerance * scale, err_msg=what
    )


@dataclass
class Shared:
    """Programs that stand in one C file: they are prepared first, and compiled when one runs."""

    flags: Sequence[str] = ()
    waiting: list[LateProgram] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    count: int = 0
    is_building: bool = False

    def build(self, graph: Any, labels: Any, **options: Any) -> LateProgram:
        """As `engines.c.program.build`, but that the program is compiled with the others."""
        # inputs are copied, however they lie; and what is asked for is worth compiling
        options = {k: v for k, v in options.items() if k not in {"strides", "n_calls"}}
        self.count += 1
        labels = replace(labels, function=f"{labels.function}_{self.count}")
        try:
            prepared = c_program.prepare(
                graph, labels, first_kernel=1 + 1000 * self.count, **options
            )
        except UnsupportedError as error:
            self.refused.append(str(error))
            raise
        late = LateProgram(self, prepared)
        self.waiting.append(late)
        return late

    def build_program(
        self, graph: Any, labels: Any, engine: str, **options: Any
    ) -> tuple[LateProgram, str]:
        """As `engines.choice.build_program`, but without another engine to fall back to."""
        return self.build(graph, labels, **options), ""

    def load(self) -> None:
        """Compile what waits."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        programs = c_program.load([late.prepared for late in waiting], extra=self.flags)
        for late, program in zip(waiting, programs, strict=True):
            late.receive(program)

    @contextmanager
    def only_building(self) -> Iterator[None]:
        """Programs that are called within raise: they are built, and compiled later."""
        self.is_building = True
        try:
            yield
        finally:
            self.is_building = False

    @contextmanager
    def collecting(self) -> Iterator[Shared]:
        """Whatever is built for the C engine within is one of these programs."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(c_program, "build", self.build)
            yield self


class LateProgram(Program):
    """A program that is compiled when it is needed, with all that wait then."""

    engine = "c"

    def __init__(self, shared: Shared, prepared: Prepared) -> None:
        self.graph = prepared.simplified
        self.prepared = prepared
        self._shared = shared
        self._program: CProgram | None = None
        self._state: Sequence[Any] | None = None

    def receive(self, program: CProgram) -> None:
        self._program = program
        if self._state is not None:
            program.write_state(self._state)

    @property
    def program(self) -> CProgram:
        if self._program is None and self._shared.is_building:
            raise RuntimeError("this program is compiled later, with others")
        if self._program is None:
            self._shared.load()
        assert self._program is not None
        return self._program

    @property
    def function(self) -> Callable[..., Any]:  # type: ignore[override]
        return self.program.function

    @property
    def source(self) -> str:  # type: ignore[override]
        return self.program.source

    def run(self, *args: Any) -> int:
        return self.program.run(*args)

    def run_epochs(self, *args: Any) -> Any:
        return self.program.run_epochs(*args)

    def thread_limit(self) -> Any:
        return nullcontext()

    def read_state(self) -> Any:
        return self.program.read_state()

    def write_state(self, arrays: Any) -> None:
        self._state = arrays
        if self._program is not None:
            self._program.write_state(arrays)

    def save_source(self, path: str | Path) -> None:
        self.program.save_source(path)
