"""`check_grads` and `check_gradient`: a derivative against finite differences and complex steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule import tree
from chainrule.gradcheck.blocks import blocks_of, faults_of_blocks
from chainrule.gradcheck.compare import Comparison, random_cotangents, settings_for
from chainrule.gradcheck.evidence import ComplexStep
from chainrule.gradcheck.faults import (
    comparable,
    faults_of_the_gradient,
    faults_of_the_point,
    writes_in_place,
)
from chainrule.gradcheck.problem import Leaves, Problem, derivative_of, function_name, make_problem
from chainrule.gradcheck.report import Fault, GradientCheckError, GradientReport

__all__ = ["check_gradient", "check_grads"]


def check_grads(
    f: Callable[..., Any],
    args: Any,
    order: int = 2,
    *,
    modes: Sequence[str] = ("vjp", "jvp"),
    rtol: float | None = None,
    atol: float = 0.0,
    step: float | None = None,
    complex_step: ComplexStep = "auto",
    seed: int = 0,
    raises: bool = True,
) -> GradientReport:
    """Check our derivatives of `f` at `args` numerically, up to an order, in random directions.

    `args` is a tuple of arrays, or of nested dicts, lists and tuples of them (or one array); `f`
    returns an array or a nest of arrays. For each argument, `vjp` and `jvp` are compared with a
    central difference, extrapolated to step zero (Richardson) unless a `step` is given, and with
    the complex step where `f` runs on complex numbers and agrees. A second order is the same check
    of the gradient as a function. Differences are taken in float64 wherever `f` allows it; `rtol`
    is by default 1e-6 for float64, 1e-3 for float32, 5e-2 for float16.

    A failed check looks at single elements for its cause: integer or float32 arguments, a kink, a
    step too small or too large, randomness, an argument changed in place, a cut way to the result,
    a constant factor, a sign, a transposition, a wrong variable, a missing sum. Raises
    `GradientCheckError` with the report, or returns the failed report with `raises=False`;
    ValueError for an unknown mode or an order below 1.

    >>> import numpy as np
    >>> check_grads(np.sinh, np.array([0.5, -1.0])).ok
    True
    >>> from chainrule import custom_vjp
    >>> wrong = custom_vjp(lambda g, out, x: 2 * g * np.exp(x))(np.exp)
    >>> print(check_grads(wrong, np.array([0.5, 1.0]), raises=False).reasons[0])
    the gradient by argument 0 is 2 times the numerical one, the same factor in every element; 2 is
    the size of axis 0 of argument 0: a sum where a mean was meant?
    """
    if not modes or isinstance(modes, str) or any(mode not in ("vjp", "jvp") for mode in modes):
        raise ValueError(f"modes={modes!r}: give 'vjp', 'jvp' or both, in a tuple")
    if not isinstance(order, int | np.integer) or order < 1:
        raise ValueError(f"order={order!r}: give 1 for first derivatives, 2 for second ones too")
    problem = make_problem(f, args if isinstance(args, tuple) else (args,))
    rng = np.random.default_rng(seed)
    orders: list[Comparison] = []
    for current in range(1, order + 1):
        wanted = complex_step if current == 1 else False
        settings = settings_for(problem, rtol, atol, step, wanted)
        comparison = Comparison(problem, settings, rng)
        comparison.faults += faults_of_the_point(problem, by_us=True, record=current == 1)
        if not comparison.faults:
            comparison.run(modes)
        orders.append(comparison)
        if comparison.faults or current == order:
            break
        problem = derivative_of(problem, random_cotangents(problem, rng))
    return _conclude(problem.label, orders, raises)


def check_gradient(
    f: Callable[..., Any],
    gradient: Callable[..., Any],
    args: Any,
    *,
    rtol: float | None = None,
    atol: float = 0.0,
    step: float | None = None,
    complex_step: ComplexStep = "auto",
    seed: int = 0,
    raises: bool = True,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    unpack: Callable[[Any], Any] | None = None,
) -> GradientReport:
    """Check a gradient function of your own, backpropagation by hand say, against `f`.

    `f(*args)` returns one number and `gradient(*args)` its derivative: a tuple with the gradient of
    each argument (None for those not to be checked), or the gradient of the first argument alone.
    `args` is a tuple, or one array or nested dict or list. Neither function sees your arrays, only
    copies, so one that changes its argument is found out. Checks, tolerances, diagnosis and errors
    are those of `check_grads`; where nothing is given to compare, the check fails.

    Where the first argument is one vector of all parameters, `shapes`, a dict of names and shapes
    in the order of the vector, or `unpack`, the function that takes it apart into a dict or list of
    arrays, lets a failed check say which of them is wrong, and in which rows.

    Raises ValueError where `f` does not return one number, or the gradient has not the form of the
    arguments: another number of gradients, other keys, another nesting; or the shapes or `unpack`
    do not suit the vector.

    >>> import numpy as np
    >>> w = np.array([1.0, -2.0, 0.5])
    >>> def loss(w):
    ...     return 0.5 * (w**2).sum()
    >>> check_gradient(loss, lambda w: w, w).ok
    True
    >>> print(check_gradient(loss, lambda w: -w, w, raises=False).reasons[0])
    the gradient by w (argument 0) has the wrong sign: it is -1 times the numerical one
    """
    if not callable(gradient):
        raise TypeError(f"the gradient is a {type(gradient).__name__}, which cannot be called")
    args = args if isinstance(args, tuple) else (args,)
    problem = make_problem(f, args, _given_gradient(gradient, args))
    blocks: dict[str, Any] = {}
    if shapes is not None or unpack is not None:
        if len(tree.flatten(args[0])) != 1:
            raise ValueError("shapes= and unpack= are for one vector as the first argument")
        blocks = blocks_of(problem.leaves[0].size, shapes, unpack)
    _require_one_number(f, problem, args)
    rng = np.random.default_rng(seed)
    comparison = Comparison(problem, settings_for(problem, rtol, atol, step, complex_step), rng)
    comparison.faults += faults_of_the_point(problem, by_us=False, record=False)
    comparison.faults += faults_of_the_gradient(problem, gradient, args)
    changes_arguments = any(fault.cause == "in place" for fault in comparison.faults)
    if comparable(problem):
        comparison.run(("vjp",))
    if not comparison.faults and not comparison.directions:
        name = function_name(gradient, "the gradient function")
        text = f"nothing was compared: {name} returned None for every argument"
        comparison.faults.append(Fault(text, "nothing compared"))
    if comparison.faults and not changes_arguments:
        comparison.faults[:0] = writes_in_place(problem, gradient, args)
    if comparison.faults and blocks and comparable(problem):
        found = problem.gradient(problem.reference, [])[0]
        if found is not None and found.size == problem.leaves[0].size:
            comparison.faults += faults_of_blocks(problem, found, blocks, comparison.settings)
    label = f"{function_name(gradient, 'the gradient')} of {problem.label}"
    return _conclude(label, [comparison], raises)


# A gradient function of the user's


def _require_one_number(f: Callable[..., Any], problem: Problem, args: tuple[Any, ...]) -> None:
    copies = [leaf.copy() for leaf in problem.leaves]
    with np.errstate(all="ignore"):
        result = f(*tree.unflatten(args, copies))
    if isinstance(result, tuple | list | dict):
        raise ValueError(
            f"{problem.label} returned a {type(result).__name__} of {len(result)}, and a gradient "
            "belongs to one number: if the loss stands first, check lambda *args: f(*args)[0]"
        )
    if result is None:
        raise ValueError(f"{problem.label} returned None: is a return forgotten?")
    if np.size(result) != 1 or np.asarray(result).dtype.kind not in "fiu":
        raise ValueError(
            f"{problem.label} returned shape {np.shape(result)}, dtype {np.asarray(result).dtype}; "
            "a gradient belongs to one real number: sum or average the result"
        )


def _given_gradient(
    gradient: Callable[..., Any], args: tuple[Any, ...]
) -> Callable[[Leaves, Leaves], list[Any]]:
    def flat_gradient(leaves: Leaves, cotangents: Leaves) -> list[Any]:
        found = gradient(*tree.unflatten(args, [leaf.copy() for leaf in leaves]))
        if not isinstance(found, tuple):
            found = (found, *[None] * (len(args) - 1))
        if len(found) != len(args):
            raise ValueError(
                f"{len(found)} gradients were returned for {len(args)} arguments: return one for "
                "each, None for those not to be checked"
            )
        return [
            leaf
            for position, (argument, given) in enumerate(zip(args, found, strict=True))
            for leaf in _leaves_like(argument, given, f"argument {position}")
        ]

    return flat_gradient


def _leaves_like(like: Any, found: Any, place: str) -> list[Any]:
    """The leaves of a gradient in the order of its argument's, whatever the order of its keys."""
    if found is None:
        return [None for _ in tree.flatten(like)]
    if isinstance(like, Mapping):
        if not isinstance(found, Mapping) or set(found) != set(like):
            keys = sorted(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
            raise ValueError(
                f"the gradient of {place} should be a dict with keys {sorted(map(str, like))}, "
                f"but is {keys}"
            )
        children = [(like[key], found[key], f"{place}[{key!r}]") for key in like]
    elif isinstance(like, list | tuple):
        if not isinstance(found, list | tuple | np.ndarray) or np.ndim(found) == 0:
            raise ValueError(
                f"the gradient of {place} should be a {type(like).__name__} of {len(like)}, but is "
                f"a {type(found).__name__}"
            )
        if len(found) != len(like):
            raise ValueError(
                f"the gradient of {place} should have {len(like)} parts, but has {len(found)}"
            )
        children = [
            (a, b, f"{place}[{i}]") for i, (a, b) in enumerate(zip(like, found, strict=True))
        ]
    else:
        return [_as_gradient(found, place)]
    return [leaf for child in children for leaf in _leaves_like(*child)]


def _as_gradient(found: Any, place: str) -> np.ndarray[Any, Any]:
    """The gradient of one array as an array; whether of numbers is seen when it is compared."""
    try:
        array = np.array(found)
    except ValueError:  # lists of different lengths
        array = None
    if array is None or isinstance(found, Mapping | np.ma.MaskedArray):
        raise ValueError(
            f"the gradient of {place} should be an array, but is a {type(found).__name__}"
            + (": return several gradients as a tuple" if isinstance(found, list) else "")
        )
    return array


# The report


def _conclude(label: str, orders: list[Comparison], raises: bool) -> GradientReport:
    """One report of all orders that were compared; the last may have failed."""
    faults = [
        fault
        if order == 1
        else replace(fault, text=f"in the derivative of order {order}: {fault.text}")
        for order, comparison in enumerate(orders, 1)
        for fault in comparison.faults
    ]
    directions = sum(comparison.directions for comparison in orders)
    if not faults and not directions:
        faults.append(Fault("nothing was compared", "nothing compared"))
    worst = max(comparison.worst for comparison in orders)
    notes = orders[0].notes()
    if any(comparison.weighted for comparison in orders):
        notes.append(
            "gradients and slopes here are those of the sum of all results, each weighted by a "
            "random cotangent"
        )
    report = GradientReport(
        name=label,
        ok=not faults,
        order=len(orders),
        worst_relative_error=worst if directions else float("inf"),
        tolerance=orders[0].settings.rtol,
        directions=directions,
        methods=tuple(sorted({method for comparison in orders for method in comparison.methods})),
        faults=tuple(dict.fromkeys(faults)),
        elements=tuple(element for comparison in orders for element in comparison.elements),
        notes=tuple(notes),
    )
    if raises and not report.ok:
        raise GradientCheckError(report)
    return report
