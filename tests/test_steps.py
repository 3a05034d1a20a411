"""How a step is driven: compiled and eager alike, many batches at a time, whatever is trained."""

from __future__ import annotations

import signal
from time import perf_counter

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.engines.batches import Batches
from chainrule.training import compiling
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.fit import evaluate, fit
from chainrule.training.losses import Loss, get_loss
from chainrule.training.measured import Measured
from chainrule.training.samples import Batch
from chainrule.training.trainable import TextbookNames

RNG = np.random.default_rng(0)
X = RNG.normal(size=(23, 3))
Y = np.sin(X[:, :1])
WEIGHT = RNG.random(23)

STEPS = pytest.mark.parametrize("make", [EagerStep, CompiledStep])


def network(seed=0, dtype="float64"):
    layers = [nn.Dense(4), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.2), nn.Dense(1)]
    return nn.Network(layers, input_shape=3, seed=seed, dtype=dtype)


def step_of(make, optimizer=None, net=None):
    net = net or network()
    return make(net, nn.losses.squared_error, optimizer or optim.Adam(0.01))


# run


@STEPS
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("pause", [0.0, 60.0])
def test_run_takes_the_batches_one_by_one_or_all_at_once(make, weighted, shuffled, pause):
    weight = WEIGHT if weighted else None
    order = np.random.default_rng(1).permutation(23) if shuffled else None
    weights = () if weight is None else (weight,)
    epoch = Batches((X, Y, *weights), 5, np.empty((23, 1)))
    step, rng = step_of(make), np.random.default_rng(2)
    rates = [0.01, 0.02, 0.03, 0.04, 0.05]
    for number in range(2):
        epoch.begin(order, rates, 1 + 5 * number)
        taken = []
        while epoch.done < 5:
            taken.append(step.run(epoch, rng, perf_counter() + pause, []))
        assert taken == ([1] * 5 if not pause else [5])
    by_hand, rng = step_of(make), np.random.default_rng(2)
    rows = np.arange(23) if order is None else order
    for number in range(10):
        batch = rows[5 * (number % 5) : 5 * (number % 5) + 5]
        inputs = Batch(X[batch], Y[batch], None if weight is None else weight[batch])
        loss, outputs = by_hand.take(inputs, rates[number % 5], number + 1, rng)
        if number >= 5:
            assert epoch.losses[number - 5] == loss
            np.testing.assert_array_equal(epoch.outputs[5 * number - 25 : 5 * number - 20], outputs)
    found, expected = step.read_state(), by_hand.read_state()
    np.testing.assert_array_equal(found.flat, expected.flat)
    for name, array in expected.state.items():
        np.testing.assert_array_equal(found.state[name], array)


@STEPS
def test_run_stops_after_the_step_in_which_ctrl_c_was_pressed(make):
    step, epoch = step_of(make), Batches((X, Y), 5, None)
    epoch.begin(None, [0.1] * 5, 1)
    with pytest.raises(KeyboardInterrupt):
        step.run(epoch, np.random.default_rng(0), perf_counter() + 60, [True])
    assert epoch.done == 1
    once = step_of(make)
    once.take(Batch(X[:5], Y[:5]), 0.1, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(step.read_state().flat, once.read_state().flat)


@STEPS
def test_what_is_learned_can_be_taken_out_and_put_into_another_step(make):
    batch, rng = Batch(X, Y), np.random.default_rng(0)
    first = step_of(make)
    for number in (1, 2):
        first.take(batch, 0.01, number, rng)
    for other in (EagerStep, CompiledStep):
        second = step_of(other, net=network(seed=9))
        second.write_state(first.read_state())
        assert second.read_state().flat is not first.read_state().flat
        third = step_of(make)
        third.write_state(second.read_state())
        second.take(batch, 0.01, 3, np.random.default_rng(1))
        third.take(batch, 0.01, 3, np.random.default_rng(1))
        # a bias before BatchNorm has a gradient of rounding only
        ends = second.read_state().flat, third.read_state().flat
        np.testing.assert_allclose(*ends, rtol=1e-9, atol=1e-9)
        for name in second.read_state().slots:
            np.testing.assert_allclose(
                second.read_state().slots[name],
                third.read_state().slots[name],
                rtol=1e-9,
                atol=1e-9,
            )
    before = first.read_state().flat.copy()
    second.take(batch, 0.01, 4, rng)
    np.testing.assert_array_equal(first.read_state().flat, before)


@STEPS
def test_a_step_begins_at_a_copy_of_the_network(make):
    net = network()
    start = net.parameters.flat.copy()
    step = step_of(make, net=net)
    step.take(Batch(X, Y), 0.1, 1, np.random.default_rng(0))
    np.testing.assert_array_equal(net.parameters.flat, start)
    assert not np.array_equal(step.read_state().flat, start)


# Programs are kept by everything they depend on


@pytest.mark.parametrize("first_weighted", [False, True])
def test_batches_of_one_size_with_and_without_weights(first_weighted):
    net = nn.Network([nn.Dense(3)], input_shape=3, seed=0, dtype="float64")
    eager, compiled = (
        make(net, nn.losses.cross_entropy, optim.SGD(0.1)) for make in (EagerStep, CompiledStep)
    )
    labels, rows = RNG.integers(0, 3, 23), RNG.dirichlet([1, 1, 1], 23)
    weights = (WEIGHT, None, 2 * WEIGHT) if first_weighted else (None, WEIGHT, None)
    number = 0
    for weight in weights:
        for y in (labels, rows, labels.astype(np.int32), rows.astype(np.float32)):
            number += 1
            losses = [float(s.take(Batch(X, y, weight), 0.1, number)[0]) for s in (eager, compiled)]
            assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    np.testing.assert_allclose(
        eager.read_state().flat, compiled.read_state().flat, rtol=1e-6, atol=1e-9
    )


# Dtypes


class Widening(optim.Optimizer):
    """An update whose numbers are NumPy's float64, and slots that grow wider."""

    learning_rate = 0.1

    def init(self, parameter):
        return {"mean": np.zeros_like(parameter)}

    def update(self, parameter, gradient, slots, learning_rate, step):
        wide = np.zeros(parameter.shape, np.float64)
        mean = 0.9 * slots["mean"] + gradient + wide
        return parameter - learning_rate * (mean + wide), {"mean": mean}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_update_in_a_wider_dtype_keeps_that_of_the_parameters(dtype):
    ends = []
    for compiled in (True, False):
        net = network(dtype=dtype)
        net.fit(
            X, Y, loss="squared_error", optimizer=Widening(0.1), epochs=4, batch_size=8, seed=0,
            verbose=0, compile=compiled,
        )  # fmt: skip
        assert net.has_step == compiled
        assert net.parameters.dtype == dtype
        ends.append(net.parameters.flat.copy())
    tolerance = 1e-5 if dtype == "float32" else 1e-10
    np.testing.assert_allclose(ends[0], ends[1], rtol=tolerance, atol=tolerance)
    step = EagerStep(network(dtype=dtype), nn.losses.squared_error, Widening(0.1))
    x, y = X.astype(dtype), Y.astype(dtype)
    for number in (1, 2):
        _, outputs = step.take(Batch(x, y), 0.1, number, np.random.default_rng(0))
        learned = step.read_state()
        assert learned.flat.dtype == learned.slots["mean"].dtype == outputs.dtype == dtype
        assert {array.dtype for array in learned.state.values()} == {np.dtype(dtype)}


class WrongShape(Widening):
    def update(self, parameter, gradient, slots, learning_rate, step):
        return np.sum(parameter - gradient), slots


class WrongSlots(Widening):
    def update(self, parameter, gradient, slots, learning_rate, step):
        return parameter - gradient, {"average": gradient}


@pytest.mark.parametrize("compiled", [True, False])
def test_an_update_of_another_form_is_refused(compiled):
    for optimizer, message in (
        (WrongShape(0.1), r"WrongShape.* gave parameters of shape \(\)"),
        (WrongSlots(0.1), r"WrongSlots.* gave average for mean"),
    ):
        with pytest.raises(ValueError, match=message):
            network().fit(
                X, Y, loss="squared_error", optimizer=optimizer, verbose=0, compile=compiled
            )


# Whatever goes wrong while compiling


@pytest.mark.parametrize(
    "error", [ValueError("a"), KeyError("b"), NameError("c"), AssertionError("d"), RecursionError()]
)
@pytest.mark.parametrize("place", ["trace", "build_programs"])
def test_any_failure_of_the_compiler_is_a_warning_and_the_training_goes_on(
    error, place, monkeypatch
):
    def fail(*args, **kwargs):
        raise error

    options = {"loss": "squared_error", "epochs": 2, "batch_size": 8, "seed": 0, "verbose": 0}
    expected = network().fit(X, Y, compile=False, **options)
    monkeypatch.setattr(f"chainrule.training.compiled_step.{place}", fail)
    net = network()
    with pytest.warns(RuntimeWarning, match=rf"cannot be compiled: {type(error).__name__}") as seen:
        found = net.fit(X, Y, **options)
    assert len(seen) == 1
    assert seen[0].filename == __file__
    assert found["loss"] == expected["loss"]
    assert not net.has_step


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_source_that_fails_when_it_runs_is_a_warning_too(optimizer, monkeypatch):
    options = {
        "loss": "squared_error",
        "epochs": 2,
        "seed": 0,
        "verbose": 0,
        "optimizer": optimizer,
    }
    expected = network().fit(X, Y, compile=False, **options)

    def fail(*args):
        raise NameError("name 'inf' is not defined")

    if optimizer == "adam":
        monkeypatch.setattr(CompiledStep, "take", fail)
    else:
        from chainrule.engines.compiled import CompiledFunction

        monkeypatch.setattr(CompiledFunction, "__call__", fail)
    with pytest.warns(RuntimeWarning, match="cannot be compiled: NameError: name 'inf'"):
        found = network().fit(X, Y, **options)
    assert found["loss"] == expected["loss"]


def test_an_error_of_the_users_own_is_raised_as_it_is():
    def wrong(outputs, targets):
        raise LookupError("mine")

    for optimizer in ("adam", "lbfgs"):
        with pytest.raises(LookupError, match="mine"):
            network().fit(X, Y, loss=wrong, optimizer=optimizer, verbose=0)


def test_trying_a_compiled_step_leaves_no_trace():
    """Each size of batch is tried once before the training; it trains as if it had not been."""

    def only_compiled(maker, step):
        for batch in maker._batches:
            step.compile_for(*batch)
        return step

    curves = []
    for tried in (True, False):
        net, rng = network(), np.random.default_rng(3)
        options = {"loss": "squared_error", "epochs": 2, "batch_size": 8, "verbose": 0, "seed": rng}
        if not tried:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(compiling.StepMaker, "_tried", only_compiled)
                history = net.fit(X, Y, **options)
        else:
            history = net.fit(X, Y, **options)
        curves.append((history["loss"], net.parameters.flat.tobytes()))
    assert curves[0] == curves[1]


# Ctrl-C


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("press", ["signal", "raise"])
def test_ctrl_c_in_a_callback_of_the_last_batch_of_an_epoch_stops(press, compiled):
    pressed = []

    class Press:
        def on_batch_end(self, run):
            pressed.append(run.step)
            if press == "raise":
                raise KeyboardInterrupt
            signal.raise_signal(signal.SIGINT)

    net = network()
    history = net.fit(
        X, Y, loss="squared_error", optimizer=optim.SGD(0.1), epochs=10, batch_size=None, verbose=0,
        callbacks=[Press()], compile=compiled, seed=0,
    )  # fmt: skip
    assert (pressed, history.stopped_by, history.epochs) == ([1], "interrupt", 0)
    once = network()
    once.fit(
        X, Y, loss="squared_error", optimizer=optim.SGD(0.1), epochs=1, batch_size=None, verbose=0,
        compile=compiled, seed=0,
    )  # fmt: skip
    np.testing.assert_array_equal(net.parameters.flat, once.parameters.flat)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("moment", ["on_fit_begin", "on_epoch_begin", "on_epoch_end"])
def test_ctrl_c_in_any_other_callback_stops(moment):
    class Press:
        pass

    setattr(Press, moment, lambda self, run: signal.raise_signal(signal.SIGINT))
    for optimizer in ("sgd", "lbfgs"):
        history = network().fit(
            X, Y, loss="squared_error", optimizer=optimizer, epochs=10, batch_size=None, verbose=0,
            callbacks=[Press()],
        )  # fmt: skip
        assert history.stopped_by == "interrupt"
        assert history.epochs == (moment == "on_epoch_end")


def test_ctrl_c_never_leaves_parameters_that_are_not_finite():
    def press_when_infinite(outputs, targets):
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)
        calls.append(1)
        return 0.5 * np.sum(np.square(outputs - targets), axis=1)

    calls = []
    net = nn.Network([nn.Dense(1)], input_shape=3, seed=0, dtype="float64")
    before = net.parameters.flat.copy()
    history = net.fit(
        X, Y, loss=press_when_infinite, optimizer=optim.SGD(1e200), epochs=9, batch_size=5,
        verbose=0, compile=False,
    )  # fmt: skip
    assert history.stopped_by == "interrupt"
    np.testing.assert_array_equal(net.parameters.flat, before)


# Anything with parameters and a pure function


class Vector:
    """Named arrays in one vector, the shortest way."""

    def __init__(self, **arrays):
        self.shapes = {name: np.shape(a) for name, a in arrays.items()}
        self.flat = np.concatenate([np.ravel(a) for a in arrays.values()]).astype(float)

    def unflatten(self, flat):
        parts, start = {}, 0
        for name, shape in self.shapes.items():
            stop = start + int(np.prod(shape))
            parts[name], start = np.reshape(flat[start:stop], shape), stop
        return parts

    def flatten(self, arrays):
        return np.concatenate([np.reshape(arrays[name], (-1,)) for name in self.shapes])


class Line:
    """y = slope * x + offset, with nothing of nn in it."""

    def __init__(self):
        self.parameters = Vector(slope=np.zeros((3, 1)), offset=np.zeros(1))
        self.state, self.dtype, self.output_shape = {}, np.dtype(float), (1,)
        self.measured, self.parts, self.step = Measured(), {}, None

    def apply(self, parameters, state, x, training, rng):
        return x @ parameters["slope"] + parameters["offset"], dict(state)

    def infer(self, x):
        return self.apply(self.parameters.unflatten(self.parameters.flat), {}, x, False, None)[0]

    def as_inputs(self, x, name="x", seed=None):
        return np.asarray(x, float)

    def check_loss(self, loss):
        assert isinstance(loss, Loss)

    def check_batch_size(self, batch_size):
        assert batch_size >= 1

    def keep_step(self, step):
        self.step = step

    def textbook_names(self):
        return TextbookNames({}, {"slope": "W", "offset": "b"})


@pytest.mark.parametrize("optimizer", [optim.Adam(0.1), optim.LBFGS()], ids=["adam", "lbfgs"])
def test_training_needs_no_network(optimizer):
    line = Line()
    y = X @ [[1.0], [2.0], [-3.0]] + 0.5
    history = fit(line, X, y, loss="squared_error", optimizer=optimizer, epochs=150, verbose=0)
    assert history["loss"][-1] < 1e-3
    np.testing.assert_allclose(line.parameters.flat, [1, 2, -3, 0.5], atol=0.1)
    assert evaluate(line, X, y)["loss"] == pytest.approx(history["loss"][-1], rel=0.5)
    if isinstance(optimizer, optim.Adam):
        assert "dot(x, W" in line.step.source


# A loss says what it is


def test_a_new_loss_for_classes_is_one_place(monkeypatch):
    @Loss
    def unknown(outputs, targets):
        return nn.losses.cross_entropy(outputs, targets)

    assert (unknown.kind, unknown.name) == ("own", "unknown")
    focal = Loss(lambda o, t: nn.losses.cross_entropy(o, t) ** 2, "classes", True, "softmax", True)
    labels = RNG.integers(0, 3, 23)
    net = nn.Network([nn.Dense(3)], seed=0)
    history = net.fit(X, labels.astype(float), loss=focal, epochs=2, verbose=0)
    assert list(history) == ["loss", "accuracy", "learning_rate"]
    with pytest.raises(ValueError, match="label 7 is out of range: the network has 3 outputs"):
        net.fit(X, np.full(23, 7), loss=focal, verbose=0)
    with pytest.raises(ValueError, match="takes logits, but the last layer, softmax_1, makes prob"):
        nn.Network([nn.Dense(3), nn.Softmax()]).fit(X, labels, loss=focal, verbose=0)
    assert get_loss(focal) is focal
