"""The NumPy engine: a graph as a Python file that imports only NumPy, and is what runs."""

from __future__ import annotations

__all__: list[str] = []
