"""The NumPy engine's own forms of primitives, tuned for compiled functions.

A compiled file holds the text of those it uses. Everything else runs as the primitive's own NumPy
form says, or in a notation of the printer's.
"""

from chainrule.engines.numpy.kernels import convolve, pool, rows
from chainrule.engines.numpy.kernels.table import KERNELS, Kernel, kernel, kernel_for

__all__ = ["KERNELS", "Kernel", "convolve", "kernel", "kernel_for", "pool", "rows"]
