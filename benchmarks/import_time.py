"""Median time of `import numpy` and `import chainrule` in a fresh interpreter, and their ratio.

Run: python benchmarks/import_time.py [times]. The times are Python's own, of -X importtime.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys


def import_seconds(package: str) -> float:
    """The cumulative time of importing the package, with all it imports, in a new process."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {package}"]
    report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    # "import time: self [us] | cumulative | imported package", indented by depth
    match = re.search(rf"\| +(\d+) \| {re.escape(package)}$", report, re.MULTILINE)
    if match is None:
        raise ValueError(f"no line for {package} in the report of -X importtime: {report[-300:]}")
    return int(match[1]) / 1e6


def main(times: int = 21) -> None:
    """Print both medians; the two are measured in turn, so that a busy machine slows both."""
    rounds = [(import_seconds("numpy"), import_seconds("chainrule")) for _ in range(times)]
    numpy, chainrule = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"import numpy      {numpy * 1e3:7.1f} ms   median of {times}")
    print(f"import chainrule  {chainrule * 1e3:7.1f} ms   {chainrule / numpy:.2f} times numpy")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
