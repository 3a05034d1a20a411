"""A layered layout: boxes in rows, edges from row to row, long edges around the boxes between.

    ranks -> order -> coordinates -> routes

It knows sizes and edges and nothing of what is drawn. The same input gives the same layout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from chainrule.see.draw.coordinates import settle
from chainrule.see.draw.order import ordered
from chainrule.see.draw.ranks import ranks_of

__all__ = ["Layout", "Route", "lay_out"]

Point = tuple[float, float]
Route = tuple[Point, ...]
"""The points of cubic curves: start, then two control points and an end for each."""

_PART_WIDTH = 4.0  # of a long edge where it passes a row


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands, from (0, 0) to (width, height): middles of nodes, routes of edges.

    A route begins at the border of its source and ends at that of its target.
    """

    width: float
    height: float
    middles: tuple[Point, ...]
    routes: tuple[Route, ...]


def lay_out(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    *,
    ranks: Sequence[int] | None = None,
    sides: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
    gap: tuple[float, float] = (22.0, 34.0),
) -> Layout:
    """A layout of boxes of these (width, height), with an edge for each pair of their numbers.

    `ranks` are the rows, by default such that all edges go down, for which the edges must have no
    cycle; edges to a row above, or within a row, may be drawn where ranks are given. Boxes of a
    smaller side stand to the left of others in their row. Edges of greater weight are straighter.
    `gap` is the least distance within a row
    and between rows.

    >>> lay_out([(40, 20), (60, 20)], [(0, 1)], gap=(10, 30)).middles
    ((30.0, 10.0), (30.0, 60.0))
    """
    if ranks is None:
        ranks = ranks_of(len(sizes), edges)
    parts = _Parts(sizes, edges, ranks, sides or [0] * len(sizes), weights or [1.0] * len(edges))
    rows = ordered(parts.rows, parts.above, parts.sides)
    joints = [
        (source, node, parts.weights[source, node])
        for node, above in enumerate(parts.above)
        for source in above
    ]
    is_part = [node >= len(sizes) for node in range(len(parts.above))]
    widths = [width for width, _ in sizes] + [_PART_WIDTH] * (len(is_part) - len(sizes))
    xs = settle(rows, widths, joints, is_part, gap[0])
    _straighten(rows, widths, parts, xs, gap[0])
    left = min((x - w / 2 for x, w in zip(xs, widths, strict=True)), default=0.0)
    xs = [x - left for x in xs]
    heights = [max((sizes[n][1] for n in row if n < len(sizes)), default=0.0) for row in rows]
    gaps = [_row_gap(number, rows, parts, gap[1]) for number in range(len(rows))]
    tops = [0.0]
    for height, room in zip(heights, gaps, strict=True):
        tops.append(tops[-1] + height + room)
    bounds = [(top, top + height) for top, height in zip(tops, heights, strict=False)]
    middles = tuple((xs[n], sum(bounds[ranks[n]]) / 2) for n in range(len(sizes)))
    width = max((x + w / 2 for x, w in zip(xs, widths, strict=True)), default=0.0)
    height = bounds[-1][1] if bounds else 0.0
    routes = tuple(_routes(sizes, edges, ranks, parts, xs, middles, bounds, gap[1]))
    ends = [point for route in routes for point in route]
    width = max([width, *(x for x, _ in ends)])
    height = max([height, *(y for _, y in ends)])
    return Layout(width, height, middles, routes)


class _Parts:
    """The rows with nodes and with the parts of long edges, which all edges of a node share.

    Numbers from n_nodes on are parts. An edge upwards is taken as one from its target to its
    source, an edge within a row as none.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[float, float]],
        edges: Sequence[tuple[int, int]],
        ranks: Sequence[int],
        sides: Sequence[int],
        weights: Sequence[float],
    ) -> None:
        self.weights: dict[tuple[int, int], float] = {}  # of the joints between two rows
        self.rows: list[list[int]] = [[] for _ in range(max(ranks, default=-1) + 1)]
        for node, rank in enumerate(ranks):
            self.rows[rank].append(node)
        self.above: list[list[int]] = [[] for _ in sizes]
        self.sides = list(sides)
        self.chains: list[list[int]] = []  # for every edge, the parts it passes, downwards
        self.runs: dict[tuple[int, bool], list[int]] = {}
        for (source, target), weight in zip(edges, weights, strict=True):
            goes_up = ranks[target] < ranks[source]
            top, bottom = (target, source) if goes_up else (source, target)
            if ranks[top] == ranks[bottom]:
                self.chains.append([])
                continue
            run = self.runs.setdefault((top, goes_up), [])
            n_parts = ranks[bottom] - ranks[top] - 1
            while len(run) < n_parts:
                self._add_part(run, top, ranks[top] + 1 + len(run))
            chain = run[:n_parts]
            last = chain[-1] if chain else top
            if last not in self.above[bottom]:
                self.above[bottom].append(last)
            for joint in pairwise((top, *chain, bottom)):
                self.weights[joint] = max(self.weights.get(joint, 0.0), weight)
            self.chains.append(chain)

    def _add_part(self, run: list[int], top: int, rank: int) -> None:
        part = len(self.above)
        self.above.append([run[-1] if run else top])
        self.sides.append(self.sides[top])
        self.rows[rank].append(part)
        run.append(part)


def _straighten(
    rows: Sequence[Sequence[int]],
    widths: Sequence[float],
    parts: _Parts,
    xs: list[float],
    gap: float,
) -> None:
    """Put the parts of a long edge on one line where their neighbours leave room for it."""
    room: dict[int, tuple[int | None, int | None]] = {}
    for row in rows:
        for i, node in enumerate(row):
            left = row[i - 1] if i else None
            right = row[i + 1] if i + 1 < len(row) else None
            room[node] = (left, right)
    for run in parts.runs.values():
        wanted = sorted(xs[part] for part in run)[len(run) // 2] if run else 0.0
        for part in run:
            left, right = room[part]
            low = -float("inf") if left is None else xs[left] + (widths[left] + gap) / 2
            high = float("inf") if right is None else xs[right] - (widths[right] + gap) / 2
            if low <= high:
                xs[part] = min(max(wanted, low), high)


def _row_gap(number: int, rows: Sequence[Sequence[int]], parts: _Parts, gap: float) -> float:
    """More room below a row with many edges, which need it to turn."""
    if number + 1 == len(rows):
        return 0.0
    n_edges = sum(len(parts.above[node]) for node in rows[number + 1])
    return gap * (1.0 + 0.03 * min(max(n_edges - 4, 0), 60))


def _routes(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    ranks: Sequence[int],
    parts: _Parts,
    xs: Sequence[float],
    middles: Sequence[Point],
    bounds: Sequence[tuple[float, float]],
    gap: float,
) -> list[Route]:
    """The curves of all edges."""
    ports = _ports(sizes, edges, ranks, parts, xs)
    routes: list[Route] = []
    for number, (source, target) in enumerate(edges):
        if ranks[source] == ranks[target]:
            routes.append(
                _within_row(sizes, middles, source, target, bounds[ranks[source]][1], gap)
            )
            continue
        goes_up = ranks[target] < ranks[source]
        top, bottom = (target, source) if goes_up else (source, target)
        chain = parts.chains[number]
        (x_top, y_top), (x_bottom, y_bottom) = middles[top], middles[bottom]
        stops = [(x_top + ports[number][0], y_top + sizes[top][1] / 2, bounds[ranks[top]][1])]
        stops += [(xs[p], *bounds[ranks[top] + 1 + i]) for i, p in enumerate(chain)]
        at_bottom = y_bottom - sizes[bottom][1] / 2
        stops.append((x_bottom + ports[number][1], bounds[ranks[bottom]][0], at_bottom))
        route = _curves(stops)
        routes.append(route[::-1] if goes_up else route)
    return routes


def _curves(stops: Sequence[tuple[float, float, float]]) -> Route:
    """Through each stop (x, from y, to y) straight down, between two of them in a smooth turn."""
    points: list[Point] = [(stops[0][0], stops[0][1])]
    for number, (x, start, end) in enumerate(stops):
        if number:
            (x_before, y_before), turn = points[-1], start
            half = (turn - y_before) / 2
            points += [(x_before, y_before + half), (x, turn - half), (x, turn)]
        if end > points[-1][1]:
            y = points[-1][1]
            points += [(x, y + (end - y) / 3), (x, end - (end - y) / 3), (x, end)]
    return tuple(points)


def _within_row(
    sizes: Sequence[tuple[float, float]],
    middles: Sequence[Point],
    source: int,
    target: int,
    bottom: float,
    gap: float,
) -> Route:
    """From box to box in one row: across if they are neighbours, else below what is between."""
    (x0, y0), (x1, y1) = middles[source], middles[target]
    sign = 1.0 if x1 > x0 else -1.0
    start, end = x0 + sign * sizes[source][0] / 2, x1 - sign * sizes[target][0] / 2
    low, high = min(start, end), max(start, end)
    is_free = not any(
        other not in (source, target)
        and abs(y - y0) < 1e-6
        and low < x + sizes[other][0] / 2
        and x - sizes[other][0] / 2 < high
        for other, (x, y) in enumerate(middles)
    )
    if is_free:
        third = (end - start) / 3
        return (start, y0), (start + third, y0), (end - third, y1), (end, y1)
    out, into = x0 + sign * sizes[source][0] / 4, x1 - sign * sizes[target][0] / 4
    depth = bottom + gap * 0.6
    return (
        (out, y0 + sizes[source][1] / 2),
        (out, depth),
        (into, depth),
        (into, y1 + sizes[target][1] / 2),
    )


def _ports(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    ranks: Sequence[int],
    parts: _Parts,
    xs: Sequence[float],
) -> list[tuple[float, float]]:
    """How far from a box's middle each edge leaves the upper box and reaches the lower one.

    Edges that share their parts leave together; those that reach a box from different places do so
    side by side, in the order of these places.
    """
    leaving: dict[int, dict[object, float]] = {}
    reaching: dict[int, dict[object, float]] = {}
    keys: list[tuple[object, object] | None] = []
    for number, (source, target) in enumerate(edges):
        if ranks[source] == ranks[target]:
            keys.append(None)
            continue
        goes_up = ranks[target] < ranks[source]
        top, bottom = (target, source) if goes_up else (source, target)
        chain = parts.chains[number]
        first, last = (chain[0], chain[-1]) if chain else (bottom, top)
        key_top, key_bottom = (first, goes_up), (last, goes_up)
        leaving.setdefault(top, {})[key_top] = xs[first]
        reaching.setdefault(bottom, {})[key_bottom] = xs[last]
        keys.append((key_top, key_bottom))
    spread = {
        (is_top, node): _spread(ends, sizes[node][0])
        for is_top, of in ((True, leaving), (False, reaching))
        for node, ends in of.items()
    }
    offsets: list[tuple[float, float]] = []
    for (source, target), key in zip(edges, keys, strict=True):
        if key is None:
            offsets.append((0.0, 0.0))
            continue
        top, bottom = (target, source) if ranks[target] < ranks[source] else (source, target)
        offsets.append((spread[True, top][key[0]], spread[False, bottom][key[1]]))
    return offsets


def _spread(ends: dict[object, float], width: float) -> dict[object, float]:
    """Offsets from the middle of a side for what leads to these places, in their order."""
    step = min(16.0, 0.7 * width / max(len(ends), 1))
    in_order = sorted(ends, key=ends.__getitem__)
    return {key: (i - (len(in_order) - 1) / 2) * step for i, key in enumerate(in_order)}
