"""Normalisation: BatchNorm, LayerNorm and GroupNorm, each with a trained scale and shift.

All give gamma * (x - mean) / sqrt(variance + epsilon) + beta and differ in what the mean and the
variance are taken over. They are compositions: the centred values, computed once, serve the forward
and the backward pass, which a rule of its own would have to compute again.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import final

import numpy as np

from chainrule.nn.layer import Context, Layer, Shape, call_of, positive_count
from chainrule.primitives.dispatch import Array

__all__ = ["BatchNorm", "GroupNorm", "LayerNorm"]

_EPSILON = 1e-5


class _Normalization(Layer):
    """What all three do: gamma and beta, of a shape that the samples say, and checks."""

    def __init__(self, epsilon: float, name: str, axis: int = -1) -> None:
        super().__init__(name=name)
        if not epsilon > 0:
            raise ValueError(
                f"{type(self).__name__} got epsilon={epsilon}: give a small positive number, as "
                "1e-5"
            )
        self.epsilon = epsilon
        self.axis = axis

    def _shape(self, input_shape: Shape) -> Shape:
        """The shape of gamma and beta; raises ValueError for samples the layer cannot take."""
        axis = self.axis
        if not -len(input_shape) <= axis <= len(input_shape) or axis == 0:
            raise ValueError(
                f"{self.label} looks for features along axis {axis} of (N, "
                f"{', '.join(map(str, input_shape))}), which has none there: give the axis of the "
                "features, -1 where they come last, 1 where they come first"
            )
        return ((-1, *input_shape)[axis],)

    def _found(self, shape: Shape) -> Shape:
        """The axes of an x of this shape that gamma and beta are for."""
        return shape[self.axis :][:1]

    @abstractmethod
    def _apply(self, x: Array, gamma: Array, beta: Array, context: Context) -> Array:
        """The results for an x that has been looked at."""

    def output_shape(self, input_shape: Shape) -> Shape:
        self._shape(input_shape)
        return input_shape

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        shape = self._shape(input_shape)
        return {"gamma": np.ones(shape), "beta": np.zeros(shape)}

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        gamma, beta = parameters["gamma"], parameters["beta"]
        found = self._found(x.shape)
        if found != gamma.shape:
            raise ValueError(
                f"{self.label} was built for features of shape {gamma.shape} but got {found}: give "
                "samples of the shape it was built for"
            )
        return self._apply(x, gamma, beta, context)


@final
class BatchNorm(_Normalization):
    """Each feature with mean 0 and variance 1 over the batch, then times gamma, plus beta.

    x (N, ..., C) -> the same shape; mean and variance are taken over all axes but the last, for
    images over all places. `axis=1` is for channels first, (N, C, ...). Parameters: "gamma" and
    "beta" (C,). State: "running_mean" and "running_variance" (C,), which follow those of the
    batches, running = momentum * running + (1 - momentum) * of the batch, the variance there with
    n - 1. Training uses the statistics of the batch, prediction the running ones. A batch with one
    value for each feature has no variance: it is treated as in prediction, and the running
    statistics stay. No bias is needed in the layer before, since the mean takes it away.
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", 2015, algorithms 1 and 2.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.BatchNorm()], input_shape=1)
    >>> context = nn.Context(training=True, state=net.state)
    >>> net.forward(net.parameters, np.array([[1.0], [3.0]]), context).round(3)
    array([[-1.],
           [ 1.]])
    >>> context.updates["batch_norm_1.running_mean"]
    array([0.2])
    """

    def __init__(
        self, *, momentum: float = 0.9, epsilon: float = _EPSILON, axis: int = -1, name: str = ""
    ) -> None:
        super().__init__(epsilon, name, axis)
        if not 0 <= momentum < 1:
            raise ValueError(
                f"BatchNorm got momentum={momentum}, the share of the old running statistics that "
                "stays: give a number from 0 to below 1"
            )
        self.momentum = momentum

    def init_state(self, input_shape: Shape) -> dict[str, np.ndarray]:
        shape = self._shape(input_shape)
        return {"running_mean": np.zeros(shape), "running_variance": np.ones(shape)}

    def _apply(self, x: Array, gamma: Array, beta: Array, context: Context) -> Array:
        rows, shape = _as_rows(x, self.axis)
        n_values = rows.shape[0]
        if "running_mean" not in context.state:
            raise ValueError(
                f"{self.label} has running statistics, but the context has no state: give "
                "nn.Context(training, state=net.state)"
            )
        mean, variance = context.state["running_mean"], context.state["running_variance"]
        if context.training and n_values > 1:
            batch_mean = np.mean(rows, axis=0)
            centred = _less(rows, batch_mean)
            batch_variance = np.mean(np.square(centred), axis=0)
            self._follow("running_mean", batch_mean, context)
            unbiased = batch_variance * (n_values / (n_values - 1))
            self._follow("running_variance", unbiased, context)
            variance = batch_variance
        else:
            centred = rows - mean
        scale = gamma / np.sqrt(variance + self.epsilon)
        return _from_rows(centred * scale + beta, shape, self.axis)

    def _follow(self, name: str, of_batch: Array, context: Context) -> None:
        """Move a running statistic towards that of the batch."""
        share = self.momentum
        context.updates[name] = share * context.state[name] + (1 - share) * of_batch

    def __repr__(self) -> str:
        epsilon, momentum = (self.epsilon, _EPSILON), (self.momentum, 0.9)
        return call_of(self, axis=(self.axis, -1), momentum=momentum, epsilon=epsilon)


@final
class LayerNorm(_Normalization):
    """Each sample by itself with mean 0 and variance 1 over its last axes, times gamma, plus beta.

    x (N, ..., C) -> the same shape. Mean and variance are taken over the last `n_axes` axes, so
    with the default 1 each place of a sequence or image by itself. Parameters: "gamma" and "beta"
    of the shape of those axes. Training and prediction do the same.
    Ba, Kiros and Hinton, "Layer normalization", 2016, section 3.

    >>> from chainrule import nn
    >>> nn.Network([nn.LayerNorm()])(np.array([[1.0, 3.0], [10.0, 30.0]])).round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """

    def __init__(self, n_axes: int = 1, *, epsilon: float = _EPSILON, name: str = "") -> None:
        super().__init__(epsilon, name)
        self.n_axes = positive_count(n_axes, "LayerNorm", "n_axes")

    def _shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) < self.n_axes:
            raise ValueError(
                f"{self.label} normalises over the last {self.n_axes} axes of a sample, but got "
                f"samples of shape {input_shape}: give fewer n_axes"
            )
        return input_shape[-self.n_axes :]

    def _found(self, shape: Shape) -> Shape:
        return shape[1:][-self.n_axes :]

    def _apply(self, x: Array, gamma: Array, beta: Array, context: Context) -> Array:
        rows = np.reshape(x, (-1, math.prod(gamma.shape)))
        centred = _less(rows, np.mean(rows, axis=1, keepdims=True))
        variance = np.mean(np.square(centred), axis=1, keepdims=True)
        normal = centred * (1 / np.sqrt(variance + self.epsilon))
        return np.reshape(normal * np.reshape(gamma, (-1,)) + np.reshape(beta, (-1,)), x.shape)

    def __repr__(self) -> str:
        first = () if self.n_axes == 1 else (self.n_axes,)
        return call_of(self, *first, epsilon=(self.epsilon, _EPSILON))


@final
class GroupNorm(_Normalization):
    """Each group of a sample's features with mean 0 and variance 1, times gamma, plus beta.

    x (N, ..., C) -> the same shape. Mean and variance of a group are taken over its features at
    all places of the sample; `groups=1` takes all features together, `groups=C` each by itself.
    `axis=1` is for channels first, (N, C, ...). Parameters: "gamma" and "beta" (C,). Training and
    prediction do the same. Raises ValueError unless `groups` divides C.
    Wu and He, "Group normalization", 2018, section 3.1.

    >>> from chainrule import nn
    >>> nn.Network([nn.GroupNorm(2)])(np.array([[1.0, 3.0, 10.0, 30.0]])).round(3)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """

    def __init__(
        self, groups: int, *, epsilon: float = _EPSILON, axis: int = -1, name: str = ""
    ) -> None:
        super().__init__(epsilon, name, axis)
        self.groups = positive_count(groups, "GroupNorm", "groups")

    def _shape(self, input_shape: Shape) -> Shape:
        (n_features,) = super()._shape(input_shape)
        if n_features % self.groups:
            raise ValueError(
                f"{self.label} cannot put the {n_features} features of samples of shape "
                f"{input_shape} into {self.groups} equal groups: give a number that divides them"
            )
        return (n_features,)

    def _apply(self, x: Array, gamma: Array, beta: Array, context: Context) -> Array:
        rows, shape = _as_rows(x, self.axis)
        places = np.reshape(rows, (shape[0], -1, shape[-1]))
        normal = np.reshape(_over_features(places, self.epsilon, self.groups), rows.shape)
        return _from_rows(normal * gamma + beta, shape, self.axis)

    def __repr__(self) -> str:
        epsilon = (self.epsilon, _EPSILON)
        return call_of(self, self.groups, axis=(self.axis, -1), epsilon=epsilon)


def _less(x: Array, mean: Array) -> Array:
    """`x - mean`, as a sum: the reverse pass then turns the sign of the mean's small cotangent, and
    not of the large one it is summed from.
    """
    return x + -mean


def _over_features(x: Array, epsilon: float, groups: int) -> Array:
    """The values of x (N, places, C) less the mean of their group, over its standard deviation.

    Summed over the places first, so that what is regrouped is small.
    """
    centred = _less(x, _mean_of_groups(x, groups))
    variance = _mean_of_groups(np.square(centred), groups)
    return centred * (1 / np.sqrt(variance + epsilon))


def _mean_of_groups(x: Array, groups: int) -> Array:
    """The mean of each group of features over all places, (N, 1, C): alike within a group."""
    n_samples, _, n_features = x.shape
    of_features = np.mean(x, axis=1)
    grouped = np.reshape(of_features, (n_samples, groups, n_features // groups))
    of_groups = np.mean(grouped, axis=-1, keepdims=True)
    return np.reshape(np.broadcast_to(of_groups, grouped.shape), (n_samples, 1, n_features))


def _as_rows(x: Array, axis: int) -> tuple[Array, Shape]:
    """The matrix of x with the features along the last axis, and the shape before it was one.

    Sums over the rows of a matrix are products with a vector of ones, the fastest sums there are.
    """
    if axis not in (-1, x.ndim - 1):
        x = np.moveaxis(x, axis, -1)
    return np.reshape(x, (-1, x.shape[-1])), x.shape


def _from_rows(rows: Array, shape: Shape, axis: int) -> Array:
    """The matrix of `_as_rows` in its old form."""
    x = np.reshape(rows, shape)
    return x if axis in (-1, len(shape) - 1) else np.moveaxis(x, -1, axis)
