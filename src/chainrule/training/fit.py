"""Training and evaluation of networks: `fit` and `evaluate`.

`fit` checks and casts everything once and then trains, by the steps of an optimizer or by the
iterations of a full-batch minimizer; what happens around both is in `chainrule.training.session`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from chainrule.compiler.check import GraphError
from chainrule.engines.numpy.threads import limit_threads
from chainrule.nn.losses import check_output_layer, get_loss
from chainrule.nn.network import Network
from chainrule.optim import Minimizer, Optimizer, get_optimizer
from chainrule.training.callbacks import Run, moments
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.history import History
from chainrule.training.inputs import (
    Samples,
    as_features,
    as_targets,
    as_weights,
    check_same_length,
    hold_out,
    with_class_weights,
)
from chainrule.training.metrics import Metric, get_metrics
from chainrule.training.progress import make_progress
from chainrule.training.session import Descent, Objective, Session, Task, iterate
from chainrule.training.step import Penalty, make_step

__all__ = ["evaluate", "fit"]

T = TypeVar("T")

Metrics = str | Metric | Iterable[str | Metric] | Mapping[str, Metric] | None
Penalties = Penalty | Iterable[Penalty] | None


def fit(
    network: Network,
    x: Any,
    y: Any,
    *,
    loss: str | Callable[..., Any],
    optimizer: str | Optimizer | Minimizer = "adam",
    epochs: int | None = None,
    batch_size: int | None = 32,
    validation_data: tuple[Any, ...] | None = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    metrics: Metrics = None,
    callbacks: Any = (),
    penalty: Penalties = None,
    seed: int | np.random.Generator | None = None,
    verbose: str | int = "auto",
    detect_nonfinite: bool = False,
    compile: bool = True,
) -> History:
    """Train a network on inputs x (N, ...) and targets y (N, ...), and return the curves.

    What is minimised, and recorded as "loss", is the mean over the batch of weight * loss, plus the
    penalties; an epoch's loss is the mean over its batches as they were trained on, each before its
    update, and its metrics are taken from the same outputs. "val_loss" is the same function
    (penalties included) of the validation data, after the epoch. The last batch may be shorter and
    is used as it is.

    `network` is built for x where it is not. Training starts from the parameters it has, so a
    second `fit` goes on where the first ended, with an optimizer that starts afresh. The same
    seed, data and starting parameters give the same bits; `seed` also fixes the initial parameters
    of a network that has none and no seed of its own.

    - `loss`: a name of `nn.losses.LOSSES`, or a function `loss(outputs, targets)` that returns one
      value per sample, (N,), or one number for the batch.
    - `optimizer`: a name, an optimizer, or a full-batch minimizer (`optim.LBFGS()`, …). A minimizer
      sees all training samples as one batch, an epoch is one of its iterations, and the history
      begins after the first. It computes in float64 but calls the network in the network's dtype:
      give the network dtype="float64" for more than about six digits.
    - `epochs`: how many, by default 1, or the minimizer's own `max_iterations`.
    - `batch_size`: samples per update, None for all; of no effect on minimizers.
    - `validation_data`: (x, y) or (x, y, sample_weight). Or `validation_split`: the fraction of the
      samples to hold out, drawn at random by the seed; with `shuffle=False` the last ones.
    - `shuffle`: whether each epoch takes the samples in a new random order.
    - `sample_weight` (N,), `class_weight` {label: weight} (1 for labels left out) or "balanced":
      their product, normalised to mean 1, multiplies the samples' losses. Metrics use
      `sample_weight` only; the validation loss uses the weights its samples are given.
    - `metrics`: names, functions `metric(outputs, targets)`, or a dict of them; by default accuracy
      for a loss that is one for classes.
    - `callbacks`: objects with named moments, see `chainrule.training.callbacks`.
    - `penalty`: `nn.L1`, `nn.L2`, or any function of the parameters' mapping; or several of them.
    - `verbose`: "auto" is a bar on a terminal and plain lines elsewhere, on standard error; 0
      nothing, 1 a bar, 2 plain lines.
    - `detect_nonfinite`: look at every value, which is slow, and raise `NonFiniteError` naming
      epoch, batch, layer and primitive of the first NaN or infinity.
    - `compile`: write the step out as NumPy source and run that, many times as fast for small
      networks; read it in `network.step.source`. Where it cannot be, a warning says why.

    Ctrl-C ends the training as if it were done: the parameters are those after the last finished
    update, and the history holds the finished epochs. A loss or parameter that is not finite ends
    it with a RuntimeWarning, and the parameters are those of the last epoch that was; see
    `History.stopped_by`. Raises ValueError or TypeError for inputs that do not fit, before the
    first step.

    >>> from chainrule import nn
    >>> x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    >>> net = nn.Network([nn.Dense(8), nn.Tanh(), nn.Dense(1)])
    >>> history = fit(net, x, y, loss="binary_cross_entropy", epochs=200, seed=0, verbose=0)
    >>> history.epochs, history["accuracy"][-1]
    (200, 1.0)
    """
    optimizer = get_optimizer(optimizer)
    if epochs is None:
        epochs = optimizer.max_iterations if isinstance(optimizer, Minimizer) else 1
    _check_count("epochs", epochs)
    if batch_size is not None:
        _check_count("batch_size", batch_size)
    split_rng, shuffle_rng, layer_rng = np.random.default_rng(seed).spawn(3)

    x = _inputs_of(network, x, "x", seed)
    if not network.parameters:
        raise ValueError(f"{network} has no parameters to train: add a layer such as nn.Dense")
    task = _make_task(network, loss, metrics, penalty)
    samples = _samples_of(task, x, y, sample_weight)
    weight = with_class_weights(samples.weight, class_weight, samples.y)
    training, validation = samples._replace(weight=weight), None
    if validation_data is not None:
        if validation_split:
            raise ValueError("validation_data and validation_split are both given: give one")
        validation = _validation_of(task, validation_data)
    elif validation_split:
        kept, held = hold_out(len(x), validation_split, split_rng if shuffle else None)
        training, validation = training.take(kept), samples.take(held).normalised(network.dtype)

    session = Session(
        task,
        training.normalised(network.dtype),
        validation,
        Run(network, epochs),
        moments(callbacks),
        make_progress(verbose),
        detect_nonfinite,
    )
    network.step = None
    try:
        session.begin()
        if isinstance(optimizer, Minimizer):
            objective = Objective(task, session.training, layer_rng)
            if compile and not detect_nonfinite:
                _if_possible(objective.compile)
            iterate(session, replace(optimizer, max_iterations=epochs), objective)
        else:
            train_step: Callable[..., Any] = make_step(
                network, task.loss, optimizer, task.penalties
            )
            threads: AbstractContextManager[Any] = nullcontext()
            if compile and not detect_nonfinite:
                compiled = _if_possible(lambda: _compile(session, optimizer, batch_size))
                if compiled is not None:
                    train_step, network.step = compiled, compiled
                    threads = limit_threads(compiled.graph)
            order_rng = shuffle_rng if shuffle else None
            with threads:
                Descent(session, optimizer, train_step, batch_size, order_rng).train(layer_rng)
    except KeyboardInterrupt:
        session.interrupt()
    finally:
        session.end()
    if session.problem:
        warnings.warn(session.problem, RuntimeWarning, stacklevel=3)
    return session.run.history


def evaluate(
    network: Network,
    x: Any,
    y: Any,
    *,
    loss: str | Callable[..., Any],
    metrics: Metrics = None,
    batch_size: int | None = None,
    sample_weight: Any = None,
    penalty: Penalties = None,
) -> dict[str, float]:
    """The loss and the metrics of a network on inputs x (N, ...) and targets y (N, ...).

    The loss is the mean over all samples of weight * loss, plus the penalties, whatever
    `batch_size` (None: one that suits the cache); `loss`, `metrics` and `penalty` are as for `fit`.
    `sample_weight` (N,), normalised to mean 1, weighs the loss, and the metrics that take weights,
    as ours do. Raises ValueError or TypeError for inputs that do not fit.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(2, weight="zeros")], input_shape=3)
    >>> evaluate(net, np.ones((4, 3)), [0, 0, 0, 1], loss="cross_entropy")
    {'loss': 0.6931471824645996, 'accuracy': 0.75}
    """
    if batch_size is not None:
        _check_count("batch_size", batch_size)
    x = _inputs_of(network, x, "x", None)
    task = _make_task(network, loss, metrics, penalty)
    samples = _samples_of(task, x, y, sample_weight).normalised(network.dtype)
    return task.evaluate(samples, batch_size)


def _compile(session: Session, optimizer: Optimizer, batch_size: int | None) -> CompiledStep:
    """The training step as source, for the first batch."""
    task = session.task
    batch = session.training.take(slice(0, batch_size))
    step = CompiledStep(task.network, task.loss, optimizer, task.penalties)
    step.compile_for(batch.x, batch.y, batch.weight)
    return step


def _if_possible(compiled: Callable[[], T]) -> T | None:
    """What `compiled()` returns; None, with a warning, where the step cannot be written out."""
    try:
        return compiled()
    except (TypeError, GraphError) as error:
        warnings.warn(
            f"the training step runs as it is, which is slower, for it cannot be compiled: {error}",
            RuntimeWarning,
            stacklevel=4,
        )
        return None


def _inputs_of(network: Network, x: Any, name: str, seed: Any) -> Any:
    """The inputs as the network takes them; builds it for them where it is not built."""
    input_shape = network.input_shape if network.is_built else None
    array = as_features(x, network.input_dtype, name, input_shape)
    if network.layers:
        network.layers[0].check_inputs(array)
    if not network.is_built:
        given = isinstance(seed, int | np.integer) and network.seed is None
        network.build(array.shape[1:], int(seed) if given else None)
    return array


def _make_task(
    network: Network, loss: str | Callable[..., Any], metrics: Metrics, penalty: Penalties
) -> Task:
    function = get_loss(loss)
    check_output_layer(function, network.layers[-1])
    penalties: tuple[Penalty, ...] = ()
    if penalty is not None:
        penalties = (penalty,) if callable(penalty) else tuple(penalty)
    return Task(network, function, penalties, get_metrics(metrics, function))


def _samples_of(task: Task, x: Any, y: Any, sample_weight: Any, prefix: str = "") -> Samples:
    check_same_length(x, y, f"{prefix}x", f"{prefix}y")
    network = task.network
    targets = as_targets(y, task.loss, network.output_shape, network.dtype, f"{prefix}y")
    weight = as_weights(sample_weight, len(x), f"{prefix}sample_weight")
    return Samples(x, targets, weight, weight)


def _validation_of(task: Task, data: Any) -> Samples:
    """The validation data, (x, y) or (x, y, sample_weight), as samples."""
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        what = f"{len(data)} parts" if isinstance(data, tuple | list) else type(data).__name__
        raise ValueError(f"validation_data is {what}: give (x, y) or (x, y, sample_weight)")
    x = _inputs_of(task.network, data[0], "validation x", None)
    weight = data[2] if len(data) == 3 else None
    samples = _samples_of(task, x, data[1], weight, "validation ")
    return samples.normalised(task.network.dtype)


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}: give a whole number of at least 1")
