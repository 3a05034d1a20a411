"""Measured sides of a work, as rows: which of them counts, which is ours, how two compare."""

from __future__ import annotations

from statistics import median
from typing import Any

Row = dict[str, Any]

# What stands for the library in a work: the first of these that was measured.
_FIRST = ("fit", "epochs", "predict", "convolve", "step", "learn", "reproduce")


def best(rows: list[Row]) -> list[Row]:
    """Each side with its best number of threads, fastest first; more threads only if they help."""
    chosen: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda row: row["threads"] or 0):
        key = row["peer"], row["side"]
        fewer = chosen.setdefault(key, row)
        if median(row["values"]) < 0.98 * median(fewer["values"]):
            chosen[key] = row
    return sorted(chosen.values(), key=lambda row: median(row["values"]))


def side_of(rows: list[Row], name: str) -> Row | None:
    """The row of a side, as peer:side; None where it was not measured."""
    return next((row for row in rows if f"{row['peer']}:{row['side']}" == name), None)


def ours(rows: list[Row], engine: str) -> Row | None:
    """The row that others are compared with, on the engine "numpy" or "c"."""
    before = "c-" if engine == "c" else ""
    found = (side_of(rows, f"chainrule:{before}{name}") for name in _FIRST)
    return next((row for row in found if row is not None), None)


def peers(rows: list[Row], *names: str) -> list[Row]:
    """The rows of others that do the whole work; those of some sides, where any are named."""
    others = [row for row in rows if row["peer"] != "chainrule" and row["side"] != "products"]
    return [row for row in others if not names or f"{row['peer']}:{row['side']}" in names]


def fastest(rows: list[Row]) -> Row | None:
    """The row with the lowest median."""
    return min(rows, key=lambda row: median(row["values"]), default=None)


def ratio(row: Row, other: Row) -> float:
    """The median over the rounds of one side's number over the other's in the same round."""
    pairs = zip(row["values"], other["values"], strict=True)
    return median(a / b for a, b in pairs)
