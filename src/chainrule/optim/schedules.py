"""Learning-rate schedules: functions of the step that an optimizer takes for its learning rate.

`schedule(step)` is the learning rate of that update. Steps count updates, from 1, as everywhere in
chainrule; so t = step - 1 in the formulas is the number of updates made before, and the first
update has the rate a schedule starts with. An epoch has ceil(n_samples / batch_size) steps. Any
function of one argument will do; these are the usual ones.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from chainrule.optim.checks import require_count, require_number

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "PiecewiseConstant",
    "Schedule",
    "StepDecay",
    "Warmup",
    "require_learning_rate",
]

Schedule: TypeAlias = Callable[[int], float]


def require_learning_rate(owner: object, value: Any) -> float | Schedule:
    """A learning rate as it was given: a schedule, or a number of at least 0 as Python's float.

    Raises TypeError for what is neither, and ValueError for a negative or non-finite number.
    """
    if callable(value):
        if isinstance(value, type):
            raise TypeError(
                f"{type(owner).__name__} got learning_rate={value.__name__}, a class: "
                f"make an object of it first, {value.__name__}(...)"
            )
        return value  # type: ignore[no-any-return]
    return require_number(owner, "learning_rate", value)


@dataclass(frozen=True)
class StepDecay:
    """Multiplies the learning rate by `factor` after every `every` steps.

    learning_rate * factor^floor(t / every), t = step - 1

    >>> [StepDecay(0.8, factor=0.5, every=10)(step) for step in (1, 10, 11, 21)]
    [0.8, 0.8, 0.4, 0.2]
    """

    learning_rate: float
    factor: float = 0.1
    every: int = 1000

    def __post_init__(self) -> None:
        _set(self, "learning_rate", require_number(self, "learning_rate", self.learning_rate))
        _set(self, "factor", require_number(self, "factor", self.factor, positive=True))
        _set(self, "every", require_count(self, "every", self.every))

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor ** ((step - 1) // self.every)


@dataclass(frozen=True)
class ExponentialDecay:
    """Shrinks the learning rate smoothly, to `factor` times itself over any `steps` steps.

    learning_rate * factor^(t / steps), t = step - 1

    >>> [ExponentialDecay(0.8, factor=0.25, steps=10)(step) for step in (1, 6, 11)]
    [0.8, 0.4, 0.2]
    """

    learning_rate: float
    factor: float = 0.1
    steps: int = 1000

    def __post_init__(self) -> None:
        _set(self, "learning_rate", require_number(self, "learning_rate", self.learning_rate))
        _set(self, "factor", require_number(self, "factor", self.factor, positive=True))
        _set(self, "steps", require_count(self, "steps", self.steps))

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor ** ((step - 1) / self.steps)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class InverseTimeDecay:
    """Shrinks the learning rate like 1/t: half of it is left after `steps` steps.

    learning_rate / (1 + t / steps), t = step - 1

    Meets the conditions sum = inf, sum of squares < inf under which stochastic approximation
    converges (Robbins and Monro 1951, "A stochastic approximation method").

    >>> [InverseTimeDecay(0.8, steps=10)(step) for step in (1, 11, 31)]
    [0.8, 0.4, 0.2]
    """

    learning_rate: float
    steps: int = 1000

    def __post_init__(self) -> None:
        _set(self, "learning_rate", require_number(self, "learning_rate", self.learning_rate))
        _set(self, "steps", require_count(self, "steps", self.steps))

    def __call__(self, step: int) -> float:
        return self.learning_rate / (1.0 + (step - 1) / self.steps)


@dataclass(frozen=True)
class CosineDecay:
    """Takes the learning rate down to `final` along half a cosine wave, over `steps` steps.

    final + (learning_rate - final) * (1 + cos(pi * t / steps)) / 2, t = min(step - 1, steps)

    One period of Loshchilov and Hutter 2017, "SGDR", equation 5; afterwards it stays at `final`.

    >>> [round(CosineDecay(0.8, steps=10)(step), 3) for step in (1, 6, 11, 99)]
    [0.8, 0.4, 0.0, 0.0]
    """

    learning_rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        _set(self, "learning_rate", require_number(self, "learning_rate", self.learning_rate))
        _set(self, "steps", require_count(self, "steps", self.steps))
        _set(self, "final", require_number(self, "final", self.final))

    def __call__(self, step: int) -> float:
        angle = math.pi * min(step - 1, self.steps) / self.steps
        return self.final + (self.learning_rate - self.final) * (1.0 + math.cos(angle)) / 2.0


@dataclass(frozen=True)
class PiecewiseConstant:
    """One learning rate after the other: `values[i]` up to and including step `boundaries[i]`.

    There is one value more than boundaries; the last one holds from then on. Raises ValueError for
    boundaries that do not increase.

    >>> schedule = PiecewiseConstant(boundaries=[100, 200], values=[0.1, 0.01, 0.001])
    >>> [schedule(step) for step in (1, 100, 101, 200, 201)]
    [0.1, 0.1, 0.01, 0.01, 0.001]
    """

    boundaries: Sequence[int]
    values: Sequence[float]

    def __post_init__(self) -> None:
        boundaries = tuple(require_count(self, "boundaries", step) for step in self.boundaries)
        values = tuple(require_number(self, "values", value) for value in self.values)
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                f"PiecewiseConstant got {len(boundaries)} boundaries and {len(values)} values: "
                "give one value more than boundaries, the last for all steps after"
            )
        if any(later <= earlier for earlier, later in pairwise(boundaries)):
            raise ValueError(
                f"PiecewiseConstant got boundaries={boundaries}: give them in increasing order"
            )
        _set(self, "boundaries", boundaries)
        _set(self, "values", values)

    def __call__(self, step: int) -> float:
        return self.values[bisect_left(self.boundaries, step)]


@dataclass(frozen=True)
class Warmup:
    """Raises the learning rate linearly over `steps` steps, then follows another schedule.

    learning_rate(1) * step / steps          for step <= steps
    learning_rate(step - steps + 1)          from there on, so that no part of it is left out

    `learning_rate` is a number or a schedule. The gradual warmup of Goyal et al. 2017, "Accurate,
    large minibatch SGD", section 2.2.

    >>> [Warmup(0.8, steps=4)(step) for step in (1, 2, 4, 5)]
    [0.2, 0.4, 0.8, 0.8]
    """

    learning_rate: float | Schedule
    steps: int = 1000

    def __post_init__(self) -> None:
        _set(self, "learning_rate", require_learning_rate(self, self.learning_rate))
        _set(self, "steps", require_count(self, "steps", self.steps))

    def __call__(self, step: int) -> float:
        after = max(step - self.steps + 1, 1)
        full = self.learning_rate(after) if callable(self.learning_rate) else self.learning_rate
        return full * min(step, self.steps) / self.steps


def _set(frozen: object, name: str, value: Any) -> None:
    """Put the checked value in its field while the frozen object is being made."""
    object.__setattr__(frozen, name, value)
