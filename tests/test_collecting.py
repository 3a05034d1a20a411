"""What callbacks collect for pictures is what was there, and training goes on as without them."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.training.callbacks import EarlyStopping
from chainrule.training.collecting import Distributions, Histogram, Snapshots, gradients_by_name

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), np.arange(40) % 2


def small(**options):
    return nn.Network([nn.Dense(4), nn.ReLU(), nn.Dense(2)], seed=0, **options)


def fit(net, epochs=4, callbacks=(), **options):
    options = {"loss": "cross_entropy", "seed": 0, "verbose": 0, "engine": "numpy", **options}
    return net.fit(X, Y, epochs=epochs, callbacks=callbacks, **options)


def test_collecting_changes_no_bit_of_the_training():
    plain, watched = small(), small()
    fit(plain)
    fit(watched, callbacks=[Snapshots(), Distributions(X, Y)])
    np.testing.assert_array_equal(plain.parameters.flat, watched.parameters.flat)


def test_snapshots_are_those_of_their_epochs():
    net, kept = small(), Snapshots()
    fit(net, 3, kept)
    assert kept.epochs == [0, 1, 2, 3]
    other = small()
    for i, epoch in enumerate(kept.epochs):
        alone = small()
        alone.build(3)
        if epoch:
            alone = small()
            fit(alone, epoch)
        other.build(3)
        kept.restore(other, i)
        np.testing.assert_array_equal(other.parameters.flat, alone.parameters.flat)
    fit(net, 2, kept)  # a second run begins anew
    assert kept.epochs == [0, 1, 2]


def test_snapshots_hold_the_state_too():
    net = nn.Network([nn.Dense(3), nn.BatchNorm(), nn.Dense(2)], seed=0)
    kept = Snapshots()
    fit(net, 2, kept)
    after = {name: array.copy() for name, array in net.state.items()}
    kept.restore(net, 0)
    assert any((net.state[name] != array).any() for name, array in after.items())
    kept.restore(net, -1)
    for name, array in after.items():
        np.testing.assert_array_equal(net.state[name], array)


def test_the_last_snapshot_is_of_the_last_epoch_not_of_the_best():
    net, kept = small(), Snapshots(every=100)
    stopping = EarlyStopping("loss", mode="max", patience=2)  # the first epoch is the best
    fit(net, 10, [stopping, kept])
    assert kept.epochs == [0, 3]
    restored = net.parameters.flat.copy()
    kept.restore(net, -1)
    assert (net.parameters.flat != restored).any()


@pytest.mark.parametrize(("most", "epochs"), [(5, 40), (3, 100), (200, 7)])
def test_a_long_training_keeps_a_bounded_number(most, epochs):
    net, kept, seen = small(), Snapshots(most=most), Distributions(X, Y, most=most, bins=4)
    fit(net, epochs, [kept, seen])
    for epochs_kept in (kept.epochs, seen.epochs):
        assert len(epochs_kept) <= most + 1
        assert epochs_kept == sorted(set(epochs_kept))
        assert epochs_kept[0] == 0
    assert kept.epochs[-1] == epochs
    assert {len(h) for h in seen.gradients.values()} == {len(seen.epochs)}


def test_snapshots_of_another_network_are_refused():
    net, kept = small(), Snapshots()
    with pytest.raises(ValueError, match="no snapshots were kept"):
        kept.restore(net, 0)
    fit(net, 1, kept)
    with pytest.raises(ValueError, match="26 parameters.*has 8: give the network"):
        kept.restore(nn.Network([nn.Dense(2)], input_shape=3), 0)


@pytest.mark.parametrize("options", [{"every": 0}, {"most": 0}, {"every": 1.5}])
def test_counts_are_whole_numbers(options):
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        Snapshots(**options)
    with pytest.raises((TypeError, ValueError), match=next(iter(options))):
        Distributions(X, Y, **options)


@pytest.mark.parametrize(
    ("values", "zeros", "not_finite"),
    [
        ([1.0, 2.0, 0.0, 0.0], 0.5, 0.0),
        ([np.nan, np.inf, 1.0, 0.0], 0.25, 0.5),
        ([np.nan, np.nan], 0.0, 1.0),
        ([3.0], 0.0, 0.0),
        ([], 0.0, 0.0),
        ([1e-300, -1e-300], 0.0, 0.0),
        ([1e6, 1e6 + 1e-9], 0.0, 0.0),
        (np.zeros((2, 3, 4), np.float32), 1.0, 0.0),
        ([1, 2, 3], 0.0, 0.0),
    ],
)
def test_histograms_count_every_finite_value(values, zeros, not_finite):
    values = np.asarray(values)
    found = Histogram.of(values, bins=7)
    assert found.counts.sum() == np.isfinite(values).sum()
    assert (found.zeros, found.not_finite) == (zeros, not_finite)
    assert (np.diff(found.edges) > 0).all()


def test_distributions_are_those_of_the_layers():
    net, seen = small(), Distributions(X, Y, bins=10)
    fit(net, 2, seen)
    assert seen.epochs == [0, 1, 2]
    for name, outputs in net.layer_outputs(X).items():
        counts, edges = np.histogram(outputs.astype(np.float64), 10)
        np.testing.assert_array_equal(seen.activations[name][-1].counts, counts)
        np.testing.assert_array_equal(seen.activations[name][-1].edges, edges)
    gradients = gradients_by_name(net, X, Y)
    assert list(seen.gradients) == list(gradients)
    for name, gradient in gradients.items():
        last = seen.gradients[name][-1]
        assert last.edges[0] == gradient.min()
        assert last.edges[-1] == gradient.max()


def test_gradients_are_those_of_the_loss_and_its_penalty():
    net = small(dtype="float64")
    fit(net, 1, penalty=nn.L2(0.1))
    before = net.parameters.flat.copy()

    def loss(parameters):
        outputs = net.forward(parameters, X)
        log = outputs - np.log(np.exp(outputs).sum(axis=1, keepdims=True))
        data = -np.mean(log[np.arange(40), Y])
        return data + nn.L2(0.1)(parameters)

    expected = cr.grad(loss)(dict(net.parameters))
    for name, gradient in gradients_by_name(net, X, Y).items():
        np.testing.assert_allclose(gradient, expected[name], rtol=1e-10, atol=1e-14)
    np.testing.assert_array_equal(net.parameters.flat, before)
    with pytest.raises(ValueError, match="give loss="):
        gradients_by_name(small(), X, Y)


def test_what_has_no_layers_is_refused():
    class Run:
        network = object()

    with pytest.raises(TypeError, match="object does not give: it has no method layer_outputs"):
        Distributions(X, Y).on_fit_begin(Run())
