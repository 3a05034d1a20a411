"""Training and evaluation of networks: `fit` and `evaluate`.

They check and cast everything once and hand it on: `fit` to a session, in which an optimizer's
`Descent` or a minimizer's `Minimization` runs. Both are methods of `nn.Network` too, as they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.engines.choice import Engine, check_engine
from chainrule.optim import Minimizer, Optimizer, get_optimizer
from chainrule.training.callbacks import Callbacks, Run, moments
from chainrule.training.compiling import StepMaker
from chainrule.training.descent import Descent
from chainrule.training.goal import Goal, Penalties
from chainrule.training.history import History
from chainrule.training.inputs import as_generator, check_count
from chainrule.training.losses import LossLike
from chainrule.training.measured import Measured
from chainrule.training.metrics import Metrics
from chainrule.training.minimization import Minimization, Objective
from chainrule.training.orders import Orders, Shuffle, check_shuffle
from chainrule.training.progress import make_progress
from chainrule.training.samples import Samples, hold_out, with_class_weights
from chainrule.training.session import Session
from chainrule.training.stuck import why_stuck
from chainrule.training.trainable import Trainable
from chainrule.warn import warn_user

__all__ = ["evaluate", "fit"]


def fit(
    network: Trainable,
    x: Any,
    y: Any,
    *,
    loss: LossLike,
    optimizer: str | Optimizer | Minimizer = "adam",
    epochs: int | None = None,
    batch_size: int | None = 32,
    validation_data: tuple[Any, ...] | None = None,
    validation_split: float = 0.0,
    steps: int | None = None,
    shuffle: Shuffle = True,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | str | None = None,
    metrics: Metrics = None,
    callbacks: Callbacks = (),
    penalty: Penalties = None,
    seed: int | np.random.Generator | None = None,
    verbose: str | int = "auto",
    verbose_every: int | None = None,
    detect_nonfinite: bool = False,
    compile: bool = True,
    engine: Engine | None = None,
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
    - `steps`: how many updates in place of `epochs`: the last epoch ends with the last of them.
    - `shuffle`: whether each epoch takes the samples in a new random order. "replacement" draws
      each sample of each batch from all of them, whatever was drawn before; an epoch is then as
      many batches as all samples make, or, given `steps` and `epochs`, one of so many equal parts
      of the steps.
    - `sample_weight` (N,), `class_weight` {label: weight} (1 for labels left out) or "balanced":
      their product, normalised to mean 1, multiplies the samples' losses. Metrics use
      `sample_weight` only; the validation loss uses the weights its samples are given.
    - `metrics`: names, functions `metric(outputs, targets)`, or a dict of them; by default accuracy
      for a loss that is one for classes.
    - `callbacks`: objects with named moments, see `chainrule.training.callbacks`.
    - `penalty`: `nn.L1`, `nn.L2`, or any function of the parameters' mapping; or several of them.
    - `verbose`: "auto" is a bar on a terminal and plain lines elsewhere, on standard error; 0
      nothing, 1 a bar, 2 plain lines.
    - `verbose_every`: take the loss over all training samples after the first epoch and after every
      so many, print it, and keep it in the history as "loss_after_epoch", NaN for other epochs.
    - `detect_nonfinite`: look at every value, which is slow, and raise `NonFiniteError` naming
      epoch, batch, layer and primitive of the first NaN or infinity.
    - `compile`: write the step out as NumPy source and run that, many times as fast for small
      networks; read it in `network.step.source`. Where it cannot be, a warning says why.
    - `engine`: "numpy", "c" (a C compiler makes a library of the step, which takes a moment and
      then runs several times as fast) or "auto" (C where that saves several times what it takes);
      by default what the environment variable CHAINRULE_ENGINE says, else "auto".

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
    engine = check_engine(engine)
    optimizer = get_optimizer(optimizer)
    shuffle = check_shuffle(shuffle)
    counts = {"epochs": epochs, "batch_size": batch_size, "verbose_every": verbose_every}
    for name, count in counts.items():
        if count is not None:
            check_count(name, count)
    is_full_batch = isinstance(optimizer, Minimizer)
    if is_full_batch and (steps is not None or shuffle == "replacement"):
        raise ValueError(
            f"{optimizer!r} sees all samples at once and takes no steps on batches: leave out "
            "steps= and shuffle='replacement', and give epochs="
        )
    flags = {"detect_nonfinite": detect_nonfinite, "compile": compile}
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise TypeError(f"{name} is {flag!r}: give True or False")
    split_rng, shuffle_rng, layer_rng = as_generator(seed).spawn(3)

    goal = Goal.of(network, loss, metrics, penalty)
    network.check_loss(goal.loss)
    samples = Samples.prepare(network, goal.loss, x, y, sample_weight, seed=seed)
    if not network.parameters.flat.size:
        raise ValueError(f"{network} has no parameters to train: add a layer such as nn.Dense")
    weight = with_class_weights(samples.weight, class_weight, samples.y)
    training, validation = replace(samples, weight=weight), None
    if validation_data is not None:
        if validation_split:
            raise ValueError("validation_data and validation_split are both given: give one")
        validation = _validation_of(goal, validation_data)
    elif validation_split:
        order_rng = split_rng if shuffle else None
        kept, held = hold_out(len(samples), validation_split, order_rng)
        training, validation = training.take(kept), samples.take(held).normalised(network.dtype)
    training = training.normalised(network.dtype)
    batch_size = min(batch_size or len(training), len(training))
    network.check_batch_size(len(training) if is_full_batch else batch_size)

    progress = make_progress(verbose)
    if isinstance(optimizer, Minimizer) and epochs is None:
        epochs = optimizer.max_iterations
    orders = Orders(len(training), batch_size, shuffle, shuffle_rng, epochs, steps)
    run, hooks = Run(network, orders.epochs), moments(callbacks)
    session = Session(
        goal, training, validation, run, hooks, progress, bool(detect_nonfinite), verbose_every
    )
    network.keep_step(None)
    network.batch_training = None  # its slots are of the parameters as they were
    network.measured = Measured(loss, metrics, penalty, optimizer, batch_size)
    compiles = bool(compile) and not detect_nonfinite
    start = network.parameters.flat.copy()
    trainer: Descent | Minimization
    try:
        session.begin(len(training) if is_full_batch else orders.most_samples)
        if isinstance(optimizer, Minimizer):
            objective = Objective(goal, training, layer_rng)
            if compiles:
                objective.compile(engine, run.epochs)
            minimizer = replace(optimizer, max_iterations=run.epochs)
            trainer = Minimization(session, minimizer, objective)
        else:
            make_step = StepMaker(session, optimizer, orders, compiles, engine)
            trainer = Descent(session, optimizer, make_step, orders, layer_rng)
        trainer.run()
    except KeyboardInterrupt:
        session.interrupt()
    finally:
        session.end()
    stuck = session.problem or why_stuck(network, start, training, run.history)
    if stuck and run.stopped_by != "interrupt":
        warn_user(stuck)
    return run.history


def evaluate(
    network: Trainable,
    x: Any,
    y: Any,
    *,
    loss: LossLike | None = None,
    metrics: Metrics = None,
    batch_size: int | None = None,
    sample_weight: Any = None,
    penalty: Penalties = None,
) -> dict[str, float]:
    """The loss and the metrics of a network on inputs x (N, ...) and targets y (N, ...).

    The loss is the mean over all samples of weight * loss, plus the penalties, whatever
    `batch_size` (None: one that suits the cache); `loss`, `metrics` and `penalty` are as for `fit`,
    and where they are not given, those of the last fit.
    `sample_weight` (N,), normalised to mean 1, weighs the loss, and the metrics that take weights,
    as ours do. Raises ValueError or TypeError for inputs that do not fit.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(2, weight="zeros")], input_shape=3)
    >>> evaluate(net, np.ones((4, 3)), [0, 0, 0, 1], loss="cross_entropy")
    {'loss': 0.6931471824645996, 'accuracy': 0.75}
    """
    if batch_size is not None:
        check_count("batch_size", batch_size)
    measured = Measured(loss, metrics, penalty).completed_by(network.measured, "evaluate")
    goal = Goal.of(network, measured.loss, measured.metrics, measured.penalty)
    network.check_loss(goal.loss)
    samples = Samples.prepare(network, goal.loss, x, y, sample_weight)
    return goal.evaluate(samples.normalised(network.dtype), batch_size)


def _validation_of(goal: Goal, data: Any) -> Samples:
    """The validation data, (x, y) or (x, y, sample_weight), as samples."""
    if not isinstance(data, tuple | list) or len(data) not in (2, 3):
        what = f"{len(data)} parts" if isinstance(data, tuple | list) else type(data).__name__
        raise ValueError(f"validation_data is {what}: give (x, y) or (x, y, sample_weight)")
    network = goal.network
    samples = Samples.prepare(network, goal.loss, *data, prefix="validation ")
    return samples.normalised(network.dtype)
