"""The colours of all pictures, in one place: as data, for whoever draws.

They are those of M. Okabe and K. Ito, "Color Universal Design" (2008), which colour-blind readers
tell apart, and a grey and a dark red, so that ten digits have ten. The order is ours: the first,
which are used most, are the furthest apart, as seen with and without each kind of colour blindness
(a test simulates them: Machado, Oliveira and Fernandes, "A physiologically-based model for
simulation of color vision deficiency", 2009). Classes have a marker beside the colour, so nothing
is said by colour alone.
"""

from __future__ import annotations

__all__ = [
    "BLACK",
    "BLUE",
    "COLORS",
    "GREEN",
    "GREY",
    "INK",
    "LIGHT",
    "MARKERS",
    "MAROON",
    "MUTED",
    "ORANGE",
    "PALE",
    "PALETTE",
    "PURPLE",
    "SKY",
    "VERMILION",
    "YELLOW",
    "class_style",
]

BLUE, VERMILION, SKY, GREY = "#0072B2", "#D55E00", "#56B4E9", "#595959"
YELLOW, PURPLE, ORANGE, GREEN = "#F0E442", "#CC79A7", "#E69F00", "#009E73"
BLACK, MAROON = "#000000", "#661100"
INK, MUTED, LIGHT, PALE = "#222222", "#6B6B6B", "#DDDDDD", "#EDF1F5"
"""Text and lines; what stands back; grids; empty areas."""

PALETTE = {
    "blue": BLUE,
    "vermilion": VERMILION,
    "sky": SKY,
    "grey": GREY,
    "yellow": YELLOW,
    "purple": PURPLE,
    "orange": ORANGE,
    "green": GREEN,
    "black": BLACK,
    "maroon": MAROON,
}
"""The colours of classes and curves by name, in the order in which they are used."""

COLORS = tuple(PALETTE.values())

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""matplotlib's names of the markers that go with the colours."""


def class_style(index: int) -> tuple[str, str]:
    """The colour and the marker of a class or curve, counted from 0; no two of 80 are the same.

    >>> class_style(0), class_style(10)
    (('#0072B2', 'o'), ('#0072B2', 'D'))
    """
    n = len(COLORS)
    return COLORS[index % n], MARKERS[(index + index // n) % len(MARKERS)]
