"""Which loops of a step are divided among threads, and how: in the C text, by OpenMP.

A loop is divided where it is long, by a count of its work, so that the text is the same whatever
the machine. It becomes a few tasks, `parts`, which whoever has nothing to do takes; the thread that
takes the step does so too, and waits for no thread but one that is at a task. So a thread that the
system does not let run, for others want the cores, costs nothing: with `parallel for` it would be
waited for, at every loop, some ten milliseconds each. The threads come and go once a call.

How many threads and parts there are is told the step; one of each is no division, and without
OpenMP the text is the same C.
"""

from __future__ import annotations

from chainrule.compiler.graph import Equation
from chainrule.engines.c.blocks import block, count
from chainrule.engines.threads import in_convolution, n_cores

__all__ = [
    "PARTS",
    "TASKS",
    "cache_lines",
    "part_loop",
    "part_of",
    "shares_convolution",
    "shares_elements",
    "team_function",
    "team_of",
]

TASKS = "#pragma omp taskloop num_tasks(parts)"
"""Before a loop whose rounds are divided: each part has the same ones whenever it runs."""

PARTS = 2
"""Parts for each thread: one that begins late has fewer of them."""

# A task costs about a microsecond. On two cores, loops of 7, 25 and 130 µs were measured to take
# 1.0, 0.8 and 0.45 of their time in four parts; both limits are at about 40 µs.

_WORTH_SHARING = 2e6
"""Multiplications in one convolution from which on threads pay."""

_WORTH_SHARING_ELEMENTS = 2**17
"""The same for elements that a nest of loops runs over."""

_N_FIRST = 16  # rounds of a loop, at least, that is divided: fewer are no equal parts
_CACHE_LINE = 16  # elements: what two threads write stands in no line of both


def team_of(threads: int) -> int:
    """How many threads OpenMP is asked for, so that as many work as there are to be.

    One more than there are cores: then those of GCC's OpenMP that wait for work go to sleep soon,
    in place of some ten milliseconds of waiting busily on a core that others may want.
    """
    return threads + 1 if threads > 1 and threads >= n_cores() else threads


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


def part_loop(body: list[str]) -> list[str]:
    """The body for each part, of which it reads the number as `part`."""
    return [TASKS, *block(count("part", "parts"), body)]


def part_of(n: int) -> tuple[str, str]:
    """Where a part of n begins and ends.

    >>> part_of(64)
    ('64 * part / parts', '64 * (part + 1) / parts')
    """
    return f"{n} * part / parts", f"{n} * (part + 1) / parts"


def team_function(kind: str, name: str, parameters: str, arguments: str) -> str:
    """A function that calls another one, which ends in _alone, with threads that take its tasks."""
    return f"""
EXPORT {kind} {name}({parameters})
{{
    {kind} result = 0;
#pragma omp parallel num_threads(own->threads)
#pragma omp master
    result = {name}_alone({arguments});
    return result;
}}
""".strip()
