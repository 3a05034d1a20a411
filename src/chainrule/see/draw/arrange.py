"""From nodes and edges to shapes: sizes by their texts, places by the layout, room for the opened.

A node that is opened takes more room, and what stands around it gives way: x and y are stretched
where the node is. The stretching never brings two things nearer to each other, so nothing comes to
overlap. The script in the file does the same when a reader opens a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from chainrule.see.draw.layout import Route, lay_out
from chainrule.see.draw.level import Level, Node
from chainrule.see.draw.shapes import Box, Curve, Group, Shape, Text
from chainrule.see.draw.style import FONTS, width_of

__all__ = ["HEADER", "LEAST_PIECE", "LINE_HEIGHT", "PADDING", "Arranged", "arrange", "stretch"]

PADDING = 10.0
"""Around the texts of a node, and around the picture in an opened one."""

HEADER = 26.0
"""Height of the name above the picture in an opened node."""

LINE_HEIGHT = 16.0

_SHEET = 3.0  # what is seen of a second sheet behind a box that opens

LEAST_PIECE = 0.5
"""Of an edge: what is shorter is not drawn."""

Point = tuple[float, float]
Size = tuple[float, float]


class Arranged(NamedTuple):
    """The shapes of a level, from (0, 0) to (width, height)."""

    shapes: Group
    width: float
    height: float


def arrange(level: Level) -> Arranged:
    """Where everything of a level stands, those nodes opened that are to be."""
    inner = [None if node.inner is None else arrange(node.inner) for node in level.nodes]
    closed = [_closed_size(node) for node in level.nodes]
    turned = level.to_the_right
    layout = lay_out(
        [_turn(size, turned) for size in closed],
        [(edge.source, edge.target) for edge in level.edges],
        ranks=level.ranks,
        sides=[node.side for node in level.nodes],
        weights=[edge.weight for edge in level.edges],
        gap=(26.0, 44.0) if turned else (22.0, 34.0),
    )
    middles = [_turn(middle, turned) for middle in layout.middles]
    routes = [tuple(_turn(point, turned) for point in route) for route in layout.routes]
    width, height = _turn((layout.width, layout.height), turned)
    sizes = [
        _opened_size(node, picture) if node.is_open and picture is not None else size
        for node, size, picture in zip(level.nodes, closed, inner, strict=True)
    ]
    stretches = [
        stretch(
            [
                (middle[axis] - before[axis] / 2, before[axis], after[axis] - before[axis])
                for middle, before, after in zip(middles, closed, sizes, strict=True)
            ]
        )
        for axis in (0, 1)
    ]
    places = [
        tuple(_mapped_middle(stretches[axis], middle[axis], size[axis]) for axis in (0, 1))
        for middle, size in zip(middles, closed, strict=True)
    ]
    edges: list[Shape] = []
    for edge, route in zip(level.edges, routes, strict=True):
        s, t = edge.source, edge.target
        moved: list[Point] = [(stretches[0](x), stretches[1](y)) for x, y in route]
        start = _moved_end(route[0], middles[s], closed[s], places[s], sizes[s])
        end = _moved_end(route[-1], middles[t], closed[t], places[t], sizes[t])
        points = (
            *_joined(start, route[:2], moved[:2]),
            *moved[2:-2],
            *reversed(_joined(end, route[:-3:-1], moved[:-3:-1])),
        )
        edges.append(
            Curve(
                points,
                edge.style,
                has_arrow=True,
                data={"ends": f"{s} {t}", "route": _numbers(route)},
            )
        )
    nodes = [
        _node_shapes(node, place, size, opened, middle, before, picture)
        for node, place, size, opened, middle, before, picture in zip(
            level.nodes, places, closed, sizes, middles, closed, inner, strict=True
        )
    ]
    shapes = Group(
        (*edges, *nodes), role="level", data={"size": f"{_short(width)} {_short(height)}"}
    )
    return Arranged(shapes, stretches[0](width), stretches[1](height))


def _opened_size(node: Node, picture: Arranged) -> Size:
    """The size of a node with its picture shown."""
    width = max(picture.width + 2 * PADDING, _least_width(node))
    return width, picture.height + HEADER + PADDING


def _least_width(node: Node) -> float:
    return width_of(_header(node), "name") + 2 * PADDING + 18


def stretch(intervals: Sequence[tuple[float, float, float]]) -> Callable[[float], float]:
    """The map of a line that gives each interval (start, length, growth) that much more room.

    Where intervals overlap, the one that asks for most counts. Its slope is nowhere below 1.

    >>> to = stretch([(10.0, 10.0, 5.0), (10.0, 10.0, 3.0)])
    >>> to(0.0), to(15.0), to(30.0)
    (0.0, 17.5, 35.0)
    """
    growing = [
        (start, start + length, growth / length)
        for start, length, growth in intervals
        if growth > 0
    ]
    cuts = sorted({cut for start, end, _ in growing for cut in (start, end)})
    pieces = [
        (
            low,
            high,
            max((d for start, end, d in growing if start <= low and high <= end), default=0.0),
        )
        for low, high in pairwise(cuts)
    ]

    def mapped(at: float) -> float:
        return at + sum((min(at, high) - low) * more for low, high, more in pieces if low < at)

    return mapped


def _turn(pair: tuple[float, float], turned: bool) -> tuple[float, float]:
    return (pair[1], pair[0]) if turned else pair


def _mapped_middle(to: Callable[[float], float], middle: float, size: float) -> float:
    return (to(middle - size / 2) + to(middle + size / 2)) / 2


def _moved_end(
    end: tuple[float, float],
    middle: tuple[float, ...],
    before: Size,
    place: tuple[float, ...],
    after: Size,
) -> tuple[float, float]:
    """Where an edge meets its node: at the same part of the border as before."""
    x, y = (
        place[axis] + (end[axis] - middle[axis]) * (after[axis] / before[axis]) for axis in (0, 1)
    )
    return x, y


def _joined(end: Point, before: Sequence[Point], mapped: Sequence[Point]) -> tuple[Point, ...]:
    """The points from the end of an edge at its node to the first control point of its curve.

    `before` and `mapped` are end and control point as they were, and as the stretching has them.
    Along its direction, what the node is away from its place is bridged by a straight piece; across
    it, the control point goes with the end.
    """
    (x0, y0), (x1, y1) = before
    along = 0 if abs(x1 - x0) > abs(y1 - y0) else 1
    corner, control = list(end), list(mapped[1])
    corner[along] = mapped[0][along]
    control[1 - along] += end[1 - along] - mapped[0][1 - along]
    gap = corner[along] - end[along]
    if abs(gap) < LEAST_PIECE:
        return end, (control[0], control[1])
    third, two_thirds = list(end), list(end)
    third[along] += gap / 3
    two_thirds[along] += gap * 2 / 3
    points = (third, two_thirds, corner, control)
    return end, *((x, y) for x, y in points)


def _closed_size(node: Node) -> Size:
    if node.figure is not None:
        return node.figure.width, node.figure.height
    widths = [width_of(line.text, line.style) for line in node.lines]
    width = max(widths, default=0.0) + 2 * PADDING
    height = len(node.lines) * LINE_HEIGHT + 2 * PADDING - 4
    return (width, height) if node.inner is None else (width + 16.0 + _SHEET, height + _SHEET)


def _header(node: Node) -> str:
    return node.lines[0].text if node.lines else ""


def _node_shapes(
    node: Node,
    place: tuple[float, ...],
    size: Size,
    opened: Size,
    middle: tuple[float, ...],
    before: Size,
    picture: Arranged | None,
) -> Group:
    """A node as a group around its middle: its face, and if it has one, its picture."""
    is_open = node.is_open and picture is not None
    parts: list[Shape] = [Group(_face(node, size), role="face", is_hidden=is_open)]
    if picture is not None:
        parts.append(_opened(node, picture, is_hidden=not is_open))
    folds = picture is not None and node.style != "panel"
    at = " ".join(map(_short, (*middle, *before)))
    return Group(
        tuple(parts),
        place[0],
        place[1],
        role="node folds" if folds else "node",
        title=node.note,
        data={"at": at, **({"open": "1"} if is_open else {})},
    )


def _opened(node: Node, picture: Arranged, is_hidden: bool) -> Group:
    """The picture in a node, in a frame with the node's name above it, around (0, 0)."""
    width, height = _opened_size(node, picture)
    left, top = -width / 2, -height / 2
    is_panel = node.style == "panel"
    header = [Text(left + PADDING, top + 18, _header(node), "name")]
    if not is_panel:
        header.append(Text(width / 2 - PADDING, top + 18, "−", "name", "end"))
    return Group(
        (
            Box(left, top, width, height, "panel" if is_panel else "folder"),
            Group(tuple(header), role="header"),
            _at(picture.shapes, -picture.width / 2, top + HEADER),
        ),
        role="opened",
        is_hidden=is_hidden,
        data={"least": _short(_least_width(node))},
    )


def _at(group: Group, x: float, y: float) -> Group:
    return Group(group.parts, x, y, group.role, group.title, group.is_hidden, group.data)


def _face(node: Node, size: Size) -> tuple[Shape, ...]:
    """The box with its lines of text, around (0, 0)."""
    if node.figure is not None:
        return (node.figure.shapes,)
    left, top = -size[0] / 2, -size[1] / 2
    sheet = 0.0 if node.inner is None else _SHEET
    width, height = size[0] - sheet, size[1] - sheet
    radius = 13.0 if node.style in {"input", "parameter", "constant"} else 5.0
    shapes: list[Shape] = [Box(left, top, width, height, node.style, radius)]
    if sheet:
        shapes.insert(0, Box(left + sheet, top + sheet, width, height, node.style, radius))
    left, top = left + PADDING, top + PADDING - 2
    for number, line in enumerate(node.lines):
        base = top + (number + 0.5) * LINE_HEIGHT + FONTS[line.style].size * 0.36
        shapes.append(Text(left, base, line.text, line.style))
    if sheet:
        shapes.append(Text(left + width - 2 * PADDING, top + 12.5, "+", "name", "end"))
    return tuple(shapes)


def _numbers(route: Route) -> str:
    return " ".join(f"{_short(x)} {_short(y)}" for x, y in route)


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
