"""Kernels of the NumPy engine called like their primitives, in memory that is full of NaN."""

from __future__ import annotations

import numpy as np

from chainrule.engines.numpy.kernels import kernel_for
from chainrule.primitives import PRIMITIVES


def poisoned(shape, dtype):
    """Memory that shows where it was not written to."""
    dtype = np.dtype(dtype)
    value = np.nan if dtype.kind in "fc" else True if dtype.kind == "b" else np.iinfo(dtype).max
    return np.full(shape, value, dtype)


def by_kernel(name):
    """The kernel of a primitive as a function of the same arguments, and of `threads`."""
    primitive = PRIMITIVES[name]

    def call(*args, threads=1, **params):
        arrays = [np.asarray(a) for a in args]
        expected = primitive(*arrays, **params)
        kernel = kernel_for(primitive, [a.shape for a in arrays], params)
        # as in a file: what is as it is when nothing is said is not said
        defaults = primitive.defaults
        told = {k: v for k, v in params.items() if k not in defaults or defaults[k] != v}
        before = [a.copy() for a in arrays]
        # Among others, as in a plan: nothing beside its own part is written to.
        memory = poisoned((expected.size + 2,), expected.dtype)
        out = memory[1:-1].reshape(expected.shape)
        words = {"threads": threads} if kernel.takes_threads else {}
        assert kernel.function(*arrays, **told, **words, out=out) is None
        for array, old in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, old)
        np.testing.assert_array_equal(memory[[0, -1]], poisoned(2, expected.dtype))
        return out

    return call
