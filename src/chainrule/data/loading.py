"""`load`: every data set by its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.data import made
from chainrule.data.dataset import Dataset
from chainrule.data.ex4 import ex4_samples
from chainrule.data.storage import read_images
from chainrule.names import did_you_mean

__all__ = ["NAMES", "load", "shrink_by_two"]

_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def load(name: str, **options: Any) -> Dataset:
    """The data set of that name; `NAMES` lists them.

    - "xor", "circles", "moons", "spirals": made; options `n_samples`, `noise`, `seed` and more;
    - "iris", "wine", "breast_cancer", "diabetes": scikit-learn's, in their own units;
    - "digits": scikit-learn's images of 8x8, scaled to [0, 1];
    - "mnist", "fashion_mnist": images of 28x28, float32 in [0, 1], with their test sets; with
      `shrink=True`, of 14x14 by `shrink_by_two`;
    - "ex4": 5000 digits of 20x20 written column by column, class 9 the digit zero.

    Raises ValueError for an unknown name, TypeError for an unknown option (each with the nearest
    one), DataNotFoundError for files that are absent and not to be downloaded, ImportError where a
    library of the extra "data" is missing.

    >>> load("xor").y
    array([0, 1, 1, 0])
    """
    if name not in _LOADERS:
        raise ValueError(
            f"there is no data set {name!r}{did_you_mean(str(name), NAMES)}; there are "
            f"{', '.join(NAMES)}"
        )
    loader = _LOADERS[name]
    known = tuple(inspect.signature(loader).parameters)
    for option in options:
        if option not in known:
            raise TypeError(
                f"the data set {name} has no option {option!r}{did_you_mean(option, known)}; "
                f"it has {', '.join(known) or 'none'}"
            )
    return loader(**options)


def shrink_by_two(images: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Images (n, 2h, 2w) of 8 bits at half the size (n, h, w): the mean of each 2x2, rounded.

    Raises ValueError for an odd size and TypeError for another dtype.

    >>> shrink_by_two(np.array([[[0, 255], [255, 7]]], np.uint8))
    array([[[129]]], dtype=uint8)
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        raise TypeError(f"images have dtype {images.dtype}: give uint8, pixels of 8 bits")
    if images.ndim != 3 or images.shape[1] % 2 or images.shape[2] % 2:
        raise ValueError(
            f"images have shape {images.shape}: give (n, height, width) of even height and width"
        )
    pairs = images[:, 0::2].astype(np.uint16) + images[:, 1::2]
    fours = pairs[:, :, 0::2] + pairs[:, :, 1::2]
    means: npt.NDArray[np.uint8] = ((fours + 2) // 4).astype(np.uint8)  # + 2 rounds
    return means


def _image_dataset(
    name: str, class_names: tuple[str, ...], what: str, shrink: bool = False
) -> Dataset:
    images, labels, test_images, test_labels = read_images(name)
    if shrink:
        images, test_images = shrink_by_two(images), shrink_by_two(test_images)
    height, width = images.shape[1:]
    return Dataset(
        name,
        _scaled_rows(images),
        labels.astype(np.int64),
        "classification",
        _pixel_names(height, width),
        class_names,
        (height, width),
        x_test=_scaled_rows(test_images),
        y_test=test_labels.astype(np.int64),
        description=f"{len(images)} and {len(test_images)} images of {what}, {height}x{width}",
    )


def _scaled_rows(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows /= 255
    return rows


def _pixel_names(height: int, width: int) -> tuple[str, ...]:
    return tuple(f"pixel_{row}_{column}" for row in range(height) for column in range(width))


def _ex4() -> Dataset:
    x, y, origin = ex4_samples()
    by_column = np.array(_pixel_names(20, 20)).reshape(20, 20).T.ravel()
    return Dataset(
        "ex4",
        x,
        y,
        "classification",
        tuple(by_column.tolist()),
        (*_DIGITS[1:], "0"),
        (20, 20),
        image_order="F",
        description=f"{len(x)} images of handwritten digits, 20x20 ({origin})",
    )


def _sklearn_dataset(name: str) -> Dataset:
    try:
        import sklearn.datasets
    except ImportError as missing:
        raise ImportError(
            f'{name} comes with scikit-learn: pip install "chainrule[data]"'
        ) from missing
    # Its diabetes is standardised already unless told otherwise.
    arguments = {"scaled": False} if name == "diabetes" else {}
    bunch = getattr(sklearn.datasets, f"load_{name}")(**arguments)
    classes = tuple(str(label) for label in bunch.get("target_names", ()))
    images = bunch.get("images")
    n_samples, n_features = bunch.data.shape
    return Dataset(
        name,
        bunch.data / 16 if name == "digits" else bunch.data,
        bunch.target.astype(np.int64 if classes else np.float64),
        "classification" if classes else "regression",
        tuple(str(feature) for feature in bunch.feature_names),
        classes,
        None if images is None else images.shape[1:],
        description=f"{n_samples} samples of {n_features} features (scikit-learn's load_{name})",
    )


_LOADERS: dict[str, Callable[..., Dataset]] = {
    "xor": made.xor,
    "circles": made.circles,
    "moons": made.moons,
    "spirals": made.spirals,
    "iris": partial(_sklearn_dataset, "iris"),
    "digits": partial(_sklearn_dataset, "digits"),
    "wine": partial(_sklearn_dataset, "wine"),
    "breast_cancer": partial(_sklearn_dataset, "breast_cancer"),
    "diabetes": partial(_sklearn_dataset, "diabetes"),
    "mnist": partial(_image_dataset, "mnist", _DIGITS, "handwritten digits"),
    "fashion_mnist": partial(_image_dataset, "fashion_mnist", _CLOTHES, "articles of clothing"),
    "ex4": _ex4,
}

NAMES = tuple(_LOADERS)
"""The names that `load` knows."""
