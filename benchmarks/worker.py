"""One process of one peer: the parent's handle of it, and what runs in it.

Each peer has a process of its own, so that imports, thread pools and environment variables of one
do not disturb another. It stays alive and answers a JSON line with a JSON line.
Requests: `train` and `time` for a runner kept, until `forget`; `compile`, `memory` and `learn` for
a fresh process. A side that cannot do a work says so under "left_out".
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import reference
import works

TOLERANCE = 1e-2  # of the way that the parameters go in the steps that are checked


class Worker:
    """The process of a peer with so many threads; None leaves the choice to the peer.

    It begins with empty caches, or with those of the process `after`, which is closed after it.
    """

    def __init__(self, peer: str, threads: int | None, after: Worker | None = None) -> None:
        self.name = f"{peer}, {threads or 'its own choice of'} threads"
        self._caches = after._caches if after else tempfile.TemporaryDirectory(prefix="benchmark-")
        caches = _caches(self._caches.name)
        environment = {**plain_environment(), **_thread_variables(threads), **caches}
        self._process = subprocess.Popen(
            [sys.executable, __file__, peer, str(threads or 0)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: str, **details: Any) -> dict[str, Any]:
        """The answer to one request; raises RuntimeError with the process's own traceback."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"request": request, **details}), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the process has ended"}
        if "error" in answer:
            raise RuntimeError(f"{self.name}: {answer['error']}")
        return dict(answer)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._caches.cleanup()


def plain_environment() -> dict[str, str]:
    """The environment without what some machines tell OpenBLAS.

    PyTorch and JAX choose their kernels for the processor they find, and so does OpenBLAS where
    nobody tells it another one.
    """
    return {name: text for name, text in os.environ.items() if not name.startswith("OPENBLAS_")}


def _thread_variables(threads: int | None) -> dict[str, str]:
    if threads is None:
        return {}
    names = ["OMP", "OPENBLAS", "MKL", "NUMBA"]
    variables = {f"{name}_NUM_THREADS": str(threads) for name in names}
    variables["NPROC"] = str(threads)  # the size of XLA's pool
    if threads == 1:
        variables["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    return variables


def _caches(folder: str) -> dict[str, str]:
    """Caches of its own for each process: what it compiles, it compiles."""
    return {
        "CHAINRULE_CACHE": f"{folder}/chainrule",
        "TORCHINDUCTOR_CACHE_DIR": f"{folder}/torch",
        "PYTENSOR_FLAGS": f"base_compiledir={folder}/pytensor",
        "NUMBA_CACHE_DIR": f"{folder}/numba",
    }


# In the process


@dataclass
class Kept:
    """A runner in its process, its work, and how many epochs fill its block once that is known."""

    work: works.Work
    runner: works.Runner
    block_epochs: int | None


Runners = dict[tuple[str, str], Kept]


def serve(peer: Any, peer_name: str, threads: int) -> None:
    """Answer requests until there are no more; `peer` is its file, or the package it lacks."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    runners: Runners = {}
    requests = {
        "train": train,
        "time": time_block,
        "compile": time_compile,
        "memory": memory,
        "learn": learn,
        "forget": forget,
    }
    for line in sys.stdin:
        details = json.loads(line)
        request = details.pop("request")
        try:
            if isinstance(peer, str):
                answer: dict[str, Any] = {"missing": peer}
            elif request == "prepare":
                peer.prepare(threads)
                answer = {"version": peer.VERSION}
            else:
                answer = requests[request](peer, runners, **details)
        except works.LeftOut as reason:
            answer = {**_description(peer, details["side"]), "left_out": str(reason)}
        except Exception:
            answer = {"error": f"{peer_name}: {request} {details}\n{traceback.format_exc()}"}
        print(json.dumps(answer), file=answers, flush=True)


def train(
    peer: Any, runners: Runners, work: str, side: str, most_steps: int | None = None
) -> dict[str, Any]:
    """Make a runner, check what its first steps give, and keep it.

    The seconds of that, from the definition to the end of these steps, are "first".
    """
    the_work = _work_of(peer, work)
    if the_work.block_epochs == 1 and most_steps:
        the_work = replace(the_work, n_steps=most_steps)
    checked = replace(the_work, n_steps=the_work.checked_steps or the_work.n_steps)
    data, start = works.make_data(checked), works.initial_parameters(checked)
    began = perf_counter()
    runner = peer.SIDES[side](checked, *data, start)
    runner.run(1)
    first = perf_counter() - began
    found, deviation = runner.result(), 0.0
    if found:
        deviation = reference.deviation(found, *_expected(checked))
    if not deviation < TOLERANCE:
        raise ValueError(
            f"{side} does something else than hand-written NumPy: after {checked.n_steps} steps of "
            f"{work} its result is {deviation:.2g} of the way off"
        )
    if checked != the_work:
        runner = _build(peer, the_work, side)
    runners[work, side] = Kept(the_work, runner, the_work.block_epochs)
    return {**_description(peer, side), "deviation": deviation, "first": first}


_expected = lru_cache(maxsize=1)(reference.expected)


def forget(peer: Any, runners: Runners) -> dict[str, Any]:
    """Drop all runners, and what the peer has compiled for them."""
    runners.clear()
    getattr(peer, "forget", lambda: None)()
    gc.collect()
    return {}


def time_block(peer: Any, runners: Runners, work: str, side: str, seconds: float) -> dict[str, Any]:
    """The seconds of one step, from a block of about so many seconds."""
    kept = runners[work, side]
    sleep(0.1)  # threads of the side before may still wait busily for work
    if kept.block_epochs is None:
        epochs, elapsed = 1, _elapsed(kept.runner, 1)  # warms up
        while elapsed < seconds / 5:
            epochs *= 2
            elapsed = _elapsed(kept.runner, epochs)
        kept.block_epochs = max(1, round(epochs * seconds / elapsed))
    steps = kept.block_epochs * kept.work.n_steps
    return {"seconds": _elapsed(kept.runner, kept.block_epochs) / steps}


def time_compile(peer: Any, runners: Runners, work: str, side: str) -> dict[str, Any]:
    """The seconds from the imported package to the end of the first step, less a later step."""
    the_work = replace(_work_of(peer, work), n_steps=1)
    data, start = works.make_data(the_work), works.initial_parameters(the_work)
    began = perf_counter()
    runner = peer.SIDES[side](the_work, *data, start)
    runner.run(1)
    first = perf_counter() - began
    later = min(_elapsed(runner, 1) for _ in range(5))
    return {**_description(peer, side), "value": first - later, "scipy": "scipy" in sys.modules}


def memory(peer: Any, runners: Runners, work: str, side: str) -> dict[str, Any]:
    """The most memory of the process in training, beyond that of imports and data, in bytes."""
    the_work = replace(_work_of(peer, work), n_steps=8)
    data, start = works.make_data(the_work), works.initial_parameters(the_work)
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM, the most so far, begins anew
    before = _status_bytes("VmRSS")
    peer.SIDES[side](the_work, *data, start).run(4)
    peak = _status_bytes("VmHWM")
    return {**_description(peer, side), "value": peak - before, "process_value": peak}


def learn(
    peer: Any, runners: Runners, work: str, side: str, seed: int, wanted: float
) -> dict[str, Any]:
    """Train until the test accuracy is what is wanted, and say what came of it.

    The caller measures the time: it begins before this process does.
    """
    accuracies: list[float] = []

    def is_enough(accuracy: float) -> bool:
        accuracies.append(accuracy)
        return accuracy >= wanted

    start = works.initial_parameters(works.TO_0990, seed)
    peer.SIDES[side](works.TO_0990, start, is_enough)
    return {**_description(peer, side), "accuracies": accuracies}


def _description(peer: Any, side: str) -> dict[str, str]:
    """The label of a side and what its time includes, from its docstring."""
    label, _, includes = peer.SIDES[side].__doc__.strip().partition(": ")
    return {"label": label, "includes": includes}


def _work_of(peer: Any, work: str) -> works.Work:
    return replace(works.WORKS[work], **getattr(peer, "DIFFERS", {}).get(work, {}))


def _build(peer: Any, work: works.Work, side: str) -> works.Runner:
    return peer.SIDES[side](work, *works.make_data(work), works.initial_parameters(work))


def _elapsed(runner: works.Runner, epochs: int) -> float:
    began = perf_counter()
    counted = runner.run(epochs)
    return perf_counter() - began if counted is None else counted


def _status_bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def _import_peer(name: str) -> Any:
    """The peer's file, or the name of the package that is not installed."""
    try:
        return importlib.import_module(f"peers.{name}")
    except ModuleNotFoundError as missing:
        if "." in str(missing.name):  # a part of a package that is there
            raise
        return str(missing.name)


if __name__ == "__main__":
    serve(_import_peer(sys.argv[1]), sys.argv[1], int(sys.argv[2]))
