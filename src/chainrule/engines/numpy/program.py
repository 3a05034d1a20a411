"""From a graph to a function that runs: print it, execute the text, keep it for the debugger."""

from __future__ import annotations

import linecache
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
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
from chainrule.engines.engine import NumPyArray, Program
from chainrule.engines.numpy.emit import write_statements
from chainrule.engines.numpy.file import print_file
from chainrule.engines.numpy.kernels import kernel_for
from chainrule.engines.numpy.statements import NumPyAbilities
from chainrule.engines.threads import limit_threads, threads_of
from chainrule.files import replacing

__all__ = ["NumPyProgram", "build", "has_faster_forms"]

_numbers = count(1)


@final
class NumPyProgram(Program):
    """A graph as NumPy source, and the function that the source defines."""

    engine = "numpy"

    def __init__(
        self,
        graph: Graph,
        source: str,
        function: Callable[..., Any],
        bind: Callable[..., None] | None,
        constants: Mapping[str, NumPyArray],
        filename: str,
    ) -> None:
        self.graph = graph
        self.source = source
        self.function = function
        self._bind = bind
        self._constants = constants
        self._state: tuple[NumPyArray, ...] = ()
        weakref.finalize(self, linecache.cache.pop, filename, None)

    def thread_limit(self) -> AbstractContextManager[None]:
        return limit_threads(self.graph)

    def read_state(self) -> tuple[NumPyArray, ...]:
        return self._state

    def write_state(self, arrays: Sequence[NumPyArray]) -> None:
        """Work in place on these arrays from now on."""
        self._state = tuple(arrays)
        if self._bind is not None:
            self._bind(*self._state)

    def save_source(self, path: str | Path) -> None:
        path = Path(path)
        with replacing(path) as beside:
            beside.write_text(self.source, encoding="utf-8")
        if self._constants:
            with replacing(path.with_suffix(".npz")) as beside:
                np.savez(beside, **self._constants)  # type: ignore[arg-type]


def has_faster_forms(graph: Graph) -> bool:
    """Whether a program computes something in the graph faster than the plain forms do."""
    shapes = ((e, [v.shape for v in e.variables]) for e in graph.all_equations())
    return any(kernel_for(e.primitive, sizes, e.params) is not None for e, sizes in shapes)


def build(
    graph: Graph,
    labels: Labels,
    *,
    exact: bool = True,
    passes: Sequence[Pass] | None = None,
    strides: Mapping[Variable, tuple[int, ...]] | None = None,
) -> NumPyProgram:
    """Simplify a traced graph, print it, and execute what was printed.

    An `exact` program gives the bits of the function as it was traced, and arrays that belong to
    the caller; without, results round otherwise and stand in memory that the next call overwrites.
    The text stands in `linecache` under the name in tracebacks, so that debuggers show it.
    """
    if passes is None:
        passes = EXACT if exact else TRAINING
    simplified = run_passes(graph, passes)
    expanded = check_graph(expand_fused(simplified))
    symbols, titled = wish_names(expanded, labels)
    plan = make_plan(
        expanded, titled, NumPyAbilities(exact), fresh_results=exact, exact=exact, strides=strides
    )
    file = write_statements(
        plan, simplified, labels, symbols, titled, exact, {} if exact else threads_of(expanded)
    )
    text = print_file(file)
    filename = f"<chainrule {text.function} {next(_numbers)}>"
    lines = text.source.splitlines(keepends=True)
    linecache.cache[filename] = (len(text.source), None, lines, filename)
    constants = {name: file.constants[v] for name, v in text.constants.items()}
    namespace: dict[str, Any] = {"__name__": filename, "constants": constants}
    exec(compile(text.source, filename, "exec"), namespace)
    function, bind = namespace[text.function], namespace.get(text.bind)
    return NumPyProgram(simplified, text.source, function, bind, constants, filename)
