"""Tensor: NumPy's protocols, what is refused, who may write where, and what .grad is."""

import copy
import math
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.primitives.dispatch import NUMPY_FUNCTIONS
from chainrule.scope import layer_scope
from chainrule.tensor import Tensor, require_float


def gradient(tensor, of):
    """The gradient of the sum of `of(tensor)` by backward()."""
    of(tensor).sum().backward()
    return tensor.grad


@pytest.fixture
def w():
    return cr.parameter([1.0, 2.0, 3.0])


# Operators and NumPy functions

OPERATORS = {
    "add": (lambda t: t + 2.0, [1, 1, 1]),
    "radd": (lambda t: 2.0 + t, [1, 1, 1]),
    "subtract": (lambda t: t - 2.0, [1, 1, 1]),
    "rsubtract": (lambda t: 2.0 - t, [-1, -1, -1]),
    "multiply": (lambda t: t * 3.0, [3, 3, 3]),
    "rmultiply": (lambda t: np.array([1.0, 0.0, 2.0]) * t, [1, 0, 2]),
    "divide": (lambda t: t / 2.0, [0.5, 0.5, 0.5]),
    "rdivide": (lambda t: 1.0 / t, [-1, -1 / 4, -1 / 9]),
    "power": (lambda t: t**2, [2, 4, 6]),
    "rpower": (lambda t: 2.0**t, [2 * math.log(2), 4 * math.log(2), 8 * math.log(2)]),
    "matmul": (lambda t: t @ np.array([1.0, 2.0, 3.0]), [1, 2, 3]),
    "rmatmul": (lambda t: np.eye(3) @ t, [1, 1, 1]),
    "list matmul": (lambda t: t @ [1.0, 2.0, 3.0], [1, 2, 3]),
    "list subtract": (lambda t: t - [1.0, 2.0, 3.0], [1, 1, 1]),
    "rlist": (lambda t: [1.0, 2.0, 3.0] * t, [1, 2, 3]),
    "negative": (lambda t: -t, [-1, -1, -1]),
    "positive": (lambda t: +t, [1, 1, 1]),
    "abs": (lambda t: abs(t), [1, 1, 1]),
    "remainder": (lambda t: t % 2.5, [1, 1, 1]),
    "floor divide": (lambda t: t // 2.0 + t, [1, 1, 1]),
    "T": (lambda t: t[None].T * np.ones((3, 2)), [2, 2, 2]),
    "tanh": (np.tanh, 1 - np.tanh([1, 2, 3]) ** 2),
    "where": (lambda t: np.where([True, False, True], t, 0), [1, 0, 1]),
    "where on itself": (lambda t: np.where(t > 1.5, t, -t), [-1, 1, 1]),
    "method": (lambda t: t.sum(axis=0) * 2, [2, 2, 2]),
    "mean": (lambda t: np.mean(t), [1 / 3, 1 / 3, 1 / 3]),
    "slice": (lambda t: t[1:], [0, 1, 1]),
    "integer": (lambda t: t[-1], [0, 0, 1]),
    "integer array": (lambda t: t[[0, 0, 2]], [2, 0, 1]),
    "boolean": (lambda t: t[np.array([True, False, True])], [1, 0, 1]),
    "boolean of itself": (lambda t: t[t > 1], [0, 1, 1]),
    "reshape": (lambda t: t.reshape(3, 1) * np.ones((3, 2)), [2, 2, 2]),
    "flatten": (lambda t: t.flatten(), [1, 1, 1]),
    "copy": (lambda t: t.copy(), [1, 1, 1]),
    "iteration": (lambda t: sum(k * v for k, v in enumerate(t)), [0, 1, 2]),
    "unpacking": (lambda t: (lambda a, b, c: a * b + c)(*t), [2, 1, 1]),
    "stack": (lambda t: np.stack([t, 2 * t]), [3, 3, 3]),
    "concatenate": (lambda t: np.concatenate([t, np.ones(2), t]), [2, 2, 2]),
    "clip": (lambda t: t.clip(1.5, 2.5), [0, 1, 0]),
    "astype": (lambda t: t.astype(np.float32), [1, 1, 1]),
}


@pytest.mark.parametrize(("of", "expected"), OPERATORS.values(), ids=OPERATORS)
def test_operators_functions_and_methods_carry_the_gradient(w, of, expected):
    np.testing.assert_array_equal(of(w).value, of(np.array([1.0, 2.0, 3.0])))
    np.testing.assert_allclose(gradient(w, of), expected, rtol=1e-14)


def test_matrices():
    a = cr.parameter(np.arange(6.0).reshape(2, 3))
    assert a.T.shape == (3, 2)
    assert a.mT.shape == (3, 2)
    assert a.transpose(1, 0).shape == a.transpose((1, 0)).shape == a.transpose().shape == (3, 2)
    assert a.ndim == 2
    assert a.size == 6
    assert len(a) == 2
    assert np.shape(a) == (2, 3)
    assert np.ndim(a) == 2
    assert np.size(a) == 6
    assert np.size(a, 1) == 3
    (a.T @ a).sum().backward()
    np.testing.assert_allclose(a.grad, 2 * np.tile(a.value.sum(axis=1, keepdims=True), 3))


def test_comparisons_are_constants(w):
    mask = w > 1.5
    assert type(mask) is np.ndarray
    assert mask.dtype == bool
    assert not mask.flags.writeable
    assert (w == w).all()
    assert not (w != w).any()
    assert 2.0 in w
    with pytest.raises(ValueError, match="ambiguous"):
        bool(w > 1.5)
    assert bool(w[0] > 0.5)


def test_a_tensor_is_itself_as_a_key(w):
    assert {w: 1}[w] == 1


def test_shapes_and_likes(w):
    assert isinstance(np.zeros_like(w), np.ndarray)
    assert np.ones_like(w, dtype=np.float32).dtype == np.float32
    assert np.array_equal(np.full_like(w, 7), [7.0, 7.0, 7.0])
    assert np.result_type(w, np.float32) == np.float64
    assert not np.iscomplexobj(w)


def test_every_supported_function_says_so_by_its_name():
    assert all(callable(ours) for ours in NUMPY_FUNCTIONS.values())
    assert {np.tanh, np.where, np.sum, np.matmul, np.einsum, np.concatenate} <= set(NUMPY_FUNCTIONS)


# What is refused


@pytest.mark.parametrize(
    ("call", "name", "instead"),
    [
        (lambda t: np.insert(t, 1, 0.0), "np.insert", "np.concatenate of the parts"),
        (lambda t: np.append(t, 1.0), "np.append", "np.concatenate"),
        (lambda t: np.median(t), "np.median", "np.sort and indexing"),
        (lambda t: np.nancumsum(t), "np.nancumsum", ""),
        (lambda t: np.spacing(t), "np.spacing", ""),
        (lambda t: np.linalg.svd(t), "np.linalg.svd", ""),
        (lambda t: np.modf(t), "np.modf", ""),
    ],
)
def test_unsupported_functions_are_named_with_one_of_like_meaning_or_none(w, call, name, instead):
    with pytest.raises(TypeError) as caught:
        call(w)
    message = str(caught.value)
    assert f"{name} has no derivative rule in chainrule" in message
    assert ".value" in message
    assert "cr.custom_vjp" in message
    assert "nearest" not in message
    assert message.count("; use ") == bool(instead)
    assert f"; use {instead}. " in message or not instead


@pytest.mark.parametrize(
    "convert",
    [
        np.asarray,
        np.array,
        lambda t: np.array([t, t]),
        lambda t: np.array([t[0], t[1]]),
        lambda t: np.asarray(t, dtype=np.float32),
        lambda t: np.sum([t, t]),
        lambda t: np.float64(t[0]),
        lambda t: np.zeros(3).__setitem__(slice(None), t),
        lambda t: np.testing.assert_allclose(t, [1, 2, 3]),
    ],
)
def test_no_silent_conversion_to_an_array(w, convert):
    with pytest.raises(TypeError, match="is not converted to an ndarray silently"):
        convert(w)


@pytest.mark.parametrize("convert", [float, complex, math.sin, lambda t: math.pow(t, 2)])
def test_no_silent_conversion_to_a_number(w, convert):
    with pytest.raises(TypeError, match="would lose its gradient silently: use .item"):
        convert(w[0])


def test_nor_to_an_integer_or_into_an_array(w):
    with pytest.raises(TypeError):
        int(w[0])
    with pytest.raises(TypeError):
        operator.index(w[0])
    array = np.zeros(3)
    with pytest.raises((TypeError, ValueError)):
        array[0] = w[0]
    assert not array.any()


def test_a_constant_is_a_number_like_any(w):
    assert float((w > 1).sum()) == 2.0


def test_the_ways_out(w):
    t = 2 * w
    assert t[0].item() == 2.0
    assert isinstance(t[0].item(), float)
    assert isinstance(t.value, np.ndarray)
    assert isinstance(t.detach(), np.ndarray)
    np.testing.assert_array_equal(t.detach(), [2, 4, 6])


def test_reductions_of_ufuncs_name_the_function_that_does_it(w):
    with pytest.raises(TypeError, match=r"np.add.reduce is not supported .* np.sum"):
        np.add.reduce(w)
    with pytest.raises(TypeError, match=r"np.multiply.outer"):
        np.multiply.outer(w, w)
    with pytest.raises(TypeError, match=r"np.add.at"):
        np.add.at(np.zeros(3), [0], w)


def test_unknown_options_are_refused(w):
    with pytest.raises(TypeError, match="takes no where="):
        np.add(w, 1, where=np.array([True, False, True]))
    with pytest.raises(TypeError, match="takes no dtype="):
        np.add(w, 1, dtype=np.float32)
    with pytest.raises(TypeError, match="np.sum on tensors takes no out="):
        np.sum(w, out=np.zeros(()))


def test_length_and_iteration_of_a_number(w):
    with pytest.raises(TypeError, match="0-d"):
        len(w[0])
    with pytest.raises(TypeError):
        list(w[0])


# In place


def test_an_element_cannot_be_set(w):
    with pytest.raises(TypeError, match=r"does not change in place: build the new value with"):
        w[0] = 1.0


def test_augmented_assignment_makes_a_new_value(w):
    t = u = 2 * w
    t += 1
    t *= 3
    assert t is not u
    np.testing.assert_array_equal(u.value, [2, 4, 6])
    t.sum().backward()
    np.testing.assert_array_equal(w.grad, [6, 6, 6])


@pytest.mark.parametrize("write", [operator.iadd, operator.imul, operator.isub])
def test_an_array_does_not_swallow_a_tensor_in_place(w, write):
    array = np.ones(3)
    with pytest.raises(TypeError, match="cannot write a Tensor into out="):
        write(array, w)
    assert np.array_equal(array, np.ones(3))


def test_out_is_refused(w):
    with pytest.raises(TypeError, match="use the returned value"):
        np.tanh(w, out=np.zeros(3))


def test_computed_values_are_read_only(w):
    for t in (2 * w, w[1:], w.T, np.tanh(w), w.reshape(3, 1), w.sum(), np.broadcast_to(w, (2, 3))):
        assert not t.value.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            t.value[...] = 0


def test_a_detached_value_is_read_only_and_the_parameters_own_is_not(w):
    with pytest.raises(ValueError, match="read-only"):
        w.detach()[0] = 5.0
    w.value[0] = 5.0
    assert w.detach()[0] == 5.0


# Data changed between forward and backward


def changed_after(make, change):
    """backward() after `change` of what `make` has read."""
    loss = make()
    change()
    with pytest.raises(ValueError, match=r"was changed between the forward pass .*backward pass"):
        loss.backward()


def test_a_changed_array_raises(w):
    x = np.ones(3)
    changed_after(lambda: (w * x).sum(), lambda: x.fill(10.0))


def test_a_changed_array_raises_through_a_view_made_before(w):
    x = np.ones((2, 3))
    view = x[0]
    changed_after(lambda: (x @ w).sum(), lambda: view.__setitem__(0, 10.0))


def test_a_changed_array_raises_where_the_view_was_read(w):
    x = np.ones((2, 3))
    changed_after(lambda: (x[0] * w).sum(), lambda: x.__setitem__((0, 2), 10.0))


def test_a_changed_parameter_raises(w):
    changed_after(lambda: (w**2).sum(), lambda: w.value.__setitem__(0, 10.0))


def test_a_changed_parameter_raises_through_an_augmented_value(w):
    def change():
        w.value += 1

    changed_after(lambda: (w**2).sum(), change)


def test_a_changed_index_raises(w):
    index = np.array([0, 1])
    changed_after(lambda: w[index].sum(), lambda: index.__setitem__(0, 2))


def test_a_changed_mask_raises(w):
    mask = np.array([True, False, True])
    changed_after(lambda: np.where(mask, w, 0).sum(), lambda: mask.__setitem__(0, False))


def test_a_changed_constant_tensor_raises(w):
    x = np.ones(3)
    constant = Tensor(x)
    changed_after(lambda: (w * constant).sum(), lambda: x.fill(10.0))


def test_the_message_says_what_was_changed_where(w):
    x = np.ones(3, np.float32)
    with layer_scope("dense_1"):
        loss = (w * x).sum()
    x[1] = 5
    with pytest.raises(ValueError, match=r"shape \(3,\), float32") as caught:
        loss.backward()
    message = str(caught.value)
    assert "multiply in layer dense_1" in message
    assert "1 of 3 values" in message


def test_a_change_is_found_by_the_transforms_too():
    x, data = np.ones(3), np.ones(3)
    _, f_vjp = cr.vjp(lambda x: x * data, x)
    f_vjp(np.ones(3))
    data[0] = 2
    with pytest.raises(ValueError, match="was changed"):
        f_vjp(np.ones(3))
    _, f_vjp = cr.vjp(lambda x: x * x, x)
    x[0] = 7
    with pytest.raises(ValueError, match="was changed"):
        f_vjp(np.ones(3))


def test_nan_that_stays_nan_is_no_change(w):
    x = np.array([np.nan, 1.0, np.inf])
    (w * x).sum().backward()
    assert np.isnan(w.grad[0])


def test_writing_the_same_numbers_back_is_no_change(w):
    x = np.ones(3)
    loss = (w * x).sum()
    x += 1
    x -= 1
    loss.backward()
    np.testing.assert_array_equal(w.grad, np.ones(3))


def test_a_change_after_backward_is_the_users_affair(w):
    x = np.ones(3)
    (w * x).sum().backward()
    x.fill(10.0)
    np.testing.assert_array_equal(w.grad, np.ones(3))


def test_a_list_is_read_once(w):
    x = [1.0, 1.0, 1.0]
    loss = (w * x).sum()
    x[0] = 10.0
    loss.backward()
    np.testing.assert_array_equal(w.grad, np.ones(3))


def test_a_replaced_parameter_leaves_the_recorded_one_alone(w):
    loss = (w**2).sum()
    w.value = [10.0, 10.0, 10.0]
    loss.backward()
    np.testing.assert_array_equal(w.grad, [2, 4, 6])
    np.testing.assert_array_equal(w.value, [10, 10, 10])


# Parameters and .grad


def test_a_parameter_keeps_a_copy():
    x = np.ones(3)
    w = cr.parameter(x)
    x[0] = 5
    assert w.value[0] == 1


def test_grad_is_none_before_and_an_array_of_the_parameters_dtype_after(w):
    assert w.grad is None
    (w * w).sum().backward()
    assert type(w.grad) is np.ndarray
    assert w.grad.dtype == np.float64
    w32 = cr.parameter(np.ones(2, np.float32))
    (w32 * np.ones(2)).sum().backward()
    assert w32.grad.dtype == np.float32


def test_grad_is_replaced_and_never_added_to(w):
    for _ in range(3):
        (2 * w).sum().backward()
        np.testing.assert_array_equal(w.grad, [2, 2, 2])
    w.grad = None
    assert w.grad is None


def test_grad_is_writeable_and_shared_with_nothing():
    v, w = cr.parameter(np.ones(3)), cr.parameter(np.ones(3))
    (v + w).sum().backward()
    v.grad *= 5
    np.testing.assert_array_equal(w.grad, np.ones(3))


def test_a_parameter_the_loss_does_not_depend_on_keeps_its_grad(w):
    other = cr.parameter(np.ones(2))
    w.sum().backward()
    assert other.grad is None


def test_interior_tensors_have_no_grad(w):
    t = 2 * w
    with pytest.raises(AttributeError, match=r"only parameters have .grad; .* chainrule.gradients"):
        _ = t.grad
    with pytest.raises(AttributeError, match="only parameters have .grad"):
        t.grad = 1
    with pytest.raises(AttributeError, match="value can be set"):
        t.value = np.ones(3)


def test_a_second_backward_refuses(w):
    loss = (w**2).sum()
    loss.backward()
    before = w.grad.copy()
    with pytest.raises(ValueError, match="used up by an earlier backward"):
        loss.backward()
    np.testing.assert_array_equal(w.grad, before)


def test_what_two_losses_share_is_used_up_by_the_first(w):
    shared = np.tanh(w)
    first, second = shared.sum(), (shared**2).sum()
    first.backward()
    with pytest.raises(ValueError, match="run the forward pass again"):
        second.backward()
    with pytest.raises(ValueError, match="run the forward pass again"):
        (2 * shared).sum().backward()


def test_backward_needs_one_number_that_depends_on_a_parameter(w):
    with pytest.raises(ValueError, match=r"the loss has shape \(3,\); a gradient needs one number"):
        (2 * w).backward()
    with pytest.raises(ValueError, match="depends on no parameter"):
        np.sign(w).sum().backward()
    with pytest.raises(ValueError, match="depends on no parameter"):
        Tensor(np.array(1.0)).backward()


def test_backward_of_a_parameter_itself():
    w = cr.parameter(3.0)
    w.backward()
    assert w.grad == 1.0
    w.backward()  # nothing was recorded, so nothing is used up
    assert w.grad == 1.0


def test_backward_inside_a_transform_is_refused(w):
    def f(x):
        loss = (w * x).sum()
        loss.backward()
        return loss

    with pytest.raises(ValueError, match="inside a transform such as chainrule.grad"):
        cr.grad(f)(np.ones(3))
    assert w.grad is None


def test_the_value_of_a_parameter(w):
    w.value = [4, 5, 6]
    assert w.value.dtype == np.float64
    with pytest.raises(ValueError, match=r"has shape \(3,\), the new value \(2,\)"):
        w.value = np.ones(2)
    w.value -= 0.5 * np.ones(3)
    np.testing.assert_array_equal(w.value, [3.5, 4.5, 5.5])


@pytest.mark.parametrize("value", [np.arange(3), np.ones(2, bool), np.ones(2, complex), "a"])
def test_only_floating_point_has_derivatives(value):
    with pytest.raises(TypeError, match="derivatives need floating-point"):
        cr.parameter(value)


def test_numbers_and_lists_of_python_become_float64():
    assert cr.parameter(3).dtype == np.float64
    assert cr.parameter([1, 2]).dtype == np.float64
    assert require_float([[1, 2]], "x").dtype == np.float64
    with pytest.raises(TypeError, match=r"x has dtype int64, shape \(2,\)"):
        require_float(np.array([1, 2]), "x")


def test_a_parameter_of_a_tensor_is_refused(w):
    with pytest.raises(TypeError, match="is a tensor already"):
        cr.parameter(w)


def test_a_copied_parameter_is_another_one(w):
    v = copy.deepcopy(w)
    (v * w).sum().backward()
    np.testing.assert_array_equal(v.grad, w.value)
    np.testing.assert_array_equal(w.grad, v.value)
    assert v.value is not w.value


# dtypes


def test_python_numbers_do_not_widen_float32():
    w = cr.parameter(np.ones(2, np.float32))
    for t in (
        w + 1,
        2.0 * w,
        w / 3,
        w**2,
        w**0.5,
        1 - w,
        np.maximum(w, 0),
        np.where(w > 0, w, 0.0),
    ):
        assert t.dtype == np.float32
    ((2.5 * w + 1) ** 2 / 3).sum().backward()
    assert w.grad.dtype == np.float32


def test_numpys_own_float64_does():
    w = cr.parameter(np.ones(2, np.float32))
    assert (w * np.float64(2)).dtype == np.float64
    assert (w * np.ones(2)).dtype == np.float64
    (w * np.ones(2)).sum().backward()
    assert w.grad.dtype == np.float32


@given(
    st.sampled_from([np.float16, np.float32, np.float64]),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_dtypes_are_those_of_numpy(a, b):
    x, y = cr.parameter(np.ones(2, a)), cr.parameter(np.ones(2, b))
    loss = (x * y).sum()
    assert loss.dtype == np.result_type(a, b)
    loss.backward()
    assert x.grad.dtype == a
    assert y.grad.dtype == b


# Printing


def test_repr():
    w = cr.parameter([1.0, 2.0])
    assert repr(w) == "parameter([1., 2.], shape=(2,), dtype=float64)"
    assert repr(np.tanh(0 * w)) == "Tensor([0., 0.], shape=(2,), dtype=float64, made by tanh)"
    assert repr(np.sign(w)) == "Tensor([1., 1.], shape=(2,), dtype=float64)"
    assert "..." in repr(cr.parameter(np.zeros(1000)))
    shown = []
    cr.grad(lambda x: shown.append(repr(x)) or x.sum())(np.zeros(2))
    assert shown == ["Tensor([0., 0.], shape=(2,), dtype=float64)"]


def test_format(w):
    assert f"{w.sum():.2f}" == "6.00"
    assert f"{w}" == repr(w)
