"""Windows that slide over the axes of an image: what convolution and pooling layers have in common.

Sizes are given as one number for all axes or as one per axis; the border around the image by a
word, or in numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.names import did_you_mean
from chainrule.nn.layer import Layer, Shape, call_of
from chainrule.primitives.dispatch import Array

__all__ = [
    "Border",
    "Window",
    "as_window",
    "channels_back",
    "channels_last",
    "join_shape",
    "sizes",
    "split_shape",
    "window_call",
]

Border = tuple[tuple[int, int], ...]
"""How many elements are added before and after, for each axis."""

_PADDINGS = ("same", "valid")


@dataclass(frozen=True, slots=True)
class Window:
    """The options of a window, one of each per axis; `padding` is "valid", "same" or a border.

    With `ceil` a last window may stand partly beyond the border.
    """

    size: Shape
    stride: Shape
    padding: str | Border = "valid"
    dilation: Shape = (1, 1)
    ceil: bool = False

    @property
    def reach(self) -> Shape:
        """From the first element of a window to its last, both included, along each axis."""
        return tuple((n - 1) * d + 1 for n, d in zip(self.size, self.dilation, strict=True))

    def border(self, shape: Shape) -> Border:
        """What is added around an image of this shape.

        "same" adds what makes ceil(n / stride) places along an axis of n elements; where that is
        an odd number, there is one more after than before.
        """
        if self.padding == "valid":
            border: Border = tuple((0, 0) for _ in shape)
        elif self.padding == "same":
            missing = [
                max((-(-n // step) - 1) * step + reach - n, 0)
                for n, step, reach in zip(shape, self.stride, self.reach, strict=True)
            ]
            border = tuple((n // 2, n - n // 2) for n in missing)
        else:
            border = self.padding  # type: ignore[assignment]
        return self._completed(shape, border) if self.ceil else border

    def _completed(self, shape: Shape, border: Border) -> Border:
        """The border with room for a last window, which must begin before the end of the image."""
        completed = []
        for n, (before, after), step, reach in zip(
            shape, border, self.stride, self.reach, strict=True
        ):
            n_more = -(-max(before + n + after - reach, 0) // step)
            if n_more * step >= before + n:
                n_more -= 1
            completed.append((before, max(after, n_more * step + reach - before - n)))
        return tuple(completed)

    def n_places(self, shape: Shape, label: str) -> Shape:
        """How many places there are for the window along each axis of an image of this shape.

        Raises ValueError, naming the layer `label`, where there is none.
        """
        room = [
            before + n + after - reach
            for n, (before, after), reach in zip(shape, self.border(shape), self.reach, strict=True)
        ]
        if min(room) < 0:
            spread = f", dilation {_by(self.dilation)}" if max(self.dilation) > 1 else ""
            raise ValueError(
                f"{label} has a window of size {_by(self.size)}{spread} with padding="
                f"{self.padding!r}, which does not fit into an image of {_by(shape)}: use "
                "padding='same', or a smaller window"
            )
        return tuple(n // step + 1 for n, step in zip(room, self.stride, strict=True))


def as_window(
    label: str,
    n_axes: int,
    size: int | Sequence[int],
    stride: int | Sequence[int],
    padding: str | int | Sequence[Any],
    dilation: int | Sequence[int] = 1,
    *,
    ceil: bool = False,
) -> Window:
    """The options of a layer's window, checked; raises ValueError or TypeError naming the layer.

    `padding` is "valid", "same", a number for every side, one per axis, or a pair per axis.

    >>> as_window("conv_2d", 2, 3, 1, (0, 1)).padding
    ((0, 0), (1, 1))
    """
    return Window(
        sizes(label, "size", size, n_axes),
        sizes(label, "stride", stride, n_axes),
        _padding(label, padding, n_axes),
        sizes(label, "dilation", dilation, n_axes),
        ceil,
    )


def sizes(label: str, name: str, given: Any, n_axes: int, least: int = 1) -> Shape:
    """One integer per axis, given as one for all or one each, and none below `least`."""
    each = tuple(given) if isinstance(given, Sequence | np.ndarray) else (given,) * n_axes
    try:
        found = tuple(map(operator.index, each))
    except TypeError:
        raise TypeError(f"{label} takes integers for {name}, but got {given!r}") from None
    if len(found) != n_axes or min(found) < least:
        one_each = f" or {n_axes}, one per axis," if n_axes > 1 else ""
        raise ValueError(
            f"{label} takes one number{one_each} of at least {least} for {name}, but got {given!r}"
        )
    return found


def _padding(label: str, given: Any, n_axes: int) -> str | Border:
    if isinstance(given, str):
        if given in _PADDINGS:
            return given
        raise ValueError(
            f"{label} knows no padding {given!r}{did_you_mean(given, _PADDINGS)}: it is 'valid', "
            "'same', a number, or a pair (before, after) per axis"
        )
    if isinstance(given, Sequence) and any(isinstance(part, Sequence) for part in given):
        if len(given) != n_axes:
            raise ValueError(f"{label} takes padding for {n_axes} axes, but got {given!r}")
        pairs = [sizes(label, "padding", part, 2, least=0) for part in given]
        return tuple((before, after) for before, after in pairs)
    return tuple((n, n) for n in sizes(label, "padding", given, n_axes, least=0))


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape))


def window_call(
    layer: Layer,
    window: Window,
    *first: Any,
    usual_stride: Shape | None = None,
    **options: tuple[Any, Any],
) -> str:
    """`call_of` a layer with a window; the usual stride is 1, where no other is given."""
    usual_stride = usual_stride or (1,) * len(window.stride)
    return call_of(
        layer,
        *first,
        _short(window.size),
        stride=(_short(window.stride), _short(usual_stride)),
        padding=(window.padding, "valid"),
        dilation=(_short(window.dilation), 1),
        ceil=(window.ceil, False),
        **options,
    )


def _short(each: Shape) -> Any:
    """One number for all axes, where they agree."""
    return each[0] if len(set(each)) == 1 else each


# The order of axes


def split_shape(label: str, shape: Shape, n_axes: int, channels_first: bool) -> tuple[Shape, int]:
    """The shape of an image without its channels, and their number; ValueError naming the layer."""
    if len(shape) != n_axes + 1:
        axes = ("length",) if n_axes == 1 else ("height", "width")
        order = ", ".join(("channels", *axes) if channels_first else (*axes, "channels"))
        fix = f"; nn.Reshape({(*shape, 1)}) gives them one channel" if len(shape) == n_axes else ""
        raise ValueError(f"{label} takes samples of shape ({order}), but got {shape}{fix}")
    return (shape[1:], shape[0]) if channels_first else (shape[:-1], shape[-1])


def join_shape(image: Shape, n_channels: int, channels_first: bool) -> Shape:
    """The inverse of `split_shape`."""
    return (n_channels, *image) if channels_first else (*image, n_channels)


def channels_last(x: Array, channels_first: bool) -> Array:
    """The images with their channels behind the other axes, where computation wants them."""
    return np.moveaxis(x, 1, -1) if channels_first else x


def channels_back(x: Array, channels_first: bool) -> Array:
    """The results with their channels where those of the layer's input stood."""
    return np.moveaxis(x, -1, 1) if channels_first else x
