"""The matrix products of printed C files whose sums stand in registers: a function for each tile.

Sizes and steps are arguments, so that products of all shapes share a function: a compiler takes
longest where loops are taken apart, and machine code that is used again is in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from chainrule.engines.c.kernels.tiles import SIMD

__all__ = [
    "is_multiplication",
    "multiplication_name",
    "multiplication_names",
    "multiplication_text",
]

_NAME = re.compile(r"multiply_(\d+)x(\d+)_(float|double)")

_TEXT = f"""
/* out = x @ y, of (rows, inner) and (inner, columns), by tiles of ROWS rows × LANES columns that
   are summed in registers. x_row, y_row and out_row are the steps from row to row, x_step and
   y_step those within one. The columns of a tile stand side by side in the panel; a last tile
   that is not filled reaches back over the one before, or, where there is none, has zeros
   beside. */
static void NAME(
    long rows, long inner, long columns, const KIND *restrict x, long x_row, long x_step,
    const KIND *restrict y, long y_row, long y_step, KIND *restrict out, long out_row,
    KIND *restrict panel)
{{
    const long filled = columns < LANES ? columns : LANES;
    for (long column_tile = 0; column_tile < columns; column_tile += LANES) {{
        const long column = column_tile + filled < columns ? column_tile : columns - filled;
        const KIND *restrict y_tile = y + y_step * column;
        if (y_step == 1 && filled == LANES) {{
            for (long p = 0; p < inner; p++)
                for (long lane = 0; lane < LANES; lane++)
                    panel[LANES * p + lane] = y_tile[y_row * p + lane];
        }} else {{
            for (long p = 0; p < inner; p++) {{
                for (long lane = 0; lane < filled; lane++)
                    panel[LANES * p + lane] = y_tile[y_row * p + y_step * lane];
                for (long lane = filled; lane < LANES; lane++)
                    panel[LANES * p + lane] = 0;
            }}
        }}
        for (long row_tile = 0; row_tile < rows; row_tile += ROWS) {{
            const long row = row_tile + ROWS < rows ? row_tile : rows - ROWS;
            const KIND *restrict x_tile = x + x_row * row;
            KIND *restrict out_tile = out + out_row * row + column;
            KIND sum[ROWS][LANES];
            for (int r = 0; r < ROWS; r++)
                {SIMD}
                for (int lane = 0; lane < LANES; lane++)
                    sum[r][lane] = 0;
            for (long p = 0; p < inner; p++)
                for (int r = 0; r < ROWS; r++)
                    {SIMD}
                    for (int lane = 0; lane < LANES; lane++)
                        sum[r][lane] += x_tile[x_row * r + x_step * p] * panel[LANES * p + lane];
            for (int r = 0; r < ROWS; r++)
                if (filled == LANES)
                    memcpy(out_tile + out_row * r, sum[r], sizeof sum[r]);
                else
                    memcpy(out_tile + out_row * r, sum[r], filled * sizeof(KIND));
        }}
    }}
}}
"""


def multiplication_name(rows: int, lanes: int, kind: str) -> str:
    """The name of the function for tiles of so many rows and columns."""
    return f"multiply_{rows}x{lanes}_{kind}"


def multiplication_names() -> frozenset[str]:
    """The names of all of them: nothing else in a printed file may have one of these."""
    lanes = [2**n for n in range(7)] + [24, 48]
    return frozenset(
        multiplication_name(rows, n, kind)
        for rows in range(1, 17)
        for n in lanes
        for kind in ("float", "double")
    )


def is_multiplication(name: str) -> bool:
    """Whether a function of a printed file may have this name."""
    return _NAME.fullmatch(name) is not None


def multiplication_text(names: Iterable[str]) -> str:
    """The C definitions of these functions, of a file that includes `<string.h>`."""
    texts = []
    for name in names:
        found = _NAME.fullmatch(name)
        assert found is not None
        text = _TEXT.strip()
        for word, value in zip(
            ("NAME", "ROWS", "LANES", "KIND"), (name, *found.groups()), strict=True
        ):
            text = re.sub(rf"\b{word}\b", value, text)
        texts.append(text)
    return "\n\n".join(texts)
