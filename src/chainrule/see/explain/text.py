"""An explanation as plain text, for a terminal."""

from __future__ import annotations

import textwrap

from chainrule.see.explain.content import Chapter, Content
from chainrule.see.explain.pieces import array_in_part, head, pieces, shape_text
from chainrule.see.explain.steps import Given, Step

__all__ = ["as_text"]

_NARROWEST = 60


def as_text(content: Content, width: int) -> str:
    """The whole explanation in lines of at most so many characters."""
    width = max(width, _NARROWEST)
    lines = [*_wrapped(content.title, width, ""), ""]
    for fact in content.facts:
        lines += _wrapped(fact, width, "  ")
    if content.given:
        lines += ["", "GIVEN"]
        for given in content.given:
            lines += _given(given, width, content.digits)
    for chapter in content.chapters:
        lines += ["", *_chapter(chapter, width, content)]
    return "\n".join(line.rstrip() for line in lines)


def _given(given: Given, width: int, digits: int) -> list[str]:
    facts = " ".join(filter(None, [given.label, shape_text(given.value)]))
    return _beside(f"{given.name} = {array_in_part(given.value, digits)}", facts, width)


def _chapter(chapter: Chapter, width: int, content: Content) -> list[str]:
    lines = _wrapped(f"{_heading(chapter.title)}  {chapter.words}", width, "  ")
    for step in chapter.steps:
        lines += _step(step, width, content)
    return lines


def _heading(title: str) -> str:
    return title.upper() if title.isalpha() else title  # names keep their case


def _step(step: Step, width: int, content: Content) -> list[str]:
    facts = " ".join(filter(None, [step.layer, shape_text(step.value)]))
    lines = _beside(head(step), facts, width)
    for piece in pieces(step, content.digits, content.with_symbols):
        label = "" if piece.kind == "number" else f"{piece.kind}: "  # "local", to save a line
        lines += _wrapped(f"    {label}{piece.text}", width, "        ")
    return lines


def _beside(left: str, right: str, width: int) -> list[str]:
    """Two texts at the ends of a line, or below each other."""
    lines = _wrapped(f"  {left}", width, "        ")
    room = width - len(lines[-1]) - len(right)
    if room >= 2:
        lines[-1] += " " * room + right
    elif right:
        lines.append(right.rjust(width))
    return lines


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
