"""What a primitive is: an atomic operation, its NumPy form, and one vjp rule per array argument.

A rule is mathematics on one line. `rule(g, out, *args, **params)` takes the cotangent `g` of the
result `out` and returns the cotangent of its own argument. It is written with operators, NumPy
functions and primitives, so one text serves three readers: given arrays it computes, given tensors
it is recorded again (second derivatives), given traced variables it becomes part of a graph.
A rule need not sum over broadcast axes nor mind the dtype: the reverse pass does both, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

import numpy as np

from chainrule.primitives.dispatch import AbstractArray, Array

__all__ = [
    "PRIMITIVES",
    "Linearity",
    "Primitive",
    "Rule",
    "custom_vjp",
    "defvjp",
    "defvjp_variadic",
    "fused",
    "primitive",
]

Rule = Callable[..., Array]

Linearity = Literal["", "jointly", "each", "first"]
"""In which arrays a primitive is linear: in none, in all of them taken together (a sum), in each
while the others stand still (a product), or in the first alone (a quotient)."""

PRIMITIVES: dict[str, Primitive] = {}
"""The table: every primitive of the library by its name."""


class Primitive:
    """An atomic differentiable operation: call it with arrays, tensors or traced variables.

    `evaluate` is its NumPy form. Its leading parameters without default are the arrays, one vjp
    rule each; what follows (keyword-only, or with a default) are static parameters. `is_fused` says
    that the form is itself written in primitives, so that an engine may take it apart, `is_random`
    that two equal calls give two results. `elementwise`: an element of the result depends on that
    element of the (broadcast) arguments alone. `is_view`: the result may be the memory of the first
    argument, read otherwise. `linear`: see `Linearity`.
    """

    __slots__ = (
        "defaults",
        "elementwise",
        "evaluate",
        "is_fused",
        "is_random",
        "is_view",
        "linear",
        "n_arrays",
        "name",
        "param_names",
        "rules",
        "variadic_rule",
    )

    def __init__(
        self,
        name: str,
        evaluate: Callable[..., Any],
        *,
        elementwise: bool = False,
        is_view: bool = False,
        is_fused: bool = False,
        is_random: bool = False,
        linear: Linearity = "",
    ) -> None:
        self.name = name
        self.evaluate = evaluate
        self.elementwise = elementwise or (
            isinstance(evaluate, np.ufunc) and evaluate.signature is None
        )
        self.is_view = is_view
        self.is_fused = is_fused
        self.is_random = is_random
        self.linear = linear
        self.rules: tuple[Rule | None, ...] = ()
        self.variadic_rule: Rule | None = None
        self.n_arrays, self.param_names, self.defaults = _read_signature(evaluate)

    def __call__(self, *args: Any, **params: Any) -> Any:
        if self.n_arrays is not None and len(args) > self.n_arrays:
            if len(args) > self.n_arrays + len(self.param_names):
                wanted = ", ".join(self.param_names) or "no parameters"
                raise TypeError(
                    f"{self.name} takes {self.n_arrays} arrays and then {wanted}, but was called "
                    f"with {len(args)} positional arguments"
                )
            params.update(zip(self.param_names, args[self.n_arrays :], strict=False))
            args = args[: self.n_arrays]
        if self.defaults:
            params = {**self.defaults, **params}
        interpreter: AbstractArray | None = None
        for argument in args:
            if isinstance(argument, AbstractArray) and (
                interpreter is None or argument.level > interpreter.level
            ):
                interpreter = argument
        if interpreter is None:
            return self.evaluate(*args, **params)
        return interpreter.apply(self, args, params)

    def rule(self, position: int) -> Rule | None:
        """The vjp rule of one argument, or None where the result does not depend on it smoothly."""
        if self.variadic_rule is not None:
            variadic_rule = self.variadic_rule
            return lambda g, out, *args, **params: variadic_rule(position, g, out, *args, **params)
        return self.rules[position] if position < len(self.rules) else None

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


_HAS_STAR_ARGS = 0x04  # inspect.CO_VARARGS


def _read_signature(
    evaluate: Callable[..., Any],
) -> tuple[int | None, tuple[str, ...], dict[str, Any]]:
    """Number of arrays (None: any number), names of the static parameters, and their defaults."""
    if isinstance(evaluate, np.ufunc):
        return evaluate.nin, (), {}
    code = getattr(evaluate, "__code__", None)
    if code is None:
        raise TypeError(f"{evaluate!r} cannot become a primitive: write it as a def or a lambda")
    # What inspect.signature tells, read where it stands: inspect takes long to import.
    function: Any = evaluate
    with_default = function.__defaults__ or ()
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    n_leading = code.co_argcount - len(with_default)
    defaults = dict(zip(names[n_leading:], with_default, strict=False))
    defaults |= function.__kwdefaults__ or {}
    variadic = code.co_flags & _HAS_STAR_ARGS
    return None if variadic else n_leading, names[n_leading:], defaults


@overload
def primitive(evaluate: Callable[..., Any], /, **traits: Any) -> Primitive: ...


@overload
def primitive(**traits: Any) -> Callable[[Callable[..., Any]], Primitive]: ...


def primitive(evaluate: Callable[..., Any] | None = None, /, **traits: Any) -> Any:
    """Enter a NumPy function, or one of our own, into the table under its own name.

    `traits` are what is true of it: the keywords of `Primitive`. Names that shadow a builtin end
    in an underscore in Python (`sum_`), not in the table (`sum`).
    """
    if evaluate is None:
        return lambda function: primitive(function, **traits)
    name = evaluate.__name__.strip("_")
    if name in PRIMITIVES:
        raise ValueError(f"the table already holds a primitive named {name!r}")
    PRIMITIVES[name] = Primitive(name, evaluate, **traits)
    return PRIMITIVES[name]


def fused(evaluate: Callable[..., Any]) -> Primitive:
    """Enter a composition as one primitive with a rule of its own, for speed or safety."""
    return primitive(evaluate, is_fused=True)


def defvjp(operation: Primitive, *rules: Rule | None) -> None:
    """Give a primitive its vjp rules, one per array argument; None where there is no derivative.

    A primitive of any number of arrays takes rules for its leading ones: the rest have none.
    """
    if operation.n_arrays not in (None, len(rules)):
        raise ValueError(
            f"{operation.name} takes {operation.n_arrays} arrays but got {len(rules)} vjp rules: "
            "give one per array, None where it has no derivative"
        )
    operation.rules = rules


def defvjp_variadic(operation: Primitive, rule: Rule) -> None:
    """Give a primitive of any number of arrays its rule `(position, g, out, *args, **params)`."""
    operation.variadic_rule = rule


def custom_vjp(*rules: Rule | None) -> Callable[[Callable[..., Any]], Primitive]:
    """Give a function of your own its vjp rules: one per array argument, None for no derivative.

    A rule is called as `rule(g, out, *args)`, with the cotangent `g` of the result `out`, and
    returns the cotangent of its argument. The function's arguments without a default are its
    arrays; those with one, or keyword-only, are static and reach the rules as keywords.
    Check it with `chainrule.check_grads`. A compiled function holds its lines, so there they must
    be NumPy functions that chainrule knows.

    >>> import numpy as np, chainrule as cr
    >>> @cr.custom_vjp(lambda g, out, x: g * np.sign(x))
    ... def absolute(x):
    ...     return np.abs(x)
    >>> cr.grad(lambda x: absolute(x).sum())(np.array([-2.0, 3.0]))
    array([-1.,  1.])
    """

    def decorate(function: Callable[..., Any]) -> Primitive:
        is_fused = not isinstance(function, np.ufunc)  # compiled from its own lines
        operation = Primitive(function.__name__, function, is_fused=is_fused)
        defvjp(operation, *rules)
        return operation

    return decorate
