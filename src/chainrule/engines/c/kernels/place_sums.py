"""Convolution as sums over what lies under a kernel, of tiles of places × lanes, as C text.

Written for the cotangent by the images too, which is a convolution of another source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from typing import final

from chainrule.engines.c.blocks import block, count, nest, tiled
from chainrule.engines.c.indices import affine
from chainrule.engines.c.kernels.pointers import Finish, as_it_is
from chainrule.engines.c.kernels.sweeps import Border, Sweep
from chainrule.engines.c.kernels.tiles import SIMD, Tile, best_tile
from chainrule.engines.c.sharing import cache_lines, part_loop, part_of

__all__ = ["Axes", "Fold", "PlaceSums", "bordered_image", "n_bordered"]

Shape = tuple[int, ...]
Axes = tuple[Sweep, Sweep]


@final
@dataclass(frozen=True, slots=True)
class Fold:
    """How the sums at the places of a line are added up in a line of the result.

    For each place, `taps` elements of the kernel side by side, of which element j stands at place *
    stride + j * dilation - before.
    """

    taps: int
    stride: int
    dilation: int
    before: int


@final
@dataclass(frozen=True, slots=True)
class PlaceSums:
    """Sums of a source under a kernel, at the places of some sweeps.

    The source is (N, H, W, groups * channels), and gets a border; the result (N, OH, OW, groups *
    lanes). For group g, source channel c and lane l, the kernel's element is number
    `g * group_step + c * channel_step + l * lane_step` of those of its tap. Where it is
    channelwise, lane l is summed over channel l of the source alone. Where it is shared, each part
    of the images has memory of its own.
    """

    comment: tuple[str, ...]
    source: Shape
    kernel: Shape
    result: Shape
    borders: tuple[Border, Border]
    phases: tuple[Axes, ...]
    groups: int
    group_step: int
    channel_step: int
    lane_step: int
    ctype: str
    fold: Fold | None = None
    is_channelwise: bool = False
    is_shared: bool = False

    @property
    def channels(self) -> int:
        """Channels of the source that a sum goes over."""
        return 1 if self.is_channelwise else self.source[3] // self.groups

    @property
    def n_lanes(self) -> int:
        """Channels of the result in a group, of all elements that are folded."""
        return self.result[3] // self.groups * (self.fold.taps if self.fold else 1)

    @property
    def n_parts(self) -> int:
        """Sums at the places of a line, which are to be folded."""
        return self.phases[0][1].n * self.groups * self.n_lanes if self.fold else 0

    @property
    def n_line(self) -> int:
        """Elements of a line of the result, with what the fold puts beside it."""
        if self.fold is None:
            return 0
        fold = self.fold
        behind = (self.phases[0][1].n - 1) * fold.stride + (fold.taps - 1) * fold.dilation + 1
        return max(behind, fold.before + self.result[2]) * self.result[3]

    @property
    def is_packed(self) -> bool:
        """Whether the weights are not read in the order in which they are given."""
        read = list(filter(_has_taps, self.phases))
        is_turned = any(sweep.tap_step != 1 for axes in read for sweep in axes)
        has_blocks = any(self.tile(axes).lanes != self.n_lanes for axes in read)
        return is_turned or has_blocks or (self.groups > 1 and bool(read))

    @property
    def n_packed(self) -> int:
        """Weights in the workspace."""
        return sum(self.n_blocks(axes) * self.block_size(axes) for axes in self.phases)

    @property
    def workspace(self) -> int:
        """Elements of the workspace: the weights, and what is there for an image."""
        packed = self.n_packed if self.is_packed else 0
        return cache_lines(packed) if self.is_shared else packed + self.n_own

    @property
    def n_own(self) -> int:
        """Elements for an image: itself with its border, and what is to be folded."""
        return n_bordered(self.source, self.sides) + self.n_parts + self.n_line

    @property
    def for_each_part(self) -> int:
        """Elements of the workspace that each part has for itself."""
        return cache_lines(self.n_own) if self.is_shared else 0

    @property
    def skips_lines(self) -> bool:
        """Whether there are zeros above or below: they are left out, as lines of the source."""
        return any(self.borders[0])

    @property
    def sides(self) -> tuple[Border, Border]:
        """The border that is written down."""
        return (0, 0), self.borders[1]

    def tile(self, axes: Axes) -> Tile:
        rows, columns = axes
        n_rows = 1 if self.skips_lines or self.fold else rows.n
        tile = best_tile(n_rows, columns.n, self.n_lanes, self.ctype)
        return tile.within(self.n_lanes) if self.is_channelwise else tile

    def n_blocks(self, axes: Axes) -> int:
        """Tiles of lanes in all groups."""
        return self.groups * ceil(self.n_lanes / self.tile(axes).lanes)

    def block_size(self, axes: Axes) -> int:
        """The weights of a tile of lanes."""
        return axes[0].n_taps * axes[1].n_taps * self.channels * self.tile(axes).lanes

    def write(self, source: str, kernel: str, out: str, finish: Finish) -> list[str]:
        """The body of the function."""
        T = self.ctype
        lines, memory, first = list(self.comment), "workspace", 0
        weights = kernel
        if self.is_packed:
            weights, first = "packed", self.n_packed
            lines += self._pack(kernel)
        own: list[str] = []
        if self.for_each_part:
            part = affine(self.workspace, (self.for_each_part, "part"))
            own, memory, first = [f"{T} *own = workspace + {part};"], "own", 0
        border = f"{memory} + {first}" if first else memory
        before, inner = bordered_image(self.source, self.sides, source, border, T)
        inner.append(f"{T} *result = {out} + {prod(self.result[1:])} * n;")
        if not any(map(_has_taps, self.phases)):
            before.append(f"(void){kernel};")
        if self.fold:
            first += n_bordered(self.source, self.sides)
            at = f"{memory} + {first}" if first else memory
            before.append(f"{T} *places = {at}, *line = places + {self.n_parts};")
        first = 0
        for axes in self.phases:
            at = f"{weights} + {first}" if first else weights
            lines_of_phase = self._phase(axes, at, finish)
            inner += lines_of_phase if len(self.phases) == 1 else block("", lines_of_phase)
            first += self.n_blocks(axes) * self.block_size(axes)
        if not self.is_shared:
            return [*lines, *before, *block(count("n", self.source[0]), inner)]
        begin, end = part_of(self.source[0])
        images = block(count("n", end, first=begin), inner)
        return [*lines, *part_loop([*own, *before, *images])]

    def _pack(self, kernel: str) -> list[str]:
        """The weights in the order in which they are read, with zeros behind a group's last."""
        lines = [
            "/* The weights of a tile side by side, in the order in which the sums read them. */",
            f"{self.ctype} *packed = workspace;",
        ]
        for axes in self.phases:
            if _has_taps(axes):
                lines += self._blocks(axes, self._packed_block(axes, kernel))
        return [*lines, "packed = workspace;"]

    def _packed_block(self, axes: Axes, kernel: str) -> Callable[[str, str], list[str]]:
        """The weights of a tile of lanes, for a group and the first lane."""
        rows, columns = axes
        lanes = self.tile(axes).lanes
        _, width, per_channel, filters = self.kernel
        tap = per_channel * filters

        def packed(group: str, first: str) -> list[str]:
            index = affine(
                (rows.tap_start * width + columns.tap_start) * tap,
                (rows.tap_step * width * tap, "i"),
                (columns.tap_step * tap, "j"),
                (self.group_step, group),
                (self.channel_step, "channel"),
                (self.lane_step, first),
                (self.lane_step, "lane"),
            )
            filled = min(lanes, self.n_lanes)
            copies = [nest([count("lane", filled)], f"packed[lane] = {kernel}[{index}];")]
            if filled < lanes:
                copies.append(nest([count("lane", lanes, first=filled)], "packed[lane] = 0;"))
            taps = [count("i", rows.n_taps), count("j", columns.n_taps)]
            channels = f"{count('channel', self.channels)[:-1]}, packed += {lanes})"
            return nest([*taps, channels], *(line for lines in copies for line in lines))

        return packed

    def _blocks(self, axes: Axes, body: Callable[[str, str], list[str]]) -> list[str]:
        """The body for every group and every first lane of a tile."""
        lanes = self.tile(axes).lanes

        def in_group(group: str) -> list[str]:
            return tiled("first", max(self.n_lanes, lanes), lanes, lambda first: body(group, first))

        return tiled("group", self.groups, 1, in_group)

    def _phase(self, axes: Axes, weights: str, finish: Finish) -> list[str]:
        """All tiles of a phase, from packed weights on."""
        rows, columns = axes
        if not _has_taps(axes):
            return self._untouched(axes, finish)
        tile = self.tile(axes)

        def line(row: str) -> list[str]:
            def tiles(group: str, first: str) -> list[str]:
                def body(column: str) -> list[str]:
                    return self._tile(axes, (group, first, row, column), finish)

                lines = tiled("column", columns.n, tile.columns, body)
                if self.n_blocks(axes) > 1:
                    lines.append(f"weights += {self.block_size(axes)};")
                return lines

            lines = [f"const {self.ctype} *weights = {weights};", *self._blocks(axes, tiles)]
            return lines + (self._folded(axes, row, finish) if self.fold else [])

        places = f"{tile.rows} × {tile.columns}" if tile.rows > 1 else f"{tile.columns}"
        return [
            f"/* Tiles of {places} places × {tile.lanes} lanes are summed in registers: what is",
            "   read of the source serves all lanes, and a weight all places. */",
            *tiled("row", rows.n, tile.rows, line),
        ]

    def _folded(self, axes: Axes, row: str, finish: Finish) -> list[str]:
        """The parts of a line, put where the kernel stands, and added up."""
        assert self.fold
        fold, n, (_, _, width, channels) = self.fold, axes[1].n, self.result
        per_group = channels // self.groups
        is_run = self.groups == 1 and fold.dilation == 1
        heads = [count("place", n)]
        if not is_run:
            heads += [count("group", self.groups), count("j", fold.taps)]
        to = affine(
            (fold.stride * channels, "place"),
            (0 if is_run else fold.dilation * channels, "j"),
            (0 if is_run else per_group, "group"),
            (1, "k"),
        )
        of = affine(
            (self.groups * self.n_lanes, "place"),
            (0 if is_run else self.n_lanes, "group"),
            (0 if is_run else per_group, "j"),
            (1, "k"),
        )
        first = affine((1, self._in_result(axes, row, "0")), (channels, "column"), (1, "channel"))
        value = f"line[{affine((channels, 'column'), (1, 'channel'), fold.before * channels)}]"
        return [
            "/* Each place's part is added where its kernel stands. */",
            *nest([count("k", self.n_line)], "line[k] = 0;"),
            *nest(
                [*heads, count("k", self.n_lanes if is_run else per_group)],
                f"line[{to}] += places[{of}];",
            ),
            *nest(
                [count("column", width), count("channel", channels)],
                f"result[{first}] = {finish(value, 'channel')};",
            ),
        ]

    def _untouched(self, axes: Axes, finish: Finish) -> list[str]:
        """The elements of the result that no element of the kernel reaches: sums of nothing."""
        rows, columns = axes
        _, _, width, channels = self.result
        n_columns = width if self.fold else columns.n
        index = affine((1, self._in_result(axes, "row", "column")), (1, "channel"))
        heads = [count("row", rows.n), count("column", n_columns), count("channel", channels)]
        return nest(heads, f"result[{index}] = {finish('0', 'channel')};")

    def _in_result(self, axes: Axes, row: str, column: str) -> str:
        """The number of the first channel of a place in its image."""
        (rows, columns), (_, _, width, channels) = axes, self.result
        line = width * channels
        return affine(
            (rows.step * line, row),
            (columns.step * channels, column),
            rows.start * line + columns.start * channels,
        )

    def _tile(self, axes: Axes, at: tuple[str, str, str, str], finish: Finish) -> list[str]:
        """The sums of a tile: group, first lane, first row and column are expressions."""
        tile = self.tile(axes)
        place, lane = count("place", tile.rows * tile.columns), count("lane", tile.lanes)
        in_tile = ("0", "place")
        if tile.rows > 1:
            in_tile = (f"place / {tile.columns}", f"place % {tile.columns}")
        stored, channel = self._stored(axes, at, in_tile)
        if self.fold:
            finish = as_it_is
        lines = [
            f"{self.ctype} sum[{tile.rows * tile.columns}][{tile.lanes}];",
            *nest([place, SIMD, lane], "sum[place][lane] = 0;"),
            *self._added_up(axes, at, in_tile),
        ]
        if tile.lanes <= self.n_lanes:
            value = finish("sum[place][lane]", channel)
            return [*lines, *nest([place, SIMD, lane], f"{stored} = {value};")]
        # a loop over a part of the lanes would take the sums out of their registers
        value = finish("stored[lane]", channel)
        return [
            *lines,
            f"{self.ctype} stored[{tile.lanes}];",
            *nest(
                [place],
                *nest([SIMD, lane], "stored[lane] = sum[place][lane];"),
                *nest([count("lane", self.n_lanes)], f"{stored} = {value};"),
            ),
        ]

    def _added_up(
        self, axes: Axes, at: tuple[str, str, str, str], in_tile: tuple[str, str]
    ) -> list[str]:
        """What each element of the kernel meets at the places of a tile, added to its sums."""
        group, first, row, column = at
        rows, columns = axes
        tile, T, C = self.tile(axes), self.ctype, self.source[3]
        (top, _), (left, right) = self.borders
        line = (left + self.source[2] + right) * C
        # channels of neighbouring elements of the kernel that lie side by side are one loop
        is_run = columns.spread == 1 and self.groups == 1 and not self.is_channelwise
        n_channels = columns.n_taps * C if is_run else self.channels
        tap = "i" if rows.n_taps > 1 or self.skips_lines else "0"
        met = affine((rows.stride, row), (rows.spread, tap), rows.first - top)
        pixel = affine(
            (line, "line" if self.skips_lines else met),
            (columns.stride * C, column),
            (columns.spread * C, "0" if is_run or columns.n_taps == 1 else "j"),
            (self.channels, group),
            (int(self.is_channelwise), first),
            columns.first * C,
        )
        read = affine(
            (1, affine((rows.stride * line, in_tile[0]), (columns.stride * C, in_tile[1]))),
            (1, "lane" if self.is_channelwise else "channel"),
        )
        over_places = [count("place", tile.rows * tile.columns), SIMD, count("lane", tile.lanes)]
        lines = [
            f"const {T} *pixel = image + {pixel};",
            *block(
                f"{count('channel', n_channels)[:-1]}, weight += {tile.lanes})",
                nest(over_places, f"sum[place][lane] += pixel[{read}] * weight[lane];"),
            ),
        ]
        if is_run and columns.n_taps > 1:
            lines = ["/* The elements j and channels c, which lie side by side. */", *lines]
        elif columns.n_taps > 1:
            lines = block(count("j", columns.n_taps), lines)
        weight = affine((columns.n_taps * self.channels * tile.lanes, tap))
        lines = [f"const {T} *weight = weights{'' if weight == '0' else f' + {weight}'};", *lines]
        if self.skips_lines:
            outside = f"if (line < 0 || line >= {self.source[1]}) continue; /* a line of zeros */"
            lines = [f"int line = {met};", outside, *lines]
        return block(count("i", rows.n_taps) if tap == "i" else "", lines)

    def _stored(
        self, axes: Axes, at: tuple[str, str, str, str], in_tile: tuple[str, str]
    ) -> tuple[str, str]:
        """Where the sum of a place and a lane goes, and the number of its channel."""
        group, first, row, column = at
        rows, columns = axes
        channel = affine((self.n_lanes, group), (1, first), (1, "lane"))
        if self.fold:
            channels = self.groups * self.n_lanes
            number = affine((channels, column), (channels, "place"), (1, channel))
            return f"places[{number}]", channel
        _, _, width, channels = self.result
        number = affine(
            (1, self._in_result(axes, row, column)),
            (rows.step * width * channels, in_tile[0]),
            (columns.step * channels, in_tile[1]),
            (1, channel),
        )
        return f"result[{number}]", channel


def _has_taps(axes: Axes) -> bool:
    """Whether any element of the kernel reaches the places of a phase."""
    return all(sweep.n_taps for sweep in axes)


# Images with a border


def n_bordered(shape: Shape, borders: tuple[Border, Border]) -> int:
    """The elements of an image with its border, 0 where it has none."""
    if not any(map(any, borders)):
        return 0
    (top, bottom), (left, right) = borders
    return (top + shape[1] + bottom) * (left + shape[2] + right) * shape[3]


def bordered_image(
    shape: Shape, borders: tuple[Border, Border], source: str, memory: str, ctype: str
) -> tuple[list[str], list[str]]:
    """What makes `image` the image n, between zeros: lines before all images, and for each."""
    _, height, width, channels = shape
    if not any(map(any, borders)):
        return [], [f"const {ctype} *image = {source} + {prod(shape[1:])} * n;"]
    (top, _), (left, right) = borders
    line, whole_line = width * channels, (left + width + right) * channels
    before = [
        f"{ctype} *image = {memory};",
        *nest([count("k", n_bordered(shape, borders))], "image[k] = 0;"),
    ]
    to = affine((whole_line, "row"), (1, "k"), top * whole_line + left * channels)
    of = affine((height * line, "n"), (line, "row"), (1, "k"))
    copy = nest([count("row", height), count("k", line)], f"image[{to}] = {source}[{of}];")
    return before, ["/* The image, in a border of zeros. */", *copy]
