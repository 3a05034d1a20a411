"""Networks of known designs: their shapes, their numbers of parameters, their starts."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import nn
from chainrule.nn.models import _RECTIFIERS


def counts(network):
    """How many parameters each layer that has some holds."""
    by_layer = {}
    for name, values in network.parameters.items():
        layer = name.partition(".")[0]
        by_layer[layer] = by_layer.get(layer, 0) + values.size
    return by_layer


def test_lenet_has_the_published_maps():
    network = nn.Network(nn.models.lenet(10), input_shape=(28, 28, 1))
    outputs = network.layer_outputs(np.zeros((1, 28, 28, 1)))
    shapes = {name: values.shape[1:] for name, values in outputs.items()}
    # C1, S2, C3, S4, C5, F6 of the paper's figure 2
    assert shapes["conv2d_1"] == (28, 28, 6)
    assert shapes["max_pool2d_1"] == (14, 14, 6)
    assert shapes["conv2d_2"] == (10, 10, 16)
    assert shapes["max_pool2d_2"] == (5, 5, 16)
    assert (shapes["dense_1"], shapes["dense_2"], shapes["dense_3"]) == ((120,), (84,), (10,))


def test_lenet_has_the_published_numbers_of_parameters():
    network = nn.Network(nn.models.lenet(10), input_shape=(28, 28, 1))
    # 156, 48120 and 10164 are the paper's for C1, C5 and F6; its C3 sees a choice of the six maps
    # and has 1516, with all of them there are 16 * (6 * 25 + 1).
    assert counts(network) == {
        "conv2d_1": 156,
        "conv2d_2": 2416,
        "dense_1": 48120,
        "dense_2": 10164,
        "dense_3": 850,
    }


def test_convnet_halves_the_image_and_doubles_the_filters():
    network = nn.Network(nn.models.convnet(10), input_shape=(28, 28, 1), seed=0)
    outputs = network.layer_outputs(np.zeros((1, 28, 28, 1)))
    shapes = [values.shape[1:] for name, values in outputs.items() if name.startswith("conv")]
    assert shapes == [(28, 28, 16), (14, 14, 32), (7, 7, 64), (3, 3, 128)]
    assert set(network.state) == {
        f"batch_norm_{i}.running_{what}" for i in (1, 2, 3, 4) for what in ("mean", "variance")
    }
    assert not any(name.startswith("conv") and "bias" in name for name in network.parameters)


def test_convnet_drops_in_training_alone():
    network = nn.Network(nn.models.convnet(3, filters=[2]), input_shape=(4, 4, 1), seed=0)
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 1)).astype(np.float32)
    np.testing.assert_array_equal(network.predict(x), network.predict(x))
    contexts = [
        nn.Context(training=True, rng=np.random.default_rng(seed), state=network.state)
        for seed in (0, 0, 1)
    ]
    first, same, other = (network.forward(network.parameters, x, context) for context in contexts)
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize(("model", "smallest"), [("lenet", 12), ("convnet", 8)])
def test_the_smallest_images(model, smallest):
    make = nn.models.MODELS[model]
    nn.Network(make(10), input_shape=(smallest, smallest, 1))
    with pytest.raises(ValueError, match="does not fit"):
        nn.Network(make(10), input_shape=(smallest - 1, smallest - 1, 1))


@pytest.mark.parametrize("model", nn.models.MODELS)
def test_activations_come_by_name(model):
    make = nn.models.MODELS[model]
    layers = make(10, activation="tanh")
    assert (
        sum(isinstance(layer, nn.Tanh) for layer in layers)
        == {
            "dense": 1,
            "lenet": 4,
            "convnet": 4,
        }[model]
    )
    assert not any(isinstance(layer, nn.ReLU) for layer in layers)
    with pytest.raises(ValueError, match="sigmoid"):
        make(10, activation="sigmoind")


def test_the_start_suits_the_activation():
    assert set(_RECTIFIERS) < set(nn.ACTIVATIONS)
    # He et al. 2015: uniform within sqrt(6 / n_inputs); Glorot and Bengio 2010: within
    # sqrt(6 / (n_inputs + n_units)).
    for activation, limit in (("relu", np.sqrt(6 / 30)), ("tanh", np.sqrt(6 / (30 + 400)))):
        layers = nn.models.dense(2, [400], activation)
        weight = nn.Network(layers, input_shape=30, seed=0).parameters["dense_1.weight"]
        assert 0.99 * limit < np.abs(weight).max() <= np.float32(limit)


def test_every_call_makes_new_layers():
    first, second = nn.models.lenet(10), nn.models.lenet(10)
    assert not {id(layer) for layer in first} & {id(layer) for layer in second}
