"""Training steps on the C engine beside eager: every layer, loss, optimizer and penalty.

Many programs share one C file: see `c_engine.Shared`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from c_engine import Shared, assert_close, needs_compiler
from layer_checks import drawn_inputs
from test_compiled_step import ACTIVATIONS, OPTIMIZERS, HeavyBall, targets_for
from test_every_layer import CASES

from chainrule import nn, optim
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.samples import Batch

pytestmark = needs_compiler

LOSSES = list(nn.losses.LOSSES.values())
DTYPES = ("float64", "float32")
QUICK = ("-Og",)  # three times as fast to compile as what users get, which slow tests have


@dataclass
class Trained:
    """A network, a loss and an optimizer that train side by side, from the same start."""

    name: str
    network: nn.Network
    loss: Any
    optimizer: optim.Optimizer
    batches: Sequence[Batch]
    penalties: Sequence[Any] = ()
    step: CompiledStep | None = None

    def build(self) -> None:
        step = CompiledStep(self.network, self.loss, self.optimizer, self.penalties, "c")
        for batch in self.batches:
            step.compile_for(*(array for array in batch if array is not None))
        self.step = step

    def check(self) -> None:
        """As many steps as there are batches: results, what is learned, and the generators."""
        assert self.step is not None
        eager = EagerStep(self.network, self.loss, self.optimizer, self.penalties)
        generators = np.random.default_rng(3), np.random.default_rng(3)
        for number, batch in enumerate(self.batches, start=1):
            rate = self.optimizer.learning_rate_at(number)
            pairs = [
                step.take(batch, rate, number, rng)
                for step, rng in zip((self.step, eager), generators, strict=True)
            ]
            found, expected = (dict(zip(("loss", "outputs"), pair, strict=True)) for pair in pairs)
            for step, values in ((self.step, found), (eager, expected)):
                learned = step.read_state()
                values |= {"parameters": learned.flat, **learned.slots, **learned.state}
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                assert_close(found[key], value, f"{self.name}: {key} of step {number}")
        states = [rng.bit_generator.state for rng in generators]
        assert states[0] == states[1], f"{self.name}: the generator is elsewhere"


def check_all(trained: Sequence[Trained], flags: Sequence[str] = QUICK) -> None:
    """Have them built, all in one file, and check each: nothing falls back."""
    shared = Shared(flags)
    with shared.collecting():
        for one in trained:
            one.build()
        shared.load()
    assert not shared.refused
    for one in trained:
        one.check()


def network(activation: type, dtype: str) -> nn.Network:
    layers = [nn.Dense(4), activation(), nn.Flatten(), nn.Dense(3)]
    return nn.Network(layers, input_shape=6, seed=0, dtype=dtype)


def batches(loss: Any, dtype: str, sizes: Sequence[int] = (5, 5), weighted: bool = False) -> Any:
    rng = np.random.default_rng(1)
    return [
        Batch(
            rng.standard_normal((n, 6)).astype(dtype),
            targets_for(loss, n, dtype, rng),
            rng.random(n).astype(dtype) if weighted else None,
        )
        for n in sizes
    ]


name_of = lambda value: getattr(value, "__name__", repr(value))
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=name_of)


def layers_and_losses(loss: Any, every_dtype: bool = False) -> list[Trained]:
    return [
        Trained(
            f"{activation.__name__}, {name_of(loss)}, {dtype}", network(activation, dtype), loss,
            optim.SGD(0.1), batches(loss, dtype),
        )
        for number, activation in enumerate(ACTIVATIONS)
        for dtype in (DTYPES if every_dtype else [DTYPES[number % 2]])
    ]  # fmt: skip


def losses_and_optimizers(loss: Any, every_dtype: bool = False) -> list[Trained]:
    return [
        Trained(
            f"{optimizer!r}, {name_of(loss)}, {dtype}", network(nn.Tanh, dtype), loss, optimizer,
            batches(loss, dtype, (5, 5, 5)),
        )
        for number, optimizer in enumerate([*OPTIMIZERS, HeavyBall(0.1)])
        for dtype in (DTYPES if every_dtype else [DTYPES[number % 2 - 1]])
    ]  # fmt: skip


def sizes_weights_and_penalties(loss: Any) -> list[Trained]:
    sizes = [((1, 1), False), ((1, 1), True), ((5, 2, 5, 1), True)]
    penalties = [
        ((nn.L1(0.1),), optim.SGD(0.1), "float64"),
        ((nn.L2(0.1), nn.L1(0.01)), optim.Adam(), "float32"),
        ((nn.L2(0.1, biases=True),), optim.SGD(0.1, 0.9), "float64"),
    ]
    return [
        Trained(
            f"{given}, weighted: {weighted}, {dtype}", network(nn.Sigmoid, dtype), loss,
            optim.Adam(), batches(loss, dtype, given, weighted),
        )
        for (given, weighted), dtype in zip(sizes, (*DTYPES, "float64"), strict=True)
    ] + [
        Trained(repr(given), network(nn.GELU, dtype), loss, optimizer, batches(loss, dtype), given)
        for given, optimizer, dtype in penalties
    ]  # fmt: skip


def every_layer(combinations: Sequence[tuple[str, int]]) -> list[Trained]:
    """Each layer between others, with each of these dtypes and numbers of samples."""
    trained = []
    for name, case in CASES.items():
        for dtype, n in combinations:
            layers = [case.make(), nn.Tanh(), nn.Flatten(), nn.Dense(2)]
            if not layers[0].takes_integers:
                layers.insert(0, nn.Dense(case.input_shape[-1]))
            net = nn.Network(layers, input_shape=case.input_shape, seed=0, dtype=dtype)
            x = drawn_inputs(net.layers[0], (n, *net.input_shape), dtype=dtype)
            y = np.random.default_rng(2).random((n, *net.output_shape)).astype(dtype)
            trained.append(
                Trained(
                    f"{name}, {dtype}, {n} samples", net, nn.losses.squared_error,
                    optim.SGD(0.05), [Batch(x, y)] * 3,
                )
            )  # fmt: skip
    return trained


@every_loss
def test_every_activation_and_every_optimizer_with_every_loss(loss):
    """Each pair in one of the two dtypes; in both of them in a slow test."""
    check_all([*layers_and_losses(loss), *losses_and_optimizers(loss)])


@pytest.mark.parametrize("number", range(2))
def test_batches_of_one_weights_penalties_and_sizes_that_change(number):
    chosen = LOSSES[number::4]
    check_all([one for loss in chosen for one in sizes_weights_and_penalties(loss)])


@pytest.mark.parametrize("part", range(4))
def test_every_layer_trains(part):
    """Each with 4 samples and in one dtype; one sample, and the other dtype, in a slow test."""
    both = every_layer([("float32", 4), ("float64", 4)])
    chosen = [both[2 * i + i % 2] for i in range(len(CASES))][part::4]
    check_all(chosen)


@pytest.mark.slow
@every_loss
def test_every_pair_in_both_dtypes_as_users_get_them(loss):
    check_all([*layers_and_losses(loss, True), *losses_and_optimizers(loss, True)], ())
    check_all(sizes_weights_and_penalties(loss), ())


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("n", [1, 4])
def test_every_layer_in_both_dtypes_as_users_get_it(part, n):
    check_all(every_layer([(dtype, n) for dtype in DTYPES])[part::4], ())
