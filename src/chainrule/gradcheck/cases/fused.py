"""Example calls of the primitives of `primitives/fused.py`."""

from __future__ import annotations

from chainrule.gradcheck.cases import Case, Cases, Rng
from chainrule.primitives.fused import softmax

__all__ = ["cases"]


def cases(rng: Rng) -> Cases:
    """At least one example per primitive, by its name in the table."""
    softmaxes = [
        Case((rng.normal(size=(2, 3)),)),
        Case((rng.normal(size=(2, 3, 2)),), {"axis": 1}),
        Case((100 * rng.normal(size=(2, 3)),)),
        Case((rng.normal(size=3),)),
        Case((rng.normal(size=(2, 1)),)),
        Case((rng.normal(size=(0, 3)),)),
    ]
    return {
        "softmax": softmaxes,
        "log_softmax": softmaxes,
        "softmax_cross_entropy": [
            Case((rng.normal(size=(2, 3)), softmax(rng.normal(size=(2, 3))))),
            Case((rng.normal(size=(2, 3, 2)), rng.random((2, 3, 2))), {"axis": 1}),
            Case((rng.normal(size=(2, 3)), rng.random(3))),
            Case((rng.normal(size=3), rng.random(3))),
            Case((rng.normal(size=(2, 1)), rng.random((2, 1)))),
            Case((rng.normal(size=(0, 3)), rng.random((0, 3)))),
        ],
        "binary_cross_entropy": [
            Case((rng.normal(size=(2, 3)), rng.random((2, 3))), analytic=False),
            Case((rng.normal(size=(2, 3)), rng.random(3)), analytic=False),
            Case((rng.normal(size=()), rng.random(())), analytic=False),
            Case((rng.normal(size=(0, 1)), rng.random((0, 1))), analytic=False),
        ],
    }
