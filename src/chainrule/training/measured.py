"""What a network remembers of its last fit, so that `evaluate` measures the same."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from chainrule.optim import Minimizer, Optimizer

__all__ = ["Measured", "NotSaved"]


@dataclass(frozen=True)
class NotSaved:
    """Stands for something of the user's own that was left out when a network was saved."""

    what: str


class Measured(NamedTuple):
    """What the last `fit` minimised and reported, and by what, as it was given."""

    loss: Any = None
    metrics: Any = None
    penalty: Any = None
    optimizer: Any = None
    batch_size: Any = None

    def saved(self) -> Measured:
        """The same for a file: names and what is the library's own; a user's functions are not.

        A file with them could be read only where they are defined too, and a lambda nowhere.
        """
        parts = self._asdict().items()
        return Measured(
            **{name: part if _is_ours(part) else NotSaved(_describe(part)) for name, part in parts}
        )


def _is_ours(part: Any) -> bool:
    if part is None or isinstance(part, str | int | float | NotSaved):
        return True
    if isinstance(part, list | tuple | set | frozenset):
        return all(map(_is_ours, part))
    if isinstance(part, Mapping):
        return all(map(_is_ours, part.values()))
    if isinstance(part, functools.partial):
        return all(map(_is_ours, (part.func, *part.args, *part.keywords.values())))
    if isinstance(part, Optimizer | Minimizer):  # a schedule may be the user's own
        return _is_of_chainrule(part) and all(map(_is_ours, vars(part).values()))
    # functions of ours by their names, L1 and L2 by their classes' module
    return _is_of_chainrule(part)


def _is_of_chainrule(part: Any) -> bool:
    return str(getattr(part, "__module__", "")).split(".")[0] == "chainrule"


def _describe(part: Any) -> str:
    if callable(part):
        name = getattr(part, "__name__", type(part).__name__)
        return f"{name}, a function of your own"
    return f"{part!r}, with functions of your own"
