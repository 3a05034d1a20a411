"""What a value is called where it is explained: a name, an element of it, what it derives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

__all__ = ["Index", "Name", "Slope"]

Index = tuple[int, ...]


@final
@dataclass(frozen=True)
class Name:
    """A value, or one element of it where `index` is given.

    Of a derivative of the result, `of` is the name of what it is the derivative by.

    >>> str(Name("z1").at((0, 2))), str(Name("d_z1", of=Name("z1")))
    ('z1[0, 2]', 'd_z1')
    """

    base: str
    index: Index | None = None
    of: Name | None = None

    def at(self, index: Index) -> Name:
        """The element at an index; a number has none but itself."""
        return replace(self, index=index) if index else self

    def __str__(self) -> str:
        return self.base + ("" if self.index is None else _brackets(self.index))


@final
@dataclass(frozen=True)
class Slope:
    """The derivative of one element by another, all else held still."""

    of: Name
    by: Name

    def __str__(self) -> str:
        return f"∂{self.of}/∂{self.by}"


def _brackets(index: Index) -> str:
    return f"[{', '.join(map(str, index))}]"
