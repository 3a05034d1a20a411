"""Networks within functions of one's own: `net(x)` and `net.forward`, differentiated, compiled."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, primitives

X = np.random.default_rng(0).normal(size=(6, 4))


def make_network():
    layers = [nn.Dense(5), nn.BatchNorm(), nn.Tanh(), nn.Dropout(0.5), nn.Dense(4)]
    net = nn.Network(layers, input_shape=4, dtype="float64", seed=0)
    rng = np.random.default_rng(1)
    for array in net.state.values():
        array[:] = rng.uniform(0.5, 2.0, array.shape)
    return net


def test_the_network_in_a_function_of_its_inputs():
    net = make_network()

    def energy(x):
        return np.sum((x + net(x)) ** 2)

    cr.check_grads(energy, (X,))
    np.testing.assert_allclose(cr.compile(energy)(X), energy(X), rtol=1e-12)
    slope = cr.compile(cr.grad(energy))
    np.testing.assert_allclose(slope(X), cr.grad(energy)(X), rtol=1e-12)
    assert "rng.random" not in slope.source.split("__main__")[0]  # it predicts


def test_within_net_of_x_the_parameters_are_constants():
    """As they are now for a gradient, as they were when it was compiled for a compiled function."""
    net = make_network()
    parameters = dict(net.parameters)
    grads = cr.grad(lambda parameters: np.sum(net(X)))(parameters)
    assert all((grad == 0).all() for grad in grads.values())
    compiled = cr.compile(lambda x: net(x))
    before = compiled(X)
    net.parameters["dense_2.weight"][:] *= 2
    np.testing.assert_array_equal(compiled(X), before)
    forward = cr.compile(net.forward)
    np.testing.assert_allclose(forward(dict(net.parameters), X), net(X), rtol=1e-12)
    net.parameters["dense_2.weight"][:] *= 2
    np.testing.assert_allclose(forward(dict(net.parameters), X), net(X), rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_gradients_in_training_by_the_parameters(order):
    net = make_network()

    def loss(parameters, x):
        context = nn.Context(training=True, rng=np.random.default_rng(0), state=net.state)
        return np.sum((x + net.forward(parameters, x, context)) ** 2)

    cr.check_grads(loss, (dict(net.parameters), X), order=order, atol=1e-9)


def training_step(net):
    """A step of one's own: the loss, the new parameters, the new running statistics."""

    def loss(parameters, state, x, rng):
        context = nn.Context(training=True, rng=rng, state=state)
        out = x + net.forward(parameters, x, context)
        return np.mean(out**2), context.updates

    def step(parameters, state, x, rng):
        (value, state), grads = cr.value_and_grad(loss, has_aux=True)(parameters, state, x, rng)
        return value, {name: a - 0.1 * grads[name] for name, a in parameters.items()}, state

    return step


def test_a_training_step_of_ones_own_compiled_is_eager():
    net = make_network()
    step = training_step(net)
    compiled = cr.compile(step)
    results = []
    for function in (step, compiled):
        parameters, state, rng = dict(net.parameters), net.state, np.random.default_rng(3)
        values = []
        for _ in range(5):
            value, parameters, state = function(parameters, state, X, rng)
            values.append(value)
        results.append((values, parameters, state))
    (eager_values, *eager), (values, *found) = results
    np.testing.assert_allclose(values, eager_values, rtol=1e-12)
    assert len(set(values)) == len(values)
    for new, expected in zip(found, eager, strict=True):
        assert new.keys() == expected.keys()
        for name in expected:
            np.testing.assert_allclose(new[name], expected[name], rtol=1e-10, atol=1e-12)
    for name in net.state:
        assert not np.array_equal(found[1][name], net.state[name])


def test_the_source_of_such_a_step_runs_by_itself(capsys):
    compiled = cr.compile(training_step(make_network()))
    net = make_network()
    compiled(dict(net.parameters), net.state, X, np.random.default_rng(0))
    exec(compile(compiled.source, "step.py", "exec"), {"__name__": "__main__"})
    assert "step on random data returned" in capsys.readouterr().out


def test_a_generator_is_an_argument_like_others():
    net = nn.Network([nn.Dropout(0.5)], input_shape=4, dtype="float64")

    def dropped(x, rng):
        return net.forward({}, x, nn.Context(training=True, rng=rng))

    compiled = cr.compile(dropped)
    for seed in (0, 1):
        found = compiled(X, np.random.default_rng(seed))
        np.testing.assert_array_equal(found, dropped(X, np.random.default_rng(seed)))
    with pytest.raises(TypeError, match="random generators"):
        compiled(X, np.random.RandomState(0))


# What is refused


def test_a_generator_that_is_no_argument_is_refused():
    """Its numbers would be drawn once, when the function is compiled."""
    net = make_network()
    rng = np.random.default_rng(0)

    def loss(x):
        return net.forward(net.parameters, x, nn.Context(True, rng, net.state)).sum()

    assert loss(X) != loss(X)
    message = "dropout_1 draws random numbers from .* not among the arguments.*: pass it in"
    for function in (loss, cr.grad(loss)):
        with pytest.raises(TypeError, match=message):
            cr.compile(function)(X)
    with pytest.raises(TypeError, match="this draws random numbers"):
        cr.compile(lambda x: x * primitives.random_uniform(rng, shape=(4,), dtype=float))(X)


def test_what_the_context_lacks_is_named():
    net = make_network()
    with pytest.raises(ValueError, match=r"dropout_1 .* no rng: give nn\.Context\("):
        net.forward(net.parameters, X, nn.Context(training=True, state=net.state))
    with pytest.raises(ValueError, match=r"batch_norm_1 .* no state: give nn\.Context\(.*state="):
        net.forward(net.parameters, X, nn.Context(training=True, rng=np.random.default_rng(0)))
    inner = nn.Network([nn.Residual([nn.BatchNorm()])], input_shape=4)
    with pytest.raises(ValueError, match=r"batch_norm_1 .* no state"):
        inner.forward(inner.parameters, X, nn.Context())
