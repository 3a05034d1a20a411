"""Seeing a computation: every value of it and every cotangent, by name."""

__all__: list[str] = []
