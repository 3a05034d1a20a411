"""The page on pictures: what it shows is what its examples write, small, and said in words."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "plots.md"
SHOWN = re.findall(r"!\[([^\]]*)\]\(([^)\s]+)\)", PAGE.read_text("utf-8"))
WRITTEN = re.findall(r'"(plots/[\w.]+)"', PAGE.read_text("utf-8"))


def test_each_picture_shown_is_written_by_an_example():
    assert sorted(path for _, path in SHOWN) == sorted(WRITTEN)
    assert {f"plots/{path.name}" for path in (PAGE.parent / "plots").iterdir()} == set(WRITTEN)
    assert all(len(words.split()) >= 4 for words, _ in SHOWN)


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (PAGE.parent / "plots").iterdir()}
    assert max(sizes.values()) < 400_000, sizes
    assert sum(sizes.values()) < 1_200_000, sizes


def test_every_function_is_named():
    from chainrule import plots

    text = PAGE.read_text("utf-8")
    assert not [name for name in plots.__all__ if name not in text and name != "Animation"]
