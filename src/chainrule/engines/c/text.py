"""Comments and copies, as lines of C."""

from __future__ import annotations

import textwrap

from chainrule.engines.c.access import Access

__all__ = ["INDICES", "comment", "copy_lines"]

INDICES = [*"ijkl", *(f"l{number}" for number in range(5, 65))]
"""What the indices of loops are called, from the outermost; names that nothing else has."""


def copy_lines(source: Access, target: Access) -> list[str]:
    """The elements of one array written to another of equal shape."""
    if source.is_contiguous and target.is_contiguous:
        size = f"{source.size} * sizeof({source.c_type})"
        return [f"memcpy({target.first}, {source.first}, {size});"] if source.size else []
    loops = INDICES[: len(source.shape)]
    lines = [f"{target.at(*loops)} = {source.at(*loops)};"]
    for index, extent in reversed(list(zip(loops, source.shape, strict=True))):
        head = f"for (long {index} = 0; {index} < {extent}; {index}++)"
        lines = [head, *(f"    {line}" for line in lines)]
    return lines


def comment(text: str) -> list[str]:
    """Text as a comment, on as many lines as it takes; what ends a comment in C does not end it."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    text = text.replace("*/", "* /").replace("/*", "/ *")
    lines = textwrap.wrap(text, 92, break_long_words=False)[:4]
    if len(lines) == 1:
        return [f"/* {lines[0]} */"]
    return [f"/* {lines[0]}", *(f"   {line}" for line in lines[1:-1]), f"   {lines[-1]} */"]
