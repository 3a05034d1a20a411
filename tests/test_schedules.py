"""Learning-rate schedules at their first step, their boundaries, and after their end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.optim import (
    SGD,
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstant,
    StepDecay,
    Warmup,
)

DECAYS = [
    StepDecay(0.8, factor=0.5, every=10),
    ExponentialDecay(0.8, factor=0.5, steps=10),
    InverseTimeDecay(0.8, steps=10),
    CosineDecay(0.8, steps=100, final=0.1),
    PiecewiseConstant([10, 20], [0.8, 0.4, 0.2]),
]
IDS = [type(schedule).__name__ for schedule in DECAYS]


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (StepDecay(0.8, factor=0.5, every=10), {1: 0.8, 10: 0.8, 11: 0.4, 20: 0.4, 21: 0.2}),
        (ExponentialDecay(0.8, factor=0.5, steps=10), {1: 0.8, 11: 0.4, 21: 0.2, 41: 0.05}),
        (ExponentialDecay(1.0, factor=0.25, steps=2), {1: 1.0, 2: 0.5, 3: 0.25, 4: 0.125}),
        (InverseTimeDecay(0.8, steps=10), {1: 0.8, 11: 0.4, 31: 0.2, 71: 0.1}),
        (CosineDecay(0.9, steps=10, final=0.1), {1: 0.9, 6: 0.5, 11: 0.1, 12: 0.1, 1000: 0.1}),
        (CosineDecay(1.0, steps=3), {1: 1.0, 2: 0.75, 3: 0.25, 4: 0.0}),
        (PiecewiseConstant([3, 5], [1, 0.5, 0.1]), {1: 1, 3: 1, 4: 0.5, 5: 0.5, 6: 0.1, 99: 0.1}),
        (PiecewiseConstant([], [0.3]), {1: 0.3, 7: 0.3}),
        (Warmup(0.8, steps=4), {1: 0.2, 2: 0.4, 3: 0.6, 4: 0.8, 5: 0.8, 99: 0.8}),
        (Warmup(0.8, steps=1), {1: 0.8, 2: 0.8}),
        (
            Warmup(StepDecay(0.8, factor=0.5, every=2), steps=4),
            {1: 0.2, 3: 0.6, 4: 0.8, 5: 0.8, 6: 0.4, 7: 0.4, 8: 0.2},
        ),
        (Warmup(Warmup(1.0, steps=2), steps=2), {1: 0.25, 2: 0.5, 3: 1.0}),
    ],
)
def test_rates_at_the_boundaries(schedule, rates):
    assert {step: schedule(step) for step in rates} == pytest.approx(rates, abs=1e-15)


@pytest.mark.parametrize("schedule", DECAYS, ids=IDS)
@given(step=st.integers(1, 10_000))
def test_decays_start_at_their_first_rate_and_never_rise(schedule, step):
    assert schedule(1) == 0.8
    assert 0.0 <= schedule(step + 1) <= schedule(step)


@pytest.mark.parametrize("schedule", DECAYS, ids=IDS)
def test_an_optimizer_takes_them(schedule):
    sgd = SGD(Warmup(schedule, steps=5))
    assert sgd.learning_rate_at(1) == pytest.approx(0.8 / 5)
    assert sgd.learning_rate_at(7) == schedule(3)
    assert type(sgd.learning_rate_at(7)) is float
    assert hash(sgd) == hash(SGD(Warmup(schedule, steps=5)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StepDecay(-1.0), "StepDecay got learning_rate=-1: give a finite number"),
        (lambda: StepDecay(1.0, factor=0.0), "StepDecay got factor=0: .* 0 < factor"),
        (lambda: StepDecay(1.0, every=0), "StepDecay got every=0: give a whole number"),
        (lambda: ExponentialDecay(1.0, steps=-3), "ExponentialDecay got steps=-3"),
        (lambda: ExponentialDecay(1.0, factor=math.inf), "ExponentialDecay got factor=inf"),
        (lambda: InverseTimeDecay(1.0, steps=0), "InverseTimeDecay got steps=0"),
        (lambda: CosineDecay(1.0, 10, final=-0.1), "CosineDecay got final=-0.1"),
        (lambda: Warmup(-1.0), "Warmup got learning_rate=-1"),
        (lambda: Warmup(1.0, steps=0), "Warmup got steps=0"),
        (lambda: PiecewiseConstant([10], [0.1]), "1 boundaries and 1 values: give one value more"),
        (lambda: PiecewiseConstant([9, 9], [3, 2, 1]), r"boundaries=\(9, 9\): .* increasing"),
        (lambda: PiecewiseConstant([9], [0.1, -0.1]), "PiecewiseConstant got values=-0.1"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CosineDecay(1.0, steps=10.5), "steps=10.5, a float: give a whole number of steps"),
        (lambda: StepDecay("1"), "learning_rate='1', a str: give a number"),
        (lambda: Warmup(StepDecay), "Warmup got learning_rate=StepDecay, a class"),
    ],
)
def test_wrong_types_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()
