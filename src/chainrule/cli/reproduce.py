"""`chainrule reproduce`: the published experiments beside our own figures."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chainrule.cli.console import (
    CommandError,
    message,
    new_table,
    number,
    output_folder,
    print_table,
    stdout,
    write_json,
)
from chainrule.experiments import Experiment, Row
from chainrule.experiments import reproduce as run

__all__ = ["reproduce"]

_HOLDS = {True: ("yes", "green"), False: ("NO", "bold red"), None: ("not run", "yellow")}


def reproduce(
    names: list[str],
    quick: bool,
    output: str | Path | None,
    as_json: bool,
    quiet: bool,
    seeds: int | None = None,
) -> int:
    """Run the experiments of these names (all for none) and print their rows.

    Returns the exit status: 1 if a row does not hold, 130 after Ctrl-C, which ends the run with the
    rows so far. Raises CommandError for an unknown name, and for a folder that cannot be written.
    """
    on_begin = None if quiet else _announce
    folder = None if output is None else output_folder(output)
    try:
        found = run(names, quick=quick, output=folder, seeds=seeds, on_begin=on_begin)
    except ValueError as unknown:
        raise CommandError(str(unknown), status=2) from unknown
    rows: list[Row] = []
    interrupted = False
    try:
        with _ctrl_c_ends_all():
            rows.extend(found)
    except (_Interrupted, KeyboardInterrupt):
        interrupted = True
    if as_json:
        write_json([vars(row) for row in rows])
    else:
        _print_table(rows)
    if folder is not None and not quiet:
        message(f"pictures are in {folder}")
    if interrupted:
        message("interrupted: these are the rows so far")
        return 130
    return 1 if any(row.holds is False for row in rows) else 0


class _Interrupted(BaseException):
    """Ctrl-C while experiments run."""


@contextmanager
def _ctrl_c_ends_all() -> Iterator[None]:
    """Let Ctrl-C end the whole run.

    As a KeyboardInterrupt, `fit` would take it and end one training of one seed.
    """

    def end(_signal: int, _frame: Any) -> None:
        raise _Interrupted

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _announce(experiment: Experiment) -> None:
    message(f"{experiment.name}: {experiment.title} …")


def _print_table(rows: list[Row]) -> None:
    from rich.text import Text

    console = stdout()
    columns = ("experiment", "quantity", "published", "ours", "holds", "seconds")
    table = new_table(console, *columns, left=columns[:5])
    for row in rows:
        table.add_row(
            Text(row.experiment),
            Text(row.quantity),
            Text(number(row.published)),
            Text(number(row.measured)),
            Text(*_HOLDS[row.holds]),
            f"{row.seconds:.2f}",
        )
    print_table(console, table)
    held = sum(row.holds is True for row in rows)
    absent = sum(row.holds is None for row in rows)
    text = f"{held} of {len(rows) - absent} rows hold"
    console.print(text + (f", {absent} not run" if absent else ""))
