"""What the C engine computes in a function of its own: products, gathers, convolutions and kin."""

__all__: list[str] = []
