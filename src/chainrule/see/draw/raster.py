"""Shapes as PNG and PDF, drawn by matplotlib: what is open is shown, on light ground."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainrule.extras import missing_extra
from chainrule.see.draw.shapes import Box, Circle, Curve, Group, Shape, Text
from chainrule.see.draw.style import FILLS, FONTS, LINES

__all__ = ["save_raster"]

_DPI = 144  # two dots for each pixel of the picture, whose inch has 72
_MOST_DOTS = 30_000  # on a side: what PNG libraries take


def save_raster(shapes: Group, width: float, height: float, path: Path, title: str) -> None:
    """Write shapes of this size in the format of the path's suffix.

    Raises MissingExtraError without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise missing_extra("pictures as PNG or PDF need matplotlib", "plots") from missing
    figure = Figure(figsize=(width / 72, height / 72), facecolor=FILLS["page"].inside[0])
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")
    for layer, (shape, x, y) in enumerate(_placed(shapes, 0.0, 0.0)):
        _draw(axes, shape, x, y, layer)
    dpi = min(_DPI, 72 * _MOST_DOTS / max(width, height))
    figure.savefig(path, dpi=dpi, metadata={"Title": title})


def _placed(shape: Shape, x: float, y: float) -> Iterator[tuple[Shape, float, float]]:
    """What is shown, with the place of its group."""
    if not isinstance(shape, Group):
        yield shape, x, y
    elif not shape.is_hidden:
        for part in shape.parts:
            yield from _placed(part, x + shape.x, y + shape.y)


def _draw(axes: Any, shape: Shape, x: float, y: float, layer: int) -> None:
    from matplotlib import patches
    from matplotlib.path import Path as Curves

    if isinstance(shape, Text):
        font = FONTS[shape.style]
        axes.text(
            x + shape.x,
            y + shape.y,
            shape.text,
            fontsize=font.size,
            family="DejaVu Sans Mono" if font.is_mono else "DejaVu Sans",
            weight="bold" if font.is_bold else "normal",
            color=font.color[0],
            ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor],
            va="baseline",
            parse_math=False,
            zorder=layer,
        )
    elif isinstance(shape, Curve):
        points = [(x + px, y + py) for px, py in shape.points]
        codes = [Curves.MOVETO] + [Curves.CURVE4] * (len(points) - 1)
        style, width, alpha = shape.style, None, 1.0
        if shape.strength is not None:
            style = "positive" if shape.strength > 0 else "negative"
            width, alpha = 0.5 + 3.5 * abs(shape.strength), 0.2 + 0.8 * abs(shape.strength)
        line = LINES[style]
        common: dict[str, Any] = {
            "edgecolor": line.color[0],
            "linewidth": width or line.width,
            "alpha": alpha,
            "linestyle": "--" if line.is_dashed else "-",
            "zorder": layer,
        }
        axes.add_patch(patches.PathPatch(Curves(points, codes), facecolor="none", **common))
        if shape.has_arrow:
            _draw_arrow(axes, points, line.color[0], layer)
    else:
        assert not isinstance(shape, Group)
        fill = FILLS[shape.style]
        look: dict[str, Any] = {
            "facecolor": fill.inside[0],
            "edgecolor": fill.border[0],
            "linewidth": fill.width,
            "linestyle": "--" if fill.is_dashed else "-",
            "zorder": layer,
        }
        if isinstance(shape, Circle):
            axes.add_patch(patches.Circle((x + shape.x, y + shape.y), shape.radius, **look))
        else:
            axes.add_patch(_rounded(patches, shape, x, y, look))


def _rounded(patches: Any, box: Box, x: float, y: float, look: dict[str, Any]) -> Any:
    radius = min(box.radius, box.width / 2, box.height / 2)
    corner = (x + box.x, y + box.y)
    style = f"round,pad=0,rounding_size={radius}"
    return patches.FancyBboxPatch(corner, box.width, box.height, boxstyle=style, **look)


def _draw_arrow(axes: Any, points: list[tuple[float, float]], color: str, layer: int) -> None:
    """A small triangle at the end of a curve, in the direction in which it ends."""
    (x, y), (x_before, y_before) = points[-1], points[-2]
    dx, dy = x - x_before, y - y_before
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    dx, dy = 7 * dx / length, 7 * dy / length
    corners = [
        (x, y),
        (x - dx - dy * 0.4, y - dy + dx * 0.4),
        (x - dx + dy * 0.4, y - dy - dx * 0.4),
    ]
    axes.fill(*zip(*corners, strict=True), color=color, linewidth=0, zorder=layer)
