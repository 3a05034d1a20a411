"""The reductions against other people's numbers: NumPy, SciPy, autograd, and products by hand."""

from __future__ import annotations

import inspect
import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import chainrule as cr
from chainrule.gradcheck.cases import reduce as reduce_cases
from chainrule.primitives import reduce
from chainrule.primitives.primitive import PRIMITIVES, Primitive
from chainrule.primitives.reduce import logsumexp, mean

CASES = reduce_cases.cases(np.random.default_rng(0))
AXES = [None, 0, 1, -1, (0, 2), (-1, 0), (0, 1, 2), ()]
NAN, INF = math.nan, math.inf


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def gradient(f, x, g=None):
    out, f_vjp = cr.vjp(f, np.asarray(x))
    return f_vjp(np.ones(out.shape, out.dtype) if g is None else g)[0]


# Against references


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "prod", "max", "min"])
def test_values_are_numpys_and_gradients_autograds(name, axis, keepdims):
    x, params = draw(2, 3, 4), {"axis": axis, "keepdims": keepdims}
    if axis == () and name == "std":
        return  # of one element: no spread, where autograd divides by zero
    out, f_vjp = cr.vjp(lambda x: getattr(np, name)(x, **params), x)
    np.testing.assert_array_equal(out, getattr(np, name)(x, **params))
    g = draw(*out.shape, seed=1)
    if axis == ():  # autograd takes it for all axes; each element is a reduction of its own
        expected = np.zeros_like(x) if name == "var" else g
    else:
        expected = autograd.grad(lambda x: anp.sum(g * getattr(anp, name)(x, **params)))(x)
    np.testing.assert_allclose(f_vjp(g)[0], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("ddof", [0, 1, 1.5])
def test_ddof(ddof):
    x = draw(5, 3)
    np.testing.assert_allclose(
        gradient(lambda x: np.var(x, axis=0, ddof=ddof), x),
        2 * (x - x.mean(axis=0)) / (5 - ddof),
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        gradient(lambda x: np.std(x, ddof=ddof), x),
        (x - x.mean()) / (np.std(x, ddof=ddof) * (15 - ddof)),
        rtol=1e-13,
    )


@pytest.mark.parametrize("axis", AXES)
def test_logsumexp_is_scipys(axis):
    x = draw(2, 3, 4)
    for keepdims in (False, True):
        found = logsumexp(x, axis, keepdims=keepdims)
        expected = scipy.special.logsumexp(x, axis=axis, keepdims=keepdims)
        np.testing.assert_allclose(found, expected, rtol=1e-14, atol=1e-15)
    shares = gradient(lambda x: logsumexp(x, axis), x)
    np.testing.assert_allclose(shares, scipy.special.softmax(x, axis=axis), rtol=1e-13)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("f", [np.cumsum, np.cumprod])
def test_running_sums_and_products_by_their_jacobian(f, axis):
    x = draw(3, 4)
    x[1, 2] = 0
    out, f_vjp = cr.vjp(lambda x: f(x, axis), x)
    np.testing.assert_array_equal(out, f(x, axis))
    g = draw(*out.shape, seed=1)
    expected = np.zeros_like(x)
    for place in np.ndindex(x.shape):  # both are linear in each element: a difference of 1 is exact
        up = x.copy()
        up[place] += 1
        expected[place] = np.sum(g * (f(up, axis) - out))
    np.testing.assert_allclose(f_vjp(g)[0], expected, rtol=1e-11, atol=1e-13)


def test_second_derivatives():
    x = np.array([1.0, -2.0, 0.5])
    n = len(x)
    np.testing.assert_allclose(cr.hessian(np.var)(x), 2 / n * (np.eye(n) - 1 / n), atol=1e-15)
    centred, s = x - x.mean(), x.std()
    expected = (np.eye(n) - 1 / n) / (n * s) - np.outer(centred, centred) / (n**2 * s**3)
    np.testing.assert_allclose(cr.hessian(np.std)(x), expected, rtol=1e-13)
    p = scipy.special.softmax(x)
    expected = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(cr.hessian(logsumexp)(x), expected, rtol=1e-13, atol=1e-16)
    np.testing.assert_array_equal(cr.hessian(np.max)(x), np.zeros((n, n)))
    twice = cr.grad(lambda x: cr.grad(lambda x: np.mean(x**3))(x).sum())
    np.testing.assert_allclose(twice(x), 2 * x, rtol=1e-15)


# Zeros in products


def products_without(x):
    """The product of the other elements, and of the others of each two, written out."""
    n = len(x)
    one = [math.prod(x[k] for k in range(n) if k != i) for i in range(n)]
    two = [
        [math.prod(x[k] for k in range(n) if k not in (i, j)) * (i != j) for j in range(n)]
        for i in range(n)
    ]
    return np.array(one), np.array(two)


ROWS = hnp.arrays(np.float64, st.integers(1, 7), elements=st.sampled_from([-2.0, -0.5, 0, 1, 3]))


@given(ROWS)
def test_prod_with_zeros(x):
    one, two = products_without(x)
    np.testing.assert_array_equal(gradient(np.prod, x), one)
    np.testing.assert_array_equal(cr.hessian(np.prod)(x), two)


@given(ROWS)
def test_cumprod_with_zeros(x):
    weights = np.arange(1.0, len(x) + 1)
    one, two = np.zeros(len(x)), np.zeros((len(x), len(x)))
    for k in range(len(x)):
        first, second = products_without(x[: k + 1])
        one[: k + 1] += weights[k] * first
        two[: k + 1, : k + 1] += weights[k] * second
    f = lambda x: (weights * np.cumprod(x)).sum()
    np.testing.assert_allclose(cr.grad(f)(x), one, rtol=1e-14)
    np.testing.assert_allclose(cr.hessian(f)(x), two, rtol=1e-14)


def test_prod_over_several_axes_with_zeros():
    x = draw(2, 3, 4)
    x[0, 1, 2] = x[1, 0, 0] = x[1, 2, 3] = 0
    expected = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up = x.copy()
        up[place] += 1
        expected[place] = np.sum(up.prod(axis=(2, 0)) - x.prod(axis=(2, 0)))
    found = gradient(lambda x: np.prod(x, axis=(2, 0)), x)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


# Ties


def test_elements_that_tie_share_evenly():
    x = np.array([[3.0, 1.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_allclose(
        gradient(lambda x: np.max(x, axis=1), x), [[1 / 2, 0, 1 / 2], [1 / 3, 1 / 3, 1 / 3]]
    )
    np.testing.assert_array_equal(gradient(np.max, x), [[0.5, 0, 0.5], [0, 0, 0]])
    np.testing.assert_array_equal(
        gradient(lambda x: np.min(x, axis=0, keepdims=True), x), [[0, 1, 0], [1, 0, 1]]
    )


@given(hnp.arrays(np.float64, (3, 4), elements=st.integers(0, 3).map(float)), st.sampled_from(AXES))
def test_the_shares_of_an_extreme_sum_to_one(x, axis):
    if axis is not None and not isinstance(axis, int):
        axis = tuple({a % 2 for a in axis})
    for f in (np.max, np.min):
        shares = gradient(lambda x, f=f: f(x, axis=axis), x)
        np.testing.assert_allclose(shares.sum(axis=axis), np.ones(f(x, axis=axis).shape), 1e-14)
        assert (shares[x != f(x, axis=axis, keepdims=True)] == 0).all()


# Extremes


def test_logsumexp_of_large_and_infinite_elements():
    x = np.array([[1000.0, 1000.0], [-1000.0, -1000.0], [-INF, -INF], [INF, 0.0], [-INF, 3.0]])
    found = logsumexp(x, axis=1)
    np.testing.assert_allclose(found, [1000 + math.log(2), -1000 + math.log(2), -INF, INF, 3])
    shares = gradient(lambda x: logsumexp(x, 1), x)
    np.testing.assert_allclose(shares, [[0.5, 0.5], [0.5, 0.5], [0, 0], [1, 0], [0, 1]], 1e-12)
    assert np.isnan(logsumexp(np.array([NAN, 1.0])))
    assert logsumexp(np.array([3, 3])) == 3 + math.log(2)


@given(hnp.arrays(np.float64, 4, elements=st.floats(-600, 600)), st.floats(-100, 100))
def test_logsumexp_moves_with_its_elements(x, shift):
    assert logsumexp(x + shift) == pytest.approx(logsumexp(x) + shift, rel=1e-12, abs=1e-12)
    assert gradient(logsumexp, x).sum() == pytest.approx(1, rel=1e-11)


def test_the_gradient_of_std_is_zero_where_all_are_equal():
    np.testing.assert_array_equal(gradient(np.std, np.full(4, 2.0)), np.zeros(4))


@pytest.mark.parametrize("f", [np.sum, np.mean, np.var, np.std, np.prod, np.max, np.min, logsumexp])
def test_nan_passes_through(f):
    assert np.isnan(f(cr.parameter([[NAN, 1.0], [2.0, 3.0]]), axis=1)).tolist() == [
        True,
        False,
    ]


def test_reductions_over_nothing():
    empty = np.zeros((0, 3))
    np.testing.assert_array_equal(gradient(np.sum, empty), empty)
    np.testing.assert_array_equal(gradient(lambda x: np.prod(x, axis=0), empty), empty)
    np.testing.assert_array_equal(gradient(np.cumprod, empty), empty)
    with pytest.raises(ValueError, match="no identity"):
        np.max(cr.parameter(empty))
    with np.errstate(invalid="ignore"):
        assert np.isnan(np.mean(cr.parameter(empty)).value)


def test_var_of_too_few_elements_is_numpys():
    with pytest.warns(RuntimeWarning), np.errstate(all="ignore"):
        assert np.isnan(gradient(lambda x: np.var(x, ddof=1), np.array([2.0]))).all()


# dtype and NumPy's protocols


@pytest.mark.parametrize("name", CASES)
def test_float32_stays_float32_in_value_and_rule(name):
    operation = PRIMITIVES[name]
    for case in CASES[name]:
        if case.args[0].dtype != np.float64:
            continue
        x = case.args[0].astype(np.float32)
        params = {**operation.defaults, **case.params}
        out = operation(x, **params)
        rule = operation.rule(0)
        if rule is not None:
            assert out.dtype == np.float32
            g = np.ones(out.shape, np.float32)
            assert rule(g, np.asarray(out), x, **params).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_mean_is_numpys_to_the_last_bit(dtype, axis):
    x = draw(100, 37).astype(dtype)
    np.testing.assert_array_equal(mean(x, axis), np.mean(x, axis))
    assert mean(x, axis).dtype == dtype
    assert mean(np.array([1, 2])) == 1.5
    assert mean(np.array([True, False])) == 0.5


def test_numpys_functions_and_methods_work_on_tensors():
    x = draw(2, 3, 4)
    t = cr.parameter(x)
    for found, expected in [
        (t.sum(axis=0), x.sum(axis=0)),
        (t.mean(), x.mean()),
        (t.mean(-1, keepdims=True), x.mean(-1, keepdims=True)),
        (np.sum(t, (0, 1)), np.sum(x, (0, 1))),
        (np.max(t, axis=(0, 1), keepdims=True), np.max(x, axis=(0, 1), keepdims=True)),
        (np.amax(t, 1), np.amax(x, 1)),
        (np.amin(t), np.amin(x)),
        (t.max(0), x.max(0)),
        (t.min(), x.min()),
        (t.var(ddof=1), x.var(ddof=1)),
        (t.std(1), x.std(1)),
        (t.prod(2), x.prod(2)),
        (t.cumsum(), x.cumsum()),
        (t.cumprod(1), x.cumprod(1)),
    ]:
        assert isinstance(found, cr.Tensor)
        assert found.node is not None
        np.testing.assert_array_equal(found.value, expected)


def test_indices_and_truth_values_are_constants():
    x = draw(2, 3)
    t = cr.parameter(x)
    for found, expected in [
        (np.argmax(t, axis=1), np.argmax(x, axis=1)),
        (t.argmin(keepdims=True), np.argmin(x, keepdims=True)),
        (np.all(t > 0, axis=0), np.all(x > 0, axis=0)),
        ((t > 0).any(), (x > 0).any()),
    ]:
        assert type(found) is type(expected)
        np.testing.assert_array_equal(found, expected, strict=True)


def test_a_wrong_axis_raises_numpys_error():
    t = cr.parameter(draw(2, 3))
    with pytest.raises(np.exceptions.AxisError):
        t.sum(axis=2)
    with pytest.raises(ValueError, match="duplicate"):
        t.max(axis=(0, 0))


def test_every_primitive_has_cases_and_is_exported():
    own = {n: v for n, v in vars(reduce).items() if not n.startswith("_")}
    primitives = {
        n: v
        for n, v in own.items()
        if isinstance(v, Primitive) and v.evaluate.__module__ == reduce.__name__
    }
    assert {p.name for p in primitives.values()} == set(CASES)
    functions = {
        n for n, v in own.items() if inspect.isfunction(v) and v.__module__ == reduce.__name__
    }
    assert {*primitives, *functions, "Axis"} == set(reduce.__all__)
