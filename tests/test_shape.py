"""Rearranging, joining and cutting: values against NumPy, gradients by following each element."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.primitives import shape as ours
from chainrule.primitives.primitive import PRIMITIVES
from chainrule.tensor import Tensor

REARRANGEMENTS = {
    "reshape": ((2, 6), lambda x: np.reshape(x, (3, -1))),
    "reshape to a number": ((1, 1), lambda x: np.reshape(x, ())),
    "reshape method": ((2, 6), lambda x: x.reshape(4, 3)),
    "reshape keyword": ((2, 6), lambda x: np.reshape(x, shape=12)),
    "ravel": ((2, 3), np.ravel),
    "flatten method": ((2, 3), lambda x: x.flatten()),
    "transpose": ((2, 3, 4), np.transpose),
    "transpose axes": ((2, 3, 4), lambda x: np.transpose(x, (1, -1, 0))),
    "transpose method": ((2, 3, 4), lambda x: x.transpose(2, 0, 1)),
    "T": ((2, 3), lambda x: x.T),
    "mT": ((2, 3, 4), lambda x: x.mT),
    "matrix_transpose": ((2, 3, 4), np.matrix_transpose),
    "linalg.matrix_transpose": ((2, 3, 4), np.linalg.matrix_transpose),
    "swapaxes": ((2, 3, 4), lambda x: np.swapaxes(x, 0, -1)),
    "moveaxis": ((2, 3, 4), lambda x: np.moveaxis(x, 0, -1)),
    "moveaxis many": ((2, 3, 4, 5), lambda x: np.moveaxis(x, (0, -1), (2, 0))),
    "squeeze": ((1, 3, 1), np.squeeze),
    "squeeze axis": ((1, 3, 1), lambda x: np.squeeze(x, -1)),
    "expand_dims": ((2, 3), lambda x: np.expand_dims(x, 1)),
    "expand_dims many": ((2, 3), lambda x: np.expand_dims(x, (0, -1))),
    "broadcast_to": ((3, 1), lambda x: np.broadcast_to(x, (2, 3, 4))),
    "broadcast_arrays": ((3, 1), lambda x: np.broadcast_arrays(x, np.zeros((2, 1, 4)))[0]),
    "atleast_1d": ((), np.atleast_1d),
    "atleast_2d": ((3,), np.atleast_2d),
    "atleast_2d of many": ((3,), lambda x: np.atleast_2d(np.zeros(2), x)[1]),
    "atleast_3d number": ((), np.atleast_3d),
    "atleast_3d vector": ((3,), np.atleast_3d),
    "atleast_3d matrix": ((2, 3), np.atleast_3d),
    "copy": ((2, 3), np.copy),
    "concatenate": ((2, 3), lambda x: np.concatenate([x, x[:1], x])),
    "concatenate axis": ((2, 3), lambda x: np.concatenate((x[:, 1:], x), axis=-1)),
    "concatenate flat": ((2, 3), lambda x: np.concatenate([x, x[0]], axis=None)),
    "concat": ((2, 3), lambda x: np.concat([x, x])),
    "stack": ((2, 3), lambda x: np.stack([x, x])),
    "stack axis": ((2, 3), lambda x: np.stack([x[0], x[1], x[0]], axis=-1)),
    "stack of an array": ((2, 3), lambda x: np.stack(x)),
    "vstack": ((2, 3), lambda x: np.vstack([x, x[1]])),
    "hstack": ((2, 3), lambda x: np.hstack([x, x[:, :1]])),
    "hstack vectors": ((3,), lambda x: np.hstack([x, x[:2]])),
    "dstack": ((2, 3), lambda x: np.dstack([x, x])),
    "column_stack": ((3,), lambda x: np.column_stack([x, x[::-1]])),
    "split": ((4, 3), lambda x: np.split(x, 2)[1]),
    "split at": ((4, 3), lambda x: np.split(x, [1, 2], axis=1)[2]),
    "array_split": ((5,), lambda x: np.concatenate(np.array_split(x, 3)[::-1])),
    "vsplit": ((4, 3), lambda x: np.vsplit(x, 2)[0]),
    "hsplit": ((2, 4), lambda x: np.hsplit(x, 2)[1]),
    "hsplit vector": ((4,), lambda x: np.hsplit(x, 2)[1]),
    "dsplit": ((1, 2, 4), lambda x: np.dsplit(x, [3])[1]),
    "unstack": ((2, 3), lambda x: np.unstack(x, axis=1)[2]),
    "flip": ((2, 3), np.flip),
    "flip axes": ((2, 3, 2), lambda x: np.flip(x, (0, -1))),
    "fliplr": ((2, 3), np.fliplr),
    "flipud": ((2, 3), np.flipud),
    "roll": ((2, 3), lambda x: np.roll(x, 2)),
    "roll axis": ((2, 3), lambda x: np.roll(x, -1, axis=1)),
    "roll axes": ((2, 3), lambda x: np.roll(x, (1, -2), axis=(0, 1))),
    "tile": ((2, 3), lambda x: np.tile(x, 2)),
    "tile more axes": ((3,), lambda x: np.tile(x, (2, 1, 2))),
    "tile fewer axes": ((2, 1, 3), lambda x: np.tile(x, (2, 1))),
    "repeat": ((2, 3), lambda x: np.repeat(x, 2)),
    "repeat axis": ((2, 3), lambda x: np.repeat(x, 3, axis=-1)),
    "repeat each": ((2, 3), lambda x: np.repeat(x, [2, 0, 1], axis=1)),
    "repeat method": ((2, 3), lambda x: x.repeat(2, axis=0)),
    "reshape of nothing": ((0, 3), lambda x: np.reshape(x, (3, -1))),
    "tile of nothing": ((0, 3), lambda x: np.tile(x, (2, 2))),
    "repeat to nothing": ((2, 3), lambda x: np.repeat(x, 0, axis=1)),
}


def by_following(f, shape, weights):
    """The gradient of sum(weights * f(x)): run on the numbers 0, 1, 2, ... in the place of its
    elements, f itself says where each of them went."""
    size = int(np.prod(shape))
    places = np.asarray(f(np.arange(size).reshape(shape)))
    return np.bincount(places.ravel(), weights.ravel(), minlength=size).reshape(shape)


@pytest.mark.parametrize(("shape", "f"), REARRANGEMENTS.values(), ids=REARRANGEMENTS)
def test_rearrangements_give_numpys_values_and_send_each_cotangent_home(shape, f):
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    expected = f(x)
    out, f_vjp = cr.vjp(f, x)
    np.testing.assert_array_equal(out, expected, strict=True)
    weights = rng.normal(size=expected.shape)
    np.testing.assert_allclose(f_vjp(weights)[0], by_following(f, shape, weights), rtol=1e-14)
    # float32 stays float32, forward and backward
    out, f_vjp = cr.vjp(f, x.astype(np.float32))
    assert out.dtype == np.float32
    assert f_vjp(weights.astype(np.float32))[0].dtype == np.float32


@pytest.mark.parametrize(("shape", "f"), REARRANGEMENTS.values(), ids=REARRANGEMENTS)
def test_second_derivatives_of_rearrangements(shape, f):
    rng = np.random.default_rng(1)
    x, v = rng.normal(size=shape), rng.normal(size=shape)
    weights = rng.normal(size=f(x).shape)
    product = cr.hvp(lambda x: (weights * f(x) ** 2).sum(), x, v)
    np.testing.assert_allclose(product, by_following(f, shape, 2 * weights * f(v)), rtol=1e-12)


def test_every_primitive_here_is_among_the_rearrangements_or_has_a_test_of_its_own():
    seen = set()

    class Spy(Tensor):
        __slots__ = ()

        def apply(self, primitive, args, params):
            seen.add(primitive.name)
            return super().apply(primitive, args, params)

    for shape, f in REARRANGEMENTS.values():
        f(Spy(np.zeros(shape)))
    own_test = {"pad", "astype", "to_discrete"}
    here = {p.name for p in PRIMITIVES.values() if p.evaluate.__module__ == ours.__name__}
    assert here - seen == own_test


# Joining different arrays


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concatenate_gives_each_array_its_own_part(axis):
    rng = np.random.default_rng(2)
    parts = [rng.normal(size=(2, 3)), rng.normal(size=(2, 3)), rng.normal(size=(2, 3))]
    out, f_vjp = cr.vjp(lambda *parts: np.concatenate(parts, axis=axis), *parts)
    weights = rng.normal(size=out.shape)
    for got, expected in zip(f_vjp(weights), np.split(weights, 3, axis=axis), strict=True):
        np.testing.assert_array_equal(got, expected, strict=True)


def test_joining_mixes_tensors_and_arrays_and_keeps_the_tensors_dtype():
    t = cr.parameter(np.array([1.0, 2.0], np.float32))
    a = np.array([3.0, 4.0, 5.0])
    joined = np.concatenate([a, t, [6.0]])
    assert joined.dtype == np.float64
    (joined * np.arange(6.0)).sum().backward()
    np.testing.assert_array_equal(t.grad, np.array([3.0, 4.0], np.float32), strict=True)
    np.stack([t, np.zeros(2, np.float32)])[0].sum().backward()
    np.testing.assert_array_equal(t.grad, np.ones(2, np.float32), strict=True)
    np.vstack([a[:2], t])[1, 0].backward()
    np.testing.assert_array_equal(t.grad, np.array([1, 0], np.float32), strict=True)


def test_numbers_are_stacked():
    g = cr.grad(lambda x, y: (np.stack([x, 7.0, y]) * np.array([1.0, 2, 3])).sum(), (0, 1))
    assert g(2.0, 3.0) == (1.0, 3.0)


# Padding


@given(
    before=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    after=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    constant=st.floats(-2, 2),
)
def test_pad_surrounds_by_the_constant_and_drops_the_borders_cotangent(before, after, constant):
    width = tuple(zip(before, after, strict=True))
    x = np.random.default_rng(3).normal(size=(2, 3))
    out, f_vjp = cr.vjp(lambda x: np.pad(x, width, constant_values=constant), x)
    np.testing.assert_array_equal(out, np.pad(x, width, constant_values=constant), strict=True)
    weights = np.random.default_rng(4).normal(size=out.shape)
    rows, columns = (slice(b, b + n) for b, n in zip(before, x.shape, strict=True))
    np.testing.assert_array_equal(f_vjp(weights)[0], weights[rows, columns], strict=True)


@pytest.mark.parametrize("width", [1, (1, 2), ((1, 2),), ((1, 0), (0, 2)), [[2], [1]]])
def test_pad_takes_every_form_of_width_that_numpy_takes(width):
    x = np.ones((2, 3))
    np.testing.assert_array_equal(np.pad(cr.parameter(x), width).value, np.pad(x, width))
    np.testing.assert_array_equal(cr.grad(lambda x: (np.pad(x, width) * 2).sum())(x), 2 * x)


def test_pad_refuses_the_modes_without_a_rule():
    with pytest.raises(ValueError, match="mode='reflect'.*np.concatenate"):
        np.pad(cr.parameter(np.ones(3)), 1, mode="reflect")


# Kinds of numbers


def test_astype_keeps_the_gradient_between_precisions():
    x = np.array([0.5, 1.5], np.float32)
    out, f_vjp = cr.vjp(lambda x: x.astype(np.float64) * 2, x)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(f_vjp(np.ones(2))[0], np.full(2, 2, np.float32), strict=True)


@pytest.mark.parametrize("dtype", [np.int64, bool, "uint8"])
def test_astype_to_whole_numbers_is_a_constant_of_the_graph(dtype):
    t = cr.parameter(np.array([0.0, 1.5]))
    whole = t.astype(dtype)
    assert not whole.flags.writeable
    np.testing.assert_array_equal(whole, np.array([0.0, 1.5]).astype(dtype), strict=True)


def test_a_copy_holds_the_numbers_of_its_own_time():
    t = cr.parameter(np.ones(2))
    kept = np.copy(t)
    t.value = np.zeros(2)
    np.testing.assert_array_equal(kept.value, np.ones(2))


# More shapes than one can list


@st.composite
def shapes_and_axes(draw):
    shape = tuple(draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)))
    return shape, draw(st.permutations(range(len(shape)))), draw(st.integers(-2, 2))


@given(shapes_and_axes())
def test_any_transposition_roll_tile_and_repeat(drawn):
    shape, order, k = drawn
    order = tuple(axis - len(shape) if k < 0 else axis for axis in order)
    rng = np.random.default_rng(5)
    for f in (
        lambda x: np.transpose(x, order),
        lambda x: np.moveaxis(x, range(x.ndim), order),
        lambda x: np.roll(x, k, order[0]),
        lambda x: np.tile(x, [abs(k)] * len(shape)),
        lambda x: np.repeat(x, abs(k), order[0]),
        lambda x: np.flip(x, order[: abs(k)]),
        lambda x: np.expand_dims(x, order[0]),
    ):
        x = rng.normal(size=shape)
        out, f_vjp = cr.vjp(f, x)
        np.testing.assert_array_equal(out, f(x), strict=True)
        weights = rng.normal(size=out.shape)
        np.testing.assert_allclose(f_vjp(weights)[0], by_following(f, shape, weights), atol=1e-14)


# Mistakes


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda t: np.squeeze(t, 0),
            ValueError,
            r"axis 0 .* shape \(2, 3\) has size 2",
        ),
        (lambda t: np.split(t, 2, axis=1), ValueError, r"size 3, which 2 .*np.array_split"),
        (lambda t: np.array_split(t, 0), ValueError, "1 section or more, not 0"),
        (lambda t: np.moveaxis(t, (0, 1), 0), ValueError, "2 source axes and 1 destinations"),
        (lambda t: np.swapaxes(t, 0, 2), np.exceptions.AxisError, "axis 2 is out of bounds"),
        (lambda t: np.reshape(t, (4, 2)), ValueError, "cannot reshape"),
        (lambda t: np.reshape(t, (3, 2), "A"), TypeError, r"np.reshape .* takes no order=.*'C'"),
        (lambda t: np.ravel(t, order="K"), TypeError, r"np.ravel on tensors takes no order="),
        (lambda t: np.concatenate([t, np.ones(3)]), ValueError, "same number of dimensions"),
        (lambda t: np.stack([t, np.ones((3, 2))]), ValueError, "same shape"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(cr.parameter(np.ones((2, 3))))
