"""Which loss the reader's backward pass differentiates: the reader's own, or the one that fits.

A loss that the code computes counts. Where it computes none, its output is found, as what its
forward pass returns or as what stands beside the target in a difference, and the usual losses of
that output are held against the gradients: the one that explains most of them is assumed, and the
report says so.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.case import Case, Roots, output_of, scalar_of
from chainrule.review.losses import fit_target, loss_families, scales
from chainrule.review.places import as_numbers
from chainrule.review.trial import Bench
from chainrule.review.truth import Goal
from chainrule.review.watch import Watch

__all__ = ["candidate_goals", "goal_scales", "target_of"]


def target_of(bench: Bench) -> Callable[[Roots], Any] | None:
    """Where the targets are: among the arguments, or kept by the object under such a name."""
    if bench.case.target is not None:
        return bench.case.target
    for place in bench.places:
        if roles.has_role(place.name.rpartition(".")[2], roles.TARGET):
            return place.read
    return None


def candidate_goals(bench: Bench) -> list[Goal]:
    """The loss, if it is known: one goal; else those it may be, the likeliest first."""
    case = bench.case
    returned = _returned_loss(bench)
    if case.loss_is_given and case.loss is not None:
        own = _own_loss(bench)
        if own is not None:
            return [own]
    if returned is not None and case.of_output is None:
        return [returned]
    own = None if case.of_output is not None else _own_loss(bench)
    if own is not None:
        return [own]
    if case.of_output is not None:
        return _observed(bench)
    return [*_of_forward(bench), *_observed(bench)]


def _returned_loss(bench: Bench) -> Goal | None:
    """The loss that the step itself returns beside the gradients."""
    ran = bench.run(bench.case.step)
    parts = ran.result if isinstance(ran.result, tuple | list | dict) else ()
    if ran.error is not None or len(parts) < 2:
        return None
    value = scalar_of(ran.result)
    if value is None or not np.isfinite(float(value)):
        return None
    if as_numbers(value) is None:
        return None
    return Goal("the loss it returns", bench.case.step, lambda result, watch: scalar_of(result))


def _own_loss(bench: Bench) -> Goal | None:
    loss = bench.case.loss
    if loss is None:
        return None
    ran = bench.run(loss)
    value = as_numbers(ran.result) if ran.error is None else None
    if value is None or value.size != 1 or not np.isfinite(value).all():
        return None
    return Goal(bench.case.loss_name, loss, lambda result, watch: result)


def _of_forward(bench: Bench) -> list[Goal]:
    """The usual losses of what the forward pass returns, where there is a target."""
    forward, target = bench.case.forward, target_of(bench)
    if forward is None or target is None:
        return []
    y = target(bench.fresh())
    ran = bench.run(forward)
    output = output_of(ran.result, (), y) if ran.error is None else None
    array = as_numbers(output) if output is not None else None
    if array is None or (array.ndim == 0 and np.size(y) > 1):
        return []
    fitted = fit_target(y, array.shape)
    if np.shape(fitted) != array.shape:
        return []

    def read(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Watch], Any]:
        return lambda result, watch: compute(output_of(result, (), y), fitted)

    return [
        Goal(f"{family.name}, {family.formula}", forward, read(family.compute), assumed=True)
        for family in loss_families(array, fitted)
    ]


def _observed(bench: Bench) -> list[Goal]:
    """The usual losses of the value that stands beside the target in the step."""
    step, target = bench.case.step, target_of(bench)
    if target is None:
        return []
    y = np.asarray(as_numbers(target(bench.fresh())))
    watch = Watch()
    if bench.run(step, None, watch).error is not None and not watch.events:
        return []
    pairs = _beside_target(bench, watch, y)
    if not pairs:
        return []
    key, array = pairs[0]
    fitted = fit_target(y, array.shape)

    def read(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Watch], Any]:
        def of_event(result: Any, watch: Watch) -> Any:
            value = next((e.value for e in watch.events if e.key == key), None)
            return None if value is None else compute(value, fitted)

        return of_event

    given = bench.case.of_output
    if given is not None:
        name = bench.case.loss_name
        return [Goal(name, step, read(given), only=key)]
    return [
        Goal(f"{family.name}, {family.formula}", step, read(family.compute), only=key, assumed=True)
        for family in loss_families(array, fitted)
    ]


def _beside_target(
    bench: Bench, watch: Watch, y: np.ndarray[Any, Any]
) -> list[tuple[tuple[int, int], np.ndarray[Any, Any]]]:
    """Values that the target is subtracted from, or that are passed beside it in a call."""
    by_key = {event.key: event for event in watch.events}
    found = []
    for event in watch.events:
        value = np.asarray(event.value)
        if not _is_target(value, y):
            continue
        for other in _partners(bench, event.number):
            partner = by_key.get((other, event.occurrence))
            if partner is None:
                continue
            array = np.asarray(partner.value)
            if array.size == value.size and not _is_target(array, y) and array.dtype.kind == "f":
                found.append((partner.key, array))
    return found


def _is_target(value: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> bool:
    return value.size == y.size and bool(np.array_equal(value.ravel(), y.ravel()))


def _partners(bench: Bench, number: int) -> Iterator[int]:
    """The points of the other operands of the expression that an operand stands in."""
    point = bench.points[number]
    numbers = {id(p.node): p.number for p in bench.points.values() if p.role != "container"}
    for node in ast.walk(point.statement):
        operands: list[ast.expr] = []
        if isinstance(node, ast.BinOp):
            operands = [node.left, node.right]
        elif isinstance(node, ast.Call):
            operands = node.args
        if any(operand is point.node for operand in operands):
            for operand in operands:
                if operand is not point.node and id(operand) in numbers:
                    yield numbers[id(operand)]


def goal_scales(bench: Bench, goal: Goal, case: Case) -> dict[str, float]:
    """The constants that an assumed loss may have in front."""
    target = target_of(bench)
    if not goal.assumed or target is None:
        return {"{}": 1.0}
    return scales(np.asarray(as_numbers(target(bench.fresh()))))
