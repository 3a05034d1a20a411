"""Faults planted one at a time, to see that the tests notice them: `make mutants`.

Each line of the table is a small change of a source file that makes it wrong, and the tests that
must turn red of it. It is made in a copy of the project, never in the project itself.

    python tests/mutants.py             all of them
    python tests/mutants.py reduce std  those whose file or text holds one of these words

The status is 1 if a fault goes unnoticed, or if a line of the table fits the sources no longer.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SECONDS = 300  # of one run of tests: a fault that makes them hang is noticed too
RED, TESTS_FAILED = "red", 1  # pytest's status


@dataclass(frozen=True)
class Mutant:
    """A text that stands once in a file of src/chainrule, what to put there, and who must notice.

    `tests` are arguments of pytest: files, and perhaps -k with a word.
    """

    file: str
    old: str
    new: str
    tests: str

    @property
    def place(self) -> str:
        return f"{self.file}: {self.old.strip()!r} -> {self.new.strip()!r}"


def of(file: str, tests: str, *changes: tuple[str, str]) -> list[Mutant]:
    """The mutants of one file that the same tests must notice."""
    return [Mutant(file, old, new, tests) for old, new in changes]


MUTANTS = [
    # Rules: elementwise
    *of(
        "primitives/elementwise.py",
        "tests/test_elementwise.py tests/test_primitives.py",
        ("lambda g, out, x: g * (1 - out * out))", "lambda g, out, x: g * (1 + out * out))"),
        ("return where((x == 0) & (y == 0), 1, y - 1)", "return y - 1"),
        ("return log(where(x > 0, x, 1))", "return log(x)"),
        ("return where(out == 0, 1, out)", "return out"),
        ("return exp(clip(x - clip(out, -limit, limit), max=0.0))", "return exp(x - out)"),
        ("0.5 * (g * (x > y) + g * (x >= y))", "g * (x > y)"),
        ("0.5 * (g * (y < x) + g * (y <= x))", "g * (y <= x)"),
        ("-g * np.floor_divide(x, y)", "-g * np.trunc(x / y)"),
        ("-g * np.sin(out) / np.hypot(y, x)", "g * np.sin(out) / np.hypot(y, x)"),
        ("g * np.sign(x)", "g * (2 * (x > 0) - 1)"),
        ("g * (out + 1)", "g * out"),
        ("g * (out * _log_of_base(x))", "g * _log_of_base(x)"),
        ("where(condition, g, 0)", "where(condition, g, g)"),
        ("g * ((low <= x) & (x <= high))", "g * ((low < x) & (x < high))"),
        ("g * ((x < low) & (low <= high))", "g * (x < low)"),
    ),
    # Rules: activations and losses on logits
    *of(
        "primitives/activation.py",
        "tests/test_fused.py tests/test_primitives.py",
        ("g * (out > 0)", "g * (out >= 0)"),
        ("where(x > 0, g, g * slope)", "where(x >= 0, g, g * slope)"),
        ("g * (out + alpha)", "g * (out + 1)"),
        ("out + sigmoid(x) * (1 - out)", "out + sigmoid(x)"),
        ("np.exp(-0.5 * (x * x)) * _INV_SQRT_2PI", "np.exp(-0.5 * (x * x))"),
        ("np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))", "np.log1p(np.exp(x))"),
    ),
    *of(
        "primitives/fused.py",
        "tests/test_fused.py tests/test_primitives.py",
        ("np.exp(x - np.max(x, axis=axis, keepdims=True))", "np.exp(x)"),
        ("out * (g - np.sum(g * out, axis=axis, keepdims=True))", "out * g"),
        ("g - np.exp(out) * np.sum(g, axis=axis, keepdims=True)", "g - np.exp(out) * g"),
        ("softmax(logits, axis) * total - targets", "softmax(logits, axis) - targets"),
        ("g * (sigmoid(logits) - targets)", "g * (targets - sigmoid(logits))"),
        ("lambda g, out, logits, targets: -g * logits", "lambda g, out, logits, targets: 0 * g"),
    ),
    # Rules: reductions and shapes
    *of(
        "primitives/reduce.py",
        "tests/test_reduce.py tests/test_primitives.py",
        ("2 * g / (_n_reduced(x, axis) - ddof)", "2 * g / _n_reduced(x, axis)"),
        ("return at_extreme / sum_(at_extreme, axis, keepdims=True)", "return at_extreme"),
        ("flip(cumsum(flip(g, along), along), along)", "cumsum(g, along)"),
        ("while distance < x.shape[-1]:", "while distance < x.shape[-1] - 1:"),
        ("largest = np.where(np.isfinite(largest), largest, 0)", "largest = largest + 0"),
        ("_product_before(x) * s", "s"),
    ),
    *of(
        "primitives/shape.py",
        "tests/test_shape.py tests/test_primitives.py",
        ("tuple(order.index(axis) for axis in range(len(order)))", "tuple(order)"),
        ("order = [axis % len(axes) for axis in axes]", "order = list(axes)"),
        ("start = sum(sizes[:position])", "start = 0"),
        ("_along(axis, position, g.ndim)", "_along(axis, 0, g.ndim)"),
    ),
    # Gradient checks
    *of(
        "gradcheck/check.py",
        "tests/test_gradcheck.py",
        ("if len(found) != len(args):", "if len(found) > len(args):"),
        ("if not comparison.faults and not comparison.directions:", "if not comparison:"),
        ('any(fault.cause == "in place" for fault in comparison.faults)', "True"),
        ("set(found) != set(like)", "len(found) != len(like)"),
    ),
    *of(
        "gradcheck/compare.py",
        "tests/test_gradcheck.py",
        ('if given.dtype.kind in "biuf":', 'if given.dtype.kind in "biufcOU":'),
        ("0 <= rtol < 1", "0 <= rtol"),
        ("if gradient.shape != direction.shape:", "if gradient.size != direction.size:"),
        ("_N_ROUNDS = 2", "_N_ROUNDS = 1"),
    ),
    *of(
        "gradcheck/faults.py",
        "tests/test_gradcheck.py",
        ("if not runs(position) and runs(None)", "if not runs(position)"),
        ("different = leaf != copy", "different = leaf != leaf"),
    ),
    *of(
        "gradcheck/numeric.py",
        "tests/test_gradcheck.py",
        ("(4 * differences[1:] - differences[:-1]) / 3", "differences[1:]"),
        ("(plus - minus) / (2 * step)", "(plus - minus) / step"),
    ),
    *of(
        "gradcheck/table.py",
        "tests/test_primitives.py -k 'planted or forgotten or missing or without_cases'",
        ("fault.leaf == floats.index(position)", "fault.leaf == position + 1"),
        ("key=lambda fault: not fault.cause", "key=lambda fault: bool(fault.cause)"),
        ("if not smooth.any():", "if smooth.any():"),
    ),
    # Data
    *of(
        "data/storage.py",
        "tests/test_data.py",
        ("if most is not None and wanted > most:", "if most is not None and wanted < 0:"),
        ("if file.sha256 is not None and", "if file.sha256 is None and"),
        ("if size != wanted:", "if size < wanted:"),
        ("and n_axes <= _MOST_AXES", "and n_axes < 256"),
    ),
    *of(
        "data/dataset.py",
        "tests/test_data.py",
        ("math.ceil(n_samples * test_size - 1e-9)", "math.ceil(n_samples * test_size)"),
        ("np.argsort(quotas - shares,", "np.argsort(shares - quotas,"),
        ("constant = x.min(axis=0) == x.max(axis=0)", "constant = x.std(axis=0) == 0"),
        ("width, height).swapaxes(1, 2)", "height, width)"),
    ),
    *of(
        "data/ex4.py",
        "tests/test_data.py",
        ("far = ((-0.5 * t + 2.5)", "far = ((-0.5 * t + 2.4)"),
        ('array.dtype.kind in "iuf"', 'array.dtype.kind in "iufc"'),
    ),
    # The command line and its files
    *of(
        "cli/train.py",
        "tests/test_cli.py -k 'mistakes or refused'",
        ("0 < options.learning_rate < math.inf", "0 < options.learning_rate"),
        ("or weights > _MOST_WEIGHTS", "or weights > 10**30"),
    ),
    *of(
        "files.py",
        "tests/test_files.py",
        ("beside.unlink(missing_ok=True)", "pass"),
        ("if not path.exists()", "if path.exists()"),
    ),
]


def ill_fitting(mutants: list[Mutant]) -> list[str]:
    """What is wrong with the table: texts that a file does not hold exactly once."""
    faults = []
    for mutant in mutants:
        path = ROOT / "src" / "chainrule" / mutant.file
        count = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
        if count != 1:
            faults.append(f"{mutant.file} holds {mutant.old!r} {count} times, not once")
        elif mutant.old == mutant.new:
            faults.append(f"{mutant.file}: {mutant.old!r} is not changed")
    return faults


def verdict(tests: str, mutant: Mutant | None = None) -> str:
    """`red`, `green`, or what else came of these tests on a copy of the project."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        copy = Path(folder)
        without_caches = shutil.ignore_patterns("__pycache__", "*.png")
        for name in ("src", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=without_caches)
        shutil.copy(ROOT / "pyproject.toml", copy)
        if mutant is not None:
            path = copy / "src" / "chainrule" / mutant.file
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        data = ROOT.parent / "shared" / "data"
        environment = {
            **({"CHAINRULE_DATA": str(data)} if data.is_dir() else {}),
            **os.environ,
            "PYTHONPATH": str(copy / "src"),
            "OPENBLAS_NUM_THREADS": "1",
        }
        options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
        command = [sys.executable, "-m", "pytest", *options, *shlex.split(tests)]
        try:
            run = subprocess.run(
                command, cwd=copy, env=environment, capture_output=True, text=True, timeout=SECONDS
            )
        except subprocess.TimeoutExpired:
            return RED
    if run.returncode == 0:
        return "green"
    lines = (run.stdout + run.stderr).strip().splitlines()
    return RED if run.returncode == TESTS_FAILED else f"not run: {lines[-1] if lines else ''}"


def main(words: list[str]) -> int:
    chosen = [m for m in MUTANTS if not words or any(word in m.place for word in words)]
    faults = ill_fitting(MUTANTS)
    if faults or not chosen:
        print("\n".join(faults) or f"no mutant holds one of {words}")
        return 1
    survived = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # Tests that are red without a fault would notice every one.
        suites = sorted({mutant.tests for mutant in chosen})
        for tests, found in zip(suites, pool.map(verdict, suites), strict=True):
            if found != "green":
                print(f"{tests}: {found} without a fault")
                return 1
        found_of = pool.map(lambda mutant: verdict(mutant.tests, mutant), chosen)
        for mutant, found in zip(chosen, found_of, strict=True):
            print(f"{found:8} {mutant.place}", flush=True)
            if found != RED:
                survived.append(mutant)
    print(f"{len(chosen) - len(survived)} of {len(chosen)} faults noticed")
    for mutant in survived:
        print(f"SURVIVED {mutant.place}\n         {mutant.tests}")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
