"""An end for trials that do not end: an edited line can make a loop go on for ever.

One thread looks now and then whether a trial takes far too long, and raises `TooLongError` within
it. Only Python's own loops can be ended so; a single call of NumPy's comes to its end first.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

__all__ = ["Stopwatch", "TooLongError"]

_EVERY = 0.2


class TooLongError(Exception):
    """Raised within a trial that takes far longer than the others."""


@final
class Stopwatch:
    """Watches one trial at a time; `limit` is in seconds, and its thread ends with `stop`."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._began: float | None = None
        self._thread_id = 0
        self._fired = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="chainrule review", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._ended.set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Within this the clock runs."""
        with self._lock:
            self._thread_id, self._fired = threading.get_ident(), False
            self._began = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._began = None
                fired = self._fired
            if fired:  # it may arrive a little later: wait for it here
                try:
                    for _ in range(100):
                        time.sleep(0.001)
                except TooLongError:
                    pass

    def _look(self) -> None:
        while not self._ended.wait(_EVERY):
            with self._lock:
                waiting = self._began is not None and not self._fired
                if waiting and time.monotonic() - (self._began or 0.0) > self.limit:
                    self._fired = True
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(
                        ctypes.c_ulong(self._thread_id), ctypes.py_object(TooLongError)
                    )
