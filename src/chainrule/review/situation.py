"""Where a check begins: the loss, the parameters, the truth, and which gradients are wrong."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.case import USUAL_RATE, Case, Roots
from chainrule.review.goals import candidate_goals, goal_scales, target_of
from chainrule.review.places import Place, as_numbers
from chainrule.review.reading import INPUT, Reading, blocks_equal, learn_reading
from chainrule.review.stopwatch import Stopwatch
from chainrule.review.trial import Bench, Ran, jitter, make_bench
from chainrule.review.truth import Goal, Truth, find_truth, loss_at
from chainrule.review.watch import Watch

__all__ = [
    "CannotFollow",
    "Judgement",
    "Situation",
    "examine",
    "find_rate",
    "judge",
    "learn",
    "with_input",
]

Vector = np.ndarray[Any, Any]


class CannotFollow(Exception):
    """What was handed over cannot be checked; the message says which part, and what to give."""


@dataclass(frozen=True)
class Judgement:
    """Which gradients are right, by parameter; `scale` is what all updates are multiplied by."""

    right: Mapping[str, bool]
    scale: float = 1.0

    @property
    def wrong(self) -> list[str]:
        return [name for name, is_right in self.right.items() if not is_right]

    @property
    def n_right(self) -> int:
        return sum(self.right.values())


@dataclass
class Situation:
    """All that is known before the first trial of another line."""

    bench: Bench
    goal: Goal
    truth: Truth
    parameters: list[Place]
    reading: Reading
    error: BaseException | None = None
    blocks: dict[str, Vector] = field(default_factory=dict)
    judgement: Judgement = field(default_factory=lambda: Judgement({}))
    assumed: str = ""
    rate: float | None = None
    rate_place: Place | None = None
    notes: list[str] = field(default_factory=list)
    first_errors: dict[str, float] = field(default_factory=dict)

    @property
    def case(self) -> Case:
        return self.bench.case

    @property
    def tolerance(self) -> float:
        """Relative to the largest element of a gradient: by rounding and by how truth was made."""
        coarsest = self.truth.tolerance
        for block in self.blocks.values():
            if block.dtype == np.float32:
                coarsest = max(coarsest, 1e-3)
            elif block.dtype == np.float16:
                coarsest = max(coarsest, 3e-2)
        return max(10 * coarsest, 2e-5)

    def judge(self, ran: Ran, before: Roots) -> Judgement:
        """Which gradients of a run are right."""
        if ran.error is not None:
            return Judgement(dict.fromkeys(self.truth.gradients, False))
        reading = self.reading
        if not reading.names:
            reading = learn(self, ran, before)
        return judge(reading.blocks(ran, before), self.truth, self.tolerance, reading)

    def try_step(self, **how: Any) -> tuple[Judgement, Ran]:
        """Run the step on fresh roots and judge its gradients."""
        before = self.bench.start
        ran = self.bench.run(self.case.step, None, **how)
        return self.judge(ran, before), ran


def judge(
    blocks: Mapping[str, Vector], truth: Truth, tolerance: float, reading: Reading
) -> Judgement:
    """Compare gradients with the truth; updates of unknown rate up to one common factor."""
    scale = 1.0
    applied = {*reading.updated, *reading.renewed}
    if applied and reading.rate is None:
        moved = {name: block for name, block in blocks.items() if name in applied}
        scale = _common_scale(moved, truth, tolerance)
    right = {
        name: blocks_equal(
            block, (scale if name in applied else 1.0) * truth.gradients[name], tolerance
        )
        for name, block in blocks.items()
        if name in truth.gradients
    }
    return Judgement(right, scale)


def _common_scale(blocks: Mapping[str, Vector], truth: Truth, tolerance: float) -> float:
    """The factor that makes most updates the gradient."""
    factors = []
    for name, block in blocks.items():
        true = truth.gradients.get(name)
        if true is None or block.size != true.size or not np.isfinite(block).all():
            continue
        known = np.isfinite(true.ravel())
        t, b = true.ravel()[known], block.astype(np.float64).ravel()[known]
        if t.any() and b.any():
            factors.append(float(t @ b) / float(t @ t))
    votes = {
        factor: sum(
            blocks_equal(block, factor * truth.gradients[name], tolerance)
            for name, block in blocks.items()
            if name in truth.gradients
        )
        for factor in factors
    }
    best = max(votes.values(), default=0)
    fitting = [factor for factor, n in votes.items() if n == best]
    positive = [factor for factor in fitting if factor > 1e-12]
    return abs((positive or fitting or [1.0])[-1])


def examine(case: Case, seconds: float, seed: int, stopwatch: Stopwatch) -> Situation:
    """Find loss, parameters, truth and gradients; raises CannotFollow where one cannot be found."""
    bench = make_bench(case, seconds, seed)
    bench.stopwatch = stopwatch
    began = time.monotonic()
    bench.learn_source(lambda roots: _run_all(bench, roots))
    stopwatch.limit = 1.0 + 20 * (time.monotonic() - began)
    _one_step_at_a_time(bench)
    goals = candidate_goals(bench)
    ran = bench.run(case.step)
    if not goals:
        raise CannotFollow(_no_loss(bench, ran))
    goal = goals[0]
    parameters = _parameters(bench, goal)
    if not parameters and bench.lift(bench.start[0]):
        goals = candidate_goals(bench) or goals
        goal, ran = goals[0], bench.run(case.step)
        parameters = _parameters(bench, goal)
    if not parameters and not case.returns_input_gradient:
        raise CannotFollow(
            f"no array that {case.title} keeps or is given changes the loss ({goal.name}), so there "
            "is no parameter to differentiate by"
        )
    situation = Situation(bench, goal, Truth(0.0, {}), parameters, Reading(), ran.error)
    situation.truth = find_truth(bench, goal, with_input(situation))
    if ran.error is None:
        situation.reading = learn(situation, ran, bench.start)
        if not situation.reading.names:
            raise CannotFollow(_no_gradient(case, parameters))
        matched = set(situation.reading.names)
        situation.parameters = [p for p in parameters if p.name in matched]
        _note_unmatched(situation, parameters)
    jitter(bench, situation.parameters, seed)
    if situation.reading.is_update:
        situation.reading.rate = situation.rate = find_rate(situation)
    _choose_goal(situation, goals)
    return situation


def learn(situation: Situation, ran: Ran, before: Roots) -> Reading:
    """Where a run of the step left the gradients of the parameters."""
    inputs = with_input(situation)
    extra = inputs[-1] if len(inputs) > len(situation.parameters) else None
    function = situation.bench.start[0]
    if situation.case.names[:2] == ["self", "self"] or len(situation.bench.start) > 1:
        second = situation.bench.start[1]
        function = second if callable(second) and not isinstance(second, type) else function
    returned = roles.returned_names(function) if callable(function) else []
    reading = learn_reading(
        situation.parameters,
        before,
        ran,
        returned,
        situation.truth.gradients,
        situation.bench.places,
        extra,
    )
    reading.rate = situation.rate if reading.is_update else None
    return reading


def with_input(situation: Situation) -> list[Place]:
    """The places to differentiate by: the parameters, and the input where its gradient is returned."""
    case = situation.case
    if not case.returns_input_gradient:
        return situation.parameters
    for place in situation.bench.places:
        if place.way and place.way[0][1] in case.data and len(place.way) == 1:
            array = as_numbers(place.read(situation.bench.start))
            if (
                array is not None
                and array.dtype.kind == "f"
                and case.target is None
                or (array is not None and array.dtype.kind == "f" and place.name == "x")
            ):
                return [*situation.parameters, Place(INPUT, place.way)]
    return situation.parameters


def _run_all(bench: Bench, roots: Roots) -> None:
    """Run everything of the reader's once, so that its source is known."""
    for call in (bench.case.forward, bench.case.loss, bench.case.step):
        if call is not None:
            with_own = bench.fresh()
            try:
                call(with_own)
            except Exception:  # said later, by what needs its result
                continue


def _no_loss(bench: Bench, ran: Ran) -> str:
    if target_of(bench) is None and not isinstance(ran.error, Exception):
        return (
            f"{bench.case.title} computes no loss, and no argument looks like its target: give loss=, "
            "a function of the output and the target, or of the same arguments"
        )
    if ran.error is not None:
        return f"{bench.case.title} raises {type(ran.error).__name__}: {ran.error}"
    return (
        f"the loss that {bench.case.title} differentiates was not found: no number is returned, there is "
        "no forward pass or loss beside it, and nothing is subtracted from the target: give loss= "
        "and forward="
    )


def _no_gradient(case: Case, parameters: Sequence[Place]) -> str:
    names = ", ".join(p.name for p in parameters[:8])
    return (
        f"{case.title} neither returns gradients, nor keeps any under a name like dW1, nor changes "
        f"its parameters ({names}): return the gradients, or name the method, method='...'"
    )


def _parameters(bench: Bench, goal: Goal) -> list[Place]:
    """The arrays that change the loss, without the data."""
    data = [as_numbers(bench.start[i]) for i in bench.case.data]
    target = target_of(bench)
    if target is not None:
        data.append(as_numbers(target(bench.start)))
    plain = float(np.asarray(loss_at(bench, goal, bench.fresh())))
    found = []
    for place in bench.places:
        array = as_numbers(place.read(bench.start))
        if array is None or not array.size or place.way[0][1] in bench.case.data:
            continue
        if array.dtype.kind == "b" or any(_same(array, other) for other in data):
            continue
        if roles.has_role(place.name.rpartition(".")[2], roles.TARGET) and array.dtype.kind != "f":
            continue
        if _matters(bench, goal, place, array, plain):
            found.append(place)
    return found


def _same(a: Vector, b: Vector | None) -> bool:
    return b is not None and a.shape == b.shape and a.size > 1 and bool(np.array_equal(a, b))


def _matters(bench: Bench, goal: Goal, place: Place, array: Vector, plain: float) -> bool:
    rng = np.random.default_rng(11)
    for size in (1e-3, 0.3):
        roots = bench.fresh()
        for other in bench.places if size > 1e-3 else ():
            spread = as_numbers(other.read(roots))
            if spread is not None and spread.dtype.kind == "f" and spread.ndim and spread.size > 1:
                with_noise = spread + 0.1 * np.random.default_rng(1).normal(size=spread.shape)
                if other.way[0][1] not in bench.case.data:
                    other.write(roots, with_noise.astype(spread.dtype))
        again = [roots, _copied(bench, roots)]
        moved = np.asarray(place.array(roots), np.float64)
        place.write(again[1], moved + size * rng.normal(size=array.shape))
        try:
            values = [float(np.asarray(loss_at(bench, goal, r))) for r in again]
        except Exception:  # not to be moved: a size, a switch
            return False
        if values[0] != values[1] and np.isfinite(values).all():
            return True
    return False


def _copied(bench: Bench, roots: Roots) -> Roots:
    import copy

    return copy.deepcopy(roots)


def _note_unmatched(situation: Situation, parameters: Sequence[Place]) -> None:
    """Arrays beside the parameters that change the loss and get no gradient."""
    matched = {p.way[:-1] for p in situation.parameters}
    left = [
        p.name
        for p in parameters
        if p not in situation.parameters
        and p.way[:-1] in matched
        and np.size(p.read(situation.bench.start)) > 1
        and not roles.has_role(p.name.rpartition(".")[2], roles.INPUTS)
        and len(p.way) > 1
    ]
    if left:
        names = ", ".join(left[:6])
        verb = "is never updated" if situation.reading.is_update else "has no gradient"
        situation.notes.append(f"{names} changes the loss and {verb}: is that meant?")


def _choose_goal(situation: Situation, goals: Sequence[Goal]) -> None:
    """Compute truth and judgement; of several losses take the one that explains most."""
    bench = situation.bench
    best: tuple[float, ...] | None = None
    ran = bench.run(situation.case.step)
    for order, goal in enumerate(goals):
        situation.goal = goal
        try:
            truth = find_truth(bench, goal, with_input(situation))
        except ValueError:
            continue
        for place, (text, factor) in enumerate(goal_scales(bench, goal, situation.case).items()):
            scaled = _scaled(truth, factor)
            trial = Situation(bench, goal, scaled, situation.parameters, situation.reading)
            trial.rate, trial.error = situation.rate, ran.error
            trial.blocks = {} if ran.error else situation.reading.blocks(ran, bench.start)
            trial.judgement = trial.judge(ran, bench.start)
            n_right = trial.judgement.n_right
            # where some are right with a mean and some with a sum, more likely a mean is forgotten
            score = (n_right, -order, -factor if n_right else 0.0, -place)
            if best is None or score > best:
                best = score
                situation.truth, situation.blocks = scaled, trial.blocks
                situation.judgement = trial.judgement
                chosen, prefix = goal, text
    if best is None:
        raise CannotFollow(f"the loss ({goals[0].name}) is not finite at these numbers")
    situation.goal = chosen
    situation.error = ran.error
    if chosen.assumed:
        situation.assumed = prefix.format(chosen.name)
        _note_other_scale(situation, goals)


def _note_other_scale(situation: Situation, goals: Sequence[Goal]) -> None:
    """Say so where the code computes a usual loss of the outputs that differs by a constant."""
    watch = Watch()
    situation.bench.run(situation.case.step, None, watch)
    numbers = [float(e.value) for e in watch.events if np.ndim(e.value) == 0]
    chosen = situation.truth.loss
    if any(abs(n - chosen) <= 1e-9 * abs(chosen) for n in numbers):
        return
    plain = float(np.asarray(loss_at(situation.bench, situation.goal, situation.bench.fresh())))
    for text, factor in goal_scales(situation.bench, situation.goal, situation.case).items():
        other = factor * plain
        if other and any(abs(n - other) <= 1e-9 * abs(other) for n in numbers):
            situation.notes.append(
                f"it computes {text.format(situation.goal.name)}, of which the derivative is "
                f"{factor * plain / chosen:.6g} times that of the loss assumed: a sum, a mean or a half "
                "too many or too few?"
            )
            return


def _scaled(truth: Truth, factor: float) -> Truth:
    if factor == 1.0:
        return truth
    from dataclasses import replace

    return replace(
        truth,
        loss=factor * truth.loss,
        gradients={name: factor * g for name, g in truth.gradients.items()},
        steps=[replace(s, cotangent=factor * s.cotangent) for s in truth.steps],
    )


# The learning rate, and one step at a time


def find_rate(situation: Situation) -> float | None:
    """The number that updates are proportional to: as given, or found by doubling it."""
    bench, case = situation.bench, situation.case
    if case.rate is not None:
        return case.rate
    scalars = [
        place
        for place in bench.places
        if isinstance(place.read(bench.start), float | np.floating)
        or (isinstance(place.read(bench.start), int) and _is_rate(place))
    ]
    for place in sorted(scalars, key=lambda p: not _is_rate(p)):
        value = float(place.read(bench.start))
        powers = _powers(situation, place, value)
        if powers and min(powers) > 0.9:
            situation.rate_place = place
            return value
    return _default_rate(situation)


def _is_rate(place: Place) -> bool:
    return roles.has_role(place.name.rpartition(".")[2].strip("[]'\""), roles.RATE)


def _default_rate(situation: Situation) -> float | None:
    """The rate that was filled in for a backward method that takes one."""
    functions = [r for r in situation.bench.start[:2] if callable(r)][1:]
    if isinstance(situation.bench.start[0], list):
        functions += [
            getattr(layer, str(roles.find_method(layer, roles.GRADIENT)))
            for layer in situation.bench.start[0]
        ]
    takes = any(
        roles.has_role(p.name, roles.RATE) for f in functions for p in roles.parameters_of(f)
    )
    return USUAL_RATE if takes else None


def _powers(situation: Situation, place: Place, value: float) -> list[float]:
    """By which power of two the update of each parameter grows when this number doubles."""
    bench = situation.bench
    sizes = []
    for factor in (1e-3, 2e-3):
        roots = bench.fresh()
        place.write(roots, factor * value)
        ran = bench.run(situation.case.step, roots)
        if ran.error is not None:
            return []
        reading = situation.reading
        unscaled = Reading(updated=reading.updated, renewed=reading.renewed)
        blocks = unscaled.blocks(ran, bench.start)
        sizes.append([float(np.linalg.norm(block)) for block in blocks.values()])
    return [float(np.log2(b / a)) for a, b in zip(*sizes, strict=True) if a > 0 and b > 0]


def _one_step_at_a_time(bench: Bench) -> None:
    """Where a call updates after each sample, keep the first sample alone: one call, one update."""
    case = bench.case
    sizes = {len(bench.start[i]) for i in case.data if np.ndim(as_numbers(bench.start[i])) >= 1}
    if len(sizes) != 1 or sizes == {1} or len(case.data) < 2:
        return
    if _n_updates(bench) <= 1:
        return
    for index in case.data:
        bench.start[index] = bench.start[index][:1]
    bench.case.notes.append(
        "it updates after each sample, so one sample was taken; a sum and a mean over samples are "
        "then the same"
    )


def _n_updates(bench: Bench) -> int:
    """How many different values the parameters go through in one call."""
    roots = bench.fresh()
    places = [
        p
        for p in bench.places
        if p.way[0][1] not in bench.case.data
        and (array := as_numbers(p.read(roots))) is not None
        and array.dtype.kind == "f"
        and array.size
    ]
    seen: dict[str, list[float]] = {p.name: [] for p in places}

    def spy() -> None:
        for place in places:
            try:
                total = float(np.sum(place.array(roots) * 1.2345))
            except Exception:
                continue
            if not seen[place.name] or seen[place.name][-1] != total:
                seen[place.name].append(total)

    spy()
    before = bench.fresh()
    ran = bench.run(bench.case.step, roots, Watch(recording=False, spy=spy))
    spy()
    if ran.error is not None:
        return 0
    del before
    kept = [len(totals) - 1 for totals in seen.values()]
    return max(kept, default=0)
