"""Samples that are images, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from chainrule.palette import VERMILION
from chainrule.plots.figure import class_name, draw_panel, figure_of
from chainrule.plots.samples import as_classes
from chainrule.plots.tiles import Tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["image_grid", "predicted_images"]

_LETTERS_ABOVE = 9  # so many fit above an image in the usual size


def image_grid(
    images: npt.ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    right: Sequence[bool] | None = None,
    columns: int = 10,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Images in rows, each with its label above it; wrong ones are framed and their label is red.

    `images` is (n, height, width); `right` says per image whether the network was right.
    Raises ValueError for another shape, and for labels that are not as many.
    """
    texts = [str(label) for label in (() if labels is None else labels)]
    lines = [line for text in texts for line in text.split("\n")]
    most_lines = max((text.count("\n") + 1 for text in texts), default=0)
    tiles = Tiles(images, columns, lines_above=most_lines)
    for name, given in (("labels", labels), ("right", right)):
        if given is not None and len(given) != len(tiles):
            raise ValueError(f"{len(tiles)} images, but {len(given)} {name}: give one for each")
    axes = draw_panel(ax, *tiles.inches, title, grid=False)
    # Interpolated images overshoot a little: the background is white, the ink black all the same.
    finite = tiles.images[np.isfinite(tiles.images)]
    low, high = np.percentile(finite, (1.0, 99.0)) if finite.size else (0.0, 1.0)
    tiles.show(axes, cmap="gray_r", vmin=low, vmax=high if high > low else low + 1.0)
    size = 9.0 * min(1.0, _LETTERS_ABOVE / max(map(len, lines), default=1))
    for i in range(len(tiles)):
        wrong = right is not None and not right[i]
        if labels is not None:
            color, weight = (VERMILION, "bold") if wrong else ("black", "normal")
            how = {"fontsize": max(size, 5.5), "color": color, "fontweight": weight}
            tiles.label(axes, i, texts[i], **how)
        if wrong:
            tiles.frame(axes, i)
    return figure_of(axes)


def predicted_images(
    images: npt.ArrayLike,
    predicted: npt.ArrayLike,
    true: npt.ArrayLike,
    *,
    class_names: Sequence[str] | None = None,
    columns: int = 8,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Images with what a network took them for; those it got wrong say what they are, framed.

    `images` is (n, height, width), `predicted` and `true` the classes 0, 1, … (n,). The label is
    the class where the two agree, else "predicted 1, true 9" in two lines.
    Raises ValueError for another shape.

    >>> figure = predicted_images(np.eye(8)[None], [1], [9])
    """
    predicted, true = as_classes(predicted, "predicted"), as_classes(true, "true")
    if predicted.shape != true.shape:
        raise ValueError(f"{len(predicted)} predicted classes but {len(true)} true ones")

    names = [[class_name(c, class_names) for c in part.tolist()] for part in (predicted, true)]
    labels = [p if p == t else f"predicted {p},\ntrue {t}" for p, t in zip(*names, strict=True)]
    right = (predicted == true).tolist()
    return image_grid(images, labels=labels, right=right, columns=columns, title=title, ax=ax)
