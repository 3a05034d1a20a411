"""`chainrule train`: one data set, one network, a report and its pictures."""

from __future__ import annotations

import math
import re
import time
import warnings
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from chainrule import data, nn, optim
from chainrule.cli.console import (
    CommandError,
    choose,
    message,
    output_folder,
    stdout,
    write_json,
)
from chainrule.cli.prepare import PreparedData, Setup, make_network, make_optimizer, prepare
from chainrule.cli.recipes import SCHEDULES, recipe_for
from chainrule.cli.results import FILES, SEEN, Result, print_report, summarise, write_results
from chainrule.data import Dataset
from chainrule.engines.choice import Engine, check_engine
from chainrule.training.metrics import accuracy

__all__ = ["Options", "make_setup", "train", "validation_data"]

_MOST_LAYERS, _MOST_WEIGHTS = 100, 50_000_000  # beyond, a dense network fits into no memory
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
    output: str | None = None
    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    engine: str | None = None


def train(options: Options) -> int:
    """Train, print the report and write the results; returns the exit status.

    After Ctrl-C the report is that of the network so far, and the status 130. Raises CommandError
    for options that are wrong, and for a training whose loss became infinite.
    """
    dataset = data.load(choose(options.name, data.NAMES, "data set"))
    setup = make_setup(options, dataset)
    default = Path("output", dataset.name)
    folder = output_folder(default if options.output is None else options.output, FILES)
    result = _run(prepare(dataset, setup), setup, options)
    summary = summarise(result)
    files = write_results(result, summary, folder)
    if options.as_json:
        write_json({**summary, "output": str(folder), "files": files})
    else:
        print_report(stdout(), result)
        if not options.quiet:
            message(f"written to {folder}: {', '.join(files)}")
            for name in SEEN:
                message(f"{folder / name}: {SEEN[name]}")
    if result.history.stopped_by == "interrupt":
        message(f"interrupted: this is the network after {result.history.epochs} finished epochs")
        return 130
    return 0


def make_setup(options: Options, dataset: Dataset) -> Setup:
    """Every choice made, by the user or by the recipe; raises CommandError for a wrong one."""
    model = _choose_model(options, dataset)
    recipe = recipe_for(dataset.name, model)
    name = _given(options.optimizer, recipe.optimizer).lower().replace("-", "").replace("_", "")
    optimizer = choose(name, optim.OPTIMIZERS, "optimizer")
    is_minimizer = isinstance(optim.get_optimizer(optimizer), optim.Minimizer)
    if is_minimizer:
        for option in ("learning_rate", "schedule"):
            if getattr(options, option) is not None:
                text = f"--{option.replace('_', '-')}"
                raise CommandError(f"{optimizer} finds its own step lengths: leave {text} out", 2)
    if options.learning_rate is not None and not 0 < options.learning_rate < math.inf:
        raise CommandError(
            f"--learning-rate is {options.learning_rate}: give a finite number above 0", status=2
        )
    own_rate = recipe.learning_rate if optimizer == recipe.optimizer else None
    return Setup(
        model=model,
        layers=_choose_layers(options, model, recipe.layers),
        activation=choose(
            _given(options.activation, recipe.activation), nn.ACTIVATIONS, "activation"
        ),
        loss=_choose_loss(options.loss, dataset),
        optimizer=optimizer,
        learning_rate=options.learning_rate or own_rate,
        schedule=None
        if is_minimizer
        else choose(_given(options.schedule, recipe.schedule), SCHEDULES, "schedule"),
        epochs=options.epochs or recipe.epochs,
        batch_size=options.batch_size or recipe.batch_size,
        seed=options.seed,
        dtype="float64" if is_minimizer else "float32",
        engine=_choose_engine(options.engine),
    )


def _given(option: str | None, of_recipe: str) -> str:
    """What the user said, be it nothing but an empty text, which no table knows."""
    return of_recipe if option is None else option


def _choose_engine(name: str | None) -> Engine:
    try:
        return check_engine(name)
    except ValueError as error:  # of the option, or of the environment variable
        raise CommandError(str(error), status=2) from error


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
    if not text.strip():
        return ()
    shown = repr(text if len(text) <= 40 else f"{text[:40]}…")
    if not re.fullmatch(r"\s*[0-9]{1,18}\s*([,-]\s*[0-9]{1,18}\s*)*", text):
        raise CommandError(
            f'--layers is {shown}: give the units of the hidden layers, as "32,16"', 2
        )
    layers = tuple(int(part) for part in re.split("[,-]", text))
    weights = sum(a * b for a, b in pairwise((1000, *layers, 10)))
    if min(layers) < 1 or len(layers) > _MOST_LAYERS or weights > _MOST_WEIGHTS:
        raise CommandError(
            f"--layers is {shown}: give at least 1 unit in each of at most {_MOST_LAYERS} hidden "
            f"layers, with at most {_MOST_WEIGHTS} weights in all",
            2,
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


def _run(prepared: PreparedData, setup: Setup, options: Options) -> Result:
    """Train the network, with progress on stderr, and try it on both parts of the data."""
    network = make_network(prepared, setup)
    if options.verbose:
        message(network.summary())
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("always", RuntimeWarning)
        # until the block ends
        warnings.showwarning = _pass_over if options.quiet else _say  # type: ignore[assignment]
        # Of a loss that is not finite, said below in the command line's own words.
        warnings.filterwarnings("ignore", "training stopped", RuntimeWarning)
        history = network.fit(
            prepared.inputs(prepared.x),
            prepared.targets(prepared.y),
            loss=setup.loss,
            optimizer=make_optimizer(setup, len(prepared.x)),
            epochs=setup.epochs,
            batch_size=setup.batch_size,
            validation_data=validation_data(prepared),
            metrics=_metrics(prepared),
            seed=setup.seed,
            verbose=0 if options.quiet else 2 if options.verbose else "auto",
            engine=setup.engine,
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
    predicted = prepared.predict(network, prepared.x_test)
    return Result(
        prepared,
        setup,
        network,
        history,
        seconds,
        predicted,
        training=prepared.report(prepared.y, prepared.predict(network, prepared.x)),
        test=prepared.report(prepared.y_test, predicted),
    )


def _say(warning: Warning | str, *_place: Any) -> None:
    """A warning as a message: the line that it points at is none of the user's."""
    message(f"chainrule: {warning}")


def _pass_over(_warning: Warning | str, *_place: Any) -> None:
    pass


def validation_data(prepared: PreparedData) -> tuple[Any, Any] | None:
    """The test part, watched and nothing else: no choice in the training depends on it."""
    if not prepared.has_test:
        return None
    return prepared.inputs(prepared.x_test), prepared.targets(prepared.y_test)


def _metrics(prepared: PreparedData) -> Any:
    if prepared.values is not None:
        return "r2"
    # By name the decision suits the hinge loss; the function compares the largest of the outputs,
    # also where the loss sees each output as a decision of its own.
    return "accuracy" if prepared.n_outputs == 1 else accuracy
