"""The cotangent of a convolution's kernel, as sums over the places of all images, as C text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, prod
from typing import final

from chainrule.engines.c.blocks import block, count, nest, tiled
from chainrule.engines.c.indices import affine
from chainrule.engines.c.kernels.place_sums import bordered_image, n_bordered
from chainrule.engines.c.kernels.pointers import Finish
from chainrule.engines.c.kernels.sweeps import Border
from chainrule.engines.c.kernels.tiles import SIMD, Tile, best_tile
from chainrule.engines.c.sharing import cache_lines, part_loop, part_of

__all__ = ["KernelSums"]

Shape = tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class KernelSums:
    """For images (N, H, W, C) and y (N, OH, OW, D): the result (KH, KW, C // groups, D).

    Elements of the kernel that meet neighbours in memory are the columns of a tile, and its lanes
    are filters; where it is channelwise, each channel having one filter of its own, the columns are
    the elements of one line of the kernel. A tile has its own part of the workspace, where the
    images are added up, in their order; so tiles may overlap, and lanes that are no filters do no
    harm. Where it is shared, a part has some of the tiles, of all images in their order: so the
    sums are the same, however many parts there are.
    """

    comment: tuple[str, ...]
    image: Shape
    y: Shape
    result: Shape
    stride: tuple[int, int]
    borders: tuple[Border, Border]
    dilation: tuple[int, int]
    groups: int
    ctype: str
    is_channelwise: bool = False
    is_shared: bool = False

    @property
    def n_lanes(self) -> int:
        """Filters in a group."""
        return self.y[3] // self.groups

    @property
    def line(self) -> int:
        """Elements of a line of an image with its border."""
        (_, _), (left, right) = self.borders
        return (left + self.image[2] + right) * self.image[3]

    @property
    def axes(self) -> tuple[tuple[int, int], ...]:
        """The kernel without its filters: the length of an axis and its step in an image.

        The channels of its neighbouring elements are one axis where they lie side by side.
        """
        height, width, channels, _ = self.result
        down, across = self.dilation[0] * self.line, self.dilation[1] * self.image[3]
        if self.is_channelwise:
            return (1, 0), (height, down), (width, across)
        if across == channels:
            return (1, 0), (height, down), (width * channels, 1)
        return (height, down), (width, across), (channels, 1)

    @property
    def tile(self) -> Tile:
        _, (n_rows, _), (n_columns, _) = self.axes
        tile = best_tile(n_rows, n_columns, self.n_lanes, self.ctype)
        return tile.within(self.n_lanes) if self.is_channelwise else tile

    @property
    def n_tiles(self) -> int:
        tile = self.tile
        (n_outer, _), (n_rows, _), (n_columns, _) = self.axes
        n_tiles = self.groups * ceil(self.n_lanes / tile.lanes) * n_outer
        return n_tiles * ceil(n_rows / tile.rows) * ceil(n_columns / tile.columns)

    @property
    def tile_size(self) -> int:
        """Elements of a tile."""
        return self.tile.rows * self.tile.columns * self.tile.lanes

    @property
    def n_sums(self) -> int:
        """Elements of all tiles."""
        return self.n_tiles * self.tile_size

    @property
    def reads_behind(self) -> int:
        """How many elements behind y the lanes of the last place reach."""
        return max(0, self.tile.lanes - self.n_lanes)

    @property
    def workspace(self) -> int:
        """Elements of the workspace: all sums, and what is there for an image."""
        return cache_lines(self.n_sums) if self.is_shared else self.n_sums + self.n_own

    @property
    def n_own(self) -> int:
        """Elements for an image: itself with its border, and the last y."""
        last = prod(self.y[1:]) + self.reads_behind if self.reads_behind else 0
        return n_bordered(self.image, self.borders) + last

    @property
    def for_each_part(self) -> int:
        """Elements of the workspace that each part has for itself."""
        return cache_lines(self.n_own) if self.is_shared else 0

    def write(self, image: str, y: str, out: str, finish: Finish) -> list[str]:
        """The body of the function."""
        T, tile = self.ctype, self.tile
        memory, first = "workspace", self.n_sums
        own: list[str] = []
        if self.for_each_part:
            part = affine(self.workspace, (self.for_each_part, "part"))
            own, memory, first = [f"{T} *own = workspace + {part};"], "own", 0
        border = f"{memory} + {first}" if first else memory
        before, inner = bordered_image(self.image, self.borders, image, border, T)
        size = prod(self.y[1:])
        inner.append(f"const {T} *cotangent = {y} + {size} * n;")
        if self.reads_behind:
            first += n_bordered(self.image, self.borders)
            before += [
                f"{T} *last = {memory} + {first};" if first else f"{T} *last = {memory};",
                *nest([count("k", size + self.reads_behind)], "last[k] = 0;"),
            ]
            copy = [*nest([count("k", size)], "last[k] = cotangent[k];"), "cotangent = last;"]
            inner.append(
                "/* The lanes reach behind a place, and of the last image behind its end. */"
            )
            inner += block(f"if (n == {self.y[0] - 1})", copy)
        places = f"{tile.rows} × {tile.columns}" if tile.rows > 1 else f"{tile.columns}"
        inner += [
            f"/* Tiles of {places} elements × {tile.lanes} filters are summed in registers: what",
            "   is read of the image serves all filters, and of the cotangent all elements. */",
            f"{T} *total = workspace;",
            *self._tiles(self._own_tile if self.is_shared else self._tile),
        ]
        images = [*before, *block(count("n", self.image[0]), inner)]
        if self.is_shared:
            bounds = [
                f"workspace + {self.tile_size} * ({place})" for place in part_of(self.n_tiles)
            ]
            no_tiles = "if (begin == end) continue;"
            images = part_loop(
                [f"const {T} *begin = {bounds[0]}, *end = {bounds[1]};", no_tiles, *own, *images]
            )
        return [
            *self.comment,
            *nest([count("k", self.n_sums)], "workspace[k] = 0;"),
            *images,
            f"const {T} *total = workspace;",
            *self._tiles(lambda *at: self._stored(out, finish, *at)),
        ]

    def _own_tile(self, *at: str) -> list[str]:
        """A tile, where it is one of the thread's."""
        return block("if (total >= begin && total < end)", self._tile(*at))

    def _tiles(self, body: Callable[..., list[str]]) -> list[str]:
        """The body for every group, first filter, and first element along each of the axes."""
        tile = self.tile
        (n_outer, _), (n_rows, _), (n_columns, _) = self.axes
        names = ("", "i", "start") if n_outer == 1 else ("i", "j", "start")
        step = f"total += {self.tile_size};"

        def columns(*at: str) -> list[str]:
            return tiled(names[2], n_columns, tile.columns, lambda e: [*body(*at, e), step])

        def rows(*at: str) -> list[str]:
            return tiled(names[1], n_rows, tile.rows, lambda j: columns(*at, j))

        def outer(*at: str) -> list[str]:
            return tiled(names[0], n_outer, 1, lambda i: rows(*at, i))

        def filters(group: str) -> list[str]:
            n = max(self.n_lanes, tile.lanes)
            return tiled("first", n, tile.lanes, lambda first: outer(group, first))

        return tiled("group", self.groups, 1, filters)

    def _within(self) -> tuple[str, str]:
        """Row and column of an element of a tile."""
        tile = self.tile
        if tile.rows == 1:
            return "0", "element"
        return f"element / {tile.columns}", f"element % {tile.columns}"

    def _tile(self, group: str, first: str, i: str, j: str, e: str) -> list[str]:
        tile, T, C = self.tile, self.ctype, self.image[3]
        (_, outer), (_, row), (_, column) = self.axes
        in_row, in_column = self._within()
        n = tile.rows * tile.columns
        element, lane = count("element", n), count("lane", tile.lanes)
        pixel = affine(
            (self.stride[0] * self.line, "row"),
            (outer, i),
            (row, j),
            (column, e),
            (C // self.groups, group),
            (int(self.is_channelwise), first),
        )
        cotangent = affine((self.y[2] * self.y[3], "row"), (self.n_lanes, group), (1, first))
        of_image = (int(self.is_channelwise), "lane")
        read = affine((row, in_row), (column, in_column), of_image)
        product = f"sum[element][lane] += pixel[{read}] * g[lane];"
        columns = (
            f"{count('column', self.y[2])[:-1]}, pixel += {self.stride[1] * C}, g += {self.y[3]})"
        )
        return [
            f"{T} sum[{n}][{tile.lanes}];",
            *nest([element, SIMD, lane], "sum[element][lane] = 0;"),
            *block(
                count("row", self.y[1]),
                [
                    f"const {T} *pixel = image + {pixel};",
                    f"const {T} *g = cotangent + {cotangent};",
                    *block(columns, nest([element, SIMD, lane], product)),
                ],
            ),
            *nest(
                [element, SIMD, lane],
                f"total[{affine((tile.lanes, 'element'), (1, 'lane'))}] += sum[element][lane];",
            ),
        ]

    def _stored(
        self, out: str, finish: Finish, group: str, first: str, i: str, j: str, e: str
    ) -> list[str]:
        tile = self.tile
        _, width, channels, filters = self.result
        is_run = self.axes[0] == (1, 0)
        sizes = (0, width * channels, 1) if is_run else (width * channels, channels, 1)
        in_row, in_column = self._within()
        channel = affine((self.n_lanes, group), (1, first), (1, "lane"))
        to = affine(
            *((size * filters, at) for size, at in zip(sizes, (i, j, e), strict=True)),
            (sizes[1] * filters, in_row),
            (filters, in_column),
            (1, channel),
        )
        heads = [count("element", tile.rows * tile.columns)]
        heads.append(count("lane", min(tile.lanes, self.n_lanes)))
        total = f"total[{affine((tile.lanes, 'element'), (1, 'lane'))}]"
        return nest(heads, f"{out}[{to}] = {finish(total, channel)};")
