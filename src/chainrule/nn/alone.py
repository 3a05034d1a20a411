"""A layer called by itself: with arrays of its own, or with those of the network it stands in.

Called before it is in a network, a layer is built for the samples it is given. The network that it
is put in then, when that is built, starts from those arrays, and from there on the layer computes
with the network's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.nn.built import BuiltLayer, InnerArrays, LayerArrays, build_layer, taken_over
from chainrule.nn.context import Context, Shape
from chainrule.nn.inputs import numbers
from chainrule.nn.parameters import Parameters
from chainrule.primitives.dispatch import AbstractArray, Array
from chainrule.scope import current_scope
from chainrule.tensor import Tensor
from chainrule.training.inputs import as_whole_numbers

if TYPE_CHECKING:
    from chainrule.nn.layer import Layer

__all__ = [
    "call_layer",
    "connect",
    "hand_over",
    "hand_over_state",
    "own_copy",
    "parameters_of",
]


def hand_over(layer: Layer, initial: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters that an inner layer brings to its outer one: its own, or these initial ones.

    Its own are those that it had when it was called alone; from here on it has none.
    """
    arrays = layer._arrays
    if isinstance(arrays, LayerArrays) and arrays.is_own:
        had, state = arrays.given()
        initial = taken_over(layer, had, initial)
        layer._arrays = InnerArrays(state)
    elif arrays is None and initial:
        layer._arrays = InnerArrays({})
    return initial


def hand_over_state(layer: Layer, initial: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same for the state, which is asked for after the parameters."""
    arrays = layer._arrays
    if isinstance(arrays, InnerArrays) and arrays.state:
        initial = taken_over(layer, arrays.state, initial)
        layer._arrays = InnerArrays({})
    return initial


def call_layer(layer: Layer, x: Any, seed: int | None = None) -> Array:
    """The outputs of a layer for inputs x (N, ...), as `Layer.__call__` says."""
    is_array = not isinstance(x, AbstractArray)
    if is_array:
        x = _numbers(layer, x)
    if not x.ndim:
        raise ValueError(f"{layer.label} got one number: give samples as rows, (n_samples, ...)")
    if not len(x):
        raise ValueError(f"x is empty, shape {x.shape}: give at least one sample")
    arrays = _arrays_for(layer, x, seed)
    if arrays.built.parameters and current_scope().layer not in ("", "loss"):
        raise ValueError(
            f"{layer.label} is called inside the layer {current_scope().layer}, where its "
            "parameters would not be trained: use nn.init_inner in init and nn.forward_inner in "
            "forward, or nn.Combine"
        )
    context = Context(state=arrays.state)
    if not is_array:
        return arrays.built.forward(arrays.parameters, x, context)
    dtype = np.dtype(np.intp) if layer.takes_integers else arrays.parameters.dtype
    given = x.astype(dtype, copy=False)
    layer.check_inputs(given)
    if current_scope().detect_nonfinite:  # tensors look at each value they compute
        out = arrays.built.forward(arrays.parameters, Tensor(given), context)
        return np.array(out.detach())
    out = arrays.built.forward(arrays.parameters, given, context)
    return own_copy(out, (x, given, arrays.parameters.flat, *arrays.state.values()))


def parameters_of(layer: Layer) -> Parameters:
    """The parameters that a layer computes with when it is called, by their short names."""
    arrays = layer._arrays
    if isinstance(arrays, InnerArrays):
        raise ValueError(_is_inner(layer))
    if arrays is None:
        raise ValueError(
            f"{layer.label} has no parameters yet, since it does not know the shape of a sample: "
            "call it, or build the network that it is in"
        )
    return arrays.parameters.part(arrays.built.parameters)


def connect(
    built: Iterable[BuiltLayer],
    parameters: Parameters,
    state: dict[str, np.ndarray],
    input_shape: Shape,
) -> None:
    """Let the layers of a network that has been built compute with its arrays."""
    for each in built:
        each.layer._arrays = LayerArrays(each, parameters, state, input_shape, is_own=False)
        input_shape = each.output_shape


def own_copy(outputs: np.ndarray, others: Iterable[np.ndarray]) -> np.ndarray:
    """The outputs, copied where they stand in the memory of one of the others."""
    others = tuple(others)
    if outputs.base is None and not any(outputs is other for other in others):
        return outputs
    shared = any(np.may_share_memory(outputs, other) for other in others)
    return outputs.copy() if shared else outputs


def _numbers(layer: Layer, x: Any) -> np.ndarray:
    array = numbers(x, layer.label)
    return as_whole_numbers(array, "x") if layer.takes_integers else array


def _arrays_for(layer: Layer, x: Array, seed: int | None) -> LayerArrays:
    """The arrays of the layer, made at its first call, which must fit samples as these."""
    shape, arrays = x.shape[1:], layer._arrays
    if isinstance(arrays, InnerArrays):
        raise ValueError(_is_inner(layer))
    if arrays is None:
        dtype = np.result_type(x.dtype, np.float32) if x.dtype.kind == "f" else np.dtype(np.float32)
        rng = np.random.default_rng(seed)
        built, parameters, state = build_layer(layer, shape, rng, dtype)
        arrays = layer._arrays = LayerArrays(
            built, Parameters(parameters, dtype), state, shape, is_own=True, seed=seed
        )
    elif seed is not None and seed != arrays.seed:
        whose = "" if arrays.is_own else ", with the arrays of its network"
        raise ValueError(
            f"{layer.label} is built already{whose}, so that seed={seed} comes too late: give it "
            "at the first call, or make a new layer"
        )
    if shape not in arrays.fitting:
        _check_fit(layer, arrays, shape)
        arrays.fitting.add(shape)
    return arrays


def _check_fit(layer: Layer, arrays: LayerArrays, shape: Shape) -> None:
    """Raise ValueError where samples of this shape need arrays of other shapes than there are."""
    layer.output_shape(shape)
    wanted = layer.init(shape, np.random.default_rng(0)), layer.init_state(shape)
    for had, needed in zip(arrays.given(), wanted, strict=True):
        for name in needed:
            if name not in had or had[name].shape != np.shape(needed[name]):
                built_for = next(iter(arrays.fitting))
                raise ValueError(
                    f"{layer.label} was built for samples of shape {built_for} but got {shape}, "
                    f"for which its {name} would have the shape {np.shape(needed[name])}: give "
                    "samples as before, or make a new layer"
                )


def _is_inner(layer: Layer) -> str:
    return (
        f"{layer.label} is part of another layer, which holds its parameters: call that one, or "
        "make a layer of its own"
    )
