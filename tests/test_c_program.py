"""What a program of the C engine is handed: nothing that it would read past, or from nowhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from c_engine import needs_compiler

import chainrule as cr
from chainrule import nn, optim, tree
from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.batches import Batches
from chainrule.engines.c.program import build
from chainrule.nn.inference import inference_graph
from chainrule.primitives import random_uniform
from chainrule.training.compiled_step import CompiledStep

pytestmark = needs_compiler


def test_a_function_of_two_generators_runs_on_numpy_and_draws_from_both():
    def f(first, second):
        return random_uniform(first, shape=(3,), dtype=np.float64) + random_uniform(
            second, shape=(3,), dtype=np.float64
        )

    compiled = cr.compile(f, engine="c")
    with pytest.warns(RuntimeWarning, match="several random generators"):
        found = compiled(np.random.default_rng(0), np.random.default_rng(1))
    expected = np.random.default_rng(0).random(3) + np.random.default_rng(1).random(3)
    np.testing.assert_array_equal(found, expected)
    assert compiled.engine == "numpy"


def test_a_program_without_its_state_refuses_to_run():
    net = nn.Network([nn.Dense(2)], input_shape=3, seed=0)
    program = build(inference_graph(net, 4), Labels("predict"), exact=False)
    x = np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="no state yet"):
        program(x)
    with pytest.raises(ValueError, match=r"float32 \(5,\): the program takes float32 \(8,\)"):
        program.write_state([np.zeros(5, np.float32)])
    with pytest.raises(ValueError, match="aligned and in C order"):
        program.write_state([np.zeros(16, np.float32)[::2]])
    program.write_state([net.parameters.flat])
    np.testing.assert_allclose(program(x)[0], net.predict(x), rtol=1e-6)


NUMBERS = {
    "n": lambda x, n, m: n,
    "n + m": lambda x, n, m: (x * 2, n + m, n, 2 * m),
    "n - m": lambda x, n, m: n - m,
    "n * m": lambda x, n, m: n * m,
    "n / m": lambda x, n, m: n / m,
    "n // m": lambda x, n, m: (n // m, n % m),
    "n ** m": lambda x, n, m: n**m,
    "-n": lambda x, n, m: (-n, abs(n), +n),
    "x * (n + m)": lambda x, n, m: x * (n + m),
    "x * (n * m)": lambda x, n, m: x * (n * m),
    "x * n**m": lambda x, n, m: x * n**m,
    "x * -n": lambda x, n, m: x * -n,
    "x * abs(n)": lambda x, n, m: x * abs(n),
    "x * (n // m)": lambda x, n, m: x * (n // m),
}
WHOLE = [(3, 2), (-7, 2), (7, -2), (0, -1), (2, 62), (2, 63), (2, 70), (2**40, 3), (5, 0),
         (2**63 - 1, 1), (-(2**63), -1), (-(2**63), 1), (2**62, 2), (2**70, 1)]  # fmt: skip
REAL = [
    (2.5, 2.0),
    (-7.5, 2.0),
    (7.5, -2.0),
    (1e200, 1e200),
    (-2.5, 0.5),
    (2.5, 0.0),
    (np.nan, 1.0),
]


def outcome(function, args):
    """What a function gives, or the type of what it raises."""
    try:
        with np.errstate(all="ignore"):
            return function(*args)
    except ArithmeticError as error:
        return type(error)


@pytest.mark.parametrize("what", NUMBERS)
def test_numbers_are_those_of_python_also_where_c_has_none(what):
    function, x = NUMBERS[what], np.array([1.0, -0.5])
    compiled = cr.compile(function, engine="c")
    for n, m in (*WHOLE, *REAL):
        wanted, found = (outcome(f, (x, n, m)) for f in (function, compiled))
        if isinstance(wanted, type):
            assert found is wanted
            continue
        for one, other in zip(tree.flatten(wanted), tree.flatten(found), strict=True):
            assert type(one) is type(other), (n, m)
            if isinstance(one, int):
                assert one == other
            else:
                np.testing.assert_allclose(other, one, rtol=1e-14, err_msg=f"of {n}, {m}")
    assert compiled.engine == "c"


def test_a_result_that_is_a_part_of_the_state_is_read_where_the_state_stands_now():
    w, x = Variable((2, 3), np.dtype(float), "w"), Variable((3,), np.dtype(float), "x")
    graph, _ = trace(lambda w, x: (w.T[1:], w @ x), [w, x])
    program = build(replace(graph, inputs=graph.inputs[1:], state=graph.inputs[:1]), Labels("f"))
    for number in range(2):
        state, x = np.arange(6.0).reshape(2, 3) + number, np.ones(3)
        program.write_state([state])
        part, product = program(x)
        np.testing.assert_array_equal(part, state.T[1:])
        np.testing.assert_array_equal(product, state @ x)


class Hesitant(optim.SGD):
    """Smaller steps each time, by a number that outgrows 64 bits at the third."""

    def update(self, parameter, gradient, slots, learning_rate, step):
        return super().update(parameter, gradient, slots, learning_rate + 0.1 / step**40, step)


def test_a_step_that_numpy_takes_for_its_numbers_is_a_step_like_the_others():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    learned, losses = [], []
    for engine in ("numpy", "c"):
        net = nn.Network([nn.Dense(2)], input_shape=3, seed=0, dtype=float)
        step = CompiledStep(net, nn.losses.squared_error, Hesitant(0.1, momentum=0.9), (), engine)
        batches = Batches((x, y), 4, None)
        batches.begin(None, [0.1] * 5, 1)
        while not batches.is_done:
            step.run(batches, None, np.inf, [])
        assert step.engine == engine
        learned.append(step.read_state().flat.copy())
        losses.append(batches.losses)
    np.testing.assert_allclose(*learned, rtol=1e-13)
    np.testing.assert_allclose(*losses, rtol=1e-13)


def misaligned(array):
    """An equal array that begins between two of its elements' places."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    found = memory[1:].view(array.dtype).reshape(array.shape)
    found[...] = array
    assert not found.flags.aligned
    return found


@pytest.mark.parametrize("change", [misaligned, np.asfortranarray, lambda a: a[::-1].copy()[::-1]])
def test_samples_that_lie_otherwise_give_the_same(change):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 2))
    learned = []
    for inputs in (x, change(x)):
        net = nn.Network([nn.Dense(4), nn.Tanh(), nn.Dense(2)], input_shape=3, seed=0, dtype=float)
        step = CompiledStep(net, nn.losses.squared_error, optim.SGD(0.1), (), "c")
        batches = Batches((inputs, y), 4, None)
        batches.begin(None, [0.1] * 3, 1)
        while not batches.is_done:
            step.run(batches, None, np.inf, [])
        learned.append(step.read_state().flat.copy())
    np.testing.assert_array_equal(*learned)
