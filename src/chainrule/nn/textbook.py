"""What a textbook calls the values of a network: W1, b1, z1 and a1 for its first layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from chainrule.nn.layer import Layer, Shape
from chainrule.training.trainable import TextbookNames

__all__ = ["textbook_names"]

_LETTERS = {"weight": "W", "bias": "b", "recurrent_weight": "U"}


def textbook_names(
    layers: Sequence[Layer], input_shape: Shape, parameters: Iterable[str]
) -> TextbookNames:
    """Names for the results of these layers, and for the parameters of these names.

    A layer with parameters begins a number, and the activation after it belongs to that number.
    Of a layer made of others, each with parameters begins a number, and the result has its name.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(1)], input_shape=2)
    >>> net.textbook_names().layers
    {'dense_1': 'z1', 'tanh_1': 'a1', 'dense_2': 'z2'}
    """
    names: dict[str, str] = {}
    number, shape = 0, input_shape
    numbers: dict[str, int] = {}
    parameters = list(parameters)
    owners = dict.fromkeys(name.rpartition(".")[0] for name in parameters)
    for layer in layers:
        before, shape = shape, layer.output_shape(shape)
        own = [name for name in owners if f"{name}.".startswith(f"{layer.name}.")]
        if own and own != [layer.name]:
            names[layer.name] = layer.name
        for name in own:
            number += 1
            names[name] = f"z{number}"
            numbers[name] = number
        if not own:
            names[layer.name] = f"a{number}" if number and shape == before else layer.name
    of_parameters = {}
    for name in parameters:
        owner, short = name.rsplit(".", 1)
        of_parameters[name] = f"{_LETTERS.get(short, f'{short}_')}{numbers[owner]}"
    return TextbookNames(names, of_parameters)
