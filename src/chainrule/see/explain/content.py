"""What an explanation holds, before it is written in any format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from chainrule.see.explain.steps import Given, Step

__all__ = ["Chapter", "Content"]


@final
@dataclass(frozen=True)
class Chapter:
    """Steps that belong together, under a title and a sentence."""

    title: str
    words: str
    steps: tuple[Step, ...]


@final
@dataclass(frozen=True)
class Content:
    """Title, facts, what is given, and the chapters; `with_symbols` names elements as well."""

    title: str
    facts: tuple[str, ...]
    given: tuple[Given, ...]
    chapters: tuple[Chapter, ...]
    digits: int
    with_symbols: bool
