"""Primitives whose C text is written for their shapes: convolutions and what pooling is made of."""

from __future__ import annotations

__all__: list[str] = []
