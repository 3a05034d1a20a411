"""Prediction: the graph of a network that is used, and the programs that run it where these pay."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

from chainrule import nn
from chainrule.compiler.naming import Labels
from chainrule.engines.numpy.program import build
from chainrule.nn.inference import Inference, inference_graph

RNG = np.random.default_rng(0)
IMAGES = RNG.random((9, 8, 8, 1), np.float32)


def convnet(dtype="float32"):
    layers = [
        nn.Conv2D(4, 3), nn.BatchNorm(), nn.ReLU(), nn.MaxPool2D(2), nn.Dropout(0.5), nn.Flatten(),
        nn.Dense(3),
    ]  # fmt: skip
    return nn.Network(layers, input_shape=(8, 8, 1), seed=0, dtype=dtype)


def as_it_stands(net, x):
    return np.asarray(net.forward(net.parameters, x.astype(net.dtype)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_compiled_prediction_is_that_of_the_layers(dtype):
    net = convnet(dtype)
    expected = as_it_stands(net, IMAGES)
    for rows in (9, 1, 4, 9):
        found = net.predict(IMAGES[:rows])
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected[:rows], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.predict(IMAGES, batch_size=2), expected, rtol=1e-4, atol=1e-5)
    assert net._inferences["numpy"].is_compiled


def test_it_reads_the_parameters_as_they_are():
    net = convnet()
    net.predict(IMAGES)
    net.parameters.flat[:] *= 0.5
    next(iter(net.state.values()))[:] = 0.25
    np.testing.assert_allclose(net.predict(IMAGES), as_it_stands(net, IMAGES), rtol=1e-4, atol=1e-5)
    net.fit(IMAGES, np.eye(3)[RNG.integers(0, 3, 9)], loss="cross_entropy", verbose=0, seed=0)
    np.testing.assert_allclose(net.predict(IMAGES), as_it_stands(net, IMAGES), rtol=1e-4, atol=1e-5)
    net.build((8, 8, 1), seed=7)
    np.testing.assert_allclose(net.predict(IMAGES), as_it_stands(net, IMAGES), rtol=1e-4, atol=1e-5)
    net.add(nn.Dense(2))
    assert net.predict(IMAGES).shape == (9, 2)


def test_an_option_that_changes_is_seen():
    net = nn.Network([nn.Conv2D(2, 3), nn.LeakyReLU(0.1)], input_shape=(8, 8, 1), seed=0)
    before = net.predict(IMAGES)
    net.layers[1].slope = 0.9
    after = net.predict(IMAGES)
    assert np.abs(after - before).max() > 0.01
    np.testing.assert_allclose(after, as_it_stands(net, IMAGES), rtol=1e-4, atol=1e-5)


def test_results_belong_to_the_caller_and_inputs_stay():
    net, x = convnet(), IMAGES.copy()
    first = net.predict(x)
    kept = first.copy()
    net.predict(1 - x)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, IMAGES)


def test_what_gains_nothing_or_cannot_be_traced_runs_as_it_stands():
    class Deciding(nn.Layer):
        def forward(self, x, parameters, context):
            return x if np.sum(x) > 0 else -x

    dense = nn.Network([nn.Dense(3), nn.Tanh()], input_shape=4, seed=0)
    dense.predict(np.ones((2, 4)))
    deciding = nn.Network([nn.Conv2D(2, 3), Deciding()], input_shape=(8, 8, 1), seed=0)
    np.testing.assert_array_equal(deciding.predict(IMAGES), as_it_stands(deciding, IMAGES))
    assert not dense._inferences["numpy"].is_compiled
    assert not deciding._inferences["numpy"].is_compiled


def test_copies_and_pickles_predict_for_themselves():
    net = convnet()
    expected = net.predict(IMAGES)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        other.parameters.flat[:] = 0
        np.testing.assert_array_equal(other.predict(IMAGES), np.zeros((9, 3), np.float32))
    np.testing.assert_array_equal(net.predict(IMAGES), expected)


def test_threads_predict_side_by_side():
    net = convnet()
    expected = [net.predict(IMAGES + k) for k in range(4)]
    found = {}

    def work(k):
        for _ in range(20):
            found[k] = net.predict(IMAGES + k)
            np.testing.assert_array_equal(found[k], expected[k])

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4


def test_the_graph_holds_parameters_as_state_or_as_constants():
    net = convnet()
    graph = inference_graph(net, 9)
    assert graph.state[0].name == "parameters"
    assert not graph.updates
    alone = inference_graph(net, 9, constants=True)
    assert not alone.state
    (outputs,) = build(alone, Labels("predict"))(IMAGES)
    np.testing.assert_allclose(outputs, as_it_stands(net, IMAGES), rtol=1e-4, atol=1e-5)


def test_few_programs_are_kept():
    net = convnet()
    for rows in (1, 2, 3, 4, 5, 6, 7):
        net.predict(IMAGES[:rows])
    assert isinstance(net._inferences["numpy"], Inference)
    assert len(net._inferences["numpy"]._programs) <= 4
