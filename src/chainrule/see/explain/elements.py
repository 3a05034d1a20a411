"""One element of an array, written in elements of others: equations cut down to one number.

The equation of an elementwise primitive is cut down by taking one element of each argument. One
that is linear says by its vjp rule which elements its sum is made of: the rule, handed a 1 at the
element and 0 elsewhere, gives their factors. Where the factors are themselves elements of another
argument, as in a product of matrices, the same rule finds out which: it is handed their positions
instead of their values. So there is no table of primitives here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, final

import numpy as np

from chainrule.compiler.graph import Atom, Equation, Variable
from chainrule.primitives.elementwise import add, multiply, negative
from chainrule.primitives.primitive import Primitive
from chainrule.see.explain.linear import LinearMap, Term, linear_map
from chainrule.see.explain.names import Index, Name
from chainrule.see.explain.written import with_parameters
from chainrule.see.record import Record
from chainrule.see.recorded import RecordedArray, Recorder

__all__ = ["Element", "Elements", "Leaf"]

_SAME = {"stop_gradient", "positive", "astype", "copy"}  # element for element what they are given
_OF_ELEMENTS = {"erf", "round"}  # elementwise, though their rows do not say so
_ARITHMETIC = {"add", "subtract", "multiply", "divide", "negative"}
_NUMBER = np.dtype(np.float64)


@final
@dataclass(frozen=True)
class Leaf:
    """A number that an element is made of, and where it stands.

    What stands for terms left out of a sum has no name, and `n_terms` says how many they are.
    """

    value: Any
    name: Name | None = None
    variable: Variable | None = None
    index: Index = ()
    n_terms: int = 0


@final
@dataclass(frozen=True)
class Element:
    """One number: its root, and the equations over numbers that lead to it from leaves."""

    root: Atom
    inner: Mapping[Variable, Equation]
    leaves: Mapping[Variable, Leaf]

    def own_leaves(self) -> dict[Variable, Leaf]:
        """The leaves that this element is made of, in the order of its text."""
        found: dict[Variable, Leaf] = {}
        pending = [self.root]
        while pending:
            atom = pending.pop()
            if not isinstance(atom, Variable):
                continue
            if atom in self.inner:
                pending += reversed(self.inner[atom].args)
            else:
                found[atom] = self.leaves[atom]
        return found

    def renamed(self, names: Mapping[Variable, Name]) -> Element:
        """The same, with other names for some of the arrays that its leaves are elements of."""
        leaves = {
            v: replace(leaf, name=names[leaf.variable].at(leaf.index))
            if leaf.variable is not None and leaf.variable in names
            else leaf
            for v, leaf in self.own_leaves().items()
        }
        return replace(self, leaves=leaves)

    def evaluate(self, numbers: Mapping[Variable, Any]) -> tuple[float, float]:
        """The value for these numbers at the leaves, and the largest magnitude on the way."""
        known: dict[Variable, Any] = dict(numbers)
        largest = 0.0

        def value(atom: Atom) -> Any:
            nonlocal largest
            if not isinstance(atom, Variable):
                return atom
            if atom not in known:
                equation = self.inner[atom]
                args = [value(argument) for argument in equation.args]
                if equation.name in _ARITHMETIC:  # in which True is 1
                    args = [float(argument) for argument in args]
                known[atom] = equation.primitive.evaluate(*map(np.asarray, args), **equation.params)
            size = abs(float(known[atom]))
            largest = size if math.isnan(size) else max(largest, size)
            return known[atom]

        with np.errstate(all="ignore"):
            return float(value(self.root)), largest


@final
class Elements:
    """Writes elements of a record's values in elements of other values, its `leaves`.

    A sum of more than `most_terms` terms keeps the largest, and one number for all others.
    """

    def __init__(
        self,
        record: Record,
        is_leaf: Callable[[Variable], bool],
        name: Callable[[Variable], Name],
        most_terms: int,
    ) -> None:
        self._is_leaf = is_leaf
        self._name = name
        self._most_terms = most_terms
        self._value_of = record.value_of
        self._makers = record.graph.makers()
        self._inner: dict[Variable, Equation] = {}
        self._leaves: dict[Variable, Leaf] = {}
        self._known: dict[tuple[Variable, Index], Atom] = {}
        self._opened: dict[Variable, _Opened | None] = {}
        self._values: dict[Variable, Any] = {}
        self._same: dict[Variable, Atom] = {}
        self._maps: dict[Variable, LinearMap | None] = {}

    def element(self, variable: Variable, index: Index) -> Element:
        """The element at an index, as its own equation has it."""
        equation = self._makers.get(variable)
        if equation is None:
            root: Atom = self._leaf(variable, index)
        else:
            root = self._cut(equation, index)
        return Element(root, self._inner, self._leaves)

    def factor(self, element: Element, leaf: Variable) -> Element | None:
        """What a leaf is multiplied by in an element; None where it does not stand as a factor."""
        try:
            root = self._factor(element.root, leaf)
        except _NotLinearError:
            return None
        return None if root is None else Element(root, self._inner, element.leaves)

    def constant(self, element: Element, value: float, n_terms: int = 0) -> Element:
        """The element and a number added to it."""
        extra = Variable((), _NUMBER)
        leaves = {**element.own_leaves(), extra: Leaf(value, n_terms=n_terms)}
        return Element(self._number(add, element.root, extra), self._inner, leaves)

    # From arrays to elements

    def _value(self, atom: Atom) -> Any:
        if isinstance(atom, Variable) and atom in self._values:
            return self._values[atom]
        return self._value_of(atom)

    def _element(self, atom: Atom, index: Index) -> Atom:
        while isinstance(atom, Variable) and atom in self._same:
            atom = self._same[atom]
        if not isinstance(atom, Variable):
            return atom
        maker = self._makers.get(atom)
        if maker is None or (atom not in self._values and self._is_leaf(atom)):
            return self._leaf(atom, index)
        key = (atom, index)
        if key not in self._known:
            self._known[key] = self._cut(maker, index)
        return self._known[key]

    def _leaf(self, variable: Variable, index: Index) -> Variable:
        key = (variable, (-1, *index))
        known = self._known.get(key)
        if not isinstance(known, Variable):
            value = np.asarray(self._value(variable))[index]
            known = self._known[key] = Variable((), _NUMBER)
            maker = self._makers.get(variable)
            if variable not in self._values:
                name = self._name(variable)
            else:  # within a primitive that was opened
                name = Name("constant" if maker is None else f"{maker.primitive.name}(…)")
            self._leaves[known] = Leaf(value, name.at(index), variable, index)
        return known

    def _cut(self, equation: Equation, index: Index) -> Atom:
        """The element of what an equation makes."""
        primitive, args = equation.primitive, equation.args
        if equation.name in _SAME:
            return self._element(args[0], index)
        if equation.name == "where":
            chosen = args[1 if _at(self._value(args[0]), index) else 2]
            return self._element(chosen, _within(self._value(chosen), index))
        is_elementwise = _is_elementwise(equation)
        opened = self._open(equation) if primitive.is_fused and not is_elementwise else None
        has_arrays = any(np.ndim(v) for v in equation.params.values() if isinstance(v, np.ndarray))
        if (is_elementwise or (opened and opened.is_elementwise)) and not has_arrays:
            own = [self._element(a, _within(self._value(a), index)) for a in args]
            cut = with_parameters(equation)
            return self._number(cut.primitive, *own, *cut.args[len(own) :], **cut.params)
        if opened is not None:
            return self._element(opened.out, index)
        found = self._sum_of(equation, index)
        return self._leaf(equation.out, index) if found is None else found

    def _open(self, equation: Equation) -> _Opened | None:
        """A fused primitive as the equations it is written in; None where it cannot be."""
        if equation.out not in self._opened:
            try:
                self._opened[equation.out] = self._opened_anew(equation)
            except Exception:  # a function of the user's own that cannot be recorded
                self._opened[equation.out] = None
        return self._opened[equation.out]

    def _opened_anew(self, equation: Equation) -> _Opened | None:
        recorder = Recorder()
        own: list[Any] = []
        for argument in equation.args:
            if isinstance(argument, Variable):
                started = recorder.start(np.asarray(self._value(argument)), "")
                self._same[started.variable] = argument
                own.append(started)
            else:
                own.append(argument)
        with np.errstate(all="ignore"):
            out = equation.primitive.evaluate(*own, **equation.params)
        if not isinstance(out, RecordedArray) or not recorder.recording.equations:
            return None
        equations = recorder.graph([], [out]).equations
        self._makers |= {inner.out: inner for inner in equations}
        self._values |= recorder.values
        return _Opened(out.variable, all(map(_is_elementwise, equations)))

    def _sum_of(self, equation: Equation, index: Index) -> Atom | None:
        """The element as a sum of products, or as one of the elements that the equation picks."""
        if self._linear(equation) is None:
            return None
        terms = self._terms(equation, index)
        if len(terms) > self._most_terms:
            terms = _largest(terms, self._most_terms - 1)
        return self._added([self._product(maker, term) for maker, term in terms])

    def _linear(self, equation: Equation) -> LinearMap | None:
        out = equation.out
        if out not in self._maps:
            values = [self._value(argument) for argument in equation.args]
            self._maps[out] = linear_map(equation, values)
        return self._maps[out]

    def _terms(self, equation: Equation, index: Index) -> list[_Made]:
        """The terms of a sum, and for each that is itself a sum written out here, its own."""
        linear = self._linear(equation)
        assert linear is not None
        found: list[_Made] = []
        for term in linear.terms(index):
            (position, own), *others = term.factors
            maker = self._summed_by(equation.args[position])
            if others or term.factor != 1 or maker is None:
                found.append((equation, term))
            else:
                found += self._terms(maker, own)
        return found

    def _summed_by(self, atom: Atom) -> Equation | None:
        """The equation of a sum that has no line of its own."""
        while isinstance(atom, Variable) and atom in self._same:
            atom = self._same[atom]
        maker = self._makers.get(atom) if isinstance(atom, Variable) else None
        if maker is None or (maker.out not in self._values and self._is_leaf(maker.out)):
            return None
        is_other = maker.name in _SAME or maker.name == "where" or maker.primitive.is_fused
        return None if is_other or _is_elementwise(maker) or not self._linear(maker) else maker

    def _product(self, equation: Equation, term: Term) -> Atom:
        if term.n_terms:
            rest = Variable((), _NUMBER)
            self._leaves[rest] = Leaf(term.value, n_terms=term.n_terms)
            return rest
        factors = [self._element(equation.args[p], index) for p, index in term.factors]
        atoms: list[Atom] = [*([] if term.factor == 1 else [term.factor]), *factors]
        return reduce(lambda a, b: self._number(multiply, a, b), atoms)

    def _added(self, terms: list[Atom]) -> Atom:
        """The sum, as a tree: a chain of a thousand terms would be too deep to walk."""
        terms = [term for term in terms if isinstance(term, Variable) or term != 0]
        if not terms:
            return 0.0
        while len(terms) > 1:
            pairs = [terms[i : i + 2] for i in range(0, len(terms), 2)]
            terms = [self._number(add, *pair) if len(pair) == 2 else pair[0] for pair in pairs]
        return terms[0]

    def _number(self, primitive: Primitive, *args: Atom, **params: Any) -> Atom:
        """An equation over numbers, unless it is one that a reader would not write."""
        if primitive is multiply:
            for one, other in (args, args[::-1]):
                if not isinstance(one, Variable) and one in (0, 1):
                    return other if one == 1 else 0.0
        if primitive is add and not all(isinstance(a, Variable) or a for a in args):
            return args[1] if args[0] == 0 else args[0]
        if not any(isinstance(a, Variable) for a in args):
            return float(primitive.evaluate(*map(np.asarray, args), **params))
        out = Variable((), _NUMBER)
        self._inner[out] = Equation((out,), primitive, args, params)
        return out

    def _factor(self, atom: Atom, leaf: Variable) -> Atom | None:
        """What `leaf` is multiplied by in a number that is linear in it; None for nothing."""
        if atom is leaf:
            return 1
        equation = self._inner.get(atom) if isinstance(atom, Variable) else None
        if equation is None:
            return None
        found = [self._factor(argument, leaf) for argument in equation.args]
        if all(factor is None for factor in found):
            return None
        return self._factor_of(equation, found)

    def _factor_of(self, equation: Equation, found: list[Atom | None]) -> Atom:
        """The factor in a result, from the factors found in its arguments."""
        name, args = equation.name, equation.args
        one = found[0] if found[-1] is None else found[-1]
        if name == "negative" or (name == "subtract" and found[0] is None):
            assert one is not None
            return self._number(negative, one)
        if name in {"add", "subtract"}:
            return one if None in found else self._number(equation.primitive, *found)  # type: ignore[arg-type, return-value]
        if name == "multiply" and found[1] is None and found[0] is not None:
            return self._number(multiply, found[0], args[1])
        if name == "multiply" and found[0] is None and found[1] is not None:
            return self._number(multiply, args[0], found[1])
        if name == "divide" and found[1] is None and found[0] is not None:
            return self._number(equation.primitive, found[0], args[1])
        raise _NotLinearError


class _NotLinearError(Exception):
    pass


_Made = tuple[Equation, Term]  # a term, and the equation that it is a term of


def _largest(terms: list[_Made], n_kept: int) -> list[_Made]:
    """The largest terms, in their order, and one for all others."""
    sizes = np.array([abs(term.value) for _, term in terms])
    order = np.argsort(np.where(np.isnan(sizes), -np.inf, -sizes), kind="stable")
    kept = sorted(order[:n_kept].tolist())
    others = [terms[i][1].value for i in sorted(set(range(len(terms))) - set(kept))]
    with np.errstate(all="ignore"):
        total = math.fsum(others) if np.isfinite(others).all() else float(np.sum(others))
    rest = (terms[0][0], Term(total, (), total, len(others)))
    return [*(terms[i] for i in kept), rest]


@dataclass(frozen=True)
class _Opened:
    """A fused primitive's own equations: their result, and whether all are elementwise."""

    out: Variable
    is_elementwise: bool


def _is_elementwise(equation: Equation) -> bool:
    return equation.primitive.elementwise or equation.name in _OF_ELEMENTS | _SAME


def _within(value: Any, index: Index) -> Index:
    """The index of the element that broadcasting puts at this one."""
    shape = np.shape(value)
    own = index[len(index) - len(shape) :]
    return tuple(0 if size == 1 else i for i, size in zip(own, shape, strict=True))


def _at(value: Any, index: Index) -> Any:
    return np.asarray(value)[_within(value, index)]
