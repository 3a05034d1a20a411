"""A process of its own for C programs under sanitizers: `python sanitized.py random 0 100`.

Every array of a program is exactly as large as it must be and full of NaN, so that what is read or
written beside it, or read before it is written, is seen.
"""

from __future__ import annotations

import ctypes
import math
import sys

import numpy as np

from chainrule.engines.c import program
from chainrule.engines.c.toolchain import SANITIZERS, WARNINGS, build_library

FLAGS = ("-O0", *WARNINGS, *SANITIZERS)  # with more, compiling takes minutes

_LIBC = ctypes.CDLL(None)
_LIBC.malloc.restype = ctypes.c_void_p
_LIBC.malloc.argtypes = [ctypes.c_size_t]


def exactly(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory of its own for an array, as small as it can be."""
    size = math.prod(shape) * dtype.itemsize
    memory = (ctypes.c_char * size).from_address(_LIBC.malloc(max(1, size)))
    np.frombuffer(memory, np.uint8)[...] = 0xFF
    return np.frombuffer(memory, dtype).reshape(shape)


def run(what: str, first: int, end: int) -> None:
    """Have these programs, or networks, built and checked."""
    if what == "fault":
        text = "int at(int *x, int i) { return x[i]; }".replace("int at", "EXPORT int at")
        export = '#define EXPORT __attribute__((visibility("default")))\n'
        function = build_library(export + text, extra=FLAGS).functions.at
        function(ctypes.c_void_p(exactly((4,), np.dtype(np.int32)).ctypes.data), 4)
    elif what == "random":
        import test_c_random_programs

        test_c_random_programs.check_programs(range(first, end), FLAGS)
    else:
        import test_c_networks as networks

        trained = networks.every_layer([("float32", 3), ("float64", 1)])
        for loss in networks.LOSSES:
            trained += networks.layers_and_losses(loss) + networks.losses_and_optimizers(loss)
            trained += networks.sizes_weights_and_penalties(loss)
        for start in range(first, min(end, len(trained)), 20):
            networks.check_all(trained[start : min(end, start + 20)], FLAGS)


if __name__ == "__main__":
    program._aligned = exactly
    run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
