"""Who prints a graph and runs it: one folder an engine."""

from __future__ import annotations

__all__: list[str] = []
