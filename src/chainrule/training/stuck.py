"""Trainings that certainly led nowhere, said in one line: `diagnose` finds out why."""

from __future__ import annotations

import numpy as np

from chainrule.training.frozen import hidden_draws
from chainrule.training.goal import ignore_overflow
from chainrule.training.history import History
from chainrule.training.samples import Samples
from chainrule.training.trainable import Trainable

__all__ = ["why_stuck"]

_LOOKED_AT = 32  # samples: a dead network gives the same for any of them


def why_stuck(network: Trainable, start: np.ndarray, samples: Samples, history: History) -> str:
    """What shows that a training from the parameters `start` led nowhere, "" where nothing does.

    Parameters that no step has moved, and outputs that are exactly the same for samples that
    differ. A loss of 0 is no such case: there is nothing left to learn.
    """
    if not history.epochs or not history["loss"][-1] > 0:
        return ""
    look = "net.diagnose(x, y) looks for the cause"
    by_steps = any(history.get("learning_rate", ())) and history.best_epoch is None
    if by_steps and np.array_equal(network.parameters.flat, start):
        return (
            f"no step of {history.epochs} epochs has changed a parameter: each gradient is 0, or "
            f"the learning rate far too small; {look}"
        )
    x, y = samples.x[:_LOOKED_AT], samples.y[:_LOOKED_AT]
    if not np.ptp(x, axis=0).any() or not np.ptp(y, axis=0).any():
        return ""
    parameters = network.parameters.unflatten(network.parameters.flat)
    with ignore_overflow(), hidden_draws(network.parts):
        outputs = np.asarray(network.apply(parameters, network.state, x, False, None)[0])
    if np.ptp(outputs, axis=0).any() or not np.isfinite(outputs).all():
        return ""
    return (
        f"after {history.epochs} epochs the network gives exactly the same outputs for all samples "
        f"looked at, whatever their inputs; {look}"
    )
