"""Networks over sequences by hand: the loss's gradients by all parameters, in their own dtype.

In float64 they are what must come out; in float32 they are NumPy's side of the work.
"""

from __future__ import annotations

import numpy as np
from works import Array, Parameters


def lstm(parameters: Parameters, x: Array, labels: Array, heads: int = 1) -> list[Array]:
    """An LSTM over x (N, T, D), and a dense layer of its last state; cross-entropy.

    The columns of W and R are those of the gates i and f, of the candidate g, and of the gate o.
    Hochreiter and Schmidhuber, "Long short-term memory", 1997.
    """
    W, R, b, V, c = parameters
    units, n_samples = len(R), len(x)
    x = np.ascontiguousarray(x.swapaxes(0, 1))
    z = x @ W + b
    h, cell = np.zeros((2, n_samples, units), x.dtype)
    states, steps = [h], []
    for z_t in z:
        a = z_t + h @ R
        i, f, o = (sigmoid(a[:, k * units : (k + 1) * units]) for k in (0, 1, 3))
        g, before = np.tanh(a[:, 2 * units : 3 * units]), cell
        cell = f * cell + i * g
        tanh_c = np.tanh(cell)
        h = o * tanh_c
        states.append(h)
        steps.append((i, f, g, o, before, tanh_c))
    d_logits = cross_entropy_back(h @ V + c, labels)
    d_V, d_c = h.T @ d_logits, d_logits.sum(axis=0)
    d_h, d_cell, d_z = d_logits @ V.T, np.zeros_like(h), np.empty_like(z)
    for t in reversed(range(len(x))):
        i, f, g, o, before, tanh_c = steps[t]
        d_cell = d_cell + d_h * o * (1 - tanh_c * tanh_c)
        parts = (
            d_cell * g * i * (1 - i),
            d_cell * before * f * (1 - f),
            d_cell * i * (1 - g * g),
            d_h * tanh_c * o * (1 - o),
        )
        np.concatenate(parts, axis=1, out=d_z[t])
        d_h, d_cell = d_z[t] @ R.T, d_cell * f
    d_rows = d_z.reshape(-1, 4 * units)
    d_W = x.reshape(-1, x.shape[-1]).T @ d_rows
    d_R = np.concatenate(states[:-1]).T @ d_rows
    return [d_W, d_R, d_rows.sum(axis=0), d_V, d_c]


def attention(parameters: Parameters, x: Array, labels: Array, heads: int = 1) -> list[Array]:
    """Attention over x (N, T, D) in several heads, and a dense layer of all places; cross-entropy.

    Vaswani et al., "Attention is all you need", 2017, section 3.2.
    """
    Wq, bq, Wk, bk, Wv, bv, Wo, bo, V, c = parameters
    n_samples, n_places, n_features = x.shape
    scale = 1 / np.sqrt(n_features // heads).astype(x.dtype)

    def of_heads(columns: Array) -> Array:
        return columns.reshape(n_samples, n_places, heads, -1).swapaxes(1, 2)

    def joined(parts: Array) -> Array:
        return parts.swapaxes(1, 2).reshape(-1, n_features)

    rows = x.reshape(-1, n_features)
    query, key, value = (of_heads(rows @ W + b) for W, b in ((Wq, bq), (Wk, bk), (Wv, bv)))
    scores = softmax(query * scale @ key.swapaxes(2, 3))
    mixed = joined(scores @ value)
    flat = (mixed @ Wo + bo).reshape(n_samples, -1)
    d_logits = cross_entropy_back(flat @ V + c, labels)
    d_out = (d_logits @ V.T).reshape(-1, n_features)
    d_mixed = of_heads(d_out @ Wo.T)
    d_scores = d_mixed @ value.swapaxes(2, 3)
    d_scores = scores * (d_scores - np.sum(d_scores * scores, axis=-1, keepdims=True))
    d_columns = (
        joined(d_scores @ key * scale),
        joined(d_scores.swapaxes(2, 3) @ query * scale),
        joined(scores.swapaxes(2, 3) @ d_mixed),
    )
    gradients = [g for d in d_columns for g in (rows.T @ d, d.sum(axis=0))]
    gradients += [mixed.T @ d_out, d_out.sum(axis=0)]
    return [*gradients, flat.T @ d_logits, d_logits.sum(axis=0)]


def sigmoid(z: Array) -> Array:
    """As everybody writes it."""
    return 1 / (1 + np.exp(-z))


def softmax(z: Array) -> Array:
    """Along the last axis."""
    exponentials = np.exp(z - z.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def cross_entropy_back(logits: Array, labels: Array) -> Array:
    """The derivative of the mean cross-entropy by the logits (N, n_classes)."""
    d_logits = softmax(logits)
    d_logits[np.arange(len(labels)), labels] -= 1
    return d_logits / len(labels)


GRADIENTS = {"lstm": lstm, "attention": attention}
