"""The reverse pass and the transforms: values, nesting, closures, forms and refusals."""

import functools
import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import rosen, rosen_der, rosen_hess, rosen_hess_prod

import chainrule as cr
from chainrule.scope import NonFiniteError, detect_nonfinite, layer_scope
from chainrule.tape import backpropagate
from chainrule.tensor import Tensor


def our_rosen(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def network(np, w, b, x):
    return np.sum(np.tanh(np.dot(x, w) + b) ** 2)


POINT = np.array([1.3, 0.7, 0.8, 1.9, 1.2])


# Against closed forms, SciPy and autograd


def test_gradient_hessian_and_product_of_rosenbrocks_function():
    v = np.arange(1.0, 6.0)
    np.testing.assert_allclose(our_rosen(POINT), rosen(POINT))
    np.testing.assert_allclose(cr.grad(our_rosen)(POINT), rosen_der(POINT), rtol=1e-12)
    np.testing.assert_allclose(cr.hessian(our_rosen)(POINT), rosen_hess(POINT), rtol=1e-12)
    np.testing.assert_allclose(cr.hvp(our_rosen, POINT, v), rosen_hess_prod(POINT, v), rtol=1e-12)


def test_a_network_against_autograd():
    rng = np.random.default_rng(0)
    w, b, x = rng.normal(size=(4, 3)), rng.normal(size=3), rng.normal(size=(5, 4))
    ours = cr.grad(functools.partial(network, np), (0, 1, 2))(w, b, x)
    theirs = autograd.grad(functools.partial(network, anp), (0, 1, 2))(w, b, x)
    for a, e in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12)
    hessian = cr.hessian(lambda w: network(np, w, b, x))(w)
    expected = autograd.hessian(lambda w: network(anp, w, b, x))(w)
    assert hessian.shape == (4, 3, 4, 3)
    np.testing.assert_allclose(hessian, expected, rtol=1e-10, atol=1e-12)


def test_the_jacobian_of_a_linear_map_is_its_matrix():
    a = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_array_equal(cr.jacobian(lambda x: a @ x)(np.ones(4)), a)
    jacobian = cr.jacobian(lambda m, x: m @ x)(a, np.ones(4))
    np.testing.assert_array_equal(jacobian, np.einsum("ij,k->ijk", np.eye(3), np.ones(4)))
    np.testing.assert_array_equal(cr.jacobian(lambda m, x: m @ x, 1)(a, np.ones(4)), a)


def test_the_jacobian_by_vjp_is_that_by_jvp():
    def f(x):
        return np.stack([x[0] * np.sin(x[1]), np.exp(x[2]) / x[0], x.sum()])

    x = np.array([1.5, 0.3, -0.7])
    jacobian = cr.jacobian(f)(x)
    columns = [cr.jvp(f, x, e)[1] for e in np.eye(3)]
    np.testing.assert_allclose(np.stack(columns, axis=1), jacobian, rtol=1e-14)
    expected = autograd.jacobian(
        lambda x: anp.array([x[0] * anp.sin(x[1]), anp.exp(x[2]) / x[0], anp.sum(x)])
    )(x)
    np.testing.assert_allclose(jacobian, expected, rtol=1e-14)


def test_shapes_of_jacobians():
    assert cr.jacobian(lambda x: x * np.ones((2, 3)))(1.5).shape == (2, 3)
    assert cr.jacobian(lambda x: x.sum())(np.ones((2, 3))).shape == (2, 3)
    assert cr.jacobian(lambda x: x[:0])(np.ones(3)).shape == (0, 3)
    assert cr.jacobian(lambda x: 2 * x)(np.ones((0, 3))).shape == (0, 3, 0, 3)
    assert cr.jacobian(lambda x: 3.0)(np.ones(2)).tolist() == [0.0, 0.0]
    assert cr.hessian(lambda x: x.sum())(np.ones((2, 2))).shape == (2, 2, 2, 2)


def test_jacobians_and_hessians_take_and_give_trees():
    """Outside the form of the outputs, inside that of the inputs, as in JAX."""
    rng = np.random.default_rng(0)
    p = {"W": rng.normal(size=(2, 3)), "b": [rng.normal(size=2), np.float32(0.5)]}
    x = rng.normal(size=3)

    def f(p, x):
        y = p["W"] @ x + p["b"][0]
        return {"y": np.tanh(y), "rest": (p["b"][1] ** 3, y[0] * x)}

    by_p, by_x = cr.jacobian(f, (0, -1))(p, x)["y"]
    assert set(by_p) == {"W", "b"}
    assert by_p["W"].shape == (2, 2, 3)
    assert [block.shape for block in by_p["b"]] == [(2, 2), (2,)]
    assert by_p["b"][1].dtype == np.float32
    slope = 1 - np.tanh(p["W"] @ x + p["b"][0]) ** 2
    np.testing.assert_allclose(by_x, slope[:, None] * p["W"])
    np.testing.assert_allclose(by_p["b"][0], np.diag(slope))
    np.testing.assert_allclose(by_p["W"][0], [slope[0] * x, np.zeros(3)])
    cubed, scaled = cr.jacobian(f)(p, x)["rest"]
    assert isinstance(cubed, dict)
    np.testing.assert_allclose(cubed["b"][1], 0.75)
    np.testing.assert_allclose(scaled["W"][:, 0], np.outer(x, x))
    # A list of outputs by one array, and an output that does not depend on it.
    first, second = cr.jacobian(lambda x: [x**2, 3.0])(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(first, [[2, 0], [0, 4]])
    np.testing.assert_array_equal(second, [0, 0])


def test_hessians_by_trees_are_blocks():
    p = {"a": np.array([1.0, 2.0]), "b": np.array(3.0)}
    f = lambda p: np.sum(p["a"] ** 2) * p["b"]
    blocks = cr.hessian(f)(p)
    np.testing.assert_array_equal(blocks["a"]["a"], 6 * np.eye(2))
    np.testing.assert_array_equal(blocks["a"]["b"], 2 * p["a"])
    np.testing.assert_array_equal(blocks["b"]["a"], 2 * p["a"])
    np.testing.assert_array_equal(blocks["b"]["b"], 0)
    by_both = cr.hessian(lambda x, y: x * y**2, (0, 1))(2.0, 3.0)
    np.testing.assert_array_equal(by_both, [[0, 6], [6, 4]])
    third = cr.jacobian(cr.hessian(f))(p)["a"]["a"]["b"]
    np.testing.assert_array_equal(third, 2 * np.eye(2))


def test_argnums_count_from_the_end_too_and_name_an_argument_once():
    f = lambda x, y: x * y**2
    assert cr.grad(f, -1)(2.0, 3.0) == 12
    assert cr.grad(f, (-1, 0))(2.0, 3.0) == (12, 9)
    for transform in (cr.grad, cr.value_and_grad, cr.jacobian, cr.hessian):
        with pytest.raises(ValueError, match="names an argument of 2 twice"):
            transform(f, (1, -1))(2.0, 3.0)
        with pytest.raises(ValueError, match="names an argument twice"):
            transform(f, (1, 1))
        with pytest.raises(ValueError, match="argument -3, but the function was called with 2"):
            transform(f, -3)(2.0, 3.0)
        with pytest.raises(TypeError, match="'x': it is the position"):
            transform(f, "xy")
        with pytest.raises(TypeError, match=r"1.5: it is the position"):
            transform(f, 1.5)
    assert cr.grad(f, np.int64(-1))(2.0, 3.0) == 12


@pytest.mark.parametrize("out", [3, np.arange(2)[1], True, np.array([1, 2])])
def test_results_that_change_in_steps_have_no_derivative(out):
    x = np.array([1.0, 2.0])
    number = np.size(out) == 1
    for f in (lambda x: out, lambda x: np.argmax(x) if number else np.argsort(x)):
        for transform in (cr.jacobian, *[cr.grad, cr.hessian, cr.value_and_grad][: 3 * number]):
            with pytest.raises(TypeError, match="which has no derivative"):
                transform(f)(x)
        with pytest.raises(TypeError, match="which has no derivative"):
            cr.vjp(f, x)
    # beside an output that has one, an index is only passed through
    (value, index), f_vjp = cr.vjp(lambda x: (np.max(x), np.argmax(x)), x)
    assert (value, index) == (2.0, 1)
    np.testing.assert_array_equal(f_vjp((1.0, 0))[0], [0, 1])


@given(st.floats(-2, 2), st.integers(1, 6))
def test_powers_to_order_4(x, n):
    f = lambda x: x**n
    expected = 1.0
    for order in range(1, 5):
        f = cr.grad(f)
        expected = math.prod(n - k for k in range(order)) * (
            x ** (n - order) if order <= n else 0.0
        )
        np.testing.assert_allclose(f(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("x", [-1.2, 0.0, 0.4])
def test_derivatives_of_tanh_to_order_4(x):
    t = math.tanh(x)
    s = 1 - t * t
    expected = [s, -2 * t * s, s * (6 * t * t - 2), t * s * (16 - 24 * t * t)]
    f = np.tanh
    for value in expected:
        f = cr.grad(f)
        np.testing.assert_allclose(f(x), value, rtol=1e-12, atol=1e-14)


def test_the_mixed_derivatives_of_different_transforms_agree():
    def f(x, y):
        return (np.sin(x) * np.exp(y) * x).sum()

    x, y, v = np.array([0.3, 0.8]), np.array([-0.2, 0.5]), np.array([1.0, -2.0])
    xy = cr.jacobian(lambda y: cr.grad(f)(x, y))(y)
    yx = cr.jacobian(lambda x: cr.grad(f, 1)(x, y))(x)
    np.testing.assert_allclose(xy, yx.T, rtol=1e-12, atol=1e-14)
    of_jvp = cr.grad(lambda x: cr.jvp(lambda x: f(x, y), x, v)[1])(x)
    np.testing.assert_allclose(of_jvp, cr.hvp(lambda x: f(x, y), x, v), rtol=1e-12)
    jvp_of_grad = cr.jvp(cr.grad(lambda x: f(x, y)), x, v)[1]
    np.testing.assert_allclose(jvp_of_grad, of_jvp, rtol=1e-12)


# Perturbation confusion, closures and escapes


def test_perturbation_confusion():
    """d/dx (x * d/dy (x + y)) = 1: an inner derivative must not take the outer's variable."""
    assert cr.grad(lambda x: x * cr.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert cr.grad(lambda x: x * cr.grad(lambda y: x * y)(2.0))(3.0) == 6.0
    assert cr.jvp(lambda x: x * cr.jvp(lambda y: x + y, 1.0, 1.0)[1], 1.0, 1.0)[1] == 1.0
    assert cr.grad(lambda x: x * cr.jvp(lambda y: x * y, 2.0, 1.0)[1])(3.0) == 6.0
    assert cr.jvp(lambda x: x * cr.grad(lambda y: x * y)(2.0), 3.0, 1.0)[1] == 6.0


def test_three_levels_of_closures():
    def f(x):
        return cr.grad(lambda y: cr.grad(lambda z: x * x * y * y * y * z * z)(1.0) * y)(1.0)

    # d/dz: 2 x² y³ z; times y; d/dy: 8 x² y³; d/dx: 16 x
    assert cr.grad(f)(3.0) == pytest.approx(48.0)


def test_the_same_function_at_several_levels():
    def f(x, depth):
        return x if depth == 0 else x * cr.grad(lambda y: f(y, depth - 1) * x)(x)

    # f1 = x * d/dy (y * x) = x²; f2 = x * d/dy (y² * x) = 2x³
    assert cr.grad(lambda x: f(x, 1))(3.0) == pytest.approx(6.0)
    assert cr.grad(lambda x: f(x, 2))(3.0) == pytest.approx(54.0)


def test_a_parameter_outside_is_differentiated_through_a_gradient_inside():
    w = cr.parameter([1.0, 2.0, 3.0])
    x = np.array([1.0, 2.0, 3.0])
    inner = cr.grad(lambda y: (w * y * y).sum())(x)  # 2 w x
    assert isinstance(inner, Tensor)
    inner.sum().backward()
    np.testing.assert_array_equal(w.grad, 2 * x)


def test_a_gradient_penalty_in_tensor_style():
    w = cr.parameter([0.5, -0.3])
    x = np.array([1.0, 2.0])

    def output(x):
        return np.tanh((w * x).sum())

    (cr.grad(output)(x) ** 2).sum().backward()

    def penalty(w):
        out = np.tanh(np.sum(w * x))
        return np.sum(((1 - out**2) * w) ** 2)

    step = 1e-6
    for i in range(2):
        e = step * np.eye(2)[i]
        numerical = (penalty(w.value + e) - penalty(w.value - e)) / (2 * step)
        assert w.grad[i] == pytest.approx(numerical, rel=1e-8)


def test_a_tensor_that_escapes_from_a_transform_counts_as_its_value():
    escaped = []

    def inner(y):
        escaped.append(y * y)
        return y.sum()

    def f(x):
        cr.grad(inner)(x)
        return escaped[-1].sum()

    np.testing.assert_array_equal(cr.grad(f)(np.array([1.0, 2.0])), [2.0, 4.0])
    value, _ = cr.vjp(f, np.array([1.0, 2.0]))
    assert value == 5.0
    assert not isinstance(value, Tensor)


def test_a_vjp_function_is_called_later_and_often():
    x = np.array([0.5, 1.0])
    out, f_vjp = cr.vjp(np.sin, x)
    np.testing.assert_array_equal(out, np.sin(x))
    for g in (np.ones(2), np.array([1.0, 0.0]), np.zeros(2)):
        np.testing.assert_array_equal(f_vjp(g)[0], g * np.cos(x))
    # inside a transform opened after it: linear in its cotangent
    jacobian = cr.jacobian(lambda g: f_vjp(g)[0])(np.ones(2))
    np.testing.assert_allclose(jacobian, np.diag(np.cos(x)))
    assert cr.grad(lambda s: (f_vjp(s * np.ones(2))[0] ** 2).sum())(3.0) == pytest.approx(
        6 * (np.cos(x) ** 2).sum()
    )


def test_a_vjp_function_made_inside_a_transform_is_called_inside_another():
    def f(x):
        _, f_vjp = cr.vjp(lambda y: x * y**2, 2.0)
        return cr.grad(lambda g: f_vjp(g)[0] * g)(3.0)  # d/dg (4 x g²) = 24 x

    assert f(1.0) == pytest.approx(24.0)
    assert cr.grad(f)(1.0) == pytest.approx(24.0)


# Forms of arguments and results


def test_dicts_lists_and_tuples_come_back_in_their_form():
    p = {"w": np.ones((2, 3)), "rest": [np.array(2.0), (np.ones(3),)]}

    def f(p):
        return (p["w"] @ p["rest"][1][0]).sum() * p["rest"][0]

    g = cr.grad(f)(p)
    assert set(g) == {"w", "rest"}
    assert isinstance(g["rest"], list)
    assert isinstance(g["rest"][1], tuple)
    np.testing.assert_array_equal(g["w"], np.full((2, 3), 2.0))
    assert g["rest"][0] == 6.0
    np.testing.assert_array_equal(g["rest"][1][0], np.full(3, 4.0))


def test_argnums():
    def f(x, y, z):
        return (x * y * y * z).sum()

    x, y, z = np.ones(2), np.full(2, 3.0), np.full(2, 5.0)
    np.testing.assert_array_equal(cr.grad(f)(x, y, z), 45 * x)
    np.testing.assert_array_equal(cr.grad(f, 1)(x, y, z), 30 * x)
    np.testing.assert_array_equal(cr.grad(f, -1)(x, y, z), 9 * x)
    z_grad, x_grad = cr.grad(f, (2, 0))(x, y, z)
    np.testing.assert_array_equal(z_grad, 9 * x)
    np.testing.assert_array_equal(x_grad, 45 * x)
    with pytest.raises(ValueError, match="argnums=3 asks for argument 3, but .* called with 3"):
        cr.grad(f, 3)(x, y, z)
    with pytest.raises(ValueError, match="names an argument twice"):
        cr.grad(f, (0, 0))
    np.testing.assert_array_equal(cr.grad(lambda x, k: x**k)(3.0, k=2), 6.0)


def test_other_arguments_may_be_anything():
    f = lambda x, mode, labels: (x * labels).sum() if mode == "sum" else 0.0
    np.testing.assert_array_equal(cr.grad(f)(np.ones(3), "sum", np.arange(3)), [0, 1, 2])


def test_value_and_grad_and_has_aux():
    def f(x):
        hidden = np.tanh(x)
        return hidden.sum(), {"hidden": hidden, "n": 3}

    x = np.array([0.1, 0.2])
    (value, aux), gradient = cr.value_and_grad(f, has_aux=True)(x)
    np.testing.assert_allclose(value, np.tanh(x).sum())
    assert type(aux["hidden"]) is np.ndarray
    np.testing.assert_array_equal(aux["hidden"], np.tanh(x))
    assert aux["n"] == 3
    np.testing.assert_allclose(gradient, 1 - np.tanh(x) ** 2)


def test_aux_is_differentiable_by_the_transform_outside():
    def f(x):
        (_, aux), _ = cr.value_and_grad(lambda y: ((y * y).sum(), y**3), has_aux=True)(x)
        return aux.sum()

    np.testing.assert_allclose(cr.grad(f)(np.array([1.0, 2.0])), [3.0, 12.0])


def test_vjp_of_nested_results():
    def f(x, y):
        return {"a": x * y, "b": [x.sum(), y]}

    x, y = np.array([1.0, 2.0]), np.array([3.0, 5.0])
    out, f_vjp = cr.vjp(f, x, y)
    assert out["b"][0] == 3.0
    g = {"a": np.array([1.0, 10.0]), "b": [np.array(100.0), np.array([7.0, 8.0])]}
    x_g, y_g = f_vjp(g)
    np.testing.assert_array_equal(x_g, [103.0, 150.0])
    np.testing.assert_array_equal(y_g, [8.0, 28.0])


def test_cotangents_of_a_dict_are_matched_by_key():
    _, f_vjp = cr.vjp(lambda x: {"a": x, "b": 10 * x}, np.ones(1))
    [g] = f_vjp({"b": np.array([1.0]), "a": np.array([0.0])})
    assert g == [10.0]
    for wrong in ({"a": np.ones(1)}, [np.ones(1)] * 2, np.ones(1), {"a": 0.0, "c": 0.0}):
        with pytest.raises(ValueError, match="keys"):
            f_vjp(wrong)


def test_tangents_of_a_dict_are_matched_by_key():
    p = {"w": np.array(2.0), "b": np.array(3.0)}
    _, tangent = cr.jvp(lambda p: p["w"] * p["b"], p, {"b": np.array(0.0), "w": np.array(1.0)})
    assert tangent == 3.0


def test_cotangents_and_tangents_have_the_shape_of_what_they_belong_to():
    _, f_vjp = cr.vjp(lambda x: 2 * x, np.ones(3))
    with pytest.raises(ValueError, match=r"the output has shape \(3,\) but its cotangent \(2,\)"):
        f_vjp(np.ones(2))
    with pytest.raises(ValueError, match="shape"):
        cr.jvp(np.sin, np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="shape"):
        cr.hvp(our_rosen, POINT, np.ones(2))


def test_jvp_of_many_arguments_and_nested_results():
    def f(p, x):
        return [p["w"] * x, p["w"].sum()]

    p, x = {"w": np.array([1.0, 2.0])}, np.array([3.0, 4.0])
    out, tangent = cr.jvp(f, (p, x), ({"w": np.array([1.0, 0.0])}, np.array([0.0, 1.0])))
    np.testing.assert_array_equal(out[0], [3.0, 8.0])
    np.testing.assert_array_equal(tangent[0], [3.0, 2.0])
    assert tangent[1] == 1.0


def test_hvp_of_many_arguments():
    x, y = np.array([1.0, 2.0]), np.array(3.0)
    hx, hy = cr.hvp(lambda x, y: (x**2).sum() * y, (x, y), (np.ones(2), np.array(0.0)))
    np.testing.assert_array_equal(hx, [6.0, 6.0])
    assert hy == 6.0


def test_named_tuples_keep_their_type():
    out, f_vjp = cr.vjp(np.linalg.slogdet, 3 * np.eye(2))
    assert type(out).__name__ == "SlogdetResult"
    [g] = f_vjp((0.0, 1.0))
    np.testing.assert_allclose(g, np.eye(2) / 3)


def test_results_that_do_not_depend_on_the_argument():
    np.testing.assert_array_equal(cr.grad(lambda x: 3.0)(np.ones(2)), np.zeros(2))
    np.testing.assert_array_equal(
        cr.grad(lambda x, y: y.sum())(np.ones(2), np.ones(3)), np.zeros(2)
    )
    out, tangent = cr.jvp(lambda x: 3.0, np.ones(2), np.ones(2))
    assert (out, tangent) == (3.0, 0.0)
    np.testing.assert_array_equal(cr.hessian(lambda x: x.sum())(np.ones(2)), np.zeros((2, 2)))
    np.testing.assert_array_equal(cr.hvp(lambda x: 1.0, np.ones(2), np.ones(2)), np.zeros(2))
    g_x, g_k = cr.grad(lambda p: (p["x"] ** 2).sum())({"x": np.ones(1), "k": np.ones(2)}).values()
    np.testing.assert_array_equal(g_k, np.zeros(2))
    assert g_x == [2.0]


def test_gradients_are_arrays_of_their_own():
    x = np.ones(3)
    a, b = cr.grad(lambda x, y: (x + y).sum(), (0, 1))(x, x)
    a[0] = 7
    assert b[0] == 1
    _, f_vjp = cr.vjp(lambda x: x, x)
    g = np.ones(3)
    [returned] = f_vjp(g)
    returned[0] = 5
    assert g[0] == 1


# Refusals


@pytest.mark.parametrize(
    ("f", "what"),
    [
        (lambda x: x, r"shape \(2,\)"),
        (lambda x: (x.sum(), x), "a tuple"),
        (lambda x: {"loss": x.sum()}, "a dict"),
        (lambda x: None, "None"),
        (lambda x: "loss", "a str"),
        (lambda x: x[None, :1], r"shape \(1, 1\)"),
    ],
)
def test_a_gradient_needs_one_number(f, what):
    with pytest.raises(ValueError, match=f"the function returned {what}.* a gradient needs one"):
        cr.grad(f)(np.ones(2))


def test_one_element_is_one_number():
    np.testing.assert_array_equal(cr.grad(lambda x: x[:1] ** 2)(np.array([3.0, 4.0])), [6.0, 0.0])


@pytest.mark.parametrize(
    "transform",
    [
        cr.grad(lambda x: x.sum()),
        cr.jacobian(lambda x: x),
        cr.hessian(lambda x: x.sum()),
        lambda x: cr.vjp(lambda x: x, x),
        lambda x: cr.jvp(lambda x: x, x, x),
        lambda x: cr.hvp(lambda x: x.sum(), x, x),
    ],
)
@pytest.mark.parametrize("x", [np.arange(3), np.array([True]), np.ones(2, complex), None, "a"])
def test_arguments_without_derivative_raise(transform, x):
    with pytest.raises(TypeError, match="derivatives need floating-point"):
        transform(x)


def test_python_numbers_are_floats():
    assert cr.grad(lambda x: x * x)(3) == 6.0
    assert cr.grad(lambda x: x * x)(3).dtype == np.float64
    assert cr.grad(lambda p: p[0] * p[1])([2, 3]) == [3.0, 2.0]


def test_a_rule_that_returns_a_wrong_shape_is_named():
    f = cr.custom_vjp(lambda g, out, x: g[:-1])(lambda x: 2 * x)
    with pytest.raises(
        ValueError, match=r"the vjp rule of .* for argument 0 returned shape \(2,\)"
    ):
        cr.grad(lambda x: f(x).sum())(np.ones(3))


# dtypes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_transform_keeps_the_dtype(dtype):
    x = np.array([0.5, 1.5], dtype)

    def f(x):
        return (np.tanh(2 * x + 1) ** 2 / 3).mean()

    assert cr.grad(f)(x).dtype == dtype
    assert cr.hessian(f)(x).dtype == dtype
    assert cr.jacobian(lambda x: x * 2)(x).dtype == dtype
    assert cr.hvp(f, x, x).dtype == dtype
    out, tangent = cr.jvp(f, x, x)
    assert out.dtype == tangent.dtype == dtype
    assert cr.value_and_grad(f)(x)[0].dtype == dtype


def test_the_gradient_has_the_arguments_dtype_where_a_constant_widens():
    x = np.ones(2, np.float32)
    value, gradient = cr.value_and_grad(lambda x: (x * np.ones(2)).sum())(x)
    assert value.dtype == np.float64
    assert gradient.dtype == np.float32
    assert cr.hessian(lambda x: (x**3 * np.ones(2)).sum())(x).dtype == np.float32


# gradients of interior tensors


def test_gradients_of_interior_tensors():
    w = cr.parameter([1.0, 2.0])
    a = np.square(w)
    b = 3 * a
    loss = (a * b).sum()  # 3 a²
    of_a, of_b, of_w = cr.gradients(loss, [a, b, w])
    np.testing.assert_array_equal(of_a, 6 * a.value)
    np.testing.assert_array_equal(of_b, a.value)
    np.testing.assert_array_equal(of_w, 12 * w.value**3)
    assert w.grad is None
    np.testing.assert_array_equal(cr.gradients(loss, [a])[0], of_a)  # the tape is still there
    loss.backward()
    np.testing.assert_array_equal(w.grad, of_w)
    with pytest.raises(ValueError, match="used up"):
        cr.gradients(loss, [a])


def test_gradients_of_what_the_loss_does_not_depend_on_are_zero():
    w, v = cr.parameter([1.0, 2.0]), cr.parameter(np.ones(3))
    loss = w.sum()
    np.testing.assert_array_equal(cr.gradients(loss, [v])[0], np.zeros(3))
    np.testing.assert_array_equal(cr.gradients(loss, [2 * w])[0], np.zeros(2))
    with pytest.raises(TypeError, match=r"one of those given is shape \(2,\), bool"):
        cr.gradients(loss, [w > 0])
    assert cr.gradients(loss, []) == []


def test_gradients_inside_a_transform():
    def f(x):
        hidden = np.tanh(x)
        [g] = cr.gradients((hidden**2).sum(), [hidden])
        return g.sum()

    x = np.array([0.3, 0.4])
    value, _ = cr.vjp(f, x)
    np.testing.assert_allclose(value, 2 * np.tanh(x).sum())


def test_gradients_across_transforms_are_refused():
    w = cr.parameter(np.ones(2))

    def f(x):
        return cr.gradients((w * x).sum(), [w])[0].sum()

    with pytest.raises(ValueError, match="recorded by different transforms"):
        cr.grad(f)(np.ones(2))


def test_only_nodes_on_the_way_to_a_target_are_visited():
    visited = []

    def spy(name):
        return cr.custom_vjp(lambda g, out, x: visited.append(name) or g)(lambda x: x * 1.0)

    v, w = cr.parameter(2.0), cr.parameter(3.0)
    a, b = spy("a")(v), spy("b")(w)
    loss = a * b
    backpropagate({loss.node: np.array(1.0)}, [w.node])
    assert visited == ["b"]
    visited.clear()
    cr.gradients(loss, [a])
    assert visited == []


def test_a_rule_nobody_asked_for_is_not_run():
    asked = []
    f = cr.custom_vjp(
        lambda g, out, x, y: asked.append("x") or g * y,
        lambda g, out, x, y: asked.append("y") or g * x,
    )(lambda x, y: x * y)
    cr.grad(lambda x: f(x, np.array(3.0)))(2.0)
    assert asked == ["x"]


# custom_vjp


def test_custom_vjp_with_any_callable_as_its_rule():
    class Cosine:
        def __call__(self, g, out, x):
            return g * np.cos(x)

    scaled = functools.partial(lambda scale, g, out, x: scale * g * np.cos(x), 1.0)
    for rule in (Cosine(), scaled):
        f = cr.custom_vjp(rule)(np.sin)
        assert cr.check_grads(f, np.array([0.5, 1.0])).ok
        np.testing.assert_allclose(cr.grad(cr.grad(f))(0.5), -np.sin(0.5))


def test_custom_vjp_of_a_function_that_returns_a_number():
    f = cr.custom_vjp(lambda g, out, x: g * np.ones(x.shape))(lambda x: float(np.sum(x)))
    np.testing.assert_array_equal(cr.grad(f)(np.ones(3)), np.ones(3))


def test_custom_vjp_broadcasts_and_casts_like_the_table():
    f = cr.custom_vjp(lambda g, out, x, y: g * y, lambda g, out, x, y: g * x)(lambda x, y: x * y)
    x, y = np.ones((2, 1), np.float32), np.arange(3.0)
    gx, gy = cr.grad(lambda x, y: f(x, y).sum(), (0, 1))(x, y)
    assert gx.dtype == np.float32
    assert gx.tolist() == [[3.0], [3.0]]
    assert gy.tolist() == [2.0, 2.0, 2.0]


# detect_nonfinite


def test_the_first_value_that_is_not_finite_is_located_forward():
    def f(x):
        with layer_scope("dense_2"):
            return np.log(x).sum()

    with (
        np.errstate(all="ignore"),
        detect_nonfinite(),
        pytest.raises(
            NonFiniteError, match="log of layer dense_2 made inf in the forward pass: 1 of 2"
        ),
    ):
        cr.grad(f)(np.array([0.0, 1.0]))
    with (
        np.errstate(all="ignore"),
        cr.detect_nonfinite(),
        pytest.raises(FloatingPointError, match="sqrt made NaN in the forward pass"),
    ):
        np.sqrt(cr.parameter([-1.0]))


def test_and_backward():
    def f(x):
        with layer_scope("norm"):
            hidden = np.sqrt(x)
        return (hidden * 2).sum()

    with (
        np.errstate(all="ignore"),
        detect_nonfinite(),
        pytest.raises(
            NonFiniteError, match="sqrt of layer norm made inf in the backward pass: 2 of 3"
        ),
    ):
        cr.grad(f)(np.array([0.0, 1.0, 0.0]))


def test_nothing_is_looked_for_outside_of_it():
    with np.errstate(all="ignore"):
        assert np.isinf(cr.grad(np.sqrt)(0.0))
        with detect_nonfinite():
            pass
        assert np.isinf(cr.grad(np.sqrt)(0.0))


# Properties


@given(st.integers(0, 1000))
def test_the_gradient_is_linear_in_the_function(seed):
    rng = np.random.default_rng(seed)
    x, a, b = rng.normal(size=4), rng.normal(), rng.normal()
    f = lambda x: np.tanh(x).sum()
    g = lambda x: np.prod(x)
    combined = cr.grad(lambda x: a * f(x) + b * g(x))(x)
    np.testing.assert_allclose(combined, a * cr.grad(f)(x) + b * cr.grad(g)(x), atol=1e-12)


@given(st.integers(0, 1000))
def test_the_chain_rule(seed):
    rng = np.random.default_rng(seed)
    a, x = rng.normal(size=(3, 4)), rng.normal(size=4)
    inner = lambda x: np.sin(a @ x)
    outer = lambda y: np.exp(y) * y
    whole = cr.jacobian(lambda x: outer(inner(x)))(x)
    product = cr.jacobian(outer)(inner(x)) @ cr.jacobian(inner)(x)
    np.testing.assert_allclose(whole, product, rtol=1e-12, atol=1e-12)


@given(st.integers(0, 1000))
def test_a_hessian_is_symmetric_and_gives_its_products(seed):
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=5), rng.normal(size=5)
    f = lambda x: np.sum(np.tanh(x[1:] * x[:-1])) + np.prod(np.cos(x))
    hessian = cr.hessian(f)(x)
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-12)
    np.testing.assert_allclose(cr.hvp(f, x, v), hessian @ v, atol=1e-11)


@given(st.integers(0, 1000))
def test_tensor_style_and_function_style_agree_to_the_bit(seed):
    rng = np.random.default_rng(seed)
    w, x = rng.normal(size=(3, 2)), rng.normal(size=(4, 3))
    f = lambda w: (np.tanh(x @ w) ** 2).mean()
    parameter = cr.parameter(w)
    f(parameter).backward()
    assert np.array_equal(parameter.grad, cr.grad(f)(w))
