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
from chainrule.nn.layer import Context, Layer, Shape, call_of
from chainrule.nn.windows import (
    Window,
    as_window,
    channels_back,
    channels_last,
    join_shape,
    split_shape,
    window_call,
)
from chainrule.primitives.dispatch import Array
from chainrule.primitives.primitive import Primitive

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
        return _pooled_shape(self, input_shape)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return _max_pool(self, x)

    def __repr__(self) -> str:
        return _call(self)


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
        return _pooled_shape(self, input_shape)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return _max_pool(self, x)

    def __repr__(self) -> str:
        return _call(self)


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
        return _pooled_shape(self, input_shape)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        total = _pool(self, x, 0.0, primitives.window_sum)
        image, _ = split_shape(self.label, x.shape[1:], 2, self.channels_first)
        counts = _n_values(self.window, image)
        mean = total / (
            float(counts.flat[0]) if np.ptp(counts) == 0 else counts.astype(x.dtype)[..., None]
        )
        return channels_back(mean, self.channels_first)

    def __repr__(self) -> str:
        return _call(self)


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

    def __repr__(self) -> str:
        return call_of(self, channels_first=(self.channels_first, False))


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


# What the layers do, for as many axes as the window has


def _pooled_shape(layer: MaxPool1D | MaxPool2D | AvgPool2D, shape: Shape) -> Shape:
    n_axes = len(layer.window.size)
    image, n_channels = split_shape(layer.label, shape, n_axes, layer.channels_first)
    places = layer.window.n_places(image, layer.label)
    return join_shape(places, n_channels, layer.channels_first)


def _pool(
    layer: MaxPool1D | MaxPool2D | AvgPool2D, x: Array, outside: float, along: Primitive
) -> Array:
    """The windows of columns taken together by the primitive `along`, then along the lines.

    The border around the images is `outside`. The channels of the result come last.
    """
    window = layer.window
    image, _ = split_shape(layer.label, x.shape[1:], len(window.size), layer.channels_first)
    window.n_places(image, layer.label)
    x = channels_last(x, layer.channels_first)
    border = window.border(image)
    if any(map(any, border)):
        x = np.pad(x, ((0, 0), *border, (0, 0)), constant_values=outside)
    for axis, (size, stride) in enumerate(zip(window.size, window.stride, strict=True), start=1):
        x = along(x, axis=axis, size=size, stride=stride)
    return x


def _max_pool(layer: MaxPool1D | MaxPool2D, x: Array) -> Array:
    return channels_back(_pool(layer, x, -np.inf, primitives.window_max), layer.channels_first)


def _n_values(window: Window, image: Shape) -> np.ndarray:
    """How many values of the image stand in each window, (OH, OW)."""
    along = [
        primitives.window_sum(np.pad(np.ones(n), sides), axis=0, size=size, stride=stride)
        for n, sides, size, stride in zip(
            image, window.border(image), window.size, window.stride, strict=True
        )
    ]
    return reduce(np.multiply.outer, along)


def _call(layer: MaxPool1D | MaxPool2D | AvgPool2D) -> str:
    channels_first = (layer.channels_first, False)
    usual_stride = layer.window.size
    return window_call(
        layer, layer.window, usual_stride=usual_stride, channels_first=channels_first
    )
