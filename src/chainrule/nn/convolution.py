"""Convolution layers: the same small weights at every place of a signal or an image.

Channels stand last, as in x (N, height, width, channels); with `channels_first=True` a layer takes
and gives (N, channels, height, width), by moving the axis before and after.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from chainrule import primitives
from chainrule.nn.initializers import Start, draw
from chainrule.nn.layer import Context, Layer, Shape
from chainrule.nn.windows import (
    Border,
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


class _Convolution(Layer):
    """What all three do: parameters, order of the axes, shapes, and the call that makes them."""

    _n_axes = 2

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
        self.window = as_window(self.label, self._n_axes, size, stride, padding, dilation)
        self.use_bias = use_bias
        self.weight = weight
        self.bias = bias
        self.channels_first = channels_first

    def _split(self, shape: Shape) -> tuple[Shape, int]:
        return split_shape(self.label, shape, self._n_axes, self.channels_first)

    def _size(self, image: Shape) -> Shape:
        """The size of the results for images of this size."""
        return self.window.n_places(image, self.label)

    def output_shape(self, input_shape: Shape) -> Shape:
        image, n_channels = self._split(input_shape)
        if n_channels % self.groups:
            raise ValueError(
                f"{self.label} cannot deal {n_channels} channels into {self.groups} groups: the "
                "groups must be of one size"
            )
        return join_shape(self._size(image), self.filters, self.channels_first)

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """A weight for each element of the window, channel of a group and filter; a bias each."""
        _, n_channels = self._split(input_shape)
        shape = (*self.window.size, n_channels // self.groups, self.filters)
        parameters = {"weight": draw(self.weight, rng, shape, f"{self.label}.weight")}
        if self.use_bias:
            parameters["bias"] = draw(self.bias, rng, (self.filters,), f"{self.label}.bias")
        return parameters

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        weight, bias = parameters["weight"], parameters["bias"] if self.use_bias else None
        image, n_channels = self._split(x.shape[1:])
        wanted = weight.shape[-2] * self.groups
        if n_channels != wanted:
            raise ValueError(
                f"{self.label} was built for {wanted} channels but got x of shape {x.shape}"
            )
        z = self._apply(channels_last(x, self.channels_first), weight, bias, image)
        return channels_back(z, self.channels_first)

    @abstractmethod
    def _apply(self, x: Array, weight: Array, bias: Array | None, image: Shape) -> Array:
        """The results for x with its channels last, images of this size."""

    def _options(self) -> dict[str, tuple[Any, Any]]:
        """What a call of the layer has beside its window: each option and its default."""
        return {"groups": (self.groups, 1)}

    def __repr__(self) -> str:
        options = {
            **self._options(),
            "use_bias": (self.use_bias, True),
            "channels_first": (self.channels_first, False),
        }
        return window_call(self, self.window, self.filters, **options)


@final
class Conv2D(_Convolution):
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

    def _apply(self, x: Array, weight: Array, bias: Array | None, image: Shape) -> Array:
        self._size(image)  # an image that is too small is refused by the layer's name
        window = self.window
        return _convolve(
            x, weight, bias, window.stride, window.border(image), window.dilation, self.groups
        )


@final
class Conv1D(_Convolution):
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

    _n_axes = 1

    def _apply(self, x: Array, weight: Array, bias: Array | None, image: Shape) -> Array:
        self._size(image)
        window = self.window
        # A signal is an image that is one line high.
        z = _convolve(
            np.reshape(x, (x.shape[0], 1, *x.shape[1:])),
            np.reshape(weight, (1, *weight.shape)),
            bias,
            (1, *window.stride),
            ((0, 0), *window.border(image)),
            (1, *window.dilation),
            self.groups,
        )
        return np.reshape(z, (z.shape[0], *z.shape[2:]))


@final
class Conv2DTranspose(_Convolution):
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
        super().__init__(
            filters, size, stride=stride, padding=padding, dilation=dilation, use_bias=use_bias,
            weight=weight, bias=bias, channels_first=channels_first, name=name,
        )  # fmt: skip
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

    def _size(self, image: Shape) -> Shape:
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

    def _apply(self, x: Array, weight: Array, bias: Array | None, image: Shape) -> Array:
        larger, window = self._size(image), self.window
        z = primitives.convolve_transpose(
            x,
            np.swapaxes(weight, 2, 3),
            size=larger,
            stride=window.stride,
            padding=window.border(larger),
            dilation=window.dilation,
        )
        return z if bias is None else z + bias

    def _options(self) -> dict[str, tuple[Any, Any]]:
        more = self.output_padding
        return {"output_padding": (more if any(more) else 0, 0)}


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


def _convolve(
    x: Array,
    weight: Array,
    bias: Array | None,
    stride: Shape,
    padding: Border,
    dilation: Shape,
    groups: int,
) -> Array:
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if bias is None:
        return primitives.convolve(x, weight, **how)
    return primitives.convolve_add(x, weight, bias, **how)
