"""The 5000 digits of 20x20 and the given weights of Ng's machine-learning course, exercise 4.

Its `ex4data1.mat` was made from MNIST, and is made again here where the file is absent; of the
weights, `ex4weights.mat`, there is only the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.data.storage import (
    DamagedFileError,
    DataNotFoundError,
    find_local,
    read_images,
    where_to_put,
)
from chainrule.extras import missing_extra

__all__ = ["bicubic_weights", "ex4_samples", "ex4_weights", "rebuild_ex4_from_mnist"]

_Floats = npt.NDArray[np.float64]

_N_PER_DIGIT = 500


def ex4_samples() -> tuple[_Floats, npt.NDArray[np.int64], str]:
    """The samples x (5000, 400), labels 0 to 9 as `Dataset.y` has them, and where they came from.

    Raises as `rebuild_ex4_from_mnist` does where there is no ex4data1.mat, DamagedFileError where
    it is not the exercise's.
    """
    path = find_local("ex4", "ex4data1.mat")
    if path is None:
        x, course_labels = rebuild_ex4_from_mnist()
        origin = "rebuilt from MNIST"
    else:
        x, course_labels = _load_mat(path, {"X": (5000, 400), "y": (5000, 1)})
        if not np.isin(course_labels, np.arange(1, 11)).all():
            raise DamagedFileError(
                f"{path} is not the file of exercise 4: y holds other labels than 1 to 10"
            )
        origin = "ex4data1.mat"
    return x, course_labels.ravel().astype(np.int64) - 1, origin


def ex4_weights() -> tuple[_Floats, _Floats]:
    """The given weights Theta1 (25, 401) and Theta2 (10, 26), the bias in column 0 of each.

    Raises DataNotFoundError where ex4weights.mat is absent, for it cannot be rebuilt, and
    DamagedFileError where it is not the exercise's.
    """
    path = find_local("ex4", "ex4weights.mat")
    if path is None:
        raise DataNotFoundError(
            "ex4weights.mat, the given weights of exercise 4 of Ng's machine-learning course, is "
            "not on this machine and there is no download: take it from the exercise's files and "
            f"put it into {where_to_put('ex4')}"
        )
    theta1, theta2 = _load_mat(path, {"Theta1": (25, 401), "Theta2": (10, 26)})
    return theta1, theta2


def _load_mat(path: Path, wanted: dict[str, tuple[int, ...]]) -> list[npt.NDArray[Any]]:
    """The arrays of these names and shapes; nothing is unpacked where the file has others."""
    try:
        from scipy.io import loadmat, whosmat
    except ImportError as missing:
        raise missing_extra(f"to read {path} SciPy is needed", "scipy") from missing
    content: dict[str, Any] = {}
    try:
        found = {name: shape for name, shape, _ in whosmat(path)}
        if all(found.get(name) == shape for name, shape in wanted.items()):
            content = loadmat(path, variable_names=list(wanted))
    except Exception as fault:  # SciPy's reader raises whatever it stumbles over
        raise DamagedFileError(
            f"{path} is damaged, or no .mat file ({type(fault).__name__}: {fault}): take it from "
            "the exercise's files again"
        ) from fault
    for name, shape in wanted.items():
        if found.get(name) != shape:
            raise DamagedFileError(
                f"{path} is not exercise 4's file: {name} should have shape {shape}, but is "
                f"{found.get(name, 'absent')}"
            )
    arrays = [np.asarray(content.get(name)) for name in wanted]
    if not all(array.dtype.kind in "iuf" and np.isfinite(array).all() for array in arrays):
        raise DamagedFileError(f"{path} is damaged: it does not hold finite real numbers")
    return [np.ascontiguousarray(array) for array in arrays]


def rebuild_ex4_from_mnist() -> tuple[_Floats, npt.NDArray[np.int64]]:
    """X (5000, 400) and the course's labels y (5000,), 1 to 10 where 10 is the digit zero.

    The first 500 training images of each digit 0 to 9 in MNIST's file order, / 255, shrunk to
    20x20 by bicubic interpolation with antialiasing, each written column by column.
    Raises as `read_images("mnist")` does.
    """
    images, labels, _, _ = read_images("mnist")
    chosen = np.concatenate([np.flatnonzero(labels == digit)[:_N_PER_DIGIT] for digit in range(10)])
    weights = bicubic_weights(28, 20)
    shrunk = weights @ (images[chosen] / 255) @ weights.T
    digits = labels[chosen].astype(np.int64)
    return shrunk.swapaxes(1, 2).reshape(len(chosen), -1), np.where(digits == 0, 10, digits)


def bicubic_weights(n_in: int, n_out: int) -> _Floats:
    """The matrix (n_out, n_in) that shrinks a signal by bicubic interpolation with antialiasing.

    The kernel is widened by n_in / n_out, the weights of each output are normalised to sum 1, and
    beyond the border the border's value is repeated: what Matlab's and Octave's imresize do, but
    for the border. Kernel: R. Keys, "Cubic convolution interpolation for digital image
    processing", 1981, eq. 15, a = -0.5.
    """
    stretch = n_in / n_out
    centres = (np.arange(n_out) + 0.5) * stretch - 0.5
    reach = int(np.ceil(2 * stretch)) + 1
    positions = np.floor(centres)[:, None] + np.arange(-reach, reach + 1)
    weights = _cubic((positions - centres[:, None]) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    matrix = np.zeros((n_out, n_in))
    columns = np.clip(positions, 0, n_in - 1).astype(np.intp)
    np.add.at(matrix, (np.arange(n_out)[:, None], columns), weights)
    return matrix


def _cubic(t: _Floats) -> _Floats:
    t = np.abs(t)
    near = (1.5 * t - 2.5) * t**2 + 1
    far = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))
