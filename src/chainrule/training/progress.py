"""How training shows its progress: a bar on a terminal, a few plain lines elsewhere.

Everything goes to standard error, so that standard output stays for results. Plain lines hold no
control characters and stay few however many epochs there are, for log files.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, TextIO, final

from chainrule.extras import missing_extra

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["BarProgress", "PlainProgress", "Progress", "make_progress"]

_LINES = 20  # lines for a run, about
_LINE_SECONDS = 60.0  # and one at least this often where epochs are slow
_REFRESH_SECONDS = 0.1


class Progress(Protocol):
    """What shows how far a training has come."""

    def begin(self, epochs: int, n_samples: int) -> None:
        """The run starts: so many epochs of so many samples."""

    def update(self, epoch: int, share: float, loss: float) -> None:
        """Somewhere within an epoch, `share` of it done; `loss` is the last batch's."""

    def end_epoch(self, epoch: int, row: Mapping[str, float], is_due: bool = False) -> None:
        """An epoch is finished, with these numbers, which are to be seen where it `is_due`."""

    def note(self, text: str) -> None:
        """One line of its own, after that of its epoch."""

    def close(self) -> None:
        """The run is over, perhaps before its time."""


def make_progress(verbose: str | int | bool, stream: TextIO | None = None) -> Progress | None:
    """What shows the progress of one run, or None: 0 nothing, 1 a bar, 2 lines, "auto" as fits.

    "auto" is a bar where `stream` (standard error) is a terminal and rich is installed, else lines;
    so is 1 where rich is missing. Raises ValueError for anything else.
    """
    stream = sys.stderr if stream is None else stream
    if verbose not in ("auto", 0, 1, 2):
        raise ValueError(
            f"verbose is {verbose!r}: give 'auto', 0 (silent), 1 (a bar) or 2 (plain lines)"
        )
    if verbose == 0:
        return None
    if verbose == 2 or not stream.isatty():
        return PlainProgress(stream)
    try:
        return BarProgress(stream)
    except ImportError:
        return PlainProgress(stream)


@final
class PlainProgress:
    """Progress as plain lines: about twenty for a run, and one a minute where epochs are slow."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._course = _Course(0, 0)
        self._last_line = 0.0

    def begin(self, epochs: int, n_samples: int) -> None:
        """The run starts: so many epochs of so many samples."""
        self._course = _Course(epochs, n_samples)
        self._last_line = perf_counter()

    def update(self, epoch: int, share: float, loss: float) -> None:
        """Somewhere within an epoch, `share` of it done; `loss` is the last batch's."""
        if perf_counter() - self._last_line >= _LINE_SECONDS:
            done = self._course.describe(epoch - 1 + share)
            self._write(f"{self._course.label(epoch)}  {share:.0%}  loss {loss:.4g}  {done}")

    def end_epoch(self, epoch: int, row: Mapping[str, float], is_due: bool = False) -> None:
        """An epoch is finished, with these numbers, which are to be seen where it `is_due`."""
        self._course.end_epoch(epoch, row)
        slow = perf_counter() - self._last_line >= _LINE_SECONDS
        if slow or is_due or self._course.is_milestone(epoch):
            self._write_epoch()

    def note(self, text: str) -> None:
        """One line of its own, after that of its epoch."""
        self._write_epoch()
        self._write(text)

    def close(self) -> None:
        """The run is over, perhaps before its time."""
        self._write_epoch(is_last=True)

    def _write_epoch(self, is_last: bool = False) -> None:
        if line := self._course.take_line(is_last):
            self._write(line)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()
        self._last_line = perf_counter()


@final
class BarProgress:
    """Progress as a bar with rate and time left, drawn by rich; the plain lines stand above it.

    Raises ImportError where rich is missing.
    """

    def __init__(self, stream: TextIO, console: Console | None = None) -> None:
        try:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column
        except ImportError as missing:
            raise missing_extra("the progress bar needs rich", "cli") from missing
        self._bar = Progress(
            # on a narrow terminal the numbers are cut, not the epoch or the bar
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=14)),
            BarColumn(bar_width=20, table_column=Column(min_width=20)),
            TextColumn(
                "{task.percentage:>3.0f} %  {task.fields[numbers]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=console or Console(file=stream),
            auto_refresh=False,
            transient=True,
        )
        self._course = _Course(0, 0)
        self._next_refresh = 0.0

    def begin(self, epochs: int, n_samples: int) -> None:
        """The run starts: so many epochs of so many samples."""
        self._course = _Course(epochs, n_samples)
        self._task = self._bar.add_task(self._course.label(0), total=epochs, numbers="")
        self._bar.start()

    def update(self, epoch: int, share: float, loss: float) -> None:
        """Somewhere within an epoch, `share` of it done; `loss` is the last batch's."""
        self._draw(epoch, epoch - 1 + share, {"loss": loss})

    def end_epoch(self, epoch: int, row: Mapping[str, float], is_due: bool = False) -> None:
        """An epoch is finished, with these numbers, which are to be seen where it `is_due`."""
        self._course.end_epoch(epoch, row)
        if is_due or self._course.is_milestone(epoch):
            self._write_epoch()
        self._draw(epoch, epoch, row)

    def note(self, text: str) -> None:
        """One line of its own above the bar, after that of its epoch."""
        self._write_epoch()
        self._write(text)

    def close(self) -> None:
        """The run is over: the bar goes, the lines stay."""
        self._write_epoch(is_last=True)
        self._bar.stop()

    def _write_epoch(self, is_last: bool = False) -> None:
        if line := self._course.take_line(is_last):
            self._write(line)

    def _write(self, line: str) -> None:
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self, epoch: int, done: float, row: Mapping[str, float]) -> None:
        now = perf_counter()
        if now < self._next_refresh:
            return
        self._next_refresh = now + _REFRESH_SECONDS
        numbers = f"{self._course.describe(done)}  {_numbers(row)}"
        label = self._course.label(epoch)
        self._bar.update(self._task, completed=done, description=label, numbers=numbers)
        self._bar.refresh()


class _Course:
    """How long a run is, how far it has come, and at which epochs it writes a line."""

    def __init__(self, epochs: int, n_samples: int) -> None:
        self.epochs = epochs
        self.n_samples = n_samples
        self.start = perf_counter()
        self._unwritten: tuple[int, Mapping[str, float]] | None = None

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Keep what an epoch's line would say, until it is taken or the next epoch ends."""
        self._unwritten = epoch, row

    def take_line(self, is_last: bool = False) -> str:
        """The line of the epoch that ended last, "" where it has been taken before."""
        if self._unwritten is None:
            return ""
        (epoch, row), self._unwritten = self._unwritten, None
        return f"{self.label(epoch)}  {_numbers(row)}  {self.describe(epoch, is_last)}"

    def is_milestone(self, epoch: int) -> bool:
        before, now = (number * _LINES // self.epochs for number in (epoch - 1, epoch))
        return epoch == 1 or now > before

    def label(self, epoch: int) -> str:
        return f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}"

    def describe(self, done: float, is_last: bool = False) -> str:
        """Rate and time left after so many epochs; for the last one the time it all took."""
        seconds = perf_counter() - self.start
        if not done or not seconds:
            return ""
        rate = f"{_rounded(done * self.n_samples / seconds)} samples/s"
        if is_last or done >= self.epochs:
            return f"{rate}, {_duration(seconds)}"
        return f"{rate}, {_duration(seconds / done * (self.epochs - done))} left"


def _numbers(row: Mapping[str, float]) -> str:
    return "  ".join(
        f"{name} {value:.4g}" for name, value in row.items() if name != "learning_rate"
    )


def _rounded(number: float) -> str:
    """Three digits are enough: 12 345.6 -> 12,300."""
    return f"{float(f'{number:.3g}'):,.0f}" if number >= 100 else f"{number:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02.0f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
