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


class _Pooling(Layer):
    """What all with windows do: their options, shapes, and the way from window to window."""

    _n_axes = 2

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
        stride = size if stride is None else stride
        self.window = as_window(self.label, self._n_axes, size, stride, padding, ceil=ceil)
        self.channels_first = channels_first
        if isinstance(self.window.padding, str):
            return
        for sides, n in zip(self.window.padding, self.window.size, strict=True):
            if max(sides) >= n:
                raise ValueError(
                    f"{self.label} has padding {self.window.padding} around windows of size "
                    f"{self.window.size}: it must be less than the size, or some windows would be "
                    "empty"
                )

    def _split(self, shape: Shape) -> tuple[Shape, int]:
        return split_shape(self.label, shape, self._n_axes, self.channels_first)

    def output_shape(self, input_shape: Shape) -> Shape:
        image, n_channels = self._split(input_shape)
        places = self.window.n_places(image, self.label)
        return join_shape(places, n_channels, self.channels_first)

    def _pool(self, x: Array, outside: float, along: Primitive) -> Array:
        """The windows of columns taken together by the primitive `along`, then along the lines.

        The border around the images is `outside`. The channels of the result come last.
        """
        window = self.window
        image, _ = self._split(x.shape[1:])
        window.n_places(image, self.label)
        x = channels_last(x, self.channels_first)
        border = window.border(image)
        if any(map(any, border)):
            x = np.pad(x, ((0, 0), *border, (0, 0)), constant_values=outside)
        for axis, (size, stride) in enumerate(zip(window.size, window.stride, strict=True), 1):
            x = along(x, axis=axis, size=size, stride=stride)
        return x

    def _max_pool(self, x: Array) -> Array:
        return channels_back(self._pool(x, -np.inf, primitives.window_max), self.channels_first)

    def __repr__(self) -> str:
        channels_first = (self.channels_first, False)
        usual_stride = self.window.size
        return window_call(
            self, self.window, usual_stride=usual_stride, channels_first=channels_first
        )


@final
class MaxPool2D(_Pooling):
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

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return self._max_pool(x)


@final
class MaxPool1D(_Pooling):
    """The largest value in each window along a signal: x (N, L, C) -> (N, OL, C).

    The options are those of `MaxPool2D`, for one axis.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> nn.Network([nn.MaxPool1D(2)])(np.array([[[3.0], [1.0], [4.0], [1.0]]]))[0, :, 0]
    array([3., 4.], dtype=float32)
    """

    _n_axes = 1

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return self._max_pool(x)


@final
class AvgPool2D(_Pooling):
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

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        total = self._pool(x, 0.0, primitives.window_sum)
        image, _ = self._split(x.shape[1:])
        counts = _n_values(self.window, image)
        mean = total / (
            float(counts.flat[0]) if np.ptp(counts) == 0 else counts.astype(x.dtype)[..., None]
        )
        return channels_back(mean, self.channels_first)


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


def _n_values(window: Window, image: Shape) -> np.ndarray:
    """How many values of the image stand in each window, (OH, OW)."""
    along = [
        primitives.window_sum(np.pad(np.ones(n), sides), axis=0, size=size, stride=stride)
        for n, sides, size, stride in zip(
            image, window.border(image), window.size, window.stride, strict=True
        )
    ]
    return reduce(np.multiply.outer, along)
