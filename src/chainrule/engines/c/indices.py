"""Indices as C text: what those of loops are called, and sums of multiples of them."""

from __future__ import annotations

__all__ = ["INDICES", "affine"]

INDICES = [*"ijklmn", *(f"i{number}" for number in range(6, 64))]
"""What the indices of loops are called, from the outermost; names that nothing else has."""


def affine(*terms: tuple[int, str] | int) -> str:
    """The sum of numbers and of multiples of C expressions, as one would write it.

    An index "0" is known to be 0.

    >>> affine(4, (1, "row"), (0, "column"), (32, "place / 3"), (5, "0"), -7)
    'row + 32 * (place / 3) - 3'
    >>> affine((-1, "i"), 9), affine((-3, "i"), (1, "j"))
    ('9 - i', '-3 * i + j')
    """
    constant = sum(term for term in terms if isinstance(term, int))
    parts: list[tuple[str, str]] = []  # a sign, and what follows it
    for factor, index in (term for term in terms if not isinstance(term, int)):
        if factor and index != "0":
            is_closed = factor == 1 or index.isidentifier() or index.isdigit()
            index = index if is_closed else f"({index})"
            text = index if abs(factor) == 1 else f"{abs(factor)} * {index}"
            parts.append(("+" if factor > 0 else "-", text))
    if constant or not parts:
        number = ("+" if constant >= 0 else "-", str(abs(constant)))
        is_first = constant > 0 and parts[:1] and parts[0][0] == "-"
        parts = [number, *parts] if is_first else [*parts, number]
    (sign, first), *others = parts
    return " ".join([("-" if sign == "-" else "") + first, *(f"{s} {text}" for s, text in others)])
