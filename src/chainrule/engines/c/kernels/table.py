"""Which kernel computes a primitive."""

from __future__ import annotations

from chainrule.compiler.graph import Equation
from chainrule.engines.c.kernels import (
    convolution,
    draws,
    einsum,
    indexing,
    pooling,
    products,
    scans,
    shapes,
)
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.engines.c.types import UnsupportedError

__all__ = ["KERNELS", "kernel_of"]

KERNELS: dict[str, Kernel] = {
    **convolution.KERNELS,
    **draws.KERNELS,
    **einsum.KERNELS,
    **indexing.KERNELS,
    **pooling.KERNELS,
    **products.KERNELS,
    **scans.KERNELS,
    **shapes.KERNELS,
}
"""By the name of the primitive."""


def kernel_of(equation: Equation) -> Kernel:
    """The kernel of an equation. Raises UnsupportedError, naming the primitive, without one."""
    kernel = KERNELS.get(equation.name)
    if kernel is None:
        raise UnsupportedError(equation.primitive.name)
    return kernel
