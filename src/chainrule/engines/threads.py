"""How many threads the products and the convolutions of a step should use.

A second thread pays for large products only: on two cores a (64, 196) @ (196, 100) takes up to five
times as long with two threads as with one, a (128, 784) @ (784, 512) about two thirds of the time.
In a convolution copying takes as long as multiplying. Where it is large, the threads are ours and
share the images: each copies and multiplies its own, with a BLAS of one thread. A smaller one
leaves its product to the threads of BLAS, which wait for work busily and so begin at once.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from math import prod
from typing import Any, final

from chainrule.compiler.graph import Equation, Graph, Variable

__all__ = [
    "in_convolution",
    "largest_product",
    "limit_beside_loops",
    "limit_threads",
    "loop_threads",
    "n_cores",
    "threads_of",
]

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
    if _is_for_products(graph):
        return {}
    large = [e.out for e in graph.all_equations() if in_convolution(e) >= _WORTH_SHARING]
    threads = _blas_threads() if large else 1
    return dict.fromkeys(large, threads) if threads > 1 else {}


def loop_threads() -> int:
    """How many threads share the long loops and products of a step that has loops of its own: as
    many as BLAS may use, but no more than there are cores.
    """
    return min(_blas_threads(), n_cores())


def _is_for_products(graph: Graph) -> bool:
    """Whether BLAS's threads are of more use in matrix products than ours in all else.

    They cannot be had together: each waits for work busily, where the other one works.
    """
    equations = graph.all_equations()
    products = sum(map(_in_product, equations))
    return largest_product(graph) >= _WORTH_TWO_THREADS and products > sum(
        map(in_convolution, equations)
    )


def limit_beside_loops(graph: Graph, n_threads: int) -> AbstractContextManager[None]:
    """The limit for a step that has loops of its own in place of convolutions, on so many threads:
    BLAS has one beside them, and where its products are small.
    """
    is_small = largest_product(graph) < _WORTH_TWO_THREADS
    return _LIMIT.hold(is_limited=n_threads > 1 or is_small)


def limit_threads(graph: Graph | None) -> AbstractContextManager[None]:
    """Keep NumPy's matrix products to one thread where a second would slow the step down.

    That is where products are small, and where convolutions have threads of their own. Elsewhere,
    and for what is no graph (None), the user's own setting stands. Restored on leaving.

    The limit is one for the process: who wants the same share it, who wants another wait until all
    of those have left. So each gets the bits that it would get alone.
    """
    return _LIMIT.hold(is_limited=graph is not None and _wants_one_thread(graph))


def _wants_one_thread(graph: Graph) -> bool:
    convolution = max(map(in_convolution, graph.all_equations()), default=0)
    is_large = largest_product(graph) >= _WORTH_TWO_THREADS or convolution >= _WORTH_BLAS_THREADS
    return bool(threads_of(graph)) or not is_large


@final
class _Limit:
    """The limit to BLAS's threads that stands in this process, and how many hold it.

    A thread that asks for another limit while it holds one, as a callback does that trains another
    network, lets its own go meanwhile: it does not compute in that time, and so nobody waits for
    somebody who waits.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders = 0
        self._is_limited = False
        self._found: list[tuple[Any, int]] = []  # each BLAS and the user's setting, while limited
        self._mine = threading.local()
        self._libraries: list[Any] = []
        self._n_imported = 0

    def _blas(self) -> list[Any]:
        """The BLAS libraries, looked for again where something has been imported since: looking
        takes half a millisecond, and they come with extension modules.
        """
        if len(sys.modules) != self._n_imported:
            self._libraries = _blas_libraries()
            self._n_imported = len(sys.modules)
        return self._libraries

    @contextmanager
    def hold(self, is_limited: bool) -> Iterator[None]:
        """One thread or the user's own setting, until left."""
        held: list[bool | None] = self._mine.__dict__.setdefault("held", [])
        outer = held[-1] if held else None
        if outer is not None:
            self._leave()
            held[-1] = None  # let go, until it is taken again: Ctrl-C may come while that waits
        try:
            self._enter(is_limited)
            held.append(is_limited)
            try:
                yield
            finally:
                if held.pop() is not None:
                    self._leave()
        finally:
            if outer is not None:
                self._enter(outer)
                held[-1] = outer

    @property
    def own_threads(self) -> int:
        """How many threads BLAS may use by the user's own setting."""
        with self._changed:
            found = self._found or [(blas, blas.num_threads) for blas in self._blas()]
            return max((n_threads for _, n_threads in found), default=1)

    def _enter(self, is_limited: bool) -> None:
        with self._changed:
            while self._holders and self._is_limited != is_limited:
                self._changed.wait()
            if not self._holders and is_limited:
                self._found = [(blas, blas.num_threads) for blas in self._blas()]
                for blas, _ in self._found:
                    _set_threads(blas, 1)
            self._is_limited = is_limited
            self._holders += 1

    def _leave(self) -> None:
        with self._changed:
            self._holders -= 1
            if not self._holders:
                for blas, n_threads in self._found:
                    _set_threads(blas, n_threads)
                self._found = []
                self._changed.notify_all()


_LIMIT = _Limit()


def _in_product(equation: Equation) -> int:
    """The number of multiplications of a matrix product; 0 for what is none."""
    left = equation.args[0] if equation.args else None
    if equation.name == "matmul" and isinstance(left, Variable) and left.shape:
        return equation.out.size * left.shape[-1]
    return 0


def in_convolution(equation: Equation) -> int:
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
    return _LIMIT.own_threads


def n_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _blas_libraries() -> list[Any]:
    """The BLAS libraries in this process, NumPy's and perhaps SciPy's, by threadpoolctl."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _set_threads(blas: Any, n_threads: int) -> None:
    """Let a BLAS use so many threads, whichever Python thread asks for it.

    Newer versions of threadpoolctl heed only the first Python thread that ever asked, so that
    threads do not fight; ours are in agreement.
    """
    getattr(blas, "_real_set_num_threads", blas.set_num_threads)(n_threads)
