"""The order within the rows of a layered drawing, so that few edges cross.

Second step of Sugiyama, Tagawa and Toda (1981): rows are sorted by the mean place of what they are
joined to in the row above, then in the row below, over and over; the best order seen is kept. Then
neighbours change places while that removes crossings (Gansner et al. 1993, section 3).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

import numpy as np

__all__ = ["count_crossings", "ordered"]

_SWEEPS = 24
_PATIENCE = 5  # sweeps without a better order
_MOST_TO_EXCHANGE = 4_000  # nodes: exchanges look at each pair of neighbours

Rows = list[list[int]]


def ordered(rows: Rows, above: Sequence[Sequence[int]], sides: Sequence[int]) -> Rows:
    """The rows in an order with fewer crossings, never more than they came with.

    `above` are the nodes of the row above that each node is joined to. Nodes of a smaller side
    stay to the left of others.
    """
    rows = [sorted(row, key=lambda node: sides[node]) for row in rows]
    below: list[list[int]] = [[] for _ in above]
    for node, joined in enumerate(above):
        for other in joined:
            below[other].append(node)
    best, fewest, waited = rows, count_crossings(rows, above), 0
    places = np.zeros(len(above))
    for sweep in range(_SWEEPS):
        if not fewest or waited == _PATIENCE:
            break
        downwards = sweep % 2 == 0
        rows = _swept(rows, above if downwards else below, sides, places, downwards, sweep % 4 > 1)
        crossings = count_crossings(rows, above)
        waited = 0 if crossings < fewest else waited + 1
        if crossings < fewest:
            best, fewest = rows, crossings
    best = [list(row) for row in best]
    if fewest and len(above) <= _MOST_TO_EXCHANGE:
        _exchange(best, above, below, sides)
    return best


def count_crossings(rows: Rows, above: Sequence[Sequence[int]]) -> int:
    """How many pairs of edges between neighbouring rows cross."""
    place = {node: i for row in rows for i, node in enumerate(row)}
    total = 0
    for row in rows:
        passed: list[int] = []
        for node in row:
            ends = [place[other] for other in above[node]]
            total += sum(len(passed) - bisect_right(passed, end) for end in ends)
            for end in ends:
                insort(passed, end)
    return total


def _swept(
    rows: Rows,
    joined: Sequence[Sequence[int]],
    sides: Sequence[int],
    places: np.ndarray,
    downwards: bool,
    reverses_ties: bool,
) -> Rows:
    """Each row sorted by the mean place of what its nodes are joined to, one row after the other.

    A node that is joined to nothing keeps its place.
    """
    new = [list(row) for row in rows]
    for row in new:
        for place, node in enumerate(row):
            places[node] = place / max(len(row) - 1, 1)
    for row in new if downwards else reversed(new):
        wanted = {
            node: (
                sides[node],
                sum(places[other] for other in joined[node]) / len(joined[node])
                if joined[node]
                else places[node],
            )
            for node in row
        }
        if reverses_ties:
            row.reverse()
        row.sort(key=wanted.__getitem__)
        for place, node in enumerate(row):
            places[node] = place / max(len(row) - 1, 1)
    return new


def _exchange(
    rows: Rows,
    above: Sequence[Sequence[int]],
    below: Sequence[Sequence[int]],
    sides: Sequence[int],
) -> None:
    """Let neighbours change places where fewer edges cross then."""
    place = {node: i for row in rows for i, node in enumerate(row)}

    def crossings(left: int, right: int) -> int:
        return sum(
            place[a] > place[b]
            for joined in (above, below)
            for a in joined[left]
            for b in joined[right]
        )

    for _ in range(_SWEEPS):
        improved = False
        for row in rows:
            for i in range(len(row) - 1):
                left, right = row[i], row[i + 1]
                if sides[left] != sides[right]:
                    continue
                if crossings(right, left) < crossings(left, right):
                    row[i], row[i + 1] = right, left
                    place[left], place[right] = i + 1, i
                    improved = True
        if not improved:
            return
