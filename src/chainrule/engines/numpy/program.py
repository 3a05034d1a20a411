"""From a graph to a function that runs: print it, execute the text, keep it for the debugger."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from chainrule.compiler.check import check_graph
from chainrule.compiler.graph import Graph
from chainrule.compiler.naming import Labels
from chainrule.compiler.passes import PASSES, Pass, run_passes
from chainrule.engines.numpy.emit import emit
from chainrule.engines.numpy.lower import expand_fused
from chainrule.engines.numpy.threads import threads_of

__all__ = ["Program", "build_program"]

_numbers = count(1)


@dataclass(frozen=True)
class Program:
    """A compiled function: its graph, its source, and the function that the source defines.

    `bind` gives the arrays of the state to work on, in the order of `graph.state`; None where
    there is no state.
    """

    graph: Graph
    source: str
    function: Callable[..., Any]
    bind: Callable[..., None] | None


def build_program(
    graph: Graph,
    labels: Labels,
    *,
    passes: Sequence[Pass] = PASSES,
    fresh_outputs: bool = True,
    shares_images: bool = False,
) -> Program:
    """Simplify a traced graph, print it, and execute what was printed.

    With `shares_images`, threads share the images of large convolutions (see `threads_of`). The
    text stands in `linecache` under the name in tracebacks, so that debuggers show it.
    """
    simplified = run_passes(graph, passes)
    expanded = check_graph(expand_fused(simplified))
    threads = threads_of(expanded) if shares_images else {}
    emitted = emit(expanded, simplified, labels, fresh_outputs, threads)
    filename = f"<chainrule {labels.function} {next(_numbers)}>"
    lines = emitted.source.splitlines(keepends=True)
    linecache.cache[filename] = (len(emitted.source), None, lines, filename)
    namespace: dict[str, Any] = {"__name__": filename}
    exec(compile(emitted.source, filename, "exec"), namespace)
    constants = [expanded.constants[v] for v in emitted.bound if v in expanded.constants]
    bind = namespace.get("bind")
    if bind is not None and constants:
        bind = _with_constants(bind, constants)
        if not graph.state:
            bind()
            bind = None
    return Program(simplified, emitted.source, namespace[labels.function], bind)


def _with_constants(
    bind: Callable[..., None], constants: list[np.ndarray[Any, Any]]
) -> Callable[..., None]:
    return lambda *state: bind(*state, *constants)
