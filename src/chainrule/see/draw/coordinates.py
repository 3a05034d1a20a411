"""Where the nodes of ordered rows stand, from left to right.

Third step of a layered drawing. Each node wants to stand at the mean of what it is joined to, and
neighbours keep their distance: for one row that is an isotonic regression, which pooling adjacent
violators solves exactly (Ayer, Brunk, Ewing, Reid and Silverman 1955). Rows are taken in turn,
down and up. Parts of long edges weigh more, so that those run straight, with the weights of
Gansner et al. (1993), section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["settle"]

_LEAST_SWEEPS, _MOST_SWEEPS = 16, 120
_WORK = 60_000  # nodes in all sweeps


def settle(
    rows: Sequence[Sequence[int]],
    widths: Sequence[float],
    edges: Sequence[tuple[int, int, float]],
    is_part: Sequence[bool],
    gap: float,
) -> list[float]:
    """The middle of every node, at least `gap` between neighbours, none left of 0.

    Edges have weights, and `is_part` says which nodes are parts of long edges.
    """
    above: list[list[tuple[int, float]]] = [[] for _ in widths]
    below: list[list[tuple[int, float]]] = [[] for _ in widths]
    for source, target, weight in edges:
        weight *= (1.0, 2.0, 8.0)[is_part[source] + is_part[target]]
        above[target].append((source, weight))
        below[source].append((target, weight))
    middles = [0.0] * len(widths)
    offsets: list[list[float]] = []
    for row in rows:
        offset, at = [], 0.0
        for i, node in enumerate(row):
            if i:
                at += (widths[row[i - 1]] + widths[node]) / 2 + _gap(row[i - 1], node, is_part, gap)
            offset.append(at)
        offsets.append(offset)
        for node, place in zip(row, offset, strict=True):
            middles[node] = place - at / 2
    n_sweeps = min(max(_WORK // max(len(widths), 1), _LEAST_SWEEPS), _MOST_SWEEPS)
    for sweep in range(n_sweeps):
        joined = [above, below][sweep % 2]
        both = sweep >= 6  # then rows look both ways, which leads to least squares
        numbers = range(len(rows)) if sweep % 2 == 0 else range(len(rows) - 1, -1, -1)
        for number in numbers:
            _settle_row(rows[number], offsets[number], joined, above, below, both, middles)
    left = min((m - w / 2 for m, w in zip(middles, widths, strict=True)), default=0.0)
    return [middle - left for middle in middles]


def _gap(left: int, right: int, is_part: Sequence[bool], gap: float) -> float:
    return gap if not (is_part[left] and is_part[right]) else gap * 0.6


def _settle_row(
    row: Sequence[int],
    offset: Sequence[float],
    joined: Sequence[Sequence[tuple[int, float]]],
    above: Sequence[Sequence[tuple[int, float]]],
    below: Sequence[Sequence[tuple[int, float]]],
    both: bool,
    middles: list[float],
) -> None:
    """Put the nodes of a row as near to where they want to be as their order allows."""
    blocks: list[tuple[float, float, int]] = []  # (weighted mean, weight, how many nodes)
    for node, shift in zip(row, offset, strict=True):
        pulls = [*above[node], *below[node]] if both else joined[node]
        weight = sum(w for _, w in pulls)
        if weight:
            wanted = sum(w * middles[other] for other, w in pulls) / weight
        else:
            wanted, weight = middles[node], 0.01
        mean, count = wanted - shift, 1
        while blocks and blocks[-1][0] > mean:
            other, other_weight, other_count = blocks.pop()
            mean = (mean * weight + other * other_weight) / (weight + other_weight)
            weight, count = weight + other_weight, count + other_count
        blocks.append((mean, weight, count))
    number = 0
    for mean, _, count in blocks:
        for _ in range(count):
            middles[row[number]] = mean + offset[number]
            number += 1
