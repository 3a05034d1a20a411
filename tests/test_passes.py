"""Each pass simplifies what it says it does, and leaves every result as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chainrule as cr
from chainrule.compiler import passes, scales
from chainrule.compiler.dead_code import remove_dead_code
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.code import show_value
from chainrule.engines.numpy.program import build
from chainrule.scope import scope

F64 = np.dtype(np.float64)


def traced(function, *shapes) -> Graph:
    inputs = [Variable(shape, F64, f"x{i}") for i, shape in enumerate(shapes)]
    return trace(function, inputs)[0]


def names_of(graph: Graph) -> list[str]:
    return [equation.primitive.name for equation in graph.equations]


def run(graph: Graph, *arrays, passes=()):
    return build(graph, Labels("f"), passes=passes).function(*arrays)


def test_dead_code_goes_and_constants_with_it():
    unused = np.arange(3.0)

    def function(x):
        np.exp(x) * unused
        return np.sin(x)

    graph = remove_dead_code(traced(function, (3,)))
    assert names_of(graph) == ["sin"]
    assert not graph.constants


def test_common_subexpressions_are_computed_once():
    graph = traced(lambda x: np.sin(x) * np.sin(x) + np.sum(x, axis=0) * np.sum(x, axis=1), (2, 2))
    merged = passes.merge_common_subexpressions(graph)
    assert names_of(merged).count("sin") == 1
    assert names_of(merged).count("sum") == 2  # other parameters, another value


def test_numbers_of_equal_value_and_another_type_are_not_the_same():
    merged = passes.merge_common_subexpressions(traced(lambda x: (x > 1) == (x > True), (2,)))
    assert names_of(merged).count("greater") == 2


def test_uniform_constants_become_numbers():
    graph = passes.fold_constants(traced(lambda x: x * np.full(3, 0.25), (3,)))
    assert graph.equations[0].args[1] == 0.25
    assert not graph.constants


def test_a_constant_that_gives_the_result_its_shape_or_dtype_stays():
    assert passes.fold_constants(traced(lambda x: x * np.full(3, 0.25), ())).constants
    single = trace(lambda x: x * np.full(3, 0.25), [Variable((3,), np.dtype(np.float32), "x")])[0]
    assert passes.fold_constants(single).constants


def test_broadcasts_before_elementwise_functions_go():
    graph = traced(lambda x, y: np.broadcast_to(x, (2, 3)) + y, (3,), (2, 3))
    assert names_of(passes.drop_broadcasts(graph)) == ["add"]
    kept = traced(lambda x, y: np.broadcast_to(x, (2, 3)) + y, (3,), (3,))
    assert names_of(passes.drop_broadcasts(kept)) == ["broadcast_to", "add"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: np.exp(x * 1), ["exp"]),
        (lambda x: x * 1, ["multiply"]),  # the result is another array than x
        (lambda x: np.exp(1.0 * x / 1), ["exp"]),
        (lambda x: np.exp((x - 0) ** 1), ["exp"]),
        (lambda x: np.reshape(np.reshape(x, (6,)), (3, 2)), ["reshape"]),
        (lambda x: np.exp(x) + -np.sin(x), ["exp", "sin", "subtract"]),
        (lambda x: np.exp(x) - -np.sin(x), ["exp", "sin", "add"]),
        (lambda x: x + x, ["multiply"]),
        (lambda x: x * x, ["square"]),
        (lambda x: x**2, ["square"]),
        (lambda x: x * 0, ["multiply"]),  # NaN and infinity must come through
        (lambda x: x + 0, ["add"]),  # -0.0 + 0 is 0.0
    ],
)
def test_algebra_is_exact(function, expected):
    graph = traced(function, (2, 3))
    simpler = passes.simplify_algebra(graph)
    assert names_of(simpler) == expected
    x = np.array([[np.inf, -0.0, 1e300], [-2.5, np.nan, 3.0]])
    with np.errstate(all="ignore"):
        before, after = run(graph, x), run(simpler, x)
    np.testing.assert_array_equal(before, after)
    numbers = ~np.isnan(before)
    np.testing.assert_array_equal(np.signbit(before[numbers]), np.signbit(after[numbers]))


def test_scales_meet_before_the_array():
    graph = scales.merge_scales(traced(lambda x: 0.5 * (x / 4) * 3, (3,)))
    assert names_of(graph) == ["multiply"]
    assert graph.equations[0].args[0] == 0.375


def test_a_total_of_sums_is_one_sum():
    graph = traced(lambda x: np.sum(0.5 * np.sum(np.exp(x), axis=1)) / 4, (4, 3))
    simpler = remove_dead_code(scales.merge_sums(graph))
    assert names_of(simpler).count("sum") == 1
    x = np.arange(12.0).reshape(4, 3) / 10
    np.testing.assert_allclose(run(simpler, x), run(graph, x), rtol=1e-14)


def test_a_total_sees_through_a_reshape():
    graph = traced(lambda x: np.mean(0.5 * np.sum(np.square(x), axis=1)), (4, 1))
    assert names_of(passes.run_passes(graph, scales.TRAINING)) == ["vdot", "divide"]


@pytest.mark.parametrize("number", [0.001, 1 / 96, 0.3, 2.5, 1e-8, -0.7])
def test_a_constant_is_the_number_that_was_rounded(number):
    x = Variable((3,), np.dtype(np.float32), "x")
    constant = np.full(3, number, np.float32)
    graph = passes.fold_constants(trace(lambda x: x * constant, [x])[0])
    assert graph.equations[0].args[1] == number


@settings(max_examples=200, deadline=None)
@given(st.floats(width=32, allow_nan=False))
def test_a_folded_constant_is_the_same_in_its_dtype(number):
    constant = np.full(2, number, np.float32)
    x = Variable((2,), np.dtype(np.float32), "x")
    graph = passes.fold_constants(trace(lambda x: x * constant, [x])[0])
    assert np.float32(graph.equations[0].args[1]) == constant[0]


@pytest.mark.parametrize(
    ("number", "n"),
    [(1 / 64, 64), (1 / 192, 192), (0.25, 4), (0.5, None), (0.1, None), (0.001, None),
     (0.005, None), (0.3, None), (0.123456, None), (1e-8, None), (64, None)],
)  # fmt: skip
def test_numbers_that_read_better_as_a_divisor(number, n):
    assert scales.divisor_of(number) == n


@settings(max_examples=200, deadline=None)
@given(st.floats(0, 2) | st.integers(1, 10**6).map(lambda n: 1 / n))
def test_a_number_is_written_as_what_it_is(number):
    for value in (number, -number, 1 - number):
        assert eval(show_value(value)[0]) == value


def test_a_scale_moves_through_a_choice():
    def leaky(w, x):
        gradient = cr.grad(lambda w: np.sum(np.square(cr.primitives.leaky_relu(x @ w))) / 4)(w)
        with scope(section="update"):
            return w - 0.1 * gradient

    graph = passes.run_passes(traced(leaky, (3, 2), (4, 3)), scales.TRAINING)
    assert [e.primitive.name for e in graph.equations if e.section == "update"] == ["subtract"]
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((3, 2)), rng.standard_normal((4, 3))
    np.testing.assert_allclose(run(graph, w, x), leaky(w, x), rtol=1e-14)


def descent(w, x):
    """One step of gradient descent, as the training step is sectioned."""
    gradient = cr.grad(lambda w: np.sum(np.tanh(x @ w)) / 4)(w)
    with scope(section="update"):
        return w - 0.1 * gradient


def test_the_learning_rate_moves_to_the_start_of_the_reverse_pass():
    graph = passes.run_passes(traced(descent, (3, 2), (4, 3)), scales.TRAINING)
    update = [e.primitive.name for e in graph.equations if e.section == "update"]
    assert update == ["subtract"]


def test_a_scale_stays_where_its_gradient_is_read_elsewhere():
    def with_norm(w, x):
        gradient = cr.grad(lambda w: np.sum(np.tanh(x @ w)) / 4)(w)
        with scope(section="update"):
            return w - 0.1 * gradient, np.sum(gradient**2)

    graph = passes.run_passes(traced(with_norm, (3, 2), (4, 3)), scales.TRAINING)
    update = [e.primitive.name for e in graph.equations if e.section == "update"]
    assert "multiply" in update


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(scales.TRAINING), max_size=6), st.integers(0, 2**32))
def test_any_passes_in_any_order_leave_the_result(some, seed):
    rng = np.random.default_rng(seed)
    w, x = rng.standard_normal((3, 2)), rng.standard_normal((4, 3))
    graph = traced(descent, (3, 2), (4, 3))
    expected = descent(w, x)
    np.testing.assert_allclose(run(graph, w, x, passes=some), expected, rtol=1e-12, atol=1e-14)
