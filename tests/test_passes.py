"""Each pass simplifies what it says it does, and leaves every result as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import difference

import chainrule as cr
from chainrule.compiler import passes, scales
from chainrule.compiler.dead_code import remove_dead_code
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.groups import group_equations
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


# Where a condition of a rewrite does not hold


F32, ONES = np.float32, np.ones(3)
NUMBER = 2.0
TRUE, UINTS = np.full(3, True), np.array([1, 2, 255], np.uint8)
EXACT_CASES = [
    (lambda x: x > np.full(3, 0.1), np.full(3, 0.1, F32)),
    (lambda x: x * np.full(3, 0.1, F32), ONES),
    (lambda x: x * np.array([0.0, -0.0, 0.0]), -ONES),
    (lambda x: x * np.array([1.0, 2.0, 3.0]), ONES),
    (lambda x: x * np.full(3, 0.1234567890123), ONES),
    (lambda x: np.where(x > 2, x, np.full(3, 0.1, F32)), ONES.astype(F32)),
    (lambda x: x**2.0, np.arange(3)),
    (lambda x: np.exp(x.astype(F32)), ONES),
    (lambda x: 1 / (x + 0), -0 * -ONES),
    (lambda x: 1 / (x + 0), np.array([-0.0, 1.0])),
    (lambda x: 1 / (x - (-0.0)), np.array([-0.0, 1.0])),
    (lambda x, u: np.exp(x + -u), ONES, np.array([1, 2, 3], np.uint8)),
    (lambda s, x: np.multiply(s, 1) * x, NUMBER, ONES.astype(F32)),
    (lambda s, x: (s * 3) * x + np.multiply(s, 3) * x, NUMBER, ONES.astype(F32)),
    (lambda x: (a := np.exp(x), a * 1), ONES),
    (lambda x: (np.reshape(x * 1, (3, 1)), x), ONES),
    (lambda u: (u + -(3 * u), u - -(3 * u), u * u, u + u), np.array([1, 200, 255], np.uint8)),
    (lambda i: (i + -(3 * i), i - -(3 * i), i * i, i + i), np.array([1, -128, 127], np.int8)),
    (lambda b: (b * b, b + b), np.array([True, False])),
    (lambda x, u: (x * TRUE, x**TRUE, u + TRUE, u / TRUE, x > TRUE), ONES, UINTS),
]


def traced_with(function, args) -> Graph:
    """The graph of a function for these arguments."""
    inputs = [
        Variable.number(type(a), f"x{i}")
        if isinstance(a, int | float)
        else Variable(a.shape, a.dtype, f"x{i}")
        for i, a in enumerate(args)
    ]
    return trace(function, inputs)[0]


@pytest.mark.parametrize(("function", "args"), [(case[0], case[1:]) for case in EXACT_CASES])
def test_rewrites_keep_every_bit(function, args):
    graph = traced_with(function, args)
    with np.errstate(all="ignore"):
        expected = function(*args)
        found = build(graph, Labels("f"))(*args)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for ours, wanted in zip(found, expected, strict=True):
        assert difference(wanted, ours) is None
    kept = [array for array in found if any(array is a for a in args)]
    assert len({id(array) for array in found}) == len(found)
    assert len(kept) == sum(any(array is a for a in args) for array in expected)


def test_a_constant_in_a_choice_is_the_number_that_was_rounded():
    graph = passes.fold_constants(traced_with(EXACT_CASES[5][0], EXACT_CASES[5][1:]))
    assert graph.equations[-1].args[2] == 0.1


def test_a_copy_of_a_result_stays_a_copy():
    assert names_of(passes.simplify_algebra(traced(lambda x: np.reshape(x, (2, 3)), (2, 3)))) == []
    copies = passes.simplify_algebra(traced(lambda x: (a := np.exp(x), a * 1), (2,)))
    assert names_of(copies) == ["exp", "multiply"]
    views = passes.simplify_algebra(traced(lambda x: np.reshape(x * 1, (2, 1)), (2,)))
    assert names_of(views) == ["multiply", "reshape"]


def test_draws_are_neither_merged_nor_dropped():
    draw = cr.primitives.PRIMITIVES["random_uniform"]

    def last_of_three(rng):
        return [draw(rng, shape=(2,), dtype=F64) for _ in range(3)][-1]

    graph, _ = trace(last_of_three, [Variable.generator("rng")])
    for one_pass in passes.EXACT:
        assert names_of(one_pass(graph)) == ["random_uniform"] * 3


TRAINING_CASES = [
    (lambda x: 2.0 * np.sum(x, axis=0), np.ones((4, 3))),
    (lambda x: np.sum(x, axis=0) + 1.5, np.ones((1, 3), np.int8)),
    (lambda x: 1e-30 * (1e-30 * x), np.full(3, 1e38, F32)),
    (lambda x: 1e30 * (1e30 * x), np.full(3, 1e-37, F32)),
    (lambda x: np.exp(x / 0.0), -ONES),
    (lambda x: np.sum(0.5 * x), np.array([True, False, True])),
    (lambda x: np.sum(x / 2), np.array([3, 4, 6])),
    (lambda x: np.sum(0.5 * x, axis=0), np.ones((4, 3))),
    (lambda x: np.sum(np.sum(x, axis=0)), np.ones((4, 3), bool)),
]


@pytest.mark.parametrize(("function", "args"), [(case[0], case[1:]) for case in TRAINING_CASES])
def test_rewrites_of_a_training_step_keep_numbers_and_dtypes(function, args):
    graph = traced_with(function, args)
    with np.errstate(all="ignore"):
        expected = function(*args)
        (found,) = build(graph, Labels("f"), exact=False)(*args)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.all(np.isfinite(expected))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: np.sum(0.25 * x), ["sum", "divide"]),
        (lambda x: np.sum(1e3 * x), ["multiply", "sum"]),  # the sum would be nearer to underflow
        (lambda x: np.sum(1e-4 * x), ["multiply", "sum"]),  # and here to overflow
        (lambda x: (np.sum(a := np.sum(x, axis=0)), a), ["sum", "sum"]),
        (lambda x: (np.sum(a := np.square(x)), a), ["square", "sum"]),
    ],
)
def test_sums_run_through_what_only_they_read(function, expected):
    graph = scales.merge_sums(traced(function, (4, 3)))
    assert names_of(graph) == expected
    if len(graph.outputs) == 2:
        assert graph.equations[1].args[0] is graph.equations[0].out


def test_whole_numbers_are_summed_as_they_are():
    graph = trace(lambda x: np.sum(1 * x), [Variable((3,), np.dtype(int), "x")])[0]
    assert names_of(passes.run_passes(graph, [scales.merge_sums])) == ["multiply", "sum"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_scale_stays_where_its_gradient_is_returned_or_small(dtype):
    def returned(w, x):
        gradient = cr.grad(lambda w: np.sum(np.tanh(x @ w)) / 4)(w)
        with scope(section="update"):
            return w - 0.1 * gradient, gradient

    inputs = [Variable(shape, np.dtype(dtype)) for shape in ((3, 2), (4, 3))]
    for function in (returned, descent):
        graph = passes.run_passes(trace(function, inputs)[0], scales.TRAINING)
        update = [e.primitive.name for e in graph.equations if e.section == "update"]
        is_moved = function is descent and dtype is np.float32
        assert ("multiply" in update) == (not is_moved)


@pytest.mark.parametrize(
    "changed",
    [
        lambda w, g: g + w,
        lambda w, g: w - g,
        lambda w, g: np.where(w > 0, g, 1.0),
        lambda w, g: np.where(w > 0, g, w),
        lambda w, g: np.where(g > 0, g, 0.0),
        lambda w, g: w / g,
        lambda w, g: g / w,
        lambda w, g: np.exp(g),
        lambda w, g: g * g,
        lambda w, g: g / g,
        lambda w, g: g @ g.T @ w,
        lambda w, g: w * g,
    ],
)
def test_a_scale_moves_only_through_what_is_linear(changed):
    def step(w, x):
        gradient = cr.grad(lambda w: np.sum(np.tanh(x @ w)) / 4)(w)
        with scope(section="backward"):
            gradient = changed(w, gradient)
        with scope(section="update"):
            return w - 0.1 * gradient

    graph = passes.run_passes(traced(step, (3, 2), (4, 3)), scales.TRAINING)
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((3, 2)), rng.standard_normal((4, 3))
    np.testing.assert_allclose(run(graph, w, x), step(w, x), rtol=1e-12)


def update_of(step, *shapes) -> list[str]:
    graph = passes.run_passes(traced(step, *shapes), scales.TRAINING)
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in shapes]
    np.testing.assert_allclose(run(graph, *arrays), step(*arrays), rtol=1e-12)
    return [e.primitive.name for e in graph.equations if e.section == "update"]


def test_a_factor_within_the_reverse_pass_stays():
    """It would be moved in the place of the learning rate."""

    def step(w, x):
        gradient = cr.grad(lambda w: np.sum(np.tanh(np.sin(3.0 * (x @ w)))) / 4)(w)
        with scope(section="update"):
            return w - 0.1 * gradient

    assert update_of(step, (3, 2), (4, 3)) == ["subtract"]


def test_a_scale_on_a_value_without_axes_stays():
    def step(b, x):
        gradient = cr.grad(lambda b: np.sum(np.tanh(np.sin(x + b))) / 4)(b)
        with scope(section="update"):
            return b - 0.1 * gradient

    assert update_of(step, (), (4, 3)) == ["multiply", "subtract"]


def test_only_the_last_product_of_a_rule_is_where_the_reverse_pass_starts():
    """The first, 2 * x, is read by the next rule too, which is not linear in it."""
    first = cr.custom_vjp(lambda g, out, x: g * 0.25 * np.tanh(2.0 * x) * 0.5)(
        lambda x: np.sum(np.sin(x))
    )
    second = cr.custom_vjp(lambda g, out, x: g * (2.0 * out))(lambda x: np.exp(x))

    def step(w, x):
        gradient = cr.grad(lambda w: first(second(x @ w)))(w)
        with scope(section="update"):
            return w - 0.1 * gradient

    assert update_of(step, (3, 2), (4, 3)) == ["subtract"]


def test_a_scale_that_is_computed_from_numbers_moves_with_them():
    def step(w, x, rate):
        gradient = cr.grad(lambda w: np.sum(np.tanh(x @ w)) / 4)(w)
        with scope(section="update"):
            return w - (rate * rate) * gradient, (rate * rate) * w

    rng = np.random.default_rng(0)
    args = rng.standard_normal((3, 2)), rng.standard_normal((4, 3)), 0.1
    graph = passes.run_passes(traced_with(step, args), scales.TRAINING)
    arrays = [e.name for e in graph.equations if e.section == "update" and e.out.is_array]
    assert arrays == ["subtract", "multiply"]
    assert [e.name for e in graph.equations if e.out.is_number] == ["multiply", "divide"]
    for ours, wanted in zip(run(graph, *args), step(*args), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-12)


def test_a_product_of_numbers_stays_pythons_own():
    args = 3.0, np.ones(3)
    graph = traced_with(lambda s, x: (s * s + s) * x, args)
    assert names_of(passes.simplify_algebra(graph)) == names_of(graph)


def test_a_group_knows_the_space_it_is_computed_over():
    graph = traced(lambda x, y: np.sum(np.tanh(x + y), axis=1), (4, 1), (3,))
    (group,) = group_equations(graph, set())
    assert group.space == (4, 3)
