"""Where the tests find data, and what all of them share."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

collect_ignore = ["mutants.py"]  # a tool that runs tests, and none itself

_DATA_BESIDE = ROOT.parent / "shared" / "data"
if _DATA_BESIDE.is_dir():
    os.environ.setdefault("CHAINRULE_DATA", str(_DATA_BESIDE))

# What the tests compile is kept for one run, in a folder of its own; the processes of pytest-xdist
# have it from the one that starts them, and the user's own cache is neither read nor written.
_CACHE = ""
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = os.environ["CHAINRULE_CACHE"] = tempfile.mkdtemp(prefix="chainrule-tests-")
os.environ["MPLBACKEND"] = "Agg"
os.environ.pop("COLUMNS", None)  # pytest-xdist sets one, and tables would be folded to it


class NetworkUsed(BaseException):
    """No test uses the network. Not an Exception, so that no code under test can swallow it."""


def _refuse_the_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python asks it before any socket connects, sends or looks a host up."""
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        raise NetworkUsed(f"a test looks up the host {arguments[0]!r}")
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        address = arguments[1]
        if isinstance(address, tuple):  # a path is a socket of this machine
            raise NetworkUsed(f"a test connects to {address}")


sys.addaudithook(_refuse_the_network)
# What tests start as processes of their own has no hook: their requests end on this machine.
for _scheme in ("http", "https", "all"):
    os.environ[f"{_scheme}_proxy"] = os.environ[f"{_scheme.upper()}_PROXY"] = "http://127.0.0.1:9"

# The same examples on every machine, and no deadline: CI machines are shared.
settings.register_profile("house", derandomize=True, database=None, deadline=None)
settings.load_profile("house")


def pytest_unconfigure() -> None:
    if _CACHE:
        shutil.rmtree(_CACHE, ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="write the golden files anew")
