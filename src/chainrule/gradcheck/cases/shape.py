"""Example calls of the primitives of `primitives/shape.py` and `primitives/constant.py`."""

from __future__ import annotations

import numpy as np

from chainrule.gradcheck.cases import Case, Cases, Rng

__all__ = ["cases"]


def cases(rng: Rng) -> Cases:
    """At least one example per primitive, by its name in the table."""

    def array(*shape: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        return rng.normal(size=shape)

    return {
        "reshape": [
            Case((array(2, 3, 4),), {"shape": (6, -1)}),
            Case((array(4),), {"shape": (2, 2)}),
            Case((array(1, 1),), {"shape": ()}),
            Case((array(),), {"shape": (1,)}),
            Case((array(0, 3),), {"shape": -1}),
        ],
        "transpose": [
            Case((array(2, 3, 4),)),
            Case((array(2, 3, 4),), {"axes": (1, 2, 0)}),
            Case((array(2, 3, 4),), {"axes": (-1, 0, -2)}),
            Case((array(3),)),
            Case((array(0, 2),)),
            Case((array(),), {"axes": ()}),
        ],
        "broadcast_to": [
            Case((array(3, 1),), {"shape": (2, 3, 4)}),
            Case((array(),), {"shape": (2,)}),
            Case((array(1),), {"shape": (0,)}),
            Case((array(1, 1),), {"shape": (1, 1)}),
        ],
        "astype": [Case((array(2, 3),), {"dtype": np.dtype(np.float64)}, analytic=False)],
        "to_discrete": [Case((3 * array(2, 3),), {"dtype": np.dtype(np.int64)}, analytic=False)],
        "copy": [Case((array(2, 3),)), Case((array(),))],
        "concatenate": [
            Case((array(2, 3), array(1, 3), array(0, 3))),
            Case((array(2, 1), array(2, 3)), {"axis": -1}),
            Case((array(2),), {"axis": 0}),
        ],
        "stack": [
            Case((array(2, 3), array(2, 3))),
            Case((array(2), array(2), array(2)), {"axis": -1}),
            Case((array(2, 0), array(2, 0)), {"axis": 1}),
            Case((array(), array())),
        ],
        "pad": [
            Case((array(2, 3),), {"pad_width": 1}),
            Case((array(2, 3),), {"pad_width": ((0, 2), (1, 0)), "constant_values": 5.0}),
            Case((array(0, 1),), {"pad_width": (1, 2)}),
        ],
        "flip": [
            Case((array(2, 3),)),
            Case((array(2, 3),), {"axis": 1}),
            Case((array(2, 3, 1),), {"axis": (0, -1)}),
            Case((array(0),)),
        ],
        "roll": [
            Case((array(2, 3),), {"shift": 2}),
            Case((array(2, 3),), {"shift": -1, "axis": 1}),
            Case((array(2, 3),), {"shift": (1, 2), "axis": (0, 1)}),
            Case((array(0, 1),), {"shift": 1, "axis": 0}),
        ],
        "one_hot": [
            Case((np.array([2, 0, 2]),), {"n_classes": 3}, analytic=False),
            Case((np.array([[1], [0]]),), {"n_classes": 2}, analytic=False),
            Case((np.zeros(0, np.int64),), {"n_classes": 2}, analytic=False),
        ],
        "stop_gradient": [Case((array(2, 3),)), Case((array(),))],
    }
