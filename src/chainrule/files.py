"""Files are written beside their place and renamed into it, so that none is ever half there; and
where those are that chainrule keeps for itself.
"""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["cache_root", "replacing", "require_writable"]

_ROOM = 2**20  # bytes that must fit, of the results of a run


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to; it becomes `path` when the block ends, and vanishes if the block raises.

    It lies in the same folder, which is made where absent, and has the same suffix.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(Path(folder, "runs", "a.txt")) as beside:
    ...         _ = beside.write_text("whole")
    ...     Path(folder, "runs", "a.txt").read_text()
    'whole'
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.stem}-{secrets.token_hex(4)}{target.suffix}")
    try:
        yield beside
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def require_writable(folder: Path, names: Iterable[str] = ()) -> None:
    """Raise OSError where no files, or none of these names, can be written into a folder.

    To be asked before work whose results go there. The folder need not exist; it is left as it is.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(_ROOM))
            probe.flush()
    finally:
        for path in absent:
            with suppress(OSError):
                path.rmdir()
    for name in names:
        if (folder / name).is_dir():
            raise IsADirectoryError(f"{folder / name} is a folder, where a file is to be written")


def cache_root() -> Path:
    """The folder of all that chainrule keeps: CHAINRULE_CACHE, or the platform's own place.

    Downloaded data sets and compiled libraries are in it. The platform's place is
    `$XDG_CACHE_HOME/chainrule` or `~/.cache/chainrule`, on macOS `~/Library/Caches/chainrule`, on
    Windows `%LOCALAPPDATA%/chainrule/chainrule/Cache`. Raises RuntimeError where the user has no
    home.
    """
    named = os.environ.get("CHAINRULE_CACHE")
    if named:
        return Path(os.path.abspath(named))
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        base = Path(local) if local else Path.home() / "AppData" / "Local"
        return base / "chainrule" / "chainrule" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "chainrule"
    named = os.environ.get("XDG_CACHE_HOME", "")  # its specification: one that is relative is void
    return (Path(named) if os.path.isabs(named) else Path.home() / ".cache") / "chainrule"
