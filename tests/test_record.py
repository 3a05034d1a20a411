"""Every value of a computation by name: against eager values, gradients, and compiled steps."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import numpy as np
import programs
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.gradcheck.cases import all_cases
from chainrule.gradcheck.table import case_function
from chainrule.primitives import PRIMITIVES

N_PROGRAMS = 400


def neuron(W, x, b):
    z = W @ x + b
    y = 1 / (1 + np.exp(-z))
    return np.sum(y)


W = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 2.0]])
X, B = np.array([1.0, 0.5, -1.0]), np.array([0.5, 1.0])


def test_values_and_cotangents_of_a_neuron_by_the_names_of_its_variables():
    seen = cr.record(neuron)(W, X, B)
    z = W @ X + B
    y = 1 / (1 + np.exp(-z))
    np.testing.assert_array_equal(seen["z"], z)
    np.testing.assert_array_equal(seen["y"], y)
    np.testing.assert_allclose(seen["d_z"], y * (1 - y), rtol=1e-14)
    np.testing.assert_allclose(seen["d_W"], np.outer(y * (1 - y), X), rtol=1e-14)
    np.testing.assert_allclose(seen["d_x"], W.T @ (y * (1 - y)), rtol=1e-14)
    np.testing.assert_allclose(seen.gradients["b"], seen["d_b"], rtol=0)
    assert list(seen)[:3] == ["W", "x", "b"]
    assert list(seen)[-1].startswith("d_")
    assert seen.result == np.sum(y)


def numbers(case):
    floats = (np.ndarray, np.floating, float)
    return [
        i for i, a in enumerate(case.args) if isinstance(a, floats) and np.asarray(a).dtype == float
    ]


@pytest.mark.parametrize("name", sorted(all_cases(np.random.default_rng(0))))
def test_every_primitive_has_its_vjp(name):
    primitive = PRIMITIVES[name]
    for case in all_cases(np.random.default_rng(3))[name]:
        positions = [i for i in numbers(case) if primitive.rule(i) is not None]
        f, args = case_function(primitive, case, positions)
        if not positions or np.size(f(*args)) == 0:
            continue
        g = np.random.default_rng(0).normal(size=np.shape(f(*args)))
        seen = cr.record(f, range(len(args)))(*args, cotangent=g)
        _, pull = cr.vjp(f, *args)
        found = list(seen.gradients.values())
        assert len(found) == len(args)
        for ours, wanted in zip(found, pull(g), strict=True):
            np.testing.assert_array_equal(ours, wanted)
        np.testing.assert_array_equal(seen.result, f(*args))


@pytest.mark.parametrize("name", sorted(all_cases(np.random.default_rng(0))))
def test_local_derivatives_are_those_of_finite_differences(name):
    primitive = PRIMITIVES[name]
    case = all_cases(np.random.default_rng(3))[name][0]
    smooth = [i for i in numbers(case) if primitive.rule(i) is not None]
    for position in smooth:
        f, (value,) = case_function(primitive, case, [position])
        if np.size(value) == 0 or np.size(f(value)) == 0:
            continue
        ones = np.ones(np.shape(f(value)))
        seen = cr.record(f)(value, cotangent=ones)
        (step, *_) = seen.steps
        at = step.arguments.index(*seen.gradients)
        local = step.local_derivative(at)
        direction = np.random.default_rng(1).normal(size=np.shape(value))
        with np.errstate(all="ignore"):
            numeric = (f(value + 1e-6 * direction) - f(value - 1e-6 * direction)) / 2e-6
        if primitive.elementwise:
            assert local.shape == step.value.shape
            moved = local * direction
        else:
            assert local.shape == step.value.shape + np.shape(value)
            moved = np.tensordot(local, direction, np.ndim(direction))
        np.testing.assert_allclose(moved, numeric, rtol=2e-5, atol=2e-5)


def test_random_programs_have_the_values_and_gradients_of_grad():
    tried = 0
    for number in range(N_PROGRAMS):
        program = programs.make(number)
        if program.transform not in {"grad", "value_and_grad"}:
            continue
        inner = replace(program, transform="").function()
        whole = replace(program, transform="value_and_grad").function()
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                value, gradients = whole(*program.arguments)
            except Exception:
                continue
            seen = cr.record(inner, program.argnums)(*program.arguments)
        tried += 1
        np.testing.assert_array_equal(seen.result, value)
        wanted = cr.tree.flatten(gradients)
        found = list(seen.gradients.values())
        assert len(found) == len(wanted), program.text()
        for ours, theirs in zip(found, wanted, strict=True):
            assert ours.dtype == theirs.dtype
            np.testing.assert_allclose(ours, theirs, rtol=1e-3 if ours.dtype == "f2" else 1e-6)
    assert tried > N_PROGRAMS / 8


def test_interior_cotangents_are_the_gradients_by_tensors():
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(3, 2)), rng.normal(size=(5, 3))

    def f(weight):
        z = x @ weight
        a = np.tanh(z)
        s = a * z  # z twice: its cotangent is a sum
        return (s**2).sum()

    seen = cr.record(f)(weight)
    w = cr.parameter(weight)
    z = x @ w
    a = np.tanh(z)
    s = a * z
    wanted = cr.gradients((s**2).sum(), [z, a, s])
    for name, gradient in zip(("z", "a", "s"), wanted, strict=True):
        np.testing.assert_allclose(seen[f"d_{name}"], gradient, rtol=1e-14)


def test_a_function_may_decide_by_values_and_loop():
    def f(x):
        total = x
        while total < 10:
            total = total * x if total > 0 else -total
        return total

    seen = cr.record(f)(1.5)
    assert seen.result == 1.5**6
    np.testing.assert_allclose(seen["d_x"], 6 * 1.5**5)


def test_second_derivatives_count_the_inner_reverse_pass_as_forward():
    seen = cr.record(lambda x: cr.grad(lambda t: np.sin(t) ** 2)(x) ** 2)(0.3)
    np.testing.assert_allclose(seen["d_x"], 2 * np.sin(0.6) * 2 * np.cos(0.6))
    assert all(step.equation.section == "forward" for step in seen.steps)


def test_cotangents_of_an_inner_reverse_pass_are_not_those_of_the_result():
    f = lambda x, y, c: cr.grad(lambda t: c * t**2)(x) * y
    seen = cr.record(f, argnums=1)(3.0, 5.0, 7.0)
    (square,) = [step for step in seen.steps if step.primitive == "square"]
    assert square.cotangent is None  # the result is 2 c x y, seen as a function of y alone
    assert f"d_{square.name}" not in seen
    assert seen["d_y"] == 42.0


def test_names_of_any_kind_stand_for_one_value_each():
    def f(input, sum, x, d_x, value):
        d_x = d_x * x
        total = input * sum + d_x + value["x"] * value["x_1"]
        return total + value["a b"] * value["a_b"]

    args = (2.0, 3.0, 5.0, 7.0, {"x": 11.0, "x_1": 13.0, "a b": 17.0, "a_b": 19.0})
    seen = cr.record(f)(*args)
    assert len(seen.gradients) == 8
    assert sorted(map(float, seen.gradients.values())) == sorted(
        [3.0, 2.0, 7.0, 5.0, 13.0, 11.0, 19.0, 17.0]
    )
    assert (seen["input"], seen["sum"]) == (2, 3)
    assert len(set(seen)) == len(seen)


def test_arguments_are_copied_and_values_read_only():
    x = np.array([1.0, 2.0])
    seen = cr.record(lambda x: (x.reshape(2, 1) ** 2).sum())(x)
    x[:] = 0
    np.testing.assert_array_equal(seen["x"], [1, 2])
    with pytest.raises(ValueError, match="read-only"):
        seen["x"][0] = 3


def test_what_is_differentiated():
    assert cr.record(lambda x: x * x)(3).gradients["x"] == 6
    seen = cr.record(lambda x, n: np.sum(x) ** n)(np.ones(2), 3)
    assert list(seen.gradients) == ["x"]
    seen = cr.record(lambda x, i: np.sum(x[i]))(np.ones(3), np.array([0, 0]))
    np.testing.assert_array_equal(seen.gradients["x"], [2, 0, 0])
    seen = cr.record(lambda x, y: x * y, argnums=1)(2.0, 3.0)
    assert list(seen.gradients) == ["y"]
    seen = cr.record(lambda x, *, by: x * by)(2.0, by=3.0)
    assert list(seen.gradients) == ["x"]
    untouched = cr.record(lambda x, y: 2 * x)(1.0, 3.0)
    assert untouched.gradients["y"] == 0


def test_mistakes_are_told():
    with pytest.raises(ValueError, match=r"shape \(2,\).*cotangent"):
        cr.record(lambda x: x)(np.ones(2))
    with pytest.raises(ValueError, match=r"shape \(2,\) but its cotangent \(3,\)"):
        cr.record(lambda x: x * 2)(np.ones(2), cotangent=np.ones(3))
    with pytest.raises(TypeError, match="a tuple"):
        cr.record(lambda x: (x, x))(1.0)
    with pytest.raises(TypeError, match="depends on what"):
        cr.record(lambda x: np.ones(()))(1.0)
    with pytest.raises(KeyError, match="did you mean 'd_W'"):
        cr.record(neuron)(W, X, B)["dW"]
    with pytest.raises(ValueError, match="argument 2"):
        cr.record(lambda x: x, argnums=2)(1.0)
    with pytest.raises(TypeError, match="plain arrays"):
        cr.record(lambda x: x.sum())(cr.parameter([1.0]))
    with pytest.raises(ValueError, match="per_sample=True"):
        _ = cr.record(neuron)(W, X, B).per_sample
    with pytest.raises(ValueError, match="no derivative by its argument"):
        cr.record(lambda x: np.where(x > 0, x, 0.0))(1.0).steps[-1].local_derivative(0)


def test_a_notebook_shows_names_and_values_and_no_markup_of_names():
    value = cr.record(lambda values: values["<b>"] * 2.0)({"<b>": 3.0})._repr_html_()
    assert "&lt;b&gt;" not in value  # names are made identifiers
    assert "<b>" not in value
    assert ">6." in value
    many = cr.record(lambda x: sum((x * k for k in range(200)), x).sum())(np.ones(2))
    assert len(many._repr_html_()) < 60_000


def test_the_profiling_hook_of_others_is_put_back():
    import sys

    calls = []
    sys.setprofile(lambda *event: calls.append(event))
    try:
        hook = sys.getprofile()
        cr.record(neuron)(W, X, B)
        assert sys.getprofile() is hook
    finally:
        sys.setprofile(None)


# Networks


def data(n_features=3, n_classes=4, n_samples=6):
    rng = np.random.default_rng(5)
    return rng.normal(size=(n_samples, n_features)), rng.integers(0, n_classes, n_samples)


def test_the_names_of_a_textbook():
    x, y = data()
    net = nn.Network([nn.Dense(5), nn.Sigmoid(), nn.Dense(4)], dtype=float, seed=0)
    seen = net.backprop(x, y, loss="cross_entropy")
    for name in ("x", "y", "W1", "b1", "z1", "a1", "W2", "b2", "z2", "losses", "loss"):
        assert name in seen
    z1 = x @ seen["W1"] + seen["b1"]
    a1 = 1 / (1 + np.exp(-z1))
    z2 = a1 @ seen["W2"] + seen["b2"]
    p = np.exp(z2) / np.exp(z2).sum(1, keepdims=True)
    d_z2 = (p - np.eye(4)[y]) / len(x)
    d_z1 = d_z2 @ seen["W2"].T * a1 * (1 - a1)
    for name, wanted in {
        "z1": z1, "a1": a1, "losses": -np.log(p[np.arange(len(x)), y]), "d_z2": d_z2,
        "d_a1": d_z2 @ seen["W2"].T, "d_z1": d_z1, "d_W1": x.T @ d_z1, "d_b1": d_z1.sum(0),
        "d_x": d_z1 @ seen["W1"].T,
    }.items():  # fmt: skip
        np.testing.assert_allclose(seen[name], wanted, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(seen.gradients["dense_1.weight"], seen["d_W1"])
    assert "gradients by dense_1.weight" in repr(seen)


@pytest.mark.parametrize("loss", ["cross_entropy", "mean_squared_error", "own"])
def test_gradients_of_each_sample_have_the_gradient_as_their_mean(loss):
    x, y = data()
    net = nn.Network([nn.Dense(5), nn.BatchNorm(), nn.Dropout(0.3), nn.Dense(4)], seed=0)
    if loss != "cross_entropy":
        y = np.eye(4)[y]
    if loss == "own":
        loss = lambda outputs, targets: np.abs(outputs - targets).sum(axis=1)
    seen = net.backprop(x, y, loss=loss, per_sample=True, seed=3)
    for name, gradient in seen.gradients.items():
        each = seen.per_sample[name]
        assert each.shape == (len(x), *gradient.shape)
        np.testing.assert_allclose(each.mean(axis=0), gradient, rtol=1e-4, atol=1e-6)


def test_gradients_of_one_sample_are_those_of_the_sample_alone():
    x, y = data()
    net = nn.Network([nn.Dense(5), nn.Tanh(), nn.Dense(4)], dtype=float, seed=0)
    seen = net.backprop(x, y, loss="cross_entropy", per_sample=True)
    for i in range(len(x)):
        alone = net.backprop(x[i : i + 1], y[i : i + 1], loss="cross_entropy")
        for name, each in seen.per_sample.items():
            np.testing.assert_allclose(each[i], alone.gradients[name], atol=1e-14)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_an_optimizer_makes_the_update_of_the_compiled_step_of_them(optimizer):
    x, y = data()
    weight = np.linspace(0.5, 2.0, len(x))
    make = lambda: nn.Network([nn.Dense(5), nn.Tanh(), nn.Dense(4)], dtype=float, seed=0)
    net, trained = make(), make()
    options = {"loss": "cross_entropy", "penalty": nn.L2(0.1), "sample_weight": weight}
    seen = net.backprop(x, y, **options)
    trained.fit(x, y, optimizer=optimizer, batch_size=None, epochs=1, verbose=0, **options)
    rule = optim.get_optimizer(optimizer)
    flat = net.parameters.flat
    new, _ = rule.update(
        flat,
        net.parameters.flatten(seen.gradients),
        {name: np.array(slot) for name, slot in rule.init(flat).items()},
        rule.learning_rate,
        1,
    )
    np.testing.assert_allclose(trained.parameters.flat, new, rtol=1e-9, atol=1e-12)
    assert not np.array_equal(trained.parameters.flat, flat)


def test_nothing_of_the_network_is_changed_and_a_fit_is_remembered():
    x, y = data()
    net = nn.Network([nn.Dense(5), nn.BatchNorm(), nn.Dense(4)], seed=0)
    with pytest.raises(ValueError, match="loss="):
        net.backprop(x, y)
    metrics = {"mine": lambda outputs, targets: 0.0}
    net.fit(x, y, loss="cross_entropy", penalty=nn.L2(0.1), metrics=metrics, verbose=0)
    assert pickle.loads(pickle.dumps(net)).backprop(x, y).result > 0
    flat, state = net.parameters.flat.copy(), {n: a.copy() for n, a in net.state.items()}
    source = net.step.source
    seen = net.backprop(x, y)
    assert "data_loss" in seen  # beside which the penalty stands
    np.testing.assert_array_equal(net.parameters.flat, flat)
    for name, array in net.state.items():
        np.testing.assert_array_equal(array, state[name])
    assert net.step.source == source


def test_steps_of_a_recurrent_layer_are_seen_one_by_one():
    x = np.random.default_rng(0).normal(size=(4, 3, 2))
    net = nn.Network([nn.SimpleRNN(3), nn.Dense(1)], dtype=float, seed=0)
    seen = net.backprop(x, np.ones((4, 1)), loss="mean_squared_error")
    h = np.zeros((4, 3))
    for t in range(3):
        h = np.tanh(x[:, t] @ seen["W1"] + h @ seen["U1"] + seen["b1"])
        np.testing.assert_allclose(seen[f"h_{t + 1}"], h, rtol=1e-12)
        assert seen[f"d_h_{t + 1}"].shape == h.shape


def test_inputs_that_are_whole_numbers_have_no_cotangent():
    net = nn.Network([nn.Embedding(5, 3), nn.Flatten(), nn.Dense(1)], seed=0)
    seen = net.backprop([[0, 1], [4, 4]], [[0.0], [1.0]], loss="mean_squared_error")
    assert "d_x" not in seen
    assert not seen.gradients["embedding_1.weight"][2].any()
    assert seen.gradients["embedding_1.weight"][4].any()


def test_misfits_are_refused_as_by_fit():
    x, y = data()
    net = nn.Network([nn.Dense(4)], seed=0)
    with pytest.raises(ValueError, match="y has 5"):
        net.backprop(x, y[:5], loss="cross_entropy")
    with pytest.raises(ValueError, match="did you mean 'cross_entropy'"):
        net.backprop(x, y, loss="crossentropy")
    with pytest.raises(ValueError, match="one value per sample"):
        net.backprop(x, y, loss=lambda outputs, targets: np.mean(outputs), per_sample=True)
