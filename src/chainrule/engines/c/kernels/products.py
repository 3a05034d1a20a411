"""Matrix products: by BLAS where they are large, as loops in registers where they are small."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from chainrule.compiler.graph import Equation
from chainrule.engines.c.access import Access, contiguous_strides, index_text
from chainrule.engines.c.blocks import block, looped
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.engines.c.kernels.tiles import Tile, best_tile, n_cycles
from chainrule.engines.c.multiplication import multiplication_name
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


def _workspace(equation: Equation) -> int:
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
    if _workspace(equation):
        own = _in_tiles(names, x.strides[-2:], y.strides[-2:], sizes, out.c_type)
    else:
        own = _product(names, x.strides[-2:], y.strides[-2:], sizes, out.c_type)
    if wants_blas(equation) and _lies(x)[0] and _lies(y)[0]:
        call = _blas_call(names, x, y, sizes)
        own = [
            *block(f"if (product && {prod(sizes)} >= WORTH_BLAS)", call)[:-1],
            *block("} else", own),
        ]
    lines += own
    return looped(list(zip(loops, stack, strict=True)), lines)


def _blas_call(
    names: tuple[str, str, str], x: Access, y: Access, sizes: tuple[int, int, int]
) -> list[str]:
    """The product by BLAS: rows one after the other (101), each operand as it lies (111) or by
    columns (112), and how far apart its rows or columns are.
    """
    rows, inner, columns = sizes
    one, zero = literal(1, x.dtype), literal(0, x.dtype)
    x_lies, x_step = _lies(x)
    y_lies, y_step = _lies(y)
    left, right, out = names
    return [
        f"product(101, {x_lies}, {y_lies}, {rows}, {columns}, {inner}, {one}, {left}, {x_step},",
        f"        {right}, {y_step}, {zero}, {out}, {columns});",
    ]


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


def _in_tiles(
    names: tuple[str, str, str],
    x: Sequence[int],
    y: Sequence[int],
    sizes: tuple[int, int, int],
    kind: str,
) -> list[str]:
    """One product with tiles of the result in registers."""
    rows, inner, columns = sizes
    left, right, out = names
    tile = _tile(rows, columns, kind)
    call = f"{multiplication_name(tile.columns, tile.lanes, kind)}("
    x_steps, y_steps = f"{x[0]}, {x[1]}", f"{y[0]}, {y[1]}"
    return [
        f"{call}{rows}, {inner}, {columns}, {left}, {x_steps}, {right}, {y_steps},",
        f"{' ' * len(call)}{out}, workspace);",
    ]


def _product(
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


KERNELS = {"matmul": Kernel(matmul, wants_blas=wants_blas, workspace=_workspace)}
