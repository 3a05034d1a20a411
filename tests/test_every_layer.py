"""What holds for every layer that `chainrule.nn` has: one table of cases, one test a property.

A layer without a case fails the first test.
"""

from __future__ import annotations

import inspect
import math
import pickle
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from layer_checks import (
    check_compiled,
    check_dtype,
    check_gradients,
    check_shapes,
    drawn_inputs,
    drawn_parameters,
    drawn_state,
)

from chainrule import nn, optim


class Case(NamedTuple):
    """A layer, the samples it is given, what it makes of them, and samples it refuses.

    `make` takes the layer's name; `shapes` are those of its parameters.
    """

    make: Callable[..., nn.Layer]
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    refused: tuple[int, ...] | None = None


def layer(kind: str, *args: Any, **options: Any) -> Callable[..., nn.Layer]:
    return lambda **name: getattr(nn, kind)(*args, **options, **name)


def residual(*, projection=None, **name):
    return nn.Residual([nn.Dense(3), nn.BatchNorm()], projection=projection, **name)


def branches(x, wide, deep):
    return np.concatenate([wide(x), deep(x)], axis=-1)


def combine(**name):
    return nn.Combine(branches, wide=nn.Dense(2), deep=[nn.Dense(3), "tanh", nn.Dense(1)], **name)


def stack(**name):
    return nn.Stack([nn.Dense(5), nn.Tanh(), nn.Dropout(0.2), nn.Dense(3)], **name)


def dense(n_in, units, name=""):
    return {f"{name}weight": (n_in, units), f"{name}bias": (units,)}


def affine(*shape, name=""):
    return {f"{name}gamma": shape, f"{name}beta": shape}


def gates(n_in, units, parts):
    return {
        "weight": (n_in, parts * units),
        "recurrent_weight": (units, parts * units),
        "bias": (parts * units,),
    }


def attention(n_in, columns):
    return {
        f"{part}.{name}": shape
        for part in ("query", "key", "value", "output")
        for name, shape in (
            dense(columns, n_in) if part == "output" else dense(n_in, columns)
        ).items()
    }


STATES = {"return_sequences": True}
FIRST = {"channels_first": True}

CASES = {
    "Activation": Case(lambda **name: nn.Activation(np.sin, **name), (4,), (4,)),
    "ELU": Case(layer("ELU", 0.5), (4,), (4,)),
    "GELU": Case(layer("GELU"), (2, 3), (2, 3)),
    "Identity": Case(layer("Identity"), (4,), (4,)),
    "LeakyReLU": Case(layer("LeakyReLU", 0.3), (4,), (4,)),
    "LogSoftmax": Case(layer("LogSoftmax"), (4,), (4,)),
    "ReLU": Case(layer("ReLU"), (2, 3), (2, 3)),
    "SiLU": Case(layer("SiLU"), (4,), (4,)),
    "Sigmoid": Case(layer("Sigmoid"), (4,), (4,)),
    "Softmax": Case(layer("Softmax"), (2, 3), (2, 3)),
    "Softplus": Case(layer("Softplus"), (4,), (4,)),
    "Tanh": Case(layer("Tanh"), (4,), (4,)),
    "Flatten": Case(layer("Flatten"), (2, 3), (6,)),
    "Reshape": Case(layer("Reshape", (3, -1)), (2, 6), (3, 4), refused=(2, 5)),
    "Dropout": Case(layer("Dropout", 0.3), (2, 3), (2, 3)),
    "Dense": Case(layer("Dense", 3), (4,), (3,), dense(4, 3)),
    "Dense of sequences": Case(layer("Dense", 3), (5, 4), (5, 3), dense(4, 3)),
    "Dense of images, no bias": Case(
        layer("Dense", 3, use_bias=False), (2, 3, 4), (2, 3, 3), {"weight": (4, 3)}
    ),
    "Embedding": Case(layer("Embedding", 2, 3), (4,), (4, 3), {"weight": (2, 3)}),
    "Embedding of images": Case(layer("Embedding", 5, 1), (2, 3), (2, 3, 1), {"weight": (5, 1)}),
    "BatchNorm": Case(layer("BatchNorm"), (4,), (4,), affine(4)),
    "BatchNorm of images": Case(
        layer("BatchNorm", momentum=0.5, epsilon=0.1), (2, 3, 4), (2, 3, 4), affine(4)
    ),
    "BatchNorm, first": Case(layer("BatchNorm", axis=1), (4, 2, 3), (4, 2, 3), affine(4)),
    "BatchNorm, third": Case(layer("BatchNorm", axis=3), (4, 2, 3), (4, 2, 3), affine(3), (4, 2)),
    "Rescale": Case(layer("Rescale", [0.5, -2.0], 3.0), (4, 2), (4, 2), {}, (4, 3)),
    "LayerNorm": Case(layer("LayerNorm"), (3, 4), (3, 4), affine(4)),
    "LayerNorm of two axes": Case(
        layer("LayerNorm", 2, epsilon=0.1), (2, 3, 4), (2, 3, 4), affine(3, 4), (4,)
    ),
    "GroupNorm": Case(layer("GroupNorm", 2), (4,), (4,), affine(4), (3,)),
    "GroupNorm of images": Case(
        layer("GroupNorm", 2, epsilon=0.1), (2, 3, 4), (2, 3, 4), affine(4), (2, 3, 5)
    ),
    "GroupNorm, first": Case(
        layer("GroupNorm", 2, axis=1), (4, 2, 3), (4, 2, 3), affine(4), (3, 2, 4)
    ),
    "Conv1D": Case(
        layer("Conv1D", 3, 2, padding=1), (6, 2), (7, 3), {"weight": (2, 2, 3), "bias": (3,)}, (6,)
    ),
    "Conv1D, first": Case(
        layer("Conv1D", 4, 3, stride=2, dilation=2, groups=2, **FIRST), (2, 9), (4, 3),
        {"weight": (3, 1, 4), "bias": (4,)}, (3, 9),
    ),
    "Conv2D": Case(
        layer("Conv2D", 4, 3, padding="same", groups=2), (5, 6, 4), (5, 6, 4),
        {"weight": (3, 3, 2, 4), "bias": (4,)}, (5, 6, 3),
    ),
    "Conv2D, no bias": Case(
        layer("Conv2D", 2, (1, 2), use_bias=False), (4, 5, 3), (4, 4, 2),
        {"weight": (1, 2, 3, 2)}, (4, 1, 3),
    ),
    "Conv2D, first": Case(
        layer("Conv2D", 3, 3, stride=2, dilation=(1, 2), **FIRST), (2, 7, 8), (3, 3, 2),
        {"weight": (3, 3, 2, 3), "bias": (3,)}, (2, 7),
    ),
    "Conv2DTranspose": Case(
        layer("Conv2DTranspose", 2, 3, stride=2, output_padding=(0, 1)), (3, 4, 3), (7, 10, 2),
        {"weight": (3, 3, 3, 2), "bias": (2,)}, (3, 4),
    ),
    "Conv2DTranspose, first": Case(
        layer("Conv2DTranspose", 2, (2, 3), dilation=2, padding=1, use_bias=False, **FIRST),
        (3, 4, 3), (2, 4, 5), {"weight": (2, 3, 3, 2)}, (4,),
    ),
    "MaxPool1D": Case(layer("MaxPool1D", ceil=True), (7, 2), (4, 2), refused=(7,)),
    "MaxPool1D, first": Case(layer("MaxPool1D", 3, stride=1, **FIRST), (2, 7), (2, 5), {}, (7, 2)),
    "MaxPool2D": Case(layer("MaxPool2D", 3, stride=2, padding=1), (5, 7, 2), (3, 4, 2), {}, (5, 7)),
    "MaxPool2D, first": Case(layer("MaxPool2D", (1, 2), **FIRST), (2, 3, 4), (2, 3, 2), {}, (3, 4)),
    "AvgPool2D": Case(
        layer("AvgPool2D", 2, padding="same", stride=1), (5, 6, 2), (5, 6, 2), refused=(5, 6)
    ),
    "AvgPool2D, first": Case(
        layer("AvgPool2D", (2, 3), ceil=True, **FIRST), (2, 5, 4), (2, 3, 2), refused=(2, 5)
    ),
    "GlobalAvgPool2D": Case(layer("GlobalAvgPool2D"), (5, 6, 2), (2,), refused=(5,)),
    "GlobalAvgPool2D, first": Case(layer("GlobalAvgPool2D", **FIRST), (2, 5, 6), (2,), {}, (5, 6)),
    "SimpleRNN": Case(layer("SimpleRNN", 2), (5, 3), (2,), gates(3, 2, 1), (5,)),
    "SimpleRNN of every step": Case(
        layer("SimpleRNN", 2, activation="softplus", **STATES), (4, 3), (4, 2), gates(3, 2, 1),
        (4, 3, 1),
    ),
    "LSTM": Case(layer("LSTM", 2), (5, 3), (2,), gates(3, 2, 4), (3,)),
    "LSTM of every step": Case(layer("LSTM", 2, **STATES), (4, 3), (4, 2), gates(3, 2, 4), (3,)),
    "GRU": Case(layer("GRU", 2), (5, 3), (2,), gates(3, 2, 3) | {"recurrent_bias": (2,)}, (3,)),
    "GRU of one step": Case(
        layer("GRU", 2, **STATES), (1, 3), (1, 2), gates(3, 2, 3) | {"recurrent_bias": (2,)}, (3,)
    ),
    "GRU of every step": Case(
        layer("GRU", 2, **STATES), (5, 3), (5, 2), gates(3, 2, 3) | {"recurrent_bias": (2,)}, (3,)
    ),
    "SimpleRNN of one step": Case(layer("SimpleRNN", 3), (1, 2), (3,), gates(2, 3, 1), (2,)),
    "LSTM of one step": Case(layer("LSTM", 3), (1, 2), (3,), gates(2, 3, 4), (2,)),
    "MultiHeadAttention": Case(
        layer("MultiHeadAttention", 2), (3, 4), (3, 4), attention(4, 4), (3, 5)
    ),
    "MultiHeadAttention, causal": Case(
        layer("MultiHeadAttention", 3, head_size=2, causal=True), (3, 4), (3, 4), attention(4, 6),
        (4,),
    ),
    "MultiHeadAttention, no bias": Case(
        layer("MultiHeadAttention", 1, use_bias=False), (3, 2), (3, 2),
        {f"{part}.weight": (2, 2) for part in ("query", "key", "value", "output")}, (2,),
    ),
    "Stack": Case(stack, (4,), (3,), dense(4, 5, "dense_1.") | dense(5, 3, "dense_2.")),
    "Residual": Case(
        residual, (3,), (3,), dense(3, 3, "dense_1.") | affine(3, name="batch_norm_1."), (4,)
    ),
    "Residual, projected": Case(
        lambda **name: residual(projection=nn.Dense(3, use_bias=False), **name), (4,), (3,),
        dense(4, 3, "dense_1.") | affine(3, name="batch_norm_1.")
        | {"projection.weight": (4, 3)},
    ),
    "Combine": Case(
        combine, (4,), (3,),
        dense(4, 2, "wide.") | dense(4, 3, "deep.dense_1.") | dense(3, 1, "deep.dense_2."),
    ),
}  # fmt: skip

IMAGES = {name: case for name, case in CASES.items() if hasattr(case.make(), "channels_first")}
every_layer = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def subclasses(kind):
    return {kind, *(each for child in kind.__subclasses__() for each in subclasses(child))}


def test_every_layer_has_a_case_and_is_exported():
    kinds = {kind for kind in subclasses(nn.Layer) if not inspect.isabstract(kind)}
    ours = {kind for kind in kinds if kind.__module__.startswith("chainrule.")}
    assert {type(case.make()) for case in CASES.values()} == ours
    assert {kind.__name__ for kind in ours} <= set(nn.__all__)
    for name, case in CASES.items():
        assert type(case.make()).__name__ == name.split(" ")[0].strip(",")
    both_orders = {type(case.make()): set() for case in IMAGES.values()}
    for case in IMAGES.values():
        both_orders[type(case.make())].add(case.make().channels_first)
    assert set(map(frozenset, both_orders.values())) == {frozenset({True, False})}


@pytest.mark.parametrize("training", [True, False], ids=["training", "prediction"])
@every_layer
def test_gradients_by_inputs_and_parameters(case, training):
    check_gradients(case.make(), case.input_shape, training=training)


@every_layer
def test_float32_in_gives_float32_out(case):
    check_dtype(case.make(), case.input_shape)


@every_layer
def test_one_sample_and_several_have_the_announced_shape_and_none_are_refused(case):
    check_shapes(case.make, case.input_shape)
    assert case.make().output_shape(case.input_shape) == case.output_shape


@pytest.mark.parametrize("n_samples", [1, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@every_layer
def test_a_compiled_step_is_the_eager_one(case, dtype, n_samples):
    """Between other layers, so that its input has a gradient."""
    layers = [case.make(), nn.Tanh(), nn.Flatten(), nn.Dense(2)]
    if not layers[0].takes_integers:
        layers.insert(0, nn.Dense(case.input_shape[-1]))
    check_compiled(layers, case.input_shape, n_samples=n_samples, dtype=dtype)


@every_layer
def test_a_step_down_the_gradients_of_backprop_is_that_of_fit(case):
    layers = [case.make(), nn.Tanh(), nn.Flatten(), nn.Dense(2)]
    network = nn.Network(layers, input_shape=case.input_shape, dtype=float, seed=0)
    x, y = drawn_inputs(layers[0], (4, *case.input_shape)), np.ones((4, 2))
    rng = np.random.default_rng(3).spawn(3)[2]  # what layers draw from in a fit of this seed
    gradients = network.backprop(x, y, loss="mean_squared_error", seed=rng).gradients
    expected = {name: a - 0.1 * gradients[name] for name, a in network.parameters.items()}
    network.fit(
        x, y, loss="mean_squared_error", optimizer=optim.SGD(0.1), batch_size=None, shuffle=False,
        seed=3, verbose=0, engine="numpy",
    )  # fmt: skip
    for name, array in network.parameters.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-9, atol=1e-11)


@every_layer
def test_parameters_are_named_and_counted_in_the_summary(case):
    net = nn.Network([case.make(name="mine")], input_shape=case.input_shape)
    assert net.parameters.shapes == {f"mine.{name}": shape for name, shape in case.shapes.items()}
    rows = [line.split("  ") for line in net.summary().splitlines()]
    row = next([word.strip() for word in row if word] for row in rows if row[0] == "mine")
    shape = f"(N, {', '.join(map(str, case.output_shape))})"
    assert row == ["mine", shape, str(sum(map(math.prod, case.shapes.values())))]


@every_layer
def test_shapes_that_do_not_fit_are_refused_by_name(case):
    if case.refused is not None:
        with pytest.raises(ValueError, match=r"mine") as caught:
            nn.Network([case.make(name="mine")], input_shape=case.refused)
        message = str(caught.value)
        sizes = {str(case.refused), "×".join(map(str, case.refused[:-1]))}
        sizes |= {str(size) for size in case.refused}
        assert any(size in message for size in sizes)
        assert len(message) > 60  # what came, and what is wanted
    net = nn.Network([case.make(name="mine")], input_shape=case.input_shape)
    other = (*case.input_shape, 2)
    with pytest.raises(ValueError, match=r"mine was built for .* but got x of shape") as caught:
        net(np.zeros((3, *other)))
    assert str((3, *other)) in str(caught.value)


@every_layer
def test_a_layer_without_fitting_parameters_says_so(case):
    """Called by itself, with the parameters of another number of features."""
    if not case.shapes or case.make().takes_integers:
        return
    layer = case.make(name="mine")
    parameters = drawn_parameters(layer, case.input_shape)
    context = nn.Context(state=drawn_state(layer, case.input_shape))
    other = tuple(size + 1 for size in case.input_shape)
    with pytest.raises(ValueError, match=r"(was built for|cannot)") as caught:
        layer.forward(drawn_inputs(layer, (3, *other)), parameters, context)
    assert str(other[-1]) in str(caught.value)


@every_layer
def test_a_sample_does_not_see_the_others(case):
    layer = case.make()
    x = drawn_inputs(layer, (3, *case.input_shape))
    parameters = drawn_parameters(layer, case.input_shape)
    context = nn.Context(state=drawn_state(layer, case.input_shape))
    together = layer.forward(x, parameters, context)
    for n in range(3):
        alone = layer.forward(x[n : n + 1], parameters, context)
        np.testing.assert_allclose(alone[0], together[n], rtol=1e-10, atol=1e-12)


@every_layer
def test_forward_changes_nothing(case):
    layer = case.make()
    x = drawn_inputs(layer, (2, *case.input_shape))
    parameters = drawn_parameters(layer, case.input_shape)
    state = drawn_state(layer, case.input_shape)
    for array in (x, *parameters.values(), *state.values()):
        array.flags.writeable = False
    options = dict(vars(layer))
    for training in (True, False):
        context = nn.Context(training, np.random.default_rng(0), state)
        layer.forward(x, parameters, context)
        assert set(context.updates) == (set(state) if training else set())
    assert vars(layer) == options


@every_layer
def test_a_layer_can_be_pickled_and_shows_the_call_that_makes_it(case):
    layer = case.make()
    if not isinstance(layer, nn.Activation | nn.Combine):
        again = eval(repr(layer), vars(nn))
        assert repr(again) == repr(layer)
        assert options_of(again) == options_of(layer)
    assert options_of(pickle.loads(pickle.dumps(layer))) == options_of(layer)


def options_of(layer):
    """The options but for the name, inner layers by theirs."""

    def plain(value):
        if isinstance(value, nn.Layer):
            return type(value), options_of(value)
        return [plain(each) for each in value] if isinstance(value, tuple | list) else value

    return {name: plain(value) for name, value in vars(layer).items() if name != "name"}


@pytest.mark.parametrize("case", IMAGES.values(), ids=IMAGES)
def test_channels_first_is_channels_last_with_the_axes_moved(case):
    given = case.make()
    other = pickle.loads(pickle.dumps(given))
    other.channels_first = not given.channels_first
    source, target = (1, -1) if given.channels_first else (-1, 1)
    x = drawn_inputs(given, (2, *case.input_shape))
    parameters = drawn_parameters(given, case.input_shape)
    expected = given.forward(x, parameters, nn.Context())
    moved = np.moveaxis(x, source, target)
    shapes = {
        name: a.shape for name, a in other.init(moved.shape[1:], np.random.default_rng(0)).items()
    }
    assert shapes == case.shapes
    out = other.forward(moved, parameters, nn.Context())
    assert out.shape[1:] == other.output_shape(moved.shape[1:])
    if out.ndim > 2:
        expected = np.moveaxis(expected, source, target)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-12)
