"""Shapes written as SVG.

Every text of a user is escaped on its way into the file, and none stands in the script or in the
styles. Light or dark follows what the reader's screen prefers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

from chainrule.see.draw.script import SCRIPT
from chainrule.see.draw.shapes import Box, Circle, Curve, Group, Shape, Text
from chainrule.see.draw.style import ARROWS, FILLS, FONTS, LINES, MONO, SANS

__all__ = ["html_page", "svg_document"]

# What XML 1.0 has no form of, not even escaped, and marks that turn the direction of text around.
_IMPOSSIBLE = re.compile(
    "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069]"
)


def svg_document(
    shapes: Group,
    width: float,
    height: float,
    title: str,
    description: str,
    has_script: bool = True,
) -> str:
    """The whole file: a picture of this size with its title and description."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chainrule" role="img" '
        f'aria-labelledby="chainrule-title chainrule-description" '
        f'width="{_number(width)}" height="{_number(height)}" '
        f'viewBox="0 0 {_number(width)} {_number(height)}">',
        f'<title id="chainrule-title">{_escaped(title)}</title>',
        f'<desc id="chainrule-description">{_escaped(description)}</desc>',
        f"<style>{_styles()}</style>",
        "<defs>",
        *(_arrow(name) for name in ARROWS),
        "</defs>",
        '<rect class="page" width="100%" height="100%"/>',
        *_written(shapes),
    ]
    if has_script:
        lines.append(f"<script>//<![CDATA[\n{SCRIPT}//]]></script>")
    return "\n".join([*lines, "</svg>\n"])


def html_page(svg: str, title: str) -> str:
    """A page that shows the picture and nothing else."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{_escaped(title)}</title>\n"
        "<style>:root { color-scheme: light dark } "
        "body { margin: 0; background: #fff } "
        "@media (prefers-color-scheme: dark) { body { background: #17181c } }</style>\n"
        f"</head>\n<body>\n{svg}</body>\n</html>\n"
    )


def _styles() -> str:
    """The style sheet: light, then what is different in the dark."""
    dark = f"@media (prefers-color-scheme: dark) {{{_rules(1)}}}"
    return f"{_rules(0)}{dark}.chainrule .folds{{cursor:pointer}}"


def _rules(ground: int) -> str:
    rules = []
    for name, fill in FILLS.items():
        dash = "stroke-dasharray:5 3;" if fill.is_dashed else ""
        rules.append(
            f".chainrule .{name}{{fill:{fill.inside[ground]};stroke:{fill.border[ground]};"
            f"stroke-width:{fill.width};{dash}}}"
        )
    for name, line in LINES.items():
        dash = "stroke-dasharray:4 3;" if line.is_dashed else ""
        rules.append(
            f".chainrule .line-{name}{{fill:none;stroke:{line.color[ground]};"
            f"stroke-width:{line.width};{dash}}}"
            f".chainrule .arrow-{name}{{fill:{line.color[ground]}}}"
        )
    for name, font in FONTS.items():
        weight = "font-weight:600;" if font.is_bold else ""
        family = MONO if font.is_mono else SANS
        page = FILLS["page"].inside[ground]
        halo = f"paint-order:stroke;stroke:{page};stroke-width:3px;" if font.has_halo else ""
        rules.append(
            f".chainrule .text-{name}{{fill:{font.color[ground]};font-size:{font.size}px;"
            f"font-family:{family};{weight}{halo}}}"
        )
    return "".join(rules)


def _arrow(name: str) -> str:
    return (
        f'<marker id="chainrule-arrow-{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
        f'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="arrow-{name}" d="M0 0.8L8 4L0 7.2z"/></marker>'
    )


def _written(shape: Shape) -> Iterator[str]:
    if isinstance(shape, Group):
        yield f"<g{_group_attributes(shape)}>"
        if shape.title:
            yield f"<title>{_escaped(shape.title)}</title>"
        for part in shape.parts:
            yield from _written(part)
        yield "</g>"
    elif isinstance(shape, Box):
        yield (
            f'<rect class="{shape.style}" x="{_number(shape.x)}" y="{_number(shape.y)}" '
            f'width="{_number(shape.width)}" height="{_number(shape.height)}" '
            f'rx="{_number(shape.radius)}"/>'
        )
    elif isinstance(shape, Circle):
        yield (
            f'<circle class="{shape.style}" cx="{_number(shape.x)}" cy="{_number(shape.y)}" '
            f'r="{_number(shape.radius)}"/>'
        )
    elif isinstance(shape, Text):
        anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
        yield (
            f'<text class="text-{shape.style}" x="{_number(shape.x)}" y="{_number(shape.y)}"'
            f"{anchor}>{_escaped(shape.text)}</text>"
        )
    else:
        yield _curve(shape)


def _curve(curve: Curve) -> str:
    first, *others = (f"{_number(x)} {_number(y)}" for x, y in curve.points)
    path = f"M{first}C{' '.join(others)}"
    style, look = curve.style, ""
    if curve.strength is not None:
        style = "positive" if curve.strength > 0 else "negative"
        size = abs(curve.strength)
        look = f' style="stroke-width:{0.5 + 3.5 * size:.2f};stroke-opacity:{0.2 + 0.8 * size:.2f}"'
    arrow = f' marker-end="url(#chainrule-arrow-{style})"' if curve.has_arrow else ""
    start = f'<path class="line-{style}" d="{path}"{look}{arrow}{_data(curve.data)}'
    return f"{start}><title>{_escaped(curve.title)}</title></path>" if curve.title else f"{start}/>"


def _group_attributes(group: Group) -> str:
    words = [f' class="{group.role}"'] if group.role else []
    if group.x or group.y:
        words.append(f' transform="translate({_number(group.x)} {_number(group.y)})"')
    if group.is_hidden:
        words.append(' display="none"')
    return "".join(words) + _data(group.data)


def _data(data: object) -> str:
    assert hasattr(data, "items")
    return "".join(f' data-{key}="{_escaped(value)}"' for key, value in data.items())


def _escaped(text: str) -> str:
    return escape(_IMPOSSIBLE.sub("�", text), quote=True)


def _number(number: float) -> str:
    text = f"{number:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
