"""The loss of a `Case`: as given, the object's own, or a function of the same file."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from chainrule.review import roles
from chainrule.review.case import Case, Roots, call_by_names, output_of, scalar_of
from chainrule.review.losses import fit_target, named_loss
from chainrule.review.options import Options

__all__ = ["beside", "output_gradient", "use_loss"]


def beside(function: Any, role: Any) -> Any:
    """A function of the same file with a role, that this one calls or that stands beside it."""
    space = getattr(function, "__globals__", {})
    simple = {
        roles.simple(name): value for name, value in space.items() if _is_own(value, function)
    }
    return next((simple[name] for name in role if name in simple), None)


def _is_own(value: Any, function: Any) -> bool:
    return (
        isinstance(value, FunctionType)
        and value.__code__.co_filename == function.__code__.co_filename
        and value is not function
    )


def output_gradient(
    case: Case, returned: list[str], options: Options
) -> Callable[[Any, Roots], Any] | None:
    """The derivative of the loss by the output, for a backward pass that takes it.

    With the reader's own derivative of the loss that one is called; where no target was given, the
    loss is the output weighted by random numbers, and those are its derivative.
    """
    given = options.loss_gradient
    if given is not None and case.target is not None:
        target = case.target
        return lambda output, r: _loss_call(given, output, target(r))
    if case.target is None and (case.loss is None or not case.loss_is_given):

        def weights(output: Any) -> Any:
            return np.random.default_rng(7).normal(size=np.shape(output))

        def loss(r: Roots) -> Any:
            assert case.forward is not None
            output = output_of(case.forward(r), returned, None)
            return np.sum(output * weights(output))

        case.loss, case.loss_name = loss, "the sum of the outputs, each with a random weight"
        case.loss_is_given = True
        return lambda output, r: weights(output)
    if case.loss is not None and case.target is not None:
        target, loss_of_output = case.target, case.of_output
        if loss_of_output is not None:
            return lambda output, r: _numerical(lambda a: loss_of_output(a, target(r)), output)
    return None


def _numerical(loss: Callable[[Any], Any], output: Any) -> np.ndarray[Any, Any]:
    output = np.array(output, dtype=np.float64)
    found: np.ndarray[Any, Any] = np.zeros(output.shape)
    for index in np.ndindex(output.shape):
        moved = [output.copy(), output.copy()]
        moved[0][index] += 1e-5
        moved[1][index] -= 1e-5
        found[index] = (float(loss(moved[0])) - float(loss(moved[1]))) / 2e-5
    return found


def _loss_call(loss: Callable[..., Any], output: Any, target: Any) -> Any:
    """Call a loss of output and target in the order its parameters' names say."""
    names = [p.name for p in roles.parameters_of(loss)]
    target = fit_target(target, np.shape(output)) if _wants_fit(target, output) else target
    swapped = len(names) >= 2 and (
        (roles.has_role(names[0], roles.TARGET) and not roles.has_role(names[1], roles.TARGET))
        or (roles.simple(names[1]) in roles.OUTPUT and roles.simple(names[0]) not in roles.OUTPUT)
    )
    return loss(target, output) if swapped else loss(output, target)


def _wants_fit(target: Any, output: Any) -> bool:
    return np.size(target) == np.size(output) and np.shape(target) != np.shape(output)


def use_loss(
    case: Case,
    options: Options,
    known: Callable[[Roots], dict[str, Any]],
    owner: Any,
    methods: Callable[[Roots], Any] | None,
    function: Any,
) -> None:
    """Find the loss: as given, else the object's own, else a function of the same file."""
    given = options.loss
    if isinstance(given, str):
        given = named_loss(given)
    if given is not None:
        case.loss_is_given = True
        _given_loss(case, given, known)
        return
    if owner is not None and methods is not None:
        name = roles.find_method(owner, roles.LOSS, but=[getattr(function, "__name__", "")])
        if name is not None:
            _named_loss_of(case, lambda r: getattr(methods(r), name), known, f"its {name}")
        return
    if isinstance(function, FunctionType):
        found = beside(function, roles.LOSS)
        if found is not None:
            _named_loss_of(case, lambda r: found, known, found.__name__)


def _given_loss(case: Case, given: Callable[..., Any], known: Any) -> None:
    names = [p.name for p in roles.parameters_of(given) if p.default is p.empty]
    target, forward = case.target, case.forward
    case.loss_name = getattr(given, "__name__", "loss")
    of_arguments = set(case.names) & set(names)
    if (
        len(names) == 2
        and forward is not None
        and target is not None
        and not (set(names) <= set(case.names))
    ):
        case.of_output = lambda a, y: _loss_call(given, a, y)

        def loss(r: Roots) -> Any:
            output = output_of(forward(r), [], target(r))
            return scalar_of(_loss_call(given, output, target(r)))

        case.loss = loss
    elif of_arguments or len(names) != 2:
        case.loss = lambda r: scalar_of(call_by_names(given, known(r)))
    else:
        case.of_output = lambda a, y: _loss_call(given, a, y)


def _named_loss_of(
    case: Case, get: Callable[[Roots], Any], known: Callable[[Roots], dict[str, Any]], name: str
) -> None:
    """The reader's own loss: of the arguments, or of the output and the target."""
    forward, target = case.forward, case.target

    def loss(r: Roots) -> Any:
        function = get(r)
        found = known(r)
        names = [p.name for p in roles.parameters_of(function) if p.default is p.empty]
        takes_output = (
            forward is not None
            and target is not None
            and len(names) == 2
            and not all(n in found and not roles.has_role(n, roles.TARGET) for n in names[:1])
            and roles.simple(names[0]) not in roles.INPUTS
            and roles.simple(names[1]) not in roles.INPUTS
        )
        if takes_output and forward is not None and target is not None:
            output = output_of(forward(r), [], target(r))
            return scalar_of(_loss_call(function, output, target(r)))
        return scalar_of(call_by_names(function, found, list(found.values())))

    case.loss, case.loss_name = loss, name
