"""Figures that depend on a random start: how ours spread over seeds, and if a published one fits.

The publications report one run each, from a start nobody can draw again. Ours are several, of which
the published run is to be one more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["fits", "spread"]


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
