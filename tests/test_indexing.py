"""Indexing, taking and sorting: values against NumPy, gradients by following each element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.primitives import indexing
from chainrule.primitives.indexing import Slot, scatter_add

MASK = np.array([[True, False, True], [False, False, True], [True, True, False], [False] * 3])
KEYS = {
    "integer": (1,),
    "integers": (-1, np.int64(2)),
    "nothing": (),
    "ellipsis": (..., 1),
    "new axes": (None, slice(1, 3), None, ...),
    "slices": (slice(None, None, -2), slice(2, None, -1)),
    "slice out of range": (slice(2, 99), slice(-99, 1)),
    "list": ([0, 0, 3],),
    "empty list": ([],),
    "array": (np.array([[1, 1], [-1, 2]]),),
    "arrays": ([0, 1, 1], [2, 0, 0]),
    "arrays that broadcast": (np.array([[0], [3]]), [1, 1, 2]),
    "array after slice": (slice(1, None), [2, 2]),
    "array beside integer": ([1, 1], 2),
    "array and new axis": ([1, 1], None, slice(0, 2)),
    "uint8 array": (np.array([3, 3], np.uint8),),
    "number in an array": (np.array(2), [0, 0]),
    "mask": (MASK,),
    "mask of rows": (np.array([True, False, True, True]),),
    "mask as a list": ([True, False, True, True], slice(0, 2)),
    "mask of columns": (slice(None), np.array([False, True, True])),
    "mask beside array": ([True, False, True, False], [0, 0]),
    "two masks": (np.array([True, False, True, False]), np.array([True, False, True])),
    "number mask": (True,),
    "empty mask": (np.zeros((4, 3), bool),),
}


def gradient_by_following(key, shape, weights):
    """The gradient of sum(weights * x[key]): the numbers of the elements, indexed likewise, say
    which element each weight belongs to."""
    size = int(np.prod(shape))
    places = np.arange(size).reshape(shape)[key]
    return np.bincount(np.ravel(places), np.ravel(weights), minlength=size).reshape(shape)


def check_key(shape, key):
    rng = np.random.default_rng(0)
    x, v = rng.normal(size=shape), rng.normal(size=shape)
    out, f_vjp = cr.vjp(lambda x: x[key], x)
    np.testing.assert_array_equal(out, np.asarray(x[key]), strict=True)
    weights = rng.normal(size=out.shape)
    np.testing.assert_allclose(
        f_vjp(weights)[0], gradient_by_following(key, shape, weights), atol=1e-14
    )
    product = cr.hvp(lambda x: (weights * x[key] ** 2).sum(), x, v)
    np.testing.assert_allclose(
        product, gradient_by_following(key, shape, 2 * weights * v[key]), atol=1e-13
    )


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_every_kind_of_key(key):
    check_key((4, 3), key if len(key) != 1 else key[0])
    check_key((4, 3), key)
    check_key((4, 3, 2), key)


shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4)


@given(st.data(), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
def test_any_basic_key(data, shape):
    check_key(shape, data.draw(hnp.basic_indices(shape, allow_newaxis=True)))


@given(st.data(), shapes)
def test_any_key_of_integer_arrays(data, shape):
    check_key(shape, data.draw(hnp.integer_array_indices(shape)))


@given(st.data(), shapes)
def test_any_mask(data, shape):
    n_axes = data.draw(st.integers(1, len(shape)))
    check_key(shape, data.draw(hnp.arrays(bool, shape[:n_axes])))


@given(st.data(), shapes)
def test_any_mixture_of_slices_integers_new_axes_and_arrays(data, shape):
    length = data.draw(st.integers(1, 3))
    key = []
    for size in shape:
        index = st.integers(-size, size - 1)
        key.append(
            data.draw(
                st.one_of(
                    index,
                    st.slices(size),
                    hnp.arrays(np.int64, (length,), elements=index),
                    hnp.arrays(np.int64, (2, 1), elements=index),
                )
            )
        )
        if data.draw(st.integers(0, 4)) == 0:
            key.append(None)
    kept = data.draw(st.integers(0, len(key)))
    check_key(shape, (*key[:kept], ...) if data.draw(st.booleans()) else tuple(key[:kept]))


def test_repeated_places_add_up_and_other_dtypes_stay():
    t = cr.parameter(np.zeros(3, np.float32))
    t[np.array([1, 1, 1, 2])].sum().backward()
    np.testing.assert_array_equal(t.grad, np.array([0, 3, 1], np.float32), strict=True)


def test_scatter_add_is_the_rule_of_index_and_index_that_of_scatter_add():
    places = np.array([2, 0, 2])
    values = np.array([1.0, 2.0, 4.0])
    out, f_vjp = cr.vjp(lambda v: scatter_add(v, places, key=(Slot(0),), shape=(4,)), values)
    np.testing.assert_array_equal(out, [2, 0, 5, 0])
    np.testing.assert_array_equal(f_vjp(np.array([10.0, 20, 30, 40]))[0], [30, 10, 30])


# Keys that are tensors


def test_masks_from_comparisons_of_tensors():
    x = np.array([-1.0, 2.0, -3.0, 4.0])
    g = cr.grad(lambda x: (x[x > 0] ** 2).sum())(x)
    np.testing.assert_array_equal(g, [0, 4, 0, 8])


def test_indices_from_argmax_and_argsort_of_tensors():
    x = np.array([[3.0, 1.0], [0.0, 5.0]])
    rows = np.arange(2)
    g = cr.grad(lambda x: (x[rows, np.argmax(x, axis=1)] * np.array([1.0, 2.0])).sum())(x)
    np.testing.assert_array_equal(g, [[1, 0], [0, 2]])
    g = cr.grad(lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1)[:, 0].sum())(x)
    np.testing.assert_array_equal(g, [[0, 1], [1, 0]])
    np.testing.assert_array_equal(np.argsort(cr.parameter(x), axis=None), np.argsort(x, axis=None))


def test_an_array_indexed_by_a_tensor_of_integers():
    labels = (cr.parameter(np.array([0.2, 2.7])) // 1).astype(int)
    assert indexing.take(np.arange(3.0), labels).tolist() == [0.0, 2.0]
    assert np.arange(3.0)[labels].tolist() == [0.0, 2.0]


def test_a_changed_index_array_is_noticed():
    t = cr.parameter(np.arange(3.0))
    places = np.array([0, 1])
    out = t[places].sum()
    places[0] = 2
    with pytest.raises(ValueError, match="was changed"):
        out.backward()


# take, take_along_axis, sort


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("indices", [1, [0, 2, 2], np.array([[0], [-1]]), np.zeros((2, 0), int)])
def test_take(axis, indices):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(3, 3))
    out, f_vjp = cr.vjp(lambda x: np.take(x, indices, axis), x)
    np.testing.assert_array_equal(out, np.asarray(np.take(x, indices, axis)), strict=True)
    np.testing.assert_array_equal(cr.parameter(x).take(indices, axis=axis).value, out)
    weights = rng.normal(size=out.shape)
    places = np.take(np.arange(9).reshape(3, 3), indices, axis)
    expected = np.bincount(np.ravel(places), np.ravel(weights), minlength=9).reshape(3, 3)
    np.testing.assert_allclose(f_vjp(weights)[0], expected, rtol=1e-14)


def test_take_reads_truth_values_as_numbers_like_numpy():
    x = np.array([10.0, 20.0, 30.0])
    mask = np.array([True, False, True])
    np.testing.assert_array_equal(np.take(cr.parameter(x), mask).value, np.take(x, mask))


@pytest.mark.parametrize(
    ("shape", "indices", "axis"),
    [
        ((2, 3), [[2, 2, 0, 1], [1, 1, 1, -1]], 1),
        ((2, 3), [[1, 0, 1]], 0),
        ((2, 3), [[1, 1]], -1),
        ((2, 1), [[0, 0], [0, 0]], 1),
        ((2, 3), [5, 5, 0], None),
        ((2, 2, 2), np.zeros((2, 1, 2), int), 1),
    ],
)
def test_take_along_axis(shape, indices, axis):
    rng = np.random.default_rng(2)
    x, indices = rng.normal(size=shape), np.array(indices)
    out, f_vjp = cr.vjp(lambda x: np.take_along_axis(x, indices, axis), x)
    np.testing.assert_array_equal(out, np.take_along_axis(x, indices, axis), strict=True)
    weights = rng.normal(size=out.shape)
    places = np.take_along_axis(np.arange(x.size).reshape(shape), indices, axis)
    expected = np.bincount(places.ravel(), weights.ravel(), minlength=x.size).reshape(shape)
    np.testing.assert_allclose(f_vjp(weights)[0], expected, rtol=1e-14)
    v = rng.normal(size=shape)
    product = cr.hvp(lambda x: (np.take_along_axis(x, indices, axis) ** 2).sum(), x, v)
    counts = np.bincount(places.ravel(), minlength=x.size).reshape(shape)
    np.testing.assert_allclose(product, 2 * counts * v, rtol=1e-14)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_sort_sends_each_cotangent_to_where_its_element_came_from(axis):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3, 4))
    out, f_vjp = cr.vjp(lambda x: np.sort(x, axis), x)
    np.testing.assert_array_equal(out, np.sort(x, axis), strict=True)
    weights = rng.normal(size=out.shape)
    g = f_vjp(weights)[0]
    # sorted along with its element, each cotangent is back in its place
    order = np.argsort(x, axis)
    np.testing.assert_array_equal(np.take_along_axis(g, order, axis), weights)


def test_equal_elements_are_sorted_in_their_order():
    g = cr.grad(lambda x: (np.sort(x) * np.arange(4.0)).sum())(np.array([1.0, 1.0, 0.0, 1.0]))
    np.testing.assert_array_equal(g, [1, 2, 0, 3])


# Mistakes


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t[3], IndexError, "out of bounds"),
        (lambda t: t[0, 0], IndexError, "too many indices"),
        (lambda t: t[1.5], IndexError, "integer"),
        (lambda t: t[np.array([True, False])], IndexError, "boolean index"),
        (lambda t: t["a"], IndexError, "integer"),
        (lambda t: np.take(t, 5, mode="clip"), ValueError, "mode='clip'.*np.clip"),
        (lambda t: t.__setitem__(0, 1.0), TypeError, "does not change in place"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(cr.parameter(np.ones(3)))


def test_slices_take_numpys_integers_and_nothing_else():
    t = cr.parameter(np.arange(3.0))
    assert t[np.int64(1) :].value.tolist() == [1.0, 2.0]
    with pytest.raises(TypeError, match="integer"):
        t[:1.5]


def test_a_key_keeps_its_static_part_apart_from_its_index_arrays():
    seen = []

    class Spy(cr.Tensor):
        __slots__ = ()

        def apply(self, primitive, args, params):
            seen.append((primitive.name, len(args), params))
            return super().apply(primitive, args, params)

    indexing.getitem(Spy(np.ones((2, 3, 4))), (np.int32(1), [0, 1], slice(None, np.int64(2))))
    ((name, n_args, params),) = seen
    assert (name, n_args, params) == ("index", 2, {"key": (1, Slot(0), slice(None, 2, None))})
