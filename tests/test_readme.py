"""The examples of README.md and docs/ run: one namespace a file, its blocks in their order.

```python blocks are run, ```pycon blocks are tried as doctests; ```python no-run is for a sketch.
"""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FILES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

FENCE = re.compile(r"^( *)(```+)([^`\n]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
RUN, DOCTEST, SKETCH = "python", "pycon", "python no-run"


def blocks(text: str) -> list[tuple[str, int, str]]:
    """(info string, line of the first line of code, code) of every fenced block."""
    return [
        (match[3].strip(), text.count("\n", 0, match.start(4)) + 1, match[4])
        for match in FENCE.finditer(text)
    ]


def run(code: str, line: int, path: Path, namespace: dict[str, object]) -> None:
    # Blank lines in front, so that a traceback names the line of the file.
    exec(compile("\n" * (line - 1) + code, path, "exec"), namespace)


def run_doctest(code: str, line: int, path: Path, namespace: dict[str, object]) -> None:
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    test = doctest.DocTestParser().get_doctest(code, namespace, path.name, str(path), line - 1)
    report: list[str] = []
    doctest.DocTestRunner(optionflags=options).run(test, out=report.append, clear_globs=False)
    namespace.update(test.globs)
    assert not report, "".join(report)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_run(path, tmp_path, monkeypatch):
    if not path.is_file():
        pytest.fail(f"{path.name} is missing: the house needs one, with examples that run")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for info, line, code in blocks(path.read_text(encoding="utf-8")):
        if info == RUN:
            run(code, line, path, namespace)
        elif info == DOCTEST:
            run_doctest(code, line, path, namespace)
        elif info.lower().startswith("py") and info != SKETCH:
            pytest.fail(f"{path.name}:{line - 1}: ```{info} is none of {RUN}, {DOCTEST}, {SKETCH}")


def test_drawings_in_the_docs_are_those_that_are_drawn(tmp_path, monkeypatch, request):
    """The pictures of docs/see.md, which the README shows too; --write-golden draws them anew."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "see.md"
    namespace: dict[str, object] = {"__name__": "__main__"}
    for info, line, code in blocks(page.read_text(encoding="utf-8")):
        if info == RUN:
            run(code, line, page, namespace)
    drawn = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.glob("*.svg")}
    assert set(drawn) == {"neuron.svg", "gradients.svg"}
    for name, text in drawn.items():
        picture = page.parent / "pictures" / name
        if request.config.getoption("--write-golden"):
            picture.write_text(text, encoding="utf-8", newline="\n")
        is_same = picture.read_text(encoding="utf-8") == text
        assert is_same, f"{name} is drawn in another way now: look at it, and write it anew"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pictures_and_notebooks_are_there(path):
    text = path.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#\s:]+\.(?:svg|png|gif|ipynb))\)|src=\"([^\":]+)\"", text)
    missing = [a or b for a, b in links if not (path.parent / (a or b)).is_file()]
    assert not missing


def test_readme_has_examples():
    assert any(info == RUN for info, _, _ in blocks(README.read_text(encoding="utf-8")))


def test_blocks_are_found_with_their_lines():
    text = "# Title\n\n```python\na = 1\n```\n\n- item\n\n  ```text\n  b\n  ```\n"
    assert blocks(text) == [("python", 4, "a = 1\n"), ("text", 10, "  b\n")]


def test_a_wrong_example_is_noticed(tmp_path):
    with pytest.raises(NameError):
        run("undefined\n", 3, tmp_path / "x.md", {})
    with pytest.raises(AssertionError, match="Expected"):
        run_doctest(">>> 1 + 1\n3\n", 3, tmp_path / "x.md", {})
