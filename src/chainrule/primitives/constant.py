"""Primitives through which no gradient flows: constants of the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.primitives.primitive import primitive

__all__ = ["check_labels", "one_hot", "stop_gradient"]


@primitive
def one_hot(labels: Array, *, n_classes: int, dtype: Any = np.float64) -> Array:
    """Integer labels as rows that hold a 1 at the label and 0 elsewhere.

    `labels` of any shape gives `(*labels.shape, n_classes)`. Raises TypeError for labels that are
    not integers, ValueError for labels outside 0 to `n_classes - 1`.

    >>> one_hot(np.array([2, 0]), n_classes=3)
    array([[0., 0., 1.],
           [1., 0., 0.]])
    """
    labels = np.asarray(labels)
    check_labels(labels, n_classes)
    return np.equal(labels[..., None], np.arange(n_classes)).astype(dtype)


def check_labels(labels: np.ndarray, n_classes: int) -> None:
    """Raise TypeError or ValueError, as `one_hot` says."""
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"the labels, shape {labels.shape}, have dtype {labels.dtype}: class labels are "
            "integers; convert them with .astype(int)"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
        outside = labels[(labels < 0) | (labels >= n_classes)]
        raise ValueError(
            f"{outside.size} of {labels.size} labels, the first of them {outside[0]}, are outside "
            f"0 to {n_classes - 1}: number the {n_classes} classes from 0, or set n_classes higher"
        )


@primitive(is_view=True, elementwise=True)
def stop_gradient(x: Array) -> Array:
    """The value of x as a constant: the derivative treats it as fixed.

    >>> import chainrule as cr
    >>> from chainrule.primitives.constant import stop_gradient
    >>> cr.grad(lambda x: x * stop_gradient(x))(np.array(3.0))
    array(3.)
    """
    return x
