"""What is known of the reader's code, and how a run of it is judged: which gradients are right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.case import Case, Roots
from chainrule.review.places import Place, as_numbers
from chainrule.review.reading import INPUT, Reading, blocks_equal, learn_reading
from chainrule.review.trial import Bench, Ran
from chainrule.review.truth import Goal, Truth

__all__ = ["CannotFollowError", "Judgement", "Situation", "judge", "learn", "with_input"]

Vector = np.ndarray[Any, Any]


class CannotFollowError(Exception):
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
    """Where to differentiate: by the parameters, and by the input if its gradient is returned."""
    case = situation.case
    if not case.returns_input_gradient:
        return situation.parameters
    for place in situation.bench.places:
        if place.way and place.way[0][1] in case.data and len(place.way) == 1:
            array = as_numbers(place.read(situation.bench.start))
            if (array is not None and array.dtype.kind == "f" and case.target is None) or (
                array is not None and array.dtype.kind == "f" and place.name == "x"
            ):
                return [*situation.parameters, Place(INPUT, place.way)]
    return situation.parameters
