"""Built libraries on disk: in a folder that its owner alone can write, checked by hash, cleaned.

The folder is `c` in the user's cache folder (`cache_root`). A library is two files, `<key>.so` (or
`.dylib`, `.dll`) and `<key>.json`, which holds its SHA-256: what does not agree with it is deleted
and never loaded. Both come by a rename, so a process that dies while it writes leaves nothing
that counts, and two may write the same library at once.

Whoever can write into the folder can run code as its owner. So it is made with mode 0700, and one
that somebody else owns or can write is refused. Windows keeps a user's profile private by itself.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from chainrule.files import cache_root, replacing

__all__ = [
    "FORMAT",
    "CompileError",
    "clean",
    "find_entry",
    "forget_entry",
    "keep_entry",
    "library_folder",
    "library_suffix",
    "load",
    "read_record",
    "work_folder",
    "write_record",
]

FORMAT = 2
"""Of the files in the folder; those of another number are built anew."""

_BUILD_PREFIX = ".build-"
_DAY = 24 * 3600.0
_OLDEST = 30 * _DAY  # since a library was used last
_LARGEST = 512 * 2**20  # bytes of all libraries together
_ABANDONED = 3600.0  # seconds; no compiler is given so many


class CompileError(RuntimeError):
    """C text did not become a library; the message has the compiler's own words."""


def library_suffix() -> str:
    """The end of a shared library's name on this platform."""
    return {"win32": ".dll", "cygwin": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")


def library_folder() -> tuple[Path | None, str]:
    """The folder of the libraries, made where absent; or None, and why there is none."""
    try:
        folder = cache_root() / "c"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fault = _not_private(folder)
    except (OSError, RuntimeError) as error:
        return (
            None,
            f"no folder to keep compiled libraries in ({error}): name one in $CHAINRULE_CACHE",
        )
    return (None, fault) if fault else (folder, "")


def _not_private(folder: Path) -> str:
    """Why libraries from this folder are not trusted; "" where they are."""
    if os.name != "posix":
        return ""
    # Who can write a folder above can put another in the place of this one, unless it is sticky,
    # as /tmp is. Groups may write there: many systems give every user a group of his own.
    real = folder.resolve()
    for path in (real, *real.parents):
        status = path.stat()
        if path == real and status.st_uid != os.geteuid():
            return f"{path} belongs to another user: libraries in it are not loaded"
        others = 0o022 if path == real else 0o002
        if status.st_mode & others and not (path != real and status.st_mode & stat.S_ISVTX):
            return (
                f"{path} can be written by others (mode {stat.S_IMODE(status.st_mode):o}): "
                f"libraries in it are not loaded; chmod go-w {path}, or name another folder in "
                "$CHAINRULE_CACHE"
            )
    return ""


def work_folder(folder: Path | None) -> tempfile.TemporaryDirectory[str]:
    """A folder to build in, gone with all that is in it when left.

    It is in this one, so that what is built there can be moved; where that cannot be written, among
    the temporary files.
    """
    with suppress(OSError):
        return tempfile.TemporaryDirectory(
            prefix=_BUILD_PREFIX, dir=folder, ignore_cleanup_errors=True
        )
    return tempfile.TemporaryDirectory(prefix="chainrule-", ignore_cleanup_errors=True)


def find_entry(folder: Path, key: str) -> Path | None:
    """The library of this key, checked by its hash; a damaged one is deleted, and is None."""
    library, about = _paths(folder, key)
    try:
        content = library.read_bytes()
        known = json.loads(about.read_bytes())
        if known["sha256"] == hashlib.sha256(content).hexdigest():
            with suppress(OSError):  # of a folder that is read alone
                os.utime(library)
            return library
    except FileNotFoundError:  # or a half, of two files that another process just writes
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    forget_entry(folder, key)
    return None


def keep_entry(folder: Path, key: str, built: Path, about: dict[str, Any]) -> Path:
    """Move a built library to its place. Raises OSError where the folder cannot be written."""
    library, beside = _paths(folder, key)
    content = built.read_bytes()
    known = about | {
        "format": FORMAT,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "time": time.time(),
    }
    built.replace(library)
    _write_json(beside, known)
    return library


def forget_entry(folder: Path, key: str) -> None:
    """Delete a library."""
    for path in _paths(folder, key):
        with suppress(OSError):
            path.unlink()


def _paths(folder: Path, key: str) -> tuple[Path, Path]:
    return folder / f"{key}{library_suffix()}", folder / f"{key}.json"


def read_record(folder: Path, name: str) -> dict[str, Any] | None:
    """What was written under this name; None where there is no such."""
    try:
        known = json.loads((folder / f"{name}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) and known.get("format") == FORMAT else None


def write_record(folder: Path, name: str, known: dict[str, Any]) -> None:
    """Keep what was found out at some cost, where the folder can be written."""
    with suppress(OSError):
        _write_json(folder / f"{name}.json", known | {"format": FORMAT})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    with replacing(path) as beside:
        beside.write_text(json.dumps(content, indent=1), encoding="utf-8")


def load(path: Path) -> ctypes.CDLL:
    """A library, loaded; where its folder forbids execution, from a private copy of it.

    Raises CompileError where neither can be loaded.
    """
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        refused = error
    try:  # a loaded library needs its file no longer; Windows keeps it until the process ends
        with tempfile.TemporaryDirectory(
            prefix="chainrule-", ignore_cleanup_errors=True
        ) as private:
            return ctypes.CDLL(shutil.copy(path, private))
    except OSError as error:
        raise CompileError(
            f"the compiled library cannot be loaded: {refused}; nor a copy of it: {error}. Where "
            "folders forbid execution, name one that allows it in $CHAINRULE_CACHE"
        ) from error


def clean(folder: Path) -> None:
    """Delete what nobody used for 30 days, and the least recently used above 512 MB.

    At most once a day, by the time of the file `cleaned`; what processes that died left, too.
    """
    stamp = folder / "cleaned"
    now = time.time()
    with suppress(OSError):
        if now - stamp.stat().st_mtime < _DAY:
            return
    try:
        stamp.touch()
        entries = [(path, path.stat()) for path in folder.iterdir()]
    except OSError:  # read alone, or another process cleans
        return
    left = 0
    libraries = [e for e in entries if e[0].suffix == library_suffix()]
    for path, status in sorted(libraries, key=lambda e: -e[1].st_mtime):
        left += status.st_size
        if now - status.st_mtime > _OLDEST or left > _LARGEST:
            forget_entry(folder, path.stem)
    for path, status in entries:
        age = now - status.st_mtime
        with suppress(OSError):
            if path.name.startswith(".") and age > _ABANDONED:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
            elif path.suffix == ".json" and age > _OLDEST and _is_alone(path):
                path.unlink()


def _is_alone(about: Path) -> bool:
    """Whether what describes a library, or a compiler, has none beside it."""
    return not about.with_suffix(library_suffix()).exists()
