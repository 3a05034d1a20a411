"""From C text to a loaded library: built once, kept, and checked before it is loaded again.

`build_library` takes a compiler (`compilers`), has it build a text, or finds what it built before
(`library_cache`). Nothing here knows what the text computes.

Linux is what this is made for. On macOS the libraries end in `.dylib`, and Apple's clang has no
OpenMP. On Windows they end in `.dll`, and gcc, clang or zig as `$CC` or on PATH can build them,
Microsoft's `cl` cannot. What goes wrong anywhere is a `CompileError`, or a `Missing` with its
reason, and the caller computes with NumPy.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from chainrule.engines.c import library_cache
from chainrule.engines.c.compilers import (
    Compiler,
    Missing,
    compile_text,
    find_compiler,
    finding_compiler,
    has_openmp,
    hash_of,
    lock,
    processor,
)
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
    "finding_compiler",
    "has_openmp",
]

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-Wno-type-limits", "-Wno-bool-compare")
"""What tests add to see that a text is clean. That a comparison holds for every value of a type, as
x < 200 does of int8, is the user's own affair.
"""

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
"""What tests add to see that a text does what C defines; for programs (`build_program`)."""


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


_LIBRARIES: dict[str, Library] = {}
"""What this process has loaded, by key."""

_RESTING: dict[Compiler, Any] = {}
"""For each compiler whose OpenMP is in this process: the function that ends its threads."""


def _rest() -> None:
    """End OpenMP's threads before a fork, for the child has none of them and would wait for them.

    They come back with the next parallel part, here and in the child. GCC's library, libgomp, needs
    this; omp_pause_soft is 1 (OpenMP 5.0, section 3.2.43).
    """
    for pause in list(_RESTING.values()):
        pause(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_rest)


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
    key = hash_of(text, compiler.command, compiler.version, compiler.identity, flags, processor())
    with lock(key):
        library = _LIBRARIES.get(key)
        if library is None:
            library = _kept_or_built(text, key, compiler, flags, threads)
            if threads:
                with suppress(AttributeError):  # of an OpenMP before 5.0
                    _RESTING.setdefault(compiler, library.functions.omp_pause_resource_all)
            _LIBRARIES[key] = library
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
    try:
        with library_cache.work_folder(folder) as work:
            built = Path(work) / f"library{library_cache.library_suffix()}"
            start = time.perf_counter()
            compile_text(compiler.command, text, built, flags)
            seconds = time.perf_counter() - start
            # Loaded from where no other process looks, then moved: what is loaded stays.
            functions = library_cache.load(built)
            if folder is not None:
                about = {"compiler": str(compiler), "flags": flags}
                try:
                    built = library_cache.keep_entry(folder, key, built, about)
                except OSError as error:
                    remark = f"{folder} cannot keep the compiled library: {error}"
    except OSError as error:  # no folder to write to, no room
        raise CompileError(f"no place to compile in: {error}; $TMPDIR may name one") from error
    return Library(built, functions, seconds, compiler, flags, threads, remark)


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
        compile_text(compiler.command, text, built, [*flags, *(extra or ("-w",))])
        shutil.copy(built, path)
