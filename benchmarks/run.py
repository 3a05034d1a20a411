"""Measure chainrule beside its peers: `make bench`, or python benchmarks/run.py --help.

All sides of a work run in turn, round after round, each in its own process, so that a busy minute
of the machine slows all of them and a ratio is one of neighbours in time. Before anything is timed,
every side must do what hand-written NumPy in float64 does from the same start.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from time import perf_counter
from typing import Any

import goals
import mnist
import report
from worker import Worker
from works import GRID

HERE = Path(__file__).parent

# Who takes part in which work, as peer:side. The sides of chainrule that print C begin with c-.
_OURS = "chainrule:c-fit chainrule:c-step chainrule:fit chainrule:epochs chainrule:step"
_GRID = (
    "chainrule:c-epochs chainrule:epochs numpy:by-hand jax:scan jax:jit torch:eager torch:compile"
)
TRAINING = {
    "e10": f"{_OURS} numpy:products numpy:tuned numpy:by-hand jax:scan jax:jit keras:groups "
    "keras:fit pytensor:compiled torch:whole torch:compile torch:eager sklearn:epoch mygrad:eager "
    "autograd:eager",
    "e4": f"{_OURS} numpy:tuned numpy:by-hand jax:scan torch:eager",
    "wide": f"{_OURS} numpy:products numpy:by-hand jax:scan jax:jit torch:compile torch:eager",
    "xor": "chainrule:c-fit chainrule:fit numpy:by-hand",
    "predict": "chainrule:c-predict chainrule:predict numpy:predict jax:predict torch:predict "
    "sklearn:predict",
    "lenet": f"{_OURS} numpy:products jax:scan jax:jit keras:fit torch:compile torch:eager",
    **dict.fromkeys(
        report.CONVOLUTIONS,
        "chainrule:c-convolve chainrule:convolve numpy:products jax:convolve torch:convolve "
        "torch:channels-last",
    ),
    "mnist-epoch": "chainrule:c-fit chainrule:fit torch:indexing torch:loader keras:fit",
    **{
        name: _GRID + " sklearn:epoch" * (not work.cell and not work.convolutions)
        for name, work in GRID.items()
    },
}
# In fresh processes: the request with which the name begins, the work, who.
FRESH = {
    "compile": (
        "e10",
        "chainrule:c-step chainrule:step jax:jit jax:scan keras:fit pytensor:compiled "
        "torch:compile torch:whole",
    ),
    "compile-lenet": ("lenet", "chainrule:c-step chainrule:step jax:jit torch:compile"),
    "memory": ("wide", "chainrule:c-fit chainrule:fit numpy:by-hand jax:scan torch:eager"),
}
# Whose compiling is timed once more in a process that finds what another has built.
CACHED = ("chainrule:c-step",)
LEARNING = "time-to-0.990"
LEARNERS = "chainrule:c-learn chainrule:learn torch:learn keras:learn"
NAMES = (*(name for name in TRAINING if name not in GRID), *FRESH, LEARNING, *GRID)
GROUPS = {"convolutions": report.CONVOLUTIONS, "grid": tuple(GRID)}
NEED_MNIST = ("mnist-epoch", LEARNING)


@dataclass(frozen=True)
class Side:
    """One way to do a work: a peer, which of its functions, how many threads (None: it chooses)."""

    peer: str
    side: str
    threads: int | None

    def worker(self, after: Worker | None = None) -> Worker:
        """A new process for it, with empty caches or those of another process."""
        return Worker(self.peer, self.threads, after)


class Workers(ExitStack):
    """The processes of some works, one for each peer and number of threads; ended when left."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[tuple[str, int | None], Worker] = {}

    def of(self, side: Side) -> Worker:
        """The process for a side."""
        key = side.peer, side.threads
        if key not in self._known:
            self._known[key] = side.worker()
            self.callback(self._known[key].close)
        return self._known[key]

    def forget(self) -> None:
        """Let them drop what they hold of the works so far."""
        for worker in self._known.values():
            worker.ask("forget")


def main() -> None:
    """Run what is asked for; write results.json and the tables of README.md after each work."""
    options = _options()
    results = report.load(HERE / "results.json") if options.keep else {}
    results["machine"] = report.describe_machine()
    with Workers() as workers_of_grid:
        for name in options.only:
            if name in NEED_MNIST and mnist.folder() is None:
                folder = "the files of MNIST are not in the folder CHAINRULE_DATA"
                print(f"{name} is left out: {folder}")
                continue
            with Workers() as workers_of_work:
                workers = workers_of_grid if name in GRID else workers_of_work
                work = results.setdefault("works", {})[name] = _measure(name, workers, options)
                workers.forget()
            if name not in GRID:
                print(f"\n{report.table(name, work)}\n", flush=True)
            if options.keep:
                report.write(results, HERE)
    if set(options.only) & set(GRID):
        print(f"\n{report.grid(results['works'])}\n")
    print(f"{report.goals(results)}\n\n{report.goals_of_numpy(results)}")


def _measure(name: str, workers: Workers, options: argparse.Namespace) -> dict[str, Any]:
    """One work, measured: when, how, and each side's numbers round by round."""
    load = os.getloadavg()[0]
    if load > 0.5:
        print(f"the machine is busy, load {load:.1f}: absolute times will be too long")
    left_out: list[dict[str, str]] = []
    if name == "reproduce":
        sides = [_reproduce()]
    elif name in FRESH:
        sides = _in_fresh_processes(name, left_out, options)
    elif name == LEARNING:
        sides = _until_accurate(left_out, options)
    else:
        sides = _in_turn(name, workers, left_out, options)
    when = {"date": date.today().isoformat(), "load": round(load, 2)}
    return {**when, "sides": sides, **({"left_out": left_out} if left_out else {})}


def _in_turn(
    work: str, workers: Workers, left_out: list[dict[str, str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Prepare and check all sides of a work, then measure them in turn."""
    measured: list[tuple[Side, Worker, dict[str, Any]]] = []
    is_small = work in GRID and GRID[work].is_small
    for side in _sides(TRAINING[work], options, threads=(1,) if is_small else None):
        worker = workers.of(side)
        prepared = _prepared(worker, side)
        if prepared is None:
            continue
        most_steps = 20 if options.quick else None
        checked = worker.ask("train", work=work, side=side.side, most_steps=most_steps)
        if _is_left_out(checked, left_out):
            continue
        found = f"off by {checked['deviation']:.1g}" if checked["deviation"] else "not checked"
        print(f"  {checked['label']}, {_threads(side.threads)}: {found}", flush=True)
        measured.append((side, worker, {**vars(side), **prepared, **checked, "values": []}))
    rounds, seconds = options.rounds, options.seconds
    if work in NEED_MNIST:
        rounds = min(rounds, 3)
    elif work in GRID:
        rounds, seconds = min(rounds, 5), min(seconds, 0.1)
    for number in range(rounds):
        print(f"  {work}: round {number + 1} of {rounds}", flush=True)
        for side, worker, row in measured:
            timed = worker.ask("time", work=work, side=side.side, seconds=seconds)
            row["values"].append(timed["seconds"])
    return [row for *_, row in measured]


def _is_left_out(answer: dict[str, Any], left_out: list[dict[str, str]]) -> bool:
    """Whether a side has said that it cannot do the work; once, why."""
    if "left_out" not in answer:
        return False
    said = {"label": answer["label"], "reason": answer["left_out"]}
    if said not in left_out:
        left_out.append(said)
        print(f"  {said['label']} is left out: {said['reason']}", flush=True)
    return True


def _in_fresh_processes(
    name: str, left_out: list[dict[str, str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """What can be measured once in a process: each side in turn, a new process each time."""
    work, who = FRESH[name]
    request = name.partition("-")[0]
    rows: dict[Side, dict[str, Any]] = {}
    for _ in range(min(options.rounds, 3)):
        for side in _sides(who, options, threads=(1,)):
            cached = request == "compile" and f"{side.peer}:{side.side}" in CACHED
            with ExitStack() as stack:
                worker = None
                for is_cached in (False, True)[: 1 + cached]:
                    worker = side.worker(after=worker)
                    stack.callback(worker.close)  # the first one last: the caches go with it
                    prepared = _prepared(worker, side)
                    if prepared is None:
                        break
                    answer = worker.ask(request, work=work, side=side.side)
                    if _is_left_out(answer, left_out):
                        break
                    found = {k: answer.pop(k) for k in ("value", "process_value") if k in answer}
                    if is_cached:
                        side = replace(side, side=f"{side.side}-cached")
                        answer["label"] += ", from its cache"
                    row = rows.setdefault(side, {**vars(side), **prepared, **answer})
                    for key, value in found.items():
                        row.setdefault(f"{key}s", []).append(value)
    return list(rows.values())


def _until_accurate(
    left_out: list[dict[str, str]], options: argparse.Namespace
) -> list[dict[str, Any]]:
    """From the start of a process to the test accuracy that is wanted; each round another seed."""
    rows: dict[Side, dict[str, Any]] = {}
    wanted = 0.0 if options.quick else goals.WANTED_ACCURACY
    for seed in range(1 if options.quick else min(options.rounds, 3)):
        for side in _sides(LEARNERS, options, threads=(len(os.sched_getaffinity(0)),)):
            began = perf_counter()
            worker = side.worker()
            try:
                prepared = _prepared(worker, side)
                if prepared is None:
                    continue
                answer = worker.ask(
                    "learn", work=LEARNING, side=side.side, seed=seed, wanted=wanted
                )
                seconds = perf_counter() - began
                if _is_left_out(answer, left_out):
                    continue
            finally:
                worker.close()
            accuracies = answer.pop("accuracies")
            print(f"  {answer['label']}, seed {seed}: {accuracies}, {seconds:.1f} s", flush=True)
            row = rows.setdefault(side, {**vars(side), **prepared, **answer, "values": []})
            row["values"].append(seconds)
            row.setdefault("accuracies", []).append(accuracies)
    return list(rows.values())


def _sides(
    who: str, options: argparse.Namespace, threads: tuple[int, ...] | None = None
) -> Iterator[Side]:
    """The sides asked for, each with the thread numbers to try; our own library chooses itself."""
    tried = threads or tuple(sorted({1, len(os.sched_getaffinity(0))}))
    for name in who.split():
        peer, side = name.split(":")
        if peer == "chainrule":
            yield Side(peer, side, None)
        elif not options.peers or peer in options.peers:
            for number in tried:
                yield Side(peer, side, number)


def _threads(number: int | None) -> str:
    return f"{number} thread{'s' * (number > 1)}" if number else "its choice of threads"


def _prepared(worker: Worker, side: Side) -> dict[str, Any] | None:
    """What the process says when its peer is ready; None, with a line, where it is missing."""
    prepared = worker.ask("prepare")
    if "missing" in prepared:
        if side.peer == "chainrule":
            raise SystemExit(f"{prepared['missing']} is not installed: pip install -e .[all]")
        print(f"  {side.peer}:{side.side} is left out: {prepared['missing']} is not installed")
        return None
    return prepared


def _reproduce() -> dict[str, Any]:
    """All published experiments, as a command."""
    began = perf_counter()
    command = [sys.executable, "-m", "chainrule", "reproduce", "--json"]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    seconds = perf_counter() - began
    if run.returncode not in (0, 1):  # 1: a quantity does not hold
        raise SystemExit(f"chainrule reproduce ended with status {run.returncode}")
    rows = json.loads(run.stdout)
    held, failed, absent = (
        sum(row["holds"] is holds for row in rows) for holds in (True, False, None)
    )
    includes = f"{len(rows)} quantities: {held} hold, {failed} do not, {absent} were not run"
    label = "`chainrule reproduce`"
    own = {"peer": "chainrule", "side": "reproduce", "threads": None, "version": ""}
    return {
        **own,
        "label": label,
        "includes": includes,
        "held": held == len(rows),
        "values": [seconds],
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only",
        help=f"some of {','.join(name for name in NAMES if name not in GRID)},reproduce; "
        "convolutions for all of them; grid, or some of its works",
        metavar="WORKS",
    )
    parser.add_argument("--peers", help="chainrule and only these, such as numpy,torch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a measurement")
    parser.add_argument("--reproduce", action="store_true", help="time `chainrule reproduce` too")
    parser.add_argument("--quick", action="store_true", help="2 short rounds; writes nothing")
    options = parser.parse_args()
    options.only = options.only.split(",") if options.only else list(NAMES)
    options.only = [name for given in options.only for name in GROUPS.get(given, (given,))]
    if options.reproduce and "reproduce" not in options.only:
        options.only.append("reproduce")
    if unknown := set(options.only) - {*NAMES, "reproduce"}:
        known = ", ".join((*GROUPS, *NAMES))
        parser.error(f"unknown works {', '.join(sorted(unknown))}: choose from {known}")
    options.peers = options.peers.split(",") if options.peers else []
    known = {path.stem for path in (HERE / "peers").glob("[a-z]*.py")}
    if unknown := set(options.peers) - known:
        parser.error(
            f"unknown peers {', '.join(sorted(unknown))}: choose from {', '.join(sorted(known))}"
        )
    options.keep = not options.quick and not options.peers
    if options.quick:
        options.rounds, options.seconds = 2, 0.1
    return options


if __name__ == "__main__":
    main()
