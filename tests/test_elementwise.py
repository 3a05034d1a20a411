"""The element-by-element primitives against other people's numbers: NumPy, SciPy, autograd."""

from __future__ import annotations

import inspect
import math

import autograd
import autograd.numpy as anp
import autograd.scipy.special as anp_special
import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.gradcheck.cases import activation as activation_cases
from chainrule.gradcheck.cases import elementwise as elementwise_cases
from chainrule.primitives import activation, elementwise
from chainrule.primitives.activation import (
    elu,
    erf,
    gelu,
    leaky_relu,
    relu,
    sigmoid,
    silu,
    softplus,
)
from chainrule.primitives.elementwise import exp_share
from chainrule.primitives.primitive import PRIMITIVES, Primitive

X = np.array([-2.3, -0.6, -0.05, 0.4, 1.7, 6.0])
POSITIVE = np.array([0.05, 0.4, 1.0, 2.5, 30.0])
INSIDE = np.array([-0.99, -0.3, 0.01, 0.8])

REAL = "square exp exp2 expm1 sin cos tan arctan sinh cosh tanh arcsinh absolute reciprocal"
UNARY = [
    *((name, X) for name in REAL.split()),
    *((name, POSITIVE) for name in "sqrt log log2 log10 log1p".split()),
    *((name, INSIDE) for name in "arcsin arccos arctanh".split()),
    ("arccosh", POSITIVE + 1.5),
]
BINARY = "add subtract multiply divide power remainder logaddexp arctan2 maximum minimum".split()
CONSTANTS = [name for name, p in PRIMITIVES.items() if not p.rules and p.variadic_rule is None]
NAN, INF = math.nan, math.inf


def derivative(f, x):
    """The derivative of an elementwise function, all elements at once."""
    _, f_vjp = cr.vjp(f, x if isinstance(x, cr.Tensor) else np.asarray(x))
    return f_vjp(np.ones(np.shape(x), x.dtype if hasattr(x, "dtype") else float))[0]


def both(f, x, y):
    """The gradients by both arguments of an elementwise function, each summed to its shape."""
    out, f_vjp = cr.vjp(f, np.asarray(x), np.asarray(y))
    return f_vjp(np.ones(out.shape))


def of_family(module):
    """The primitives of the table that are defined in a file."""
    return {p.name: p for p in vars(module).values() if isinstance(p, Primitive)}


# Reference gradients


@pytest.mark.parametrize(("name", "x"), UNARY)
def test_derivatives_of_ufuncs_are_autograds(name, x):
    numpy_form = getattr(anp, name)
    expected = autograd.elementwise_grad(numpy_form)(x)
    np.testing.assert_allclose(derivative(getattr(np, name), x), expected, 1e-13, atol=1e-15)
    second = autograd.elementwise_grad(autograd.elementwise_grad(numpy_form))(x)
    found = derivative(lambda x: derivative(getattr(np, name), x), x)
    np.testing.assert_allclose(found, second, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", BINARY)
def test_gradients_of_binary_ufuncs_are_autograds(name):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0.3, 3.0, (4, 3)), rng.uniform(0.3, 3.0, (3,))
    summed = lambda x, y: anp.sum(getattr(anp, name)(x, y))
    for found, expected in zip(
        both(getattr(np, name), x, y), autograd.grad(summed, (0, 1))(x, y), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("f", "reference"),
    [
        (np.positive, np.ones_like),
        (np.negative, lambda x: -np.ones_like(x)),
        (np.deg2rad, lambda x: np.full_like(x, math.pi / 180)),
        (np.rad2deg, lambda x: np.full_like(x, 180 / math.pi)),
        (np.cbrt, lambda x: 1 / (3 * np.abs(x) ** (2 / 3))),
        (sigmoid, lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
        (softplus, scipy.special.expit),
        (relu, lambda x: x > 0),
        (leaky_relu, lambda x: np.choose(x > 0, [0.01, 1])),
        (elu, lambda x: np.exp(np.minimum(x, 0))),
        (silu, autograd.elementwise_grad(lambda x: x * anp_special.expit(x))),
        (gelu, autograd.elementwise_grad(lambda x: x * anp_special.erfc(-x / 2**0.5) / 2)),
        (erf, autograd.elementwise_grad(anp_special.erf)),
    ],
    ids=lambda f: getattr(f, "name", None) or f.__name__,
)
def test_derivatives_of_other_functions(f, reference):
    np.testing.assert_allclose(derivative(f, X), reference(X), rtol=1e-12, atol=1e-15)


def test_hypot_is_x_over_r():
    d_x, d_y = both(np.hypot, [3.0, -5.0], [4.0, 12.0])
    np.testing.assert_allclose([d_x, d_y], [[3 / 5, -5 / 13], [4 / 5, 12 / 13]], rtol=1e-15)


def test_second_derivatives():
    def second(f, x):
        return float(cr.grad(cr.grad(f))(x))

    s = float(scipy.special.expit(0.7))
    assert second(sigmoid, 0.7) == pytest.approx(s * (1 - s) * (1 - 2 * s), rel=1e-14)
    assert second(softplus, 0.7) == pytest.approx(s * (1 - s), rel=1e-14)
    assert second(erf, 0.7) == pytest.approx(-4 * 0.7 / math.pi**0.5 * math.exp(-0.49), rel=1e-14)
    assert second(elu, -0.7) == pytest.approx(math.exp(-0.7), rel=1e-14)
    density = math.exp(-0.245) / (2 * math.pi) ** 0.5
    assert second(gelu, 0.7) == pytest.approx(density * (2 - 0.49), rel=1e-14)
    assert second(silu, 0.7) == pytest.approx(s * (1 - s) * (2 + 0.7 * (1 - 2 * s)), rel=1e-14)
    assert second(lambda x: np.hypot(x, 4.0), 3.0) == pytest.approx(16 / 125, rel=1e-14)
    assert cr.grad(cr.grad(cr.grad(np.tan)))(0.0) == 2


# Kinks, ties and places where a careless rule makes NaN


def test_power_at_zero_and_below():
    d_x, d_y = both(np.power, [0.0, 0.0, 0.0, -2.0, -2.0, 0.0], [0.0, 1.0, 2.0, 3.0, -1.0, 2.5])
    np.testing.assert_array_equal(d_x, [0, 1, 0, 12, -0.25, 0])
    np.testing.assert_array_equal(d_y, np.zeros(6))  # no derivative by the exponent for x <= 0


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 0.0, 1.0, 2.0])
def test_powers_with_a_fixed_exponent_have_second_derivatives_at_zero(exponent):
    x = np.array([0.0, -1.5])
    first = lambda x: derivative(lambda x: x**exponent, x)
    np.testing.assert_array_equal(first(x), exponent * x ** max(exponent - 1, 0))
    expected = exponent * (exponent - 1) * x ** max(exponent - 2, 0)
    np.testing.assert_array_equal(derivative(first, x), expected)


def test_mixed_derivative_of_power_where_the_exponent_is_zero():
    # d/dx d/dy x**y = x**(y - 1) * (1 + y * log(x)), which is 1 / x at y = 0
    mixed = cr.grad(lambda y: cr.grad(np.power, 0)(np.array(3.0), y))(np.array(0.0))
    assert mixed == pytest.approx(1 / 3, rel=1e-15)


def test_number_to_the_power_of_a_tensor():
    np.testing.assert_allclose(derivative(lambda x: 3.0**x, X), np.log(3) * 3.0**X, rtol=1e-14)
    np.testing.assert_array_equal(derivative(lambda x: 0.0**x, POSITIVE), np.zeros(5))


@pytest.mark.parametrize("f", [np.maximum, np.minimum])
def test_ties_of_two_are_split(f):
    d_x, d_y = both(f, [1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    larger = np.array([0, 0.5, 1]) if f is np.maximum else np.array([1, 0.5, 0])
    np.testing.assert_array_equal(d_x, larger)
    np.testing.assert_array_equal(d_y, 1 - larger)


def test_subgradients_at_kinks():
    assert cr.grad(np.abs)(0.0) == 0
    assert cr.grad(relu)(0.0) == 0
    assert cr.grad(leaky_relu)(0.0) == 0.01
    assert cr.grad(lambda x: elu(x, alpha=0.3))(0.0) == 0.3
    np.testing.assert_array_equal(both(np.hypot, [0.0], [0.0]), [[0], [0]])


def test_clip_has_gradient_one_in_the_closed_interval():
    x = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    np.testing.assert_array_equal(derivative(lambda x: np.clip(x, -1, 1), x), [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(derivative(lambda x: np.clip(x, None, 1), x), [1, 1, 1, 1, 0])
    np.testing.assert_array_equal(derivative(lambda x: np.clip(x, -1, None), x), [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(derivative(lambda x: np.clip(x, min=-1), x), [0, 1, 1, 1, 1])
    np.testing.assert_array_equal(derivative(lambda x: x.clip(None, None), x), np.ones(5))


def test_each_element_of_clip_comes_from_one_argument():
    x, low, high = np.array([-2.0, 0.0, 2.0, 0.0]), np.array(-1.0), np.array([1.0, 1.0, 1.0, -3.0])
    grads = cr.jacobian(lambda stacked: np.clip(stacked[0], stacked[1], stacked[2]))(
        np.stack(np.broadcast_arrays(x, low, high))
    )
    np.testing.assert_array_equal(
        np.einsum("iji->ji", grads), [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 1]]
    )


def test_clip_of_integers_with_one_bound_stays_integer():
    for x in (np.array([-3, 5]), np.array([7, 1], np.uint8)):
        for bounds in ((None, 2), (2, None), (0, 3)):
            found = elementwise.clip(x, *bounds)
            np.testing.assert_array_equal(found, np.clip(x, *bounds))
            assert found.dtype == x.dtype


def test_where_passes_the_cotangent_to_what_was_taken():
    mask = np.array([True, False, True])
    d_x, d_y = both(lambda x, y: np.where(mask, x * y, y), [2.0, 3.0, 4.0], 5.0)
    np.testing.assert_array_equal(d_x, [5, 0, 5])
    assert d_y == 2 + 1 + 4  # each element's, summed


def test_where_on_a_condition_that_depends_on_the_tensor():
    safe_log = lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1)), 0.0)
    np.testing.assert_array_equal(derivative(safe_log, [-1.0, 0.0, 2.0]), [0, 0, 0.5])


# Extremes


def test_large_arguments():
    x = np.array([-INF, -1000.0, 1000.0, INF])
    np.testing.assert_array_equal(sigmoid(x), [0, 0, 1, 1])
    np.testing.assert_array_equal(derivative(sigmoid, x), np.zeros(4))
    np.testing.assert_array_equal(softplus(x), [0, 0, 1000, INF])
    np.testing.assert_array_equal(derivative(softplus, x), [0, 0, 1, 1])
    np.testing.assert_array_equal(relu(x), [0, 0, 1000, INF])
    np.testing.assert_array_equal(derivative(relu, x), [0, 0, 1, 1])
    np.testing.assert_array_equal(elu(x), [-1, -1, 1000, INF])
    np.testing.assert_array_equal(derivative(elu, x), [0, 0, 1, 1])
    np.testing.assert_array_equal(erf(x), [-1, -1, 1, 1])
    np.testing.assert_array_equal(derivative(erf, x), np.zeros(4))
    np.testing.assert_array_equal(derivative(np.tanh, x), np.zeros(4))
    for f in (silu, gelu):
        np.testing.assert_array_equal(f(x[1:]), [0, 1000, INF])
        np.testing.assert_array_equal(derivative(f, x[1:3]), [0, 1])
    assert gelu(np.float32(-1e6)) == 0


def test_logaddexp_of_infinite_arguments():
    x = np.array([-INF, -INF, 0.0, INF, INF, 1000.0])
    y = np.array([-INF, 0.0, -INF, 0.0, -INF, -1000.0])
    np.testing.assert_array_equal(both(np.logaddexp, x, y)[0], [0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(both(np.logaddexp, x, y)[1], [0, 1, 0, 0, 0, 0])
    # the second derivative where both are equal: s * (1 - s) with s = 1/2
    assert cr.grad(cr.grad(np.logaddexp))(0.3, 0.3) == pytest.approx(0.25, rel=1e-14)


def test_exp_share_keeps_second_derivatives_where_one_term_is_everything():
    assert exp_share(np.array([2.0]), np.array([2.0])) == [1.0]
    assert derivative(lambda x: exp_share(x, np.array([2.0])), [2.0]) == [1.0]


@pytest.mark.parametrize("f", [silu, gelu, sigmoid, softplus, relu, leaky_relu, elu, erf, np.abs])
def test_nan_passes_through(f):
    assert np.isnan(f(np.array([NAN, 1.0]))).tolist() == [True, False]


@pytest.mark.parametrize("f", [np.maximum, np.minimum, np.hypot, np.power, np.add, np.arctan2])
def test_nan_passes_through_binary_functions(f):
    assert np.isnan(f(cr.parameter([NAN, 1.0]), 2.0)).tolist() == [True, False]
    assert np.isnan(f(2.0, cr.parameter([NAN, 1.0]))).tolist() == [True, False]


def test_derivatives_that_grow_without_bound_are_infinite():
    with np.errstate(divide="ignore"):
        assert cr.grad(np.sqrt)(0.0) == INF
        assert cr.grad(np.log)(0.0) == INF
        assert cr.grad(np.cbrt)(0.0) == INF
        assert cr.grad(np.arctanh)(1.0 - 2**-53) > 1e15


# Values


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 2e-15), (np.float32, 6e-7)])
def test_erf_is_scipys_to_a_few_ulp(dtype, tolerance):
    x = np.concatenate([np.linspace(-7, 7, 20_001), np.geomspace(1e-30, 1e-3, 200)]).astype(dtype)
    found = erf(x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, scipy.special.erf(x.astype(float)), rtol=tolerance)
    np.testing.assert_array_equal(erf(-x), -found)
    assert np.abs(found).max() == 1
    np.testing.assert_array_equal(found[np.abs(x) >= 6], np.sign(x[np.abs(x) >= 6]))


def test_values_of_activations():
    x = np.linspace(-12, 12, 481)
    normal = scipy.special.ndtr(x)
    np.testing.assert_allclose(sigmoid(x), scipy.special.expit(x), rtol=0, atol=3e-16)
    np.testing.assert_allclose(softplus(x), np.logaddexp(0, x), rtol=1e-14)
    np.testing.assert_allclose(gelu(x), x * normal, rtol=0, atol=2e-14)
    np.testing.assert_allclose(silu(x), x * scipy.special.expit(x), rtol=0, atol=4e-15)
    np.testing.assert_allclose(elu(x, alpha=0.5), np.where(x > 0, x, 0.5 * (np.exp(x) - 1)), 1e-13)
    np.testing.assert_array_equal(leaky_relu(x, slope=2.0), np.minimum(x, 2 * x))


@given(st.floats(-700, 700), st.floats(-700, 700))
def test_the_shares_of_logaddexp_sum_to_one(x, y):
    assert sum(cr.grad(np.logaddexp, (0, 1))(x, y)) == pytest.approx(1, rel=1e-12)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_the_shares_of_a_maximum_sum_to_one(x, y):
    assert sum(cr.grad(np.maximum, (0, 1))(x, y)) == 1
    assert cr.grad(np.maximum)(x, x) == 0.5


# dtype and NumPy's protocols


@pytest.mark.parametrize(
    ("name", "cases"),
    [
        *activation_cases.cases(np.random.default_rng(0)).items(),
        *elementwise_cases.cases(np.random.default_rng(0)).items(),
    ],
)
def test_float32_stays_float32_in_value_and_rule(name, cases):
    operation = PRIMITIVES[name]
    for case in cases:
        if any(x.dtype.kind in "iu" for x in case.args):
            continue
        args = [x.astype(np.float32) if x.dtype == np.float64 else x for x in case.args]
        params = {**operation.defaults, **case.params}
        out = operation(*args, **params)
        assert out.dtype == np.float32 or not operation.rules or name in CONSTANTS
        for position in range(len(args)):
            rule = operation.rule(position)
            if rule is not None:
                g = np.ones(out.shape, np.float32)
                assert rule(g, np.asarray(out), *args, **params).dtype == np.float32


@pytest.mark.parametrize(
    "f",
    [
        lambda t: t**2,
        lambda t: t**0.5,
        lambda t: 2.0**t,
        lambda t: 1 / t,
        lambda t: np.maximum(t, 0),
        lambda t: np.hypot(t, 1.0),
        lambda t: np.arctan2(1.0, t),
        lambda t: np.logaddexp(0, t),
        lambda t: np.where(t > 1, t, 0.0),
        lambda t: np.clip(t, 0.5, None),
        lambda t: elu(t, alpha=0.5),
    ],
)
def test_python_numbers_leave_float32_alone(f):
    t = cr.parameter(np.array([0.5, 2.0], np.float32))
    out = f(t)
    out.sum().backward()
    assert (out.dtype, t.grad.dtype) == (np.float32, np.float32)


def test_numpys_functions_and_operators_work_on_tensors():
    t, x = cr.parameter(X), X
    for found, expected in [
        (np.tanh(t), np.tanh(x)),
        (+t - 2 * t, -x),
        (t % 2, x % 2),
        (abs(t), abs(x)),
        (np.fabs(t), abs(x)),
        (np.true_divide(1, t), 1 / x),
        (np.radians(t), np.radians(x)),
        (np.degrees(t), np.degrees(x)),
        (np.where(t > 0, t, 0), np.where(x > 0, x, 0)),
        (np.round(t, 1), np.round(x, 1)),
        (t.round(), np.round(x)),
        (np.around(t, decimals=1), np.round(x, 1)),
        (x * t, x * x),
        (np.float64(2) * t, 2 * x),
    ]:
        assert isinstance(found, cr.Tensor)
        np.testing.assert_array_equal(found.value, expected)


@pytest.mark.parametrize(
    "f",
    [
        np.floor,
        np.ceil,
        np.trunc,
        np.rint,
        np.sign,
        np.isfinite,
        np.isnan,
        np.isinf,
        np.round,
        lambda t: t > 1,
        lambda t: t <= 1,
        lambda t: (t > 0) & ~(t != 1) | (t == 2) ^ (t < 0),
        lambda t: np.logical_not(np.logical_and(t, np.logical_or(t, np.logical_xor(t, 1)))),
        lambda t: t // 2,
    ],
)
def test_constants_of_the_graph(f):
    t = cr.parameter(X)
    out = f(t)
    if out.dtype.kind == "f":
        assert out.node is None
        out = out.value
    assert type(out) is np.ndarray
    np.testing.assert_array_equal(out, f(X), strict=True)
    np.testing.assert_array_equal(derivative(lambda x: x * f(x), X), f(X))


@pytest.mark.parametrize("module", [elementwise, activation])
def test_every_primitive_has_cases_and_is_exported(module):
    cases = {
        **elementwise_cases.cases(np.random.default_rng(0)),
        **activation_cases.cases(np.random.default_rng(0)),
    }
    assert set(of_family(module)) <= set(cases)
    own = {name for name in vars(module) if not name.startswith("_")}
    functions = {n for n in own if inspect.isfunction(vars(module)[n])}
    public = {n for n in own if isinstance(vars(module)[n], Primitive)} | functions
    foreign = {"where", "primitive", "defvjp", "fused", "implements", "horner"} - set(
        module.__all__
    )
    assert public - foreign == set(module.__all__)
