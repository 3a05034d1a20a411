"""How training went: losses and metrics by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.palette import BLUE, COLORS, INK, class_style
from chainrule.plots.figure import (
    draw_panel,
    draw_panels,
    epoch_axis,
    figure_of,
    literal,
    logarithmic_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_curves", "loss_curve"]

_MANY_DECADES = 30.0  # a loss that falls by more than this factor is drawn on a logarithmic axis
_FEW_EPOCHS = 12  # so many are marked each
_PANELS_IN_A_ROW = 3
_NAMES = {
    "mae": "mean absolute error",
    "mse": "mean squared error",
    "r2": "R²",
    "rmse": "root mean squared error",
}


def learning_curves(
    history: Mapping[str, Sequence[float]],
    *,
    validation_label: str = "validation",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """The loss and each metric by epoch, training and validation in one panel, three in a row.

    `history` maps names to one number per epoch; `val_loss` goes with `loss`, and so on; a
    learning rate is shown where it changes. A loss that falls by more than a factor of 30 has a
    logarithmic axis. Where an axes `ax` is given, the panels take its place.
    Raises ValueError for a history without an epoch.

    >>> figure = learning_curves({"loss": [0.7, 0.4], "val_loss": [0.8, 0.6]})
    """
    names = [
        name
        for name, values in history.items()
        if not name.startswith("val_") and (name != "learning_rate" or len(set(values)) > 1)
    ]
    if not any(len(history[name]) for name in names):
        raise ValueError("the history holds no finished epoch, so there is no curve to draw")
    columns = _columns(len(names))
    rows = math.ceil(len(names) / columns)
    panels = draw_panels(ax, rows, columns, 4.6 * columns, 3.4 * rows + 0.4, title)
    for axes in panels[len(names) :]:
        axes.remove()
    for axes, name in zip(panels, names, strict=False):
        curves = {"training": history[name]}
        if f"val_{name}" in history:
            curves[validation_label] = history[f"val_{name}"]
        # A rate that falls to 0 would fill a logarithmic axis with its last steps.
        logarithmic = False if name == "learning_rate" else None
        label = _NAMES.get(name, literal(name.replace("_", " ")))
        _draw_curves(axes, curves, label, logarithmic=logarithmic, legend=axes is panels[0])
    return figure_of(panels[0])


def _columns(n_panels: int) -> int:
    """How many stand side by side: four in two rows of two, five in a row of three and one of two.

    >>> [_columns(n) for n in range(1, 8)]
    [1, 2, 3, 2, 3, 3, 3]
    """
    return 2 if n_panels == 4 else min(n_panels, _PANELS_IN_A_ROW)


def loss_curve(
    losses: Sequence[float] | Mapping[str, Sequence[float]],
    *,
    published: Mapping[int, float] | None = None,
    logarithmic: bool = True,
    title: str = "",
    ylabel: str = "loss",
    ax: Axes | None = None,
) -> Figure:
    """One or several losses (label -> one number per epoch) by epoch, on a logarithmic axis.

    `published` maps epochs, counted from 1, to figures to mark beside the curve.
    Raises ValueError where there is no number to draw.
    """
    curves = losses if isinstance(losses, Mapping) else {"ours": losses}
    if not any(map(len, curves.values())):
        raise ValueError("the losses hold no finished epoch, so there is no curve to draw")
    axes = draw_panel(ax, 6.0, 4.0, title)
    _draw_curves(axes, curves, ylabel, logarithmic=logarithmic)
    if published:
        axes.plot(
            list(published),
            list(published.values()),
            linestyle="none",
            marker="X",
            markersize=9,
            color=INK,
            markeredgecolor="white",
            label="published",
            zorder=5,
        )
        last = max(*published, *map(len, curves.values()))
        epoch_axis(axes, min(1, *published), last)
        axes.legend(frameon=False)
    return figure_of(axes)


def _draw_curves(
    axes: Axes,
    curves: Mapping[str, Sequence[float]],
    ylabel: str,
    *,
    logarithmic: bool | None,
    legend: bool = True,
) -> None:
    """Curves over epochs counted from 1; `logarithmic` None lets the values decide."""
    many = len(curves) > len(COLORS)  # as for 100 seeds: too many to name
    for i, (label, values) in enumerate(curves.items()):
        color, marker = class_style(i)
        numbers = np.asarray(values, np.float64)
        # All points are marked where they are few, or a run of one epoch would draw nothing, and
        # else those between numbers that are not finite, which no line leads to.
        marked = None if len(numbers) <= _FEW_EPOCHS else _alone(numbers)
        axes.plot(
            np.arange(1, len(numbers) + 1),
            numbers,
            color=BLUE if many else color,
            alpha=0.25 if many else 1.0,
            linewidth=1.0 if many else 1.8,
            linestyle="-" if i == 0 or many else ("--", "-.", ":")[(i - 1) % 3],
            marker=None if marked == [] else marker,
            markersize=4.5,
            markevery=marked or None,
            label=(f"{len(curves)} runs" if i == 0 else None) if many else label,
        )
    everything = np.concatenate([np.asarray(v, np.float64) for v in curves.values()])
    finite = everything[np.isfinite(everything)]
    positive = bool(finite.size) and 0 < finite.min() < finite.max()
    if logarithmic is None:
        logarithmic = positive and finite.max() > _MANY_DECADES * finite.min()
    # matplotlib cannot scale an axis of more decades than numbers have
    if logarithmic and positive and float(finite.max()) / float(finite.min()) < 1e100:
        logarithmic_axis(axes, float(finite.min()), float(finite.max()))
    if not finite.size:
        axes.text(0.5, 0.5, "no finite number", ha="center", va="center", transform=axes.transAxes)
        axes.set_yticks([])
    axes.set_ylabel(ylabel)
    epoch_axis(axes, 1, max(map(len, curves.values())))
    if len(curves) > 1 and legend:
        axes.legend(frameon=False)


def _alone(numbers: np.ndarray) -> list[int]:
    """Where a finite number has no finite neighbour."""
    finite = np.pad(np.isfinite(numbers), 1)
    return np.flatnonzero(finite[1:-1] & ~finite[:-2] & ~finite[2:]).tolist()
