"""Long and wide computations: nothing in the reverse pass recurses, and the tape is let go."""

import gc
import sys
import weakref

import numpy as np

import chainrule as cr

N_OPERATIONS = 100_000


def test_a_chain_of_100_000_operations():
    w = cr.parameter(1.0)
    t = w
    for _ in range(N_OPERATIONS):
        t = t + 1e-5
    assert 50 * sys.getrecursionlimit() < N_OPERATIONS
    t.backward()
    assert w.grad == 1.0
    del t  # nor does letting go of it recurse


def test_a_chain_that_is_never_differentiated_is_let_go():
    w = cr.parameter(1.0)
    t = w + 1e-5
    first = weakref.ref(t.value)
    for _ in range(N_OPERATIONS):
        t = t + 1e-5
    gc.collect()
    assert first() is not None
    del t
    assert first() is None  # by reference counts alone: the tape has no cycles


def test_a_chain_inside_a_transform():
    def f(x):
        for _ in range(20_000):
            x = x * 1.00001
        return x

    value, gradient = cr.value_and_grad(f)(2.0)
    np.testing.assert_allclose(gradient, value / 2.0, rtol=1e-10)


def test_a_chain_differentiated_twice():
    def f(x):
        y = x
        for _ in range(2_000):
            y = y + x * 1e-3 * x
        return y

    np.testing.assert_allclose(cr.grad(cr.grad(f))(1.0), 4.0, rtol=1e-9)


def test_a_wide_sum_of_many_uses_of_one_parameter():
    w = cr.parameter(np.ones(3))
    total = sum(k * w for k in range(5_000))
    total.sum().backward()
    np.testing.assert_allclose(w.grad, np.full(3, 5_000 * 4_999 / 2))


def test_a_node_used_twice_at_each_level_is_visited_once():
    w = cr.parameter(1.0)
    t = w
    for _ in range(60):
        t = 0.5 * t + 0.5 * t  # 2**60 paths
    t.backward()
    assert w.grad == 1.0


def test_backward_lets_go_of_the_arrays_of_the_tape():
    w = cr.parameter(np.ones(1000))
    hidden = np.tanh(w)
    kept = weakref.ref(hidden.value)
    loss = (hidden**2).sum()
    del hidden
    gc.collect()
    assert kept() is not None
    loss.backward()
    gc.collect()
    assert kept() is None
