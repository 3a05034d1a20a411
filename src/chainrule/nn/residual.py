"""Networks that are not a straight stack: Residual, and Combine for any other shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import numpy as np

from chainrule.nn.layer import Context, Layer, Shape
from chainrule.nn.stack import (
    LayerLike,
    Stack,
    as_layer,
    forward_inner,
    init_inner,
    init_state_inner,
    name_layer,
)
from chainrule.primitives.dispatch import Array

__all__ = ["Combine", "Residual"]

_ROWS = 1024  # inputs that Combine looks at in one go


@final
class Residual(Layer):
    """x + layers(x): the layers learn what to change, and the cotangent has a direct way back.

    `layers` are what `Network` takes. They must keep the shape of their input, or `projection`, a
    layer such as nn.Dense(64, use_bias=False), brings the input to the shape they give; a Dense
    acts on the last axis, so among images it is a convolution of 1 x 1. Parameters are
    "residual_1.dense_1.weight" and so on, those of the projection
    "residual_1.projection.weight". Raises ValueError for shapes that cannot be added.
    He, Zhang, Ren and Sun, "Deep residual learning for image recognition", 2016, section 3.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Residual([nn.Dense(4), "relu", nn.Dense(2)])], input_shape=2)
    >>> list(net.parameters)[::2]
    ['residual_1.dense_1.weight', 'residual_1.dense_2.weight']
    """

    def __init__(
        self,
        layers: Iterable[LayerLike],
        *,
        projection: LayerLike | None = None,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.stack = Stack(layers)
        self.projection = None if projection is None else as_layer(projection)
        if self.projection is not None:
            self.projection.name = "projection"
            name_layer(self.projection, self.stack.layers)

    def output_shape(self, input_shape: Shape) -> Shape:
        shape = self.stack.output_shape(input_shape)
        direct = input_shape
        if self.projection is not None:
            direct = self.projection.output_shape(input_shape)
        if direct != shape:
            what, fix = "its input", "the projection"
            if self.projection is not None:
                what = "the projection of its input"
            else:
                fix = f"projection=nn.Dense({shape[-1]}, use_bias=False)" if shape else fix
            raise ValueError(
                f"{self.label} adds {what}, samples of shape {direct}, to what its layers give, "
                f"{shape}: let the shapes agree, by the layers or by {fix}"
            )
        return shape

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        parameters = self.stack.init(input_shape, rng)
        if self.projection is not None:
            parameters.update(init_inner(self.projection, input_shape, rng))
        return parameters

    def init_state(self, input_shape: Shape) -> dict[str, np.ndarray]:
        state = self.stack.init_state(input_shape)
        if self.projection is not None:
            state.update(init_state_inner(self.projection, input_shape))
        return state

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        change = self.stack.forward(x, parameters, context)
        if self.projection is not None:
            x = forward_inner(self.projection, x, parameters, context)
        return x + change

    def __repr__(self) -> str:
        layers = f"[{', '.join(map(repr, self.stack.layers))}]"
        projected = "" if self.projection is None else f", projection={self.projection!r}"
        return f"Residual({layers}{projected})"


@final
class Combine(Layer):
    """A function of your own of the inputs and of layers, for networks that branch and join.

    `function(x, **layers)` is called with the inputs (N, *input_shape) and with each of the
    keyword arguments as a function of one array: `dense(x)`. A layer may be given as what `Network`
    takes, or as a list of them. One that is called twice shares its parameters, which are
    "combine_1.dense.weight" and so on; one with state, such as BatchNorm, is called once.
    The function is made of NumPy functions and primitives, decides by shapes and never by values,
    and is tried on zeros to find the shapes. Raises ValueError for a layer it does not call, and
    for one it calls with samples of two shapes.

    >>> import numpy as np
    >>> from chainrule import nn
    >>> def branches(x, wide, deep):
    ...     return np.concatenate([wide(x), deep(x)], axis=-1)
    >>> deep = [nn.Dense(5), nn.ReLU(), nn.Dense(2)]
    >>> net = nn.Network([nn.Combine(branches, wide=nn.Dense(3), deep=deep)], input_shape=4)
    >>> net.output_shape, list(net.parameters)[:4:2]
    ((5,), ['combine_1.wide.weight', 'combine_1.deep.dense_1.weight'])
    """

    def __init__(
        self,
        function: Callable[..., Array],
        *,
        name: str = "",
        **layers: LayerLike | Iterable[LayerLike],
    ) -> None:
        super().__init__(name=name)
        if not callable(function):
            raise TypeError(f"Combine takes a function first, but got {function!r}")
        self.function = function
        self.layers = tuple(_named(key, layer) for key, layer in layers.items())

    @property
    def takes_integers(self) -> bool:
        return any(layer.takes_integers for layer in self.layers)

    def check_inputs(self, x: np.ndarray) -> None:
        for start in range(0, len(x), _ROWS):
            self._try(x[start : start + _ROWS])

    def _try(self, x: np.ndarray) -> tuple[dict[str, Shape], Shape]:
        """The shape each layer is called with, and that of the output, of layers that give zeros.

        Layers that take integers look at the values they are given.
        """
        shapes: dict[str, Shape] = {}

        def stand_in(layer: Layer) -> Callable[[Any], np.ndarray]:
            def give_zeros(x: Any) -> np.ndarray:
                shape = shapes.setdefault(layer.name, x.shape[1:])
                if x.shape[1:] != shape:
                    raise ValueError(
                        f"{self.label} calls {layer.name} with samples of shape {shape} and then "
                        f"of {x.shape[1:]}: a layer that is used twice takes one shape"
                    )
                if layer.takes_integers and x.dtype.kind in "iu":
                    layer.check_inputs(x)
                return np.zeros((x.shape[0], *layer.output_shape(shape)))

            return give_zeros

        out = self.function(x, **{layer.name: stand_in(layer) for layer in self.layers})
        if np.ndim(out) < 1 or np.shape(out)[0] != len(x):
            raise ValueError(
                f"{self.label}: the function turned shape {x.shape} into {np.shape(out)}, but it "
                "must keep the first axis, that of the samples"
            )
        for layer in self.layers:
            if layer.name not in shapes:
                raise ValueError(f"{self.label}: the function does not call its layer {layer.name}")
        return shapes, np.shape(out)[1:]

    def _shapes(self, input_shape: Shape) -> tuple[dict[str, Shape], Shape]:
        # Two samples, so that a function which loses the first axis does not go unseen.
        dtype = np.intp if self.takes_integers else np.float64
        return self._try(np.zeros((2, *input_shape), dtype))

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._shapes(input_shape)[1]

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shapes, parameters = self._shapes(input_shape)[0], {}
        for layer in self.layers:
            parameters.update(init_inner(layer, shapes[layer.name], rng))
        return parameters

    def init_state(self, input_shape: Shape) -> dict[str, np.ndarray]:
        shapes, state = self._shapes(input_shape)[0], {}
        for layer in self.layers:
            state.update(init_state_inner(layer, shapes[layer.name]))
        return state

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        def bound(layer: Layer) -> Callable[[Array], Array]:
            return lambda x: forward_inner(layer, x, parameters, context)

        return self.function(x, **{layer.name: bound(layer) for layer in self.layers})

    def __repr__(self) -> str:
        function = getattr(self.function, "__name__", self.function)
        layers = "".join(f", {layer.name}={layer!r}" for layer in self.layers)
        return f"Combine({function}{layers})"


def _named(key: str, layer: Any) -> Layer:
    named: Layer = Stack(layer) if isinstance(layer, list | tuple) else as_layer(layer)
    named.name = key
    return named
