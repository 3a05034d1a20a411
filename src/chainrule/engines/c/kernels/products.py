"""Matrix products: by BLAS where they are large, as loops in registers where they are small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import final

from chainrule.compiler.graph import Equation
from chainrule.engines.c.access import Access, contiguous_strides, index_text
from chainrule.engines.c.blocks import block, looped
from chainrule.engines.c.indices import affine
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.engines.c.kernels.tiles import Tile, best_tile, n_cycles
from chainrule.engines.c.multiplication import multiplication_name
from chainrule.engines.c.sharing import (
    cache_lines,
    part_loop,
    part_of,
    shares_multiplications,
)
from chainrule.engines.c.types import c_type, literal

__all__ = ["KERNELS", "matmul", "wants_blas"]

_WORTH_BLAS = 16_384
"""Multiplications from which on BLAS may be faster: the printed file says where it is."""

_WORTH_TILES = 1_024
"""Multiplications from which on sums stand in registers; before, plain loops are as fast."""

_USUAL_ROWS = (8, 16)
"""Rows of a tile that a file has anyway."""

_SLOWER = 1.15
"""How much slower a usual tile may be than the best one."""

_N_PIECES = 4
"""Tiles of columns, or products of a stack, that are enough to be divided."""

_FEW_ROWS = 128
"""Rows below which BLAS is faster with a transposed y, the tiles of which it copies better."""

_LONG_ROW = 256
"""Columns of a row whose sums stand in local variables."""

_LONG_SUM = 4096
"""Terms of a sum of floats from which on it is added up in double."""


def wants_blas(equation: Equation) -> bool:
    """Whether a product may be left to BLAS: a large one of floats."""
    return _is_of_floats(equation) and _n_multiplications(equation) >= _WORTH_BLAS


def _is_of_floats(equation: Equation) -> bool:
    """Whether it multiplies matrices, not vectors, of floats."""
    rows, inner, columns = _sizes(*(v.shape for v in equation.variables))
    return equation.out.dtype.kind == "f" and min(rows, inner, columns) > 1


def _n_multiplications(equation: Equation) -> int:
    return prod(_sizes(*(v.shape for v in equation.variables)))


def _shares(equation: Equation) -> bool:
    """Whether a product is divided among threads."""
    inner = _sizes(*(v.shape for v in equation.variables))[1]
    return _panel(equation) > 0 and shares_multiplications(equation.out.size * inner)


def _workspace(equation: Equation) -> int:
    return 0 if _shares(equation) else _panel(equation)


def _for_each_part(equation: Equation) -> int:
    return cache_lines(_panel(equation)) if _shares(equation) else 0


def _panel(equation: Equation) -> int:
    """The columns of a tile, side by side."""
    if not _is_of_floats(equation) or _n_multiplications(equation) < _WORTH_TILES:
        return 0
    rows, inner, columns = _sizes(*(v.shape for v in equation.variables))
    return inner * _tile(rows, columns, c_type(equation.out.dtype)).lanes


def _sizes(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, int, int]:
    """Rows, inner length and columns of each single product."""
    rows = left[-2] if len(left) > 1 else 1
    columns = right[-1] if len(right) > 1 else 1
    return rows, left[-1], columns


def matmul(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """out[i, j] = sum over p of x[i, p] * y[p, j], for each matrix of a stack."""
    left, right, out = arrays
    rows, inner, columns = _sizes(left.shape, right.shape)
    stack = out.shape[: len(out.shape) - (len(left.shape) > 1) - (len(right.shape) > 1)]
    x = _matrix(left, stack, (rows, inner), is_left=True)
    y = _matrix(right, stack, (inner, columns), is_left=False)
    loops = [f"s{axis}" for axis in range(len(stack))]
    step = rows * columns
    z_stack = [step * s for s in contiguous_strides(stack)]
    lines = [f"/* ({rows}, {inner}) @ ({inner}, {columns}) */"]
    if stack:
        for pointer, access, strides in (("x", x, x.strides), ("y", y, y.strides)):
            place = index_text(strides[: len(stack)], loops)
            lines.append(f"const {access.c_type} *restrict {pointer}_matrix = {pointer} + {place};")
        lines.append(f"{out.c_type} *restrict out_matrix = out + {index_text(z_stack, loops)};")
    names = ("x_matrix", "y_matrix", "out_matrix") if stack else (x.pointer, y.pointer, out.pointer)
    sizes = rows, inner, columns
    around = list(zip(loops, stack, strict=True))
    if not _panel(equation):
        lines += _in_loops(names, x.strides[-2:], y.strides[-2:], sizes, out.c_type)
        return looped(around, lines)
    product = _Product(names, x, y, sizes, wants_blas(equation))
    if not _shares(equation):
        return looped(around, [*lines, *product.piece("workspace")])
    size = _for_each_part(equation)
    if not stack or stack[0] < _N_PIECES:
        return looped(around, [*lines, *product.in_parts(size)])
    begin, end = part_of(stack[0])
    first = block(
        f"for (long s0 = {begin}; s0 < {end}; s0++)",
        looped(around[1:], [*lines, *product.piece("panel")]),
    )
    return part_loop([product.panel_of_part(size), *first])


@final
@dataclass(frozen=True)
class _Product:
    """One product (rows, inner) @ (inner, columns), whose sums stand in registers, or by BLAS."""

    names: tuple[str, str, str]
    x: Access
    y: Access
    sizes: tuple[int, int, int]
    may_be_blas: bool

    @property
    def tile(self) -> Tile:
        return _tile(self.sizes[0], self.sizes[2], self.x.c_type)

    def panel_of_part(self, size: int) -> str:
        """The workspace of a part of this number, `part`."""
        return f"{self.x.c_type} *panel = workspace + {affine((size, 'part'))};"

    def in_parts(self, size: int) -> list[str]:
        """The product divided by columns, or by rows where there are few columns: in whole tiles,
        of which the last part takes the rest too.
        """
        rows, _, columns = self.sizes
        by_columns = columns // self.tile.lanes >= _N_PIECES or columns >= rows
        index, n, each = (
            ("column", columns, self.tile.lanes) if by_columns else ("row", rows, self.tile.columns)
        )
        begin, end = part_of(max(1, n // each))
        piece = self.piece("panel", **{index: index, f"n_{index}s": f"end - {index}"})
        return part_loop(
            [
                self.panel_of_part(size),
                f"const long {index} = {each} * ({begin});",
                f"const long end = part + 1 == parts ? {n} : {each} * ({end});",
                *piece,
            ]
        )

    def piece(
        self,
        panel: str,
        row: str = "0",
        column: str = "0",
        n_rows: str = "",
        n_columns: str = "",
    ) -> list[str]:
        """So many rows and columns of the result, from these on; without numbers all of them."""
        rows, inner, columns = self.sizes
        left, right, out = self.names
        x, y = self.x.strides[-2:], self.y.strides[-2:]
        left = _behind(left, affine((x[0], row)))
        right = _behind(right, affine((y[1], column)))
        out = _behind(out, affine((columns, row), (1, column)))
        n_rows, n_columns = n_rows or str(rows), n_columns or str(columns)
        name = f"{multiplication_name(self.tile.columns, self.tile.lanes, self.x.c_type)}("
        own = [
            f"{name}{n_rows}, {inner}, {n_columns}, {left}, {x[0]}, {x[1]},",
            f"{' ' * len(name)}{right}, {y[0]}, {y[1]}, {out}, {columns}, {panel});",
        ]
        (x_lies, x_step), (y_lies, y_step) = _lies(self.x), _lies(self.y)
        if not self.may_be_blas or not x_lies or not y_lies:
            return own
        # rows one after the other (101), operands as they lie (111) or by columns (112)
        one, zero = literal(1, self.x.dtype), literal(0, self.x.dtype)
        call = [
            f"product(101, {x_lies}, {y_lies}, {n_rows}, {n_columns}, {inner}, {one}, {left},",
            f"        {x_step}, {right}, {y_step}, {zero}, {out}, {columns});",
        ]
        is_part = panel == "panel"
        condition = f"{prod(self.sizes)} >= WORTH_BLAS"
        if is_part and y_lies == 112 and rows < _FEW_ROWS:
            condition = ""
        elif is_part:
            condition = f"(parts > 1 ? BLAS_IN_PARTS : {condition})"
        condition = " && ".join(filter(None, ["product", condition]))
        return [*block(f"if ({condition})", call)[:-1], *block("} else", own)]


def _behind(pointer: str, offset: str) -> str:
    """A pointer so many elements further on."""
    return pointer if offset == "0" else f"{pointer} + {offset}"


def _lies(matrix: Access) -> tuple[int, int]:
    """How a matrix lies, as BLAS has it, and the step from row to row or column to column; 0 for
    one that it cannot read.
    """
    (rows, columns), (down, right) = matrix.shape[-2:], matrix.strides[-2:]
    if right == 1 and down >= columns:
        return 111, down
    if down == 1 and right >= rows:
        return 112, right
    return 0, 0


def _matrix(
    access: Access, stack: tuple[int, ...], shape: tuple[int, int], is_left: bool
) -> Access:
    """An operand as a stack of matrices, a vector as one row or column."""
    strides = access.strides
    if len(access.shape) == 1:
        strides = (0, *strides) if is_left else (*strides, 0)
    whole = Access(access.pointer, access.dtype, (*access.shape[:-2], *shape), strides)
    return whole.broadcast((*stack, *shape))


def _tile(rows: int, columns: int, kind: str) -> Tile:
    """The rows and lanes that are summed in registers: a usual tile, unless that is much slower.

    The fewer there are of them in a file, the sooner it is compiled.
    """
    best = best_tile(1, rows, columns, kind)
    usual = [Tile(1, n, best.lanes) for n in _USUAL_ROWS if n <= rows]
    cycles = {tile: n_cycles(tile, 1, rows, columns, kind) for tile in (*usual, best)}
    usual = [tile for tile in usual if cycles[tile] <= _SLOWER * cycles[best]]
    return min(usual, key=lambda tile: cycles[tile], default=best)


def _in_loops(
    names: tuple[str, str, str],
    x: Sequence[int],
    y: Sequence[int],
    sizes: tuple[int, int, int],
    kind: str,
) -> list[str]:
    """One product as loops: along the rows of y where these lie in one piece, else row by row
    times column by column.
    """
    rows, inner, columns = sizes
    left, right, out = names
    i, j = "i" if rows > 1 else "0", "j" if columns > 1 else "0"
    x_place, out_place = index_text(x, [i, "p"]), index_text([columns, 1], [i, j])
    times, plus = ("&", "|=") if kind == "bool" else ("*", "+=")
    if columns == 1 or (y[1] != 1 and y[0] == 1):
        wide = "double" if kind == "float" and inner >= _LONG_SUM else kind
        lines = [
            f"{wide} total = 0;",
            *([] if kind == "bool" else ["#pragma omp simd reduction(+ : total)"]),
            f"for (long p = 0; p < {inner}; p++)",
            f"    total {plus} {left}[{x_place}] {times} {right}[{index_text(y, ['p', j])}];",
            f"{out}[{out_place}] = {'' if wide == kind else f'({kind})'}total;",
        ]
        return looped([(i, rows), (j, columns)], lines)
    columns_loop = f"for (long j = 0; j < {columns}; j++)"
    simd = ["#pragma omp simd"] if columns > 1 else []
    if inner == 1:
        x_i, y_j = index_text(x, [i, "0"]), index_text(y, ["0", "j"])
        place = index_text([columns, 1], [i, "j"])
        row = [*simd, columns_loop, f"    {out}[{place}] = {left}[{x_i}] {times} {right}[{y_j}];"]
        return looped([(i, rows)], row)
    is_long = columns > _LONG_ROW  # such a row is added up where it will stand
    place = f"{out}[{index_text([columns, 1], [i, 'j'])}]"
    total = place if is_long else "row[j]"
    lines = [
        *([] if is_long else [f"{kind} row[{columns}];"]),
        columns_loop,
        f"    {total} = 0;",
        f"for (long p = 0; p < {inner}; p++) {{",
        f"    const {kind} factor = {left}[{x_place}];",
        *(f"    {line}" for line in simd),
        f"    {columns_loop}",
        f"        {total} {plus} factor {times} {right}[{index_text(y, ['p', 'j'])}];",
        "}",
        *([] if is_long else [columns_loop, f"    {place} = row[j];"]),
    ]
    if i == "0":
        lines = ["{", *(f"    {line}" for line in lines), "}"]
    return looped([(i, rows)], lines)


KERNELS = {
    "matmul": Kernel(
        matmul,
        wants_blas=wants_blas,
        workspace=_workspace,
        shares=_shares,
        for_each_part=_for_each_part,
    )
}
