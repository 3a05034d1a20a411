"""Data sets that a few lines of NumPy make: points in the plane that no straight line parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.data.dataset import Dataset

__all__ = ["circles", "moons", "spirals", "xor"]


def xor(n_samples: int = 4, noise: float = 0.0, seed: int = 0) -> Dataset:
    """The exclusive or: the corners of the unit square, 1 where the coordinates differ.

    More than four samples repeat the corners in turn; `noise` is the standard deviation around
    them.
    """
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    labels = np.arange(_at_least(n_samples, 4)) % 4
    return _plane(
        "xor", corners[labels], np.array([0, 1, 1, 0])[labels], noise, seed, shuffle=False
    )


def circles(
    n_samples: int = 400, noise: float = 0.08, factor: float = 0.5, seed: int = 0
) -> Dataset:
    """Two circles around the origin, of radius 1 (class 0) and `factor` (class 1)."""
    if not 0 < factor < 1:
        raise ValueError(f"factor={factor} is the inner radius: give a number between 0 and 1")
    labels = np.arange(_at_least(n_samples, 2)) % 2
    angle = np.random.default_rng(seed).uniform(0, 2 * np.pi, n_samples)
    radius = np.where(labels == 0, 1.0, factor)
    return _plane("circles", _polar(radius, angle), labels, noise, seed)


def moons(n_samples: int = 400, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Two half circles, each reaching into the other: the upper (class 0), the lower (class 1)."""
    labels = np.arange(_at_least(n_samples, 2)) % 2
    angle = np.random.default_rng(seed).uniform(0, np.pi, n_samples)
    upper = _polar(1.0, angle)
    lower = np.array([1.0, 0.5]) - upper
    return _plane("moons", np.where(labels[:, None] == 0, upper, lower), labels, noise, seed)


def spirals(
    n_samples: int = 600,
    noise: float = 0.03,
    n_classes: int = 2,
    turns: float = 1.5,
    seed: int = 0,
) -> Dataset:
    """One spiral arm a class, winding `turns` times from the origin out to radius 1."""
    if not isinstance(n_classes, int | np.integer) or n_classes < 2:
        raise ValueError(f"n_classes={n_classes}: give a whole number of at least 2")
    if not np.isfinite(turns):
        raise ValueError(f"turns={turns}: give a finite number")
    labels = np.arange(_at_least(n_samples, n_classes)) % n_classes
    # The square root spreads the points evenly along the arm, not densely at its centre.
    along = np.sqrt(np.random.default_rng(seed).uniform(0.005, 1.0, n_samples))
    angle = 2 * np.pi * (turns * along + labels / n_classes)
    return _plane("spirals", _polar(along, angle), labels, noise, seed)


def _at_least(n_samples: int, least: int) -> int:
    if not isinstance(n_samples, int | np.integer) or n_samples < least:
        raise ValueError(f"n_samples={n_samples}: give a whole number of at least {least}")
    return n_samples


def _polar(radius: Any, angle: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _plane(
    name: str,
    points: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int64],
    noise: float,
    seed: int,
    shuffle: bool = True,
) -> Dataset:
    """The points with normal noise added, in random order, as a data set of two features."""
    if not 0 <= noise < np.inf:
        raise ValueError(f"noise={noise} is a standard deviation: give a number of 0 or more")
    # A stream of its own, so that the noise does not repeat the draws that placed the points.
    rng = np.random.default_rng([seed, 1])
    points = points + rng.normal(0.0, noise, points.shape)
    order = rng.permutation(len(points)) if shuffle else np.arange(len(points))
    classes = tuple(str(label) for label in np.unique(labels))
    description = f"{len(points)} points of {len(classes)} classes in the plane, noise {noise}"
    return Dataset(
        name,
        points[order],
        labels[order],
        "classification",
        ("x1", "x2"),
        classes,
        description=description,
    )
