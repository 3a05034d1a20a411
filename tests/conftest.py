"""Where the tests find data, and what all of them share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

_DATA_BESIDE = ROOT.parent / "shared" / "data"
if _DATA_BESIDE.is_dir():
    os.environ.setdefault("CHAINRULE_DATA", str(_DATA_BESIDE))
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets one, and tables would be folded to it

# The same examples on every machine, and no deadline: CI machines are shared.
settings.register_profile("house", derandomize=True, database=None, deadline=None)
settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write the golden files anew")
