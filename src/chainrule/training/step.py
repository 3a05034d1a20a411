"""The training step: forward, loss, backward, update, as one pure function of arrays.

What is made here decides nothing by the value of an array and changes nothing in place, so the same
few lines run on arrays, can be differentiated, and can be traced into a program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from chainrule.autodiff import value_and_grad
from chainrule.nn.layer import Context
from chainrule.optim import Optimizer, clip
from chainrule.primitives.dispatch import Array, named
from chainrule.scope import RuleCall, layer_scope, scope

__all__ = ["Arrays", "Penalty", "make_evaluate", "make_loss", "make_step", "mean_loss"]

Arrays: TypeAlias = Mapping[str, Array]
Penalty: TypeAlias = Callable[[Arrays], Array]
Loss: TypeAlias = Callable[[Array, Array], Array]


def make_loss(
    network: Any, loss: Loss, penalties: Sequence[Penalty] = ()
) -> Callable[..., tuple[Array, tuple[Array, dict[str, Array]]]]:
    """The function that training minimises, as one of the parameters.

    `loss_of(parameters, state, x, y, weight, rng)` returns `(loss, (outputs, state))`: the mean
    over the batch of weight * loss, plus the penalties; the outputs (N, ...); and the state after
    this batch. `weight` is None where all samples count the same.
    """

    def loss_of(
        parameters: Arrays, state: Arrays, x: Array, y: Array, weight: Array | None, rng: Any
    ) -> tuple[Array, tuple[Array, dict[str, Array]]]:
        context = Context(training=True, rng=rng, state=state)
        outputs = network.forward(parameters, x, context)
        with layer_scope("loss"):
            value = mean_loss(named("losses", loss(outputs, y)), len(x), weight)
            if penalties:
                value = named("data_loss", value)
            for penalty in penalties:
                value = value + penalty(parameters)
        return value, (outputs, {**state, **context.updates})

    return loss_of


def make_step(
    network: Any,
    loss: Loss,
    optimizer: Optimizer,
    penalties: Sequence[Penalty] = (),
    names: Mapping[str, str] = MappingProxyType({}),
) -> Callable[..., tuple[Array, Array, Array, dict[str, Array], dict[str, Array]]]:
    """One update of all parameters from one batch, as a pure function.

    `train_step(flat, slots, state, x, y, weight, learning_rate, step, rng)` returns
    `(loss, outputs, flat, slots, state)`: the loss and the outputs before the update, then the new
    parameters (n_parameters,) as one vector, the optimizer's new slots and the network's new state.
    """
    loss_and_gradients = value_and_grad(make_loss(network, loss, penalties), has_aux=True)
    layout = network.parameters

    def train_step(
        flat: Array,
        slots: Arrays,
        state: Arrays,
        x: Array,
        y: Array,
        weight: Array | None,
        learning_rate: Any,
        step: Any,
        rng: Any,
    ) -> tuple[Array, Array, Array, dict[str, Array], dict[str, Array]]:
        parameters = {
            name: named(names.get(name, name), part)
            for name, part in layout.unflatten(flat).items()
        }
        (value, (outputs, new_state)), gradients = loss_and_gradients(
            parameters, state, x, y, weight, rng
        )
        with scope(section="update"):
            gradient = clip(layout.flatten(gradients), optimizer.clip_norm, optimizer.clip_value)
            arguments = (("parameter", flat), ("gradient", gradient), *slots.items())
            with scope(rule=RuleCall(type(optimizer).__name__.lower(), arguments)):
                new_flat, new_slots = optimizer.update(flat, gradient, slots, learning_rate, step)
        return value, outputs, new_flat, new_slots, new_state

    return train_step


def make_evaluate(
    network: Any, loss: Loss
) -> Callable[[Arrays, Arrays, Array, Array], tuple[Array, Array]]:
    """The losses and outputs of one batch without training, as a pure function.

    `evaluate_batch(parameters, state, x, y)` returns `(losses, outputs)`; the losses are one per
    sample, (N,), or what a user's own loss gives.
    """

    def evaluate_batch(parameters: Arrays, state: Arrays, x: Array, y: Array) -> tuple[Any, Any]:
        outputs = network.forward(parameters, x, Context(training=False, state=state))
        return loss(outputs, y), outputs

    return evaluate_batch


def mean_loss(losses: Array, n_samples: int, weight: Array | None = None) -> Array:
    """The loss of a batch: the mean of the samples' losses (N,), each times its weight.

    A loss function may also return one number for the batch. Raises ValueError for any other
    shape, and for one number where there are weights.
    """
    shape = np.shape(losses)
    if shape not in ((), (n_samples,)):
        raise ValueError(
            f"the loss function returned shape {shape} for {n_samples} samples: return one value "
            f"per sample, shape ({n_samples},), or one number; sum or average over the last axis"
        )
    if weight is not None and shape == ():
        raise ValueError(
            "the loss function returned one number for the batch, which sample_weight and "
            f"class_weight cannot reach into: return one value per sample, shape ({n_samples},)"
        )
    if weight is not None:
        losses = losses * weight
    return np.mean(losses) if shape else losses
