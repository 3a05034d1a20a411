"""Convolution layers: the same small weights at every place of a signal or an image.

Channels stand last, as in x (N, height, width, channels); with `channels_first=True` a layer takes
and gives (N, channels, height, width), by moving the axis before and after.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from chainrule import primitives
from chainrule.nn.initializers import Start, draw
from chainrule.nn.layer import Context, Layer, Shape
from chainrule.nn.windows import (
    as_window,
    channels_back,
    channels_last,
    join_shape,
    sizes,
    split_shape,
    window_call,
)
from chainrule.primitives.dispatch import Array

__all__ = ["Conv1D", "Conv2D", "Conv2DTranspose"]


@final
class Conv2D(Layer):
    """Every output is a weighted sum of the inputs under a window that slides over the image.

    x (N, H, W, C) -> (N, OH, OW, filters), where OH = (H + padding - reach) // stride + 1 with
    reach = (size - 1) * dilation + 1, and OW alike. As everywhere in the field this is the
    cross-correlation: the kernel is not flipped. Parameters: "weight" (*size, C // groups, filters)
    and, unless `use_bias=False`, "bias" (filters,).

    `size`, `stride` and `dilation` are numbers, or pairs (vertical, horizontal). `padding` is
    "valid" (none), "same" (OH = ceil(H / stride)), a number, a pair (vertical, horizontal), or
    ((above, below), (left, right)). With `groups`, channels and filters are dealt into so many
    parts that do not mix. Each start is the name of an initializer, a function
    `(rng, shape) -> array`, or the array itself. Raises ValueError where the window does not fit
    into the image, or the channels cannot be dealt into the groups.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> net = nn.Network([nn.Conv2D(6, 5, padding="same"), nn.ReLU(), nn.MaxPool2D(2)])
    >>> net(np.zeros((10, 28, 28, 1))).shape
    (10, 14, 14, 6)
    """

    def __init__(
        self,
        filters: int,
        size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[Any] = "valid",
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        use_bias: bool = True,
        weight: Start = "glorot_uniform",
        bias: Start = "zeros",
        channels_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.filters, self.groups = _counts(self.label, filters, groups)
        self.window = as_window(self.label, 2, size, stride, padding, dilation)
        self.use_bias = use_bias
        self.weight = weight
        self.bias = bias
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        return _output_shape(self, input_shape)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return _init(self, input_shape, rng)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return _convolve(self, x, parameters)

    def __repr__(self) -> str:
        return _call(self, groups=(self.groups, 1))


@final
class Conv1D(Layer):
    """Every output is a weighted sum of the inputs under a window that slides along a signal.

    x (N, L, C) -> (N, OL, filters), where OL = (L + padding - reach) // stride + 1 with
    reach = (size - 1) * dilation + 1. Parameters: "weight" (size, C // groups, filters) and,
    unless `use_bias=False`, "bias" (filters,). The options are those of `Conv2D`, for one axis;
    `padding` may be a pair ((before, after),).

    >>> import numpy as np
    >>> from chainrule import nn
    >>> net = nn.Network([nn.Conv1D(1, 2, weight=[[[-1.0]], [[1.0]]])])
    >>> net(np.array([[[1.0], [4.0], [9.0]]]))[0, :, 0]
    array([3., 5.], dtype=float32)
    """

    def __init__(
        self,
        filters: int,
        size: int,
        *,
        stride: int = 1,
        padding: str | int | Sequence[Any] = "valid",
        dilation: int = 1,
        groups: int = 1,
        use_bias: bool = True,
        weight: Start = "glorot_uniform",
        bias: Start = "zeros",
        channels_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.filters, self.groups = _counts(self.label, filters, groups)
        self.window = as_window(self.label, 1, size, stride, padding, dilation)
        self.use_bias = use_bias
        self.weight = weight
        self.bias = bias
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        return _output_shape(self, input_shape)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return _init(self, input_shape, rng)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        return _convolve(self, x, parameters)

    def __repr__(self) -> str:
        return _call(self, groups=(self.groups, 1))


@final
class Conv2DTranspose(Layer):
    """Every input puts a weighted window onto a larger image, where the windows add up.

    It turns shapes round: what `Conv2D` with these options makes (H, W) of is what this makes of
    (H, W). x (N, H, W, C) -> (N, OH, OW, filters), where
    OH = (H - 1) * stride + reach - padding + output_padding with reach = (size - 1) * dilation + 1,
    and OH = H * stride with padding="same". Several sizes become the same one under a stride:
    `output_padding`, less than the stride, adds lines below and on the right to choose the larger.
    Parameters: "weight" (*size, C, filters) and, unless `use_bias=False`, "bias" (filters,). The
    other options are those of `Conv2D`. Raises ValueError where nothing of the image would remain.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> net = nn.Network([nn.Conv2DTranspose(1, 2, stride=2, weight="ones")])
    >>> net(np.array([[[[1.0], [2.0]]]]))[0, :, :, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]], dtype=float32)
    """

    def __init__(
        self,
        filters: int,
        size: int | Sequence[int],
        *,
        stride: int | Sequence[int] = 1,
        padding: str | int | Sequence[Any] = "valid",
        output_padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        use_bias: bool = True,
        weight: Start = "glorot_uniform",
        bias: Start = "zeros",
        channels_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.filters, self.groups = _counts(self.label, filters, 1)
        self.window = as_window(self.label, 2, size, stride, padding, dilation)
        self.output_padding = sizes(self.label, "output_padding", output_padding, 2, least=0)
        if any(n >= step for n, step in zip(self.output_padding, self.window.stride, strict=True)):
            raise ValueError(
                f"{self.label} takes an output_padding less than the stride, but got "
                f"{self.output_padding} with stride {self.window.stride}"
            )
        if self.window.padding == "same" and any(self.output_padding):
            raise ValueError(
                f"{self.label} got output_padding={self.output_padding} with padding='same', which "
                "makes the largest size there is, the stride times that of the input: leave it out"
            )
        self.use_bias = use_bias
        self.weight = weight
        self.bias = bias
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        image, _ = split_shape(self.label, input_shape, 2, self.channels_first)
        return join_shape(self._larger(image), self.filters, self.channels_first)

    def _larger(self, image: Shape) -> Shape:
        """The size of the results for images of this size."""
        stride, padding = self.window.stride, self.window.padding
        if padding == "same":
            return tuple(n * step for n, step in zip(image, stride, strict=True))
        border = ((0, 0), (0, 0)) if isinstance(padding, str) else padding
        larger = tuple(
            (n - 1) * step + reach - sum(sides) + more
            for n, step, reach, sides, more in zip(
                image, stride, self.window.reach, border, self.output_padding, strict=True
            )
        )
        if min(larger) < 1:
            raise ValueError(
                f"{self.label} with padding={padding!r} leaves nothing of images of size {image}: "
                f"they would have size {larger}; use less padding"
            )
        return larger

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return _init(self, input_shape, rng)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        weight = parameters["weight"]
        larger = self._larger(_check_channels(self, x, weight))
        z = primitives.convolve_transpose(
            channels_last(x, self.channels_first),
            np.swapaxes(weight, 2, 3),
            size=larger,
            stride=self.window.stride,
            padding=self.window.border(larger),
            dilation=self.window.dilation,
        )
        z = z + parameters["bias"] if self.use_bias else z
        return channels_back(z, self.channels_first)

    def __repr__(self) -> str:
        more = self.output_padding
        return _call(self, output_padding=(more if any(more) else 0, 0))


def _counts(label: str, filters: Any, groups: Any) -> tuple[int, int]:
    """The numbers of filters and groups, checked."""
    try:
        filters, groups = operator.index(filters), operator.index(groups)
    except TypeError:
        raise TypeError(
            f"{label} takes its number of filters first, and groups=, both integers, but got "
            f"{filters!r} and {groups!r}"
        ) from None
    if filters < 1 or groups < 1 or filters % groups:
        raise ValueError(
            f"{label} needs at least one filter in each group, as many in one as in another, but "
            f"got filters={filters}, groups={groups}"
        )
    return filters, groups


# What Conv1D and Conv2D do, for as many axes as the window has


def _output_shape(layer: Conv1D | Conv2D, input_shape: Shape) -> Shape:
    image, n_channels = _split(layer, input_shape)
    if n_channels % layer.groups:
        raise ValueError(
            f"{layer.label} cannot deal {n_channels} channels into {layer.groups} groups: the "
            "groups must be of one size"
        )
    places = layer.window.n_places(image, layer.label)
    return join_shape(places, layer.filters, layer.channels_first)


def _convolve(layer: Conv1D | Conv2D, x: Array, parameters: Mapping[str, Array]) -> Array:
    window, weight = layer.window, parameters["weight"]
    image = _check_channels(layer, x, weight)
    window.n_places(image, layer.label)
    x = channels_last(x, layer.channels_first)
    # A signal is an image that is one line high.
    one_line = len(image) == 1
    if one_line:
        x = np.reshape(x, (x.shape[0], 1, *x.shape[1:]))
        weight = np.reshape(weight, (1, *weight.shape))
    how: dict[str, Any] = {
        "stride": (1,) * one_line + window.stride,
        "padding": ((0, 0),) * one_line + window.border(image),
        "dilation": (1,) * one_line + window.dilation,
        "groups": layer.groups,
    }
    if layer.use_bias:
        z = primitives.convolve_add(x, weight, parameters["bias"], **how)
    else:
        z = primitives.convolve(x, weight, **how)
    if one_line:
        z = np.reshape(z, (z.shape[0], *z.shape[2:]))
    return channels_back(z, layer.channels_first)


# What all three do


def _split(layer: Conv1D | Conv2D | Conv2DTranspose, shape: Shape) -> tuple[Shape, int]:
    return split_shape(layer.label, shape, len(layer.window.size), layer.channels_first)


def _init(
    layer: Conv1D | Conv2D | Conv2DTranspose, input_shape: Shape, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """A weight for each element of the window, channel of a group and filter; a bias a filter."""
    _, n_channels = _split(layer, input_shape)
    shape = (*layer.window.size, n_channels // layer.groups, layer.filters)
    parameters = {"weight": draw(layer.weight, rng, shape, f"{layer.label}.weight")}
    if layer.use_bias:
        parameters["bias"] = draw(layer.bias, rng, (layer.filters,), f"{layer.label}.bias")
    return parameters


def _check_channels(layer: Conv1D | Conv2D | Conv2DTranspose, x: Array, weight: Array) -> Shape:
    """The shape of the images without their channels, whose number must be that of the weight."""
    image, n_channels = _split(layer, x.shape[1:])
    wanted = weight.shape[-2] * layer.groups
    if n_channels != wanted:
        raise ValueError(
            f"{layer.label} was built for {wanted} channels but got x of shape {x.shape}"
        )
    return image


def _call(layer: Conv1D | Conv2D | Conv2DTranspose, **own: tuple[Any, Any]) -> str:
    options = {"use_bias": (layer.use_bias, True), "channels_first": (layer.channels_first, False)}
    return window_call(layer, layer.window, layer.filters, **own, **options)
