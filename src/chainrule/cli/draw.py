"""`chainrule draw`: the picture of a network for a data set, or of its computation graph."""

from __future__ import annotations

from pathlib import Path

from chainrule import data
from chainrule.cli.console import CommandError, choose, message
from chainrule.cli.prepare import make_network, prepare
from chainrule.cli.train import Options, make_setup
from chainrule.files import require_writable
from chainrule.see.draw.drawing import SUFFIXES

__all__ = ["draw"]

_SHOWS = ("layers", "neurons", "graph")


def draw(options: Options, show: str | None, backward: bool, samples: int, output: str) -> int:
    """Draw the network that `train` would begin with, and write it to a file.

    With `samples`, the values and gradients are those of that many training samples. Raises
    CommandError for options that are wrong.
    """
    dataset = data.load(choose(options.name, data.NAMES, "data set"))
    path = Path(output or Path("output", dataset.name, "network.svg"))
    if path.suffix.lower() not in SUFFIXES:
        raise CommandError(
            f"--output is {str(path)!r}: its suffix says the format, one of {', '.join(SUFFIXES)}",
            status=2,
        )
    require_writable(path.parent, [path.name])
    setup = make_setup(options, dataset)
    prepared = prepare(dataset, setup)
    network = make_network(prepared, setup)
    needs_samples = show == "graph" or backward
    if needs_samples and not samples:
        samples = 1
    x = y = None
    if samples:
        x = prepared.inputs(prepared.x[:samples])
        y = prepared.targets(prepared.y[:samples])
    try:
        drawing = network.draw(
            x,
            y,
            loss=setup.loss if samples else None,
            show=None if show is None else choose(show, _SHOWS, "--show"),  # type: ignore[arg-type]
            backward=backward,
            seed=setup.seed,
        )
    except ValueError as error:  # such as neurons of a convolutional network
        raise CommandError(str(error), status=2) from error
    drawing.save(path)
    message(f"written to {path}")
    return 0
