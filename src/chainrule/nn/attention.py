"""Attention: each place of a sequence takes a mean of all places, weighted by likeness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import numpy as np

from chainrule import primitives
from chainrule.nn.dense import Dense
from chainrule.nn.layer import Context, Layer, Shape, call_of, positive_count
from chainrule.nn.stack import forward_inner, init_inner
from chainrule.primitives.dispatch import Array

__all__ = ["MultiHeadAttention"]

_NEVER = -1e30  # a score whose exponential is exactly 0, and not infinite


@final
class MultiHeadAttention(Layer):
    """softmax(query @ key.T / sqrt(head_size)) @ value, in several heads side by side.

    x (N, T, D) -> (N, T, D). Query, key and value are Dense layers of x, of `heads` * `head_size`
    columns, `head_size` being D / heads where it is not given; another Dense, "output", brings the
    joined heads back to D columns. Parameters: "query.weight" (D, heads * head_size),
    "query.bias", and so on for "key", "value" and "output". With `causal=True` a place sees itself
    and what comes before it, no more. Raises ValueError where D is not a multiple of `heads` and
    no `head_size` is given.
    Vaswani et al., "Attention is all you need", 2017, section 3.2.

    >>> from chainrule import nn
    >>> layers = [nn.Residual([nn.LayerNorm(), nn.MultiHeadAttention(2)]), nn.Dense(3)]
    >>> nn.Network(layers)(np.ones((5, 7, 4))).shape
    (5, 7, 3)
    """

    def __init__(
        self,
        heads: int,
        *,
        head_size: int | None = None,
        causal: bool = False,
        use_bias: bool = True,
        name: str = "",
    ) -> None:
        super().__init__(name=name)
        self.heads = positive_count(heads, "MultiHeadAttention", "heads")
        self.head_size = head_size
        if head_size is not None:
            self.head_size = positive_count(head_size, "MultiHeadAttention", "head_size")
        self.causal = causal
        self.use_bias = use_bias

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2:
            raise ValueError(
                f"{self.label} takes sequences, samples of shape (n_places, n_features), but got "
                f"samples of shape {input_shape}: reshape them"
            )
        self._size_of_head(input_shape[-1])
        return input_shape

    def _size_of_head(self, n_features: int) -> int:
        if self.head_size is None and n_features % self.heads:
            raise ValueError(
                f"{self.label} cannot share {n_features} features among {self.heads} heads: give "
                "a number of heads that divides them, or head_size="
            )
        return self.head_size or n_features // self.heads

    def _layers(self, n_features: int) -> tuple[Dense, ...]:
        """The Dense layers of query, key, value and output."""
        columns = self.heads * self._size_of_head(n_features)
        sizes = {"query": columns, "key": columns, "value": columns, "output": n_features}
        return tuple(Dense(n, use_bias=self.use_bias, name=name) for name, n in sizes.items())

    def init(self, input_shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
        n_features = input_shape[-1]
        parameters: dict[str, np.ndarray] = {}
        for layer in self._layers(n_features):
            n_in = n_features
            if layer.name == "output":
                n_in = self.heads * self._size_of_head(n_features)
            parameters.update(init_inner(layer, (n_in,), rng))
        return parameters

    def forward(self, x: Array, parameters: Mapping[str, Array], context: Context) -> Array:
        if x.ndim != 3:
            raise ValueError(
                f"{self.label} takes sequences (n_samples, n_places, n_features) but got {x.shape}"
            )
        n_samples, n_places, n_features = x.shape
        size = self._size_of_head(n_features)
        *projections, output = self._layers(n_features)

        def of_heads(layer: Dense) -> Array:
            columns = forward_inner(layer, x, parameters, context)
            split = np.reshape(columns, (n_samples, n_places, self.heads, size))
            return np.swapaxes(split, 1, 2)

        query, key, value = map(of_heads, projections)
        scores = query * (1 / math.sqrt(size)) @ np.swapaxes(key, -1, -2)
        if self.causal:
            scores = np.where(np.tri(n_places, dtype=bool), scores, _NEVER)
        mean = np.swapaxes(primitives.softmax(scores) @ value, 1, 2)
        joined = np.reshape(mean, (n_samples, n_places, self.heads * size))
        return forward_inner(output, joined, parameters, context)

    def __repr__(self) -> str:
        return call_of(
            self,
            self.heads,
            head_size=(self.head_size, None),
            causal=(self.causal, False),
            use_bias=(self.use_bias, True),
        )
