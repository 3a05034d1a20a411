"""Make the pictures of docs/draw.md anew: run its examples in docs/pictures.

python tools/draw_pictures.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "draw.md"


def main() -> None:
    """Run the examples of the page, which save their pictures where they run."""
    folder = PAGE.parent / "pictures"
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    namespace: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S):
        exec(code, namespace)
    print(*sorted(path.name for path in folder.iterdir()), sep="\n")


if __name__ == "__main__":
    main()
