"""Layers in a row, each with forward and backward, as a `Case`."""

from __future__ import annotations

from typing import Any

from chainrule.review import roles
from chainrule.review.adapt_losses import output_gradient, use_loss
from chainrule.review.case import Case, Roots, call_by_names, given_by_role
from chainrule.review.case_globals import keep_globals
from chainrule.review.options import Options

__all__ = ["layers_case"]


def layers_case(layers: list[Any], arguments: list[Any], options: Options) -> Case:
    """Layers in a row: forward through all, and the derivative of the loss back through all."""
    forwards = [roles.find_method(layer, roles.FORWARD) for layer in layers]
    backwards = [roles.find_method(layer, roles.GRADIENT) for layer in layers]
    if not arguments:
        raise ValueError(
            "give the input of the layers, and the target if there is a loss: layers, x, y"
        )

    def run_forward(r: Roots) -> Any:
        value = r[1]
        for layer, name in zip(r[0], forwards, strict=True):
            value = call_by_names(getattr(layer, str(name)), {}, [value])
        return value

    last = 1 + len(arguments[:2])
    case = Case(
        title=" → ".join(type(layer).__name__ for layer in layers),
        roots=[layers, *arguments[:2], options.named],
        names=[*["layers" if len(layers) > 1 else "", "x", "y"][: 1 + len(arguments[:2])], ""],
        step=lambda r: None,
        forward=run_forward,
        rate=options.rate,
        data=frozenset({1, 2}) if len(arguments) > 1 else frozenset({1}),
        target=(lambda r: r[2]) if len(arguments) > 1 else None,
        returns_input_gradient=True,
    )
    keep_globals(
        case, [getattr(layer, str(name)) for layer, name in zip(layers, forwards, strict=True)]
    )
    use_loss(case, options, lambda r: {}, None, None, None)
    gradient = output_gradient(case, [], options)
    if gradient is None:
        raise ValueError(
            "the layers' loss is not known: give loss=, or its derivative loss_gradient="
        )

    def step(r: Roots) -> Any:
        value = gradient(run_forward(r), r)
        returned = []
        for layer, name in zip(reversed(r[0]), reversed(backwards), strict=True):
            known = {**r[last], "<rate>": given_by_role(case.rate)["<rate>"]}
            result = call_by_names(getattr(layer, str(name)), known, [value])
            value = result[0] if isinstance(result, tuple) else result
            returned.append(list(result[1:]) if isinstance(result, tuple) else [])
        return {"d_x": value, "of layers": returned[::-1]}

    case.step = step
    return case
