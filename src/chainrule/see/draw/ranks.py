"""The rows of a layered drawing: every node below all that it reads.

First step of K. Sugiyama, S. Tagawa and M. Toda, "Methods for visual understanding of hierarchical
system structures", 1981: longest paths. Then nodes are moved within the room they have, so that
edges get shorter, as the network simplex of Gansner, Koutsofios, North and Vo, "A technique for
drawing directed graphs", 1993, does exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["ranks_of", "topological_order"]

Edge = tuple[int, int]

_ROUNDS = 8  # of moving nodes; few graphs need more than three


def topological_order(n_nodes: int, edges: Sequence[Edge]) -> list[int]:
    """The nodes, each after all that have an edge to it; equals in the order of their numbers.

    Raises ValueError where the edges make a cycle.
    """
    after: list[list[int]] = [[] for _ in range(n_nodes)]
    waits_for = [0] * n_nodes
    for source, target in edges:
        after[source].append(target)
        waits_for[target] += 1
    order = [node for node in range(n_nodes) if not waits_for[node]]
    for node in order:  # it grows while it is read
        for target in after[node]:
            waits_for[target] -= 1
            if not waits_for[target]:
                order.append(target)
    if len(order) < n_nodes:
        raise ValueError(f"a layered drawing has no cycles, but {n_nodes - len(order)} nodes do")
    return order


def ranks_of(n_nodes: int, edges: Sequence[Edge]) -> list[int]:
    """The row of every node from 0, each at least one below the rows that it has edges from.

    >>> ranks_of(4, [(0, 1), (1, 2), (3, 2)])
    [0, 1, 2, 1]
    """
    order = topological_order(n_nodes, edges)
    before: list[list[int]] = [[] for _ in range(n_nodes)]
    after: list[list[int]] = [[] for _ in range(n_nodes)]
    for source, target in edges:
        before[target].append(source)
        after[source].append(target)
    ranks = [0] * n_nodes
    for node in order:
        ranks[node] = max((ranks[source] + 1 for source in before[node]), default=0)
    for _ in range(_ROUNDS):
        moved = [_pull(node, ranks, before[node], after[node]) for node in reversed(order)]
        if not any(moved):
            break
    lowest = min(ranks, default=0)
    return [rank - lowest for rank in ranks]


def _pull(node: int, ranks: list[int], before: list[int], after: list[int]) -> bool:
    """Move a node to the end of its room where its edges are shorter; whether it moved."""
    if len(after) > len(before):
        rank = min(ranks[target] for target in after) - 1
    elif len(before) > len(after):
        rank = max(ranks[source] for source in before) + 1
    else:
        return False
    moved = rank != ranks[node]
    ranks[node] = rank
    return moved
