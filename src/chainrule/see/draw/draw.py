"""`draw`: the picture of a function's computation, of a record, or of a graph."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Literal

from chainrule.compiler.graph import Graph
from chainrule.see.draw.cells import Seen, seen_graph, seen_record
from chainrule.see.draw.drawing import Drawing
from chainrule.see.draw.graphs import View, draw_cells
from chainrule.see.draw.texts import in_short
from chainrule.see.record import Record, record

__all__ = ["draw"]

Fold = Literal["layers", "rules", "nothing"]

_MANY = 60  # equations, from which on layers are folded


def draw(
    what: Callable[..., Any] | Record | Graph,
    *args: Any,
    backward: bool = False,
    fold: Fold | None = None,
    opened: Collection[str] = (),
    title: str | None = None,
    cotangent: Any = None,
) -> Drawing:
    """The computation graph of a function at these arguments, with its values and gradients.

    `what` is a function of them, which is recorded, or a `Record`, or a graph without values such
    as that of `net.step` or of a compiled function. Each box is a call of a primitive with its
    value, and below it the derivative of the result by that value. With `backward=True` the reverse
    pass is drawn too, as a graph beside the forward pass: each vjp rule in the row of the primitive
    that it differentiates.
    `fold` says what one box is: a layer, which opens by a click; a rule of the reverse pass with
    all its equations; or an equation each ("nothing"). By default layers are folded where there
    are many equations, and rules otherwise. `opened` names layers that are open at first. What is
    no number needs its `cotangent`, of the result's shape.
    Raises TypeError for what has no graph, and as `record` does.

    >>> import numpy as np, chainrule as cr
    >>> def neuron(w, x, b):
    ...     return np.tanh(w @ x + b)
    >>> drawing = cr.draw(neuron, np.array([1.0, -2.0]), np.array([3.0, 1.0]), 0.5)
    >>> drawing
    Drawing('neuron(w, x, b)': 6 boxes, ...)
    """
    if fold not in (None, "layers", "rules", "nothing"):
        raise ValueError(f"fold is {fold!r}, but it is one of 'layers', 'rules' and 'nothing'")
    seen, name = _seen(what, args, cotangent)
    equations = seen.graph.equations
    if fold is None:
        shown = [e for e in equations if backward or not seen.has_values or e.section == "forward"]
        fold = "layers" if len(shown) > _MANY and any(e.layer for e in shown) else "rules"
    view = View(
        with_backward=backward or not seen.has_values,
        folds=fold == "layers",
        joins_rules=fold != "nothing",
        opened=set(opened),
    )
    level = draw_cells(seen, view)
    return Drawing(level, name if title is None else title, _described(seen, name, view))


def _seen(what: Any, args: tuple[Any, ...], cotangent: Any) -> tuple[Seen, str]:
    """What is to be drawn, and what it is called."""
    if isinstance(what, Record):
        return seen_record(what), "computation graph"
    if isinstance(what, Graph):
        return seen_graph(what), "computation graph"
    if hasattr(what, "parameters") and hasattr(what, "draw"):
        raise TypeError(f"a {type(what).__name__} draws itself: call its draw(), or draw(x, y)")
    graph = getattr(what, "graph", None)
    if not args and isinstance(graph, Graph):
        return seen_graph(graph), str(getattr(what, "__name__", "computation graph"))
    if not callable(what):
        raise TypeError(
            f"draw takes a function and its arguments, a record or a graph, not a "
            f"{type(what).__name__}"
        )
    made = record(what)(*args, cotangent=cotangent)
    seen = seen_record(made)
    inputs = [v for v in seen.graph.inputs if v not in seen.graph.cotangents]
    own = getattr(what, "__name__", "f")
    name = "f" if own == "<lambda>" else own
    return seen, f"{name}({', '.join(seen.names[v] for v in inputs)})"


def _described(seen: Seen, name: str, view: View) -> str:
    """A sentence or two, for those who do not see the picture."""
    graph = seen.graph
    counts = {
        section: sum(e.section == section for e in graph.equations)
        for section in ("forward", "backward", "update")
    }
    shown = ["forward"] + (["backward", "update"] if view.with_backward else [])
    words = [f"{counts[s]} equations {s}" for s in shown if counts[s]]
    inputs = [v for v in (*graph.state, *graph.inputs) if v not in graph.cotangents]
    given = ", ".join(f"{seen.names[v]} {v}" for v in inputs)
    text = f"Computation graph of {name}: {', '.join(words) or 'no equations'}. Inputs: {given}."
    if seen.has_values:
        (result,) = graph.outputs
        text += f" Result: {in_short(seen.value(result))}."  # type: ignore[arg-type]
    return text
