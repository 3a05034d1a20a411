"""The results: the machine they are from, tables of medians and ratios, and the goals."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from goals import CONVOLUTIONS, goals, goals_of_numpy, numbers_of
from rows import Row, best, fastest, ours, peers, ratio, side_of
from worker import plain_environment
from works import GRID, WORKS, Work

__all__ = [
    "CONVOLUTIONS",
    "TITLES",
    "describe_machine",
    "goals",
    "goals_of_numpy",
    "grid",
    "load",
    "table",
    "write",
]

# Title, then what the numbers are: a factor and a unit.
TITLES = {
    "e10": ("196-100-50-10, sigmoid, squared error, SGD, batch 64, float32", 1e6, "µs a step"),
    "e4": ("64-32-16-10, sigmoid, squared error, SGD, one sample a step", 1e6, "µs a step"),
    "wide": ("784-512-512-10, ReLU, cross-entropy, Adam, batch 128", 1e3, "ms a step"),
    "xor": ("XOR, 2-2-1, 20 000 epochs, 80 000 steps of one sample", 80e3, "s"),
    "predict": ("One row through 10-32-3, ReLU", 1e6, "µs a call"),
    "lenet": (
        "LeNet-5 on 28x28x1, ReLU, max pooling, cross-entropy, Adam, batch 64",
        1e3,
        "ms a step",
    ),
    **{
        name: (
            f"Convolution {numbers_of(name)}: channels in, size, channels out, kernel; batch 64, "
            "value and both gradients",
            1e3,
            "ms",
        )
        for name in CONVOLUTIONS
    },
    "mnist-epoch": (
        "LeNet-5, an epoch of MNIST, shuffled, batch 64",
        WORKS["mnist-epoch"].n_steps,
        "s",
    ),
    "time-to-0.990": (
        "LeNet-5 on MNIST, from the start of a process to 0.990 of the test images",
        1.0,
        "s",
    ),
    "compile": ("From the definition of 196-100-50-10 to the end of its first step", 1.0, "s"),
    "compile-lenet": ("From the definition of LeNet-5 to the end of its first step", 1.0, "s"),
    "memory": ("Peak memory in training 784-512-512-10, batch 128", 1e-6, "MB"),
    "reproduce": ("All published experiments", 1.0, "s"),
}
_BEGIN, _END = "<!-- results: written by run.py -->", "<!-- end of results -->"


def describe_machine() -> dict[str, Any]:
    """What the numbers depend on beside the code."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    cpu = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    widest = next((name for name in ("avx512f", "avx2", "sse2") if f" {name} " in info), "")
    pages, page_size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": f"{cpu[1] if cpu else platform.processor()} ({widest or platform.machine()})",
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(pages * page_size / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "numpy": f"{np.__version__}, {_blas()}",
    }


def _blas() -> str:
    """NumPy's BLAS and the kernels it uses, as it is in the processes that are measured."""
    code = "import json, numpy, threadpoolctl; print(json.dumps(threadpoolctl.threadpool_info()))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env=plain_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return ", ".join(
        f"{pool['internal_api']} {pool['version']} with {pool.get('architecture', 'its')} kernels"
        for pool in json.loads(found.stdout)
        if pool["user_api"] == "blas"
    )


def load(path: Path) -> dict[str, Any]:
    """The results so far, of this machine; nothing where there are none or they are another's."""
    results = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return results if results.get("machine") == describe_machine() else {}


def write(results: dict[str, Any], folder: Path) -> None:
    """Write results.json, and put the tables between the marks in README.md."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda m: f"[{' '.join(m[1].split())}]", text)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    readme = folder / "README.md"
    old = readme.read_text(encoding="utf-8") if readme.exists() else f"# Benchmarks\n\n{_BEGIN}"
    before, _, rest = old.partition(_BEGIN)
    after = rest.partition(_END)[2]
    works = results["works"]
    tables = [table(name, works[name]) for name in TITLES if name in works]
    both = goals(results), "For the engine that prints NumPy:\n\n" + goals_of_numpy(results)
    parts = [_BEGIN, _machine(results), *both, grid(works), *tables, _END]
    readme.write_text(before + "\n\n".join(parts) + (after or "\n"), encoding="utf-8")


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, NumPy {machine['numpy']}."
    )


# One work


def table(name: str, work: dict[str, Any]) -> str:
    """A Markdown table of a work, fastest first, with the ratio to our own of the same round.

    Our own is the side that prints C; where that was left out, the one that prints NumPy.
    """
    title, factor, unit = TITLES[name]
    rows = best(work["sides"])
    own = ours(rows, "c") or ours(rows, "numpy")
    lines = [
        f"### {title}",
        "",
        f"| | {unit} | lowest – highest | times ours | threads | what it includes |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        values = [factor * value for value in row["values"]]
        label = f"**{row['label']}**" if row is own else row["label"]
        if row["peer"] not in ("chainrule", "numpy"):
            label += f" ({row['version'].partition('+')[0]})"
        times = f"{ratio(row, own):.2f}" if own else "–"
        lines.append(
            f"| {label} | {median(values):.3g} | {min(values):.3g} – {max(values):.3g} "
            f"| {times} | {row['threads'] or 'its choice'} | {_includes(name, row)} |"
        )
    rounds = max(len(row["values"]) for row in rows)
    medians = f"Medians of {rounds} round{'s' * (rounds > 1)}"
    lines += ["", f"{medians}, {work['date']}, load at the start {work['load']}."]
    for side in work.get("left_out", ()):
        lines.append(f"{side['label']} is left out: {side['reason']}.")
    return "\n".join(lines)


def _includes(name: str, row: Row) -> str:
    if "process_values" in row:
        _, factor, unit = TITLES[name]
        return f"{factor * median(row['process_values']):.0f} {unit} the whole process"
    if name.startswith("compile"):
        cached = row["side"].endswith("-cached")
        return f"a new process, {'the cache that another filled' if cached else 'its caches empty'}"
    if "accuracies" not in row:
        return str(row["includes"])
    reached = ", ".join(f"{found[-1]:.4f} after {len(found)}" for found in row["accuracies"])
    return f"{row['includes']}; {reached} epochs"


# The grid

_COLUMNS = {
    "chainrule:c-epochs": "**chainrule, C**",
    "chainrule:epochs": "chainrule",
    "numpy:by-hand": "NumPy by hand",
    "jax:scan": "JAX, `lax.scan`",
    "jax:jit": "JAX, `jit`",
    "torch:eager": "PyTorch, eager",
    "torch:compile": "PyTorch, `torch.compile`",
    "sklearn:epoch": "scikit-learn",
}
_COMPILING = [name for name in _COLUMNS if name not in ("numpy:by-hand", "sklearn:epoch")]


def grid(works: dict[str, Any]) -> str:
    """Two Markdown tables of all works of the grid: times beside the best peer's, compile times."""
    measured = {name: best(works[name]["sides"]) for name in GRID if name in works}
    if not measured:
        return ""
    columns = list(_COLUMNS.values())
    times = [
        "### Many networks",
        "",
        "A step inside `fit`, after its first epoch, in parts of the time of the fastest peer. "
        "An MLP of width × depth has as many inputs as its layers have values, ReLU, and 10 "
        "outputs; cross-entropy; float32.",
        "",
        f"| | fastest peer, µs a step | {' | '.join(columns)} |",
        "|---|" + "--:|" * (len(columns) + 1),
    ]
    compiling = [
        "Seconds from the definition to the end of the first steps, in a process that has done "
        "such before; everything is compiled anew.",
        "",
        f"| | {' | '.join(_COLUMNS[name] for name in _COMPILING)} |",
        "|---|" + "--:|" * len(_COMPILING),
    ]
    for name, rows in measured.items():
        first = fastest(peers(rows))
        absolute = f"{1e6 * median(first['values']):.3g}" if first else "–"
        sides = [side_of(rows, column) for column in _COLUMNS]
        cells = [f"{ratio(side, first):.2f}" if side and first else "–" for side in sides]
        times.append(f"| {_in_words(GRID[name])} | {absolute} | {' | '.join(cells)} |")
        built = [side_of(works[name]["sides"], column) for column in _COMPILING]
        cells = [f"{side['first']:.2g}" if side else "–" for side in built]
        compiling.append(f"| {_in_words(GRID[name])} | {' | '.join(cells)} |")
    reasons = {
        f"{_in_words(GRID[name])}: {side['label']} is left out: {side['reason']}."
        for name in measured
        for side in works[name].get("left_out", ())
    }
    rounds = max(len(row["values"]) for rows in measured.values() for row in rows)
    dates = sorted({works[name]["date"] for name in measured})
    said = [f"Medians of {rounds} round{'s' * (rounds > 1)}, {dates[-1]}.", *sorted(reasons)]
    return "\n".join([*times, "", *said, "", *compiling])


def _in_words(work: Work) -> str:
    """The network of a work of the grid, its batch and its optimizer."""
    if work.cell == "lstm":
        network = f"LSTM {work.sizes[0]} over {work.sequence[0]} steps of {work.sequence[1]}"
    elif work.cell == "attention":
        network = "Attention, {} heads, {} places of {}".format(work.heads, *work.sequence)
    elif work.batch_norm:
        kernels = ", ".join(str(c.n_kernels) for c in work.convolutions)
        network = f"Convolutions {kernels} with batch norm, ReLU, pooling"
    else:
        network = f"{work.sizes[0]} × {len(work.sizes) - 2}"
    optimizer = {"sgd": "SGD", "adam": "Adam"}[work.optimizer]
    return f"{network}, batch {work.batch_size}, {optimizer}"
