"""The function whose derivative is checked, brought into one form: lists of arrays in and out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.autodiff import vjp
from chainrule.primitives.dispatch import AbstractArray, Array

__all__ = [
    "BackwardError",
    "Leaves",
    "Problem",
    "derivative_of",
    "evaluate",
    "function_name",
    "make_problem",
]

Leaves = list[np.ndarray[Any, Any]]
"""Arguments or results of the checked function, flattened."""


class BackwardError(Exception):
    """A vjp rule raised while the gradient was computed; the cause is the rule's own error."""


@dataclass(frozen=True)
class Problem:
    """A function of arrays, and the point at which its derivative is checked.

    `call` takes the list of all leaves (arrays, tensors) and returns the list of floating-point
    results. `gradient(leaves, cotangents)` is the derivative under check: one array per leaf, or
    None where nobody gives one; `is_given` says that it is a user's, for the cotangent 1. `leaves`
    is the point, `reference` the same point in the precision of the numerical derivative. Results
    below `smallest` have the rounding of that size at least.
    """

    label: str
    call: Callable[[list[Array]], list[Array]]
    gradient: Callable[[Leaves, Leaves], list[Any]]
    leaves: Leaves
    reference: Leaves
    names: list[str]
    is_given: bool = False
    smallest: float = 1e-20

    @cached_property
    def here(self) -> np.ndarray[Any, Any]:
        """All results at the point, as one vector."""
        return evaluate(self, self.reference)

    def moved(self, position: int, displacement: np.ndarray[Any, Any]) -> Leaves:
        """The point with one leaf displaced."""
        leaves = list(self.reference)
        leaf = leaves[position]
        leaves[position] = np.asarray(leaf + displacement, leaf.dtype)
        return leaves

    def at(self, leaves: Sequence[np.ndarray[Any, Any]]) -> Problem:
        """The same function at another point."""
        return replace(self, leaves=list(leaves), reference=_in_double(list(leaves)))


def make_problem(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    gradient: Callable[[Leaves, Leaves], list[Any]] | None = None,
) -> Problem:
    """The problem of checking the derivative of `f` at `args`, ours unless another is given.

    Raises TypeError for what is no function or no array of numbers, ValueError for no arrays.
    """
    if not callable(f):
        raise TypeError(f"the function is a {type(f).__name__}, which cannot be called")
    names = _leaf_names(f, args)
    if not names:
        raise ValueError("args holds no array, so there is nothing to differentiate by")
    leaves = [_as_array(*pair) for pair in zip(tree.flatten(args), names, strict=True)]
    args = tree.unflatten(args, leaves)

    def call(leaves: list[Array]) -> list[Array]:
        results = tree.flatten(f(*tree.unflatten(args, list(leaves))))
        arrays = [r if isinstance(r, AbstractArray) else np.asarray(r) for r in results]
        return [array for array in arrays if array.dtype.kind in "fc"]

    return Problem(
        label=function_name(f, "the function"),
        call=call,
        gradient=gradient or _vjp_gradient(call),
        leaves=leaves,
        reference=_precise(call, leaves),
        names=names,
        is_given=gradient is not None,
    )


def derivative_of(problem: Problem, cotangents: Leaves) -> Problem:
    """The problem of checking our gradient of `problem` as a function of point and cotangents."""
    n_leaves = len(problem.leaves)

    def call(leaves: list[Array]) -> list[Array]:
        _, f_vjp = vjp(lambda *point: problem.call(list(point)), *leaves[:n_leaves])
        return list(f_vjp(leaves[n_leaves:]))

    first = _vjp_gradient(call)

    def gradient(leaves: Leaves, cotangents: Leaves) -> list[Any]:
        try:
            return first(leaves, cotangents)
        except BackwardError:
            raise
        except Exception as error:  # here the rules themselves are recorded
            raise BackwardError(f"{type(error).__name__}: {error}") from error

    leaves = [*problem.leaves, *cotangents]
    n_outputs = len(cotangents)
    outputs = [f"output {k}" for k in range(n_outputs)] if n_outputs > 1 else ["the output"]
    return Problem(
        label=problem.label,
        call=call,
        gradient=gradient,
        leaves=leaves,
        reference=_precise(call, leaves),
        names=[*problem.names, *(f"the cotangent of {output}" for output in outputs)],
        smallest=1.0,  # that of the cotangents, with which each result is computed
    )


def evaluate(problem: Problem, leaves: Leaves) -> np.ndarray[Any, Any]:
    """All results of the function at a point as one vector; the leaves stay as they are."""
    with np.errstate(all="ignore"):
        results = problem.call([leaf.copy() for leaf in leaves])
    return np.concatenate(
        [np.zeros(0, results[0].dtype if results else float), *map(np.ravel, results)]
    )


def function_name(f: Callable[..., Any], otherwise: str) -> str:
    """What to call a function in a message: its name, where it has one."""
    name = getattr(f, "__name__", None) or getattr(f, "name", None)
    return str(name) if name and name != "<lambda>" else otherwise


def _as_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """A copy of the argument as an array; Python's numbers become float64."""
    if isinstance(value, AbstractArray):
        value = value.detach()
    array = np.array(value)
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask no derivative knows: fill it first")
    if array.dtype.kind not in "biufc":
        is_array = isinstance(value, np.ndarray)
        what = f"an array of {array.dtype}" if is_array else f"a {type(value).__name__}"
        raise TypeError(
            f"{name} is {what}, not an array of numbers: convert it, or leave it out of the "
            "arguments, as lambda w: f(w, 'mean') does"
        )
    from_python = not isinstance(value, np.ndarray | np.generic)
    return array.astype(np.float64) if from_python and array.dtype.kind in "iu" else array


def _vjp_gradient(call: Callable[[list[Array]], list[Array]]) -> Callable[..., list[Any]]:
    def gradient(leaves: Leaves, cotangents: Leaves) -> list[Any]:
        with np.errstate(all="ignore"):
            _, f_vjp = vjp(lambda *point: call(list(point)), *leaves)
            try:
                return list(f_vjp(cotangents))
            except Exception as error:
                raise BackwardError(f"{type(error).__name__}: {error}") from error

    return gradient


def _in_double(leaves: Leaves) -> Leaves:
    """The leaves in float64, where they have less: numerical derivatives need the digits."""
    short = (np.float16, np.float32)
    return [leaf.astype(np.float64) if leaf.dtype.type in short else leaf for leaf in leaves]


def _precise(call: Callable[[list[Array]], list[Array]], leaves: Leaves) -> Leaves:
    """The leaves in float64 where the function takes that, else as they are."""
    double = _in_double(leaves)
    try:
        with np.errstate(all="ignore"):
            call([leaf.copy() for leaf in double])
    except Exception:  # a function may insist on float32; the check then makes do with it
        return list(leaves)
    return double


def _leaf_names(f: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """A name for every leaf of the arguments: `w['bias'] (argument 0)`, or `argument 0`."""
    parameters: list[inspect.Parameter] = []
    with suppress(TypeError, ValueError):  # ufuncs and builtins have no signature
        parameters = list(inspect.signature(f).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names = []
    for position, argument in enumerate(args):
        for path in _paths(argument):
            if position < len(positional):
                names.append(f"{positional[position].name}{path} (argument {position})")
            else:
                names.append(f"argument {position}{path}")
    return names


def _paths(value: Any) -> list[str]:
    """Where the leaves of a tree sit in it: `['w'][0]`, in the order of `tree.flatten`."""
    if isinstance(value, Mapping):
        return [f"[{key!r}]{path}" for key, child in value.items() for path in _paths(child)]
    if isinstance(value, list | tuple):
        return [f"[{i}]{path}" for i, child in enumerate(value) for path in _paths(child)]
    return [""]
