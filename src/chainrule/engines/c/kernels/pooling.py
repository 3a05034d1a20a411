"""Maxima and sums over windows along one axis, as C loops for the shape.

An array is (outer, length, run): all axes before the one of the windows, that axis, and all behind
it, whose elements are neighbours in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import final

from chainrule.compiler.graph import Equation
from chainrule.engines.c.blocks import block, count, nest
from chainrule.engines.c.indices import affine
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.engines.c.kernels.pointers import c_type, pointer_kernel
from chainrule.engines.c.sharing import TASKS, shares_elements

__all__ = ["KERNELS"]


@final
@dataclass(frozen=True, slots=True)
class _Windows:
    """n windows of `size` along an axis of this length, in steps of `stride`."""

    outer: int
    length: int
    run: int
    n: int
    size: int
    stride: int
    ctype: str
    is_shared: bool

    @property
    def are_apart(self) -> bool:
        """Whether no element stands in two windows."""
        return self.stride >= self.size

    @property
    def are_all(self) -> bool:
        """Whether each element stands in exactly one window."""
        return self.stride == self.size and self.n * self.size == self.length

    def comment(self, formula: str) -> list[str]:
        place = f"{self.stride} * window" if self.stride > 1 else "window"
        return [
            f"/* {formula.format(place=place, window=f'{place} + m')}",
            f"   m = 0 ... {self.size - 1}, axis of {self.length}: ({self.outer}, {self.length}, "
            f"{self.run}) -> ({self.outer}, {self.n}, {self.run}) */",
        ]

    def at(self, m: int) -> str:
        """The index of element m of the window, of which `first` is element 0."""
        return affine((1, "first"), m * self.run, (1, "k"))

    def loops(self, body: list[str], before: list[str] | None = None) -> list[str]:
        """The body for every element of the result; it is number `to + k`."""
        first = affine((self.length * self.run, "o"), (self.stride * self.run, "window"))
        places = [
            f"int first = {first};",
            f"int to = {affine((self.n * self.run, 'o'), (self.run, 'window'))};",
            *block(count("k", self.run), body),
        ]
        windows = block(count("window", self.n), places)
        loop = block(count("o", self.outer), [*(before or []), *windows])
        return [TASKS, *loop] if self.is_shared else loop

    def clear(self, out: str) -> list[str]:
        """Zeros for what windows are added to, or what stands in none."""
        if self.are_all:
            return []
        size = self.length * self.run
        return nest([count("k", size)], f"{out}[{affine((size, 'o'), (1, 'k'))}] = 0;")


def _write_max(this: _Windows, pointers: Sequence[str]) -> list[str]:
    x, out = pointers
    body = [f"{this.ctype} largest = {x}[{this.at(0)}];"]
    for m in range(1, this.size):
        part = f"part{m}"
        body.append(f"{this.ctype} {part} = {x}[{this.at(m)}];")
        body.append(f"largest = {part} > largest || {part} != {part} ? {part} : largest;")
    body.append(f"{out}[to + k] = largest;")
    return this.comment("$1[o, window, k] = largest over m of $0[o, {window}, k]") + this.loops(
        body
    )


def _following(this: _Windows, x: str) -> list[str]:
    """For each element of a window but the last: the largest of those that follow it."""
    T, size = this.ctype, this.size
    if size == 1:
        return [f"(void){x};"]
    lines = [f"{T} part{m} = {x}[{this.at(m)}];" for m in range(size)]
    for m in range(size - 2, -1, -1):
        if m == size - 2:
            lines.append(f"{T} after{m} = part{m + 1};")
            continue
        part, rest = f"part{m + 1}", f"after{m + 1}"
        lines.append(f"{T} after{m} = {part} > {rest} || {part} != {part} ? {part} : {rest};")
    return lines


def _write_max_vjp(this: _Windows, pointers: Sequence[str]) -> list[str]:
    g, x, out = pointers
    T = this.ctype
    body = [*_following(this, x), f"{T} rest = {g}[to + k];"]
    sign = "=" if this.are_apart else "+="
    for m in range(this.size - 1):
        body.append(f"{T} share{m} = part{m} >= after{m} ? rest : 0 * rest;")
        body.append(f"rest -= share{m};")
        body.append(f"{out}[{this.at(m)}] {sign} share{m};")
    body.append(f"{out}[{this.at(this.size - 1)}] {sign} rest;")
    return this.comment(
        "$2[o, {window}, k] = Σ $0[o, window, k] where $1[o, {window}, k] is the first largest"
    ) + this.loops(body, this.clear(out))


def _write_at(this: _Windows, pointers: Sequence[str]) -> list[str]:
    values, x, out = pointers
    T, last = this.ctype, this.size - 1
    body = _following(this, x)
    # All are read before one is chosen: GCC 12 reads wrongly where only some are.
    body += [f"{T} value{m} = {values}[{this.at(m)}];" for m in range(this.size)]
    body.append(f"{T} found = value{last};")
    for m in range(last - 1, -1, -1):
        body.append(f"found = part{m} >= after{m} ? value{m} : found;")
    body.append(f"{out}[to + k] = found;")
    return this.comment(
        "$2[o, window, k] = $0[o, {window}, k] where $1[o, {window}, k] is the first largest"
    ) + this.loops(body)


def _write_sum(this: _Windows, pointers: Sequence[str]) -> list[str]:
    x, out = pointers
    parts = " + ".join(f"{x}[{this.at(m)}]" for m in range(this.size))
    body = [f"{out}[to + k] = {parts};"]
    return this.comment("$1[o, window, k] = Σ(m) $0[o, {window}, k]") + this.loops(body)


def _write_sum_vjp(this: _Windows, pointers: Sequence[str]) -> list[str]:
    g, out = pointers
    sign = "=" if this.are_apart else "+="
    body = [f"{out}[{this.at(m)}] {sign} {g}[to + k];" for m in range(this.size)]
    return this.comment("$1[o, {window}, k] = Σ $0[o, window, k]") + this.loops(
        body, this.clear(out)
    )


def _kernel(write: Callable[[_Windows, Sequence[str]], list[str]], whole: int) -> Kernel:
    """A kernel; argument `whole` has the axis in its length, -1 the result."""

    def windows(equation: Equation) -> _Windows:
        arrays = [v.shape for v in (*equation.variables, equation.out)]
        axis, size, stride = (equation.params[name] for name in ("axis", "size", "stride"))
        shape = arrays[whole]
        n = (shape[axis] - size) // stride + 1
        outer, run = prod(shape[:axis]), prod(shape[axis + 1 :])
        is_shared = shares_elements(outer * shape[axis] * run, outer)
        ctype = c_type(equation.out)
        return _Windows(outer, shape[axis], run, n, size, stride, ctype, is_shared)

    def written(equation: Equation, pointers: Sequence[str]) -> list[str]:
        return write(windows(equation), pointers)

    return pointer_kernel(written, shares=lambda equation: windows(equation).is_shared)


KERNELS: dict[str, Kernel] = {
    "max_at_windows": _kernel(_write_at, 0),
    "window_max": _kernel(_write_max, 0),
    "window_max_vjp": _kernel(_write_max_vjp, -1),
    "window_sum": _kernel(_write_sum, 0),
    "window_sum_vjp": _kernel(_write_sum_vjp, -1),
}
"""The kernels by the names of their primitives."""
