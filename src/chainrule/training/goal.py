"""What a training is for: a network, the loss that is minimised, the metrics beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from chainrule.training.losses import Loss, LossLike, get_loss
from chainrule.training.measured import Measured
from chainrule.training.metrics import Metrics, get_metrics
from chainrule.training.samples import Samples
from chainrule.training.step import Penalty, mean_loss
from chainrule.training.trainable import Trainable

__all__ = ["Goal", "Penalties", "get_penalties", "ignore_overflow"]

Penalties: TypeAlias = Penalty | Iterable[Penalty] | None

_EVALUATE_ROWS = 1024  # enough to fill the matrix products, few enough to stay in the cache


@dataclass(frozen=True)
class Goal:
    """What is trained, on which loss, and what is measured."""

    network: Trainable
    loss: Loss
    penalties: tuple[Penalty, ...]
    metrics: Mapping[str, Callable[..., float]]

    @staticmethod
    def of(network: Trainable, loss: LossLike, metrics: Metrics, penalty: Penalties) -> Goal:
        """The goal a user describes; raises ValueError or TypeError for what does not exist."""
        found = get_loss(loss)
        return Goal(network, found, get_penalties(penalty), get_metrics(metrics, found))

    @staticmethod
    def of_last_fit(
        network: Trainable, loss: LossLike | None, penalty: Penalties, caller: str
    ) -> Goal:
        """The goal without metrics: what is given, and the rest from the network's last fit.

        Raises ValueError, in the name of the `caller`, where there is no loss.
        """
        last = network.measured._replace(metrics=None)
        measured = Measured(loss, None, penalty).completed_by(last, caller)
        return Goal.of(network, measured.loss, (), measured.penalty)

    def measure(
        self, outputs: np.ndarray, targets: np.ndarray, weight: np.ndarray | None
    ) -> dict[str, float]:
        """The metrics of all samples at once."""
        return {name: metric(outputs, targets, weight) for name, metric in self.metrics.items()}

    def evaluate(self, samples: Samples, batch_size: int | None = None) -> dict[str, float]:
        """The loss, penalties included, and the metrics, by the network's present parameters."""
        network = self.network
        parameters = network.parameters.unflatten(network.parameters.flat)
        n_samples, rows = len(samples), batch_size or _EVALUATE_ROWS
        total, outputs = 0.0, []
        with ignore_overflow():
            for start in range(0, n_samples, rows):
                batch = samples.batch(slice(start, start + rows))
                out = network.infer(batch.x)
                losses = self.loss(out, batch.y)
                n_rows = len(batch.x)
                total += float(mean_loss(losses, n_rows, batch.weight)) * (n_rows / n_samples)
                outputs.append(np.asarray(out))
            total += sum(float(penalty(parameters)) for penalty in self.penalties)
            measured = self.measure(np.concatenate(outputs), samples.y, samples.metric_weight)
        return {"loss": total, **measured}


def get_penalties(penalty: Any) -> tuple[Penalty, ...]:
    """The penalties as functions of the parameters; raises TypeError for what is none."""
    if penalty is None:
        return ()
    is_several = isinstance(penalty, Iterable) and not isinstance(penalty, str | bytes | Mapping)
    found = tuple(penalty) if is_several and not callable(penalty) else (penalty,)
    for one in found:
        if isinstance(one, type):
            raise TypeError(
                f"the penalty {one.__name__} is a class: make an object of it, {one.__name__}(0.01)"
            )
        if not callable(one):
            raise TypeError(
                f"penalty is {one!r}, a {type(one).__name__}: give nn.L2(0.01), nn.L1(0.01), a "
                "function of the parameters, or several of them in a list"
            )
    return found


def ignore_overflow() -> AbstractContextManager[Any]:
    """Let numbers become infinite or NaN without NumPy's warnings: we look at the results."""
    return np.errstate(over="ignore", divide="ignore", invalid="ignore")
