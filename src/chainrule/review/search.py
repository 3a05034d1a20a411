"""Trying edits: which small change of a statement makes the reader's gradients right.

An edit counts if, with it and nothing else, more gradients equal the truth and none that was right
is lost; at another point too, so that no chance of the numbers passes for an explanation.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any

import numpy as np

from chainrule.review.bearings import Judgement, Situation, with_input
from chainrule.review.edit import Edit, Scene
from chainrule.review.edits import changes
from chainrule.review.inserted import insertions, is_whole_value, rearrangements
from chainrule.review.lifted import is_ours
from chainrule.review.locate import Suspect
from chainrule.review.scene import (
    block_of,
    fill,
    is_activation_derivative,
    keys_of,
    pruned,
    texts_of,
    where,
)
from chainrule.review.source import Definition, ReaderFile, compiled
from chainrule.review.trial import jitter
from chainrule.review.truth import find_truth, loss_at
from chainrule.review.watch import HOOK, LOCALS, Watch

__all__ = ["Mend", "Searcher", "Site", "all_statements", "pruned", "where"]

_PUT_IN = {
    "missing activation derivative",
    "wrong activation derivative",
    "weights not regularised",
    "softmax derivative as if elementwise",
}


@dataclass(frozen=True)
class Site:
    """A statement to try edits on, and the function it is in; `suspect` is why it is tried.

    `heavier` is added to the weight of its edits: it is less likely than others. With `only_simple`
    no array or term is put in: the statement only makes what others read. `factors` make
    its value a true derivative by some step, where one does.
    """

    statement: Any
    function: Any
    suspect: Suspect | None = None
    heavier: float = 0.0
    only_simple: bool = False
    factors: frozenset[float] = frozenset()


@dataclass(frozen=True)
class Mend:
    """An edit that makes gradients right: its statement as it was and as it should be."""

    edit: Edit
    scene: Scene
    before: str
    after: str
    judgement: Judgement
    codes: Mapping[CodeType, CodeType]
    file: ReaderFile
    weight: float
    order: int
    place: Site


def _counts_turns(statement: Any, function: Any) -> bool:
    """Whether a statement sets what a while loop waits for: changed, the loop might never end."""
    if not isinstance(statement, ast.Assign | ast.AugAssign):
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    names = {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    return any(
        isinstance(name, ast.Name) and name.id in names
        for loop in ast.walk(function)
        if isinstance(loop, ast.While)
        for name in ast.walk(loop.test)
    )


@dataclass(frozen=True)
class _Setting:
    """A statement with all that its edits need."""

    place: Site
    scene: Scene
    file: ReaderFile
    top: ast.stmt | None
    before: str


# Kinds of edits that only multiply by a number: a value right but for a factor may want them
_SCALES = {
    "wrong sign",
    "missing factor",
    "extra factor",
    "missing divisor",
    "extra divisor",
    "wrong factor",
    "sum for mean",
    "mean for sum",
}


def _surplus(edit: Edit, place: Site) -> float:
    """What an edit weighs more where the value is right for what it is: nothing is to mend."""
    if not place.factors:
        return 0.0
    if edit.kind == "missing activation derivative" and is_whole_value(edit.puts[0][0]):
        return 0.0  # what lacks it is right for the value after the activation
    is_right = 1.0 in place.factors or edit.kind not in _SCALES
    if edit.kind == "wrong sign":
        is_right = min(place.factors) > 0
    return 2.0 if is_right else 0.0


def _edits(setting: _Setting) -> Iterator[Edit]:
    statement = setting.scene.statement
    if isinstance(statement, ast.For):  # its bounds alone: a loop over anything else may never end
        kinds = ("off by one", "wrong factor")
        yield from (
            edit
            for edit in changes(setting.scene)
            if edit.kind in kinds and isinstance(edit.puts[0][0].node, ast.Constant)
        )
        return
    if isinstance(statement, ast.While) or _counts_turns(statement, setting.place.function):
        return
    yield from changes(setting.scene)
    yield from insertions(setting.scene)
    if isinstance(setting.scene.statement, ast.stmt):
        block = block_of(setting.place.function)
        yield from rearrangements(setting.scene, lambda s: block.get(id(s)))


class Searcher:
    """Tries edits of statements in one situation."""

    def __init__(self, situation: Situation) -> None:
        self.situation = situation
        self._witness: Situation | None = None
        self._seen: set[tuple[int, str]] = set()

    def mends(self, places: Sequence[Site], heaviest: float = float("inf")) -> list[Mend]:
        """The edits of these statements that mend most, the simplest first, up to some weight."""
        edits: list[tuple[float, int, Edit, _Setting]] = []
        for order, place in enumerate(places):
            setting = self._setting(place)
            if setting is not None:
                edits += [
                    (e.weight + place.heavier + _surplus(e, place), order, e, setting)
                    for e in _edits(setting)
                    if not (place.only_simple and e.kind in _PUT_IN)
                ]
        edits.sort(key=lambda entry: entry[:2])
        found: list[Mend] = []
        best, lightest = self.situation.judgement.n_right, float("inf")
        for weight, order, edit, setting in edits:
            if self.situation.bench.is_late or weight > min(lightest + 0.15, heaviest):
                break
            mend = self._try(edit, setting, weight, order)
            if mend is None or mend.judgement.n_right < max(best, 1):
                continue
            if not self._holds_elsewhere(mend):
                continue
            if mend.judgement.n_right > best:
                best, found = mend.judgement.n_right, []
                if not mend.judgement.wrong:
                    lightest = weight
            found.append(mend)
        return found

    def _setting(self, place: Site) -> _Setting | None:
        bench = self.situation.bench
        for file in bench.files:
            way = where(file, place.function)
            if way:
                scene = self.scene(place.statement, place.function, file)
                return _Setting(place, scene, file, pruned(way), _header(place.statement))
        return None

    def _try(self, edit: Edit, setting: _Setting, weight: float, order: int) -> Mend | None:
        statement = setting.scene.statement
        undo = edit.apply()
        try:
            new = next((n for spot, n in edit.puts if spot.node is statement), statement)
            after = _header(new)
            key = id(statement), after
            if after == setting.before or key in self._seen:
                return None
            self._seen.add(key)
            top = setting.top
            codes = compiled(setting.file, setting.file.tree, top)
        except (SyntaxError, ValueError, TypeError, RecursionError):
            return None
        finally:
            undo()
        judgement, _ = self.situation.try_step(codes=codes)
        if not self._is_better(judgement):
            return None
        return Mend(
            edit,
            setting.scene,
            setting.before,
            after,
            judgement,
            codes,
            setting.file,
            weight,
            order,
            setting.place,
        )

    def _is_better(self, judgement: Judgement) -> bool:
        was = self.situation.judgement
        if judgement.n_right <= was.n_right:
            return False
        return all(judgement.right.get(name, False) for name, ok in was.right.items() if ok)

    def _holds_elsewhere(self, mend: Mend) -> bool:
        """Whether the edit mends as much at other weights, and leaves the loss alone."""
        witness = self._other_point()
        if witness is None:
            return True
        judgement, _ = witness.try_step(codes=mend.codes)
        return all(
            judgement.right.get(name, False) for name, ok in mend.judgement.right.items() if ok
        )

    def _other_point(self) -> Situation | None:
        if self._witness is None:
            bench = replace(self.situation.bench, start=self.situation.bench.fresh())
            jitter(bench, self.situation.parameters, seed=91)
            jitter(bench, self.situation.parameters, seed=92)
            witness = replace(self.situation, bench=bench)
            _other_rate(witness)
            with suppress(ValueError):
                places = [*self.situation.parameters]
                extra = [
                    n for n in self.situation.truth.gradients if n not in {p.name for p in places}
                ]
                if extra:
                    places = with_input(self.situation)
                truth = find_truth(bench, self.situation.goal, places)
                factor = self._scale_of_truth()
                truth.gradients = {n: factor * g for n, g in truth.gradients.items()}
                witness.truth = truth
                self._witness = witness
        return self._witness

    def _scale_of_truth(self) -> float:
        """The constant of an assumed loss, which the truth was multiplied by."""
        bench, goal = self.situation.bench, self.situation.goal
        plain = float(np.asarray(loss_at(bench, goal, bench.fresh())))
        return self.situation.truth.loss / plain if plain else 1.0

    def is_right_helper(self, function: Definition) -> bool:
        """Whether a function is by itself an activation's derivative, at its argument."""
        code = self.situation.bench.definitions.get(function)
        for file in self.situation.bench.files:
            for live in file.codes.get(code, []) if code is not None else []:
                return is_activation_derivative(live)
        return False

    # What can be used at a statement

    def scene(
        self, statement: ast.stmt | ast.Lambda, function: Definition, file: ReaderFile
    ) -> Scene:
        """The names at a statement, with what they are when it runs for the first time."""
        scene = Scene(statement, function, rate=self.situation.rate)
        if isinstance(statement, ast.Lambda) or isinstance(function, ast.Lambda):
            scene.arrays = {a.arg: None for a in function.args.args}
            return scene
        texts = texts_of(function)
        scene.keys = keys_of(file)
        code = self.situation.bench.definitions.get(function)
        globals_of = next(
            (f.__globals__ for f in (file.codes.get(code, []) if code else [])), None
        ) or next((f.__globals__ for fs in file.codes.values() for f in fs), {})
        done: list[bool] = []

        def look(names: dict[str, Any]) -> None:
            if not done:
                done.append(True)
                fill(scene, texts, names, globals_of, function, file)

        self._run_looking(statement, function, file, look)
        return scene

    def _run_looking(
        self, statement: ast.stmt, function: Definition, file: ReaderFile, look: Any
    ) -> None:
        found = block_of(function).get(id(statement))
        if found is None:
            return
        block, index = found
        call = ast.parse(f"{HOOK}({LOCALS}, locals())").body[0]
        for node in ast.walk(call):
            if isinstance(node, ast.stmt | ast.expr):
                ast.copy_location(node, statement)
        block.insert(index, call)
        try:
            codes = compiled(file, file.tree, pruned(where(file, function)))
        finally:
            block.remove(call)
        bench = self.situation.bench
        watch = Watch(recording=False, look=look)
        chosen = {**bench.changes, **codes}
        # the watched versions are not wanted: only this one hook
        bench.run(self.situation.case.step, None, watch, _plain(bench, chosen))


def _other_rate(witness: Situation) -> None:
    """Let the witness learn at another rate, where the rate is one of its numbers."""
    place = witness.rate_place
    if place is not None and witness.rate is not None:
        rate = 0.7314 * witness.rate
        place.write(witness.bench.start, rate)
        witness.rate = rate
        witness.reading = replace(witness.reading, rate=rate)


def _plain(bench: Any, chosen: Mapping[CodeType, CodeType]) -> dict[CodeType, CodeType]:
    """These codes, and every other function as it is."""
    own = {code: code for file in bench.files for code in file.codes}
    return {**own, **chosen}


def _header(statement: Any) -> str:
    """The text of a statement, of one with a block its first line alone."""
    if isinstance(statement, ast.For):
        target, over = ast.unparse(statement.target), ast.unparse(statement.iter)
        return f"for {target} in {over}:"
    if isinstance(statement, ast.While | ast.If):
        word = "while" if isinstance(statement, ast.While) else "if"
        return f"{word} {ast.unparse(statement.test)}:"
    return ast.unparse(statement)


def all_statements(situation: Situation) -> Iterator[tuple[Any, Any]]:
    """Every statement of the functions that the step runs, in their order."""
    watch = Watch()
    situation.bench.run(situation.case.step, None, watch)
    seen: dict[int, Any] = {}
    for event in watch.events:
        function = situation.bench.points[event.number].function
        seen.setdefault(id(function), function)
    for function in seen.values():
        if isinstance(function, ast.Lambda):
            yield function, function
            continue
        inner = {
            id(node)
            for other in ast.walk(function)
            if isinstance(other, ast.FunctionDef) and other is not function
            for node in ast.walk(other)
        }
        for node in ast.walk(function):
            if isinstance(node, _STATEMENTS) and id(node) not in inner and not is_ours(node):
                yield node, function


_STATEMENTS = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Return, ast.Expr, ast.For, ast.If)
