"""How many threads the matrix products of a step should use.

A second thread pays for large products only: on two cores a (64, 196) @ (196, 100) takes up to five
times as long with two threads as with one, a (128, 784) @ (784, 512) about two thirds of the time.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from chainrule.compiler.graph import Graph, Variable

__all__ = ["largest_product", "limit_threads"]

_WORTH_TWO_THREADS = 2e7
"""Multiplications in one product from which on the threads' coming and going is paid for."""


def largest_product(graph: Graph) -> int:
    """The number of multiplications in the largest matrix product of a step."""
    sizes = [0]
    for equation in graph.equations:
        left = equation.args[0] if equation.args else None
        if equation.primitive.name == "matmul" and isinstance(left, Variable) and left.shape:
            sizes.append(equation.out.size * left.shape[-1])
    return max(sizes)


def limit_threads(graph: Graph) -> AbstractContextManager[Any]:
    """Keep NumPy's matrix products to one thread where a second would slow the step down.

    Elsewhere the user's own setting stands. Restored on leaving.
    """
    if largest_product(graph) >= _WORTH_TWO_THREADS:
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits
