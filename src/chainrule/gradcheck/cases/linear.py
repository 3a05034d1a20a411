"""Example calls of the primitives of `primitives/linear.py`, on well-conditioned matrices."""

from __future__ import annotations

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng

__all__ = ["cases"]

_Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _regular(rng: Rng, *shape: int) -> _Floats:
    """Square matrices with a condition number of a few units, of either sign of the determinant."""
    noise: _Floats = rng.uniform(-0.5, 0.5, size=shape) / shape[-1]
    diagonal: _Floats = np.eye(shape[-1]) * rng.choice([-1.0, 1.0], size=(*shape[:-1], 1))
    return diagonal + noise


def _positive_definite(rng: Rng, *shape: int) -> _Floats:
    factors = rng.normal(size=shape)
    return factors @ factors.mT / shape[-1] + np.eye(shape[-1])


def cases(rng: Rng) -> Cases:
    """At least one example per primitive, by its name in the table."""

    def array(*shape: int) -> _Floats:
        return rng.normal(size=shape)

    matmul_shapes = [
        ((3,), (3,)),
        ((2, 3), (3,)),
        ((3,), (3, 4)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (3,)),
        ((3,), (5, 3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((5, 1, 2, 3), (6, 3, 4)),
        ((1, 2, 3), (5, 3, 1)),
        ((0, 3), (3, 4)),
        ((2, 0), (0, 4)),
        ((0,), (0,)),
        ((0, 2, 3), (3, 4)),
    ]
    einsum_shapes: list[tuple[str, list[tuple[int, ...]]]] = [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij->ji", [(2, 3)]),
        ("ij->", [(2, 3)]),
        ("ij->j", [(2, 3)]),
        ("i,j->ij", [(2,), (3,)]),
        ("ij,ij->i", [(2, 1), (2, 3)]),
        ("ij,k->i", [(2, 3), (4,)]),
        ("bij,bjk->bik", [(2, 3, 4), (2, 4, 1)]),
        ("ij,jk,kl->il", [(2, 3), (3, 2), (2, 3)]),
        ("ij,jk->ik", [(2, 0), (0, 3)]),
        (",i->i", [(), (3,)]),
        ("->", [()]),
    ]
    return {
        "vdot": [
            Case((array(3), array(3))),
            Case((array(2, 3), array(2, 3))),
            Case((array(2, 3), array(6))),
            Case((array(), array())),
            Case((array(0), array(0))),
        ],
        "matmul": [Case((array(*x), array(*y))) for x, y in matmul_shapes],
        "einsum": [
            Case(tuple(array(*shape) for shape in shapes), {"subscripts": subscripts})
            for subscripts, shapes in einsum_shapes
        ],
        "diagonal": [
            Case((array(3, 4),)),
            Case((array(3, 4),), {"offset": 2}),
            Case((array(2, 4, 3),), {"offset": -1, "axis1": -1, "axis2": 1}),
            Case((array(2, 2),), {"offset": 5}),
        ],
        "embed_diagonal": [
            Case((array(3),), {"shape": (3, 4)}),
            Case((array(2),), {"shape": (3, 4), "offset": 2}),
            Case((array(2, 2),), {"shape": (2, 4, 3), "offset": -1, "axis1": -1, "axis2": 1}),
            Case((array(0),), {"shape": (2, 2), "offset": 5}),
        ],
        "tril": [Case((array(2, 3, 4),)), Case((array(3, 3),), {"k": -1}), Case((array(0, 2),))],
        "triu": [Case((array(2, 3, 4),)), Case((array(3, 3),), {"k": 1}), Case((array(0, 2),))],
        "norm": [
            Case((array(3),), analytic=False),
            Case((array(2, 3),), analytic=False),
            Case((array(2, 3),), {"axis": -1, "keepdims": True}, analytic=False),
            Case((array(2, 3, 4),), {"axis": (0, 2)}, analytic=False),
            Case((array(2, 3),), {"ord": 3, "axis": 0}, analytic=False),
            Case((array(4),), {"ord": 1.5}, analytic=False),
            Case((array(1),), analytic=False),
            Case((array(0, 2),), {"axis": 1}, analytic=False),
        ],
        "solve": [
            Case((_regular(rng, 3, 3), array(3))),
            Case((_regular(rng, 3, 3), array(3, 2))),
            Case((_regular(rng, 2, 3, 3), array(3))),
            Case((_regular(rng, 2, 3, 3), array(3, 1))),
            Case((_regular(rng, 3, 3), array(2, 3, 2))),
            Case((_regular(rng, 1, 1), array(1))),
            Case((_regular(rng, 0, 2, 2), array(2, 1))),
        ],
        **{
            name: [
                Case((_regular(rng, 3, 3),), analytic=analytic),
                Case((_regular(rng, 2, 2, 2),), analytic=analytic),
                Case((_regular(rng, 1, 1),), analytic=analytic),
                Case((_regular(rng, 0, 2, 2),), analytic=analytic),
            ]
            for name, analytic in (
                ("inv", True),
                ("det", True),
                ("logabsdet", False),
                ("sign_of_det", False),
            )
        },
        "cholesky": [
            Case((_positive_definite(rng, *shape),), analytic=False)
            for shape in ((3, 3), (2, 2, 2), (1, 1), (0, 2, 2))
        ],
    }
