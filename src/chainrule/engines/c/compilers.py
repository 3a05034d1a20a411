"""Which C compiler there is, which flags it takes, and how it is run.

`find_compiler` looks for one and sees that it works. What it finds out is kept in the cache folder,
so that the next process runs no compiler at all to know it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, final

from chainrule.engines.c import library_cache
from chainrule.engines.c.library_cache import CompileError

__all__ = [
    "Compiler",
    "Missing",
    "compile_text",
    "find_compiler",
    "finding_compiler",
    "has_openmp",
    "hash_of",
    "lock",
    "processor",
]

_LONGEST = 120.0  # seconds for the compiler
_RECHECKED = 24 * 3600.0  # seconds after which a compiler is asked for its version again
_SHOWN_LINES = 20  # of what a compiler says
_SHOWN_OF_A_TRIAL = 4  # of what one says that does not work at all
_TINY = "double chainrule_probe(double x) { return x + 1; }\n"
_TINY_OPENMP = """#include <omp.h>
int chainrule_probe(void) {
    int n = 0;
#pragma omp parallel reduction(+ : n)
    n += omp_get_num_threads() > 0;
    return n;
}
"""

# GNU C for the vector types and attributes that stand in the text under #ifdef __GNUC__, and for
# M_PI and its like in math.h. Strict C would also forbid to contract a * b + c by itself.
_STANDARD = ("-std=gnu11",)

# What a compiler may lack; each was chosen for itself. Never -ffast-math: it takes NaN and infinity
# for impossible, orders sums anew, and linking with it sets the processor to flush small numbers to
# zero in the whole process, NumPy's work included. Not -fno-signed-zeros, -fno-honor-nans,
# -fassociative-math, -freciprocal-math either: those change results NumPy gives.
_OPTIONAL = (
    "-fno-math-errno",  # sqrt is one instruction: nobody reads errno
    "-fno-trapping-math",  # nobody reads the flags of exceptions: conditions become masks
    "-ffp-contract=fast",  # a * b + c in one instruction, which rounds once
    "-fopenmp-simd",  # `#pragma omp simd` without the library of OpenMP
    "-fwrapv",  # integers wrap around as NumPy's do; without, C leaves overflow undefined
    "-fvisibility=hidden",  # a function is seen from outside where the text says so, else inlined
)

_FAST = ("-O3",)  # vectorised loops, also those with a remainder

# What GCC's -O3 does for such texts, without what it does for others: the same speed, measured for
# networks of every kind, after two thirds of the time. Functions called once would be put into
# their caller, and larger functions take GCC more than proportionally longer.
_FAST_IN_GCC = (
    "-O2",
    "-ftree-loop-vectorize",
    "-fvect-cost-model=dynamic",
    "-fpeel-loops",  # short loops are unrolled whole, so that sums stand in registers
    "-fno-inline-functions-called-once",
)


@final
@dataclass(frozen=True)
class Compiler:
    """A C compiler that has built a library on this machine.

    `command` is how it is called, `version` the first line of what it says of itself, `identity`
    changes when its files do, `flags` are those it takes, of what the engine wants.
    """

    command: tuple[str, ...]
    version: str
    identity: str
    flags: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.version or 'unknown version'} ({shlex.join(self.command)})"


@final
@dataclass(frozen=True)
class Missing:
    """There is no compiler that works: `reason` says what was tried, and what to do."""

    reason: str


@final
class _Process:
    """What this process has found out, and its locks."""

    def __init__(self) -> None:
        self.compilers: dict[tuple[str, ...], Compiler | Missing] = {}
        self.openmp: dict[Compiler, bool] = {}
        self.renew_locks()

    def renew_locks(self) -> None:
        """As a forked process must: whoever held them is not in it."""
        self.lock = threading.Lock()
        self.locks: dict[str, threading.RLock] = {}


_PROCESS = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.renew_locks)


def lock(name: str) -> threading.RLock:
    """One lock a name: what is the same is done once, what differs at the same time.

    A forked process has locks of its own, which nobody holds.
    """
    with _PROCESS.lock:
        return _PROCESS.locks.setdefault(name, threading.RLock())


def find_compiler() -> Compiler | Missing:
    """The C compiler: `$CC`, else cc, gcc or clang on PATH, else that of the ziglang wheel.

    `$CC` may hold arguments ("ccache gcc", "zig cc"); where it is set, nothing else is tried. A
    compiler counts when it has built a library of one line. The answer is kept for the process, and
    what a compiler takes in the cache folder, so that finding it again runs nothing.
    """
    environment = _environment()
    with lock("compiler"):
        if environment not in _PROCESS.compilers:
            _PROCESS.compilers[environment] = _find()
        return _PROCESS.compilers[environment]


def _environment() -> tuple[str, ...]:
    """What decides which compiler is found."""
    return tuple(os.environ.get(name, "") for name in ("CC", "PATH", "CHAINRULE_CACHE"))


@contextmanager
def finding_compiler() -> Iterator[None]:
    """Look for the compiler meanwhile: the first time, other programs run for that."""
    if _environment() in _PROCESS.compilers:
        yield
        return
    search = threading.Thread(target=find_compiler)
    search.start()
    try:
        yield
    finally:
        search.join()


def _find() -> Compiler | Missing:
    faults = []
    chosen = os.environ.get("CC", "").strip()
    tried = set()
    for name, command in _candidates(chosen):
        if command is None:
            faults.append(f"{name} is not there")
        elif (same := (os.path.realpath(command[0]), command[1:])) not in tried:
            tried.add(same)
            try:
                return _examine(command)
            except (CompileError, OSError) as error:
                said = "\n".join(str(error).splitlines()[:_SHOWN_OF_A_TRIAL])
                faults.append(f"{name} does not work: {said}")
    advice = "Install gcc or clang, or pip install ziglang"
    if chosen:
        advice = "Set $CC to a C compiler; or unset it, and one that is installed is found"
    return Missing(f"no C compiler: {'; '.join(faults)}. {advice}")


def _candidates(chosen: str) -> Iterator[tuple[str, tuple[str, ...] | None]]:
    """What to try, in this order: what to call it, and its command, None where it is absent."""
    if chosen:
        yield f"$CC, {chosen!r},", _on_path(chosen)
        return
    for name in ("cc", "gcc", "clang"):
        yield f"{name} on PATH", _on_path(name)
    spec = importlib.util.find_spec("ziglang")  # without importing it
    folders = (spec and spec.submodule_search_locations) or []
    zig = next((program for f in folders if (program := shutil.which("zig", path=f))), None)
    yield "the ziglang wheel", (os.path.abspath(zig), "cc") if zig else None


def _on_path(text: str) -> tuple[str, ...] | None:
    """The words of a command, the first as the file that it names; None where it names none."""
    if whole := shutil.which(text):  # a path that has spaces in it
        return (os.path.abspath(whole),)
    try:
        first, *rest = shlex.split(text, posix=os.name == "posix")
    except ValueError:  # an open quotation mark
        return None
    program = shutil.which(first)
    return (os.path.abspath(program), *rest) if program else None


def _examine(command: tuple[str, ...]) -> Compiler:
    """A compiler with its version and the flags it takes, from the cache folder where known."""
    identity = _identity(command)
    folder, _ = library_cache.library_folder()
    name = f"compiler-{hash_of(command, identity, processor())}"
    version, flags, is_recent = _known_of(folder, name)
    if not is_recent:
        with library_cache.work_folder(folder) as work:
            before, version = version, _version(command, Path(work))
            if not flags or version != before:
                flags = _flags_taken(command, Path(work))
        if folder:
            found = {"version": version, "flags": flags, "time": time.time()}
            library_cache.write_record(folder, name, found)
    return Compiler(command, version, identity, flags)


def _known_of(folder: Path | None, name: str) -> tuple[str, tuple[str, ...], bool]:
    """A compiler's version and flags as they were found, and whether that is less than a day ago.

    Its files say little of a compiler behind another program; its version says enough.
    """
    known = (library_cache.read_record(folder, name) if folder else None) or {}
    with suppress(KeyError, TypeError):
        age = time.time() - known["time"]
        return str(known["version"]), tuple(map(str, known["flags"])), 0 <= age < _RECHECKED
    return "", (), False


def _version(command: tuple[str, ...], work: Path) -> str:
    """The first line a compiler says of itself; "" where it says none, as small ones do."""
    with suppress(CompileError):
        return _run([*command, "--version"], work).strip().partition("\n")[0].strip()
    return ""


def _identity(command: Sequence[str]) -> str:
    """Path, size and time of each file a command names: "ccache gcc" names two."""
    files = []
    for word in command:
        if not word.startswith("-") and (program := shutil.which(word)):
            status = os.stat(program)
            files.append(f"{os.path.realpath(program)} {status.st_size} {status.st_mtime_ns}")
    return "; ".join(files)


def _flags_taken(command: tuple[str, ...], work: Path) -> tuple[str, ...]:
    """Of the flags the engine wants, those with which a compiler builds a library that runs."""
    needed = (*_STANDARD, "-shared", *(() if sys.platform in ("win32", "cygwin") else ("-fPIC",)))
    output = work / f"probe{library_cache.library_suffix()}"

    def takes(flags: Sequence[str]) -> bool:
        with suppress(CompileError):
            compile_text(command, _TINY, output, [*needed, *flags])
            return True
        return False

    wanted: Sequence[str] = (*_OPTIONAL, *_for_speed(command, work))
    if not takes(wanted):
        compile_text(command, _TINY, output, needed)  # says what is wrong with it
        wanted = [flag for flag in wanted if takes([flag])]
        compile_text(command, _TINY, output, [*needed, *wanted])
    library_cache.load(output)  # one for another system is built as well, and fails here
    return (*needed, *wanted)


def _for_speed(command: tuple[str, ...], work: Path) -> list[str]:
    """The flags to optimise by, for all that this processor can do and its widest vectors."""
    # -mcpu sets instructions and tuning both on ARM and POWER; on x86, -march does.
    is_x86 = _machine() in ("x86_64", "AMD64", "i686", "x86")
    (work / "empty.c").write_text("")
    for native in ["-march=native"] if is_x86 else ["-mcpu=native", "-march=native"]:
        with suppress(CompileError):
            macros = _run([*command, native, "-dM", "-E", "empty.c"], work)
            if "__GNUC__" not in macros or "__clang__" in macros:
                return [*_FAST, native]
            # GCC keeps to 256 bits where a processor has 512, unless asked
            has_512_bits = "__AVX512F__" in macros
            return [*_FAST_IN_GCC, native, *["-mprefer-vector-width=512"] * has_512_bits]
    return [*_FAST]


def has_openmp(compiler: Compiler) -> bool:
    """Whether a compiler builds libraries with OpenMP."""
    with lock("openmp"):
        if compiler not in _PROCESS.openmp:
            _PROCESS.openmp[compiler] = _probe_openmp(compiler)
        return _PROCESS.openmp[compiler]


def _probe_openmp(compiler: Compiler) -> bool:
    folder, _ = library_cache.library_folder()
    name = f"openmp-{hash_of(compiler.command, compiler.identity, compiler.version)}"
    known = (library_cache.read_record(folder, name) if folder else None) or {}
    if "openmp" not in known:
        known = {"openmp": False}
        with library_cache.work_folder(folder) as work, suppress(CompileError):
            output = Path(work) / f"probe{library_cache.library_suffix()}"
            compile_text(compiler.command, _TINY_OPENMP, output, [*compiler.flags, "-fopenmp"])
            known = {"openmp": True}
        if folder:
            library_cache.write_record(folder, name, known)
    return bool(known["openmp"])


def compile_text(command: Sequence[str], text: str, output: Path, flags: Sequence[str]) -> None:
    """Have a text compiled to a file, in whose folder everything else is written too.

    Raises CompileError with the first lines of what the compiler says.
    """
    output.unlink(missing_ok=True)
    (output.parent / "text.c").write_text(text, encoding="utf-8")
    _run([*command, *flags, "text.c", "-o", output.name, "-lm"], output.parent)
    if not output.exists():
        raise CompileError(f"{shlex.join(command)} made no file, and reported no fault")


def _run(command: Sequence[str], folder: Path) -> str:
    """What a program prints; it works in a folder, and is killed with all that it started when it
    takes too long or Ctrl-C comes. Raises CompileError with the first lines of what it says.
    """
    import subprocess  # takes milliseconds, and is not needed for what was kept

    own_group: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
    places = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(folder))
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | places | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            **own_group,
        )
    except OSError as error:
        raise CompileError(f"{command[0]} cannot be run: {error}") from error
    with process:
        try:
            printed, said = process.communicate(timeout=_LONGEST)
        except BaseException as fault:
            _kill(process)
            if isinstance(fault, subprocess.TimeoutExpired):
                raise CompileError(
                    f"{shlex.join(command)} was stopped after {_LONGEST:.0f} s"
                ) from fault
            raise
    if process.returncode:
        lines = (said or printed).strip().splitlines()
        shown = "\n".join(lines[:_SHOWN_LINES]) or "it says nothing"
        more = f"\n... {len(lines) - _SHOWN_LINES} more lines" * (len(lines) > _SHOWN_LINES)
        raise CompileError(f"{shlex.join(command)} ends with {process.returncode}:\n{shown}{more}")
    return str(printed)


def _kill(process: Any) -> None:
    with suppress(OSError):  # it may have ended
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def hash_of(*parts: Any) -> str:
    """The SHA-256 of parts that JSON can write, and of the format of the cache."""
    return hashlib.sha256(json.dumps([library_cache.FORMAT, *parts]).encode()).hexdigest()


def _machine() -> str:
    if hasattr(os, "uname"):
        return os.uname().machine
    return os.environ.get("PROCESSOR_ARCHITECTURE", "")


@cache
def processor() -> str:
    """What decides which instructions run here: libraries are built for those."""
    kept = ("vendor", "cpu ", "model", "stepping", "flags", "features", "isa", "uarch", "cpu\t")
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        # the first processor stands for all; reading on takes milliseconds for each
        block = file.read(8192).partition("\n\n")[0]
        lines = [line for line in block.lower().splitlines() if line.startswith(kept)]
        return "\n".join([_machine(), *(line for line in lines if "mhz" not in line)])
    import platform

    return f"{_machine()} {platform.processor()} {platform.machine()}"
