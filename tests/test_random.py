"""Random numbers as a primitive: drawn anew, by the generator that is given, also when compiled."""

from __future__ import annotations

import numpy as np

from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.program import build
from chainrule.primitives import random_uniform

F32 = np.dtype(np.float32)


def two_draws(x, rng):
    first = random_uniform(rng, shape=(2, 3), dtype=np.float32)
    return x * first, x * random_uniform(rng, shape=(2, 3), dtype=np.float32)


def test_equals_the_generators_own_draws():
    drawn = random_uniform(np.random.default_rng(7), shape=(4,), dtype=np.float64)
    np.testing.assert_array_equal(drawn, np.random.default_rng(7).random(4))


def test_compiled_draws_are_never_merged_and_follow_the_generator():
    inputs = [Variable((2, 3), F32, "x"), Variable.generator("rng")]
    program = build(trace(two_draws, inputs)[0], Labels("two_draws"))
    x = np.ones((2, 3), np.float32)
    first, second = program.function(x, np.random.default_rng(3))
    expected = two_draws(x, np.random.default_rng(3))
    np.testing.assert_array_equal([first, second], expected)
    assert not np.array_equal(first, second)
