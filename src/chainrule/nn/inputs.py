"""What a network is called with, made into an array it takes, or refused with the likely fix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.nn.context import Shape
from chainrule.training.inputs import as_whole_numbers, refuse_masked

if TYPE_CHECKING:
    from chainrule.nn.network import Network

__all__ = ["call_inputs", "numbers", "wrong_shape"]


def call_inputs(network: Network, x: Any) -> np.ndarray:
    """The inputs as an array of the network's dtype and input shape; builds the network."""
    array = numbers(x, "a network")
    if not network.is_built and array.ndim < 2:
        raise ValueError(
            f"x has shape {array.shape}, but samples are rows, (n_samples, n_features): "
            "use x[None] for one sample, x[:, None] for one feature"
        )
    if not network.is_built and array.size:
        network.build(array.shape[1:])
    if network.is_built and array.shape[1:] != network.input_shape:
        raise ValueError(wrong_shape(network, array.shape))
    if len(array) == 0:
        raise ValueError(f"x is empty, shape {array.shape}: give at least one sample")
    if network.input_dtype.kind == "i":
        array = as_whole_numbers(array, "x")
        network.layers[0].check_inputs(array)
    return array.astype(network.input_dtype, copy=False)


def numbers(x: Any, who: str) -> np.ndarray:
    """What somebody is called with as an array; raises TypeError for what is not numbers."""
    refuse_masked(x, "x")
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"x has dtype {array.dtype}, shape {array.shape}, but {who} takes numbers: "
            "convert it with .astype(float), a sparse matrix with .toarray()"
        )
    return array


def wrong_shape(network: Network, shape: Shape) -> str:
    """The message for inputs of another shape, with the likely fix."""
    wanted = network.input_shape
    features = f"{wanted[0]} features" if len(wanted) == 1 else f"samples of shape {wanted}"
    fix = f"give an array of shape {('n_samples', *wanted)}".replace("'", "")
    if shape == wanted:
        fix = "that is one sample, and samples are rows: use x[None]"
    elif len(wanted) == 1 and shape == (*wanted, *shape[1:2]):
        fix = "samples are rows: use x.T"
    elif math.prod(shape[1:]) == math.prod(wanted):
        fix = f"use x.reshape{(-1, *wanted)}"
    return f"{network.layers[0].label} was built for {features} but got x of shape {shape}: {fix}"
