"""Weights as images: what units and filters look for, and what filters find."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.palette import INK
from chainrule.plots.figure import clipped_ends, draw_panel, draw_panels, figure_of
from chainrule.plots.tiles import Tiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["feature_maps", "hidden_units", "kernels"]

_KERNEL_PIXELS = 24
_LARGEST_IMAGE_INCHES = 2.6
_BLANK = 0.01  # a unit whose weights differ by less than this share of the scale shows nothing
_REDS = ("#FFFFFF", "#F4A582", "#D6604D", "#B2182B", "#67001F")  # from zero, as RdBu_r has them


def hidden_units(
    images: npt.ArrayLike,
    *,
    outputs: npt.ArrayLike | None = None,
    columns: int | None = None,
    cmap: str = "RdBu_r",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """What each unit of the first layer looks for: its weights as an image, blue − and red +.

    `images` is (n_units, height, width): the columns of a weight matrix, each in the form of an
    image, as `Dataset.images(weight.T)` gives them. All share one scale, symmetric about zero,
    which leaves out the largest half percent, as the arrows of the colour bar say. `cmap="gray"`
    is black − and white +. Where `outputs` (n_samples, n_units) are given, what the units answer to
    some samples, those that answer 0 to all are marked "dead", and those that answer the same to
    all "constant"; units whose weights are all alike are marked "blank", and those with weights
    that are not finite "NaN". Raises ValueError for another shape.

    >>> figure = hidden_units(np.eye(4).reshape(4, 2, 2), cmap="gray")
    """
    return _weights(Tiles(images, columns), title, ax, cmap, outputs=outputs)


def kernels(
    weight: npt.ArrayLike,
    *,
    columns: int | None = None,
    cmap: str = "RdBu_r",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """What each filter of a convolution looks for: its weights as an image, blue − and red +.

    `weight` is (height, width, channels, filters), as `Conv2D` holds it. With one channel the
    filters follow each other in reading order, numbered from 1; with several each has a row, and
    each channel a column ("2.1": filter 2, channel 1). All share one scale, symmetric about zero.
    Raises ValueError for another shape.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Conv2D(6, 5)], input_shape=(28, 28, 1), seed=0)
    >>> figure = kernels(net.parameters["conv2d_1.weight"])
    """
    weight = _four_axes(weight)
    height, width, n_channels, n_filters = weight.shape
    images = weight.transpose(3, 2, 0, 1).reshape(-1, height, width)
    # A kernel has few pixels: drawn with more of them, the gaps between kernels can be finer.
    finer = max(1, _KERNEL_PIXELS // width)
    images = images.repeat(finer, axis=1).repeat(finer, axis=2)
    numbers = [
        str(f + 1) if n_channels == 1 else f"{f + 1}.{c + 1}"
        for f, c in np.ndindex(n_filters, n_channels)
    ]
    columns = columns or (n_channels if n_channels > 1 else None)
    return _weights(Tiles(images, columns, lines_above=1), title, ax, cmap, numbers)


def _four_axes(weight: npt.ArrayLike) -> npt.NDArray[Any]:
    weight = np.asarray(weight)
    if weight.ndim != 4 or not weight.size:
        raise ValueError(
            "kernels are wanted as (height, width, channels, filters), as a Conv2D holds them, "
            f"but came as {weight.shape}"
        )
    return weight


def _weights(
    tiles: Tiles,
    title: str,
    ax: Axes | None,
    cmap: str,
    numbers: list[str] | None = None,
    outputs: npt.ArrayLike | None = None,
) -> Figure:
    width, height = tiles.inches
    axes = draw_panel(ax, width + 1.2, max(height, 2.0), title, grid=False)
    limit = _limit(tiles.images)
    shown = tiles.show(axes, cmap=cmap, vmin=-limit, vmax=limit)
    tiles.outline(axes)
    extend = clipped_ends(tiles.images, -limit, limit)
    bar: dict[str, Any] = {"shrink": 0.8, "pad": 0.02, "extend": extend}
    axes.figure.colorbar(shown, ax=axes, label="weight", **bar)
    for i, number in enumerate(numbers or ()):
        tiles.label(axes, i, number)
    for i, mark in enumerate(_marks(tiles.images, limit, outputs)):
        if mark:
            box: dict[str, Any] = {
                "facecolor": "white",
                "edgecolor": "none",
                "alpha": 0.8,
                "pad": 1.0,
            }
            how: dict[str, Any] = {
                "ha": "center",
                "va": "center",
                "fontsize": 8,
                "color": INK,
                "bbox": box,
            }
            axes.text(*tiles.centre(i), mark, **how)
    return figure_of(axes)


def _limit(values: npt.NDArray[np.float64]) -> float:
    """The end of a scale symmetric about zero: a few large weights would turn all others grey."""
    finite = np.abs(values[np.isfinite(values)])
    largest = float(finite.max(initial=0.0))
    return float(np.percentile(finite, 99.5)) or largest if largest > 0 else 1.0


def _marks(
    images: npt.NDArray[np.float64], limit: float, outputs: npt.ArrayLike | None
) -> list[str]:
    """What there is to say of each unit, "" where its picture says it."""
    n_units = len(images)
    flat = images.reshape(n_units, -1)
    # where all have one sign and a single pixel there is nothing that could differ
    blank = np.abs(flat).max(axis=1) <= _BLANK * limit
    if flat.shape[1] > 1:
        blank |= np.ptp(flat, axis=1) <= _BLANK * limit
    marks = ["blank" if b else "" for b in blank]
    if outputs is not None:
        answers = np.asarray(outputs, np.float64)
        if answers.ndim != 2 or answers.shape[1] != n_units or not len(answers):
            raise ValueError(
                f"outputs are wanted as (n_samples, {n_units}), one column for each unit, but came "
                f"as {answers.shape}"
            )
        same = (answers == answers[0]).all(axis=0)
        marks = [
            ("dead" if answers[0, i] == 0 else "constant") if same[i] else mark
            for i, mark in enumerate(marks)
        ]
    finite = [bool(np.isfinite(unit).all()) for unit in flat]
    return [mark if known else "NaN" for known, mark in zip(finite, marks, strict=True)]


def feature_maps(
    image: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    kernels: npt.ArrayLike | None = None,
    columns: int | None = None,
    quantity: str = "activation",
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """An image, and beside it what each filter of a convolution makes of it.

    `image` is (height, width), `maps` (rows, columns, filters), one sample of what
    `Network.layer_outputs` gives for the convolution or its activation; `quantity` names it. The
    maps follow each other as in `kernels`, with the same numbers. Where `kernels` are given, the
    weight (height, width, channels, filters), each map has its kernel on its left, its channels
    below each other. All maps share one scale: from zero up where none is negative, as after
    ReLU, else symmetric about zero. A map that is zero everywhere says "all 0".
    Raises ValueError for other shapes.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Conv2D(6, 5), nn.ReLU()], input_shape=(28, 28, 1), seed=0)
    >>> image = np.eye(28)
    >>> maps = net.layer_outputs(image[None, :, :, None])["relu_1"][0]
    >>> figure = feature_maps(image, maps, kernels=net.parameters["conv2d_1.weight"])
    """
    image, maps = np.asarray(image, np.float64), np.asarray(maps, np.float64)
    if image.ndim != 2 or maps.ndim != 3 or not maps.size:
        raise ValueError(
            "an image is wanted as (height, width) and its maps as (rows, columns, filters), "
            f"but they came as {image.shape} and {maps.shape}"
        )
    weight = None if kernels is None else _four_axes(kernels)
    if weight is not None and weight.shape[3] != maps.shape[2]:
        raise ValueError(
            f"{maps.shape[2]} maps, but kernels of shape {weight.shape}: the last axis counts the "
            "filters, one for each map"
        )
    pictures = np.moveaxis(maps, 2, 0)
    tiles = Tiles(_with_room(pictures, weight), columns, lines_above=1)
    original = Tiles(image[None])
    width, height = (1.3 * inches for inches in tiles.inches)
    if weight is not None:  # a tile is wider by the kernel, and tiles.inches is for their width
        width, height = 1.4 * width, 1.4 * height
    side = min(height, _LARGEST_IMAGE_INCHES)
    size = (side + width + 1.4 + (weight is not None), max(height, 2.0))
    ratios: dict[str, Any] = {"width_ratios": (side, width + 1.0)}
    left, right = draw_panels(ax, 1, 2, *size, title, grid=False, **ratios)
    original.show(left, cmap="gray_r")
    original.outline(left)
    shown = _show_maps(right, tiles, maps)
    bar: dict[str, Any] = {"shrink": 0.8, "pad": 0.02}
    right.figure.colorbar(shown, ax=right, label=quantity, **bar)
    if weight is not None:
        limit = _limit(weight.astype(np.float64))
        drawn = [
            _show_kernel(right, tiles, i, weight[..., i], maps.shape[1], limit)
            for i in range(len(tiles))
        ]
        extend = clipped_ends(weight, -limit, limit)
        right.figure.colorbar(drawn[0], ax=right, label="weight", extend=extend, **bar)
    return figure_of(left)


def _with_room(pictures: npt.NDArray[Any], weight: npt.NDArray[Any] | None) -> npt.NDArray[Any]:
    """The maps (filters, rows, columns), with empty pixels on their left for the kernels."""
    if weight is None:
        return pictures
    room = _kernel_room(pictures.shape[2])
    return np.pad(pictures, [(0, 0), (0, 0), (room, 0)], constant_values=np.nan)


def _kernel_room(map_width: int) -> int:
    """The pixels that a kernel and the gap beside it take of a tile."""
    return max(1, round(0.65 * map_width))


def _show_maps(axes: Axes, tiles: Tiles, maps: npt.NDArray[np.float64]) -> Any:
    from matplotlib.colors import (
        LinearSegmentedColormap,
    )  # where there are axes there is matplotlib
    from matplotlib.patches import Rectangle

    finite = maps[np.isfinite(maps)]
    limit = float(np.abs(finite).max(initial=0.0)) or 1.0
    signed = bool(finite.min(initial=0.0) < 0)
    colors = "RdBu_r" if signed else LinearSegmentedColormap.from_list("reds", _REDS)
    shown = tiles.show(axes, cmap=colors, vmin=-limit if signed else 0.0, vmax=limit)
    width = maps.shape[1]
    for i in range(len(tiles)):
        row, column = tiles.corner(i)
        left = column + tiles.width - width
        corner = (left - 0.5, row - 0.5)
        how: dict[str, Any] = {"fill": False, "edgecolor": "#595959", "linewidth": 0.5}
        axes.add_patch(Rectangle(corner, width, tiles.height, **how))
        tiles.label(axes, i, str(i + 1))
        if not maps[..., i].any():
            middle = (left + (width - 1) / 2, row + (tiles.height - 1) / 2)
            axes.text(*middle, "all 0", ha="center", va="center", fontsize=8, color=INK)
    return shown


def _show_kernel(
    axes: Axes, tiles: Tiles, i: int, kernel: npt.NDArray[Any], map_width: int, limit: float
) -> Any:
    """One kernel (height, width, channels) on the left of its map, the channels as a column."""
    height, width, n_channels = kernel.shape
    row, column = tiles.corner(i)
    side = 0.85 * _kernel_room(map_width)
    pixel = min(side / width, tiles.height / (height * n_channels + 0.5 * (n_channels - 1)))
    top = row - 0.5
    shown = None
    view = (axes.get_xlim(), axes.get_ylim())
    for channel in range(n_channels):
        ends = (column - 0.5, column - 0.5 + pixel * width, top + pixel * height, top)
        how: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        shown = axes.imshow(kernel[..., channel], extent=ends, interpolation="nearest", **how)
        top += pixel * (height + 0.5)
    axes.set(xlim=view[0], ylim=view[1])
    return shown
