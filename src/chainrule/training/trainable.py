"""What can be trained: named parameters in one vector, and a pure function of them.

Training knows nothing of layers. `nn.Network` is what it is made for, but whatever has these
properties can be handed to `chainrule.training.fit.fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.training.losses import Loss
from chainrule.training.measured import Measured

__all__ = ["ArraysByName", "FlatParameters", "TextbookNames", "Trainable"]

ArraysByName: TypeAlias = Mapping[str, Array]
"""Parameters, slots or state: arrays, tensors or traced variables by name."""

Shape: TypeAlias = tuple[int, ...]


class FlatParameters(Protocol):
    """Named arrays that are consecutive parts of one vector, as `nn.Parameters` holds them."""

    @property
    def flat(self) -> np.ndarray:
        """The vector, (n_parameters,), which is changed in place."""

    @property
    def shapes(self) -> dict[str, Shape]:
        """The shape of each array by name, in the order of the vector."""

    def unflatten(self, flat: Array) -> dict[str, Array]:
        """The arrays that a vector (n_parameters,) stands for."""

    def flatten(self, arrays: ArraysByName) -> Array:
        """The vector of these arrays."""


class TextbookNames(NamedTuple):
    """What a textbook calls the values: `layers` their results (z1, a1), `parameters` W1, b1."""

    layers: dict[str, str]
    parameters: dict[str, str]


class Trainable(Protocol):
    """Parameters, state, and what is computed with them.

    `apply` is pure: it computes from its arguments alone, with NumPy functions and primitives, so
    that it can be differentiated and compiled. `parts` are the objects by name whose attributes it
    reads while it runs. `step` is where `fit` leaves the compiled step, None where there is none,
    and `measured` what `fit` was asked to minimise. `batch_training` is what `train_on_batch` keeps
    from call to call, None for nothing.
    """

    measured: Measured
    batch_training: Any

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the parameters and the outputs."""

    @property
    def parameters(self) -> FlatParameters:
        """What is trained."""

    @property
    def state(self) -> dict[str, np.ndarray]:
        """What is kept but not trained."""

    @property
    def output_shape(self) -> Shape:
        """The shape of one output sample."""

    @property
    def parts(self) -> Mapping[str, object]:
        """What `apply` reads beside its arguments."""

    def apply(
        self, parameters: ArraysByName, state: ArraysByName, x: Array, training: bool, rng: Any
    ) -> tuple[Array, dict[str, Array]]:
        """The outputs (N, *output_shape) for inputs x (N, ...), and the state afterwards."""

    def infer(self, x: np.ndarray) -> np.ndarray:
        """The outputs for inputs that `as_inputs` has made, by the present parameters."""

    def as_inputs(self, x: Any, name: str = "x", seed: Any = None) -> np.ndarray:
        """The inputs as `apply` takes them, or an error that calls them `name`.

        What is not built yet is built for them, by the seed where it has none of its own.
        """

    def is_one_sample(self, x: Any) -> bool:
        """Whether x is one sample, without the axis of samples."""

    def check_loss(self, loss: Loss) -> None:
        """Raise ValueError for a loss that does not go with the outputs."""

    def check_batch_size(self, batch_size: int) -> None:
        """Raise ValueError for batches that are too small to train on."""

    def restarted(self, seed: int) -> Trainable:
        """A copy with parameters and state as they are before any training.

        They are drawn by its own seed, by this one where it has none.
        """

    def keep_step(self, step: Any) -> None:
        """Remember the compiled step, or that there is none (None)."""

    def textbook_names(self) -> TextbookNames:
        """Names for the values in the source of a step."""
