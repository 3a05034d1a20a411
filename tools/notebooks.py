"""Write the notebooks of `notebooks/` from the scripts beside them: `python tools/notebooks.py`.

A script is the source: `# %%` begins a cell of code, `# %% [markdown]` a cell of text in comments,
which is how editors run scripts cell by cell. A notebook holds no outputs and nothing else that
changes by itself, so that it differs only where its script does.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "notebooks"


def notebook(script: str, name: str) -> dict[str, Any]:
    """The notebook of a script, in nbformat 4.5."""
    _, *parts = re.split(r"^# %%", script, flags=re.MULTILINE)
    return {
        "cells": [_cell(part, f"{name}-{i}") for i, part in enumerate(parts)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _cell(part: str, name: str) -> dict[str, Any]:
    mark, _, body = part.partition("\n")
    cell: dict[str, Any] = {"id": name, "metadata": {}}
    if mark.strip() == "[markdown]":
        body = re.sub(r"^# ?", "", body, flags=re.MULTILINE)
        return {"cell_type": "markdown", **cell, "source": body.strip().splitlines(True)}
    if mark.strip():
        raise ValueError(f"'# %%{mark}' begins no cell: write '# %%' or '# %% [markdown]'")
    source = body.strip().splitlines(True)
    return {"cell_type": "code", "execution_count": None, **cell, "outputs": [], "source": source}


def text(script: Path) -> str:
    """The notebook's file, as text."""
    made = notebook(script.read_text(encoding="utf-8"), script.stem)
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for script in sorted(FOLDER.glob("*.py")):
        script.with_suffix(".ipynb").write_text(text(script), encoding="utf-8", newline="\n")
