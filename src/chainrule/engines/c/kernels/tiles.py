"""How large the part of a result is that is summed in registers.

A tile of places × lanes: what is read of the source is multiplied with all lanes, which are
neighbours in memory and fill vectors, and a vector of weights with all places. The more there are
of both, the fewer numbers are read for each product; but the sums must fit into the registers.

The text says none of this: it is loops over small arrays, whose bounds the compiler knows, and
which GCC and Clang keep in registers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from math import ceil
from typing import final

__all__ = ["SIMD", "Tile", "best_tile", "lanes_of", "n_cycles"]

SIMD = "#pragma omp simd"
"""Before a loop over lanes: it stays one of vectors, when the loops around it are taken apart."""

_ITEM_BYTES = {"float": 4, "double": 8}
_VECTOR_BYTES = 64
_N_SUMS = 20
"""Vectors that hold sums, of 32 registers: more were measured to be slower, with large kernels."""
_MOST_PLACES = 16
"""GCC takes a loop apart, so that its sums stand in registers, up to so many rounds."""
_LATENCY = 4
"""Products that must be independent of each other for two units to be busy, by units."""


@final
@dataclass(frozen=True, slots=True)
class Tile:
    """Rows × columns of places and so many lanes."""

    rows: int
    columns: int
    lanes: int

    def within(self, n: int) -> Tile:
        """The tile with no more than n lanes."""
        return replace(self, lanes=min(n, self.lanes))


def lanes_of(n: int, ctype: str) -> int:
    """The elements of a vector for n neighbours: a power of two, no longer than n fills."""
    lanes = _VECTOR_BYTES // _ITEM_BYTES[ctype]
    while lanes // 2 >= n:
        lanes //= 2
    return lanes


@cache
def best_tile(n_rows: int, n_columns: int, n_lanes: int, ctype: str) -> Tile:
    """The tile that takes the fewest cycles for all of rows × columns × lanes."""
    lanes = lanes_of(n_lanes, ctype)
    best, least = Tile(1, 1, lanes), float("inf")
    for vectors in range(1, min(ceil(n_lanes / lanes), 4) + 1):
        for tile_rows in range(1, min(n_rows, _MOST_PLACES) + 1):
            for most in range(1, min(n_columns, _MOST_PLACES) + 1):
                columns = ceil(n_columns / ceil(n_columns / most))
                if tile_rows * columns > _MOST_PLACES or (tile_rows > 1 and columns < n_columns):
                    continue  # rows are taken together only where a tile has them whole
                tile = Tile(tile_rows, columns, vectors * lanes)
                cycles = n_cycles(tile, n_rows, n_columns, n_lanes, ctype)
                if cycles <= least:  # of equals the larger
                    best, least = tile, cycles
    return best


def n_cycles(tile: Tile, n_rows: int, n_columns: int, n_lanes: int, ctype: str) -> float:
    """The cycles of all tiles for one number of each of rows × columns × lanes; infinite where the
    sums of a tile do not fit into the registers.

    A vector unit takes half a cycle for a product and for a number read, and the next product of a
    sum must wait for the last one.
    """
    lanes = lanes_of(n_lanes, ctype)
    vectors, places = tile.lanes // lanes, tile.rows * tile.columns
    if places * vectors > _N_SUMS:
        return float("inf")
    slower = 1.1 if vectors > 2 else 1.0  # as measured: worth it for few places only
    n_tiles = ceil(n_rows / tile.rows) * ceil(n_columns / tile.columns) * ceil(n_lanes / tile.lanes)
    return slower * n_tiles * max(places * vectors / 2, (places + vectors) / 2, _LATENCY)
