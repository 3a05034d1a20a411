"""Small networks as neurons: a column of circles for each layer, an edge for each weight.

Colour and width of an edge say what its weight is, or the gradient by it: vermilion above 0, blue
below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.see.draw.drawing import Drawing
from chainrule.see.draw.level import Figure, Level, Node
from chainrule.see.draw.shapes import Box, Circle, Curve, Group, Shape, Text
from chainrule.see.draw.style import width_of

__all__ = ["Column", "Joint", "draw_units"]

Array = np.ndarray[Any, Any]

_RADIUS = 19.0
_BIAS_SMALLER = 3.0  # in radius
_STEP = 54.0  # from unit to unit
_HEAD = 44.0  # for the words above a column
_COLUMN, _WIDE_COLUMN = 190.0, 240.0  # from column to column, at least; with numbers between
_MOST_UNITS = 16  # of a column, of which all are drawn
_FIRST, _LAST = 8, 2  # that are drawn of longer ones
_PLACES = (0.28, 0.72, 0.5, 0.39, 0.61, 0.2, 0.8, 0.34, 0.66, 0.45, 0.55, 0.15, 0.85)
_MOST_LABELS = 12  # numbers written at the edges between two columns


@dataclass(frozen=True)
class Column:
    """The units of a layer: how many, what they are called, and their values where known.

    `words` stand above them; where `names` end, units have no name.
    """

    n_units: int
    words: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    values: Array | None = None


@dataclass(frozen=True)
class Joint:
    """What leads from one column to the next: weight (n_in, n_out), and perhaps bias (n_out,).

    `shown` are the arrays that colour the edges, such as gradients, of the same shapes.
    """

    weight: Array
    bias: Array | None = None
    shown: tuple[Array, Array | None] | None = None
    name: str = ""

    @property
    def colors(self) -> tuple[Array, Array | None]:
        """The numbers that colour the edges."""
        return (self.weight, self.bias) if self.shown is None else self.shown


@dataclass(frozen=True)
class _Placed:
    """Which units of a column are drawn, and where."""

    units: tuple[int, ...]
    places: dict[int, tuple[float, float]]
    bias: tuple[float, float] | None
    between: tuple[float, float] | None  # where dots stand for the units left out


def draw_units(
    columns: Sequence[Column], joints: Sequence[Joint], *, title: str, meaning: str = "weight"
) -> Drawing:
    """The picture of these columns, joined each to the next; `meaning` is of the edges' colours.

    >>> column, output = Column(2, names=("x1", "x2")), Column(1)
    >>> draw_units([column, output], [Joint(np.array([[1.0], [-2.0]]))], title="two inputs")
    Drawing('two inputs': 1 boxes, ...)
    """
    most = max(
        (
            float(np.abs(part[np.isfinite(part)]).max(initial=0.0))
            for joint in joints
            for part in joint.colors
            if part is not None
        ),
        default=0.0,
    )
    tallest = max(_n_rows(columns[i], _has_bias(joints, i)) for i in range(len(columns)))
    height = _HEAD + tallest * _STEP + 46.0
    has_labels = any(_n_edges(joint) <= _MOST_LABELS for joint in joints)
    step = max(
        _WIDE_COLUMN if has_labels else _COLUMN,
        *(max(map(_width, c.words), default=0.0) + 24.0 for c in columns),
    )
    placed = [
        _place(column, i * step, _has_bias(joints, i), height - 46.0)
        for i, column in enumerate(columns)
    ]
    width = (len(columns) - 1) * step + _COLUMN
    lines: list[Shape] = []
    labels: list[Shape] = []
    for number, joint in enumerate(joints):
        new_lines, new_labels = _edges(joint, placed[number], placed[number + 1], most, meaning)
        lines += new_lines
        labels += new_labels
    units = [
        shape for column, p in zip(columns, placed, strict=True) for shape in _units(column, p)
    ]
    words: list[Shape] = [
        Text(i * step, 12.0 + 16.0 * row, word, "name" if row == 0 else "faint", "middle")
        for i, column in enumerate(columns)
        for row, word in enumerate(column.words)
    ]
    legend, legend_end = _legend(most, meaning, height - 18.0)
    width = max(width, legend_end + _COLUMN / 2)
    content = Group(
        (*lines, *labels, *units, *words, *legend), x=_COLUMN / 2 - width / 2, y=-height / 2
    )
    figure = Figure(content, width, height)
    sizes = "-".join(str(column.n_units) for column in columns)
    description = (
        f"A network of layers with {sizes} units. Edges are coloured and widened by {meaning}, of "
        f"at most {most:.4g} in size: vermilion above 0, blue below."
    )
    return Drawing(Level((Node((), "figure", figure=figure),)), title, description)


def _n_edges(joint: Joint) -> int:
    return joint.weight.size + (0 if joint.bias is None else joint.bias.size)


def _width(words: str) -> float:
    return width_of(words, "name")


def _has_bias(joints: Sequence[Joint], number: int) -> bool:
    return number < len(joints) and joints[number].bias is not None


def _shown_units(n_units: int) -> tuple[int, ...]:
    if n_units <= _MOST_UNITS:
        return tuple(range(n_units))
    return (*range(_FIRST), *range(n_units - _LAST, n_units))


def _n_rows(column: Column, has_bias: bool) -> int:
    n_shown = len(_shown_units(column.n_units))
    return n_shown + (n_shown < column.n_units) + has_bias


def _place(column: Column, x: float, has_bias: bool, height: float) -> _Placed:
    """The units of a column one below the other, in the middle of the height; the bias is last."""
    units = _shown_units(column.n_units)
    y = _HEAD + (height - _HEAD - _n_rows(column, has_bias) * _STEP) / 2 + _STEP / 2
    places: dict[int, tuple[float, float]] = {}
    between = None
    for unit in units:
        if unit and unit - 1 not in places:
            between = (x, y)
            y += _STEP
        places[unit] = (x, y)
        y += _STEP
    return _Placed(units, places, (x, y) if has_bias else None, between)


def _edges(
    joint: Joint, left: _Placed, right: _Placed, most: float, meaning: str
) -> tuple[list[Shape], list[Shape]]:
    """The edges between two columns, the strong ones in front, and the numbers at them."""
    weight, bias = joint.colors
    ends: list[tuple[float, str, tuple[float, float], tuple[float, float]]] = []
    for target in right.units:
        for source in left.units:
            name = (
                f"{joint.name}weight[{source}, {target}] = {_number(joint.weight[source, target])}"
            )
            color = float(weight[source, target])
            ends.append((color, name, left.places[source], right.places[target]))
        if left.bias is not None and bias is not None and joint.bias is not None:
            name = f"{joint.name}bias[{target}] = {_number(joint.bias[target])}"
            start = (left.bias[0] - _BIAS_SMALLER, left.bias[1])
            ends.append((float(bias[target]), name, start, right.places[target]))
    lines: list[Shape] = []
    for color, name, start, end in sorted(ends, key=lambda each: abs(each[0])):
        strength = color / most if most and np.isfinite(color) else 0.0
        start, end = (start[0] + _RADIUS, start[1]), (end[0] - _RADIUS, end[1])
        third = (end[0] - start[0]) / 3, (end[1] - start[1]) / 3
        points = (
            start,
            (start[0] + third[0], start[1] + third[1]),
            (end[0] - third[0], end[1] - third[1]),
            end,
        )
        title = name if meaning == "weight" else f"{name}\n{meaning} {_number(color)}"
        lines.append(Curve(points, "positive", strength=strength, title=title))
    labels: list[tuple[Shape, Shape]] = []
    if len(ends) <= _MOST_LABELS:
        taken: list[tuple[float, float, float]] = []
        for color, _, start, end in ends:
            labels.append(_label(_number(color, 3), start, end, taken))
    return lines, [shape for kind in (0, 1) for shape in (pair[kind] for pair in labels)]


def _label(
    text: str,
    start: tuple[float, float],
    end: tuple[float, float],
    taken: list[tuple[float, float, float]],
) -> tuple[Shape, Shape]:
    """The ground behind a number on an edge, and the number, far from those `taken` before.

    Those are (x, y, half the width).
    """
    half = width_of(text, "edge") / 2
    best, room = (start[0] + end[0]) / 2, -float("inf")
    for part in _PLACES:
        x, y = start[0] + (end[0] - start[0]) * part, start[1] + (end[1] - start[1]) * part
        apart = [max(abs(x - u) - half - w, 1.6 * (abs(y - v) - 15.0)) for u, v, w in taken]
        free = min([6.0, *apart])
        if free > room + 1e-6:
            best, room = part, free
    x, y = start[0] + (end[0] - start[0]) * best, start[1] + (end[1] - start[1]) * best
    taken.append((x, y, half))
    box = Box(x - half - 2.0, y - 7.0, 2 * half + 4.0, 14.0, "page", 3.0)
    return box, Text(x, y + 3.7, text, "edge", "middle")


def _units(column: Column, placed: _Placed) -> list[Shape]:
    shapes: list[Shape] = []
    for unit in placed.units:
        x, y = placed.places[unit]
        name = column.names[unit] if unit < len(column.names) else ""
        value = "" if column.values is None else _in_unit(float(column.values[unit]))
        note = [name or f"unit {unit}"]
        if column.values is not None:
            note.append(f"value {_number(float(column.values[unit]))}")
        inside: list[Shape] = [Circle(0.0, 0.0, _RADIUS, "neuron")]
        if value:
            inside.append(Text(0.0, 3.7, value, "unit", "middle"))
            if name:
                inside.append(Text(0.0, _RADIUS + 11.0, name, "edge", "middle"))
        elif name:
            inside.append(Text(0.0, 4.0, name, "text", "middle"))
        shapes.append(Group(tuple(inside), x, y, title="\n".join(note)))
    if placed.between is not None:
        x, y = placed.between
        left_out = column.n_units - len(placed.units)
        shapes.append(Text(x, y - 4.0, "⋮", "title", "middle"))
        shapes.append(Text(x, y + 14.0, f"{left_out} more", "legend", "middle"))
    if placed.bias is not None:
        x, y = placed.bias
        inside = [
            Circle(0.0, 0.0, _RADIUS - _BIAS_SMALLER, "bias"),
            Text(0.0, 4.0, "1", "text", "middle"),
        ]
        shapes.append(Group(tuple(inside), x, y, title="bias"))
    return shapes


def _legend(most: float, meaning: str, y: float) -> tuple[list[Shape], float]:
    """Edges from the strongest below 0 to the strongest above, and where their row ends."""
    x = -_COLUMN / 2 + 14.0
    shapes: list[Shape] = [Text(x, y + 4.0, meaning, "legend")]
    x += width_of(meaning, "legend") + 12.0
    for part in (-1.0, -0.5, 0.5, 1.0):
        text = _number(part * most, 3)
        shapes.append(Curve(_line(x, y, 26.0), "positive", strength=part))
        shapes.append(Text(x + 31.0, y + 4.0, text, "legend"))
        x += 31.0 + width_of(text, "legend") + 14.0
    return shapes, x


def _line(x: float, y: float, length: float) -> tuple[tuple[float, float], ...]:
    return ((x, y), (x + length / 3, y), (x + 2 * length / 3, y), (x + length, y))


def _in_unit(number: float) -> str:
    """A number of at most six letters."""
    if not number or 0.01 <= abs(number) < 100:
        return f"{number:.2f}".removesuffix(".00")
    return _number(number, 2 if 100 <= abs(number) < 1e4 else 1)


def _number(number: float, digits: int = 4) -> str:
    """A number in few letters."""
    return f"{number:.{digits}g}".replace("e-0", "e-").replace("e+0", "e")
