"""The table of a network's layers: name, output shape, parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from chainrule.nn.built import BuiltLayer
from chainrule.nn.layer import Layer, Shape
from chainrule.nn.parameters import Parameters

__all__ = ["SummaryRow", "built_rows", "summary_text", "unbuilt_rows"]

SummaryRow: TypeAlias = tuple[str, ...]
"""The cells of a line; the first line holds the headings, the last one the total, with a note."""

_HEADINGS = ("layer", "output shape", "parameters")


def unbuilt_rows(layers: Sequence[Layer]) -> list[SummaryRow]:
    """Of layers that do not know their shapes yet."""
    note = "not built: build or the first call finds the shapes"
    return [_HEADINGS, *((layer.name, "?", "?") for layer in layers), ("total", "", "?", note)]


def built_rows(
    input_shape: Shape, layers: Sequence[BuiltLayer], parameters: Parameters
) -> list[SummaryRow]:
    """Of layers that have their parameters; N stands for the batch."""
    flat, shapes = parameters.flat, parameters.shapes
    rows = [_HEADINGS, ("input", _batch_of(input_shape), "")]
    for built in layers:
        counts = built.parameter_counts(shapes)
        total_of_layer = f"{sum(counts.values()):,}"
        rows.append((built.layer.name, _batch_of(built.output_shape), total_of_layer))
        rows += [(f"  {name}", "", f"{n:,}") for name, n in counts.items() if name]
    note = f"{parameters.dtype}, {flat.nbytes:,} bytes"
    return [*rows, ("total", "", f"{flat.size:,}", note)]


def summary_text(rows: Sequence[SummaryRow]) -> str:
    """The rows as a table for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        f"{name:{widths[0]}}  {shape:{widths[1]}}  {count:>{widths[2]}}".rstrip()
        for name, shape, count, *_ in rows
    ]
    rule = "-" * (sum(widths) + 4)
    total = f"{lines[-1]}  {rows[-1][3]}"
    return "\n".join([lines[0], rule, *lines[1:-1], rule, total])


def _batch_of(shape: Shape) -> str:
    return f"(N, {', '.join(map(str, shape))})"
