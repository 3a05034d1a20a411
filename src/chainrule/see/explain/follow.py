"""One number followed: every term of the sum that makes it, and of the sums that make those."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from chainrule.compiler.graph import Variable
from chainrule.names import unknown_name
from chainrule.see.explain.elements import Element, Leaf
from chainrule.see.explain.names import Index
from chainrule.see.explain.steps import Step, Teller

__all__ = ["Place", "find_place", "follow_place"]

Place = tuple[Variable, Variable | None, Index]
"""A value of the forward pass, the variable of its derivative if that is followed, an element."""


def find_place(teller: Teller, text: str, labels: Mapping[str, str]) -> Place:
    """The number that a text such as `dense_1.weight[3, 7]` or `d_W1[3, 7]` names.

    Of what is differentiated by, it is the gradient; `labels` are longer names of parameters.
    Raises ValueError for a name that is not there, and for an element outside the array.
    """
    match = re.fullmatch(r"\s*(.*?)\s*(?:\[([^\[\]]*)\])?\s*", text, re.DOTALL)
    name, key = match.groups() if match else (text, None)
    record = teller.record
    places: dict[str, tuple[Variable, Variable | None]] = {}
    for variable in teller.lines.forward:
        places[teller.lines.name(variable).base] = (variable, None)
    for of, held in teller.lines.backward:
        if of is not None:
            places[teller.lines.derivative_name(of).base] = (of, held)
    for label, variable in record.by.items():
        gradient = (variable, record.cotangent_variable(variable))
        for each in (label, record.name_of(variable), labels.get(label, "")):
            if each:
                places[each] = gradient
    if name not in places:
        raise ValueError(f"follow={text!r}: {unknown_name('value', name, places)}")
    variable, cotangent = places[name]
    if cotangent is None and variable in record.by.values():
        raise ValueError(f"follow={text!r}: the result does not depend on {name}")
    return variable, cotangent, _element(text, key, variable.shape)


def follow_place(teller: Teller, place: Place) -> list[Step]:
    """The steps that lead to a number, in the order in which they are computed.

    Where a number is a sum, the way goes on from its largest term.
    """
    variable, cotangent, index = place
    found: list[Step] = []
    current: Variable | None = variable if cotangent is None else cotangent
    seen: set[tuple[Variable, Index]] = set()
    depending = _depending_on(teller, variable)
    while current is not None and (current, index) not in seen:
        seen.add((current, index))
        steps = _steps_of(teller, current, index, cotangent is not None, depending)
        element = teller.elements.element(current, index)
        found = _helpers(teller, element) + steps + found
        current, index = _largest(teller, element, is_derivative=cotangent is not None)
    return found


def _helpers(teller: Teller, element: Element) -> list[Step]:
    """What the reverse pass has computed beside derivatives, where the element reads it."""
    lines = teller.lines
    beside = {v for of, v in lines.backward if of is None and not lines.carries(v)}
    return [
        step
        for leaf in element.own_leaves().values()
        if leaf.variable in beside
        for step in _steps_of(teller, leaf.variable, leaf.index, False, set())
    ]


def _depending_on(teller: Teller, variable: Variable) -> set[Variable]:
    """A value and all of the forward pass that was computed from it."""
    found = {variable}
    for equation in teller.record.graph.equations:
        if equation.section == "forward" and not found.isdisjoint(equation.variables):
            found.update(equation.outs)
    return found


def _steps_of(
    teller: Teller, variable: Variable, index: Index, is_derivative: bool, depending: set[Variable]
) -> list[Step]:
    """The steps that tell a value: of a derivative by several values, those `depending` on the one
    that is followed.
    """
    lines = teller.lines
    if not is_derivative:
        step = teller.forward_step(variable)
        return [replace(step, lines=(teller.line(step.name, variable, index),))]
    by = [of for of, c in lines.backward if c is variable and (of is None or of in depending)]
    if not by:
        return []
    first, *others = [teller.backward_step(of, variable) for of in by]
    names = {} if by[0] is None else lines.flows_from(by[0])
    line = teller.line(first.name, variable, index, names)
    slope = None
    if by[0] is not None and not line.is_plain:
        slope = teller.slope(by[0], line.element, index)
    return [replace(first, lines=(line,), slope=slope), *others]


def _largest(
    teller: Teller, element: Element, is_derivative: bool
) -> tuple[Variable | None, Index]:
    """The leaf of an element to go on from: of derivatives the one that adds the most."""
    sizes: list[tuple[float, Leaf]] = []
    for variable, leaf in element.own_leaves().items():
        if leaf.variable is None:
            continue
        if is_derivative and teller.lines.carries(leaf.variable):
            factor = teller.elements.factor(element, variable)
            times = 1.0
            if factor is not None:
                numbers = {v: own.value for v, own in factor.own_leaves().items()}
                times = factor.evaluate(numbers)[0]
            sizes.append((abs(times * float(leaf.value)), leaf))
        elif not is_derivative and leaf.variable in teller.lines.makers:
            sizes.append((abs(float(leaf.value)), leaf))
    if not sizes:
        return None, ()
    _, leaf = max(sizes, key=lambda pair: np.inf if np.isnan(pair[0]) else pair[0])
    return leaf.variable, leaf.index


def _element(text: str, key: str | None, shape: tuple[int, ...]) -> Index:
    if key is None:
        if all(size == 1 for size in shape):
            return (0,) * len(shape)
        raise ValueError(
            f"follow={text!r} names an array of shape {shape}: say which element, as in "
            f"{text.strip()}[{', '.join('0' * len(shape))}]"
        )
    try:
        index = tuple(int(part) for part in key.split(",") if part.strip())
    except ValueError:
        raise ValueError(
            f"follow={text!r}: give an element as whole numbers, as in [3, 7]"
        ) from None
    fits = len(index) == len(shape) and all(
        -size <= i < size for i, size in zip(index, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"follow={text!r}: the array has shape {shape}, which has no element {index}"
        )
    return tuple(i % size for i, size in zip(index, shape, strict=True))
