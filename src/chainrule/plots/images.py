"""Images side by side: samples, weights, kernels and feature maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.plots.figure import GREY, VERMILION, new_figure, new_panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["feature_maps", "hidden_units", "image_grid", "kernels"]

_KERNEL_PIXELS = 24
_LARGEST_IMAGE_INCHES = 2.6
_REDS = ("#FFFFFF", "#F4A582", "#D6604D", "#B2182B", "#67001F")  # from zero, as RdBu_r has them


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
    figure = new_figure(*tiles.inches, title)
    (axes,) = new_panels(figure, 1, 1)
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
                color=VERMILION if wrong else "black",
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
    return _weights(_Tiles(images, columns), title)


def kernels(weight: npt.ArrayLike, *, columns: int | None = None, title: str = "") -> Figure:
    """What each filter of a convolution looks for: its weights as an image, blue − and red +.

    `weight` is (height, width, channels, filters), as `Conv2D` holds it. With one channel the
    filters follow each other in reading order; with several each has a row, and each channel a
    column. All share one scale, symmetric about zero. Raises ValueError for another shape.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Conv2D(6, 5)], input_shape=(28, 28, 1), seed=0)
    >>> figure = kernels(net.parameters["conv2d_1.weight"])
    """
    weight = np.asarray(weight)
    if weight.ndim != 4:
        raise ValueError(
            "kernels are wanted as (height, width, channels, filters), as a Conv2D holds them, "
            f"but came as {weight.shape}"
        )
    height, width, n_channels, _ = weight.shape
    images = weight.transpose(3, 2, 0, 1).reshape(-1, height, width)
    # A kernel has few pixels: drawn with more of them, the gaps between kernels can be finer.
    finer = max(1, _KERNEL_PIXELS // width)
    images = images.repeat(finer, axis=1).repeat(finer, axis=2)
    return _weights(_Tiles(images, columns or (n_channels if n_channels > 1 else None)), title)


def _weights(tiles: _Tiles, title: str) -> Figure:
    width, height = tiles.inches
    figure = new_figure(width + 1.2, max(height, 2.0), title)
    (axes,) = new_panels(figure, 1, 1)
    # A few large weights would turn all others grey.
    limit = float(np.percentile(np.abs(tiles.images), 99.5)) or 1.0
    shown = _show_tiles(axes, tiles, cmap="RdBu_r", vmin=-limit, vmax=limit)
    _outline(axes, tiles)
    figure.colorbar(shown, ax=axes, label="weight", shrink=0.8, pad=0.02)
    return figure


def feature_maps(
    image: npt.ArrayLike,
    maps: npt.ArrayLike,
    *,
    columns: int | None = None,
    quantity: str = "activation",
    title: str = "",
) -> Figure:
    """An image, and beside it what each filter of a convolution makes of it.

    `image` is (height, width), `maps` (rows, columns, filters), one sample of what
    `Network.layer_outputs` gives for the convolution or its activation; `quantity` names it. The
    maps follow each other as in `kernels`. All share one scale: from zero up where none is
    negative, as after ReLU, else symmetric about zero. Raises ValueError for other shapes.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Conv2D(6, 5), nn.ReLU()], input_shape=(28, 28, 1), seed=0)
    >>> image = np.eye(28)
    >>> figure = feature_maps(image, net.layer_outputs(image[None, :, :, None])["relu_1"][0])
    """
    image, maps = np.asarray(image), np.asarray(maps)
    if image.ndim != 2 or maps.ndim != 3:
        raise ValueError(
            "an image is wanted as (height, width) and its maps as (rows, columns, filters), "
            f"but they came as {image.shape} and {maps.shape}"
        )
    original, tiles = _Tiles(image[None]), _Tiles(maps.transpose(2, 0, 1), columns)
    width, height = (1.3 * inches for inches in tiles.inches)
    side = min(height, _LARGEST_IMAGE_INCHES)
    figure = new_figure(side + width + 1.4, max(height, 2.0), title)
    left, right = figure.subplots(1, 2, width_ratios=(side, width + 1.0))
    from matplotlib.colors import LinearSegmentedColormap  # `new_figure` has seen to matplotlib

    _show_tiles(left, original, cmap="gray_r")
    limit = float(np.abs(maps).max()) or 1.0
    signed = maps.min() < 0
    shown = _show_tiles(
        right,
        tiles,
        cmap="RdBu_r" if signed else LinearSegmentedColormap.from_list("reds", _REDS),
        vmin=-limit if signed else 0.0,
        vmax=limit,
    )
    _outline(left, original)
    _outline(right, tiles)
    figure.colorbar(shown, ax=right, label=quantity, shrink=0.8, pad=0.02)
    return figure


class _Tiles:
    """Images laid out in rows with gaps between them, as one picture of pixels."""

    def __init__(
        self, images: npt.ArrayLike, columns: int | None = None, lines_above: int = 0
    ) -> None:
        self.images = np.asarray(images, np.float64)
        if self.images.ndim != 3 or not len(self.images):
            raise ValueError(
                f"images are wanted as (n, height, width), but came as {self.images.shape}"
            )
        n, self.height, self.width = self.images.shape
        self.columns = min(columns or math.ceil(math.sqrt(n)), n)  # as many as rows by default
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


def _outline(axes: Axes, tiles: _Tiles) -> None:
    """A thin line around each image, whose edge may be as white as the gap beside it."""
    for i in range(len(tiles.images)):
        _frame(axes, tiles, i, color=GREY, linewidth=0.5)


def _frame(
    axes: Axes, tiles: _Tiles, i: int, color: str = VERMILION, linewidth: float = 2.0
) -> None:
    from matplotlib.patches import Rectangle  # `new_figure` has seen to it that it is there

    row, column = tiles.corner(i)
    axes.add_patch(
        Rectangle(
            (column - 0.5, row - 0.5),
            tiles.width,
            tiles.height,
            fill=False,
            edgecolor=color,
            linewidth=linewidth,
        )
    )
