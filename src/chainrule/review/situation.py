"""Where a check begins: the loss, the parameters, the truth, and which gradients are wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.bearings import CannotFollowError, Situation, learn, with_input
from chainrule.review.case import Case, Roots
from chainrule.review.goals import candidate_goals, goal_scales, target_of
from chainrule.review.places import Place, as_numbers
from chainrule.review.range import bring_into_range, calm, shrink
from chainrule.review.rates import find_rate
from chainrule.review.reading import Reading, blocks_equal
from chainrule.review.stopwatch import Stopwatch
from chainrule.review.trial import Bench, Ran, jitter, make_bench
from chainrule.review.truth import Goal, Truth, find_truth, loss_at
from chainrule.review.watch import Watch

__all__ = [
    "examine",
]

Vector = np.ndarray[Any, Any]


def examine(case: Case, seconds: float, seed: int, stopwatch: Stopwatch) -> Situation:
    """Find loss, parameters, truth and gradients; raises CannotFollowError."""
    bench = make_bench(case, seconds, seed)
    bench.stopwatch = stopwatch
    began = time.monotonic()
    bench.learn_source(lambda roots: _run_all(bench, roots))
    stopwatch.limit = 1.0 + 20 * (time.monotonic() - began)
    _one_step_at_a_time(bench)
    bring_into_range(bench)
    goals = candidate_goals(bench)
    ran = bench.run(case.step)
    if not goals:
        raise CannotFollowError(_no_loss(bench, ran))
    goal = goals[0]
    parameters = _parameters(bench, goal)
    if not parameters and bench.lift(bench.start[0]):
        goals = candidate_goals(bench) or goals
        goal, ran = goals[0], bench.run(case.step)
        parameters = _parameters(bench, goal)
    if not parameters and not case.returns_input_gradient:
        raise CannotFollowError(
            f"no array that {case.title} keeps or is given changes the loss ({goal.name}), so "
            f"there "
            "is no parameter to differentiate by"
        )
    situation = Situation(bench, goal, Truth(0.0, {}), parameters, Reading(), ran.error)
    calm(situation)
    ran = bench.run(case.step)
    situation.truth = find_truth(bench, goal, with_input(situation))
    if ran.error is None:
        situation.reading = learn(situation, ran, bench.start)
        if not situation.reading.names:
            raise CannotFollowError(_no_gradient(case, parameters))
        matched = set(situation.reading.names)
        situation.parameters = [p for p in parameters if p.name in matched]
        _note_unmatched(situation, parameters)
    jitter(bench, situation.parameters, seed)
    calm(situation)
    if situation.reading.is_update:
        situation.reading.rate = situation.rate = find_rate(situation)
    _choose_goal(situation, goals)
    if situation.judgement.wrong and _is_numerical(situation) and _is_nearly_right(situation):
        shrink(bench, situation.parameters)  # differences have few digits where a loss is steep
        _choose_goal(situation, goals)
    return situation


def _is_nearly_right(situation: Situation) -> bool:
    """Whether only digits are missing, and not because the code rounds to single precision."""
    watch = Watch()
    situation.bench.run(situation.case.step, None, watch)
    if any(getattr(event.value, "dtype", None) == np.float32 for event in watch.events):
        return False
    return all(
        block.size == situation.truth.gradients[name].size
        and blocks_equal(block, situation.truth.gradients[name], 0.03)
        for name, block in situation.blocks.items()
        if name in situation.truth.gradients
    )


def _run_all(bench: Bench, roots: Roots) -> None:
    """Run everything of the reader's once, so that its source is known."""
    for call in (bench.case.forward, bench.case.loss, bench.case.step):
        if call is not None:
            with_own = bench.fresh()
            try:
                call(with_own)
            except Exception:  # said later, by what needs its result
                continue


def _is_numerical(situation: Situation) -> bool:
    """Whether the step itself takes differences: it runs the loss once for each element."""
    watch = Watch()
    situation.bench.run(situation.case.step, None, watch)
    turns = Counter(event.number for event in watch.events)
    loss = Watch()
    if situation.goal.call is situation.case.step:
        return False
    situation.bench.run(situation.goal.call, None, loss)
    size = sum(g.size for g in situation.truth.gradients.values())
    once = {e.number for e in loss.events if situation.bench.points[e.number].role == "return"}
    return any(turns[number] >= max(size, 3) for number in once)


def _no_loss(bench: Bench, ran: Ran) -> str:
    if target_of(bench) is None and not isinstance(ran.error, Exception):
        return (
            f"{bench.case.title} computes no loss, and no argument looks like its target: give "
            f"loss=, "
            "a function of the output and the target, or of the same arguments"
        )
    if ran.error is not None:
        return f"{bench.case.title} raises {type(ran.error).__name__}: {ran.error}"
    return (
        f"the loss that {bench.case.title} differentiates was not found: no number is returned, "
        f"there is "
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
        raise CannotFollowError(f"the loss ({goals[0].name}) is not finite at these numbers")
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
                f"{factor * plain / chosen:.6g} times that of the loss assumed: a sum, a mean or "
                f"a half "
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


def _one_step_at_a_time(bench: Bench) -> None:
    """Where a call updates after each sample, keep the first sample alone: one call, one update."""
    case = bench.case
    data = [as_numbers(bench.start[i]) for i in case.data]
    sizes = {len(array) for array in data if array is not None and array.ndim >= 1}
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
