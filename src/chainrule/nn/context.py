"""What a layer's forward pass is given beside its inputs and parameters, and what a shape is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from chainrule.primitives.dispatch import Array

__all__ = ["Context", "Shape"]

Shape = tuple[int, ...]


@dataclass(slots=True)
class Context:
    """How a forward pass runs: for training or not, with which randomness and which state.

    `state` holds arrays that are kept but not trained (running statistics); a layer reads them
    here and leaves their new values in `updates`, under the same names. `rng` is None where
    nothing random is wanted.
    """

    training: bool = False
    rng: np.random.Generator | None = None
    state: Mapping[str, Array] = field(default_factory=dict)
    updates: dict[str, Array] = field(default_factory=dict)
