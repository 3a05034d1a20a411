"""`chainrule train`: one data set, one network, a report and its pictures."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chainrule import data, nn, optim
from chainrule.cli.console import CommandError, choose, message, stdout, write_json
from chainrule.cli.recipes import SCHEDULES, recipe_for
from chainrule.cli.results import Result, print_report, summarise, write_results
from chainrule.cli.task import Plan, Task, make_network, make_optimizer, prepare
from chainrule.data import Dataset
from chainrule.training.metrics import accuracy

__all__ = ["Options", "make_plan", "train"]

_LOSSES_OF_VALUES = [name for name, loss in nn.LOSSES.items() if loss.kind == "values"]


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line; None where the data set's recipe decides."""

    name: str
    model: str = "dense"
    layers: str | None = None
    activation: str | None = None
    loss: str = "auto"
    optimizer: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    seed: int = 0
    output: Path | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False


def train(options: Options) -> int:
    """Train, print the report and write the results; returns the exit status.

    After Ctrl-C the report is that of the network so far, and the status 130. Raises CommandError
    for options that are wrong, and for a training whose loss became infinite.
    """
    dataset = data.load(choose(options.name, data.NAMES, "data set"))
    plan = make_plan(options, dataset)
    result = _run(prepare(dataset, plan), plan, options)
    folder = options.output or Path("output", dataset.name)
    summary = summarise(result)
    files = write_results(result, summary, folder)
    if options.as_json:
        write_json({**summary, "output": str(folder), "files": files})
    else:
        print_report(stdout(), result)
        if not options.quiet:
            message(f"written to {folder}: {', '.join(files)}")
    if result.history.stopped_by == "interrupt":
        message(f"interrupted: this is the network after {result.history.epochs} finished epochs")
        return 130
    return 0


def make_plan(options: Options, dataset: Dataset) -> Plan:
    """Every choice made, by the user or by the recipe; raises CommandError for a wrong one."""
    model = _choose_model(options, dataset)
    recipe = recipe_for(dataset.name, model)
    name = (options.optimizer or recipe.optimizer).lower().replace("-", "").replace("_", "")
    optimizer = choose(name, optim.OPTIMIZERS, "optimizer")
    is_minimizer = isinstance(optim.get_optimizer(optimizer), optim.Minimizer)
    if is_minimizer:
        for option in ("learning_rate", "schedule"):
            if getattr(options, option) is not None:
                text = f"--{option.replace('_', '-')}"
                raise CommandError(f"{optimizer} finds its own step lengths: leave {text} out", 2)
    if options.learning_rate is not None and not options.learning_rate > 0:
        raise CommandError(
            f"--learning-rate is {options.learning_rate}: give a number above 0", status=2
        )
    own_rate = recipe.learning_rate if optimizer == recipe.optimizer else None
    return Plan(
        model=model,
        layers=_choose_layers(options, model, recipe.layers),
        activation=choose(options.activation or recipe.activation, nn.ACTIVATIONS, "activation"),
        loss=_choose_loss(options.loss, dataset),
        optimizer=optimizer,
        learning_rate=options.learning_rate or own_rate,
        schedule=None
        if is_minimizer
        else choose(options.schedule or recipe.schedule, SCHEDULES, "schedule"),
        epochs=options.epochs or recipe.epochs,
        batch_size=options.batch_size or recipe.batch_size,
        seed=options.seed,
        dtype="float64" if is_minimizer else "float32",
    )


def _choose_model(options: Options, dataset: Dataset) -> str:
    model = choose(options.model.lower(), nn.models.MODELS, "model")
    if model != "dense" and dataset.image_shape is None:
        raise CommandError(
            f"{model} takes images, but {dataset.name} has none, its {dataset.x.shape[1]} features "
            "are measurements: take --model dense, or a data set of images such as digits or mnist",
            status=2,
        )
    return model


def _choose_layers(
    options: Options, model: str, of_recipe: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The units of the hidden layers, in "32,16", none in ""; None for a model with its own."""
    text = options.layers
    if model != "dense":
        if text is not None:
            raise CommandError(
                f"--layers is for --model dense, but {model} has layers of its own: "
                "leave one of the two out",
                status=2,
            )
        return None
    if text is None:
        return of_recipe
    try:
        layers = tuple(int(part) for part in text.replace("-", ",").split(",") if part.strip())
    except ValueError:
        layers = (0,)
    if any(units < 1 for units in layers):
        raise CommandError(
            f'--layers is {text!r}: give the units of the hidden layers, as "32,16"', 2
        )
    return layers


def _choose_loss(name: str, dataset: Dataset) -> str:
    is_regression = dataset.kind == "regression"
    if name == "auto":
        return "mean_squared_error" if is_regression else "cross_entropy"
    loss = choose(name, ("auto", *nn.LOSSES), "loss")
    if is_regression and loss not in _LOSSES_OF_VALUES:
        raise CommandError(
            f"{loss} is a loss for classes, but {dataset.name} has values to predict: "
            f"take one of {', '.join(_LOSSES_OF_VALUES)}",
            status=2,
        )
    if loss == "hinge" and len(dataset.class_names) != 2:
        raise CommandError(
            f"hinge parts two classes, but {dataset.name} has {len(dataset.class_names)}: "
            "take cross_entropy",
            status=2,
        )
    return loss


def _run(task: Task, plan: Plan, options: Options) -> Result:
    """Train the network, with progress on stderr, and try it on both parts of the data."""
    network = make_network(task, plan)
    if options.verbose:
        message(network.summary())
    begin = time.perf_counter()
    with warnings.catch_warnings():
        # Of a loss that is not finite, said below in the command line's own words.
        warnings.simplefilter("ignore", RuntimeWarning)
        history = network.fit(
            task.inputs(task.x),
            task.targets(task.y),
            loss=plan.loss,
            optimizer=make_optimizer(plan, len(task.x)),
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            validation_data=_validation_data(task),
            metrics=_metrics(task),
            seed=plan.seed,
            verbose=0 if options.quiet else 2 if options.verbose else "auto",
        )
    seconds = time.perf_counter() - begin
    if history.stopped_by == "nonfinite":
        raise CommandError(
            f"the loss became infinite in epoch {history.epochs + 1}: "
            "take a smaller --learning-rate"
        )
    if not history.epochs:
        raise CommandError(
            "interrupted before the end of the first epoch: nothing to report", status=130
        )
    predicted = task.predict(network, task.x_test)
    return Result(
        task,
        plan,
        network,
        history,
        seconds,
        predicted,
        training=task.report(task.y, task.predict(network, task.x)),
        test=task.report(task.y_test, predicted),
    )


def _validation_data(task: Task) -> tuple[Any, Any] | None:
    """The test part, watched and nothing else: no choice in the training depends on it."""
    return (task.inputs(task.x_test), task.targets(task.y_test)) if task.has_test else None


def _metrics(task: Task) -> Any:
    if task.values is not None:
        return "r2"
    # By name the decision suits the hinge loss; the function compares the largest of the outputs,
    # also where the loss sees each output as a decision of its own.
    return "accuracy" if task.n_outputs == 1 else accuracy
