"""An edit of a statement: which nodes of the tree become which, and what they are made of."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeAlias

__all__ = [
    "Edit",
    "Scene",
    "Spot",
    "edit",
    "expression",
    "is_load",
    "is_numpy",
    "owned",
    "placed",
    "transposed",
]


@dataclass(frozen=True)
class Spot:
    """A node of the tree and where it hangs: `holder.field`, or `holder.field[index]`."""

    node: Any
    holder: ast.AST
    field: str
    index: int | None = None

    def put(self, new: Any) -> None:
        """Hang another node there."""
        if self.index is None:
            setattr(self.holder, self.field, new)
        else:
            getattr(self.holder, self.field)[self.index] = new


@dataclass(frozen=True)
class Edit:
    """Nodes in other nodes' places: the kind of slip it mends, how far-fetched it is, the part."""

    kind: str
    weight: float
    puts: tuple[tuple[Spot, Any], ...]
    part: str = ""
    statement: Any = None

    def apply(self) -> Callable[[], None]:
        """Change the tree; the function that is returned changes it back."""
        for spot, new in self.puts:
            spot.put(ast.fix_missing_locations(new))

        def undo() -> None:
            for spot, _ in reversed(self.puts):
                spot.put(spot.node)

        return undo

    def for_good(self) -> Edit:
        """The same edit with nodes of its own, to stay in the tree."""
        return replace(self, puts=tuple((spot, owned(new)) for spot, new in self.puts))


Values: TypeAlias = Mapping[str, Any]


@dataclass
class Scene:
    """What can be used at a statement: expressions by their text with their values there.

    `arrays` are arrays of more than one element, `scalars` single numbers, `functions` the texts of
    functions of one array, such as `sigmoid_prime` or `self.d_act`; `keys` the file's keys of
    dicts, `blank` arrays that are all zero yet; `rate` is the learning rate.
    """

    statement: ast.stmt | ast.Lambda
    function: Any
    arrays: dict[str, Any] = field(default_factory=dict)
    scalars: dict[str, float] = field(default_factory=dict)
    functions: list[str] = field(default_factory=list)
    lists: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    rate: float | None = None

    def value(self, node: ast.AST) -> Any:
        """The value of an expression where it is known: of a name, attribute, or part."""
        return self.values.get(ast.unparse(node)) if isinstance(node, ast.expr) else None


@lru_cache(maxsize=4096)
def expression(text: str) -> ast.expr:
    """The tree of an expression; edits share it, and never change it."""
    return ast.parse(text, mode="eval").body


def placed(new: Any, like: ast.AST) -> Any:
    """A new node at the line of another; what it has of the old tree stays the same nodes."""
    return new if hasattr(new, "lineno") else ast.copy_location(new, like)


def owned(new: Any) -> Any:
    """A copy of a new node that shares nothing with any tree, to stay in one."""
    new = copy.deepcopy(new)
    for node in ast.walk(new):
        node.__dict__.pop("told", None)
    return ast.fix_missing_locations(new)


def is_load(node: ast.AST) -> bool:
    """Whether a node is read, and not assigned to."""
    return isinstance(getattr(node, "ctx", ast.Load()), ast.Load)


def edit(kind: str, weight: float, spot: Spot, new: ast.AST, part: str = "") -> Edit:
    """An edit of one node."""
    return Edit(kind, weight, ((spot, placed(new, spot.node)),), part)


def transposed(node: ast.expr) -> ast.expr:
    """The transpose, without a second .T."""
    if isinstance(node, ast.Attribute) and node.attr == "T":
        return node.value
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "transpose"
    ):
        if not node.args and not is_numpy(node.func.value):
            return node.func.value
        if len(node.args) == 1 and is_numpy(node.func.value):
            return node.args[0]
    return ast.Attribute(node, "T", ast.Load())


def is_numpy(node: ast.AST) -> bool:
    """Whether a node is the name of NumPy."""
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "xp", "jnp")
