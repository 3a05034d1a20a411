"""A finished picture: as text, in notebooks, as a file."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import final

from chainrule.files import replacing
from chainrule.see.draw.arrange import arrange
from chainrule.see.draw.level import Level, Node, TextLine
from chainrule.see.draw.shapes import Box, Group, Shape, Text
from chainrule.see.draw.style import width_of
from chainrule.see.draw.svg import html_page, svg_document

__all__ = ["SUFFIXES", "Drawing"]

_MARGIN = 18.0
_LEGEND_HEIGHT = 40.0
_NOTEBOOK_WIDTH, _NOTEBOOK_HEIGHT = 1100.0, 1500.0  # pixels
_NOTEBOOK_BYTES = 1_500_000

SUFFIXES = (".svg", ".html", ".png", ".pdf")
"""Of the files that a picture can be saved as."""


@final
class Drawing:
    """A picture: shown by notebooks, kept by `save`, read in `svg`.

    In a browser, a box with + opens by a click, a rest of the pointer shows the numbers of what is
    below it, and a click keeps them.

    >>> import chainrule as cr
    >>> drawing = cr.draw(lambda x: x**2, 3.0)
    >>> drawing
    Drawing('f(x)': 2 boxes, ...)
    >>> "d_x = 6" in drawing.svg
    True
    """

    def __init__(self, level: Level, title: str, description: str) -> None:
        self.level = level
        self.title = title
        self.description = description

    @cached_property
    def svg(self) -> str:
        """The picture as the text of an SVG file."""
        shapes, width, height = self._framed
        return svg_document(shapes, width, height, self.title, self.description)

    @property
    def html(self) -> str:
        """The picture as the text of a page for a browser."""
        return html_page(self.svg, self.title)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        return self._framed[1:]

    def beside(self, *others: Drawing, title: str | None = None) -> Drawing:
        """This picture and others, from left to right, each below its title."""
        drawings = (self, *others)
        panels = tuple(
            Node((TextLine(drawing.title, "name"),), "panel", inner=drawing.level, is_open=True)
            for drawing in drawings
        )
        legend = dict.fromkeys(entry for drawing in drawings for entry in drawing.level.legend)
        level = Level(panels, ranks=(0,) * len(panels), legend=tuple(legend))
        return Drawing(
            level,
            " | ".join(drawing.title for drawing in drawings) if title is None else title,
            " ".join(drawing.description for drawing in drawings),
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture in the format of the path's suffix, and return the path.

        .svg and .html need nothing; .png and .pdf need matplotlib, and show what is open at first.
        The file is written beside and renamed; the folder is made where absent. Raises ValueError
        for another suffix.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ValueError(
                f"a picture is saved as {', '.join(SUFFIXES)}, by the path's suffix, but got "
                f"{os.fspath(path)!r}"
            )
        with replacing(path) as beside:
            if suffix in {".svg", ".html"}:
                text = self.svg if suffix == ".svg" else self.html
                beside.write_text(text, encoding="utf-8", newline="\n")
            else:
                from chainrule.see.draw.raster import save_raster

                save_raster(*self._framed, beside, title=self.title)
        return Path(path)

    @cached_property
    def _framed(self) -> tuple[Group, float, float]:
        """The shapes with title and legend, and the size of all."""
        picture = arrange(self.level)
        top = 44.0 if self.title else _MARGIN
        legend = _legend(self.level.legend)
        bottom = _LEGEND_HEIGHT if self.level.legend else _MARGIN
        least = 2 * _MARGIN + max(width_of(self.title, "title"), _legend_width(self.level.legend))
        width = max(picture.width + 2 * _MARGIN, least)
        height = picture.height + top + bottom
        left = (width - picture.width) / 2
        level = Group(picture.shapes.parts, left, top, role="level", data=picture.shapes.data)
        parts: list[Shape] = [Text(_MARGIN, 27.0, self.title, "title")] if self.title else []
        parts.append(level)
        if self.level.legend:
            parts.append(Group(legend, _MARGIN, top + picture.height, role="legend"))
        fit = f"{_MARGIN:g} {top:g} {bottom:g} {least:.1f}"
        return Group(tuple(parts), role="frame", data={"fit": fit}), width, height

    def _repr_svg_(self) -> str:
        width, height = self.size
        scale = min(1.0, _NOTEBOOK_WIDTH / width, _NOTEBOOK_HEIGHT / height)
        shapes, description = self._framed[0], self.description
        svg = svg_document(shapes, width, height, self.title, description, has_script=False)
        if len(svg) > _NOTEBOOK_BYTES:
            note = f"{self!r} is too large to be shown here: save it with .save('drawing.html')"
            box = Group((Text(_MARGIN, 27.0, note, "legend"),))
            width = 2 * _MARGIN + width_of(note, "legend")
            return svg_document(box, width, 44.0, self.title, note, has_script=False)
        start = f'width="{width * scale:.0f}" height="{height * scale:.0f}" viewBox='
        return svg[: svg.index("width=")] + start + svg[svg.index("viewBox=") + len("viewBox=") :]

    def __repr__(self) -> str:
        n_nodes = sum(node.style != "panel" for node in self.level.all_nodes())
        width, height = self.size
        title = self.title if len(self.title) <= 50 else f"{self.title[:49]}…"
        return f"Drawing({title!r}: {n_nodes} boxes, {width:.0f} x {height:.0f})"


def _legend(entries: tuple[tuple[str, str], ...]) -> tuple[Shape, ...]:
    """What the colours mean, in a row."""
    shapes: list[Shape] = []
    x = 0.0
    for style, text in entries:
        shapes.append(Box(x, 17.0, 14.0, 10.0, style, 2.0))
        shapes.append(Text(x + 20.0, 26.0, text, "legend"))
        x += 20.0 + width_of(text, "legend") + 18.0
    return tuple(shapes)


def _legend_width(entries: tuple[tuple[str, str], ...]) -> float:
    return sum(38.0 + width_of(text, "legend") for _, text in entries)
