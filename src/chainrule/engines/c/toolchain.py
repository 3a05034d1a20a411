"""From C text to a loaded library: which compiler, with which flags, built once and kept.

`find_compiler` looks for a compiler, `build_library` has it build a text, or finds what it built
before (`library_cache`). Nothing here knows what the text computes.

Linux is what this is made for. On macOS the libraries end in `.dylib`, and Apple's clang has no
OpenMP. On Windows they end in `.dll`, and gcc, clang or zig as `$CC` or on PATH can build them,
Microsoft's `cl` cannot. What goes wrong anywhere is a `CompileError`, or a `Missing` with its
reason, and the caller computes with NumPy.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, final

from chainrule.engines.c import library_cache
from chainrule.engines.c.library_cache import CompileError

__all__ = [
    "SANITIZERS",
    "WARNINGS",
    "CompileError",
    "Compiler",
    "Library",
    "Missing",
    "build_library",
    "build_program",
    "find_compiler",
    "has_openmp",
]

WARNINGS = ("-Wall", "-Wextra", "-Werror")
"""What tests add to see that a text is clean."""

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
"""What tests add to see that a text does what C defines; for programs (`build_program`)."""

_LONGEST = 120.0  # seconds for the compiler
_RECHECKED = 24 * 3600.0  # seconds after which a compiler is asked for its version again
_SHOWN_LINES = 20  # of what a compiler says
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
    "-O3",  # vectorised loops, also those with a remainder
    "-fno-math-errno",  # sqrt is one instruction: nobody reads errno
    "-fno-trapping-math",  # nobody reads the flags of exceptions: conditions become masks
    "-ffp-contract=fast",  # a * b + c in one instruction, which rounds once
    "-fopenmp-simd",  # `#pragma omp simd` without the library of OpenMP
    "-fwrapv",  # integers wrap around as NumPy's do; without, C leaves overflow undefined
    "-fvisibility=hidden",  # a function is seen from outside where the text says so, else inlined
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
@dataclass(frozen=True)
class Library:
    """A library in this process.

    `functions` holds what the text exports; `seconds` is what building took, 0.0 where it was kept;
    `threads` is whether OpenMP is in it; `remark` says why it was not kept, else it is empty. The
    file `path` is gone where it was not kept.
    """

    path: Path
    functions: ctypes.CDLL = field(repr=False)
    seconds: float
    compiler: Compiler
    flags: tuple[str, ...]
    threads: bool
    remark: str = ""


@final
class _Process:
    """What this process has found and loaded."""

    def __init__(self) -> None:
        self.compilers: dict[tuple[str, ...], Compiler | Missing] = {}
        self.openmp: dict[Compiler, bool] = {}
        self.libraries: dict[str, Library] = {}
        self.renew_locks()

    def renew_locks(self) -> None:
        """As a forked process must: whoever held them is not in it."""
        self._lock = threading.Lock()
        self._locks: dict[str, threading.RLock] = {}

    def lock(self, name: str) -> threading.RLock:
        """One lock a name: what is the same is done once, what differs at the same time."""
        with self._lock:
            return self._locks.setdefault(name, threading.RLock())


_PROCESS = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_PROCESS.renew_locks)


def find_compiler() -> Compiler | Missing:
    """The C compiler: `$CC`, else cc, gcc or clang on PATH, else that of the ziglang wheel.

    `$CC` may hold arguments ("ccache gcc", "zig cc"); where it is set, nothing else is tried. A
    compiler counts when it has built a library of one line. The answer is kept for the process, and
    what a compiler takes in the cache folder, so that finding it again runs nothing.
    """
    environment = tuple(os.environ.get(name, "") for name in ("CC", "PATH", "CHAINRULE_CACHE"))
    with _PROCESS.lock("compiler"):
        if environment not in _PROCESS.compilers:
            _PROCESS.compilers[environment] = _find()
        return _PROCESS.compilers[environment]


def _find() -> Compiler | Missing:
    faults = []
    chosen = os.environ.get("CC", "").strip()
    for name, command in _candidates(chosen):
        if command is None:
            faults.append(f"{name} is not there")
            continue
        try:
            return _examine(command)
        except CompileError as error:
            faults.append(f"{name} does not work: {error}")
    advice = "set $CC to a C compiler, or unset it, " if chosen else "install gcc or clang, "
    return Missing(
        f"no C compiler: {'; '.join(faults)}. To have one, {advice}or pip install ziglang"
    )


def _candidates(chosen: str) -> list[tuple[str, tuple[str, ...] | None]]:
    """What to try, in this order: what to call it, and its command, None where it is absent."""
    if chosen:
        return [(f"$CC, {chosen!r},", _on_path(chosen))]
    found = [(name, _on_path(name)) for name in ("cc", "gcc", "clang")]
    spec = importlib.util.find_spec("ziglang")
    folders = spec.submodule_search_locations if spec else None
    zig = next((z for f in folders or () if (z := shutil.which("zig", path=f))), None)
    return [*found, ("the ziglang wheel", (zig, "cc") if zig else None)]


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
    name = f"compiler-{_hash(command, identity, _processor())}"
    known = library_cache.read_record(folder, name, _RECHECKED) if folder else None
    if known is not None:
        with suppress(KeyError, TypeError):
            return Compiler(command, str(known["version"]), identity, tuple(known["flags"]))
    with tempfile.TemporaryDirectory(prefix="chainrule-") as work:
        version = _first_line(_run([*command, "--version"], Path(work)))
        flags = _flags_taken(command, Path(work))
    if folder:
        library_cache.write_record(folder, name, {"version": version, "flags": flags})
    return Compiler(command, version, identity, flags)


def _identity(command: Sequence[str]) -> str:
    """Path, size and time of each file a command names: "ccache gcc" names two."""
    files = []
    for word in command:
        if not word.startswith("-") and (program := shutil.which(word)):
            status = os.stat(program)
            files.append(f"{os.path.realpath(program)} {status.st_size} {status.st_mtime_ns}")
    return "; ".join(files)


def _flags_taken(command: tuple[str, ...], work: Path) -> tuple[str, ...]:
    """Of the flags the engine wants, those with which a compiler builds a library."""
    needed = (*_STANDARD, "-shared", *(() if sys.platform in ("win32", "cygwin") else ("-fPIC",)))

    def takes(flags: Sequence[str]) -> bool:
        with suppress(CompileError):
            _compile(command, _TINY, work / "probe", [*needed, *flags])
            return True
        return False

    wanted = (*_OPTIONAL, *_for_this_processor(command, work))
    if takes(wanted):
        return (*needed, *wanted)
    _compile(command, _TINY, work / "probe", needed)  # says what is wrong with it
    return (*needed, *(flag for flag in wanted if takes([flag])))


def _for_this_processor(command: tuple[str, ...], work: Path) -> list[str]:
    """The flag for all that this processor can do, and the one for its widest vectors."""
    # -mcpu sets instructions and tuning both on ARM and POWER; on x86, -march does.
    for native in (
        ("-march=native",)
        if _machine() in ("x86_64", "AMD64")
        else (
            "-mcpu=native",
            "-march=native",
        )
    ):
        (work / "empty.c").write_text("")
        with suppress(CompileError):
            macros = _run([*command, native, "-dM", "-E", "empty.c"], work)
            # GCC keeps to 256 bits where a processor has 512, unless asked
            is_gcc = "__GNUC__" in macros and "__clang__" not in macros
            return [
                native,
                *(["-mprefer-vector-width=512"] if is_gcc and "__AVX512F__" in macros else []),
            ]
    return []


def has_openmp(compiler: Compiler) -> bool:
    """Whether a compiler builds libraries with OpenMP."""
    with _PROCESS.lock("openmp"):
        if compiler not in _PROCESS.openmp:
            _PROCESS.openmp[compiler] = _probe_openmp(compiler)
        return _PROCESS.openmp[compiler]


def _probe_openmp(compiler: Compiler) -> bool:
    folder, _ = library_cache.library_folder()
    name = f"openmp-{_hash(compiler.command, compiler.identity, compiler.version)}"
    known = library_cache.read_record(folder, name, _RECHECKED) if folder else None
    if known is not None and isinstance(known.get("openmp"), bool):
        return bool(known["openmp"])
    found = False
    with tempfile.TemporaryDirectory(prefix="chainrule-") as work, suppress(CompileError):
        output = Path(work) / f"probe{library_cache.library_suffix()}"
        _compile(compiler.command, _TINY_OPENMP, output, [*compiler.flags, "-fopenmp"])
        found = True
    if folder:
        library_cache.write_record(folder, name, {"openmp": found})
    return found


def build_library(text: str, *, threads: bool = False, extra: Sequence[str] = ()) -> Library:
    """A C text as a library in this process: built, or as it was kept.

    `threads` asks for OpenMP, where the compiler has it. `extra` are flags for tests; with them
    warnings are not silenced. What the text exports needs
    `__attribute__((visibility("default")))`. One text is loaded once, whoever asks, in any thread.
    Raises CompileError where there is no compiler, with what it says where it refuses the text, and
    where the library cannot be loaded.

    >>> text = '''__attribute__((visibility("default"))) int twice(int x) { return 2 * x; }'''
    >>> if isinstance(find_compiler(), Compiler):
    ...     assert build_library(text).functions.twice(21) == 42
    """
    compiler = find_compiler()
    if isinstance(compiler, Missing):
        raise CompileError(compiler.reason)
    threads = threads and has_openmp(compiler)
    flags = (*compiler.flags, *(("-fopenmp",) if threads else ()), *(extra or ("-w",)))
    key = _hash(text, compiler.command, compiler.version, compiler.identity, flags, _processor())
    with _PROCESS.lock(key):
        library = _PROCESS.libraries.get(key)
        if library is None:
            library = _kept_or_built(text, key, compiler, flags, threads)
            _PROCESS.libraries[key] = library
        return library


def _kept_or_built(
    text: str, key: str, compiler: Compiler, flags: tuple[str, ...], threads: bool
) -> Library:
    folder, remark = library_cache.library_folder()
    if folder is not None:
        library_cache.clean(folder)
        path = library_cache.find_entry(folder, key)
        if path is not None:
            # what cannot be loaded may come from another system that shares the folder
            with suppress(CompileError):
                return Library(path, library_cache.load(path), 0.0, compiler, flags, threads)
    with _work_folder(folder) as work:
        built = Path(work) / f"library{library_cache.library_suffix()}"
        start = time.perf_counter()
        _compile(compiler.command, text, built, flags)
        seconds = time.perf_counter() - start
        # Loaded from where no other process looks, then moved: what is loaded stays.
        functions = library_cache.load(built)
        if folder is not None:
            about: dict[str, Any] = {"compiler": str(compiler), "flags": flags}
            try:
                built = library_cache.keep_entry(folder, key, built, about)
            except OSError as error:
                remark = f"{folder} cannot keep the compiled library: {error}"
    return Library(built, functions, seconds, compiler, flags, threads, remark)


def _work_folder(folder: Path | None) -> tempfile.TemporaryDirectory[str]:
    """A folder to build in, which goes with all that is in it: on the disk of the libraries, or
    where that cannot be written, among the temporary files.
    """
    prefix = library_cache.BUILD_PREFIX
    with suppress(OSError):
        return tempfile.TemporaryDirectory(prefix=prefix, dir=folder, ignore_cleanup_errors=True)
    return tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)


def build_program(text: str, path: Path, *, extra: Sequence[str] = ()) -> None:
    """Build a text with a main function as a program, for tests: with WARNINGS and SANITIZERS.

    Raises CompileError as `build_library` does.
    """
    compiler = find_compiler()
    if isinstance(compiler, Missing):
        raise CompileError(compiler.reason)
    flags = [flag for flag in compiler.flags if flag not in ("-shared", "-fPIC")]
    with tempfile.TemporaryDirectory(prefix="chainrule-") as work:
        built = Path(work) / path.name
        _compile(compiler.command, text, built, [*flags, *(extra or ("-w",))])
        shutil.copy(built, path)


def _compile(command: Sequence[str], text: str, output: Path, flags: Sequence[str]) -> None:
    """Have a text compiled to a file, in whose folder everything else is written too."""
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


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps([library_cache.FORMAT, *parts]).encode()).hexdigest()


def _machine() -> str:
    if hasattr(os, "uname"):
        return os.uname().machine
    return os.environ.get("PROCESSOR_ARCHITECTURE", "")


@cache
def _processor() -> str:
    """What decides which instructions run here: libraries are built for those."""
    kept = ("vendor", "cpu ", "model", "stepping", "flags", "features", "isa", "uarch", "cpu\t")
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        # the first processor stands for all; reading on takes milliseconds for each
        block = file.read(8192).partition("\n\n")[0]
        lines = [line for line in block.lower().splitlines() if line.startswith(kept)]
        return "\n".join([_machine(), *(line for line in lines if "mhz" not in line)])
    import platform

    return f"{_machine()} {platform.processor()} {platform.machine()}"
