"""The training step: forward, loss, backward, update, as one pure function of arrays.

What is made here decides nothing by the value of an array and changes nothing in place, so the same
few lines run on arrays, can be differentiated, and can be traced into a program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from chainrule.autodiff import value_and_grad
from chainrule.optim import Optimizer, clip
from chainrule.primitives import astype
from chainrule.primitives.dispatch import Array, named
from chainrule.scope import RuleCall, layer_scope, scope
from chainrule.training.losses import LossFunction
from chainrule.training.samples import Batch
from chainrule.training.trainable import ArraysByName, Trainable

__all__ = ["Learned", "Penalty", "PureStep", "make_loss", "make_step", "mean_loss"]

Penalty: TypeAlias = Callable[[ArraysByName], Array]


class Learned(NamedTuple):
    """What training changes: the parameters as one vector, the optimizer's slots, the state."""

    flat: Array
    slots: ArraysByName
    state: ArraysByName


PureStep: TypeAlias = Callable[[Learned, Batch, Any, Any, Any], tuple[Array, Array, Learned]]


def make_loss(
    network: Trainable, loss: LossFunction, penalties: Sequence[Penalty] = ()
) -> Callable[..., tuple[Array, tuple[Array, dict[str, Array]]]]:
    """The function that training minimises, as one of the parameters.

    `loss_of(parameters, state, batch, rng)` returns `(loss, (outputs, state))`: the mean over the
    batch of weight * loss, plus the penalties; the outputs (N, ...); and the state after this
    batch.
    """

    def loss_of(
        parameters: ArraysByName, state: ArraysByName, batch: Batch, rng: Any
    ) -> tuple[Array, tuple[Array, dict[str, Array]]]:
        outputs, new_state = network.apply(parameters, state, batch.x, True, rng)
        with layer_scope("loss"):
            losses = named("losses", loss(outputs, batch.y))
            value = mean_loss(losses, len(batch.x), batch.weight)
            if penalties:
                value = named("data_loss", value)
            for penalty in penalties:
                value = value + _penalty_of(penalty, parameters)
        return value, (outputs, new_state)

    return loss_of


def _penalty_of(penalty: Penalty, parameters: ArraysByName) -> Array:
    value = penalty(parameters)
    if np.shape(value) != ():
        name = getattr(penalty, "__name__", type(penalty).__name__)
        raise ValueError(
            f"the penalty {name} gave shape {np.shape(value)}: return one number, summed over the "
            "parameters"
        )
    return value


def make_step(
    network: Trainable,
    loss: LossFunction,
    optimizer: Optimizer,
    penalties: Sequence[Penalty] = (),
) -> PureStep:
    """One update of all parameters from one batch, as a pure function.

    `train_step(learned, batch, learning_rate, step, rng)` returns `(loss, outputs, learned)`: the
    loss and the outputs before the update, and what has been learned after it. Parameters, slots
    and state keep their dtypes, whatever the update computes in.
    """
    loss_and_gradients = value_and_grad(make_loss(network, loss, penalties), has_aux=True)
    layout, names = network.parameters, network.textbook_names().parameters

    def train_step(
        learned: Learned, batch: Batch, learning_rate: Any, step: Any, rng: Any
    ) -> tuple[Array, Array, Learned]:
        flat, slots, state = learned
        (value, (outputs, new_state)), gradients = loss_and_gradients(
            {name: named(names[name], part) for name, part in layout.unflatten(flat).items()},
            state,
            batch,
            rng,
        )
        with scope(section="update"):
            gradient = clip(layout.flatten(gradients), optimizer.clip_norm, optimizer.clip_value)
            arguments = (("parameter", flat), ("gradient", gradient), *slots.items())
            with scope(rule=RuleCall(type(optimizer).__name__.lower(), arguments)):
                new_flat, new_slots = optimizer.update(flat, gradient, slots, learning_rate, step)
            new_flat = _like(flat, new_flat, "parameters", optimizer)
            new_slots = _all_like(slots, new_slots, optimizer)
        return value, outputs, Learned(new_flat, new_slots, _all_like(state, new_state, network))

    return train_step


def _like(old: Array, new: Array, what: str, owner: object) -> Array:
    """The new value in the shape and dtype of the old one; raises ValueError for another shape."""
    if np.shape(new) != old.shape:
        raise ValueError(
            f"{owner!r} gave {what} of shape {np.shape(new)} for {old.shape}: an update keeps the "
            "shape"
        )
    if getattr(new, "dtype", None) == old.dtype:
        return new
    return astype(new, dtype=old.dtype)


def _all_like(old: ArraysByName, new: ArraysByName, owner: object) -> dict[str, Array]:
    if set(new) != set(old):
        raise ValueError(
            f"{owner!r} gave {', '.join(new) or 'nothing'} for {', '.join(old) or 'nothing'}: an "
            "update gives back what init made, by the same names"
        )
    return {name: _like(array, new[name], name, owner) for name, array in old.items()}


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
