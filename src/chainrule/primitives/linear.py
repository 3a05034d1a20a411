"""Primitives of linear algebra: products, diagonals and triangles, norms, inverses and factors.

Matrices stand in the last two axes; the axes before them are a batch, and broadcast. The matrix
derivatives are those of M. Giles, "Collected matrix derivative results for forward and reverse
mode algorithmic differentiation" (2008), section 2, where no other source is named.
"""

from __future__ import annotations

import math
from string import ascii_letters
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from chainrule.primitives.dispatch import Array, implements
from chainrule.primitives.primitive import Primitive, defvjp, defvjp_variadic, primitive
from chainrule.primitives.reduce import keep_axes
from chainrule.primitives.shape import astype, broadcast_to, matrix_transpose, reshape, transpose

__all__ = [
    "SlogdetResult",
    "cholesky",
    "det",
    "diag",
    "diagonal",
    "dot",
    "einsum",
    "embed_diagonal",
    "inner",
    "inv",
    "logabsdet",
    "matmul",
    "norm",
    "outer",
    "sign_of_det",
    "slogdet",
    "solve",
    "tensordot",
    "trace",
    "tril",
    "triu",
    "vdot",
]


# Products

matmul: Primitive = implements(np.matmul, np.linalg.matmul)(primitive(np.matmul, linear="each"))


def _matmul_x_vjp(g: Array, x: Array, y: Array) -> Array:
    """The product g @ y.T, where a vector x is a row, a vector y a column, and g matches."""
    g = g if y.ndim > 1 else g[..., None]
    g = g if x.ndim > 1 else g[..., None, :]
    return g @ (y.mT if y.ndim > 1 else y[None, :])


def _matmul_y_vjp(g: Array, x: Array, y: Array) -> Array:
    """The product x.T @ g, where a vector x is a row, a vector y a column, and g matches."""
    if y.ndim == 1:
        g = g[..., None]
        return (x.mT @ g)[..., 0] if x.ndim > 1 else x * g
    if x.ndim == 1:
        return x[:, None] * g[..., None, :]
    if y.ndim == 2 and x.ndim > 2:  # one product of all rows, not one a batch and then their sum
        n_rows = math.prod(x.shape[:-1])
        x, g = reshape(x, (n_rows, x.shape[-1])), reshape(g, (n_rows, g.shape[-1]))
    return x.mT @ g


defvjp(
    matmul,
    lambda g, out, x, y: _matmul_x_vjp(g, x, y),
    lambda g, out, x, y: _matmul_y_vjp(g, x, y),
)


def _scaled(*pair: Array) -> Array:
    """The product with a number, which has a dtype here even if it is Python's."""
    x, y = (z if hasattr(z, "dtype") else np.asarray(z) for z in pair)
    return x * y


@implements(np.dot)
def dot(x: Array, y: Array) -> Array:
    """`np.dot`: the sum of products over x's last axis and y's last but one, or only one."""
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return _scaled(x, y)
    if np.ndim(x) > 1 and np.ndim(y) > 2:  # matmul would take the leading axes of both as batches
        return tensordot(x, y, (-1, -2))
    return matmul(x, y)


@implements(np.inner)
def inner(x: Array, y: Array) -> Array:
    """`np.inner`: the sum of products over the last axes."""
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return _scaled(x, y)
    return tensordot(x, y, (-1, -1))


@implements(np.outer, np.linalg.outer)
def outer(x: Array, y: Array) -> Array:
    """`np.outer`: every element of x with every element of y, `(x.size, y.size)`."""
    return reshape(x, (-1, 1)) * reshape(y, (1, -1))


@implements(np.vdot)
@primitive(linear="each")
def vdot(x: Array, y: Array) -> Array:
    """`np.vdot` of real arrays of equal size: the sum of products of all elements, in one pass."""
    return np.vdot(x, y)


# fmt: off
defvjp(vdot, lambda g, out, x, y: g * reshape(y, x.shape),
             lambda g, out, x, y: g * reshape(x, y.shape))
# fmt: on


@implements(np.tensordot, np.linalg.tensordot)
def tensordot(x: Array, y: Array, axes: Any = 2) -> Array:
    """`np.tensordot`: the sum of products over some axes of each, as one matrix product.

    `axes` is the number of x's last and y's first axes, or a pair: the axes of x, those of y.
    Raises ValueError where they do not have the same sizes.
    """
    x_shape, y_shape = np.shape(x), np.shape(y)
    if np.ndim(axes) == 0:
        x_axes: Any = range(len(x_shape) - axes, len(x_shape))
        y_axes: Any = range(axes)
    else:
        x_axes, y_axes = axes
    x_axes = normalize_axis_tuple(x_axes, len(x_shape))
    y_axes = normalize_axis_tuple(y_axes, len(y_shape))
    summed = [x_shape[i] for i in x_axes]
    if summed != [y_shape[i] for i in y_axes]:
        raise ValueError(
            f"tensordot sums over axes {x_axes} of shape {x_shape} and axes {y_axes} of shape "
            f"{y_shape}, which do not have the same sizes"
        )
    x_rest = tuple(i for i in range(len(x_shape)) if i not in x_axes)
    y_rest = tuple(i for i in range(len(y_shape)) if i not in y_axes)
    x_rest_shape, y_rest_shape = [x_shape[i] for i in x_rest], [y_shape[i] for i in y_rest]
    n_summed = math.prod(summed)
    rows = reshape(transpose(x, (*x_rest, *x_axes)), (math.prod(x_rest_shape), n_summed))
    columns = reshape(transpose(y, (*y_axes, *y_rest)), (n_summed, math.prod(y_rest_shape)))
    return reshape(matmul(rows, columns), (*x_rest_shape, *y_rest_shape))


# Einstein summation


@primitive(is_view=True, linear="each")
def einsum(*operands: Array, subscripts: str) -> Array:
    """The sum of products that the subscripts name, each axis by a letter, the result's after ->.

    >>> einsum(np.ones((2, 3)), np.ones((3, 4)), subscripts="ij,jk->ik").shape
    (2, 4)
    """
    return np.einsum(subscripts, *operands, optimize=len(operands) > 1)


def _einsum_vjp(position: int, g: Array, out: Array, *operands: Array, subscripts: str) -> Array:
    """The product of g and the other operands, summed over the letters not of this operand.

    An einsum again, in which g and the operand have changed places. Along letters that only
    this operand has, which were summed away, g is repeated.
    """
    left, _, result = subscripts.partition("->")
    terms = left.split(",")
    mine = terms.pop(position)
    others = operands[:position] + operands[position + 1 :]
    found = [letter for letter in mine if any(letter in term for term in (result, *terms))]
    shape = operands[position].shape
    g = einsum(g, *others, subscripts=f"{','.join((result, *terms))}->{''.join(found)}")
    sizes = dict(zip(found, g.shape, strict=True))
    g = reshape(g, tuple(sizes.get(letter, 1) for letter in mine))
    return broadcast_to(g, np.broadcast_shapes(g.shape, shape))


defvjp_variadic(einsum, _einsum_vjp)


@implements(np.einsum)
def _einsum(subscripts: str, *operands: Array, optimize: Any = True) -> Array:
    """`np.einsum` with subscripts as one string; `optimize` changes nothing, it is always on."""
    if not isinstance(subscripts, str):
        raise TypeError(
            "np.einsum on tensors takes the subscripts as one string before the operands, for "
            f"example 'ij,jk->ik', but got a {type(subscripts).__name__} first"
        )
    terms, result = _spell_out(subscripts, [np.shape(x) for x in operands])
    dtype = np.result_type(*operands)  # before anything is summed, as NumPy does
    operands = tuple(x if np.result_type(x) == dtype else astype(x, dtype=dtype) for x in operands)
    pairs = [_distinct(x, term) for x, term in zip(operands, terms, strict=True)]
    explicit = f"{','.join(term for _, term in pairs)}->{result}"
    return einsum(*(x for x, _ in pairs), subscripts=explicit)


def _spell_out(subscripts: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    """Each operand's letters and the result's, with ... replaced by letters not yet used."""
    left, arrow, result = subscripts.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(f"einsum {subscripts!r} names {len(terms)} operands but got {len(shapes)}")
    n_unnamed = []
    for term, shape in zip(terms, shapes, strict=True):
        n_more = len(shape) - len(term.replace("...", ""))
        if n_more < 0 or (n_more and "..." not in term):
            raise ValueError(
                f"einsum {subscripts!r} gives {term!r} to an operand of shape {shape}: name each "
                "of its axes by one letter, or several by ..."
            )
        n_unnamed.append(n_more)
    unused = [letter for letter in ascii_letters if letter not in subscripts]
    unnamed = "".join(unused[: max(n_unnamed)])
    letters = left.replace("...", "").replace(",", "")
    if not arrow:
        once = sorted(letter for letter in set(letters) if letters.count(letter) == 1)
        result = "..." + "".join(once)
    if unnamed and "..." not in result:
        raise ValueError(
            f"einsum {subscripts!r} has axes under ... that its result does not name: "
            "put ... after -> too"
        )
    # As in broadcasting, the last of the unnamed axes belong together.
    terms = [
        term.replace("...", unnamed[len(unnamed) - n :])
        for term, n in zip(terms, n_unnamed, strict=True)
    ]
    return terms, result.replace("...", unnamed)


def _distinct(x: Array, term: str) -> tuple[Array, str]:
    """The operand with each letter once: where one names two axes, their diagonal is meant."""
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            first, second = term.index(letter), term.rindex(letter)
            if np.shape(x)[first] != np.shape(x)[second]:
                raise ValueError(
                    f"einsum names axes {first} and {second} of an operand of shape {np.shape(x)} "
                    f"by the one letter {letter!r}, but they differ in size"
                )
            x = diagonal(x, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + letter
    return x, term


# Diagonals and triangles


@implements(np.diagonal)
@primitive(is_view=True, linear="jointly")
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """`np.diagonal`: the diagonal of the matrices in two axes, as the last axis of the result."""
    return np.diagonal(x, offset, axis1, axis2)


@primitive(linear="jointly")
def embed_diagonal(
    values: Array, *, shape: tuple[int, ...], offset: int = 0, axis1: int = 0, axis2: int = 1
) -> Array:
    """Zeros of this shape with the values' last axis on the diagonal of two axes.

    >>> embed_diagonal(np.array([1.0, 2.0]), shape=(2, 3), offset=1)
    array([[0., 1., 0.],
           [0., 0., 2.]])
    """
    out = np.zeros(shape, values.dtype)
    steps = np.arange(values.shape[-1])
    matrices = np.moveaxis(out, (axis1, axis2), (-2, -1))
    matrices[..., steps + max(-offset, 0), steps + max(offset, 0)] = values
    return out


@implements(np.tril)
@primitive(linear="jointly")
def tril(x: Array, k: int = 0) -> Array:
    """`np.tril`: zeros above the k-th diagonal of matrices."""
    return np.tril(x, k)


@implements(np.triu)
@primitive(linear="jointly")
def triu(x: Array, k: int = 0) -> Array:
    """`np.triu`: zeros below the k-th diagonal of matrices."""
    return np.triu(x, k)


# One rule a line, aligned so that the eye compares
# fmt: off
defvjp(diagonal,       lambda g, out, x, offset, axis1, axis2:
       embed_diagonal(g, shape=x.shape, offset=offset, axis1=axis1, axis2=axis2))
defvjp(embed_diagonal, lambda g, out, values, shape, offset, axis1, axis2:
       diagonal(g, offset, axis1, axis2))
defvjp(tril,           lambda g, out, x, k: tril(g, k))
defvjp(triu,           lambda g, out, x, k: triu(g, k))
# fmt: on


@implements(np.diag)
def diag(x: Array, k: int = 0) -> Array:
    """`np.diag`: the diagonal of a matrix, or the matrix with a vector on its diagonal."""
    if np.ndim(x) == 1:
        size = np.shape(x)[0] + abs(k)
        return embed_diagonal(x, shape=(size, size), offset=k)
    return diagonal(x, k)


@implements(np.trace)
def trace(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """`np.trace`: the sum of the diagonal."""
    return np.sum(diagonal(x, offset, axis1, axis2), axis=-1)


@implements(np.linalg.diagonal)
def _matrix_diagonal(x: Array, *, offset: int = 0) -> Array:
    return diagonal(x, offset, -2, -1)


@implements(np.linalg.trace)
def _matrix_trace(x: Array, *, offset: int = 0) -> Array:
    return trace(x, offset, -2, -1)


# Norms


@primitive
def norm(x: Array, ord: float = 2, axis: Any = None, *, keepdims: bool = False) -> Array:
    """(sum |x|**p)**(1/p) over some axes or all, for a finite p = ord of at least 1.

    The norm has a kink where it is 0. There the gradient is 0, the shortest subgradient, so a
    penalty on the norm leaves zeros at rest instead of making them NaN.

    >>> norm(np.array([3.0, 4.0]))
    np.float64(5.0)
    """
    return np.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)


def _norm_vjp(g: Array, out: Array, x: Array, ord: float, axis: Any) -> Array:
    """By the chain rule g * sign(x) * (|x| / out)**(p - 1), and g * x / out for p = 2."""
    share = x / np.where(out == 0, 1, out)
    return g * (share if ord == 2 else np.sign(x) * np.abs(share) ** (ord - 1))


defvjp(
    norm,
    lambda g, out, x, ord, axis, keepdims: _norm_vjp(
        keep_axes(g, x, axis), keep_axes(out, x, axis), x, ord, axis
    ),
)


@implements(np.linalg.norm)
def _norm(x: Array, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Array:
    """`np.linalg.norm` of vectors (ord a number from 1 on, inf or -inf), 'fro' of matrices."""
    n_axes = np.ndim(x) if axis is None else np.size(axis)
    if ord is None or (ord == "fro" and n_axes == 2):
        return norm(x, axis=axis, keepdims=keepdims)
    if n_axes != 1:
        raise ValueError(
            f"np.linalg.norm with ord={ord!r} of an array of shape {np.shape(x)}, over {n_axes} "
            "axes, has no derivative rule in chainrule: matrices have ord='fro', and with axis= "
            "one axis vectors have ord=1, 2, inf or another number from 1 on"
        )
    return _vector_norm(x, axis=axis, keepdims=keepdims, ord=ord)


@implements(np.linalg.vector_norm)
def _vector_norm(x: Array, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Array:
    if isinstance(ord, str) or not (ord >= 1 or ord == -math.inf):
        raise ValueError(
            f"the vector norm with ord={ord!r} has no derivative rule in chainrule: "
            "use 1, 2, inf, -inf or another number from 1 on"
        )
    if ord == 1:
        return np.sum(np.abs(x), axis=axis, keepdims=keepdims)
    if math.isinf(ord):
        extreme = np.max if ord > 0 else np.min
        return extreme(np.abs(x), axis=axis, keepdims=keepdims)
    return norm(x, ord, axis, keepdims=keepdims)


# Inverses, determinants and factors


@implements(np.linalg.solve)
@primitive
def solve(a: Array, b: Array) -> Array:
    """`np.linalg.solve`: the x of a @ x = b, for a vector b of shape (n,) or matrices b.

    Raises `np.linalg.LinAlgError` for a singular a.
    """
    return np.linalg.solve(a, b)


@implements(np.linalg.inv)
@primitive
def inv(x: Array) -> Array:
    """`np.linalg.inv`: the inverse of matrices.

    Raises `np.linalg.LinAlgError` for singular ones.
    """
    return np.linalg.inv(x)


@implements(np.linalg.det)
@primitive
def det(x: Array) -> Array:
    """`np.linalg.det`: the determinant of matrices.

    Its rule needs the inverse: the gradient at a singular matrix raises `np.linalg.LinAlgError`.
    """
    return np.linalg.det(x)


@primitive
def logabsdet(x: Array) -> Array:
    """Natural logarithm of |det(x)| of matrices, safe from overflow; -inf for singular ones."""
    return np.linalg.slogdet(x)[1]


@primitive
def sign_of_det(x: Array) -> Array:
    """The sign of the determinant of matrices: piecewise constant, so without a derivative."""
    return np.linalg.slogdet(x)[0]


class SlogdetResult(NamedTuple):
    """What `np.linalg.slogdet` returns: the sign of the determinant and log |det|."""

    sign: Array
    logabsdet: Array


@implements(np.linalg.slogdet)
def slogdet(x: Array) -> SlogdetResult:
    """`np.linalg.slogdet`: sign and logarithm of the determinant; only the latter has a gradient.

    >>> slogdet(np.diag([-1.0, 1.0])).sign
    np.float64(-1.0)
    """
    return SlogdetResult(sign_of_det(x), logabsdet(x))


@primitive
def cholesky(x: Array) -> Array:
    """The lower triangular L of x = L @ L.T, for symmetric positive definite matrices x.

    NumPy reads the lower triangle of x alone, so the gradient g stands there too, and moves the
    two equal elements of x at once; `(g + g.mT) / 2` spreads it over both. Raises
    `np.linalg.LinAlgError` where x is not positive definite.
    """
    return np.linalg.cholesky(x)


@implements(np.linalg.cholesky)
def _cholesky(x: Array, *, upper: bool = False) -> Array:
    return matrix_transpose(cholesky(matrix_transpose(x))) if upper else cholesky(x)


def _solve_b_vjp(g: Array, a: Array, b: Array) -> Array:
    """The solution a.T \\ g, where a vector g, of a vector b, is a column."""
    return solve(a.mT, g[..., None])[..., 0] if b.ndim == 1 else solve(a.mT, g)


def _solve_a_vjp(g: Array, out: Array, a: Array, b: Array) -> Array:
    """The product -(a.T \\ g) @ out.T, where vectors g and out, of a vector b, are columns."""
    if b.ndim == 1:
        g, out = g[..., None], out[..., None]
    return -solve(a.mT, g) @ out.mT


def _cholesky_vjp(g: Array, out: Array) -> Array:
    """The matrix L.T \\ P / L with P = half(L.T @ g), its two triangles added up in the lower one.

    I. Murray, "Differentiation of the Cholesky decomposition" (2016), equation 10.
    """
    both = solve(out.mT, solve(out.mT, _half(out.mT @ g).mT).mT)
    return _half(both + both.mT)


def _half(x: Array) -> Array:
    """The lower triangle, with half the diagonal."""
    return 0.5 * (tril(x) + tril(x, -1))


# fmt: off
defvjp(solve,     lambda g, out, a, b: _solve_a_vjp(g, out, a, b),
                  lambda g, out, a, b: _solve_b_vjp(g, a, b))
defvjp(inv,       lambda g, out, x: -(out.mT @ g @ out.mT))
defvjp(det,       lambda g, out, x: (g * out)[..., None, None] * inv(x).mT)
defvjp(logabsdet, lambda g, out, x: g[..., None, None] * inv(x).mT)
defvjp(cholesky,  lambda g, out, x: _cholesky_vjp(g, out))
# fmt: on
