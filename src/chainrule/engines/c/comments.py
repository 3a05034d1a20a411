"""Comments in C text, which nothing that stands in them ends."""

from __future__ import annotations

import textwrap

__all__ = ["comment", "comment_lines"]


def comment(text: str) -> list[str]:
    """Text as a comment, on as many lines as it takes."""
    first, *others = comment_lines(text)
    *lines, last = [f"/* {first}", *(f"   {line}" for line in others)]
    return [*lines, f"{last} */"]


def comment_lines(text: str) -> list[str]:
    """Text, at most four lines of it, as it may stand in a comment."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    text = text.replace("*/", "* /").replace("/*", "/ *")
    return textwrap.wrap(text, 92, break_long_words=False)[:4]
