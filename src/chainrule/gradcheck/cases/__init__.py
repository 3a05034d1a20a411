"""Example calls of every primitive, by family: what `chainrule check` and the tests try."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["Case", "Cases", "Rng", "all_cases"]


@dataclass(frozen=True)
class Case:
    """One call of a primitive: arrays (float64 where differentiable) and static parameters.

    `analytic` is False where the primitive cannot be tried with complex numbers (it compares,
    or NumPy has no complex form of it).
    """

    args: tuple[Any, ...]
    params: dict[str, Any] = field(default_factory=dict)
    analytic: bool = True


Cases = dict[str, list[Case]]
Rng = np.random.Generator


def all_cases(rng: Rng) -> Cases:
    """The example calls of every primitive by its name, from all modules of this package.

    Each module has a function `cases(rng)`; they are imported only here, in the order of their
    names, so that the same generator gives the same cases.

    >>> sorted(all_cases(np.random.default_rng(0)))[:2]
    ['absolute', 'add']
    """
    found: Cases = {}
    for family in sorted(info.name for info in pkgutil.iter_modules(__path__)):
        of_family = importlib.import_module(f"{__name__}.{family}").cases(rng)
        for name, examples in of_family.items():
            found.setdefault(name, []).extend(examples)
    return found
