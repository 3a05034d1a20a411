"""Matrix products of the C engine whose sums stand in registers: all shapes share a few tiles."""

from __future__ import annotations

import re

import numpy as np
import pytest
from c_engine import needs_compiler

import chainrule as cr
from chainrule.engines.c.kernels.products import _tile
from chainrule.engines.c.kernels.tiles import best_tile, n_cycles
from chainrule.engines.c.multiplication import (
    is_multiplication,
    multiplication_name,
    multiplication_names,
)


def products(seed, dtype, count=14):
    """Products of all kinds of shapes, each operand as it is or transposed."""
    rng = np.random.default_rng(seed)
    arrays, turned = [], []
    while len(turned) < count:
        rows, inner, columns = (int(n) for n in rng.integers(2, (45, 40, 80)))
        if rows * inner * columns < 1024:
            continue
        turned.append((bool(rng.integers(2)), bool(rng.integers(2))))
        shapes = (rows, inner), (inner, columns)
        arrays += [
            rng.standard_normal(shape[::-1] if turn else shape).astype(dtype)
            for shape, turn in zip(shapes, turned[-1], strict=True)
        ]

    def function(*arrays):
        pairs = zip(arrays[::2], arrays[1::2], turned, strict=True)
        return [(x.T if left else x) @ (y.T if right else y) for x, y, (left, right) in pairs]

    return function, arrays


@needs_compiler
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-13)])
def test_products_of_all_shapes(dtype, tolerance, monkeypatch):
    monkeypatch.setattr("chainrule.engines.c.memory._product_address", lambda dtype: 0)  # no BLAS
    function, arrays = products(5, dtype)
    compiled = cr.compile(function, engine="c")
    for found, expected in zip(compiled(*arrays), function(*arrays), strict=True):
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
    assert compiled.engine == "c"
    calls = re.findall(r"(multiply_\w+)\(", compiled.source)
    assert len(calls) >= len(arrays) // 2
    assert set(calls) <= multiplication_names()


@needs_compiler
def test_a_sum_of_infinity_and_nan_is_numpys(monkeypatch):
    monkeypatch.setattr("chainrule.engines.c.memory._product_address", lambda dtype: 0)
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((20, 30)), rng.standard_normal((30, 11))
    x[3, 4], x[5, 6], y[7, 8] = np.nan, np.inf, -np.inf
    found = cr.compile(lambda x, y: x @ y, engine="c")(x, y)
    with np.errstate(all="ignore"):
        expected = x @ y
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))


def test_a_usual_tile_is_at_most_a_little_slower():
    for rows in range(1, 300):
        for columns in (2, 5, 10, 16, 50, 100, 128):
            tile, best = _tile(rows, columns, "float"), best_tile(1, rows, columns, "float")
            assert tile.columns <= rows  # a tile has no rows beyond the product's
            cycles = [n_cycles(t, 1, rows, columns, "float") for t in (tile, best)]
            assert cycles[0] <= 1.15 * cycles[1]
            assert multiplication_name(tile.columns, tile.lanes, "float") in multiplication_names()


def test_what_a_user_calls_so_has_another_name_in_c():
    def multiply_16x16_float(x, y):
        return x @ y

    x = np.ones((16, 16), np.float32)
    compiled = cr.compile(multiply_16x16_float)
    compiled(x, x)
    text = compiled.source_for("c")
    assert "static void multiply_16x16_float(" in text
    assert "int multiply_16x16_float(" not in text
    assert not is_multiplication("multiply_1")
