"""What a kernel of the C engine is: who writes the body of a C function for one equation."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from chainrule.compiler.graph import Equation, Variable

__all__ = ["Finish", "Kernel", "Writer", "as_it_is", "c_type", "named", "no_workspace", "takes"]

Writer = Callable[..., list[str]]
"""`write(equation, pointers) -> lines`: the body of the function of one equation.

The parameters of the C function are, in the order of `pointers`, a `const T *restrict` for each
argument and `T *restrict` for the result, then `T *restrict workspace` where there is one. Some
take a `finish` too.
"""

Finish = Callable[[str, str], str]
"""From the C expression of an element of a result, and that of its index along the last axis, to
the expression of what is stored. It may write the element's down several times."""


def as_it_is(value: str, index: str) -> str:
    """The finish that stores what has been computed."""
    return value


def no_workspace(equation: Equation) -> int:
    """For a kernel that needs no memory beside its arguments and its result."""
    return 0


def takes(equation: Equation) -> str:
    """Why no kernel computes this, "" if nothing is against it."""
    variables = [*equation.variables, *equation.outs]
    dtypes = {str(v.dtype) for v in variables}
    if len(dtypes) > 1 or not dtypes <= {"float32", "float64"}:
        return (
            f"{equation.primitive.name} of {', '.join(sorted(dtypes))}, not of one type of floats"
        )
    if any(v.size >= 2**31 for v in variables):
        return f"{equation.primitive.name} of arrays of 2**31 elements or more"
    return ""


@final
@dataclass(frozen=True, slots=True)
class Kernel:
    """A primitive's C form.

    `write` gives the lines of the body, `workspace` how many elements the function needs beside
    its arguments and its result, and `takes` says "" or why it cannot compute an equation.
    """

    write: Writer
    workspace: Callable[[Equation], int] = no_workspace
    takes: Callable[[Equation], str] = takes


def c_type(variable: Variable) -> str:
    """The C type of the elements of an array of floats."""
    return {"float32": "float", "float64": "double"}[str(variable.dtype)]


def named(write: Writer) -> Writer:
    """The writer, told other names than the pointers', which are put in at the end.

    Where a local of the text has the name of a pointer it gets an underscore.
    """

    def written(
        equation: Equation, pointers: Sequence[str], finish: Finish = as_it_is
    ) -> list[str]:
        marks = [f"${position}" for position in range(len(pointers))]
        words = {} if finish is as_it_is else {"finish": finish}
        text = "\n".join(write(equation, marks, **words))
        parts = re.split(r"(/\*.*?\*/)", text, flags=re.DOTALL)  # every second one a comment
        for name in pointers:
            parts[::2] = [re.sub(rf"\b{name}\b", f"{name}_", code) for code in parts[::2]]
        text = "".join(parts)
        for mark, name in zip(marks, pointers, strict=True):
            text = text.replace(mark, name)
        return text.split("\n")

    return written
