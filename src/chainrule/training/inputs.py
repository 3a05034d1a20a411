"""What users hand to training, made into arrays the training step takes, or refused with a reason.

Everything is checked and cast here, once, before the first step.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.training.losses import Loss, check_targets

__all__ = [
    "as_features",
    "as_generator",
    "as_numbers",
    "as_targets",
    "as_weights",
    "as_whole_numbers",
    "check_count",
    "check_same_length",
    "refuse_masked",
]


def as_features(x: Any, dtype: Any, name: str = "x", input_shape: Any = None) -> np.ndarray:
    """The inputs as an array (N, ...) of the network's input dtype, all of them finite.

    Takes what NumPy makes numbers of: arrays, lists, data frames. For an integer `dtype` they are
    whole numbers. `input_shape` is what one sample must have, None where the network does not know
    yet. Raises TypeError for what is not numbers, ValueError for no samples, a wrong shape, NaN
    and infinity, naming the first.
    """
    array = as_numbers(x, name)
    if array.ndim < 2:
        raise ValueError(
            f"{name} has shape {array.shape}, but samples are rows, (n_samples, n_features): "
            f"use {name}.reshape(-1, 1) for one feature, {name}.reshape(1, -1) for one sample"
        )
    if len(array) == 0:
        raise ValueError(f"{name} is empty, shape {array.shape}: give at least one sample")
    if input_shape is not None and array.shape[1:] != tuple(input_shape):
        raise ValueError(_wrong_shape(array.shape, tuple(input_shape), name))
    if np.dtype(dtype).kind == "i":
        return as_whole_numbers(array, name)
    return _cast(array, dtype, name)


def as_targets(
    y: Any, loss: Loss, output_shape: tuple[int, ...], dtype: Any, name: str = "y"
) -> np.ndarray:
    """The targets as the loss takes them: labels stay integers, other numbers get the dtype.

    `output_shape` is that of one sample. Integers are labels where the loss takes labels, left as
    they are where the loss is the user's own, and numbers elsewhere. Raises TypeError for what is
    not numbers, ValueError for NaN, for what does not fit the loss and the outputs, and for what a
    loss of the user's own would broadcast against the outputs.
    """
    array = as_numbers(y, name)
    if array.ndim == 0:
        raise ValueError(f"{name} is one number, {array}: give one target per sample")
    try:
        array = check_targets(loss, (len(array), *output_shape), array)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name} does not fit the loss: {error}") from None
    labels = loss.takes_labels and array.ndim == 1
    if not labels and not (array.dtype.kind in "iu" and loss.kind == "own"):
        array = _cast(array, dtype, name)
    if loss.kind == "own":
        _check_broadcasting(loss, array, output_shape, dtype, name)
    return np.ascontiguousarray(array)


_TRIED_SAMPLES = 5


def _check_broadcasting(
    loss: Loss, targets: np.ndarray, output_shape: tuple[int, ...], dtype: Any, name: str
) -> None:
    """Raise ValueError where a user's loss pairs every output with every target.

    `outputs - targets` does, of shapes (N, 1) and (N,): NumPy broadcasts to (N, N) without a word.
    Shapes alone do not tell, since `outputs[:, 0] - targets` is right. So the loss is tried on a
    few targets that differ, all at once and one by one: if that is not the same, but is with the
    targets in the shape of the outputs, then it is meant so.
    """
    shape = (len(targets), *output_shape)
    if targets.shape == shape or targets.size != np.prod(shape):
        return
    _, first = np.unique(targets.reshape(len(targets), -1), axis=0, return_index=True)
    some = targets[first[np.linspace(0, len(first) - 1, _TRIED_SAMPLES).astype(int)]]
    outputs = np.random.default_rng(0).normal(size=(len(some), *output_shape)).astype(dtype)
    column = some.reshape(outputs.shape)

    def total(outputs: np.ndarray, targets: np.ndarray) -> float:
        return float(np.mean(np.asarray(loss(outputs, targets), np.float64)))

    try:
        with np.errstate(all="ignore"):
            one_by_one = [total(outputs[i : i + 1], some[i : i + 1]) for i in range(len(some))]
            at_once, as_column = total(outputs, some), total(outputs, column)
    except Exception:  # it has an error of its own, which training will meet
        return
    meant = (np.mean(one_by_one), np.sum(one_by_one))
    if not np.isclose(at_once, meant).any() and np.isclose(as_column, meant).any():
        new_shape = ", ".join(map(str, (-1, *output_shape)))
        raise ValueError(
            f"{name} has shape {targets.shape} and the outputs have {shape}: the loss "
            f"{loss.name} broadcasts them against each other, every output with every target; "
            f"give {name}.reshape({new_shape})"
        )


def as_weights(
    sample_weight: Any, n_samples: int, name: str = "sample_weight"
) -> npt.NDArray[np.float64] | None:
    """The weights as an array (N,), None where all samples count the same.

    Raises ValueError for weights that are negative, not finite, or not one per sample.
    """
    if sample_weight is None:
        return None
    weight = as_numbers(sample_weight, name).astype(np.float64)
    if weight.shape != (n_samples,):
        raise ValueError(
            f"{name} has shape {weight.shape}, but there are {n_samples} samples: "
            f"give one weight per sample, shape ({n_samples},)"
        )
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"{name} holds {weight[first]} for sample {first}: give finite weights >= 0"
        )
    return weight


def as_generator(seed: Any) -> np.random.Generator:
    """The random generator of a seed; raises ValueError for what makes none."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(
            f"seed is {seed!r}: give a whole number from 0, a numpy.random.Generator, or None"
        ) from None


def check_count(name: str, value: Any) -> None:
    """Raise ValueError for what is no whole number of at least 1."""
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")


def check_same_length(x: np.ndarray, y: Any, x_name: str = "x", y_name: str = "y") -> None:
    """Raise ValueError unless there are as many targets as inputs; say where x lies on its side."""
    shape = np.shape(y)
    if not shape or len(x) == shape[0]:
        return
    hint = ""
    if x.ndim == 2 and x.shape[1] == shape[0]:
        hint = f"; {x_name} looks transposed: samples are rows, use {x_name}.T"
    raise ValueError(
        f"{x_name} has {len(x)} samples, shape {x.shape}, but {y_name} has {shape[0]}, "
        f"shape {shape}: give one target per sample{hint}"
    )


def as_numbers(values: Any, name: str) -> np.ndarray:
    """The values as an array of numbers, or an error that says what they are."""
    refuse_masked(values, name)
    if hasattr(values, "toarray"):
        raise TypeError(f"{name} is a sparse matrix: pass {name}.toarray()")
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"{name} cannot be made an array, its rows have different lengths or shapes: {error}"
        ) from error
    if array.dtype.kind in "OUST":
        with suppress(TypeError, ValueError):  # Python's own numbers come as objects from pandas
            array = array.astype(np.float64) if array.dtype.kind == "O" else array
    if array.dtype.kind in "OUST":
        first = array.reshape(-1)[0] if array.size else ""
        raise TypeError(
            f"{name} holds text or objects ({array.dtype}, such as {first!r}), not numbers: turn "
            f"class names into integer labels with np.unique({name}, return_inverse=True)[1], "
            "and categories into numbers or one-hot columns"
        )
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}: give integers or floating-point numbers")
    return array.astype(np.int64) if array.dtype.kind == "b" else array


def refuse_masked(values: Any, name: str) -> None:
    """Raise TypeError for a masked array, whose hidden values would be taken for numbers."""
    if type(values) is np.ndarray:
        return
    parts = values if isinstance(values, list | tuple) else (values,)
    if any(isinstance(part, np.ma.MaskedArray) for part in parts):
        raise TypeError(
            f"{name} is a masked array, and the values that its mask hides would be used: leave "
            f"such samples out, or fill the gaps with {name}.filled(value)"
        )


def as_whole_numbers(array: np.ndarray, name: str) -> npt.NDArray[np.intp]:
    """Inputs for a layer that takes integers; floats that are whole are taken as such.

    Raises TypeError where there are others.
    """
    if array.dtype.kind in "biu":
        return np.ascontiguousarray(array, np.intp)
    whole = np.isfinite(array) & (array == np.round(array))
    if not whole.all():
        raise TypeError(
            f"{name} has dtype {array.dtype} and holds {array[~whole][0]}, but the first layer "
            "takes whole numbers, such as those of words: number them from 0"
        )
    return np.ascontiguousarray(array, np.intp)


def _cast(array: np.ndarray, dtype: Any, name: str) -> np.ndarray:
    """The array in the dtype, in C order; raises for values that are not finite."""
    with np.errstate(over="ignore"):
        cast = np.ascontiguousarray(array, dtype)
    finite = np.isfinite(cast)
    if finite.all():
        return cast
    first = np.argwhere(~finite)[0]
    value = array[tuple(first)]
    where = f"sample {first[0]}" + (f", feature {_index(first[1:])}" if len(first) > 1 else "")
    count = int(cast.size - finite.sum())
    reason = (
        f"which is too large for {np.dtype(dtype)}: scale the data, or use dtype='float64'"
        if np.isfinite(value)
        else "leave such samples out, or fill the gaps, for example with the feature's mean"
    )
    raise ValueError(f"{name} holds {value} at {where} ({count} of {cast.size} values), {reason}")


def _index(position: Any) -> str:
    return str(position[0]) if len(position) == 1 else str(tuple(int(i) for i in position))


def _wrong_shape(shape: tuple[int, ...], wanted: tuple[int, ...], name: str) -> str:
    if len(shape) == 2 and len(wanted) == 1:
        hint = ""
        if shape[0] == wanted[0]:
            hint = f"; it looks transposed: samples are rows, use {name}.T"
        return (
            f"{name} has {shape[1]} features per sample, shape {shape}, but the network takes "
            f"{wanted[0]}{hint or ': give those, or build a new network'}"
        )
    fits = int(np.prod(shape[1:])) == int(np.prod(wanted))
    hint = f"use {name}.reshape({', '.join(map(str, (-1, *wanted)))})" if fits else "reshape it"
    return (
        f"{name} has shape {shape}, samples of shape {shape[1:]}, but the network takes samples "
        f"of shape {wanted}: {hint}"
    )
