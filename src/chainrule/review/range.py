"""Weights at which the loss can be differentiated: finite, and not drowned in rounding.

Where a sigmoid or softmax has gone to 0 or 1, the loss is infinite, or `log(1 - a)` has few digits
left, and a right gradient differs from its derivative. Smaller weights show slips as well.
"""

from __future__ import annotations

import numpy as np

from chainrule.review.bearings import Situation, with_input
from chainrule.review.case import scalar_of
from chainrule.review.places import Place, as_numbers
from chainrule.review.trial import Bench
from chainrule.review.truth import Truth, find_truth

__all__ = ["bring_into_range", "calm", "shrink"]

_SMALLER = 0.4
_TRIES = 5
_NOISE = 1e-12
_STEADY = 3e-6


def bring_into_range(bench: Bench) -> None:
    """Make arrays smaller while the loss that the code computes is not finite."""
    for _ in range(_TRIES):
        losses = []
        for call in (bench.case.loss, bench.case.step):
            if call is not None:
                ran = bench.run(call)
                value = as_numbers(scalar_of(ran.result)) if ran.error is None else None
                losses += [] if value is None else [value]
        if all(np.isfinite(value).all() for value in losses):
            return
        shrink(bench, bench.places)


def calm(situation: Situation) -> None:
    """Make the parameters smaller while rounding changes the true gradient."""
    made_smaller = 0
    while made_smaller < _TRIES and not _is_steady(situation):
        shrink(situation.bench, situation.parameters)
        made_smaller += 1
    if made_smaller:
        situation.notes.append(
            "at the weights given the loss is rounded too much to be differentiated, so they were "
            f"taken {_SMALLER**made_smaller:.3g} times as large"
        )


def _is_steady(situation: Situation) -> bool:
    """Whether noise far below any digit that counts leaves the true gradient as it is."""
    try:
        truth = find_truth(situation.bench, situation.goal, with_input(situation))
        again = _truth_with_noise(situation)
    except ValueError:  # the loss is not finite here
        return False
    if truth.disputed:
        return False
    allowed = max(_STEADY, 3 * truth.tolerance)
    for name, gradient in truth.gradients.items():
        size = np.max(np.abs(np.nan_to_num(gradient)), initial=0.0)
        change = np.max(np.abs(np.nan_to_num(again.gradients[name] - gradient)), initial=0.0)
        if change > allowed * size:
            return False
    return True


def _truth_with_noise(situation: Situation) -> Truth:
    bench = situation.bench
    kept = bench.start
    rng = np.random.default_rng(17)
    bench.start = bench.fresh()
    try:
        for place in situation.parameters:
            array = np.asarray(place.array(bench.start))
            if array.dtype == np.float64:
                place.write(bench.start, array * (1 + _NOISE * rng.normal(size=array.shape)))
        return find_truth(bench, situation.goal, with_input(situation))
    finally:
        bench.start = kept


def shrink(bench: Bench, places: list[Place]) -> None:
    """Make the arrays at these places smaller, but for data."""
    for place in places:
        array = as_numbers(place.read(bench.start))
        if place.way[0][1] in bench.case.data or array is None:
            continue
        if array.dtype.kind == "f" and array.size > 1:
            place.write(bench.start, (_SMALLER * array).astype(array.dtype))
