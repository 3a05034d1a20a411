"""What `chainrule train` takes for each data set where the user does not say otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["SCHEDULES", "Recipe", "recipe_for"]


@dataclass(frozen=True)
class Recipe:
    """Hidden layers and training of a network; the loss follows from the kind of data.

    `layers` is for dense networks; `schedule` is one of `SCHEDULES`.
    """

    layers: tuple[int, ...] = (32,)
    activation: str = "relu"
    optimizer: str = "adam"
    learning_rate: float = 0.003
    epochs: int = 100
    batch_size: int = 32
    schedule: str = "constant"


SCHEDULES = ("constant", "cosine")
"""How the learning rate goes: it stays, or falls to 0 along half a cosine wave."""


_RECIPES = {
    "xor": Recipe((8,), "tanh", learning_rate=0.05, epochs=200, batch_size=4),
    "circles": Recipe((16,), "tanh", learning_rate=0.01, epochs=100),
    "moons": Recipe((16, 16), "tanh", learning_rate=0.01, epochs=100),
    "spirals": Recipe((64, 64), "relu", learning_rate=0.005, epochs=200),
    "iris": Recipe((8,), "tanh", learning_rate=0.01, epochs=60, batch_size=16),
    "wine": Recipe((16,), "tanh", learning_rate=0.01, epochs=50, batch_size=16),
    "breast_cancer": Recipe((16,), "relu", learning_rate=0.002, epochs=30),
    "diabetes": Recipe((16,), "tanh", learning_rate=0.003, epochs=25),
    "digits": Recipe((128,), "relu", learning_rate=0.003, epochs=40),
    "mnist": Recipe((128,), "relu", learning_rate=0.001, epochs=8, batch_size=64),
    "fashion_mnist": Recipe((128,), "relu", learning_rate=0.001, epochs=10, batch_size=64),
    "ex4": Recipe((64,), "relu", learning_rate=0.003, epochs=20, batch_size=50),
}


# Convolutional networks, for the tens of thousands of images of MNIST and its like.
_CONVOLUTIONAL = {
    "lenet": Recipe(learning_rate=0.002, epochs=4, schedule="cosine"),
    "convnet": Recipe(epochs=8, batch_size=64, schedule="cosine"),
}
_SETS_OF_MANY_IMAGES = ("mnist", "fashion_mnist")


def recipe_for(name: str, model: str = "dense") -> Recipe:
    """The recipe of a data set for one of `nn.models`; a middling one where there is none."""
    if model == "dense":
        return _RECIPES.get(name, Recipe())
    recipe = _CONVOLUTIONAL[model]
    return recipe if name in _SETS_OF_MANY_IMAGES else replace(recipe, epochs=20, batch_size=32)
