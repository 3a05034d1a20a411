"""`chainrule data`: which data sets there are, and what is in one."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule import data as datasets
from chainrule.cli.console import (
    choose,
    message,
    new_table,
    number,
    print_table,
    stdout,
    write_json,
)
from chainrule.data import Dataset

__all__ = ["data"]

# Listed without being loaded: their files may have to be downloaded first.
_OF_FILES = {
    "mnist": "70000 images of handwritten digits, 28x28",
    "fashion_mnist": "70000 images of Zalando's articles of clothing, 28x28",
    "ex4": "5000 images of handwritten digits, 20x20",
}
_MOST_FEATURES_SHOWN = 40


def data(name: str | None, as_json: bool) -> int:
    """Print the list of the data sets, or one of them; returns the exit status.

    Raises CommandError for an unknown name.
    """
    if name is None:
        _print_list(as_json)
        return 0
    dataset = datasets.load(choose(name, datasets.NAMES, "data set"))
    if as_json:
        write_json(_describe(dataset))
    else:
        _print_dataset(dataset)
    return 0


def _print_list(as_json: bool) -> None:
    rows = [
        {"name": name, "description": _OF_FILES.get(name) or datasets.load(name).description}
        for name in datasets.NAMES
    ]
    if as_json:
        write_json(rows)
        return
    console = stdout()
    table = new_table(console, "name", "description", left=["name", "description"])
    for row in rows:
        table.add_row(row["name"], row["description"])
    print_table(console, table)
    message(
        f"{', '.join(_OF_FILES)} are files: looked for in the folder CHAINRULE_DATA names, "
        "else downloaded once"
    )


def _describe(dataset: Dataset) -> dict[str, Any]:
    classes = np.arange(len(dataset.class_names))
    return {
        "name": dataset.name,
        "description": dataset.description,
        "kind": dataset.kind,
        "n_samples": len(dataset.x),
        "n_test_samples": 0 if dataset.x_test is None else len(dataset.x_test),
        "n_features": dataset.x.shape[1],
        "dtype": dataset.x.dtype.name,
        "image_shape": dataset.image_shape,
        "classes": {
            name: int(np.sum(dataset.y == label))
            for label, name in zip(classes, dataset.class_names, strict=True)
        },
        "features": [
            {"name": name, "min": low, "mean": mean, "max": high}
            for name, low, mean, high in zip(
                dataset.feature_names,
                dataset.x.min(axis=0),
                dataset.x.mean(axis=0),
                dataset.x.max(axis=0),
                strict=True,
            )
        ],
    }


def _print_dataset(dataset: Dataset) -> None:
    facts = _describe(dataset)
    console = stdout()
    height_width = " images of {}x{}".format(*dataset.image_shape) if dataset.image_shape else ""
    own_test = f" and {facts['n_test_samples']} to test with" if facts["n_test_samples"] else ""
    lines = [
        f"{dataset.name}: {dataset.description}",
        f"{dataset.kind}; x {dataset.x.shape} {facts['dtype']}{height_width}{own_test}",
    ]
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)
    if facts["classes"]:
        console.print()
        table = new_table(console, "class", "samples", left=["class"])
        for name, count in facts["classes"].items():
            table.add_row(name, str(count))
        print_table(console, table)
    else:
        low, mean, high = (number(f(dataset.y)) for f in (np.min, np.mean, np.max))
        console.print(f"y from {low} to {high}, mean {mean}")
    if len(facts["features"]) <= _MOST_FEATURES_SHOWN:
        console.print()
        table = new_table(console, "feature", "min", "mean", "max", left=["feature"])
        for row in facts["features"]:
            table.add_row(row["name"], *(f"{row[key]:.4g}" for key in ("min", "mean", "max")))
        print_table(console, table)
