"""`chainrule diagnose`: why a network does not learn a data set."""

from __future__ import annotations

from chainrule import data, optim
from chainrule.cli.console import choose, stdout, write_json
from chainrule.cli.prepare import make_network, make_optimizer, prepare
from chainrule.cli.train import Options, make_setup, validation_data

__all__ = ["diagnose"]


def diagnose(options: Options) -> int:
    """Diagnose the network that `chainrule train` with these options would train.

    Returns the exit status: 1 if something was found. Raises CommandError for wrong options.
    """
    dataset = data.load(choose(options.name, data.NAMES, "data set"))
    setup = make_setup(options, dataset)
    prepared = prepare(dataset, setup)
    optimizer = make_optimizer(setup, len(prepared.x))
    diagnosis = make_network(prepared, setup).diagnose(
        prepared.inputs(prepared.x),
        prepared.targets(prepared.y),
        loss=setup.loss,
        optimizer=optimizer,
        batch_size=None if isinstance(optimizer, optim.Minimizer) else setup.batch_size,
        validation_data=validation_data(prepared),
        seed=setup.seed,
    )
    if options.as_json:
        write_json(diagnosis.as_dict())
    else:
        stdout().print(str(diagnosis), markup=False, soft_wrap=True)
    return 0 if diagnosis.ok else 1
