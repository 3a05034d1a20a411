"""`chainrule source`: the training step of a network, written out as NumPy source or as C."""

from __future__ import annotations

from pathlib import Path

from chainrule import data
from chainrule.cli.console import CommandError, choose
from chainrule.cli.prepare import make_network, make_optimizer, prepare
from chainrule.cli.results import STEPS
from chainrule.cli.train import Options, make_setup
from chainrule.engines.c.types import UnsupportedError
from chainrule.engines.choice import Engine
from chainrule.optim import Minimizer
from chainrule.training.compiled_step import CompiledStep

__all__ = ["source"]


def source(options: Options) -> int:
    """Print the step of a finished run's folder, or of the network `train` would make.

    It is NumPy's, unless C is asked for, which needs no compiler. Raises CommandError for options
    that are wrong, for a folder without a step, for minimizers, which take no such steps, and for
    what C has no form of.
    """
    if _is_run(options.name):
        print(_step_of_run(options), end="")
        return 0
    dataset = data.load(choose(options.name, data.NAMES, "data set or folder of a run"))
    setup = make_setup(options, dataset)
    prepared = prepare(dataset, setup)
    optimizer = make_optimizer(setup, len(prepared.x))
    if isinstance(optimizer, Minimizer):
        raise CommandError(
            f"{setup.optimizer} minimises the loss of all samples at once and has no step to "
            "print: take an optimizer such as sgd or adam",
            status=2,
        )
    network = make_network(prepared, setup)
    batch = slice(0, setup.batch_size)
    network.fit(
        prepared.inputs(prepared.x[batch]),
        prepared.targets(prepared.y[batch]),
        loss=setup.loss,
        optimizer=optimizer,
        batch_size=setup.batch_size,
        verbose=0,
        engine="numpy",
    )
    print(_printed(network.step, setup.engine), end="")
    return 0


def _printed(step: CompiledStep, engine: Engine) -> str:
    if engine != "c":
        return step.source
    try:
        return step.source_for(engine)
    except UnsupportedError as error:
        raise CommandError(
            f"the C engine has no form of {error}: take --engine numpy", status=2
        ) from error


def _is_run(name: str) -> bool:
    """Whether a name is that of a path; a data set's only if a step lies there."""
    if not name.strip():
        return False
    try:
        path = Path(name)
        has_step = any(path.joinpath(step).is_file() for step in STEPS.values())
        return has_step or (name not in data.NAMES and path.exists())
    except OSError:  # a name that no file could have
        return False


def _step_of_run(options: Options) -> str:
    if options != Options(options.name):
        raise CommandError(
            f"{options.name} is the folder of a run, whose step is as it was: leave options out",
            status=2,
        )
    paths = {engine: Path(options.name, step) for engine, step in STEPS.items()}
    engine = next((engine for engine, path in paths.items() if path.is_file()), None)
    if engine is None:
        raise CommandError(
            f"{options.name} is not the folder of a finished run: it holds no "
            f"{' and no '.join(STEPS.values())} (of a run by a minimizer there is none)",
            status=2,
        )
    try:
        return paths[engine].read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        language = "C" if engine == "c" else "Python"
        raise CommandError(
            f"{paths[engine]} is no {language} source: {error.reason}", status=2
        ) from error
