"""The steps of preprocessing: what each is fitted to, does, and undoes.

A step is plain numbers and text, which JSON holds. The table `STEPS` has them by name.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeAlias, final

import numpy as np
import numpy.typing as npt

from chainrule.data.dataset import MinMaxScaler, Standardizer, one_hot
from chainrule.names import look_up, unknown_name
from chainrule.nn import Layer, Rescale
from chainrule.nn import Reshape as ReshapeLayer

__all__ = [
    "STEPS",
    "Cast",
    "Classes",
    "MinMax",
    "OneHot",
    "Reshape",
    "Standard",
    "Step",
    "StepLike",
    "make_step",
]

Array: TypeAlias = npt.NDArray[Any]


class Step(ABC):
    """One step of preprocessing: a frozen dataclass, whose fields are what JSON holds.

    `fit` gives the step fitted to an array (N, ...); `transform` and `inverse` take arrays like
    that one. A step of your own has a `name`, and an entry in the table handed to `from_dict`.
    """

    name: ClassVar[str]

    def fit(self, array: Array) -> Step:
        """The step, with what it must know of the data."""
        return self

    @abstractmethod
    def transform(self, array: Array) -> Array:
        """The array as this step makes it."""

    @abstractmethod
    def inverse(self, array: Array) -> Array:
        """The array that `transform` would have made this one of."""

    def layers(self) -> list[Layer]:
        """Layers that do the same within a network; raises ValueError where there are none."""
        raise ValueError(
            f"the step {self.name!r} is done before a network, and no layer does the same: leave "
            "it out of the inputs, or use transform"
        )


@dataclass(frozen=True)
class _Scale(Step):
    """(x - offset) / width of each feature, a feature being a column, or a channel of images.

    With `per_feature=False` one offset and width for all values. They are empty before `fit`.
    """

    per_feature: bool = True
    offset: tuple[float, ...] = ()
    width: tuple[float, ...] = ()

    _scaler: ClassVar[Any]

    def fit(self, array: Array) -> Step:
        scaler = self._scaler.fit(array.reshape(-1, self._columns(array)))
        offset, width = (getattr(scaler, field.name) for field in fields(scaler))
        return replace(self, offset=tuple(offset.tolist()), width=tuple(width.tolist()))

    def transform(self, array: Array) -> Array:
        return self._fitted(array).transform(array)  # type: ignore[no-any-return]

    def inverse(self, array: Array) -> Array:
        return self._fitted(array).inverse(array)  # type: ignore[no-any-return]

    def layers(self) -> list[Layer]:
        return [Rescale(self.offset, self.width)]

    def _columns(self, array: Array) -> int:
        return array.shape[-1] if self.per_feature and array.ndim > 1 else 1

    def _fitted(self, array: Array) -> Any:
        if not self.offset:
            raise ValueError(f"the step {self.name!r} is not fitted: call fit first")
        if self._columns(array) != len(self.offset):
            raise ValueError(
                f"the step {self.name!r} was fitted to {len(self.offset)} features but got an "
                f"array of shape {array.shape}: give as many in the last axis"
            )
        return self._scaler(np.array(self.offset), np.array(self.width))


@final
@dataclass(frozen=True)
class Standard(_Scale):
    """Each feature to mean 0 and standard deviation 1: `Standardizer`."""

    name = "standard"
    _scaler = Standardizer


@final
@dataclass(frozen=True)
class MinMax(_Scale):
    """Each feature from its least to its largest value to 0 to 1: `MinMaxScaler`."""

    name = "min_max"
    _scaler = MinMaxScaler


@final
@dataclass(frozen=True)
class Reshape(Step):
    """Samples of another shape with as many values: `shape`, (-1,) for one axis."""

    name = "reshape"
    shape: tuple[int, ...] = (-1,)
    sample_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for field in ("shape", "sample_shape"):
            sizes = np.atleast_1d(np.asarray(getattr(self, field), np.int64))
            object.__setattr__(self, field, tuple(sizes.tolist()))

    def fit(self, array: Array) -> Step:
        return replace(self, sample_shape=array.shape[1:])

    def transform(self, array: Array) -> Array:
        return self._reshaped(array, self.shape)

    def inverse(self, array: Array) -> Array:
        return self._reshaped(array, self.sample_shape)

    def layers(self) -> list[Layer]:
        return [ReshapeLayer(self.shape)]

    def _reshaped(self, array: Array, shape: tuple[int, ...]) -> Array:
        size = math.prod(array.shape[1:])
        if -1 in shape:  # not left to NumPy, which cannot tell where there are no samples
            others = math.prod(n for n in shape if n != -1)
            shape = tuple(size // others if n == -1 else n for n in shape) if others else shape
        if math.prod(shape) != size:
            raise ValueError(
                f"the step {self.name!r} cannot make samples of shape {shape} of those of shape "
                f"{array.shape[1:]}: the numbers of values differ"
            )
        return array.reshape(len(array), *shape)


@final
@dataclass(frozen=True)
class Cast(Step):
    """Numbers in a dtype, "float32" say; whole ones for integers. The inverse leaves them so."""

    name = "cast"
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if np.dtype(self.dtype).kind not in "iuf":
            raise ValueError(f"the step 'cast' makes numbers, not {self.dtype}: give a float dtype")

    def transform(self, array: Array) -> Array:
        if array.dtype.kind not in "biuf":
            raise TypeError(f"the step 'cast' takes numbers but got {array.dtype}: encode it first")
        with np.errstate(over="ignore", invalid="ignore"):
            cast = array.astype(self.dtype)
        is_whole = cast.dtype.kind == "f" or np.array_equal(cast, array)
        if not is_whole or not np.array_equal(np.isfinite(cast), np.isfinite(array)):
            raise ValueError(
                f"the step 'cast' cannot hold all values of the {array.dtype} array in {self.dtype}"
            )
        return cast

    def inverse(self, array: Array) -> Array:
        return array

    def layers(self) -> list[Layer]:
        return []  # a network casts its inputs to its own dtype


@final
@dataclass(frozen=True)
class Classes(Step):
    """Class names, or any values, as labels 0, 1, … in the order of the sorted names.

    The inverse takes labels (N,), or outputs (N, n_classes), of which the largest names the class.
    """

    name = "classes"
    names: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))

    def fit(self, array: Array) -> Step:
        return replace(self, names=tuple(np.unique(_column(self.name, array)).tolist()))

    def transform(self, array: Array) -> Array:
        numbers = {name: number for number, name in enumerate(self.names)}
        values = _column(self.name, array).tolist()
        try:
            return np.array([numbers[value] for value in values], np.int64)
        except KeyError as missing:
            (value,) = missing.args
            raise ValueError(
                unknown_name("class", str(value), list(map(str, self.names)))
            ) from None

    def inverse(self, array: Array) -> Array:
        return np.array(self.names)[_as_labels(self.name, array, len(self.names))]


@final
@dataclass(frozen=True)
class OneHot(Step):
    """Labels 0, 1, … (N,) as rows (N, n_classes) with 1 in the label's column.

    The inverse gives the column of the largest value in each row, so it takes outputs too.
    """

    name = "one_hot"
    n_classes: int = 0
    dtype: str = "float32"

    def fit(self, array: Array) -> Step:
        return replace(self, n_classes=max(self.n_classes, one_hot(array).shape[1]))

    def transform(self, array: Array) -> Array:
        return one_hot(array, self.n_classes, self.dtype)

    def inverse(self, array: Array) -> Array:
        return _as_labels(self.name, array, self.n_classes)


STEPS: dict[str, type[Step]] = {
    each.name: each for each in (Cast, Classes, MinMax, OneHot, Reshape, Standard)
}
"""The steps that can be asked for by name."""

StepLike: TypeAlias = str | tuple[str, Mapping[str, Any]] | Step


def make_step(given: Any, table: Mapping[str, type[Step]]) -> Step:
    """The step of a name, of a name with options, or itself."""
    if isinstance(given, Step):
        return given
    name, options = (given, {}) if isinstance(given, str) else given
    kind = look_up(table, name, "step of preprocessing")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in known:
            raise ValueError(unknown_name(f"option of the step {name!r}", option, known))
    listed = {key: tuple(v) if isinstance(v, list) else v for key, v in options.items()}
    return kind(**listed)


def _column(step: str, array: Array) -> Array:
    """The classes as one value a sample, (N,), from (N,) or (N, 1)."""
    if array.shape[1:] not in ((), (1,)):
        raise ValueError(f"the step {step!r} takes one class a sample, (N,), not {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"the step {step!r} got NaN or infinity, which names no class")
    return array.reshape(-1)


def _as_labels(step: str, array: Array, n_classes: int) -> Array:
    """Labels (N,) as they are; of rows (N, n_classes) the column of the largest value."""
    is_row = n_classes > 1 or array.dtype.kind == "f"
    if array.ndim == 2 and array.shape[1] == n_classes and is_row:
        if not np.isfinite(array).all():
            raise ValueError(f"the step {step!r} got NaN or infinity, which names no class")
        found: Array = array.argmax(axis=1)
        return found
    labels = array.reshape(-1) if array.shape[1:] in ((), (1,)) else array
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"the step {step!r} takes labels (N,) or rows (N, {n_classes}) back, not {array.dtype} "
            f"of shape {array.shape}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < n_classes:
        raise ValueError(
            f"the step {step!r} knows labels from 0 to {n_classes - 1}, not {labels.min()} to "
            f"{labels.max()}"
        )
    return labels
