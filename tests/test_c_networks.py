"""Training steps on the C engine beside eager: every layer, loss, optimizer and penalty.

Many programs share one C file: see `c_engine.Shared`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pytest
from c_engine import Shared, assert_close, needs_compiler
from layer_checks import drawn_inputs
from test_compiled_step import ACTIVATIONS, OPTIMIZERS, HeavyBall, targets_for
from test_every_layer import CASES

from chainrule import nn, optim
from chainrule.engines.batches import Batches, run_batches
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.samples import Batch

pytestmark = needs_compiler

LOSSES = list(nn.losses.LOSSES.values())
DTYPES = ("float64", "float32")

NOT_YET = (
    "loops over time",
    "convolve",
    "convolve_add",
    "convolve_transpose",
    "window_max",
    "window_sum",
)
"""What the C engine has no form of so far. The list shrinks: one that is not needed fails."""


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
            found, expected = (
                dict(zip(("loss", "outputs"), pair, strict=True)) for pair in pairs
            )
            for step, values in ((self.step, found), (eager, expected)):
                learned = step.read_state()
                values |= {"parameters": learned.flat, **learned.slots, **learned.state}
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                assert_close(found[key], value, f"{self.name}: {key} of step {number}")
        states = [rng.bit_generator.state for rng in generators]
        assert states[0] == states[1], f"{self.name}: the generator is elsewhere"


def check_all(trained: Sequence[Trained], flags: Sequence[str] = ("-O1",)) -> set[str]:
    """Have them built in one file, and check each; what the engine has no form of."""
    shared = Shared(flags)
    with shared.collecting():
        for one in trained:
            one.build()
        shared.load()
    missing = set(shared.refused)
    for one in trained:
        assert one.step is not None
        if not one.step.remark:
            one.check()
    return missing


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


name_of = lambda value: getattr(value, "__name__", repr(value))  # noqa: E731
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=name_of)


def layers_and_losses(loss: Any, dtypes: Sequence[str]) -> list[Trained]:
    return [
        Trained(
            f"{activation.__name__}, {name_of(loss)}, {dtype}", network(activation, dtype), loss,
            optim.SGD(0.1), batches(loss, dtype),
        )
        for i, activation in enumerate(ACTIVATIONS)
        for dtype in (dtypes[i % len(dtypes) :][:1] if len(dtypes) > 1 else dtypes)
    ]  # fmt: skip


def losses_and_optimizers(loss: Any, dtypes: Sequence[str]) -> list[Trained]:
    optimizers = [*OPTIMIZERS, HeavyBall(0.1)]
    return [
        Trained(
            f"{optimizer!r}, {name_of(loss)}, {dtype}", network(nn.Tanh, dtype), loss, optimizer,
            batches(loss, dtype, (5, 5, 5)),
        )
        for i, optimizer in enumerate(optimizers)
        for dtype in ([dtypes[(i + 1) % 2]] if len(dtypes) > 1 else dtypes)
    ]  # fmt: skip


@every_loss
def test_every_layer_and_every_optimizer_with_every_loss(loss):
    """Each pair in one of the two dtypes; in both of them in a slow test."""
    assert not check_all([*layers_and_losses(loss, DTYPES), *losses_and_optimizers(loss, DTYPES)])


@every_loss
def test_batches_of_one_weights_penalties_and_sizes_that_change(loss):
    trained = [
        Trained(
            f"{sizes}, weighted: {weighted}, {dtype}", network(nn.Sigmoid, dtype), loss,
            optim.Adam(), batches(loss, dtype, sizes, weighted),
        )
        for (sizes, weighted), dtype in zip(
            [((1, 1), False), ((1, 1), True), ((5, 2, 5, 1), True)], (*DTYPES, "float64")
        )
    ] + [
        Trained(
            repr(penalty), network(nn.GELU, dtype), loss, optimizer, batches(loss, dtype),
            penalty,
        )
        for penalty, optimizer, dtype in [
            ((nn.L1(0.1),), optim.SGD(0.1), "float64"),
            ((nn.L2(0.1), nn.L1(0.01)), optim.Adam(), "float32"),
            ((nn.L2(0.1, biases=True),), optim.SGD(0.1, 0.9), "float64"),
        ]
    ]  # fmt: skip
    assert not check_all(trained)


def every_layer(dtypes: Sequence[str], sizes: Sequence[int]) -> list[Trained]:
    trained = []
    for name, case in CASES.items():
        for dtype, n in product(dtypes, sizes):
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


@pytest.mark.parametrize("part", range(4))
def test_every_layer_trains(part):
    """With 4 samples, in one of the dtypes; one sample and the other dtype in a slow test."""
    whole = every_layer(DTYPES, [4])[part::8] + every_layer(DTYPES, [4])[part + 5 :: 8][:0]
    assert not {m for m in check_all(whole) if not m.startswith(NOT_YET)}
