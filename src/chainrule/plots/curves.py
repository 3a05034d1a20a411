"""How training went: losses and metrics by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.plots.figure import BLUE, COLORS, MARKERS, VERMILION, new_figure, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["learning_curves", "loss_curve"]

_MANY_DECADES = 30.0  # a loss that falls by more than this factor is drawn on a logarithmic axis
_NAMES = {"r2": "R²", "mae": "mean absolute error", "mse": "mean squared error"}


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
    figure = new_figure(4.6 * len(names), 3.8, title)
    for axes, name in zip(new_panels(figure, 1, len(names)), names, strict=True):
        curves = {"training": history[name]}
        if f"val_{name}" in history:
            curves[validation_label] = history[f"val_{name}"]
        # A rate that falls to 0 would fill a logarithmic axis with its last steps.
        logarithmic = False if name == "learning_rate" else None
        label = _NAMES.get(name, name.replace("_", " "))
        _draw_curves(axes, curves, label, logarithmic=logarithmic)
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
    figure = new_figure(6.0, 4.0, title)
    curves = losses if isinstance(losses, Mapping) else {"ours": losses}
    (axes,) = new_panels(figure, 1, 1)
    _draw_curves(axes, curves, ylabel, logarithmic=logarithmic)
    if published:
        axes.plot(
            list(published),
            list(published.values()),
            linestyle="none",
            marker="X",
            markersize=9,
            color=VERMILION,
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
    from matplotlib.ticker import (
        MaxNLocator,
    )  # `new_figure` has seen to it that there is matplotlib

    many = len(curves) > len(COLORS)  # as for 100 seeds: too many to name
    for i, (label, values) in enumerate(curves.items()):
        epochs = np.arange(1, len(values) + 1)
        axes.plot(
            epochs,
            np.asarray(values, np.float64),
            color=BLUE if many else COLORS[i],
            alpha=0.25 if many else 1.0,
            linewidth=1.0 if many else 1.8,
            linestyle="-" if i == 0 or many else ("--", "-.", ":")[(i - 1) % 3],
            # Few points are marked, or a run of one epoch would draw nothing.
            marker=MARKERS[i % len(MARKERS)] if len(values) <= 12 else None,
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
