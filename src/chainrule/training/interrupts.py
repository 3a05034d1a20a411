"""Ctrl-C between two steps, not within one: an update in place is done whole or not at all."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["deferred_interrupts"]


@contextmanager
def deferred_interrupts() -> Iterator[list[bool]]:
    """Collect Ctrl-C in the list this gives instead of raising at once.

    Look at the list between two steps, and raise KeyboardInterrupt where it is not empty; where
    nobody has looked, it is raised at the end. A second Ctrl-C raises at once. Outside the main
    thread, and where Ctrl-C has a handler that is not Python's own, nothing is changed and the list
    stays empty.
    """
    pending: list[bool] = []
    python_handles = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if threading.current_thread() is not threading.main_thread() or not python_handles:
        yield pending
        return

    def remember(signal_number: int, frame: Any) -> None:
        if pending:
            raise KeyboardInterrupt
        pending.append(True)

    signal.signal(signal.SIGINT, remember)
    try:
        yield pending
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pending:  # reached only where no exception is under way
        raise KeyboardInterrupt
