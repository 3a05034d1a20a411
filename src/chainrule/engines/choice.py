"""Which engine writes a program down, and what happens where it cannot."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Literal, TypeAlias, get_args

from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.naming import Labels
from chainrule.engines.engine import Program
from chainrule.engines.numpy import program as numpy_program
from chainrule.names import unknown_name

__all__ = [
    "Engine",
    "build_program",
    "build_programs",
    "check_engine",
    "is_worth_compiling",
    "source_for",
]

Engine: TypeAlias = Literal["auto", "numpy", "c"]

_VARIABLE = "CHAINRULE_ENGINE"

_CALL = 0.6e-6
"""Seconds that a call of NumPy costs beside its arithmetic."""

_ELEMENT = 0.4e-9
"""Seconds that an element takes longer where each equation is a pass over memory of its own."""

_COMPILING = 0.15, 2e-3
"""Seconds that a compiler takes to start, and for each equation."""

_TIMES_AS_MUCH = 3.0  # that is saved, at least, before compiling C is worth its wait


def check_engine(engine: str | None) -> Engine:
    """The engine that a user names, or the default; raises ValueError for what is none."""
    given = engine if engine is not None else os.environ.get(_VARIABLE) or "auto"
    for known in get_args(Engine):
        if given == known:
            return known  # type: ignore[no-any-return]
    where = "" if engine is not None else f"the environment variable {_VARIABLE}: "
    raise ValueError(where + unknown_name("engine", given, get_args(Engine)))


def build_program(
    graph: Graph,
    labels: Labels,
    engine: Engine,
    *,
    exact: bool = True,
    n_calls: int = 1,
    strides: Mapping[Variable, tuple[int, ...]] | None = None,
) -> tuple[Program, str]:
    """The program of a graph on an engine, and why it is on another one than was asked for.

    "auto" is C where what it saves in `n_calls` calls is several times the compiling, as counted
    from the graph: never by a clock, so that the same call gives the same bits. The reason is ""
    where the engine is the one asked for.
    """
    reason = ""
    if _is_for_c(graph, engine, n_calls):
        # imported here: a process that stays on NumPy has no use for its forty modules
        from chainrule.engines.c import program as c_program
        from chainrule.engines.c.toolchain import CompileError
        from chainrule.engines.c.types import UnsupportedError

        try:
            return c_program.build(graph, labels, exact=exact, strides=strides), ""
        except UnsupportedError as error:
            reason = f"the C engine has no form of {error}"
        except CompileError as error:
            reason = str(error)
        except Exception as error:  # a fault of ours: NumPy's program is right all the same
            engine, reason = "c", f"{type(error).__name__}: {error} (please report it)"
    program = numpy_program.build(graph, labels, exact=exact, strides=strides)
    return program, reason if engine == "c" else ""


def build_programs(
    traced: Sequence[tuple[Graph, Labels]], engine: Engine, *, n_calls: int = 1
) -> list[tuple[Program, str]]:
    """What `build_program` makes of each of these graphs, not exact, on the engine of the first.

    C compilers for them run at the same time.
    """
    first, *others = traced
    if others and _is_for_c(first[0], engine, n_calls):
        from chainrule.engines.c import program as c_program  # as in build_program

        with suppress(Exception):  # which is told of the one that it is of, below
            return [(program, "") for program in c_program.build_all(traced, exact=False)]
    built = [build_program(*first, engine, exact=False, n_calls=n_calls)]
    for one in others:
        same: Engine = "c" if built[0][0].engine == "c" else "numpy"
        built.append(build_program(*one, same, exact=False))
    return built


def _is_for_c(graph: Graph, engine: Engine, n_calls: int) -> bool:
    return engine == "c" or (engine == "auto" and is_worth_compiling(graph, n_calls))


def source_for(engine: Engine, graph: Graph, labels: Labels, *, exact: bool = True) -> str:
    """The text that an engine prints of a graph, which is not run. Raises UnsupportedError where
    the C engine has no form of something in it.
    """
    if engine == "c":
        from chainrule.engines.c import program as c_program  # as in build_program

        return c_program.text_of([c_program.prepare(graph, labels, exact=exact)])
    return numpy_program.build(graph, labels, exact=exact).source


def is_worth_compiling(graph: Graph, n_calls: int) -> bool:
    """Whether C saves several times as long as its compiler takes, by a count of the work."""
    n_computing = sum(not equation.primitive.is_view for equation in graph.all_equations())
    start, each = _COMPILING
    return n_calls * _saved(graph) > _TIMES_AS_MUCH * (start + each * n_computing)


def _saved(graph: Graph) -> float:
    """The seconds that a call takes less in C."""
    return sum(_saved_of(equation) for equation in graph.equations)


def _saved_of(equation: Equation) -> float:
    if equation.body is not None:
        xs = equation.params["form"].split(equation.args)[1]
        return int(xs[0].shape[0]) * _saved(equation.body)
    if equation.primitive.is_view:
        return 0.0
    return _CALL + _ELEMENT * sum(out.size for out in equation.outs)
