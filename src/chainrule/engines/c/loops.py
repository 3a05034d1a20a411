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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

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


@dataclass
class _Body:
    """The lines of the innermost loop while they are written."""

    lines: list[str] = field(default_factory=list)
    known: dict[Variable, Operand] = field(default_factory=dict)


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
    body = _body(nest, merged, reductions, loops)
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


def _body(
    nest: Nest,
    arrays: Mapping[tuple[Variable, bool], Access],
    reductions: Sequence[_Reduction],
    loops: Sequence[str],
) -> _Body:
    """What is done at each place of the space."""
    body = _Body()
    counts: dict[Variable, int] = {}
    for equation in nest.equations:
        for variable in equation.variables:
            counts[variable] = counts.get(variable, 0) + 1
    by_out = {reduction.equation.out: reduction for reduction in reductions}
    written = {access.pointer for (_, is_written), access in arrays.items() if is_written}

    def read(equation: Equation, position: int, atom: Atom) -> Operand:
        if not isinstance(atom, Variable):
            return number_as_operand(atom, equation, position)
        if atom in body.known:
            return body.known[atom]
        if not atom.is_array:
            return nest.number(atom)
        access = arrays[atom, False]
        operand = Operand(access.at(*loops), atom.dtype)
        if counts[atom] > 1 or access.pointer in written:
            name = nest.local(atom)
            body.lines.append(f"const {c_type(atom.dtype)} {name} = {operand.text};")
            operand = Operand(name, atom.dtype)
        body.known[atom] = operand
        return operand

    def named(operand: Operand, equation: Equation) -> Operand:
        if operand.text.isidentifier():
            return operand
        name = nest.local(equation.out)
        body.lines.append(f"const {c_type(operand.dtype)} {name} = {operand.text};")
        return Operand(name, operand.dtype)

    def shorter(operands: list[Operand], equation: Equation) -> list[Operand]:
        """The operands, those that are formulas by names where they fill a line together."""
        if sum(len(operand.text) for operand in operands) <= _LONGEST_INLINE:
            return operands
        for i, atom in enumerate(equation.args):
            if isinstance(atom, Variable) and " " in operands[i].text.partition("[")[0]:
                name = nest.local(atom)
                body.lines.append(f"const {c_type(atom.dtype)} {name} = {operands[i].text};")
                operands[i] = Operand(name, atom.dtype)
        return operands

    for equation in nest.equations:
        operands = [read(equation, i, atom) for i, atom in enumerate(equation.args)]
        if equation.name in _READ_TWICE:
            operands = [named(operand, equation) for operand in operands]
        operands = shorter(operands, equation)
        out = equation.out
        if out in by_out:
            reduction = by_out[out]
            x = operands[0]
            if equation.name == "vdot":
                a, b = (cast(operand, out.dtype) for operand in operands)
                if reduction.dtype == "double" and out.dtype.itemsize == 4:
                    a = Operand(f"(double){a.within(8)}", a.dtype, 8)
                x = Operand(f"{a.within(6)} * {b.within(7)}", out.dtype, 7)
            elif equation.name not in {"any", "all"}:
                x = cast(x, out.dtype)
            target = reduction.total or reduction.result.at(*loops)
            body.lines.append(combine(equation.name, target, x))
            continue
        if raises_below_0(equation):
            body.lines += [f"if ({operands[1].within(5)} < 0)", "    return 1;"]
        made = element(equation, operands)
        store = arrays.get((out, True))
        is_short = counts.get(out, 0) == 1 and len(made.text) <= _LONGEST_INLINE
        if store is not None and not counts.get(out):
            body.lines.append(f"{store.at(*loops)} = {made.text};")
            continue
        if store is not None or not is_short:
            name = nest.local(out)
            body.lines.append(f"const {c_type(out.dtype)} {name} = {made.text};")
            made = Operand(name, out.dtype)
        if store is not None:
            body.lines.append(f"{store.at(*loops)} = {made.text};")
        body.known[out] = made
    return body


def _around(
    nest: Nest,
    extents: list[int],
    loops: list[str],
    body: _Body,
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
    inner = [*before.get(depth, []), *body.lines, *after.get(depth, [])]
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
