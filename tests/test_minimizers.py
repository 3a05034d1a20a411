"""SciPy's minimizers behind our interface, against SciPy called directly."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.optimize

import chainrule as cr
from chainrule import optim

METHODS = {"L-BFGS-B": optim.LBFGS, "TNC": optim.TNC, "CG": optim.CG, "Newton-CG": optim.NewtonCG}
every_method = pytest.mark.parametrize("make", METHODS.values(), ids=METHODS)
START = np.array([-1.2, 1.0, -0.7, 0.4])


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def rosenbrock_value_and_grad(x):
    return scipy.optimize.rosen(x), scipy.optimize.rosen_der(x)


def minimize_rosenbrock(minimizer, value_and_grad=rosenbrock_value_and_grad, **kwargs):
    return minimizer.minimize(value_and_grad, START, hvp=scipy.optimize.rosen_hess_prod, **kwargs)


def logistic_regression():
    """A regularised two-class problem with labels -1 and 1, and its true minimum found by SciPy."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(80, 3))
    y = np.where(x @ [2.0, -1.0, 0.5] + rng.normal(size=80) > 0, 1.0, -1.0)

    def loss(w):
        return np.log1p(np.exp(-y * (x @ w))).mean() + 0.05 * (w**2).sum()

    return loss, np.zeros(3)


# Where they end


@every_method
def test_rosenbrock(make):
    result = minimize_rosenbrock(make(max_iterations=1000, tolerance=1e-10))
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4)
    assert result.value == scipy.optimize.rosen(result.x)
    assert result.x.dtype == np.float64


@pytest.mark.parametrize("method", METHODS)
def test_the_same_run_as_scipys(method):
    """Within the limits it is SciPy's own run, evaluation by evaluation."""
    iterates = []
    ours = minimize_rosenbrock(
        METHODS[method](max_iterations=10_000),
        on_iteration=lambda k, x, value: iterates.append((k, x, value)),
    )
    theirs = scipy.optimize.minimize(
        rosenbrock_value_and_grad,
        START,
        jac=True,
        method=method,
        hessp=scipy.optimize.rosen_hess_prod if method == "Newton-CG" else None,
        options={"maxfun" if method == "TNC" else "maxiter": 10_000},
    )
    np.testing.assert_allclose(ours.x, theirs.x, rtol=0, atol=1e-12)
    assert ours.value <= theirs.fun
    assert (ours.n_iterations, ours.n_evaluations) == (theirs.nit, theirs.nfev)
    assert (ours.stopped_by, ours.message) == ("converged", theirs.message)
    assert [k for k, _, _ in iterates] == list(range(1, theirs.nit + 1))
    assert all(value == scipy.optimize.rosen(x) for _, x, value in iterates)


@every_method
def test_logistic_regression_with_our_gradients(make):
    loss, start = logistic_regression()
    result = make(tolerance=1e-8).minimize(
        cr.value_and_grad(loss), start, hvp=lambda w, v: cr.hvp(loss, w, v)
    )
    reference = scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-5})
    np.testing.assert_allclose(result.x, reference.x, atol=1e-4)
    assert result.value <= reference.fun + 1e-9
    assert np.abs(cr.grad(loss)(result.x)).max() < 1e-4


def test_newton_cg_uses_our_hessian_vector_product():
    a = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 5.0]])
    b = np.array([1.0, -2.0, 0.5])

    def bowl(x):
        return 0.5 * (x * (a @ x)).sum() - (b * x).sum()

    products = []

    def hvp(x, v):
        products.append(cr.hvp(bowl, x, v))
        np.testing.assert_allclose(products[-1], a @ v, rtol=1e-12)
        return products[-1]

    result = optim.NewtonCG().minimize(cr.value_and_grad(bowl), np.full(3, 9.0), hvp)
    assert products
    assert result.n_iterations < 10
    np.testing.assert_allclose(result.x, np.linalg.solve(a, b), rtol=1e-6)


def test_newton_cg_asks_for_the_product():
    with pytest.raises(ValueError, match="NewtonCG needs hvp"):
        optim.NewtonCG().minimize(rosenbrock_value_and_grad, START)


@every_method
def test_float32_functions_are_computed_with_in_float64(make):
    def value_and_grad(x):
        assert x.dtype == np.float64
        return np.float32(((x - 3) ** 2).sum()), (2 * (x - 3)).astype(np.float32)

    start = np.zeros(3, np.float32)
    result = make().minimize(value_and_grad, start, lambda x, v: (2 * v).astype(np.float32))
    np.testing.assert_allclose(result.x, 3.0, rtol=1e-4)
    assert type(result.value) is float
    np.testing.assert_array_equal(start, 0)


@every_method
def test_one_gradient_buffer_may_serve_all_calls(make):
    buffer = np.empty(4)

    def value_and_grad(x):
        buffer[:] = scipy.optimize.rosen_der(x)
        return scipy.optimize.rosen(x), buffer

    result = minimize_rosenbrock(make(tolerance=1e-10, max_iterations=1000), value_and_grad)
    np.testing.assert_allclose(result.x, 1.0, atol=1e-4)


@every_method
def test_the_function_may_keep_and_overwrite_the_points_it_was_given(make):
    points = []

    def value_and_grad(x):
        points.append(x)
        return rosenbrock_value_and_grad(x)

    result = minimize_rosenbrock(make(), value_and_grad)
    for point in points:
        point[:] = np.nan
    assert result.value == scipy.optimize.rosen(result.x)


@every_method
def test_a_looser_tolerance_ends_it_earlier(make):
    loose, tight = (
        minimize_rosenbrock(make(1000, tolerance=tolerance)) for tolerance in (1e-1, 1e-9)
    )
    assert loose.stopped_by == tight.stopped_by == "converged"
    assert loose.n_evaluations < tight.n_evaluations


def test_x0_must_be_flat():
    with pytest.raises(ValueError, match=r"x0 has shape \(2, 2\): give one flat vector"):
        optim.LBFGS().minimize(rosenbrock_value_and_grad, np.zeros((2, 2)))


# When they stop


@every_method
@pytest.mark.parametrize("limit", [1, 2, 9])
def test_max_evaluations_is_never_passed(make, limit):
    points = []

    def value_and_grad(x):
        points.append(x.copy())
        return rosenbrock_value_and_grad(x)

    result = minimize_rosenbrock(make(max_evaluations=limit), value_and_grad)
    assert len(points) == result.n_evaluations <= limit
    assert result.stopped_by == "max_evaluations"
    assert result.value == min(map(scipy.optimize.rosen, points))
    assert result.value == scipy.optimize.rosen(result.x)


def test_tnc_spends_its_last_evaluations_on_a_line_search():
    """As in SciPy's own run with that limit; cutting it short would waste an inner loop."""
    for limit in range(5, 40):
        options = {"maxfun": limit}
        theirs = scipy.optimize.minimize(
            rosenbrock_value_and_grad, START, jac=True, method="TNC", options=options
        )
        ours = minimize_rosenbrock(optim.TNC(max_evaluations=limit))
        assert ours.stopped_by == "max_evaluations"
        assert ours.n_evaluations <= limit
        if theirs.nfev <= limit:
            assert ours.value <= theirs.fun


@every_method
@pytest.mark.parametrize("limit", [1, 4])
def test_max_iterations(make, limit):
    seen = []
    result = minimize_rosenbrock(
        make(max_iterations=limit), on_iteration=lambda k, x, value: seen.append(k)
    )
    assert seen == list(range(1, limit + 1))
    assert (result.n_iterations, result.stopped_by) == (limit, "max_iterations")
    assert result.value < scipy.optimize.rosen(START)


@every_method
def test_on_iteration_may_stop_it(make):
    values = []

    def on_iteration(k, x, value):
        values.append(value)
        x[:] = np.nan  # its own copy
        if k == 3:
            raise StopIteration("good enough")

    result = minimize_rosenbrock(make(), on_iteration=on_iteration)
    assert (result.n_iterations, result.stopped_by) == (3, "on_iteration")
    assert result.message == "good enough"
    assert result.value == values[-1] == min(values)
    assert result.value == scipy.optimize.rosen(result.x)


@every_method
def test_ctrl_c_gives_the_best_point_so_far(make):
    values = []

    def value_and_grad(x):
        if len(values) == 7:
            raise KeyboardInterrupt
        value, gradient = rosenbrock_value_and_grad(x)
        values.append(value)
        return value, gradient

    result = minimize_rosenbrock(make(), value_and_grad)
    assert result.stopped_by == "interrupt"
    assert result.value == min(values) == scipy.optimize.rosen(result.x)
    assert result.n_evaluations == 7


@every_method
def test_ctrl_c_at_once_gives_the_start(make):
    def value_and_grad(x):
        raise KeyboardInterrupt

    result = minimize_rosenbrock(make(), value_and_grad)
    np.testing.assert_array_equal(result.x, START)
    assert np.isnan(result.value)


@every_method
def test_other_errors_come_through(make):
    def value_and_grad(x):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        minimize_rosenbrock(make(), value_and_grad)


def test_a_stalled_run_says_so():
    """A gradient that points the wrong way: no point on the line is lower."""

    def value_and_grad(x):
        value, gradient = rosenbrock_value_and_grad(x)
        return value, -gradient

    result = minimize_rosenbrock(optim.CG(), value_and_grad)
    assert result.stopped_by == "stalled"
    assert result.message


def test_a_nan_on_the_way_is_not_the_best_point():
    def value_and_grad(x):
        value, gradient = rosenbrock_value_and_grad(x)
        return (value if x[0] < -1.0 else np.nan), gradient

    result = minimize_rosenbrock(optim.LBFGS(max_evaluations=20), value_and_grad)
    assert result.value <= scipy.optimize.rosen(START)


# Making them


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.LBFGS(max_iterations=0), "Minimizer got max_iterations=0"),
        (lambda: optim.TNC(max_evaluations=-5), "Minimizer got max_evaluations=-5"),
        (lambda: optim.CG(tolerance=0.0), "Minimizer got tolerance=0: .* 0 < tolerance"),
        (lambda: optim.Minimizer("LBFGS"), "no method 'LBFGS': did you mean 'L-BFGS-B'"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_without_scipy_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'pip install "chainrule\[scipy\]"'):
        optim.LBFGS().minimize(rosenbrock_value_and_grad, START)


def test_scipy_is_imported_where_it_is_used():
    code = (
        "import sys; from chainrule import optim; optim.LBFGS(); sys.exit('scipy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
