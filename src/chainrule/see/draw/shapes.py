"""What a picture is made of: shapes with the name of a style, in groups that can be moved.

Neither format nor colour is known here: `svg` and `raster` write the same shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = ["Box", "Circle", "Curve", "Group", "Shape", "Text"]

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with its upper left corner at (x, y)."""

    x: float
    y: float
    width: float
    height: float
    style: str
    radius: float = 6.0


@dataclass(frozen=True, slots=True)
class Circle:
    """A circle around (x, y)."""

    x: float
    y: float
    radius: float
    style: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Cubic curves one after the other: a start, then two control points and an end for each.

    `strength`, from -1 to 1, colours and thickens an edge by a number; None leaves it to the style.
    """

    points: tuple[Point, ...]
    style: str
    has_arrow: bool = False
    strength: float | None = None
    title: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; (x, y) is at the left, in the middle, or at the right of its base line."""

    x: float
    y: float
    text: str
    style: str
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass(frozen=True, slots=True)
class Group:
    """Shapes that are moved together, their origin at (x, y).

    `role` is what the script knows it by, and `data` what it needs of it; `title` is shown where
    the pointer rests. What `is_hidden` may be shown by the script.
    """

    parts: tuple[Shape, ...]
    x: float = 0.0
    y: float = 0.0
    role: str = ""
    title: str = ""
    is_hidden: bool = False
    data: Mapping[str, str] = field(default_factory=dict)


Shape: TypeAlias = Box | Circle | Curve | Text | Group
