"""`train_on_batch`: the same steps as `fit`, one call each, and what is kept between the calls."""

from __future__ import annotations

import copy
import pickle
import timeit
import warnings

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.training.compiled_step import CompiledStep

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 4))
Y = RNG.normal(size=(12, 2))
LABELS = RNG.integers(0, 2, 12)

ENGINES = ["numpy", "c"]
engines = pytest.mark.parametrize("engine", ENGINES)


def network(dtype="float64", *, seed=0, extra=()):
    return nn.Network([nn.Dense(5), nn.Tanh(), *extra, nn.Dense(2)], dtype=dtype, seed=seed)


def batches(x, y, size):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


@engines
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("loss", "targets", "optimizer"),
    [
        ("squared_error", Y, optim.SGD(0.1)),
        ("mean_squared_error", Y, optim.SGD(0.1, momentum=0.9)),
        ("cross_entropy", LABELS, optim.Adam(0.01)),
        ("cross_entropy", np.eye(2)[LABELS], optim.Adam(optim.CosineDecay(0.1, 9))),
        ("binary_cross_entropy", np.eye(2)[LABELS], optim.RMSprop(0.01, clip_norm=0.5)),
        ("hinge", np.eye(2)[LABELS] * 2 - 1, optim.Lion(optim.StepDecay(0.1, every=2))),
        ("kl_divergence", np.full((12, 2), 0.5), optim.AdamW(0.01)),
    ],
)
def test_batches_one_by_one_are_the_epoch_of_fit(engine, dtype, loss, targets, optimizer):
    """Bit for bit: parameters, losses, schedules, and the short last batch."""
    one, other = network(dtype), network(dtype)
    history = one.fit(
        X, targets, loss=loss, optimizer=optimizer, epochs=3, batch_size=5, shuffle=False,
        penalty=nn.L2(0.01), engine=engine, verbose=0,
    )  # fmt: skip
    losses = [
        other.train_on_batch(x, y, loss=loss, optimizer=optimizer, penalty=PENALTY, engine=engine)
        for _ in range(3)
        for x, y in batches(X, targets, 5)
    ]
    np.testing.assert_array_equal(one.parameters.flat, other.parameters.flat)
    shares = np.array([5, 5, 2]) / 12
    assert history["loss"] == [float(np.array(losses[i : i + 3]) @ shares) for i in (0, 3, 6)]
    assert all(type(value) is float for value in losses)
    assert other.step.engine == engine


PENALTY = nn.L2(0.01)


@engines
def test_dropout_and_batch_norm_as_in_fit(engine):
    extra = [nn.BatchNorm(), nn.Dropout(0.5)]
    one, other = network(extra=extra), network(extra=[nn.BatchNorm(), nn.Dropout(0.5)])
    options = {"loss": "squared_error", "optimizer": optim.SGD(0.1), "engine": engine, "seed": 7}
    one.fit(X, Y, epochs=2, batch_size=4, shuffle=False, verbose=0, **options)
    for _ in range(2):
        for x, y in batches(X, Y, 4):
            other.train_on_batch(x, y, **options)
    np.testing.assert_array_equal(one.parameters.flat, other.parameters.flat)
    for name, array in one.state.items():
        np.testing.assert_array_equal(array, other.state[name])
    np.testing.assert_array_equal(one.predict(X), other.predict(X))


@engines
@pytest.mark.parametrize(
    ("loss", "targets", "single"),
    [
        ("squared_error", Y, lambda i: Y[i]),
        ("squared_error", Y, lambda i: Y[i].tolist()),
        ("squared_error", Y, lambda i: Y[i : i + 1]),
        ("cross_entropy", LABELS, lambda i: LABELS[i]),
        ("cross_entropy", LABELS, lambda i: int(LABELS[i])),
        ("cross_entropy", LABELS, lambda i: LABELS[i : i + 1]),
        ("cross_entropy", np.eye(2)[LABELS], lambda i: np.eye(2, dtype=int)[LABELS[i]]),
    ],
)
def test_one_sample_is_a_batch_of_one(engine, loss, targets, single):
    one, other = network(), network()
    options = {"loss": loss, "optimizer": "sgd", "engine": engine}
    for i in range(12):
        a = one.train_on_batch(X[i : i + 1], targets[i : i + 1], **options)
        assert other.train_on_batch(X[i], single(i), **options) == a
    np.testing.assert_array_equal(one.parameters.flat, other.parameters.flat)


def test_one_output_takes_numbers_as_targets():
    one, other = (nn.Network([nn.Dense(1)], dtype="float64", seed=0) for _ in range(2))
    for i in range(12):
        a = one.train_on_batch(X[i : i + 1], Y[i : i + 1, :1], loss="squared_error")
        assert other.train_on_batch(X[i], Y[i, 0], loss="squared_error") == a


@pytest.fixture
def compiled(monkeypatch):
    """How often a program was made."""
    made = []
    build = CompiledStep._trace

    def counted(self, inputs):
        made.append(inputs[0].shape)
        return build(self, inputs)

    monkeypatch.setattr(CompiledStep, "_trace", counted)
    return made


def test_the_step_is_compiled_once_for_each_shape(compiled):
    net = network()
    for _ in range(5):
        for x, y in batches(X, Y, 5):
            net.train_on_batch(x, y, loss="squared_error", optimizer=optim.SGD(0.1))
    assert compiled == [(5, 4), (2, 4)]
    net.train_on_batch(X[:5], Y[:5], optimizer=optim.SGD(0.01))  # another rate
    net.train_on_batch(X[:5].tolist(), Y[:5].astype(np.float32), loss="squared_error")
    assert compiled == [(5, 4), (2, 4)]
    net.train_on_batch(X[:5], Y[:5], loss="mean_squared_error")
    assert compiled[2:] == [(5, 4)]
    net.train_on_batch(X[:5], Y[:5], penalty=nn.L1(0.1))
    net.train_on_batch(X[:5], Y[:5], sample_weight=np.ones(5))
    assert compiled[3:] == [(5, 4), (5, 4)]
    net.train_on_batch(X[:5], Y[:5], optimizer=optim.SGD(0.01, momentum=0.1))
    assert len(compiled) == 6


def test_slots_and_steps_are_kept_where_rate_loss_or_shape_change():
    net, adam = network(), optim.Adam(0.01)
    net.train_on_batch(X, Y, loss="squared_error", optimizer=adam)
    slots = net.batch_training.learned.slots
    net.train_on_batch(X[:3], Y[:3], optimizer=optim.Adam(0.1))
    net.train_on_batch(X[:3], Y[:3], loss="huber")
    assert net.batch_training.learned.slots is slots
    assert net.batch_training.n_steps == 3
    net.train_on_batch(X, Y, optimizer=optim.Adam(0.01, beta1=0.5))
    assert net.batch_training.n_steps == 1


@pytest.mark.parametrize(
    "renew",
    [
        lambda net: net.fit(X, Y, loss="squared_error", optimizer="adam", verbose=0),
        lambda net: net.build(4),
        lambda net: net.add(nn.Dense(2)),
    ],
    ids=["fit", "build", "add"],
)
def test_it_starts_afresh_after(renew):
    net = network()
    net.train_on_batch(X, Y, loss="squared_error", optimizer="adam")
    renew(net)
    before = net.parameters.flat.copy()
    net.train_on_batch(X, Y)
    assert net.batch_training.n_steps == 1
    assert not np.array_equal(net.parameters.flat, before)


@pytest.mark.parametrize(
    "renew", [copy.deepcopy, copy.copy, lambda a: pickle.loads(pickle.dumps(a))]
)
def test_a_copy_trains_itself_alone(renew):
    net = network()
    net.train_on_batch(X, Y, loss="squared_error", optimizer=optim.SGD(0.1))
    other = renew(net)
    before = net.parameters.flat.copy()
    other.train_on_batch(X, Y)
    np.testing.assert_array_equal(net.parameters.flat, before)
    assert not np.array_equal(other.parameters.flat, before)
    assert other.batch_training.optimizer == optim.SGD(0.1)


def test_loss_and_optimizer_of_the_last_fit_go_on():
    net = network()
    net.fit(X, Y, loss="huber", optimizer=optim.RMSprop(0.01), penalty=PENALTY, verbose=0)
    net.train_on_batch(X, Y)
    assert net.batch_training.optimizer == optim.RMSprop(0.01)
    assert net.batch_training.goal.loss is nn.losses.huber
    assert net.batch_training.goal.penalties == (PENALTY,)
    net.train_on_batch(X, Y, penalty=())
    assert net.batch_training.goal.penalties == ()
    assert net.evaluate(X, Y)["loss"] == net.evaluate(X, Y, loss="huber")["loss"]


@engines
def test_what_is_written_between_two_calls_counts(engine):
    net, other = network(extra=[nn.BatchNorm()]), network(extra=[nn.BatchNorm()])
    options = {"loss": "squared_error", "optimizer": optim.SGD(0.1), "engine": engine}
    net.train_on_batch(X, Y, **options)
    other.build(4)
    net.parameters.flat[:] = other.parameters.flat
    for name, array in other.state.items():
        net.state[name] = array.copy()  # another array in its place
    a, b = net.train_on_batch(X, Y, **options), other.train_on_batch(X, Y, **options)
    assert a == b
    np.testing.assert_array_equal(net.parameters.flat, other.parameters.flat)
    for name, array in other.state.items():
        np.testing.assert_array_equal(net.state[name], array)


@engines
def test_an_option_of_a_layer_that_changes_counts_at_once(engine):
    net = network(extra=[nn.LeakyReLU(0.1)])
    options = {"loss": "squared_error", "optimizer": optim.SGD(0.0), "engine": engine}
    a = [net.train_on_batch(X, Y, **options) for _ in range(3)]
    net.layers[2].slope = 0.9
    b = [net.train_on_batch(X, Y, **options) for _ in range(3)]
    assert len(set(a)) == len(set(b)) == 1
    assert b[0] == pytest.approx(net.evaluate(X, Y)["loss"])
    assert a[0] != b[0]


class Shifted(nn.Layer):
    def __init__(self):
        super().__init__()
        self.shift = np.zeros(4)

    def forward(self, x, parameters, context):
        return x + self.shift


def test_arrays_inside_layers_are_looked_into_now_and_then():
    net = nn.Network([layer := Shifted(), nn.Dense(2)], dtype="float64", seed=0)
    a = net.train_on_batch(X, Y, loss="squared_error", optimizer=optim.SGD(0.0))
    layer.shift[:] = 3
    b = [net.train_on_batch(X, Y) for _ in range(600)]
    assert b[-1] == pytest.approx(net.evaluate(X, Y)["loss"])
    assert a != b[-1]


def test_metrics_are_those_of_the_outputs_before_the_update():
    net = network()
    net.build(4)
    before = net.evaluate(X, LABELS, loss="cross_entropy", metrics="accuracy")
    found = net.train_on_batch(X, LABELS, loss="cross_entropy", metrics="accuracy")
    assert found == pytest.approx(before)
    assert isinstance(net.train_on_batch(X, LABELS), float)


@engines
def test_weights_multiply_the_losses(engine):
    net = network()
    net.build(4)
    one, two = (
        net.evaluate(x, y, loss="squared_error")["loss"] for x, y in batches(X[:2], Y[:2], 1)
    )
    found = net.train_on_batch(
        X[:2], Y[:2], loss="squared_error", sample_weight=[3, 0.5], optimizer="sgd", engine=engine
    )
    assert found == pytest.approx((3 * one + 0.5 * two) / 2)


def test_a_function_that_cannot_be_compiled_trains_all_the_same():
    def odd(outputs, targets):
        return np.mean((outputs - targets) ** 2, axis=1) * (1 if outputs[0, 0].item() > -99 else 2)

    one, other = network(), network()
    options = {"optimizer": optim.SGD(0.1, momentum=0.9)}
    for _ in range(3):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            a = one.train_on_batch(X, Y, loss=odd, **options)
        b = other.train_on_batch(X, Y, loss="mean_squared_error", **options)
        assert a == pytest.approx(b, rel=1e-12)
    assert not one.has_step
    np.testing.assert_allclose(one.parameters.flat, other.parameters.flat, rtol=1e-10)
    third = network()
    third.train_on_batch(X, Y, loss="mean_squared_error", compile=False, **options)
    assert not third.has_step


def test_auto_goes_over_to_c_once_that_would_have_paid(monkeypatch):
    def paid(graph, n_calls):
        return n_calls >= 2000

    monkeypatch.setattr("chainrule.training.on_batch.is_worth_compiling", paid)
    monkeypatch.setattr("chainrule.engines.choice.is_worth_compiling", paid)
    net, other = network(), network()
    ran_on = []
    for _ in range(2400):
        net.train_on_batch(X[:1], Y[:1], loss="squared_error", optimizer="adam", engine="auto")
        ran_on.append(net.step.engine)
    assert ran_on == ["numpy"] * 2048 + ["c"] * 352  # asked after 1024 steps, 2048, ...
    for _ in range(2400):
        other.train_on_batch(X[:1], Y[:1], loss="squared_error", optimizer="adam", engine="numpy")
    np.testing.assert_allclose(net.parameters.flat, other.parameters.flat, rtol=1e-6)


@engines
@pytest.mark.parametrize(
    ("x", "y", "error", "match"),
    [
        (np.where(X > 1, np.nan, X), Y, ValueError, "x holds nan"),
        (X, np.where(Y > 1, np.inf, Y), ValueError, "infinity"),
        (X[:, :3], Y, ValueError, "3 features"),
        (X, Y[:5], ValueError, "12 samples"),
        (X[:0], Y[:0], ValueError, "empty"),
        (X.astype(complex), Y, TypeError, "complex"),
        (X, Y.astype(str), TypeError, "text"),
        (X, Y[:, 0], ValueError, r"\(12,\)"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_step(engine, x, y, error, match):
    net = network()
    net.train_on_batch(X, Y, loss="squared_error", optimizer="adam", engine=engine)
    before = net.parameters.flat.copy()
    for _ in range(2):
        with pytest.raises(error, match=match):
            net.train_on_batch(x, y, loss="squared_error")
    np.testing.assert_array_equal(net.parameters.flat, before)
    assert net.batch_training.n_steps == 1


@engines
def test_labels_out_of_range_are_refused_in_every_call(engine):
    net = network()
    options = {"loss": "cross_entropy", "optimizer": "sgd", "engine": engine}
    net.train_on_batch(X, LABELS, **options)
    wrong = LABELS.copy()
    for label in (2, -1):
        wrong[3] = label
        with pytest.raises(ValueError, match="out of range"):
            net.train_on_batch(X, wrong, **options)
    with pytest.raises(ValueError, match=r"1\.5|integer labels"):
        net.train_on_batch(X, LABELS + 0.5, **options)
    rows = np.eye(2)[LABELS]
    net.train_on_batch(X, rows, **options)
    with pytest.raises(ValueError, match="add up to"):
        net.train_on_batch(X, rows * 0.5, **options)
    net.train_on_batch(X, np.full((12, 2), 0.5), **options)  # probabilities are right


def test_what_is_missing_or_of_no_use_is_named():
    net = network()
    with pytest.raises(ValueError, match="does not know the loss before a fit"):
        net.train_on_batch(X, Y)
    with pytest.raises(ValueError, match="takes no single steps"):
        net.train_on_batch(X, Y, loss="squared_error", optimizer="lbfgs")
    with pytest.raises(ValueError, match="no parameters to train"):
        nn.Network([nn.Tanh()]).train_on_batch(Y, Y, loss="squared_error")
    with pytest.raises(ValueError, match="batches of one sample"):
        network(extra=[nn.BatchNorm()]).train_on_batch(X[0], Y[0], loss="squared_error")
    net.fit(X, Y, loss="squared_error", optimizer="lbfgs", epochs=2, verbose=0)
    with pytest.raises(ValueError, match="takes no single steps"):
        net.train_on_batch(X, Y)


@engines
def test_a_loss_that_is_not_finite_is_a_warning(engine):
    net = network("float32")
    options = {"loss": "squared_error", "optimizer": optim.SGD(1e30), "engine": engine}
    net.train_on_batch(X, Y, **options)
    with pytest.warns(RuntimeWarning, match="the loss became .* in step 2"):
        net.train_on_batch(X, Y, **options)


def test_whole_numbers_for_an_embedding():
    net = nn.Network([nn.Embedding(5, 2), nn.Flatten(), nn.Dense(1)], seed=0)
    words, targets = np.array([[0, 4], [1, 2]]), np.array([1.0, 0.0])
    losses = [net.train_on_batch(words, targets, loss="squared_error") for _ in range(50)]
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="5"):
        net.train_on_batch(words + 1, targets)


@engines
def test_a_call_costs_no_more_than_two_microseconds_beside_its_step(engine):
    """On the network of the first publication's digits, one sample a step."""
    layers = [layer for n in (32, 16, 10) for layer in (nn.Dense(n), nn.Sigmoid())]
    net = nn.Network(layers, dtype="float64", seed=0)
    x, y = np.random.default_rng(0).random((1, 64)), np.eye(10)[:1]
    net.train_on_batch(x, y, loss="squared_error", optimizer=optim.SGD(0.1), engine=engine)
    step, batch = net.step, (x, y)
    program = step.program_for(batch)
    beside = min(
        min(timeit.repeat(lambda: net.train_on_batch(x, y), number=500, repeat=5))
        - min(timeit.repeat(lambda: program.take(batch, 0.1, 1, None), number=500, repeat=5))
        for _ in range(6)
    )
    assert beside / 500 < (2e-6 if engine == "c" else 5e-6)  # a quarter of NumPy's own noise
