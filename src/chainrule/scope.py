"""Where we are: the layer and the vjp rule that run, and whether non-finite values are looked for.

The only ambient state of the library: one `ContextVar`, set by context managers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

__all__ = [
    "NonFiniteError",
    "RuleCall",
    "Scope",
    "current_scope",
    "detect_nonfinite",
    "layer_scope",
    "scope",
]


# Not dataclasses: these are imported with every gradient, and dataclasses take long to import.


class RuleCall:
    """One application of a vjp rule: its name, and what each of its parameters was given."""

    __slots__ = ("arguments", "name")

    def __init__(self, name: str, arguments: tuple[tuple[str, Any], ...]) -> None:
        self.name = name
        self.arguments = arguments


class Scope(NamedTuple):
    """The layer that runs ("" outside one), the section of the training step (forward, backward,
    update), the vjp rule that is being applied, the switch of `detect_nonfinite`, whether a
    function is being traced, to be compiled, whether this is a step of a loop, and whether loops
    are written out step by step, for each step to be seen.
    """

    layer: str = ""
    section: str = "forward"
    rule: RuleCall | None = None
    detect_nonfinite: bool = False
    tracing: bool = False
    in_loop: bool = False
    unrolls: bool = False


class NonFiniteError(FloatingPointError):
    """The first NaN or infinity of a computation, with the primitive and layer that made it."""


_SCOPE: ContextVar[Scope] = ContextVar("chainrule_scope", default=Scope())
current_scope = _SCOPE.get


@contextmanager
def scope(**changes: Any) -> Iterator[None]:
    """Set fields of the current `Scope` for everything recorded inside."""
    token = _SCOPE.set(_SCOPE.get()._replace(**changes))
    try:
        yield
    finally:
        _SCOPE.reset(token)


def layer_scope(name: str) -> AbstractContextManager[None]:
    """Attribute everything recorded inside to the layer of that name."""
    return scope(layer=name)


def detect_nonfinite() -> AbstractContextManager[None]:
    """Raise `NonFiniteError` at the first primitive, forward or backward, that makes NaN or inf.

    >>> import numpy as np, chainrule as cr
    >>> with cr.detect_nonfinite(), np.errstate(divide="ignore"):
    ...     cr.grad(lambda x: np.sqrt(x).sum())(np.zeros(2))
    Traceback (most recent call last):
    chainrule.scope.NonFiniteError: sqrt made inf in the backward pass: 2 of 2 values, ...
    """
    return scope(detect_nonfinite=True)
