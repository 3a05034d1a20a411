"""The published experiments, each one small file, and the runner of `chainrule reproduce`.

A module `eNN_what_it_is.py` of this package is an experiment. It has `TITLE` (one line), `QUICK`
(whether it takes no more than a few seconds) and `run(output)`, which returns `Row`s and, where
`output` is a folder, leaves its pictures there. One that depends on random starts has `SEEDS`,
those it takes where `run(output, seeds)` is given no others. It needs no entry anywhere: the
registry finds it.
"""

from __future__ import annotations

import pkgutil
import re
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data import DamagedFileError, DataNotFoundError
from chainrule.engines.choice import Engine
from chainrule.extras import MissingExtraError
from chainrule.names import unknown_name

__all__ = [
    "ENGINE",
    "Experiment",
    "Row",
    "at_least",
    "at_most",
    "close",
    "exact",
    "registry",
    "reproduce",
    "select",
]


ENGINE: Engine = "c"
"""What experiments train on, so that their figures do not hang on a choice made elsewhere.

It is the faster one for nearly all of them. Where there is no compiler they run on NumPy, which a
warning says; the rows hold there too.
"""


@dataclass(frozen=True)
class Row:
    """One quantity of an experiment: what was published, what we measured, whether it holds.

    `published` and `measured` are numbers, short lists of them, or a short text such as
    "0.96 to 0.98 over 5 seeds"; `published` is None where the publication gives no figure.
    `holds` is None for a row that was not run, and `measured` then says what is missing.
    `seconds` left at 0 becomes the time of the whole experiment.
    """

    experiment: str
    quantity: str
    published: Any
    measured: Any
    holds: bool | None
    seconds: float = 0.0


@dataclass(frozen=True)
class Experiment:
    """One entry of the registry: `name` is "E1", `run` the function of its module.

    With `takes_seeds` it takes the seeds of its starts as a second argument.
    """

    name: str
    title: str
    quick: bool
    run: Callable[..., list[Row]]
    takes_seeds: bool = False


def registry() -> dict[str, Experiment]:
    """Every experiment of this package by its name, in the order of their numbers."""
    modules = sorted(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if re.fullmatch(r"e\d\d_\w+", module.name)
    )
    experiments = [_load(module) for module in modules]
    return {experiment.name: experiment for experiment in experiments}


def _load(module_name: str) -> Experiment:
    module = import_module(f"{__name__}.{module_name}")
    name = f"E{int(module_name[1:3])}"
    return Experiment(name, module.TITLE, module.QUICK, module.run, hasattr(module, "SEEDS"))


def select(names: Iterable[str] = (), *, quick: bool = False) -> list[Experiment]:
    """The experiments of these names ("E1", "e1" and "E01" are one); all of them for no names.

    With `quick`, only those that take a few seconds. Raises ValueError, with the nearest name,
    for an experiment that does not exist.
    """
    known = registry()
    names = list(names)
    for name in names:
        if _canonical(name) not in known:
            raise ValueError(unknown_name("experiment", _canonical(name), known))
    chosen = [known[name] for name in dict.fromkeys(map(_canonical, names))] or known.values()
    return [experiment for experiment in chosen if experiment.quick or not quick]


def _canonical(name: str) -> str:
    match = re.fullmatch(r"[eE]?0*(\d+)", name.strip())
    return f"E{match[1]}" if match else name


def reproduce(
    names: Iterable[str] = (),
    *,
    quick: bool = False,
    output: Path | None = None,
    seeds: int | None = None,
    on_begin: Callable[[Experiment], Any] | None = None,
) -> Iterator[Row]:
    """Run the experiments that `select` gives, and yield the rows of each as it ends.

    Those that depend on random starts take so many `seeds`, at least 2, or as many as their own
    files say. `on_begin` is called with each experiment before it runs; pictures go into the folder
    `output`. Where the data or a library is absent there is one row that is not run and says what
    to fetch; an experiment that raises is one row that does not hold and says where, so that it
    does not hide the others. Raises ValueError as `select` does.

    >>> [row.experiment for row in reproduce(["E1"])][0]
    'E1'
    """
    if seeds is not None and seeds < 2:
        raise ValueError(f"seeds is {seeds}: give at least 2, for figures spread over starts")
    return _rows(select(names, quick=quick), output, seeds, on_begin)


def _rows(
    experiments: Iterable[Experiment],
    output: Path | None,
    seeds: int | None,
    on_begin: Callable[[Experiment], Any] | None,
) -> Iterator[Row]:
    for experiment in experiments:
        if on_begin is not None:
            on_begin(experiment)
        begin = time.perf_counter()
        rows = _run(experiment, output, seeds)
        seconds = time.perf_counter() - begin
        for row in rows:
            yield row if row.seconds else replace(row, seconds=seconds)


def _run(experiment: Experiment, output: Path | None, seeds: int | None) -> list[Row]:
    try:
        if seeds is not None and experiment.takes_seeds:
            return experiment.run(output, range(seeds))
        return experiment.run(output)
    except (DamagedFileError, DataNotFoundError, MissingExtraError) as missing:
        return [_not_run(experiment, missing)]
    except Exception as fault:
        frame = traceback.extract_tb(fault.__traceback__)[-1]
        measured = f"{type(fault).__name__}: {fault} ({Path(frame.filename).name}:{frame.lineno})"
        return [Row(experiment.name, experiment.title, None, measured, False)]


def _not_run(experiment: Experiment, missing: Exception) -> Row:
    return Row(experiment.name, experiment.title, None, f"not run: {missing}", None)


# Whether a measured value agrees with the published one, for numbers and arrays alike


def exact(published: Any, measured: Any, digits: int) -> bool:
    """Whether the measured value, written with so many decimals, is the published one.

    Publications round or cut off, and seldom say which: either will do.

    >>> exact(0.506, 0.5062, digits=3), exact(0.899, 0.8996, digits=3)
    (True, True)
    >>> exact([0.5, 0.25], [0.5, 0.26], digits=2)
    False
    """
    want, got = _alike(published, measured)
    unit = 10.0**-digits
    # How far the measured value lies beyond the published one, away from zero, in last digits.
    beyond = np.where(want == 0, np.abs(got), (got - want) * np.sign(want)) / unit
    # A value halfway may be stored a hair off it.
    return bool(np.all((beyond >= -0.5 - 1e-6) & (beyond < 1.0)))


def close(published: Any, measured: Any, *, relative: float = 0.0, absolute: float = 0.0) -> bool:
    """Whether they differ by no more than `relative * |published| + absolute`; NaN never agrees.

    Raises ValueError where the shapes differ.
    """
    want, got = _alike(published, measured)
    return bool(np.all(np.abs(got - want) <= relative * np.abs(want) + absolute))


def _alike(published: Any, measured: Any) -> tuple[Any, Any]:
    want, got = np.asarray(published, np.float64), np.asarray(measured, np.float64)
    if want.shape != got.shape:
        raise ValueError(f"published shape {want.shape} against measured shape {got.shape}")
    return want, got


def at_least(published: Any, measured: Any) -> bool:
    """Whether every measured value reaches the published one."""
    return bool(np.all(np.asarray(measured) >= np.asarray(published)))


def at_most(published: Any, measured: Any) -> bool:
    """Whether no measured value exceeds the published one."""
    return bool(np.all(np.asarray(measured) <= np.asarray(published)))
