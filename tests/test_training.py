"""`fit` and `evaluate`: what they compute, what they record, how they end, what they refuse."""

from __future__ import annotations

import math
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, optim
from chainrule.scope import NonFiniteError
from chainrule.training.fit import evaluate, fit
from chainrule.training.samples import balanced_weights

XOR_X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_Y = np.array([0, 1, 1, 0])


def regression(n_samples=60, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_samples, 3))
    return x, np.sin(x[:, :1]) + 0.5 * x[:, 1:2]


def blobs(n_samples=90, seed=0, n_classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_samples)
    return rng.normal(size=(n_samples, 2)) + 4.0 * np.eye(n_classes)[labels, :2], labels


def network(n_outputs=1, seed=0, dtype="float64", n_units=6):
    return nn.Network([nn.Dense(n_units), nn.Tanh(), nn.Dense(n_outputs)], dtype=dtype, seed=seed)


def fitted(x, y, *, net=None, **options):
    """A network after fit, silent, and its history; by default full-batch gradient descent."""
    net = net or network()
    defaults = {"loss": "squared_error", "optimizer": optim.SGD(0.1), "verbose": 0, "seed": 0}
    history = fit(net, x, y, **(defaults | options))
    return net, history


# What is computed


def test_xor_is_learned():
    net, history = fitted(
        XOR_X, XOR_Y, loss="binary_cross_entropy", optimizer=optim.Adam(0.05), epochs=200
    )
    assert history["accuracy"][-1] == 1.0
    assert ((net.predict(XOR_X)[:, 0] > 0) == XOR_Y).all()
    assert history["loss"][-1] < 0.1 < history["loss"][0]


def test_one_step_is_the_formula():
    """One layer, squared error: w - learning_rate * xᵀ(xw + b - y) / N, by hand."""
    x, y = regression(8)
    net = nn.Network([nn.Dense(1)], dtype="float64", seed=3)
    net.build(3)
    w, b = net.parameters["dense_1.weight"].copy(), net.parameters["dense_1.bias"].copy()
    residual = x @ w + b - y
    _, history = fitted(x, y, net=net, epochs=1, batch_size=None)
    np.testing.assert_allclose(net.parameters["dense_1.weight"], w - 0.1 * x.T @ residual / 8)
    np.testing.assert_allclose(net.parameters["dense_1.bias"], b - 0.1 * residual.mean(axis=0))
    assert history["loss"] == pytest.approx([0.5 * np.mean(residual**2)])


@given(n_samples=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_every_sample_is_used_by_the_compiled_step(n_samples, batch_size):
    """A linear loss: the gradient is the mean of x over the batch, whatever the parameters."""
    x = np.random.default_rng(n_samples).normal(size=(n_samples, 1))
    net = nn.Network([nn.Dense(1, weight="zeros", use_bias=False)], dtype="float64")
    loss = lambda outputs, targets: targets[:, 0] * outputs[:, 0]
    options = {"batch_size": batch_size, "shuffle": False}
    fitted(x, np.ones((n_samples, 1)), net=net, loss=loss, epochs=1, **options)
    means = [np.mean(x[start : start + batch_size]) for start in range(0, n_samples, batch_size)]
    assert net.parameters.flat[0] == pytest.approx(-0.1 * sum(means), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_same_seed_gives_the_same_bits(dtype, optimizer):
    x, y = regression()
    runs = [
        fitted(
            x, y, net=network(dtype=dtype, seed=None), optimizer=optimizer, epochs=3, batch_size=7
        )
        for _ in range(2)
    ]
    assert runs[0][0].parameters.flat.tobytes() == runs[1][0].parameters.flat.tobytes()
    assert dict(runs[0][1]) == dict(runs[1][1])
    assert runs[0][0].parameters.dtype == dtype
    other, _ = fitted(x, y, net=network(dtype=dtype, seed=None), epochs=3, batch_size=7, seed=1)
    assert not np.array_equal(other.parameters.flat, runs[0][0].parameters.flat)


def test_a_second_fit_goes_on_from_the_parameters():
    x, y = regression()
    plain = {"optimizer": optim.SGD(0.1), "batch_size": None}
    at_once, _ = fitted(x, y, epochs=6, **plain)
    net, first = fitted(x, y, epochs=2, **plain)
    _, second = fitted(x, y, net=net, epochs=4, **plain)
    # The order of the samples differs, and with it the rounding of their sum.
    np.testing.assert_allclose(net.parameters.flat, at_once.parameters.flat, rtol=1e-12)
    assert second["loss"][0] < first["loss"][-1]


class CountSamples:
    """A loss function that counts what it sees, and a callback that counts batches."""

    def __init__(self):
        self.sizes = []
        self.batches = 0

    def __call__(self, outputs, targets):
        self.sizes.append(len(targets))
        return 0.5 * np.sum(np.square(outputs - targets), axis=1)

    def on_batch_end(self, run):
        self.batches += 1
        assert run.batch == self.batches
        assert math.isfinite(run.loss)


@pytest.mark.parametrize("shuffle", [True, False])
@given(n_samples=st.integers(1, 40), batch_size=st.integers(1, 50))
def test_every_sample_is_used_once_an_epoch(shuffle, n_samples, batch_size):
    x, y = regression(n_samples)
    count = CountSamples()
    options = {"batch_size": batch_size, "shuffle": shuffle, "callbacks": [count]}
    fitted(x, y, loss=count, compile=False, **options)
    full, rest = divmod(n_samples, min(batch_size, n_samples))
    assert count.sizes == [min(batch_size, n_samples)] * full + [rest] * (rest > 0)
    assert count.batches == len(count.sizes)


def test_shuffling_visits_each_sample_once_in_new_order():
    seen = []

    def loss(outputs, targets):
        seen.append(np.array(targets)[:, 0])
        return 0.0 * np.sum(outputs, axis=1)

    x, y = np.arange(50.0)[:, None], np.arange(50.0)[:, None]
    fitted(x, y, loss=loss, epochs=2, batch_size=8, compile=False)
    epochs = np.concatenate(seen).reshape(2, 50)
    assert (np.sort(epochs) == np.arange(50)).all()
    assert not (epochs[0] == epochs[1]).all()
    seen.clear()
    fitted(x, y, loss=loss, epochs=2, batch_size=8, shuffle=False, compile=False)
    assert (np.concatenate(seen) == np.tile(np.arange(50), 2)).all()


def test_shuffled_inputs_stay_with_their_targets_and_weights():
    """Many rows a gather and a short last one: the loss of x = y = weight tells if they match."""
    x = np.arange(1.0, 40_001.0)[:, None] / 40_000
    net = nn.Network([nn.Dense(1, weight=[[1.0]], use_bias=False)], dtype="float64")
    _, history = fitted(
        x, x, net=net, sample_weight=x[:, 0], optimizer=optim.SGD(0.0), epochs=2, batch_size=33
    )
    assert history["loss"] == [0.0, 0.0]


def test_the_recorded_loss_is_the_mean_over_samples_with_a_short_last_batch():
    x, y = regression(10)
    net, history = fitted(
        x, y, optimizer=optim.SGD(0.0), epochs=1, batch_size=4, metrics=["mse", "mae", "r2"]
    )
    residual = net.predict(x) - y
    assert history["loss"][0] == pytest.approx(0.5 * np.mean(residual**2))
    assert history["mse"][0] == pytest.approx(np.mean(residual**2))
    assert history["mae"][0] == pytest.approx(np.mean(np.abs(residual)))
    assert history["r2"][0] == pytest.approx(1 - np.mean(residual**2) / np.var(y))


def test_user_losses_per_sample_and_scalar_train_alike():
    x, y = regression()
    per_sample = lambda outputs, targets: 0.5 * np.sum(np.square(outputs - targets), axis=1)
    scalar = lambda outputs, targets: 0.5 * np.mean(np.square(outputs - targets))
    ours, _ = fitted(x, y, epochs=3, batch_size=16)
    for loss in (per_sample, scalar):
        net, history = fitted(x, y, loss=loss, epochs=3, batch_size=16, validation_split=0)
        np.testing.assert_allclose(net.parameters.flat, ours.parameters.flat, rtol=1e-10)
        assert list(history) == ["loss", "learning_rate"]


def test_a_users_loss_gets_integer_labels():
    kinds = set()

    def loss(outputs, targets):
        kinds.add(targets.dtype.kind)
        return -outputs[np.arange(len(targets)), targets]

    x, labels = blobs(30)
    fitted(x, labels, net=network(3), loss=loss, epochs=1)
    assert kinds == {"i"}


def test_penalties_are_part_of_both_losses():
    x, y = regression()
    penalties = [nn.L1(0.01), nn.L2(0.02)]
    net, history = fitted(
        x, y, epochs=1, optimizer=optim.SGD(0.0), penalty=penalties, validation_data=(x, y)
    )
    data_loss = 0.5 * np.mean((net.predict(x) - y) ** 2)
    weights = [w for name, w in net.parameters.items() if name.endswith("weight")]
    size = sum(0.01 * np.abs(w).sum() + 0.01 * (w**2).sum() for w in weights)
    assert history["loss"][0] == pytest.approx(data_loss + size)
    assert history["val_loss"][0] == pytest.approx(data_loss + size)
    found = evaluate(net, x, y, loss="squared_error", penalty=penalties)
    assert found["loss"] == pytest.approx(data_loss + size)


def test_learning_rate_schedule_is_followed_and_recorded():
    x, y = regression(20)
    schedule = optim.PiecewiseConstant([4], [0.1, 0.01])
    _, history = fitted(x, y, optimizer=optim.SGD(schedule), epochs=2, batch_size=5)
    assert history["learning_rate"] == [0.1, 0.01]


def test_the_optimizer_remembers_from_epoch_to_epoch():
    """Momentum over three full-batch epochs, by hand."""
    x, y = regression(8)
    net = nn.Network([nn.Dense(1, use_bias=False)], dtype="float64", seed=3)
    net.build(3)
    w = net.parameters["dense_1.weight"].copy()
    velocity = np.zeros_like(w)
    for _ in range(3):
        velocity = 0.9 * velocity - 0.1 * x.T @ (x @ w - y) / 8
        w = w + velocity
    fitted(x, y, net=net, optimizer=optim.SGD(0.1, momentum=0.9), epochs=3, batch_size=None)
    np.testing.assert_allclose(net.parameters["dense_1.weight"], w, rtol=1e-12)


def test_gradients_are_clipped():
    x, y = regression()
    net = network()
    net.build(3)
    before = net.parameters.flat.copy()
    fitted(x, 1e6 * y, net=net, optimizer=optim.SGD(1.0, clip_norm=0.5), epochs=1, batch_size=None)
    assert np.linalg.norm(net.parameters.flat - before) == pytest.approx(0.5)


# Weights


@given(weights=st.lists(st.integers(0, 3), min_size=6, max_size=6).filter(any))
def test_a_weight_of_two_is_the_sample_twice(weights):
    x, y = regression(6)
    twice, _ = fitted(
        np.repeat(x, weights, axis=0), np.repeat(y, weights, axis=0), epochs=3, batch_size=None
    )
    weighted, history = fitted(x, y, epochs=3, batch_size=None, sample_weight=weights)
    np.testing.assert_allclose(
        weighted.parameters.flat, twice.parameters.flat, rtol=1e-12, atol=1e-14
    )
    found = evaluate(weighted, x, y, loss="squared_error", sample_weight=weights, metrics="r2")
    again = evaluate(
        weighted, np.repeat(x, weights, axis=0), np.repeat(y, weights, axis=0),
        loss="squared_error", metrics="r2", batch_size=4,
    )  # fmt: skip
    assert found == pytest.approx(again, rel=1e-9)
    assert history["loss"][-1] > 0


def test_metrics_of_training_are_weighted_too():
    x, labels = blobs()
    weight = np.linspace(0.0, 1.0, 90)
    net, history = fitted(
        x, labels, net=network(3), loss="cross_entropy", optimizer=optim.SGD(0.0), batch_size=16,
        sample_weight=weight, class_weight={0: 5.0},
    )  # fmt: skip
    found = evaluate(net, x, labels, loss="cross_entropy", sample_weight=weight)
    assert history["accuracy"][0] == pytest.approx(found["accuracy"])
    right = net.predict(x).argmax(axis=1) == labels
    assert found["accuracy"] == pytest.approx(np.average(right, weights=weight))
    assert right.mean() != pytest.approx(found["accuracy"])


def test_balanced_class_weights_count_sample_weights():
    assert balanced_weights([0, 0, 1], np.array([1.0, 1.0, 4.0])) == {0: 1.5, 1: 0.75}


def test_balanced_class_weights_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    labels = np.array([0] * 7 + [1] * 2 + [4] * 1)
    reference = sklearn.compute_class_weight("balanced", classes=np.array([0, 1, 4]), y=labels)
    assert list(balanced_weights(labels).values()) == pytest.approx(list(reference))


@pytest.mark.parametrize("form", ["labels", "one_hot"])
def test_class_weight_is_a_sample_weight(form):
    x, labels = blobs()
    y = labels if form == "labels" else np.eye(3)[labels]
    options = {"loss": "cross_entropy", "epochs": 2, "batch_size": 10}
    of_class = {0: 3.0, 2: 0.5}
    by_class, history = fitted(x, y, net=network(3), class_weight=of_class, **options)
    of_sample = np.array([3.0, 1.0, 0.5])[labels]
    by_sample, _ = fitted(x, y, net=network(3), sample_weight=of_sample, **options)
    np.testing.assert_array_equal(by_class.parameters.flat, by_sample.parameters.flat)
    plain, plain_history = fitted(x, y, net=network(3), **options)
    assert not np.allclose(by_class.parameters.flat, plain.parameters.flat)
    assert history.keys() == plain_history.keys()
    both, _ = fitted(
        x, y, net=network(3), sample_weight=of_sample, class_weight={1: 1.0}, **options
    )
    np.testing.assert_array_equal(both.parameters.flat, by_sample.parameters.flat)


def test_balanced_classes_count_the_same():
    """One input, always 1: with balanced classes the best guess is one half, 0 as a logit."""
    x, y = np.ones((10, 1)), np.array([1] + [0] * 9)
    net = nn.Network([nn.Dense(1, use_bias=False)], dtype="float64", seed=0)
    options = {"loss": "binary_cross_entropy", "optimizer": optim.LBFGS(), "epochs": 50}
    fitted(x, y, net=net, class_weight="balanced", **options)
    assert net.predict([[1.0]])[0, 0] == pytest.approx(0.0, abs=1e-4)
    fitted(x, y, net=net, **options)
    assert net.predict([[1.0]])[0, 0] == pytest.approx(np.log(1 / 9), abs=1e-3)


# Validation


def test_validation_curves_are_evaluations_after_each_epoch():
    x, labels = blobs()
    x_val, labels_val = blobs(40, seed=1)
    weight = np.linspace(0.0, 1.0, 40)
    evaluations = []

    class Evaluate:
        def on_epoch_end(self, run):
            evaluations.append(
                evaluate(run.network, x_val, labels_val, loss="cross_entropy", sample_weight=weight)
            )

    _, history = fitted(
        x, labels, net=network(3), loss="cross_entropy", epochs=3,
        validation_data=(x_val, labels_val, weight), callbacks=Evaluate(),
    )  # fmt: skip
    assert history["val_loss"] == [found["loss"] for found in evaluations]
    assert history["val_accuracy"] == [found["accuracy"] for found in evaluations]
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]


@pytest.mark.parametrize("shuffle", [True, False])
def test_validation_split_holds_samples_out(shuffle):
    trained, validated = set(), set()

    def loss(outputs, targets):
        is_training = not isinstance(outputs, np.ndarray)
        (trained if is_training else validated).update(np.array(targets)[:, 0].tolist())
        return 0.5 * np.sum(np.square(outputs - targets), axis=1)

    x = np.arange(20.0)[:, None] / 20
    fitted(x, x, loss=loss, epochs=2, validation_split=0.25, shuffle=shuffle, compile=False)
    assert len(validated) == 5
    assert trained | validated == set(x[:, 0].tolist())
    assert not trained & validated
    if not shuffle:
        assert validated == set(x[15:, 0].tolist())


def test_default_metrics():
    x, labels = blobs(30)
    _, of_classes = fitted(x, labels, net=network(3), loss="cross_entropy")
    assert "accuracy" in of_classes
    _, of_numbers = fitted(*regression())
    assert list(of_numbers) == ["loss", "learning_rate"]
    _, none = fitted(x, labels, net=network(3), loss="cross_entropy", metrics=())
    assert list(none) == ["loss", "learning_rate"]


# Evaluate


@pytest.mark.parametrize("batch_size", [None, 1, 7, 1000])
def test_evaluate_is_the_mean_over_samples(batch_size):
    x, labels = blobs(50)
    net = network(3)
    outputs = net.predict(x)
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    found = evaluate(net, x, labels, loss="cross_entropy", batch_size=batch_size)
    assert found["loss"] == pytest.approx(-log_p[np.arange(50), labels].mean(), rel=1e-12)
    assert found["accuracy"] == pytest.approx(np.mean(outputs.argmax(axis=1) == labels))


def test_network_fit_and_evaluate_hand_over():
    x, labels = blobs()
    net = network(3)
    history = net.fit(
        x, labels, loss="cross_entropy", optimizer="adam", epochs=2, batch_size=16,
        validation_data=(x, labels), seed=0, verbose=0,
    )  # fmt: skip
    assert history.epochs == 2
    found = net.evaluate(x, labels, loss="cross_entropy")
    assert found["loss"] == history["val_loss"][-1]


# Full-batch minimizers


@pytest.mark.parametrize("name", ["lbfgs", "cg", "tnc", "newtoncg"])
def test_minimizers_find_the_least_squares_solution(name):
    pytest.importorskip("scipy")
    x, y = regression()
    net = nn.Network([nn.Dense(1)], dtype="float64", seed=0)
    _, history = fitted(
        x, y, net=net, optimizer=name, epochs=100, validation_data=(x, y), metrics="r2"
    )
    best = np.linalg.lstsq(np.column_stack([x, np.ones(60)]), y, rcond=None)[0]
    np.testing.assert_allclose(net.parameters["dense_1.weight"], best[:3], atol=1e-4)
    np.testing.assert_allclose(net.parameters["dense_1.bias"], best[3], atol=1e-4)
    assert history.stopped_by in ("converged", "stalled")
    assert 1 <= history.epochs < 100
    assert list(history) == ["loss", "r2", "val_loss", "val_r2"]
    assert (np.diff(history["loss"]) <= 0).all()
    np.testing.assert_allclose(history["val_loss"], history["loss"], rtol=1e-12)
    np.testing.assert_allclose(history["val_r2"], history["r2"], rtol=1e-12)


def test_minimizer_limits():
    pytest.importorskip("scipy")
    x, y = regression()
    _, history = fitted(x, y, optimizer=optim.LBFGS(), epochs=3)
    assert (history.epochs, history.stopped_by) == (3, "epochs")
    _, history = fitted(x, y, optimizer=optim.LBFGS(max_iterations=4))
    assert (history.epochs, history.stopped_by) == (4, "epochs")
    net, history = fitted(x, y, optimizer=optim.TNC(max_evaluations=5), epochs=100)
    assert history.stopped_by == "evaluations"
    found = evaluate(net, x, y, loss="squared_error")
    assert history["loss"][-1] == pytest.approx(found["loss"])


@pytest.mark.parametrize("limit", [1, 2, 3, 4])
def test_what_a_minimizer_reached_is_recorded_though_no_iteration_is_complete(limit):
    pytest.importorskip("scipy")
    x, y = regression()
    net, history = fitted(x, y, optimizer=optim.TNC(max_evaluations=limit), epochs=100)
    found = evaluate(net, x, y, loss="squared_error")
    assert history["loss"][-1] == pytest.approx(found["loss"], rel=1e-12)


@pytest.mark.parametrize("name", ["lbfgs", "tnc", "cg", "newtoncg"])
def test_what_a_minimizer_says_is_in_the_history(name):
    pytest.importorskip("scipy")
    x, y = regression()
    net, history = fitted(x, y, optimizer=name, epochs=200)
    said = history.minimizer
    assert said.success == (history.stopped_by == "converged")
    assert len(said.message) > 5
    assert said.n_evaluations >= said.n_iterations >= history.epochs - 1 > 0

    def loss(parameters):
        losses = nn.losses.squared_error(net.forward(parameters, x), y)
        return np.mean(losses)

    gradient = cr.grad(loss)(dict(net.parameters))
    norm = np.sqrt(sum(np.sum(np.square(g)) for g in gradient.values()))
    assert said.gradient_norm == pytest.approx(norm, rel=1e-6, abs=1e-12)
    _, history = fitted(x, y, net=net, optimizer=name, epochs=1)
    if history.stopped_by == "epochs":
        assert not history.minimizer.success
        assert history.minimizer.message == "stopped after 1 iterations"
    _, history = fitted(x, y, net=net, optimizer="sgd", epochs=1)
    assert history.minimizer is None


class Detour(optim.Minimizer):
    """Looks at a bad point after the good one, and ends as it is told to."""

    ending = "max_iterations"

    def minimize(self, value_and_grad, x0, hvp=None, on_iteration=None):
        x0 = np.array(x0)
        value, gradient = value_and_grad(x0)
        better = x0 - 0.1 * gradient
        value, _ = value_and_grad(better)
        value_and_grad(x0 + 3.0)
        if self.ending == "max_iterations":
            on_iteration(1, better, value)
        return optim.MinimizeResult(better, value, 1, 3, "", self.ending)


class InterruptedDetour(Detour):
    ending = "interrupt"


@pytest.mark.parametrize("kind", [Detour, InterruptedDetour])
def test_what_a_minimizer_returns_counts_and_not_where_it_looked_last(kind):
    x, y = regression()
    net, history = fitted(x, y, optimizer=kind("TNC"), epochs=1, metrics="mse")
    reference, _ = fitted(x, y, epochs=1, batch_size=None)
    np.testing.assert_allclose(net.parameters.flat, reference.parameters.flat, rtol=1e-12)
    if kind is Detour:
        assert history["mse"][0] == pytest.approx(2 * history["loss"][0])
    else:
        assert (history.stopped_by, history.epochs) == ("interrupt", 0)


def test_a_callback_can_stop_a_minimizer():
    pytest.importorskip("scipy")

    class StopAtTwo:
        begun = 0

        def on_epoch_begin(self, run):
            self.begun += 1
            assert run.epoch == self.begun

        def on_epoch_end(self, run):
            if run.epoch == 2:
                run.stop("enough")

    stop = StopAtTwo()
    _, history = fitted(*regression(), optimizer="lbfgs", epochs=50, callbacks=[stop])
    assert (history.epochs, history.stopped_by, stop.begun) == (2, "enough", 2)


def test_a_minimizer_works_in_float32():
    pytest.importorskip("scipy")
    net, history = fitted(*regression(), net=network(dtype="float32"), optimizer="lbfgs", epochs=20)
    assert net.parameters.dtype == np.float32
    assert history["loss"][-1] < 0.1 * history["loss"][0]


# Early ends


class Interrupt:
    """Ctrl-C at a moment of an epoch."""

    def __init__(self, moment, epoch, batch=1):
        self.epoch, self.batch = epoch, batch
        setattr(self, moment, self.press)

    def press(self, run):
        if (run.epoch, run.batch) == (self.epoch, self.batch):
            raise KeyboardInterrupt


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("moment", ["on_epoch_end", "on_fit_end"])
def test_ctrl_c_after_an_epoch_keeps_what_was_learned(optimizer, moment):
    x, y = regression()
    options = {"optimizer": optimizer, "batch_size": None, "shuffle": False}
    reference, _ = fitted(x, y, epochs=3, **options)
    net = network()
    interrupt = Interrupt(moment, 3)
    if moment == "on_fit_end":
        with pytest.raises(KeyboardInterrupt):
            fitted(x, y, net=net, epochs=3, callbacks=[interrupt], **options)
    else:
        _, history = fitted(x, y, net=net, epochs=9, callbacks=[interrupt], **options)
        assert (history.stopped_by, history.epochs) == ("interrupt", 3)
    np.testing.assert_array_equal(net.parameters.flat, reference.parameters.flat)


def test_ctrl_c_within_an_epoch_keeps_the_last_whole_update():
    x, y = regression(30)
    options = {"batch_size": 10, "shuffle": False}
    reference, _ = fitted(x[:20], y[:20], epochs=1, **options)
    net, history = fitted(
        x, y, epochs=9, callbacks=[Interrupt("on_batch_end", 1, batch=2)], **options
    )
    assert (history.stopped_by, history.epochs, len(history)) == ("interrupt", 0, 0)
    np.testing.assert_array_equal(net.parameters.flat, reference.parameters.flat)


@pytest.mark.parametrize("optimizer", [optim.SGD(0.1), optim.LBFGS()])
def test_ctrl_c_inside_a_step_keeps_the_last_whole_update(optimizer):
    calls = []

    def loss(outputs, targets):
        calls.append(len(targets))
        if len(calls) == 5:
            raise KeyboardInterrupt
        return 0.5 * np.sum(np.square(outputs - targets), axis=1)

    x, y = regression(10)
    net, history = fitted(
        x, y, loss=loss, epochs=20, optimizer=optimizer, batch_size=None, compile=False
    )
    assert history.stopped_by == "interrupt"
    assert evaluate(net, x, y, loss="squared_error")["loss"] < history["loss"][0]
    assert evaluate(net, x, y, loss="squared_error")["loss"] <= history["loss"][-1]


def test_ctrl_c_inside_the_third_step_of_an_epoch_keeps_the_second():
    calls = []

    def loss(outputs, targets):
        calls.append(len(targets))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.5 * np.sum(np.square(outputs - targets), axis=1)

    x, y = regression(30)
    net, _ = fitted(x, y, loss=loss, batch_size=10, shuffle=False, compile=False)
    reference, _ = fitted(x[:20], y[:20], batch_size=10, shuffle=False, compile=False)
    np.testing.assert_array_equal(net.parameters.flat, reference.parameters.flat)


@pytest.mark.parametrize("compile", [True, False])
def test_the_signal_of_ctrl_c_lets_the_running_update_finish(compile):
    class Press:
        def on_batch_end(self, run):
            if run.step == 2:
                signal.raise_signal(signal.SIGINT)

    x, y = regression(50)
    options = {"batch_size": 10, "shuffle": False, "compile": compile}
    net, history = fitted(x, y, callbacks=[Press()], epochs=4, **options)
    assert (history.stopped_by, history.epochs) == ("interrupt", 0)
    reference, _ = fitted(x[:30], y[:30], **options)
    np.testing.assert_array_equal(net.parameters.flat, reference.parameters.flat)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_another_exception_passes_and_leaves_a_finished_epoch():
    ended = []

    class Fail:
        def on_batch_end(self, run):
            if run.epoch == 2:
                raise RuntimeError("mine")

        def on_fit_end(self, run):
            ended.append(run.epoch)

    with pytest.raises(RuntimeError, match="mine"):
        fitted(*regression(), callbacks=[Fail()], epochs=3)
    assert ended == [2]


@pytest.mark.parametrize("watched", [True, False])
def test_a_loss_that_is_not_finite_stops_and_restores(watched):
    x, y = regression()
    good = network()
    reference = []

    class Keep:
        def on_epoch_end(self, run):
            reference.append(run.network.parameters.flat.copy())

    class PerBatch(Keep):
        def on_batch_end(self, run):
            assert np.isfinite(run.loss)

    with pytest.warns(
        RuntimeWarning, match=r"loss became (inf|nan) in epoch \d+, batch \d+\. .*learning"
    ):
        _, history = fitted(
            x, y, net=good, optimizer=optim.SGD(1e4), epochs=300, batch_size=30,
            callbacks=PerBatch() if watched else Keep(), validation_data=(x, y),
        )  # fmt: skip
    assert history.stopped_by == "nonfinite"
    assert 0 < history.epochs < 300
    assert np.isfinite(good.parameters.flat).all()
    assert np.isfinite(history["loss"]).all()
    np.testing.assert_array_equal(good.parameters.flat, reference[-1])
    assert len(history["val_loss"]) == history.epochs


def test_parameters_that_are_not_finite_are_not_kept():
    """The loss was computed before the update, so an epoch may end with a finite one."""
    x, y = regression()
    net = network(dtype="float32")
    net.build(3)
    before = net.parameters.flat.copy()
    with pytest.warns(RuntimeWarning, match=r"last update of epoch 1 made -?inf .* of dense_1"):
        _, history = fitted(x, y, net=net, optimizer=optim.SGD(1e39), epochs=3, batch_size=None)
    assert (history.stopped_by, history.epochs) == ("nonfinite", 0)
    np.testing.assert_array_equal(net.parameters.flat, before)


def test_detect_nonfinite_names_epoch_batch_layer_and_primitive():
    x = np.array([[1.0], [2.0], [-1.0]])

    def root(z):
        return np.sqrt(z)

    net = nn.Network([nn.Dense(1, weight=[[1.0]]), root, nn.Dense(1)], dtype="float64", seed=0)
    with pytest.raises(NonFiniteError, match=r"epoch 1, batch 3: .*sqrt.*NaN.*forward"):
        fitted(x, x, net=net, epochs=2, batch_size=1, shuffle=False, detect_nonfinite=True)
    assert net.parameters["dense_1.weight"] == 1.0

    x = np.array([[1.0], [0.0]])
    with pytest.raises(NonFiniteError, match=r"epoch 1, batch 2: .*sqrt.*backward"):
        fitted(
            x, x, net=net, epochs=2, batch_size=1, shuffle=False, detect_nonfinite=True,
            optimizer=optim.SGD(0.0),
        )  # fmt: skip


def test_detect_nonfinite_names_the_update():
    with pytest.raises(
        NonFiniteError, match=r"epoch 1, batch 1: the update made .* dense_1\.weight"
    ):
        fitted(
            *regression(), net=network(dtype="float32"), optimizer=optim.SGD(1e39),
            detect_nonfinite=True,
        )  # fmt: skip


def test_a_minimizer_on_a_loss_that_is_nan_leaves_the_parameters():
    pytest.importorskip("scipy")
    net = network()
    net.build(3)
    before = net.parameters.flat.copy()
    with pytest.warns(RuntimeWarning, match="loss became nan"):
        _, history = fitted(
            *regression(), net=net, optimizer="lbfgs", epochs=5,
            loss=lambda outputs, targets: np.log(-1.0 - np.square(outputs[:, 0])),
        )  # fmt: skip
    assert history.stopped_by == "nonfinite"
    np.testing.assert_array_equal(net.parameters.flat, before)


# Errors


X, Y = regression(10)
NAN_X = X.copy()
NAN_X[4, 1] = np.nan


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[:, :2]}, r"x has 2 features per sample, shape \(10, 2\).*takes 3"),
        ({"x": X.T, "y": Y[:3]}, r"takes 3.*transposed.*x\.T"),
        ({"x": X[:, 0]}, r"x has shape \(10,\).*reshape\(-1, 1\)"),
        ({"x": X[:0], "y": Y[:0]}, r"x is empty, shape \(0, 3\)"),
        ({"x": X[:9]}, r"x has 9 samples.*y has 10"),
        ({"x": NAN_X}, r"x holds nan at sample 4, feature 1 \(1 of 30"),
        ({"x": [[1.0, 2.0, 3.0], [1.0]]}, r"x cannot be made an array.*lengths"),
        ({"x": X.reshape(10, 3, 1)}, r"samples of shape \(3, 1\).*takes.*\(3,\).*reshape\(-1, 3\)"),
        ({"y": np.where(Y > 0, Y, np.nan)}, r"y does not fit.*NaN.*sample"),
        ({"y": Y[:, 0].reshape(2, 5)}, r"x has 10 samples.*y has 2"),
        ({"y": np.column_stack([Y, Y])}, r"\(10, 1\).*\(10, 2\)"),
        ({"loss": "squared_eror"}, r"squared_eror.*did you mean 'squared_error'"),
        ({"optimizer": "adm"}, r"adm.*did you mean 'adam'"),
        ({"metrics": ["acuracy"]}, r"metric 'acuracy'.*did you mean 'accuracy'"),
        ({"batch_size": 0}, r"batch_size is 0.*at least 1"),
        ({"epochs": 2.5}, r"epochs is 2\.5.*whole number"),
        ({"validation_split": 1.0}, r"validation_split=1\.0 of 10 samples leaves 0"),
        ({"validation_split": 0.01}, r"0 to validate on"),
        ({"validation_split": 0.5, "validation_data": (X, Y)}, r"both given"),
        ({"validation_data": X}, r"validation_data is ndarray: give \(x, y\)"),
        ({"validation_data": (X[:, :1], Y)}, r"validation x has 1 features"),
        ({"validation_data": (X, Y[:4])}, r"validation x has 10 samples.*validation y has 4"),
        ({"sample_weight": [1.0]}, r"sample_weight has shape \(1,\).*10 samples"),
        ({"sample_weight": -np.ones(10)}, r"sample_weight holds -1\.0 for sample 0"),
        ({"sample_weight": np.zeros(10)}, r"weights of all samples are zero"),
        ({"class_weight": "balanced"}, r"class_weight needs class labels.*sample_weight"),
        ({"verbose": 3}, r"verbose is 3"),
        (
            {"loss": lambda o, t: np.mean(np.square(o - t)), "sample_weight": np.arange(10)},
            r"one number for the batch.*per sample",
        ),
        ({"loss": lambda o, t: np.square(o - t)}, r"shape \(10, 1\) for 10 samples: return one"),
    ],
)
def test_what_fit_refuses(changes, message):
    net = network()
    net.build(3)
    before = net.parameters.flat.copy()
    arguments = {"x": X, "y": Y} | changes
    with pytest.raises(ValueError, match=message):
        fitted(arguments.pop("x"), arguments.pop("y"), net=net, **arguments)
    np.testing.assert_array_equal(net.parameters.flat, before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X.astype(str)}, r"x holds text.*one-hot"),
        ({"x": np.array([[None, 1.0, 2.0]] * 10)}, r"x holds nan at sample 0"),
        ({"y": np.array(["cat", "dog"] * 5)}, r"y holds text.*'cat'.*np\.unique"),
        ({"x": X.astype(complex)}, r"x has dtype complex"),
        ({"metrics": [3]}, r"a metric is a name or a function.*int"),
        ({"callbacks": [object()]}, r"none of the methods on_fit_begin"),
    ],
)
def test_what_fit_refuses_by_type(changes, message):
    arguments = {"x": X, "y": Y} | changes
    with pytest.raises((TypeError, ValueError), match=message):
        fitted(arguments.pop("x"), arguments.pop("y"), **arguments)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        ([0, 1, 3], {}, r"label 3 is out of range.*3 outputs"),
        ([1, 2, 3], {}, r"seem to start at 1"),
        ([0, 1, 2], {"class_weight": {5: 1.0}}, r"class 5.*y holds only 0, 1, 2"),
        ([0, 1, 2], {"class_weight": {1: -1.0}}, r"class 1 is -1\.0"),
        ([0, 1, 2], {"class_weight": "even"}, r"'even'.*'balanced'"),
    ],
)
def test_what_fit_refuses_of_labels(labels, options, message):
    with pytest.raises(ValueError, match=message):
        fitted(np.ones((3, 2)), labels, net=network(3), loss="cross_entropy", **options)


def test_a_number_too_large_for_the_dtype_is_not_infinity():
    with pytest.raises(ValueError, match=r"1e\+300 at sample 0.*too large for float32.*float64"):
        fitted([[1e300, 1.0]], [1.0], net=network(dtype="float32"))


def test_numbers_of_any_kind_are_taken():
    """Lists, integers, booleans, and Python's own numbers in object arrays, as from pandas."""
    for x in (XOR_X.tolist(), XOR_X.astype(int), XOR_X.astype(bool), XOR_X.astype(object)):
        net, _ = fitted(x, XOR_Y, loss="binary_cross_entropy", epochs=2)
        reference, _ = fitted(XOR_X, XOR_Y.astype(float), loss="binary_cross_entropy", epochs=2)
        np.testing.assert_array_equal(net.parameters.flat, reference.parameters.flat)


def test_history_describes_itself():
    x, y = regression()
    _, history = fitted(x, y, epochs=2)
    assert history.stopped_by == "epochs"
    assert repr(history).startswith("History(2 epochs in ")
    assert len(history.seconds) == history.epochs == 2
    with pytest.raises(KeyError, match="'val_loss' is not in this history; it holds loss"):
        history["val_loss"]


@pytest.mark.parametrize("name", ["lbfgs", "newton_cg"])
def test_a_minimizer_runs_as_source_and_eagerly_to_the_same_point(name):
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 4)), rng.integers(0, 3, 30)
    weight = rng.random(30)
    ends = []
    for compiled in (True, False):
        net = nn.Network(
            [nn.Dense(5), nn.Tanh(), nn.Dropout(0.2), nn.Dense(3)], dtype="float64", seed=1
        )
        history = net.fit(
            x, y, loss="cross_entropy", optimizer=name, epochs=8, sample_weight=weight,
            penalty=nn.L2(0.1), seed=0, verbose=0, compile=compiled,
        )  # fmt: skip
        ends.append((history["loss"], net.parameters.flat))
    np.testing.assert_allclose(ends[0][0], ends[1][0], rtol=1e-9)
    np.testing.assert_allclose(ends[0][1], ends[1][1], rtol=1e-5, atol=1e-7)


def test_a_minimizer_whose_loss_cannot_be_compiled_runs_eagerly_and_says_so():
    pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 1))

    def loss(outputs, targets):
        errors = (outputs - targets) ** 2
        if errors.sum() > 0:  # asks a traced array for its value
            return errors.sum(axis=1)
        return errors.sum(axis=1)

    net = nn.Network([nn.Dense(1)], dtype="float64", seed=1)
    with pytest.warns(RuntimeWarning, match=r"cannot be compiled: .*test_training.py"):
        history = net.fit(x, y, loss=loss, optimizer="lbfgs", epochs=5, verbose=0)
    assert history["loss"][-1] < history["loss"][0]
