"""`fit` on the C engine: many steps a call, early ends, threads, and what happens without one."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings

import numpy as np
import pytest
from c_engine import TOLERANCE, assert_close, needs_compiler

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines.batches import Batches, run_batches
from chainrule.engines.c import program as c_program
from chainrule.engines.c import toolchain
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.samples import Batch

LATER = 1e30  # a time that does not come


def network(dtype: str = "float64") -> nn.Network:
    layers = [nn.Dense(5, use_bias=False), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.3), nn.Dense(3)]
    return nn.Network(layers, input_shape=4, seed=0, dtype=dtype)


def samples(n: int = 23, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((n, 4)).astype(dtype), rng.random((n, 3)).astype(dtype)
    return x, y, rng.random(n).astype(dtype)


def compiled(engine: str = "c", dtype: str = "float64") -> CompiledStep:
    loss = nn.losses.squared_error
    step = CompiledStep(network(dtype), loss, optim.Adam(), (nn.L2(0.01),), engine)
    assert not step.remark
    return step


def learned(step: CompiledStep) -> list[np.ndarray]:
    flat, slots, state = step.read_state()
    return [flat.copy(), *(a.copy() for a in (*slots.values(), *state.values()))]


# Many steps a call


@needs_compiler
@pytest.mark.parametrize("wants_outputs", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("shuffled", [True, False])
def test_many_steps_a_call_are_steps_one_by_one(shuffled, weighted, wants_outputs):
    """The bits are the same; the last batch is smaller."""
    x, y, weight = samples()
    arrays = (x, y, weight) if weighted else (x, y)
    order = np.random.default_rng(2).permutation(len(x)) if shuffled else None
    results = []
    for at_once in (True, False):
        step, rng = compiled(), np.random.default_rng(3)
        outputs = np.full((len(x), 3), np.nan) if wants_outputs else None
        batches = Batches(arrays, 4, outputs)
        for epoch in range(2):
            batches.begin(order, [0.01, 0.1, 0.01, 0.02, 0.03, 0.01], 1 + 6 * epoch)
            if at_once:
                step.compile_for(*batches.example())
                assert step.run(batches, rng, time.perf_counter() + 10, []) == 6
                assert batches.is_done
            else:
                one_by_one(step, batches, rng)
            results.append([batches.losses.copy(), np.copy(outputs), *learned(step)])
        results.append(rng.bit_generator.state)
    for found, expected in zip(results[:2], results[3:5], strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    assert results[2] == results[5]


def one_by_one(step: CompiledStep, batches: Batches, rng: np.random.Generator) -> None:
    def take(arrays, rate, number, rng):
        return step.take(Batch(*arrays), rate, number, rng)

    while not batches.is_done:
        run_batches(batches, rng, LATER, [], take)


@needs_compiler
def test_steps_end_at_the_time_and_at_ctrl_c_and_go_on_from_there():
    x, y, _ = samples()
    whole = compiled()
    batches = Batches((x, y), 4, None)
    batches.begin(None, [0.01] * 6, 1)
    whole.run(batches, np.random.default_rng(3), time.perf_counter() + 10, [])
    parts, rng = compiled(), np.random.default_rng(3)
    again = Batches((x, y), 4, None)
    again.begin(None, [0.01] * 6, 1)
    assert parts.run(again, rng, time.perf_counter() - 1, []) == 1
    with pytest.raises(KeyboardInterrupt):
        parts.run(again, rng, time.perf_counter() + 10, [True])
    assert again.done == 2
    while not again.is_done:
        before = again.done
        assert parts.run(again, rng, time.perf_counter(), []) == again.done - before == 1
    np.testing.assert_array_equal(batches.losses, again.losses)
    for one, other in zip(learned(whole), learned(parts), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_compiler
def test_arrays_that_c_cannot_read_as_they_are_go_step_by_step():
    x, y, _ = samples(24)
    results = []
    for arrays in ((x, y), (np.asfortranarray(x), y), (x, y[::-1].copy()[::-1])):
        step, batches = compiled(), Batches(arrays, 4, None)
        batches.begin(None, [0.01] * 6, 1)
        step.run(batches, np.random.default_rng(3), time.perf_counter() + 10, [])
        results.append([batches.losses, *learned(step)])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two)


# fit


def fitted(engine: str | None, dtype: str = "float64", **options):
    x, y, weight = samples(60, dtype)
    net = network(dtype)
    settings = {
        "loss": "squared_error", "optimizer": optim.Adam(), "epochs": 4, "batch_size": 8,
        "seed": 0, "verbose": 0, "sample_weight": weight, "metrics": ["mse"],
        "validation_split": 0.2, "engine": engine,
    }  # fmt: skip
    return net, net.fit(x, y, **(settings | options))


@needs_compiler
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_history_is_that_of_the_numpy_engine(dtype):
    rate = optim.ExponentialDecay(0.1, 0.5, 3)
    options = {"optimizer": optim.SGD(rate, 0.9), "penalty": nn.L2(0.1), "dtype": dtype}
    net, history = fitted("c", **options)
    other, expected = fitted("numpy", **options)
    assert net.step.source.startswith("/*")
    assert list(history) == list(expected)
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], rtol=10 * TOLERANCE[dtype])
    assert_close(net.parameters.flat, other.parameters.flat)
    for name, state in other.state.items():
        assert_close(net.state[name], state)


@needs_compiler
def test_the_same_seed_gives_the_same_bits():
    (net, history), (other, again) = fitted("c"), fitted("c")
    assert {name: history[name] for name in history} == {name: again[name] for name in again}
    np.testing.assert_array_equal(net.parameters.flat, other.parameters.flat)


class Watch:
    """Lets nobody take several epochs in one call."""

    def on_epoch_end(self, run):
        pass


@needs_compiler
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("batch_size", [6, 24])
def test_many_epochs_a_call_are_epochs_one_by_one(shuffle, batch_size):
    """The bits are the same: orders, dropout, losses, parameters and state."""
    x, y, weight = samples(24)
    results = []
    for engine, callbacks in (("c", ()), ("c", [Watch()]), ("numpy", ())):
        net = network()
        history = net.fit(
            x, y, loss="squared_error", optimizer=optim.Adam(0.01), epochs=50, seed=0, verbose=0,
            batch_size=batch_size, shuffle=shuffle, sample_weight=weight, callbacks=callbacks,
            engine=engine,
        )  # fmt: skip
        results.append([history["loss"], net.parameters.flat, *net.state.values()])
    for one, other, numpys in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_allclose(one, numpys, rtol=1e-9, atol=1e-12)


@needs_compiler
def test_callbacks_see_and_change_the_parameters_between_steps():
    seen = {}

    class Halve:
        def __init__(self, engine):
            self.engine = engine

        def on_batch_end(self, run):
            if run.step == 3:
                run.network.parameters.flat[:] *= 0.5
            seen.setdefault(self.engine, []).append(run.network.parameters.flat.copy())

    for engine in ("c", "numpy"):
        fitted(engine, callbacks=[Halve(engine)], epochs=2)
    assert len(seen["c"]) == 12
    for found, expected in zip(seen["c"], seen["numpy"], strict=True):
        assert_close(found, expected)


@needs_compiler
def test_two_networks_of_one_text_train_at_once_in_threads():
    def train(seed, results):
        net = nn.Network([nn.Dense(20), nn.Tanh(), nn.Dropout(0.5), nn.Dense(3)], seed=seed)
        rng = np.random.default_rng(seed)
        x, y = rng.random((2000, 4)), rng.random((2000, 3))
        net.fit(
            x, y, loss="squared_error", epochs=20, batch_size=10, seed=seed, verbose=0, engine="c"
        )
        results[seed] = net.parameters.flat.copy()

    alone, together = {}, {}
    for seed in range(3):
        train(seed, alone)
    threads = [threading.Thread(target=train, args=(seed, together)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, flat in alone.items():
        np.testing.assert_array_equal(together[seed], flat)


@needs_compiler
@pytest.mark.parametrize("metrics", [(), ["mse"]])
def test_ctrl_c_ends_a_long_epoch_at_once_and_leaves_a_network(metrics):
    rng = np.random.default_rng(0)
    x, y = rng.random((200_000, 4), np.float32), rng.random((200_000, 3), np.float32)
    net = nn.Network([nn.Dense(5), nn.Tanh(), nn.Dense(3)], input_shape=4, seed=0)
    fit = {"loss": "squared_error", "batch_size": 1, "verbose": 0, "engine": "c"}
    net.fit(x[:10], y[:10], **fit)
    before = net.parameters.flat.copy()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    began = time.perf_counter()
    history = net.fit(x, y, epochs=10_000, metrics=metrics, **fit)
    assert history.stopped_by == "interrupt"
    assert time.perf_counter() - began < 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert np.isfinite(net.parameters.flat).all()
    assert not np.array_equal(before, net.parameters.flat)
    assert net.fit(x[:10], y[:10], **fit).epochs == 1


@needs_compiler
def test_a_loss_that_is_not_finite_ends_the_run_as_with_numpy():
    x, y, _ = samples(60)
    found = []
    for engine in ("c", "numpy"):
        net = nn.Network([nn.Dense(3)], seed=0, dtype="float64")
        fit = {"optimizer": optim.SGD(3.0), "loss": "squared_error", "batch_size": 8, "verbose": 0}
        with pytest.warns(RuntimeWarning, match="became") as caught:
            history = net.fit(x, y, **fit, epochs=80, seed=0, engine=engine, metrics=["mse"])
        assert history.stopped_by == "nonfinite"
        assert np.isfinite(net.parameters.flat).all()
        found.append((str(caught[0].message), history.epochs, net.parameters.flat.copy()))
    assert found[0][:2] == found[1][:2]
    assert 1 <= found[0][1] < 80
    np.testing.assert_allclose(found[0][2], found[1][2], rtol=1e-9)


def picked(outputs, targets):
    """Minus the output that the target names."""
    return -np.take_along_axis(outputs, targets[:, None], axis=1)[:, 0]


@needs_compiler
def test_an_index_out_of_range_in_a_later_batch_is_the_error_that_numpy_raises():
    rng = np.random.default_rng(0)
    x, y = rng.random((40, 4)), rng.integers(0, 3, 40)
    y[25] = 7
    for engine in ("c", "numpy"):
        net = network()
        with pytest.raises(IndexError, match="7 is out of bounds"):
            net.fit(
                x, y, loss=picked, batch_size=10, shuffle=False, seed=0, verbose=0, engine=engine
            )
        assert np.isfinite(net.parameters.flat).all()


# Which engine


@needs_compiler
def test_the_environment_names_the_default(monkeypatch):
    monkeypatch.setenv("CHAINRULE_ENGINE", "c")
    assert fitted(None)[0].step.engine == "c"
    assert fitted("numpy")[0].step.engine == "numpy"
    monkeypatch.setenv("CHAINRULE_ENGINE", "")
    assert fitted(None)[0].step.engine == "numpy"  # "auto", for so few steps


def test_an_engine_that_is_none_is_refused(monkeypatch):
    with pytest.raises(ValueError, match=r"engine.*'C'.*'c'"):
        fitted("C")
    monkeypatch.setenv("CHAINRULE_ENGINE", "nunpy")
    with pytest.raises(ValueError, match=r"CHAINRULE_ENGINE.*'nunpy'.*'numpy'"):
        fitted(None)


def test_without_a_compiler_numpy_computes_and_says_why_once(monkeypatch):
    monkeypatch.setenv("CC", "/nonexistent/cc")
    _, expected = fitted("numpy")
    with pytest.warns(RuntimeWarning, match=r"'numpy', not 'c'.*/nonexistent/cc") as caught:
        net, history = fitted("c")
    assert len(caught) == 1
    assert net.step.engine == "numpy"
    assert history["loss"] == expected["loss"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net, history = fitted("auto", epochs=3000, validation_split=0.0, metrics=())
    assert net.step.engine == "numpy"


@needs_compiler
def test_auto_is_c_where_it_pays_and_silent(monkeypatch):
    x, y, _ = samples(200)
    net = nn.Network([nn.Dense(5), nn.Tanh(), nn.Dense(3)], seed=0)

    class Enough:
        def on_epoch_end(self, run):
            run.stop("enough")

    net.fit(
        x,
        y,
        loss="squared_error",
        epochs=10_000,
        batch_size=1,
        verbose=0,
        engine="auto",
        callbacks=[Enough()],
    )
    assert net.step.engine == "c"


# Functions


@needs_compiler
def test_a_function_raises_what_numpy_raises_and_goes_on():
    def pick(x, i):
        return np.take(x, i, axis=0) * 2

    ours, x = cr.compile(pick, engine="c"), np.arange(3.0)
    for indices in ([0, 2], [-1, 1]):
        np.testing.assert_array_equal(ours(x, np.array(indices)), pick(x, np.array(indices)))
    with pytest.raises(IndexError, match="5 is out of bounds"):
        ours(x, np.array([0, 5]))
    np.testing.assert_array_equal(ours(x, np.array([1, 1])), [2.0, 2.0])
    assert ours.engine == "c"


@needs_compiler
def test_what_c_has_no_form_of_runs_on_numpy_with_one_warning():
    def halves(x):
        return np.sort(x) + 1

    for x, what in ((np.ones(3, np.float16), "float16"), (np.ones(3), "sort")):
        ours = cr.compile(halves, engine="c")
        with pytest.warns(RuntimeWarning, match=f"'numpy', not 'c'.*{what}") as caught:
            found = ours(x)
        assert len(caught) == 1
        np.testing.assert_array_equal(found, halves(x))
        assert ours(x).dtype == x.dtype
        assert ours.engine == "numpy"


@needs_compiler
def test_python_numbers_raise_what_python_raises():
    def scaled(x, number):
        return x * (1.0 / number) + (number - 2.0) ** 0.5 + 2.0**number

    ours, x = cr.compile(scaled, engine="c"), np.arange(3.0)
    np.testing.assert_allclose(ours(x, 3.0), scaled(x, 3.0), rtol=1e-15)
    np.testing.assert_allclose(ours(x, 2.0), scaled(x, 2.0), rtol=1e-15)
    with pytest.raises(ZeroDivisionError):
        ours(x, 0.0)
    with pytest.raises(OverflowError):
        ours(x, 5000.0)
    assert ours.engine == "c"


@needs_compiler
def test_programs_for_full_and_last_batches_are_built_at_the_same_time(monkeypatch):
    both = threading.Barrier(2, timeout=60)

    def build(text, **options):
        both.wait()  # breaks where one waits for the other to end
        return toolchain.build_library(text, **options)

    monkeypatch.setattr(c_program, "build_library", build)
    x, y, _ = samples(50)
    net = nn.Network([nn.Dense(3)], seed=0)
    history = net.fit(
        x, y, loss="squared_error", batch_size=32, engine="c", metrics=(), verbose=0, seed=0
    )
    assert history.engine == "c"
    assert "batch 32" in net.step.source


@needs_compiler
def test_where_one_of_two_programs_has_no_form_in_c_both_are_tried_alone(monkeypatch):
    load = c_program.load
    monkeypatch.setattr(c_program, "build_all", lambda *args, **options: 1 / 0)
    calls = []
    monkeypatch.setattr(c_program, "load", lambda given, **options: calls.append(1) or load(given))
    x, y, _ = samples(50)
    net = nn.Network([nn.Dense(3)], seed=0)
    history = net.fit(
        x, y, loss="squared_error", batch_size=32, engine="c", metrics=(), verbose=0, seed=0
    )
    assert history.engine == "c"
    assert len(calls) == 2
