"""Backpropagation you can read, check and ship.

`grad` and friends differentiate ordinary NumPy code, `nn` and `optim` build and train networks,
`compile` writes a function out as NumPy source, `check_grads` compares derivatives with finite
differences. What plain gradients do not need is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule import primitives
from chainrule.autodiff import (
    grad,
    gradients,
    hessian,
    hvp,
    jacobian,
    jvp,
    value_and_grad,
    vjp,
)
from chainrule.primitives.primitive import custom_vjp
from chainrule.scope import NonFiniteError, detect_nonfinite
from chainrule.tensor import Tensor, parameter
from chainrule.version import __version__

if TYPE_CHECKING:
    from chainrule import data, nn, optim
    from chainrule.compiler.recording import TracedValueError
    from chainrule.engines.compiled import CompiledFunction, compile
    from chainrule.gradcheck import GradientCheckError, check_gradient, check_grads
    from chainrule.review import BackpropError, assert_backprop, check_backprop
    from chainrule.see.draw.draw import draw
    from chainrule.see.explain.explain import explain
    from chainrule.see.record import record

__all__ = [
    "BackpropError",
    "CompiledFunction",
    "GradientCheckError",
    "NonFiniteError",
    "Tensor",
    "TracedValueError",
    "__version__",
    "assert_backprop",
    "check_backprop",
    "check_gradient",
    "check_grads",
    "compile",
    "custom_vjp",
    "data",
    "detect_nonfinite",
    "draw",
    "explain",
    "grad",
    "gradients",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "nn",
    "optim",
    "parameter",
    "primitives",
    "record",
    "value_and_grad",
    "vjp",
]

_WHEN_USED = {
    "BackpropError": "chainrule.review",
    "CompiledFunction": "chainrule.engines.compiled",
    "GradientCheckError": "chainrule.gradcheck",
    "TracedValueError": "chainrule.compiler.recording",
    "assert_backprop": "chainrule.review",
    "check_backprop": "chainrule.review",
    "check_gradient": "chainrule.gradcheck",
    "check_grads": "chainrule.gradcheck",
    "compile": "chainrule.engines.compiled",
    "data": "chainrule.data",
    "draw": "chainrule.see.draw.draw",
    "explain": "chainrule.see.explain.explain",
    "nn": "chainrule.nn",
    "optim": "chainrule.optim",
    "record": "chainrule.see.record",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _WHEN_USED:
        raise AttributeError(f"module 'chainrule' has no attribute {name!r}")
    home = importlib.import_module(_WHEN_USED[name])
    value = home if home.__name__ == f"chainrule.{name}" else getattr(home, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
