"""Many epochs in one call of C: nobody can tell, but by the time it takes."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.training import descent

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler (cc)")

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 2))


class Watcher:
    """A callback that looks on."""

    def on_epoch_end(self, run):
        pass


def network(layers=()):
    return nn.Network([nn.Dense(4), nn.Tanh(), *layers, nn.Dense(2)], input_shape=3, seed=1)


def trained(watched, *, layers=(), **options):
    """A network, its history and its warnings; watched, epochs are taken one by one."""
    net = network(layers)
    callbacks = [Watcher()] if watched else []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        history = net.fit(
            X, Y, loss="squared_error", epochs=30, seed=3, verbose=0, callbacks=callbacks,
            **{"engine": "c", **options},
        )  # fmt: skip
    return net, history, [str(warning.message) for warning in caught]


@pytest.fixture
def calls(monkeypatch):
    """How many epochs each call took; all epochs are short, however busy the machine is."""
    taken = []
    monkeypatch.setattr(descent, "_LOOK_SECONDS", 10.0)
    hurry = descent.Descent._hurry

    def counted(self, n_epochs):
        losses = hurry(self, n_epochs)
        taken.append(None if losses is None else len(losses))
        return losses

    monkeypatch.setattr(descent.Descent, "_hurry", counted)
    return taken


@pytest.mark.parametrize("batch_size", [1, 4, 12])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("optimizer", [optim.SGD(0.1), optim.Adam(0.01)])
@pytest.mark.parametrize("layers", [(), (nn.Dropout(0.3),)])
def test_history_and_parameters_are_those_of_epochs_taken_one_by_one(
    calls, batch_size, shuffle, optimizer, layers
):
    options = {"batch_size": batch_size, "shuffle": shuffle, "optimizer": optimizer}
    fast, history, said = trained(False, layers=layers, **options)
    assert sum(calls) == 29, "the first is taken by itself"
    assert len(calls) < 29
    slow, expected, _ = trained(True, layers=layers, **options)
    assert sum(calls) == 29, "a watched run takes its epochs one by one"
    np.testing.assert_array_equal(fast.parameters.flat, slow.parameters.flat)
    assert history["loss"] == expected["loss"]
    assert history["learning_rate"] == expected["learning_rate"]
    assert (history.epochs, history.stopped_by, said) == (30, "epochs", [])


@pytest.mark.parametrize("watched", [True, False])
def test_the_number_of_the_step_counts_on_from_epoch_to_epoch(calls, watched):
    found, history, _ = trained(watched, batch_size=4, optimizer=optim.Adam(0.01))
    wanted, expected, _ = trained(watched, batch_size=4, optimizer=optim.Adam(0.01), engine="numpy")
    assert history["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    np.testing.assert_allclose(found.parameters.flat, wanted.parameters.flat, rtol=1e-4, atol=1e-6)


def test_a_last_batch_of_another_size_is_taken_as_ever(calls):
    net, history, _ = trained(False, batch_size=5)
    assert calls == [None]
    np.testing.assert_array_equal(
        net.parameters.flat, trained(True, batch_size=5)[0].parameters.flat
    )
    assert history.epochs == 30


@pytest.mark.parametrize(
    ("batch_size", "rate"), [(4, 3.0), (4, 1e30), (12, 3.0), (12, 30.0), (12, 3e18)]
)
def test_a_run_that_grows_beyond_all_bounds_ends_as_ever(calls, batch_size, rate):
    """With one batch, either the loss is the first that is not finite, or at 3e18 a parameter."""
    options = {"batch_size": batch_size, "optimizer": optim.SGD(rate)}
    fast, history, said = trained(False, **options)
    slow, expected, expected_words = trained(True, **options)
    assert history.stopped_by == expected.stopped_by == "nonfinite"
    assert {name: history[name] for name in history} == {name: expected[name] for name in expected}
    assert said == expected_words
    np.testing.assert_array_equal(fast.parameters.flat, slow.parameters.flat)
    assert np.isfinite(fast.parameters.flat).all()


def test_epochs_that_are_long_are_looked_into(calls, monkeypatch):
    monkeypatch.setattr(descent, "_SHORT_SECONDS", 0.0)
    net, history, _ = trained(False, batch_size=4)
    assert calls == []
    assert history.epochs == 30
    np.testing.assert_array_equal(
        net.parameters.flat, trained(True, batch_size=4)[0].parameters.flat
    )


def test_metrics_validation_and_schedules_are_taken_epoch_by_epoch(calls):
    trained(False, metrics={"mean": lambda outputs, targets: 0.0})
    trained(False, validation_split=0.25)
    trained(False, optimizer=optim.SGD(lambda step: 0.1 / step))
    assert calls == []


def test_ctrl_c_keeps_the_epochs_that_are_done(monkeypatch):
    import signal

    hurry = descent.Descent._hurry

    def interrupted(self, n_epochs):
        losses = hurry(self, n_epochs)
        if self.session.run.epoch > 2:
            signal.raise_signal(signal.SIGINT)
        return losses

    monkeypatch.setattr(descent.Descent, "_hurry", interrupted)
    monkeypatch.setattr(descent, "_epochs_in_a_moment", lambda seconds: 1)
    net, history, _ = trained(False, batch_size=4)
    assert history.stopped_by == "interrupt"
    assert 2 < history.epochs < 30
    others = network()
    others.fit(
        X, Y, loss="squared_error", epochs=history.epochs, batch_size=4, seed=3, verbose=0,
        engine="c", callbacks=[Watcher()],
    )  # fmt: skip
    np.testing.assert_array_equal(net.parameters.flat, others.parameters.flat)


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_another_generator_gives_the_same_orders(bits):
    nets = []
    for watched in (False, True):
        net = network()
        net.fit(
            X, Y, loss="squared_error", epochs=9, batch_size=4, verbose=0, engine="c",
            seed=np.random.Generator(bits(5)), callbacks=[Watcher()] if watched else [],
        )  # fmt: skip
        nets.append(net.parameters.flat)
    np.testing.assert_array_equal(*nets)
