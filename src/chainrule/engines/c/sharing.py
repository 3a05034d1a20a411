"""Which loops of a step are divided among threads, and how: in the C text, by OpenMP.

A loop is divided where it is long, by a count of its work, so that the text is the same whatever
the machine. How many threads there are is a number that the step is handed, `threads`: one does all
of it by itself, as does a compiler without OpenMP, for which the text is the same C.
"""

from __future__ import annotations

from chainrule.compiler.graph import Equation
from chainrule.engines.threads import in_convolution

__all__ = [
    "SHARED",
    "cache_lines",
    "part_of",
    "shares_convolution",
    "shares_elements",
    "thread_loop",
]

SHARED = "#pragma omp parallel for num_threads(threads) schedule(static)"
"""Before a loop whose rounds are divided: each thread takes the same ones whenever it runs."""

_WORTH_SHARING = 3e6
"""Multiplications in one convolution from which on threads pay, measured: see docs/design/022."""

_WORTH_SHARING_ELEMENTS = 2**17
"""The same for elements that a nest of loops runs over."""

_N_FIRST = 16  # rounds of a loop, at least, that is divided: fewer are no equal parts
_CACHE_LINE = 16  # elements: what two threads write stands in no line of both


def shares_convolution(equation: Equation) -> bool:
    """Whether the images, or the tiles, of a convolution are divided among threads."""
    return in_convolution(equation) >= _WORTH_SHARING


def shares_elements(n_elements: int, n_first: int) -> bool:
    """Whether a nest over so many elements is, whose outermost loop has `n_first` rounds."""
    return n_elements >= _WORTH_SHARING_ELEMENTS and n_first >= _N_FIRST


def cache_lines(n: int) -> int:
    """So many elements, up to the end of a line of the cache.

    >>> cache_lines(0), cache_lines(1), cache_lines(32)
    (0, 16, 32)
    """
    return -(-n // _CACHE_LINE) * _CACHE_LINE


def thread_loop(body: list[str]) -> list[str]:
    """The body for each thread, of which it reads the number as `thread`."""
    return [
        SHARED,
        "for (int thread = 0; thread < threads; thread++) {",
        *(f"    {line}" if line else "" for line in body),
        "}",
    ]


def part_of(n: int) -> tuple[str, str]:
    """Where a thread's part of n begins and ends.

    >>> part_of(64)
    ('64 * thread / threads', '64 * (thread + 1) / threads')
    """
    return f"{n} * thread / threads", f"{n} * (thread + 1) / threads"
