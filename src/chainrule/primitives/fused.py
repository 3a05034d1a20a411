"""Softmax and the losses on logits, each one primitive, because their parts would overflow.

A logit is a number before softmax or sigmoid, of any size; a probability rounds to 0 or 1 there,
and its logarithm is lost. Each form takes the largest exponent out first.
"""

from __future__ import annotations

import numpy as np

from chainrule.primitives.activation import sigmoid
from chainrule.primitives.dispatch import Array, implements_special
from chainrule.primitives.primitive import defvjp, fused
from chainrule.primitives.shape import expand_dims

__all__ = ["binary_cross_entropy", "log_softmax", "softmax", "softmax_cross_entropy"]


@implements_special("softmax")
@fused
def softmax(x: Array, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x)) along an axis: positive, and with sum 1.

    >>> softmax(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    powers = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)


@implements_special("log_softmax")
@fused
def log_softmax(x: Array, axis: int = -1) -> Array:
    """log(softmax(x)) along an axis, as x - max - log(sum(exp(x - max))).

    >>> log_softmax(np.array([0.0, 1000.0]))
    array([-1000.,     0.])
    """
    shifted = x - np.max(x, axis=axis, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))


@fused
def softmax_cross_entropy(logits: Array, targets: Array, axis: int = -1) -> Array:
    """-sum(targets * log_softmax(logits)) along the axis of the classes.

    `logits` and `targets`, probabilities of the classes, have the shape `(..., n_classes)`, the
    result `(...)`. Of integer labels make targets by `one_hot`. A logit of -inf masks its class:
    where the target is 0 too, it adds nothing, and its gradient is 0.

    >>> softmax_cross_entropy(np.array([[0.0, 0.0], [1000.0, 0.0]]), np.eye(2))
    array([   0.69314718, 1000.        ])
    """
    shifted = logits - np.max(logits, axis=axis, keepdims=True)
    log_total = np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
    return np.sum(targets * np.where(targets == 0, 0, log_total - shifted), axis=axis)


@fused
def binary_cross_entropy(logits: Array, targets: Array) -> Array:
    """-t * log(sigmoid(z)) - (1 - t) * log(1 - sigmoid(z)) of each logit z and target t.

    Computed as max(z, 0) - z * t + log(1 + exp(-|z|)).

    >>> binary_cross_entropy(np.array([0.0, 1000.0]), np.array([1.0, 0.0]))
    array([   0.69314718, 1000.        ])
    """
    overflow_free = np.log1p(np.exp(-np.abs(logits)))
    return np.maximum(logits, 0) - logits * targets + overflow_free


def _of_targets(g: Array, logits: Array, targets: Array, axis: int) -> Array:
    """The cotangent -g * log(softmax(z)), and 0 for a class that is masked."""
    log_p = log_softmax(logits, axis)
    is_masked = (log_p == -np.inf) & (targets == 0)
    return -expand_dims(g, axis) * np.where(is_masked, 0, log_p)


def _of_logits(g: Array, logits: Array, targets: Array, axis: int) -> Array:
    """The cotangent g * (softmax(z) * sum(t) - t); where t sums to 1, g * (softmax(z) - t)."""
    total = np.sum(targets, axis=axis, keepdims=True)
    return expand_dims(g, axis) * (softmax(logits, axis) * total - targets)


# One rule a line, aligned so that the eye compares
# fmt: off
defvjp(softmax,               lambda g, out, x, axis:
       out * (g - np.sum(g * out, axis=axis, keepdims=True)))
defvjp(log_softmax,           lambda g, out, x, axis:
       g - np.exp(out) * np.sum(g, axis=axis, keepdims=True))
defvjp(softmax_cross_entropy, lambda g, out, logits, targets, axis:
       _of_logits(g, logits, targets, axis),
                              lambda g, out, logits, targets, axis:
       _of_targets(g, logits, targets, axis))
defvjp(binary_cross_entropy,  lambda g, out, logits, targets: g * (sigmoid(logits) - targets),
                              lambda g, out, logits, targets: -g * logits)
# fmt: on
