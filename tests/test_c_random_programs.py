"""Thousands of random programs on the C engine, beside eager, many in one C file.

Floats are compared by a tolerance, integers and booleans exactly. Where that fails, the program is
run eagerly again with every value of it moved by a few units in its last place, as other orders of
sums and other roundings move it: what such a move changes as much is no fault of the engine's.
"""

from __future__ import annotations

import random
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import programs
import pytest
from c_engine import Shared, assert_close, needs_compiler
from programs import NAMESPACE, Failure, Instruction, Program, difference, show

import chainrule as cr
from chainrule import tree
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


def run(numbers: range, flags: tuple[str, ...] = ("-O1",)) -> Outcome:
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


def compare(program: Program, ours: Callable[..., Any]) -> tuple[Failure | None, bool]:
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
            if not is_explained(program, args, expected, found):
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


def is_explained(program: Program, args: tuple[Any, ...], expected: Any, found: Any) -> bool:
    """Whether every element that is wrong is one that moves as far when values are moved."""
    wanted = [np.asarray(leaf) for leaf in tree.flatten(expected)]
    got = [np.asarray(leaf) for leaf in tree.flatten(found)]
    if [(a.shape, a.dtype) for a in wanted] != [(a.shape, a.dtype) for a in got]:
        return False
    left = [~same(one, other, computed_in(program)) for one, other in zip(wanted, got, strict=True)]
    reach = [np.zeros(a.shape) for a in wanted]
    for draw in range(N_MOVES):
        moved, error = attempt(moved_function(program, draw), copied(args))
        if error is not None:
            continue
        for i, leaf in enumerate(tree.flatten(moved)):
            leaf = np.asarray(leaf)
            if leaf.shape != wanted[i].shape:
                continue
            if wanted[i].dtype.kind == "f":
                far = np.abs(leaf - wanted[i])
                reach[i] = np.fmax(reach[i], far)
                is_odd = np.isfinite(leaf) != np.isfinite(wanted[i])
                is_odd |= np.isinf(leaf) & (leaf != wanted[i])
                is_near = np.abs(got[i] - wanted[i]) <= 20 * reach[i]
                left[i] &= ~(is_odd | is_near)
            else:
                left[i] &= leaf == wanted[i]
        if not any(mask.any() for mask in left):
            return True
    return False


def same(wanted: np.ndarray, got: np.ndarray, dtype: str) -> np.ndarray:
    """Which elements agree to the tolerance of their dtype."""
    result = np.empty(wanted.shape, bool)
    for place in np.ndindex(wanted.shape):
        try:
            assert_close(got[place], wanted[place], computed_in=dtype)
            result[place] = True
        except AssertionError:
            result[place] = False
    return result


def moved_function(program: Program, draw: int) -> Callable[..., Any]:
    """The program with its arguments, and what every line makes, moved in the last places."""
    lines: list[Instruction] = [Instruction(name, f"moved({name})") for name, _ in program.leaves]
    for line in program.lines:
        lines.append(line)
        if line.target:
            lines.append(Instruction(line.target, f"moved({line.target})"))
    rng = random.Random(draw)

    def moved(value: Any) -> Any:
        if isinstance(value, bool | int) or value.dtype.kind != "f" if hasattr(value, "dtype") else (
            not isinstance(value, float)
        ):
            return value
        kind = rng.random()
        if kind < 0.3:
            return value
        if kind < 0.4:
            return value + 0.0  # -0.0 becomes 0.0
        dtype = getattr(value, "dtype", np.dtype(float))
        shape = np.shape(value)
        eps = float(np.finfo(dtype).eps)
        factor = 1 + eps * np.array([rng.choice((-2, -1, 0, 1, 2)) for _ in range(int(np.prod(shape)))])
        return value * factor.reshape(shape).astype(dtype)

    namespace = {**NAMESPACE, "moved": moved}
    exec(replace(program, lines=tuple(lines), leaves=program.leaves).text(), namespace)
    return namespace["f"]


def report(outcome: Outcome) -> str:
    kinds = Counter(failure.kind for _, failure in outcome.failures)
    lines = [f"{len(outcome.failures)} programs differ: {dict(kinds)}"]
    lines += ["\n" + show(program, failure) for program, failure in outcome.failures[:8]]
    return "\n".join(lines)
