"""`chainrule.compile`: what runs is the source, it equals the function, and it stands alone."""

from __future__ import annotations

import inspect
import linecache
import subprocess
import sys
import threading
import traceback
import warnings

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler.graph import Variable
from chainrule.compiler.lower import NotEmittableError
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.borrow import Borrowed
from chainrule.engines.numpy.program import build
from chainrule.gradcheck.cases import all_cases
from chainrule.primitives.primitive import PRIMITIVES

CASES = all_cases(np.random.default_rng(0))
MASKED = {"index", "scatter_add"}


def has_mask(case) -> bool:
    return any(np.asarray(a).dtype == bool for a in case.args[1:])


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_primitive_and_its_rules_compile(name):
    primitive = PRIMITIVES[name]
    for case in CASES[name]:
        if name in MASKED and has_mask(case):
            continue  # refused: the shape of the result depends on values
        smooth = [
            position
            for position, argument in enumerate(case.args)
            if primitive.rule(position) is not None and np.asarray(argument).dtype.kind == "f"
        ]

        def call(*args, params=case.params):
            return primitive(*args, **params)

        def pull_back(g, *args, smooth=smooth, call=call):
            def of_smooth(*chosen):
                everything = list(args)
                for position, value in zip(smooth, chosen, strict=True):
                    everything[position] = value
                return call(*everything)

            return cr.vjp(of_smooth, *(args[position] for position in smooth))[1](g)

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            out = call(*case.args)
            compiled = cr.compile(call)(*case.args)
            np.testing.assert_allclose(compiled, out, rtol=1e-12, atol=1e-12)
            assert np.shape(compiled) == np.shape(out)
            if smooth and np.asarray(out).dtype.kind == "f":
                g = np.random.default_rng(1).standard_normal(np.shape(out))
                expected = pull_back(g, *case.args)
                for ours, theirs in zip(
                    cr.compile(pull_back)(g, *case.args), expected, strict=True
                ):
                    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def loss(w, x):
    return np.sum(np.tanh(x @ w) ** 2)


W, X = np.random.default_rng(0).standard_normal((3, 2)), np.arange(12.0).reshape(4, 3) / 12


def test_gradients_of_all_orders_compile():
    gradient, hessian = cr.compile(cr.grad(loss)), cr.compile(cr.hessian(loss))
    np.testing.assert_allclose(gradient(W, X), cr.grad(loss)(W, X), rtol=1e-12)
    np.testing.assert_allclose(hessian(W, X), cr.hessian(loss)(W, X), rtol=1e-12)


def test_a_compiled_function_can_be_differentiated_and_compiled_again():
    compiled = cr.compile(loss)
    np.testing.assert_array_equal(cr.grad(compiled)(W, X), cr.grad(loss)(W, X))
    np.testing.assert_allclose(cr.compile(lambda w: 2 * compiled(w, X))(W), 2 * loss(W, X))


def test_trees_go_in_and_come_out():
    def move(parameters, rate):
        gradients = cr.grad(lambda p: np.sum(p["w"] ** 2) + p["b"][0])(parameters)
        return {name: [parameters[name], gradients[name]] for name in ("w",)}

    parameters = {"w": np.array([1.0, 2.0]), "b": [np.array(3.0)]}
    moved = cr.compile(move)(parameters, 0.5)
    np.testing.assert_array_equal(moved["w"][1], [2.0, 4.0])


def test_python_numbers_are_read_at_each_call_and_do_not_widen():
    scale = cr.compile(lambda x, factor: x * factor)
    x = np.ones(3, np.float32)
    assert scale(x, 2.0)[0] == 2
    assert scale(x, 3.0)[0] == 3
    assert len(scale._versions) == 1
    assert scale(x, 3).dtype == np.float32  # an int is another version: beside integers it counts
    assert len(scale._versions) == 2


def test_one_version_for_each_shape_and_dtype():
    double = cr.compile(lambda x: 2 * x)
    for x in (np.ones(3), np.ones(4), np.ones(3, np.float32), np.ones(3)):
        assert double(x).dtype == x.dtype
        assert double(x).shape == x.shape
    assert len(double._versions) == 3


def test_results_belong_to_the_caller():
    gradient = cr.compile(cr.grad(loss))
    first = gradient(W, X)
    kept = first.copy()
    gradient(2 * W, X)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize(
    "function", [lambda x: (x * 2.0).T, lambda x: np.exp(x)[0], lambda x: np.ones((2, 2)).T]
)
def test_results_that_are_views_belong_to_the_caller_too(function):
    compiled = cr.compile(function)
    first = compiled(np.ones((2, 2)))
    kept = first.copy()
    first_again = compiled(np.zeros((2, 2)))
    np.testing.assert_array_equal(first, kept)
    first_again[...] = 7.0
    np.testing.assert_array_equal(compiled(np.ones((2, 2))), kept)


def test_arguments_are_not_changed():
    w, x = W.copy(), X.copy()
    cr.compile(cr.grad(loss))(w, x)
    np.testing.assert_array_equal(w, W)
    np.testing.assert_array_equal(x, X)


def test_threads_do_not_disturb_each_other():
    gradient = cr.compile(cr.grad(loss))
    inputs = [W * scale for scale in range(1, 9)]
    results = [None] * len(inputs)

    def work(i):
        for _ in range(200):
            results[i] = gradient(inputs[i], X)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for w, result in zip(inputs, results, strict=True):
        np.testing.assert_allclose(result, cr.grad(loss)(w, X), rtol=1e-12)


def test_the_source_needs_numpy_only_and_runs_as_a_file(tmp_path):
    gradient = cr.compile(cr.grad(loss))
    gradient(W, X)
    file = tmp_path / "step.py"
    file.write_text(gradient.source)
    done = subprocess.run(
        [sys.executable, "-I", str(file)], capture_output=True, text=True, check=True
    )
    assert "on random data returned" in done.stdout
    assert "chainrule" not in gradient.source.split('"""')[2]


def test_tracebacks_show_the_source():
    compiled = cr.compile(lambda x: np.exp(x) + 1)
    compiled(np.ones(3))
    program = next(iter(compiled._versions.values())).program
    try:
        program.function("not an array")
    except TypeError as error:
        shown = "".join(traceback.format_exception(error))
    assert "<chainrule " in shown
    assert "np.exp(x" in shown or "exp(x" in shown
    assert any(name.startswith("<chainrule ") for name in linecache.cache)


def test_what_cannot_be_compiled_says_why():
    with pytest.raises(cr.TracedValueError, match=r"test_compile\.py, line \d+"):
        cr.compile(lambda x: x if x.sum() > 0 else -x)(np.ones(3))
    with pytest.raises(TypeError, match="arrays and numbers"):
        cr.compile(lambda x: x)(object())
    with pytest.raises(ValueError, match="has not been called"):
        _ = cr.compile(loss).source


def test_a_function_with_a_rule_of_its_own_is_compiled_from_its_lines():
    @cr.custom_vjp(lambda g, out, x: g * 3 * x)
    def my_square(x):
        r"""x**2 where x > 0, else "0"\N."""
        return x * cr.primitives.relu(x)

    @cr.custom_vjp(lambda g, out, x: np.clip(g, -1, 1))
    def bounded(x):
        return x

    def total(x, scale):
        return (scale * bounded(my_square(np.tanh(x)))).sum()

    x = np.array([-1.0, 0.5, 2.0])
    for function in (lambda x, scale: bounded(x), cr.grad(total), total):
        compiled = cr.compile(function)
        np.testing.assert_allclose(compiled(x, 2.0), function(x, 2.0), rtol=1e-14)
    assert "def my_square(x, scratch, out):\n" in compiled.source
    assert "x**2 where x > 0, else '0'" in compiled.source


def test_a_function_of_the_users_own_that_cannot_be_traced_is_named():
    @cr.custom_vjp(lambda g, out, x: g)
    def first_set(x):
        y = np.array(x)
        y[0] = 1.0
        return y

    message = r"first_set.*custom_vjp.*cannot be compiled.*test_compile\.py, line \d+"
    with pytest.raises(NotEmittableError, match=message):
        cr.compile(lambda x: first_set(x).sum())(np.ones(3))


def test_the_derivatives_of_a_function_keep_its_parameters():
    def heat(temperature, pressure):
        return np.sum(temperature * pressure**2)

    args = np.ones(2), np.ones(2)
    for transform, name in (
        (cr.grad, "grad_heat"),
        (cr.value_and_grad, "value_and_grad_heat"),
        (cr.jacobian, "jacobian_heat"),
        (cr.hessian, "hessian_heat"),
    ):
        compiled = cr.compile(transform(heat))
        compiled(*args)
        assert f"def {name}(temperature, pressure):" in compiled.source
        assert list(inspect.signature(compiled).parameters) == ["temperature", "pressure"]
    nameless = cr.compile(cr.grad(lambda w, x: np.sum(w * x)))
    nameless(*args)
    assert "def grad_f(w, x):" in nameless.source


@pytest.mark.parametrize("fresh", [True, False])
def test_an_old_state_is_returned_as_it_was(fresh):
    def step(state, x):
        w, mean = state
        return (w.T, w, np.reshape(mean, (2, 1))), (w - x, 0.5 * mean + x[0])

    def variables(**arrays):
        return [Variable(array.shape, array.dtype, name) for name, array in arrays.items()]

    w, mean, x = np.arange(4.0).reshape(2, 2), np.array([5.0, 6.0]), np.ones((2, 2))
    graph, _ = trace(step, variables(x=x), variables(w=w, mean=mean))
    program = build(graph, Labels("step"), exact=fresh)
    expected, new_state = step((w.copy(), mean.copy()), x)
    program.write_state([w, mean])
    for found, wanted in zip(program.function(x), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(w, new_state[0])
    np.testing.assert_array_equal(mean, new_state[1])


def test_labels_are_checked_in_compiled_code_too():
    rows = cr.compile(lambda labels: 2 * cr.primitives.one_hot(labels, n_classes=3))
    np.testing.assert_array_equal(rows(np.array([2, 0])), [[0, 0, 2], [2, 0, 0]])
    for wrong in (3, -1):
        with pytest.raises(ValueError, match="outside 0 to 2"):
            rows(np.array([0, wrong]))


def test_graph_of_a_neuron_before_and_after_differentiation():
    def neuron(w, x, b):
        return np.sum(cr.primitives.sigmoid(w @ x + b))

    args = (np.ones((2, 3)), np.ones(3), np.ones(2))
    forward, backward = cr.compile(neuron), cr.compile(cr.grad(neuron, (0, 1, 2)))
    forward(*args)
    backward(*args)
    assert [e.primitive.name for e in forward.graph.equations] == [
        "matmul",
        "add",
        "sigmoid",
        "sum",
    ]
    assert {e.section for e in backward.graph.equations} == {"forward", "backward"}


def test_the_numpy_forms_of_all_primitives_can_stand_in_one_file():
    borrowed, others = Borrowed(), set()
    for operation in PRIMITIVES.values():
        try:
            borrowed.call(operation)
        except NotEmittableError as error:
            others.add((operation.name, str(error)))  # printed in a notation of their own
    compile("\n".join(borrowed.sources), "all", "exec")
    assert not [name for name, why in others if "for different things" in why]
    assert {"convolve_transpose", "window_max_vjp", "one_hot"}.isdisjoint(dict(others))


def test_a_name_that_stands_for_two_things_is_refused(monkeypatch):
    borrowed = Borrowed()
    forms = sys.modules["chainrule.engines.numpy.kernels.pool"].__dict__
    borrowed.function(forms["window_max"])
    assert "_SHORT_RUN = 32" in "\n".join(borrowed.sources).splitlines()
    monkeypatch.setitem(forms, "_SHORT_RUN", 33)  # as if another module had one, too
    with pytest.raises(NotEmittableError, match="use the name _SHORT_RUN for different things"):
        borrowed._take_name("_SHORT_RUN", forms["_has_short_runs"])


def test_numbers_and_arrays_that_stand_ready_have_the_dtype_of_their_line():
    def f(x, y):
        halves = np.tanh(0.5 * x) + 0.5, np.tanh(0.5 * y) + 0.5
        positive = np.tanh(np.maximum(x, 0)), np.tanh(np.maximum(y, 0))
        return *halves, *positive

    rng = np.random.default_rng(0)
    single = rng.normal(size=(3, 4)).astype(np.float32)
    double = rng.normal(size=(3, 4))
    compiled = cr.compile(f)
    for ours, wanted in zip(compiled(single, double), f(single, double)):
        assert ours.dtype == wanted.dtype
        np.testing.assert_allclose(ours, wanted, rtol=1e-6 if ours.dtype == np.float32 else 1e-14)
    for name in ("half", "zeros_3_4"):
        assert f"{name} = " in compiled.source
        assert f"{name}_float64 = " in compiled.source
    for line in ("half = np.array(0.5, np.float32)", "half_float64 = np.array(0.5, np.float64)"):
        assert line in compiled.source


def test_a_row_cut_out_by_one_number_is_the_callers_own():
    compiled = cr.compile(lambda x: np.exp(x)[np.argmax(x[:, 0])])
    first = compiled(np.eye(3))
    kept = first.copy()
    compiled(np.ones((3, 3)))
    np.testing.assert_array_equal(first, kept)
