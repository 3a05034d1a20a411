"""The learning rate of updates: as given, or found by doubling each number that may be it."""

from __future__ import annotations

import numpy as np

from chainrule.review import roles
from chainrule.review.bearings import Situation
from chainrule.review.case import USUAL_RATE
from chainrule.review.places import Place
from chainrule.review.reading import Reading

__all__ = ["find_rate"]


def find_rate(situation: Situation) -> float | None:
    """The number that updates are proportional to: as given, or found by doubling it."""
    bench, case = situation.bench, situation.case
    if case.rate is not None:
        return case.rate
    scalars = [
        place
        for place in bench.places
        if isinstance(place.read(bench.start), float | np.floating)
        or (isinstance(place.read(bench.start), int) and _is_rate(place))
    ]
    for place in sorted(scalars, key=lambda p: not _is_rate(p)):
        value = float(place.read(bench.start))
        powers = _powers(situation, place, value)
        if powers and min(powers) > 0.9:
            situation.rate_place = place
            return value
    return _default_rate(situation)


def _is_rate(place: Place) -> bool:
    return roles.has_role(place.name.rpartition(".")[2].strip("[]'\""), roles.RATE)


def _default_rate(situation: Situation) -> float | None:
    """The rate that was filled in for a backward method that takes one."""
    functions = [r for r in situation.bench.start[:2] if callable(r)][1:]
    if isinstance(situation.bench.start[0], list):
        functions += [
            getattr(layer, str(roles.find_method(layer, roles.GRADIENT)))
            for layer in situation.bench.start[0]
        ]
    takes = any(
        roles.has_role(p.name, roles.RATE) for f in functions for p in roles.parameters_of(f)
    )
    return USUAL_RATE if takes else None


def _powers(situation: Situation, place: Place, value: float) -> list[float]:
    """By which power of two the update of each parameter grows when this number doubles."""
    bench = situation.bench
    sizes = []
    for factor in (1e-3, 2e-3):
        roots = bench.fresh()
        place.write(roots, factor * value)
        ran = bench.run(situation.case.step, roots)
        if ran.error is not None:
            return []
        reading = situation.reading
        unscaled = Reading(updated=reading.updated, renewed=reading.renewed)
        blocks = unscaled.blocks(ran, bench.start)
        sizes.append([float(np.linalg.norm(block)) for block in blocks.values()])
    return [float(np.log2(b / a)) for a, b in zip(*sizes, strict=True) if a > 0 and b > 0]
