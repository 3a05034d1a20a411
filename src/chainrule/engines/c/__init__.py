"""The C engine: a graph as one C99 file, compiled for its shapes, and what runs."""

from __future__ import annotations

__all__: list[str] = []
