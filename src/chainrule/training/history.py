"""History: what `fit` measured, one number per finished epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, final

__all__ = ["History", "MinimizerReport", "RunsOnEngine"]

_EPOCHS_SHOWN = 10  # in a notebook


class RunsOnEngine(Protocol):
    """What steps run on: `engine` is the name of an engine, or "eager" where they run as they are.

    `compiler` is the compiler that made a library of them and its version, "" for none, and `flags`
    what it was told.
    """

    @property
    def engine(self) -> str: ...

    @property
    def compiler(self) -> str: ...

    @property
    def flags(self) -> tuple[str, ...]: ...


@final
@dataclass(frozen=True)
class MinimizerReport:
    """What a full-batch minimizer said when it ended.

    `success` is whether it was content, `message` its own words. `n_evaluations` counts calls of
    the loss with its gradient (SciPy's nfev), and `gradient_norm` is the Euclidean norm of the
    gradient at the point it gave.
    """

    success: bool
    message: str
    n_iterations: int
    n_evaluations: int
    gradient_norm: float


class History(Mapping[str, list[float]]):
    """The curves of one training run, a read-only mapping of names to lists.

    Each list has one number per finished epoch: always "loss", one entry per metric, the same with
    "val_" in front where validation data were given, and "learning_rate" of the epoch's last step
    (absent for full-batch minimizers). What is measured after some epochs only, as
    "loss_after_epoch", is NaN for the others. An epoch broken off by Ctrl-C or by a loss that is
    not finite leaves no entry.

    `epochs` is the number of finished epochs, `seconds` the time each of them took, validation
    included. `stopped_by` says why the training ended: "epochs" (all of them done), "interrupt"
    (Ctrl-C), "nonfinite" (the loss or a parameter became NaN or infinite), "early_stopping",
    "converged" (a minimizer was content), "evaluations" (a minimizer used up its function
    evaluations), or what a callback gave `run.stop`; it is "" while training runs. `best_epoch` is
    the epoch whose parameters a callback restored, counted from 1, or None.

    `engine` is what the steps ran on: "numpy" or "c", or "eager" where they ran as they are. Of the
    C engine, `compiler` is the compiler with its version, and `flags` what it was told. After a
    full-batch minimizer `minimizer` is what that said, see `MinimizerReport`; None elsewhere.

    >>> history = History()
    >>> history.append({"loss": 0.5}, seconds=0.01)
    >>> history["loss"], history.epochs
    ([0.5], 1)
    """

    # also of histories that were kept before there were engines to choose
    engine = ""
    compiler = ""
    flags: tuple[str, ...] = ()
    minimizer: MinimizerReport | None = None
    _sparse: tuple[str, ...] = ()  # names of what is measured after some epochs only

    def __init__(self) -> None:
        self._curves: dict[str, list[float]] = {}
        self.seconds: list[float] = []
        self.stopped_by = ""
        self.best_epoch: int | None = None

    @property
    def epochs(self) -> int:
        """The number of finished epochs."""
        return len(self.seconds)

    def append(self, row: Mapping[str, float], seconds: float) -> None:
        """Add one epoch; every row must have the names of the first."""
        self.extend({name: [float(value)] for name, value in row.items()}, [seconds])

    def extend(self, curves: Mapping[str, list[float]], seconds: list[float]) -> None:
        """Add epochs, with one number of each for every name."""
        names = [name for name in self._curves if name not in self._sparse]
        if self.epochs and curves.keys() != set(names):
            raise ValueError(
                f"the history holds {', '.join(names)}, the new epoch "
                f"{', '.join(curves)}: give every epoch the same names"
            )
        for name, values in curves.items():
            if name in self._sparse:
                raise ValueError(_has_every(name))
            self._curves.setdefault(name, []).extend(values)
        for name in self._sparse:
            curve = self._curves.setdefault(name, [math.nan] * self.epochs)
            curve += [math.nan] * len(seconds)
        self.seconds.extend(seconds)

    def put(self, name: str, value: float = math.nan) -> None:
        """Set a number of the last epoch that is measured after some epochs only.

        Before the first epoch it announces the name. Raises ValueError for the name of a curve that
        has a number for every epoch.

        >>> history = History()
        >>> history.append({"loss": 0.5}, seconds=0.01)
        >>> history.put("loss_after_epoch", 0.25)
        >>> history.append({"loss": 0.25}, seconds=0.01)
        >>> history["loss_after_epoch"]
        [0.25, nan]
        """
        if name in self._curves and name not in self._sparse:
            raise ValueError(_has_every(name))
        if name not in self._sparse:
            self._sparse = (*self._sparse, name)
        if self.epochs:
            self._curves.setdefault(name, [math.nan] * self.epochs)[-1] = float(value)

    def ran_on(self, what: RunsOnEngine) -> None:
        """Note the engine of what runs from now on, its compiler and flags."""
        self.engine, self.compiler, self.flags = what.engine, what.compiler, what.flags

    def last(self) -> dict[str, float]:
        """The numbers of the last finished epoch; empty before the first."""
        return {name: curve[-1] for name, curve in self._curves.items()}

    def __getitem__(self, name: str) -> list[float]:
        if name not in self._curves:
            raise KeyError(f"{name!r} is not in this history; it holds {', '.join(self._curves)}")
        return self._curves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)

    def __repr__(self) -> str:
        numbers = ", ".join(
            f"{name} {value:.4g}"
            for name, value in self.last().items()
            if name != "learning_rate" and not (name in self._sparse and math.isnan(value))
        )
        parts = [f"{self.epochs} epochs in {sum(self.seconds):.3g} s", numbers]
        if self.engine:
            parts.append(f"engine {self.engine}")
        if self.stopped_by not in ("", "epochs"):
            parts.append(f"stopped by {self.stopped_by}")
        if self.best_epoch is not None:
            parts.append(f"epoch {self.best_epoch} restored")
        return f"History({', '.join(part for part in parts if part)})"

    def _repr_html_(self) -> str:
        """A table of the last epochs, and the curve of the loss."""
        from chainrule import html  # for notebooks alone

        losses = {name: self[name] for name in ("loss", "val_loss") if name in self}
        first = max(self.epochs - _EPOCHS_SHOWN, 0)
        rows: list[list[object]] = [[f"… {first} before"]] if first else []
        rows += [
            [epoch + 1, *(html.number(curve[epoch]) for curve in self.values())]
            for epoch in range(first, self.epochs)
        ]
        table = html.table(["epoch", *self], rows)
        return html.block(html.paragraph(repr(self)), table, html.curves(losses))


def _has_every(name: str) -> str:
    return f"{name!r} has a number for every epoch: give what is measured now and then another name"
