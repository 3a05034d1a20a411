"""The true derivatives of the reader's loss, by parameters and by steps of its forward pass.

The forward pass runs on tensors, and the table of rules gives the derivatives; where it does not
run on tensors (matrices, writing in place, Python's numbers), central differences of the loss do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from chainrule.autodiff import gradients
from chainrule.review.case import Roots
from chainrule.review.places import Place, as_numbers
from chainrule.review.trial import Bench
from chainrule.review.watch import Watch
from chainrule.tensor import Tensor, parameter

__all__ = [
    "Goal",
    "Step",
    "Truth",
    "by_differences",
    "find_truth",
    "loss_at",
    "steps_of",
    "with_steps",
]

Vector = np.ndarray[Any, Any]

# The third root of float64's rounding: where truncation and rounding of a central difference
# balance
_STEP = 6e-6
_STEP_SINGLE = 4e-3
_MOST_EVALUATIONS = 60_000
_MOST_SECONDS = 6.0


@dataclass(frozen=True)
class Goal:
    """A loss: what is run for it, and how its one number is read from the result and the events."""

    name: str
    call: Callable[[Roots], Any]
    read: Callable[[Any, Watch], Any]
    only: tuple[int, int] | None = None
    assumed: bool = False


@dataclass(frozen=True)
class Step:
    """A value of the forward pass, and the derivative of the loss by it."""

    key: tuple[int, int]
    value: Vector
    cotangent: Vector


@dataclass
class Truth:
    """True derivatives: by each parameter, by its name, and by the values of the forward pass.

    Elements at a kink of the loss are NaN. `method` says how they were made; `disputed`, that
    tensors gave other derivatives than differences, as they do where the loss is mostly rounding.
    """

    loss: float
    gradients: dict[str, Vector]
    steps: list[Step] = field(default_factory=list)
    method: str = "tensors"
    tolerance: float = 1e-6
    disputed: bool = False


def loss_at(bench: Bench, goal: Goal, roots: Roots, watch: Watch | None = None) -> Any:
    """The loss of these roots, which are used up; raises what the reader's code raises."""
    watch = Watch() if watch is None else watch
    if goal.only is not None and watch.only is None and not watch.moved:
        watch.only = goal.only
    ran = bench.run(goal.call, roots, watch)
    value = goal.read(ran.result, watch) if ran.error is None or goal.only is not None else None
    if value is None and ran.error is not None:
        raise ran.error
    if value is None:
        raise ValueError("the loss is not one number")
    return value


def _number(value: Any) -> float:
    array = as_numbers(value)
    return float("nan") if array is None or array.size != 1 else float(array.reshape(-1)[0])


def find_truth(bench: Bench, goal: Goal, places: Sequence[Place]) -> Truth:
    """The derivative of the loss by these places, by tensors where they agree with a difference.

    By differences it has no steps of the forward pass, which take long: see `with_steps`.
    """
    plain = _number(loss_at(bench, goal, bench.fresh()))
    if not np.isfinite(plain):
        raise ValueError(f"the loss is {plain} at these numbers")
    found = _by_tensors(bench, goal, places)
    if found is not None and _agrees(bench, goal, places, found, plain):
        return found
    truth = by_differences(bench, goal, places, plain)
    return truth if found is None else replace(truth, disputed=True)


def _by_tensors(bench: Bench, goal: Goal, places: Sequence[Place]) -> Truth | None:
    roots = bench.fresh()
    tensors: dict[str, Tensor] = {}
    watch = Watch()
    try:
        for place in places:
            array = place.array(roots)
            if isinstance(place.read(roots), np.matrix | list):
                return None
            tensors[place.name] = parameter(np.asarray(array, np.float64))
            place.write(roots, tensors[place.name])
        ran = bench.run(goal.call, roots, watch)
        if ran.error is not None and goal.only is None:
            return None
        loss = goal.read(ran.result, watch)
        if not isinstance(loss, Tensor) or loss.size != 1 or loss.node is None:
            return None
        events = [
            e for e in watch.events if isinstance(e.value, Tensor) and e.value.node is not None
        ]
        unique = {id(e.value.node): e for e in reversed(events)}
        kept = list(reversed(unique.values()))
        found = gradients(loss, [*tensors.values(), *(e.value for e in kept)])
        value = float(loss.item())
    except Exception:  # whatever the reader's code raises on tensors: differences are taken then
        return None
    by_place = {name: np.array(g) for name, g in zip(tensors, found[: len(tensors)], strict=True)}
    steps = [
        Step(e.key, np.array(e.value.detach()), np.array(g))
        for e, g in zip(kept, found[len(tensors) :], strict=True)
    ]
    steps = [s for s in steps if s.cotangent.any() and s.value.size]
    return Truth(value, by_place, steps)


def _agrees(bench: Bench, goal: Goal, places: Sequence[Place], truth: Truth, plain: float) -> bool:
    """Whether the recorded loss is the plain one, and a difference in one direction agrees."""
    if abs(truth.loss - plain) > 1e-5 * max(abs(plain), 1e-3):
        return False
    rng = np.random.default_rng(3)
    directions = {p.name: rng.normal(size=truth.gradients[p.name].shape) for p in places}
    sides = []
    for sign in (1.0, -1.0):
        roots = bench.fresh()
        for place in places:
            array = np.asarray(place.array(roots), np.float64)
            place.write(roots, array + sign * 1e-6 * directions[place.name])
        sides.append(_number(loss_at(bench, goal, roots)))
    slope = (sides[0] - sides[1]) / 2e-6
    ours = sum(float(np.vdot(directions[n], g)) for n, g in truth.gradients.items())
    size = sum(float(np.linalg.norm(g)) for g in truth.gradients.values())
    return abs(slope - ours) <= 1e-3 * max(size, 1e-12) + 1e-7 * max(abs(plain), 1.0)


def by_differences(bench: Bench, goal: Goal, places: Sequence[Place], plain: float) -> Truth:
    """Central differences by each element; where the two sides part, there is a kink: NaN."""

    def shifted(place: Place, index: tuple[int, ...], step: float) -> float:
        roots = bench.fresh()
        array = np.array(place.array(roots), np.float64)
        array[index] += step
        place.write(roots, array)
        return _number(loss_at(bench, goal, roots))

    single = _is_single(bench, goal)
    step = _STEP_SINGLE if single else _STEP
    allowed = _Allowance(bench)
    found: dict[str, Vector] = {}
    for place in places:
        array = np.asarray(place.array(bench.start), np.float64)
        gradient = np.full(array.shape, np.nan)
        for index in _order(array.shape):
            if not allowed.more():
                break
            h = step * max(1.0, abs(float(array[index])))
            up, down = shifted(place, index, h), shifted(place, index, -h)
            gradient[index] = _slope(up, down, plain, h, single)
        found[place.name] = gradient
    return Truth(plain, found, [], "differences", 3e-3 if single else 2e-6)


def with_steps(bench: Bench, goal: Goal, truth: Truth) -> Truth:
    """The truth with the derivatives by the steps of the forward pass."""
    if truth.steps or truth.method != "differences":
        return truth
    plain = _number(loss_at(bench, goal, bench.fresh()))
    single = _is_single(bench, goal)
    step = _STEP_SINGLE if single else _STEP
    steps = _steps_by_differences(bench, goal, plain, step, single, _Allowance(bench))
    factor = truth.loss / plain if plain else 1.0
    return replace(truth, steps=[replace(s, cotangent=factor * s.cotangent) for s in steps])


def _slope(up: float, down: float, plain: float, h: float, single: bool) -> float:
    slope = (up - down) / (2 * h)
    left, right = (plain - down) / h, (up - plain) / h
    if not single and abs(right - left) > 0.05 * max(abs(left), abs(right)) + 1e-6:
        return float("nan")
    return slope


def _order(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """All indices; of large arrays in a scattered order, so that a part of them shows something."""
    indices = list(np.ndindex(*shape))
    if len(indices) > 500:
        order = np.random.default_rng(5).permutation(len(indices))
        indices = [indices[i] for i in order[:4000]]
    return indices


class _Allowance:
    """How many more evaluations may be made: an end by count and by time."""

    def __init__(self, bench: Bench) -> None:
        import time

        self._bench, self._clock = bench, time.monotonic
        self._left = _MOST_EVALUATIONS
        self._until = time.monotonic() + _MOST_SECONDS

    def more(self) -> bool:
        self._left -= 2
        return self._left > 0 and self._clock() < self._until


def _is_single(bench: Bench, goal: Goal) -> bool:
    """Whether the loss is computed in single precision."""
    value = loss_at(bench, goal, bench.fresh())
    return getattr(value, "dtype", np.float64) in (np.float32, np.float16)


def _steps_by_differences(
    bench: Bench, goal: Goal, plain: float, step: float, single: bool, allowed: _Allowance
) -> list[Step]:
    watch = Watch()
    ran = bench.run(goal.call, None, watch)
    if ran.error is not None and goal.only is None:
        return []
    found: list[Step] = []
    seen: set[bytes] = set()
    for event in watch.events:
        if bench.points[event.number].role in ("container", "operand"):
            continue
        value = np.asarray(event.value)
        mark = value.tobytes() + str(value.shape).encode()
        if value.dtype.kind != "f" or not value.size or value.size > 600 or mark in seen:
            continue
        if len(found) > 80:
            break
        seen.add(mark)
        cotangent = _by_moving(bench, goal, event.key, value, plain, step, single, allowed)
        if cotangent is not None and np.nan_to_num(cotangent).any():
            found.append(Step(event.key, value, cotangent))
    return found


def _by_moving(
    bench: Bench,
    goal: Goal,
    key: tuple[int, int],
    value: Vector,
    plain: float,
    step: float,
    single: bool,
    allowed: _Allowance,
) -> Vector | None:
    def moved(by: Vector) -> float:
        watch = Watch(moved={key: by}, recording=goal.only is not None, only=goal.only)
        return _number(loss_at(bench, goal, bench.fresh(), watch))

    try:
        rough = np.asarray(np.random.default_rng(2).normal(size=value.shape) * 1e-3)
        if moved(rough) == plain:
            return None
        cotangent = np.full(value.shape, np.nan)
        for index in np.ndindex(value.shape):
            if not allowed.more():
                return None
            by = np.zeros(value.shape)
            by[index] = h = step * max(1.0, abs(float(value[index])))
            cotangent[index] = _slope(moved(by), moved(-by), plain, h, single)
        return cotangent
    except Exception:  # a value that cannot be moved, such as a size: it has no derivative
        return None


def steps_of(truth: Truth) -> list[Step]:
    """The steps without those whose derivative is not known everywhere."""
    return [s for s in truth.steps if np.isfinite(s.cotangent).all()]
