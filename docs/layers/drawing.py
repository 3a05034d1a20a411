"""What the pictures of this folder are drawn with: colours, cells, boxes, and a look at layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle
from PIL import Image

import chainrule as cr
from chainrule import data, nn
from chainrule.palette import BLUE, GREEN, INK, MUTED, ORANGE, PALE, VERMILION

__all__ = [
    "BLUE",
    "GREEN",
    "GREY",
    "INK",
    "INTENSITY",
    "MIDDLE",
    "ORANGE",
    "PALE",
    "RED",
    "SHARE",
    "SIGNED",
    "SMALL",
    "arrow",
    "box",
    "cells",
    "cube",
    "digit",
    "empty",
    "house",
    "mark",
    "plain",
    "seen_by",
    "unrolled",
    "write",
]

RED, GREY = VERMILION, MUTED
INTENSITY = LinearSegmentedColormap.from_list("intensity", ["#FFFFFF", "#7FA8C9", "#0B2E4F"])
SIGNED = LinearSegmentedColormap.from_list("signed", [BLUE, "#FFFFFF", RED])
SHARE = LinearSegmentedColormap.from_list("share", ["#FFFFFF", "#F6CE79", RED])


MIDDLE: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 10}
SMALL: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9, "color": GREY}


def seen_by(
    layer: nn.Layer,
    shape: tuple[int, ...],
    place: tuple[int, ...],
    n_samples: int = 1,
    sample: int = 0,
) -> np.ndarray:
    """Where the gradient of one value of the layer's output is not 0 in its inputs.

    Of one sample, or of several where they meet. In training, since there batches matter.
    """
    net = nn.Network([layer], input_shape=shape, dtype="float64", seed=0)
    x = np.random.default_rng(0).normal(size=(n_samples, *shape))

    def value(x: Any) -> Any:
        context = nn.Context(training=True, state=net.state)
        return net.forward(net.parameters, x, context)[(sample, *place)]

    seen = np.abs(cr.grad(value)(x)) > 1e-12
    return seen if n_samples > 1 else seen[0]


def write(figure: Figure, path: Path) -> Path:
    """Write a figure as a PNG of at most 128 colours, which is small, without a date or version."""
    figure.set_dpi(150)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def digit() -> np.ndarray:
    """A handwritten 3 of 8 × 8 pixels, from 0 to 16."""
    digits = data.load("digits")
    return np.asarray(digits.x[13], np.float64).reshape(8, 8) * 16


def house(n: int = 56) -> np.ndarray:
    """A drawn house under a sun, of n × n pixels: paper 0, ink up to 1."""
    y, x = np.mgrid[0:n, 0:n] / n
    image = np.zeros((n, n))
    image[np.hypot(x - 0.8, y - 0.2) < 0.11] = 0.45
    image[(abs(x - 0.42) < 0.29) & (y > 0.5) & (y < 0.9)] = 0.55
    image[(y > 0.2) & (y < 0.5) & (abs(x - 0.42) < (y - 0.2) * 1.2)] = 0.9
    image[(abs(x - 0.28) < 0.07) & (abs(y - 0.66) < 0.07)] = 0.1
    image[(abs(x - 0.55) < 0.08) & (y > 0.6) & (y < 0.9)] = 1.0
    image[(y >= 0.9) & (y < 0.93) & (x > 0.06) & (x < 0.94)] = 0.75
    return image


def cells(
    axes: Axes,
    values: np.ndarray,
    cmap: Any,
    title: str,
    *,
    limits: tuple[float, float] | None = None,
    lines: bool = True,
    numbers: bool = False,
    room: float = 0.0,
) -> None:
    """An array as coloured cells, with the numbers in them where asked for.

    `room` leaves so many cells free on every side, so that panels share one size of a cell.
    """
    low, high = limits or (values.min(), values.max())
    axes.imshow(values, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
    height, width = values.shape
    empty(axes)
    if lines:
        rows, columns = np.arange(1, height) - 0.5, np.arange(1, width) - 0.5
        axes.hlines(rows, -0.5, width - 0.5, color="#C9D2DA", linewidth=0.5)
        axes.vlines(columns, -0.5, height - 0.5, color="#C9D2DA", linewidth=0.5)
    frame = Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor="#8796A3", lw=0.9)
    frame.set_clip_on(False)
    axes.add_patch(frame)
    axes.set(xlim=(-0.5 - room, width - 0.5 + room), ylim=(height - 0.5 + room, -0.5 - room))
    axes.set_title(title, fontsize=10)
    if not numbers:
        return
    for (i, j), value in np.ndenumerate(values):
        red, green, blue, _ = cmap((value - low) / (high - low))
        dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.55
        text = f"{value:.{3 if abs(value) >= 1 else 2}g}".replace("-", "−")
        size = (11 if len(text) < 5 else 8) if width <= 5 else 7
        color = "white" if dark else INK
        number = axes.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
        number.set_in_layout(False)  # it is inside the panel, and measuring each takes long


def mark(axes: Axes, i: float, j: float, color: str, dashed: bool = False) -> None:
    """One cell at line i and column j; in the border it is drawn with a dashed edge."""
    edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 1.2}
    if dashed:
        edge = {"edgecolor": "#9AA7B3", "linewidth": 0.7, "linestyle": (0, (2, 2))}
        color = "#FBE6BF" if color == ORANGE else "white"
    axes.add_patch(Rectangle((j - 0.46, i - 0.46), 0.92, 0.92, facecolor=color, **edge))


def box(
    axes: Axes, centre: tuple[float, float], width: float, height: float, text: str, color: str
) -> None:
    """A rounded box with a word in it."""
    corner = (centre[0] - width / 2, centre[1] - height / 2)
    style = "round,pad=0,rounding_size=0.15"
    axes.add_patch(FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=color, lw=0))
    axes.text(*centre, text, color="white", **MIDDLE)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **how: Any) -> None:
    """A straight arrow between two points."""
    style = {"arrowstyle": "-|>", "mutation_scale": 12, "color": INK, "linewidth": 1.4, **how}
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))


def cube(axes: Axes, seen: np.ndarray, chosen: tuple[int, int, int]) -> None:
    """The visible faces of a block: samples to the right, places downwards, channels behind."""
    n, places, channels = seen.shape
    right, up, back = np.array([1.0, 0]), np.array([0, 1.0]), np.array([0.42, 0.33])
    front = [((i, j, 0), 0 * up, right, up, 1.0) for i, j in np.ndindex(n, places)]
    top = [((i, 0, k), up, right, back, 0.94) for i, k in np.ndindex(n, channels)]
    side = [((n - 1, j, k), right, up, back, 0.84) for j, k in np.ndindex(places, channels)]
    for index, shift, one, other, light in front + top + side:
        color = RED if index == chosen else ORANGE if seen[index] else PALE
        corner = index[0] * right + (places - 1 - index[1]) * up + index[2] * back + shift
        points = [corner, corner + one, corner + one + other, corner + other]
        shaded = tuple(light * part for part in to_rgb(color))
        axes.add_patch(Polygon(points, facecolor=shaded, edgecolor="white", linewidth=0.8))
    axes.set(xlim=(-1.0, 7.0), ylim=(-1.3, 7.5), aspect="equal")
    empty(axes)


def unrolled(axes: Axes) -> None:
    """Four steps of one cell, the state passed on, and the same weights in each."""
    for k in range(4):
        left = 3.2 * k
        box(axes, (left, 1.0), 1.5, 0.9, "cell", BLUE)
        arrow(axes, (left, -0.3), (left, 0.53))
        axes.text(left, -0.6, f"$x_{k}$", **MIDDLE)
        arrow(axes, (left + 0.76, 1.0), (left + 2.43, 1.0))
        axes.text(left + 1.6, 1.35, f"$h_{k}$", **MIDDLE)
    arrow(axes, (-2.0, 1.0), (-0.77, 1.0))
    axes.text(-2.3, 1.0, "0", **MIDDLE)
    axes.text(12.2, 1.0, "last state (N, units)", ha="left", va="center")
    axes.text(4.8, 1.95, "the same weights at every step", **SMALL)
    axes.set(xlim=(-2.8, 15.6), ylim=(-0.9, 2.2), aspect="equal")
    empty(axes)


def empty(axes: Axes) -> None:
    """No axis, ticks or frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def plain(axes: Axes) -> None:
    """A light grid, and no box around it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#DDDDDD", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.title.set_fontsize(10)
