"""What training refuses, each with a sentence that says what came and what to do."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.training.metrics import get_metrics
from chainrule.training.samples import hold_out

RNG = np.random.default_rng(0)
X = RNG.normal(size=(10, 3))
Y = RNG.normal(size=(10, 1))
LABELS = RNG.integers(0, 3, 10)


def network(n_outputs=1, *after):
    return nn.Network([nn.Dense(4), nn.Tanh(), nn.Dense(n_outputs), *after], seed=0)


def fit(x=X, y=Y, net=None, **options):
    net = net or network()
    return net.fit(x, y, **({"loss": "squared_error", "verbose": 0, "seed": 0} | options))


# Masked arrays

MASKED = np.ma.masked_greater(X, 1.0)
assert MASKED.mask.any()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"x": MASKED}, "x"),
        ({"x": list(MASKED)}, "x"),
        ({"x": np.ma.array(X)}, "x"),
        ({"y": np.ma.array(Y, mask=Y > 0)}, "y"),
        ({"sample_weight": np.ma.array(np.ones(10), mask=Y[:, 0] > 0)}, "sample_weight"),
        ({"validation_data": (MASKED, Y)}, "validation x"),
        ({"validation_data": (X, np.ma.array(Y))}, "validation y"),
    ],
)
def test_masked_arrays_are_refused_in_fit(arguments, name):
    with pytest.raises(TypeError, match=rf"^{name} is a masked array.*{name}\.filled\(value\)"):
        fit(**arguments)


@pytest.mark.parametrize("call", ["predict", "__call__", "layer_outputs"])
def test_masked_arrays_are_refused_where_outputs_are_computed(call):
    net = network()
    for x in (MASKED, list(MASKED)):
        with pytest.raises(TypeError, match="x is a masked array"):
            getattr(net, call)(x)
    net.build(3)
    with pytest.raises(TypeError, match="x is a masked array"):
        getattr(net, call)(MASKED)
    with pytest.raises(TypeError, match="y is a masked array"):
        net.evaluate(X, np.ma.array(Y, mask=Y > 0), loss="squared_error")


def test_a_masked_array_is_no_value_for_a_parameter():
    net = network()
    net.build(3)
    with pytest.raises(TypeError, match=r"dense_1\.bias is a masked array"):
        net.parameters["dense_1.bias"] = np.ma.array(np.ones(4), mask=[1, 0, 0, 0])


# A loss of one's own that would pair every output with every target


def mse(outputs, targets):
    return np.mean((outputs - targets) ** 2)


def per_row(outputs, targets):
    return np.mean(np.square(outputs - targets), axis=1)


def total(outputs, targets):
    return np.sum((outputs - targets) ** 2)


def logistic(outputs, targets):
    return np.mean(np.logaddexp(0, outputs) - targets * outputs)


def through_asarray(outputs, targets):
    return np.mean((outputs - np.asarray(targets, outputs.dtype)) ** 2)


@pytest.mark.parametrize(
    ("loss", "compile"),
    [(mse, True), (mse, False), (per_row, True), (total, True), (through_asarray, False)],
)
def test_targets_that_would_be_broadcast_are_refused(loss, compile):
    message = rf"y has shape \(10,\).*\(10, 1\).*{loss.__name__} broadcasts.*y\.reshape\(-1, 1\)"
    with pytest.raises(ValueError, match=message):
        fit(y=Y[:, 0], loss=loss, compile=compile)
    with pytest.raises(ValueError, match=message):
        network().evaluate(X, Y[:, 0], loss=loss)
    fit(y=Y, loss=loss, compile=compile)


def test_labels_of_a_class_that_would_be_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"logistic broadcasts.*reshape\(-1, 1\)"):
        fit(y=(Y[:, 0] > 0).astype(int), loss=logistic)
    with pytest.raises(ValueError, match=r"validation y has shape \(10,\)"):
        fit(loss=mse, validation_data=(X, Y[:, 0]))
    with pytest.raises(ValueError, match=r"y\.reshape\(-1\)"):  # outputs without an axis
        fit(net=nn.Network([nn.Dense(1), nn.Reshape(())], seed=0), loss=mse)


def own_cross_entropy(outputs, targets):
    shifted = outputs - np.log(np.sum(np.exp(outputs), axis=1, keepdims=True))
    return -shifted[np.arange(len(targets)), targets]


def right_by_itself(outputs, targets):
    return (outputs[:, 0] - targets) ** 2


def ranking(outputs, targets):
    """Every pair of samples, and meant so."""
    better = targets[:, None] > targets
    return np.mean(np.where(better, np.logaddexp(0, outputs[:, 0] - outputs), 0.0))


@pytest.mark.parametrize(
    ("loss", "y", "n_outputs"),
    [
        (own_cross_entropy, LABELS, 3),
        (own_cross_entropy, np.zeros(10, int), 1),
        (right_by_itself, Y[:, 0], 1),
        (right_by_itself, LABELS, 1),
        (ranking, Y[:, 0], 1),
        (mse, np.full(10, 2.0), 1),  # pairs of equal targets are no other loss
        (lambda o, t: np.mean((o[:, 0] - t[:, 1]) ** 2), np.c_[Y, Y], 1),
    ],
)
def test_losses_that_take_the_targets_as_they_are_train(loss, y, n_outputs):
    history = fit(y=y, net=network(n_outputs), loss=loss, epochs=2)
    assert np.isfinite(history["loss"]).all()


# Layers that a loss does not go with


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "kl_divergence", "binary_cross_entropy", "hinge"]
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: (nn.Sigmoid(),),
        lambda: (nn.Softmax(),),
        lambda: ("sigmoid",),
        lambda: (nn.Stack([nn.Dense(3), nn.Softmax()]),),
        lambda: (nn.Stack([nn.Stack([nn.Dense(3), "sigmoid"])]), nn.Flatten()),
        lambda: (nn.Softmax(), nn.Identity()),
        lambda: (nn.Activation(cr.primitives.softmax),),
        lambda: (cr.primitives.sigmoid, nn.Dropout(0.1)),
    ],
)
def test_probabilities_before_a_loss_that_takes_logits_are_refused(loss, make):
    y = np.eye(3)[LABELS]
    net = network(3, *make())
    with pytest.raises(ValueError, match=rf"{loss} takes logits, but the last layer, \w.*leave"):
        fit(y=y, net=net, loss=loss)
    with pytest.raises(ValueError, match=rf"{loss} takes logits"):
        net.evaluate(X, y, loss=loss)
    if loss == "hinge":
        return
    with pytest.raises(ValueError, match=rf"{loss} takes logits"):
        fit(y=y, net=network(3, *make()), loss=functools.partial(nn.losses.LOSSES[loss]))


def test_probabilities_elsewhere_are_right():
    fit(y=np.eye(3)[LABELS], net=network(3, nn.Softmax()), loss="squared_error")
    fit(y=LABELS, net=network(3, nn.Softmax(), nn.Dense(3)), loss="cross_entropy")
    fit(y=LABELS, net=network(3, nn.LogSoftmax()), loss="cross_entropy")
    fit(y=LABELS, net=network(3, nn.Residual([nn.Dense(3), "softmax"])), loss="cross_entropy")


# Options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"y": [[1.0], [2.0, 3.0]] * 5}, ValueError, r"^y cannot be made an array.*lengths"),
        ({"y": {"a": 1}}, TypeError, r"^y holds text or objects"),
        ({"validation_data": (X, [[1.0], [2.0, 3.0]] * 5)}, ValueError, r"^validation y cannot be"),
        ({"class_weight": [1.0, 2.0]}, TypeError, r"class_weight is a list: give 'balanced' or a"),
        ({"class_weight": np.ones(2)}, TypeError, r"class_weight is a ndarray"),
        ({"class_weight": 2.0}, TypeError, r"class_weight is a float"),
        ({"class_weight": {0: "a"}, "y": Y > 0}, ValueError, r"of class 0 is 'a': give a number"),
        ({"class_weight": {0: None}, "y": Y > 0}, ValueError, r"of class 0 is None"),
        ({"class_weight": {0: np.nan}, "y": Y > 0}, ValueError, r"of class 0 is nan"),
        ({"class_weight": {"a": 1.0}, "y": Y > 0}, ValueError, r"names the class 'a', but y holds"),
        ({"validation_split": np.nan}, ValueError, r"validation_split is nan: give a fraction"),
        ({"validation_split": "0.2"}, TypeError, r"validation_split is '0\.2': give the fraction"),
        ({"validation_split": [0.2]}, TypeError, r"validation_split is \[0\.2\]"),
        ({"validation_split": -0.5}, ValueError, r"validation_split=-0\.5.*between 0 and 1"),
        ({"penalty": "l2"}, TypeError, r"penalty is 'l2', a str: give nn\.L2\(0\.01\)"),
        ({"penalty": 0.01}, TypeError, r"penalty is 0\.01, a float: give nn\.L2"),
        ({"penalty": [nn.L1(0.1), 0.01]}, TypeError, r"penalty is 0\.01, a float"),
        ({"penalty": {"l2": 0.1}}, TypeError, r"penalty is .*a dict"),
        (
            {"penalty": nn.L2},
            TypeError,
            r"penalty L2 is a class: make an object of it, L2\(0\.01\)",
        ),
        (
            {"penalty": lambda p: p["dense_1.bias"]},
            ValueError,
            r"<lambda> gave shape \(4,\).*summed",
        ),
        ({"loss": nn.losses.Loss}, TypeError, r"the loss Loss is a class"),
        ({"loss": 3}, ValueError, r"there is no loss 3"),
        ({"metrics": 3}, TypeError, r"metrics is a int: give names"),
        ({"metrics": {"a": 3}}, TypeError, r"a metric is a name or a function.*int"),
        ({"metrics": [dict]}, TypeError, r"a metric is a name or a function.*dict"),
        ({"metrics": {"loss": "mse"}}, ValueError, r"a metric is called 'loss', which the history"),
        ({"metrics": {"val_loss": "mse"}}, ValueError, r"a metric is called 'val_loss'"),
        ({"metrics": {"val_mse": "mse"}}, ValueError, r"a metric is called 'val_mse'"),
        ({"metrics": {"learning_rate": "mse"}}, ValueError, r"a metric is called 'learning_rate'"),
        (
            {"metrics": [lambda o, t: 1, lambda o, t: 2]},
            ValueError,
            r"two metrics are called '<lam",
        ),
        (
            {"metrics": {"rows": lambda o, t: o[:, 0]}},
            TypeError,
            r"rows gave shape \(10,\): return",
        ),
        ({"metrics": {"one": lambda o, t: np.ones(1)}}, TypeError, r"one gave shape \(1,\)"),
        ({"metrics": {"none": lambda o, t: None}}, TypeError, r"none gave NoneType: return one"),
        ({"batch_size": 2.5}, ValueError, r"batch_size is 2\.5: give a whole number"),
        ({"batch_size": True}, ValueError, r"batch_size is True"),
        ({"epochs": "3"}, ValueError, r"epochs is '3'"),
        ({"shuffle": "no"}, TypeError, r"shuffle is 'no': give True or False"),
        ({"compile": "no"}, TypeError, r"compile is 'no': give True or False"),
        ({"seed": -1}, ValueError, r"seed is -1: give a whole number from 0"),
        ({"seed": "one"}, ValueError, r"seed is 'one': give a whole number from 0"),
    ],
)
def test_options_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        fit(**options)


@pytest.mark.parametrize("batch_size", [2.5, 0, -1, True, "3", [2]])
def test_batch_sizes_of_predict_are_whole_numbers(batch_size):
    net = network()
    net.build(3)
    with pytest.raises(ValueError, match=r"batch_size is .*: give a whole number of at least 1"):
        net.predict(X, batch_size=batch_size)
    with pytest.raises(ValueError, match=r"batch_size is "):
        net.evaluate(X, Y, loss="squared_error", batch_size=batch_size)
    assert net.predict(X, batch_size=np.int64(3)).shape == (10, 1)


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (lambda step: np.full(3, 0.1), TypeError, r"shape \(3,\) for step 1: return one number"),
        (lambda step: np.full(1, 0.1), TypeError, r"shape \(1,\) for step 1"),
        (lambda step: None, TypeError, r"NoneType for step 1: return one number"),
        (lambda step: "0.1", TypeError, r"str for step 1"),
        (lambda step: 0.1j, TypeError, r"complex for step 1"),
        (lambda step: np.nan, ValueError, r"gave nan for step 1: return a finite number >= 0"),
        (lambda step: -0.1, ValueError, r"gave -0\.1 for step 1"),
        (lambda step: np.inf, ValueError, r"gave inf for step 1"),
    ],
)
def test_what_a_schedule_gives_is_one_number(schedule, error, message):
    with pytest.raises(error, match=message):
        fit(optimizer=optim.SGD(schedule))
    for number in (0.1, np.float32(0.1), np.array(0.1), 1):
        rate = optim.SGD(lambda step, number=number: number).learning_rate_at(1)
        assert type(rate) is float
        assert rate == float(number)


def test_a_loss_that_is_nan_before_any_step_says_so():
    def nan(outputs, targets):
        return np.log(-1.0 - np.square(outputs[:, 0]))

    for compile in (True, False):
        with pytest.warns(RuntimeWarning, match=r"nan in epoch 1, batch 1\..*before any step"):
            history = fit(loss=nan, epochs=3, compile=compile)
        assert (history.stopped_by, history.epochs) == ("nonfinite", 0)
    with pytest.warns(RuntimeWarning, match=r"nan in iteration 1\..*before any step"):
        fit(loss=nan, optimizer=optim.LBFGS(), epochs=3)


def test_metrics_of_one_number_in_any_form_are_taken():
    kinds = (1, 1.5, np.float32(2), np.array(3), np.bool_(True), True, np.int64(4))
    for number in kinds:
        metric = get_metrics({"it": lambda o, t, number=number: number}, "squared_error")["it"]
        assert metric(None, None, None) == float(number)


def test_a_split_of_zero_holds_nothing_out_and_other_numbers_count():
    assert list(fit(validation_split=0)) == ["loss", "learning_rate"]
    assert "val_loss" in fit(validation_split=np.float32(0.25))
    assert len(hold_out(10, 0.25, None)[1]) == 2


def test_batch_normalisation_of_single_samples_is_refused():
    def make(*layers):
        return nn.Network([*layers, nn.Dense(1)], seed=0)

    alone = [
        lambda: [nn.Dense(4), nn.BatchNorm()],
        lambda: [nn.Stack([nn.Dense(4), nn.BatchNorm()])],
        lambda: [nn.Residual([nn.Dense(3), nn.BatchNorm()])],
    ]
    for layers in alone:
        with pytest.raises(ValueError, match=r"batch_norm_1.*one sample.*batch_size"):
            fit(net=make(*layers()), batch_size=1)
        with pytest.raises(ValueError, match=r"batch_norm_1.*one sample"):
            fit(X[:1], Y[:1], net=make(*layers()))
        fit(net=make(*layers()), batch_size=3)  # a last batch of one is taken as in prediction
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sequences = RNG.normal(size=(4, 5, 3))
        fit(sequences, np.ones((4, 5, 1)), net=make(nn.BatchNorm()), batch_size=1)
