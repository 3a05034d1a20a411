"""The C engine: one C99 file of loop nests, compiled for this machine and loaded."""

__all__: list[str] = []
