"""Training and evaluation: what `Network.fit` and `Network.evaluate` hand a network to."""

from __future__ import annotations

__all__: list[str] = []
