"""One loop nest as lines of C: loads, arithmetic in local variables, sums, stores.

    for (long i = 0; i < 64; i++)
        for (long j = 0; j < 10; j++) {
            const float d_z2 = (a2[10 * i + j] - y[10 * i + j]) * ...;
            d_b2[j] += d_z2;
        }

Axes along which every array steps alike are one loop. A reduction over the innermost axes is a
local variable; one over others is added up in the memory of its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import final

from chainrule.compiler.graph import Atom, Equation, Variable
from chainrule.engines.c.access import Access, collapse, contiguous_strides
from chainrule.engines.c.blocks import block, count, filled, indented
from chainrule.engines.c.expressions import (
    Operand,
    cast,
    combine,
    element,
    number_as_operand,
    raises_below_0,
    start_value,
)
from chainrule.engines.c.indices import INDICES
from chainrule.engines.c.nests import REDUCTIONS, nest_space
from chainrule.engines.c.sharing import TASKS, shares_elements
from chainrule.engines.c.types import c_type
from chainrule.primitives.reduce import reduced_axes

__all__ = ["Nest", "nest_lines"]

_READ_TWICE = {"square", "absolute"}
"""What reads its operand more than once, which so gets a name."""

_LONGEST_INLINE = 60  # characters of a value that is written where it is read, instead of named
_LONG_SUM = 256
"""Elements of a sum from which on float is added up in double, for NumPy adds up in pairs."""


@dataclass(frozen=True)
class Nest:
    """What a nest needs to know: its equations, where values stand, and what they are called.

    `access` gives the memory of a value, None for one that lives in the loop alone; `number` the
    text of a Python number; `local` a new name for a variable in the loop, after that of a value;
    `share` is called where the nest is divided in parts.
    """

    equations: Sequence[Equation]
    access: Callable[[Variable], Access | None]
    number: Callable[[Variable], Operand]
    local: Callable[[Variable], str]
    share: Callable[[], None]


@dataclass
class _Reduction:
    """A reduction in a nest: its result read over the space, with steps of 0 where it adds up."""

    equation: Equation
    result: Access
    total: str = ""
    depth: int = 0  # loops around its local variable; -1: there is none
    adds_to_memory: bool = False
    dtype: str = ""


def nest_lines(nest: Nest) -> list[str]:
    """The nest as C."""
    space = nest_space(nest.equations[0])
    arrays, reductions = _accesses(nest, space)
    if not prod(space):
        return _empty(reductions)
    extents, steps = collapse(space, [*arrays.values(), *(r.result for r in reductions)])
    merged = dict(zip(arrays, steps, strict=False))
    for reduction, access in zip(reductions, steps[len(arrays) :], strict=True):
        reduction.result = access
    loops = INDICES[: len(extents)]
    _place_reductions(nest, reductions, extents)
    body = _Body(nest, merged, reductions, loops).lines
    is_shared = _is_shared(nest, extents, reductions)
    if is_shared:
        nest.share()
    return _around(nest, extents, loops, body, reductions, is_shared)


def _is_shared(nest: Nest, extents: Sequence[int], reductions: Sequence[_Reduction]) -> bool:
    """Whether the outermost loop is divided among threads: a long nest, none of whose rounds of
    that loop adds to what another one does, or leaves the function.
    """
    if not extents or not shares_elements(prod(extents), extents[0]):
        return False
    adds = any(reduction.result.strides[0] == 0 for reduction in reductions)
    return not adds and not _may_fail(nest)


def _may_fail(nest: Nest) -> bool:
    """Whether a round may leave the function, as none may of a loop that OpenMP has to do with."""
    return any(raises_below_0(equation) for equation in nest.equations)


def _accesses(
    nest: Nest, space: tuple[int, ...]
) -> tuple[dict[tuple[Variable, bool], Access], list[_Reduction]]:
    """The arrays that are read (False) and written (True), over the whole space."""
    arrays: dict[tuple[Variable, bool], Access] = {}
    reductions: list[_Reduction] = []
    made = {out for e in nest.equations if e.name not in REDUCTIONS for out in e.outs}
    for equation in nest.equations:
        for variable in equation.variables:
            if variable.is_array and variable not in made:
                access = nest.access(variable)
                assert access is not None, f"{equation.name} reads what stands nowhere"
                arrays[variable, False] = access.broadcast(space)
        out = nest.access(equation.out)
        if equation.name in REDUCTIONS:
            assert out is not None
            result = _over_space(equation, out, space)
            reductions.append(_Reduction(equation, result))
        elif out is not None:
            arrays[equation.out, True] = out.broadcast(space)
    return arrays, reductions


def _over_space(equation: Equation, out: Access, space: tuple[int, ...]) -> Access:
    """The result of a reduction, as the nest steps through it: not at all along what it sums."""
    axes = (
        range(len(space))
        if equation.name == "vdot"
        else reduced_axes(len(space), equation.params.get("axis"))
    )
    kept = [axis for axis in range(len(space)) if axis not in axes]
    steps = dict(zip(kept, contiguous_strides([space[axis] for axis in kept]), strict=True))
    strides = tuple(steps.get(axis, 0) for axis in range(len(space)))
    return Access(out.pointer, out.dtype, space, strides, out.start)


def _place_reductions(nest: Nest, reductions: list[_Reduction], extents: list[int]) -> None:
    """Where each reduction is added up: in a variable within so many loops, or in its memory."""
    for reduction in reductions:
        strides, equation = reduction.result.strides, reduction.equation
        trailing = 0
        while trailing < len(extents) and strides[len(extents) - 1 - trailing] == 0:
            trailing += 1
        depth = len(extents) - trailing
        reduction.depth = depth if trailing or not extents else -1
        reduction.adds_to_memory = any(step == 0 for step in strides[:depth])
        kind = c_type(equation.out.dtype)
        is_long = prod(extents[depth:]) >= _LONG_SUM and equation.name in {"sum", "vdot"}
        reduction.dtype = "double" if kind == "float" and is_long else kind
        if reduction.depth >= 0:
            reduction.total = nest.local(equation.out)


@final
class _Body:
    """The lines of the innermost loop: what is done at each place of the space."""

    def __init__(
        self,
        nest: Nest,
        arrays: Mapping[tuple[Variable, bool], Access],
        reductions: Sequence[_Reduction],
        indices: Sequence[str],
    ) -> None:
        self.lines: list[str] = []
        self._nest = nest
        self._arrays = arrays
        self._indices = indices
        self._known: dict[Variable, Operand] = {}
        self._n_reads = Counter(v for equation in nest.equations for v in equation.variables)
        self._written = {array.pointer for (_, is_written), array in arrays.items() if is_written}
        by_out = {reduction.equation.out: reduction for reduction in reductions}
        for equation in nest.equations:
            operands = self._operands(equation)
            if equation.out in by_out:
                self._add_up(by_out[equation.out], operands)
            else:
                self._compute(equation, operands)

    def _operands(self, equation: Equation) -> list[Operand]:
        """What an equation reads; formulas by names, where they fill a line together."""
        operands = [self._read(equation, i, atom) for i, atom in enumerate(equation.args)]
        if equation.name in _READ_TWICE and not operands[0].text.isidentifier():
            operands = [self._named(equation.out, operands[0])]
        if sum(len(operand.text) for operand in operands) <= _LONGEST_INLINE:
            return operands
        return [
            self._named(atom, operand)
            if isinstance(atom, Variable) and " " in operand.text.partition("[")[0]
            else operand
            for atom, operand in zip(equation.args, operands, strict=True)
        ]

    def _read(self, equation: Equation, position: int, atom: Atom) -> Operand:
        if not isinstance(atom, Variable):
            return number_as_operand(atom, equation, position)
        if atom in self._known:
            return self._known[atom]
        if not atom.is_array:
            return self._nest.number(atom)
        array = self._arrays[atom, False]
        operand = Operand(array.at(*self._indices), atom.dtype)
        if self._n_reads[atom] > 1 or array.pointer in self._written:
            operand = self._named(atom, operand)
        self._known[atom] = operand
        return operand

    def _named(self, value: Variable, operand: Operand) -> Operand:
        """A local variable, called after a value, that holds the operand."""
        name = self._nest.local(value)
        self.lines.append(f"const {c_type(operand.dtype)} {name} = {operand.text};")
        return Operand(name, operand.dtype)

    def _add_up(self, reduction: _Reduction, operands: list[Operand]) -> None:
        """Take an element into a reduction."""
        name, out = reduction.equation.name, reduction.equation.out
        x = operands[0]
        if name == "vdot":
            a, b = (cast(operand, out.dtype) for operand in operands)
            if reduction.dtype == "double" and out.dtype.itemsize == 4:
                a = Operand(f"(double){a.within(8)}", a.dtype, 8)
            x = Operand(f"{a.within(6)} * {b.within(7)}", out.dtype, 7)
        elif name not in {"any", "all"}:
            x = cast(x, out.dtype)
        total = reduction.total or reduction.result.at(*self._indices)
        self.lines.append(combine(name, total, x))

    def _compute(self, equation: Equation, operands: list[Operand]) -> None:
        """An element of a result: stored, named, or kept as a formula that is written where it is
        read.
        """
        if raises_below_0(equation):
            self.lines += [f"if ({operands[1].within(5)} < 0)", "    return 1;"]
        out, made = equation.out, element(equation, operands)
        store, n_reads = self._arrays.get((out, True)), self._n_reads[out]
        if store is not None:
            made = self._named(out, made) if n_reads else made
            self.lines.append(f"{store.at(*self._indices)} = {made.text};")
        elif n_reads != 1 or len(made.text) > _LONGEST_INLINE:
            made = self._named(out, made)
        self._known[out] = made


def _around(
    nest: Nest,
    extents: list[int],
    loops: list[str],
    body: Sequence[str],
    reductions: Sequence[_Reduction],
    is_shared: bool,
) -> list[str]:
    """The loops around the body, and what stands before and after each of them."""
    before: dict[int, list[str]] = {}
    after: dict[int, list[str]] = {}
    start: list[str] = []
    for reduction in reductions:
        name, result = reduction.equation.name, reduction.result
        zero = start_value(name, reduction.equation.out.dtype)
        if reduction.adds_to_memory or reduction.depth < 0:
            start += _filled(reduction, zero)
        if reduction.depth < 0:
            continue
        first = zero[:-1] if reduction.dtype == "double" and zero.endswith("f") else zero
        before.setdefault(reduction.depth, []).append(
            f"{reduction.dtype} {reduction.total} = {first};"
        )
        place = result.at(*loops[: reduction.depth], *("0" for _ in extents[reduction.depth :]))
        total = Operand(reduction.total, reduction.equation.out.dtype)
        if reduction.dtype != c_type(total.dtype):
            total = Operand(f"({c_type(total.dtype)}){total.text}", total.dtype, 8)
        line = (
            combine(name, place, total) if reduction.adds_to_memory else f"{place} = {total.text};"
        )
        after.setdefault(reduction.depth, []).append(line)
    lines: list[str] = []
    depth = len(extents)
    inner = [*before.get(depth, []), *body, *after.get(depth, [])]
    for level in reversed(range(depth)):
        head = count(loops[level], extents[level], kind="long")
        is_simd = level == depth - 1 and extents[level] > 1 and not _may_fail(nest)
        pragma = _pragma(reductions) if is_simd else []
        if is_shared and not level:
            pragma = [TASKS.replace("taskloop", "taskloop simd") if pragma else TASKS]
        loop = block(head, inner) if len(inner) > 1 else [head, *indented(inner)]
        inner = [*before.get(level, []), *pragma, *loop, *after.get(level, [])]
    lines = [*start, *inner]
    declares = any(
        line.startswith(("const ", "float ", "double ", "bool ", "int", "uint")) for line in lines
    )
    return block("", lines) if declares else lines


def _pragma(reductions: Sequence[_Reduction]) -> list[str]:
    """What tells the compiler that no round of the innermost loop needs another's results, but for
    sums, which may be added up in any order; of other local reductions it knows too little.
    """
    local = [r for r in reductions if r.depth >= 0]
    if not all(r.equation.name in {"sum", "vdot"} for r in local):
        return []
    sums = ", ".join(r.total for r in local)
    return [f"#pragma omp simd reduction(+ : {sums})" if sums else "#pragma omp simd"]


def _filled(reduction: _Reduction, zero: str) -> list[str]:
    """The memory of a result set to what its reduction starts from."""
    size = reduction.equation.out.size
    return filled(replace(reduction.result, shape=(size,), strides=(1,)), zero)


def _empty(reductions: Sequence[_Reduction]) -> list[str]:
    """A nest over a space without elements: its sums are what they start from."""
    lines: list[str] = []
    for reduction in reductions:
        if reduction.equation.out.size:
            zero = start_value(reduction.equation.name, reduction.equation.out.dtype)
            lines += _filled(reduction, zero)
    return lines
