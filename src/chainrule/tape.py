"""The tape: its nodes, and the reverse pass over them.

`backpropagate` is the whole of reverse-mode differentiation: visit the nodes from the last to the
first, ask each for the cotangents of its arguments, and add up what arrives at each node. It visits
by serial number, so it needs no recursion; it sums to the argument's shape and casts to its dtype
in one place, so that no rule has to. See docs/reverse-pass.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from typing import Any

import numpy as np

from chainrule.primitives import astype, sum_
from chainrule.primitives.dispatch import AbstractArray, Array
from chainrule.primitives.primitive import Primitive, Rule
from chainrule.scope import NonFiniteError, RuleCall, current_scope, scope

__all__ = ["Node", "ancestors", "backpropagate", "check_finite"]

_serials = count()


class Node:
    """One entry of the tape: a primitive with its arguments, its result and where they came from.

    `parents` pairs the position of an argument with the node that made it, for the arguments that
    have a rule. `watched` pairs each array of the user's with the copy the computation read. A leaf
    has no primitive. `layer` names the layer that was running.
    """

    __slots__ = (
        "args",
        "gradient",
        "layer",
        "out",
        "params",
        "parents",
        "primitive",
        "serial",
        "watched",
    )

    def __init__(
        self,
        primitive: Primitive | None = None,
        args: tuple[Any, ...] = (),
        params: dict[str, Any] | None = None,
        out: Any = None,
        parents: tuple[tuple[int, Node], ...] = (),
        watched: tuple[tuple[Any, Any], ...] = (),
    ) -> None:
        self.primitive = primitive
        self.args = args
        self.params = params or {}
        self.out = out
        self.parents = parents
        self.watched = watched
        self.serial = next(_serials)
        self.layer = current_scope().layer
        self.gradient: Any = None

    @property
    def is_leaf(self) -> bool:
        return self.primitive is None

    def release(self) -> None:
        """Let go of the arrays: this part of the tape has been used up."""
        self.args, self.out, self.parents, self.watched = (), None, (), ()

    @property
    def is_released(self) -> bool:
        return self.primitive is not None and not self.parents

    def check_unchanged(self) -> None:
        """Raise if an array this entry read has been written to since."""
        for original, copy in self.watched:
            if not np.array_equal(original, copy, equal_nan=copy.dtype.kind in "fc"):
                where = f" in layer {self.layer}" if self.layer else ""
                changed = int(np.sum(original != copy))
                raise ValueError(
                    f"an array of shape {copy.shape}, {copy.dtype}, was changed between the "
                    f"forward pass ({getattr(self.primitive, 'name', 'input')}{where}) and the "
                    f"backward pass, in {changed} of {copy.size} values: the gradient would belong "
                    "to neither. Call backward before changing it, or give the forward pass a copy"
                )


def backpropagate(
    cotangents: Mapping[Node, Array], targets: Iterable[Node] | None = None
) -> dict[Node, Array]:
    """Carry the cotangents of some results back to the targets (by default: every leaf).

    Returns the cotangent of each target that the result depends on. Only nodes on a way to a
    target are visited. Raises ValueError where part of the tape has been used up, or an array
    was changed since it was read.
    """
    nodes = ancestors(*cotangents)
    wanted = {node for node in nodes if node.is_leaf} if targets is None else set(targets)
    with scope(section="backward"):
        return _carry_back(nodes, dict(cotangents), wanted)


def _carry_back(
    nodes: list[Node], cotangents: dict[Node, Array], wanted: set[Node]
) -> dict[Node, Array]:
    """The loop of the reverse pass over the nodes in the order of their making."""
    on_the_way = set(wanted)
    for node in nodes:  # parents come before children
        if any(parent in on_the_way for _, parent in node.parents):
            on_the_way.add(node)
    for node in reversed(nodes):
        if node not in on_the_way or node not in cotangents:
            continue
        g = cotangents[node] if node in wanted else cotangents.pop(node)
        if isinstance(g, AbstractArray):
            g.note_cotangent_of(node.out)
        node.check_unchanged()
        for position, parent in node.parents:
            if parent in on_the_way:
                contribution = _apply_rule(node, position, g)
                earlier = cotangents.get(parent)
                cotangents[parent] = contribution if earlier is None else earlier + contribution
    return {node: g for node, g in cotangents.items() if node in wanted}


def ancestors(*roots: Node) -> list[Node]:
    """The roots and all nodes they came from, in the order of their making."""
    seen = set(roots)
    stack = list(seen)
    while stack:
        node = stack.pop()
        if node.is_released:
            raise ValueError(
                "the recorded computation was used up by an earlier backward(): "
                "run the forward pass again to differentiate it again"
            )
        for _, parent in node.parents:
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
    return sorted(seen, key=lambda node: node.serial)


def _apply_rule(node: Node, position: int, g: Array) -> Array:
    """The cotangent one argument of a node receives, in the argument's own shape and dtype."""
    assert node.primitive is not None  # a leaf has no parents
    rule = node.primitive.rule(position)
    assert rule is not None  # only arguments with a rule become parents
    arguments = (g, node.out, *node.args)
    if isinstance(node.out, AbstractArray):  # recorded again: the record shall name the rule
        with scope(rule=RuleCall(*_describe_rule(node.primitive, position, rule, arguments))):
            contribution = rule(*arguments, **node.params)
    else:
        contribution = rule(*arguments, **node.params)
    if current_scope().detect_nonfinite and isinstance(contribution, np.ndarray | np.generic):
        check_finite(contribution, node.primitive, node.layer, "backward")
    return _fit(contribution, node.args[position], node.primitive, position)


def _describe_rule(
    primitive: Primitive, position: int, rule: Rule, arguments: tuple[Array, ...]
) -> tuple[str, tuple[tuple[str, Array], ...]]:
    """A name for the rule, such as multiply_vjp_y, and its arguments by its own names of them."""
    code = getattr(rule, "__code__", None)  # a callable object has none
    names = code.co_varnames[: min(code.co_argcount, len(arguments))] if code else ()
    names += tuple(f"x{i}" for i in range(len(arguments) - len(names)))
    which = "" if len(arguments) == 3 else f"_{names[position + 2]}"
    return f"{primitive.name}_vjp{which}", tuple(zip(names, arguments, strict=True))


def _fit(g: Array, argument: Array, primitive: Primitive, position: int) -> Array:
    """Sum over the axes along which the argument was broadcast, and cast to its dtype."""
    shape = argument.shape
    if g.shape != shape:
        n_added = len(g.shape) - len(shape)
        added = tuple(range(n_added))
        stretched = tuple(
            n_added + axis
            for axis, size in enumerate(shape)
            if size == 1 and n_added + axis >= 0 and g.shape[n_added + axis] != 1
        )
        if stretched:
            g = sum_(g, axis=stretched, keepdims=True)
        if added:
            g = sum_(g, axis=added)
        if g.shape != shape:
            raise ValueError(
                f"the vjp rule of {primitive.name} for argument {position} returned shape "
                f"{g.shape}, but the argument has shape {shape}"
            )
    if g.dtype != argument.dtype:
        g = astype(g, dtype=argument.dtype)
    return g


def check_finite(array: Any, primitive: Primitive, layer: str, direction: str) -> None:
    """Raise `NonFiniteError` naming primitive, layer and direction if a value is not finite."""
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return
    kind = "NaN" if np.isnan(array).any() else "inf"
    bad = int(array.size - np.isfinite(array).sum())
    where = f" of layer {layer}" if layer else ""
    raise NonFiniteError(
        f"{primitive.name}{where} made {kind} in the {direction} pass: {bad} of {array.size} "
        f"values, shape {array.shape}, {array.dtype}. Look at its inputs: a logarithm or division "
        "of zero, an overflow, or a learning rate that is too large"
    )
