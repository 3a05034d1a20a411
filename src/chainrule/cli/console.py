"""What the commands share: the two streams, tables, JSON, and how a command ends early."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

from chainrule.files import require_writable
from chainrule.names import unknown_name

__all__ = [
    "CommandError",
    "choose",
    "json_text",
    "message",
    "new_table",
    "number",
    "output_folder",
    "print_table",
    "stdout",
    "write_json",
]

_PLAIN_WIDTH = 160  # of lines that go to a file or a pipe, where no terminal says how wide it is


class CommandError(Exception):
    """Ends a command: one line for the user, and the exit status (2: a mistake in its options)."""

    def __init__(self, text: str, status: int = 1) -> None:
        super().__init__(text)
        self.status = status


def stdout() -> Console:
    """Where results go: in colour on a terminal, plain lines elsewhere (NO_COLOR is respected)."""
    from rich.console import Console

    plain = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(file=sys.stdout, width=_PLAIN_WIDTH if plain else None, highlight=False)


def message(text: str) -> None:
    """One line for the person in front of the program, on stderr."""
    print(text, file=sys.stderr, flush=True)


def new_table(console: Console, *columns: str, left: Sequence[str] = ()) -> Table:
    """A table with these columns, numbers to the right and the columns of `left` to the left."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in left else "right")
    return table


def print_table(console: Console, table: Table) -> None:
    """Print a table; without blanks at the ends of lines where it goes to a file."""
    if console.is_terminal:
        console.print(table)
        return
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def write_json(value: Any) -> None:
    """The one JSON text of a `--json` run, on stdout."""
    print(json_text(value))


def json_text(value: Any) -> str:
    """A value as JSON: arrays as lists, and what JSON has no number for (NaN, inf) as null."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def number(value: Any) -> str:
    """A number, list or text as a table shows it: six digits, nothing for None.

    >>> number(0.28762916516), number([0.5161, 0.5]), number(None), number("0.96 to 0.98")
    ('0.287629', '0.5161, 0.5', '', '0.96 to 0.98')
    """
    if value is None:
        return ""
    if isinstance(value, np.ndarray | list | tuple):
        return ", ".join(number(item) for item in value)
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return str(value)


def choose(name: str, known: Iterable[str], what: str) -> str:
    """The name, if it is known; else raises CommandError (status 2) with the nearest one."""
    known = sorted(known)
    if name in known:
        return name
    raise CommandError(unknown_name(what, name, known), status=2)


def output_folder(given: str | Path, names: Iterable[str] = ()) -> Path:
    """The folder for the results, once it is certain that files of these names can be written.

    Raises CommandError where they cannot: with status 2 for what is no folder, 1 where the folder
    is not ours to write to or its disk is full.
    """
    folder = Path(given)
    if not str(given).strip():
        raise CommandError("--output is empty: give the folder for the results", 2)
    try:
        require_writable(folder, names)
    except ValueError as error:  # a zero byte
        raise CommandError(f"--output is {str(given)!r}, which names no folder", 2) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise CommandError(f"--output is {str(given)!r}, which is no folder", 2) from error
    except OSError as error:
        why, status = error.strerror or error, 2 if error.errno == errno.ENAMETOOLONG else 1
        raise CommandError(f"nothing can be written into {folder}: {why}", status) from error
    return folder
