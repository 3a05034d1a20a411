"""Which engine runs: as named, as the environment says, or by a count; and what happens else."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from c_engine import assert_close, needs_compiler

import chainrule as cr
from chainrule import nn, optim
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.trace import trace
from chainrule.engines.c.types import UnsupportedError
from chainrule.engines.choice import check_engine, is_worth_compiling
from chainrule.engines.compiled import CompiledFunction
from chainrule.loop import loop
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.goal import Goal
from chainrule.training.history import History
from chainrule.training.minimization import Objective
from chainrule.training.samples import Samples

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((24, 4)), RNG.standard_normal((24, 2))


def network(seed: int = 0, *more: object) -> nn.Network:
    layers = [nn.Dense(3), nn.Tanh(), *more, nn.Dense(2)]
    return nn.Network(layers, input_shape=4, dtype="float64", seed=seed)


def fit(net: nn.Network, engine: str | None = "c", **options: object) -> History:
    settings = {"optimizer": "sgd", "epochs": 3, "batch_size": 8, "seed": 0, "engine": engine}
    return net.fit(X, Y, loss="mean_squared_error", verbose=0, **(settings | options))


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")


# Names


def test_engines_have_names_and_auto_is_the_default(monkeypatch):
    monkeypatch.delenv("CHAINRULE_ENGINE", raising=False)
    assert [check_engine(name) for name in ("auto", "numpy", "c")] == ["auto", "numpy", "c"]
    assert check_engine(None) == "auto"
    monkeypatch.setenv("CHAINRULE_ENGINE", "")
    assert check_engine(None) == "auto"
    monkeypatch.setenv("CHAINRULE_ENGINE", "numpy")
    assert (check_engine(None), check_engine("c")) == ("numpy", "c")


WRONG = r"^there is no engine 'nunpy': did you mean 'numpy'\? The names are auto, numpy, c$"


@pytest.mark.parametrize(
    "use",
    [
        check_engine,
        lambda engine: fit(network(), engine),
        lambda engine: network().predict(X, engine=engine),
        lambda engine: cr.compile(np.sin, engine=engine),
    ],
)
def test_a_misspelt_engine_gets_the_nearest_name(use):
    with pytest.raises(ValueError, match=WRONG):
        use("nunpy")


def test_a_misspelt_engine_of_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("CHAINRULE_ENGINE", "nunpy")
    with pytest.raises(
        ValueError, match=f"^the environment variable CHAINRULE_ENGINE: {WRONG[1:]}"
    ):
        fit(network(), None)
    assert fit(network(), "numpy").engine == "numpy"  # what is given is not looked up


@needs_compiler
def test_the_environment_gives_the_default_engine(monkeypatch):
    for engine in ("c", "numpy"):
        monkeypatch.setenv("CHAINRULE_ENGINE", engine)
        assert fit(network(), None).engine == engine
        compiled = cr.compile(lambda x: x * np.sin(x))
        compiled(X)
        assert compiled.engine == engine


def test_networks_bring_no_module_of_the_c_engine_that_writes_c():
    code = (
        "import sys; from chainrule import nn; print('chainrule.engines.c.program' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# What auto counts


def graph_of(function, *arrays) -> Graph:
    compiled = cr.compile(function, engine="numpy")
    compiled(*arrays)
    return compiled.graph


def test_more_calls_and_more_elements_are_worth_compiling_for():
    small, large = (graph_of(lambda x: np.tanh(x * 2 + 1), np.ones(n)) for n in (10, 10**6))
    assert [is_worth_compiling(small, n) for n in (1, 10**3, 10**6)] == [False, False, True]
    assert [is_worth_compiling(large, n) for n in (1, 10**3, 10**6)] == [False, True, True]


def test_a_loop_counts_as_often_as_it_runs():
    def summed(xs):
        return loop(lambda carry, x, _: ((np.tanh(carry[0] + x[0]),), ()), [np.zeros(8)], [xs])[0][
            0
        ]

    def worth(n_steps: int) -> bool:
        graph, _ = trace(summed, [Variable((n_steps, 8), np.dtype(np.float64), "xs")])
        return is_worth_compiling(graph, 10**4)

    assert [worth(n) for n in (1, 1000)] == [False, True]


@needs_compiler
def test_a_short_fit_stays_on_numpy_and_a_long_one_goes_to_c():
    for _ in range(2):  # the same call decides the same
        assert fit(network(), "auto").engine == "numpy"
        assert fit(network(), "auto", epochs=20_000).engine == "c"


@needs_compiler
def test_all_batches_run_on_the_engine_of_the_first():
    """That of a small last batch would be left to NumPy if it were decided by itself."""
    big, small = (np.ones((n, 50)) for n in (2048, 1))

    def step(n_steps: int, *arrays: np.ndarray) -> CompiledStep:
        net = nn.Network([nn.Dense(200), nn.Tanh(), nn.Dense(2)], input_shape=50, seed=0)
        made = CompiledStep(net, nn.losses.mean_squared_error, optim.SGD(), (), "auto", n_steps)
        for x in arrays:
            made.compile_for(x.astype(np.float32), np.zeros((len(x), 2), np.float32))
        return made

    n_steps = 10
    while step(n_steps, big).engine == "numpy":
        n_steps += n_steps // 2
    assert step(n_steps, small).engine == "numpy"
    assert {p.engine for p in step(n_steps, big, small)._programs.values()} == {"c"}
    assert {p.engine for p in step(n_steps, small, big)._programs.values()} == {"numpy"}


# Falling back


def warned(use) -> list[str]:
    """What warnings say."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        use()
    assert {warning.category for warning in caught} <= {RuntimeWarning}
    return [str(warning.message) for warning in caught]


def test_what_c_has_no_form_of_runs_on_numpy_and_one_warning_names_it():
    net = network(0, lambda x: np.sort(x, axis=-1))
    histories = []

    def use():
        histories.append(fit(net, batch_size=10))  # of two sizes
        net.predict(X)
        net.evaluate(X, Y)

    (warning,) = warned(use)
    assert "on the engine 'numpy', not 'c': the C engine has no form of" in warning
    assert "sort" in warning
    (history,) = histories
    assert (history.engine, history.compiler, history.flags) == ("numpy", "", ())
    other = network(0, lambda x: np.sort(x, axis=-1))
    assert fit(other, "numpy", batch_size=10)["loss"] == history["loss"]


def test_a_function_that_c_has_no_form_of_runs_on_numpy():
    compiled = cr.compile(lambda x: np.linalg.inv(x @ x.T), engine="c")
    found = []
    (warning,) = warned(lambda: found.extend([compiled(X[:3]), compiled(X[1:4])]))
    assert "on the engine 'numpy', not 'c'" in warning
    assert "inv" in warning
    np.testing.assert_array_equal(found[0], np.linalg.inv(X[:3] @ X[:3].T))
    assert compiled.engine == "numpy"
    with pytest.raises(UnsupportedError, match="inv"):
        compiled.source_for("c")


def test_without_a_compiler_numpy_serves_and_only_who_asked_for_c_hears_why(no_compiler):
    nets = {engine: network() for engine in ("c", "auto", "numpy")}
    histories = {}
    (warning,) = warned(lambda: histories.update(c=fit(nets["c"])))
    assert "no C compiler: $CC, 'no-such-compiler', is not there" in warning
    histories["auto"] = fit(nets["auto"], "auto", epochs=3)
    histories["numpy"] = fit(nets["numpy"], "numpy")
    assert {history.engine for history in histories.values()} == {"numpy"}
    assert histories["c"]["loss"] == histories["numpy"]["loss"] == histories["auto"]["loss"]
    assert fit(network(), "auto", epochs=20_000).engine == "numpy"  # in silence
    assert nets["numpy"].step.source_for("c").startswith("/*")  # text needs no compiler
    with pytest.warns(RuntimeWarning, match="predict runs on the engine 'numpy', not 'c'"):
        nets["numpy"].predict(X, engine="c")


# Texts


@needs_compiler
def test_a_step_shows_its_own_text_and_that_of_the_other_engine():
    nets = {engine: network() for engine in ("c", "numpy")}
    for engine, net in nets.items():
        fit(net, engine)
    c, numpy = nets["c"].step, nets["numpy"].step
    assert c.source == c.source_for("c") == numpy.source_for("c")
    assert numpy.source == numpy.source_for("numpy") == c.source_for("numpy")
    assert "#include" in c.source
    assert "import numpy as np" in numpy.source


@needs_compiler
def test_a_function_shows_its_own_text_and_that_of_the_other_engine():
    functions = {e: cr.compile(lambda x: np.tanh(x) @ x.T, engine=e) for e in ("c", "numpy")}
    for function in functions.values():
        function(X)
    for function in functions.values():
        for engine, other in functions.items():
            assert function.source_for(engine) == other.source


# History


@needs_compiler
def test_a_history_names_engine_compiler_and_flags():
    history = fit(network())
    assert history.engine == "c"
    assert "(" in history.compiler
    assert "-shared" in history.flags
    assert ", engine c)" in repr(history)
    again = pickle.loads(pickle.dumps(history))
    assert (again.engine, again.compiler, again.flags) == (
        history.engine, history.compiler, history.flags,
    )  # fmt: skip


def test_a_history_says_where_nothing_was_compiled():
    history = fit(network(), compile=False)
    assert (history.engine, history.compiler, history.flags) == ("eager", "", ())
    assert ", engine eager)" in repr(history)


def test_a_history_that_was_pickled_before_there_were_engines_still_loads():
    old = History()
    old.append({"loss": 0.5}, 0.1)
    assert not {"engine", "compiler", "flags"} & set(vars(old))  # as a file from then has it
    again = pickle.loads(pickle.dumps(old))
    assert (again.engine, again.compiler, again.flags) == ("", "", ())
    assert repr(again) == "History(1 epochs in 0.1 s, loss 0.5)"


# Networks that ran on C


@needs_compiler
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_a_copy_of_a_network_that_ran_on_c_is_a_network_of_its_own(copied):
    net = network()
    fit(net)
    before = net.predict(X)
    other = copied(net)
    assert not other.has_step
    assert_close(other.predict(X), before)
    assert_close(other.predict(X, engine="c"), before)
    fit(other)
    np.testing.assert_array_equal(net.predict(X), before)
    assert not np.allclose(other.predict(X), before)


@needs_compiler
def test_predictions_on_c_see_parameters_that_change_later():
    net = network()
    fit(net)
    for n in (1, 5, len(X)):
        assert_close(net.predict(X[:n], engine="c"), net.predict(X[:n], engine="numpy"))
    net.parameters.flat[...] *= 2
    assert_close(net.predict(X), net.predict(X, engine="numpy"))
    net.parameters["dense_1.weight"][...] = 0
    assert_close(net.predict(X), net.predict(X, engine="numpy"))
    net.build(4, seed=3)
    assert_close(net.predict(X), net.predict(X, engine="numpy"))
    fit(net, seed=1)
    assert_close(net.predict(X), net.predict(X, engine="numpy"))


@needs_compiler
def test_evaluate_after_a_fit_on_c_measures_what_numpy_does():
    net, other = network(), network()
    fit(net)
    other.parameters.flat[...] = net.parameters.flat
    found, expected = net.evaluate(X, Y), other.evaluate(X, Y, loss="mean_squared_error")
    assert found.keys() == expected.keys()
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-12)


@needs_compiler
def test_networks_of_one_text_train_and_predict_in_threads_of_their_own():
    expected = {}
    for seed in range(4):
        net = network(seed)
        expected[seed] = fit(net, epochs=200)["loss"], net.predict(X)
    found = {}

    def run(seed: int) -> None:
        net = network(seed)
        found[seed] = fit(net, epochs=200)["loss"], net.predict(X)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, (losses, outputs) in expected.items():
        assert found[seed][0] == losses
        np.testing.assert_array_equal(found[seed][1], outputs)


@needs_compiler
def test_one_network_predicts_in_several_threads():
    net = network()
    fit(net)
    expected = [net.predict(X[i : i + 3]) for i in range(8)]
    wrong = []

    def run(number: int) -> None:
        for _ in range(50):
            if not np.array_equal(net.predict(X[number : number + 3]), expected[number]):
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_looking_for_what_is_not_finite_runs_eager_and_names_the_layer():
    history = fit(network(), detect_nonfinite=True)
    assert history.engine == "eager"
    assert history["loss"] == fit(network(), "numpy", compile=False)["loss"]
    net = network()
    net.parameters["dense_2.weight"][0, 0] = np.inf
    with pytest.raises(cr.NonFiniteError, match=r"epoch 1, batch 1: .*dense_2"):
        fit(net, detect_nonfinite=True)


# Minimizers


def minimized(engine: str, **options: object) -> tuple[nn.Network, History]:
    net = network()
    return net, fit(net, engine, optimizer=optim.LBFGS(), **({"epochs": 20} | options))


@needs_compiler
def test_a_minimizer_runs_on_c_and_finds_what_it_finds_on_numpy():
    pytest.importorskip("scipy")
    net, history = minimized("c", penalty=nn.L2(0.01), epochs=5)
    other, expected = minimized("numpy", penalty=nn.L2(0.01), epochs=5)
    assert (history.engine, expected.engine) == ("c", "numpy")
    assert history.compiler
    assert "-shared" in history.flags
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-10)
    np.testing.assert_allclose(net.parameters.flat, other.parameters.flat, rtol=1e-8, atol=1e-10)
    assert minimized("auto", epochs=3)[1].engine == "numpy"
    assert minimized("numpy", epochs=3, compile=False)[1].engine == "eager"


def objective() -> Objective:
    net = network()
    goal = Goal.of(net, "mean_squared_error", None, None)
    return Objective(goal, Samples.prepare(net, goal.loss, X, Y), np.random.default_rng(0))


@needs_compiler
def test_an_objective_goes_by_how_many_iterations_there_will_be():
    for iterations, engine in ((10, "numpy"), (10**6, "c")):
        made = objective()
        made.compile("auto", iterations)
        assert made.engine == engine


@needs_compiler
def test_an_objective_on_c_is_a_function_of_one_float64_vector():
    net = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(2)], input_shape=4, seed=0)  # float32
    goal = Goal.of(net, "mean_squared_error", None, None)
    samples = Samples.prepare(net, goal.loss, X, Y)
    both = {}
    for engine in ("c", "numpy"):
        made = Objective(goal, samples, np.random.default_rng(0))
        made.compile(engine)
        value, gradient = made.value_and_gradient(net.parameters.flat.astype(np.float64))
        assert type(value) is float
        both[engine] = value, np.asarray(gradient)
    assert both["c"][0] == pytest.approx(both["numpy"][0], rel=1e-5)
    assert_close(both["c"][1], both["numpy"][1])


def test_a_minimizer_without_a_compiler_says_so_once(no_compiler):
    pytest.importorskip("scipy")
    histories = []
    (warning,) = warned(lambda: histories.append(minimized("c", epochs=5)[1]))
    assert "value_and_grad_loss runs on the engine 'numpy', not 'c': no C compiler" in warning
    assert histories[0].engine == "numpy"
    assert histories[0]["loss"] == minimized("auto", epochs=5)[1]["loss"]


class Slower:
    """Changes what a layer does after the second iteration."""

    def on_epoch_end(self, run):
        if run.epoch == 2:
            run.network.layers[1].slope = 0.5


@needs_compiler
def test_an_objective_that_is_renewed_stays_on_its_engine():
    pytest.importorskip("scipy")
    histories = []
    for engine in ("c", "numpy"):
        layers = [nn.Dense(3), nn.LeakyReLU(0.1), nn.Dense(2)]
        net = nn.Network(layers, input_shape=4, dtype="float64", seed=0)
        slower = [Slower()]
        histories.append(fit(net, engine, optimizer=optim.LBFGS(), epochs=6, callbacks=slower))
    assert [history.engine for history in histories] == ["c", "numpy"]
    np.testing.assert_allclose(histories[0]["loss"], histories[1]["loss"], rtol=1e-8)


def test_a_function_goes_by_how_often_it_will_be_called():
    compiled = CompiledFunction(np.tanh, "auto", n_calls=3)
    compiled(X)
    assert compiled.engine == "numpy"
