"""Values in a few letters, and in the many that a pointer on them shows."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["cut", "in_full", "in_short", "shape_text"]

_FEW = 6  # values that are written out in a box
_IN_NOTE = 60


def in_short(value: Any) -> str:
    """A value for a box: a number, a few numbers, or shape and range of many.

    >>> in_short(np.float32(0.25)), in_short(np.array([1.0, -2.5])), in_short(np.eye(3))
    ('0.25', '[1 -2.5]', '(3, 3) 0 … 1')
    """
    array = np.asarray(value)
    if array.ndim == 0:
        return _number(array[()])
    if array.size == 0:
        return f"{shape_text(array.shape)} empty"
    if array.size <= _FEW and array.ndim <= 2:
        rows = [f"[{' '.join(map(_number, row))}]" for row in array.reshape(-1, array.shape[-1])]
        return rows[0] if array.ndim == 1 else f"[{' '.join(rows)}]"
    return f"{shape_text(array.shape)} {_range(array)}"


def in_full(name: str, value: Any) -> list[str]:
    """Lines for a note: shape, kind, range and values of an array, as many as have room."""
    array = np.asarray(value)
    if array.ndim == 0:
        return [f"{name} = {array[()]!s}  {array.dtype}"]
    lines = [f"{name}: {shape_text(array.shape)} {array.dtype}"]
    if not array.size:
        return lines
    if array.size > _FEW and array.dtype.kind in "fiu":
        finite = array[np.isfinite(array)]
        if finite.size:
            wide = finite.astype(np.float64)
            with np.errstate(over="ignore", invalid="ignore"):
                words = f"mean {_number(wide.mean())}, standard deviation {_number(wide.std())}"
            lines.append(f"{_range(array)}; {words}")
    text = np.array2string(
        array, precision=5, threshold=_IN_NOTE, edgeitems=3, max_line_width=90, suppress_small=False
    )
    return lines + text.splitlines()[:16]


def shape_text(shape: tuple[int, ...], batch: int | None = None) -> str:
    """A shape; with `batch`, N stands for a first axis of that size.

    >>> shape_text((4, 2)), shape_text((4, 2), batch=4)
    ('(4, 2)', '(N, 2)')
    """
    words = list(map(str, shape))
    if batch is not None and shape and shape[0] == batch:
        words[0] = "N"
    return f"({', '.join(words)}{',' if len(words) == 1 else ''})"


def cut(text: str, longest: int) -> str:
    """A text on one line, cut where it is too long."""
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _range(array: np.ndarray) -> str:
    if array.dtype.kind not in "fiub":
        return str(array.dtype)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return "nothing finite"
    low, high = _number(finite.min()), _number(finite.max())
    text = f"all {low}" if low == high else f"{low} … {high}"
    missing = array.size - finite.size
    return f"{text}, {missing} not finite" if missing else text


def _number(number: Any) -> str:
    if isinstance(number, bool | np.bool_):
        return str(bool(number))
    if isinstance(number, int | np.integer):
        return str(int(number))
    if isinstance(number, complex | np.complexfloating):
        return f"{number:.4g}"
    return f"{float(number):.4g}".replace("e-0", "e-").replace("e+0", "e+")
