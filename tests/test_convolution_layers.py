"""Convolution and pooling layers: values against loops, shapes, gradients, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule import nn, optim
from chainrule.experiments import e08_convolution


def run(layer, x, seed=0):
    """The layer's outputs with parameters drawn at random, and these."""
    rng = np.random.default_rng(seed)
    initial = layer.init(x.shape[1:], rng)
    parameters = {name: rng.normal(size=a.shape) for name, a in initial.items()}
    return layer.forward(x, parameters, nn.Context()), parameters


def images(*shape, seed=0):
    """Numbers without ties, so that every maximum is unique."""
    rng = np.random.default_rng(seed)
    return rng.permutation(math.prod(shape)).reshape(shape) / 7.0 - 3.0


def window_values(x, border, size, stride, dilation, fill, p, q):
    """What stands under one window of an image (H, W, C), by the definition."""
    height, width = x.shape[:2]
    values = []
    for i in range(size[0]):
        for j in range(size[1]):
            line = p * stride[0] + i * dilation[0] - border[0][0]
            column = q * stride[1] + j * dilation[1] - border[1][0]
            inside = 0 <= line < height and 0 <= column < width
            values.append(x[line, column] if inside else np.full(x.shape[2], fill))
    return np.array(values)  # (size, C)


# Padding, as the options write it, and the border it means for images of 5×6 under a window of
# 2×3, stride (1, 2)
PADDINGS = {
    "valid": ("valid", ((0, 0), (0, 0))),
    "same": ("same", ((0, 1), (0, 1))),
    "number": (1, ((1, 1), (1, 1))),
    "per axis": ((0, 2), ((0, 0), (2, 2))),
    "pairs": (((1, 0), (0, 2)), ((1, 0), (0, 2))),
}


@pytest.mark.parametrize(("padding", "border"), PADDINGS.values(), ids=PADDINGS)
def test_conv2d_is_a_weighted_sum_of_each_window(padding, border):
    layer = nn.Conv2D(4, (2, 3), stride=(1, 2), padding=padding)
    x = images(2, 5, 6, 3)
    out, parameters = run(layer, x)
    assert out.shape[1:] == layer.output_shape((5, 6, 3))
    weight = parameters["weight"].reshape(6, 3, 4)
    for n, p, q, _ in np.ndindex(*out.shape[:3], 1):
        values = window_values(x[n], border, (2, 3), (1, 2), (1, 1), 0, p, q)
        expected = np.einsum("kc,kcd->d", values, weight) + parameters["bias"]
        np.testing.assert_allclose(out[n, p, q], expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("padding", ["valid", "same", 2, ((1, 3),)])
def test_conv1d_is_conv2d_of_images_one_line_high(padding):
    x = images(2, 9, 4)
    how = {"stride": 2, "dilation": 2, "groups": 2}
    layer = nn.Conv1D(6, 3, padding=padding, **how)
    out, parameters = run(layer, x)
    assert out.shape[1:] == layer.output_shape((9, 4))
    border = layer.window.border((9,))
    flat = nn.Conv2D(6, (1, 3), stride=(1, 2), padding=((0, 0), *border), dilation=(1, 2), groups=2)
    parameters = {"weight": parameters["weight"][None], "bias": parameters["bias"]}
    expected = flat.forward(x[:, None], parameters, nn.Context())
    np.testing.assert_allclose(out, expected[:, 0], rtol=1e-12)


@given(
    n=st.integers(1, 12),
    size=st.integers(1, 5),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
)
def test_same_padding_makes_one_result_per_stride(n, size, stride, dilation):
    layer = nn.Conv2D(1, size, stride=stride, dilation=dilation, padding="same")
    assert layer.output_shape((n, 7, 1))[0] == math.ceil(n / stride)
    (before, after), _ = layer.window.border((n, 7))
    assert after - before in (0, 1)
    back = nn.Conv2DTranspose(1, size, stride=stride, dilation=dilation, padding="same")
    assert back.output_shape((n, 7, 1))[:2] == (n * stride, 7 * stride)


@settings(max_examples=60)
@given(
    size=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same", 1, ((1, 0), (0, 1))]),
    more=st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_conv2d_transpose_turns_conv2d_round(size, stride, dilation, padding, more):
    """<Conv2D(u), x> = <u, Conv2DTranspose(x)>, with inputs and outputs in each other's place."""
    more = tuple(min(n, step - 1) * (padding != "same") for n, step in zip(more, stride))
    how = {"stride": stride, "dilation": dilation, "padding": padding, "use_bias": False}
    layer = nn.Conv2DTranspose(2, size, output_padding=more, **how)
    x = images(2, 5, 4, 3)
    try:
        shape = layer.output_shape((5, 4, 3))
    except ValueError as error:
        assert "leaves nothing" in str(error)  # noqa: PT017 - some draws leave nothing
        return
    out, parameters = run(layer, x)
    assert out.shape[1:] == shape
    conv = nn.Conv2D(3, size, **how)
    assert conv.output_shape(shape) == (5, 4, 3)
    u = images(2, *shape, seed=1)
    turned = {"weight": np.swapaxes(parameters["weight"], 2, 3)}
    v = conv.forward(u, turned, nn.Context())
    np.testing.assert_allclose(np.sum(v * x), np.sum(u * out), rtol=1e-9)


@pytest.mark.parametrize(
    ("how", "shape"),
    [
        ({}, (5, 4)),
        ({"stride": 2}, (9, 7)),
        ({"stride": 2, "output_padding": 1}, (10, 8)),
        ({"stride": (1, 3), "padding": 1, "output_padding": (0, 2)}, (4, 9)),
        ({"stride": 2, "padding": "same"}, (8, 6)),
        ({"dilation": 2, "padding": ((1, 0), (0, 2))}, (7, 5)),
    ],
)
def test_the_size_conv2d_transpose_makes_of_4_by_3(how, shape):
    layer = nn.Conv2DTranspose(2, (2, 2) if not how else 3, **how)
    out, _ = run(layer, images(1, 4, 3, 2))
    assert out.shape == (1, *shape, 2)


def test_conv2d_transpose_adds_its_bias_everywhere():
    out, parameters = run(nn.Conv2DTranspose(2, 1, stride=2), np.zeros((1, 2, 2, 3)))
    np.testing.assert_array_equal(out, np.broadcast_to(parameters["bias"], (1, 3, 3, 2)))


POOLS = {
    "plain": {},
    "overlapping": {"size": 3, "stride": 2},
    "apart": {"size": (1, 2), "stride": (2, 3)},
    "same": {"size": (2, 3), "stride": (2, 2), "padding": "same"},
    "padded": {"size": 3, "stride": 1, "padding": 1},
    "pairs": {"size": 3, "stride": 2, "padding": ((2, 0), (1, 1))},
    "ceil": {"size": 2, "ceil": True},
    "ceil padded": {"size": (3, 2), "stride": (2, 3), "padding": (1, 1), "ceil": True},
}


@pytest.mark.parametrize("how", POOLS.values(), ids=POOLS)
def test_pooling_is_the_largest_and_the_mean_of_each_window(how):
    x = images(2, 5, 7, 3)
    largest, mean = nn.MaxPool2D(**how), nn.AvgPool2D(**how)
    window = largest.window
    border = window.border((5, 7))
    out_max, _ = run(largest, x)
    out_mean, _ = run(mean, x)
    assert out_max.shape[1:] == largest.output_shape((5, 7, 3)) == mean.output_shape((5, 7, 3))
    for n, p, q, _ in np.ndindex(*out_max.shape[:3], 1):
        values = window_values(x[n], border, window.size, window.stride, (1, 1), np.nan, p, q)
        np.testing.assert_array_equal(out_max[n, p, q], np.nanmax(values, axis=0))
        np.testing.assert_allclose(out_mean[n, p, q], np.nanmean(values, axis=0), rtol=1e-12)


@given(
    n=st.integers(1, 12),
    size=st.integers(1, 4),
    stride=st.integers(1, 5),
    padding=st.integers(0, 3),
)
def test_ceil_rounds_the_number_of_windows_up_unless_one_would_be_outside(n, size, stride, padding):
    padding = min(padding, size - 1)
    if n + 2 * padding < size:
        return
    layer = nn.MaxPool1D(size, stride=stride, padding=padding, ceil=True)
    (found,) = layer.output_shape((n, 1))[:1]
    starts = [k * stride - padding for k in range(found)]
    assert starts[-1] < n  # the last window begins in the image, or before it
    # Either it covers the end, or a further window would begin outside.
    assert starts[-1] + size >= n + padding or starts[-1] + stride >= n


def test_max_pool_1d_is_that_of_columns():
    x = images(2, 7, 3)
    out, _ = run(nn.MaxPool1D(3, stride=2), x)
    np.testing.assert_array_equal(
        out, np.stack([x[:, k : k + 3].max(axis=1) for k in (0, 2, 4)], 1)
    )


def test_ties_are_given_to_the_first_column_and_there_to_the_first_line():
    x = np.array([[1.0, 2.0], [2.0, 2.0]])[None, :, :, None]
    net = nn.Network([nn.MaxPool2D()], input_shape=(2, 2, 1), dtype="float64")
    g = cr.grad(lambda x: net.forward({}, x).sum())(x)
    np.testing.assert_array_equal(g[0, ..., 0], [[0, 0], [1, 0]])


def test_global_average_is_the_mean_of_each_channel():
    x = images(3, 4, 5, 2)
    out, _ = run(nn.GlobalAvgPool2D(), x)
    np.testing.assert_allclose(out, x.mean(axis=(1, 2)), rtol=1e-13)


# Training


def test_a_network_learns_lines_from_images():
    """Images with one bright line, across or down: no single pixel tells which."""
    rng = np.random.default_rng(0)
    x = 0.1 * rng.normal(size=(200, 6, 6, 1))
    y = rng.integers(0, 2, 200)
    for image, is_down, place in zip(x, y, rng.integers(0, 6, 200)):
        image[(slice(None), place) if is_down else place] += 1
    net = nn.Network(
        [nn.Conv2D(4, 3), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(), nn.Dense(2)], seed=0
    )
    net.fit(
        x, y, loss="cross_entropy", optimizer=optim.Adam(0.02), epochs=15, seed=0, verbose=0,
        validation_split=0.25,
    )  # fmt: skip
    assert net.evaluate(x, y)["accuracy"] > 0.97


# Descriptions


def test_summary_and_names():
    net = nn.Network(
        [nn.Conv2D(6, 5), nn.MaxPool2D(), nn.Conv2D(16, 5, groups=2), nn.GlobalAvgPool2D()],
        input_shape=(28, 28, 1),
    )
    assert [(name, a.shape) for name, a in net.parameters.items()] == [
        ("conv2d_1.weight", (5, 5, 1, 6)),
        ("conv2d_1.bias", (6,)),
        ("conv2d_2.weight", (5, 5, 3, 16)),
        ("conv2d_2.bias", (16,)),
    ]
    lines = net.summary().splitlines()
    assert lines[3].split() == ["conv2d_1", "(N,", "24,", "24,", "6)", "156"]
    assert lines[4].split() == ["max_pool2d_1", "(N,", "12,", "12,", "6)", "0"]
    assert lines[5].split() == ["conv2d_2", "(N,", "8,", "8,", "16)", "1,216"]
    assert lines[6].split() == ["global_avg_pool2d_1", "(N,", "16)", "0"]


def test_a_layer_shows_the_call_that_makes_it():
    shown = {
        "Conv2D(6, 5)": nn.Conv2D(6, 5),
        "Conv2D(6, (1, 3), stride=2, padding='same', dilation=(1, 2), groups=2)": nn.Conv2D(
            6, (1, 3), stride=2, padding="same", dilation=(1, 2), groups=2
        ),
        "Conv1D(4, 3, padding=((1, 1),))": nn.Conv1D(4, 3, padding=1),
        "Conv2DTranspose(4, 3, stride=(1, 2))": nn.Conv2DTranspose(4, 3, stride=(1, 2)),
        "MaxPool2D(2)": nn.MaxPool2D(),
        "AvgPool2D(3, stride=2, ceil=True)": nn.AvgPool2D(3, stride=2, ceil=True),
        "MaxPool1D(2, padding='same')": nn.MaxPool1D(2, padding="same"),
        "GlobalAvgPool2D()": nn.GlobalAvgPool2D(),
    }
    for text, layer in shown.items():
        assert repr(layer) == text
        assert repr(eval(f"nn.{text}")) == text


# Initial values


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("glorot_uniform", 2 / (9 * 8 + 9 * 16)),
        ("he_normal", 2 / (9 * 8)),
        ("lecun_uniform", 1 / (9 * 8)),
    ],
)
def test_initial_weights_count_the_window_among_the_inputs(name, variance):
    layer = nn.Conv2D(16, 3, groups=2, weight=name)
    draws = [layer.init((4, 4, 16), np.random.default_rng(k))["weight"] for k in range(20)]
    assert draws[0].shape == (3, 3, 8, 16)
    assert np.var(draws) == pytest.approx(variance, rel=0.05)


def test_orthogonal_filters_are_orthonormal():
    weight = nn.Conv2D(5, 3, weight="orthogonal").init((4, 4, 2), np.random.default_rng(0))[
        "weight"
    ]
    filters = weight.reshape(18, 5)
    np.testing.assert_allclose(filters.T @ filters, np.eye(5), atol=1e-12)


# What is refused


def test_options_that_make_no_sense_are_refused():
    refused = [
        (ValueError, "at least one filter", lambda: nn.Conv2D(0, 3)),
        (
            ValueError,
            "as many in one as in another, .* groups=2",
            lambda: nn.Conv2D(3, 3, groups=2),
        ),
        (TypeError, "number of filters first", lambda: nn.Conv2D("relu", 3)),
        (ValueError, "at least 1 for size, but got 0", lambda: nn.Conv2D(4, 0)),
        (ValueError, r"for size, but got \(3, 3, 3\)", lambda: nn.Conv2D(4, (3, 3, 3))),
        (TypeError, "takes integers for stride, but got 1.5", lambda: nn.Conv2D(4, 3, stride=1.5)),
        (ValueError, "did you mean 'same'", lambda: nn.Conv2D(4, 3, padding="sane")),
        (ValueError, "at least 0 for padding, but got -1", lambda: nn.Conv2D(4, 3, padding=-1)),
        (ValueError, "padding for 2 axes", lambda: nn.Conv2D(4, 3, padding=((1, 1),))),
        (ValueError, "one number of at least 1 for size", lambda: nn.Conv1D(4, (3, 3))),
        (
            ValueError,
            r"output_padding less than the stride, but got \(1, 1\)",
            lambda: nn.Conv2DTranspose(4, 3, output_padding=1),
        ),
        (
            ValueError,
            r"output_padding=\(1, 1\) with padding='same'.*leave it out",
            lambda: nn.Conv2DTranspose(4, 3, stride=2, padding="same", output_padding=1),
        ),
        (ValueError, "must be less than the size", lambda: nn.MaxPool2D(2, padding=2)),
    ]
    for kind, message, make in refused:
        with pytest.raises(kind, match=message):
            make()


def test_shapes_that_do_not_fit_are_refused_by_name():
    refused = [
        (nn.Conv2D(4, 5), (4, 6, 1), r"conv2d_1 has a window of size 5×5 .* image of 4×6: use"),
        (nn.Conv2D(4, 3, dilation=2), (4, 9, 1), "size 3×3, dilation 2×2 with padding='valid'"),
        (nn.Conv2D(4, 3), (28, 28), r"conv2d_1 takes samples of shape \(height, width, channels\), "
         r"but got \(28, 28\); nn.Reshape\(\(28, 28, 1\)\) gives them one"),
        (nn.Conv2D(4, 3, channels_first=True), (28,), r"\(channels, height, width\), but got"),
        (nn.Conv2D(4, 3, groups=2), (5, 5, 3), "cannot deal 3 channels into 2 groups"),
        (nn.Conv1D(4, 3), (5, 5, 3), r"conv1d_1 takes samples of shape \(length, channels\)"),
        (nn.Conv2DTranspose(1, 1, padding=1), (2, 2, 1), r"leaves nothing of images of size \(2,"),
        (nn.MaxPool2D(3), (2, 5, 1), r"max_pool2d_1 has a window of size 3×3"),
        (nn.GlobalAvgPool2D(), (5,), r"global_avg_pool2d_1 takes samples of shape \(height, width"),
    ]  # fmt: skip
    for layer, shape, message in refused:
        with pytest.raises(ValueError, match=message):
            nn.Network([layer], input_shape=shape)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2D(2, 2), (4, 4, 3)),
        (nn.Conv1D(2, 2), (4, 3)),
        (nn.Conv2DTranspose(2, 2), (4, 4, 3)),
    ],
)
def test_other_channels_than_built_for_are_refused(layer, shape):
    _, parameters = run(layer, images(1, *shape))
    with pytest.raises(ValueError, match=r"was built for 3 channels but got x of shape"):
        layer.forward(images(1, *shape[:-1], 5), parameters, nn.Context())


# The fault of a published layer


@pytest.mark.parametrize(("n_in", "n_out"), e08_convolution.DEPTHS)
def test_the_published_bias_gradient_is_found_wrong_where_the_depths_differ(n_in, n_out):
    row = e08_convolution.check_published_gradient(n_in, n_out)
    assert row.holds
    if n_in == n_out:
        assert row.measured == "right"
    else:
        assert row.measured.startswith(f"the gradient by bias (argument 1) is {n_out / n_in:.6g} t")
