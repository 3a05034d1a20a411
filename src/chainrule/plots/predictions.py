"""How well a network fits: confusions, predicted against true values, and fitted curves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.nn.network import Network
from chainrule.palette import BLUE, GREY, SKY, VERMILION
from chainrule.plots.figure import draw_panel, figure_of, literal
from chainrule.training.collecting import Snapshots

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["confusion_matrix", "fitted_curve", "predicted_against_true"]

_MOST_SNAPSHOTS = 6
_POINTS_OF_A_CURVE = 400


def confusion_matrix(
    matrix: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """The counts of a confusion matrix (true, predicted), coloured by their share of the row.

    Raises ValueError for a matrix that is not square, and for names that are not as many.

    >>> figure = confusion_matrix([[9, 1], [0, 8]], ["cat", "dog"])
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"a confusion matrix is square, but this one has shape {matrix.shape}")
    n = len(matrix)
    names = [literal(name) for name in (range(n) if class_names is None else class_names)]
    if len(names) != n:
        raise ValueError(f"{n} classes, but {len(names)} class names: give one for each")
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    side = float(np.clip(0.5 * n, 2.6, 12.0))
    axes = draw_panel(ax, side + 1.8, side + 0.9, title, grid=False)
    from matplotlib.colors import PowerNorm  # where there are axes there is matplotlib

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
    axes.figure.colorbar(shown, ax=axes, label="share of the true class", shrink=0.9, ticks=ticks)
    return figure_of(axes)


def predicted_against_true(
    true: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    quantity: str = "value",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Each sample's predicted value over its true one; on the line the two are equal.

    Both are (n_samples,) or (n_samples, 1); `quantity` names them, with the unit. Samples with a
    value that is not finite are left out, and counted in the legend.
    Raises ValueError for different lengths, and where there is no sample.
    """
    true = np.asarray(true, np.float64).reshape(-1)
    predicted = np.asarray(predicted, np.float64).reshape(-1)
    if true.shape != predicted.shape or not true.size:
        raise ValueError(f"{len(true)} true values but {len(predicted)} predicted ones")
    axes = draw_panel(ax, 5.0, 4.8, title)
    finite = np.isfinite(true) & np.isfinite(predicted)
    both = np.concatenate([true[finite], predicted[finite]]) if finite.any() else np.zeros(1)
    margin = 0.05 * (float(np.ptp(both)) or 1.0)
    ends = (float(both.min()) - margin, float(both.max()) + margin)
    axes.plot(ends, ends, color=GREY, linewidth=1.2, linestyle="--", label="predicted = true")
    left_out = f"{np.count_nonzero(~finite)} not finite, left out" if not finite.all() else None
    axes.scatter(
        true[finite],
        predicted[finite],
        s=24,
        color=BLUE,
        alpha=0.65,
        edgecolor="white",
        linewidth=0.5,
        label=left_out,
    )
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.set_xlabel(f"true {quantity}")
    axes.set_ylabel(f"predicted {quantity}")
    axes.legend(frameon=False, loc="upper left")
    return figure_of(axes)


def fitted_curve(
    predict: Network | Callable[[npt.NDArray[Any]], npt.ArrayLike],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    snapshots: Snapshots | None = None,
    names: tuple[str, str] = ("x", "y"),
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """What a network has learned of a function of one variable: the data, and its curve.

    `predict` is a network, or a function of points (n, 1) that returns values (n,) or (n, 1);
    `x` and `y` are (n_samples,) or (n_samples, 1). With `snapshots`, which `fit` took of the
    network, the curves of up to six epochs stand behind the last, the earlier the paler. The curve
    is drawn a tenth beyond the data on each side.
    Samples that are not finite are left out. Raises ValueError for other shapes.

    >>> figure = fitted_curve(np.sin, np.linspace(0, 6, 20), np.sin(np.linspace(0, 6, 20)))
    """
    x, y = (_one_column(array, name) for array, name in ((x, "x"), (y, "y")))
    if x.shape != y.shape:
        raise ValueError(f"{len(x)} values of x but {len(y)} of y: give one y for each x")
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        raise ValueError("no sample has finite x and y, so there is nothing to draw")
    x, y = x[known], y[known]
    axes = draw_panel(ax, 6.2, 4.2, title)
    low, high = float(x.min()), float(x.max())
    margin = 0.1 * (high - low or 1.0)
    points = np.linspace(low - margin, high + margin, _POINTS_OF_A_CURVE)[:, None]
    style: dict[str, Any] = {"s": 18, "color": GREY, "alpha": 0.7, "linewidth": 0}
    axes.scatter(x, y, label="data", **style)
    if snapshots is None:
        curves = {"fit": _values(predict, points)}
    else:
        curves = _curves_of(predict, points, snapshots)
    from matplotlib.colors import (
        LinearSegmentedColormap,
    )  # where there are axes there is matplotlib

    shades = LinearSegmentedColormap.from_list("shades", ["#C9DDEB", SKY, BLUE])
    for i, (label, values) in enumerate(curves.items()):
        last = i == len(curves) - 1
        color = VERMILION if last else shades(i / max(len(curves) - 2, 1))
        axes.plot(points[:, 0], values, color=color, linewidth=2.2 if last else 1.4, label=label)
    axes.set_xlim(points[0, 0], points[-1, 0])
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.legend(frameon=False)
    return figure_of(axes)


def _curves_of(
    network: Any, points: npt.NDArray[Any], snapshots: Snapshots
) -> dict[str, npt.NDArray[Any]]:
    """The curve of each epoch shown, by its label."""
    if not isinstance(network, Network):
        raise TypeError(
            f"snapshots are put back into a network, not into {type(network).__name__}: give the "
            "network that was trained"
        )
    if not len(snapshots):
        raise ValueError("no snapshots were kept: give them to fit, callbacks=[snapshots]")
    old = copy.deepcopy(network)
    # close together at first, when most is learned
    last = len(snapshots) - 1
    wanted = np.geomspace(1, last + 1, _MOST_SNAPSHOTS).round().astype(int) - 1
    curves = {}
    for i in sorted({0, last, *wanted.tolist()}):
        snapshots.restore(old, i)
        curves[f"epoch {snapshots.epochs[i]}"] = _values(old, points)
    return curves


def _one_column(array: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    values = np.asarray(array, np.float64)
    if values.ndim not in (1, 2) or values.shape[1:] not in ((), (1,)) or not values.size:
        raise ValueError(
            f"{name} has shape {values.shape}: a curve has one number a sample, (n_samples,)"
        )
    return values.reshape(-1)


def _values(predict: Any, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    found = predict.predict(points) if isinstance(predict, Network) else predict(points)
    values = np.asarray(found, np.float64)
    if values.shape not in ((len(points),), (len(points), 1)):
        raise ValueError(
            f"the function gave shape {values.shape} for {len(points)} points of shape (n, 1): "
            "return one value for each"
        )
    return values.reshape(-1)
