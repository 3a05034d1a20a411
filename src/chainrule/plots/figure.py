"""What all pictures share: where they are drawn, their axes, and the file they go to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.extras import missing_extra
from chainrule.files import replacing
from chainrule.palette import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from chainrule.plots.animation import Animation

__all__ = [
    "class_name",
    "clipped_ends",
    "draw_panel",
    "draw_panels",
    "epoch_axis",
    "figure_of",
    "literal",
    "logarithmic_axis",
    "save",
]

_EPOCH_TICKS = 6


def save(
    picture: Figure | Animation, path: str | os.PathLike[str], *, dpi: float | None = None
) -> Path:
    """Write a figure or an animation in the format of the path's suffix, and return the path.

    Figures are written as .png, .svg, .pdf or what else matplotlib has, at 150 dots per inch,
    animations as .gif, at 100. The file is written beside and renamed; the folder is made where
    absent.
    """
    with replacing(path) as beside:
        if hasattr(picture, "savefig"):
            picture.savefig(beside, dpi=dpi or 150.0)
        else:
            picture.write(beside, dpi=dpi or 100.0)
    return Path(path)


def draw_panel(
    ax: Axes | None, width: float, height: float, title: str = "", *, grid: bool = True
) -> Axes:
    """The axes to draw in: the user's own, or those of a new figure of so many inches.

    A new figure is taller by its title, which stands over the axes of the user's.
    """
    if ax is None:
        ax = _new_figure(width, height, title).subplots()
    else:
        _require_axes(ax)
        if title:
            ax.set_title(title)
    _tidy(ax, grid)
    return ax


def draw_panels(
    ax: Axes | None,
    rows: int,
    columns: int,
    width: float,
    height: float,
    title: str = "",
    *,
    grid: bool = True,
    **ratios: Any,
) -> list[Axes]:
    """The axes of a grid in reading order, in a new figure or in place of the user's axes.

    `width_ratios` and `height_ratios` are as for matplotlib's subplots.
    """
    if ax is None:
        figure = _new_figure(width, height, title)
        panels = list(figure.subplots(rows, columns, squeeze=False, **ratios).flat)
    elif (rows, columns) == (1, 1):
        return [draw_panel(ax, width, height, title, grid=grid)]
    else:
        _require_axes(ax)
        ax.set_axis_off()  # it keeps its place and its title
        if title:
            ax.set_title(title)
        cells: Any
        place = ax.get_subplotspec()
        if place is not None:
            cells = place.subgridspec(rows, columns, **ratios)
        else:
            box = ax.get_position()
            ends = {"left": box.x0, "right": box.x1, "bottom": box.y0, "top": box.y1}
            cells = ax.figure.add_gridspec(rows, columns, **ends, **ratios)
        panels = [ax.figure.add_subplot(cells[i, j]) for i, j in np.ndindex(rows, columns)]
    for panel in panels:
        _tidy(panel, grid)
    return panels


def figure_of(ax: Axes) -> Figure:
    """The whole figure that axes are part of."""
    return ax.figure.figure


def _new_figure(width: float, height: float, title: str) -> Figure:
    try:
        from chainrule.plots.picture import Picture
    except ImportError as missing:
        raise missing_extra("pictures need matplotlib", "plots") from missing
    lines = title.count("\n") + 1 if title else 0
    figure = Picture(figsize=(width, height + 0.32 * lines), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _require_axes(ax: Any) -> None:
    if not hasattr(ax, "get_subplotspec"):
        shape = f" of shape {ax.shape}" if isinstance(ax, np.ndarray) else ""
        raise TypeError(
            f"ax is {type(ax).__name__}{shape}: give one matplotlib Axes, as in ax=axes[0]"
        )


def _tidy(axes: Axes, grid: bool) -> None:
    """A light grid, and no box around it."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(True, color=LIGHT, linewidth=0.7)
    else:
        axes.grid(False)
    axes.set_axisbelow(True)


def literal(name: object) -> str:
    r"""A name as it is: matplotlib reads formulas between dollars, and hides labels after a _.

    >>> literal("from $1 to $2")
    'from \\$1 to \\$2'
    """
    text = str(name).replace("$", r"\$")
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def class_name(c: int, class_names: Sequence[object] | None) -> str:
    """What a class is called, its number where there are no names; ValueError for too few."""
    if class_names is None:
        return str(c)
    if not 0 <= c < len(class_names):
        raise ValueError(f"there is a class {c}, but there are {len(class_names)} class names")
    return literal(class_names[c])


def epoch_axis(axes: Axes, first: int, last: int, label: str = "epoch") -> None:
    """Whole numbers as ticks, the ends included where they are few; a single epoch has room."""
    from matplotlib.ticker import MaxNLocator  # where there are axes there is matplotlib

    margin = 0.5 if first == last else 0.04 * (last - first)
    axes.set_xlim(first - min(margin, 0.5), last + margin)  # no tick before the first epoch
    if last - first < _EPOCH_TICKS:
        axes.set_xticks(range(first, last + 1))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=_EPOCH_TICKS))
    axes.set_xlabel(label)


def logarithmic_axis(axes: Axes, low: float, high: float) -> None:
    """A logarithmic y axis for values from low to high, both above 0, with plain numbers.

    Ticks are at powers of ten, at 1, 2 and 5 where there are few decades, and even where there is
    less than one: an axis without two numbers on it cannot be read.
    """
    from matplotlib.ticker import (
        AutoLocator,
        LogLocator,
        NullFormatter,
        NullLocator,
        StrMethodFormatter,
    )

    axes.set_yscale("log")
    axis = axes.yaxis
    ratio = high / low
    if ratio < 8.0:
        axis.set_major_locator(AutoLocator())
        axis.set_minor_locator(NullLocator())
    else:
        subs = (1.0, 2.0, 5.0) if ratio < 500.0 else (1.0,)
        axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def clipped_ends(
    values: npt.ArrayLike, low: float, high: float
) -> Literal["neither", "both", "min", "max"]:
    """The `extend` of a colour bar from low to high: arrows where values lie beyond."""
    values = np.asarray(values, np.float64)
    below, above = bool((values < low).any()), bool((values > high).any())
    return "both" if below and above else "min" if below else "max" if above else "neither"
