"""Thousands of random programs on the C engine, beside eager, many in one C file.

Floats are compared by a tolerance, integers and booleans exactly. Where that fails, the program is
run eagerly again with every value of it moved by a few units in its last place, as other orders of
sums and other roundings move it: what such a move changes as much is no fault of the engine's.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import programs
import pytest
from c_engine import Shared, assert_close, needs_compiler
from programs import Failure, Program, difference, show
from test_plan import graph_of, random_step

import chainrule as cr
from chainrule import tree
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.infer import PYTHON_OPERATORS
from chainrule.compiler.naming import Labels
from chainrule.compiler.recording import is_static
from chainrule.compiler.trace import trace
from chainrule.engines import compiled
from chainrule.engines.c.types import UnsupportedError
from chainrule.engines.compiled import CompiledFunction

N_PROGRAMS, N_SLOW, PER_FILE = 300, 20_000, 100
N_MOVES = 24
"""How often a program is run with its values moved; a jump that depends on one bit needs some."""

pytestmark = needs_compiler


@dataclass
class Outcome:
    """What became of many programs."""

    failures: list[tuple[Program, Failure]] = field(default_factory=list)
    fallbacks: Counter[str] = field(default_factory=Counter)
    n_compared: int = 0
    n_ill: int = 0  # explained by what a rounding does to them


def run(numbers: range, flags: tuple[str, ...] = ("-Og",)) -> Outcome:
    """These programs, all in one file."""
    outcome, shared = Outcome(), Shared(flags)
    waiting = []
    with quiet(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "build_program", shared.build_program)
        patch.setattr(programs, "DTYPES", tuple(d.replace("f2", "f4") for d in programs.DTYPES))
        patch.setattr(programs, "SCALARS", tuple(s for s in programs.SCALARS if "16" not in s))
        for number in numbers:
            program = programs.make(number)
            ours = cr.compile(program.function())
            with shared.only_building():
                reason = built(ours, program)
            if reason:
                outcome.fallbacks[reason] += 1
            else:
                waiting.append((program, ours))
        shared.load()
        for program, ours in waiting:
            failure, is_ill = compare(program, ours)
            outcome.n_compared += 1
            outcome.n_ill += is_ill
            if failure is not None:
                outcome.failures.append((program, failure))
    return outcome


def built(ours: CompiledFunction, program: Program) -> str:
    """Have a program built; why it cannot be on this engine, "" where it can."""
    try:
        ours(*copied(program.arguments))
    except UnsupportedError as error:
        return str(error)
    except Exception:  # of the program's own, or that it waits: what is raised is compared later
        return ""
    return ""


def quiet() -> Any:
    stack = warnings.catch_warnings(action="ignore")
    return _Both(stack, np.errstate(all="ignore"))


class _Both:
    def __init__(self, *contexts: Any) -> None:
        self.contexts = contexts

    def __enter__(self) -> None:
        for context in self.contexts:
            context.__enter__()

    def __exit__(self, *error: object) -> None:
        for context in reversed(self.contexts):
            context.__exit__(*error)


def compare(program: Program, ours: CompiledFunction) -> tuple[Failure | None, bool]:
    """How a compiled program differs from the function; and whether a rounding explains it."""
    function = program.function()
    kept: list[tuple[Any, Any]] = []
    is_ill = False
    for call, args in enumerate((program.arguments, program.others, program.arguments)):
        expected, error = attempt(function, copied(args))
        given = copied(args)
        found, our_error = attempt(ours, given)
        if error is None and our_error is not None and "boolean subtract" in str(our_error):
            return None, False  # True - True of Python's own booleans is 0, of arrays is refused
        if difference(args, given) is not None:
            return Failure("an argument is written to"), False
        if (error is None) != (our_error is None):
            kind = "only eager raises" if our_error is None else type(our_error).__name__
            return Failure(kind, repr(error or our_error)), False
        if error is not None:
            continue
        how = differs(expected, found, computed_in(program))
        if how is not None:
            graph = ours._require_version().prepared.expanded
            if not is_explained(graph, args, expected, found, computed_in(program)):
                return replace(how, kind=how.kind if not call else f"{how.kind}, later"), False
            is_ill = True
        for earlier, copy in kept:
            if difference(copy, earlier) is not None:
                return Failure("an earlier result is overwritten", f"by call {call + 1}"), False
        kept.append((found, copied(found)))
    return None, is_ill


def attempt(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Exception | None]:
    try:
        return function(*args), None
    except Exception as error:
        return None, error


def copied(values: Any) -> Any:
    return tree.map_tree(lambda x: x.copy() if isinstance(x, np.ndarray) else x, values)


def computed_in(program: Program) -> str:
    """The dtype of a program's least precise floats."""
    return "float32" if re.search(r"'f4'|float32", show(program)) else "float64"


def differs(expected: Any, found: Any, dtype: str) -> Failure | None:
    """How two trees differ by more than the tolerance of their dtypes."""
    how = difference(expected, found)
    if how is None or how.startswith(("sign of zero", "rounding")):
        return None
    if how.startswith("value"):
        for one, other in zip(tree.flatten(expected), tree.flatten(found), strict=True):
            try:
                assert_close(other, one, computed_in=dtype)
            except AssertionError:
                return Failure("value", how)
        return None
    return Failure(how.split(":")[0], how)


# What a rounding does


def is_explained(graph: Graph, args: tuple[Any, ...], expected: Any, found: Any, to: str) -> bool:
    """Whether every element that is wrong is one that moves as far when values are moved."""
    wanted = [np.asarray(leaf) for leaf in arrays_of(expected)]
    got = [np.asarray(leaf) for leaf in arrays_of(found)]
    if [(a.shape, a.dtype) for a in wanted] != [(a.shape, a.dtype) for a in got]:
        return False
    left = [~same(one, other, to) for one, other in zip(wanted, got, strict=True)]
    reach = [np.zeros(a.shape) for a in wanted]
    inputs = [leaf for leaf in tree.flatten(args) if not is_static(leaf)]
    for draw in range(N_MOVES):
        moved = moved_results(graph, inputs, draw)
        for i, leaf in enumerate(moved):
            if wanted[i].dtype.kind != "f":
                left[i] &= leaf == wanted[i]
                continue
            is_odd = (np.isfinite(leaf) != np.isfinite(wanted[i])) | (
                np.isinf(leaf) & (leaf != wanted[i])
            )
            reach[i] = np.fmax(reach[i], np.abs(leaf - wanted[i]))
            left[i] &= ~(is_odd | (np.abs(got[i] - wanted[i]) <= 8 * reach[i]))
        if not any(mask.any() for mask in left):
            return True
    return False


def arrays_of(results: Any) -> list[Any]:
    return [leaf for leaf in tree.flatten(results) if not is_static(leaf)]


def same(wanted: np.ndarray, got: np.ndarray, to: str) -> np.ndarray:
    """Which elements agree to the tolerance of a dtype."""
    agrees = np.empty(wanted.shape, bool)
    for place in np.ndindex(wanted.shape):
        agrees[place] = differs(wanted[place], got[place], to) is None
    return agrees


def moved_results(graph: Graph, inputs: Sequence[Any], draw: int) -> list[np.ndarray]:
    """What a graph gives where its inputs, and what each equation makes, are moved a little."""
    rng = np.random.default_rng(draw)
    values: dict[Any, Any] = dict(zip(graph.inputs, inputs, strict=True)) | dict(graph.constants)
    values = {variable: moved(value, rng) for variable, value in values.items()}
    for equation in graph.equations:
        args = [values[a] if isinstance(a, Variable) else a for a in equation.args]
        if equation.out.is_number:
            made = PYTHON_OPERATORS[equation.name](*args)
        else:
            made = equation.primitive.evaluate(*args, **equation.params)
        for out, value in zip(equation.outs, [made] if len(equation.outs) == 1 else made):
            values[out] = value if equation.primitive.is_view else moved(value, rng)
    return [np.asarray(values[a] if isinstance(a, Variable) else a) for a in graph.outputs]


def moved(value: Any, rng: np.random.Generator) -> Any:
    """Floats a few units in the last place away, or zeros with another sign, or as they are."""
    is_float = isinstance(value, float) or getattr(value, "dtype", np.dtype(int)).kind == "f"
    choice = rng.integers(4)
    if not is_float or choice == 0:
        return value
    if choice == 1:
        return np.where(value == 0, -value, value).astype(np.result_type(value))
    eps = np.finfo(np.result_type(value)).eps
    factor = 1 + eps * rng.integers(-2, 3, np.shape(value))
    return (
        (value * factor).astype(np.result_type(value))
        if np.shape(value)
        else value * type(value)(factor)
    )


def report(outcome: Outcome) -> str:
    kinds = Counter(failure.kind for _, failure in outcome.failures)
    lines = [f"{len(outcome.failures)} programs differ: {dict(kinds)}"]
    lines += ["\n" + show(program, failure) for program, failure in outcome.failures[:8]]
    return "\n".join(lines)


FALLS_BACK = r"arrays of (float16|object)|argsort|clip of the number"
"""What the C engine has no form of: float16, into which NumPy makes int8 in sqrt and its like,
sorting, and bounds that no number of the dtype is.
"""


def check_programs(numbers: range, flags: tuple[str, ...]) -> None:
    outcome = run(numbers, flags)
    if outcome.failures:
        pytest.fail(report(outcome), pytrace=False)
    unexpected = [reason for reason in outcome.fallbacks if not re.fullmatch(FALLS_BACK, reason)]
    assert not unexpected
    share = outcome.fallbacks.total() / len(numbers)
    assert share < 0.2, f"{share:.0%} of the programs fall back: {outcome.fallbacks}"
    assert outcome.n_ill <= 0.03 * len(numbers)


@pytest.mark.parametrize("chunk", range(N_PROGRAMS // PER_FILE))
def test_a_random_program_is_the_eager_one(chunk):
    check_programs(range(chunk * PER_FILE, (chunk + 1) * PER_FILE), ("-Og",))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(N_SLOW // 500))
def test_many_more_programs(chunk):
    first = 1_000_000 * (100 + chunk)
    check_programs(range(first, first + 500), () if chunk % 4 else ("-Og",))


def check_steps(numbers: range, flags: tuple[str, ...]) -> None:
    """Functions of two states and an input, which hand on, swap and view states: three steps."""
    shared = Shared(flags)
    made = []
    for number in numbers:
        graph = graph_of(random_step(number), (3, 3), state=[(3, 3), (3, 3)])
        program = shared.build(graph, Labels("step"), exact=bool(number % 2))
        made.append((number, graph, program))
    shared.load()
    for number, graph, program in made:
        step, rng = random_step(number), np.random.default_rng(number)
        state = tuple(rng.normal(size=(2, 3, 3)))
        program.write_state([array.copy() for array in state])
        for _ in range(3):
            x = rng.normal(size=(3, 3))
            # states grow, and the sine of what is large is as uncertain as that
            tolerance = 1e-9 * max(1.0, float(np.max(np.abs(state))))
            if any(e.name == "astype" for e in graph.equations):
                tolerance *= 1e4
            with np.errstate(all="ignore"):
                expected, state = step(state, x.copy())
            state = tuple(np.array(array, order="C") for array in state)
            found = (*program(x), *program.read_state())
            for ours, wanted in zip(found, (*expected, *state), strict=True):
                np.testing.assert_allclose(
                    ours, wanted, rtol=tolerance, atol=tolerance, err_msg=f"step {number}"
                )


def test_a_random_step_is_the_eager_one():
    check_steps(range(100), ("-Og",))


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(5))
def test_many_more_steps(chunk):
    check_steps(range(1_000 + 300 * chunk, 1_300 + 300 * chunk), ())


# The tool itself


@pytest.mark.parametrize("size", [1e-2, 1e-6])
def test_a_fault_is_no_rounding(size):
    x = np.linspace(1.0, 2.0, 5)
    graph, _ = trace(lambda x: np.exp(x) * 2, [Variable((5,), x.dtype, "x")])
    wanted = np.exp(x) * 2
    assert differs(wanted, wanted * (1 + 1e-14), "float64") is None
    wrong = wanted * (1 + size)
    assert differs(wanted, wrong, "float64") is not None
    assert not is_explained(graph, (x,), wanted, wrong, "float64")


def test_a_jump_and_a_difference_of_near_numbers_are_explained():
    x = np.array([1.0, 3.0])
    for function, wrong in (
        (lambda x: np.floor(x * (1 / 3) * 3), np.array([1.0, 2.0])),
        (lambda x: x * (1 / 3) * 3 - x, np.array([4e-16, -4e-16])),
        (lambda x: x * (1 / 3) * 3 == x, np.array([False, True])),
    ):
        graph, _ = trace(function, [Variable((2,), x.dtype, "x")])
        wanted = function(x)
        assert is_explained(graph, (x,), wanted, wrong, "float64")
