"""A kernel: how the C engine writes down what is no loop nest over elements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chainrule.compiler.graph import Equation
from chainrule.engines.c.access import Access

__all__ = ["Kernel", "Writer", "no_workspace"]

Writer = Callable[[Equation, Sequence[Access]], list[str]]
"""(equation, its array arguments and its result) -> the lines of a function's body."""


def _nothing_refused(equation: Equation) -> str:
    return ""


def _not_shared(equation: Equation) -> bool:
    return False


def _no_blas(equation: Equation) -> bool:
    return False


def no_workspace(equation: Equation) -> int:
    """Of a kernel that needs none."""
    return 0


@dataclass(frozen=True)
class Kernel:
    """A function of its own in the printed file, with the shapes of one equation in it.

    Its parameters are the array arguments, the result, and where it needs some, `workspace`: so
    many elements of the result's type. One that `shares` its work among threads is handed first
    in how many `parts`, and more workspace, `for_each_part`. Arguments may lie in any
    order, unless they are wanted `contiguous`; the result is contiguous. One that `fails` returns 1
    where NumPy would raise, else 0. Where it `wants_blas`, it is handed the matrix product of BLAS
    first, as `product`, which is NULL where there is none. `refuses` says why it cannot write an
    equation, "" where it can.
    """

    write: Writer
    contiguous: bool = False
    fails: bool = False
    workspace: Callable[[Equation], int] = no_workspace
    shares: Callable[[Equation], bool] = _not_shared
    for_each_part: Callable[[Equation], int] = no_workspace
    wants_blas: Callable[[Equation], bool] = _no_blas
    refuses: Callable[[Equation], str] = _nothing_refused
