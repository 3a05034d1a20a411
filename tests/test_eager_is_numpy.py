"""Eager functions beside NumPy's, on operands of every kind: equal values, shapes and dtypes."""

from __future__ import annotations

import operator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.primitives.dispatch import NUMPY_FUNCTIONS
from chainrule.primitives.primitive import PRIMITIVES

UFUNCS = sorted(
    {f for f in NUMPY_FUNCTIONS if isinstance(f, np.ufunc) and f.signature is None and f.nout == 1},
    key=lambda f: f.__name__,
)
UNARY = {f.__name__: f for f in UFUNCS if f.nin == 1}
UNARY |= {
    f"np.{f.__name__}": f
    for f in (
        np.round, np.ravel, np.copy, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.transpose,
        np.squeeze, np.flip, np.argsort, np.zeros_like, np.ones_like, np.linalg.norm, np.sort,
    )
}  # fmt: skip
UNARY |= {
    "negative": operator.neg,
    "positive": operator.pos,
    "abs": abs,
    "clip": lambda x: np.clip(x, -1, 1),
    "clip above": lambda x: np.clip(x, None, np.float32(0.5)),
    "reshape": lambda x: np.reshape(x, (-1,)),
    "broadcast_to": lambda x: np.broadcast_to(x, (2, *np.shape(x))),
    "expand_dims": lambda x: np.expand_dims(x, 0),
    "repeat": lambda x: np.repeat(x, 2),
    "tile": lambda x: np.tile(x, 2),
    "roll": lambda x: np.roll(x, 1),
    "stack": lambda x: np.stack([x, x]),
    "pad": lambda x: np.pad(x, 1),
    "where": lambda x: np.where(x > 0, x, 0),
    "astype": lambda x: np.float16(1) * np.astype(x, "f4"),
    "square": lambda x: x**2,
    "root": lambda x: abs(x) ** 0.5,
    "quotient": lambda x: 1 / (abs(x) + 1),
    "element": lambda x: np.ravel(x)[0],
    "outer": lambda x: np.outer(x, [1, 2]),
    "dot": lambda x: np.dot(x, 3),
}
BINARY = {f.__name__: f for f in UFUNCS if f.nin == 2}
BINARY |= {
    f.__name__: f
    for f in (
        operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod,
        operator.pow, operator.lt, operator.eq, operator.ne, operator.ge, np.outer, np.dot,
        np.inner, np.isclose, np.broadcast_arrays,
    )
}  # fmt: skip
BINARY |= {
    "where": lambda x, y: np.where(x > y, x, y),
    "clip": lambda x, y: np.clip(x, y, 2),
    "stack": lambda x, y: np.stack(np.broadcast_arrays(x, y)),
}
REDUCTIONS = {
    f.__name__: f
    for f in (
        np.sum, np.mean, np.var, np.std, np.prod, np.max, np.min, np.argmax, np.argmin, np.all,
        np.any, np.cumsum, np.cumprod,
    )
}  # fmt: skip
FLOATS = (np.float16, np.float32, np.float64)
DTYPES = (*FLOATS, np.int8, np.int64, np.uint8, np.bool_)


@st.composite
def numbers(draw, dtype, shape):
    kind = np.dtype(dtype).kind
    elements = {
        "f": st.sampled_from([-2.0, -0.5, 0.0, -0.0, 0.3, 1.0, 1.7, 3.0, np.inf, np.nan]),
        "i": st.integers(-3, 3),
        "u": st.integers(0, 3),
        "b": st.booleans(),
    }[kind]
    return draw(hnp.arrays(dtype, shape, elements=elements))


SHAPES = st.sampled_from([(), (1,), (3,), (2, 3), (2, 1), (0,)])


@st.composite
def tensors(draw, shapes=SHAPES):
    return draw(numbers(draw(st.sampled_from(FLOATS)), draw(shapes)))


@st.composite
def operands(draw):
    """Arrays of all dtypes, numbers of NumPy's and of Python's."""
    array = draw(numbers(draw(st.sampled_from(DTYPES)), draw(SHAPES)))
    if array.shape:
        return array
    return draw(st.sampled_from([array, array[()], array.item()]))


def plain(value):
    if isinstance(value, list | tuple):
        return tuple(map(plain, value))
    return value.detach() if isinstance(value, cr.Tensor) else value


def check(f, tensors, operands):
    """`f` of tensors and of what they hold: the same, errors included; and gradients that fit."""
    with np.errstate(all="ignore"):
        try:
            expected = f(*operands)
        except (ValueError, TypeError, IndexError, OverflowError):
            with pytest.raises((ValueError, TypeError, IndexError, OverflowError)):
                f(*tensors)
            return
        found = f(*tensors)
        expected, values = plain(expected), plain(found)
        if not isinstance(expected, tuple):
            expected, values, found = (expected,), (values,), (found,)
        assert len(values) == len(expected)
        for value, wanted in zip(values, expected, strict=True):
            wanted = np.asarray(wanted)
            assert np.shape(value) == wanted.shape
            assert value.dtype == wanted.dtype
            if wanted.dtype.kind == "f":
                tolerance = 8 * np.finfo(wanted.dtype).eps  # of sums in another order
                np.testing.assert_allclose(
                    value, wanted, rtol=tolerance, atol=tolerance, equal_nan=True
                )
            else:
                np.testing.assert_array_equal(value, wanted)
        for result in found:
            if isinstance(result, cr.Tensor) and result.node is not None:
                result.sum().backward()
    for tensor, operand in zip(tensors, operands, strict=True):
        if isinstance(tensor, cr.Tensor) and tensor.grad is not None:
            assert tensor.grad.shape == operand.shape
            assert tensor.grad.dtype == operand.dtype


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", UNARY)
@settings(max_examples=25, deadline=None)
@given(x=tensors())
def test_functions_of_one_array(name, x):
    check(UNARY[name], [cr.parameter(x)], [x])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", BINARY)
@settings(max_examples=40, deadline=None)
@given(x=tensors(), y=operands(), both=st.booleans(), turned=st.booleans())
def test_functions_of_two_arrays(name, x, y, both, turned):
    f = BINARY[name]
    if name in {"dot", "inner"}:  # NumPy's product with a number says 0 * inf = 0
        assume(np.isfinite(x).all() and np.isfinite(y).all())
    is_float = isinstance(y, np.ndarray) and y.dtype.kind == "f"
    pair = [cr.parameter(x), cr.parameter(y) if both and is_float else y]
    if turned:
        check(f, pair[::-1], [y, x])
    else:
        check(f, pair, [x, y])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", REDUCTIONS)
@settings(max_examples=40, deadline=None)
@given(
    x=tensors(st.sampled_from([(), (1,), (3,), (2, 3), (0, 2), (2, 1, 3)])),
    axis=st.sampled_from([None, 0, -1, 1, (0, 1), (), 5]),
    keepdims=st.booleans(),
)
def test_reductions(name, x, axis, keepdims):
    kwargs = {"axis": axis} | ({} if "cum" in name or not keepdims else {"keepdims": True})
    f = lambda x: REDUCTIONS[name](x, **kwargs)
    if name == "mean" and x.shape == () and axis is not None:
        return  # np.sum takes an axis of a number, np.mean does not; ours both do
    check(f, [cr.parameter(x)], [x])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(
    "name",
    sorted(name for name, p in PRIMITIVES.items() if p.elementwise and name != "stop_gradient"),
)
def test_elementwise_primitives_take_python_and_numpy_numbers(name):
    """By themselves, outside of any derivative: as for the same number in an array."""
    primitive = PRIMITIVES[name]
    params = {"order": 1} if name == "polygamma" else {}
    number = True if "bitwise" in name or name == "invert" else 0.25
    for value in (number, np.float32(number) if number is not True else np.True_):
        args = [value] * primitive.n_arrays
        expected = primitive(*map(np.asarray, args), **params)
        found = primitive(*args, **params)
        assert np.shape(found) == ()
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert np.asarray(found).dtype == expected.dtype


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float16_is_added_up_as_numpy_does(dtype):
    x = np.full(1000, 100, dtype)
    x[:500] = 102
    for f in (np.mean, np.var, np.std, lambda x: np.mean(x, keepdims=True)[0]):
        value, gradient = cr.value_and_grad(f)(x)
        assert value.dtype == gradient.dtype == dtype
        wanted = f(x.astype(np.float64))  # NumPy's own np.var of float16 overflows here
        np.testing.assert_allclose(value, wanted, rtol=2 * np.finfo(dtype).eps)
        reference = cr.grad(f)(x.astype(np.float64))
        np.testing.assert_allclose(gradient, reference, rtol=3e-3, atol=6e-8)
    large = np.full((70000,), 3, np.float16)
    assert cr.value_and_grad(np.mean)(large)[0] == 3
    assert cr.grad(np.mean)(large)[0] == np.float16(1 / 70000)


def test_the_deviation_of_equal_values_has_the_gradient_0():
    for x in (np.full(3, 0.1), np.full(7, 1e100), np.zeros(4), np.full((2, 3), 0.7, np.float32)):
        np.testing.assert_array_equal(cr.grad(np.std)(x), np.zeros_like(x))
        np.testing.assert_array_equal(cr.hessian(np.std)(x), np.zeros(x.shape + x.shape))
    rows = np.array([[0.1, 0.1, 0.1], [1.0, 2.0, 4.0]])
    for keepdims in (False, True):
        f = lambda x, k=keepdims: np.std(x, axis=1, keepdims=k).sum()
        gradient = cr.grad(f)(rows)
        np.testing.assert_array_equal(gradient[0], 0)
        np.testing.assert_allclose(gradient[1], cr.grad(np.std)(rows[1]))
    for norm in (np.linalg.norm, lambda x: np.hypot(*x), lambda x: np.linalg.norm(x, axis=0)):
        np.testing.assert_array_equal(cr.grad(norm)(np.zeros(2)), 0)
    np.testing.assert_array_equal(cr.grad(np.var)(np.ones(3)), 0)
