"""Why is it not learning? The one function, and the order in which it looks."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from chainrule.diagnosis import columns, learning, lessons, refusals, structure
from chainrule.diagnosis.case import MOST_SAMPLES, Case, as_batch
from chainrule.diagnosis.probe import Probe, probe
from chainrule.diagnosis.report import Diagnosis, Finding, ranked
from chainrule.diagnosis.trials import Trials, as_learned
from chainrule.optim import Adam, Minimizer, Optimizer, get_optimizer
from chainrule.training.frozen import hidden_draws
from chainrule.training.goal import Goal, Penalties
from chainrule.training.inputs import check_count
from chainrule.training.losses import LossLike
from chainrule.training.measured import NotSaved
from chainrule.training.samples import Samples, with_class_weights
from chainrule.training.trainable import Trainable

__all__ = ["diagnose"]

_PROBED = 256  # samples of the batch that is looked at value by value


def diagnose(
    network: Trainable,
    x: Any,
    y: Any,
    *,
    loss: LossLike | None = None,
    optimizer: str | Optimizer | Minimizer | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    validation_data: tuple[Any, ...] | None = None,
    penalty: Penalties = None,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    seed: int = 0,
) -> Diagnosis:
    """Why the network does not learn y (N, ...) from x (N, ...): causes with evidence, in order.

    Give what `fit` was given, or is to be given. By default `loss`, `optimizer`, `batch_size` and
    `penalty` are those of the last fit, before one "adam" and 32; `learning_rate` takes the place
    of the optimizer's own. Data that `fit` would refuse become findings. A network that is not
    built is diagnosed as `fit` with this seed would build it.

    Nothing given is changed: copies take at most `trials.MOST_STEPS` training steps, and of the
    samples at most `case.MOST_SAMPLES` of each part are looked at. `findings` holds a `Finding` for
    each cause, the most certain and most causal first; `print` shows them all. Raises ValueError
    or TypeError for options that do not exist.

    >>> from chainrule import nn
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> net = nn.Network([nn.Dense(8), nn.Tanh(), nn.Dense(1)])
    >>> diagnose(net, x, x.sum(axis=1), loss="mean_squared_error", learning_rate=1e-6)
    <Diagnosis: learning rate too small>
    """
    if batch_size is not None:
        check_count("batch_size", batch_size)
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or seed < 0:
        raise ValueError(f"seed is {seed!r}: give a whole number from 0")
    loss, penalty = _of_last_fit(network, loss, penalty)
    optimizer = get_optimizer(_given(optimizer, network.measured.optimizer, "adam"))
    if learning_rate is not None:
        if not isinstance(optimizer, Optimizer):
            raise ValueError(f"{optimizer!r} finds its own step lengths: leave learning_rate out")
        optimizer = dataclasses.replace(optimizer, learning_rate=learning_rate)
    batch_size = _given(batch_size, network.measured.batch_size, 32)
    with hidden_draws({**network.parts, "loss": loss, "penalty": penalty, "optimizer": optimizer}):
        own = copy.deepcopy(network)
        goal = Goal.of(own, loss, None, penalty)
        data = (x, y) if validation_data is None else (x, y, *_pair(validation_data))
        made = _make_case(goal, data, optimizer, batch_size, sample_weight, class_weight, seed)
        if isinstance(made, Finding):
            return Diagnosis((made,), repr(own), 0)
        with np.errstate(all="ignore"):
            findings, n_steps = _look(made)
        return Diagnosis(ranked(findings), repr(own), n_steps)


def _of_last_fit(network: Trainable, loss: Any, penalty: Any) -> tuple[Any, Any]:
    """The loss and the penalty, where they are not given those of the last fit."""
    last = network.measured
    if penalty is None and loss is None and not isinstance(last.penalty, NotSaved):
        penalty = last.penalty
    loss = last.loss if loss is None else loss
    if loss is None or isinstance(loss, NotSaved):
        raise ValueError(
            "diagnose does not know the loss before a fit: give loss=, as fit will be given"
        )
    return loss, penalty


def _given(own: Any, of_last_fit: Any, otherwise: Any) -> Any:
    """What is given, else what the last fit was given, else the default of `fit`."""
    if own is not None:
        return own
    return otherwise if of_last_fit is None or isinstance(of_last_fit, NotSaved) else of_last_fit


def _pair(validation_data: Any) -> tuple[Any, Any]:
    if not isinstance(validation_data, tuple | list) or len(validation_data) not in (2, 3):
        raise ValueError("give validation_data as (x, y) or (x, y, sample_weight)")
    return validation_data[0], validation_data[1]


def _make_case(
    goal: Goal,
    data: tuple[Any, ...],
    optimizer: Optimizer | Minimizer,
    batch_size: int | None,
    sample_weight: Any,
    class_weight: Any,
    seed: int,
) -> Case | Finding:
    """The case, or the first reason why `fit` would refuse the data."""
    has_been_fit = goal.network.measured.loss is not None
    prepared = []
    for i, name in zip(range(0, len(data), 2), ("", "validation "), strict=False):
        weight = sample_weight if i == 0 else None
        samples = _samples(goal, data[i], data[i + 1], weight, name, seed)
        if isinstance(samples, Finding):
            return samples
        prepared.append(samples)
    if not goal.network.parameters.flat.size:
        raise ValueError(f"{goal.network} has no parameters to train: add a layer such as nn.Dense")
    samples = prepared[0]
    weight = with_class_weights(samples.weight, class_weight, samples.y)
    samples = dataclasses.replace(samples, weight=weight)
    rng = np.random.default_rng((seed, 0))
    parts = [_some(part, rng).normalised(goal.network.dtype) for part in (samples, *prepared[1:])]
    is_descent = isinstance(optimizer, Optimizer)
    return Case(
        goal,
        optimizer if isinstance(optimizer, Optimizer) else None,
        _peak_rate(optimizer) if isinstance(optimizer, Optimizer) else math.nan,
        min(batch_size or len(samples), len(samples)) if is_descent else len(samples),
        parts[0],
        parts[1] if len(parts) > 1 else None,
        seed,
        has_been_fit,
    )


def _samples(goal: Goal, x: Any, y: Any, weight: Any, prefix: str, seed: int) -> Samples | Finding:
    """One part of the data as training takes it, or why it does not."""
    network, is_built = goal.network, getattr(goal.network, "is_built", True)
    input_shape = getattr(network, "input_shape", None) if is_built else None
    if found := refusals.refused_inputs(x, y, network.dtype, input_shape, f"{prefix}x"):
        return found
    try:
        inputs = network.as_inputs(x, f"{prefix}x", seed)
    except (TypeError, ValueError) as error:
        if not is_built and np.ndim(x) > 1 and len(x) and isinstance(error, ValueError):
            raise  # the layers do not fit one another
        return refusals.wrong_inputs(error, x)
    try:
        return Samples.prepare(network, goal.loss, inputs, y, weight, prefix=prefix, seed=seed)
    except (TypeError, ValueError) as error:
        if weight is not None:
            Samples.prepare(network, goal.loss, inputs, y, None, prefix=prefix, seed=seed)
            raise  # it is the weights that do not fit
        return refusals.refused_targets(y, goal.loss, len(inputs), network.output_shape, error)


def _some(samples: Samples, rng: np.random.Generator) -> Samples:
    if len(samples) <= MOST_SAMPLES:
        return samples
    return samples.take(np.sort(rng.permutation(len(samples))[:MOST_SAMPLES]))


def _peak_rate(optimizer: Optimizer) -> float:
    """The learning rate, of a schedule the largest of some steps: it may begin with 0."""
    if not callable(optimizer.learning_rate):
        return optimizer.learning_rate_at(1)
    return max(optimizer.learning_rate_at(step) for step in (1, 10, 100, 1000, 10_000))


def _look(case: Case) -> tuple[list[Finding], int]:
    """All findings, and the steps it took."""
    network = case.goal.network
    for name, array in network.parameters.unflatten(network.parameters.flat).items():
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            evidence = f"{bad} of {array.size} values of {name} are not finite"
            fix = "build the network anew, and train with clip_norm=1 or a smaller rate"
            layer = name.rpartition(".")[0]
            return [Finding("NaN in the parameters", evidence, float(bad), fix, layer)], 0
    trials = Trials(case)
    if case.has_been_fit and not learning.knows_already(trials):
        # What it has come to is a consequence: the cause shows where the training began.
        start, trials.start = trials.start, as_learned(network.restarted(case.seed))
        found, n_steps = _look_from(case, trials)
        if found:
            return found, n_steps
        trials.start = start
    return _look_from(case, trials)


def _look_from(case: Case, trials: Trials) -> tuple[list[Finding], int]:
    """All findings of a training that begins where the trials do."""
    findings = list(learning.batch_norm(trials, case, case.batch_size))
    if case.batch_size < 2 and findings:
        case.batch_size = min(32, len(case.samples))
    seen = probe(case, trials.start, as_batch(case.training, _PROBED))
    if not seen.nonfinite and (bad := trials.nonfinite_samples()).size:
        seen = probe(case, trials.start, as_batch(case.training.take(bad[:2])))
    if seen.nonfinite:
        return [*findings, _nonfinite(seen.nonfinite)], trials.n_steps
    certain = list(structure.output_layer(case, seen))
    certain += structure.initialisation(seen, case.has_been_fit)
    certain += columns.leaks(case)
    findings += certain
    return [*findings, *_by_training(case, trials, seen)], trials.n_steps


def _nonfinite(error: str, step: int = 0) -> Finding:
    """What the first value that is not finite says of itself, as a finding."""
    layer = error.split(" of layer ")[1].split(" ")[0] if " of layer " in error else ""
    fix = "numbers that cannot leave its range: np.log(z + 1e-6), scaled inputs, cross_entropy"
    evidence = error.partition(". Look")[0]
    if step:
        evidence = f"in step {step}, {evidence}"
    return Finding("NaN in the computation", evidence, float(step), fix, layer)


def _by_training(case: Case, trials: Trials, seen: Probe) -> list[Finding]:
    """What trials show, once it is known whether the network learns as it is trained."""
    if found := lessons.constant_target(case):
        return [found]
    optimizer = case.optimizer
    if optimizer is None:
        optimizer = Adam(learning.own_rate(case))
        case.rate = optimizer.learning_rate_at(1)
    progress = learning.Progress.of(trials, optimizer, case.rate)
    knows, learns = progress.knows, progress.learns
    findings = list(columns.scales(seen, case, learns))
    findings += columns.useless_columns(case, any(n.endswith("bias") for n in seen.parameters))
    findings += columns.parts_differ(case)
    findings += structure.slopes(seen, knows, learns)
    findings += learning.regularisation(trials, case)
    findings += lessons.classes(trials, case, progress)
    roots = {f.name for f in findings} - {"constant column", "duplicate columns"}
    findings += lessons.shuffled(trials, case, progress)
    roots |= {f.name for f in findings if f.name == "labels shuffled"}
    constant = list(lessons.constant_predictions(trials, case, progress))
    if any(found.number > lessons.FAR for found in constant):
        return [*findings, *constant]
    if not roots:
        findings += learning.learning_rate(trials, optimizer, progress)
        if not progress.curve.is_finite and not findings:
            n_steps = len(progress.curve.losses)
            step, error = trials.first_nonfinite(optimizer, case.rate, n_steps)
            findings += [_nonfinite(error, step)] if error else []
        roots |= {f.name for f in findings if f.name.startswith("learning rate")}
    if not roots:
        findings += lessons.network_size(trials, case, progress)
    if "labels shuffled" not in roots and "train and validation differ" not in roots:
        findings += lessons.overfitting(trials, case, progress)
    return findings if roots else [*findings, *constant]
