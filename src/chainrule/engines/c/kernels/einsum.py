"""Sums of products by letters: one loop for each, two operands at a time where there are more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from chainrule.compiler.graph import Equation, Variable
from chainrule.engines.c.access import Access, contiguous_strides
from chainrule.engines.c.blocks import block, looped
from chainrule.engines.c.expressions import Operand, cast
from chainrule.engines.c.kernels.kernel import Kernel

__all__ = ["KERNELS", "einsum"]


@dataclass(frozen=True)
class _Contraction:
    """One sum of products: the operands by number, those made on the way counting on, the letters
    of each, and those of the result.
    """

    operands: tuple[int, ...]
    terms: tuple[str, ...]
    result: str


def _contractions(equation: Equation) -> tuple[list[_Contraction], dict[str, int]]:
    """The sums to be done one after the other, and how long the loop over each letter is."""
    subscripts = equation.params["subscripts"]
    left, _, result = subscripts.partition("->")
    terms = left.split(",")
    shapes = [atom.shape if isinstance(atom, Variable) else () for atom in equation.args]
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for letter, size in zip(term, shape, strict=True):
            sizes[letter] = size if sizes.get(letter, 1) == 1 else sizes[letter]
    if len(terms) <= 2:
        return [_Contraction(tuple(range(len(terms))), tuple(terms), result)], sizes
    likes = [np.broadcast_to(np.zeros(()), shape) for shape in shapes]
    path = np.einsum_path(subscripts, *likes, optimize="greedy")[0][1:]
    waiting = list(enumerate(terms))
    steps: list[_Contraction] = []
    for pair in path:
        chosen = [waiting[position] for position in pair]
        waiting = [one for one in waiting if one not in chosen]
        wanted = result + "".join(term for _, term in waiting)
        letters = dict.fromkeys("".join(term for _, term in chosen))
        made = "".join(letter for letter in letters if letter in wanted)
        made = made if waiting else result
        numbers, own = zip(*chosen, strict=True)
        steps.append(_Contraction(numbers, own, made))
        waiting.append((len(terms) + len(steps) - 1, made))
    return steps, sizes


def _workspace(equation: Equation) -> int:
    """The elements of all that is made on the way."""
    steps, sizes = _contractions(equation)
    return sum(prod(sizes[letter] for letter in step.result) for step in steps[:-1])


def einsum(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The sums of products one after the other, the last into the result."""
    *values, out = arrays
    steps, sizes = _contractions(equation)
    start = 0
    lines: list[str] = []
    for step in steps:
        shape = tuple(sizes[letter] for letter in step.result)
        target = Access(out.pointer, out.dtype, shape, contiguous_strides(shape))
        if step is not steps[-1]:
            target = Access("workspace", out.dtype, shape, target.strides, start)
            start += target.size
        operands = [values[number] for number in step.operands]
        lines += _sum_of_products(operands, step, target, sizes)
        values.append(target)
    return lines


def _sum_of_products(
    operands: list[Access], step: _Contraction, target: Access, sizes: dict[str, int]
) -> list[str]:
    """One of them as loops: over the letters of the result, then over those that are summed.

    Where the last letter of the result runs along rows and the summed ones do not, its loop is the
    innermost one, which adds to a row of the result.
    """
    if not target.size:
        return []
    summed = [x for x in dict.fromkeys("".join(step.terms)) if x not in step.result]
    steps = [
        {
            letter: stride if size > 1 else 0
            for letter, size, stride in zip(term, operand.shape, operand.strides, strict=True)
        }
        for term, operand in zip(step.terms, operands, strict=True)
    ]

    def is_row(letter: str) -> bool:
        return all(own.get(letter, 0) in {0, 1} for own in steps)

    summed = [letter for letter in summed if sizes[letter] != 1]
    summed.sort(key=is_row)
    result = [letter for letter in step.result if sizes[letter] != 1]
    adds_to_row = bool(summed and result and not is_row(summed[-1]) and is_row(result[-1]))
    names = {letter: f"{letter}_" if letter in "xyz" else letter for letter in sizes}
    factors = []
    for own, operand in zip(steps, operands, strict=True):
        used = Access(operand.pointer, operand.dtype, (), tuple(own.values()), operand.start)
        place = used.at(*(names[letter] for letter in own))
        factors.append(cast(Operand(place, operand.dtype), target.dtype))
    is_bool = target.dtype.kind == "b"
    binding = 3 if is_bool else 7
    single = factors[0].text if len(factors) == 1 else ""
    value = single or f" {'&' if is_bool else '*'} ".join(f.within(binding) for f in factors)
    place = target.at(*(names[x] if sizes[x] != 1 else "0" for x in step.result))
    plus = "|=" if is_bool else "+="

    def loops(letters: list[str]) -> list[tuple[str, int]]:
        return [(names[letter], sizes[letter]) for letter in letters]

    if not summed:
        return looped(loops(result), [f"{place} = {value};"])
    if adds_to_row:
        row = loops(result[-1:])
        lines = [
            *looped(row, [f"{place} = 0;"]),
            *looped([*loops(summed), *row], [f"{place} {plus} {value};"]),
        ]
        return looped(loops(result[:-1]), lines) if len(result) > 1 else lines
    kind = target.c_type
    wide = "double" if kind == "float" and prod(sizes[x] for x in summed) >= _LONG_SUM else kind
    simd = "#pragma omp simd reduction(+ : total)" if target.dtype.kind == "f" else ""
    lines = [
        f"{wide} total = 0;",
        *looped(loops(summed), [f"total {plus} {value};"], simd),
        f"{place} = {'' if wide == kind else f'({kind})'}total;",
    ]
    return looped(loops(result), lines) if result else block("", lines)


_LONG_SUM = 4096
"""Terms of a sum of floats from which on it is added up in double."""


KERNELS = {"einsum": Kernel(einsum, workspace=_workspace)}
