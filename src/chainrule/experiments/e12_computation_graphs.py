"""E12: computation graphs and the two ways to differentiate one (Kneusel, chapter 10).

The examples are y = m x + b and y = σ(W x + b), with the backward graph of the second: σ', ∂+ and
∂@. *Symbol to number*: values flow back through the graph that was recorded; what comes out are
numbers. *Symbol to symbol*: the derivative is itself a graph, which can be read, simplified, run,
and differentiated again. The library does both with the same rules.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule.experiments import Row, exact
from chainrule.primitives import sigmoid
from chainrule.primitives.dispatch import Array

__all__ = [
    "QUICK",
    "TITLE",
    "largest_difference",
    "line",
    "line_derivatives",
    "run",
    "unit",
    "unit_curvature",
    "unit_derivatives",
]

TITLE = "System D: a graph differentiated to numbers, and to a graph"
QUICK = True


def line(m: Array, x: Array, b: Array) -> Array:
    """A straight line, m x + b."""
    return m * x + b


def unit(W: Array, x: Array, b: Array) -> Array:
    """The sum over y = σ(W x + b), so that every output's derivative flows back."""
    return np.sum(sigmoid(W @ x + b))


@partial(cr.compile, engine="numpy")
def line_derivatives(m: Array, x: Array, b: Array) -> tuple[Array, ...]:
    """∂y/∂m, ∂y/∂x and ∂y/∂b as a graph."""
    return cr.grad(line, argnums=(0, 1, 2))(m, x, b)  # type: ignore[no-any-return]


@partial(cr.compile, engine="numpy")
def unit_derivatives(W: Array, x: Array, b: Array) -> tuple[Array, ...]:
    """The derivatives by W, x and b as a graph."""
    return cr.grad(unit, argnums=(0, 1, 2))(W, x, b)  # type: ignore[no-any-return]


@partial(cr.compile, engine="numpy")
def unit_curvature(W: Array, x: Array, b: Array) -> Array:
    """The derivative of the derivative by b, by b again."""
    return cr.grad(lambda c: np.sum(cr.grad(unit, argnums=2)(W, x, c)))(b)


def run(output: Path | None) -> list[Row]:
    """Differentiate both examples both ways, and compare the numbers with the formulas."""
    # y = m x + b
    m, x, b = np.array(2.0), np.array(3.0), np.array(1.0)
    tensors = [cr.parameter(value) for value in (m, x, b)]
    line(*tensors).backward()
    to_numbers = [float(tensor.grad) for tensor in tensors]
    to_graph = [float(value) for value in line_derivatives(m, x, b)]
    name = "∂y/∂m, ∂y/∂x, ∂y/∂b of y = m x + b at m = 2, x = 3, b = 1"
    rows = [
        Row("E12", f"{name}: {way}", [3.0, 2.0, 1.0], found, exact([3.0, 2.0, 1.0], found, 12))
        for way, found in (("to numbers", to_numbers), ("to a graph", to_graph))
    ]

    # y = σ(W x + b)
    rng = np.random.default_rng(0)
    W, x, b = rng.normal(size=(2, 3)), rng.normal(size=3), rng.normal(size=2)
    y = sigmoid(W @ x + b)
    slope = y * (1 - y)
    formulas = (np.outer(slope, x), W.T @ slope, slope)
    tensors = [cr.parameter(value) for value in (W, x, b)]
    unit(*tensors).backward()
    for way, found in (
        ("to numbers", [tensor.grad for tensor in tensors]),
        ("to a graph", unit_derivatives(W, x, b)),
    ):
        apart = largest_difference(found, formulas)
        name = f"∂W, ∂x, ∂b of y = σ(W x + b): {way}, largest difference from the formulas"
        rows.append(Row("E12", name, None, apart, apart < 1e-15))
    backward = dict.fromkeys(
        equation.origin.name
        for equation in unit_derivatives.graph.equations
        if equation.section == "backward" and equation.origin is not None
    )
    # ∂+ hands on what it gets, so the graph needs no equation for it
    rules = {"sigmoid_vjp", "matmul_vjp_x", "matmul_vjp_y"}
    name = "the backward graph of y = σ(W x + b)"
    rows.append(Row("E12", name, "σ', ∂+, ∂@", ", ".join(backward), set(backward) == rules))
    apart = largest_difference([unit_curvature(W, x, b)], [slope * (1 - 2 * y)])
    name = "that graph differentiated again: σ'', largest difference from the formula"
    rows.append(Row("E12", name, None, apart, apart < 1e-15))

    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        text = f"{unit_derivatives.graph}\n\n{unit_derivatives.source}"
        (output / "E12_graph.txt").write_text(text, encoding="utf-8")
        to_numbers_drawn = cr.draw(unit, W, x, b, title="to numbers")
        to_graph_drawn = cr.draw(unit, W, x, b, backward=True, title="to a graph")
        title = "E12: y = σ(W x + b), differentiated in two ways"
        to_numbers_drawn.beside(to_graph_drawn, title=title).save(output / "E12_graph.svg")
    return rows


def largest_difference(found: list[Array] | tuple[Array, ...], wanted: object) -> float:
    """The largest absolute difference of arrays that belong together."""
    pairs = zip(found, wanted, strict=True)  # type: ignore[call-overload]
    return max(float(np.abs(a - b).max()) for a, b in pairs)
