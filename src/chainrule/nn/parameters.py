"""Parameters: named arrays that lie one after the other in one flat buffer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.names import unknown_name
from chainrule.nn.context import Shape
from chainrule.primitives.dispatch import AbstractArray, Array
from chainrule.training.inputs import refuse_masked

__all__ = ["Parameters"]


class Parameters(MutableMapping[str, np.ndarray]):
    """The trained arrays of a network by name, each a view into the one vector `flat`.

    An optimizer updates `flat` in a few calls, and every view has changed. The order is that of
    the layers, and within a layer weight before bias. Assigning copies into the buffer:
    `parameters["dense_1.bias"] = array` and `parameters["dense_1.bias"][:] = 0` both work.
    Raises KeyError for an unknown name (naming the nearest), ValueError for another shape.

    >>> parameters = Parameters({"dense_1.weight": np.ones((2, 3)), "dense_1.bias": np.zeros(3)})
    >>> parameters.flat
    array([1., 1., 1., 1., 1., 1., 0., 0., 0.], dtype=float32)
    >>> parameters.flat[-1] = 7
    >>> parameters["dense_1.bias"]
    array([0., 0., 7.], dtype=float32)
    """

    __slots__ = ("_arrays", "_flat")

    def __init__(
        self, arrays: Mapping[str, npt.ArrayLike], dtype: npt.DTypeLike = np.float32
    ) -> None:
        parts = {name: np.asarray(array) for name, array in arrays.items()}
        self._flat: np.ndarray = np.empty(sum(part.size for part in parts.values()), dtype)
        self._arrays: dict[str, np.ndarray] = _views(
            self._flat, {name: part.shape for name, part in parts.items()}
        )
        for name, part in parts.items():
            self._arrays[name][...] = part

    @property
    def flat(self) -> np.ndarray:
        """The one buffer, (n_parameters,); change it in place: `parameters.flat[:] = vector`."""
        return self._flat

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._flat.dtype

    @property
    def shapes(self) -> dict[str, Shape]:
        """Name -> shape, in the order of the buffer."""
        return {name: array.shape for name, array in self._arrays.items()}

    def part(self, names: Sequence[tuple[str, str]]) -> Parameters:
        """Arrays that follow one another here, in the same memory, by other names: (new, old)."""
        other = object.__new__(Parameters)
        other._arrays = {new: self[old] for new, old in names}
        sizes = [array.size for array in self._arrays.values()]
        first = list(self._arrays).index(names[0][1]) if names else 0
        start = sum(sizes[:first])
        other._flat = self._flat[start : start + sum(sizes[first : first + len(names)])]
        return other

    def unflatten(self, flat: Array) -> dict[str, Array]:
        """A vector (n_parameters,) as the dict of arrays it stands for, in the buffer's order.

        An ndarray gives views; a tensor or traced vector gives slices a gradient flows through.
        """
        if np.shape(flat) != self._flat.shape:
            raise ValueError(
                f"the vector has shape {np.shape(flat)} but there are {self._flat.size} "
                f"parameters: give one of shape {self._flat.shape}"
            )
        return _views(flat, self.shapes)

    def flatten(self, arrays: Mapping[str, Array]) -> Array:
        """The vector (n_parameters,) of a mapping with exactly these names and shapes.

        The inverse of `unflatten`; arrays give a new ndarray, tensors a tensor.
        """
        if missing := [name for name in self if name not in arrays]:
            raise KeyError(f"{missing[0]!r} is missing: give all of {', '.join(self)}")
        for name, array in arrays.items():
            self._check_shape(name, np.shape(array))
        if not self._arrays:
            return np.empty(0, self.dtype)
        return np.concatenate([np.reshape(arrays[name], (-1,)) for name in self])

    def _check_shape(self, name: str, shape: Shape) -> None:
        expected = self[name].shape
        if shape != expected:
            raise ValueError(f"{name} has shape {expected} but was given an array of shape {shape}")

    def __getitem__(self, name: str) -> np.ndarray:
        try:
            return self._arrays[name]
        except KeyError:
            raise KeyError(unknown_name("parameter", name, self)) from None

    def __setitem__(self, name: str, value: npt.ArrayLike) -> None:
        if isinstance(value, AbstractArray):
            raise TypeError(f"{name} holds an ndarray: assign the .value of a tensor")
        refuse_masked(value, name)
        array = np.asarray(value)
        self._check_shape(name, array.shape)
        if array.dtype.kind not in "fiu":
            raise TypeError(f"{name} holds real numbers but was given an array of {array.dtype}")
        self._arrays[name][...] = array

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"{name} cannot be removed: a network keeps the parameters of its layers")

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        names = ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())
        return f"Parameters({names}; {self._flat.size} values, {self.dtype})"

    # Copying and pickling carry the buffer and the shapes: views would come back as loose arrays.

    def __getstate__(self) -> dict[str, Any]:
        return {"flat": self._flat, "shapes": self.shapes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._flat = state["flat"]
        self._arrays = _views(self._flat, state["shapes"])


def _views(flat: Array, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """Consecutive parts of a vector, each in its shape."""
    parts: dict[str, Array] = {}
    start = 0
    for name, shape in shapes.items():
        stop = start + math.prod(shape)
        parts[name] = np.reshape(flat[start:stop], shape)
        start = stop
    return parts
