"""What is told, step by step: each value with its formula, numbers, rule and local derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np

from chainrule.compiler.formula import Formula
from chainrule.compiler.graph import Equation, Variable
from chainrule.see.explain.digits import Line, worked_line
from chainrule.see.explain.elements import Element, Elements
from chainrule.see.explain.lines import FORMS, Lines
from chainrule.see.explain.names import Index, Name, Slope
from chainrule.see.explain.rules import Rule, Rules
from chainrule.see.record import Record

__all__ = ["Given", "Limits", "Step", "Teller", "worth_telling"]

_LONGEST_WHOLE = 24  # calls of primitives in a gradient's formula in full

Section = Literal["forward", "backward", "update"]


@final
@dataclass(frozen=True)
class Limits:
    """How much is told: digits of a result, terms of a sum, elements of an array, steps."""

    digits: int
    terms: int
    elements: int
    steps: int


@final
@dataclass(frozen=True)
class Given:
    """A value that nothing computes: an input, a parameter. `label` is its longer name, or ""."""

    name: Name
    value: np.ndarray[Any, Any]
    label: str = ""


@final
@dataclass(frozen=True)
class Step:
    """A value of the computation: how it is computed in symbols, and in numbers.

    `formula` is in values that `symbol` names; None stands for the number where the reverse pass
    starts. `rules` are what a derivative came about by, from the value on to what it flows into;
    `slope` is one local derivative with its numbers; `whole` the formula of a gradient without
    derivatives in it. `lines` work elements out, which may be all of them.
    """

    section: Section
    name: Name
    layer: str
    value: np.ndarray[Any, Any]
    formula: Formula | Name | None
    symbol: Callable[[Variable], Name]
    lines: tuple[Line, ...] = ()
    rules: tuple[Rule, ...] = ()
    slope: Line | None = None
    whole: Formula | None = None
    note: str = ""

    def seed(self, variable: Variable) -> Name:
        """The name in the formula `whole`, in which the reverse pass starts from 1."""
        name = self.symbol(variable)
        return Name("1") if name.of is not None and variable.name == "cotangent" else name

    @property
    def is_complete(self) -> bool:
        """Whether every element is worked out, so that the array need not be shown."""
        return len(self.lines) >= self.value.size


@final
class Teller:
    """Makes the steps of one record."""

    def __init__(
        self, record: Record, limits: Limits, derivatives: Mapping[Variable, Name] | None = None
    ) -> None:
        self.record = record
        self.limits = limits
        self.lines = Lines(record, derivatives)
        self.elements = Elements(record, self.lines.is_own, self.lines.name, limits.terms)
        self._rules = Rules(self.lines)

    def given(self, labels: dict[str, str] | None = None) -> list[Given]:
        """The inputs and parameters that are read."""
        labels = labels or {}
        graph, seeds = self.record.graph, self.record.graph.cotangents
        read = [v for v in graph.inputs if v in self.lines.readers and v not in seeds]
        constants = [v for v in graph.constants if v in self.lines.readers and v.shape]
        return [
            Given(name, np.asarray(self.record.value_of(v)), labels.get(name.base, ""))
            for v in (*read, *constants)
            for name in [self.lines.name(v)]
        ]

    def forward(self) -> list[Step]:
        """The values of the forward pass."""
        return [self.forward_step(v) for v in self.lines.forward]

    def backward(self) -> list[Step]:
        """The derivatives, from the result back."""
        return [self.backward_step(of, cotangent) for of, cotangent in self.lines.backward]

    def line(
        self,
        name: Name,
        variable: Variable,
        index: Index,
        names: Mapping[Variable, Name] | None = None,
    ) -> Line:
        """One element of a value, worked out; with other `names` for some of what it reads."""
        element = self.elements.element(variable, index).renamed(names or {})
        return self.worked(name.at(index), element, self.value_of(variable)[index])

    def worked(self, name: Name | Slope, element: Element, value: Any) -> Line:
        """A number with its formula, printed so that it can be computed again."""
        return worked_line(name, element, value, self.limits.digits, self.elements)

    def value_of(self, variable: Variable) -> np.ndarray[Any, Any]:
        """The array that a variable holds."""
        return np.asarray(self.record.value_of(variable))

    def slope(self, of: Variable, element: Element, index: Index) -> Line | None:
        """The local derivative through which most of a derivative's element flows."""
        flows = []
        for variable, leaf in element.own_leaves().items():
            derived = leaf.name.of if leaf.name is not None else None
            factor = self.elements.factor(element, variable) if derived is not None else None
            if factor is not None and derived is not None:
                numbers = {v: own.value for v, own in factor.own_leaves().items()}
                value = factor.evaluate(numbers)[0]
                flows.append((abs(value * float(leaf.value)), factor, value, derived, leaf.index))
        if not flows:
            return None
        _, factor, value, derived, at = max(flows, key=lambda flow: np.nan_to_num(flow[0]))
        if factor.root == 1:
            return None
        name = Slope(derived.at(at), self.lines.name(of).at(index))
        dtype = of.dtype if of.dtype.kind == "f" else np.dtype(float)
        return self.worked(name, factor, dtype.type(value))

    def forward_step(self, variable: Variable) -> Step:
        """A value of the forward pass."""
        value = self.value_of(variable)
        name = self.lines.name(variable)
        maker = self.lines.makers[variable]
        chosen = _first(value, self.limits.elements)
        lines = tuple(self.line(name, variable, index) for index in chosen)
        return Step(
            "forward",
            name,
            maker.layer,
            value,
            self.lines.formula(variable),
            self.lines.name,
            _worth_it(lines, maker),
            note=_not_finite(value),
        )

    def backward_step(self, of: Variable | None, cotangent: Variable) -> Step:
        """The derivative by a value, which a variable holds."""
        if of is None:
            return replace(self.forward_step(cotangent), section="backward")
        value = self.value_of(cotangent)
        name = self.lines.derivative_name(of)
        edges = self.lines.edges(of)
        rules = tuple(self._rules.rule(equation, position) for equation, position in edges)
        layer = edges[0][0].layer if edges else ""
        names = self.lines.flows_from(of)
        earlier = self.lines.same_derivative(of)
        if earlier is not None:
            same = names.get(cotangent) or self.lines.derivative_name(earlier)
            return Step("backward", name, layer, value, same, self.lines.name, (), rules)
        formula = self.lines.formula(cotangent)
        chosen = _largest(value, self.limits.elements)
        lines = tuple(self.line(name, cotangent, index, names) for index in chosen)
        slope = None
        if formula is not None and chosen:
            slope = self.slope(of, lines[0].element, chosen[0])
        whole = None
        if of in self.record.by.values() and self.record.result.ndim == 0:
            whole = self._whole(cotangent)
        return Step(
            "backward",
            name,
            layer,
            value,
            formula,
            lambda variable: names.get(variable) or self.lines.name(variable),
            _worth_it(lines, self.lines.makers.get(cotangent)),
            rules,
            slope,
            whole,
            _not_finite(value),
        )

    def chosen_by(self, sizes: np.ndarray[Any, Any]) -> list[Index]:
        """The elements to work out of an array, those where another one is largest."""
        return _largest(sizes, self.limits.elements)

    def _whole(self, cotangent: Variable) -> Formula | None:
        """The gradient's formula with every derivative written out, if it is longer."""
        maker = self.lines.makers.get(cotangent)
        if maker is None:
            return None
        own = self.lines.is_own

        def is_written_out(variable: Variable) -> bool:
            inner = self.lines.makers.get(variable)
            return not own(variable) or (inner is not None and inner.section != "forward")

        whole = self.lines.written(maker, is_written_out)
        short = self.lines.formula(cotangent)
        if short is None or not len(short.inner) < len(whole.inner) <= _LONGEST_WHOLE:
            return None
        return whole


def worth_telling(steps: list[Step], most: int, titled: Callable[[Name], bool]) -> list[Step]:
    """The steps, and of more than so many those of values that have names, the first and last.

    The place of what is left out is kept by a note on the step before it.
    """
    if len(steps) <= most:
        return steps
    keep = {0, 1, len(steps) - 1, len(steps) - 2}
    room = most - len(keep)
    wanted = [i for i, step in enumerate(steps) if i not in keep and titled(step.name)]
    keep |= set(wanted[: (room + 1) // 2]) | set(wanted[len(wanted) - room // 2 :])
    told: list[Step] = []
    order = sorted(keep)
    for i, after in zip(order, [*order[1:], len(steps)], strict=True):
        gap = after - i - 1
        step = steps[i]
        if gap:
            more = f"{gap} more value{'s' * (gap > 1)} left out here"
            note = "; ".join(filter(None, [step.note, more]))
            step = replace(step, note=note)
        told.append(step)
    return told


def _worth_it(lines: tuple[Line, ...], maker: Equation | None) -> tuple[Line, ...]:
    """The lines, unless all say no more than that a number is another one, in its new place."""
    is_moved = maker is None or maker.name in FORMS
    own = [line for line in lines if not line.is_plain or (not is_moved and _picks(line))]
    return lines if own else ()


def _picks(line: Line) -> bool:
    """Whether a line gives an element of another value as it is."""
    return any(leaf.name not in {None, line.name} for leaf in line.element.own_leaves().values())


def _first(value: np.ndarray[Any, Any], most: int) -> list[Index]:
    """All elements of a few, else the first."""
    most = value.size if value.size <= most else max(1, most - 1)
    return [_unravel(i, value) for i in range(most)]


def _largest(value: np.ndarray[Any, Any], most: int) -> list[Index]:
    """All elements of a few, else those of the largest magnitude, in their order."""
    if value.size <= most:
        return _first(value, most)
    most = max(1, most - 1)
    sizes = np.abs(value.ravel().astype(float))
    order = np.argsort(np.where(np.isfinite(sizes), -sizes, -np.inf), kind="stable")
    return [_unravel(int(i), value) for i in sorted(order[:most].tolist())]


def _unravel(flat: int, value: np.ndarray[Any, Any]) -> Index:
    return tuple(int(i) for i in np.unravel_index(flat, value.shape))


def _not_finite(value: np.ndarray[Any, Any]) -> str:
    if value.dtype.kind != "f" or np.isfinite(value).all():
        return ""
    n_nan, n_inf = int(np.isnan(value).sum()), int(np.isinf(value).sum())
    kinds = [f"{n} {kind}" for n, kind in ((n_nan, "NaN"), (n_inf, "infinite")) if n]
    return f"{' and '.join(kinds)} of {value.size} values"
