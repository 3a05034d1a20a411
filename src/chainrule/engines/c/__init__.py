"""The C engine: a graph as one C99 file of loops, compiled where a compiler is found."""

from __future__ import annotations

__all__: list[str] = []
