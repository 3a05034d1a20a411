"""The pages of docs/layers: their pictures exist, are small, and can be drawn again."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "layers"
PAGES = sorted(FOLDER.glob("*.md"))
LINK = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
SLOW = {"recurrent", "attention"}  # they train networks


def linked(page: Path) -> list[tuple[str, Path]]:
    """(what is said for those who cannot see it, path) of each picture of a page."""
    return [(words, FOLDER / path) for words, path in LINK.findall(page.read_text("utf-8"))]


@pytest.fixture
def pictures(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    yield importlib.import_module("pictures")
    for name in ("pictures", "drawing"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_has_pictures_that_exist(page):
    found = linked(page)
    assert found or page.stem == "README"
    for words, path in found:
        assert path.is_file(), f"{page.name} shows {path.name}, which is not there"
        assert words.strip(), f"{page.name} shows {path.name} without a word on what it is"


def test_each_picture_is_shown_and_drawn_by_the_script(pictures):
    files = {path.stem for path in (FOLDER / "pictures").iterdir()}
    shown = {path.stem for page in PAGES for _, path in linked(page)}
    assert files == shown == {draw.__name__ for draw in pictures.PICTURES}


def test_pictures_are_small():
    sizes = {path.name: path.stat().st_size for path in (FOLDER / "pictures").iterdir()}
    assert max(sizes.values()) < 120_000
    assert sum(sizes.values()) < 700_000


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8"))
    assert links
    for link in links:
        assert (FOLDER / link).exists(), f"{page.name} links to {link}"


def test_each_page_is_in_the_index():
    index = (FOLDER / "README.md").read_text("utf-8")
    assert {page.name for page in PAGES} - {"README.md"} <= set(re.findall(r"\((\w+\.md)", index))


NAMES = sorted(path.stem for path in (FOLDER / "pictures").glob("*.png"))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in NAMES]
)
def test_the_script_draws(name, pictures, tmp_path):
    from matplotlib.image import imread

    (draw,) = (draw for draw in pictures.PICTURES if draw.__name__ == name)
    (path,) = pictures.main(tmp_path, [draw])
    assert path == tmp_path / f"{name}.png"
    assert np.ptp(imread(path)) > 0.5


@pytest.mark.slow
def test_the_script_draws_the_same_twice(pictures, tmp_path):
    first, second = (pictures.main(tmp_path / run) for run in ("first", "second"))
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
