"""Blocks of C text: loops and conditions around statements, arrays that are copied and filled."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from chainrule.engines.c.access import Access, collapse
from chainrule.engines.c.expressions import Operand, cast
from chainrule.engines.c.indices import INDICES

__all__ = [
    "block",
    "copied",
    "count",
    "filled",
    "indented",
    "looped",
    "nest",
    "put_in",
    "tiled",
    "zeroed",
]


def indented(lines: Iterable[str]) -> list[str]:
    """The lines as they stand within a loop or a function."""
    return [f"    {line}" if line else "" for line in lines]


def count(
    index: str, n: int | str, step: int = 1, *, first: int | str = 0, kind: str = "int"
) -> str:
    """The head of a loop of an index up to n.

    >>> count("row", 12), count("k", 9, first=1, kind="long")
    ('for (int row = 0; row < 12; row++)', 'for (long k = 1; k < 9; k++)')
    """
    onwards = "++" if step == 1 else f" += {step}"
    return f"for ({kind} {index} = {first}; {index} < {n}; {index}{onwards})"


def block(head: str, body: Iterable[str]) -> list[str]:
    """A loop or condition, or nothing, with its body in braces."""
    return [f"{head} {{".lstrip(), *indented(body), "}"]


def nest(heads: Sequence[str], *statements: str) -> list[str]:
    """Loops, each the only statement of the one before, around lines of C.

    A head "#pragma ..." stands before the loop that follows it.
    """
    if not heads:
        return list(statements)
    head, *others = heads
    inner = nest(others, *statements)
    if head.startswith("#"):
        return [head, *inner]
    if others or _is_one_statement(inner):
        return [head, *indented(inner)]
    return block(head, inner)


def _is_one_statement(lines: Sequence[str]) -> bool:
    """Whether these lines need no braces around them: one line, or a loop and what is in it."""
    first, *others = lines
    is_loop = first.startswith("for (") and all(line.startswith(" ") for line in others[:-1])
    return not others or (is_loop and others[-1].startswith((" ", "}")))


def looped(loops: Iterable[tuple[str, int]], lines: Sequence[str], pragma: str = "") -> list[str]:
    """The lines within loops over these indices, each from 0 to its number; one whose index is 0 is
    left out. A pragma stands before the innermost.

    >>> looped([("i", 2), ("0", 1), ("j", 3)], ["out[3 * i + j] = 0;"])[1]
    '    for (long j = 0; j < 3; j++)'
    """
    heads = [count(index, size, kind="long") for index, size in loops if index != "0"]
    if pragma and heads:
        heads.insert(-1, pragma)
    return nest(heads, *lines)


def put_in(template: str, words: Mapping[str, str | Sequence[str]]) -> str:
    """A text with other words in it; one that stands alone on its line may become several lines.

    >>> print(put_in("f(N)\\n    BODY", {"N": "3", "BODY": ["a;", "b;"]}))
    f(3)
        a;
        b;
    """
    pattern = "|".join(word for word, text in words.items() if isinstance(text, str))
    lines: list[str] = []
    for line in template.strip().splitlines():
        own = words.get(line.strip(), line)
        if isinstance(own, str):
            lines.append(re.sub(pattern, lambda found: str(words[found[0]]), line))
        else:
            lines += [line.replace(line.strip(), text) for text in own]
    return "\n".join(lines)


def tiled(index: str, n: int, size: int, body: Callable[[str], list[str]]) -> list[str]:
    """A loop over tiles of `size` of n elements, of which `body` gets the first one's index.

    Where the tiles do not fit, the last one reaches back over a part of the one before.
    """
    if n == size:
        return body("0")
    if n % size == 0:
        return block(count(index, n, size), body(index))
    last, tile = n - size, f"{index}_tile"
    reach = f"int {index} = {tile} < {last} ? {tile} : {last};"
    return block(count(tile, n, size), [reach, *body(index)])


def copied(source: Access, target: Access) -> list[str]:
    """The elements of one array, converted, at the places of another of equal shape."""
    if not target.size:
        return []
    extents, (source, target) = collapse(target.shape, [source, target])
    is_run = extents and source.is_contiguous and target.is_contiguous
    if is_run and source.dtype == target.dtype:
        return [f"memcpy({target.first}, {source.first}, {target.size} * sizeof({target.c_type}));"]
    indices = INDICES[: len(extents)]
    value = cast(Operand(source.at(*indices), source.dtype), target.dtype)
    line = f"{target.at(*indices)} = {value.text};"
    return looped(zip(indices, extents, strict=True), [line])


def filled(target: Access, value: str) -> list[str]:
    """A value at all places of an array."""
    if not target.size:
        return []
    extents, (target,) = collapse(target.shape, [target])
    indices = INDICES[: len(extents)]
    return looped(zip(indices, extents, strict=True), [f"{target.at(*indices)} = {value};"])


def zeroed(out: Access) -> list[str]:
    """Zeros in all of an array that lies in one piece."""
    return [f"memset({out.first}, 0, {out.size} * sizeof({out.c_type}));"] if out.size else []
