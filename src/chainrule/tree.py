"""Nested mappings, lists and tuples of arrays: how a function takes many parameters at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["flatten", "flatten_as", "map_tree", "unflatten"]


def flatten(tree: Any) -> list[Any]:
    """The leaves of a tree, mappings in the order of their keys' insertion.

    >>> flatten({"w": 1, "b": [2, 3]})
    [1, 2, 3]
    """
    if isinstance(tree, Mapping):
        return [leaf for child in tree.values() for leaf in flatten(child)]
    if isinstance(tree, list | tuple):
        return [leaf for child in tree for leaf in flatten(child)]
    return [tree]


def flatten_as(like: Any, tree: Any) -> list[Any]:
    """The leaves of a tree in the order of those of `like`, which has the same form.

    Mappings match by key, whatever their order. Raises ValueError where the forms differ.

    >>> flatten_as({"w": 1, "b": [2, 3]}, {"b": [20, 30], "w": 10})
    [10, 20, 30]
    """
    if isinstance(like, Mapping):
        if not isinstance(tree, Mapping) or set(tree) != set(like):
            keys = list(tree) if isinstance(tree, Mapping) else type(tree).__name__
            raise ValueError(f"a mapping with the keys {list(like)} was wanted, not {keys}")
        return [leaf for key, child in like.items() for leaf in flatten_as(child, tree[key])]
    if isinstance(like, list | tuple):
        if not isinstance(tree, list | tuple) or len(tree) != len(like):
            size = f" of {len(tree)}" if isinstance(tree, list | tuple) else ""
            raise ValueError(
                f"a {type(like).__name__} of {len(like)} was wanted, not a "
                f"{type(tree).__name__}{size}"
            )
        return [leaf for a, b in zip(like, tree, strict=True) for leaf in flatten_as(a, b)]
    return [tree]


def unflatten(like: Any, leaves: list[Any]) -> Any:
    """A tree of the same form as `like`, holding these leaves in the order of `flatten`.

    >>> unflatten({"w": 1, "b": [2, 3]}, [10, 20, 30])
    {'w': 10, 'b': [20, 30]}
    """
    remaining = iter(leaves)
    return map_tree(lambda _: next(remaining), like)


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with every leaf replaced by `function(leaf)`; a mapping becomes a dict."""
    if isinstance(tree, Mapping):
        return {key: map_tree(function, child) for key, child in tree.items()}
    if isinstance(tree, list | tuple):
        children = [map_tree(function, child) for child in tree]
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return function(tree)
