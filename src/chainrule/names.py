"""Names that users give: looked up in a table, and where there is no such name, the nearest one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

__all__ = ["did_you_mean", "look_up", "nearest_name", "unknown_name"]

T = TypeVar("T")

_LONGEST_SHOWN = 60
_MOST_LISTED = 40


def nearest_name(name: str, known: Iterable[str]) -> str:
    """The known name most like a misspelled one, or "" where none is close.

    >>> nearest_name("sigmiod", ["tanh", "sigmoid"])
    'sigmoid'
    """
    import difflib  # takes longer to import than all of this library's core

    by_lower = {other.lower(): other for other in known}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[matches[0]] if matches else ""


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """A piece of an error message, put behind the name: the nearest known one, or nothing.

    >>> did_you_mean("acuracy", ["accuracy", "loss"])
    " (did you mean 'accuracy'?)"
    """
    nearest = nearest_name(str(name), known)
    return f" (did you mean {nearest!r}?)" if nearest else ""


def unknown_name(what: str, name: Any, known: Collection[str]) -> str:
    """The message about a name that does not exist: the nearest one, and those there are.

    >>> unknown_name("loss", "hing", ["cross_entropy", "hinge"])
    "there is no loss 'hing': did you mean 'hinge'? The names are cross_entropy, hinge"
    """
    shown = repr(name)
    if len(shown) > _LONGEST_SHOWN:
        shown = f"{shown[:_LONGEST_SHOWN]}…"
    nearest = nearest_name(str(name), known)
    hint = f"did you mean {nearest!r}? The" if nearest else "the"
    names = list(known)
    more = len(names) - _MOST_LISTED
    listed = ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
    return f"there is no {what} {shown}: {hint} names are {listed}"


def look_up(table: Mapping[str, T], name: Any, what: str) -> T:
    """The entry of that name; raises ValueError with the nearest name and those there are.

    >>> look_up({"L1": 1, "L2": 2}, "L2", "penalty")
    2
    """
    if isinstance(name, str) and name in table:
        return table[name]
    raise ValueError(unknown_name(what, name, table))
