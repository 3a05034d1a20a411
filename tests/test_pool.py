"""Maxima and sums over windows: values against loops, cotangents against where they must go."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.gradcheck import check_grads
from chainrule.primitives.pool import (
    max_at_windows,
    window_max,
    window_max_vjp,
    window_sum,
    window_sum_vjp,
)


def loop(reduce, x, axis, size, stride):
    """Window after window, as the definition says."""
    moved = np.moveaxis(x, axis, 0)
    starts = range(0, len(moved) - size + 1, stride)
    return np.moveaxis(np.array([reduce(moved[k : k + size], axis=0) for k in starts]), 0, axis)


@st.composite
def windows(draw):
    """An array without ties and a window along one of its axes."""
    shape = tuple(draw(st.lists(st.integers(1, 7), min_size=1, max_size=3)))
    axis = draw(st.integers(0, len(shape) - 1))
    size = draw(st.integers(1, shape[axis]))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = rng.permutation(int(np.prod(shape))).reshape(shape) - 3.0
    return x, {"axis": axis, "size": size, "stride": draw(st.integers(1, 4))}, rng


@given(windows())
def test_the_values_are_those_of_a_loop(case):
    x, window, _ = case
    np.testing.assert_array_equal(window_max(x, **window), loop(np.max, x, **window))
    np.testing.assert_allclose(window_sum(x, **window), loop(np.sum, x, **window), atol=1e-12)


@given(windows())
def test_each_cotangent_goes_to_the_largest_element_of_its_window(case):
    x, window, rng = case
    axis, size, stride = window.values()
    g = rng.normal(size=window_max(x, **window).shape)
    expected = np.zeros(x.shape)
    for place in np.ndindex(g.shape):
        places = [
            (*place[:axis], place[axis] * stride + k, *place[axis + 1 :]) for k in range(size)
        ]
        expected[max(places, key=lambda p: x[p])] += g[place]
    np.testing.assert_allclose(window_max_vjp(g, x, **window), expected, atol=1e-12)
    # Picking the values at these places is the transposed map.
    u = rng.normal(size=x.shape)
    picked = max_at_windows(u, x, **window)
    np.testing.assert_allclose(np.sum(picked * g), np.sum(expected * u), atol=1e-9)
    np.testing.assert_array_equal(max_at_windows(x, x, **window), window_max(x, **window))


@given(windows())
def test_each_cotangent_of_a_sum_goes_to_its_whole_window(case):
    x, window, rng = case
    g = rng.normal(size=window_sum(x, **window).shape)
    found = window_sum_vjp(g, length=x.shape[window["axis"]], **window)
    assert found.shape == x.shape
    u = rng.normal(size=x.shape)
    expected = np.sum(loop(np.sum, u, **window) * g)
    np.testing.assert_allclose(np.sum(found * u), expected, atol=1e-9)


def test_of_elements_that_tie_the_first_receives_all():
    x = np.array([2.0, 2.0, 1.0, 3.0, 3.0, 3.0])
    separate = cr.grad(lambda x: window_max(x, axis=0, size=3, stride=3).sum())(x)
    np.testing.assert_array_equal(separate, [1, 0, 0, 1, 0, 0])
    overlapping = cr.grad(lambda x: window_max(x, axis=0, size=3, stride=1).sum())(x)
    np.testing.assert_array_equal(overlapping, [1, 0, 0, 3, 0, 0])


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (2, 3), (1, 1), (4, 1)])
def test_derivatives_of_first_and_second_order(size, stride):
    rng = np.random.default_rng(0)
    x = rng.permutation(42).reshape(2, 7, 3) / 5.0
    for function in (window_max, window_sum):
        check_grads(
            lambda x, f=function: f(np.sin(x), axis=1, size=size, stride=stride) ** 2, x, order=2
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(dtype):
    x = np.arange(12, dtype=dtype).reshape(2, 6)
    for function in (window_max, window_sum):
        for stride in (1, 2):
            out, f_vjp = cr.vjp(lambda x, f=function, s=stride: f(x, axis=1, size=2, stride=s), x)
            (g,) = f_vjp(np.ones(out.shape, dtype))
            assert (out.dtype, g.dtype) == (dtype, dtype)


def test_nan_and_infinity_pass_through():
    x = np.array([[1.0, np.nan, 2.0, -np.inf, -np.inf, -np.inf, np.inf, 0.0]])
    out = window_max(x, axis=1, size=2, stride=2)
    np.testing.assert_array_equal(out, [[np.nan, 2.0, -np.inf, np.inf]])
    g = window_max_vjp(np.ones((1, 4)), x, axis=1, size=2, stride=2)
    np.testing.assert_array_equal(g.reshape(4, 2).sum(axis=1), 1)  # none is lost


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2)])
def test_compiled_is_eager(size, stride):
    x = np.random.default_rng(1).permutation(60).reshape(2, 5, 6) / 7.0

    def f(x):
        def loss(x):
            pooled = window_max(x, axis=1, size=size, stride=stride)
            return (window_sum(pooled, axis=2, size=size, stride=stride) ** 2).sum()

        return cr.value_and_grad(loss)(x)

    compiled = cr.compile(f)
    for ours, expected in zip(compiled(x), f(x)):
        np.testing.assert_allclose(ours, expected, rtol=1e-14)
    assert "import chainrule" not in compiled.source


def test_arguments_are_not_changed_and_results_are_new_memory():
    x = np.arange(6.0)
    x.flags.writeable = False
    for function in (window_max, window_sum):
        for size in (1, 2):
            out = function(x, axis=0, size=size, stride=1)
            assert not np.shares_memory(out, x)
    g = np.ones(3)
    g.flags.writeable = False
    out = window_max_vjp(g, x, axis=0, size=1, stride=2)
    assert not np.shares_memory(out, g)
    assert not np.shares_memory(max_at_windows(x, x, axis=0, size=1, stride=2), x)


def test_windows_that_do_not_fit_are_refused():
    for size in (0, 7):
        with pytest.raises(ValueError, match=rf"windows of {size} do not fit into axis 1 of shape"):
            window_max(np.ones((2, 6)), axis=1, size=size, stride=1)


def test_an_axis_of_one_element_may_have_any_stride():
    x = np.arange(16.0).reshape(1, 4, 4)[:, ::4]  # contiguous all the same, for NumPy
    assert x.flags.c_contiguous
    assert x.strides[1] == x.itemsize * 16
    window = {"axis": 1, "size": 1, "stride": 1}
    np.testing.assert_array_equal(window_max(x, **window), x)
    np.testing.assert_array_equal(window_max_vjp(np.ones_like(x), x, **window), np.ones_like(x))
