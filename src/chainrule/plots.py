"""Pictures: how training went, and how well the network fits. The one place that uses matplotlib.

Every function returns a `matplotlib.figure.Figure` that belongs to no window and no global list, so
it works without a display and in any thread; a notebook shows it, `save` writes it. The colours
are those of M. Okabe and K. Ito, "Color Universal Design" (2008), which colour-blind readers tell
apart, and no picture says a thing by colour alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "confusion_matrix",
    "decision_regions",
    "hidden_units",
    "image_grid",
    "learning_curves",
    "loss_curve",
    "predicted_against_true",
    "save",
]

_BLUE, _ORANGE, _GREEN, _VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
_SKY, _PURPLE, _YELLOW, _GREY = "#56B4E9", "#CC79A7", "#F0E442", "#595959"
_COLORS = (_BLUE, _ORANGE, _GREEN, _PURPLE, _SKY, _VERMILION, _YELLOW, _GREY)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_MANY_DECADES = 30.0  # a loss that falls by more than this factor is drawn on a logarithmic axis
_NAMES = {"r2": "R²", "mae": "mean absolute error", "mse": "mean squared error"}


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure in the format of the path's suffix (.png, .svg, .pdf), and return the path.

    The file is written beside and renamed; the folder is made where absent.
    """
    with replacing(path) as beside:
        figure.savefig(beside, dpi=150)
    return Path(path)


# How training went


def learning_curves(
    history: Mapping[str, Sequence[float]],
    *,
    validation_label: str = "validation",
    title: str = "",
) -> Figure:
    """The loss and each metric by epoch, training and validation in one panel.

    `history` maps names to one number per epoch; `val_loss` goes with `loss`, and so on; a
    learning rate is shown where it changes. A loss that falls by more than a factor of 30 has a
    logarithmic axis. Raises ValueError for a history without an epoch.
    """
    names = [
        name
        for name, values in history.items()
        if not name.startswith("val_") and (name != "learning_rate" or len(set(values)) > 1)
    ]
    if not any(len(history[name]) for name in names):
        raise ValueError("the history holds no finished epoch, so there is no curve to draw")
    figure = _figure(4.6 * len(names), 3.8, title)
    for axes, name in zip(_panels(figure, 1, len(names)), names, strict=True):
        curves = {"training": history[name]}
        if f"val_{name}" in history:
            curves[validation_label] = history[f"val_{name}"]
        _draw_curves(axes, curves, _NAMES.get(name, name.replace("_", " ")), logarithmic=None)
    return figure


def loss_curve(
    losses: Sequence[float] | Mapping[str, Sequence[float]],
    *,
    published: Mapping[int, float] | None = None,
    logarithmic: bool = True,
    title: str = "",
    ylabel: str = "loss",
) -> Figure:
    """One or several losses (label -> one number per epoch) by epoch, on a logarithmic axis.

    `published` maps epochs, counted from 1, to figures to mark beside the curve.
    """
    figure = _figure(6.0, 4.0, title)
    curves = losses if isinstance(losses, Mapping) else {"ours": losses}
    (axes,) = _panels(figure, 1, 1)
    _draw_curves(axes, curves, ylabel, logarithmic=logarithmic)
    if published:
        axes.plot(
            list(published),
            list(published.values()),
            linestyle="none",
            marker="X",
            markersize=9,
            color=_VERMILION,
            markeredgecolor="white",
            label="published",
            zorder=5,
        )
    if published:
        axes.legend(frameon=False)
    return figure


def _draw_curves(
    axes: Axes, curves: Mapping[str, Sequence[float]], ylabel: str, *, logarithmic: bool | None
) -> None:
    """Curves over epochs counted from 1; `logarithmic` None lets the values decide."""
    from matplotlib.ticker import MaxNLocator  # `_figure` has seen to it that there is matplotlib

    many = len(curves) > len(_COLORS)  # as for 100 seeds: too many to name
    for i, (label, values) in enumerate(curves.items()):
        epochs = np.arange(1, len(values) + 1)
        axes.plot(
            epochs,
            np.asarray(values, np.float64),
            color=_BLUE if many else _COLORS[i],
            alpha=0.25 if many else 1.0,
            linewidth=1.0 if many else 1.8,
            linestyle="-" if i == 0 or many else ("--", "-.", ":")[(i - 1) % 3],
            # Few points are marked, or a run of one epoch would draw nothing.
            marker=_MARKERS[i % len(_MARKERS)] if len(values) <= 12 else None,
            markersize=4.5,
            label=(f"{len(curves)} runs" if i == 0 else None) if many else label,
        )
    everything = np.concatenate([np.asarray(v, np.float64) for v in curves.values()])
    finite = everything[np.isfinite(everything)]
    ratio = float(finite.max() / finite.min()) if finite.size and finite.min() > 0 else 0.0
    if logarithmic is None:
        logarithmic = ratio > _MANY_DECADES
    if logarithmic and ratio > 0:
        _make_logarithmic(axes, ratio)
    axes.set_xlabel("epoch")
    axes.set_ylabel(ylabel)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    if len(curves) > 1:
        axes.legend(frameon=False)


def _make_logarithmic(axes: Axes, ratio: float) -> None:
    """A logarithmic axis with plain numbers, at 1, 2 and 5 where it spans few decades."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    few = ratio < 500.0
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


# How well it fits


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
    colors = [_COLORS[c % len(_COLORS)] for c in range(n_classes)]
    wrong = _margins(predict(x), threshold).argmax(axis=1) != y

    figure = _figure(6.2, 5.2, title)
    (axes,) = _panels(figure, 1, 1)
    axes.grid(False)
    for c, margin in enumerate(margins.T.reshape(-1, *grid_x.shape)):
        if margin.max() > 0:
            levels = [0.0, float(margin.max())]
            axes.contourf(grid_x, grid_y, margin, levels=levels, colors=[colors[c]], alpha=0.22)
        if margin.min() < 0 < margin.max():
            axes.contour(grid_x, grid_y, margin, levels=[0.0], colors=_GREY, linewidths=1.0)
    size = float(np.clip(6000 / max(len(x), 1), 10, 90))
    for c in range(n_classes):
        axes.scatter(
            *_columns(x[y == c]),
            s=size,
            color=colors[c],
            marker=_MARKERS[c % len(_MARKERS)],
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


def image_grid(
    images: npt.ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    right: Sequence[bool] | None = None,
    columns: int = 10,
    title: str = "",
) -> Figure:
    """Images in rows, each with its label above it; wrong ones are framed and their label is red.

    `images` is (n, height, width); `right` says per image whether the network was right.
    Raises ValueError for another shape.
    """
    tiles = _Tiles(images, columns, lines_above=_most_lines(labels or ()))
    figure = _figure(*tiles.inches, title)
    (axes,) = _panels(figure, 1, 1)
    # Interpolated images overshoot a little: the background is white, the ink black all the same.
    low, high = np.percentile(tiles.images, (1.0, 99.0))
    _show_tiles(axes, tiles, cmap="gray_r", vmin=low, vmax=high)
    longest = max((len(line) for label in labels or () for line in label.split("\n")), default=0)
    for i in range(len(tiles.images)):
        wrong = right is not None and not right[i]
        if labels is not None:
            axes.text(
                *tiles.above(i),
                labels[i],
                ha="center",
                va="bottom",
                fontsize=9 if longest <= 9 else 7,
                color=_VERMILION if wrong else "black",
                fontweight="bold" if wrong else "normal",
            )
        if wrong:
            _frame(axes, tiles, i)
    return figure


def hidden_units(images: npt.ArrayLike, *, columns: int | None = None, title: str = "") -> Figure:
    """What each unit of the first layer looks for: its weights as an image, blue − and red +.

    `images` is (n_units, height, width): the columns of a weight matrix, each in the form of an
    image, as `Dataset.images(weight.T)` gives them. All share one scale, symmetric about zero.
    Raises ValueError for another shape.
    """
    tiles = _Tiles(images, columns or int(np.ceil(np.sqrt(len(np.asarray(images))))))
    width, height = tiles.inches
    figure = _figure(width + 1.2, max(height, 2.0), title)
    (axes,) = _panels(figure, 1, 1)
    # A few large weights would turn all others grey.
    limit = float(np.percentile(np.abs(tiles.images), 99.5)) or 1.0
    shown = _show_tiles(axes, tiles, cmap="RdBu_r", vmin=-limit, vmax=limit)
    figure.colorbar(shown, ax=axes, label="weight", shrink=0.8, pad=0.02)
    return figure


class _Tiles:
    """Images laid out in rows with gaps between them, as one picture of pixels."""

    def __init__(self, images: npt.ArrayLike, columns: int, lines_above: int = 0) -> None:
        self.images = np.asarray(images, np.float64)
        if self.images.ndim != 3 or not len(self.images):
            raise ValueError(
                f"images are wanted as (n, height, width), but came as {self.images.shape}"
            )
        n, self.height, self.width = self.images.shape
        self.columns = min(columns, n)
        self.rows = -(-n // self.columns)
        self.gap = max(1, round(0.12 * self.width))
        self.gap_above = self.gap + round(0.22 * lines_above * self.width)

    @property
    def inches(self) -> tuple[float, float]:
        """The size of the picture at 0.8 inches an image."""
        height, width = self.picture().shape
        return 0.8 * width / self.width, 0.8 * height / self.width

    def corner(self, i: int) -> tuple[int, int]:
        """Row and column of the upper left pixel of an image."""
        row, column = divmod(i, self.columns)
        return (
            self.gap_above + row * (self.height + self.gap_above),
            self.gap + column * (self.width + self.gap),
        )

    def above(self, i: int) -> tuple[float, float]:
        """Where the label of an image ends, x and y."""
        row, column = self.corner(i)
        return column + (self.width - 1) / 2, row - 0.5 - 0.04 * self.width

    def picture(self) -> npt.NDArray[np.float64]:
        """All images in one array, NaN in the gaps."""
        height = self.rows * (self.height + self.gap_above) + self.gap
        picture = np.full((height, self.columns * (self.width + self.gap) + self.gap), np.nan)
        for i, image in enumerate(self.images):
            row, column = self.corner(i)
            picture[row : row + self.height, column : column + self.width] = image
        return picture


def _most_lines(labels: Sequence[str]) -> int:
    return max((label.count("\n") + 1 for label in labels), default=0)


def _show_tiles(axes: Axes, tiles: _Tiles, **colors: Any) -> Any:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return axes.imshow(tiles.picture(), interpolation="nearest", **colors)


def _frame(axes: Axes, tiles: _Tiles, i: int) -> None:
    from matplotlib.patches import Rectangle

    row, column = tiles.corner(i)
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5),
            tiles.width,
            tiles.height,
            fill=False,
            edgecolor=_VERMILION,
            linewidth=2.0,
        )
    )


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
    figure = _figure(side + 1.8, side + 0.9, title)
    from matplotlib.colors import PowerNorm  # `_figure` has seen to it that there is matplotlib

    (axes,) = _panels(figure, 1, 1)
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
    figure = _figure(5.0, 4.8, title)
    (axes,) = _panels(figure, 1, 1)
    both = np.concatenate([true, predicted])
    margin = 0.05 * (float(np.ptp(both)) or 1.0)
    ends = (both.min() - margin, both.max() + margin)
    axes.plot(ends, ends, color=_GREY, linewidth=1.2, linestyle="--", label="predicted = true")
    axes.scatter(true, predicted, s=24, color=_BLUE, alpha=0.65, edgecolor="white", linewidth=0.5)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel(f"true {quantity}")
    axes.set_ylabel(f"predicted {quantity}")
    axes.legend(frameon=False, loc="upper left")
    return figure


# The common look


def _figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches, taller by its title."""
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise ImportError('pictures need matplotlib: pip install "chainrule[plots]"') from missing
    lines = title.count("\n") + 1 if title else 0
    figure = Figure(figsize=(width, height + 0.32 * lines), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _panels(figure: Figure, rows: int, columns: int) -> list[Axes]:
    """The axes of a grid in reading order, with a light grid and no box around them."""
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
    return panels
