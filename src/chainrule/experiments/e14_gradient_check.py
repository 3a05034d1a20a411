"""E14: checking the gradient of exercise 4 (Ng, Machine Learning, Coursera).

The check takes central differences in every parameter and reports |ours - theirs| / (|ours| +
|theirs|). The notebook's prints 1.0: its `thetaplus = theta` copies nothing, so both shifted points
are one and the same, and it divides by another epsilon than it shifts by. Done right, the
difference is below 1e-9. `check_gradient` of the library says what is wrong with the notebook's.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import chainrule as cr
from chainrule import data, nn
from chainrule.experiments import Row
from chainrule.gradcheck import check_gradient
from chainrule.primitives.dispatch import Array

__all__ = [
    "QUICK",
    "TITLE",
    "central_differences",
    "penalised_loss",
    "relative_difference",
    "run",
]

TITLE = "System E: the gradient check, done right and done wrong"
QUICK = True

EPSILON = 1e-4


def run(output: Path | None) -> list[Row]:
    """Check all 10 285 derivatives, then do as the notebook did, and ask what is wrong."""
    digits = data.load("ex4")
    some = slice(None, None, 250)  # 20 samples, two of each digit
    full = penalised_loss([400, 25, 10], digits.x[some], data.one_hot(digits.y[some], 10))
    theta = np.random.default_rng(0).uniform(-0.12, 0.12, 25 * 401 + 10 * 26)
    right = relative_difference(
        cr.grad(full)(theta), central_differences(cr.compile(full, engine="numpy"), theta)
    )

    # the course's own small network for checks: 3-5-3, five samples
    rng = np.random.default_rng(0)
    small = penalised_loss([3, 5, 3], rng.normal(size=(5, 3)), data.one_hot([1, 2, 0, 1, 2], 3))
    theta = rng.uniform(-0.12, 0.12, 5 * 4 + 3 * 6)

    def notebook_gradient(theta: Array) -> Array:
        gradient = np.zeros_like(theta)
        for i in range(len(theta)):
            thetaplus = theta
            thetaplus[i] = thetaplus[i] + EPSILON
            thetaminus = theta
            thetaminus[i] = thetaminus[i] - EPSILON
            gradient[i] = (small(thetaplus) - small(thetaminus)) / (2 * 1e-7)
        return gradient

    wrong = relative_difference(cr.grad(small)(theta), notebook_gradient(theta.copy()))
    report = check_gradient(small, notebook_gradient, theta, raises=False)
    said = "; ".join(reason.split(":")[0] for reason in report.reasons)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "E14_report.txt").write_text(f"{report}\n", encoding="utf-8")
    return [
        Row("E14", "difference, done right, 400-25-10", "< 1e-9", right, right < 1e-9),
        Row("E14", "difference, done as in the notebook", 1.0, wrong, wrong == 1.0),
        Row(
            "E14",
            "what the checker says of the notebook's",
            "thetaplus = theta without a copy",
            said,
            {"in place", "cut"} <= {fault.cause for fault in report.faults},
        ),
    ]


def penalised_loss(sizes: list[int], x: Array, y: Array) -> Callable[[Array], Array]:
    """The cost of exercise 4 with λ = 1, as a function of all parameters in one vector."""
    n_in, n_hidden, n_out = sizes
    network = nn.Network(
        [nn.Dense(n_hidden), nn.Sigmoid(), nn.Dense(n_out)], input_shape=n_in, dtype="float64"
    )
    penalty = nn.L2(1.0 / len(x))

    def loss(theta: Array) -> Array:
        parameters = network.parameters.unflatten(theta)
        outputs = network.forward(parameters, x)
        return np.mean(nn.losses.binary_cross_entropy(outputs, y)) + penalty(parameters)

    return loss


def central_differences(loss: Callable[[Array], Array], theta: Array) -> Array:
    """The numerical gradient: every parameter shifted up and down, in copies."""
    gradient = np.zeros_like(theta)
    for i in range(len(theta)):
        thetaplus, thetaminus = theta.copy(), theta.copy()
        thetaplus[i] += EPSILON
        thetaminus[i] -= EPSILON
        gradient[i] = (loss(thetaplus) - loss(thetaminus)) / (2 * EPSILON)
    return gradient


def relative_difference(ours: Array, theirs: Array) -> float:
    """|ours - theirs| / (|ours| + |theirs|), with Euclidean norms."""
    length = np.linalg.norm
    return float(length(ours - theirs) / (length(ours) + length(theirs)))
