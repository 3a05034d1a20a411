"""`diagnose`: what it names, what it leaves alone, and what it says about odd input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from diagnosis_cases import HEALTHY, PLANTED, healthy_cases, planted_cases
from test_cli import run

from chainrule import nn, optim
from chainrule.diagnosis import CAUSES, Diagnosis, Finding
from chainrule.diagnosis.relation import relation
from chainrule.diagnosis.trials import MOST_STEPS

SEED = 2024
RNG = np.random.default_rng(5)
X = RNG.normal(size=(120, 3))
Y = np.sin(X[:, 0]) + X[:, 1]


def network(*, seed=0, **options):
    return nn.Network([nn.Dense(12), nn.Tanh(), nn.Dense(1)], seed=seed, **options)


def names(diagnosis):
    return [finding.name for finding in diagnosis.findings]


# The score


@pytest.mark.parametrize("fault", PLANTED)
def test_one_case_of_each_fault_is_named_first(fault):
    rng = np.random.default_rng((SEED, list(PLANTED).index(fault), 0))
    case = PLANTED[fault](rng)
    diagnosis = case.diagnose()
    assert names(diagnosis)[:1], f"nothing found in {case.network!r}"
    assert diagnosis.findings[0].name in case.expected, str(diagnosis)
    assert set(names(diagnosis)) <= set(CAUSES)
    assert diagnosis.n_steps <= MOST_STEPS


@pytest.mark.parametrize("kind", HEALTHY)
def test_a_healthy_network_raises_no_alarm(kind):
    case = HEALTHY[kind](np.random.default_rng((SEED, list(HEALTHY).index(kind), 0)))
    diagnosis = case.diagnose()
    assert diagnosis.ok, str(diagnosis)


@pytest.mark.slow
def test_at_least_55_of_60_planted_faults_are_named_first_and_no_healthy_network_alarms():
    hits = [
        bool(found := case.diagnose().findings) and found[0].name in case.expected
        for case in planted_cases(SEED, 3)[:60]
    ]
    alarms = [case.name for case in healthy_cases(SEED) if not case.diagnose().ok]
    assert len(hits) == 60
    assert len(HEALTHY) == 20
    assert (sum(hits) >= 55, alarms) == (True, [])


# What it leaves alone


def snapshot(net):
    arrays = [net.parameters.flat, *net.state.values()] if net.is_built else []
    return [a.tobytes() for a in arrays], net._rng.bit_generator.state, net.measured, net.has_step


def test_network_generators_and_data_stay_as_they_were():
    layers = [nn.Dense(16), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.3), nn.Dense(1)]
    net = nn.Network(layers, seed=3)
    optimizer = optim.Adam(0.01)
    net.fit(X, Y, loss="mean_squared_error", optimizer=optimizer, epochs=2, verbose=0, seed=0)
    before, x, y = snapshot(net), X.copy(), Y.copy()
    everywhere = np.random.get_state()[1].copy()
    net.diagnose(X, Y, validation_data=(X[:20] + 0.1, Y[:20]), optimizer=optimizer)
    assert snapshot(net) == before
    assert repr(optimizer) == repr(optim.Adam(0.01))
    assert (np.random.get_state()[1] == everywhere).all()
    assert ((x == X) & (y == Y)[:, None]).all()


def test_a_network_that_is_not_built_stays_so_and_is_built_the_same_later():
    net, other = network(), network()
    net.diagnose(X, Y, loss="mean_squared_error")
    assert not net.is_built
    net.build(3)
    other.build(3)
    assert (net.parameters.flat == other.parameters.flat).all()


class Breaks(nn.Layer):
    """Draws from a generator of its own, and fails on the third call in training."""

    def __init__(self):
        super().__init__()
        self.rng, self.calls = np.random.default_rng(1), 0

    def forward(self, x, parameters, context):
        self.calls += context.training
        self.rng.random()
        if self.calls > 3:
            raise RuntimeError("mine")
        return x


def test_all_stays_as_it_was_after_an_exception():
    layer = Breaks()
    net = nn.Network([nn.Dense(4), layer, nn.Dense(1)], input_shape=3, seed=0)
    before, state = snapshot(net), layer.rng.bit_generator.state
    with pytest.raises(RuntimeError, match="mine"):
        net.diagnose(X, Y, loss="mean_squared_error")
    assert snapshot(net) == before
    assert (layer.rng.bit_generator.state, layer.calls) == (state, 0)


def test_the_same_seed_gives_the_same_diagnosis():
    options = {"loss": "mean_squared_error", "optimizer": optim.SGD(20.0)}
    first, second = (network().diagnose(X, Y, **options) for _ in range(2))
    assert (first, str(first)) == (second, str(second))


def test_the_options_are_those_of_the_last_fit():
    net = network()
    with pytest.warns(RuntimeWarning, match="training stopped"):
        net.fit(
            X, Y, loss="mean_squared_error", optimizer=optim.SGD(1e3), epochs=3, verbose=0, seed=0
        )
    assert names(net.diagnose(X, Y))[:1] == ["learning rate too large"]
    # by another optimizer the start was right, and what is wrong is what it has come to
    assert names(net.diagnose(X, Y, optimizer=optim.Adam(0.01)))[:1] == ["saturated tanh"]


# Input that is odd

REFUSED = {
    "empty": (X[:0], Y[:0], "inputs of the wrong shape"),
    "one axis": (X[:, 0], Y, "inputs of the wrong shape"),
    "text": (X.astype(str), Y, "inputs of the wrong kind"),
    "too large for float32": (X * 1e39, Y, "inputs not scaled"),
    "ragged": ([[1, 2], [3]], [1, 2], "inputs of the wrong kind"),
    "one number": (X, 3.0, "labels of the wrong shape"),
    "NaN": (X, np.where(Y > 1, np.nan, Y), "NaN in the labels"),
    "on its side": (X.T, Y, "transposed inputs"),
    "all alike": (np.ones_like(X), Y, "constant column"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_data_that_fit_would_refuse_are_findings(what):
    x, y, name = REFUSED[what]
    diagnosis = network().diagnose(x, y, loss="mean_squared_error")
    assert names(diagnosis)[:1] == [name]


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X[:1], Y[:1]),
        (X.tolist(), Y.tolist()),
        (X.astype(np.float32)[::-1], Y.astype(np.float32)[::-1]),
        (np.asfortranarray(X), Y[:, None]),
        ((3 * X).astype(int), (3 * Y).astype(int)),
    ],
)
def test_usual_input_of_every_form_is_taken(x, y):
    assert network().diagnose(x, y, loss="mean_squared_error", learning_rate=0.01).ok


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": None}, "does not know the loss"),
        ({"loss": "mean_sqared_error"}, "did you mean"),
        ({"optimizer": "adamm"}, "adam"),
        ({"batch_size": 0}, "at least 1"),
        ({"seed": -1}, "whole number"),
        ({"validation_data": (X,)}, "validation_data"),
        ({"optimizer": "lbfgs", "learning_rate": 0.1}, "leave learning_rate out"),
        ({"sample_weight": -np.ones(120)}, "weights >= 0"),
    ],
)
def test_options_that_do_not_exist_are_errors(options, message):
    with pytest.raises(ValueError, match=message):
        network().diagnose(X, Y, **{"loss": "mean_squared_error", **options})


# Where and what


def test_the_first_nonfinite_value_is_placed():
    net = nn.Network([nn.Dense(8), nn.Activation(np.log, name="mine"), nn.Dense(1)], seed=0)
    (finding,) = net.diagnose(X, Y, loss="mean_squared_error").findings
    assert (finding.name, finding.layer) == ("NaN in the computation", "mine")
    assert "log" in finding.evidence


def test_a_layer_is_named_and_its_number_is_the_share():
    bias = np.where(np.arange(12) < 12, -50.0, 0.0)
    net = nn.Network([nn.Dense(12, bias=bias), nn.ReLU(name="gate"), nn.Dense(1)], seed=0)
    finding = net.diagnose(X, Y, loss="mean_squared_error").findings[0]
    assert (finding.name, finding.layer, finding.number) == ("dead ReLU", "gate", 1.0)


def test_the_rate_that_is_named_would_do():
    options = {"loss": "mean_squared_error", "seed": 0}
    finding = network().diagnose(X, Y, optimizer=optim.SGD(30.0), **options).findings[0]
    rate = float(finding.try_.removeprefix("learning_rate="))
    history = network().fit(X, Y, optimizer=optim.SGD(rate), epochs=20, verbose=0, **options)
    assert history["loss"][-1] < 0.5 * Y.var()


def test_relation_tells_a_function_from_chance():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4))
    y = (x[:, :1] * x[:, 1:2] > 0).astype(float)
    true, false = relation(x, y, rng), relation(x, rng.permutation(y), rng)
    assert (true.skill > 0.5, true.z > 10) == (True, True)
    assert (false.skill < 0.1, abs(false.z) < 4) == (True, True)


# The report

EVIL = Diagnosis((Finding("leak", "<script>1</script>", 1.0, "a & b", "<b>"),), "Network(<i>)", 7)


def test_report_is_short_readable_and_escaped():
    assert repr(EVIL) == "<Diagnosis: leak>"
    assert str(EVIL).splitlines()[1:] == ["1. leak, <b>", "   <script>1</script>", "   try: a & b"]
    html = EVIL._repr_html_()
    assert "<script>" not in html
    assert "a &amp; b" in html
    assert json.loads(json.dumps(EVIL.as_dict()))["findings"][0]["try"] == "a & b"


# fit


def test_fit_says_that_nothing_was_learned():
    net = nn.Network([nn.Dense(4, bias=[-99.0] * 4), nn.ReLU(), nn.Dense(1)], seed=0)
    with pytest.warns(RuntimeWarning, match=r"exactly the same outputs.*net.diagnose"):
        net.fit(X, Y, loss="mean_squared_error", epochs=2, verbose=0)


def test_fit_says_that_no_parameter_moved():
    net = nn.Network([nn.Dense(4, weight="zeros"), nn.ReLU(), nn.Dense(1, use_bias=False)], seed=0)
    with pytest.warns(RuntimeWarning, match=r"no step of 2 epochs.*net.diagnose"):
        net.fit(X, Y, loss="mean_squared_error", optimizer="sgd", epochs=2, verbose=0)


# The command


def test_command_ends_with_1_where_something_was_found():
    assert run("diagnose", "iris").exit_code == 0
    found = run("diagnose", "iris", "--learning-rate", 1e-9, "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["findings"][0]["name"] == "learning rate too small"
    assert run("diagnose", "irs").exit_code == 2
