"""Samples as points: by class or by value, in a plane of two features or principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.palette import BLUE, INK, class_style
from chainrule.plots.figure import class_name, clipped_ends, draw_panel, figure_of, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["as_classes", "draw_classes", "sample_points"]

_AREAS = {"^": 1.3, "v": 1.3, "D": 0.9, "P": 1.4, "X": 1.4, "*": 2.0}  # markers look as large
_MOST_NAMED = 23
_MANY_IN_A_COLUMN = 12  # a legend of more classes has two columns


def sample_points(
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    *,
    features: tuple[int, int] | None = None,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """The data as points: two of their features, or their first two principal components.

    `x` is (n_samples, ...); more axes than one count as features. `features` are the numbers of two
    columns; without them data of two features are drawn as they are, and others along the two
    directions in which they vary most, with the share of the variance that each has. `y` are
    classes 0, 1, … (n_samples,), each with a colour and a marker, or real numbers, on a scale
    of colours that leaves out the outer two percent, or nothing. Samples that are not finite are
    left out. Raises ValueError for data of one feature, and for other shapes.

    >>> figure = sample_points(np.eye(4), [0, 0, 1, 1])
    """
    array = np.asarray(x, np.float64)
    if array.ndim < 2 or not array.size:
        raise ValueError(
            f"samples are wanted as (n_samples, n_features), but came as {array.shape}"
        )
    array = array.reshape(len(array), -1)
    if array.shape[1] < 2:
        raise ValueError(
            "a plane needs two features, and these samples have one: fitted_curve draws values "
            "over one feature"
        )
    values = None if y is None else np.asarray(y).reshape(-1)
    if values is not None and len(values) != len(array):
        raise ValueError(f"{len(array)} samples but {len(values)} values of y")
    finite = np.isfinite(array).all(axis=1)
    if not finite.any():
        raise ValueError("no sample is finite, so there is nothing to draw")
    values = None if values is None else values[finite]
    points, labels = _in_a_plane(array[finite], features, feature_names)
    axes = draw_panel(ax, 6.2, 4.8, title)
    if values is None:
        axes.scatter(points[:, 0], points[:, 1], **_style(len(points)), color=BLUE)
    elif values.dtype.kind == "f" and (values != np.round(values)).any():
        _draw_values(axes, points, values)
    else:
        draw_classes(axes, points, as_classes(values, "y"), class_names)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    return figure_of(axes)


def _in_a_plane(
    x: npt.NDArray[np.float64],
    features: tuple[int, int] | None,
    feature_names: Sequence[str] | None,
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """The samples' two coordinates (n_samples, 2), and what the axes are called."""
    if features is None and x.shape[1] > 2:
        return _principal_components(x)
    chosen = [0, 1] if features is None else list(features)
    if len(chosen) != 2 or not all(-x.shape[1] <= k < x.shape[1] for k in chosen):
        raise ValueError(
            f"features is {features}: give two numbers from 0 to {x.shape[1] - 1}, of the columns"
        )
    names = feature_names
    if names is None:
        names = [f"feature {k + 1}" for k in range(x.shape[1])]
    return x[:, chosen], [literal(names[k]) for k in chosen]


def _principal_components(
    x: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], list[str]]:
    """The coordinates along the first two eigenvectors of the covariance; the signs are fixed.

    Pearson, "On lines and planes of closest fit to systems of points in space", 1901.
    """
    centred = x - x.mean(axis=0)
    scale = np.abs(centred).max() or 1.0
    centred /= scale
    if len(x) >= x.shape[1]:
        variances, directions = np.linalg.eigh(centred.T @ centred)
        first_two = directions[:, [-1, -2]]
    else:
        _, singular, directions = np.linalg.svd(centred, full_matrices=False)
        variances = np.pad(np.square(singular), (0, 2))[::-1]
        first_two = np.pad(directions, [(0, 2), (0, 0)])[:2].T  # one sample has one direction
    largest = np.abs(first_two).argmax(axis=0)
    first_two = first_two * np.where(first_two[largest, [0, 1]] < 0, -1.0, 1.0)
    total = float(np.square(centred).sum())
    shares = [float(max(variances[-k], 0.0)) / total if total else 0.0 for k in (1, 2)]
    labels = [
        f"principal component {k + 1} ({share:.0%} of the variance)"
        for k, share in enumerate(shares)
    ]
    return scale * (centred @ first_two), labels


def _draw_values(
    axes: Axes, points: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> None:
    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, (1.0, 99.0)) if finite.size else (0.0, 1.0)
    how: dict[str, Any] = {
        **_style(len(points)),
        "cmap": "viridis",
        "vmin": low,
        "vmax": high if high > low else low + 1.0,
    }
    shown = axes.scatter(points[:, 0], points[:, 1], c=values, **how)
    axes.figure.colorbar(shown, ax=axes, label="y", extend=clipped_ends(finite, low, high))


def as_classes(y: npt.ArrayLike, name: str) -> npt.NDArray[np.int64]:
    """Classes 0, 1, … (n_samples,); raises ValueError for what are none."""
    values = np.asarray(y).reshape(-1)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} has dtype {values.dtype}: give the classes as numbers 0, 1, …")
    known = np.nan_to_num(values, nan=-1.0, posinf=-1.0, neginf=-1.0)
    whole: npt.NDArray[np.int64] = known.astype(np.int64)
    if (whole != values).any() or (whole < 0).any():
        wrong = values[(whole != values) | (whole < 0)][0]
        raise ValueError(f"{name} holds {wrong}: classes are whole numbers from 0")
    return whole


def draw_classes(
    axes: Axes,
    points: npt.NDArray[Any],
    classes: npt.NDArray[np.int64],
    class_names: Sequence[str] | None,
    wrong: npt.NDArray[np.bool_] | None = None,
    wrong_label: str = "",
) -> None:
    """Points by class, each class with its colour and marker, and a legend beside the axes.

    Points that are `wrong` have a black ring, and the legend counts them, unless `wrong_label` is
    what it says, also where there are none.
    """
    present = np.unique(classes).tolist()
    style: dict[str, Any] = _style(len(points))
    size = style.pop("s")
    for i, c in enumerate(present):
        color, marker = class_style(c)
        label = class_name(c, class_names) if i < _MOST_NAMED else None
        of_class = points[classes == c]
        area = size * _AREAS.get(marker, 1.0)
        axes.scatter(
            of_class[:, 0], of_class[:, 1], s=area, color=color, marker=marker, label=label, **style
        )
    if len(present) > _MOST_NAMED:
        axes.scatter([], [], alpha=0.0, label=f"and {len(present) - _MOST_NAMED} more")
    if wrong is not None and (wrong.any() or wrong_label):
        ring: dict[str, Any] = {"facecolor": "none", "edgecolor": "black", "linewidth": 1.3}
        label = wrong_label or f"wrong ({wrong.sum()} of {len(points)})"
        axes.scatter(points[wrong, 0], points[wrong, 1], s=2.6 * size, label=label, **ring)
    axes.legend(
        title="class",
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
        frameon=False,
        alignment="left",
        ncols=2 if len(present) > _MANY_IN_A_COLUMN else 1,
    )


def _style(n_points: int) -> dict[str, Any]:
    """Points that are the smaller the more they are."""
    size = float(np.clip(6000 / max(n_points, 1), 14, 60))
    # a dark edge, or yellow points would be lost on white and on yellow
    return {"s": size, "edgecolor": INK, "linewidth": 0.4}
