"""Colours and letters of all pictures, on light and on dark ground, and how wide a text is.

The colours are those of M. Okabe and K. Ito, "Color universal design", 2008, which people with any
kind of colour vision tell apart.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

__all__ = ["ARROWS", "FILLS", "FONTS", "LINES", "MONO", "SANS", "Fill", "Font", "Line", "width_of"]


@dataclass(frozen=True, slots=True)
class Fill:
    """An area: (light, dark) colours of its inside and its border."""

    inside: tuple[str, str]
    border: tuple[str, str]
    width: float = 1.2
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A curve: its (light, dark) colours."""

    color: tuple[str, str]
    width: float = 1.2
    is_dashed: bool = False


@dataclass(frozen=True, slots=True)
class Font:
    """Letters: their size in pixels and (light, dark) colours."""

    size: float
    color: tuple[str, str]
    is_bold: bool = False
    is_mono: bool = True
    has_halo: bool = False  # of the ground's colour, where lines pass behind


MONO = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"
SANS = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"

_NONE = ("none", "none")
_INK, _FAINT = ("#1c1d20", "#e9eaee"), ("#5b5f68", "#a9aeb9")
_BLUE, _VERMILION = ("#0072b2", "#56b4e9"), ("#c05000", "#f08a4b")

FILLS = {
    "page": Fill(("#ffffff", "#17181c"), _NONE),
    "input": Fill(("#f3f4f6", "#2a2c33"), ("#7c828d", "#8d93a1")),
    "constant": Fill(("#f3f4f6", "#2a2c33"), ("#7c828d", "#8d93a1"), is_dashed=True),
    "parameter": Fill(("#fff6dd", "#3a3220"), ("#a87900", "#d9a93a")),
    "forward": Fill(("#e6f1f9", "#1b2f40"), _BLUE),
    "backward": Fill(("#fdece2", "#42281b"), _VERMILION),
    "update": Fill(("#e4f5ee", "#15352b"), ("#00805e", "#3cc79c")),
    "loss": Fill(("#f8e9f2", "#3b2433"), ("#a3467f", "#d58fbb")),
    "folder": Fill(("#ffffff", "#1f2127"), ("#7c828d", "#8d93a1"), is_dashed=True),
    "panel": Fill(_NONE, ("#c9ccd3", "#4a4e58")),
    "neuron": Fill(("#ffffff", "#24262d"), ("#3b3e45", "#d3d6de"), 1.5),
    "bias": Fill(("#f3f4f6", "#2a2c33"), ("#7c828d", "#8d93a1"), is_dashed=True),
    "negative": Fill(_BLUE, _NONE),
    "positive": Fill(_VERMILION, _NONE),
    "note": Fill(("#fffef5", "#2e3038"), ("#3b3e45", "#d3d6de")),
}

LINES = {
    "forward": Line(("#6b7280", "#9aa0ac")),
    "backward": Line(_VERMILION),
    "update": Line(("#00805e", "#3cc79c")),
    "saved": Line(("#9aa0aa", "#6f7582"), is_dashed=True),
    "around": Line(("#3b3e45", "#d3d6de"), 1.6),
    "negative": Line(_BLUE),
    "positive": Line(_VERMILION),
}

FONTS = {
    "title": Font(16.0, _INK, is_bold=True, is_mono=False),
    "edge": Font(10.5, _INK, has_halo=True),
    "unit": Font(10.5, _INK),
    "legend": Font(11.5, _FAINT, is_mono=False),
    "name": Font(12.5, _INK, is_bold=True),
    "text": Font(12.0, _INK),
    "faint": Font(11.5, _FAINT),
    "value": Font(11.5, ("#00598c", "#83c8f3")),
    "gradient": Font(11.5, ("#a04300", "#f7a072")),
}

ARROWS = ("forward", "backward", "update", "saved", "around")
"""The lines that may end in an arrow."""

_WIDE = {"W", "F"}  # East Asian letters that fill a square


def width_of(text: str, style: str) -> float:
    """About how many pixels a text takes; rather too many than too few.

    >>> width_of("loss", "name") == 4 * 12.5 * 0.61
    True
    """
    font = FONTS[style]
    em = 0.61 if font.is_mono else 0.64 if font.is_bold else 0.56
    letters = sum(
        0 if unicodedata.combining(c) else 1.7 if unicodedata.east_asian_width(c) in _WIDE else 1
        for c in text
    )
    return letters * em * font.size
