"""Optimizers, learning-rate schedules and full-batch minimizers: how parameters learn.

`optimizers` holds update rules for one batch at a time, `schedules` the learning rates that change
over the steps, and `minimizers` SciPy's methods for all samples at once. `fit` takes any of them,
as an object (`optim.Adam(0.01)`) or by name (`"adam"`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chainrule.names import unknown_name
from chainrule.optim.minimizers import CG, LBFGS, TNC, Minimizer, MinimizeResult, NewtonCG
from chainrule.optim.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Lion,
    Optimizer,
    RMSprop,
    clip,
)
from chainrule.optim.schedules import (
    CosineDecay,
    ExponentialDecay,
    InverseTimeDecay,
    PiecewiseConstant,
    Schedule,
    StepDecay,
    Warmup,
)

__all__ = [
    "CG",
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "TNC",
    "Adagrad",
    "Adam",
    "AdamW",
    "CosineDecay",
    "ExponentialDecay",
    "InverseTimeDecay",
    "Lion",
    "MinimizeResult",
    "Minimizer",
    "NewtonCG",
    "Optimizer",
    "PiecewiseConstant",
    "RMSprop",
    "Schedule",
    "StepDecay",
    "Warmup",
    "clip",
    "get_optimizer",
]

OPTIMIZERS: dict[str, Callable[..., Optimizer | Minimizer]] = {
    "adagrad": Adagrad,
    "adam": Adam,
    "adamw": AdamW,
    "cg": CG,
    "lbfgs": LBFGS,
    "lion": Lion,
    "newtoncg": NewtonCG,
    "rmsprop": RMSprop,
    "sgd": SGD,
    "tnc": TNC,
}
"""Name -> what makes the optimizer; called without arguments it has its defaults."""


def get_optimizer(optimizer: Any) -> Optimizer | Minimizer:
    """The optimizer of that name with its defaults; an optimizer object is returned as it is.

    Names are read without regard to case, hyphens and underscores. Raises ValueError for an unknown
    name, with the nearest one, and TypeError for anything else.

    >>> get_optimizer("adam")
    Adam(learning_rate=0.001)
    """
    if isinstance(optimizer, Optimizer | Minimizer):
        return optimizer
    if isinstance(optimizer, str):
        name = optimizer.lower().replace("-", "").replace("_", "")
        if name in OPTIMIZERS:
            return OPTIMIZERS[name]()
        raise ValueError(unknown_name("optimizer named", optimizer, OPTIMIZERS))
    if optimizer in OPTIMIZERS.values():
        name = optimizer.__name__
        raise TypeError(f"the optimizer is optim.{name} itself: call it, optim.{name}()")
    raise TypeError(
        f"the optimizer is a {type(optimizer).__name__}: give a name such as 'adam', an object "
        "such as optim.Adam(0.01), or one of a class of your own derived from optim.Optimizer"
    )
