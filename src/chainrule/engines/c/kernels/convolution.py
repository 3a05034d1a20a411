"""Convolution, and its cotangents by the images and by the kernel, as C loops for the shape.

All three are products of matrices whose rows need not be written down: a tile of the result is
summed in registers, in loops over the kernel's elements and channels. For the first two the lanes
of a tile are neighbouring filters (channels for the cotangent), for the last filters too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod
from typing import final

from chainrule.compiler.graph import Equation
from chainrule.engines.c.kernels.kernel import Finish, Kernel, block, c_type, count, named, nest
from chainrule.engines.c.kernels.sweeps import (
    Border,
    Sweep,
    convolution_sweep,
    transposed_sweeps,
)
from chainrule.engines.c.kernels.tiles import Tile, best_tile

__all__ = ["KERNELS"]

Shape = tuple[int, ...]
Axes = tuple[Sweep, Sweep]


@final
@dataclass(frozen=True, slots=True)
class _How:
    """The options of a convolution, by axis."""

    stride: tuple[int, int]
    padding: tuple[Border, Border]
    dilation: tuple[int, int]
    groups: int

    @staticmethod
    def of(equation: Equation) -> _How:
        told = {**equation.primitive.defaults, **equation.params}
        return _How(*(told[name] for name in ("stride", "padding", "dilation", "groups")))


# Convolution and its transposed


@final
@dataclass(frozen=True, slots=True)
class _Sum:
    """Sums of a source under a kernel, at the places of some sweeps.

    Source (N, H, W, groups * channels) with its border, result (N, H, W, groups * lanes). For
    group g, source channel c and lane l, the kernel's element is number `g * group_step +
    c * channel_step + l * lane_step` of the `tap_size` ones of its tap.
    """

    what: str
    source: Shape
    kernel: Shape
    result: Shape
    borders: tuple[Border, Border]
    phases: tuple[Axes, ...]
    groups: int
    channel_step: int
    lane_step: int
    group_step: int
    ctype: str

    @property
    def channels(self) -> int:
        return self.source[3] // self.groups

    @property
    def lanes(self) -> int:
        return self.result[3] // self.groups

    @property
    def item_bytes(self) -> int:
        return {"float": 4, "double": 8}[self.ctype]

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the source with its border."""
        (top, bottom), (left, right) = self.borders
        return top + self.source[1] + bottom, left + self.source[2] + right

    @property
    def has_border(self) -> bool:
        return any(map(any, self.borders))

    def tile(self, axes: Axes) -> Tile:
        rows, columns = axes
        return best_tile(rows.n, columns.n, self.lanes, self.item_bytes)

    @property
    def is_packed(self) -> bool:
        """Whether the weights of a tile's lanes do not lie in one piece as they are given."""
        axes = self.phases[0]
        is_turned = any(sweep.tap_step != 1 for sweep in axes)
        return is_turned or self.groups > 1 or self.tile(axes).lanes != self.lanes

    def n_weights(self, axes: Axes) -> int:
        """The elements of the packed kernel for the sweeps of a phase."""
        lanes = self.tile(axes).lanes
        n_taps = axes[0].n_taps * axes[1].n_taps
        return self.groups * ceil(self.lanes / lanes) * lanes * n_taps * self.channels

    @property
    def n_packed(self) -> int:
        return sum(map(self.n_weights, self.phases)) if self.is_packed else 0

    @property
    def workspace(self) -> int:
        return self.n_packed + (prod(self.frame) * self.source[3] if self.has_border else 0)


def _convolution(equation: Equation) -> _Sum:
    how, out = _How.of(equation), equation.out
    x, kernel = (v.shape for v in list(equation.variables)[:2])
    rows, columns = (
        convolution_sweep(out.shape[1 + i], kernel[i], how.stride[i], how.dilation[i])
        for i in range(2)
    )
    return _Sum(
        what="out[n, y, x, d] = sum over i, j, c of kernel[i, j, c, d] * image[n, y*s+i, x*s+j, c]",
        source=x,
        kernel=kernel,
        result=out.shape,
        borders=how.padding,
        phases=((rows, columns),),
        groups=how.groups,
        channel_step=kernel[3],
        lane_step=1,
        group_step=kernel[3] // how.groups,
        ctype=c_type(out),
    )


def _transposed(equation: Equation) -> _Sum:
    how, out = _How.of(equation), equation.out
    y, kernel = (v.shape for v in equation.variables)
    (rows, above), (columns, left) = (
        transposed_sweeps(
            out.shape[1 + i], y[1 + i], kernel[i], how.stride[i], how.padding[i][0], how.dilation[i]
        )
        for i in range(2)
    )
    return _Sum(
        what="out[n, y*s+i, x*s+j, c] += kernel[i, j, c, d] * y[n, y, x, d]",
        source=y,
        kernel=kernel,
        result=out.shape,
        borders=(above, left),
        phases=tuple((row, column) for row in rows for column in columns),
        groups=how.groups,
        channel_step=1,
        lane_step=kernel[3],
        group_step=kernel[3] // how.groups,
        ctype=c_type(out),
    )


def _write_sum(this: _Sum, source: str, kernel: str, out: str, finish: Finish) -> list[str]:
    """The body of the function."""
    T, n_images = this.ctype, this.source[0]
    lines = [
        f"/* {this.what}",
        f"   source {this.source}, kernel {this.kernel}, out {this.result} */",
    ]
    weights = kernel
    if this.is_packed:
        weights = "packed"
        lines += [f"{T} *packed = workspace;", *_pack(this, kernel)]
    inner = []
    if this.has_border:
        lines.append(f"{T} *frame = workspace + {this.n_packed};")
        lines += _clear("frame", prod(this.frame) * this.source[3])
        inner += _copy_image(this.source, this.borders, source, "frame")
        inner.append(f"const {T} *image = frame;")
    else:
        size = prod(this.source[1:])
        inner.append(f"const {T} *image = {source} + n * {size};")
    inner.append(f"{T} *result = {out} + n * {prod(this.result[1:])};")
    first = 0
    for axes in this.phases:
        inner += _phase(this, axes, f"{weights} + {first}" if first else weights, finish)
        first += this.n_weights(axes)
    return lines + block(count("n", n_images), inner)


def _pack(this: _Sum, kernel: str) -> list[str]:
    """The weights in the order in which the sums read them, zeros for lanes that are none."""
    (_, width, per_channel, filters) = this.kernel
    tap_size = per_channel * filters
    lines = []
    for rows, columns in this.phases:
        lanes = this.tile((rows, columns)).lanes
        i = f"({rows.tap_start} + {rows.tap_step} * i)"
        j = f"({columns.tap_start} + {columns.tap_step} * j)"
        element = (
            f"{kernel}[({i} * {width} + {j}) * {tap_size} + group * {this.group_step} "
            f"+ channel * {this.channel_step} + (first + lane) * {this.lane_step}]"
        )
        value = element
        if this.lanes % lanes:
            value = f"first + lane < {this.lanes} ? {element} : 0"
        lines += nest(
            [
                count("group", this.groups),
                count("first", this.lanes, lanes),
                count("i", rows.n_taps),
                count("j", columns.n_taps),
                count("channel", this.channels),
                count("lane", lanes),
            ],
            f"*packed++ = {value};",
        )
    return [*lines, "packed = workspace;"]


def _clear(pointer: str, n: int) -> list[str]:
    return nest([count("k", n)], f"{pointer}[k] = 0;")


def _copy_image(shape: Shape, borders: tuple[Border, Border], source: str, to: str) -> list[str]:
    """Image n between its borders."""
    _, height, width, channels = shape
    (top, _), (left, right) = borders
    line, frame_line = width * channels, (left + width + right) * channels
    first = top * frame_line + left * channels
    return nest(
        [count("row", height), count("k", line)],
        f"{to}[{first} + row * {frame_line} + k] = {source}[(n * {height} + row) * {line} + k];",
    )


def _phase(this: _Sum, axes: Axes, weights: str, finish: Finish) -> list[str]:
    """All groups, blocks of lanes and tiles of places of a phase."""
    rows, columns = axes
    if not (rows.n_taps and columns.n_taps):
        return _untouched(this, axes, finish)
    tile = this.tile(axes)
    T = this.ctype
    n_taps = rows.n_taps * columns.n_taps
    n_blocks = ceil(this.lanes / tile.lanes)
    block_size = n_taps * this.channels * tile.lanes
    body = _tile(this, axes, tile, finish)
    body = _tiles("row", rows.n, tile.rows, _tiles("column", columns.n, tile.columns, body))
    body = [
        f"const {T} *weights = {weights} + (group * {n_blocks} + first / {tile.lanes})"
        f" * {block_size};",
        *body,
    ]
    return block(count("group", this.groups), block(count("first", this.lanes, tile.lanes), body))


def _untouched(this: _Sum, axes: Axes, finish: Finish) -> list[str]:
    """The elements of the result that no element of the kernel reaches: sums of nothing."""
    rows, columns = axes
    _, _, width, n_lanes = this.result
    at = (
        f"(({rows.start} + row * {rows.step}) * {width} + "
        f"{columns.start} + column * {columns.step}) * {n_lanes} + lane"
    )
    heads = [count("row", rows.n), count("column", columns.n), count("lane", n_lanes)]
    return nest(heads, f"result[{at}] = {finish('0', 'lane')};")


def _tiles(index: str, n: int, size: int, body: list[str]) -> list[str]:
    """A loop over tiles along an axis; the last one reaches back where they do not fit."""
    if n % size == 0:
        return block(count(index, n, size), body)
    last = n - size
    return block(
        count(f"{index}_tile", n, size),
        [f"int {index} = {index}_tile < {last} ? {index}_tile : {last};", *body],
    )


def _tile(this: _Sum, axes: Axes, tile: Tile, finish: Finish) -> list[str]:
    rows, columns = axes
    T, channels = this.ctype, this.source[3]
    line = this.frame[1] * channels
    places = [count("r", tile.rows), count("p", tile.columns)]
    lanes = count("lane", tile.lanes)
    lines = [
        f"{T} sum[{tile.rows}][{tile.columns}][{tile.lanes}];",
        *nest([*places, lanes], "sum[r][p][lane] = 0;"),
    ]
    first = rows.first * line + columns.first * channels
    offset = (
        f"{first} + (row * {rows.stride} + i * {rows.spread}) * {line} + "
        f"(column * {columns.stride} + j * {columns.spread}) * {channels} + "
        f"group * {this.channels}"
    )
    step = (
        f"sum[r][p][lane] += pixel[r * {rows.stride * line} + "
        f"p * {columns.stride * channels} + channel] * weight[lane];"
    )
    lines.append(f"const {T} *weight = weights;")
    inner = block(
        count("channel", this.channels),
        [*nest([*places, lanes], step), f"weight += {tile.lanes};"],
    )
    lines += block(
        count("i", rows.n_taps),
        block(
            count("j", columns.n_taps),
            [f"const {T} *pixel = image + {offset};", *inner],
        ),
    )
    _, _, width, n_lanes = this.result
    at = (
        f"(({rows.start} + (row + r) * {rows.step}) * {width} + "
        f"{columns.start} + (column + p) * {columns.step}) * {n_lanes} + "
    )
    index = f"group * {this.lanes} + first + lane"
    stored = f"result[{at}{index}] = {finish('sum[r][p][lane]', index)};"
    if this.lanes % tile.lanes:
        lanes = f"for (int lane = 0; lane < {tile.lanes} && first + lane < {this.lanes}; lane++)"
    return lines + nest([*places, lanes], stored)


# The cotangent by the kernel


def _write_kernel_vjp(equation: Equation, pointers: Sequence[str]) -> list[str]:
    how, out = _How.of(equation), equation.out
    x, y = (v.shape for v in equation.variables)
    image, g, result = pointers
    T = c_type(out)
    height, width, channels, filters = out.shape
    per_group = filters // how.groups
    (top, bottom), (left, right) = how.padding
    frame = (top + x[1] + bottom, left + x[2] + right)
    lines = [
        "/* out[i, j, c, d] = sum over n, y, x of image[n, y*s+i, x*s+j, c] * y[n, y, x, d]",
        f"   image {x}, y {y}, out {out.shape} */",
        *_clear(result, out.size),
    ]
    inner = []
    if any(map(any, how.padding)):
        lines.append(f"{T} *frame = workspace;")
        lines += _clear("frame", prod(frame) * x[3])
        inner += _copy_image(x, how.padding, image, "frame")
        inner.append(f"const {T} *image = frame;")
    else:
        inner.append(f"const {T} *image = {image} + n * {prod(x[1:])};")
    inner.append(f"const {T} *cotangent = {g} + n * {prod(y[1:])};")
    at = (
        f"((row * {how.stride[0]} + i * {how.dilation[0]}) * {frame[1]} + "
        f"column * {how.stride[1]} + j * {how.dilation[1]}) * {x[3]} + "
        f"group * {channels} + channel"
    )
    inner += nest(
        [
            count("row", y[1]),
            count("column", y[2]),
            count("i", height),
            count("j", width),
            count("group", how.groups),
            count("channel", channels),
            count("d", per_group),
        ],
        f"{result}[((i * {width} + j) * {channels} + channel) * {filters} + group * {per_group} "
        f"+ d] += image[{at}] * cotangent[(row * {y[2]} + column) * {filters} "
        f"+ group * {per_group} + d];",
    )
    return lines + block(count("n", x[0]), inner)


def _kernel_vjp_workspace(equation: Equation) -> int:
    how = _How.of(equation)
    x = next(equation.variables).shape
    (top, bottom), (left, right) = how.padding
    if not any(map(any, how.padding)):
        return 0
    return (top + x[1] + bottom) * (left + x[2] + right) * x[3]


# The table


def _as_it_is(value: str, index: str) -> str:
    return value


def _write_convolve(
    equation: Equation, pointers: Sequence[str], finish: Finish = _as_it_is
) -> list[str]:
    x, kernel, out = pointers
    return _write_sum(_convolution(equation), x, kernel, out, finish)


def _write_convolve_add(
    equation: Equation, pointers: Sequence[str], finish: Finish = _as_it_is
) -> list[str]:
    x, kernel, bias, out = pointers
    return _write_sum(
        _convolution(equation),
        x,
        kernel,
        out,
        lambda value, index: finish(f"{value} + {bias}[{index}]", index),
    )


def _write_transposed(
    equation: Equation, pointers: Sequence[str], finish: Finish = _as_it_is
) -> list[str]:
    y, kernel, out = pointers
    return _write_sum(_transposed(equation), y, kernel, out, finish)


def _convolution_workspace(equation: Equation) -> int:
    return _convolution(equation).workspace


def _transposed_workspace(equation: Equation) -> int:
    return _transposed(equation).workspace


KERNELS: dict[str, Kernel] = {
    "convolve": Kernel(named(_write_convolve), _convolution_workspace),
    "convolve_add": Kernel(named(_write_convolve_add), _convolution_workspace),
    "convolve_kernel_vjp": Kernel(named(_write_kernel_vjp), _kernel_vjp_workspace),
    "convolve_transpose": Kernel(named(_write_transposed), _transposed_workspace),
}
"""The kernels by the names of their primitives."""
