"""Images laid out in rows with gaps between them, as one picture of pixels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from chainrule.palette import GREY, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Tiles"]

_LINE = 0.22  # the height of a line of text, in widths of an image


@final
class Tiles:
    """Images (n, height, width) in rows, with room for so many lines of text above each.

    Raises ValueError for another shape, and for images without pixels.
    """

    def __init__(
        self, images: npt.ArrayLike, columns: int | None = None, lines_above: int = 0
    ) -> None:
        self.images = np.asarray(images, np.float64)
        if self.images.ndim != 3 or not self.images.size:
            raise ValueError(
                f"images are wanted as (n, height, width), but came as {self.images.shape}"
            )
        n, self.height, self.width = self.images.shape
        self.columns = min(columns or math.ceil(math.sqrt(n)), n)  # as many as rows by default
        self.rows = -(-n // self.columns)
        self.gap = max(1, round(0.12 * self.width))
        self.gap_above = self.gap + math.ceil(_LINE * lines_above * self.width)

    def __len__(self) -> int:
        return len(self.images)

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

    def centre(self, i: int) -> tuple[float, float]:
        """The middle of an image, x and y."""
        row, column = self.corner(i)
        return column + (self.width - 1) / 2, row + (self.height - 1) / 2

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

    def show(self, axes: Axes, **colors: Any) -> Any:
        """Draw them all; what `colorbar` takes."""
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set_visible(False)
        return axes.imshow(self.picture(), interpolation="nearest", **colors)

    def frame(self, axes: Axes, i: int, color: str = VERMILION, linewidth: float = 2.0) -> None:
        """A line around one image."""
        from matplotlib.patches import Rectangle  # where there are axes there is matplotlib

        row, column = self.corner(i)
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                self.width,
                self.height,
                fill=False,
                edgecolor=color,
                linewidth=linewidth,
            )
        )

    def outline(self, axes: Axes) -> None:
        """A thin line around each image, whose edge may be as white as the gap beside it."""
        for i in range(len(self)):
            self.frame(axes, i, color=GREY, linewidth=0.5)

    def label(self, axes: Axes, i: int, text: str, **how: Any) -> None:
        """Text above an image."""
        axes.text(*self.above(i), text, **{"ha": "center", "va": "bottom", "fontsize": 8, **how})
