"""Figures that depend on a random start: how ours spread over seeds, and if a published one fits.

The publications report one run each, from a start nobody can draw again. Ours are many, of which
the published run is to be one more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from chainrule.engines.threads import n_cores

__all__ = ["beside", "fits", "for_each", "percentile", "spread"]

T = TypeVar("T")


def for_each(seeds: Iterable[int], run: Callable[[int], T]) -> list[T]:
    """What `run` gives for each seed, in their order; as many at once as there are cores.

    The C engine computes while Python is free to do something else, so that two take little longer
    than one. Each seed gives the bits that it gives alone.

    >>> for_each(range(3), lambda seed: seed**2)
    [0, 1, 4]
    """
    workers = ThreadPoolExecutor(max_workers=n_cores())
    try:
        return list(workers.map(run, seeds))
    finally:  # after Ctrl-C those that have begun are finished, and no others begun
        workers.shutdown(cancel_futures=True)


def fits(published: npt.ArrayLike, runs: npt.ArrayLike, *, logarithmic: bool = False) -> bool:
    """Whether the published figure could be one more of our runs: three standard deviations.

    `runs` is (n_seeds, ...), one figure (or row of figures, all of which must fit) per seed, and
    the distance is taken from their mean. Losses differ by factors: `logarithmic` compares their
    logarithms.

    >>> fits(1.2, [0.9, 1.0, 1.1]), fits(1.4, [0.9, 1.0, 1.1])
    (True, False)
    """
    figure, found = np.asarray(published, np.float64), np.asarray(runs, np.float64)
    if logarithmic:
        figure, found = np.log(figure), np.log(found)
    distance = np.abs(figure - found.mean(axis=0))
    return bool(np.all(distance <= 3 * found.std(axis=0, ddof=1)))


def spread(runs: npt.ArrayLike, digits: int = 4) -> str:
    """The median, the least and the largest of one figure per seed, in words.

    >>> spread([0.97, 0.95, 0.98])
    'median 0.97, 0.95 to 0.98 over 3 seeds'
    """
    found = np.asarray(runs, np.float64)
    low, middle, high = (f"{np.quantile(found, q):.{digits}g}" for q in (0.0, 0.5, 1.0))
    return f"median {middle}, {low} to {high} over {len(found)} seeds"


def percentile(published: float, runs: npt.ArrayLike) -> float:
    """The percentage of our runs below the published figure, those equal to it counted half.

    >>> percentile(2.0, [1.0, 2.0, 3.0, 4.0])
    37.5
    """
    found = np.asarray(runs, np.float64)
    return float(100 * (np.mean(found < published) + 0.5 * np.mean(found == published)))


def beside(
    published: float,
    runs: npt.ArrayLike,
    digits: int = 4,
    *,
    decimals: int | None = None,
    known: str = "",
) -> str:
    """`spread`, and at which percentile of ours the published figure lies.

    Of a figure published in so many `decimals`, ours are rounded alike before they are compared.
    Where it lies beyond all of ours, what is `known` about that is added.

    >>> beside(0.96, [0.97, 0.95, 0.98])
    'median 0.97, 0.95 to 0.98 over 3 seeds; published: percentile 33'
    >>> beside(0.99, [0.97, 0.95, 0.98])
    'median 0.97, 0.95 to 0.98 over 3 seeds; published: above all'
    >>> beside(0.98, [0.971, 0.952, 0.979], decimals=2)
    'median 0.971, 0.952 to 0.979 over 3 seeds; published: percentile 83'
    """
    found = np.asarray(runs, np.float64)
    text = spread(found, digits)
    if decimals is not None:
        found = np.round(found, decimals)
    place = f"percentile {percentile(published, found):.0f}"
    if published < found.min() or published > found.max():
        place = "below all" if published < found.min() else "above all"
        place += f" ({known})" if known else ""
    return f"{text}; published: {place}"
