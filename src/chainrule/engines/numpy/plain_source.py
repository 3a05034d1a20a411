"""The text of our own functions, as a file of plain NumPy holds it: comments stay, types go."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
import types
from functools import cache
from itertools import accumulate, pairwise
from typing import Any

__all__ = ["explanation", "plain_source"]

_LINE_LENGTH = 99


def plain_source(function: types.FunctionType) -> str:
    """A function as it is written, without types, without decorators other than @cache, and with
    the first paragraph of its docstring.

    Raises TypeError for what no def statement defines, OSError where the text is not to be had.
    """
    text = textwrap.dedent(inspect.getsource(function))
    definition = ast.parse(text).body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise TypeError(f"{function.__name__} is not defined by a def statement")
    source = text.encode()  # ast counts bytes
    line_starts = list(accumulate(map(len, source.splitlines(keepends=True)), initial=0))

    def begin(node: Any) -> int:
        return int(line_starts[node.lineno - 1] + node.col_offset)

    def end(node: Any) -> int:
        return int(line_starts[node.end_lineno - 1] + node.end_col_offset)

    changes: list[tuple[int, int, str]] = []  # from here to there, what stands there instead
    for node in ast.walk(definition):
        if isinstance(node, ast.FunctionDef):
            parts = [*ast.walk(node.args), node.returns]
            last = max((end(p) for p in parts if hasattr(p, "end_lineno")), default=begin(node))
            changes.append((begin(node), source.index(b":", last) + 1, _header(node)))
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            equals = source.index(b"=", end(node.annotation))
            changes.append((end(node.target), equals, " "))
    if ast.get_docstring(definition) is not None:
        doc = definition.body[0]
        first, *others = source[begin(doc) : end(doc)].decode().split("\n\n")
        indent = " " * doc.col_offset
        is_long = "\n" in first or len(f'{indent}{first}"""') > _LINE_LENGTH
        closing = f'\n{indent}"""' if is_long else '"""'
        changes.append((begin(doc), end(doc), first + closing * bool(others)))
    for start, stop, words in sorted(changes, reverse=True):
        source = source[:start] + words.encode() + source[stop:]
    plain = source[line_starts[definition.lineno - 1] :].decode().rstrip()
    is_cached = any(ast.unparse(each) == "cache" for each in definition.decorator_list)
    return f"@cache\n{plain}" if is_cached else plain


def _header(function: ast.FunctionDef) -> str:
    """`def name(arguments):` without types, on lines of its own where it is long."""
    for node in ast.walk(function.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    arguments = ast.unparse(function.args)
    indent = " " * function.col_offset
    header = f"def {function.name}({arguments}):"
    if len(indent + header) <= _LINE_LENGTH:
        return header
    lines = textwrap.wrap(arguments, _LINE_LENGTH - 4 - len(indent), break_long_words=False)
    return "\n".join(
        [f"def {function.name}(", *(f"{indent}    {line}" for line in lines), f"{indent}):"]
    )


def explanation(name: str, file: str) -> str:
    """What stands below the constant of that name in one of our modules, as lines of comment."""
    return _explanations(file).get(name, "")


@cache
def _explanations(file: str) -> dict[str, str]:
    found = {}
    for constant, below in pairwise(ast.parse(inspect.getsource(sys.modules[file])).body):
        if isinstance(constant, ast.Assign) and isinstance(below, ast.Expr):
            text = inspect.cleandoc(str(ast.literal_eval(below.value)))
            lines = "".join(f"# {line}\n" for line in text.splitlines())
            found[ast.unparse(constant.targets[0])] = lines
    return found
