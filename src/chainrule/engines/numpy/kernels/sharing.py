"""Images dealt out to threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

__all__ = ["share_images"]


def share_images(work: Callable[[int, int], Any], n_images: int, threads: int) -> list[Any]:
    """What `work(first, last)` returns for equal parts of the images, each on a thread of its own.

    NumPy lets the other threads run while it copies and multiplies.
    """
    threads = min(threads, n_images)
    if threads <= 1:
        return [work(0, n_images)]
    from concurrent.futures import wait
    from contextvars import copy_context

    parts = [(n_images * k // threads, n_images * (k + 1) // threads) for k in range(threads)]
    pool = _thread_pool(threads - 1, os.getpid())
    others = [pool.submit(copy_context().run, work, a, b) for a, b in parts[1:]]
    try:
        own = work(*parts[0])
    finally:
        wait(others)  # whatever happens: they write into memory that the next call uses again
    return [own, *(other.result() for other in others)]


@cache
def _thread_pool(n_threads: int, process: int) -> Any:
    """Threads that stay for the next call; a forked process has none of its parent's."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(n_threads)
