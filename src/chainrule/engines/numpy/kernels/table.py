"""The table of kernels: functions of plain NumPy that compute what a primitive is, only faster.

A kernel is called as its primitive is, and with `out=`: contiguous memory of the result's shape and
dtype, to which it writes. One with a parameter `threads` may be told to use so many. Shapes have
been looked at when the function was compiled, by the primitive itself; values a kernel must check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

from chainrule.primitives.primitive import Primitive

__all__ = ["KERNELS", "Kernel", "kernel", "kernel_for"]

Shape = tuple[int, ...]
Function = TypeVar("Function", bound=Callable[..., Any])


@final
@dataclass(frozen=True, slots=True)
class Kernel:
    """A form of a primitive: the function whose text a compiled file holds, and when it is taken.

    `when(*shapes, **params)` says whether it can compute the primitive for arrays of these shapes
    and these static parameters; None where it always can. One that `rounds` adds in another order
    than the primitive's own form does.
    """

    function: Callable[..., Any]
    when: Callable[..., bool] | None = None
    rounds: bool = False

    @property
    def takes_threads(self) -> bool:
        return "threads" in inspect.signature(self.function).parameters


KERNELS: dict[Primitive, tuple[Kernel, ...]] = {}
"""The kernels of each primitive that has some; the first that can is taken."""


def kernel(
    *primitives: Primitive, when: Callable[..., bool] | None = None, rounds: bool = False
) -> Callable[[Function], Function]:
    """Enter a function into the table, as a kernel of these primitives."""

    def enter(function: Function) -> Function:
        for primitive in primitives:
            KERNELS[primitive] = (*KERNELS.get(primitive, ()), Kernel(function, when, rounds))
        return function

    return enter


def kernel_for(
    primitive: Primitive, shapes: Sequence[Shape], params: Mapping[str, Any], exact: bool = False
) -> Kernel | None:
    """The kernel that computes a primitive for arrays of these shapes, if there is one.

    Where the result is to be `exact`, to the bit, it is none that rounds.
    """
    for found in KERNELS.get(primitive, ()):
        if found.rounds and exact:
            continue
        if found.when is None or found.when(*shapes, **params):
            return found
    return None
