"""`check_backprop` and `assert_backprop`: the whole way from the reader's code to a report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chainrule.review.adapt import make_case
from chainrule.review.bearings import CannotFollowError, Situation
from chainrule.review.case import Case
from chainrule.review.faults import find_faults
from chainrule.review.options import Options
from chainrule.review.report import BackpropError, BackpropReport, Finding
from chainrule.review.situation import examine
from chainrule.review.stopwatch import Stopwatch
from chainrule.review.trial import CannotCopyError

__all__ = ["assert_backprop", "check_backprop"]


def check_backprop(
    *what: Any,
    loss: Any = None,
    loss_gradient: Any = None,
    forward: Any = None,
    method: str | None = None,
    learning_rate: float | None = None,
    seconds: float = 30.0,
    seed: int = 0,
    **named: Any,
) -> BackpropReport:
    """Check hand-written backpropagation and name the first line that goes wrong.

    First comes the code, in one of these forms, then the arguments it is called with:

    - a function that returns gradients, or a loss and gradients, or that updates parameters in
      place: `check_backprop(backprop, params, x, y)`, `check_backprop(network.backprop, x, y)`;
    - a forward and a backward function: `check_backprop(forward, backward, params, x, y)`, with the
      arguments of the forward pass first;
    - an object with methods such as `fit`, `partial_fit`, `backprop`, or `forward` and `backward`:
      `check_backprop(network, x, y)`; `method=` and `forward=` name them where they are called
      otherwise;
    - a list of layers with `forward` and `backward`: `check_backprop(layers, x, y, loss=...)`, or
      one layer and its input, `check_backprop([layer], x)`;
    - the path of a file: `check_backprop("my_backprop.py")`, which runs it.

    `loss` is a function of output and target, or of the arguments, or a name such as "mse"; it is
    only needed where the code computes none and a usual one does not fit. `loss_gradient` is the
    reader's own derivative of it, for layers. Other names are passed to the functions that take
    them. The code is run many times, on copies: nothing handed over is changed. `seconds` bounds
    the search for explanations.

    The true derivatives are those of the reader's own forward pass. Raises TypeError or ValueError
    where something is missing to run the code at all.

    >>> import numpy as np
    >>> def backprop(w, x, y):
    ...     residual = x @ w - y
    ...     return 0.5 * np.sum(residual**2), x.T @ residual
    >>> x = np.random.default_rng(0).normal(size=(5, 2))
    >>> check_backprop(backprop, np.ones(2), x, np.zeros(5)).ok
    True
    """
    if len(what) == 1 and isinstance(what[0], str | Path):
        from chainrule.review.discover import check_file

        return check_file(Path(what[0]), loss=loss, seconds=seconds, seed=seed, **named)
    options = Options(
        loss=loss,
        loss_gradient=loss_gradient,
        forward=forward,
        method=method,
        learning_rate=learning_rate,
        **named,
    )
    case = make_case(what, options)
    stopwatch = Stopwatch(limit=60.0)
    try:
        with np.errstate(all="ignore"):
            situation = examine(case, seconds, seed, stopwatch)
            return _report(case, situation, find_faults(situation))
    except (CannotFollowError, CannotCopyError) as why:
        raise ValueError(str(why)) from why
    finally:
        stopwatch.stop()


def assert_backprop(*what: Any, **options: Any) -> BackpropReport:
    """`check_backprop` for tests: raises BackpropError, an AssertionError, at a fault."""
    report = check_backprop(*what, **options)
    if not report.ok:
        raise BackpropError(report)
    return report


def _report(case: Case, situation: Situation, findings: list[Finding]) -> BackpropReport:
    notes = [*case.notes, *situation.notes]
    name = situation.goal.name
    if situation.assumed:
        name = situation.assumed
        notes.append(
            f"the code computes no loss that could be called, so this one was assumed: {name}; "
            "give loss= if another is meant"
        )
    notes += [f"not followed: {why}" for why in situation.bench.unreadable]
    return BackpropReport(
        name=case.title,
        ok=not findings,
        findings=tuple(findings),
        gradients=situation.first_errors,
        loss=name,
        method=situation.truth.method,
        notes=tuple(dict.fromkeys(notes)),
    )
