"""Loops over elements as C text: around statements, to copy a block of an array, to fill one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from chainrule.engines.c.access import Access, collapse
from chainrule.engines.c.expressions import Operand, cast

__all__ = ["copied", "cut", "filled", "index_names", "looped", "zeroed"]


def index_names(number: int) -> list[str]:
    """Names for the indices of nested loops.

    >>> index_names(3), index_names(8)[-2:]
    (['i', 'j', 'k'], ['i6', 'i7'])
    """
    letters = "ijklmn"
    return [letters[k] if k < len(letters) else f"i{k}" for k in range(number)]


def looped(loops: Iterable[tuple[str, int]], lines: Sequence[str]) -> list[str]:
    """The lines within loops over these indices, each from 0 to its number.

    >>> looped([("i", 2), ("j", 3)], ["out[3 * i + j] = 0;"])[1]
    '    for (long j = 0; j < 3; j++)'
    """
    lines = list(lines)
    for index, size in reversed(list(loops)):
        head = f"for (long {index} = 0; {index} < {size}; {index}++)"
        inner = [f"    {line}" for line in lines]
        lines = [head, *inner] if _is_one_statement(lines) else [f"{head} {{", *inner, "}"]
    return lines


def _is_one_statement(lines: Sequence[str]) -> bool:
    """Whether these lines need no braces around them: one line, or a loop and what is in it."""
    first, *others = lines
    is_loop = first.startswith("for (") and all(line.startswith(" ") for line in others[:-1])
    return not others or (is_loop and others[-1].startswith((" ", "}")))


def cut(access: Access, axis: int, start: int, stop: int) -> Access:
    """The part between two places along an axis."""
    shape = (*access.shape[:axis], stop - start, *access.shape[axis + 1 :])
    return replace(access, shape=shape, start=access.start + start * access.strides[axis])


def copied(source: Access, target: Access) -> list[str]:
    """The elements of one array, converted, at the places of another of equal shape."""
    if not target.size:
        return []
    extents, (source, target) = collapse(target.shape, [source, target])
    names = index_names(len(extents))
    value = cast(Operand(source.at(*names), source.dtype), target.dtype)
    return looped(zip(names, extents, strict=True), [f"{target.at(*names)} = {value.text};"])


def filled(target: Access, value: str) -> list[str]:
    """A value at all places of an array."""
    if not target.size:
        return []
    extents, (target,) = collapse(target.shape, [target])
    names = index_names(len(extents))
    return looped(zip(names, extents, strict=True), [f"{target.at(*names)} = {value};"])


def zeroed(out: Access) -> list[str]:
    """Zeros in all of an array that lies in one piece."""
    return [f"memset({out.first}, 0, {out.size} * sizeof({out.c_type}));"] if out.size else []
