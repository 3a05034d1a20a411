"""Initial values of parameters.

An initializer is a function `(rng, shape) -> float64 array`. Some are made by a factory that takes
their numbers: `uniform(-0.5, 0.5)`. A function of your own works wherever a name does.

The formulas with `n_in` and `n_out`, the numbers of inputs and outputs of the layer, keep the
variance of activations (and of cotangents) alike from layer to layer.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.names import look_up
from chainrule.nn.context import Shape

__all__ = [
    "INITIALIZERS",
    "Initializer",
    "Start",
    "constant",
    "draw",
    "get_initializer",
    "given",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "lecun_normal",
    "lecun_uniform",
    "normal",
    "ones",
    "orthogonal",
    "uniform",
    "zeros",
]

Initializer: TypeAlias = Callable[[np.random.Generator, Shape], np.ndarray]
Start: TypeAlias = str | Initializer | npt.ArrayLike
"""How a parameter starts: the name of an initializer, one, or the array itself."""


def glorot_uniform(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform with variance 2 / (n_in + n_out): for sigmoid, tanh and linear layers.

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    2010, equation 16.
    """
    n_in, n_out = _fans(shape)
    return _uniform_of_variance(rng, shape, 2 / (n_in + n_out))


def glorot_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal with variance 2 / (n_in + n_out) (Glorot and Bengio 2010, equation 12)."""
    n_in, n_out = _fans(shape)
    return rng.normal(0.0, math.sqrt(2 / (n_in + n_out)), shape)


def he_uniform(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform with variance 2 / n_in: for ReLU and its relatives.

    He, Zhang, Ren and Sun, "Delving deep into rectifiers", 2015, equation 10.
    """
    return _uniform_of_variance(rng, shape, 2 / _fans(shape)[0])


def he_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal with variance 2 / n_in (He et al. 2015, equation 10)."""
    return rng.normal(0.0, math.sqrt(2 / _fans(shape)[0]), shape)


def lecun_uniform(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Uniform with variance 1 / n_in.

    LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, equation 16.
    """
    return _uniform_of_variance(rng, shape, 1 / _fans(shape)[0])


def lecun_normal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Normal with variance 1 / n_in (LeCun et al. 1998, equation 16)."""
    return rng.normal(0.0, math.sqrt(1 / _fans(shape)[0]), shape)


def orthogonal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """A random matrix with orthonormal rows or columns, whichever are fewer.

    Of a convolution's weight, the last axis makes the columns and all others the rows.

    Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep
    linear neural networks", 2014. The signs of R make it uniform over all such matrices:
    Mezzadri, "How to generate random matrices from the classical compact groups", 2007, section 5.
    """
    _fans(shape)  # refuses what is no weight
    n_in, n_out = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.normal(size=(max(n_in, n_out), min(n_in, n_out))))
    q *= np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.ascontiguousarray(q if n_in >= n_out else q.T).reshape(shape)


def zeros(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """All zeros: the usual start of a bias."""
    return np.zeros(shape)


def ones(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """All ones."""
    return np.ones(shape)


def uniform(low: float = -0.05, high: float = 0.05) -> Initializer:
    """Uniform between two numbers.

    >>> uniform(-0.5, 0.5)(np.random.default_rng(0), (2, 3)).shape
    (2, 3)
    """
    if not low <= high:
        raise ValueError(f"uniform needs low <= high but got low={low}, high={high}")

    return functools.partial(_uniform, low=low, high=high)


def normal(std: float = 0.05, mean: float = 0.0) -> Initializer:
    """Normal with the given standard deviation and mean."""
    if not std >= 0:
        raise ValueError(f"normal needs a standard deviation >= 0 but got std={std}")

    return functools.partial(_normal, std=std, mean=mean)


def constant(value: float) -> Initializer:
    """The same number everywhere."""
    return functools.partial(_constant, value=value)


def given(array: npt.ArrayLike) -> Initializer:
    """Exactly this array, copied; its shape must be the parameter's."""
    return functools.partial(_given, values=np.array(array))


# What the factories give: partials of these, which can be pickled as closures cannot


def _uniform(rng: np.random.Generator, shape: Shape, low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, shape)


def _normal(rng: np.random.Generator, shape: Shape, std: float, mean: float) -> np.ndarray:
    return rng.normal(mean, std, shape)


def _constant(rng: np.random.Generator, shape: Shape, value: float) -> np.ndarray:
    return np.full(shape, value, dtype=np.float64)


def _given(rng: np.random.Generator, shape: Shape, values: np.ndarray) -> np.ndarray:
    return values.copy()


_FACTORIES: tuple[Any, ...] = (constant, given, normal, uniform)

INITIALIZERS: dict[str, Initializer] = {
    "glorot_normal": glorot_normal,
    "glorot_uniform": glorot_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "normal": normal(),
    "ones": ones,
    "orthogonal": orthogonal,
    "uniform": uniform(),
    "zeros": zeros,
}
"""The initializers that can be asked for by name; `uniform` and `normal` with their defaults."""


def get_initializer(initializer: Start) -> Initializer:
    """The initializer of that name; a function or an array stands for itself.

    Raises ValueError for an unknown name, naming the nearest.
    """
    if isinstance(initializer, str):
        return look_up(INITIALIZERS, initializer, "initializer")
    if not callable(initializer):
        return given(initializer)
    if initializer in _FACTORIES:
        raise TypeError(
            f"{getattr(initializer, '__name__', '')} makes initializers: call it with its numbers "
            "first, as in uniform(-0.5, 0.5)"
        )
    return initializer


def draw(
    initializer: Start,
    rng: np.random.Generator,
    shape: Shape,
    name: str,
) -> np.ndarray:
    """Initial values of the parameter `name`, checked: a finite float64 array of that shape.

    Raises ValueError or TypeError naming the parameter.
    """
    try:
        drawn: Any = get_initializer(initializer)(rng, shape)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from error
    values = np.asarray(drawn)
    if values.shape != shape:
        raise ValueError(
            f"{name} must have shape {shape} here, but the array given for it has {values.shape}"
        )
    if values.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be real numbers but its initial values are {values.dtype}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name}: the initial values contain NaN or infinity")
    return values.astype(np.float64)


def _fans(shape: Shape) -> tuple[int, int]:
    """n_in and n_out of a weight (..., n_in, n_out).

    The axes before are those of a convolution's window: each output sees as many inputs of every
    channel as it has places, and each input is seen from as many.
    """
    if len(shape) < 2:
        raise ValueError(
            f"this initializer scales by the numbers of inputs and outputs of a weight "
            f"(n_in, n_out), but the parameter has shape {shape}: use zeros, uniform or normal"
        )
    n_places = math.prod(shape[:-2])
    return n_places * shape[-2], n_places * shape[-1]


def _uniform_of_variance(rng: np.random.Generator, shape: Shape, variance: float) -> np.ndarray:
    # The variance of uniform(-limit, limit) is limit² / 3.
    limit = math.sqrt(3 * variance)
    return rng.uniform(-limit, limit, shape)
