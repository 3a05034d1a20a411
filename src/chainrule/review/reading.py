"""The gradient in what the reader's step left: returned, kept as attributes, or applied.

`learn_reading` finds out once which array is the gradient of which parameter, by names, by the form
of lists and dicts, by order and shape, and at last by numbers. `Reading.blocks` reads any later
run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any

import numpy as np

from chainrule.review.case import Roots
from chainrule.review.places import Place, find_places
from chainrule.review.trial import Ran

__all__ = ["INPUT", "Reading", "blocks_equal", "learn_reading"]

Vector = np.ndarray[Any, Any]

INPUT = "the input"


@dataclass
class Reading:
    """Where the gradient of each parameter is: in the result, in an attribute, or in the update.

    `renewed` pairs a parameter that is returned as it is after the step with its place before.
    `rate` divides updates; None where it is not known, and then the scale of all is free.
    """

    returned: dict[str, Place] = field(default_factory=dict)
    kept: dict[str, Place] = field(default_factory=dict)
    updated: dict[str, Place] = field(default_factory=dict)
    renewed: dict[str, tuple[Place, Place]] = field(default_factory=dict)
    rate: float | None = None

    @property
    def names(self) -> list[str]:
        return [*self.returned, *self.kept, *self.updated, *self.renewed]

    @property
    def is_update(self) -> bool:
        return bool(self.updated or self.renewed)

    def blocks(self, ran: Ran, before: Roots) -> dict[str, Vector]:
        """The gradient of each parameter as the reader's code has it, (…) like the parameter."""
        found: dict[str, Vector] = {}
        for name, place in self.returned.items():
            found[name] = _read(place, [ran.result])
        for name, place in self.kept.items():
            found[name] = _read(place, ran.roots)
        for name, place in self.updated.items():
            try:
                moved = place.array(before).astype(np.float64) - place.array(ran.roots)
            except Exception:  # a parameter that has lost its form altogether
                moved = np.zeros(0)
            found[name] = moved / (1.0 if self.rate is None else self.rate)
        for name, (place, old) in self.renewed.items():
            start, new = old.array(before).astype(np.float64), _read(place, [ran.result])
            moved = start - new if new.shape == start.shape else np.zeros(0)
            found[name] = moved / (1.0 if self.rate is None else self.rate)
        return found


def _read(place: Place, roots: Any) -> Vector:
    try:
        return place.array(roots)
    except Exception:  # not there any more: the trial changed what is returned
        return np.zeros(0)


def learn_reading(
    parameters: Sequence[Place],
    before: Roots,
    ran: Ran,
    returned: Sequence[str],
    truth: Mapping[str, Vector],
    all_places: Sequence[Place],
    with_input: Place | None,
) -> Reading:
    """Where the gradients of these parameters are, after one run of the step."""
    reading = Reading()
    leaves = _result_leaves(ran.result, returned)
    if with_input is not None:
        own = [leaf for leaf in leaves if _means_input(leaf)]
        if own:
            reading.returned[INPUT] = own[0]
            leaves = [leaf for leaf in leaves if leaf not in own]
    changed = [p for p in parameters if _changed(p, before, ran.roots)]
    leaves = [leaf for leaf in leaves if not _is_one_of(leaf, ran, changed)]
    matched = _match(parameters, leaves, [ran.result], before, truth)
    if matched and _are_parameters(matched, parameters, before, ran, truth):
        by_name = {p.name: p for p in parameters}
        reading.renewed = {name: (leaf, by_name[name]) for name, leaf in matched.items()}
        return reading
    if matched and (len(matched) >= len(changed)):
        reading.returned |= matched
        return reading
    if changed:
        reading.updated = {p.name: p for p in changed}
        return reading
    after = find_places(ran.roots, [f"{i}" for i in range(len(ran.roots))])
    ways = {p.way for p in parameters}
    kept = [p for p in after if p.way not in ways and _names_match_any(p.name, parameters)]
    reading.kept = _match(parameters, kept, ran.roots, before, truth, by_name_only=True)
    return reading


def _is_one_of(leaf: Place, ran: Ran, changed: Sequence[Place]) -> bool:
    """Whether what is returned is a parameter that the step has changed in place."""
    returned = leaf.read([ran.result])
    return any(returned is p.read(ran.roots) for p in changed)


def _are_parameters(
    matched: Mapping[str, Place],
    parameters: Sequence[Place],
    before: Roots,
    ran: Ran,
    truth: Mapping[str, Vector],
) -> bool:
    """Whether what is returned are the parameters after a step: near what they were before.

    A gradient can be near its parameter by chance, so the step has to be more like the true
    gradient than what is returned is.
    """
    votes = []
    for parameter in parameters:
        if parameter.name not in matched or parameter.name not in truth:
            continue
        leaf = _tail(matched[parameter.name].name)
        if leaf and not leaf.isdigit() and leaf != _tail(parameter.name):
            return False  # `dw`, `grad_w`: it says what it is
        old = parameter.array(before).astype(np.float64).ravel()
        new = np.asarray(matched[parameter.name].array([ran.result]), np.float64).ravel()
        true = np.nan_to_num(truth[parameter.name].ravel())
        if old.size == new.size and blocks_equal(new, true, 1e-3):
            return False
        if old.size == new.size == true.size > 1:
            moved = abs(_cosine(old - new, true))
            votes.append(_cosine(old, new) > 0.8 and moved > abs(_cosine(new, true)))
    return len(votes) > 0 and sum(votes) > 0.7 * len(votes) and len(votes) >= 0.5 * len(matched)


def _cosine(a: Vector, b: Vector) -> float:
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else 0.0


def _result_leaves(result: Any, returned: Sequence[str]) -> list[Place]:
    if isinstance(result, tuple) and len(returned) == len(result):
        return [
            Place(name + leaf.name, (("item", 0), *leaf.way[0:]))
            for i, (part, name) in enumerate(zip(result, returned, strict=True))
            for leaf in _renumbered(find_places([part], [""]), i)
        ]
    name = returned[0] if len(returned) == 1 else ""
    return find_places([result], [name])


def _renumbered(leaves: list[Place], index: int) -> list[Place]:
    return [Place(leaf.name, (("item", index), *leaf.way[1:])) for leaf in leaves]


def _means_input(leaf: Place) -> bool:
    return bool(
        re.search(r"d_?x\b|d_?inputs?\b|grad_?x|grad_?inputs?|input_?(grad|error)", leaf.name, re.I)
    ) or (leaf.way == (("item", 0),) or leaf.way == (("item", 0), ("item", 0)))


def _changed(place: Place, before: Roots, after: Roots) -> bool:
    try:
        return not np.array_equal(place.array(before), place.array(after))
    except Exception:
        return True


_PREFIXES = re.compile(
    r"^(d_?l_?d_?|grad(ient)?s?_?(of_?)?|nabla_?|delta_?|d_?|g_?|cap_?delta_?)|"
    r"(_?grad(ient)?s?|_?delta|_?d|_?prime|_?update)$",
    re.I,
)


def _tail(name: str) -> str:
    """The part of a name that tells one parameter from the other: `params['W1']` is w1."""
    words = re.findall(r"[A-Za-z_]\w*|\d+", name)
    return "".join(words[-1:]).lower() if words else ""


def _stems(name: str) -> set[str]:
    """A gradient's name without what says that it is one."""
    tail = _tail(name)
    found = {tail}
    for _ in range(2):
        found |= {_PREFIXES.sub("", stem) for stem in found}
        found |= {re.sub(r"^(d|grad|nabla|delta)_?", "", stem) for stem in found}
        found |= {re.sub(r"_?(grad|gradient|delta)s?$", "", stem) for stem in found}
    return {stem.strip("_") for stem in found} - {""}


def _names_match(leaf: str, parameter: str) -> bool:
    tail = _tail(parameter)
    return tail != "" and tail in (_stems(leaf) - {_tail(leaf)})


def _names_match_any(name: str, parameters: Sequence[Place]) -> bool:
    return any(_names_match(_without_index(name), _without_index(p.name)) for p in parameters)


def _without_index(name: str) -> str:
    return re.sub(r"(\[\d+\])+$", "", name)


def _match(
    parameters: Sequence[Place],
    leaves: Sequence[Place],
    roots: Any,
    before: Roots,
    truth: Mapping[str, Vector],
    by_name_only: bool = False,
) -> dict[str, Place]:
    """A leaf for each parameter, as far as there is one."""
    found: dict[str, Place] = {}
    free = list(leaves)

    def take(parameter: Place, leaf: Place) -> None:
        found[parameter.name] = leaf
        free.remove(leaf)

    for parameter in parameters:  # `dW1` for `W1`, `grads['b2']` for `params['b2']`
        tail = _tail(parameter.name)
        if tail.isdigit():
            continue
        fit = [leaf for leaf in free if _names_match(leaf.name, parameter.name)]
        fit += [leaf for leaf in free if _tail(leaf.name) == tail and leaf not in fit]
        if len(fit) > 1:
            beside = parameter.way[:-1]
            fit = [leaf for leaf in fit if leaf.way[:-1] == beside] or fit
        if fit:
            take(parameter, fit[0])
    _match_groups(parameters, free, roots, before, found, by_name_only)
    if not by_name_only:
        _match_shapes(parameters, free, roots, before, truth, found)
    return found


def _match_groups(
    parameters: Sequence[Place],
    free: list[Place],
    roots: Any,
    before: Roots,
    found: dict[str, Place],
    by_name_only: bool,
) -> None:
    """Lists of gradients for lists of parameters of as many members and, mostly, those shapes."""
    waiting: dict[Any, list[Place]] = {}
    for parameter in parameters:
        if parameter.name not in found:
            waiting.setdefault(parameter.way[:-1], []).append(parameter)
    groups: dict[Any, list[Place]] = {}
    for leaf in free:
        groups.setdefault(leaf.way[:-1], []).append(leaf)
    for members in waiting.values():
        shapes = [p.array(before).shape for p in members]
        if not any(shapes) and len(members) == 1:
            continue  # one number is told by its name alone
        best: tuple[int, Any] = (0, None)
        for way, leaves in groups.items():
            if len(leaves) != len(members) or leaves[0] not in free:
                continue
            if len(members) == 1 and way == () and not by_name_only:
                continue
            same = sum(
                _same_shape(leaf.array(roots).shape, shape)
                for leaf, shape in zip(leaves, shapes, strict=True)
            )
            named = _names_match_any(leaves[0].name, members) if by_name_only else False
            score = 2 * same + (1 if named else 0)
            if score > best[0] and (named or not by_name_only):
                best = score, leaves
        if best[1] is not None:
            for member, leaf in zip(members, best[1], strict=True):
                found[member.name] = leaf
                free.remove(leaf)


def _same_shape(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a == b or [n for n in a if n != 1] == [n for n in b if n != 1]


def _match_shapes(
    parameters: Sequence[Place],
    free: list[Place],
    roots: Any,
    before: Roots,
    truth: Mapping[str, Vector],
    found: dict[str, Place],
) -> None:
    """What is left by shape: in order, or as the numbers say where there are several orders."""
    left = [p for p in parameters if p.name not in found]
    shapes = {tuple(n for n in p.array(before).shape if n != 1) for p in left}
    for shape in sorted(shapes):
        members = [p for p in left if tuple(n for n in p.array(before).shape if n != 1) == shape]
        leaves = [
            leaf for leaf in free if tuple(n for n in leaf.array(roots).shape if n != 1) == shape
        ]
        if not leaves or shape == ():  # numbers are told by their names alone
            continue
        if len(leaves) > len(members) or len(members) > len(leaves):
            members, leaves = _by_numbers(members, leaves, roots, truth)
        for member, leaf in zip(members, leaves, strict=False):
            found[member.name] = leaf
            free.remove(leaf)
    one_left = [p for p in parameters if p.name not in found]
    free = [leaf for leaf in free if leaf.array(roots).ndim]
    if len(one_left) == 1 and len(free) == 1 and len(parameters) > 1:
        found[one_left[0].name] = free.pop()


def _by_numbers(
    members: list[Place], leaves: list[Place], roots: Any, truth: Mapping[str, Vector]
) -> tuple[list[Place], list[Place]]:
    size = min(len(members), len(leaves))
    if max(len(members), len(leaves)) > 6:
        return members[:size], leaves[:size]

    def score(pairs: Sequence[tuple[Place, Place]]) -> int:
        return sum(
            blocks_equal(leaf.array(roots), truth[m.name], 1e-4)
            for m, leaf in pairs
            if m.name in truth
        )

    if len(members) <= len(leaves):
        orders = [list(zip(members, order, strict=True)) for order in permutations(leaves, size)]
    else:
        orders = [list(zip(order, leaves, strict=True)) for order in permutations(members, size)]
    best = max(orders, key=score)
    return [m for m, _ in best], [leaf for _, leaf in best]


def blocks_equal(found: Vector, true: Vector, tolerance: float) -> bool:
    """Whether two gradients are the same, but for axes of one and elements that are not known."""
    found, true = np.asarray(found), np.asarray(true)
    if found.size != true.size or not _same_shape(found.shape, true.shape):
        return False
    if found.dtype.kind not in "fiub":
        return False
    a, b = found.astype(np.float64).ravel(), true.astype(np.float64).ravel()
    known = np.isfinite(b)
    if not known.any():
        return bool(found.size == 0)
    a, b = a[known], b[known]
    if not np.isfinite(a).all():
        return False
    size = max(float(np.abs(b).max()), 1e-3 * float(np.abs(a).max()), 1e-12)
    return bool(np.all(np.abs(a - b) <= tolerance * size))
