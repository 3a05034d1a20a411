"""What `chainrule train` leaves: the printed report, the pictures, and the numbers in files."""

from __future__ import annotations

import csv
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import nn, optim, plots
from chainrule.cli.console import json_text, new_table, print_table
from chainrule.cli.prepare import PreparedData, Setup, make_optimizer
from chainrule.files import replacing
from chainrule.training.history import History
from chainrule.training.reports import ClassificationReport, RegressionReport
from chainrule.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

__all__ = ["FILES", "SEEN", "STEPS", "Result", "print_report", "summarise", "write_results"]

STEPS = {"numpy": "step.py", "c": "step.c"}
"""The file of the training step, by the engine that it ran on."""

SEEN = {
    "explanation.html": "every number of the backward pass of one sample",
    "explanation.txt": "the same as text",
    "network.svg": "the network, with the values and gradients of that sample",
}
"""The files that show the backward pass, and what is in them."""

FILES = ("history.csv", "report.json", *STEPS.values(), *SEEN, "curves.png")
"""Files that a run leaves, of the steps one; pictures that suit the data come on top."""

_MOST_UNITS_SHOWN = 100
_MOST_CLASSES_PRINTED = 20
_IMAGES_OF_A_KIND = 30


@dataclass(frozen=True)
class Result:
    """A trained network, how it was trained, and how it did; `predicted` is for the test part."""

    prepared: PreparedData
    setup: Setup
    network: nn.Network
    history: History
    seconds: float
    predicted: Any
    training: ClassificationReport | RegressionReport
    test: ClassificationReport | RegressionReport

    @property
    def architecture(self) -> str:
        """Such as "64-32-10, relu", or "lenet, relu"."""
        if self.setup.layers is None:
            return f"{self.setup.model}, {self.setup.activation}"
        sizes = (self.prepared.x.shape[1], *self.setup.layers, self.prepared.n_outputs)
        text = "-".join(map(str, sizes))
        return f"{text}, {self.setup.activation}" if self.setup.layers else text

    @property
    def source(self) -> str:
        """The training step, written out; "" where a minimizer took no such steps."""
        return self.network.step.source if self.network.has_step else ""

    @property
    def test_part(self) -> str:
        """What the second line of a report is about."""
        return "test" if self.prepared.has_test else "the same"


def summarise(result: Result) -> dict[str, Any]:
    """Everything about a run that goes into report.json."""
    prepared, history = result.prepared, result.history
    return {
        "dataset": prepared.dataset.name,
        "kind": prepared.dataset.kind,
        "architecture": result.architecture,
        **asdict(result.setup),
        "n_parameters": int(result.network.parameters.flat.size),
        "n_training_samples": len(prepared.x),
        "n_test_samples": len(prepared.x_test) if prepared.has_test else 0,
        "epochs_done": history.epochs,
        "stopped_by": history.stopped_by,
        "minimizer": None if history.minimizer is None else vars(history.minimizer),
        "ran_on": {
            "engine": history.engine,
            "compiler": history.compiler,
            "flags": list(history.flags),
        },
        "seconds": result.seconds,
        "history": history.last(),
        "training": result.training.as_dict(),
        "test": result.test.as_dict() if prepared.has_test else None,
        "versions": {
            "chainrule": __version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def write_results(result: Result, summary: dict[str, Any], folder: Path) -> list[str]:
    """Write the numbers, then the pictures, into a folder; returns the names of the files.

    Each is written beside and renamed. Raises ImportError where matplotlib is missing, when the
    numbers are written already.
    """
    with replacing(folder / "history.csv") as beside:
        _write_history(result.history, beside)
    with replacing(folder / "report.json") as beside:
        beside.write_text(json_text(summary) + "\n", encoding="utf-8")
    names = ["history.csv", "report.json"]
    if result.source:
        for other in STEPS.values():  # of a run before, perhaps
            (folder / other).unlink(missing_ok=True)
        step = STEPS[result.network.step.engine]
        with replacing(folder / step) as beside:
            beside.write_text(result.source, encoding="utf-8")
        names.append(step)
    names += _write_seen(result, folder)
    for name, figure in _pictures(result):
        plots.save(figure, folder / name)
        names.append(name)
    return names


def _write_history(history: History, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", *history, "seconds"])
        columns = [range(1, history.epochs + 1), *history.values(), history.seconds]
        writer.writerows(zip(*columns, strict=True))


def _write_seen(result: Result, folder: Path) -> list[str]:
    """The backward pass of the first test sample through the trained network, told and drawn."""
    prepared, network = result.prepared, result.network
    x, y = prepared.inputs(prepared.x_test[:1]), prepared.targets(prepared.y_test[:1])
    optimizer = make_optimizer(result.setup, len(prepared.x))
    told = network.explain(
        x,
        y,
        loss=result.setup.loss,
        optimizer=None if isinstance(optimizer, optim.Minimizer) else optimizer,
        seed=result.setup.seed,
    )
    told.save(folder / "explanation.html")
    told.save(folder / "explanation.txt")
    title = f"{prepared.dataset.name}: {result.architecture}; the first of the {_samples(result)}"
    drawing = network.draw(x, y, loss=result.setup.loss, seed=result.setup.seed, title=title)
    drawing.save(folder / "network.svg")
    return list(SEEN)


# Pictures


def _pictures(result: Result) -> Iterator[tuple[str, Figure]]:
    """File names and figures: the curves, and what shows the fit of this kind of data."""
    prepared = result.prepared
    dataset, name = prepared.dataset, prepared.dataset.name
    title = f"{name}: {result.architecture}"
    yield (
        "curves.png",
        plots.learning_curves(result.history, validation_label="test", title=title),
    )
    if isinstance(result.test, RegressionReport):
        yield (
            "predicted_against_true.png",
            plots.predicted_against_true(
                prepared.y_test,
                result.predicted,
                title=f"{title}\n{result.test_part}: {result.test}",
            ),
        )
        return
    share = f"accuracy {result.test.accuracy:.4f} on {len(prepared.y_test)} {_samples(result)}"
    yield (
        "confusion_matrix.png",
        plots.confusion_matrix(
            result.test.confusion, dataset.class_names, title=f"{name}: {share}"
        ),
    )
    if prepared.x.shape[1] == 2:
        yield (
            "decision_regions.png",
            plots.decision_regions(
                lambda points: result.network.predict(prepared.inputs(points)),
                prepared.x_test,
                prepared.y_test,
                class_names=dataset.class_names,
                feature_names=dataset.feature_names,
                title=f"{title}\n{share}",
            ),
        )
    if dataset.image_shape is not None:
        yield "images.png", _right_and_wrong_images(result, title=f"{name}: {share}")
        if prepared.as_images:
            yield from _convolution(result)
        else:
            yield "hidden_units.png", _hidden_units(result)


def _samples(result: Result) -> str:
    return "test samples" if result.prepared.has_test else "samples, all trained on"


def _right_and_wrong_images(result: Result, title: str) -> Figure:
    """The first test images that were right, and below them the first that were wrong."""
    prepared, predicted = result.prepared, result.predicted
    is_right = predicted == prepared.y_test
    right = np.flatnonzero(is_right)[:_IMAGES_OF_A_KIND]
    chosen = np.concatenate([right, np.flatnonzero(~is_right)[:_IMAGES_OF_A_KIND]])
    return plots.predicted_images(
        prepared.dataset.images(prepared.x_test[chosen]),
        predicted[chosen],
        prepared.y_test[chosen],
        class_names=prepared.dataset.class_names,
        title=title,
    )


def _hidden_units(result: Result) -> Figure:
    weights = result.network.parameters["dense_1.weight"]
    n_units = weights.shape[1]
    shown = min(n_units, _MOST_UNITS_SHOWN)
    which = f"the first {shown} of {n_units}" if shown < n_units else f"the {n_units}"
    kind = "hidden units" if result.setup.layers else "outputs"
    prepared, outputs = result.prepared, None
    if result.setup.layers:  # what they answer to the test images, after the activation
        name = result.network.layers[1].name
        outputs = result.network.layer_outputs(prepared.inputs(prepared.x_test))[name][:, :shown]
    return plots.hidden_units(
        prepared.dataset.images(weights[:, :shown].T),
        outputs=outputs,
        title=f"{prepared.dataset.name}: weights of {which} {kind}",
    )


def _convolution(result: Result) -> Iterator[tuple[str, Figure]]:
    """The kernels of the first convolution, and what they make of the first test image."""
    prepared, network, name = result.prepared, result.network, result.prepared.dataset.name
    first = next(i for i, layer in enumerate(network.layers) if isinstance(layer, nn.Conv2D))
    activations = tuple(nn.ACTIVATIONS.values())
    after = next(layer for layer in network.layers[first:] if isinstance(layer, activations))
    weight = network.parameters[f"{network.layers[first].name}.weight"]
    yield (
        "kernels.png",
        plots.kernels(weight, title=f"{name}: the {weight.shape[-1]} kernels of the first layer"),
    )
    image = prepared.inputs(prepared.x_test[:1])
    yield (
        "feature_maps.png",
        plots.feature_maps(
            image[0, :, :, 0],
            network.layer_outputs(image)[after.name][0],
            kernels=weight,
            title=f"{name}: the first test image, and the first layer's feature maps of it, "
            f"after {result.setup.activation}",
        ),
    )


# The printed report


def print_report(console: Console, result: Result) -> None:
    """What was trained, how good it is, and for classes the tables of the test part."""
    prepared, setup, history = result.prepared, result.setup, result.history
    rate = "" if setup.learning_rate is None else f" at {setup.learning_rate:g}"
    rate += f" ({setup.schedule})" if setup.schedule == "cosine" else ""
    lines = [
        ("data", prepared.dataset.description),
        ("parts", _parts(result)),
        ("network", f"{result.architecture}; {result.network.parameters.flat.size} parameters"),
        ("training", f"{history.epochs} epochs, {setup.optimizer}{rate}, {setup.loss}"),
        ("engine", ", ".join(part for part in (history.engine, history.compiler) if part)),
        ("seconds", f"{result.seconds:.2f}"),
    ]
    console.print(f"[bold]{prepared.dataset.name}[/bold]")
    for label, text in lines:
        console.print(f"{label:9} {text}", markup=False, soft_wrap=True)
    console.print()
    _print_scores(console, result)
    if isinstance(result.test, ClassificationReport):
        console.print()
        _print_classes(console, result.test, _samples(result))
        if len(result.test.classes) <= _MOST_CLASSES_PRINTED:
            console.print()
            _print_confusion(console, result.test, _samples(result))


def _parts(result: Result) -> str:
    prepared = result.prepared
    if not prepared.has_test:
        return f"all {len(prepared.x)} samples to train on: too few to hold any out"
    return f"{len(prepared.x)} samples to train on, {len(prepared.x_test)} to test with"


def _print_scores(console: Console, result: Result) -> None:
    parts = {"training": result.training}
    if result.prepared.has_test:
        parts["test"] = result.test
    last = result.history.last()
    is_regression = isinstance(result.test, RegressionReport)
    names = ("RMSE", "MAE", "R²") if is_regression else ("accuracy",)
    table = new_table(console, "part", "loss", *names, left=["part"])
    for part, report in parts.items():
        loss = last["loss" if part == "training" else "val_loss"]
        if isinstance(report, RegressionReport):
            numbers = [f"{report.rmse:.4g}", f"{report.mae:.4g}", f"{report.r2:.4f}"]
        else:
            numbers = [f"{report.accuracy:.4f}"]
        table.add_row(part, f"{loss:.4g}", *numbers)
    print_table(console, table)


def _print_classes(console: Console, report: ClassificationReport, samples: str) -> None:
    console.print(f"classes, {samples}")
    names = ("class", "precision", "recall", "f1", "support")
    table = new_table(console, *names, left=["class"])
    for scores in (*report.classes, report.mean):
        if scores is report.mean:
            table.add_section()
        numbers = (scores.precision, scores.recall, scores.f1)
        table.add_row(scores.name, *(f"{value:.3f}" for value in numbers), str(scores.support))
    print_table(console, table)


def _print_confusion(console: Console, report: ClassificationReport, samples: str) -> None:
    console.print(f"confusion matrix, {samples}: a row per true class, a column per predicted one")
    names = [scores.name for scores in report.classes]
    table = new_table(console, "", *names, left=[""])
    for i, counts in enumerate(report.confusion):
        cells = [
            f"[bold]{n}[/bold]" if i == j else str(n) if n else "·" for j, n in enumerate(counts)
        ]
        table.add_row(names[i], *cells)
    print_table(console, table)
