"""What a network remembers of its last fit, so that `evaluate` measures the same."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

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

    def completed_by(self, last: Measured, caller: str) -> Measured:
        """This, and what it leaves open from the last fit; the optimizer is not looked at.

        Raises ValueError where that would be something of the user's own that was not saved, and
        where there is no loss. `caller` is who asks, in the error.
        """
        parts = {}
        for name in ("loss", "metrics", "penalty"):
            own = getattr(self, name)
            parts[name] = own if own is not None else last.kept(name)
        if parts["loss"] is None:
            raise ValueError(f"{caller} does not know the loss before a fit: give loss=, a name")
        return self._replace(**parts)

    def kept(self, name: str) -> Any:
        """One part; raises ValueError where it was not saved with the network."""
        part = getattr(self, name)
        if isinstance(part, NotSaved):
            raise ValueError(
                f"the {name} of the last fit was {part.what}, which is not saved with a network: "
                f"give {name}="
            )
        return part

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
    # functions of ours by their names, L1 and L2 by their classes' module; an optimizer of ours may
    # hold a schedule that is a function of the user's
    is_ours = str(getattr(part, "__module__", "")).split(".")[0] == "chainrule"
    return is_ours and all(map(_is_ours, getattr(part, "__dict__", {}).values()))


def _describe(part: Any) -> str:
    if callable(part):
        name = getattr(part, "__name__", type(part).__name__)
        return f"{name}, a function of your own"
    return f"{part!r}, with functions of your own"
