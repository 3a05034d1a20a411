"""What `explain` returns: a derivation that can be printed, shown in a notebook, and saved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import final

from chainrule.files import replacing
from chainrule.names import look_up
from chainrule.see.explain.content import Content

__all__ = ["FORMATS", "Explanation"]

_WIDEST = 100  # characters: longer lines are hard to read

FORMATS = {"text": ".txt", "markdown": ".md", "latex": ".tex", "html": ".html"}
"""The formats by name, and the suffix of each."""


# Whoever trains imports this file, and most write nothing: each writer is imported when it writes.


@final
class Explanation:
    """A derivation with its numbers: `print` it, or take `markdown()`, `latex()` or `html()`.

    `content` is what is told, as data.
    """

    def __init__(self, content: Content) -> None:
        self.content = content

    def text(self, width: int | None = None) -> str:
        """Plain text in lines of at most `width` characters, by default the terminal's, or 100."""
        if width is None:
            width = min(shutil.get_terminal_size((_WIDEST, 24)).columns, _WIDEST)
        from chainrule.see.explain.text import as_text

        return as_text(self.content, width)

    def markdown(self) -> str:
        """A Markdown document, with formulas as code."""
        from chainrule.see.explain.markdown import as_markdown

        return as_markdown(self.content)

    def latex(self) -> str:
        """A whole LaTeX document, which compiles with pdflatex and needs amsmath only."""
        from chainrule.see.explain.latex import as_latex

        return as_latex(self.content)

    def html(self) -> str:
        """A whole HTML page, without scripts."""
        from chainrule.see.explain.html import as_page

        return as_page(self.content)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file, in the format of its suffix: .txt, .md, .tex or .html.

        Raises ValueError for any other suffix.
        """
        by_suffix: dict[str, Callable[[], str]] = {
            ".txt": lambda: self.text(_WIDEST) + "\n",
            ".md": self.markdown,
            ".tex": self.latex,
            ".html": self.html,
        }
        write = look_up(by_suffix, Path(path).suffix.lower(), "suffix of an explanation's file")
        text = write()
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        n_steps = sum(len(chapter.steps) for chapter in self.content.chapters)
        return f"<{self.content.title}: {n_steps} steps>"

    def _repr_html_(self) -> str:
        from chainrule.see.explain.html import as_html

        return as_html(self.content)
