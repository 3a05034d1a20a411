"""Pooling layers: the largest or the mean of what stands in a window that slides over an image.

Channels stand last, as in x (N, height, width, channels), and each is pooled by itself. With
`channels_first=True` a layer takes and gives (N, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, final

import numpy as np

from chainrule import primitives
from chainrule.nn.layer import Context, Layer, Shape
from chainrule.nn.windows import (
    Border,
    Window,
    as_window,
    channels_back,
    channels_last,
    split_shape,
)
from chainrule.primitives.dispatch import Array

__all__ = ["AvgPool2D", "GlobalAvgPool2D", "MaxPool1D", "MaxPool2D"]


@final
class MaxPool2D(Layer):
    """The largest value in each window: x (N, H, W, C) -> (N, OH, OW, C).

    OH = (H + padding - size) // stride + 1, and OW alike; the stride is by default the size, so
    that the windows do not overlap. `size` and `stride` are numbers or pairs (vertical,
    horizontal); `padding` is that of `Conv2D`, less than the size, and never the largest value.
    With `ceil=True` the last windows may stand partly outside the image, so that none of it is
    left out. Where several values of a window are the largest, the whole gradient goes to the first
    column with one of them, and in it to the first line. Raises ValueError where the window does
    not fit into the image.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.Network([nn.MaxPool2D()])(x)[0, ..., 0]
    array([[ 5.,  7.],
           [13., 15.]], dtype=float32)
    """

    def __init__(
        self,
        size: int | Sequence[int] = 2,
        *,
        stride: int | Sequence[int] | None = None,
        padding: str | int | Sequence[Any] = "valid",
        ceil: bool = False,
        channels_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.window = _pooling_window(self.label, 2, size, stride, padding, ceil)
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        return _pooled_shape(self.label, self.window, input_shape, self.channels_first)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return _max_pool(self.label, self.window, x, self.channels_first)

    def __repr__(self) -> str:
        return _describe(self, self.window)


@final
class MaxPool1D(Layer):
    """The largest value in each window along a signal: x (N, L, C) -> (N, OL, C).

    The options are those of `MaxPool2D`, for one axis.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> nn.Network([nn.MaxPool1D(2)])(np.array([[[3.0], [1.0], [4.0], [1.0]]]))[0, :, 0]
    array([3., 4.], dtype=float32)
    """

    def __init__(
        self,
        size: int = 2,
        *,
        stride: int | None = None,
        padding: str | int | Sequence[Any] = "valid",
        ceil: bool = False,
        channels_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.window = _pooling_window(self.label, 1, size, stride, padding, ceil)
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        return _pooled_shape(self.label, self.window, input_shape, self.channels_first)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return _max_pool(self.label, self.window, x, self.channels_first)

    def __repr__(self) -> str:
        return _describe(self, self.window)


@final
class AvgPool2D(Layer):
    """The mean of each window: x (N, H, W, C) -> (N, OH, OW, C).

    The options are those of `MaxPool2D`. The mean is over the values of the image: what stands in
    the padding does not count.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> x = np.arange(16.0).reshape(1, 4, 4, 1)
    >>> nn.Network([nn.AvgPool2D()])(x)[0, ..., 0]
    array([[ 2.5,  4.5],
           [10.5, 12.5]], dtype=float32)
    """

    def __init__(
        self,
        size: int | Sequence[int] = 2,
        *,
        stride: int | Sequence[int] | None = None,
        padding: str | int | Sequence[Any] = "valid",
        ceil: bool = False,
        channels_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.window = _pooling_window(self.label, 2, size, stride, padding, ceil)
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        return _pooled_shape(self.label, self.window, input_shape, self.channels_first)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        image, _ = split_shape(self.label, x.shape[1:], 2, self.channels_first)
        self.window.n_places(image, self.label)
        border = self.window.border(image)
        x = _with_border(channels_last(x, self.channels_first), border, 0.0)
        for axis, size, stride in zip((1, 2), self.window.size, self.window.stride, strict=True):
            x = primitives.window_sum(x, axis=axis, size=size, stride=stride)
        counts = _n_values(self.window, image, border)
        mean = x / (
            float(counts.flat[0]) if np.ptp(counts) == 0 else counts.astype(x.dtype)[..., None]
        )
        return channels_back(mean, self.channels_first)

    def __repr__(self) -> str:
        return _describe(self, self.window)


@final
class GlobalAvgPool2D(Layer):
    """The mean of each channel over the whole image: x (N, H, W, C) -> (N, C).

    Lin, Chen and Yan, "Network in network", 2014, section 3.2.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> nn.Network([nn.GlobalAvgPool2D()])(np.ones((2, 5, 5, 3))).shape
    (2, 3)
    """

    def __init__(self, *, channels_first: bool = False, name: str = "") -> None:
        super().__init__(name=name)
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        return (split_shape(self.label, input_shape, 2, self.channels_first)[1],)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        split_shape(self.label, x.shape[1:], 2, self.channels_first)
        return np.mean(x, axis=(2, 3) if self.channels_first else (1, 2))


def _pooling_window(
    label: str, n_axes: int, size: Any, stride: Any, padding: Any, ceil: bool
) -> Window:
    window = as_window(label, n_axes, size, size if stride is None else stride, padding, ceil=ceil)
    if not isinstance(window.padding, str):
        for sides, n in zip(window.padding, window.size, strict=True):
            if max(sides) >= n:
                raise ValueError(
                    f"{label} has padding {window.padding} around windows of size {window.size}: "
                    "it must be less than the size, or some windows would be empty"
                )
    return window


def _pooled_shape(label: str, window: Window, shape: Shape, channels_first: bool) -> Shape:
    image, n_channels = split_shape(label, shape, len(window.size), channels_first)
    places = window.n_places(image, label)
    return (n_channels, *places) if channels_first else (*places, n_channels)


def _max_pool(label: str, window: Window, x: Array, channels_first: bool) -> Array:
    """The largest of each window: of columns, then of the results along the lines."""
    image, _ = split_shape(label, x.shape[1:], len(window.size), channels_first)
    window.n_places(image, label)
    x = _with_border(channels_last(x, channels_first), window.border(image), -np.inf)
    for axis, (size, stride) in enumerate(zip(window.size, window.stride, strict=True), start=1):
        x = primitives.window_max(x, axis=axis, size=size, stride=stride)
    return channels_back(x, channels_first)


def _with_border(x: Array, border: Border, value: float) -> Array:
    """The images with a border of this value, where there is one."""
    if not any(map(any, border)):
        return x
    return np.pad(x, ((0, 0), *border, (0, 0)), constant_values=value)


def _n_values(window: Window, image: Shape, border: Border) -> np.ndarray:
    """How many values of the image stand in each window, (OH, OW)."""
    along = [
        primitives.window_sum(np.pad(np.ones(n), sides), axis=0, size=size, stride=stride)
        for n, sides, size, stride in zip(image, border, window.size, window.stride, strict=True)
    ]
    return reduce(np.multiply.outer, along)


def _describe(layer: Layer, window: Window) -> str:
    """The call that makes the layer, with the options that are not the usual ones."""

    def short(each: Shape) -> Any:
        return each[0] if len(set(each)) == 1 else each

    words = [str(short(window.size))]
    if window.stride != window.size:
        words.append(f"stride={short(window.stride)}")
    if window.padding != "valid":
        words.append(f"padding={window.padding!r}")
    if window.ceil:
        words.append("ceil=True")
    return f"{type(layer).__name__}({', '.join(words)})"
