"""Networks of known designs, as lists of layers to train as they are or to change.

>>> from chainrule import nn
>>> nn.Network(nn.models.lenet(10), input_shape=(28, 28, 1))
Network(28x28x1-28x28x6-10x10x16-120-84-10, relu, max_pool2d, flatten)
>>> len([*nn.models.lenet(10), nn.Softmax()])
13
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chainrule.nn.activation import get_activation
from chainrule.nn.convolution import Conv2D
from chainrule.nn.dense import Dense
from chainrule.nn.dropout import Dropout
from chainrule.nn.layer import Layer
from chainrule.nn.normalization import BatchNorm
from chainrule.nn.pooling import MaxPool2D
from chainrule.nn.reshape import Flatten

__all__ = ["MODELS", "convnet", "dense", "lenet"]

# Activations with a kink or a flat side at 0 start from He's initializer, the others from Glorot's.
_RECTIFIERS = ("elu", "gelu", "leaky_relu", "relu", "silu")


def dense(n_outputs: int, units: Iterable[int] = (128,), activation: str = "relu") -> list[Layer]:
    """Dense layers of so many `units`, the activation after each, and a Dense layer of outputs.

    x (N, n_features) -> (N, n_outputs). Raises ValueError for an unknown activation.

    >>> from chainrule import nn
    >>> nn.Network(dense(3, [8, 5], "tanh"), input_shape=4)
    Network(4-8-5-3, tanh)
    """
    weight = _initializer(activation)
    layers: list[Layer] = []
    for n_units in units:
        layers += [Dense(n_units, weight=weight), get_activation(activation)]
    return [*layers, Dense(n_outputs)]


def lenet(n_outputs: int, activation: str = "relu") -> list[Layer]:
    """LeNet-5: two convolutions, each with a pooling, then three dense layers.

    x (N, H, W, C) -> (N, n_outputs), for images of at least 12x12; the published ones are 28x28
    with a border of 2. As is usual today it has max pooling, ReLU and a plain last layer, for the
    published trained averages, scaled tanh and radial basis functions; and each filter of the
    second convolution sees all six of the first, not a choice of them.
    Raises ValueError for an unknown activation, and once built for images that are too small.
    LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition",
    1998, section II.B.

    >>> from chainrule import nn
    >>> nn.Network(lenet(10), input_shape=(28, 28, 1)).parameters.flat.size
    61706
    """
    weight = _initializer(activation)
    return [
        Conv2D(6, 5, padding="same", weight=weight),
        get_activation(activation),
        MaxPool2D(2),
        Conv2D(16, 5, weight=weight),
        get_activation(activation),
        MaxPool2D(2),
        Flatten(),
        Dense(120, weight=weight),
        get_activation(activation),
        Dense(84, weight=weight),
        get_activation(activation),
        Dense(n_outputs),
    ]


def convnet(
    n_outputs: int,
    activation: str = "relu",
    *,
    filters: Iterable[int] = (16, 32, 64, 128),
    dropout: float = 0.5,
) -> list[Layer]:
    """A plain network for images as built today: convolutions of 3x3, normalised, pooled between.

    x (N, H, W, C) -> (N, n_outputs). Each pooling halves the image, and the next convolution has
    twice as many filters, so that the last sees the whole image; dropout stands before the dense
    layer of outputs. The convolutions need no bias, for the normalisation takes the mean away.
    Raises ValueError for an unknown activation, and once built for images that are too small to
    be halved so often: with four convolutions, below 8x8.
    Small kernels in many layers after Simonyan and Zisserman, "Very deep convolutional networks for
    large-scale image recognition", 2015, section 2; convolution, normalisation, activation in this
    order after Ioffe and Szegedy, "Batch normalization", 2015, section 3.2.

    >>> from chainrule import nn
    >>> nn.Network(convnet(10, filters=[8, 16]), input_shape=(28, 28, 1)).parameters.flat.size
    32642
    """
    weight = _initializer(activation)
    layers: list[Layer] = []
    for n_filters in filters:
        if layers:
            layers.append(MaxPool2D(2))
        layers += [
            Conv2D(n_filters, 3, padding="same", use_bias=False, weight=weight),
            BatchNorm(),
            get_activation(activation),
        ]
    return [*layers, Flatten(), Dropout(dropout), Dense(n_outputs)]


def _initializer(activation: str) -> str:
    """The initializer that suits an activation."""
    return "he_uniform" if activation in _RECTIFIERS else "glorot_uniform"


MODELS: dict[str, Callable[..., list[Layer]]] = {
    "dense": dense,
    "lenet": lenet,
    "convnet": convnet,
}
"""The designs by name; all but `dense` take images (N, height, width, channels)."""
