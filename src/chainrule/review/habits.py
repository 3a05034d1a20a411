"""Slips that one right gradient does not show: what a second call adds to, or writes into."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.review.bearings import Judgement, Situation
from chainrule.review.case import Roots
from chainrule.review.places import as_numbers
from chainrule.review.reading import blocks_equal
from chainrule.review.report import Finding
from chainrule.review.search import Searcher, Site, all_statements
from chainrule.review.truth import find_truth, loss_at

__all__ = ["habits"]

Vector = np.ndarray[Any, Any]


def habits(situation: Situation) -> list[Finding]:
    """What is wrong although the first gradient is right."""
    _note_changed_data(situation)
    added = _added_up(situation)
    return [_accumulation(situation, added)] if added else []


def _note_changed_data(situation: Situation) -> None:
    """Say so where the backward pass writes into the data; the gradient is right nevertheless."""
    bench = situation.bench
    ran = bench.run(situation.case.step)
    if ran.error is not None:
        return
    for index in sorted(situation.case.data):
        before, after = as_numbers(bench.start[index]), as_numbers(ran.roots[index])
        if before is None or after is None or before.shape != after.shape:
            continue
        if not np.array_equal(before, after, equal_nan=before.dtype.kind == "f"):
            name = situation.case.names[index] or f"argument {index}"
            situation.notes.append(f"it writes into {name}, which changes for its caller too")


def _added_up(situation: Situation) -> list[str]:
    """The parameters whose second gradient is the sum of the first and the second."""
    bench, case = situation.bench, situation.case
    if any("zero" in name or "reset" in name for name in _methods(bench.start)):
        return []
    ran = bench.run(case.step)
    if ran.error is not None:
        return []
    middle = ran.roots
    first = situation.reading.blocks(ran, bench.start)
    truth = situation.truth
    other = replace(bench, start=middle)
    if situation.reading.is_update:
        try:
            truth = find_truth(other, situation.goal, situation.parameters)
        except ValueError:
            return []
        factor = _constant(situation)
        truth.gradients = {n: factor * g for n, g in truth.gradients.items()}
    again = other.run(case.step)
    if again.error is not None:
        return []
    second = situation.reading.blocks(again, middle)
    scale = situation.judgement.scale
    found = []
    for name, block in second.items():
        true = truth.gradients.get(name)
        if true is None or block.size != true.size or first[name].size != true.size:
            continue
        shaped, before = block.reshape(true.shape), first[name].reshape(true.shape)
        if not np.any(before) or blocks_equal(shaped, scale * true, situation.tolerance):
            continue
        if blocks_equal(shaped - before, scale * true, 10 * situation.tolerance):
            found.append(name)
    return found


def _constant(situation: Situation) -> float:
    bench = situation.bench
    plain = float(np.asarray(loss_at(bench, situation.goal, bench.fresh())))
    return situation.truth.loss / plain if plain else 1.0


def _methods(roots: Roots) -> Iterator[str]:
    for root in roots:
        owner = getattr(root, "__self__", root)
        for thing in owner if isinstance(owner, list) else [owner]:
            if hasattr(thing, "__dict__"):
                yield from (name for name in dir(thing) if not name.startswith("__"))


def _accumulation(situation: Situation, names: list[str]) -> Finding:
    """Where the sum is made: the statement with which `=` for `+=` mends the second call."""
    case, bench = situation.case, situation.bench

    def twice(roots: Roots) -> Any:
        case.step(roots)
        return case.step(roots)

    mends = []
    if not situation.reading.is_update:
        again = replace(situation, bench=replace(bench, case=replace(case, step=twice)))
        again.judgement = Judgement({n: n not in names for n in situation.judgement.right})
        places = [Site(s, f) for s, f in all_statements(situation) if isinstance(s, ast.AugAssign)]
        mends = [m for m in Searcher(again).mends(places) if "accumulated" in m.edit.kind]
    adders = [
        s
        for s, _ in all_statements(situation)
        if isinstance(s, ast.AugAssign) and isinstance(s.op, ast.Add | ast.Sub)
    ]
    statement = mends[0].scene.statement if mends else (adders[0] if adders else None)
    file = bench.files[0].path if bench.files else ""
    return Finding(
        kind="accumulated, not reset",
        line=getattr(statement, "lineno", 0),
        file=mends[0].file.path if mends else file,
        text=ast.unparse(statement) if statement is not None else "",
        expected=mends[0].after if mends else "",
        why=f"the gradient of {', '.join(names)} is right in the first call, and in the second "
        f"that of the "
        "first is added: set it to zero before each backward pass",
        evidence=1.0,
        certain=bool(mends) or statement is not None,
        lines=tuple(s.lineno for s in adders),
        parameters=tuple(names),
    )
