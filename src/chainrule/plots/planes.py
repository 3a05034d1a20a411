"""What a network says of each point of the plane: regions, probabilities, and how they came."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule import primitives
from chainrule.nn.network import Network
from chainrule.palette import COLORS, GREY, INK
from chainrule.plots.animation import Animation
from chainrule.plots.figure import class_name, draw_panel, figure_of, literal
from chainrule.plots.samples import as_classes, draw_classes
from chainrule.training.collecting import Snapshots
from chainrule.training.losses import get_loss
from chainrule.training.measured import NotSaved

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["animated_decision_boundary", "decision_boundary", "decision_regions"]

_GRID, _SHADED_GRID = 300, 160  # points along an axis; shades are interpolated between them
_TINT = 0.35


def decision_regions(
    predict: Callable[[npt.NDArray[Any]], npt.ArrayLike],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    threshold: float = 0.0,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """The plane coloured by the class a network gives each point, and the data upon it.

    `predict` takes points (n, 2) and returns one score per class (n, n_classes), the largest wins,
    or one score (n,) or (n, 1), where those above `threshold` are class 1. `x` is (n_samples, 2),
    `y` the classes 0, 1, … (n_samples,). A point in the wrong region has a black ring.
    Raises ValueError for data that is not two-dimensional.

    >>> figure = decision_regions(lambda points: points[:, 0], [[-1.0, 0.0], [1.0, 0.0]], [0, 1])
    """
    x, y = _checked(x, y)
    grid_x, grid_y = _plane(x)
    points = np.stack([grid_x.ravel(), grid_y.ravel()], axis=1).astype(x.dtype)
    margins = _margins(predict(points), threshold)
    wrong = _margins(predict(x), threshold).argmax(axis=1) != y
    axes = draw_panel(ax, 6.2, 5.2, title, grid=False)
    for c, margin in enumerate(margins.T.reshape(-1, *grid_x.shape)):
        if margin.max() > 0:
            levels = [0.0, float(margin.max())]
            color = COLORS[c % len(COLORS)]
            axes.contourf(grid_x, grid_y, margin, levels=levels, colors=[color], alpha=_TINT)
        if margin.min() < 0 < margin.max():
            axes.contour(grid_x, grid_y, margin, levels=[0.0], colors=GREY, linewidths=1.0)
    draw_classes(axes, x, y, class_names, wrong)
    _name_axes(axes, feature_names)
    return figure_of(axes)


def decision_boundary(
    predict: Network | Callable[[npt.NDArray[Any]], npt.ArrayLike],
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """The plane shaded by how probable a network finds the class it decides for, and the data.

    A point has the colour of the likeliest class, the stronger the surer; the boundary is where
    that changes. `predict` is a network, whose outputs become probabilities as in the loss of its
    last fit (softmax or sigmoid), or a function of points (n, 2) that returns probabilities: rows
    (n, n_classes) that add up to 1, or those of class 1, (n,) or (n, 1). `x` is (n_samples, 2), `y`
    the classes 0, 1, … (n_samples,). A point decided wrongly has a black ring.
    Raises ValueError for data that is not two-dimensional, and for outputs that are no
    probabilities.

    >>> def sure(points):
    ...     return 1 / (1 + np.exp(-5 * points[:, 0]))
    >>> figure = decision_boundary(sure, [[-1.0, 0.0], [1.0, 0.0]], [0, 1])
    """
    x, y = _checked(x, y)
    axes = draw_panel(ax, 6.8, 5.2, title, grid=False)
    n_classes, wrong = _draw_boundary(axes, predict, x, y)
    draw_classes(axes, x, y, class_names, wrong)
    _name_axes(axes, feature_names)
    _explain_shades(axes, n_classes, class_names)
    return figure_of(axes)


def animated_decision_boundary(
    network: Network,
    snapshots: Snapshots,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str = "",
    frames_per_second: int = 5,
) -> Animation:
    """The decision boundary, epoch by epoch as it was learned; `save` writes it as a GIF.

    `snapshots` were taken by `fit` of this network, which stays as it is; the other arguments are
    as for `decision_boundary`. Raises ValueError where no snapshots were kept.

    >>> from chainrule import nn
    >>> x, y = np.array([[0.0, 0.0], [1.0, 1.0]]), np.array([0, 1])
    >>> net, kept = nn.Network([nn.Dense(2)], seed=0), Snapshots()
    >>> _ = net.fit(x, y, loss="cross_entropy", epochs=3, callbacks=kept, verbose=0)
    >>> animated_decision_boundary(net, kept, x, y)
    Animation(4 frames)
    """
    x, y = _checked(x, y)
    if not len(snapshots):
        raise ValueError("no snapshots were kept: give them to fit, callbacks=[snapshots]")
    old = copy.deepcopy(network)
    axes = draw_panel(None, 6.8, 5.2, title, grid=False)

    def draw(i: int) -> None:
        snapshots.restore(old, i)
        axes.clear()
        _, wrong = _draw_boundary(axes, old, x, y)
        draw_classes(axes, x, y, class_names, wrong, "wrong")
        _name_axes(axes, feature_names)
        count = f"{wrong.sum()} of {len(x)} wrong"
        axes.set_title(f"epoch {snapshots.epochs[i]}: {count}", fontsize=11)

    draw(len(snapshots) - 1)
    _explain_shades(axes, _probabilities(old, x[:1]).shape[1], class_names)
    return Animation(figure_of(axes), draw, len(snapshots), frames_per_second)


def _checked(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Points (n_samples, 2) and their classes (n_samples,), or a ValueError."""
    x, y = np.asarray(x), as_classes(y, "y")
    if x.ndim != 2 or x.shape[1] != 2 or not len(x):
        raise ValueError(f"decision regions are drawn in two dimensions, but x has shape {x.shape}")
    if len(x) != len(y):
        raise ValueError(f"{len(x)} points but {len(y)} classes: give one for each")
    if x.dtype.kind != "f":
        x = x.astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(x))} values of x are not finite")
    return x, y


def _plane(x: npt.NDArray[Any], n: int = _GRID) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A grid of n by n points over the data and a margin around it."""
    low, high = x.min(axis=0), x.max(axis=0)
    margin = 0.12 * np.where(high > low, high - low, 1.0)
    first, second = np.linspace(low - margin, high + margin, n).T
    grid_x, grid_y = np.meshgrid(first, second)
    return grid_x, grid_y


def _margins(outputs: npt.ArrayLike, threshold: float) -> npt.NDArray[np.float64]:
    """By how much each class leads the best of the others, (n, n_classes): above 0 it wins."""
    scores = np.asarray(outputs, np.float64)
    if not np.isfinite(scores).all():
        raise ValueError(
            f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} outputs are not finite, so "
            "they decide for no class"
        )
    if scores.ndim == 1 or scores.shape[1] == 1:
        lead = scores.reshape(-1) - threshold
        return np.stack([-lead, lead], axis=1)
    best_two = np.sort(scores, axis=1)[:, -2:]
    is_best = scores == best_two[:, 1:]
    return scores - np.where(is_best, best_two[:, :1], best_two[:, 1:])


def _draw_boundary(
    axes: Axes, predict: Any, x: npt.NDArray[Any], y: npt.NDArray[np.int64]
) -> tuple[int, npt.NDArray[np.bool_]]:
    """Draw shades and boundary; how many classes there are, and which points are wrong."""
    grid_x, grid_y = _plane(x, _SHADED_GRID)
    points = np.stack([grid_x.ravel(), grid_y.ravel()], axis=1).astype(x.dtype)
    found = _probabilities(predict, points)
    shades = _shades(found).reshape(*grid_x.shape, 3)
    ends = (grid_x[0, 0], grid_x[0, -1], grid_y[0, 0], grid_y[-1, 0])
    axes.imshow(shades, extent=ends, origin="lower", aspect="auto", interpolation="bilinear")
    for margin in _margins(found, 0.5).T.reshape(-1, *grid_x.shape):
        if margin.min() < 0 < margin.max():
            axes.contour(grid_x, grid_y, margin, levels=[0.0], colors=INK, linewidths=1.2)
    return found.shape[1], _probabilities(predict, x).argmax(axis=1) != y


def _probabilities(predict: Any, points: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The probability of each class, (n, n_classes), at least two."""
    if isinstance(predict, Network):
        outputs = np.asarray(predict.predict(points), np.float64)
        loss = predict.measured.loss
        known = loss is not None and not isinstance(loss, NotSaved)
        within = get_loss(loss).contains if known else ""
        if within == "softmax":
            outputs = primitives.softmax(outputs)
        elif within == "sigmoid":
            outputs = primitives.sigmoid(outputs)
    else:
        outputs = np.asarray(predict(points), np.float64)
    if outputs.shape == (len(points),):
        outputs = outputs[:, None]
    if outputs.ndim != 2 or len(outputs) != len(points):
        raise ValueError(
            f"the outputs of {len(points)} points have shape {outputs.shape}: give probabilities, "
            "(n, n_classes), or (n,) of class 1"
        )
    total = outputs.sum(axis=1)
    inside = bool((outputs >= -1e-6).all() and (outputs <= 1 + 1e-6).all())  # False for NaN
    if not inside or (outputs.shape[1] > 1 and np.abs(total - 1).max() > 1e-3):
        low, high = outputs.min(), outputs.max()
        raise ValueError(
            f"the outputs are no probabilities: they go from {low:.4g} to {high:.4g}, and the "
            f"rows add up to {total.min():.4g} to {total.max():.4g}. Give a function that returns "
            "probabilities, or use decision_regions, which takes any scores"
        )
    return outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])


def _shades(found: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The colour (n, 3) of points with these probabilities (n, n_classes).

    The colour of the likeliest class, which pales towards white as its probability p goes down to
    that of a guess, 1 / n_classes.
    """
    from matplotlib.colors import to_rgb  # where there are axes there is matplotlib

    n_classes = found.shape[1]
    best = found.argmax(axis=1)
    surety = (found.max(axis=1) - 1 / n_classes) / (1 - 1 / n_classes)
    strength = 0.05 + 0.6 * surety.clip(0, 1)[:, None]
    colors = np.array([to_rgb(COLORS[c % len(COLORS)]) for c in range(n_classes)])
    shades: npt.NDArray[np.float64] = 1 - strength * (1 - colors[best])
    return shades


def _explain_shades(axes: Axes, n_classes: int, class_names: Sequence[str] | None) -> None:
    """A colour bar: from class 0 to class 1 of two, else of how sure the network is."""
    from matplotlib.cm import ScalarMappable  # where there are axes there is matplotlib
    from matplotlib.colors import ListedColormap, Normalize

    if n_classes == 2:
        second = np.linspace(0, 1, 256)
        colors = _shades(np.stack([1 - second, second], axis=1))
        label, low = (
            f"probability of class {class_name(1, class_names)}",
            0.0,
        )
    else:
        low = 1 / n_classes
        # as grey as the colours are strong
        colors = 1 - (0.05 + 0.6 * np.linspace(0, 1, 256))[:, None] * np.full((1, 3), 0.65)
        label = "probability of the likeliest class"
    bar = ScalarMappable(Normalize(low, 1.0), ListedColormap(colors))
    axes.figure.colorbar(bar, ax=axes, label=label, location="bottom", shrink=0.7, aspect=30)


def _name_axes(axes: Axes, feature_names: Sequence[str] | None) -> None:
    names = ("feature 1", "feature 2") if feature_names is None else feature_names
    axes.set_xlabel(literal(names[0]))
    axes.set_ylabel(literal(names[1]))
