"""The mathematical functions of printed C files: each with those that it calls, and no others."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable
from pathlib import Path

from chainrule.engines.c.multiplication import multiplication_names
from chainrule.names import look_up

__all__ = ["defined_names", "function_names", "function_text"]

_FOR_TYPES = re.compile(r"/\* for (\w in .+?) \*/\n", re.DOTALL)
_NAME = re.compile(r"^(?:static|typedef).*?(\w+)(?:\(|\[|;)", re.MULTILINE)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)


@functools.cache
def _definitions() -> dict[str, str]:
    """Each name of functions.c with its comment and definition, in the order of the file.

    A definition ends with a `}` or `};` at the beginning of a line, or is a line that ends with
    `;`, and is followed by an empty line. A block headed by `for T in ...` is one for each type.
    """
    text = Path(__file__).with_name("functions.c").read_text("utf-8")
    found = {}
    for block in re.split(r"\n\n+(?=/\*)", text):
        for one in _of_each_type(block.strip() + "\n"):
            name = _NAME.search(_COMMENT.sub("", one).lstrip())
            if name:
                found[name[1]] = one
    return found


def _of_each_type(block: str) -> list[str]:
    """The texts of a block, by its head `for S in float, double; T in int8_t, int16_t`.

    A letter stands for a type alone and at the end of a name; `floor_libm` is C's `floor`, or
    `floorf` where one of the types is float.
    """
    head = _FOR_TYPES.match(block)
    if not head:
        return [block]
    letters, types = zip(*(part.split(" in ") for part in head[1].split("; ")), strict=True)
    texts = []
    for chosen in itertools.product(*(re.split(r",\s+", listed) for listed in types)):
        text = block[head.end() :]
        for letter, c_type in zip(letters, chosen, strict=True):
            text = re.sub(rf"(?<![A-Za-z0-9]){letter}(?![A-Za-z0-9])", c_type, text)
        texts.append(re.sub(r"_libm\b", "f" if "float" in chosen else "", text))
    return texts


@functools.cache
def _uses() -> dict[str, frozenset[str]]:
    """The names that each definition uses itself."""
    known = _definitions()
    return {
        name: frozenset(re.findall(r"\w+", _COMMENT.sub("", text))) & known.keys() - {name}
        for name, text in known.items()
    }


@functools.cache
def function_names() -> frozenset[str]:
    """The names of all functions, such as `exp_float` and `floor_divide_int64_t`."""
    return frozenset(name for name, text in _definitions().items() if "static inline" in text)


@functools.cache
def defined_names() -> frozenset[str]:
    """All names that the functions of a printed file may define: theirs, and their tables'."""
    return frozenset(_definitions()) | multiplication_names()


def function_text(names: Iterable[str]) -> str:
    """The C definitions of these functions and of all that they use, in the order of the file.

    The text needs `<math.h>`, `<stdbool.h>`, `<stdint.h>` and `<string.h>`. A name that is not
    there is a ValueError.

    >>> print(function_text(["bits_float"]))
    /* The bits of a float as an integer. */
    static inline uint32_t bits_float(float x)
    {
        uint32_t i;
        memcpy(&i, &x, sizeof i);
        return i;
    }
    <BLANKLINE>
    """
    known, uses = _definitions(), _uses()
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            waiting += look_up(uses, name, "C function")
            needed.add(name)
    return "\n".join(text for name, text in known.items() if name in needed)
