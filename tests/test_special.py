"""The special functions beside SciPy's, which they answer for."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.special

import chainrule as cr
from chainrule import primitives
from chainrule.primitives.dispatch import SPECIAL_FUNCTIONS

INF, NAN = np.inf, np.nan
RNG = np.random.default_rng(0)
REAL = np.concatenate([np.linspace(-30, 26, 2001), [0.0, 1e-10, -1e-10, 1e-300, INF, -INF, NAN]])
UNIT = np.concatenate(
    [RNG.random(1000), 10.0 ** RNG.uniform(-300, 0, 300), [0.0, 1.0, 0.5, 0.5 + 1e-12, NAN, -1, 2]]
)
POSITIVE = np.concatenate(
    [RNG.uniform(0, 30, 2000), 10.0 ** RNG.uniform(-300, 300, 300), [1, 2, 1.5, 2.5, 0.5, INF, NAN]]
)
NEGATIVE = np.concatenate([-RNG.uniform(0, 50, 1000), [-0.5, -1.0, -2.0, -1.5]])
SYMMETRIC = np.concatenate([2 * UNIT - 1, 10.0 ** RNG.uniform(-300, 0, 100)])

# Where: the numbers, the relative and the absolute error
UNARY = {
    "expit": (REAL, 1e-15, 0),
    "log_expit": (REAL, 1e-15, 0),
    "logit": (UNIT, 1e-15, 0),
    "erf": (REAL, 2e-15, 0),
    "erfc": (REAL, 1e-13, 1e-307),
    "erfcx": (REAL, 2e-15, 0),
    "erfinv": (SYMMETRIC, 2e-15, 0),
    "ndtr": (REAL, 1e-13, 0),
    "ndtri": (UNIT, 3e-15, 0),
    "log_ndtr": (REAL, 1e-13, 0),
    "entr": (np.abs(REAL), 1e-15, 0),
    "gammaln": (POSITIVE, 2e-15, 2e-15),
    "digamma": (POSITIVE, 2e-15, 2e-15),
    "psi": (POSITIVE, 2e-15, 2e-15),
    "exp10": (REAL, 1e-14, 0),
    "exp2": (REAL, 1e-15, 0),
    "expm1": (REAL, 1e-15, 0),
    "log1p": (POSITIVE, 1e-15, 0),
    "cbrt": (REAL, 1e-15, 0),
    "round": (REAL, 0, 0),
}


@pytest.mark.parametrize("name", UNARY)
def test_they_have_scipys_values_on_tensors(name):
    x, rtol, atol = UNARY[name]
    function = getattr(scipy.special, name)
    with np.errstate(all="ignore"):
        expected = function(x)
        found = function(cr.parameter(x))
        np.testing.assert_allclose(found.value, expected, rtol=rtol, atol=atol)
        for dtype in (np.float32, np.float16):
            single = x.astype(dtype)
            found = function(cr.parameter(single))
            assert found.dtype == dtype
            exact = function(single.astype(np.float64)).astype(dtype)
            eps = np.finfo(dtype).eps
            np.testing.assert_allclose(found.value, exact, rtol=4 * eps, atol=eps**3)
    number = function(cr.parameter(0.25))
    assert number.shape == ()
    np.testing.assert_allclose(number.value, function(0.25), rtol=1e-14)


def test_the_error_function_of_huge_numbers_is_0_or_1_without_a_warning():
    huge = np.array([100.0, 1e154, 1.2e307, 1.7e308, INF])  # 16 times the third is no number
    np.testing.assert_array_equal(primitives.erfc(huge), np.zeros(5))
    np.testing.assert_array_equal(primitives.erfc(-huge), np.full(5, 2.0))
    np.testing.assert_array_equal(primitives.ndtr(huge), np.ones(5))
    np.testing.assert_array_equal(primitives.ndtr(-huge), np.zeros(5))
    np.testing.assert_array_equal(primitives.log_ndtr(huge), np.zeros(5))


@pytest.mark.parametrize("name", ["xlogy", "xlog1py", "rel_entr", "kl_div"])
def test_those_of_two_arrays_have_scipys_values_and_gradients_at_0(name):
    function = getattr(scipy.special, name)
    x, y = np.meshgrid([-1.0, 0.0, 0.3, 2.0, NAN], [-0.5, 0.0, 0.2, 3.0])
    with np.errstate(all="ignore"):
        expected = function(x, y)
        for args in ((cr.parameter(x), y), (x, cr.parameter(y)), (cr.parameter(x), 2.0)):
            plain = [a.value if isinstance(a, cr.Tensor) else a for a in args]
            np.testing.assert_allclose(function(*args).value, function(*plain), rtol=1e-15)
        np.testing.assert_allclose(function(cr.parameter(x), cr.parameter(y)).value, expected)
    inside = (np.array([0.5, 2.0]), np.array([0.2, 0.7]))
    assert cr.check_grads(lambda x, y: np.sum(function(x, y)), inside).ok
    at_0 = cr.grad(lambda y: np.sum(function(np.zeros(2), y)))(np.array([0.0, 2.0]))
    np.testing.assert_array_equal(at_0, np.full(2, 1.0 if name == "kl_div" else 0.0))


def test_gamma_left_of_0_is_reflected():
    with np.errstate(all="ignore"):
        found = primitives.gammaln(NEGATIVE)
        np.testing.assert_allclose(found, scipy.special.gammaln(NEGATIVE), rtol=1e-13, atol=1e-12)
        found = primitives.digamma(NEGATIVE)
        np.testing.assert_allclose(found, scipy.special.digamma(NEGATIVE), rtol=2e-12, atol=1e-12)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 6])
def test_polygamma_of_every_order(order):
    x = np.concatenate([RNG.uniform(0, 30, 500), 10.0 ** RNG.uniform(-20, 20, 100)])
    expected = scipy.special.polygamma(order, x)
    np.testing.assert_allclose(primitives.polygamma(x, order=order), expected, 2e-15, 2e-15)
    left = -RNG.uniform(0, 5, 100)
    if order:
        expected = scipy.special.polygamma(order, left)
        np.testing.assert_allclose(primitives.polygamma(left, order=order), expected, 1e-11)
    with pytest.raises(ValueError, match="orders 0, 1, 2"):
        primitives.polygamma(x, order=-1)


def test_the_zeros_of_log_gamma_are_exact_and_nearby_values_relatively_right():
    assert primitives.gammaln(np.array([1.0, 2.0])).tolist() == [0, 0]
    h = 2.0**-30
    euler = 0.57721566490153286
    np.testing.assert_allclose(primitives.gammaln(1 + h), -euler * h, rtol=2e-9)
    np.testing.assert_allclose(primitives.gammaln(2 + h), (1 - euler) * h, rtol=2e-9)
    factorials = np.cumsum(np.log(np.arange(1, 30.0)))
    np.testing.assert_allclose(primitives.gammaln(np.arange(2, 31.0)), factorials, 1e-15, 1e-15)


def test_they_run_without_scipy():
    code = (
        "import sys; sys.modules['scipy'] = None; import numpy as np, chainrule as cr; "
        "from chainrule import primitives as p; x = np.array([0.3, 0.6]); "
        "print(*(cr.grad(lambda x, f=f: f(x).sum())(x).shape for f in (p.gammaln, p.erfinv, "
        "p.log_ndtr, p.entr, p.expit)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["(2,)"] * 5


def test_no_module_of_scipy_is_imported():
    code = (
        "import numpy as np, chainrule as cr, sys\n"
        "try: np.spacing(cr.parameter(1.0))\n"
        "except TypeError as error: print(error)\n"
        "print('scipy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "np.spacing has no derivative rule" in run.stdout
    assert run.stdout.split()[-1] == "False"


def test_functions_of_scipys_without_a_rule_are_named():
    t = cr.parameter([1.0, 2.0])
    with pytest.raises(TypeError, match=r"scipy\.special\.jv has no derivative rule.*custom_vjp"):
        scipy.special.jv(1, t)
    with pytest.raises(TypeError, match=r"scipy\.special\.expit cannot write a Tensor into out="):
        scipy.special.expit(t, out=np.zeros(2))
    with pytest.raises(TypeError, match=r"scipy\.special\.gamma has no derivative rule"):
        scipy.special.gamma(t)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "polygamma"])
def test_functions_of_scipys_that_are_written_in_python_name_ours(name):
    """They make an ndarray of their argument before anything can ask it what it is."""
    t = cr.parameter([1.0, 2.0])
    function = getattr(scipy.special, name)
    with pytest.raises(TypeError, match=rf"use chainrule\.primitives\.{name} in place of scipy"):
        function(1, t) if name == "polygamma" else function(t)
    with pytest.raises(TypeError, match=r"use chainrule\.primitives"):
        cr.grad(lambda x: np.sum(function(1, x) if name == "polygamma" else function(x)))(t.value)


def test_functions_of_the_same_name_are_not_taken_for_scipys():
    erf = np.frompyfunc(math.erf, 1, 1)
    with pytest.raises(TypeError, match="has no derivative rule"):
        erf(cr.parameter([1.0]))


@pytest.mark.parametrize("name", sorted(set(SPECIAL_FUNCTIONS) & set(UNARY)))
def test_they_have_gradients_of_both_orders(name):
    function = getattr(scipy.special, name)
    x = np.array([0.12, 0.4, 0.83])
    assert cr.check_grads(function, x, order=2).ok


def test_they_compile_without_scipy():
    x = np.array([0.2, 0.5])

    def f(x):
        s = scipy.special
        return np.sum(s.gammaln(x) * s.psi(x) + s.log_ndtr(x) * s.expit(x) - s.xlogy(x, x))

    step = cr.compile(cr.grad(f))
    np.testing.assert_allclose(step(x), cr.grad(f)(x), rtol=1e-13)
    assert "scipy" not in step.source


def test_tails_have_right_gradients():
    far = np.array([-700.0, -40.0, 40.0, 300.0])
    slope = cr.grad(lambda x: np.sum(scipy.special.log_expit(x)))(far)
    np.testing.assert_allclose(slope, scipy.special.expit(-far), rtol=1e-14)
    hazard = cr.grad(lambda x: np.sum(scipy.special.log_ndtr(x)))(np.array([-1e3, -30.0]))
    np.testing.assert_allclose(hazard, [1e3 + 1e-3, 30.033259667433675], rtol=1e-9)
    expit = cr.grad(lambda x: np.sum(primitives.expit(x)))(far)
    np.testing.assert_allclose(expit, np.exp(-np.abs(far)), rtol=1e-14)
