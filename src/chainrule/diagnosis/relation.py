"""Whether columns tell anything of other columns: kernel ridge regression, each row left out.

    alpha = (K + lambda I)^-1 y,  residual of row i left out = alpha_i / ((K + lambda I)^-1)_ii

for a few kernels and lambdas (Rasmussen and Williams, "Gaussian processes for machine learning",
2006, equations 2.25 and 5.12). What chance alone reaches is measured by the same on shuffled rows.
It is quick, has no rate and no start, and so can say what a network should have found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["Matrix", "Relation", "feature_rows", "relation", "target_rows"]

Matrix: TypeAlias = npt.NDArray[np.float64]

MOST_ROWS = 300  # a matrix of so many rows is factored within milliseconds
_MOST_COLUMNS = 1024
_SHUFFLES = 40
_RIDGES = (
    1e-3,
    1e-1,
    3.0,
)  # times the kernel's mean diagonal: from almost noiseless to mostly noise


@dataclass(frozen=True)
class Relation:
    """`skill` is the share of the variance that is predicted for rows left out (1: all of it).

    `z` is how many standard deviations the skill lies above that of shuffled rows. `hits` is the
    share of rows whose largest target is the one predicted, where there are several to choose from.
    """

    skill: float
    z: float
    hits: float
    n_rows: int


def relation(x: Matrix, y: Matrix, rng: np.random.Generator) -> Relation:
    """How well rows of x (N, D) predict those of y (N, K), by the best of the kernels."""
    rows = rng.permutation(len(x))[:MOST_ROWS]
    x, y = _standardised(x[rows]), y[rows] - y[rows].mean(axis=0)
    n, k = y.shape
    orders = [np.arange(n), *(rng.permutation(n) for _ in range(_SHUFFLES))]
    together = np.concatenate([y[order] for order in orders], axis=1)  # (N, orders * K)
    total = max(float(np.square(y).sum()), 1e-300)
    best, hits = np.full(len(orders), -np.inf), 0.0
    if not np.square(y).sum():
        return Relation(0.0, 0.0, 1.0, n)
    for kernel in _kernels(x):
        values, vectors = np.linalg.eigh(kernel)
        projected = vectors.T @ together
        for ridge in _RIDGES:
            inverse = 1 / (np.maximum(values, 0) + ridge * max(values.mean(), 1e-12))
            alpha = vectors @ (inverse[:, None] * projected)
            missed = alpha / (np.square(vectors) @ inverse)[:, None]
            squares = np.square(missed).reshape(n, len(orders), k).sum(axis=(0, 2))
            if 1 - squares[0] / total > best[0]:
                hits = float((y.argmax(axis=1) == (y - missed[:, :k]).argmax(axis=1)).mean())
            best = np.maximum(best, 1 - squares / total)
    by_chance = best[1:]
    spread = max(float(by_chance.std()), 1e-3)
    return Relation(float(best[0]), float((best[0] - by_chance.mean()) / spread), hits, n)


def _standardised(x: Matrix) -> Matrix:
    """Columns of mean 0 and variance 1; those that do not vary are left out."""
    x = x - x.mean(axis=0)
    spread = x.std(axis=0)
    kept = spread > 1e-12 * max(float(np.abs(x).max(initial=0)), 1e-300)
    scaled: Matrix = x[:, kept] / spread[kept]
    return scaled


def _kernels(x: Matrix) -> Iterator[Matrix]:
    """Straight lines, products of two columns, bumps wide and narrow; each with a constant."""
    n, d = x.shape
    products = x @ x.T / max(d, 1)
    yield products + 1
    yield np.square(products + 1)
    squares = np.diagonal(products)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * products, 0)
    typical = float(np.median(distances[~np.eye(n, dtype=bool)])) if n > 1 else 1.0
    for width in (1.0, 0.1, 0.01):
        yield np.exp(-distances / max(width * typical, 1e-300)) + 0.1


def feature_rows(x: np.ndarray) -> Matrix:
    """The inputs (N, ...) as rows of numbers; whole numbers, as of words, as their one-hot code."""
    rows = x.reshape(len(x), -1)
    if x.dtype.kind in "iu":
        kinds = np.unique(rows)[:_MOST_COLUMNS]
        counts = np.stack([(rows == kind).sum(axis=1) for kind in kinds], axis=1)
        places = rows[:, : max(1, _MOST_COLUMNS // len(kinds))]
        placed = (places[:, :, None] == kinds).reshape(len(x), -1)
        codes: Matrix = np.concatenate([counts, placed], axis=1).astype(np.float64)
        return codes
    step = -(-rows.shape[1] // (4 * _MOST_COLUMNS))
    return rows[:, ::step].astype(np.float64)


def target_rows(y: np.ndarray, is_labels: bool) -> Matrix:
    """The targets (N, ...) as rows of numbers, labels (N,) as one-hot rows."""
    if is_labels:
        kinds = np.unique(y)[:_MOST_COLUMNS]
        codes: Matrix = (y[:, None] == kinds).astype(np.float64)
        return codes
    rows: Any = y.reshape(len(y), -1)[:, :_MOST_COLUMNS].astype(np.float64)
    return np.asarray(rows)
