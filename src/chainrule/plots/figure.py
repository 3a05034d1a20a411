"""What all pictures share: the colours, the empty figure, its panels, and the file it goes to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.extras import missing_extra
from chainrule.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "COLORS",
    "GREY",
    "MARKERS",
    "VERMILION",
    "new_figure",
    "new_panels",
    "save",
]

BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#595959"
_ORANGE, _GREEN, _PURPLE, _SKY, _YELLOW = "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442"
COLORS = (BLUE, _ORANGE, _GREEN, _PURPLE, _SKY, VERMILION, _YELLOW, GREY)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure in the format of the path's suffix (.png, .svg, .pdf), and return the path.

    The file is written beside and renamed; the folder is made where absent.
    """
    with replacing(path) as beside:
        figure.savefig(beside, dpi=150)
    return Path(path)


def new_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of so many inches, taller by its title."""
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise missing_extra("pictures need matplotlib", "plots") from missing
    lines = title.count("\n") + 1 if title else 0
    figure = Figure(figsize=(width, height + 0.32 * lines), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def new_panels(figure: Figure, rows: int, columns: int) -> list[Axes]:
    """The axes of a grid in reading order, with a light grid and no box around them."""
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#DDDDDD", linewidth=0.7)
        axes.set_axisbelow(True)
    return panels
