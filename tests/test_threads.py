"""One thread for small products, the user's own setting for large ones, restored afterwards."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController

from chainrule.compiler.graph import Variable
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.threads import largest_product, limit_threads

F32 = np.dtype(np.float32)


def product(rows: int, inner: int, columns: int):
    inputs = [Variable((rows, inner), F32, "x"), Variable((inner, columns), F32, "w")]
    return trace(lambda x, w: np.tanh(x @ w), inputs)[0]


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in ThreadpoolController().select(user_api="blas").info()]


def test_the_largest_product_is_counted_in_multiplications():
    assert largest_product(product(64, 196, 100)) == 64 * 196 * 100
    assert largest_product(trace(np.tanh, [Variable((3,), F32, "x")])[0]) == 0


@pytest.mark.parametrize(
    ("sizes", "is_limited"), [((64, 196, 100), True), ((512, 784, 512), False)]
)
def test_small_products_run_on_one_thread(sizes, is_limited):
    before = blas_threads()
    with limit_threads(product(*sizes)):
        within = blas_threads()
    assert within == ([1] * len(before) if is_limited else before)
    assert blas_threads() == before
