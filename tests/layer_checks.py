"""What must hold for every layer, as functions that tests of layers call."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.samples import Batch

# Some second derivatives are exactly zero; a numerical one is so only to rounding.
_ZERO = 1e-10


def drawn_parameters(layer, input_shape, seed=0, dtype=np.float64):
    """Parameters of the layer's shapes, none of them at a special value such as 0 or 1."""
    rng = np.random.default_rng(seed)
    initial = layer.init(input_shape, rng)
    return {name: rng.normal(0.3, 0.7, a.shape).astype(dtype) for name, a in initial.items()}


def drawn_state(layer, input_shape, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    initial = layer.init_state(input_shape)
    return {name: rng.uniform(0.5, 2.0, a.shape).astype(dtype) for name, a in initial.items()}


def drawn_inputs(layer, shape, seed=1, dtype=np.float64, high=2):
    rng = np.random.default_rng(seed)
    if layer.takes_integers:
        return rng.integers(0, high, shape)
    return rng.normal(size=shape).astype(dtype)


def check_gradients(layer, input_shape, *, n_samples=3, training=True, order=2):
    """The gradients by inputs and parameters, twice, against finite differences."""
    x = drawn_inputs(layer, (n_samples, *input_shape))
    parameters = drawn_parameters(layer, input_shape)
    state = drawn_state(layer, input_shape)

    def forward(x, parameters):
        context = nn.Context(training=training, rng=np.random.default_rng(0), state=state)
        return layer.forward(x, parameters, context)

    if layer.takes_integers:
        cr.check_grads(lambda p: forward(x, p), (parameters,), order=order, atol=_ZERO)
    elif parameters:
        cr.check_grads(forward, (x, parameters), order=order, atol=_ZERO)
    else:
        cr.check_grads(lambda x: forward(x, parameters), (x,), order=order, atol=_ZERO)


def check_dtype(layer, input_shape):
    """float32 in gives float32 out, forward, backward and in the state, and so does float64."""
    for dtype in (np.float32, np.float64):
        x = drawn_inputs(layer, (3, *input_shape), dtype=dtype)
        parameters = drawn_parameters(layer, input_shape, dtype=dtype)
        state = drawn_state(layer, input_shape, dtype=dtype)
        for training in (True, False):
            context = nn.Context(training, np.random.default_rng(0), state)
            assert layer.forward(x, parameters, context).dtype == dtype
            assert all(array.dtype == dtype for array in context.updates.values())

        def total(x, parameters, state=state):
            context = nn.Context(True, np.random.default_rng(0), state)
            return layer.forward(x, parameters, context).sum()

        grads = cr.grad(lambda p, x=x: total(x, p))(parameters)
        assert all(grad.dtype == dtype for grad in grads.values())
        if not layer.takes_integers:
            assert cr.grad(lambda x, p=parameters: total(x, p))(x).dtype == dtype


def check_shapes(make_layer, input_shape):
    """The shape announced is the shape given, for one sample too; no samples are refused."""
    net = nn.Network([make_layer()], input_shape=input_shape, seed=0)
    for n_samples in (1, 3):
        x = drawn_inputs(net.layers[0], (n_samples, *net.input_shape))
        for out in (net(x), net.predict(x)):
            assert out.shape == (n_samples, *net.output_shape)
            assert np.isfinite(out).all()
    with pytest.raises(ValueError, match="x is empty"):
        net.predict(x[:0])
    assert net.summary().splitlines()[3].split()[0] == net.layers[0].name


def squared_distance(outputs, targets):
    return np.sum(np.square(outputs - targets), axis=tuple(range(1, outputs.ndim)))


def check_compiled(layers, input_shape, *, n_samples=4, dtype="float64"):
    """Three steps, compiled and eager, from the same start and seed: the same to rounding."""
    net = nn.Network(layers, input_shape=input_shape, seed=0, dtype=dtype)
    rng = np.random.default_rng(2)
    x = drawn_inputs(net.layers[0], (n_samples, *net.input_shape), dtype=dtype)
    y = rng.random((n_samples, *net.output_shape)).astype(dtype)
    optimizer = optim.SGD(0.05)
    results = []
    for make in (EagerStep, CompiledStep):
        step = make(net, squared_distance, optimizer)
        layer_rng = np.random.default_rng(3)
        outputs = []
        for number in (1, 2, 3):
            loss, out = step.take(Batch(x, y), 0.05, number, layer_rng)
            outputs += [np.array(loss), np.array(out)]
        learned = step.read_state()
        results.append([*outputs, learned.flat.copy(), *map(np.copy, learned.state.values())])
    assert "import chainrule" not in step.source
    assert not np.array_equal(results[0][-1 - len(net.state)], net.parameters.flat)
    tolerance = 1e-10 if dtype == "float64" else 2e-4
    for eager, compiled in zip(*results, strict=True):
        assert compiled.dtype == eager.dtype == np.dtype(dtype)
        scale = np.abs(eager).max()
        np.testing.assert_allclose(compiled, eager, rtol=tolerance, atol=tolerance * scale)
    return net


def fit_twice(make_network, x, y, **options):
    """Two fits from the same seed give the same bits; the network after the first of them."""
    first, second = make_network(), make_network()
    curves = [net.fit(x, y, seed=0, verbose=0, **options)["loss"] for net in (first, second)]
    assert curves[0] == curves[1]
    np.testing.assert_array_equal(first.parameters.flat, second.parameters.flat)
    for name, array in first.state.items():
        np.testing.assert_array_equal(array, second.state[name])
    assert curves[0][-1] < curves[0][0]
    return first
