"""From what a reader hands over to a `Case`: functions, an object with methods, layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import isclass
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.adapt_layers import layers_case
from chainrule.review.adapt_losses import beside, output_gradient, use_loss
from chainrule.review.case import Case, Roots, call_by_names, given_by_role, output_of
from chainrule.review.case_globals import keep_globals
from chainrule.review.options import Options
from chainrule.review.places import as_numbers

__all__ = ["Options", "make_case"]

_FUNCTIONS = (FunctionType, MethodType, BuiltinFunctionType, partial)


def _is_code(thing: Any) -> bool:
    """Whether this is code to check rather than an argument of it."""
    if thing is None or isinstance(thing, np.ndarray | np.generic | int | float | dict | str):
        return False
    if isinstance(thing, list | tuple):
        return bool(thing) and all(_is_layer(item) for item in thing)
    return callable(thing) or (hasattr(thing, "__dict__") and as_numbers(thing) is None)


def _is_layer(thing: Any) -> bool:
    return roles.find_method(thing, roles.FORWARD) is not None and (
        roles.find_method(thing, roles.GRADIENT) is not None
    )


def make_case(what: tuple[Any, ...], options: Options) -> Case:
    """The case of this code and these arguments; TypeError or ValueError say what is missing."""
    n_code = 0
    while n_code < len(what) and _is_code(what[n_code]):
        n_code += 1
    code, arguments = list(what[:n_code]), list(what[n_code:])
    if not code:
        raise TypeError(
            "check_backprop takes the code first, a function, an object or a list of layers, and "
            f"then its arguments; the first thing given is a "
            f"{type(what[0]).__name__ if what else 'nothing'}"
        )
    if isclass(code[0]):
        raise TypeError(
            f"{code[0].__name__} is a class: make a network of it, {code[0].__name__}(...), and "
            "give that"
        )
    if len(code) == 3 and options.loss is None:
        options.loss = code.pop(1)
    if len(code) == 2 and isinstance(code[1], _FUNCTIONS):
        return _pair(code[0], code[1], arguments, options)
    if len(code) > 1:
        raise TypeError(
            f"{len(code)} functions or objects were given: give one, or forward and backward, and "
            "the rest by name, as loss="
        )
    if isinstance(code[0], list | tuple):
        return layers_case(list(code[0]), arguments, options)
    if isinstance(code[0], _FUNCTIONS):
        return _function(code[0], arguments, options)
    return _object(code[0], arguments, options)


# One function


def _function(function: Any, arguments: list[Any], options: Options) -> Case:
    owner = getattr(function, "__self__", None)
    extra = _missing(function, arguments, options)
    names = [p.name for p in roles.parameters_of(function)]
    names += [f"argument {i}" for i in range(len(names), len(arguments))]
    last = 1 + len(arguments)
    roots = [function, *arguments, {**extra, **options.named}]
    case = Case(
        title=_title(function),
        roots=roots,
        names=["self" if owner is not None else "", *names[: len(arguments)], ""],
        step=lambda r: r[0](*r[1:last], **r[last]),
        rate=options.rate,
    )
    _mark_data(case, {i + 1: name for i, name in enumerate(names[: len(arguments)])})
    keep_globals(case, [function])
    known = names[: len(arguments)]

    def arguments_of(r: Roots) -> dict[str, Any]:
        return {**dict(zip(known, r[1:last], strict=True)), **r[last]}

    forward = options.forward
    if isinstance(forward, str) or (forward is None and owner is not None):
        name = forward or roles.find_method(owner, roles.FORWARD, but=[function.__name__])
        if name is not None:
            _use_forward(case, lambda r: getattr(r[0].__self__, name), arguments_of)
    elif forward is not None:
        _use_forward(case, lambda r: forward, arguments_of)
    else:
        found = beside(function, roles.FORWARD)
        if found is not None:
            _use_forward(case, lambda r: found, arguments_of)
    _use_batch(case, arguments)
    methods = (lambda r: r[0].__self__) if owner is not None else None
    use_loss(case, options, arguments_of, owner, methods, function)
    return case


def _use_batch(case: Case, arguments: list[Any]) -> None:
    """An argument that is a list of pairs (x, y): the forward pass is that of each x."""
    for index, argument in enumerate(arguments, 1):
        is_batch = isinstance(argument, list) and all(
            isinstance(pair, tuple | list)
            and len(pair) == 2
            and isinstance(pair[0], np.ndarray)
            and as_numbers(pair[1]) is not None
            for pair in argument
        )
        owner = getattr(case.roots[0], "__self__", None)
        name = roles.find_method(owner, roles.FORWARD) if owner is not None else None
        if is_batch and argument and name is not None:
            _forward_of_pairs(case, index, name)
            return


def _forward_of_pairs(case: Case, place: int, method: str) -> None:
    def forward(r: Roots) -> Any:
        return [getattr(r[0].__self__, method)(x) for x, _ in r[place]]

    case.forward = forward
    case.target = lambda r: np.stack([y for _, y in r[place]])
    case.data = case.data | {place}


def _missing(function: Any, arguments: list[Any], options: Options) -> dict[str, Any]:
    """What a function still wants that has a usual value: one epoch, a learning rate."""
    found: dict[str, Any] = {}
    for parameter in roles.parameters_of(function)[len(arguments) :]:
        if parameter.name in options.named:
            continue
        if roles.has_role(parameter.name, roles.EPOCHS):
            found[parameter.name] = 1
        elif roles.has_role(parameter.name, roles.RATE):
            usual = isinstance(parameter.default, float) and options.rate is None
            rate = given_by_role(options.rate)["<rate>"]
            found[parameter.name] = parameter.default if usual else rate
        elif parameter.default is parameter.empty:
            raise ValueError(
                f"{_title(function)} takes {parameter.name!r}, which was not given: "
                f"check_backprop({function.__name__}, ...) wants its arguments as a call does"
            )
    return found


# Forward and backward


def _pair(forward: Any, backward: Any, arguments: list[Any], options: Options) -> Case:
    wanted = roles.parameters_of(forward)
    required = [p for p in wanted if p.default is p.empty and p.name not in options.named]
    n_first = min(len(required), len(arguments))
    if n_first < len(required):
        raise ValueError(
            f"{_title(forward)} takes {[p.name for p in required]}, and {len(arguments)} arguments "
            "were given: give those of the forward pass, then what the backward pass takes beside"
        )
    names = [p.name for p in required]
    rest = [_name_of_rest(backward, names, i) for i in range(len(arguments) - n_first)]
    roots = [forward, backward, *arguments, options.named]
    returned = roles.returned_names(forward)
    last = len(roots) - 1
    case = Case(
        title=f"{_title(forward)} and {_title(backward)}",
        roots=roots,
        names=["self", "self", *names, *rest, ""],
        step=lambda r: None,
        rate=options.rate,
    )
    _mark_data(case, dict(enumerate([*names, *rest], 2)))
    keep_globals(case, [forward, backward])
    target = case.target

    def known(r: Roots) -> dict[str, Any]:
        found = dict(zip([*names, *rest], r[2:last], strict=True))
        if target is not None:
            found["<target>"] = target(r)
        return {**found, **r[last], **given_by_role(case.rate)}

    def run_forward(r: Roots) -> Any:
        return call_by_names(r[0], known(r))

    case.forward = run_forward
    owner = getattr(forward, "__self__", None)
    methods = (lambda r: r[0].__self__) if owner is not None else None
    use_loss(case, options, known, owner, methods, forward)
    gradient = output_gradient(case, returned, options)

    def step(r: Roots) -> Any:
        result = run_forward(r)
        found = {**known(r), **_saved(result, returned, target(r) if target else None)}
        if gradient is not None:
            found["<output gradient>"] = gradient(found["<output>"], r)
        unused = [found[name] for name in rest]
        return call_by_names(r[1], found, unused)

    case.step = step
    case.returns_input_gradient = target is None
    return case


def _name_of_rest(backward: Any, taken: list[str], index: int) -> str:
    free = [p.name for p in roles.parameters_of(backward) if p.name not in taken]
    targets = [name for name in free if roles.has_role(name, roles.TARGET)]
    if index < len(targets):
        return targets[index]
    others = [name for name in free if name not in targets]
    place = index - len(targets)
    return others[place] if place < len(others) and not targets else f"y{index or ''}"


def _saved(result: Any, returned: list[str], target: Any) -> dict[str, Any]:
    """What a forward pass returned, by the names it has there and by its role."""
    found: dict[str, Any] = {"<output>": output_of(result, returned, target), "<saved>": result}
    if isinstance(result, tuple):
        found |= {name: part for name, part in zip(returned, result, strict=False) if name}
        others = [part for part in result if part is not found["<output>"]]
        if others:
            found["<saved>"] = others[0] if len(others) == 1 else tuple(others)
    elif len(returned) == 1 and returned[0]:
        found[returned[0]] = result
    return found


# An object


def _object(thing: Any, arguments: list[Any], options: Options) -> Case:
    forward = roles.find_method(thing, roles.FORWARD)
    if isinstance(options.forward, str):
        forward = options.forward
    name = options.method or roles.find_method(thing, roles.GRADIENT)
    if name is None:
        name = roles.find_method(thing, roles.STEP)
    if name is None:
        kind = type(thing).__name__
        raise ValueError(
            f"{kind} has no method that looks like a backward pass or a training step: "
            f"name it, method='...', or give it alone, check_backprop({kind.lower()}.method, x, y)"
        )
    method = getattr(thing, name)
    inner = [p.name for p in roles.parameters_of(method)]
    if forward is not None and _is_apart(thing, forward, inner, len(arguments)):
        return _pair(getattr(thing, forward), method, arguments, options)
    return _function(method, arguments[: len(inner)], options)


def _is_apart(thing: Any, forward: str, inner: list[str], n_arguments: int) -> bool:
    """Whether the backward method wants the forward pass to have been made before."""
    first = [p for p in roles.parameters_of(getattr(thing, forward)) if p.default is p.empty]
    if not first:
        return True
    has_inputs = any(
        p.name in inner or roles.simple(p.name) == roles.simple(inner[0]) if inner else False
        for p in first
    )
    looks_like_inputs = bool(inner) and (
        roles.simple(inner[0]) in ("x", "xi", "inputs", "input", "xtrain", "trainx", "xs", "data")
        and len(inner) >= 2
    )
    if n_arguments == 1 and len(inner) >= 1 and not roles.has_role(inner[0], roles.TARGET):
        return True
    return not (has_inputs or looks_like_inputs) or roles.has_role(inner[0], roles.OUTPUT_GRADIENT)


# Layers


# What cases share


def _title(function: Any) -> str:
    return str(getattr(function, "__qualname__", getattr(function, "__name__", "function")))


def _mark_data(case: Case, names: dict[int, str]) -> None:
    """Say which arguments are data: the target by its name, the input by its own or its place."""
    arrays = {i: n for i, n in names.items() if as_numbers(case.roots[i]) is not None}
    targets = [i for i, n in arrays.items() if roles.has_role(n, roles.TARGET)]
    inputs = [i for i, n in arrays.items() if roles.simple(n) in roles.INPUTS and i not in targets]
    if targets:
        place = targets[0]
        case.target = lambda r: r[place]
    case.data = frozenset([*targets, *inputs])


def _use_forward(
    case: Case, get: Callable[[Roots], Any], known: Callable[[Roots], dict[str, Any]]
) -> None:
    """Take this function as the forward pass, if it can be called with what is known."""

    def forward(r: Roots) -> Any:
        function = get(r)
        found = known(r)
        inputs = [value for name, value in found.items() if not roles.has_role(name, roles.TARGET)]
        parameters = [p for p in roles.parameters_of(function) if p.default is p.empty]
        if len(parameters) == 1 and parameters[0].name not in found:
            xs = [v for n, v in found.items() if roles.simple(n) in roles.INPUTS] or inputs
            return function(xs[0])
        return call_by_names(function, found, [v for v in inputs if as_numbers(v) is not None])

    case.forward = forward
