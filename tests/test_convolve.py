"""Convolution: values against SciPy's correlation, cotangents against what linearity says."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import by_kernel

import chainrule as cr
from chainrule.engines.numpy.kernels import KERNELS
from chainrule.gradcheck import check_grads
from chainrule.primitives import PRIMITIVES
from chainrule.primitives.convolve import (
    convolve,
    convolve_add,
    convolve_kernel_vjp,
    convolve_transpose,
)

HOW = {
    "plain": {},
    "stride": {"stride": (2, 3)},
    "padding": {"padding": ((1, 0), (2, 1))},
    "dilation": {"dilation": (2, 1)},
    "groups": {"groups": 2},
    "all": {"stride": (1, 2), "padding": ((1, 2), (0, 1)), "dilation": (1, 2), "groups": 2},
}


def reference(x, kernel, stride=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """By SciPy: one correlation per image, channel and filter, the kernel spread by zeros."""
    kh, kw, channels, filters = kernel.shape
    padded = np.pad(x, ((0, 0), *padding, (0, 0)))
    spread = np.zeros(
        ((kh - 1) * dilation[0] + 1, (kw - 1) * dilation[1] + 1, channels, filters), kernel.dtype
    )
    spread[:: dilation[0], :: dilation[1]] = kernel
    height = padded.shape[1] - spread.shape[0] + 1
    width = padded.shape[2] - spread.shape[1] + 1
    out = np.zeros((len(x), height, width, filters))
    for n in range(len(x)):
        for d in range(filters):
            first = d // (filters // groups) * channels
            for c in range(channels):
                out[n, :, :, d] += scipy.signal.correlate(
                    padded[n, :, :, first + c], spread[:, :, c, d], "valid", "direct"
                )
    return out[:, :: stride[0], :: stride[1]]


pairs = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def convolutions(draw):
    """Images, a kernel that fits into them, and all that `convolve` can be told."""
    groups = draw(st.integers(1, 3))
    channels = draw(st.sampled_from([1, 2, 3, 17, 33]))  # few and many take different ways
    filters = draw(st.sampled_from([1, 2, 3, 35]))
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(pairs, pairs))
    reach = [(n - 1) * d + 1 for n, d in zip(size, dilation)]
    shape = [draw(st.integers(max(1, n - sum(sides)), 10)) for n, sides in zip(reach, padding)]
    how = {
        "stride": draw(st.just((1, 1)) | st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = rng.normal(size=(draw(st.integers(0, 3)), *shape, groups * channels))
    return x, rng.normal(size=(*size, channels, groups * filters)), how, rng


@settings(max_examples=150)
@given(convolutions(), st.integers(1, 3))
def test_convolution_is_scipys_correlation(convolution, threads):
    x, kernel, how, rng = convolution
    expected = reference(x, kernel, **how)
    bias = rng.normal(size=kernel.shape[3])
    shared = {**how, "threads": threads}
    for out, with_bias in (
        (convolve(x, kernel, **how), convolve_add(x, kernel, bias, **how)),
        (
            by_kernel("convolve")(x, kernel, **shared),
            by_kernel("convolve_add")(x, kernel, bias, **shared),
        ),
    ):
        assert out.shape == expected.shape
        np.testing.assert_allclose(out, expected, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(with_bias, expected + bias, rtol=1e-11, atol=1e-11)


@settings(max_examples=150)
@given(convolutions(), st.integers(1, 3))
def test_the_cotangents_are_the_transposed_maps(convolution, threads):
    """<y, convolve(u, k)> = <convolve_transpose(y, k), u> for any u, and alike for the kernel."""
    x, kernel, how, rng = convolution
    y = rng.normal(size=reference(x, kernel, **how).shape)
    of_x_how = {"size": x.shape[1:3], **how}
    of_kernel_how = {"size": kernel.shape[:2], **how}
    for of_x, of_kernel in (
        (convolve_transpose(y, kernel, **of_x_how), convolve_kernel_vjp(x, y, **of_kernel_how)),
        (
            by_kernel("convolve_transpose")(y, kernel, **of_x_how, threads=threads),
            by_kernel("convolve_kernel_vjp")(x, y, **of_kernel_how, threads=threads),
        ),
    ):
        assert of_x.shape == x.shape
        assert of_kernel.shape == kernel.shape
        for _ in range(2):
            u, k = rng.normal(size=x.shape), rng.normal(size=kernel.shape)
            along_u = np.sum(y * reference(u, kernel, **how))
            np.testing.assert_allclose(np.sum(of_x * u), along_u, rtol=1e-9, atol=1e-9)
            along_k = np.sum(y * reference(x, k, **how))
            np.testing.assert_allclose(np.sum(of_kernel * k), along_k, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((2, 2), (1, 2))])
def test_many_images_are_done_a_few_at_a_time(padding):
    """More multiplications than are done at once, in batches of which the last is smaller."""
    convolve, convolve_transpose, convolve_kernel_vjp = map(
        by_kernel, ("convolve", "convolve_transpose", "convolve_kernel_vjp")
    )
    rng = np.random.default_rng(8)
    x, kernel = rng.normal(size=(23, 12, 11, 6)), rng.normal(size=(5, 4, 6, 16))
    how = {"padding": padding}
    out, bias = convolve(x, kernel, **how), rng.normal(size=16)
    with_bias = by_kernel("convolve_add")(x, kernel, bias, **how)
    y = rng.normal(size=out.shape)
    of_x = convolve_transpose(y, kernel, size=(12, 11), **how)
    of_kernel = np.zeros(kernel.shape)
    for n in range(len(x)):
        one = slice(n, n + 1)
        np.testing.assert_allclose(out[one], reference(x[one], kernel, **how), rtol=1e-10)
        np.testing.assert_allclose(with_bias[one], out[one] + bias, rtol=1e-10)
        alone = convolve_transpose(y[one], kernel, size=(12, 11), **how)
        np.testing.assert_allclose(of_x[one], alone, rtol=1e-10, atol=1e-10)
        of_kernel += convolve_kernel_vjp(x[one], y[one], size=(5, 4), **how)
    together = convolve_kernel_vjp(x, y, size=(5, 4), **how)
    np.testing.assert_allclose(together, of_kernel, rtol=1e-10, atol=1e-10)


def test_a_kernel_of_one_element_is_a_product_of_matrices():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(1, 1, 5, 6))
    np.testing.assert_allclose(convolve(x, kernel), x @ kernel[0, 0], rtol=1e-13)


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_derivatives_of_first_and_second_order(how):
    rng = np.random.default_rng(1)
    x, kernel, bias = rng.normal(size=(2, 7, 6, 4)), rng.normal(size=(2, 3, 4, 2)), np.ones(2)
    if how.get("groups") == 2:
        kernel = kernel[:, :, :2]
    check_grads(lambda x, k: np.tanh(convolve(x, k, **how)), (x, kernel), order=2)
    check_grads(lambda x, k, b: np.tanh(convolve_add(x, k, b, **how)), (x, kernel, bias), order=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    rng = np.random.default_rng(2)
    x, kernel = rng.normal(size=(2, 5, 6, 2)), rng.normal(size=(2, 3, 2, 3))
    x, kernel, bias = x.astype(dtype), kernel.astype(dtype), np.ones(3, dtype)
    for how in ({}, {"padding": ((1, 1), (1, 1)), "dilation": (1, 2)}):
        value, gradients = cr.value_and_grad(
            lambda x, k, b, how=how: convolve_add(x, k, b, **how).sum(), (0, 1, 2)
        )(x, kernel, bias)
        assert value.dtype == dtype
        assert {g.dtype for g in gradients} == {np.dtype(dtype)}
    mixed = convolve(x, kernel.astype(np.float64))
    assert mixed.dtype == np.float64


def test_float32_is_as_exact_as_its_digits_allow():
    rng = np.random.default_rng(3)
    x, kernel = rng.normal(size=(3, 12, 12, 6)), rng.normal(size=(5, 5, 6, 16))
    exact = convolve(x, kernel)
    single = convolve(x.astype(np.float32), kernel.astype(np.float32))
    np.testing.assert_allclose(single, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_compiled_is_eager(how):
    rng = np.random.default_rng(4)
    x, kernel = rng.normal(size=(3, 7, 9, 4)), rng.normal(size=(2, 3, 4, 6))
    bias = rng.normal(size=6)
    if how.get("groups") == 2:
        kernel = kernel[:, :, :2]

    def f(x, kernel, bias):
        return cr.value_and_grad(
            lambda *args: (np.tanh(convolve_add(*args, **how)) ** 2).sum(), (0, 1, 2)
        )(x, kernel, bias)

    compiled = cr.compile(f)
    value, gradients = compiled(x, kernel, bias)
    expected, expected_gradients = f(x, kernel, bias)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    for g, e in zip(gradients, expected_gradients):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-13)
    assert "def convolve_add(" in compiled.source
    assert "import chainrule" not in compiled.source


# Arguments


def test_arguments_may_be_read_only_or_lie_in_any_order_and_are_not_changed():
    rng = np.random.default_rng(5)
    x, kernel = rng.normal(size=(2, 3, 6, 5)), rng.normal(size=(4, 3, 2, 3))
    moved, turned = np.moveaxis(x, 1, -1), kernel.transpose(1, 2, 3, 0)[:, ::-1]
    moved, turned = moved[:, ::-1], turned[..., ::2]
    y = rng.normal(size=(2, 4, 4, 2))
    calls = [
        lambda x, k, y: convolve(x, k),
        lambda x, k, y: convolve_add(x, k, k[0, 0, 0]),
        lambda x, k, y: convolve_transpose(y, k, size=(6, 5)),
        lambda x, k, y: convolve_kernel_vjp(x, y, size=(3, 2)),
    ]
    for call in calls:
        contiguous = [np.ascontiguousarray(a) for a in (moved, turned, y)]
        before = [a.copy() for a in contiguous]
        expected = call(*contiguous)
        for a, b in zip(contiguous, before):
            np.testing.assert_array_equal(a, b)
        for a in (x, kernel, y):
            a.flags.writeable = False
        np.testing.assert_allclose(call(moved, turned, y), expected, rtol=1e-12)


def test_nan_reaches_all_places_that_see_it_and_no_line_that_does_not():
    x = np.zeros((1, 5, 5, 1))
    x[0, 2, 2] = np.nan
    out = by_kernel("convolve")(x, np.ones((2, 2, 1, 1)))
    assert np.isnan(out[0, 1:3, 1:3]).all()
    assert np.isfinite(out[0, [0, 3]]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_stay_where_they_belong(value):
    """By the primitives themselves: in all places that see it, and in no other."""
    x, kernel = np.zeros((2, 5, 5, 2)), np.ones((2, 2, 1, 2))
    x[0, 2, 2, 0] = value
    seen = np.zeros((2, 4, 4, 2), bool)
    seen[0, 1:3, 1:3, 0] = True
    np.testing.assert_array_equal(~np.isfinite(convolve(x, kernel, groups=2)), seen)
    y = np.zeros((2, 4, 4, 2))
    y[1, 1, 2, 1] = value
    met = np.zeros(x.shape, bool)
    met[1, 1:3, 2:4, 1] = True
    of_x = convolve_transpose(y, kernel, size=(5, 5), groups=2)
    np.testing.assert_array_equal(~np.isfinite(of_x), met)


def test_no_images_give_no_results():
    kernel = np.ones((2, 2, 3, 4))
    assert convolve(np.ones((0, 5, 6, 3)), kernel).shape == (0, 4, 5, 4)
    assert convolve_transpose(np.ones((0, 4, 5, 4)), kernel, size=(5, 6)).shape == (0, 5, 6, 3)
    of_kernel = convolve_kernel_vjp(np.ones((0, 5, 6, 3)), np.ones((0, 4, 5, 4)), size=(2, 2))
    np.testing.assert_array_equal(of_kernel, np.zeros((2, 2, 3, 4)))


def test_channels_that_do_not_fit_are_refused():
    x = np.ones((2, 5, 6, 3))
    with pytest.raises(ValueError, match=r"images of shape \(2, 5, 6, 3\).*but got \(2, 2, 4, 1\)"):
        convolve(x, np.ones((2, 2, 4, 1)))
    with pytest.raises(ValueError, match=r"in 3 groups .* 1, a multiple of 3\), but got"):
        convolve(x, np.ones((2, 2, 1, 4)), groups=3)


def test_cotangents_of_another_shape_are_refused():
    kernel, x = np.ones((2, 2, 3, 4)), np.ones((2, 5, 6, 3))
    for y in (np.ones((2, 4, 4, 4)), np.ones((1, 4, 5, 4))):
        with pytest.raises(ValueError, match=r"\(2, 4, 5\) places in images .* got y of shape"):
            convolve_kernel_vjp(x, y, size=(2, 2))
    with pytest.raises(ValueError, match=r"\(2, 4, 5\) places in images .* got y of shape"):
        convolve_transpose(np.ones((2, 4, 4, 4)), kernel, size=(5, 6))


def test_a_kernel_larger_than_the_image_is_refused():
    with pytest.raises(
        ValueError, match=r"size \(2, 3\), dilation \(1, 3\), does not fit .*padding"
    ):
        convolve(np.ones((2, 5, 6, 3)), np.ones((2, 3, 3, 4)), dilation=(1, 3))


# Threads


def test_threads_change_the_rounding_at_most():
    rng = np.random.default_rng(6)
    x, kernel = rng.normal(size=(7, 9, 9, 3)), rng.normal(size=(3, 3, 3, 5))
    y = rng.normal(size=(7, 7, 7, 5))
    calls = [
        lambda **threads: by_kernel("convolve")(x, kernel, **threads),
        lambda **threads: by_kernel("convolve_transpose")(y, kernel, size=(9, 9), **threads),
        lambda **threads: by_kernel("convolve_kernel_vjp")(x, y, size=(3, 3), **threads),
    ]
    for call in calls:
        for threads in (2, 3, 20):
            np.testing.assert_allclose(call(threads=threads), call(), rtol=1e-11, atol=1e-12)


def test_threads_share_the_callers_settings_and_report_their_errors():
    y = np.zeros((2, 2, 2, 1))
    y[1] = np.inf  # in the share of the second thread
    kernel = np.array([[1.0, 1.0], [-1.0, -1.0]])[:, :, None, None]
    transpose = KERNELS[PRIMITIVES["convolve_transpose"]][1]
    out = np.empty((2, 3, 3, 1))
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
        transpose.function(y, kernel, size=(3, 3), threads=2, out=out)
    with np.errstate(invalid="ignore"):
        transpose.function(y, kernel, size=(3, 3), threads=2, out=out)
    assert np.isnan(out[1]).any()
    assert not out[0].any()
