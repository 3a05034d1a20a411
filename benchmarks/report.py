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
from worker import plain_environment
from works import WORKS

Row = dict[str, Any]

CONVOLUTIONS = tuple(name for name in WORKS if name.startswith("convolution-"))
WANTED_ACCURACY = 0.990


def _numbers(convolution: str) -> str:
    """Channels in, size, channels out, kernel, as the name of a convolution's work has them."""
    return f"({', '.join(convolution.split('-')[1:])})"


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
            f"Convolution {_numbers(name)}: channels in, size, channels out, kernel; batch 64, "
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
    tables = [table(name, results["works"][name]) for name in TITLES if name in results["works"]]
    parts = [_BEGIN, _machine(results), goals(results), *tables, _END]
    readme.write_text(before + "\n\n".join(parts) + (after or "\n"), encoding="utf-8")


def _machine(results: dict[str, Any]) -> str:
    machine = results["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, NumPy {machine['numpy']}."
    )


# One work


def best(rows: list[Row]) -> list[Row]:
    """Each side with its best number of threads, fastest first; more threads only if they help."""
    chosen: dict[tuple[str, str], Row] = {}
    for row in sorted(rows, key=lambda row: row["threads"] or 0):
        key = row["peer"], row["side"]
        fewer = chosen.setdefault(key, row)
        if median(row["values"]) < 0.98 * median(fewer["values"]):
            chosen[key] = row
    return sorted(chosen.values(), key=lambda row: median(row["values"]))


def table(name: str, work: dict[str, Any]) -> str:
    """A Markdown table of a work, fastest first, with the ratio to our own of the same round."""
    title, factor, unit = TITLES[name]
    rows = best(work["sides"])
    ours = _ours(rows)
    lines = [
        f"### {title}",
        "",
        f"| | {unit} | lowest – highest | times ours | threads | what it includes |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        values = [factor * value for value in row["values"]]
        label = f"**{row['label']}**" if row is ours else row["label"]
        if row["peer"] not in ("chainrule", "numpy"):
            label += f" ({row['version'].partition('+')[0]})"
        includes = "a new process, its caches empty" if name == "compile" else row["includes"]
        if "accuracies" in row:
            reached = ", ".join(
                f"{found[-1]:.4f} after {len(found)}" for found in row["accuracies"]
            )
            includes += f"; {reached} epochs"
        if "process_values" in row:
            includes = f"{factor * median(row['process_values']):.0f} {unit} the whole process"
        lines.append(
            f"| {label} | {median(values):.3g} | {min(values):.3g} – {max(values):.3g} "
            f"| {ratio(row, ours):.2f} | {row['threads'] or 'its choice'} | {includes} |"
        )
    rounds = max(len(row["values"]) for row in rows)
    medians = f"Medians of {rounds} round{'s' * (rounds > 1)}"
    lines += ["", f"{medians}, {work['date']}, load at the start {work['load']}."]
    return "\n".join(lines)


def _ours(rows: list[Row]) -> Row:
    """The row that the others are compared with: the first of our own sides that was measured."""
    own = {row["side"]: row for row in rows if row["peer"] == "chainrule"}
    first = ("fit", "epochs", "predict", "convolve", "step", "learn", "reproduce")
    return next(own[side] for side in first if side in own)


def ratio(row: Row, other: Row) -> float:
    """The median over the rounds of one side's number over the other's in the same round."""
    pairs = zip(row["values"], other["values"], strict=True)
    return median(a / b for a, b in pairs)


# The goals


def goals(results: dict[str, Any]) -> str:
    """A Markdown table: what was wanted, what was measured, whether it holds."""
    works = {name: best(work["sides"]) for name, work in results.get("works", {}).items()}
    lines = ["| goal | measured | holds |", "|---|---|---|"]
    for name, check in GOALS:
        rows = works.get(name, [])
        if len(rows) <= (name not in ("reproduce", "xor")):
            continue
        goal, measured, holds = check(rows)
        lines.append(f"| {goal} | {measured} | {'yes' if holds else '**no**'} |")
    return "\n".join(lines)


def _side(rows: list[Row], name: str) -> Row | None:
    return next((row for row in rows if f"{row['peer']}:{row['side']}" == name), None)


def _faster(rows: list[Row], *names: str) -> tuple[str, float]:
    """How we stand beside the fastest of these sides (of all that train, if none are named)."""
    others = [row for row in rows if row["peer"] != "chainrule" and row["side"] != "products"]
    if names:
        others = [row for row in others if f"{row['peer']}:{row['side']}" in names]
    if not others:
        return "its peers were not measured", 0.0
    row = min(others, key=lambda row: median(row["values"]))
    times = ratio(row, _ours(rows))
    return f"{row['label']} takes {times:.2f} times ours", times


def _e10(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows)
    peers = len({row["peer"] for row in rows} - {"chainrule"})
    return f"E10's network inside `fit`: ahead of each of {peers} peers", said, times > 1


def _floor(rows: list[Row]) -> tuple[str, str, bool]:
    products = _side(rows, "numpy:products")
    times = ratio(_ours(rows), products) if products else float("inf")
    return (
        "the same: at most 1.5 times its matrix products alone",
        f"{times:.2f} times",
        times < 1.5,
    )


def _e4_numpy(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "numpy:by-hand")
    tuned, _ = _faster(rows, "numpy:tuned")
    goal = "E4's network inside `fit`: 1.5 times as fast as NumPy by hand"
    return goal, f"{said}; {tuned}", times >= 1.5


def _e4_torch(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:eager")
    return "the same: 20 times as fast as PyTorch eager", said, times >= 20


def _wide(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:eager", "torch:compile", "jax:scan")
    return "784-512-512-10 inside `fit`: as fast as PyTorch and JAX", said, times >= 1


def _around(network: str) -> Any:
    def check(rows: list[Row]) -> tuple[str, str, bool]:
        epochs, step = _side(rows, "chainrule:epochs"), _side(rows, "chainrule:step")
        assert epochs is not None
        assert step is not None
        more = 100 * (ratio(epochs, step) - 1)
        call = 100 * (ratio(_ours(rows), step) - 1)
        measured = f"{more:+.1f} % ({call:+.1f} % with the start of `fit`)"
        return f"`fit` around the bare step of {network}: at most 5 % more", measured, more <= 5

    return check


def _below(goal: str, limit: float, factor: float, unit: str) -> Any:
    def check(rows: list[Row]) -> tuple[str, str, bool]:
        value = factor * median(_ours(rows)["values"])
        return f"{goal}: under {limit:g} {unit}", f"{value:.3g} {unit}", value < limit

    return check


def _reproduce(rows: list[Row]) -> tuple[str, str, bool]:
    """A run that is fast because something in it failed does not count."""
    ours = _ours(rows)
    seconds = median(ours["values"])
    measured = f"{seconds:.0f} s; {ours['includes']}"
    return "all of `chainrule reproduce`: under 3 minutes", measured, seconds < 180 and ours["held"]


def _memory(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:eager")
    return "peak memory: no more than PyTorch's", said, times >= 1


def _lenet(rows: list[Row]) -> tuple[str, str, bool]:
    epochs = [row for row in rows if f"{row['peer']}:{row['side']}" != "chainrule:fit"]
    said, times = _faster(epochs, "torch:eager")
    goal = "LeNet-5's step inside `fit`, after the first epoch: as fast as PyTorch eager"
    return goal, said, times >= 1


def _convolution(name: str) -> Any:
    def check(rows: list[Row]) -> tuple[str, str, bool]:
        said, times = _faster(rows, "torch:convolve", "torch:channels-last")
        goal = f"convolution {_numbers(name)}: at least 0.8 of PyTorch's speed"
        within = (
            "" if times >= 0.8 else f"; {'within' if times >= 0.5 else 'not within'} a factor 2"
        )
        return goal, said + within, times >= 0.8

    return check


def _epoch(rows: list[Row]) -> tuple[str, str, bool]:
    said, times = _faster(rows, "torch:loader")
    goal = "an epoch of LeNet-5 on MNIST: faster than PyTorch with a `DataLoader`"
    return goal, said, times > 1


def _cold_start(rows: list[Row]) -> tuple[str, str, bool]:
    """A time counts only where every seed came to the wanted accuracy."""
    said, times = _faster(rows)
    reached = all(found[-1] >= WANTED_ACCURACY for found in _ours(rows)["accuracies"])
    said += "" if reached else "; not all of our seeds reached it"
    goal = "LeNet-5 to 0.990 on MNIST from a cold start: ahead of PyTorch and Keras"
    return goal, said, reached and times > 1


_AROUND = {
    name: _around(network)
    for name, network in (("e10", "E10"), ("e4", "E4"), ("wide", "784-512-512-10"))
}

GOALS = (
    ("e10", _e10),
    ("e10", _floor),
    ("e4", _e4_numpy),
    ("e4", _e4_torch),
    ("wide", _wide),
    ("xor", _below("20 000 epochs of XOR", 2, 80e3, "s")),
    ("compile", _below("compiling the step of an MLP", 50, 1e3, "ms")),
    ("predict", _below("`predict` of one row", 10, 1e6, "µs")),
    *_AROUND.items(),
    ("memory", _memory),
    ("lenet", _lenet),
    *((name, _convolution(name)) for name in CONVOLUTIONS),
    ("mnist-epoch", _epoch),
    ("time-to-0.990", _cold_start),
    ("reproduce", _reproduce),
)
