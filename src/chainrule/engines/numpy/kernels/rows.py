"""Rows that are picked by number: labels as rows of zeros and ones, and sums over picked rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import primitives
from chainrule.engines.numpy.kernels.table import kernel
from chainrule.primitives.constant import check_labels
from chainrule.primitives.indexing import Key, Slot

__all__ = ["add_rows", "one_hot", "picks_rows"]


@kernel(primitives.one_hot)
def one_hot(
    labels: np.ndarray, *, n_classes: int, dtype: Any = np.float64, out: np.ndarray
) -> None:
    """Integer labels as rows that hold a 1 at the label and 0 elsewhere."""
    check_labels(labels, n_classes)
    np.equal(labels[..., None], np.arange(n_classes), out=out, casting="unsafe")


def picks_rows(key: Key) -> bool:
    """Whether this is the key of `x[array]`: it picks along the first axis and keeps the others."""
    return key == (Slot(0),)


def add_rows(
    out: np.ndarray[Any, Any], indices: np.ndarray[Any, Any], rows: np.ndarray[Any, Any]
) -> None:
    """Add each row to the one of `out` that its index names; repeated indices add up.

    Negative indices count from the end here too.
    """
    # A place for each element, and not for each row: np.add.at is several times as fast among
    # vectors.
    width = out[:1].size
    places = width * indices.reshape(-1, 1).astype(np.intp) + np.arange(width)
    np.add.at(out.reshape(-1), places.reshape(-1), rows.reshape(-1))
