"""Linear algebra: values against NumPy, gradients against what the product itself says, closed
forms, and finite differences."""

from __future__ import annotations

import math

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chainrule as cr
from chainrule.primitives import linear

RNG_SEED = 7


def random(*shapes):
    rng = np.random.default_rng(RNG_SEED)
    return [rng.normal(size=shape) for shape in shapes]


def check_bilinear(f, *arrays):
    """Values are NumPy's; gradients are read off the function, which is linear in each array.

    For f linear in x, the derivative of sum(w * f(x)) by x[i] is sum(w * f(e_i)) with the i-th
    unit array in the place of x. The second derivative by two arrays puts units in both places.
    """
    out, f_vjp = cr.vjp(f, *arrays)
    expected = np.asarray(f(*arrays))
    assert (out.shape, out.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)
    w = np.random.default_rng(1).normal(size=out.shape)

    def value_with(changes):
        return np.sum(w * f(*(changes.get(k, x) for k, x in enumerate(arrays))))

    for k, g in enumerate(f_vjp(w)):
        expected = [value_with({k: unit}) for unit in units(arrays[k].shape)]
        np.testing.assert_allclose(g.ravel(), expected, rtol=1e-11, atol=1e-13)
    if len(arrays) > 1:
        rng = np.random.default_rng(2)
        v = rng.normal(size=arrays[0].shape)
        mixed = cr.grad(
            lambda y: (v * cr.vjp(lambda x: f(x, y, *arrays[2:]), arrays[0])[1](w)[0]).sum()
        )
        expected = [value_with({0: v, 1: unit}) for unit in units(arrays[1].shape)]
        np.testing.assert_allclose(mixed(arrays[1]).ravel(), expected, rtol=1e-11, atol=1e-13)
    single = [x.astype(np.float32) for x in arrays]
    out, f_vjp = cr.vjp(f, *single)
    assert out.dtype == np.float32
    assert all(g.dtype == np.float32 for g in f_vjp(w.astype(np.float32)))


def units(shape):
    size = int(np.prod(shape))
    return np.eye(size).reshape(size, *shape)


def check_by_differences(f, x, rtol=1e-7):
    """First and second derivatives along random directions, against central differences."""
    rng = np.random.default_rng(3)
    w, direction, second = rng.normal(size=np.shape(f(x))), *rng.normal(size=(2, *x.shape))

    def value(x):
        return np.sum(w * f(x))

    def along(x):
        return np.sum(cr.grad(value)(x) * direction)

    h = 1e-5
    slope = (value(x + h * direction) - value(x - h * direction)) / (2 * h)
    np.testing.assert_allclose(along(x), slope, rtol=rtol, atol=1e-8)
    bend = (along(x + h * second) - along(x - h * second)) / (2 * h)
    product = np.sum(cr.hvp(value, x, direction) * second)
    np.testing.assert_allclose(product, bend, rtol=rtol, atol=1e-8)


# Products

BILINEAR = {
    "matmul vectors": (np.matmul, (3,), (3,)),
    "matmul matrix vector": (np.matmul, (2, 3), (3,)),
    "matmul vector matrix": (np.matmul, (3,), (3, 4)),
    "matmul matrices": (np.matmul, (2, 3), (3, 4)),
    "matmul batch vector": (np.matmul, (5, 2, 3), (3,)),
    "matmul vector batch": (np.matmul, (3,), (5, 3, 4)),
    "matmul batch matrix": (np.matmul, (2, 5, 2, 3), (3, 4)),
    "matmul matrix batch": (np.matmul, (2, 3), (5, 3, 4)),
    "matmul batches": (np.matmul, (5, 1, 2, 3), (2, 3, 4)),
    "matmul of nothing": (np.matmul, (0, 3), (3, 2)),
    "matmul over nothing": (np.matmul, (2, 0), (0, 3)),
    "linalg.matmul": (np.linalg.matmul, (2, 3), (3, 4)),
    "operator": (lambda x, y: x @ y, (2, 3), (3, 4)),
    "dot numbers": (np.dot, (), ()),
    "dot number matrix": (np.dot, (), (2, 3)),
    "dot vectors": (np.dot, (3,), (3,)),
    "dot matrix vector": (np.dot, (2, 3), (3,)),
    "dot vector matrix": (np.dot, (3,), (3, 4)),
    "dot matrices": (np.dot, (2, 3), (3, 4)),
    "dot batch vector": (np.dot, (2, 2, 3), (3,)),
    "dot vector batch": (np.dot, (3,), (2, 3, 4)),
    "dot batch matrix": (np.dot, (2, 2, 3), (3, 4)),
    "dot matrix batch": (np.dot, (2, 3), (4, 3, 2)),
    "dot batches": (np.dot, (2, 1, 3), (4, 3, 2)),
    "dot method": (lambda x, y: x.dot(y), (2, 3), (3, 4)),
    "inner vectors": (np.inner, (3,), (3,)),
    "inner number": (np.inner, (), (3,)),
    "inner matrices": (np.inner, (2, 3), (4, 3)),
    "inner batch": (np.inner, (2, 1, 3), (4, 3)),
    "outer vectors": (np.outer, (2,), (3,)),
    "outer matrices": (np.outer, (2, 2), (3, 1)),
    "linalg.outer": (np.linalg.outer, (2,), (3,)),
    "vdot vectors": (np.vdot, (3,), (3,)),
    "vdot matrices": (np.vdot, (2, 3), (3, 2)),
    "tensordot": (np.tensordot, (2, 3, 4), (3, 4, 2)),
    "tensordot 0": (lambda x, y: np.tensordot(x, y, 0), (2, 2), (3,)),
    "tensordot 1": (lambda x, y: np.tensordot(x, y, axes=1), (2, 3), (3, 2)),
    "tensordot axes": (lambda x, y: np.tensordot(x, y, ((0, -1), (2, 0))), (2, 3, 4), (4, 2, 2)),
    "tensordot one axis": (lambda x, y: np.tensordot(x, y, (1, 0)), (2, 3), (3, 2)),
    "tensordot over nothing": (lambda x, y: np.tensordot(x, y, 1), (2, 0), (0, 2)),
    "linalg.tensordot": (lambda x, y: np.linalg.tensordot(x, y, axes=1), (2, 3), (3, 2)),
}


@pytest.mark.parametrize(("f", "x_shape", "y_shape"), BILINEAR.values(), ids=BILINEAR)
def test_products(f, x_shape, y_shape):
    check_bilinear(f, *random(x_shape, y_shape))


sizes = st.integers(0, 3)


@st.composite
def matmul_shapes(draw):
    """Shapes of every rank that matmul takes, with batches that broadcast."""
    n, k, m = draw(sizes), draw(sizes), draw(sizes)
    batch = draw(st.lists(st.integers(1, 3), max_size=2))
    shapes = []
    for matrix, vector in (((n, k), (k,)), ((k, m), (k,))):
        kept = draw(st.integers(0, len(batch)))
        own = [1 if draw(st.booleans()) else size for size in batch[kept:]]
        shapes.append(vector if draw(st.integers(0, 3)) == 0 else (*own, *matrix))
    return shapes


@given(matmul_shapes())
def test_any_matmul(shapes):
    check_bilinear(np.matmul, *random(*shapes))


def test_products_mix_tensors_arrays_and_lists():
    t = cr.parameter(np.arange(6.0).reshape(2, 3))
    a = np.ones((3, 2))
    for product in (t @ a, np.dot(t, a), np.einsum("ij,jk->ik", t, a), np.tensordot(t, a, 1)):
        np.testing.assert_array_equal(product.value, t.value @ a)
    np.testing.assert_array_equal((a @ t).value, a @ t.value)
    np.testing.assert_array_equal(np.matmul(t, [1.0, 0.0, 2.0]).value, [4, 13])
    np.testing.assert_array_equal(np.outer([1.0, 2.0], t[0]).value, np.outer([1, 2], [0, 1, 2]))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t @ np.ones((2, 3)), ValueError, "matmul"),
        (
            lambda t: np.tensordot(t, np.ones((2, 3)), 1),
            ValueError,
            r"axes \(1,\) of shape \(2, 3\)",
        ),
        (lambda t: np.inner(t, np.ones(2)), ValueError, "do not have the same sizes"),
        (lambda t: np.matmul(t, t.T, out=np.ones((2, 2))), TypeError, "out="),
    ],
)
def test_products_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call(cr.parameter(np.ones((2, 3))))


# Einstein summation

EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ba,cb", (2, 3), (4, 2)),
    ("ij,ij->", (2, 3), (2, 3)),
    ("i,j->ji", (2,), (3,)),
    ("i,i->i", (3,), (3,)),
    ("i,i->i", (1,), (3,)),
    ("ij,kj->i", (2, 1), (2, 3)),
    ("ij,k->k", (2, 3), (4,)),
    ("...ij,...jk->...ik", (2, 3, 4), (4, 2)),
    ("...ij,...jk", (2, 1, 2, 3), (3, 3, 2)),
    ("i...,j...->...ij", (2, 3), (4, 2, 3)),
    ("i...,...j->...", (2, 3), (3, 2)),
    ("...,...", (2, 1), (3,)),
    ("... , i -> ...i", (2,), (3,)),
    (",ij->ij", (), (2, 3)),
    ("ii,i->i", (3, 3), (3,)),
    ("iji,jk->k", (2, 3, 2), (3, 2)),
    ("iiij,j->i", (2, 2, 2, 3), (3,)),
    ("iijj,k->ijk", (2, 2, 3, 3), (2,)),
    ("ii...,i->...", (2, 2, 3), (2,)),
    ("ij,jk->ik", (2, 0), (0, 3)),
    ("ij,jk->ik", (0, 2), (2, 3)),
    ("ij,jk,kl->il", (2, 3), (3, 2), (2, 4)),
    ("i,ij,j->", (2,), (2, 3), (3,)),
]


@pytest.mark.parametrize("example", EINSUMS, ids=str)
def test_einsum(example):
    subscripts, *shapes = example
    check_bilinear(lambda *xs: np.einsum(subscripts, *xs), *random(*shapes))


@pytest.mark.parametrize(
    ("subscripts", "shape"),
    [
        ("ij->ji", (2, 3)),
        ("ji", (2, 3)),
        ("ij->", (2, 3)),
        ("ij->j", (2, 3)),
        ("ii", (3, 3)),
        ("ii->i", (3, 3)),
        ("iij->j", (2, 2, 3)),
        ("...i->...", (2, 3)),
        ("...ii->...i", (4, 2, 2)),
        ("->", ()),
    ],
)
def test_einsum_of_one(subscripts, shape):
    check_bilinear(lambda x: np.einsum(subscripts, x), *random(shape))


@st.composite
def einsums(draw):
    """Up to three operands of up to three letters each, and some letters for the result."""
    size_of = {letter: draw(st.integers(1, 3)) for letter in "abcd"}
    letters = st.lists(st.sampled_from("abcd"), max_size=3, unique=True)
    terms = draw(st.lists(letters, min_size=1, max_size=3))
    present = sorted({letter for term in terms for letter in term})
    kept = [letter for letter in draw(st.permutations(present)) if draw(st.booleans())]
    unnamed = draw(st.lists(st.integers(1, 3), max_size=2))
    shapes, texts = [], []
    for term in terms:
        n_own = draw(st.integers(0, len(unnamed)))
        at = draw(st.integers(0, len(term)))
        named = [1 if draw(st.integers(0, 5)) == 0 else size_of[letter] for letter in term]
        own = [1 if draw(st.integers(0, 3)) == 0 else n for n in unnamed[len(unnamed) - n_own :]]
        shapes.append((*named[:at], *own, *named[at:]))
        texts.append("".join(term[:at]) + "..." + "".join(term[at:]))
    return f"{','.join(texts)}->...{''.join(kept)}", shapes


@given(einsums())
def test_any_einsum(drawn):
    subscripts, shapes = drawn
    check_bilinear(lambda *xs: np.einsum(subscripts, *xs), *random(*shapes))


def test_einsum_of_one_tensor_twice():
    x = random((3, 3))[0]
    g = cr.grad(lambda x: np.einsum("ij,jk,ki->", x, x, x))(x)
    np.testing.assert_allclose(g, 3 * (x @ x).T, rtol=1e-13)  # of trace(x^3)


@pytest.mark.parametrize(
    ("args", "error", "message"),
    [
        (("ij,jk->ik",), ValueError, "names 2 operands but got 1"),
        (("i->i",), ValueError, r"gives 'i' to an operand of shape \(2, 3\)"),
        (("...ijk->i",), ValueError, r"gives '...ijk' to an operand of shape \(2, 3\)"),
        (("i...->i",), ValueError, "put ... after -> too"),
        (("ii->i",), ValueError, "axes 0 and 1.*'i', but they differ in size"),
        (("ij->k",), ValueError, "'k'"),
    ],
)
def test_einsum_mistakes(args, error, message):
    with pytest.raises(error, match=message):
        np.einsum(*args, cr.parameter(np.ones((2, 3))))


def test_einsum_takes_its_subscripts_as_a_string():
    with pytest.raises(TypeError, match="subscripts as one string"):
        np.einsum(cr.parameter(np.ones((2, 3))), [0, 1], [0])


# Diagonals and triangles

LINEAR = {
    "diagonal": (np.diagonal, (3, 4)),
    "diagonal above": (lambda x: np.diagonal(x, 2), (3, 4)),
    "diagonal below": (lambda x: np.diagonal(x, offset=-1), (3, 4)),
    "diagonal axes": (lambda x: np.diagonal(x, 1, -1, 0), (3, 2, 4)),
    "diagonal outside": (lambda x: np.diagonal(x, 9), (2, 2)),
    "diagonal method": (lambda x: x.diagonal(1), (3, 3)),
    "linalg.diagonal": (lambda x: np.linalg.diagonal(x, offset=1), (2, 3, 3)),
    "trace": (np.trace, (3, 4)),
    "trace below": (lambda x: np.trace(x, -1), (3, 4)),
    "trace axes": (lambda x: np.trace(x, 1, axis1=2, axis2=0), (3, 2, 4)),
    "trace method": (lambda x: x.trace(), (3, 3)),
    "linalg.trace": (lambda x: np.linalg.trace(x, offset=-1), (2, 3, 3)),
    "diag of a matrix": (lambda x: np.diag(x, 1), (3, 4)),
    "diag of a vector": (np.diag, (3,)),
    "diag of a vector below": (lambda x: np.diag(x, -2), (3,)),
    "tril": (np.tril, (3, 4)),
    "tril k": (lambda x: np.tril(x, -1), (2, 3, 4)),
    "triu": (np.triu, (3, 4)),
    "triu k": (lambda x: np.triu(x, k=1), (2, 3, 4)),
}


@pytest.mark.parametrize(("f", "shape"), LINEAR.values(), ids=LINEAR)
def test_diagonals_and_triangles(f, shape):
    check_bilinear(f, *random(shape))
    # quadratic in x, so that the rule itself is differentiated
    (x,) = random(shape)
    check_by_differences(lambda x: f(x) ** 2, x)


# Norms

NORMS = {
    "vector": (np.linalg.norm, (4,)),
    "all elements": (np.linalg.norm, (2, 3, 2)),
    "one number": (np.linalg.norm, (1,)),
    "axis": (lambda x: np.linalg.norm(x, axis=1), (2, 3)),
    "keepdims": (lambda x: np.linalg.norm(x, axis=-1, keepdims=True), (2, 3)),
    "two axes": (lambda x: np.linalg.norm(x, axis=(0, 2)), (2, 3, 2)),
    "fro": (lambda x: np.linalg.norm(x, "fro"), (2, 3)),
    "ord 2": (lambda x: np.linalg.norm(x, 2), (4,)),
    "ord 2 axis": (lambda x: np.linalg.norm(x, ord=2, axis=0), (2, 3)),
    "ord 1": (lambda x: np.linalg.norm(x, 1), (4,)),
    "ord inf": (lambda x: np.linalg.norm(x, np.inf), (4,)),
    "ord -inf": (lambda x: np.linalg.norm(x, -np.inf, axis=1), (2, 3)),
    "ord 3": (lambda x: np.linalg.norm(x, 3), (4,)),
    "ord 1.5": (lambda x: np.linalg.norm(x, 1.5, axis=1, keepdims=True), (2, 3)),
    "vector_norm": (lambda x: np.linalg.vector_norm(x, ord=3, axis=(0, 1)), (2, 3, 2)),
}


@pytest.mark.parametrize(("f", "shape"), NORMS.values(), ids=NORMS)
def test_norms(f, shape):
    (x,) = random(shape)
    x += 0.2 * np.sign(x)  # away from the kinks at 0
    out, f_vjp = cr.vjp(f, x)
    np.testing.assert_allclose(out, np.asarray(f(x)), rtol=1e-14, strict=True)
    check_by_differences(f, x)
    out, f_vjp = cr.vjp(f, x.astype(np.float32))
    assert (out.dtype, f_vjp(np.ones_like(out))[0].dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("ord", [None, 1, 1.5, 2, 3, np.inf])
def test_the_gradient_of_a_norm_at_0_is_0(ord):
    np.testing.assert_array_equal(
        cr.grad(lambda x: np.linalg.norm(x, ord))(np.zeros(3)), np.zeros(3)
    )


def test_the_gradient_of_a_norm_is_a_unit_vector_however_small_or_large():
    for scale in (1e-150, 1.0, 1e150):
        x = scale * np.array([3.0, -4.0])
        np.testing.assert_allclose(cr.grad(np.linalg.norm)(x), [0.6, -0.8], rtol=1e-14)
    np.testing.assert_allclose(cr.grad(lambda x: linear.norm(x, 3))(1e-80 * np.ones(8)), 0.25)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.linalg.norm(x, 2), r"ord=2 .* shape \(2, 3\).*ord='fro'"),
        (lambda x: np.linalg.norm(x, "nuc"), "ord='nuc'.*ord='fro'"),
        (lambda x: np.linalg.norm(x[0], 0.5), "ord=0.5"),
        (lambda x: np.linalg.norm(x[0], "fro"), "ord='fro'"),
        (lambda x: np.linalg.norm(x[0], 0), "ord=0"),
    ],
)
def test_norms_without_a_rule_are_named(f, message):
    with pytest.raises(ValueError, match=message):
        f(cr.parameter(np.ones((2, 3))))


# Inverses, determinants and factors


def regular(*shape):
    noise = np.random.default_rng(8).uniform(-0.5, 0.5, size=shape) / shape[-1]
    return noise + np.diag([1.0, -1.5, 2.0, 0.7][: shape[-1]])


def positive_definite(*shape):
    factors = np.random.default_rng(9).normal(size=shape)
    return factors @ factors.mT + np.eye(shape[-1])


def b_for(x):
    return np.array([[1.0, -2.0], [3.0, 0.5], [0.0, 1.5]], x.dtype)[: x.shape[-1]]


FACTORS = {
    "inv": (np.linalg.inv, regular),
    "det": (np.linalg.det, regular),
    "slogdet": (lambda x: np.linalg.slogdet(x).logabsdet, regular),
    "cholesky": (np.linalg.cholesky, positive_definite),
    "cholesky upper": (lambda x: np.linalg.cholesky(x, upper=True), positive_definite),
    "solve a vector": (lambda x: np.linalg.solve(x, b_for(x)[:, 0]), regular),
    "solve matrices": (lambda x: np.linalg.solve(x, b_for(x)), regular),
}


@pytest.mark.parametrize("shape", [(3, 3), (1, 1), (2, 3, 3), (2, 1, 2, 2)], ids=str)
@pytest.mark.parametrize(("f", "matrices"), FACTORS.values(), ids=FACTORS)
def test_factors(f, matrices, shape):
    x = matrices(*shape)
    out, f_vjp = cr.vjp(f, x)
    np.testing.assert_allclose(out, np.asarray(f(x)), rtol=1e-12, atol=1e-14, strict=True)
    check_by_differences(f, x, rtol=1e-6)
    out, f_vjp = cr.vjp(f, x.astype(np.float32))
    assert (out.dtype, f_vjp(np.ones_like(out))[0].dtype) == (np.float32, np.float32)


@pytest.mark.parametrize("f", [np.linalg.inv, np.linalg.det], ids=["inv", "det"])
def test_no_matrices_have_no_gradient(f):
    out, f_vjp = cr.vjp(f, np.zeros((0, 2, 2)))
    assert f_vjp(np.ones(out.shape))[0].shape == (0, 2, 2)


def test_closed_forms_of_the_determinants_and_the_inverse():
    x = regular(3, 3)
    inverse = np.linalg.inv(x)
    np.testing.assert_allclose(cr.grad(np.linalg.det)(x), np.linalg.det(x) * inverse.T, rtol=1e-12)
    np.testing.assert_allclose(cr.grad(lambda x: np.linalg.slogdet(x)[1])(x), inverse.T, rtol=1e-12)
    # of trace(x^-1): -(x^-2)^T
    g = cr.grad(lambda x: np.trace(np.linalg.inv(x)))(x)
    np.testing.assert_allclose(g, -(inverse @ inverse).T, rtol=1e-12)


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((3, 3), (3,)),
        ((3, 3), (3, 2)),
        ((2, 3, 3), (3,)),
        ((2, 3, 3), (3, 2)),
        ((3, 3), (2, 3, 2)),
        ((2, 1, 3, 3), (4, 3, 1)),
        ((1, 1), (1,)),
    ],
)
def test_solve_by_its_right_side_and_its_matrices(a_shape, b_shape):
    a, b = regular(*a_shape), random(b_shape)[0]
    out, f_vjp = cr.vjp(np.linalg.solve, a, b)
    np.testing.assert_allclose(out, np.linalg.solve(a, b), rtol=1e-14)
    w = np.random.default_rng(4).normal(size=out.shape)
    g_a, g_b = f_vjp(w)
    # linear in b
    expected = [np.sum(w * np.linalg.solve(a, unit)) for unit in units(b_shape)]
    np.testing.assert_allclose(g_b.ravel(), expected, rtol=1e-10, atol=1e-12)
    check_by_differences(lambda a: np.linalg.solve(a, b), a, rtol=1e-6)
    # and the same as by the inverse
    columns = b[:, None] if b.ndim == 1 else b
    by_inverse = cr.vjp(lambda a: np.linalg.inv(a) @ columns, a)[1]
    np.testing.assert_allclose(g_a, by_inverse(w[..., None] if b.ndim == 1 else w)[0], atol=1e-10)


def test_cholesky_reads_one_triangle_and_its_gradient_stands_there():
    x = positive_definite(2, 3, 3)
    w = np.random.default_rng(5).normal(size=x.shape)
    (g,) = cr.vjp(np.linalg.cholesky, x)[1](w)
    np.testing.assert_array_equal(g, np.tril(g))
    symmetric = autograd.grad(lambda x: anp.sum(w * anp.linalg.cholesky(x)))(x)
    np.testing.assert_allclose((g + g.mT) / 2, symmetric, rtol=1e-10)
    (g,) = cr.vjp(lambda x: np.linalg.cholesky(x, upper=True), x)[1](w.mT)
    np.testing.assert_allclose((g + g.mT) / 2, symmetric, rtol=1e-10)
    np.testing.assert_array_equal(g, np.triu(g))
    # what NumPy does not read changes nothing
    lower = cr.parameter(np.tril(x))
    np.testing.assert_array_equal(np.linalg.cholesky(lower).value, np.linalg.cholesky(x))


def test_the_log_determinant_by_the_cholesky_factor_has_the_inverse_as_gradient():
    x = positive_definite(3, 3)
    g = cr.grad(lambda x: 2 * np.log(np.diag(np.linalg.cholesky(x))).sum())(x)
    np.testing.assert_allclose((g + g.T) / 2, np.linalg.inv(x), rtol=1e-10)


def test_slogdet_gives_numpys_two_results_and_only_the_logarithm_has_a_gradient():
    x = regular(2, 3, 3)
    t = cr.parameter(x)
    result, expected = np.linalg.slogdet(t), np.linalg.slogdet(x)
    sign, logabsdet = result
    assert result._fields == expected._fields
    np.testing.assert_array_equal(result.sign.value, expected.sign)
    np.testing.assert_array_equal(logabsdet.value, expected.logabsdet)
    assert sign.node is None
    (sign * logabsdet).sum().backward()
    np.testing.assert_allclose(
        t.grad, expected.sign[:, None, None] * np.linalg.inv(x).mT, rtol=1e-12
    )
    # where the determinant itself is out of range
    g = cr.grad(lambda x: np.linalg.slogdet(x).logabsdet)(1e-3 * np.eye(200))
    np.testing.assert_allclose(g, 1e3 * np.eye(200))


@pytest.mark.parametrize(
    "f",
    [
        np.linalg.inv,
        lambda x: np.linalg.solve(x, np.ones(2)),
        np.linalg.cholesky,
        cr.grad(np.linalg.det),
        cr.grad(lambda x: np.linalg.slogdet(x).sign * np.linalg.det(x)),
    ],
    ids=["inv", "solve", "cholesky", "gradient of det", "gradient of det with sign"],
)
def test_singular_matrices_raise_rather_than_give_a_wrong_number(f):
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(np.linalg.LinAlgError):
        f(singular if "grad_f" in getattr(f, "__name__", "") else cr.parameter(-singular))


def test_infinities_flow_through_products_as_numpy_has_them():
    with np.errstate(invalid="ignore"):
        x, y = np.array([[math.inf, 0.0]]), np.array([[1.0], [math.nan]])
        out, f_vjp = cr.vjp(np.matmul, x, y)
        assert np.isnan(out).all()
        g_x, g_y = f_vjp(np.ones((1, 1)))
        np.testing.assert_array_equal(g_x, y.T)
        np.testing.assert_array_equal(g_y, x.T)
