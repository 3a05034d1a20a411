"""The checker: what it accepts, what it catches, and the cause it names."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad

import chainrule as cr
from chainrule.gradcheck import (
    Element,
    GradientCheckError,
    GradientReport,
    check_gradient,
    check_grads,
)
from chainrule.gradcheck.numeric import complex_step, estimate, kinked, one_sided, resolution
from chainrule.gradcheck.problem import make_problem

EPS = float(np.finfo(np.float64).eps)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def failed(f, args, order=1, **options):
    """The report of a check that must fail."""
    report = check_grads(f, args, order, raises=False, **options)
    assert not report.ok
    assert not report
    return report


def wrong(rule, f):
    return cr.custom_vjp(rule)(f)


# What passes


def test_a_right_derivative_passes_and_the_report_says_how():
    x = normal(5, 3)
    report = check_grads(lambda w, b: np.tanh(x @ w + b), (normal(3, 2), normal(2)))
    assert report
    assert report.order == 2
    assert report.methods == ("central differences", "complex step")
    assert report.worst_relative_error < 1e-9
    assert report.tolerance == 1e-6
    assert report.directions == 2 * 2 + 2 * 3  # two arguments, then two and the cotangent
    assert report.reasons == report.elements == report.notes == ()
    assert str(report).startswith(
        "gradient check of the function: ok, order 2, worst relative error"
    )


def test_arguments_and_results_may_be_nested():
    def f(p, shift):
        return {"a": np.tanh(p["w"]) @ p["b"][0], "rest": [p["b"][0] * shift, (shift,)]}

    args = ({"w": normal(3, 2), "b": [normal(2)]}, normal(2, seed=1))
    assert check_grads(f, args).ok


def test_one_argument_needs_no_tuple_and_numbers_are_arrays():
    assert check_grads(np.sin, 0.3).ok
    assert check_grads(np.sin, 2).ok  # Python's number, not an integer array
    assert check_grads(lambda w: (w["a"] ** 2).sum(), {"a": normal(3)}).ok


def test_tensors_are_taken_at_their_value():
    assert check_grads(np.sin, cr.parameter([0.5, 1.0])).ok


@pytest.mark.parametrize("order", [1, 2, 3])
def test_orders(order):
    report = check_grads(lambda x: x**4, np.array([0.7, -1.1]), order)
    assert report.order == order


@pytest.mark.parametrize("modes", [("vjp",), ("jvp",), ("vjp", "jvp")])
def test_modes(modes):
    assert check_grads(np.exp, normal(3), modes=modes).ok
    assert not check_grads(
        wrong(lambda g, out, x: 2 * g * out, np.exp), normal(3), modes=modes, raises=False
    )


@pytest.mark.parametrize("x", [1e-8, 1e-3, 1.0, 1e4, 1e9])
def test_the_step_suits_the_scale_of_the_argument(x):
    assert check_grads(np.log, np.array([x, 2 * x]), complex_step=False).ok
    assert check_grads(np.sqrt, np.array([x, 2 * x]), complex_step=False).ok


@given(st.floats(-20, 20), st.floats(-5, 5), st.floats(-2, 2))
def test_polynomials_pass_everywhere(a, b, x):
    assert check_grads(lambda x: a * x**3 + b * x, np.array([x]), complex_step=False).ok


def test_small_derivatives_of_small_functions_are_still_told_apart():
    def small(x):
        return 1e-12 * np.sin(x)

    assert check_grads(small, normal(3), complex_step=False).ok
    twice = wrong(lambda g, out, x: 2e-12 * g * np.cos(x), small)
    assert "2 times" in failed(twice, normal(3), complex_step=False).reasons[0]


def test_derivatives_that_vanish_pass():
    x = normal(4, seed=2)
    assert check_grads(lambda x: np.exp(x) / np.exp(x).sum() @ np.ones(4), x).ok
    assert check_grads(lambda x: np.sin(x) ** 2 + np.cos(x) ** 2, x).ok
    assert check_grads(lambda x: x**3, np.zeros(2)).ok


def test_empty_arrays_pass():
    assert check_grads(lambda x: x * 2, np.zeros((0, 3))).ok
    assert check_grads(lambda x, y: x.sum() + y, (np.zeros(0), normal(2))).ok


def test_large_arrays_are_examined_in_part():
    x = normal(40, 50)
    report = failed(wrong(lambda g, out, x: g * np.where(x > 3.0, 0.9, 1.0) * 2 * x, np.square), x)
    assert all(x[element.index] > 3.0 for element in report.elements)
    assert len(report.elements) >= 1


def test_a_wrong_column_of_a_large_array_is_seen_as_one():
    w = normal(60, 50)

    def gradient(w):
        return w + 0.01 * w * (np.arange(50) == 7)

    report = check_gradient(lambda w: 0.5 * (w**2).sum(), gradient, w, raises=False)
    assert "is off by 0.01 times the argument itself at index 7 of axis 1" in report.reasons[0]
    assert len(report.elements) >= 30


# Faults of the point


def test_integers_have_no_derivative():
    report = failed(lambda x, k: x * k, (normal(3), np.arange(3)))
    assert "k (argument 1) is int64" in report.reasons[0]
    assert ".astype(float)" in report.reasons[0]
    assert report.worst_relative_error == np.inf


@pytest.mark.parametrize("dtype", [bool, np.complex128])
def test_nor_have_truth_values_and_complex_numbers(dtype):
    assert str(np.dtype(dtype)) in failed(lambda x: x * 1.0, np.ones(2, dtype)).reasons[0]


def test_a_result_that_is_not_floating_point():
    assert "no floating-point" in failed(lambda x: x > 0, normal(3)).reasons[0]


def test_randomness_between_calls():
    rng = np.random.default_rng(0)
    report = failed(lambda x: x * (rng.random(3) < 0.5), normal(3))
    assert "different values when called twice" in report.reasons[0]
    assert report.methods == ()


def test_a_seed_fixed_inside_is_no_randomness():
    def dropout(x):
        return x * (np.random.default_rng(0).random(3) < 0.5)

    assert check_grads(dropout, normal(3)).ok


def test_an_argument_changed_in_place():
    def f(w, x):
        x += 1
        return w * x

    report = failed(f, (normal(3), np.array([1.0, 2.0, 3.0])))
    assert "f changes x (argument 1) in place, [0] from 1 to 2" in report.reasons[0]
    assert "copy()" in report.reasons[0]


def test_the_users_own_arrays_are_left_alone():
    def f(x):
        x *= 2
        return x * x

    x = normal(3)
    before = x.copy()
    failed(f, x)
    assert np.array_equal(x, before)


def test_values_that_are_not_finite():
    with np.errstate(all="raise"):  # the checker's own look at the point raises no warning
        report = failed(np.log, np.array([-1.0, 2.0]))
    assert "NaN or infinity in 1 of 2 results" in report.reasons[0]


def test_a_function_that_does_something_else_for_tensors():
    def f(x):
        return 3 * x if isinstance(x, cr.Tensor) else 2 * x

    assert "another result when it is recorded" in failed(f, normal(3)).reasons[0]


def test_errors_of_the_function_itself_are_the_users():
    with pytest.raises(TypeError, match="np.spacing"):
        check_grads(lambda x: np.spacing(x), normal(3))


# Kinks, edges and jumps


def test_a_kink_is_named_with_its_slopes():
    relu = wrong(lambda g, out, x: g * (x > 0), lambda x: np.maximum(x, 0))
    report = failed(lambda x: relu(x).sum(), np.array([1.0, 0.0, -2.0]))
    reason = report.reasons[0]
    assert "a kink at" in reason
    assert "[1] = 0" in reason
    assert "0 on the left and 1 on the right" in reason
    assert "is a subgradient between them" in reason
    assert [element.index for element in report.elements] == [(1,)]
    assert not any("weighted" in note for note in report.notes)
    assert any("weighted" in note for note in failed(relu, np.array([1.0, 0.0])).notes)


def test_a_gradient_outside_the_slopes_of_a_kink():
    relu = wrong(lambda g, out, x: g * np.where(x == 0, 3.0, x > 0), lambda x: np.maximum(x, 0))
    assert "is not between them" in failed(lambda x: relu(x).sum(), np.zeros(2)).reasons[0]


def test_a_kink_that_agrees_in_the_mean_is_noted_and_has_no_second_derivative():
    x = np.array([1.0, 0.0])
    report = check_grads(np.abs, x, 1)
    assert "has a kink in" in report.notes[0]
    report = failed(np.abs, x, 2)
    assert "order 2" in report.reasons[0]
    assert "grows as the step shrinks" in report.reasons[0]


def test_no_kink_is_seen_where_there_is_none():
    for f in (np.sin, np.exp, lambda x: x**2, lambda x: np.tanh(30 * x)):
        assert check_grads(f, np.array([-0.7, 0.1, 1.3])).notes == ()


def test_near_a_kink_a_smaller_step_is_found():
    assert check_grads(lambda x: np.maximum(x, 0), np.array([1e-6, -1e-6, 1e-5])).ok


def test_a_kink_within_a_given_step():
    report = failed(lambda x: np.maximum(x, 0), np.array([0.05, 3.0]), step=0.2)
    assert "a kink within the step" in report.reasons[0]
    assert "[0] = 0.05" in report.reasons[0]


def test_the_edge_of_the_domain():
    report = failed(np.sqrt, np.array([1.0, 0.0]))
    assert "the gradient is inf" in report.reasons[0] or "-inf" in report.reasons[0]
    finite = wrong(lambda g, out, x: 0.5 * g / np.where(out == 0, 1, out), np.sqrt)
    assert "the edge of its domain" in failed(finite, np.array([1.0, 0.0])).reasons[0]


@pytest.mark.parametrize("f", [np.cbrt, np.sign])
def test_a_vertical_tangent_or_jump(f):
    flat = (
        wrong(
            lambda g, out, x: g * np.where(x == 0, 0.0, 1 / (3 * np.cbrt(x * x) + (x == 0))),
            np.cbrt,
        )
        if f is np.cbrt
        else wrong(lambda g, out, x: 0 * g, np.sign)
    )
    report = failed(flat, np.array([0.0]))
    assert "grows as the step shrinks" in report.reasons[0]


def test_an_infinite_gradient_agrees_with_nothing():
    report = failed(lambda x: np.cbrt(x).sum(), np.array([1.0, 0.0]))
    assert "the gradient is inf in 1 of 2 elements" in report.reasons[0]


def test_nan_in_the_gradient_is_named_with_its_place():
    f = wrong(lambda g, out, x: g * np.where(x > 1, np.nan, 2 * x), np.square)
    report = failed(f, np.array([0.5, 2.0]))
    assert "the gradient is nan in 1 of 2 elements" in report.reasons[0]
    assert "[1] = 2" in report.reasons[0]
    assert report.worst_relative_error == np.inf


# Steps and precision


def test_a_good_step_passes():
    report = check_grads(np.sin, normal(4), step=1e-5)
    assert report.methods == ("central differences, step 1e-05",)


@pytest.mark.parametrize("step", [1e-12, 1e-14])
def test_a_step_too_small(step):
    report = failed(np.sin, normal(4), step=step)
    assert f"the step {step:g} is too small" in report.reasons[0]
    assert "step=None" in report.reasons[0]


@pytest.mark.parametrize("step", [0.05, 0.3])
def test_a_step_too_large(step):
    report = failed(lambda x: np.sin(5 * x), normal(4), step=step)
    assert f"the step {step:g} is too large" in report.reasons[0]


def test_a_wrong_rule_is_not_blamed_on_the_step():
    f = wrong(lambda g, out, x: -g * np.cos(x), np.sin)
    assert "wrong sign" in failed(f, normal(4), step=1e-5).reasons[0]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(np.float64, 1e-6), (np.float32, 1e-3), (np.float16, 5e-2)]
)
def test_the_tolerance_follows_the_dtype(dtype, tolerance):
    report = check_grads(lambda x: np.tanh(x @ x), normal(3, 3).astype(dtype), 1)
    assert report.tolerance == tolerance


def test_float32_is_compared_with_differences_in_float64():
    report = check_grads(lambda x: np.tanh(x @ x), normal(4, 4).astype(np.float32))
    assert report.worst_relative_error < 1e-5


def test_float32_arguments_are_the_cause_where_float64_agrees():
    report = failed(lambda x: np.tanh(x @ x), normal(4, 4).astype(np.float32), rtol=1e-9)
    assert "is float32" in report.reasons[0]
    assert "float64" in report.reasons[0]


def test_a_wrong_rule_is_not_blamed_on_float32():
    f = wrong(lambda g, out, x: 0.5 * g * np.cos(x), np.sin)
    assert "0.5 (1/2) times" in failed(f, normal(4).astype(np.float32)).reasons[0]


def test_a_float32_hidden_inside():
    def f(x):
        return np.astype(np.sin(np.astype(x, np.float32)), np.float64)

    assert resolution(make_problem(f, (normal(4),))) == np.finfo(np.float32).eps
    assert check_grads(f, normal(4)).tolerance == 1e-3
    assert "rounds to float32 on its way" in failed(f, normal(4), rtol=1e-8).reasons[0]


def test_a_function_that_insists_on_float32():
    def f(x):
        if x.dtype != np.float32:
            raise TypeError("float32 only")
        return np.sin(x)

    assert check_grads(f, normal(4).astype(np.float32)).ok


def test_rounding_that_hides_a_derivative_is_noted():
    report = check_grads(lambda x: 1e12 + np.sin(x), normal(3), 1, complex_step=False)
    assert "so small beside the rounding" in report.notes[0]


def test_rtol_and_atol():
    f = wrong(lambda g, out, x: g * (np.cos(x) + 1e-4), np.sin)
    x = np.array([0.1, 0.2])
    assert not check_grads(f, x, 1, raises=False).ok
    assert check_grads(f, x, 1, rtol=1e-3).ok
    assert check_grads(f, x, 1, atol=1e-2).ok


# The complex step


def test_the_complex_step_shows_what_differences_cannot():
    def f(x):
        return x**3

    slightly = wrong(lambda g, out, x: 3 * g * x * x * (1 + 1e-7), f)
    assert check_grads(slightly, normal(3), 1, complex_step=False).ok
    report = failed(slightly, normal(3))
    assert "complex step" in report.methods


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.abs(x) * x,  # runs on complex numbers, but is not analytic
        lambda x: np.maximum(x, 0.1) ** 2 + x.real * x if not hasattr(x, "value") else None,
        lambda x: np.conj(x) * x if x.dtype.kind == "c" else x * x,
    ],
    ids=["abs", "real part", "conjugate"],
)
def test_functions_that_are_not_analytic_fall_back_to_differences(f):
    problem = make_problem(f, (np.array([0.5, -1.5]),))
    direction = np.array([1.0, 0.5])
    found = estimate(problem, 0, direction, None, EPS)
    assert complex_step(problem, 0, direction, found, EPS) is None


def test_functions_that_refuse_complex_numbers_fall_back_to_differences():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check_grads(lambda x: np.logaddexp(x, 0.0), normal(3))
    assert report.methods == ("central differences",)


def test_the_complex_step_can_be_demanded_and_forbidden():
    assert "complex step" in check_grads(np.sin, normal(3), 1, complex_step=True).methods
    assert "complex step" not in check_grads(np.sin, normal(3), complex_step=False).methods
    assert "not analytic" in failed(np.abs, normal(3), complex_step=True).reasons[0]


# Faults of a rule


def test_a_sign():
    report = failed(wrong(lambda g, out, x: -g * np.cos(x), np.sin), normal(3))
    assert report.reasons == (
        "the gradient by argument 0 has the wrong sign: it is -1 times the numerical one",
    )
    element = report.elements[0]
    assert element.gradient == pytest.approx(-element.numerical)


def test_a_factor_that_is_a_size_of_the_problem_is_explained():
    mean_of_squares = wrong(lambda g, out, x: g * 2 * x, lambda x: (x**2).mean(axis=-1))
    x = normal(1, 5)
    f = wrong(lambda g, out, x: g[:, None] * 2 * x, lambda x: (x**2).mean(axis=-1))
    reason = failed(f, x).reasons[0]
    assert "5 times the numerical one" in reason
    assert "5 is the size of axis 1 of argument 0: a sum where a mean was meant?" in reason
    f = wrong(lambda g, out, x: g[:, None] * 2 * x / 5, lambda x: (x**2).sum(axis=-1))
    assert "0.2 (1/5) times" in failed(f, x).reasons[0]
    assert "a mean where a sum was meant?" in failed(f, x).reasons[0]
    del mean_of_squares


def test_a_single_element_is_not_taken_for_a_constant_factor():
    f = wrong(lambda g, out, x: g * (1 - out), np.tanh)
    reason = failed(f, np.array([0.7])).reasons[0]
    assert "times the numerical one" not in reason


def test_faults_of_a_single_number():
    f = wrong(lambda g, out, x: g * (1 - out), np.tanh)
    for x in (0.7, np.array(0.7)):
        report = failed(f, x)
        assert "is wrong in 1 of 1 elements" in report.reasons[0]
        assert report.elements[0].index == ()
        assert "argument 0: gradient 0.39" in str(report)
        assert "is wrong" in failed(f, x, step=1e-5).reasons[0]


def test_transpositions():
    a, b = normal(3, 3), normal(3, 3, seed=1)

    def matmul(a, b):
        return a @ b

    def right_b(g, out, a, b):
        return a.T @ g

    turned = cr.custom_vjp(lambda g, out, a, b: (g @ b.T).T, right_b)(matmul)
    assert "is transposed: its transpose agrees" in failed(turned, (a, b)).reasons[0]
    forgotten = cr.custom_vjp(lambda g, out, a, b: g @ b, right_b)(matmul)
    reason = failed(forgotten, (a, b)).reasons[0]
    assert "would be right with argument 1 transposed: a transposition forgotten?" in reason
    other = cr.custom_vjp(lambda g, out, a, b: g.T @ b.T, right_b)(matmul)
    assert "the cotangent transposed" in failed(other, (a, b)).reasons[0]
    assert (
        "a transposition forgotten?" in failed(forgotten, (normal(3, 4), normal(4, 2))).reasons[0]
    )


def test_a_wrong_variable():
    f = cr.custom_vjp(lambda g, out, x, y: g * y, lambda g, out, x, y: g * y)(lambda x, y: x * y)
    report = failed(lambda left, right: f(left, right), (normal(3), normal(3, seed=1)))
    reason = report.reasons[0]
    assert "by right (argument 1)" in reason
    assert "left (argument 0) and right (argument 1) exchanged" in reason


def test_a_cut_way_to_the_result():
    def f(x, y):
        x = x.value if isinstance(x, cr.Tensor) else x
        return x * y

    reason = failed(f, (normal(3), normal(3, seed=1))).reasons[0]
    assert "the gradient by x (argument 0) is zero, but the function depends on it" in reason


def test_a_function_that_does_not_depend_on_an_argument_is_noted():
    report = check_grads(lambda x, y: 2 * x, (normal(3), normal(2)))
    assert report.notes == ("the function does not depend on y (argument 1) at this point",)


def test_a_gradient_where_there_is_no_dependence():
    f = wrong(lambda g, out, x: g, lambda x: np.zeros_like(x))
    assert (
        "does not depend on argument 0: its numerical derivative" in failed(f, normal(3)).reasons[0]
    )


def test_a_rule_that_is_not_linear_in_its_cotangent():
    f = wrong(lambda g, out, x: g * np.abs(g), lambda x: 1.0 * x)
    assert "g enters as a factor once" in failed(f, normal(3)).reasons[0]
    squared = cr.custom_vjp(lambda g, out, x: g * g * 2 * x)(lambda x: (x * x).sum())
    assert "g enters as a factor once" in failed(squared, normal(3), modes=("vjp",)).reasons[0]
    g_is_constant = wrong(
        lambda g, out, x: g.detach() if isinstance(g, cr.Tensor) else g, lambda x: 1.0 * x
    )
    assert "not with the jvp" in failed(g_is_constant, normal(3)).reasons[0]


def test_a_rule_that_raises():
    f = wrong(lambda g, out, x: g / [][0], np.sin)
    assert "the reverse pass raised IndexError" in failed(f, normal(3)).reasons[0]


def test_a_rule_that_cannot_be_differentiated_itself():
    f = wrong(lambda g, out, x: g * np.spacing(x) * 0 + g * np.cos(x), np.sin)
    assert check_grads(f, normal(3), 1, modes=("vjp",)).ok
    report = failed(f, normal(3), 2, modes=("vjp",))
    assert report.order == 2
    assert "in the derivative of order 2: the reverse pass raised TypeError" in report.reasons[0]
    assert "np.spacing" in report.reasons[0]


def test_a_wrong_second_derivative():
    def rule(g, out, x):
        return g * np.cos(x.detach() if isinstance(x, cr.Tensor) else x)

    report = failed(wrong(rule, np.sin), normal(3), 2)
    assert report.order == 2
    assert "in the derivative of order 2: the gradient by argument 0 is zero" in report.reasons[0]


def test_no_cause_is_invented():
    f = wrong(lambda g, out, x: g * np.exp(x), np.sinh)
    reason = failed(f, normal(4)).reasons[0]
    assert "wrong in 4 of 4 elements examined; no sign, factor" in reason


@given(st.sampled_from([0.5, 2.0, 3.0, 1.001, -1.0, -0.25]), st.integers(0, 50))
def test_any_factor_is_found(factor, seed):
    f = wrong(lambda g, out, x: factor * g * (1 - out * out), np.tanh)
    report = failed(f, normal(2, 3, seed=seed), seed=seed)
    named = "-1 times" if factor == -1 else f"{factor:.6g}"
    assert named in report.reasons[0]
    for element in report.elements:
        assert element.gradient == pytest.approx(factor * element.numerical, rel=1e-6)


@given(st.tuples(st.integers(0, 2), st.integers(0, 3)), st.integers(0, 20))
def test_a_single_wrong_element_is_found(index, seed):
    mask = np.ones((3, 4))
    mask[index] = 1.1
    f = wrong(lambda g, out, x: mask * g * np.cos(x), np.sin)
    x = np.random.default_rng(seed).uniform(-1, 1, (3, 4))
    report = failed(f, x, seed=seed)
    assert [element.index for element in report.elements] == [index]
    assert report.elements[0].numerical * 1.1 == pytest.approx(report.elements[0].gradient)


# The report and the error


def test_the_error_is_an_assertion_and_carries_the_report():
    f = wrong(lambda g, out, x: 2 * g * np.cos(x), np.sin)
    with pytest.raises(GradientCheckError) as caught:
        check_grads(f, normal(3))
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value.report, GradientReport)
    text = str(caught.value)
    assert "gradient check of sin: FAILED, order 1" in text
    assert "why: the gradient by argument 0 is 2 times" in text
    assert "worst elements:" in text
    assert text.count("numerical") >= 3


def test_the_report_shows_the_worst_elements_first_and_not_too_many():
    factors = np.linspace(1.1, 2.0, 30)
    f = wrong(lambda g, out, x: factors * g, lambda x: 1.0 * x)
    report = failed(f, np.ones(30))
    distance = [abs(element.gradient - element.numerical) for element in report.elements]
    assert distance == sorted(distance, reverse=True)
    assert len(distance) == 30
    assert str(report).count("argument 0 [") == 8
    assert isinstance(report.elements[0], Element)


def test_the_same_seed_gives_the_same_report():
    f = wrong(lambda g, out, x: g * x, np.sin)
    assert failed(f, normal(3), seed=5) == failed(f, normal(3), seed=5)
    assert failed(f, normal(3), seed=5) != failed(f, normal(3), seed=6)


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match="modes=\\('fwd',\\): give 'vjp', 'jvp' or both"):
        check_grads(np.sin, 1.0, modes=("fwd",))
    with pytest.raises(ValueError, match="order=0"):
        check_grads(np.sin, 1.0, order=0)


def test_slopes_of_both_sides():
    problem = make_problem(np.abs, (np.array([0.0]),))
    left, right = one_sided(problem, 0, np.ones(1), 1e-3)
    assert (left[0], right[0]) == pytest.approx((-1, 1))
    assert kinked(problem, 0, np.ones(1), EPS)
    assert not kinked(make_problem(np.abs, (np.array([0.5]),)), 0, np.ones(1), EPS)


@given(st.sampled_from(["exp", "sin", "tanh", "arctan", "expm1"]), st.floats(-3, 3))
def test_estimates_are_good_to_their_own_error(name, x):
    f = getattr(np, name)
    problem = make_problem(f, (np.array([x]),))
    found = estimate(problem, 0, np.ones(1), None, EPS)
    exact = complex_step(problem, 0, np.ones(1), found, EPS).value
    assert abs(found.value - exact)[0] <= 10 * found.error[0]
    assert found.value == pytest.approx(exact, rel=1e-8, abs=1e-10)


# A gradient function of the user's: a network of two layers, as in the courses


X = normal(20, 4, seed=1)
Y = np.eye(3)[np.random.default_rng(2).integers(0, 3, 20)]
STRENGTH = 0.01


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def network_loss(p):
    hidden = sigmoid(X @ p["W1"] + p["b1"])
    out = sigmoid(hidden @ p["W2"] + p["b2"])
    penalty = STRENGTH / 2 * ((p["W1"] ** 2).sum() + (p["W2"] ** 2).sum())
    return 0.5 * ((out - Y) ** 2).sum() / len(X) + penalty


def backpropagation(p, fault=""):
    hidden = sigmoid(X @ p["W1"] + p["b1"])
    out = sigmoid(hidden @ p["W2"] + p["b2"])
    d_z2 = (out - Y) * out * (1 - out) / len(X)
    d_z1 = d_z2 @ p["W2"].T * hidden * (1 - hidden)
    if fault == "derivative of sigmoid":
        d_z1 = d_z2 @ p["W2"].T * hidden
    gradient = {
        "b2": d_z2.sum(axis=0),  # not in the order of the parameters
        "W2": hidden.T @ d_z2 + STRENGTH * p["W2"],
        "W1": X.T @ d_z1 + STRENGTH * p["W1"],
        "b1": d_z1.sum(axis=0),
    }
    if fault == "penalty forgotten":
        gradient["W1"] = X.T @ d_z1
    elif fault == "bias penalised":
        gradient["b1"] = gradient["b1"] + STRENGTH * p["b1"]
    elif fault == "mean":
        gradient["b2"] = d_z2.mean(axis=0)
    elif fault == "no sum":
        gradient["b1"] = d_z1
    elif fault == "column":
        gradient["b2"] = gradient["b2"][:, None]
    elif fault == "transposed":
        gradient["W2"] = gradient["W2"].T
    elif fault == "row":
        gradient["W1"][0] = 0
    elif fault == "sign":
        gradient["b2"] = -gradient["b2"]
    return gradient


PARAMETERS = {
    "W1": normal(4, 5, seed=3),
    "b1": normal(5, seed=4),
    "W2": normal(5, 3, seed=5),
    "b2": normal(3, seed=6),
}


def test_a_right_backpropagation_passes():
    report = check_gradient(network_loss, backpropagation, PARAMETERS)
    assert report.ok
    assert report.worst_relative_error < 1e-12  # by the complex step
    assert report.name == "backpropagation of network_loss"


SLIPS = {
    "derivative of sigmoid": ("p['W1'] (argument 0)", "is wrong in 20 of 20"),
    "penalty forgotten": (
        "p['W1'] (argument 0)",
        "is off by -0.01 times the argument itself: an L2 penalty of the function missing",
    ),
    "bias penalised": (
        "p['b1'] (argument 0)",
        "is off by 0.01 times the argument itself: an L2 penalty that the function does not have",
    ),
    "mean": ("p['b2'] (argument 0)", "is 0.05 (1/20) times the numerical one"),
    "no sum": ("p['b1'] (argument 0)", "has shape (20, 5), the argument (5,): the sum over axis 0"),
    "column": ("p['b2'] (argument 0)", "has shape (3, 1), the argument (3,): its values are right"),
    "transposed": ("p['W2'] (argument 0)", "it is transposed, its transpose agrees"),
    "row": ("p['W1'] (argument 0)", "is wrong at index 0 of axis 0, and right elsewhere"),
    "sign": ("p['b2'] (argument 0)", "has the wrong sign"),
}


@pytest.mark.parametrize("fault", SLIPS)
def test_the_classic_slips_of_backpropagation_are_named(fault):
    argument, words = SLIPS[fault]
    report = check_gradient(
        network_loss, lambda p: backpropagation(p, fault), PARAMETERS, raises=False
    )
    assert not report.ok
    [reason] = [reason for reason in report.reasons if words in reason]
    assert argument in reason
    if fault != "derivative of sigmoid":
        assert len(report.reasons) == 1


def test_the_check_is_scipys_where_the_gradient_is_right():
    def f(x):
        return np.sum(np.cosh(x) * x)

    def gradient(x):
        return np.cosh(x) + x * np.sinh(x)

    x = normal(4)
    assert check_gradient(f, gradient, x).ok
    assert check_grad(f, gradient, x) < 1e-5


def numerical_gradient(loss, theta, fault, epsilon=1e-4):
    """The gradient check of the courses, with the faults it is published with."""
    gradient = np.zeros_like(theta)
    for i in range(theta.size):
        plus = theta if "alias" in fault else theta.copy()
        plus[i] += epsilon
        minus = theta if "alias" in fault else theta.copy()
        minus[i] -= epsilon * (2 if "left changed" in fault else 1)
        divisor = 2 * (1e-2 if "divisor" in fault else epsilon)
        gradient[i] = (loss(plus) - loss(minus)) / divisor
    return gradient


def cubes(theta):
    return (theta**3).sum()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("alias", "writes into theta (argument 0) while it computes"),
        ("alias, left changed", "changes theta (argument 0) in place"),
        ("divisor", "is 0.01 (1/100) times the numerical one"),
    ],
)
def test_a_faulty_numerical_gradient_is_told_what_is_wrong_with_it(fault, words):
    def gradient(theta):
        return numerical_gradient(cubes, theta, fault)

    report = check_gradient(cubes, gradient, normal(6), rtol=1e-5, raises=False)
    assert not report.ok
    assert words in report.reasons[0]
    if "alias" in fault:
        assert "b = a.copy()" in report.reasons[0]
        assert "is zero" in report.reasons[1]


def test_a_right_numerical_gradient_passes_at_its_accuracy():
    assert check_gradient(
        cubes, lambda theta: numerical_gradient(cubes, theta, ""), normal(6), rtol=1e-6
    ).ok


def test_writing_and_restoring_is_no_fault_where_the_gradient_is_right():
    def gradient(theta):
        found = np.zeros_like(theta)
        for i, old in enumerate(theta.copy()):
            theta[i] = old + 1e-5
            plus = cubes(theta)
            theta[i] = old - 1e-5
            found[i] = (plus - cubes(theta)) / 2e-5
            theta[i] = old
        return found

    assert check_gradient(cubes, gradient, normal(6)).ok


def test_a_gradient_that_draws_its_weights_anew():
    rng = np.random.default_rng(0)

    def gradient(theta):
        return 3 * theta**2 * rng.normal(size=theta.shape)

    report = check_gradient(cubes, gradient, normal(6), raises=False)
    assert "different gradients by theta (argument 0) when called twice" in report.reasons[0]


def test_a_random_loss_is_reported_and_not_compared():
    rng = np.random.default_rng(0)
    report = check_gradient(
        lambda x: float(x.sum() + rng.random()), np.ones_like, normal(3), raises=False
    )
    assert "different values when called twice" in report.reasons[0]
    assert report.directions == 0


def test_several_arguments_and_data_without_gradient():
    def loss(w, b, x, labels):
        return ((x @ w + b - labels) ** 2).sum()

    def gradient(w, b, x, labels):
        residual = x @ w + b - labels
        return 2 * x.T @ residual, 2 * residual.sum(), None, None

    args = (normal(4), normal(), normal(7, 4), np.arange(7))
    assert check_gradient(loss, gradient, args).ok
    first_alone = check_gradient(loss, lambda *args: gradient(*args)[0], args)
    assert first_alone.ok
    wrong_second = check_gradient(
        loss,
        lambda *args: (gradient(*args)[0], 2 * gradient(*args)[1], None, None),
        args,
        raises=False,
    )
    assert "by b (argument 1) is 2 times" in wrong_second.reasons[0]


def test_a_gradient_for_integers_is_refused():
    report = check_gradient(
        lambda x, k: (x * k).sum(),
        lambda x, k: (k * 1.0, x),
        (normal(3), np.arange(3)),
        raises=False,
    )
    assert "k (argument 1) is int64, but a gradient is given for it" in report.reasons[0]


@pytest.mark.parametrize(
    ("f", "gradient", "message"),
    [
        (lambda x: (x.sum(), x), lambda x: x, "returned a tuple of 2"),
        (lambda x: x, lambda x: x, "returned shape \\(3,\\)"),
        (lambda x: x.sum(), lambda x: (x, x), "2 gradients were returned for 1 arguments"),
    ],
)
def test_misfits_of_function_and_gradient(f, gradient, message):
    with pytest.raises(ValueError, match=message):
        check_gradient(f, gradient, normal(3))


def test_misfits_of_nested_gradients():
    p = {"w": normal(3), "b": [normal(2)]}

    def f(p):
        return p["w"].sum() + p["b"][0].sum()

    with pytest.raises(ValueError, match=r"dict with keys \['b', 'w'\], but is \['w'\]"):
        check_gradient(f, lambda p: {"w": p["w"]}, p)
    with pytest.raises(ValueError, match=r"dict with keys \['b', 'w'\], but is \['c', 'w'\]"):
        check_gradient(f, lambda p: {"w": p["w"], "c": p["b"]}, p)
    with pytest.raises(ValueError, match=r"argument 0\['b'\] should have 1 parts, but has 2"):
        check_gradient(f, lambda p: {"w": p["w"], "b": [1.0, 2.0]}, p)


# What is no gradient at all: nothing compared is never a check that passed


def squares(w):
    return (w**2).sum()


@pytest.mark.parametrize(
    ("f", "gradient", "args"),
    [
        (squares, lambda w: None, normal(3)),
        (squares, lambda w: (None,), normal(3)),
        (lambda w, b: squares(w) + squares(b), lambda w, b: (None, None), (normal(3), normal(2))),
        (lambda p: squares(p["w"]), lambda p: {"w": None}, {"w": normal(3)}),
        (lambda w: squares(w.real), lambda w: None, normal(3) + 1j),
        (squares, lambda w: None, np.zeros((0, 3))),
    ],
)
def test_a_gradient_of_nothing_fails(f, gradient, args):
    report = check_gradient(f, gradient, args, raises=False)
    assert not report.ok
    assert report.directions == 0
    assert report.worst_relative_error == np.inf
    assert [fault.cause for fault in report.faults] == ["nothing compared"]
    assert "returned None for every argument" in report.reasons[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (2 * normal(3) + 0j, "an array of complex128"),
        ([str(2 * x) for x in normal(3)], "an array of <U"),
        ("gradient", "but str"),
        ((2 * normal(3)).astype(object), "an array of object"),
        ({1, 2}, "but set"),
    ],
)
def test_a_gradient_that_is_not_of_real_numbers_fails(given, words):
    report = check_gradient(squares, lambda w: given, normal(3), raises=False)
    assert report.faults[0].cause == "no numbers"
    assert words in report.reasons[0]


def test_a_gradient_of_another_shape_fails():
    for other in (1.0, normal(4), normal(3, 1), normal(1, 3), np.zeros(0)):
        report = check_gradient(squares, lambda w, other=other: other, normal(3), raises=False)
        assert [fault.cause for fault in report.faults] == ["shape"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda w, b: (2 * w,), "1 gradients were returned for 2 arguments: return one for each"),
        (lambda w, b: (), "0 gradients were returned for 2 arguments"),
        (lambda w, b: [2 * w, 2 * b], "but is a list: return several gradients as a tuple"),
        (lambda w, b: {"w": 2 * w, "b": 2 * b}, "should be an array, but is a dict"),
        (lambda w, b: (np.ma.array(w, mask=True), 2 * b), "argument 0 .* is a MaskedArray"),
    ],
)
def test_a_gradient_of_another_form_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        check_gradient(lambda w, b: squares(w) + squares(b), given, (normal(3), normal(2)))


@pytest.mark.parametrize("part", [0.0, "ab", np.array(3.0), {0: 1, 1: 2}, {1, 2}])
def test_a_part_of_a_nested_gradient_of_another_form_is_refused(part):
    p = {"w": normal(3), "b": [normal(2), normal(2)]}
    with pytest.raises(ValueError, match=r"argument 0\['b'\] should be a list of 2, but is a "):
        check_gradient(lambda p: squares(p["w"]), lambda p: {"w": 2 * p["w"], "b": part}, p)


@pytest.mark.parametrize("check", [check_grads, lambda f, a: check_gradient(f, lambda w: w, a)])
@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        ((), ValueError, "args holds no array"),
        ({}, ValueError, "args holds no array"),
        (["a"], TypeError, "is a str, not an array of numbers"),
        ((None,), TypeError, "is a NoneType, not an array of numbers"),
        (normal(3).astype(object), TypeError, "an array of object, not an array of numbers"),
        (np.ma.array(normal(3), mask=[1, 0, 0]), TypeError, "is a masked array"),
    ],
)
def test_arguments_that_are_no_numbers_are_refused(check, args, error, message):
    with pytest.raises(error, match=message):
        check(squares, args)


def test_functions_that_cannot_be_called_or_return_nothing():
    with pytest.raises(TypeError, match="the function is a int"):
        check_grads(3, normal(3))
    with pytest.raises(TypeError, match="the gradient is a ndarray"):
        check_gradient(squares, normal(3), normal(3))
    with pytest.raises(ValueError, match="returned None: is a return forgotten"):
        check_gradient(lambda w: None, lambda w: w, normal(3))
    assert "no floating-point" in failed(lambda w: None, normal(3)).reasons[0]
    assert "complex numbers" in failed(lambda w: w * 1j, normal(3)).reasons[0]


def test_empty_arguments_are_compared_by_shape_and_that_is_noted():
    report = check_gradient(squares, lambda w: 2 * w, np.zeros((0, 3)))
    assert report.notes == (
        "w (argument 0) has no elements: of its gradient only the shape was compared",
    )
    wrong_shape = check_gradient(squares, lambda w: w.T, np.zeros((0, 3)), raises=False)
    assert wrong_shape.faults[0].cause == "shape"


def test_what_was_not_checked_is_noted():
    report = check_gradient(
        lambda w, b: squares(w) + squares(b), lambda w, b: 2 * w, (normal(3), normal(2))
    )
    assert report.notes == ("b (argument 1) was not checked: no gradient by it was given",)


@pytest.mark.parametrize(
    "options",
    [
        {"rtol": np.nan},
        {"rtol": np.inf},
        {"rtol": 1.0},
        {"rtol": -1e-6},
        {"rtol": "1e-6"},
        {"atol": np.inf},
        {"atol": np.nan},
        {"atol": -1.0},
        {"step": 0.0},
        {"step": -1e-5},
        {"step": np.nan},
        {"step": np.inf},
        {"complex_step": "yes"},
        {"complex_step": None},
        {"order": 1.5},
        {"order": "2"},
        {"modes": "vjp"},
        {"modes": ()},
        {"modes": [["vjp"]]},
    ],
)
def test_options_with_which_a_check_would_say_nothing_are_refused(options):
    [name] = options
    with pytest.raises(ValueError, match=f"{name}="):
        check_grads(wrong(lambda g, out, x: 3 * g, np.sin), normal(3), **options)


def test_faults_carry_facts_beside_their_words():
    f = cr.custom_vjp(lambda g, out, x, y: g, lambda g, out, x, y: 2 * g)(lambda x, y: x + y)
    [fault] = failed(lambda a, b: f(a, b), (normal(3), normal(3, seed=1))).faults
    assert (fault.cause, fault.leaf) == ("factor", 1)
    unknown = failed(wrong(lambda g, out, x: g * np.exp(x), np.sinh), normal(4)).faults
    assert [fault.cause for fault in unknown] == [""]


def test_no_decision_hangs_on_words_of_the_users():
    """A function may be called, and may raise, what the checker itself says."""

    def gradient(theta):
        raise_if_read_only(theta)
        return 3 * theta

    def raise_if_read_only(theta):
        if not theta.flags.writeable:
            return

    gradient.__name__ = "changes w in place, no sign explains it"
    report = check_gradient(cubes, gradient, normal(6), raises=False)
    assert [fault.cause for fault in report.faults] == [""]

    def complains(theta):
        raise ValueError("the shape is read-only")

    with pytest.raises(ValueError, match="the shape is read-only"):
        check_gradient(cubes, complains, normal(6), raises=False)


def test_a_gradient_that_stops_working_is_not_said_to_write_in_place():
    calls = []

    def gradient(theta):
        calls.append(theta)
        if len(calls) > 4:  # once it has been compared, and is tried again to find out why
            raise RuntimeError("no longer")
        return 4 * theta**2

    report = check_gradient(cubes, gradient, normal(6), raises=False)
    assert len(calls) > 4
    assert "in place" not in [fault.cause for fault in report.faults]


def test_writing_in_place_is_recognised_whatever_the_function_raises():
    """A function that turns NumPy's error into its own writes all the same."""

    def gradient(theta):
        try:
            theta[0] += 0.0
        except ValueError:
            raise RuntimeError("cannot go on") from None
        return 4 * theta**2

    report = check_gradient(cubes, gradient, normal(6), raises=False)
    assert report.faults[0].cause == "in place"


def test_our_own_gradient_is_a_gradient_function_like_any():
    assert check_gradient(cubes, cr.grad(cubes), normal(6)).ok


def test_integers_in_place_of_floats_are_python_numbers():
    assert check_gradient(lambda x: x * x, lambda x: 2 * x, 3).ok
