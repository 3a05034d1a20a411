"""Which part of a long vector of parameters has a wrong gradient: a block, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from chainrule.gradcheck.evidence import Settings, agrees
from chainrule.gradcheck.numeric import element_size, estimate, magnitude
from chainrule.gradcheck.problem import Problem
from chainrule.gradcheck.report import Fault

__all__ = ["blocks_of", "faults_of_blocks"]

Vector = np.ndarray[Any, Any]

_MOST_ROWS = 200
_MOST_NAMED = 8


def blocks_of(
    size: int,
    shapes: Mapping[str, tuple[int, ...]] | None,
    unpack: Callable[[Vector], Any] | None,
) -> dict[str, Vector]:
    """The places in a vector of each named block, in the block's shape.

    `shapes` are in the order of the vector; `unpack` takes the vector apart, into a dict, list or
    tuple of arrays. Raises ValueError where the blocks do not make up the vector, or unpack does
    more than rearrange it.
    """
    places = np.arange(size)
    if shapes is not None:
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        if sum(sizes) != size:
            raise ValueError(
                f"the shapes {dict(shapes)} have {sum(sizes)} elements together, the vector {size}"
            )
        parts = np.split(places, np.cumsum(sizes)[:-1])
        return {
            name: part.reshape(shape)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }
    assert unpack is not None
    taken = unpack(places.astype(np.float64))
    if isinstance(taken, Mapping):
        named = {str(name): part for name, part in taken.items()}
    else:
        named = {f"[{i}]": part for i, part in enumerate(taken)}
    found = {name: np.asarray(part) for name, part in named.items()}
    given = np.concatenate([np.ravel(part) for part in found.values()] or [np.zeros(0)])
    if not np.isin(given, places).all() or np.unique(given).size != given.size:
        raise ValueError(
            "unpack must hand out each element of the vector at most once, as it is: then it can "
            "be said where an element belongs"
        )
    return {name: part.astype(np.intp) for name, part in found.items()}


def faults_of_blocks(
    problem: Problem, gradient: Vector, blocks: Mapping[str, Vector], settings: Settings
) -> list[Fault]:
    """A sentence for each block whose gradient disagrees: its ratio and its rows."""
    flat = np.ravel(gradient)
    rng = np.random.default_rng(4)

    def compare(places: Vector) -> tuple[bool, float, float]:
        """Whether the slope along these elements agrees; the slope as given, and as it is."""
        direction = np.zeros(flat.size)
        lengths = np.ravel(element_size(problem.reference[0]))
        direction[places] = lengths[places] * rng.uniform(0.5, 1.5, places.size)
        moved = direction.reshape(problem.reference[0].shape)
        found = estimate(problem, 0, moved, settings.step, settings.eps)
        ours = float(flat @ direction)
        scale = np.maximum(np.abs(found.value), float(np.abs(flat) @ np.abs(direction)))
        same = agrees(
            np.array([ours]), found.value, found.error, scale, magnitude(problem), settings
        )
        return bool(same.all()), ours, float(found.value[0])

    faults = []
    for name, places in blocks.items():
        if not places.size:
            continue
        right, ours, numerical = compare(places.ravel())
        rows = _rows(places)
        outcomes = [compare(row) for row in rows[:_MOST_ROWS]] if len(rows) > 1 else []
        if right and all(outcome[0] for outcome in outcomes):
            continue
        pairs = [(o, n) for same, o, n in outcomes if not same] or [(ours, numerical)]
        faults.append(Fault(_text(name, places, outcomes, pairs), "block", 0))
    return faults


def _rows(places: Vector) -> list[Vector]:
    return [row.ravel() for row in places] if places.ndim > 1 else [places.ravel()]


def _text(
    name: str,
    places: Vector,
    outcomes: list[tuple[bool, float, float]],
    pairs: list[tuple[float, float]],
) -> str:
    ratios = [ours / numerical for ours, numerical in pairs if numerical]
    same = len(ratios) == len(pairs) and np.ptp(ratios) <= 1e-4 * max(abs(r) for r in ratios)
    by = f", {ratios[0]:.6g} times the numerical one" if same else ""
    wrong = [i for i, (right, *_) in enumerate(outcomes) if not right]
    where = ""
    if wrong and len(wrong) < len(outcomes):
        shown = ", ".join(map(str, wrong[:_MOST_NAMED]))
        where = f" in row{'s' if len(wrong) > 1 else ''} {shown}"
        where += f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    elif wrong and len(outcomes) > 1:
        where = " in every row"
    return f"the block {name}, shape {places.shape}, has a wrong gradient{where}{by}"
