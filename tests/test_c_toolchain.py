"""From C text to a loaded library: bad compilers, damaged caches, several at once."""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from chainrule.engines.c import compilers, library_cache, toolchain
from chainrule.engines.c.library_cache import clean, library_suffix
from chainrule.engines.c.toolchain import (
    SANITIZERS,
    WARNINGS,
    CompileError,
    Compiler,
    Missing,
    build_library,
    build_program,
    find_compiler,
    has_openmp,
)

REAL = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
SEEN = '__attribute__((visibility("default"))) '
NOT_POSIX = os.name != "posix"

pytestmark = pytest.mark.skipif(not REAL or NOT_POSIX, reason="needs a C compiler, and a shell")


def answer(value: int) -> str:
    """A text whose function gives a number."""
    return f"{SEEN}int answer(void) {{ return {value}; }}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and a process that knows of no compiler and no library."""
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(compilers._PROCESS, "compilers", {})
    monkeypatch.setattr(compilers._PROCESS, "openmp", {})
    forget(monkeypatch)
    return tmp_path / "cache" / "c"


def forget(monkeypatch):
    """As in a new process: what was loaded is not known."""
    monkeypatch.setattr(toolchain, "_LIBRARIES", {})


@pytest.fixture(scope="module")
def real_compiler(tmp_path_factory):
    """What this machine has, found once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAINRULE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(compilers._PROCESS, "compilers", {})
        return find_compiler()


@pytest.fixture
def script(tmp_path, monkeypatch, real_compiler):
    """Makes $CC a shell script that runs some lines, then the real compiler, and returns its log.

    It counts as examined, unless the test is about that.
    """

    def make(lines: str = "", *, name: str = "cc", is_known: bool = True) -> Path:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        calls = tmp_path / "calls"
        calls.touch()
        path.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{lines}\nexec {REAL} "$@"\n')
        path.chmod(0o755)
        monkeypatch.setenv("CC", str(path))
        monkeypatch.setattr(compilers._PROCESS, "compilers", {})
        if is_known:
            monkeypatch.setattr(
                compilers, "_flags_taken", lambda command, work: real_compiler.flags
            )
            monkeypatch.setattr(compilers, "_version", lambda command, work: real_compiler.version)
        return calls

    return make


def libraries_built(calls: Path) -> int:
    """How often a script was asked for a library, not for a probe."""
    return sum(f"library{library_suffix()}" in line for line in calls.read_text().splitlines())


def child(code: str, *, wait: bool = True, **environment: str) -> subprocess.Popen[str]:
    """A new process that runs some code."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PRELUDE) + textwrap.dedent(code)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if wait:
        process.output, process.errors = process.communicate(timeout=60)
    return process


PRELUDE = f"""
import os, signal, sys, threading, time
from chainrule.engines.c.toolchain import build_library
def answer(value):
    return {answer(1)!r}.replace("1", str(value))
"""


def entries(folder: Path, suffix: str) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix == suffix)


# Built, kept, found again


def test_a_library_is_built_once_and_found_by_the_next_process(script, cache):
    calls = script(is_known=False)
    first = build_library(answer(41))
    assert first.functions.answer() == 41
    assert first.seconds > 0
    assert first.remark == ""
    assert build_library(answer(41)) is first
    assert libraries_built(calls) == 1
    before = calls.read_text()
    found = child(
        "library = build_library(answer(41)); print(library.functions.answer(), library.seconds)"
    )
    assert found.output.split() == ["41", "0.0"], found.errors
    assert calls.read_text() == before  # not even its version is asked for
    assert first.path == entries(cache, library_suffix())[0]
    about = json.loads(first.path.with_suffix(".json").read_text())
    assert about["size"] == first.path.stat().st_size
    assert about["flags"] == list(first.flags)
    assert "cc" in about["compiler"]


def test_what_decides_the_machine_code_decides_the_file(script, cache, monkeypatch):
    calls = script()
    build_library(answer(1))
    build_library(answer(2))
    build_library(answer(1), extra=["-DOTHER"])
    assert libraries_built(calls) == 3
    monkeypatch.setattr(toolchain, "processor", lambda: "another")
    forget(monkeypatch)
    build_library(answer(1))
    assert libraries_built(calls) == 4
    script("# another compiler")  # another size and time
    build_library(answer(1))
    assert libraries_built(calls) == 5
    assert len(entries(cache, library_suffix())) == 5


def test_the_cache_can_be_read_by_its_owner_alone(script, cache):
    script()
    build_library(answer(1))
    assert cache.stat().st_mode & 0o777 == 0o700


def damage_the_library(library: Path, about: Path, wrong: Path):
    content = library.read_bytes()
    library.unlink()
    library.write_bytes(content[: len(content) // 2])


def exchange_the_library(library: Path, about: Path, wrong: Path):
    library.unlink()
    shutil.copy(wrong, library)


def damage_the_hash(library: Path, about: Path, wrong: Path):
    about.write_text(about.read_text().replace('"sha256": "', '"sha256": "0'))


def cut_the_description(library: Path, about: Path, wrong: Path):
    about.write_text(about.read_text()[:30])


def empty_the_description(library: Path, about: Path, wrong: Path):
    about.write_text("[]")


def lose_the_description(library: Path, about: Path, wrong: Path):
    exchange_the_library(library, about, wrong)
    about.unlink()


@pytest.mark.parametrize(
    "damage",
    [
        damage_the_library, exchange_the_library, damage_the_hash, cut_the_description,
        empty_the_description, lose_the_description,
    ],
)  # fmt: skip
def test_a_damaged_library_is_built_anew(damage, script, cache, monkeypatch):
    calls = script()
    wrong = build_library(answer(13)).path
    library = build_library(answer(41)).path
    damage(library, library.with_suffix(".json"), wrong)
    forget(monkeypatch)
    again = build_library(answer(41))
    assert again.functions.answer() == 41
    assert libraries_built(calls) == 3
    assert again.path == library
    known = json.loads(library.with_suffix(".json").read_text())
    assert known["sha256"] == hashlib.sha256(library.read_bytes()).hexdigest()
    forget(monkeypatch)
    found = build_library(answer(41))
    assert (found.functions.answer(), found.seconds) == (41, 0.0)


def test_a_damaged_library_is_deleted_where_it_cannot_be_built(script, cache, monkeypatch):
    script()
    library = build_library(answer(41)).path
    library.with_suffix(".json").write_text("{}")
    forget(monkeypatch)
    monkeypatch.setattr(toolchain, "compile_text", refuse(CompileError("no more")))
    with pytest.raises(CompileError, match="no more"):
        build_library(answer(41))
    assert entries(cache, library_suffix()) == []


def refuse(error: Exception):
    """A function that raises."""

    def raise_it(*arguments, **options):
        raise error

    return raise_it


# Folders


def test_without_cache_variable_the_folder_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.delenv("CHAINRULE_CACHE")
    monkeypatch.setenv("HOME", "/users/ada")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/ada")
    monkeypatch.setattr(sys, "platform", "linux")
    assert library_cache.cache_root() == Path("/var/ada/chainrule")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert library_cache.cache_root() == Path("/users/ada/.cache/chainrule")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert library_cache.cache_root() == Path("/users/ada/Library/Caches/chainrule")
    assert library_cache.library_suffix() == ".dylib"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/C/ada")
    assert library_cache.cache_root() == Path("/C/ada/chainrule/chainrule/Cache")
    assert library_cache.library_suffix() == ".dll"


@pytest.mark.parametrize("mode", [0o722, 0o720, 0o702])
def test_a_folder_that_others_can_write_is_refused(mode, script, cache):
    calls = script()
    cache.mkdir(parents=True)
    cache.chmod(mode)
    library = build_library(answer(41))
    assert library.functions.answer() == 41
    assert f"can be written by others (mode {mode:o})" in library.remark
    assert list(cache.iterdir()) == []
    assert not library.path.exists()
    assert build_library(answer(41)) is library  # in this process it is kept
    assert libraries_built(calls) == 1


def test_nothing_is_loaded_from_a_folder_that_others_can_write(script, cache, monkeypatch):
    calls = script()
    build_library(answer(41))
    cache.chmod(0o777)
    forget(monkeypatch)
    assert build_library(answer(41)).seconds > 0
    assert libraries_built(calls) == 2


def test_a_folder_in_one_that_others_can_write_is_refused_unless_that_is_sticky(cache):
    assert library_cache.library_folder() == (cache, "")
    cache.parent.chmod(0o777)
    folder, reason = library_cache.library_folder()
    assert folder is None
    assert str(cache.parent) in reason
    cache.parent.chmod(0o1777)
    assert library_cache.library_folder() == (cache, "")


def test_a_folder_of_another_user_is_refused(cache, monkeypatch):
    library_cache.library_folder()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    folder, reason = library_cache.library_folder()
    assert folder is None
    assert "another user" in reason


def test_without_a_folder_it_is_built_for_this_process(script, tmp_path, monkeypatch):
    script()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CHAINRULE_CACHE", str(tmp_path / "file" / "cache"))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(library_cache.tempfile, "tempdir", str(temporary))
    library = build_library(answer(41))
    assert library.functions.answer() == 41
    assert "CHAINRULE_CACHE" in library.remark
    assert list(temporary.iterdir()) == []


def make_read_only(monkeypatch, folder: Path):
    """As a file system does that can only be read; permissions do not hold for root."""
    for name in ("utime", "unlink", "replace", "mkdir", "rmdir"):
        real = getattr(os, name)

        def refused(path, *arguments, name=name, real=real, **options):
            places = (path, *arguments) if name == "replace" else (path,)
            if any(folder in Path(place).parents for place in places):
                raise OSError(30, "Read-only file system", str(path))
            return real(path, *arguments, **options)

        monkeypatch.setattr(os, name, refused)


def test_a_folder_that_can_only_be_read_is_read(script, cache, monkeypatch):
    calls = script()
    build_library(answer(41))
    forget(monkeypatch)
    make_read_only(monkeypatch, cache)
    assert build_library(answer(41)).seconds == 0.0
    other = build_library(answer(42))
    assert other.functions.answer() == 42
    assert "Read-only file system" in other.remark
    assert libraries_built(calls) == 2


def forbid_execution(monkeypatch, *folders: Path):
    """As noexec file systems do (the words are glibc's)."""
    real = ctypes.CDLL

    def loaded(name, *arguments, **options):
        if name is not None and any(folder in Path(name).parents for folder in folders):
            raise OSError(f"{name}: failed to map segment from shared object")
        return real(name, *arguments, **options)

    monkeypatch.setattr(library_cache.ctypes, "CDLL", loaded)


def test_from_a_folder_that_forbids_execution_a_copy_is_loaded(script, cache, monkeypatch):
    calls = script()
    forbid_execution(monkeypatch, cache)
    assert build_library(answer(41)).functions.answer() == 41
    forget(monkeypatch)
    assert build_library(answer(41)).functions.answer() == 41
    assert libraries_built(calls) == 1


def test_where_nothing_can_be_loaded_the_error_says_so(script, cache, monkeypatch, tmp_path):
    script(is_known=False)
    assert isinstance(find_compiler(), Compiler)
    forbid_execution(monkeypatch, Path("/"))
    with pytest.raises(CompileError, match=r"failed to map segment.*\$CHAINRULE_CACHE"):
        build_library(answer(41))
    assert entries(cache, library_suffix()) == []


def test_no_room_is_an_error_of_compiling(script, monkeypatch):
    script()
    find_compiler()
    monkeypatch.setattr(Path, "write_text", refuse(OSError(28, "No space left on device")))
    with pytest.raises(CompileError, match="No space left"):
        build_library(answer(41))


# Cleaning


def aged(path: Path, days: float):
    moment = time.time() - days * 24 * 3600
    os.utime(path, (moment, moment))


def test_what_was_not_used_for_30_days_is_deleted_once_a_day(script, cache, monkeypatch):
    script()
    old, young = build_library(answer(1)).path, build_library(answer(2)).path
    (cache / "compiler-old.json").write_text("{}")
    for path in (old, old.with_suffix(".json"), cache / "compiler-old.json"):
        aged(path, 31)
    for path in (young, young.with_suffix(".json")):
        aged(path, 29)
    aged(young.with_suffix(".json"), 90)  # it is the library whose use counts
    build_library(answer(3))
    assert old.exists()  # cleaned less than a day ago
    aged(cache / "cleaned", 1.1)
    build_library(answer(4))
    assert not old.exists()
    assert not old.with_suffix(".json").exists()
    assert not (cache / "compiler-old.json").exists()
    assert young.exists()
    assert young.with_suffix(".json").exists()


def test_use_keeps_a_library_young(script, cache, monkeypatch):
    script()
    library = build_library(answer(1)).path
    aged(library, 20)
    forget(monkeypatch)
    build_library(answer(1))
    assert time.time() - library.stat().st_mtime < 60


def test_above_512_mb_the_least_recently_used_go(cache, monkeypatch):
    monkeypatch.setattr(library_cache, "_LARGEST", 2500)
    library_cache.library_folder()
    for days, name in enumerate(("today", "yesterday", "before")):
        path = cache / f"{name}{library_suffix()}"
        path.write_bytes(bytes(1000))
        aged(path, days)
        path.with_suffix(".json").write_text("{}")
    clean(cache)
    assert [path.stem for path in entries(cache, library_suffix())] == ["today", "yesterday"]
    assert [path.stem for path in entries(cache, ".json")] == ["today", "yesterday"]


def test_what_dead_processes_left_is_deleted(cache):
    library_cache.library_folder()
    for name, days in ((".build-dead", 1), (".build-alive", 0)):
        (cache / name).mkdir()
        (cache / name / "text.c").write_text("")
        aged(cache / name, days)
    (cache / ".half-a1b2.json").write_text("")
    aged(cache / ".half-a1b2.json", 1)
    clean(cache)
    assert sorted(path.name for path in cache.iterdir()) == [".build-alive", "cleaned"]


# Several at once


def test_two_processes_build_the_same_library_at_once(script, cache):
    calls = script('case "$*" in *library*) sleep 0.5;; esac', is_known=False)
    find_compiler()
    both = [
        child("print(build_library(answer(41)).functions.answer())", wait=False) for _ in range(2)
    ]
    assert [process.communicate(timeout=60)[0] for process in both] == ["41\n", "41\n"]
    assert libraries_built(calls) == 2
    assert len(entries(cache, library_suffix())) == 1
    found = child("print(build_library(answer(41)).seconds)")
    assert found.output == "0.0\n", found.errors
    assert not [path for path in cache.iterdir() if path.name.startswith(".")]


def test_threads_that_ask_at_once_get_one_library(script):
    calls = script('case "$*" in *library*) sleep 0.3;; esac')
    find_compiler()
    got = []
    start = threading.Barrier(6)

    def ask(value):
        start.wait()
        got.append(build_library(answer(value)))

    began = time.perf_counter()
    workers = [threading.Thread(target=ask, args=(i % 2,)) for i in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len({id(library) for library in got}) == 2
    assert sorted(library.functions.answer() for library in got) == [0, 0, 0, 1, 1, 1]
    assert libraries_built(calls) == 2
    assert time.perf_counter() - began < 5


def test_a_forked_process_goes_on_where_another_thread_was_building(script, tmp_path):
    script('case "$*" in *library*) sleep 0.6;; esac', is_known=False)
    forked = child(
        """
        build_library(answer(1))
        thread = threading.Thread(target=build_library, args=(answer(2),))
        thread.start()
        time.sleep(0.3)
        pid = os.fork()
        if not pid:
            signal.alarm(20)
            print(*(build_library(answer(n)).functions.answer() for n in (1, 2)))
            sys.stdout.flush()
            os._exit(0)
        thread.join()
        print(os.waitpid(pid, 0)[1])
        """
    )
    assert forked.output.splitlines() == ["1 2", "0"], forked.errors


PARALLEL = f"""
#ifdef _OPENMP
#include <omp.h>
#endif
{SEEN}int workers(void) {{
    int n = 0;
#pragma omp parallel num_threads(3) reduction(+ : n)
    n += 1;
    return n;
}}
"""


def test_openmp_comes_where_it_is_asked_for():
    assert build_library(PARALLEL).functions.workers() == 1
    library = build_library(PARALLEL, threads=True)
    assert library.threads == has_openmp(library.compiler)
    assert ("-fopenmp" in library.flags) == library.threads
    assert library.functions.workers() == (3 if library.threads else 1)


def test_a_compiler_without_openmp_builds_for_one_thread(script):
    script('case "$*" in *-fopenmp\\ *) echo no OpenMP >&2; exit 1;; esac')
    library = build_library(PARALLEL, threads=True)
    assert not library.threads
    assert library.functions.workers() == 1
    assert build_library(PARALLEL) is library


def test_a_process_forked_after_a_parallel_part_has_threads_too():
    if not has_openmp(find_compiler()):
        pytest.skip("needs OpenMP")
    forked = child(
        f"""
        library = build_library({PARALLEL!r}, threads=True)
        print(library.functions.workers())
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            signal.alarm(10)  # without the pause before the fork, it waits for ever
            print(library.functions.workers())
            sys.stdout.flush()
            os._exit(0)
        print(os.waitpid(pid, 0)[1], library.functions.workers())
        """
    )
    assert forked.output.splitlines() == ["3", "3", "0 3"], forked.errors


# Compilers that are absent, wrong or slow


@pytest.fixture
def no_zig(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ziglang" else real(name)
    )


def test_without_a_compiler_the_reason_says_what_was_tried(no_zig, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = find_compiler()
    assert isinstance(missing, Missing)
    for words in ("cc on PATH", "gcc on PATH", "clang on PATH", "ziglang", "Install gcc"):
        assert words in missing.reason
    with pytest.raises(CompileError, match="pip install ziglang"):
        build_library(answer(1))


def test_the_compiler_of_the_ziglang_wheel_is_the_last_resort(monkeypatch, tmp_path):
    package = tmp_path / "site" / "ziglang"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('it is not imported')")
    (package / "zig").write_text(f'#!/bin/sh\n[ "$1" = cc ] && shift && exec {REAL} "$@"\n')
    (package / "zig").chmod(0o755)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(compilers, "_on_path", lambda text: None)
    compiler = find_compiler()
    assert isinstance(compiler, Compiler), compiler
    assert compiler.command == (str(package / "zig"), "cc")


@pytest.mark.parametrize("value", ["no-such-compiler", "no-such-compiler -O2", "'open", "/"])
def test_a_wrong_cc_is_named_and_nothing_else_tried(value, monkeypatch):
    monkeypatch.setenv("CC", value)
    missing = find_compiler()
    assert isinstance(missing, Missing)
    assert value in missing.reason
    assert "$CC" in missing.reason
    assert "gcc on PATH" not in missing.reason


def test_cc_may_hold_arguments(script, monkeypatch, tmp_path):
    script()
    monkeypatch.setenv("CC", f"{tmp_path / 'bin' / 'cc'} -DANSWER=7")
    library = build_library(f"{SEEN}int answer(void) {{ return ANSWER; }}")
    assert library.functions.answer() == 7
    assert library.compiler.command[1:] == ("-DANSWER=7",)


def test_a_path_with_spaces_is_one_program(script, monkeypatch):
    script(name="a compiler", is_known=False)
    assert isinstance(find_compiler(), Compiler)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("echo broken installation >&2; exit 1", "broken installation"),
        ("exit 0", "made no file"),
        ("kill -9 $$", "-9"),
        ('echo nonsense > "probe.so"; exit 0', "cannot be loaded"),
    ],
)
def test_a_compiler_that_does_not_work_is_none(lines, words, script):
    script(lines, is_known=False)
    missing = find_compiler()
    assert isinstance(missing, Missing)
    assert words in missing.reason


def test_the_answer_goes_with_cc_and_path(monkeypatch):
    first = find_compiler()
    monkeypatch.setenv("CC", "no-such-compiler")
    assert isinstance(find_compiler(), Missing)
    monkeypatch.delenv("CC")
    assert find_compiler() is first


def test_flags_that_a_compiler_lacks_are_left_out(script):
    script(
        'case "$*" in *-fopenmp-simd*|*-march=*|*-mcpu=*) echo unknown >&2; exit 1;; esac',
        is_known=False,
    )
    compiler = find_compiler()
    assert isinstance(compiler, Compiler)
    assert "-O3" in compiler.flags
    assert "-fwrapv" in compiler.flags
    assert not [
        f for f in compiler.flags if f.startswith(("-fopenmp", "-march", "-mcpu", "-mpref"))
    ]


@pytest.mark.parametrize(
    ("machine", "macros", "speed", "expected"),
    [
        ("x86_64", "__GNUC__ __AVX512F__", "-O2", ["-march=native", "-mprefer-vector-width=512"]),
        ("x86_64", "__GNUC__ __AVX2__", "-O2", ["-march=native"]),
        ("x86_64", "__GNUC__ __clang__ __AVX512F__", "-O3", ["-march=native"]),
        ("aarch64", "__GNUC__", "-O2", ["-mcpu=native"]),
        ("arm64", "__GNUC__ __clang__", "-O3", ["-mcpu=native"]),
    ],
)
def test_flags_for_this_processor(machine, macros, speed, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(compilers, "_machine", lambda: machine)
    monkeypatch.setattr(compilers, "_run", lambda command, folder: macros)
    flags = compilers._for_speed(("cc",), tmp_path)
    assert [flag for flag in flags if flag.startswith("-m")] == expected
    assert flags[0] == speed
    assert ("-ftree-loop-vectorize" in flags) == (speed == "-O2")


def test_on_windows_a_library_is_a_dll_without_pic(monkeypatch, tmp_path):
    built = []
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(compilers, "_for_speed", lambda command, work: [])
    monkeypatch.setattr(
        compilers, "compile_text", lambda command, text, output, flags: built.append(output.name)
    )
    monkeypatch.setattr(library_cache, "load", lambda path: None)
    assert "-fPIC" not in compilers._flags_taken(("gcc",), tmp_path)
    assert built == ["probe.dll"]


def test_unsafe_mathematics_is_never_asked_for():
    flags = find_compiler().flags
    for flag in ("-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-ffinite-math-only"):
        assert flag not in flags
    assert {"-ffp-contract=fast", "-fwrapv", "-fvisibility=hidden"} <= set(flags)


def test_a_text_that_is_no_c_raises_with_the_compilers_words(script, cache):
    script()
    with pytest.raises(CompileError, match=r"text\.c:1.*error"):
        build_library("int answer(void) { return nothing; }")
    assert entries(cache, library_suffix()) == []
    with pytest.raises(CompileError, match="answer_of_another"):  # no such function to load
        build_library(
            f"int answer_of_another(void); {SEEN}int f(void) {{ return answer_of_another(); }}"
        )
    assert entries(cache, library_suffix()) == []
    assert not [path for path in cache.iterdir() if path.name.startswith(".")]


def test_long_errors_are_cut(script):
    script('case "$*" in *library*) seq 1000 >&2; exit 3;; esac')
    with pytest.raises(CompileError, match=r"(?s)ends with 3:\n1\n.*\n20\n\.\.\. 980 more lines"):
        build_library(answer(1))


def test_a_compiler_that_takes_too_long_is_stopped(script, monkeypatch, tmp_path):
    script(f'case "$*" in *library*) sleep 60 & echo $! > {tmp_path}/pid; wait;; esac')
    find_compiler()
    monkeypatch.setattr(compilers, "_LONGEST", 0.5)
    with pytest.raises(CompileError, match="was stopped after"):
        build_library(answer(1))
    assert_gone(tmp_path / "pid")


def assert_gone(file: Path):
    """The process named in a file ends: what a compiler starts goes with it."""
    pid = int(file.read_text())
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":  # killed; its parent has not asked
            return
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    raise AssertionError("it is still running")


def wait_for(file: Path):
    for _ in range(1000):
        if file.exists() and file.read_text().strip():
            return
        time.sleep(0.02)
    raise AssertionError(f"{file} does not come")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_stops_the_compiler_and_leaves_nothing(script, cache, tmp_path):
    script(
        f'case "$*" in *library*) sleep 60 & echo $! > {tmp_path}/pid; wait;; esac', is_known=False
    )
    find_compiler()
    before = sorted(cache.iterdir())
    process = child(
        """
        try:
            build_library(answer(1))
        except KeyboardInterrupt:
            print("interrupted")
        """,
        wait=False,
    )
    wait_for(tmp_path / "pid")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert output == "interrupted\n", errors
    assert_gone(tmp_path / "pid")
    assert [path for path in sorted(cache.iterdir()) if path.name != "cleaned"] == before


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_of_a_process_killed_while_it_builds_nothing_is_loaded(
    script, cache, tmp_path, monkeypatch
):
    half = f"echo half > library{library_suffix()}"
    script(
        f'case "$*" in *library*) {half}; echo $$ > {tmp_path}/pid; exec sleep 60;; esac',
        is_known=False,
    )
    process = child("build_library(answer(41))", wait=False)
    wait_for(tmp_path / "pid")
    process.kill()
    process.communicate(timeout=20)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    left = [path for path in cache.iterdir() if path.name.startswith(".")]
    assert len(left) == 1
    assert entries(cache, library_suffix()) == []
    script()
    assert build_library(answer(41)).functions.answer() == 41
    aged(left[0], 1)
    aged(cache / "cleaned", 2)
    clean(cache)
    assert not left[0].exists()


# What the flags promise


def test_the_flags_keep_what_numpy_promises():
    library = build_library(
        f"""
        #include <math.h>
        #include <stdint.h>
        {SEEN}int is_nan(double x) {{ return x != x && isnan(x); }}
        {SEEN}double keep_sign(double x) {{ return x + (-0.0); }}
        {SEEN}double lose_sign(double x) {{ return x + 0.0; }}
        {SEEN}double in_order(double x, double y) {{ return (x + y) - y; }}
        {SEEN}int next_is_more(int32_t x) {{ return x + 1 > x; }}
        {SEEN}float halve(float x) {{ return x * 0.5f; }}
        int hidden(void) {{ return 1; }}
        """
    ).functions
    for name in ("keep_sign", "lose_sign", "in_order"):
        getattr(library, name).restype = ctypes.c_double
        getattr(library, name).argtypes = [ctypes.c_double] * (2 if name == "in_order" else 1)
    library.is_nan.argtypes = [ctypes.c_double]
    library.halve.restype, library.halve.argtypes = ctypes.c_float, [ctypes.c_float]
    assert library.is_nan(float("nan")) == 1
    assert library.is_nan(float("inf")) == 0
    assert np.signbit(library.keep_sign(-0.0))
    assert not np.signbit(library.lose_sign(-0.0))
    assert library.in_order(1.0, 1e20) == 0.0
    assert library.next_is_more(2**31 - 1) == 0  # it wraps
    assert library.halve(1e-40) > 0  # small numbers are not flushed to zero
    assert np.float32(1e-40) * np.float32(0.5) > 0  # nor in NumPy, with the library loaded
    assert not hasattr(library, "hidden")


CLEAN = '#include <stdio.h>\nint main(void) { return printf("%d\\n", 41) != 3; }\n'


@pytest.mark.parametrize("flags", [(), WARNINGS, (*WARNINGS, *SANITIZERS)])
def test_a_clean_program_runs_with_all_checks(flags, tmp_path):
    build_program(CLEAN, tmp_path / "program", extra=flags)
    assert subprocess.check_output([tmp_path / "program"], text=True) == "41\n"


def test_warnings_are_errors_where_asked_for(tmp_path):
    text = "int main(void) { int unused; return 0; }"
    build_program(text, tmp_path / "program")
    with pytest.raises(CompileError, match="unused"):
        build_program(text, tmp_path / "program", extra=WARNINGS)
    with pytest.raises(CompileError, match="unused"):
        build_library(text.replace("main", "f"), extra=WARNINGS)
    build_library(text.replace("main", "f"))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("char *a = malloc(4); free(a); return a[n];", "heap-use-after-free"),
        ("return 1 << (31 + n);", "shift exponent"),
        ("return 7 / (n - 1);", "division by zero"),
    ],
)
def test_the_sanitizers_see_faults(statement, words, tmp_path):
    text = f"#include <stdlib.h>\nint main(int n, char **words) {{ (void)words; {statement} }}"
    build_program(text, tmp_path / "program", extra=SANITIZERS)
    result = subprocess.run([tmp_path / "program"], capture_output=True, text=True)
    assert result.returncode != 0
    assert words in result.stderr
