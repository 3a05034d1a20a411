"""Random numbers from NumPy's own bit generators, through their interface in C: the same bits."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.compiler.graph import Equation
from chainrule.engines.c.access import Access
from chainrule.engines.c.blocks import looped
from chainrule.engines.c.kernels.kernel import Kernel

__all__ = ["KERNELS", "random_uniform"]


def random_uniform(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """Numbers from [0, 1): 53 random bits of a double, 24 of a float."""
    (out,) = arrays
    draw = "generator->next_double(generator->state)"
    if out.c_type == "float":
        draw = "(float)(generator->next_uint32(generator->state) >> 8) * (1.0f / 16777216.0f)"
    return looped([("i", out.size)], [f"out[i] = {draw};"])


KERNELS = {"random_uniform": Kernel(random_uniform)}
