"""How many threads the products and the convolutions of a step should use.

A second thread pays for large products only: on two cores a (64, 196) @ (196, 100) takes up to five
times as long with two threads as with one, a (128, 784) @ (784, 512) about two thirds of the time.
In a convolution copying takes as long as multiplying. Where it is large, the threads are ours and
share the images: each copies and multiplies its own, with a BLAS of one thread. A smaller one
leaves its product to the threads of BLAS, which wait for work busily and so begin at once.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from math import prod
from typing import Any

from chainrule.compiler.graph import Equation, Graph, Variable

__all__ = ["largest_product", "limit_threads", "threads_of"]

_WORTH_TWO_THREADS = 2e7
"""Multiplications in one product from which on the threads' coming and going is paid for."""

_WORTH_BLAS_THREADS = 5e6
"""The same in one convolution, whose product is wider than the number says (`n_abreast`)."""

_WORTH_SHARING = 3e7
"""Multiplications in one convolution from which on handing images to another thread pays."""

_CONVOLUTIONS = {"convolve", "convolve_add", "convolve_transpose", "convolve_kernel_vjp"}


def largest_product(graph: Graph) -> int:
    """The number of multiplications in the largest matrix product of a step."""
    return max((_in_product(equation) for equation in graph.all_equations()), default=0)


def threads_of(graph: Graph) -> dict[Variable, int]:
    """How many threads share the images of a large convolution, by its result: as many as BLAS may
    use.

    Where matrix products are the greater part of the work and large, they keep BLAS's threads to
    themselves, and no convolution has some.
    """
    products = sum(map(_in_product, graph.all_equations()))
    if largest_product(graph) >= _WORTH_TWO_THREADS and products > sum(
        map(_in_convolution, graph.all_equations())
    ):
        return {}
    large = [e.out for e in graph.all_equations() if _in_convolution(e) >= _WORTH_SHARING]
    threads = _blas_threads() if large else 1
    return dict.fromkeys(large, threads) if threads > 1 else {}


def limit_threads(graph: Graph) -> AbstractContextManager[Any]:
    """Keep NumPy's matrix products to one thread where a second would slow the step down.

    That is where products are small, and where convolutions have threads of their own. Elsewhere
    the user's own setting stands. Restored on leaving.
    """
    convolution = max(map(_in_convolution, graph.all_equations()), default=0)
    is_large = largest_product(graph) >= _WORTH_TWO_THREADS or convolution >= _WORTH_BLAS_THREADS
    if is_large and not threads_of(graph):
        return nullcontext()
    from threadpoolctl import threadpool_limits

    limits: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limits


def _in_product(equation: Equation) -> int:
    """The number of multiplications of a matrix product; 0 for what is none."""
    left = equation.args[0] if equation.args else None
    if equation.name == "matmul" and isinstance(left, Variable) and left.shape:
        return equation.out.size * left.shape[-1]
    return 0


def _in_convolution(equation: Equation) -> int:
    """The number of multiplications of a convolution or a cotangent of one; 0 for what is none.

    Each element of the convolution's result is a sum over one filter of the kernel.
    """
    name = equation.name
    if name not in _CONVOLUTIONS:
        return 0
    first, second = equation.args[:2]
    if not isinstance(first, Variable) or not isinstance(second, Variable):
        return 0
    if name == "convolve_transpose":
        result, kernel = first, second
    elif name == "convolve_kernel_vjp":
        result, kernel = second, equation.out
    else:
        result, kernel = equation.out, second
    return result.size * prod(kernel.shape[:3])


def _blas_threads() -> int:
    """How many threads NumPy's BLAS may use: the user's setting, or one per core."""
    from threadpoolctl import threadpool_info

    return max((b["num_threads"] for b in threadpool_info() if b["user_api"] == "blas"), default=1)
