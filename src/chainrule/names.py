"""Finding the name a user meant."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["nearest_name"]


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name most like a misspelled one, or "" where none is close.

    >>> nearest_name("sigmiod", ["tanh", "sigmoid"])
    'sigmoid'
    """
    import difflib  # takes longer to import than all of this library's core

    by_lower = {other.lower(): other for other in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[matches[0]] if matches else ""
