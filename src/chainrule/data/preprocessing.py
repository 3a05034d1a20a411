"""What is done to data before a network sees it, fitted once and kept with it: `Preprocessing`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt

from chainrule.data.steps import STEPS, Step, StepLike, make_step
from chainrule.nn import Layer

__all__ = ["Preprocessing"]

Array: TypeAlias = npt.NDArray[Any]


@final
class Preprocessing:
    """Steps for inputs and for targets, fitted together, which a file can hold.

    `inputs` and `targets` are steps in their order: names of `STEPS`, names with options as
    ("min_max", {"per_feature": False}), or steps. "standard" and "min_max" scale features,
    "reshape" and "cast" change shape and dtype, "classes" makes labels of class names and "one_hot"
    rows of labels. All of this is NumPy's work before training; `layers` does that of the inputs in
    the network instead. Raises ValueError for an unknown name, naming the nearest.

    >>> prepare = Preprocessing(inputs=["min_max"], targets=["classes", "one_hot"])
    >>> prepare = prepare.fit([[0, 10], [4, 20]], ["no", "yes"])
    >>> prepare.transform([[1, 15]])
    array([[0.25, 0.5 ]])
    >>> prepare.transform_targets(["yes"])
    array([[0., 1.]], dtype=float32)
    >>> prepare.inverse_targets([[0.1, 0.9], [0.7, 0.3]])
    array(['yes', 'no'], dtype='<U3')
    >>> prepare == Preprocessing.from_dict(prepare.to_dict())
    True
    """

    def __init__(self, inputs: Iterable[StepLike] = (), targets: Iterable[StepLike] = ()) -> None:
        self.inputs = _Chain("x", tuple(make_step(each, STEPS) for each in inputs))
        self.targets = _Chain("y", tuple(make_step(each, STEPS) for each in targets))

    def fit(self, x: Any, y: Any = None) -> Preprocessing:
        """Fit the steps to inputs x (N, ...) and targets y (N, ...), and return this object.

        Raises ValueError or TypeError for arrays that the steps cannot take, and where there are
        steps for targets and no y.
        """
        if y is None and self.targets.steps:
            raise ValueError("there are steps for targets but no y: give fit(x, y)")
        fitted = self.inputs.fit(x), self.targets if y is None else self.targets.fit(y)
        self.inputs, self.targets = fitted
        return self

    def transform(self, x: Any) -> Array:
        """Inputs as the steps make them; raises ValueError for samples of another shape."""
        return self.inputs.transform(x)

    def inverse(self, x: Any) -> Array:
        """The inputs that `transform` would have made these of."""
        return self.inputs.inverse(x)

    def transform_targets(self, y: Any) -> Array:
        """Targets as the steps make them; raises ValueError for a class that was not in `fit`."""
        return self.targets.transform(y)

    def inverse_targets(self, y: Any) -> Array:
        """The targets that these, or a network's outputs, stand for: class names, values."""
        return self.targets.inverse(y)

    def layers(self) -> list[Layer]:
        """Layers that do to inputs what `transform` does, to stand first in a network.

        Such a network takes data as they were measured, and computes in its own dtype. A cast needs
        no layer. Raises ValueError where a step has none, such as "classes", or is not fitted.

        >>> from chainrule import nn
        >>> prepare = Preprocessing(inputs=["min_max"]).fit([[0.0], [4.0]])
        >>> nn.Network([*prepare.layers(), nn.Dense(1, weight=[[8.0]])])(np.array([[1.0]]))
        array([[2.]], dtype=float32)
        """
        return [layer for step in self.inputs.fitted() for layer in step.layers()]

    def to_dict(self) -> dict[str, Any]:
        """All of it as dicts, lists, numbers and text, for JSON."""
        return {
            "version": 1,
            "inputs": self.inputs.to_dict(),
            "targets": self.targets.to_dict(),
        }

    @staticmethod
    def from_dict(
        given: Mapping[str, Any], steps: Mapping[str, type[Step]] = STEPS
    ) -> Preprocessing:
        """What `to_dict` gave; `steps` is the table of names, where there are some of your own."""
        if given.get("version") != 1:
            raise ValueError(
                f"the preprocessing is of version {given.get('version')!r}, and this chainrule "
                "reads version 1: use the one that wrote it"
            )
        found = Preprocessing()
        found.inputs = _Chain.from_dict("x", given["inputs"], steps)
        found.targets = _Chain.from_dict("y", given["targets"], steps)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Preprocessing):
            return NotImplemented
        return (self.inputs, self.targets) == (other.inputs, other.targets)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        inputs, targets = (
            [step.name for step in chain.steps] for chain in (self.inputs, self.targets)
        )
        return f"Preprocessing(inputs={inputs}, targets={targets})"


@final
@dataclass(frozen=True)
class _Chain:
    """Steps one after the other, and the shapes of samples before and after them."""

    what: str
    steps: tuple[Step, ...]
    sample_shape: tuple[int, ...] | None = None  # None before fit

    def fit(self, values: Any) -> _Chain:
        array = self._array(values)
        if not len(array):
            raise ValueError(f"{self.what} is empty, shape {array.shape}: there is nothing to fit")
        shape, fitted = array.shape[1:], []
        for step in self.steps:
            fitted.append(step.fit(array))
            array = fitted[-1].transform(array)
        return _Chain(self.what, tuple(fitted), shape)

    def fitted(self) -> tuple[Step, ...]:
        """The steps, which must know the data."""
        if self.steps and self.sample_shape is None:
            raise ValueError("the preprocessing is not fitted: call fit first")
        return self.steps

    def transform(self, values: Any) -> Array:
        array, steps = self._array(values), self.fitted()
        if self.sample_shape is not None and array.shape[1:] != self.sample_shape:
            raise ValueError(
                f"{self.what} has shape {array.shape}, but the preprocessing was fitted to samples "
                f"of shape {self.sample_shape}: give {('n_samples', *self.sample_shape)}".replace(
                    "'", ""
                )
            )
        for step in steps:
            array = step.transform(array)
        return array

    def inverse(self, values: Any) -> Array:
        array = self._array(values)
        for step in reversed(self.fitted()):
            array = step.inverse(array)
        return array

    def _array(self, values: Any) -> Array:
        if isinstance(values, np.ma.MaskedArray):
            raise TypeError(f"{self.what} is a masked array: fill it in, as with .filled(value)")
        array = np.asarray(values)
        if array.ndim < 1:
            raise ValueError(f"{self.what} is one value, {array}: give an array, one row a sample")
        if array.dtype.kind == "O":  # as from pandas: all text, or all numbers
            kinds = {type(value) for value in array.ravel().tolist()}
            numbers = all(issubclass(kind, int | float | np.number) for kind in kinds)
            if kinds != {str} and not numbers:
                found = ", ".join(sorted(kind.__name__ for kind in kinds))
                raise TypeError(f"{self.what} holds {found}: give text alone, or numbers alone")
            array = np.array(array.tolist())
        if array.dtype.kind not in "biufU":
            raise TypeError(f"{self.what} holds {array.dtype}: give numbers, or text for classes")
        return array

    def to_dict(self) -> dict[str, Any]:
        shape = None if self.sample_shape is None else list(self.sample_shape)
        steps = [{"step": step.name, **_plain(asdict(step))} for step in self.steps]  # type: ignore[call-overload]
        return {"sample_shape": shape, "steps": steps}

    @staticmethod
    def from_dict(what: str, given: Mapping[str, Any], steps: Mapping[str, type[Step]]) -> _Chain:
        found = []
        for each in given["steps"]:
            options = {name: value for name, value in each.items() if name != "step"}
            found.append(make_step((each["step"], options), steps))
        shape = given["sample_shape"]
        return _Chain(what, tuple(found), None if shape is None else tuple(shape))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(v) if isinstance(v, tuple) else v for key, v in options.items()}
