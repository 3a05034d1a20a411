"""Elements picked by arrays of indices, and added up at such places.

An index below 0 counts from the end. One that is out of range ends the function with 1, before
anything but its own result is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from chainrule.compiler.graph import Equation
from chainrule.engines.c.access import Access, collapse, index_text
from chainrule.engines.c.blocks import looped, zeroed
from chainrule.engines.c.expressions import Operand, combine
from chainrule.engines.c.indices import INDICES
from chainrule.engines.c.kernels.kernel import Kernel
from chainrule.primitives.indexing import Key, Slot

__all__ = [
    "KERNELS",
    "add_along_axis",
    "index",
    "one_hot",
    "scatter_add",
    "take_along_axis",
]


@dataclass(frozen=True)
class _Places:
    """What `whole[key]` reads: steps along the axes that slices leave, and through index arrays.

    Those arrays, broadcast to `picked`, stand before the axis number `position` of the others.
    """

    start: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    picked: tuple[int, ...]
    position: int
    arrays: tuple[Access, ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]


def _places(key: Key, whole: Access, arrays: Sequence[Access]) -> _Places:
    n_used = sum(part is not None and part is not Ellipsis for part in key)
    rest = (slice(None),) * (len(whole.shape) - n_used)
    at = key.index(Ellipsis) if Ellipsis in key else len(key)
    spelled = (*key[:at], *rest, *key[at + 1 :])
    start, axis = 0, 0
    shape, strides, sizes, steps, slots = [], [], [], [], []
    for part in spelled:
        if part is None:
            shape.append(1)
            strides.append(0)
            continue
        size, step = whole.shape[axis], whole.strides[axis]
        if isinstance(part, Slot):
            slots.append(arrays[part.number])
            sizes.append(size)
            steps.append(step)
        elif isinstance(part, slice):
            chosen = range(size)[part]
            start += chosen.start * step if chosen else 0
            shape.append(len(chosen))
            strides.append(chosen.step * step)
        else:
            start += (part + size if part < 0 else part) * step
        axis += 1
    picked = np.broadcast_shapes(*(array.shape for array in slots))
    return _Places(
        start, (*shape,), (*strides,), picked, _position(key, len(whole.shape), len(picked)),
        tuple(array.broadcast(picked) for array in slots), (*sizes,), (*steps,),
    )  # fmt: skip


def _position(key: Key, ndim: int, n_picked: int) -> int:
    """Where NumPy puts the axes of the index arrays: asked of it, with arrays of its own size."""
    if not n_picked:
        return 0
    places = np.zeros((2,) * n_picked, np.intp)
    small = tuple(
        places if isinstance(part, Slot) else 0 if isinstance(part, int) else part for part in key
    )
    # of axes of size 1 and slices of at most that, 2 can only be the size of the arrays' axes
    shape: tuple[int, ...] = np.zeros((1,) * ndim)[small].shape
    return shape.index(2)


def _visited(
    places: _Places, whole: Access, part: Access, statement: Callable[[str, str], str]
) -> list[str]:
    """The statement for each element of `whole[key]`, whose shape `part` has, in order."""
    position, ahead = places.position, places.position + len(places.picked)
    basic = Access(whole.pointer, whole.dtype, places.shape, places.strides)
    parts = [part.shape[:position], part.shape[position:ahead], part.shape[ahead:]]
    steps = [part.strides[:position], part.strides[position:ahead], part.strides[ahead:]]
    first, middle, last = (
        Access(part.pointer, part.dtype, shape, own)
        for shape, own in zip(parts, steps, strict=True)
    )
    before, (x_before, out_before) = collapse(first.shape, [_axes(basic, 0, position), first])
    picked, arrays = collapse(middle.shape, [*places.arrays, middle])
    after, (x_after, out_after) = collapse(
        last.shape, [_axes(basic, position, len(basic.shape)), last]
    )
    names = INDICES[: len(before) + len(picked) + len(after)]
    n, m = len(before), len(before) + len(picked)
    checks: list[str] = []
    found: list[str] = []
    for number, (array, size) in enumerate(zip(arrays, places.sizes, strict=False)):
        name = "place" if len(places.sizes) == 1 else f"place_{number + 1}"
        checks += _place_lines(name, array.at(*names[n:m]), size)
        found.append(name)
    if not part.size:
        return looped(zip(names[n:m], picked, strict=True), checks) if checks else []
    place = index_text(
        [*x_before.strides, *places.steps, *x_after.strides],
        [*names[:n], *found, *names[m:]],
        places.start,
    )
    out_steps = [*out_before.strides, *arrays[-1].strides, *out_after.strides]
    line = statement(f"{whole.pointer}[{place}]", f"{part.pointer}[{index_text(out_steps, names)}]")
    inner = looped(zip(names[m:], after, strict=True), [line])
    around = [*zip(names[:n], before, strict=True), *zip(names[n:m], picked, strict=True)]
    if checks and not around:
        return [*checks, *inner]
    return looped(around, [*checks, *inner])


def _axes(access: Access, first: int, last: int) -> Access:
    return Access(
        access.pointer, access.dtype, access.shape[first:last], access.strides[first:last]
    )


def _place_lines(name: str, index: str, size: int) -> list[str]:
    """An index as a place along an axis of this size, or the end of the function."""
    return [
        f"long {name} = (long){index};",
        f"if ({name} < 0)",
        f"    {name} += {size};",
        f"if ({name} < 0 || {name} >= {size})",
        "    return 1;",
    ]


def index(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The elements x[key], in order."""
    x, *indices, out = arrays
    places = _places(equation.params["key"], x, indices)
    return _visited(places, x, out, lambda whole, part: f"{part} = {whole};")


def scatter_add(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """Zeros everywhere, then out[key] += values, one after the other."""
    values, *indices, out = arrays
    places = _places(equation.params["key"], out, indices)
    at = places.position
    values = values.broadcast((*places.shape[:at], *places.picked, *places.shape[at:]))

    def statement(whole: str, part: str) -> str:
        if not indices:  # slices name no place twice
            return f"{whole} = {part};"
        return combine("sum", whole, Operand(part, out.dtype))

    return [*zeroed(out), *_visited(places, out, values, statement)]


def take_along_axis(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """The elements out[i, j] = x[i, indices[i, j]], and so along other axes."""
    x, indices, out = arrays
    axis = normalize_axis_index(equation.params["axis"], len(x.shape))
    return _along_axis(x, indices, out, axis, lambda whole, part: f"{part} = {whole};")


def add_along_axis(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """Zeros, then out[i, indices[i, j]] += values[i, j], and so along other axes."""
    values, indices, out = arrays
    axis = normalize_axis_index(equation.params["axis"], len(out.shape))
    others = [1 if i == axis else size for i, size in enumerate(out.shape)]
    values = values.broadcast(np.broadcast_shapes(indices.shape, tuple(others)))

    def statement(whole: str, part: str) -> str:
        return combine("sum", whole, Operand(part, out.dtype))

    return [*zeroed(out), *_along_axis(out, indices, values, axis, statement)]


def _along_axis(
    whole: Access, indices: Access, part: Access, axis: int, statement: Callable[[str, str], str]
) -> list[str]:
    """The statement for each element of `part`, with its place in `whole`."""
    if not part.size:
        return []
    line = Access(
        whole.pointer,
        whole.dtype,
        tuple(1 if i == axis else size for i, size in enumerate(whole.shape)),
        whole.strides,
    )
    extents, (line, indices, space) = collapse(
        part.shape, [line.broadcast(part.shape), indices.broadcast(part.shape), part]
    )
    names = INDICES[: len(extents)]
    place = index_text([*line.strides, whole.strides[axis]], [*names, "place"])
    lines = [
        *_place_lines("place", indices.at(*names), whole.shape[axis]),
        statement(f"{whole.pointer}[{place}]", space.at(*names)),
    ]
    return looped(zip(names, extents, strict=True), lines)


def one_hot(equation: Equation, arrays: Sequence[Access]) -> list[str]:
    """A 1 at each label, which must be one of the classes, and 0 elsewhere in its row."""
    labels, out = arrays
    n_classes = equation.params["n_classes"]
    lines = [
        f"const int64_t label = (int64_t){labels.pointer}[i];",
        f"if (label < 0 || label >= {n_classes})",
        "    return 1;",
        *looped([("j", n_classes)], [f"{out.pointer}[{n_classes} * i + j] = j == label;"]),
    ]
    return looped([("i", labels.size)], lines)


KERNELS = {
    "add_along_axis": Kernel(add_along_axis, fails=True),
    "index": Kernel(index, fails=True),
    "one_hot": Kernel(one_hot, contiguous=True, fails=True),
    "scatter_add": Kernel(scatter_add, fails=True),
    "take_along_axis": Kernel(take_along_axis, fails=True),
}
