"""Which elements of its arguments a linear primitive adds up for one element of its result.

Its vjp rule knows: handed a 1 at the element and 0 elsewhere, it gives the factor of each element
of an argument. In a product of two arguments the factors are elements of the other one, and the
rule says which when it is handed their positions for their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from chainrule.autodiff import vjp
from chainrule.compiler.graph import Equation
from chainrule.primitives.dispatch import Array
from chainrule.see.explain.names import Index

__all__ = ["LinearMap", "Term", "linear_map"]

Pull = Callable[[np.ndarray], tuple[np.ndarray, ...]]


@final
@dataclass(frozen=True)
class Term:
    """A product in a sum: a number times elements of arguments, each by position and index.

    `value` is what it comes to; with `n_terms` it stands for so many others.
    """

    factor: float
    factors: tuple[tuple[int, Index], ...]
    value: float
    n_terms: int = 0


@final
@dataclass
class LinearMap:
    """A primitive that adds up elements of its arguments.

    `bases` are the arguments whose elements it adds up one by one, `product` those whose elements
    it multiplies and then adds up. A primitive that `picks` gives one of the elements of its base.
    """

    equation: Equation
    values: Sequence[Any]
    bases: Sequence[int] = ()
    product: Sequence[int] = ()
    picks: bool = False
    _pulls: dict[tuple[int, Any], Pull] = field(default_factory=dict)

    def terms(self, index: Index) -> list[Term]:
        """The terms whose sum is the element of the result at an index."""
        if self.picks:
            base = self.bases[0]
            place = np.argwhere(self._pulled(base, index))[0]
            own = tuple(int(i) for i in place)
            return [Term(1, ((base, own),), float(self.values[base][own]))]
        products = self._products(index) if self.product else []
        return products + [term for base in self.bases for term in self._multiples(base, index)]

    def _multiples(self, base: int, index: Index) -> list[Term]:
        """The elements of a base, each times a number."""
        value, factors = self.values[base], self._pulled(base, index)
        return [
            Term(float(factors[place]), ((base, place),), float(factors[place] * value[place]))
            for place in map(_index, np.argwhere(factors))
        ]

    def _products(self, index: Index) -> list[Term]:
        """The products of an element of each argument in `product`."""
        base, *partners = self.product
        counts = self._pulled(base, index, "ones")
        if not partners or not np.isin(counts, (0, 1)).all():
            return self._multiples(base, index)  # one meets several of another's
        places = {base: np.argwhere(counts)}
        for partner in partners:
            positions = self._pulled(base, index, partner)[tuple(places[base].T)]
            flat = np.broadcast_to(np.rint(positions).astype(int) - 1, len(places[base]))
            places[partner] = np.argwhere(np.ones(self.values[partner].shape))[flat]
        factors = [  # a number has one place for all
            np.broadcast_to(self.values[p][tuple(own.T)], len(own)) for p, own in places.items()
        ]
        with np.errstate(all="ignore"):
            sizes = np.prod(factors, axis=0)
        return [
            Term(1, tuple((p, _index(places[p][k])) for p in sorted(places)), float(sizes[k]))
            for k in range(len(sizes))
        ]

    def _pulled(self, base: int, index: Index, told: Any = None) -> np.ndarray:
        """The factors of the base's elements in one element of the result.

        The others of the product hold their values, or 1 (`told` is "ones"), or one of them, whose
        number `told` is, the positions of its elements, counted from 1.
        """
        if (base, told) not in self._pulls:
            values = list(self.values)
            for partner in self.product if told is not None else ():
                if partner == base:
                    continue
                ones = np.ones(np.shape(values[partner]))
                values[partner] = ones if partner != told else np.cumsum(ones).reshape(ones.shape)
            _, self._pulls[base, told] = vjp(_by(self.equation, values, base), values[base])
        at_index = np.zeros(self.equation.out.shape)
        at_index[index] = 1
        (factors,) = self._pulls[base, told](at_index)
        return np.asarray(factors)


def linear_map(equation: Equation, values: Sequence[Any]) -> LinearMap | None:
    """The sums an equation takes of its arguments, which have these values; None for no sums."""
    primitive = equation.primitive
    values = [_as_doubles(value) for value in values]
    positions = [
        p
        for p, value in enumerate(values)
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and primitive.rule(p)
    ]
    try:
        with np.errstate(all="ignore"):
            return _linear_map(equation, values, positions)
    except Exception:  # a primitive of the user's own that does not take what it is tried with
        return None


def _linear_map(equation: Equation, values: list[Any], positions: list[int]) -> LinearMap | None:
    trait = equation.primitive.linear
    if not positions:
        return None
    if trait == "jointly":
        return LinearMap(equation, values, positions)
    if trait == "first":
        return LinearMap(equation, values, [0]) if positions[0] == 0 else None
    if trait == "each":
        return LinearMap(equation, values, product=positions)
    straight = [p for p in positions if _is_straight(equation, values, p)]
    if not straight:
        picking = LinearMap(equation, values, positions[:1], picks=True)
        return picking if len(positions) == 1 and _picks(picking) else None
    at_0 = [np.zeros_like(v) if p in straight else v for p, v in enumerate(values)]
    if np.any(equation.primitive(*at_0, **equation.params)):
        return None
    alone = [p for p in straight if np.any(_by(equation, at_0, p)(np.ones_like(values[p])))]
    others = [p for p in straight if p not in alone]
    return LinearMap(equation, values, alone, others)


def _is_straight(equation: Equation, values: list[Any], position: int) -> bool:
    """Whether f(a + b) + f(0) = f(a) + f(b) in one argument, tried with random numbers."""
    rng = np.random.default_rng(position)
    f = _by(equation, values, position)
    a, b = rng.normal(size=(2, *values[position].shape))
    left = np.asarray(f(a + b)) + np.asarray(f(np.zeros_like(a)))
    right = np.asarray(f(a)) + np.asarray(f(b))
    scale = np.max(np.abs(right), initial=0.0)
    return bool(np.isfinite(left).all() and np.all(np.abs(left - right) <= 1e-9 * scale))


def _picks(picking: LinearMap) -> bool:
    """Whether each element of the result is one of the argument's, tried at the largest."""
    (base,) = picking.bases
    value = picking.values[base]
    out = np.asarray(_by(picking.equation, picking.values, base)(value))
    for flat in {0, out.size - 1} if out.size else ():
        index = tuple(int(i) for i in np.unravel_index(flat, out.shape))
        factors = picking._pulled(base, index)
        chosen = value[factors != 0]
        if not np.isclose(factors.sum(), 1) or not (chosen == out[index]).all():
            return False
    return bool(out.size)


def _by(equation: Equation, values: Sequence[Any], position: int) -> Callable[[Array], Array]:
    """What the equation computes, as a function of one argument."""

    def f(argument: Array) -> Array:
        own = list(values)
        own[position] = argument
        return equation.primitive(*own, **equation.params)

    return f


def _as_doubles(value: Any) -> Any:
    """Floating point in double precision, in which positions are exact."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return array.astype(np.float64) if array.dtype.kind == "f" else array
    return value


def _index(place: np.ndarray) -> Index:
    return tuple(int(i) for i in place)
