"""Which samples the steps of a fit take: a number of steps, draws with replacement, and the loss
over all samples now and then.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.engines.batches import Batches
from chainrule.training.callbacks import CSVLogger, LossAfterEpoch
from chainrule.training.orders import Orders

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(23, 3)), RNG.normal(size=(23, 2))
LABELS = RNG.integers(0, 2, 23)
engines = pytest.mark.parametrize("engine", ["numpy", "c"])


def fitted(engine="numpy", y=Y, **options):
    net = nn.Network([nn.Dense(4), nn.Tanh(), nn.Dense(2)], dtype="float64", seed=0)
    defaults = {"loss": "squared_error", "optimizer": optim.SGD(0.1), "verbose": 0, "seed": 5}
    history = net.fit(X, y, engine=engine, **(defaults | {"batch_size": 5} | options))
    return net, history


def orders(shuffle, epochs=None, steps=None, n=23, size=5):
    return Orders(n, size, shuffle, np.random.default_rng(0), epochs, steps)


def drawn(found):
    return [found.draw(epoch) for epoch in range(1, found.epochs + 1)]


# The orders themselves


def test_an_epoch_takes_each_sample_once():
    found = orders(True, epochs=3)
    assert (found.n_steps, found.most_samples, found.sizes) == (15, 23, [5, 3])
    assert found.are_whole
    for order in drawn(found):
        np.testing.assert_array_equal(np.sort(order), np.arange(23))
    assert drawn(orders(False, epochs=2)) == [None, None]


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("steps", [1, 4, 5, 6, 9, 10, 11])
def test_the_last_epoch_ends_with_the_last_step(shuffle, steps):
    found = orders(shuffle, steps=steps)
    parts = [np.arange(23) if order is None else order for order in drawn(found)]
    assert sum(-(-len(part) // 5) for part in parts) == found.n_steps == steps
    assert all(len(part) == 23 for part in parts[:-1])
    for part, order in zip(parts, drawn(orders(shuffle, epochs=3)), strict=False):
        whole = np.arange(23) if order is None else order
        np.testing.assert_array_equal(whole[: len(part)], part)
    assert found.sizes == ([5, 3] if steps >= 5 else [5])
    assert found.are_whole == (steps % 5 == 0)


def test_with_replacement_every_batch_is_full_and_samples_come_again():
    found = orders("replacement", epochs=200)
    all_drawn = np.concatenate(drawn(found))
    assert all(len(order) == 25 for order in drawn(orders("replacement", epochs=2)))
    assert found.sizes == [5]
    assert not found.are_whole
    counts = np.bincount(all_drawn, minlength=23)
    expected = len(all_drawn) / 23
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))
    batches = all_drawn.reshape(-1, 5)
    twice = np.mean([len(set(batch)) < 5 for batch in batches.tolist()])
    exactly = 1 - math.prod((23 - i) / 23 for i in range(5))
    assert abs(twice - exactly) < 5 * np.sqrt(exactly / len(batches))


def test_steps_in_so_many_parts():
    found = orders("replacement", epochs=4, steps=10)
    assert [len(order) // 5 for order in drawn(found)] == [2, 3, 2, 3]
    assert (found.epochs, found.n_steps, found.most_samples) == (4, 10, 15)
    found = orders("replacement", steps=12)
    assert [len(order) // 5 for order in drawn(found)] == [5, 5, 2]


def test_batches_follow_an_order_of_any_length():
    """As many as the longest, then fewer, then more again."""
    batches = Batches((X, Y), 5, np.empty((40, 2)), 40)
    for n in (40, 7, 23, 1):
        order = RNG.integers(0, 23, n)
        batches.begin(order, [0.1] * -(-n // 5), 1)
        parts = [(begin, stop, x, y) for begin, stop, (x, y) in batches.following()]
        np.testing.assert_array_equal(np.concatenate([x for *_, x, _ in parts]), X[order])
        np.testing.assert_array_equal(np.concatenate([y for *_, y in parts]), Y[order])
        assert len(batches.losses) == len(parts) == -(-n // 5)
        assert len(batches.outputs) == n


# In fit


@engines
@pytest.mark.parametrize("steps", [3, 5, 12])
@pytest.mark.parametrize("shuffle", [True, False, "replacement"])
def test_so_many_updates_are_made(engine, steps, shuffle):
    class Counts:
        n = 0

        def on_batch_end(self, run):
            self.n += 1
            assert run.step == self.n

    counts = Counts()
    one, history = fitted(engine, steps=steps, shuffle=shuffle, callbacks=counts)
    assert counts.n == steps
    assert history.epochs == -(-steps // 5)
    other, again = fitted(engine, steps=steps, shuffle=shuffle)
    np.testing.assert_array_equal(one.parameters.flat, other.parameters.flat)
    assert history["loss"] == again["loss"]


@pytest.mark.parametrize("weights", [None, np.linspace(0, 2, 23)])
@pytest.mark.parametrize("epochs", [None, 3])
def test_the_same_seed_gives_the_same_batches_on_both_engines(weights, epochs):
    options = {"steps": 47, "epochs": epochs, "shuffle": "replacement", "sample_weight": weights}
    options |= {"y": LABELS, "loss": "cross_entropy", "optimizer": optim.Adam(0.01)}
    one, history = fitted("numpy", **options)
    other, again = fitted("c", **options)
    np.testing.assert_allclose(one.parameters.flat, other.parameters.flat, rtol=1e-9)
    np.testing.assert_allclose(history["loss"], again["loss"], rtol=1e-9)
    np.testing.assert_allclose(history["accuracy"], again["accuracy"], rtol=1e-12)
    assert again.engine == "c"
    third, _ = fitted("c", **options, callbacks=[])
    np.testing.assert_array_equal(third.parameters.flat, other.parameters.flat)


@engines
def test_the_batches_are_those_that_the_generator_draws(engine):
    """Step by step, by hand: the losses are of those samples, each before its update."""
    net, history = fitted(engine, steps=7, epochs=2, shuffle="replacement", metrics="mse")
    rng = np.random.default_rng(5).spawn(3)[1]
    other = nn.Network([nn.Dense(4), nn.Tanh(), nn.Dense(2)], dtype="float64", seed=0)
    found = []
    for n_steps in (3, 4):
        order = rng.integers(0, 23, 5 * n_steps).reshape(-1, 5)
        options = {"loss": "squared_error", "optimizer": optim.SGD(0.1), "engine": engine}
        losses = [other.train_on_batch(X[rows], Y[rows], **options) for rows in order]
        found.append(np.mean(losses))
    np.testing.assert_allclose(history["loss"], found, rtol=1e-12)
    np.testing.assert_allclose(history["mse"], found, rtol=1e-12)  # ½ Σ of two is their mean
    np.testing.assert_array_equal(net.parameters.flat, other.parameters.flat)


def test_schedules_count_the_steps():
    seen = []

    def rate(step):
        seen.append(step)
        return 0.1

    fitted(steps=13, epochs=3, shuffle="replacement", optimizer=optim.SGD(rate))
    assert sorted(set(seen)) == list(range(1, 14))


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ValueError, match="epochs=2 and steps=9 are both given"):
        fitted(epochs=2, steps=9)
    with pytest.raises(ValueError, match="cannot be parted into 9 epochs"):
        fitted(epochs=9, steps=2, shuffle="replacement")
    with pytest.raises(ValueError, match="steps is 0"):
        fitted(steps=0)
    with pytest.raises(TypeError, match="did you mean 'replacement'"):
        fitted(shuffle="replacment")
    with pytest.raises(TypeError, match="shuffle is 3"):
        fitted(shuffle=3)
    for options in ({"steps": 3}, {"shuffle": "replacement"}):
        with pytest.raises(ValueError, match="sees all samples at once"):
            fitted(optimizer="lbfgs", **options)
    with pytest.raises(ValueError, match="verbose_every is 0"):
        fitted(verbose_every=0)


def test_progress_tells_the_parts(capsys):
    fitted(steps=40, epochs=4, shuffle="replacement", verbose=2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [f"epoch {i}/4" for i in range(1, 5)]


# The loss over all samples


@engines
@pytest.mark.parametrize("options", [{}, {"penalty": nn.L2(0.1)}, {"sample_weight": np.arange(23)}])
def test_the_loss_over_all_samples_after_an_epoch(engine, options):
    seen = {}

    class Looks:
        def on_epoch_end(self, run):
            loss = run.network.evaluate(X, Y, sample_weight=options.get("sample_weight"))["loss"]
            seen[run.epoch] = loss

    _, watched = fitted(engine, epochs=11, verbose_every=4, callbacks=Looks(), **options)
    net, history = fitted(engine, epochs=11, verbose_every=4, **options)
    found = history["loss_after_epoch"]
    assert [i for i, value in enumerate(found, 1) if not math.isnan(value)] == [1, 4, 8]
    for epoch in (1, 4, 8):
        assert found[epoch - 1] == pytest.approx(seen[epoch], rel=1e-12)
        assert watched["loss_after_epoch"][epoch - 1] == found[epoch - 1]
    plain, without = fitted(engine, epochs=11, **options)
    np.testing.assert_array_equal(net.parameters.flat, plain.parameters.flat)
    assert without["loss"] == history["loss"]
    assert "loss_after_epoch" not in without
    assert "nan" not in repr(history)


@engines
def test_epochs_that_are_taken_at_once_stop_for_the_look(engine):
    _, history = fitted(engine, epochs=500, verbose_every=100)
    found = np.array(history["loss_after_epoch"])
    np.testing.assert_array_equal(
        np.flatnonzero(np.isfinite(found)) + 1, [1, 100, 200, 300, 400, 500]
    )
    assert history.epochs == 500


def test_it_is_printed_in_the_line_of_its_epoch(capsys):
    fitted(epochs=100, verbose_every=37, verbose=2)
    lines = [line for line in capsys.readouterr().err.splitlines() if "loss_after" in line]
    assert [line.split()[1].split("/")[0] for line in lines] == ["1", "37", "74"]
    assert not any("nan" in line for line in lines)


def test_as_a_callback_on_other_data(capsys):
    looks = LossAfterEpoch(X[:7], Y[:7], every=10, name="of_seven")
    net, history = fitted(epochs=20, callbacks=looks, verbose=2)
    assert history["of_seven"][-1] == net.evaluate(X[:7], Y[:7])["loss"]
    assert sum(map(math.isnan, history["of_seven"])) == 17
    assert capsys.readouterr().err.count("of_seven") == 3
    with pytest.raises(ValueError, match="every is 0"):
        LossAfterEpoch(X, Y, every=0)
    with pytest.raises(ValueError, match="'loss' has a number for every epoch"):
        fitted(callbacks=LossAfterEpoch(X, Y, name="loss"))


def test_a_csv_file_has_a_column_for_it_in_any_order_of_callbacks(tmp_path):
    path = tmp_path / "log.csv"
    callbacks = [CSVLogger(path), LossAfterEpoch(X, Y, every=2)]
    fitted(epochs=3, callbacks=callbacks)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert "loss_after_epoch" in rows[0]
    assert len({len(row) for row in rows}) == 1


def test_of_a_minimizer():
    _, history = fitted(optimizer="lbfgs", epochs=7, verbose_every=3)
    found = np.array(history["loss_after_epoch"])
    np.testing.assert_allclose(found[[0, 2, 5]], np.array(history["loss"])[[0, 2, 5]], rtol=1e-12)
