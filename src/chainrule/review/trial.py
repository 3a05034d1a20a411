"""Trials: the reader's code run on copies of what was handed over, and nothing else changed.

Each trial starts from the same numbers: the roots are copied, the random generators of `random` and
NumPy are seeded and restored, printing goes nowhere.
"""

from __future__ import annotations

import contextlib
import copy
import io
import random
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, final

import numpy as np

from chainrule.review.case import Case, Roots
from chainrule.review.lifted import hooks as lifted_hooks
from chainrule.review.lifted import lift
from chainrule.review.places import Place, as_numbers, find_places
from chainrule.review.source import (
    Definition,
    ReaderFile,
    UnreadableError,
    compiled,
    definition_of,
    executed_codes,
    read_file,
    running,
)
from chainrule.review.stopwatch import Stopwatch
from chainrule.review.watch import DOT, HOOK, Point, Watch, dot, points_of, watched_tree

__all__ = ["Bench", "CannotCopyError", "Ran", "jitter", "make_bench", "quiet"]


class CannotCopyError(Exception):
    """What the reader handed over cannot be copied, so nothing can be tried."""


@dataclass(frozen=True)
class Ran:
    """A trial that came to its end or to an error: its result and the roots as it left them."""

    result: Any
    roots: Roots
    error: BaseException | None = None


@final
@dataclass
class Bench:
    """The case with the numbers trials start from, its source, and a deadline."""

    case: Case
    start: Roots
    places: list[Place]
    files: list[ReaderFile] = field(default_factory=list)
    points: dict[int, Point] = field(default_factory=dict)
    definitions: dict[Definition, CodeType] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)
    watched: dict[CodeType, CodeType] = field(default_factory=dict)
    changes: dict[CodeType, CodeType] = field(default_factory=dict)
    deadline: float = float("inf")
    n_trials: int = 0
    stopwatch: Stopwatch | None = None
    lifted: int | None = None
    first_values: dict[str, Any] = field(default_factory=dict)

    def fresh(self) -> Roots:
        """Copies of the roots, to be used up by one trial."""
        return copy.deepcopy(self.start)

    def run(
        self,
        call: Callable[[Roots], Any],
        roots: Roots | None = None,
        watch: Watch | None = None,
        codes: Mapping[CodeType, CodeType] | None = None,
    ) -> Ran:
        """Call this on fresh roots (or these): with other code, or with a watch on every value."""
        self.n_trials += 1
        roots = self.fresh() if roots is None else roots
        chosen = {**(self.watched if watch is not None else self.changes), **(codes or {})}
        hooks: dict[str, Any] = {} if watch is None else {HOOK: watch, DOT: dot}
        if self.lifted is not None:
            hooks |= lifted_hooks(roots[self.lifted], self.first_values)
        if watch is not None:
            watch.points = self.points
        with running(self.files, chosen, hooks), quiet(), _globals_of(self.case, roots):
            try:
                with self._clock():
                    return Ran(call(roots), roots)
            except Exception as error:
                return Ran(None, roots, error)
            except SystemExit as error:
                return Ran(None, roots, error)

    def _clock(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.stopwatch is None else self.stopwatch.watching()

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline

    def learn_source(self, call: Callable[[Roots], Any]) -> None:
        """Read the source of every function of the reader's that a call runs."""
        self.unreadable = []
        by_file = executed_codes(lambda: self.run(call))
        files: list[ReaderFile] = []
        for path, codes in by_file.items():
            try:
                files.append(read_file(path, codes))
            except UnreadableError as why:
                self.unreadable.append(str(why))
        self.files, self.points, self.watched, self.definitions = files, {}, {}, {}
        for file in files:
            for code in file.codes:
                with contextlib.suppress(UnreadableError):
                    self.definitions[definition_of(file, code)] = code
        self.watch_again()

    def lift(self, function: Any) -> bool:
        """Take the weights that a function makes within itself into the roots, if there are any."""
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        names = [n for node, c in self.definitions.items() if c is code for n in lift(node)]
        if not names:
            return False
        self.lifted = len(self.start)
        self.start.append({})
        self.case.names.append("")
        for file in self.files:
            self.changes |= compiled(file, file.tree)
        self.watch_again()
        self.run(self.case.step)
        self.start[self.lifted] = dict(self.first_values)
        self.places = find_places(self.start, self.case.names)
        return True

    def watch_again(self) -> None:
        """Number the points of the trees as they are now, and compile the watched versions."""
        self.points, self.watched = {}, {}
        for file in self.files:
            points = points_of(file.tree, 1 + len(self.points))
            self.points |= points
            self.watched |= compiled(file, watched_tree(file.tree))

    def file_of(self, point: Point) -> ReaderFile:
        """The file a point is in."""
        code = self.definitions.get(point.function)
        for file in self.files:
            if code in file.codes or any(node is point.function for node in _nodes(file)):
                return file
        return self.files[0]


def _nodes(file: ReaderFile) -> Iterator[Any]:
    import ast

    return ast.walk(file.tree)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Within this nothing is printed, nothing warns, and random numbers are the same each time."""
    state, legacy = random.getstate(), np.random.get_state()
    fresh = np.random.default_rng
    random.seed(0)
    np.random.seed(0)
    np.random.default_rng = lambda seed=0: fresh(0 if seed is None else seed)
    nowhere = io.StringIO()
    try:
        with (
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            warnings.catch_warnings(),
            np.errstate(all="ignore"),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        np.random.default_rng = fresh
        random.setstate(state)
        np.random.set_state(legacy)


@contextlib.contextmanager
def _globals_of(case: Case, roots: Roots) -> Iterator[None]:
    """Within this the globals of the reader's functions are those of the roots."""
    before = [(space, {name: space[name] for name in case.roots[i]}) for space, i in case.spaces]
    try:
        for space, index in case.spaces:
            space.update(roots[index])
        yield
        for space, index in case.spaces:
            roots[index] = {name: space[name] for name in roots[index]}
    finally:
        for space, kept in before:
            space.update(kept)


def make_bench(case: Case, seconds: float, seed: int) -> Bench:
    """A bench whose trials start near the reader's numbers: weights moved a little off them.

    Weights of zero or on a symmetrical start hide most slips. Raises CannotCopyError.
    """
    try:
        start = copy.deepcopy(case.roots)
    except Exception as error:
        raise CannotCopyError(
            f"{case.title} cannot be copied for trials ({type(error).__name__}: {error})"
        ) from error
    bench = Bench(case, start, find_places(start, case.names))
    bench.deadline = time.monotonic() + seconds
    return bench


def jitter(bench: Bench, places: list[Place], seed: int) -> None:
    """Move the floating-point arrays at these places a little, by a seeded generator."""
    rng = np.random.default_rng(seed)
    for place in places:
        value = place.read(bench.start)
        array = as_numbers(value)
        if array is None or array.dtype.kind != "f" or not np.isfinite(array).all():
            continue
        size = float(np.sqrt(np.mean(np.square(array)))) if array.size else 0.0
        usual = 1.0 / np.sqrt(max(array.shape[0], 1)) if array.ndim > 1 else 0.3
        step = 0.1 * size + (0.5 * usual if size < 0.05 * usual else 0.05 * usual)
        place.write(bench.start, (array + step * rng.normal(size=array.shape)).astype(array.dtype))
