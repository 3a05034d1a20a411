"""NumPy's functions take more keywords than our primitives: what becomes of the others.

A call is read by NumPy's own signature. What our function knows is passed on; what asks for nothing
but a place in memory (`order=` of a copy, `copy=`) is dropped, since our arrays are read-only;
`dtype=`, `where=` and `initial=` are computed by other primitives; the rest is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["call_as_numpy"]


class _Plan(NamedTuple):
    """How our function's arguments match NumPy's.

    `n_alike` leading positional ones mean the same, as do the keywords in `names`; our function
    wants `n_required` arguments by position. `signature` is NumPy's own, None where it has none.
    """

    n_alike: float
    names: frozenset[str]
    n_required: int
    signature: Any


_plans: dict[Callable[..., Any], _Plan] = {}


def call_as_numpy(
    numpy_function: Callable[..., Any],
    implementation: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call our implementation with the arguments that NumPy's function was called with.

    Raises TypeError, with NumPy's name of it, for a keyword that the implementation lacks.
    """
    plan = _plans.get(numpy_function)
    if plan is None:
        plan = _plans[numpy_function] = _make_plan(numpy_function, implementation)
    if len(args) <= plan.n_alike and kwargs.keys() <= plan.names:
        return implementation(*args, **kwargs)
    if plan.signature is None:
        raise _refused(numpy_function, *(kwargs.keys() - plan.names))
    try:
        bound = plan.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"np.{numpy_function.__name__}: {error}") from None
    given = {**bound.arguments, **bound.arguments.pop("kwargs", {})}
    given.pop("kwargs", None)
    parameters = plan.signature.parameters
    variadic = [name for name, p in parameters.items() if p.kind is p.VAR_POSITIONAL]
    leading = list(parameters)[: plan.n_required] if not variadic else []
    positional = [given.pop(name) for name in leading if name in given]
    positional += given.pop(variadic[0], ()) if variadic else ()
    known = {name: given.pop(name) for name in list(given) if name in plan.names}
    extra = {
        name: value
        for name, value in given.items()
        if name not in _WITHOUT_EFFECT
        and not (name in parameters and value is parameters[name].default)
    }
    return _compute(numpy_function, implementation, positional, known, extra)


# They say where or how the result lies in memory, which a read-only array does not show.
_WITHOUT_EFFECT = {"copy", "device", "subok"}
_NEUTRAL: dict[Any, Any] = {np.sum: 0, np.prod: 1, np.all: True, np.any: False}
_COMBINED: dict[Any, Callable[..., Any]] = {
    np.sum: np.add,
    np.prod: np.multiply,
    np.max: np.maximum,
    np.amax: np.maximum,
    np.min: np.minimum,
    np.amin: np.minimum,
}
_REDUCTIONS = {np.sum, np.prod, np.mean, np.var, np.std, np.cumsum, np.cumprod, np.trace}
_REDUCTIONS |= {np.linalg.trace}
_JOINING = {np.concatenate, np.stack, np.vstack, np.hstack}
_MEMORY = (np.copy, np.zeros_like, np.ones_like, np.full_like, np.empty_like)
_LAYOUTS: dict[Any, str] = {np.reshape: "C", np.ravel: "C", np.einsum: "KC"}
_LAYOUTS |= dict.fromkeys(_MEMORY, "CFAK")


def _compute(
    function: Any, implementation: Any, args: list[Any], known: dict[str, Any], extra: Any
) -> Any:
    """The call with those keywords that are made of other primitives; the rest is refused."""
    no_value = np._NoValue
    for name in ("dtype", "where", "initial", "order", "casting", "correction", "out"):
        value = extra.pop(name, no_value)
        if value is no_value:
            continue
        if name == "dtype" and function in _REDUCTIONS:
            if np.dtype(value).kind not in "fc":  # an integer result carries no gradient
                return function(args[0].detach(), *args[1:], dtype=value, **known, **extra)
            args[0] = np.astype(args[0], value)
        elif name == "dtype" and function in _JOINING:
            joined = implementation(*args, **known)
            if not np.can_cast(joined.dtype, value, "same_kind"):
                raise _refused(function, name)
            return np.astype(joined, value)
        elif name == "where" and function in _NEUTRAL:
            args[0] = np.where(value, args[0], _NEUTRAL[function])
        elif name == "where" and function is np.mean:
            count = np.sum(np.broadcast_to(value, np.shape(args[0])), **known)
            return np.sum(np.where(value, args[0], 0), **known) / count
        elif name == "where" and function in _COMBINED and "initial" in extra:
            args[0] = np.where(value, args[0], extra["initial"])
        elif name == "initial" and function in _COMBINED:
            _refuse_all(function, extra)
            return _COMBINED[function](implementation(*args, **known), value)
        elif name == "order" and function in _LAYOUTS and value in _LAYOUTS[function]:
            pass
        elif name == "order" and value == "F" and function is np.ravel:
            args[0] = np.transpose(args[0])
        elif name == "order" and value == "F" and function is np.reshape:
            shape = known["shape"] if "shape" in known else args[1]
            turned = tuple(shape)[::-1] if isinstance(shape, tuple | list) else (shape,)
            return np.transpose(np.reshape(np.transpose(args[0]), turned))
        elif name == "correction":
            known["ddof"] = value
        else:
            raise _refused(function, name)
    _refuse_all(function, extra)
    return implementation(*args, **known)


def _refuse_all(function: Any, extra: dict[str, Any]) -> None:
    if extra:
        raise _refused(function, *extra)


def _refused(function: Any, *names: str) -> TypeError:
    advice = {
        "out": "results are new arrays, since writing into one would break the recorded "
        "computation; use the returned value",
        "order": "only order='C' has a rule; use np.transpose to read the elements otherwise",
        "dtype": "convert with .astype(dtype) before or after",
        "where": "choose the elements with np.where(mask, x, y) before",
    }
    words = ", ".join(f"{name}=" for name in sorted(names))
    hint = next((advice[name] for name in names if name in advice), "leave it out")
    return TypeError(f"np.{function.__name__} on tensors takes no {words}: {hint}")


def _make_plan(numpy_function: Callable[..., Any], implementation: Callable[..., Any]) -> _Plan:
    """Compare the two signatures, once a function and only where it is used: inspect is slow."""
    import inspect

    ours = inspect.signature(getattr(implementation, "evaluate", implementation)).parameters
    mine = [p for p in ours.values() if p.name != "out"]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    is_primitive = hasattr(implementation, "evaluate")
    required = [p for p in mine if p.kind in by_position and p.default is p.empty]
    names = frozenset(p.name for p in mine if p not in required)
    try:
        signature = inspect.signature(numpy_function)
    except ValueError:  # a function in C that does not tell
        return _Plan(np.inf, names, len(required), None)
    theirs = list(signature.parameters.values())
    if any(p.kind is p.VAR_POSITIONAL for p in theirs):
        return _Plan(np.inf, names, len(required), signature)
    in_order = mine if is_primitive else [p for p in mine if p.kind in by_position]
    n_alike = len(required)
    while n_alike < min(len(in_order), len(theirs)):
        if in_order[n_alike].name != theirs[n_alike].name:
            break
        if theirs[n_alike].kind not in by_position:
            break
        n_alike += 1
    return _Plan(n_alike, names, len(required), signature)
