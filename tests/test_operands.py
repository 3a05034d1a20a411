"""What a primitive computes with: plain arrays and numbers, and what is refused by name."""

from __future__ import annotations

import array
import copy
import enum
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
import scipy.sparse
import scipy.special

import chainrule as cr
from chainrule.primitives import stop_gradient
from chainrule.primitives.operands import as_operand
from chainrule.tensor import Tensor

X = np.array([1.0, 2.0, 3.0])


class Unit:
    """An array with a unit: NumPy leaves its functions to it."""

    __array_ufunc__ = None

    def __rmul__(self, other):
        return "unit"

    __radd__ = __rmul__


class Quantity:
    """As Unit, by the newer protocol."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return f"quantity of {ufunc.__name__}"

    def __array_function__(self, function, types, args, kwargs):
        return f"quantity of {function.__name__}"


class Series:
    """What a pandas Series looks like to NumPy."""

    __module__ = "pandas.core.series"

    def __init__(self, values):
        self.values = np.array(values)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return NotImplemented  # so does pandas, where another operand answers for ufuncs

    def __array__(self, dtype=None, copy=None):
        return self.values

    def __mul__(self, other):
        if getattr(other, "__pandas_priority__", 0) > 3000:
            return NotImplemented
        raise AssertionError("pandas leaves it to what has a higher priority")


REFUSED = {
    "masked": (np.ma.array(X, mask=[0, 1, 0]), "a masked array.*filled"),
    "masked, no mask": (np.ma.array(X), "a masked array"),
    "matrix": (np.matrix([[1.0, 2.0, 3.0]]), "an np.matrix.*np.asarray"),
    "sparse array": (scipy.sparse.csr_array(np.eye(3)), r"scipy.sparse.*toarray"),
    "sparse matrix": (scipy.sparse.coo_matrix(np.eye(3)), r"scipy.sparse.*toarray"),
    "complex array": (X + 0j, "complex128.*np.real"),
    "complex list": ([1j, 2.0, 3.0], "complex128.*np.real"),
    "complex": (2j, "complex128.*np.real"),
    "complex64": (np.complex64(2), "complex64.*np.real"),
    "objects": (np.array([1.0, None, "a"], object), "dtype object"),
    "fractions": ([Fraction(1, 2)] * 3, "dtype object"),
    "a fraction": (Fraction(1, 2), "a fractions.Fraction"),
    "text": (np.array(["a", "b", "c"]), "dtype <U1"),
    "a word": ("a", "a str"),
    "bytes": (b"abc", "a bytes"),
    "nothing": (None, "None"),
    "dates": (np.array(["2020-01-01"], "datetime64[D]"), "datetime64"),
    "a dict": ({"a": 1.0}, "a dict"),
    "an object": (object(), "a object"),
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize(("operand", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize(
    "call",
    [
        lambda t, other: np.multiply(t, other),
        lambda t, other: np.multiply(other, t),
        lambda t, other: t + other,
        lambda t, other: t > other,
        lambda t, other: np.where(t > 1, t, other),
        lambda t, other: np.matmul(t, other),
        lambda t, other: np.clip(t, other, 3.0),
        lambda t, other: cr.primitives.logaddexp(other, t),
        lambda t, other: np.concatenate([t, other]),
    ],
    ids="multiply from-the-left add greater where matmul clip primitive concatenate".split(),
)
def test_operands_that_are_no_plain_arrays_are_refused_by_name(operand, message, call):
    if operand is None and "clip" in call.__code__.co_names:
        return  # an open side
    with pytest.raises(TypeError, match=message):
        call(cr.parameter(X), operand)
    with pytest.raises(TypeError, match=message):
        cr.grad(lambda x: np.sum(call(x, operand)))(X)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize(("argument", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_and_parameters_come_through_the_same_gate(argument, message):
    if isinstance(argument, dict):
        return  # a tree
    for call in (cr.grad(np.sum), cr.jacobian(np.sin), cr.parameter):
        if isinstance(argument, list) and call is not cr.parameter:
            continue  # a tree of arguments
        with pytest.raises(TypeError, match=message):
            call(argument)
    with pytest.raises(TypeError, match=message):
        cr.parameter(X).value = argument


def test_a_masked_index_is_refused():
    t = cr.parameter(X)
    for places in (np.ma.array([0, 1], mask=[0, 1]), np.ma.array([True, False, True], mask=True)):
        with pytest.raises(TypeError, match="an index is a masked array"):
            t[places]
        with pytest.raises(TypeError, match="an index is a masked array"):
            np.take(t, places)


def test_a_sparse_array_from_the_left_is_refused():
    with pytest.raises(TypeError, match=r"toarray|not converted to an ndarray"):
        scipy.sparse.csr_array(np.eye(3)) * cr.parameter(X)


class Colour(enum.IntEnum):
    RED = 2


TAKEN = {
    "a list": [2.0, 3.0, 4.0],
    "a tuple": (2, 3, 4),
    "a range": range(2, 5),
    "a buffer": array.array("d", [2, 3, 4]),
    "a memory map": np.array([2.0, 3, 4]).view(np.memmap),
    "a record array": np.array([2.0, 3, 4]).view(np.recarray),
    "an enumeration": Colour.RED,
    "truth": True,
    "int8": np.int8(3),
    "float16": np.float16(0.1),
    "long double": np.array([1, 2, 3], np.longdouble),
    "whole numbers": np.arange(3, dtype=np.uint8),
}


@pytest.mark.parametrize("operand", TAKEN.values(), ids=TAKEN)
def test_what_numpy_reads_as_numbers_is_taken_as_a_plain_array(operand):
    t = cr.parameter(X)
    for f in (np.multiply, np.add, lambda a, b: np.where(a > 1, a, b)):
        expected = f(X, operand)
        found = f(t, operand)
        assert type(found.value) is np.ndarray
        np.testing.assert_array_equal(found.value, expected)
        assert found.dtype == expected.dtype
    gradient = cr.grad(lambda x: np.sum(x * operand))(X)
    np.testing.assert_array_equal(gradient, np.broadcast_to(np.asarray(operand, float), 3))


def test_a_series_is_read_when_it_is_used():
    series = Series([1.0, 2.0, 3.0])
    w = cr.parameter(X)
    loss = np.sum(w * series) + np.sum(series * w)
    series.values[:] = 99
    loss.backward()
    np.testing.assert_array_equal(w.grad, 2 * X)


def test_foreign_arrays_are_asked():
    t = cr.parameter(X)
    assert t * Unit() == "unit"
    assert t + Unit() == "unit"
    assert t * Quantity() == "quantity of multiply"
    assert np.multiply(Quantity(), t) == "quantity of multiply"
    assert np.concatenate([t, Quantity()]) == "quantity of concatenate"
    with pytest.raises(TypeError, match="Quantity.*rules of its own"):
        cr.primitives.multiply(t, Quantity())


def test_plain_arrays_pass_as_they_are():
    for value in (X, 3, 2.5, True, np.float32(1)):
        assert as_operand(value, "it") is value


def test_complex_numbers_in_a_differentiated_function_are_refused():
    for f in (
        lambda b: np.abs(3.0 + 1j * b),
        lambda b: np.real(b * np.exp(1j)),
        lambda b: np.abs(b.astype(complex)),
        lambda b: np.abs(np.astype(b, np.complex64)),
        lambda b: np.sum(b, dtype=complex),
        lambda b: b ** np.complex128(2),
        lambda b: np.where(b > 1, b, 1j),
    ):
        with pytest.raises(TypeError, match="complex"):
            cr.grad(f)(4.0)


# Integers and truth values are plain


def test_constants_inside_a_differentiated_function_are_plain_values():
    table = np.array([10.0, 20.0, 30.0, 40.0])
    seen = []

    def f(t):
        seen.append(table[np.floor(t).astype(int)])
        seen.append(int(np.argmax(t)))
        seen.append(np.asarray(t > 1.5))
        seen.append(np.allclose(t, X) and np.array_equal(t, X))
        seen.append([10, 20, 30][np.argmin(t)])
        seen.append(np.asarray(np.floor(t)))
        seen.append(f"{np.sum(t):.2f} {np.max(t):g} {t[0]} {np.mean(t)!s:.6}")
        seen.append({np.argmax(t): "a key"}[2])
        seen.append(float(np.floor(t[1])) + float(stop_gradient(t[0])) + int(stop_gradient(t[0])))
        seen.append(np.count_nonzero(t > 1) + len(np.flatnonzero(t)) + np.where(t > 2)[0][0])
        seen.append(bool(t[0] < 2) and all(np.isfinite(t)))
        if t[0] > 0 and np.isclose(t[1], 2):
            seen.append(divmod(t, 2)[1].shape)
        return np.sum(t * table[np.floor(t).astype(int)])

    np.testing.assert_array_equal(cr.grad(f)(X), table[1:])
    places, largest, mask, close, picked, floors, said, key, numbers, counts, truth, shape = seen
    np.testing.assert_array_equal(places, table[1:])
    assert (largest, picked, key, numbers, counts, truth) == (2, 10, "a key", 4.0, 2 + 3 + 2, True)
    assert type(mask) is np.ndarray
    assert close is True
    np.testing.assert_array_equal(floors, X)
    assert said == "6.00 3 1.0 Tensor"
    assert shape == (3,)


def test_constants_are_plain_in_nested_derivatives_and_carry_no_gradient():
    def f(x):
        inner = cr.grad(lambda y: np.sum(np.where(y * x > 2, y**2 * x, y)))(2 * x)
        return np.sum(inner * (x > 1)) * [1.0, 2.0, 3.0][int(np.argmax(x))]

    # inner = 4 x**2 where 2 x**2 > 2, else 1; the second is differentiated alone
    np.testing.assert_allclose(cr.grad(f)(X), 3 * 8 * X * (X > 1))
    second = cr.hessian(lambda x: np.sum(x**3 * (x > 1.5)))(X)
    np.testing.assert_allclose(second, np.diag(6 * X * (X > 1.5)))


def test_numbers_of_a_constant_of_one_level_may_depend_on_another():
    """What is constant for the inner derivative is not for the outer one, so it is no number."""

    def f(x):
        def g(y):
            return y * float(np.sum(x))

        return cr.grad(g)(2.0)

    with pytest.raises(
        TypeError, match=r"float\(\) of a tensor would lose its gradient.*stop_grad"
    ):
        cr.grad(f)(3.0)
    with pytest.raises(TypeError, match="not converted to an ndarray silently"):
        cr.grad(lambda x: cr.grad(lambda y: y * np.asarray(x))(2.0))(3.0)


@pytest.mark.parametrize("convert", [float, int, complex, math.exp, np.float64])
def test_numbers_that_carry_a_gradient_are_refused_and_the_way_out_is_named(convert):
    with pytest.raises(TypeError, match=r"\.item\(\)|\.value") as caught:
        cr.grad(convert)(2.0)
    assert "stop_gradient" in str(caught.value) or "np.stack" in str(caught.value)


def test_formatting_is_numpys():
    t = cr.parameter(X)
    assert f"{np.sum(t):.3e}" == "6.000e+00"
    assert f"{np.sum(t)}" == "6.0"
    assert f"{t[:1]:.1f}" == "1.0"
    with pytest.raises(TypeError, match="unsupported format string"):
        f"{t:.2f}"


def test_arrays_of_tensors_are_refused_with_what_to_write():
    a, b = cr.parameter(X), cr.parameter(2 * X)
    new = np.zeros((2, 3))
    for call, instead in {
        lambda: np.array([a, b]): "np.stack",
        lambda: np.mean([a, b]): r"np.mean\(np.stack",
        lambda: np.array([np.sum(a), 1.0]): "np.stack",
        lambda: np.eye(3).dot(a): r"X @ t",
        lambda: new.__setitem__(0, a): "np.stack",
        lambda: new.__iadd__(a): "in-place results.*returned value",
    }.items():
        with pytest.raises(TypeError, match=instead):
            call()
    with pytest.raises(ValueError, match="setting an array element") as caught:
        new[0, 0] = np.sum(a)
    assert "np.stack where numbers go into an array" in str(caught.value.__cause__)
    np.testing.assert_array_equal(np.stack([a, b]).value, [X, 2 * X])
    np.testing.assert_array_equal(np.mean(np.stack([a, b])).value, 3.0)


def test_a_function_of_the_users_that_gives_no_real_numbers_is_refused():
    turned = cr.custom_vjp(lambda g, out, x: g)(lambda x: x * 1j)
    drawn = cr.custom_vjp(lambda g, out, x, rng: g, None)(lambda x, rng: x + rng.random(3))
    with pytest.raises(TypeError, match="the result of .* has dtype complex128"):
        cr.grad(lambda x: np.sum(turned(x)))(X)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(cr.grad(lambda x: np.sum(drawn(x, rng)))(X), 1)
    with pytest.raises(TypeError):
        cr.grad(lambda x: np.sum(x * rng))(X)


# Copies


def test_parameters_and_constants_are_copied_and_pickled():
    w = cr.parameter(X)
    np.sum(w**2).backward()
    for duplicate in (copy.deepcopy(w), copy.copy(w), pickle.loads(pickle.dumps(w))):
        assert isinstance(duplicate, Tensor)
        np.testing.assert_array_equal(duplicate.value, X)
        np.testing.assert_array_equal(duplicate.grad, 2 * X)
        duplicate.value = 5 * X
        np.sum(3 * duplicate).backward()
        np.testing.assert_array_equal(duplicate.grad, 3)
        np.testing.assert_array_equal(w.value, X)
        np.testing.assert_array_equal(w.grad, 2 * X)
    floors = copy.deepcopy(np.floor(w))
    np.testing.assert_array_equal(floors.value, X)
    assert pickle.loads(pickle.dumps(cr.parameter(X))).grad is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_of_the_tape_is_refused(duplicate):
    w = cr.parameter(X)
    loss = np.sum(w**2)
    with pytest.raises(TypeError, match=r"not copied or pickled.*the tensor itself"):
        duplicate(loss)
    with pytest.raises(TypeError, match="not copied or pickled"):
        duplicate({"loss": loss, "w": w})
    with pytest.raises(TypeError, match="not copied or pickled"):
        cr.grad(lambda x: np.sum(duplicate(x) ** 2))(X)
    copy.copy(loss).backward()  # a result never changes: it is its own copy
    np.testing.assert_array_equal(w.grad, 2 * X)
