"""What a C file is printed from: fields of a structure, functions, lines, results."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels, Scope
from chainrule.engines.c.access import Access, contiguous_strides

__all__ = ["Field", "File", "Result"]


@dataclass(frozen=True)
class Field:
    """A member of the structure that a step works on: memory for an array, a number, a generator.

    `variable` is the input, state or constant that it holds, None for memory of the step's own,
    which may have more elements `for_each_part`. A `result` is a number that the function gives.
    """

    name: str
    c_type: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    variable: Variable | None = None
    constant: np.ndarray[Any, Any] | None = None
    for_each_part: int = 0

    @property
    def is_array(self) -> bool:
        """Whether it points to an array."""
        return self.kind in {"input", "state", "constant", "work"}

    @property
    def access(self) -> Access:
        """All of the array that it points to."""
        return Access(self.name, self.dtype, self.shape, contiguous_strides(self.shape))


@dataclass(frozen=True)
class Result:
    """What the function gives: a number that is known now, or a field, and of an array where in it
    to read.
    """

    number: float | int | bool | None = None
    access: Access | None = None
    field: Field | None = None


@dataclass
class File:
    """Everything that a file is printed from."""

    labels: Labels
    graph: Graph
    scope: Scope
    function: str
    first_kernel: int = 1
    fields: list[Field] = field(default_factory=list)
    workspaces: dict[str, str] = field(default_factory=dict)  # type of elements -> name
    kernels: dict[tuple[str, ...], str] = field(default_factory=dict)  # text -> name
    body: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    @property
    def has_threads(self) -> bool:
        """Whether loops of it are divided among threads."""
        return any(own.kind == "threads" for own in self.fields)
