"""The C engine: a graph as one C file that stands alone, and is what runs once compiled."""

from __future__ import annotations

__all__: list[str] = []
