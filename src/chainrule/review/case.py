"""One shape for all hand-written code: a forward pass, a step backward, and what they are given.

`Case.roots` holds the reader's objects, functions and arguments. A trial copies them all at once,
so that nothing of the reader's is changed, and calls `step` or `forward` on the copies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from chainrule.primitives.dispatch import AbstractArray
from chainrule.review import roles
from chainrule.review.places import as_numbers

__all__ = [
    "USUAL_RATE",
    "Case",
    "Roots",
    "call_by_names",
    "given_by_role",
    "output_of",
    "scalar_of",
]

Roots: TypeAlias = list[Any]

USUAL_RATE = 0.17  # where none is given: like no size, nor one over a size


@dataclass
class Case:
    """What is checked. Everything is a function of copied roots.

    `step` runs the backward pass, and the forward pass before it where the reader's code keeps them
    apart. `forward` gives what the reader's forward pass returns, `loss` one number; either may be
    unknown. `target` and `inputs` are the places among the roots of y and x, `rate` the learning
    rate where it is known. `returns_input_gradient` says that the derivative by the inputs is
    returned. `of_output` is a given loss as a function of output and target; `spaces` pairs globals
    of the reader's with the root that holds copies of their arrays.
    """

    title: str
    roots: Roots
    names: list[str]
    step: Callable[[Roots], Any]
    forward: Callable[[Roots], Any] | None = None
    loss: Callable[[Roots], Any] | None = None
    loss_name: str = ""
    loss_is_given: bool = False
    of_output: Callable[[Any, Any], Any] | None = None
    target: Callable[[Roots], Any] | None = None
    data: frozenset[int] = frozenset()
    rate: float | None = None
    spaces: list[tuple[dict[str, Any], int]] = field(default_factory=list)
    returns_input_gradient: bool = False
    notes: list[str] = field(default_factory=list)


def call_by_names(
    function: Callable[..., Any], known: Mapping[str, Any], rest: Sequence[Any] = ()
) -> Any:
    """Call a function with what is known by name or by role, then with the rest in order.

    Raises ValueError for a parameter that nothing is known for.
    """
    waiting = list(rest)
    positional: list[Any] = []
    by_name: dict[str, Any] = {}
    given = positional.append
    for parameter in roles.parameters_of(function):
        found, value = _find(parameter.name, known)
        if not found and waiting and parameter.kind != parameter.KEYWORD_ONLY:
            found, value = True, waiting.pop(0)
        if not found and parameter.default is not inspect.Parameter.empty:
            # what comes later must go by name
            given = None  # type: ignore[assignment]
            continue
        if not found:
            name = getattr(function, "__name__", "the function")
            raise ValueError(
                f"{name} takes {parameter.name!r}, and nothing is known to give it: "
                f"pass {parameter.name}=... by name"
            )
        if parameter.kind == parameter.KEYWORD_ONLY or given is None:
            by_name[parameter.name] = value
        else:
            given(value)
    return function(*positional, **by_name)


def _find(name: str, known: Mapping[str, Any]) -> tuple[bool, Any]:
    if name in known:
        return True, known[name]
    for role, words in _ROLES.items():
        if role in known and roles.has_role(name, words):
            return True, known[role]
    return False, None


_ROLES = {
    "<target>": roles.TARGET,
    "<rate>": roles.RATE,
    "<epochs>": roles.EPOCHS,
    "<saved>": roles.SAVED,
    "<output gradient>": roles.OUTPUT_GRADIENT,
    "<output>": roles.OUTPUT,
}


def given_by_role(case_rate: float | None) -> dict[str, Any]:
    """What a training function gets where the reader gives nothing: one epoch, a learning rate."""
    return {"<rate>": USUAL_RATE if case_rate is None else case_rate, "<epochs>": 1}


def scalar_of(result: Any) -> Any:
    """The loss in what a function returned: the one number in it, None where there is none."""
    parts = list(result) if isinstance(result, tuple | list) else [result]
    if isinstance(result, dict):
        parts = [v for name, v in result.items() if roles.has_role(str(name), roles.LOSS)]
    found: list[Any] = []
    for place, part in enumerate(parts):
        if isinstance(part, bool | str | list) or part is None:
            continue
        if isinstance(part, AbstractArray):
            if part.size == 1:
                found.append(part)
        elif (array := as_numbers(part)) is not None and array.size == 1:
            if array.ndim == 0:
                found.append(part)
            elif place == 0 and len(parts) > 1:  # as np.sum(..., keepdims=True) gives it
                found.append(array.reshape(()))
    return found[0] if found else None


def output_of(result: Any, names: Sequence[str], target: Any) -> Any:
    """The output in what a forward pass returned: an array, or one of a tuple, list or dict.

    It is the part that is called so, or has the target's shape, or the last of a list.
    """
    if isinstance(result, dict):
        names, result = list(map(str, result)), tuple(result.values())
    if not isinstance(result, tuple | list):
        return result
    if isinstance(result, list) and all(isinstance(item, int | float) for item in result):
        return np.array(result)
    arrays = [
        (name, part)
        for name, part in zip([*names, *[""] * len(result)], result, strict=False)
        if isinstance(part, AbstractArray | np.ndarray | np.generic)
    ]
    shape = np.shape(target) if target is not None else None
    fitting = [part for _, part in arrays if np.shape(part) == shape]
    if isinstance(result, list):
        if shape and len(arrays) == len(result) == shape[0] > 1 and not fitting:
            stacked = np.stack([part for _, part in arrays])
            return np.reshape(stacked, shape) if stacked.size == np.prod(shape) else stacked
        return fitting[-1] if fitting else (arrays[-1][1] if arrays else None)
    for name, part in arrays:
        if roles.simple(name) in ("yhat", "ypred", "probs", "output", "out", "al", "pred"):
            return part
    if len(fitting) == 1 or (fitting and arrays[0][1] is fitting[0]):
        return fitting[0]
    if fitting:
        return fitting[-1]
    if arrays:
        return arrays[0][1]
    inner = next((part for part in result if isinstance(part, tuple | list | dict)), None)
    return output_of(inner, (), target) if inner is not None else None
