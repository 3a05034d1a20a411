"""What a data set is, and what is done to one before training: split, scale, encode, batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Dataset", "MinMaxScaler", "Standardizer", "batches", "one_hot", "split"]

_Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples with their labels or values, and what is needed to show them.

    `x` is a float array (n_samples, n_features): measurements in their own units, or pixels, of
    which each row is one image of `image_shape`. `y` is (n_samples,): for classification an integer
    that counts `class_names`, for regression a float. `x_test` and `y_test` are set where the
    publication has a test set of its own.
    """

    name: str
    x: _Floats
    y: npt.NDArray[Any]
    kind: Literal["classification", "regression"]
    feature_names: tuple[str, ...]
    class_names: tuple[str, ...] = ()
    image_shape: tuple[int, int] | None = None
    image_order: Literal["C", "F"] = "C"
    x_test: _Floats | None = None
    y_test: npt.NDArray[Any] | None = None
    description: str = ""

    @property
    def test(self) -> tuple[_Floats, npt.NDArray[Any]]:
        """The publication's own test samples and labels; raises ValueError where it has none."""
        if self.x_test is None or self.y_test is None:
            raise ValueError(f"{self.name} has no test set of its own: use chainrule.data.split")
        return self.x_test, self.y_test

    def images(self, rows: npt.ArrayLike | None = None) -> npt.NDArray[Any]:
        """Rows of `x`, or any others of its width, such as weights, as images (n, height, width).

        Raises ValueError where the data are not images or the rows have another width.
        """
        if self.image_shape is None:
            raise ValueError(f"{self.name} holds no images: its features are measurements")
        array = self.x if rows is None else np.asarray(rows)
        height, width = self.image_shape
        if array.ndim != 2 or array.shape[1] != height * width:
            raise ValueError(
                f"rows of shape {array.shape} are no images of {self.name}: "
                f"give (n, {height * width}), one image of {height}x{width} a row"
            )
        if self.image_order == "F":  # written column by column
            return array.reshape(-1, width, height).swapaxes(1, 2)
        return array.reshape(-1, height, width)


def split(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    test_size: float | int = 0.25,
    *,
    seed: int | None = 0,
    stratify: bool = False,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Shuffle the samples and part them: `(x_train, x_test, y_train, y_test)`.

    `test_size` is the share of the test samples (rounded up) or, as an integer, their number.
    With `stratify` every class of `y` has its share in both parts, to within one sample.
    Raises ValueError for lengths that differ and for a part that would be empty.

    >>> x_train, x_test, y_train, y_test = split(np.arange(8.0), [0, 1] * 4, 0.5, stratify=True)
    >>> x_train.shape, np.bincount(y_test)
    ((4,), array([2, 2]))
    """
    x, y = np.asarray(x), np.asarray(y)
    n_samples = _n_samples(x, y)
    if isinstance(test_size, int | np.integer):
        n_test = int(test_size)
    else:
        n_test = math.ceil(n_samples * test_size - 1e-9) if 0 < test_size < 1 else 0
    if not 0 < n_test < n_samples:
        raise ValueError(
            f"test_size={test_size} of {n_samples} samples leaves {n_samples - n_test} to train on "
            f"and {n_test} to test with: give a share between 0 and 1, or a smaller number"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(n_samples)
    if stratify:
        order = order[_stratified_order(y[order], n_test)]
    test, train = order[:n_test], order[n_test:]
    return x[train], x[test], y[train], y[test]


def _stratified_order(y: npt.NDArray[Any], n_first: int) -> npt.NDArray[np.intp]:
    """An order of the samples whose first `n_first` hold of every class its share."""
    _, labels, counts = np.unique(y, return_inverse=True, return_counts=True)
    if y.dtype.kind == "f" or y.ndim != 1:
        raise ValueError(
            f"stratify needs one class label a sample; y has shape {y.shape}, {y.dtype}"
        )
    shares = counts * (n_first / len(y))
    quotas = np.floor(shares).astype(np.intp)
    # The samples that rounding left over go to the classes it took most from.
    left_over = n_first - quotas.sum()
    quotas[np.argsort(quotas - shares, kind="stable")[:left_over]] += 1
    by_class = np.argsort(labels, kind="stable")
    rank_in_class = np.empty(len(y), np.intp)
    rank_in_class[by_class] = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.argsort(rank_in_class >= quotas[labels], kind="stable")


@dataclass(frozen=True, eq=False)
class Standardizer:
    """Moves every feature to mean 0 and standard deviation 1, as measured on the data of `fit`.

    A feature that does not vary is only moved. `mean` and `scale` have shape (n_features,).

    >>> standardizer = Standardizer.fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> standardizer.transform(np.array([[1.0, 5.0], [4.0, 6.0]]))
    array([[-1.,  0.],
           [ 2.,  1.]])
    """

    mean: _Floats
    scale: _Floats

    @classmethod
    def fit(cls, x: npt.ArrayLike) -> Standardizer:
        """Measure mean and deviation of the samples `x`, (n_samples, n_features).

        Raises ValueError where there are no samples, and for NaN or infinity; TypeError for what is
        no real number.
        """
        x = _checked_features(x)
        # Asked of the values: a constant's deviation is not always 0, for its mean is rounded.
        constant = x.min(axis=0) == x.max(axis=0)
        scale = np.where(constant, 1.0, x.std(axis=0, dtype=np.float64))
        return cls(x.mean(axis=0, dtype=np.float64), scale)

    def transform(self, x: npt.ArrayLike) -> _Floats:
        """The samples, standardised; float32 stays float32."""
        x = np.asarray(x)
        return ((x - self.mean) / self.scale).astype(_float_dtype(x))

    def inverse(self, x: npt.ArrayLike) -> _Floats:
        """The samples that `transform` would have made `x` of."""
        x = np.asarray(x)
        return (x * self.scale + self.mean).astype(_float_dtype(x))


@dataclass(frozen=True, eq=False)
class MinMaxScaler:
    """Moves every feature from its least to its largest value in the data of `fit` to 0 to 1.

    A feature that does not vary is only moved. `low` and `width` have shape (n_features,).

    >>> scaler = MinMaxScaler.fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
    >>> scaler.transform(np.array([[1.0, 5.0], [4.0, 6.0]]))
    array([[0. , 0. ],
           [1.5, 1. ]])
    """

    low: _Floats
    width: _Floats

    @classmethod
    def fit(cls, x: npt.ArrayLike) -> MinMaxScaler:
        """Find the least and the largest value of each feature of `x`, (n_samples, n_features).

        Raises as `Standardizer.fit` does, and ValueError where they are too far apart for float64.
        """
        x = _checked_features(x).astype(np.float64)
        low = x.min(axis=0)
        with np.errstate(over="ignore"):
            width = x.max(axis=0) - low
        if not np.isfinite(width).all():
            raise ValueError("x holds values too far apart to be scaled: divide it first")
        return cls(low, np.where(width == 0, 1.0, width))

    def transform(self, x: npt.ArrayLike) -> _Floats:
        """The samples, scaled; float32 stays float32."""
        x = np.asarray(x)
        return ((x - self.low) / self.width).astype(_float_dtype(x))

    def inverse(self, x: npt.ArrayLike) -> _Floats:
        """The samples that `transform` would have made `x` of."""
        x = np.asarray(x)
        return (x * self.width + self.low).astype(_float_dtype(x))


def _checked_features(x: npt.ArrayLike) -> npt.NDArray[Any]:
    """Samples (n_samples, n_features) of finite real numbers, not none."""
    x = np.asarray(x)
    if x.ndim != 2 or not len(x):
        raise ValueError(f"x has shape {x.shape}: give (n_samples, n_features), not empty")
    if x.dtype.kind not in "biuf":
        raise TypeError(f"x holds {x.dtype}: give real numbers")
    bad = np.flatnonzero(~np.isfinite(x).all(axis=0))
    if bad.size:
        raise ValueError(
            f"x holds NaN or infinity in {bad.size} of {x.shape[1]} features, "
            f"the first is number {bad[0]}: remove those samples or fill them in"
        )
    return x


def _float_dtype(x: npt.NDArray[Any]) -> np.dtype[Any]:
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)


def one_hot(
    labels: npt.ArrayLike, n_classes: int | None = None, dtype: npt.DTypeLike = np.float32
) -> npt.NDArray[Any]:
    """One row a label, (n_samples, n_classes), with 1 in the label's column and 0 elsewhere.

    Without `n_classes` the largest label sets it. Raises TypeError for labels that are not
    integers, ValueError for one out of range.

    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise TypeError(
            f"labels have shape {labels.shape}, {labels.dtype}: give one integer a sample, (n,)"
        )
    if n_classes is None:
        n_classes = int(labels.max(initial=-1)) + 1
    elif not isinstance(n_classes, int | np.integer) or n_classes < 0:
        raise ValueError(f"n_classes={n_classes}: give a whole number, the number of classes")
    outside = labels[(labels < 0) | (labels >= n_classes)]
    if outside.size:
        raise ValueError(
            f"{outside.size} of {labels.size} labels lie outside 0 to {n_classes - 1}, "
            f"the first is {outside[0]}: count classes from 0, or give a larger n_classes"
        )
    encoded = np.zeros((labels.size, n_classes), dtype)
    encoded[np.arange(labels.size), labels] = 1
    return encoded


def batches(
    x: npt.ArrayLike, y: npt.ArrayLike, batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """One pass over the data in pairs `(x, y)` of `batch_size` samples, the last as short as it is.

    In file order, or shuffled by `rng`. Raises ValueError for lengths that differ and for a
    `batch_size` below 1.

    >>> [len(x) for x, y in batches(np.arange(5), np.arange(5), 2)]
    [2, 2, 1]
    """
    x, y = np.asarray(x), np.asarray(y)
    n_samples = _n_samples(x, y)
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give a whole number of at least 1")
    order = np.arange(n_samples) if rng is None else rng.permutation(n_samples)
    parts = [order[start : start + batch_size] for start in range(0, n_samples, batch_size)]
    return ((x[part], y[part]) for part in parts)


def _n_samples(x: npt.NDArray[Any], y: npt.NDArray[Any]) -> int:
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(
            f"x has shape {x.shape}, y {y.shape}: give one row of x and one entry of y a sample"
        )
    return len(x)
