"""How well a network fits: regions, confusions, and predicted against true values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.plots.figure import BLUE, COLORS, GREY, MARKERS, new_figure, new_panels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix", "decision_regions", "predicted_against_true"]


def decision_regions(
    predict: Callable[[npt.NDArray[Any]], npt.ArrayLike],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    threshold: float = 0.0,
    title: str = "",
) -> Figure:
    """The plane coloured by the class a network gives each point, and the data upon it.

    `predict` takes points (n, 2) and returns one score per class (n, n_classes), the largest wins,
    or one score (n,) or (n, 1), where those above `threshold` are class 1. `x` is (n_samples, 2),
    `y` the classes 0, 1, … (n_samples,). A point in the wrong region has a black ring.
    Raises ValueError for data that is not two-dimensional.
    """
    x, y = np.asarray(x), np.asarray(y).reshape(-1).astype(int)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"decision regions are drawn in two dimensions, but x has shape {x.shape}")
    grid_x, grid_y = _plane(x)
    points = np.stack([grid_x.ravel(), grid_y.ravel()], axis=1).astype(x.dtype)
    margins = _margins(predict(points), threshold)
    n_classes = max(int(y.max()) + 1, margins.shape[1])
    names = class_names or [str(c) for c in range(n_classes)]
    colors = [COLORS[c % len(COLORS)] for c in range(n_classes)]
    wrong = _margins(predict(x), threshold).argmax(axis=1) != y

    figure = new_figure(6.2, 5.2, title)
    (axes,) = new_panels(figure, 1, 1)
    axes.grid(False)
    for c, margin in enumerate(margins.T.reshape(-1, *grid_x.shape)):
        if margin.max() > 0:
            levels = [0.0, float(margin.max())]
            axes.contourf(grid_x, grid_y, margin, levels=levels, colors=[colors[c]], alpha=0.22)
        if margin.min() < 0 < margin.max():
            axes.contour(grid_x, grid_y, margin, levels=[0.0], colors=GREY, linewidths=1.0)
    size = float(np.clip(6000 / max(len(x), 1), 10, 90))
    for c in range(n_classes):
        axes.scatter(
            *_columns(x[y == c]),
            s=size,
            color=colors[c],
            marker=MARKERS[c % len(MARKERS)],
            edgecolor="white",
            linewidth=0.6,
            label=names[c],
        )
    if wrong.any():
        label = f"wrong ({wrong.sum()} of {len(y)})"
        axes.scatter(
            *_columns(x[wrong]),
            s=size * 2.4,
            facecolor="none",
            edgecolor="black",
            linewidth=1.3,
            label=label,
        )
    features = feature_names or ("feature 1", "feature 2")
    axes.set_xlabel(features[0])
    axes.set_ylabel(features[1])
    axes.legend(
        title="class", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, alignment="left"
    )
    return figure


def _plane(x: npt.NDArray[Any], n: int = 300) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A grid of n by n points over the data and a margin around it."""
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.12 * np.where(high > low, high - low, 1.0)
    first, second = np.linspace(low - margin, high + margin, n).T
    grid_x, grid_y = np.meshgrid(first, second)
    return grid_x, grid_y


def _columns(points: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return points[:, 0], points[:, 1]


def _margins(outputs: npt.ArrayLike, threshold: float) -> npt.NDArray[np.float64]:
    """By how much each class leads the best of the others, (n, n_classes): above 0 it wins."""
    scores = np.asarray(outputs, np.float64)
    if scores.ndim == 1 or scores.shape[1] == 1:
        lead = scores.reshape(-1) - threshold
        return np.stack([-lead, lead], axis=1)
    best_two = np.sort(scores, axis=1)[:, -2:]
    is_best = scores == best_two[:, 1:]
    return scores - np.where(is_best, best_two[:, :1], best_two[:, 1:])


def confusion_matrix(
    matrix: npt.ArrayLike, class_names: Sequence[str] | None = None, *, title: str = ""
) -> Figure:
    """The counts of a confusion matrix (true, predicted), coloured by their share of the row."""
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"a confusion matrix is square, but this one has shape {matrix.shape}")
    n = len(matrix)
    names = list(class_names) if class_names is not None else [str(c) for c in range(n)]
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.5 * n, 2.6, 12.0))
    figure = new_figure(side + 1.8, side + 0.9, title)
    from matplotlib.colors import PowerNorm  # `new_figure` has seen to it that there is matplotlib

    (axes,) = new_panels(figure, 1, 1)
    axes.grid(False)
    # The square root, or a confusion of one in a hundred could not be told from none.
    shown = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, vmin=0.0, vmax=1.0))
    if n <= 25:
        for row, column in np.ndindex(n, n):
            if matrix[row, column]:
                color = "white" if share[row, column] > 0.35 else "black"
                text = str(matrix[row, column])
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=9)
    long_names = max(map(len, names)) > 3
    slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(n), names, **(slant if long_names else {}))
    axes.set_yticks(range(n), names)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    ticks = [0.0, 0.05, 0.2, 0.5, 1.0]
    figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.9, ticks=ticks)
    return figure


def predicted_against_true(
    true: npt.ArrayLike, predicted: npt.ArrayLike, *, quantity: str = "value", title: str = ""
) -> Figure:
    """Each sample's predicted value over its true one; on the line the two are equal.

    Both are (n_samples,) or (n_samples, 1); `quantity` names them, with the unit.
    """
    true, predicted = np.asarray(true).reshape(-1), np.asarray(predicted).reshape(-1)
    if true.shape != predicted.shape:
        raise ValueError(f"{len(true)} true values but {len(predicted)} predicted ones")
    figure = new_figure(5.0, 4.8, title)
    (axes,) = new_panels(figure, 1, 1)
    both = np.concatenate([true, predicted])
    margin = 0.05 * (float(np.ptp(both)) or 1.0)
    ends = (both.min() - margin, both.max() + margin)
    axes.plot(ends, ends, color=GREY, linewidth=1.2, linestyle="--", label="predicted = true")
    axes.scatter(true, predicted, s=24, color=BLUE, alpha=0.65, edgecolor="white", linewidth=0.5)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel(f"true {quantity}")
    axes.set_ylabel(f"predicted {quantity}")
    axes.legend(frameon=False, loc="upper left")
    return figure
