"""What is wrong with a network before any step: its start, its last layer, its slopes.

All of it is read from one batch that went through the network and back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chainrule.diagnosis.case import Case
from chainrule.diagnosis.probe import Probe
from chainrule.diagnosis.report import Finding, short
from chainrule.tape import Node

__all__ = ["initialisation", "output_layer", "slopes"]

Array = np.ndarray[Any, Any]


# The start


def initialisation(probe: Probe, has_been_fit: bool) -> Iterator[Finding]:
    """Units that begin alike: such units get alike gradients, and stay one unit for ever.

    Weights that were drawn are never exactly equal, so one pair of equal units is certain. The
    last layer may begin with zeros: its units differ by their targets. So may the end of a branch
    whose result is added, which is one of the layers within a layer.
    """
    matrices = {name: w for name, w in probe.parameters.items() if w.ndim >= 2}
    for i, (name, weight) in enumerate(matrices.items()):
        if weight.shape[-1] < 2 or weight.size == weight.shape[-1]:
            continue  # one unit, or units that see nothing
        layer = name.rpartition(".")[0]
        units = weight.reshape(-1, weight.shape[-1])
        n_units = units.shape[1]
        n_different = len(np.unique(units.T, axis=0))
        is_last = i == len(matrices) - 1
        is_zero = not units.any()
        if n_different == n_units or (is_zero and (is_last or "." in layer)):
            continue
        if not is_zero and is_last and n_different > 1:
            continue
        n_alike = n_units - n_different + 1
        gradient = float(np.abs(probe.gradients[name]).max(initial=0))
        if is_zero:
            evidence = (
                f"all {units.size} values of {name} are 0: its {n_units} units compute the same, "
                f"and the largest gradient by them is {short(gradient)}"
            )
            yield Finding("zero initialisation", evidence, gradient, _DRAWN, layer)
        elif n_different == 1 and np.ptp(units) == 0:
            value = float(units.flat[0])
            evidence = (
                f"all {units.size} values of {name} are {short(value)}: its {n_units} units "
                "compute the same and get the same gradients"
            )
            yield Finding("constant initialisation", evidence, value, _DRAWN, layer)
        elif not has_been_fit or n_different == 1:
            evidence = (
                f"{n_alike} of the {n_units} units of {layer} have exactly the weights of another: "
                "they compute the same and get the same gradients"
            )
            yield Finding("symmetry", evidence, float(n_alike), _DRAWN, layer)


_DRAWN = 'random initial weights, such as weight="glorot_uniform" or "he_uniform"'


# The last layer


def output_layer(case: Case, probe: Probe) -> Iterator[Finding]:
    """A last layer whose values are not what the loss takes, or cannot be what the targets are."""
    loss, outputs, targets = case.goal.loss, probe.outputs, np.asarray(probe.batch.y)
    node = probe.output_function
    function = _function_of(node)
    if function not in _RANGES and function != "log_softmax":
        function = _by_range(case, probe)
    layer = node.layer if node is not None else ""
    name = "output layer and loss do not fit"
    if function == "softmax" and outputs.shape[-1] == 1:
        evidence = f"softmax over 1 output is always 1, for all {len(outputs)} samples looked at"
        yield Finding(name, evidence, 1.0, "a sigmoid, or two units", layer)
    elif loss.takes_logits and function == "softmax":
        total = float(outputs.sum(axis=-1).mean())
        what = "softmax twice" if loss.contains == "softmax" else name
        evidence = (
            f"{loss.name} takes logits and applies softmax itself, but the outputs of each sample "
            f"are probabilities already, adding up to {short(total)}"
        )
        yield Finding(what, evidence, total, "leave the softmax out", layer)
    elif loss.takes_logits and function in _RANGES and loss.name != "hinge":
        low, high = _RANGES[function]
        between = f"at least {low:g}" if high == np.inf else f"between {low:g} and {high:g}"
        number = float(outputs.min() if high == np.inf else outputs.max() - outputs.min())
        spread = "the smallest here is" if high == np.inf else "the widest difference here is"
        evidence = (
            f"{loss.name} takes logits, numbers of either sign and any size, but {function} makes "
            f"them {between}; {spread} {short(number)}"
        )
        yield Finding(name, evidence, number, f"leave {function} out of the last layer", layer)
    elif not loss.takes_logits and function in _RANGES and targets.shape == outputs.shape:
        yield from _out_of_range(function, np.asarray(case.samples.y), layer)


_RANGES = {
    "relu": (0.0, np.inf),
    "sigmoid": (0.0, 1.0),
    "softmax": (0.0, 1.0),
    "softplus": (0.0, np.inf),
    "tanh": (-1.0, 1.0),
}


def _by_range(case: Case, probe: Probe) -> str:
    """The activation whose range the outputs keep, by whatever function: "" for no such bounds.

    The parameters are made large, of either sign: what stays within bounds then is bounded.
    """
    network, low, high, sums = case.goal.network, np.inf, -np.inf, []
    x = np.asarray(probe.batch.x)[:64]
    for factor in (1.0, 3.0, -3.0, 30.0, -30.0, 1e3, -1e3):
        parameters = {name: factor * part for name, part in probe.parameters.items()}
        with np.errstate(all="ignore"):
            outputs = np.asarray(network.apply(parameters, network.state, x, False, None)[0])
        if not np.isfinite(outputs).all():
            continue  # an overflow on the way, of what the bounds are made by
        low, high = min(low, float(outputs.min())), max(high, float(outputs.max()))
        sums.append(np.ptp(outputs.sum(axis=-1)) if outputs.ndim > 1 else 1.0)
    if high < _REACHED:
        return ""  # it was not tried hard enough to say
    if low >= 0 and high <= 1 + 1e-6:
        is_shares = probe.outputs.shape[-1] > 1 and max(sums) < 1e-3
        return "softmax" if is_shares else "sigmoid"
    return "tanh" if low >= -1 - 1e-6 and high <= 1 + 1e-6 else ""


_REACHED = 0.9  # of a bound


_MARGIN = 0.05  # beyond the range, in parts of a unit: targets with a little noise on them
_FEW = 0.01  # of the targets: a few may lie outside


def _out_of_range(function: str, targets: Array, layer: str) -> Iterator[Finding]:
    low, high = _RANGES[function]
    outside = (targets < low - _MARGIN) | (targets > high + _MARGIN)
    share = float(outside.mean())
    if share <= _FEW:
        return
    between = f"from {low:g} up" if high == np.inf else f"from {low:g} to {high:g}"
    evidence = (
        f"{function} gives numbers {between}, but {100 * share:.3g} % of the targets lie outside, "
        f"between {short(float(targets.min()))} and {short(float(targets.max()))}"
    )
    fix = f"a last layer without {function}, or scaled targets"
    yield Finding("output layer and loss do not fit", evidence, share, fix, layer)


def _function_of(node: Node | None) -> str:
    """The activation a node is, by the name of its primitive; np.maximum(z, 0) is a relu."""
    if node is None or node.primitive is None:
        return ""
    name = node.primitive.name
    if name == "maximum" and any(np.ndim(a) == 0 and not np.any(a) for a in node.args):
        return "relu"
    return {"expit": "sigmoid"}.get(name, name)


# Slopes

_FLAT = 0.05  # of its steepest: a slope below that counts as none
_MOST_FLAT = 0.5  # of a layer's values: with fewer, most of the gradient comes through
_ALMOST_ALL = 0.75
_MOST_DEAD = 0.5  # of a layer's units: of a ReLU layer some are always idle
_SMALL, _LARGE = 1e-2, 1e2  # the cotangent of the first layer, in parts of the last one's
_SMALL_OF_FEW = 1e-3  # where one small weight by chance may be what is seen
_CERTAIN = 1e-4  # a share that no usual depth explains


def slopes(probe: Probe, knows: bool, learns: bool) -> Iterator[Finding]:
    """Where on the way back the gradient is lost, or grows without bounds.

    Where the network `learns` all the same, only what is beyond doubt is said; and of one that
    `knows` its targets already, whose units may well be sure, less still.
    """
    for node in probe.nodes:
        function = _function_of(node)
        if node.layer in ("", "loss") or not isinstance(node.out, np.ndarray):
            continue
        if function in ("sigmoid", "tanh"):
            yield from _saturated(
                node, function, 1 if knows else _ALMOST_ALL if learns else _MOST_FLAT
            )
        elif function == "relu":
            yield from _dead(node, knows, learns or knows)
    yield from _flow(probe, knows, learns)
    yield from _no_gradient(probe)


def _saturated(node: Node, function: str, most: float) -> Iterator[Finding]:
    a = np.asarray(node.out, np.float64)
    slope = 1 - a * a if function == "tanh" else 4 * a * (1 - a)
    share = float((slope < _FLAT).mean())
    if share > most:
        evidence = (
            f"{100 * share:.3g} % of the values of {node.layer} lie where {function} is flat: "
            f"its slope there is below {_FLAT:g} of the steepest, so little gradient comes through"
        )
        fix = "smaller initial weights (glorot_uniform), or scaled inputs"
        yield Finding(f"saturated {function}", evidence, share, fix, node.layer)


def _dead(node: Node, knows: bool, learns: bool) -> Iterator[Finding]:
    a = np.asarray(node.out)
    dead = ~a.reshape(-1, a.shape[-1]).any(axis=0)
    share, n_units = float(dead.mean()), dead.size
    # where all inputs are positive, each unit is dead by the toss of a coin
    by_chance = 0.5 * n_units + 1.25 * n_units**0.5
    if share == 1 or (share > _MOST_DEAD and not learns) or (dead.sum() > by_chance and not knows):
        evidence = (
            f"{int(dead.sum())} of the {n_units} units of {node.layer} are 0 for all "
            f"{len(a)} samples looked at, so no gradient comes through them"
        )
        fix = "biases that start at 0 and he_uniform weights, a smaller learning rate, or LeakyReLU"
        yield Finding("dead ReLU", evidence, share, fix, node.layer)


def _flow(probe: Probe, knows: bool, learns: bool) -> Iterator[Finding]:
    """How long the cotangents of the first layer are beside those of the last one."""
    sizes = []
    for node, _ in probe.products:
        cotangent = probe.cotangents.get(node)
        if cotangent is not None:
            sizes.append((node.layer, float(np.linalg.norm(cotangent))))
    if len(sizes) < 2 or not sizes[-1][1] or not sizes[0][1]:
        return
    small = _SMALL if len(sizes) > 3 else _SMALL_OF_FEW
    (first, size), (last, of_last) = sizes[0], sizes[-1]
    ratio = size / of_last
    by_layer = f"{short(size)} by the results of {first}, {short(of_last)} by those of {last}"
    if ratio < (_CERTAIN if learns or knows else small):
        evidence = (
            f"on its way back the gradient shrinks to {short(ratio)}: its length is {by_layer}"
        )
        fix = "relu with he_uniform weights, batch norm or residual layers, or fewer layers"
        yield Finding("vanishing gradients", evidence, ratio, fix, first)
    elif ratio > (1 / _CERTAIN if knows else _LARGE):
        evidence = (
            f"on its way back the gradient grows {short(ratio)} times: its length is {by_layer}"
        )
        fix = "smaller initial weights (glorot_uniform), or clip_norm=1 of the optimizer"
        yield Finding("exploding gradients", evidence, ratio, fix, first)


def _no_gradient(probe: Probe) -> Iterator[Finding]:
    for name, gradient in probe.gradients.items():
        layer = name.rpartition(".")[0]
        if not name.endswith("weight") or gradient.any():
            continue
        evidence = f"the gradient by all {gradient.size} values of {name} is exactly 0"
        fix = "look at what stands between this layer and the loss: its slope is 0 for every sample"
        yield Finding("zero gradients", evidence, 0.0, fix, layer)
        return
