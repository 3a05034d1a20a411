"""What the kernels of convolutions and pooling share: names put in last, and what is stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from chainrule.compiler.graph import Equation, Variable
from chainrule.engines.c.access import Access
from chainrule.engines.c.kernels.kernel import Kernel, no_workspace

__all__ = ["Finish", "PointerWriter", "as_it_is", "c_type", "pointer_kernel"]

PointerWriter = Callable[..., list[str]]
"""(equation, pointers) -> the lines of the body, with the names of arguments and result.

All arrays are contiguous. Some take a `finish` too.
"""

Finish = Callable[[str, str], str]
"""From the C expression of an element of a result, and that of its index along the last axis, to
the expression of what is stored. It may write the element's down several times."""


def as_it_is(value: str, index: str) -> str:
    """The finish that stores what has been computed."""
    return value


def _refuses(equation: Equation) -> str:
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


def c_type(variable: Variable) -> str:
    """The C type of the elements of an array of floats."""
    return {"float32": "float", "float64": "double"}[str(variable.dtype)]


def pointer_kernel(
    write: PointerWriter,
    *,
    shares: Callable[[Equation], bool],
    workspace: Callable[[Equation], int] = no_workspace,
    for_each_part: Callable[[Equation], int] = no_workspace,
) -> Kernel:
    """A kernel whose writer takes names of contiguous arrays."""

    def written(
        equation: Equation, arrays: Sequence[Access], finish: Finish = as_it_is
    ) -> list[str]:
        return _named(write, equation, [array.pointer for array in arrays], finish)

    return Kernel(
        written,
        contiguous=True,
        workspace=workspace,
        shares=shares,
        for_each_part=for_each_part,
        refuses=_refuses,
    )


def _named(
    write: PointerWriter, equation: Equation, pointers: Sequence[str], finish: Finish
) -> list[str]:
    """What the writer writes, told other names than the pointers', which are put in at the end.

    Where a local of the text has the name of a pointer it gets an underscore.
    """
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
