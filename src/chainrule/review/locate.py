"""The first wrong line: the one where putting the true value in its place mends the gradient.

Every value that a statement of the backward pass computes is replaced, one at a time, by the true
derivative of the loss by each value of the forward pass of its size, up to a factor which the
gradients themselves determine. Values before the slip cannot mend it, values behind it mend less
than the slip's own.
"""

from __future__ import annotations

import ast
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.review.bearings import Judgement, Situation
from chainrule.review.places import as_numbers
from chainrule.review.reading import blocks_equal
from chainrule.review.truth import Step, steps_of, with_steps
from chainrule.review.watch import Event, Point, Watch

__all__ = ["Suspect", "factors_of", "suspects"]

Vector = np.ndarray[Any, Any]

_MOST_EVENTS = 400
_WINDOW = 8
_LONGEST = 64  # loop over samples whose values are taken together
_MOST_TURNS = 4  # of one statement in a loop, from its beginning and from its end
_SHARE = 0.25  # of the time there is
_WHOLE = ("value", "return", "argument", "container")


@dataclass(frozen=True)
class Suspect:
    """A value that mends gradients when the true one stands in its place."""

    point: Point
    event: Event
    expected: Vector
    meaning: str
    judgement: Judgement

    @property
    def actual(self) -> Vector:
        return np.asarray(self.event.value, np.float64)


@dataclass(frozen=True)
class _Candidate:
    value: Vector
    meaning: str
    is_cotangent: bool = True


def suspects(situation: Situation) -> list[Suspect]:
    """The values that mend most when replaced by the truth, in the order they are computed."""
    watch = Watch()
    ran = situation.bench.run(situation.case.step, None, watch)
    if ran.error is not None:
        return []
    situation.truth = with_steps(situation.bench, situation.goal, situation.truth)
    pool = list(_pool(situation))
    found: list[Suspect] = []
    turns: Counter[int] = Counter()
    until = time.monotonic() + _SHARE * max(situation.bench.deadline - time.monotonic(), 0.0)
    events: list[tuple[int, int, Event]] = []
    for event in _events(situation, watch):
        turns[event.number] += 1
        events.append((turns[event.number], -len(events), event))
    idle: set[int] = set()  # points that change no wrong gradient
    for bundle in _bundles(watch, [event for *_, event in events]):
        if time.monotonic() < until:
            found += _tried_together(situation, bundle, pool)
    for turn, _, event in sorted(events, key=lambda entry: entry[:2]):
        if time.monotonic() > until:
            break
        if _MOST_TURNS < turn <= turns[event.number] - _MOST_TURNS:
            continue
        if event.number not in idle:
            tried = _tried(situation, event, pool)
            if tried is None:
                idle.add(event.number)
            else:
                found += tried
    order = {event.key: i for i, event in enumerate(watch.events)}
    return _most(situation, sorted(found, key=lambda s: order[s.event.key]))


def _most(situation: Situation, found: list[Suspect]) -> list[Suspect]:
    """Those of the points that mend most, all their turns in a loop taken together."""
    mended: dict[int, set[str]] = {}
    for suspect in found:
        names = {n for n, ok in suspect.judgement.right.items() if ok}
        mended.setdefault(suspect.point.number, set()).update(names)
    most = max((len(names) for names in mended.values()), default=0)
    kept = [s for s in found if len(mended[s.point.number]) == most]
    return kept if most > situation.judgement.n_right else []


def _events(situation: Situation, watch: Watch) -> Iterator[Event]:
    points = situation.bench.points
    n = 0
    for event in watch.events:
        if points[event.number].role in _WHOLE or _is_term(points[event.number]):
            array = np.asarray(event.value)
            if array.dtype.kind not in "fi" or not array.size or array.size > 100_000:
                continue
            n += 1
            if n > _MOST_EVENTS:
                return
            yield event


def _is_term(point: Point) -> bool:
    """Whether a part of an expression is a term of the sum that a statement assigns or lists."""
    if point.role != "part":
        return False
    return any(
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Add | ast.Sub)
        and point.node in (node.left, node.right)
        for node in ast.walk(point.statement)
    )


def _pool(situation: Situation) -> Iterator[_Candidate]:
    """True values that a backward pass computes: derivatives by steps, local ones, gradients."""
    steps = list(steps_of(situation.truth))
    points = situation.bench.points
    seen: set[bytes] = set()

    def new(value: Vector) -> bool:
        mark = np.round(value, 12).tobytes() + str(value.shape).encode()
        if mark in seen:
            return False
        seen.add(mark)
        return True

    for step in steps:
        if new(step.cotangent):
            yield _Candidate(step.cotangent, f"the derivative of the loss by {_text(step, points)}")
    for name, gradient in situation.truth.gradients.items():
        if np.isfinite(gradient).all() and new(gradient):
            yield _Candidate(gradient, f"the gradient of {name}")
    for i, after in enumerate(steps):
        for before in steps[max(0, i - _WINDOW) : i]:
            local = _local(before, after)
            if local is not None and points[after.key[0]].role in _WHOLE and new(local):
                meaning = f"the derivative of {_text(after, points)} by {_text(before, points)}"
                yield _Candidate(local, meaning, False)


def _local(before: Step, after: Step) -> Vector | None:
    """The derivative of a step by one before it, if that is element by element."""
    if before.cotangent.shape != after.cotangent.shape or before.cotangent.size < 2:
        return None
    with np.errstate(all="ignore"):
        local = before.cotangent / after.cotangent
    return local if np.isfinite(local).all() and np.abs(local).max() < 1e3 else None


def _text(step: Step, points: Mapping[int, Point]) -> str:
    point = points.get(step.key[0])
    if point is None:
        return "a value"
    statement = point.statement
    if isinstance(statement, ast.Assign) and statement.value is point.node:
        return f"`{ast.unparse(statement.targets[0])}` (line {point.line})"
    return f"`{ast.unparse(point.node)}` (line {point.line})"


def _tried(situation: Situation, event: Event, pool: list[_Candidate]) -> list[Suspect] | None:
    """The true values that mend something in this one's place; None where none can."""
    actual = np.asarray(event.value, np.float64)
    blank = _blocks_with(situation, event, np.zeros(actual.shape))
    if blank is None:
        return []
    touched = [
        name
        for name, block in blank.items()
        if name in situation.blocks
        and (
            block.shape != situation.blocks[name].shape
            or not np.array_equal(block, situation.blocks[name], equal_nan=True)
        )
    ]
    wrong = [name for name in touched if not situation.judgement.right.get(name, True)]
    if not wrong:
        return None
    is_block = [
        name
        for name in wrong
        if situation.blocks[name].size == actual.size
        and blocks_equal(situation.blocks[name].reshape(actual.shape), actual, 1e-9)
    ]
    found: list[Suspect] = []
    for candidate in pool:
        for value in _in_shape(candidate.value, actual.shape):
            suspect = _with_value(situation, event, value, blank, wrong, candidate)
            if suspect is not None:
                found.append(suspect)
    for name in is_block:
        value = situation.truth.gradients[name]
        if value.shape != actual.shape and np.isfinite(value).all():
            direct = _Candidate(value, f"the gradient of {name}")
            suspect = _with_value(situation, event, value, blank, wrong, direct)
            if suspect is not None:
                found.append(suspect)
    return found


def _in_shape(value: Vector, shape: tuple[int, ...]) -> list[Vector]:
    if value.size != int(np.prod(shape)):
        return []
    if value.shape == shape:
        square = len(shape) == 2 and shape[0] == shape[1] and shape[0] > 1
        return [value, value.T] if square else [value]
    if value.T.shape == shape and value.ndim == 2 and 1 not in shape:
        return [value.T]
    return [value.reshape(shape)]


def _bundles(watch: Watch, events: list[Event]) -> list[list[Event]]:
    """The values that one point tells in all turns of a loop, for each point with several."""
    by_point: dict[int, list[Event]] = {}
    for event in events:
        by_point.setdefault(event.number, []).append(event)
    bundles = [b for b in by_point.values() if 2 <= len(b) <= _LONGEST]
    return [b for b in bundles if len({np.shape(e.value) for e in b}) == 1][::-1]


def _tried_together(
    situation: Situation, bundle: list[Event], pool: list[_Candidate]
) -> list[Suspect]:
    """The rows or columns of a true value, one for each turn of a loop over the samples."""
    shape = np.shape(bundle[0].value)
    blank = _blocks_of(situation, {event.key: np.zeros(shape) for event in bundle})
    if blank is None:
        return []
    wrong = [
        name
        for name, block in blank.items()
        if not situation.judgement.right.get(name, True)
        and not np.array_equal(block, situation.blocks[name], equal_nan=True)
    ]
    found = []
    for values, meaning in _series(situation, bundle, shape) if wrong else ():
        candidate = _Candidate(next(iter(values.values())), meaning)
        suspect = _with_values(situation, bundle[0], values, blank, wrong, candidate)
        if suspect is not None:
            found.append(suspect)
    for candidate in pool if wrong else ():
        for rows in (candidate.value, candidate.value.T):
            if rows.ndim < 2 or rows.shape[0] != len(bundle):
                continue
            if rows[0].size != int(np.prod(shape)):
                continue
            values = {e.key: row.reshape(shape) for e, row in zip(bundle, rows, strict=True)}
            suspect = _with_values(situation, bundle[0], values, blank, wrong, candidate)
            if suspect is not None:
                found.append(suspect)
    return found


def _series(
    situation: Situation, bundle: list[Event], shape: tuple[int, ...]
) -> Iterator[tuple[dict[tuple[int, int], Vector], str]]:
    """True values by what a line of the forward pass makes in each turn, in both orders."""
    by_point: dict[int, list[Step]] = {}
    for step in steps_of(situation.truth):
        if step.cotangent.size == int(np.prod(shape)):
            by_point.setdefault(step.key[0], []).append(step)
    for steps in by_point.values():
        if len(steps) != len(bundle):
            continue
        meaning = f"the derivative of the loss by {_text(steps[0], situation.bench.points)}"
        for order in (steps, steps[::-1]):
            pairs = zip(bundle, order, strict=True)
            yield {e.key: step.cotangent.reshape(shape) for e, step in pairs}, meaning


def _blocks_with(situation: Situation, event: Event, value: Vector) -> dict[str, Vector] | None:
    return _blocks_of(situation, {event.key: value})


def _blocks_of(
    situation: Situation, values: dict[tuple[int, int], Vector]
) -> dict[str, Vector] | None:
    watch = Watch(dict(values), recording=False)
    ran = situation.bench.run(situation.case.step, None, watch)
    if ran.error is not None:
        return None
    return situation.reading.blocks(ran, situation.bench.start)


def _with_value(
    situation: Situation,
    event: Event,
    value: Vector,
    blank: dict[str, Vector],
    wrong: list[str],
    candidate: _Candidate,
) -> Suspect | None:
    return _with_values(situation, event, {event.key: value}, blank, wrong, candidate)


def _with_values(
    situation: Situation,
    event: Event,
    values: dict[tuple[int, int], Vector],
    blank: dict[str, Vector],
    wrong: list[str],
    candidate: _Candidate,
) -> Suspect | None:
    ones = _blocks_of(situation, values)
    if ones is None:
        return None
    factor = _factor(situation, blank, ones, wrong)
    for scale in dict.fromkeys((factor, 1.0)):
        if scale is None or not np.isfinite(scale) or scale == 0:
            continue
        expected = scale * values[event.key]
        if (
            len(values) == 1
            and expected.shape == np.shape(event.value)
            and blocks_equal(np.asarray(event.value), expected, situation.tolerance)
        ):
            continue
        scaled = {key: scale * value for key, value in values.items()}
        watch = Watch(scaled, recording=False)
        judgement, _ = situation.try_step(watch=watch)
        if judgement.n_right > situation.judgement.n_right:
            point = situation.bench.points[event.number]
            return Suspect(point, event, expected, candidate.meaning, judgement)
    return None


def _factor(
    situation: Situation,
    blank: Mapping[str, Vector],
    ones: Mapping[str, Vector],
    wrong: list[str],
) -> float | None:
    """The factor at which the wrong gradients, linear in the value, come nearest to the truth."""
    slope, rest = [], []
    scale = situation.judgement.scale
    for name in wrong:
        true = situation.truth.gradients[name]
        if blank[name].size != true.size or ones[name].size != true.size:
            continue
        a, b = blank[name].astype(np.float64).ravel(), ones[name].astype(np.float64).ravel()
        known = np.isfinite(true.ravel()) & np.isfinite(a) & np.isfinite(b)
        slope.append((b - a)[known])
        rest.append((scale * true.ravel() - a)[known])
    if not slope:
        return None
    best: list[tuple[int, float]] = []
    for direction, wanted in zip(slope, rest, strict=True):
        square = float(direction @ direction)
        if square > 0:
            factor = float(direction @ wanted) / square
            fits = sum(
                bool(
                    np.allclose(
                        factor * d, w, rtol=0, atol=1e-4 * (np.abs(w).max(initial=0.0) + 1e-30)
                    )
                )
                for d, w in zip(slope, rest, strict=True)
            )
            best.append((fits, factor))
    return max(best)[1] if best else None


def _factors_elsewhere(situation: Situation, event: Event) -> set[float]:
    """The factors by which a value is a true derivative of the loss by some step."""
    actual = np.asarray(event.value, np.float64)
    found: set[float] = set()
    for step in steps_of(situation.truth):
        if step.cotangent.size != actual.size or actual.size < 2:
            continue
        for shaped in _in_shape(step.cotangent, actual.shape):
            square = float(np.vdot(shaped, shaped))
            factor = float(np.vdot(shaped, actual)) / square if square else 0.0
            if factor and blocks_equal(actual, factor * shaped, 1e-5):
                found.add(float(f"{factor:.5g}"))
    return found


def factors_of(situation: Situation) -> dict[int, set[float]]:
    """For each statement whose values are all true derivatives by some step, the factors."""
    watch = Watch()
    bench = situation.bench
    ran = bench.run(situation.case.step, None, watch)
    if ran.error is not None:
        return {}
    arrays = [as_numbers(place.read(bench.start)) for place in bench.places]
    own = [np.ravel(array) for array in arrays if array is not None]
    found: dict[int, set[float]] = {}
    for event in _events(situation, watch):
        point = bench.points[event.number]
        if point.role not in ("value", "return") or isinstance(point.statement, ast.AugAssign):
            continue
        flat = np.ravel(event.value)
        if any(a.size == flat.size and np.array_equal(a, flat) for a in own):
            continue  # a weight, whatever it is a multiple of
        factors = _factors_elsewhere(situation, event)
        key = id(point.statement)
        found[key] = found[key] & factors if key in found else factors
    return {key: factors for key, factors in found.items() if factors}
