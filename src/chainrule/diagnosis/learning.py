"""What short trainings of a copy show: rates, penalties, and whether there is anything to learn."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from chainrule.diagnosis.case import Case
from chainrule.diagnosis.report import Finding, short
from chainrule.diagnosis.trials import Curve, Trials
from chainrule.optim import Adam, Optimizer

__all__ = [
    "LEARNED",
    "Progress",
    "batch_norm",
    "knows_already",
    "learning_rate",
    "own_rate",
    "regularisation",
]

LEARNED = 0.25  # of the best constant's loss is gone: the network learns
_NOT_BY_CHANCE = 0.6
_SOME = 0.1
_MAIN_STEPS = 100
_SEARCH_STEPS = 50


@final
@dataclass(frozen=True)
class Progress:
    """The trial by the user's own rate, and how far it came: skills before and after."""

    curve: Curve
    before: float
    after: float

    knows: bool

    @property
    def learns(self) -> bool:
        """Whether it came to know something, or knows it already."""
        return self.knows or (self.after > LEARNED and self.after > self.before + _SOME)

    @staticmethod
    def of(trials: Trials, optimizer: Optimizer, rate: float) -> Progress:
        """Take the steps of the trial."""
        curve = trials.run(optimizer, rate, _MAIN_STEPS)
        after = trials.skill(curve.after) if curve.is_finite else -np.inf
        return Progress(curve, trials.skill(curve.before), after, knows_already(trials))


def knows_already(trials: Trials) -> bool:
    """Whether the loss is small where the trials begin.

    Who was never trained may be somewhat right by chance.
    """
    loss = trials.training_loss(trials.start, trials.case.training)
    return trials.skill(loss) > (LEARNED if trials.case.has_been_fit else _NOT_BY_CHANCE)


# The learning rate

_BETTER = 0.2  # skill by which another rate must be ahead
_LITTLE = 0.02
_SPIKE = 3.0  # times the loss of the start: a rate that throws it up so far is too large,
_HIGH_SPIKE = 10.0  # or so far, where the loss comes down again
_LEAP = 2.0  # first step in parts of the weights' own size: beyond 1 they are drawn anew
_LONGEST = 20_000  # steps: who needs more of them has a rate that is too small
_LONG, _STANDS = 4_000, 0.02  # where a hundred steps gain less skill than that
_HARDLY = 0.08  # of what the larger rate gains


def learning_rate(trials: Trials, optimizer: Optimizer, progress: Progress) -> Iterator[Finding]:
    """A rate at which the loss does not fall, where it does at a larger or smaller one."""
    leap = _leap(trials, optimizer, progress.curve.rate)
    stands_still = progress.after < max(progress.before, 0.0) + 0.05
    spike = _HIGH_SPIKE if progress.learns else _SPIKE
    if not progress.curve.is_finite or leap > _LEAP or _rise(trials, progress.curve) > spike:
        found = _too_large(trials, optimizer, progress, leap)
    elif progress.learns:
        found = None
        if progress.after < progress.before - _BETTER:
            found = _too_large(trials, optimizer, progress, leap)
    else:
        found = _too_small(trials, optimizer, progress)
        if found is None and stands_still:
            found = _too_large(trials, optimizer, progress, leap)
    if found is not None:
        yield found


def _leap(trials: Trials, optimizer: Optimizer, rate: float) -> float:
    """How far the first step goes, in parts of the size of the weights."""
    weights, curve = trials.start.flat, trials.run(optimizer, rate, 1)
    moved = float(np.sqrt(np.square(curve.learned.flat - weights, dtype=np.float64).mean()))
    size = float(np.sqrt(np.square(weights, dtype=np.float64).mean()))
    return moved / max(size, 0.1)


def _rise(trials: Trials, curve: Curve) -> float:
    """The highest loss on the way in parts of that of the start, over some 64 samples each."""
    n_batches = max(1, 64 // trials.batch_size(trials.case.training))
    losses = curve.losses[: len(curve.losses) // n_batches * n_batches].reshape(-1, n_batches)
    highest = float(losses.mean(axis=1).max(initial=0.0))
    return highest / max(curve.before, trials.constant, float(curve.losses[0]), 1e-300)


def _too_large(
    trials: Trials, optimizer: Optimizer, progress: Progress, leap: float
) -> Finding | None:
    curve, rate = progress.curve, progress.curve.rate
    enough = max(LEARNED, progress.after - 0.05)
    n_rates = 3 if curve.is_finite else 6
    rates = [rate / 10**i for i in range(1, n_rates + 1)]
    smaller = _best(trials, optimizer, rates, enough)
    wanted = LEARNED if leap > _LEAP else max(progress.after - 0.1, progress.before + 0.02)
    if smaller is None or trials.skill(smaller.after) < wanted:
        return None
    ahead = trials.skill(smaller.after) - progress.after
    rise = _rise(trials, curve)
    if curve.is_finite and ahead < _BETTER and rise < _SPIKE and leap < _LEAP:
        return None
    if progress.learns and leap < _LEAP and ahead < _LITTLE:
        return None  # it was thrown up, and came down to where smaller rates come
    n_steps = len(curve.losses)
    how = f"went from {short(curve.before)} to {short(curve.after)} in {n_steps} steps"
    if not curve.is_finite:
        how = f"became infinite in step {n_steps}"
    elif rise > _SPIKE:
        how += f", rising {short(rise)} times on the way"
    evidence = (
        f"at the rate {rate:g}, whose first step moves the weights by {short(leap)} of their size, "
        f"the loss {how}; at {smaller.rate:.3g} it fell to {short(smaller.after)}"
    )
    fix = f"learning_rate={smaller.rate:.1g}"
    return Finding("learning rate too large", evidence, rate, fix)


def _too_small(trials: Trials, optimizer: Optimizer, progress: Progress) -> Finding | None:
    curve, rate = progress.curve, progress.curve.rate
    if not rate:
        evidence = "the learning rate is 0: no step changes anything"
        return Finding("learning rate too small", evidence, 0.0, "learning_rate=0.001")
    larger = _best(trials, optimizer, [rate * 10**i for i in (1, 2, 3, 5, 7, 9)], 2 * LEARNED)
    if larger is None:
        return None
    gained, possible = curve.before - curve.after, curve.before - larger.after
    needed = len(larger.losses) * larger.rate / rate  # as far as the larger rate came
    ahead = trials.skill(larger.after) - max(progress.after, 0.0)
    stands = progress.after < progress.before + _STANDS
    if ahead < _BETTER / 2 or gained > _HARDLY * possible:
        return None
    if needed < (_LONG if stands else _LONGEST):
        return None
    evidence = (
        f"at the rate {rate:g} the loss went from {curve.before:.4g} to {curve.after:.4g} in "
        f"{len(curve.losses)} steps; at {larger.rate:g} it fell to {short(larger.after)} in "
        f"{len(larger.losses)}, which would take about {needed:.1g} steps so"
    )
    fix = f"learning_rate={larger.rate:.1g}"
    return Finding("learning rate too small", evidence, rate, fix)


def _best(trials: Trials, optimizer: Optimizer, rates: list[float], enough: float) -> Curve | None:
    """The rate of these that came farthest; the search ends where one came far enough."""
    found: list[Curve] = []
    for rate in rates:
        curve = trials.run(optimizer, rate, _SEARCH_STEPS)
        if curve.is_finite and len(curve.losses):
            found.append(curve)
            if trials.skill(curve.after) > enough:
                break
    return min(found, key=lambda curve: curve.after, default=None)


def own_rate(case: Case) -> float:
    """A rate for Adam that moves each weight by a tenth of their usual size in some ten steps."""
    weights = [
        w
        for w in case.goal.network.parameters.unflatten(case.goal.network.parameters.flat).values()
        if w.ndim > 1 and np.any(w)
    ]
    sizes = [float(np.sqrt(np.square(w, dtype=np.float64).mean())) for w in weights]
    return float(np.clip(0.1 * np.median(sizes), 1e-3, 0.03)) if sizes else 0.01


# Penalties

_HELD_BACK = 0.25  # skill that is lost to them: of classes, for which the loss need not be small
_HELD_BACK_OF_VALUES = 0.12


def regularisation(trials: Trials, case: Case) -> Iterator[Finding]:
    """Penalties, weight decay or dropout that leave nothing to learn with."""
    name = "regularisation too strong"
    for label, part in case.goal.network.parts.items():
        rate = getattr(part, "rate", None)
        if type(part).__name__ == "Dropout" and isinstance(rate, float) and rate >= _MOST_DROPPED:
            evidence = f"{label} makes {100 * rate:g} % of its values 0 in each step"
            yield Finding(name, evidence, rate, "a rate of 0.5 or less", label)
    decay = float(getattr(case.optimizer, "weight_decay", 0.0) or 0.0)
    if not case.goal.penalties and not decay:
        return
    rate = own_rate(case)
    with_it: Optimizer = Adam(rate)
    without: Optimizer = with_it
    if decay and case.optimizer is not None:
        with_it = dataclasses.replace(case.optimizer, learning_rate=rate)
        without = dataclasses.replace(with_it, weight_decay=0.0)  # type: ignore[call-arg]
    free = trials.run(without, rate, _MAIN_STEPS, penalties=(), falls=True)
    bound = trials.run(with_it, rate, _MAIN_STEPS, falls=True)
    lost = trials.skill(free.after) - max(trials.skill(bound.after), -1.0)
    if lost > (_HELD_BACK_OF_VALUES if case.labels is None else _HELD_BACK):
        what = f"weight_decay={decay:g}" if decay else "the penalty"
        evidence = (
            f"with {what} the loss of the data stays at {short(bound.after)} after "
            f"{len(bound.losses)} steps, without it falls to {short(free.after)}"
        )
        yield Finding(name, evidence, lost, "a hundredth of it")


_MOST_DROPPED = 0.85


# Batch normalisation

_MOST_NOISE = 0.45  # of the spread of the outputs: what four values per mean make, or fewer
_ENOUGH_FOR_NORM = 8


def batch_norm(trials: Trials, case: Case, asked: int) -> Iterator[Finding]:
    """Statistics of so few samples that the output of one depends on who else is in its batch."""
    network = case.goal.network
    if not network.state or asked >= _ENOUGH_FOR_NORM:
        return
    name, fix = "batch too small for batch norm", "batch_size=32, or nn.LayerNorm or nn.GroupNorm"
    layer = next(iter(network.state)).rpartition(".")[0]
    try:
        network.check_batch_size(asked)
    except ValueError as error:
        yield Finding(name, str(error), float(asked), fix, layer)
        return
    noise = _noise_of_mates(trials, case, asked)
    if noise > _MOST_NOISE:
        evidence = (
            f"in batches of {asked} the outputs of one sample vary by {100 * noise:.3g} % of the "
            "spread of all outputs, by who else is in the batch"
        )
        yield Finding(name, evidence, noise, fix, layer)


def _noise_of_mates(trials: Trials, case: Case, size: int) -> float:
    """The standard deviation of one sample's outputs over batches, in parts of that of all."""
    network, rng = case.goal.network, case.rng(8)
    parameters = network.parameters.unflatten(trials.start.flat)
    n = len(case.training)
    watched = rng.permutation(n)[:8]
    gave = np.empty((len(watched), 12, *network.output_shape))
    for i, one in enumerate(watched):
        others = np.delete(np.arange(n), one)
        for j in range(gave.shape[1]):
            rows = np.concatenate([[one], rng.permutation(others)[: size - 1]])
            x = case.training.x[rows]
            outputs, _ = network.apply(parameters, trials.start.state, x, True, case.rng(9))
            gave[i, j] = np.asarray(outputs)[0]
    within = float(np.square(gave - gave.mean(axis=1, keepdims=True)).mean())
    total = float(np.square(gave - gave.mean(axis=(0, 1))).mean())
    return float(np.sqrt(within / max(total, 1e-300)))
