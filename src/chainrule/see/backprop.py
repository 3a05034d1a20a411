"""The backward pass of a network on a batch, every value by its textbook name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.autodiff import vjp
from chainrule.compiler.naming import Labels
from chainrule.primitives.dispatch import Array
from chainrule.see.record import Record, record_call
from chainrule.see.recorded import Recorder
from chainrule.training.goal import Goal, Penalties
from chainrule.training.losses import Loss, LossLike
from chainrule.training.measured import Measured
from chainrule.training.samples import Batch, Samples
from chainrule.training.step import make_loss
from chainrule.training.trainable import ArraysByName, Trainable

__all__ = ["backprop"]


def backprop(
    network: Trainable,
    x: Any,
    y: Any,
    *,
    loss: LossLike | None = None,
    penalty: Penalties = None,
    sample_weight: Any = None,
    seed: int | np.random.Generator | None = None,
    per_sample: bool = False,
) -> Record:
    """Every value of the forward and the backward pass on inputs x (N, ...) and targets y (N, ...).

    What is differentiated is what `fit` minimises: the mean over the samples of weight * loss, plus
    the penalties; `loss` and `penalty` are as for `fit`, by default those of the last fit. The
    record holds, as arrays by textbook name, x and y, `W1`, `b1`, `z1`, `a1`, ..., `losses` (N,),
    `loss`, and backwards `d_a1`, `d_z1`, `d_W1`, `d_b1`, ..., `d_x`; its `gradients` go by the
    names of `network.parameters`. Layers behave as in training, and what dropout draws is fixed by
    `seed`. With `per_sample`, the record's `per_sample` has the gradients of each sample's own
    loss, without its weight and the penalties.
    Nothing of the network is changed; it is built for x where it is not built. Raises ValueError or
    TypeError for what does not fit, as `fit` does.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(1, weight=[[2.0]]), nn.Sigmoid()], dtype=float)
    >>> seen = net.backprop([[0.5]], [[0.0]], loss="mean_squared_error")
    >>> list(seen)[:6]
    ['x', 'y', 'W1', 'b1', 'matmul_1', 'z1']
    >>> seen["d_a1"], seen.gradients["dense_1.bias"] == seen["d_z1"][0]
    (array([[1.46211716]]), array([ True]))
    """
    measured = Measured(loss, None, penalty).filled_from(network.measured, "backprop")
    goal = Goal.of(network, measured.loss, None, measured.penalty)
    network.check_loss(goal.loss)
    samples = Samples.prepare(network, goal.loss, x, y, sample_weight, seed=seed)
    batch = samples.normalised(network.dtype).batch(slice(None))
    loss_of = make_loss(network, goal.loss, goal.penalties)
    draws = np.random.default_rng(seed).bit_generator.state  # the same for every pass

    recorder, names = Recorder(), network.textbook_names()
    arrays = network.parameters.unflatten(network.parameters.flat)
    parameters = {n: recorder.start(a, names.parameters[n]) for n, a in arrays.items()}
    state = {name: recorder.start(array, name) for name, array in network.state.items()}
    given = {
        name: recorder.start(part, name)
        for name, part in batch._asdict().items()
        if part is not None
    }

    def loss_by(parameters: ArraysByName, x: Array = given["x"]) -> Array:
        return loss_of(parameters, state, Batch(**{**given, "x": x}), _generator(draws))[0]

    return record_call(
        recorder,
        loss_by,
        [parameters, given["x"]] if batch.x.dtype.kind == "f" else [parameters],
        [*given.values(), *parameters.values(), *state.values()],
        {name: array.variable for name, array in parameters.items()},
        Labels(layers={"loss": "loss", **names.layers}),
        per_sample=_per_sample(network, goal.loss, batch, draws) if per_sample else None,
    )


def _per_sample(
    network: Trainable, loss: Loss, batch: Batch, draws: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The gradient of each sample's loss in the batch, (N, *shape), by the parameters' names."""

    def losses_by(parameters: ArraysByName) -> Array:
        outputs, _ = network.apply(parameters, network.state, batch.x, True, _generator(draws))
        return loss(outputs, batch.y)

    losses, pull = vjp(losses_by, network.parameters.unflatten(network.parameters.flat))
    if losses.shape != (len(batch.x),):
        raise ValueError(
            f"the loss {loss.name} returned shape {losses.shape} for {len(batch.x)} samples: "
            "gradients of each sample need one value per sample"
        )
    rows = [pull(row)[0] for row in np.eye(len(losses), dtype=losses.dtype)]
    return {name: np.stack([row[name] for row in rows]) for name in network.parameters.shapes}


def _generator(draws: Mapping[str, Any]) -> np.random.Generator:
    """A generator that draws what others of this state have drawn."""
    rng = np.random.default_rng()
    rng.bit_generator.state = draws
    return rng
