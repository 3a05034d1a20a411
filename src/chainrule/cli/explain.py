"""`chainrule explain`: the derivation of gradients on a few samples, with its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule import data
from chainrule.cli.console import CommandError, choose, message
from chainrule.cli.prepare import PreparedData, make_network, make_optimizer, prepare
from chainrule.cli.train import Options, make_setup
from chainrule.optim import Minimizer
from chainrule.see.explain.explanation import FORMATS, Explanation

__all__ = ["ExplainOptions", "explain"]


@dataclass(frozen=True)
class ExplainOptions:
    """What is explained, and how it is written; `samples` are numbers as in "0" or "0,3"."""

    samples: str = "0"
    follow: str | None = None
    format: str = "text"
    digits: int = 4
    output: str | None = None


def explain(options: Options, wanted: ExplainOptions) -> int:
    """Print, or write to a file, the derivation for samples of a data set's training part.

    The network is the one that `train` would make, trained for the epochs that are given, if any.
    Raises CommandError for options that are wrong.
    """
    style = choose(wanted.format, FORMATS, "format")
    dataset = data.load(choose(options.name, data.NAMES, "data set"))
    setup = make_setup(options, dataset)
    prepared = prepare(dataset, setup)
    chosen = _samples(wanted.samples, prepared)
    network = make_network(prepared, setup)
    optimizer = make_optimizer(setup, len(prepared.x))
    if options.epochs is not None:
        network.fit(
            prepared.inputs(prepared.x),
            prepared.targets(prepared.y),
            loss=setup.loss,
            optimizer=optimizer,
            epochs=setup.epochs,
            batch_size=setup.batch_size,
            seed=setup.seed,
            verbose=0,
            engine=setup.engine,
        )
    try:
        told = network.explain(
            prepared.inputs(prepared.x[chosen]),
            prepared.targets(prepared.y[chosen]),
            loss=setup.loss,
            optimizer=None if isinstance(optimizer, Minimizer) else optimizer,
            follow=wanted.follow,
            digits=wanted.digits,
            seed=setup.seed,
        )
    except ValueError as error:  # a number to follow that is not there
        raise CommandError(str(error), status=2) from error
    _write(told, style, wanted.output)
    return 0


def _write(told: Explanation, style: str, output: str | None) -> None:
    if output is None:
        writers: dict[str, Callable[[Explanation], str]] = {
            "text": Explanation.text,
            "markdown": Explanation.markdown,
            "latex": Explanation.latex,
            "html": Explanation.html,
        }
        print(writers[style](told).rstrip())
        return
    path = Path(output)
    if not path.name or path.is_dir():
        raise CommandError(f"--output is {output!r}, which is no file: give a name for one", 2)
    if path.suffix.lower() not in FORMATS.values():
        path = path.with_name(path.name + FORMATS[style])
    elif style != "text" and path.suffix.lower() != FORMATS[style]:
        raise CommandError(
            f"--format is {style}, but --output ends in {path.suffix}: leave one of them out", 2
        )
    told.save(path)
    message(f"written to {path}")


def _samples(text: str, prepared: PreparedData) -> np.ndarray:
    """The numbers of samples, as indices of the training part."""
    n_samples = len(prepared.x)
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise CommandError(
            f"--sample is {text!r}: give numbers of samples, as in 0 or 0,3", status=2
        ) from None
    outside = [number for number in numbers if not 0 <= number < n_samples]
    if outside:
        raise CommandError(
            f"--sample {outside[0]} is none of the {n_samples} training samples of "
            f"{prepared.dataset.name}, which count from 0",
            status=2,
        )
    return np.array(numbers)
