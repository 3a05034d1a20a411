"""The figure that all pictures are: matplotlib's, shown by notebooks without pyplot.

This file imports matplotlib at its top and is itself imported where a picture is made.
"""

from __future__ import annotations

import io
from typing import Any, final

from matplotlib.figure import Figure

__all__ = ["Picture"]

_DOTS_PER_INCH = 96  # what a browser takes an inch for
_WIDEST, _WIDEST_SHOWN = 1600, 1000  # dots of a picture in a notebook


@final
class Picture(Figure):
    """A matplotlib figure that a notebook shows where a cell ends with it.

    It belongs to no window and no list, so it is freed like any object. What a notebook keeps is a
    PNG of at most 1600 dots' width or height, drawn at twice the size at which it is shown.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        longer = max(self.get_size_inches())
        dots = min(2.0 * _DOTS_PER_INCH, _WIDEST / longer)
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=dots)
        shown = min(_DOTS_PER_INCH, _WIDEST_SHOWN / longer)
        width, height = (round(shown * inches) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}
