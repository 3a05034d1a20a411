"""Every rule of the primitive table against numerical derivatives, on its example calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chainrule.gradcheck.cases import Case, all_cases
from chainrule.gradcheck.check import check_grads
from chainrule.gradcheck.evidence import ComplexStep
from chainrule.gradcheck.numeric import difference, random_direction
from chainrule.gradcheck.problem import make_problem
from chainrule.gradcheck.report import Fault, GradientReport
from chainrule.names import look_up
from chainrule.primitives.primitive import PRIMITIVES, Primitive

__all__ = ["RuleResult", "argument_name", "case_function", "check_table"]


# These have no rule though their result depends on the argument: that is what they are for.
_CONSTANT_BY_INTENT = {"stop_gradient"}


@dataclass(frozen=True, slots=True)
class RuleResult:
    """How one rule of the table fared: the derivative of a primitive by one of its arguments.

    `cases` is the number of example calls it was tried on, `methods` how the numerical derivatives
    were made, `reason` why it failed (empty where it did not).
    """

    primitive: str
    argument: str
    cases: int
    worst_relative_error: float
    methods: tuple[str, ...]
    ok: bool
    reason: str = ""


def check_table(
    names: Iterable[str] | None = None, *, order: int = 1, seed: int = 0
) -> list[RuleResult]:
    """Check the vjp rule of every argument of every primitive, or of the named ones.

    Each rule is compared, on each example call of `gradcheck.cases`, with finite differences and,
    where the case is analytic, with the complex step: its vjp, its jvp, and with `order=2` its own
    derivative. A primitive with rules but without cases fails, and so does a missing rule where the
    result depends on the argument. Raises ValueError for a name that is not in the table.

    >>> [result] = check_table(["tanh"])
    >>> result.ok, result.worst_relative_error < 1e-6
    (True, True)
    """
    chosen = sorted(PRIMITIVES) if names is None else list(names)
    for name in chosen:
        look_up(PRIMITIVES, name, "primitive")
    cases = all_cases(np.random.default_rng(seed))
    return [
        result
        for name in chosen
        for result in _check_primitive(PRIMITIVES[name], cases.get(name, []), order, seed)
    ]


def case_function(
    primitive: Primitive, case: Case, positions: Sequence[int]
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The primitive as a function of some of its arguments, the others held; and their values.

    >>> f, args = case_function(PRIMITIVES["subtract"], Case((np.array(3.0), np.array(1.0))), [1])
    >>> float(f(*args)), float(f(2.0))
    (2.0, 1.0)
    """

    def f(*chosen: Any) -> Any:
        args = list(case.args)
        for position, value in zip(positions, chosen, strict=True):
            args[position] = value
        return primitive(*args, **case.params)

    f.__name__ = primitive.name
    names = [argument_name(primitive, position) for position in positions]
    if all(name.isidentifier() for name in names):
        kind = inspect.Parameter.POSITIONAL_ONLY
        parameters = [inspect.Parameter(name, kind) for name in names]
        f.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return f, tuple(case.args[position] for position in positions)


def _check_primitive(
    primitive: Primitive, cases: list[Case], order: int, seed: int
) -> list[RuleResult]:
    has_rules = primitive.variadic_rule is not None or any(primitive.rules)
    if not cases:
        reason = f"no cases: add some to gradcheck.cases, for the rules of {primitive.name}"
        return [RuleResult(primitive.name, "", 0, np.inf, (), False, reason)] if has_rules else []
    by_argument: dict[str, list[GradientReport | Fault]] = {}
    for case in cases:
        for position, argument in enumerate(case.args):
            if np.asarray(argument).dtype.kind != "f":
                continue
            found = _check_argument(primitive, case, position, order, seed)
            if found is not None:
                by_argument.setdefault(argument_name(primitive, position), []).append(found)
    results = [_summarise(primitive, name, found) for name, found in by_argument.items()]
    if has_rules and not results:
        reason = "no case has a floating-point array for an argument with a rule"
        results.append(RuleResult(primitive.name, "", len(cases), np.inf, (), False, reason))
    return results


def _check_argument(
    primitive: Primitive, case: Case, position: int, order: int, seed: int
) -> GradientReport | Fault | None:
    """The report of one rule on one case, or what is wrong; None where nothing is due."""
    try:
        if primitive.rule(position) is None:
            return _hidden_dependence(*case_function(primitive, case, [position]), seed)
        report = _check_case(primitive, case, [position], order, seed)
        if report.ok:
            return report
        # As a function of all its arguments it shows a rule that reads the wrong one.
        floats = [k for k, a in enumerate(case.args) if np.asarray(a).dtype.kind == "f"]
        joint = _check_case(primitive, case, floats, order, seed)
    except Exception as error:  # one broken rule must not keep the others from being checked
        return Fault(f"raised {type(error).__name__}: {error}", "raises")
    faults = tuple(fault for fault in joint.faults if fault.leaf == floats.index(position))
    return replace(report, faults=faults or report.faults)


def _check_case(
    primitive: Primitive, case: Case, positions: Sequence[int], order: int, seed: int
) -> GradientReport:
    f, args = case_function(primitive, case, positions)
    wanted: ComplexStep = "auto" if case.analytic else False
    return check_grads(f, args, order, complex_step=wanted, seed=seed, raises=False)


def _hidden_dependence(f: Callable[..., Any], args: tuple[Any, ...], seed: int) -> Fault | None:
    """An argument without a rule must not change the result smoothly."""
    problem = make_problem(f, args)
    if f.__name__ in _CONSTANT_BY_INTENT or not problem.call(problem.leaves):
        return None
    direction = random_direction(problem.reference[0], np.random.default_rng(seed))
    coarse, fine = (np.abs(difference(problem, 0, direction, h)) for h in (1e-5, 1e-6))
    smooth = (coarse > 1e-6) & (np.abs(fine - coarse) < 0.1 * coarse)  # no jump, which grows
    if not smooth.any():
        return None
    rate = f"{fine.max():.3g}"
    return Fault(
        f"no vjp rule, yet the result changes with the argument, at a rate of {rate}", "no rule"
    )


def argument_name(primitive: Primitive, position: int) -> str:
    """The argument's name in the NumPy form; its number where that has none."""
    if primitive.n_arrays is None or isinstance(primitive.evaluate, np.ufunc):
        first = primitive.rules[0] if primitive.rules else None
        names = list(inspect.signature(first).parameters)[2:] if first else []
    else:
        names = list(inspect.signature(primitive.evaluate).parameters)
    return names[position] if position < len(names) else str(position)


def _summarise(
    primitive: Primitive, argument: str, found: list[GradientReport | Fault]
) -> RuleResult:
    reports = [report for report in found if isinstance(report, GradientReport)]
    faults = [fault for fault in found if isinstance(fault, Fault)]
    faults += [fault for report in reports for fault in report.faults]
    worst = max((report.worst_relative_error for report in reports), default=np.inf)
    return RuleResult(
        primitive=primitive.name,
        argument=argument,
        cases=len(found),
        worst_relative_error=worst if not faults or len(reports) == len(found) else np.inf,
        methods=tuple(sorted({method for report in reports for method in report.methods})),
        ok=not faults,
        # The first that names a cause says more than one that only says "wrong".
        reason=min(faults, key=lambda fault: not fault.cause, default=Fault("")).text,
    )
