"""Loops and indices as C text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["affine", "block", "count", "nest", "tiled"]


def affine(*terms: tuple[int, str] | int) -> str:
    """The sum of numbers and of multiples of C expressions, as one would write it.

    >>> affine(4, (1, "row"), (0, "column"), (32, "place / 3"), (5, "0"), -7)
    'row + 32 * (place / 3) - 3'
    """
    constant = sum(term for term in terms if isinstance(term, int))
    parts = []
    for factor, index in (term for term in terms if not isinstance(term, int)):
        if factor and index != "0":
            index = index if index.isidentifier() or factor == 1 else f"({index})"
            parts.append(index if factor == 1 else f"{factor} * {index}")
    if constant > 0 or not parts:
        return " + ".join([*parts, str(constant)])
    return " + ".join(parts) + (f" - {-constant}" if constant else "")


def count(index: str, n: int, step: int = 1) -> str:
    """The head of a loop of an index from 0 to n.

    >>> count("row", 12)
    'for (int row = 0; row < 12; row++)'
    """
    return f"for (int {index} = 0; {index} < {n}; {index}{'++' if step == 1 else f' += {step}'})"


def block(head: str, body: Iterable[str]) -> list[str]:
    """A loop or condition, or nothing, with its body in braces."""
    return [f"{head} {{".lstrip(), *(f"    {line}" if line else "" for line in body), "}"]


def nest(heads: Sequence[str], *statements: str) -> list[str]:
    """Loops, each the only statement of the one before, around statements.

    A head "#pragma ..." stands before the loop that follows it.
    """
    if not heads:
        return list(statements)
    head, *others = heads
    inner = nest(others, *statements)
    if head.startswith("#"):
        return [head, *inner]
    if len(statements) > 1 and not others:
        return block(head, inner)
    return [head, *(f"    {line}" for line in inner)]


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
