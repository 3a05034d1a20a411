"""What a compiled step must not fix without a word: numbers drawn, options that change."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.training.frozen import Observed, hidden_draws

X = np.random.default_rng(0).normal(size=(40, 3))
Y = X.sum(axis=1, keepdims=True)


class Noise(nn.Layer):
    """Adds noise from wherever `draw(shape)` has it."""

    def __init__(self, draw, *, name=""):
        super().__init__(name=name)
        self.draw = draw

    def forward(self, x, parameters, context):
        return x + self.draw(x.shape) if context.training else x


class OwnGenerator(nn.Layer):
    def __init__(self, generator, *, name=""):
        super().__init__(name=name)
        self.options = {"noise": generator}

    def forward(self, x, parameters, context):
        generator = self.options["noise"]
        draw = generator.gauss if isinstance(generator, random.Random) else generator.normal
        return x + draw(0, 1) if context.training else x


def network(*layers, seed=0):
    return nn.Network([nn.Dense(4), *layers, nn.Dense(1)], seed=seed, dtype="float64")


def fit(net, **options):
    defaults = {"loss": "squared_error", "epochs": 3, "batch_size": 8, "seed": 0, "verbose": 0}
    return net.fit(X, Y, **(defaults | options))


HIDDEN = {
    "normal": (lambda: Noise(lambda shape: np.random.normal(size=shape)), "NumPy's"),
    "rand": (lambda: Noise(lambda shape: np.random.rand(*shape)), "NumPy's global generator"),
    "python": (lambda: Noise(lambda shape: random.random()), "Python's global generator"),
    "attribute": (
        lambda: OwnGenerator(np.random.default_rng(3)),
        r"own_generator_1\.options\.noise",
    ),
    "random state": (lambda: OwnGenerator(np.random.RandomState(3)), r"\.options\.noise"),
    "random.Random": (lambda: OwnGenerator(random.Random(3)), r"\.options\.noise"),
}


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", HIDDEN)
def test_a_layer_that_draws_on_its_own_is_named_and_trains_with_fresh_numbers(kind, optimizer):
    make, generator = HIDDEN[kind]
    curves = []
    for compiled in (True, True, False):
        np.random.seed(5)
        random.seed(5)
        net = network(make())
        if compiled:
            layer = net.layers[1].name
            with pytest.warns(RuntimeWarning, match=rf"compiled: {layer} draws from .*{generator}"):
                history = fit(net, optimizer=optimizer)
        else:
            history = fit(net, optimizer=optimizer, compile=False)
        assert not net.has_step
        curves.append(history["loss"])
    assert curves[0] == curves[1]
    if "global" not in generator and "NumPy" not in generator:
        assert curves[0] == curves[2]  # what a try has drawn counts as not drawn


def test_the_numbers_a_layer_draws_are_new_in_each_step():
    seen = []

    def draw(shape):
        seen.append(np.random.normal())
        return seen[-1]

    with pytest.warns(RuntimeWarning, match="noise_1 draws from NumPy's global generator"):
        fit(network(Noise(draw)), epochs=4)
    assert len(set(seen)) == len(seen) >= 4 * 5


def test_an_inner_layer_that_draws_is_found():
    net = network(nn.Stack([Noise(lambda shape: np.random.rand(*shape), name="jitter")]))
    with pytest.warns(RuntimeWarning, match=r"stack_1 draws from NumPy's global generator"):
        fit(net)


def test_a_loss_or_a_penalty_that_draws_is_found():
    def noisy(outputs, targets):
        return np.mean((outputs - targets + np.random.normal()) ** 2)

    for options in (
        {"loss": noisy},
        {"penalty": lambda p: np.random.rand() * np.sum(p["dense_1.bias"])},
    ):
        with pytest.warns(RuntimeWarning, match=r"the training step draws from NumPy's global"):
            fit(network(), **options)


def test_what_was_drawn_before_the_fit_stays_as_it_was():
    np.random.seed(1)
    expected = np.random.rand(2)
    np.random.seed(1)
    first = np.random.rand()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(network(nn.Dropout(0.5), nn.Tanh()))
    assert [first, np.random.rand()] == expected.tolist()


class Set:
    """A callback that changes an option when an epoch begins or ends."""

    def __init__(self, change, moment="on_epoch_end", epoch=1):
        self.change, self.epoch = change, epoch
        setattr(self, moment, self.act)

    def act(self, run):
        if run.epoch == self.epoch:
            self.change(run.network)


class Scale(nn.Layer):
    def __init__(self, by, *, name=""):
        super().__init__(name=name)
        self.options = {"by": by}
        self.offset = np.zeros(4)

    def forward(self, x, parameters, context):
        return x * self.options["by"] + self.offset


def set_scale(net):
    net.layers[1].options["by"] = 3.0


def set_offset(net):
    net.layers[1].offset[:] = 2.0


def set_inner_rate(net):
    net.layers[1].layers[1].rate = 0.9


CHANGES = {
    "dropout": (lambda: [nn.Dropout(0.1)], lambda net: setattr(net.layers[1], "rate", 0.9)),
    "number": (lambda: [Scale(1.0)], set_scale),
    "array in place": (lambda: [Scale(1.0)], set_offset),
    "inner": (lambda: [nn.Stack([nn.Tanh(), nn.Dropout(0.1)])], set_inner_rate),
    "leaky": (lambda: [nn.LeakyReLU(0.1)], lambda net: setattr(net.layers[1], "slope", 0.7)),
}


# An epoch of a minimizer has begun before its callbacks are called.
MOMENTS = [
    (moment, optimizer)
    for moment in ("on_epoch_end", "on_epoch_begin", "on_batch_end")
    for optimizer in (optim.SGD(0.01), optim.Adam(), optim.LBFGS())
    if moment == "on_epoch_end" or isinstance(optimizer, optim.Optimizer)
]


@pytest.mark.parametrize(("moment", "optimizer"), MOMENTS)
@pytest.mark.parametrize("kind", CHANGES)
def test_an_option_that_a_callback_changes_counts_from_the_next_epoch(kind, moment, optimizer):
    make, change = CHANGES[kind]
    runs = []
    for compiled in (True, False):
        net = network(*make())
        # in epochs of one batch a batch's end is the epoch's end
        callback = Set(change, moment, 2 if moment == "on_epoch_begin" else 1)
        history = fit(
            net, epochs=4, optimizer=optimizer, callbacks=callback, compile=compiled,
            batch_size=None,
        )  # fmt: skip
        runs.append((history["loss"], net.parameters.flat.copy()))
        assert net.has_step == (compiled and not isinstance(optimizer, optim.Minimizer))
    np.testing.assert_allclose(runs[0][0], runs[1][0], rtol=1e-9)
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-7, atol=1e-9)
    plain = fit(network(*make()), epochs=4, optimizer=optimizer, batch_size=None)
    assert plain["loss"] != pytest.approx(runs[0][0], rel=1e-4)


class Annealed:
    """A loss whose attribute a callback changes, and the callback."""

    def __init__(self):
        self.share = 0.0

    def __call__(self, outputs, targets):
        return np.mean((outputs - targets) ** 2) + self.share * np.mean(outputs**2)

    def on_epoch_end(self, run):
        self.share += 1.0


SHARE = 0.0


def global_loss(outputs, targets):
    return np.mean((outputs - targets) ** 2) + SHARE * np.mean(outputs**2)


class RaiseShare:
    def on_epoch_end(self, run):
        global SHARE
        SHARE += 1.0


def closure():
    share = 0.0

    def loss(outputs, targets):
        return np.mean((outputs - targets) ** 2) + share * np.mean(outputs**2)

    class Raise:
        def on_epoch_end(self, run):
            nonlocal share
            share += 1.0

    return loss, Raise()


def own_loss_options():
    own = Annealed()
    return {"loss": own, "callbacks": own}


def closure_options():
    loss, callback = closure()
    return {"loss": loss, "callbacks": callback}


def global_options():
    return {"loss": global_loss, "callbacks": RaiseShare()}


def penalty_options():
    own = Annealed()
    penalty = lambda p: own.share * np.sum(p["dense_1.weight"] ** 2)
    return {"penalty": penalty, "callbacks": own}


@pytest.mark.parametrize(
    "options", [own_loss_options, closure_options, global_options, penalty_options]
)
def test_what_a_loss_or_penalty_reads_counts_from_the_next_epoch(options, monkeypatch):
    curves = []
    for compiled in (True, False):
        monkeypatch.setitem(globals(), "SHARE", 0.0)
        curves.append(fit(network(), **options(), compile=compiled)["loss"])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-9)


def test_a_step_is_compiled_once_where_nothing_changes(monkeypatch):
    from chainrule.training.compiled_step import CompiledStep

    built = []
    original = CompiledStep._trace
    monkeypatch.setattr(
        CompiledStep, "_trace", lambda self, inputs: built.append(1) or original(self, inputs)
    )

    class Count:
        calls = 0

        def on_epoch_end(self, run):
            self.calls += 1

    class Remembers(nn.Layer):
        """Notes what it has seen, as layers of one's own do."""

        def forward(self, x, parameters, context):
            self.last_shape = np.shape(x)
            self.calls = getattr(self, "calls", 0) + 1
            return x

    fit(network(Remembers(), nn.Dropout(0.1)), callbacks=[Count()], epochs=6, validation_split=0.2)
    assert len(built) <= 2 * 6  # calls change in validation too
    built.clear()
    fit(network(nn.Dropout(0.1)), callbacks=[Count()], epochs=6, validation_split=0.2)
    assert len(built) == 1


def test_a_step_that_is_outdated_too_often_is_left_with_a_warning(monkeypatch):
    from chainrule.training import compiling

    monkeypatch.setattr(compiling, "_MOST_RENEWALS", 2)

    class Anneal:
        def on_epoch_end(self, run):
            run.network.layers[1].rate += 0.1

    net = network(nn.Dropout(0.1))
    with pytest.warns(RuntimeWarning, match=r"dropout_1\.rate changes so often"):
        compiled = fit(net, callbacks=Anneal(), epochs=6)
    assert not net.has_step
    eager = fit(network(nn.Dropout(0.1)), callbacks=Anneal(), epochs=6, compile=False)
    np.testing.assert_allclose(compiled["loss"], eager["loss"], rtol=1e-9)


def test_momentum_survives_a_step_that_is_made_anew():
    curves = []
    for compiled in (True, False):
        callback = Set(lambda net: setattr(net.layers[1], "slope", 0.7))
        history = fit(
            network(nn.LeakyReLU(0.1)), optimizer=optim.SGD(0.01, 0.9), callbacks=callback,
            compile=compiled, epochs=4,
        )  # fmt: skip
        curves.append(history["loss"])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-9)


def test_observing_names_what_is_different():
    layer = nn.Dropout(0.5)
    seen = Observed({"dropout_1": layer})
    assert seen.difference() == ""
    layer.rate = 0.4
    assert seen.difference() == "dropout_1.rate"
    assert seen.difference() == ""  # it has looked again
    layer.extra = 1
    assert seen.difference() == "dropout_1.extra"
    del layer.extra
    assert seen.difference() == "dropout_1.extra"

    inner = {"c": np.arange(3), "d": {1, 2}, "e": np.array([None, "a"])}
    seen = Observed({"a": float("nan"), "b": [1, inner]})
    inner["c"] = np.arange(3)
    assert seen.difference() == ""  # another object, the same values
    inner["c"][1] = 7
    assert seen.difference() == "b.1.c"
    inner["d"].add(3)
    assert seen.difference() == "b.1.d"
    inner["e"][0] = 1
    assert seen.difference() == "b.1.e"

    circle = [1]
    circle.append(circle)
    seen = Observed({"it": circle})
    assert seen.difference() == ""
    circle[0] = 2
    assert seen.difference() == "it.0"


def test_observing_looks_into_functions():
    share = 1.0

    def loss(outputs, targets):
        return share * SHARE * outputs

    seen = Observed({"loss": loss})
    assert seen.difference() == ""
    share = 2.0
    assert seen.difference() == "loss.share"
    own = Annealed()
    seen = Observed({"loss": own.__call__, "other": [own.__call__]})
    assert seen.difference() == ""
    own.share = 5.0
    assert seen.difference() == "loss.self.share"


def test_observing_ends_whatever_an_object_holds():
    chain = None
    for _ in range(3000):
        chain = [chain]
    many = [object() for _ in range(50_000)]
    seen = Observed({"layer": nn.Activation(lambda x: x if many else chain)})
    assert seen.difference() == ""
    assert len(seen.values) <= 10_000
    with hidden_draws({"chain": chain, "many": many}) as generators:
        assert generators.changed() == ""


def test_hidden_draws_are_taken_back_but_for_those_others_may_have_made():
    generator = np.random.default_rng(0)
    before = generator.bit_generator.state
    np.random.seed(0)
    with hidden_draws({"layer": generator}) as generators:
        assert generators.changed() == ""
        generator.random(3)
        assert generators.changed() == "layer"
        first = np.random.rand()
        assert generators.changed() == "NumPy's global generator"
    assert generator.bit_generator.state == before
    assert np.random.rand() != first
