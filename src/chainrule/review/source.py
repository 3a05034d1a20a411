"""The reader's source: the syntax tree of each function that runs, and other code in its place.

Nothing of the reader's file is run anew. A function gets the code object of an edited or recorded
version of its own source for as long as a trial lasts (`running`), so that whoever holds it, a
class, a closure or a list of layers, runs that version.
"""

from __future__ import annotations

import ast
import gc
import inspect
import linecache
import sys
import sysconfig
import tokenize
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, TypeAlias

__all__ = [
    "Definition",
    "ReaderFile",
    "UnreadableError",
    "compiled",
    "definition_of",
    "executed_codes",
    "read_file",
    "running",
]

Definition: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

_HERE = str(Path(__file__).parents[1])
_NOT_THE_READERS = tuple(
    path
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
    if (path := sysconfig.get_path(name))
)


class UnreadableError(Exception):
    """A function whose source is not there, or is not what was compiled; the message says which."""


@dataclass(frozen=True)
class ReaderFile:
    """A file of the reader's: its lines and tree, and the live functions of each code object."""

    path: str
    lines: tuple[str, ...]
    tree: ast.Module
    codes: Mapping[CodeType, list[FunctionType]] = field(default_factory=dict)

    def line(self, number: int) -> str:
        """A line of the file without the blanks around it."""
        return self.lines[number - 1].strip() if 0 < number <= len(self.lines) else ""


def read_file(path: str, codes: list[CodeType]) -> ReaderFile:
    """The file that these code objects were compiled from.

    Raises UnreadableError where its source is absent, or is no longer what runs.
    """
    lines = linecache.getlines(path)
    if not lines:
        raise UnreadableError(f"the source of {path} is not there")
    is_whole = True
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError as error:
        tree, is_whole = _functions_within(lines, codes), False
        if not tree.body:
            raise UnreadableError(f"{path} cannot be parsed: {error}") from error
    live: dict[CodeType, list[FunctionType]] = {}
    compiled_anew = _all_codes(compile(tree, path, "exec", dont_inherit=True))
    known = {_mark(code, is_whole) for code in compiled_anew}
    for code in codes:
        if _mark(code, is_whole) not in known:
            raise UnreadableError(
                f"{path} is no longer the file that {code.co_qualname} was loaded from: load it "
                f"anew"
            )
        live[code] = [f for f in gc.get_referrers(code) if isinstance(f, FunctionType)]
    return ReaderFile(path, tuple(lines), tree, live)


def _mark(code: CodeType, with_bytes: bool = False) -> tuple[Any, ...]:
    """What two codes of one function have in common, whatever flags they were compiled with.

    The bytes are the same only if the whole file was compiled, with its imports.
    """
    names = code.co_name, code.co_firstlineno, code.co_names, code.co_varnames
    return (*names, code.co_code) if with_bytes else names


def _functions_within(lines: list[str], codes: list[CodeType]) -> ast.Module:
    """The functions alone of a file that holds more than Python, as a page with examples does."""
    body: list[ast.stmt] = []
    for code in sorted(codes, key=lambda code: code.co_firstlineno):
        try:
            block = inspect.getblock(lines[code.co_firstlineno - 1 :])
            parsed = ast.parse("".join(block))
        except (SyntaxError, IndexError, tokenize.TokenError):
            continue
        ast.increment_lineno(parsed, code.co_firstlineno - 1)
        body += parsed.body
    return ast.Module(body, type_ignores=[])


def executed_codes(call: Callable[[], Any]) -> dict[str, list[CodeType]]:
    """The code of the reader's functions that a call runs, by file.

    Libraries that are installed, Python's own and this one do not count.
    """
    seen: dict[CodeType, None] = {}

    def watch(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            seen.setdefault(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        call()
    finally:
        sys.setprofile(before if callable(before) else None)
    by_file: dict[str, list[CodeType]] = {}
    for code in seen:
        if _is_readers(code):
            by_file.setdefault(code.co_filename, []).append(code)
    return by_file


def _is_readers(code: CodeType) -> bool:
    path = code.co_filename
    if path.startswith("<") and not linecache.getlines(path):
        return False
    if code.co_name in ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>", "<module>"):
        return False
    return not (path.startswith((_HERE, "<frozen")) or path.startswith(_NOT_THE_READERS))


def _all_codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _all_codes(constant)


def definition_of(file: ReaderFile, code: CodeType) -> Definition:
    """The node of the tree that a code object was compiled from."""
    same = [
        other
        for other in _all_codes(compile(file.tree, file.path, "exec", dont_inherit=True))
        if (other.co_name, other.co_firstlineno) == (code.co_name, code.co_firstlineno)
    ]
    nodes = [
        node
        for node in ast.walk(file.tree)
        if isinstance(node, Definition) and _key(node) == (code.co_name, code.co_firstlineno)
    ]
    if not nodes:
        raise UnreadableError(f"the definition of {code.co_qualname} was not found in {file.path}")
    nodes.sort(key=lambda node: (node.lineno, node.col_offset))
    return nodes[min([_mark(other) for other in same].index(_mark(code)), len(nodes) - 1)]


def _key(node: Definition) -> tuple[str, int]:
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min([node.lineno, *(d.lineno for d in node.decorator_list)])


def compiled(
    file: ReaderFile, tree: ast.Module, only: ast.stmt | None = None
) -> dict[CodeType, CodeType]:
    """The code of a changed tree for each code object of the file, found by name and line.

    `only` is the statement at the top of the file that was changed: nothing else is compiled.
    """
    body = tree.body if only is None else [only]
    whole = ast.Module(body=body, type_ignores=[])
    new: dict[tuple[str, int], list[CodeType]] = {}
    for code in _all_codes(compile(whole, file.path, "exec", dont_inherit=True)):
        new.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
    old: dict[tuple[str, int], list[CodeType]] = {}
    for code in (
        _all_codes(compile(file.tree, file.path, "exec", dont_inherit=True))
        if _has_twins(file)
        else file.codes
    ):
        old.setdefault((code.co_qualname, code.co_firstlineno), []).append(code)
    found: dict[CodeType, CodeType] = {}
    for key, codes in old.items():
        for was, now in zip(codes, new.get(key, ()), strict=False):
            if was in file.codes and was.co_freevars == now.co_freevars:
                found[was] = now
    return found


def _has_twins(file: ReaderFile) -> bool:
    """Whether two code objects cannot be told apart by name and line, as lambdas in one line."""
    keys = [(code.co_qualname, code.co_firstlineno) for code in file.codes]
    return len(set(keys)) < len(keys)


@contextmanager
def running(
    files: list[ReaderFile], codes: Mapping[CodeType, CodeType], hooks: Mapping[str, Any]
) -> Iterator[None]:
    """Within this, functions of the reader's run other code, and find the hooks as globals."""
    changed: list[tuple[FunctionType, CodeType]] = []
    spaces: dict[int, dict[str, Any]] = {}
    try:
        for file in files:
            for code, functions in file.codes.items():
                for function in functions:
                    spaces[id(function.__globals__)] = function.__globals__
                    if code in codes:
                        changed.append((function, function.__code__))
                        function.__code__ = codes[code]
        for space in spaces.values():
            space.update(hooks)
        yield
    finally:
        for function, code in reversed(changed):
            function.__code__ = code
        for space in spaces.values():
            for name in hooks:
                space.pop(name, None)
