"""Convolution layers: the same small weights at every place of a signal or an image.

Channels stand last, as in x (N, height, width, channels); with `channels_first=True` a layer takes
and gives (N, channels, height, width), by moving the axis before and after.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from chainrule import primitives
from chainrule.nn.initializers import Initializer, draw
from chainrule.nn.layer import Context, Layer, Shape
from chainrule.nn.windows import (
    Window,
    as_window,
    channels_back,
    channels_last,
    sizes,
    split_shape,
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
        weight: str | Initializer | npt.ArrayLike = "glorot_uniform",
        bias: str | Initializer | npt.ArrayLike = "zeros",
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
        image, n_channels = split_shape(self.label, input_shape, 2, self.channels_first)
        _check_groups(self.label, n_channels, self.groups)
        places = self.window.n_places(image, self.label)
        return (self.filters, *places) if self.channels_first else (*places, self.filters)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        _, n_channels = split_shape(self.label, input_shape, 2, self.channels_first)
        shape = (*self.window.size, n_channels // self.groups, self.filters)
        return _draw_parameters(self, rng, shape)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        image, n_channels = split_shape(self.label, x.shape[1:], 2, self.channels_first)
        weight = parameters["weight"]
        _check_channels(self.label, n_channels, weight.shape[2] * self.groups, x.shape)
        self.window.n_places(image, self.label)
        x = channels_last(x, self.channels_first)
        how: dict[str, Any] = {
            "stride": self.window.stride,
            "padding": self.window.border(image),
            "dilation": self.window.dilation,
            "groups": self.groups,
        }
        if self.use_bias:
            z = primitives.convolve_add(x, weight, parameters["bias"], **how)
        else:
            z = primitives.convolve(x, weight, **how)
        return channels_back(z, self.channels_first)

    def __repr__(self) -> str:
        return _describe(self, self.filters, self.window, self.groups)


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
        weight: str | Initializer | npt.ArrayLike = "glorot_uniform",
        bias: str | Initializer | npt.ArrayLike = "zeros",
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
        signal, n_channels = split_shape(self.label, input_shape, 1, self.channels_first)
        _check_groups(self.label, n_channels, self.groups)
        places = self.window.n_places(signal, self.label)
        return (self.filters, *places) if self.channels_first else (*places, self.filters)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        _, n_channels = split_shape(self.label, input_shape, 1, self.channels_first)
        shape = (*self.window.size, n_channels // self.groups, self.filters)
        return _draw_parameters(self, rng, shape)

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        signal, n_channels = split_shape(self.label, x.shape[1:], 1, self.channels_first)
        weight = parameters["weight"]
        _check_channels(self.label, n_channels, weight.shape[1] * self.groups, x.shape)
        (n_places,) = self.window.n_places(signal, self.label)
        # A signal is an image that is one line high.
        lines = channels_last(x, self.channels_first)
        lines = np.reshape(lines, (x.shape[0], 1, *signal, n_channels))
        kernel = np.reshape(weight, (1, *weight.shape))
        how: dict[str, Any] = {
            "stride": (1, *self.window.stride),
            "padding": ((0, 0), *self.window.border(signal)),
            "dilation": (1, *self.window.dilation),
            "groups": self.groups,
        }
        if self.use_bias:
            z = primitives.convolve_add(lines, kernel, parameters["bias"], **how)
        else:
            z = primitives.convolve(lines, kernel, **how)
        z = np.reshape(z, (x.shape[0], n_places, self.filters))
        return channels_back(z, self.channels_first)

    def __repr__(self) -> str:
        return _describe(self, self.filters, self.window, self.groups)


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
        weight: str | Initializer | npt.ArrayLike = "glorot_uniform",
        bias: str | Initializer | npt.ArrayLike = "zeros",
        channels_first: bool = False,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.filters, _ = _counts(self.label, filters, 1)
        self.window = as_window(self.label, 2, size, stride, padding, dilation)
        self.output_padding = sizes(self.label, "output_padding", output_padding, 2, least=0)
        if any(n >= step for n, step in zip(self.output_padding, self.window.stride, strict=True)):
            raise ValueError(
                f"{self.label} takes an output_padding less than the stride, but got "
                f"{self.output_padding} with stride {self.window.stride}"
            )
        self.use_bias = use_bias
        self.weight = weight
        self.bias = bias
        self.channels_first = channels_first

    def output_shape(self, input_shape: Shape) -> Shape:
        image, _ = split_shape(self.label, input_shape, 2, self.channels_first)
        larger = self._larger(image)
        return (self.filters, *larger) if self.channels_first else (*larger, self.filters)

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
        _, n_channels = split_shape(self.label, input_shape, 2, self.channels_first)
        return _draw_parameters(self, rng, (*self.window.size, n_channels, self.filters))

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        image, n_channels = split_shape(self.label, x.shape[1:], 2, self.channels_first)
        weight = parameters["weight"]
        _check_channels(self.label, n_channels, weight.shape[2], x.shape)
        larger = self._larger(image)
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
        return _describe(self, self.filters, self.window, 1)


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


def _check_groups(label: str, n_channels: int, groups: int) -> None:
    if n_channels % groups:
        raise ValueError(
            f"{label} cannot deal {n_channels} channels into {groups} groups: the groups must be "
            "of one size"
        )


def _check_channels(label: str, n_channels: int, wanted: int, shape: Shape) -> None:
    if n_channels != wanted:
        raise ValueError(f"{label} was built for {wanted} channels but got x of shape {shape}")


def _draw_parameters(
    layer: Conv1D | Conv2D | Conv2DTranspose, rng: np.random.Generator, shape: Shape
) -> dict[str, np.ndarray]:
    """The initial parameters: a weight of this shape, and a bias per filter."""
    parameters = {"weight": draw(layer.weight, rng, shape, f"{layer.label}.weight")}
    if layer.use_bias:
        parameters["bias"] = draw(layer.bias, rng, (layer.filters,), f"{layer.label}.bias")
    return parameters


def _describe(layer: Layer, filters: int, window: Window, groups: int) -> str:
    """The call that makes the layer, with the options that are not the usual ones."""

    def short(each: Shape) -> Any:
        return each[0] if len(set(each)) == 1 else each

    words = [str(filters), str(short(window.size))]
    if max(window.stride) > 1:
        words.append(f"stride={short(window.stride)}")
    if window.padding != "valid":
        words.append(f"padding={window.padding!r}")
    if max(window.dilation) > 1:
        words.append(f"dilation={short(window.dilation)}")
    if groups > 1:
        words.append(f"groups={groups}")
    return f"{type(layer).__name__}({', '.join(words)})"
