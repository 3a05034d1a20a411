"""Callbacks: their moments, early stopping, learning-rate reduction, the CSV log."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.training.callbacks import (
    MOMENTS,
    CSVLogger,
    EarlyStopping,
    ReduceLearningRate,
    Run,
    moments,
)
from chainrule.training.fit import evaluate, fit

RNG = np.random.default_rng(0)
X, X_VAL = RNG.normal(size=(24, 4)), RNG.normal(size=(24, 4))
NOISE, NOISE_VAL = RNG.normal(size=(24, 1)), RNG.normal(size=(24, 1))
"""Nothing to learn: training overfits, and the validation loss soon rises."""


def overfit(callbacks, *, epochs=60, net=None, **options):
    net = net or nn.Network([nn.Dense(20), nn.Tanh(), nn.Dense(1)], dtype="float64", seed=0)
    defaults = {
        "loss": "squared_error", "optimizer": optim.Adam(0.03), "batch_size": 8, "seed": 0,
        "verbose": 0, "validation_data": (X_VAL, NOISE_VAL),
    }  # fmt: skip
    history = fit(net, X, NOISE, epochs=epochs, callbacks=callbacks, **(defaults | options))
    return net, history


class Curve:
    """Puts given numbers into the history in place of the measured ones, under a name."""

    def __init__(self, numbers, name="val_loss"):
        self.numbers, self.name = numbers, name

    def on_epoch_end(self, run):
        run.history[self.name][-1] = self.numbers[run.epoch - 1]


# Moments


def test_moments_come_in_order():
    seen = []

    class Everything:
        """Notes each moment with where the run is."""

    for moment in MOMENTS:
        setattr(
            Everything, moment, lambda self, run, m=moment: seen.append((m, run.epoch, run.step))
        )
    overfit([Everything()], epochs=2, batch_size=12)
    assert seen == [
        ("on_fit_begin", 0, 0),
        ("on_epoch_begin", 1, 0),
        ("on_batch_end", 1, 1),
        ("on_batch_end", 1, 2),
        ("on_epoch_end", 1, 2),
        ("on_epoch_begin", 2, 2),
        ("on_batch_end", 2, 3),
        ("on_batch_end", 2, 4),
        ("on_epoch_end", 2, 4),
        ("on_fit_end", 2, 4),
    ]


# which is what the callback made of it
@pytest.mark.filterwarnings("ignore:after 2 epochs the network gives exactly the same")
@pytest.mark.parametrize(
    "moment", ["on_fit_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end"]
)
def test_training_continues_with_what_a_callback_writes(moment):
    class Freeze:
        """Once sets all parameters to zero, where a tanh network without biases has no gradient."""

        done = False

    def zero(self, run):
        if not self.done:
            run.network.parameters.flat[...] = 0.0
        self.done = True

    setattr(Freeze, moment, zero)
    net = nn.Network([nn.Dense(5, use_bias=False), nn.Tanh(), nn.Dense(1, use_bias=False)], seed=0)
    fit(
        net, X, NOISE, loss="squared_error", optimizer="sgd", epochs=2, batch_size=8,
        callbacks=[Freeze()], verbose=0,
    )  # fmt: skip
    assert (net.parameters.flat == 0).all()


def test_the_network_is_up_to_date_at_every_batch():
    """One unit, one sample a batch: w moves by learning_rate * (1 - w) each time."""
    seen = []

    class Watch:
        def on_batch_end(self, run):
            seen.append(run.network.parameters.flat[0])

    net = nn.Network([nn.Dense(1, weight="zeros", use_bias=False)], dtype="float64")
    ones = np.ones((3, 1))
    fit(
        net, ones, ones, loss="squared_error", optimizer=optim.SGD(0.5), batch_size=1,
        callbacks=Watch(), verbose=0,
    )  # fmt: skip
    assert seen == [0.5, 0.75, 0.875]


@pytest.mark.parametrize("epoch_done", [True, False])
def test_stopping_within_an_epoch(epoch_done):
    class Stop:
        def on_batch_end(self, run):
            if (run.epoch, run.batch) == (2, 3 if epoch_done else 1):
                run.stop("mine")

    _, history = overfit([Stop()])
    assert history.stopped_by == "mine"
    assert history.epochs == (2 if epoch_done else 1)


def test_the_learning_rate_factor_counts_at_once():
    class Halve:
        def on_batch_end(self, run):
            run.learning_rate_factor = 0.0

    ones = np.ones((3, 1))
    net = nn.Network([nn.Dense(1, weight="zeros", use_bias=False)], dtype="float64")
    history = fit(
        net, ones, ones, loss="squared_error", optimizer=optim.SGD(0.5), batch_size=1,
        callbacks=Halve(), verbose=0,
    )  # fmt: skip
    assert net.parameters.flat[0] == 0.5
    assert history["learning_rate"] == [0.0]


def test_what_is_no_callback():
    class Misspelled:
        def on_epoch_finish(self, run):
            """Never called."""

    with pytest.raises(TypeError, match=r"Misspelled has a method on_epoch_finish.*on_epoch_end"):
        moments([Misspelled()])
    with pytest.raises(TypeError, match="dict has none of the methods on_fit_begin"):
        moments([{}])
    assert moments(())["on_fit_end"] == []
    with pytest.raises(TypeError, match="CSVLogger is a class"):
        moments([CSVLogger])


# EarlyStopping


def test_early_stopping_stops_and_restores_the_best_epoch():
    net, history = overfit([EarlyStopping(patience=4)])
    best = int(np.argmin(history["val_loss"]))
    assert history.stopped_by == "early_stopping"
    assert history.best_epoch == best + 1
    assert history.epochs == best + 1 + 4
    found = evaluate(net, X_VAL, NOISE_VAL, loss="squared_error")
    assert found["loss"] == history["val_loss"][best]
    assert history["val_loss"][-1] > found["loss"]


@pytest.mark.parametrize("ending", ["epochs", "interrupt", "nonfinite", "mine"])
def test_the_best_epoch_is_restored_however_training_ends(ending):
    class End:
        def on_epoch_end(self, run):
            if run.epoch == 50 and ending == "interrupt":
                raise KeyboardInterrupt
            if run.epoch == 50 and ending == "mine":
                run.stop("mine")
            if run.epoch == 49 and ending == "nonfinite":
                run.network.parameters.flat[...] = np.inf

    callbacks = [EarlyStopping(patience=100), End()]
    if ending == "nonfinite":
        with pytest.warns(RuntimeWarning, match="training stopped"):
            net, history = overfit(callbacks, epochs=51)
    else:
        net, history = overfit(callbacks, epochs=50)
    assert history.stopped_by == ending
    best = int(np.argmin(history["val_loss"]))
    assert best < 40
    found = evaluate(net, X_VAL, NOISE_VAL, loss="squared_error")
    assert found["loss"] == history["val_loss"][best]


def test_without_restoring_the_last_epoch_is_kept():
    net, history = overfit([EarlyStopping(patience=4, restore_best_weights=False)])
    found = evaluate(net, X_VAL, NOISE_VAL, loss="squared_error")
    assert history.stopped_by == "early_stopping"
    assert found["loss"] == history["val_loss"][-1]
    assert history.best_epoch is None


@pytest.mark.parametrize(
    ("options", "numbers", "epochs", "best"),
    [
        ({"patience": 2}, [5, 4, 6, 4, 9, 9], 4, 2),  # equal is not better
        ({"patience": 2}, [5, 4, 6, 3, 9, 9, 9], 6, 4),  # a better one starts the count again
        ({"patience": 2, "min_delta": 1.0}, [5, 4.5, 4.2, 3, 2, 1], 3, 1),
        ({"patience": 2, "mode": "max"}, [1, 2, 3, 2, 2, 9], 5, 3),
        ({"patience": 2}, [np.nan, 5, np.nan, np.nan, 1], 4, 2),
    ],
)
def test_what_counts_as_better(options, numbers, epochs, best):
    _, history = overfit([Curve(numbers), EarlyStopping(**options)], epochs=len(numbers))
    assert (history.epochs, history.best_epoch) == (epochs, best)


def test_accuracy_should_rise():
    labels = np.arange(24) % 2
    net = nn.Network([nn.Dense(1)], seed=0)
    numbers = [0.5, 0.6, 0.7, 0.6, 0.6, 0.9]
    history = fit(
        net, X, labels, loss="binary_cross_entropy", epochs=6, verbose=0,
        callbacks=[Curve(numbers, "accuracy"), EarlyStopping("accuracy", patience=2)],
    )  # fmt: skip
    assert (history.epochs, history.best_epoch) == (5, 3)


def test_a_run_forgets_the_one_before():
    stopping = EarlyStopping(patience=3)
    _, first = overfit([Curve([1, 2, 3, 4, 5, 6]), stopping], epochs=6)
    _, second = overfit([Curve([10, 9, 8, 7, 6, 5]), stopping], epochs=6)
    assert (first.epochs, second.epochs, second.best_epoch) == (4, 6, 6)


def test_without_validation_data_the_training_loss_is_watched():
    with pytest.warns(UserWarning, match="no validation data: it watches loss instead"):
        _, history = overfit([EarlyStopping(patience=3)], validation_data=None, epochs=5)
    assert history.best_epoch == int(np.argmin(history["loss"])) + 1


def test_unknown_numbers_to_watch():
    with pytest.raises(
        ValueError, match=r"'val_los' \(did you mean 'val_loss'\?\).*loss, val_loss"
    ):
        overfit([EarlyStopping("val_los")])
    with pytest.raises(
        ValueError, match="whether 'val_spread' should be small or large: give mode="
    ):
        overfit([EarlyStopping("val_spread")], metrics={"spread": lambda o, t: np.std(o)})
    with pytest.raises(ValueError, match="patience of EarlyStopping is 0"):
        EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="mode of EarlyStopping is 'up'"):
        EarlyStopping(mode="up")


def test_early_stopping_works_with_minimizers():
    pytest.importorskip("scipy")
    net, history = overfit([EarlyStopping(patience=5)], optimizer="lbfgs", epochs=200)
    assert history.stopped_by == "early_stopping"
    found = evaluate(net, X_VAL, NOISE_VAL, loss="squared_error")
    assert found["loss"] == min(history["val_loss"])


# ReduceLearningRate


def test_the_learning_rate_falls_when_nothing_improves():
    numbers = [5, 4, 4, 4, 4, 4, 3, 3, 3]
    reduce = ReduceLearningRate(factor=0.5, patience=2)
    _, history = overfit([Curve(numbers), reduce], epochs=9, optimizer=optim.SGD(0.01))
    halves = [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.25]
    assert history["learning_rate"] == pytest.approx([0.01 * factor for factor in halves])


def test_the_learning_rate_falls_so_far():
    reduce = ReduceLearningRate(factor=0.1, patience=1, smallest_factor=0.01)
    _, history = overfit([Curve([1.0] * 6), reduce], epochs=6, optimizer=optim.SGD(1e-3))
    assert history["learning_rate"] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-5, 1e-5])
    with pytest.raises(ValueError, match="factor is 2: give a number between 0 and 1"):
        ReduceLearningRate(factor=2)


# CSVLogger


def test_csv_log_holds_the_history(tmp_path):
    path = tmp_path / "runs" / "history.csv"
    lines = []

    class Follow:
        def on_epoch_end(self, run):
            lines.append(len(path.read_text().splitlines()))

    _, history = overfit([CSVLogger(path), Follow()], epochs=3)
    assert lines == [2, 3, 4]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["epoch", "seconds", "loss", "val_loss", "learning_rate"]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3]
    for name, curve in history.items():
        assert [float(row[name]) for row in rows] == curve
    overfit([CSVLogger(path)], epochs=1)
    assert len(path.read_text().splitlines()) == 2


def test_csv_log_is_closed_after_an_error(tmp_path):
    class Fail:
        def on_epoch_end(self, run):
            raise RuntimeError("mine")

    logger = CSVLogger(tmp_path / "history.csv")
    with pytest.raises(RuntimeError, match="mine"):
        overfit([logger, Fail()])
    logger.on_epoch_end(Run(None, 1))  # closed: writes nothing
    assert len(logger.path.read_text().splitlines()) == 2
