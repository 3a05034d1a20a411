"""`chainrule source`: the training step of a network, written out as NumPy source."""

from __future__ import annotations

from pathlib import Path

from chainrule import data
from chainrule.cli.console import CommandError, choose
from chainrule.cli.task import make_network, make_optimizer, prepare
from chainrule.cli.train import Options, make_plan
from chainrule.optim import Minimizer

__all__ = ["source"]


def source(options: Options) -> int:
    """Print the step of a finished run's folder, or of the network `train` would make.

    Raises CommandError for options that are wrong, and for minimizers, which take no such steps.
    """
    written = Path(options.name, "step.py")
    if written.is_file():
        print(written.read_text(encoding="utf-8"), end="")
        return 0
    dataset = data.load(choose(options.name, data.NAMES, "data set or folder of a run"))
    plan = make_plan(options, dataset)
    task = prepare(dataset, plan)
    optimizer = make_optimizer(plan, len(task.x))
    if isinstance(optimizer, Minimizer):
        raise CommandError(
            f"{plan.optimizer} minimises the loss of all samples at once and has no step to print: "
            "take an optimizer such as sgd or adam",
            status=2,
        )
    network = make_network(task, plan)
    batch = slice(0, plan.batch_size)
    network.fit(
        task.inputs(task.x[batch]),
        task.targets(task.y[batch]),
        loss=plan.loss,
        optimizer=optimizer,
        batch_size=plan.batch_size,
        verbose=0,
    )
    print(network.step.source, end="")
    return 0
