"""A loop over time as one operation, beside the same cell called step after step."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import numpy as np
import pytest

import chainrule as cr
from chainrule import primitives, tree
from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.passes import run_passes
from chainrule.compiler.recording import TracedValueError
from chainrule.compiler.scales import TRAINING
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.program import build
from chainrule.loop import loop


def written(cell, carry, xs, constants=(), names=()):
    """What `loop` gives, with a loop written out."""
    carry, ys = tuple(carry), []
    kept = [carry]
    for t in range(len(xs[0])):
        carry, given = cell(carry, tuple(x[t] for x in xs), tuple(constants))
        kept.append(carry)
        ys.append(given)
    return tuple(map(np.stack, zip(*kept))), tuple(map(np.stack, zip(*ys)))


CASES = {}


def case(*shapes):
    """A function of a loop and of arrays of these shapes, in which T is the number of steps."""

    def add(f):
        CASES[f.__name__] = (f, shapes)
        return f

    return add


def arrays_of(name, n_steps=4, dtype="float64"):
    rng = np.random.default_rng(n_steps)
    return tuple(
        rng.standard_normal([n_steps if n == "T" else n for n in shape]).astype(dtype)
        for shape in CASES[name][1]
    )


def with_loop(name, a_loop=loop):
    """The function of a case, of arrays alone."""
    return lambda *arrays: CASES[name][0](a_loop, *arrays)


def scalar(f):
    return lambda *arrays: sum(np.sum(np.sin(o)) for o in tree.flatten(f(*arrays)))


def tanh_cell(carry, x, constants):
    (h,) = carry
    h = np.tanh(h * constants[0] + x[0])
    return (h,), (h * x[0],)


@case((3,), ("T", 3), (3,))
def trajectory(loop, h, x, w):
    return loop(tanh_cell, [h], [x], [w])[0][0]


@case((3,), ("T", 3), (3,))
def last(loop, h, x, w):
    return loop(tanh_cell, [h], [x], [w])[0][0][-1]


@case((3,), ("T", 3), (3,))
def ys_alone(loop, h, x, w):
    return loop(tanh_cell, [h], [x], [w])[1]


@case((3,), ("T", 3), (3,))
def trajectory_last_and_ys(loop, h, x, w):
    (states,), (ys,) = loop(tanh_cell, [h], [x], [w], ("h", "x"))
    return states * 2, states[-1], ys, ys[0]


@case((3,), (2,), ("T", 3), ("T", 2, 3), (3, 2), ())
def several_of_all(loop, a, b, x, y, w, scale):
    def cell(carry, xs, constants):
        a, b = carry
        x, y = xs
        w, scale = constants
        return (np.tanh(a + x * scale + w @ b), np.sin(b) + y @ a * 0.1), (a @ x, b)

    return loop(cell, [a, b], [x, y], [w, scale], ("a", "b", "x"))


@case((), ("T",), ())
def numbers_without_axes(loop, h, x, w):
    def cell(carry, x, constants):
        (h,) = carry
        h_next = np.tanh(np.abs(h) ** 2.5 * 0.1 + h**3 + np.abs(x[0]) * constants[0])
        return (h_next,), (h, h * x[0])

    return loop(cell, [h], [x], [w])


@case((3,), ("T", 3), (3,))
def nested_of_equal_names(loop, h, x, w):
    def inner(carry, x, constants):
        (h,) = carry
        return (np.tanh(h * x[0] + constants[0]),), (h * 2.0,)

    def outer(carry, x, constants):
        (h,) = carry
        (states,), (ys,) = loop(
            inner, [h * 0.5], [np.stack([x[0], x[0] + h])], constants, ("h", "x")
        )
        return (np.sin(states[-1] + h),), (h + ys.sum(axis=0),)

    return loop(outer, [h], [x], [w], ("h", "x"))


@case((3,), ("T", 3), (3,))
def two_of_unequal_lengths(loop, h, x, w):
    """Both compute tanh(w) at each step, and the second makes more steps."""

    def cell(carry, x, constants):
        (h,) = carry
        return (np.tanh(h * np.tanh(constants[0]) + x[0]),), ()

    first = loop(cell, [h], [x], [w])[0][0]
    return first, loop(cell, [first[-1]], [np.concatenate([x, x])], [w])[0][0]


@case((2, 3), ("T", 2, 3), (3, 3))
def stacked(loop, h, x, w):
    def cell(carry, x, constants):
        (h,) = carry
        return (np.tanh(h @ constants[0] + x[0]),), ()

    below = loop(cell, [h], [x], [w], ("h", "z"))[0][0]
    above = loop(cell, [h], [below[1:] @ w], [w], ("h", "z"))[0][0]
    backwards = loop(cell, [h], [below[1:][::-1]], [w], ("h", "z"))[0][0]
    return above[-1], backwards


@case((3,), (3,), ("T", 3))
def swapped_and_given_twice(loop, a, b, x):
    def cell(carry, x, _):
        a, b = carry
        return (b, a + x[0]), (a, a, x[0], b)

    return loop(cell, [a, b], [x])


@case((2, 3), (3, 2), ("T", 4), (5,))
def views_of_inputs(loop, a, b, x, w):
    def cell(carry, x, constants):
        a, b = carry
        return (b.T, np.reshape(a, (3, 2))), (x[0][::-1], constants[0][1:3], a[:, :1])

    return loop(cell, [a, b], [x], [w])


@case((3, 2), ("T", 3, 2))
def views_of_results(loop, h, x):
    def cell(carry, x, _):
        (h,) = carry
        new = np.tanh(h + x[0])
        return (new[::-1],), (new.T, new[:, 0])

    return loop(cell, [h], [x])


@case((3,), ("T", 3), ("T", 2), (2,))
def unused(loop, h, x, y, w):
    def cell(carry, x, constants):
        return (carry[0] * 1.5,), ()

    return loop(cell, [h], [x, y], [w])[0]


@case((3,), (3,), ("T", 3))
def a_carry_nobody_reads(loop, a, b, x):
    def cell(carry, x, _):
        a, b = carry
        return (np.tanh(a + x[0]), b * a), (a,)

    return loop(cell, [a, b], [x])[0][0]


@case(("T", 3), (3,))
def no_carry(loop, x, w):
    return loop(lambda carry, x, constants: ((), (np.sin(x[0]) * constants[0],)), [], [x], [w])[1]


@case((3,), ("T", 3))
def a_count_as_carry(loop, h, x):
    def cell(carry, x, _):
        h, n = carry
        count = n.astype(h.dtype)
        return (np.tanh(h * x[0] + count), n + 1), (h / (count + 1.0),)

    (states, _), ys = loop(cell, [h, np.array(0)], [x])
    return states, ys


@case((3,), (3, 3), ("T", 3))
def indices_and_masks(loop, h, w, x):
    n = len(x)
    indices, masks = np.arange(n) % 3, np.arange(3 * n).reshape(n, 3) % 2 == 0

    def cell(carry, x, constants):
        (h,), (i, mask, x) = carry, x
        return (np.where(mask, np.tanh(h + constants[0][i]), h * x),), (np.take(h, i),)

    return loop(cell, [h], [indices, masks, x], [w])


@case(("T", 3))
def infinite_start(loop, x):
    def cell(carry, x, _):
        return (np.minimum(carry[0], x[0]),), ()

    return loop(cell, [np.full(3, np.inf).astype(x.dtype)], [x])[0][0][1:]


@case((30,), ("T", 30))
def constants_inside(loop, h, x):
    rng = np.random.default_rng(0)
    large = rng.standard_normal((30, 30)).astype(x.dtype)
    small = np.linspace(0, 1, 30, dtype=x.dtype)

    def cell(carry, x, _):
        return (np.tanh(carry[0] @ large * 0.1 + x[0] + small),), (np.ones(2, x[0].dtype),)

    return loop(cell, [h], [x])


@case((3,), ("T", 3), (3,))
def a_gradient_inside(loop, h, x, w):
    slope = cr.grad(lambda u, x, w: np.sum(np.sin(u * x) * w))

    def cell(carry, x, constants):
        (h,) = carry
        g = slope(h, x[0], constants[0])
        return (h - 0.1 * g,), (g,)

    return loop(cell, [h], [x], [w])


@cr.custom_vjp(lambda g, out, x: 2 * g * np.cos(x))
def doubled(x):
    return np.sin(x)


@case((3,), ("T", 3))
def a_rule_inside(loop, h, x):
    return loop(lambda carry, x, _: ((doubled(carry[0] * 0.4) + x[0],), ()), [h], [x])[0]


@case((3,), (3,), ("T", 3), ("T", 3), (3,))
def hostile_names(loop, t, h, np_, x, loop_1):
    def cell(carry, x, constants):
        t, h = carry
        return (np.tanh(t + h * x[0]), np.sin(h) * constants[0]), (t * x[1],)

    names = ("t", "np", "range", "scratch_1")
    states, ys = loop(cell, [t, h], [np_, x], [loop_1], names)
    more = loop(cell, [t, h], [*(s[1:] for s in states)], [loop_1], ("h", "for", "t", "loop_1"))
    return states, ys, more


def assert_close(found, expected, rtol=1e-9, atol=1e-12):
    found, expected = tree.flatten(found), tree.flatten(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (np.shape(a), np.result_type(a)) == (np.shape(b), np.result_type(b))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)


def assert_equal(found, expected):
    found, expected = tree.flatten(found), tree.flatten(expected)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert a.tobytes() == b.tobytes()


def every(name):
    return tuple(range(len(CASES[name][1])))


# Eager


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("n_steps", [1, 2, 7])
@pytest.mark.parametrize("name", CASES)
def test_a_loop_is_what_is_written_out(name, n_steps, dtype):
    arrays = arrays_of(name, n_steps, dtype)
    before = [a.copy() for a in arrays]
    found = with_loop(name)(*arrays)
    assert_equal(found, with_loop(name, written)(*arrays))
    assert_equal(arrays, before)
    for result in tree.flatten(found):
        assert not any(np.may_share_memory(result, a) for a in arrays)


@pytest.mark.parametrize("n_steps", [1, 4])
@pytest.mark.parametrize("name", CASES)
def test_gradients_of_every_argument(name, n_steps):
    arrays, n = arrays_of(name, n_steps), every(name)
    found = cr.grad(scalar(with_loop(name)), n)(*arrays)
    assert_close(found, cr.grad(scalar(with_loop(name, written)), n)(*arrays))
    for position in n:  # and by each alone
        alone = cr.grad(scalar(with_loop(name)), position)(*arrays)
        assert_close(alone, found[position])


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_higher_order_and_forward(name):
    arrays = arrays_of(name, 3)
    vectors = tuple(np.cos(a) for a in arrays)
    f, g = with_loop(name), with_loop(name, written)
    assert_close(cr.hvp(scalar(f), arrays, vectors), cr.hvp(scalar(g), arrays, vectors))
    if name != "a_count_as_carry":
        assert_close(cr.jvp(f, arrays, vectors), cr.jvp(g, arrays, vectors))
    assert_close(cr.jacobian(scalar(f))(*arrays), cr.jacobian(scalar(g))(*arrays))


@pytest.mark.parametrize("name", ["several_of_all", "numbers_without_axes", "stacked"])
def test_against_differences(name):
    cr.check_grads(scalar(with_loop(name)), arrays_of(name, 3), order=2)


def test_jacobians():
    arrays = arrays_of("trajectory_last_and_ys", 3)
    for position in range(3):
        found = cr.jacobian(with_loop("trajectory_last_and_ys"), position)(*arrays)
        expected = cr.jacobian(with_loop("trajectory_last_and_ys", written), position)(*arrays)
        assert_close(found, expected)


def test_parameters_and_backward():
    h, x, w = arrays_of("trajectory_last_and_ys")
    h_, x_, w_ = map(cr.parameter, (h, x, w))
    f = scalar(with_loop("trajectory_last_and_ys"))
    f(h_, x_, w_).backward()
    assert_close((h_.grad, x_.grad, w_.grad), cr.grad(f, (0, 1, 2))(h, x, w))
    f(h_, x, w).backward()  # by one of them alone
    assert_close(h_.grad, cr.grad(f)(h, x, w))


def test_a_pullback_reads_its_cotangent_at_each_call():
    h, x, w = arrays_of("trajectory")
    out, pull = cr.vjp(with_loop("trajectory"), h, x, w)
    g = np.zeros_like(out)
    assert not pull(g)[0].any()
    g[:] = 1
    assert_equal(pull(g), pull(np.ones_like(out)))


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_what_is_changed_before_the_backward_pass_is_refused(changed):
    arrays = list(arrays_of("trajectory"))
    arrays[(changed + 1) % 3] = cr.parameter(arrays[(changed + 1) % 3])
    loss = with_loop("trajectory")(*arrays).sum()
    arrays[changed][...] = 2
    with pytest.raises(ValueError, match="was changed between the forward pass"):
        loss.backward()


def test_a_loop_is_looked_at_for_what_is_not_finite():
    def f(h, x):
        return loop(lambda carry, x, _: ((carry[0] / x[0],), ()), [h], [x])[0][0][-1].sum()

    with (
        np.errstate(all="ignore"), cr.detect_nonfinite(),
        pytest.raises(cr.NonFiniteError, match="loop made inf in the forward pass"),
    ):  # fmt: skip
        cr.grad(f)(np.ones(3), np.array([1.0, 0.0]))


def test_lists_and_numbers_become_arrays():
    def cell(carry, x, constants):
        return (carry[0] + x[0] * constants[0],), (1.0, carry[0] > 1)

    (states,), (ones, large) = loop(cell, [0.0], [[1.0, 2.0, 3.0]], [2])
    np.testing.assert_array_equal(states, [0.0, 2.0, 6.0, 12.0])
    np.testing.assert_array_equal(ones, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(large, [False, True, True])
    slope = cr.grad(lambda c: loop(cell, [0.0], [[1.0, 2.0]], [c])[0][0][-1])(2.0)
    assert slope == 3


def test_results_do_not_hang_on_the_order_in_memory():
    def f(h, x, w):
        def cell(carry, x, constants):
            (h,) = carry
            total = np.sum(x[0] * 1.1) + np.sum(constants[0] * 0.3) + np.sum(x[0])
            return (h * 0.5 + x[0][0, 0],), (total, np.sum(h * 1.1), np.sum(h.T * x[0].T, axis=0))

        return loop(cell, [h.T], [np.transpose(x, (1, 2, 0))], [w.T])

    rng = np.random.default_rng(0)
    arrays = tuple(rng.standard_normal(s) for s in ((50, 70), (50, 3, 70), (50, 40)))
    gradient = cr.grad(scalar(f), (0, 1, 2))
    for function in (f, gradient):
        with_order = tuple(np.asfortranarray(a) for a in arrays)
        assert_equal(function(*with_order), function(*arrays))
        assert_equal(cr.compile(function)(*arrays), function(*arrays))
        assert_equal(cr.compile(function)(*with_order), function(*arrays))


# What is refused


GOOD = (np.ones(3), np.ones((4, 3)), np.ones(3))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    ("error", "words", "f"),
    [
        (ValueError, r"of equal length, at least 1, but got \(4, 3\), \(2, 3\)",
         lambda h, x, w: loop(tanh_cell, [h], [x, x[:2]], [w])),
        (ValueError, r"at least 1, but got none", lambda h, x, w: loop(tanh_cell, [h], [], [w])),
        (ValueError, r"at least 1, but got \(\)",
         lambda h, x, w: loop(tanh_cell, [h], [x[0, 0]], [w])),
        (ValueError, r"at least 1, but got \(0, 3\)",
         lambda h, x, w: loop(tanh_cell, [h], [x[:0]], [w])),
        (ValueError, r"got carries .*\(3,\).* but gives .*\(2,\)",
         lambda h, x, w: loop(lambda c, x, k: ((c[0][:2],), ()), [h], [x])),
        (ValueError, r"got carries .*float64.* but gives .*float32",
         lambda h, x, w: loop(lambda c, x, k: ((c[0].astype("f4"),), ()), [h], [x])),
        (ValueError, "a step must give what the next one takes",
         lambda h, x, w: loop(lambda c, x, k: ((c[0], x[0]), ()), [h], [x])),
        (TypeError, r"two tuples.*as in `return \(h,\), \(\)`",
         lambda h, x, w: loop(lambda c, x, k: (c[0], ()), [h], [x])),
        (TypeError, "two tuples", lambda h, x, w: loop(lambda c, x, k: (c[0],), [h], [x])),
        (TypeError, "a carry of a loop is None", lambda h, x, w: loop(tanh_cell, [None], [x], [w])),
        (TypeError, "a constant of a loop is a str",
         lambda h, x, w: loop(tanh_cell, [h], [x], ["w"])),
        (TypeError, "an x of a loop is a masked array",
         lambda h, x, w: loop(tanh_cell, [h], [np.ma.ones((4, 3))], [w])),
        (TypeError, "draw them before the loop",
         lambda h, x, w: loop(tanh_cell, [h], [x], [np.random.default_rng(0)])),
    ],
)  # fmt: skip
def test_what_is_refused(error, words, f, compiled):
    f = cr.compile(f) if compiled else f
    with pytest.raises(error, match=words):
        f(*GOOD)
    if not compiled:
        with pytest.raises(error, match=words):
            cr.grad(scalar(f))(*GOOD)


def test_tensors_that_the_cell_was_not_handed_are_refused():
    def f(w, h, x):
        return loop(lambda c, x, _: ((np.tanh(c[0] * w + x[0]),), ()), [h], [x])[0][0].sum()

    w, h, x = np.ones(3), np.ones(3), np.ones((4, 3))
    for argnums in (0, (0, 1)):
        with pytest.raises(ValueError, match=r"not handed.*shape \(3,\).*among the constants"):
            cr.grad(f, argnums)(w, h, x)
    with pytest.raises(ValueError, match="among the constants"):
        f(cr.parameter(w), h, x)
    for function in (f, cr.grad(f), cr.grad(f, (0, 1))):
        with pytest.raises((ValueError, TracedValueError)):
            cr.compile(function)(w, h, x)
    f(w, h, x)  # plain arrays are what they are


def test_random_draws_in_the_cell_are_refused():
    def f(h, x, rng):
        def cell(carry, x, _):
            mask = primitives.random_uniform(rng, shape=(3,), dtype=np.float64)
            return (carry[0] * mask + x[0],), ()

        return loop(cell, [h], [x])[0][0].sum()

    h, x, rng = np.ones(3), np.ones((4, 3)), np.random.default_rng(0)
    for function in (f, cr.grad(f)):
        with pytest.raises(TypeError, match=r"cell of a loop draws.*before the loop"):
            function(h, x, rng)
        with pytest.raises(TypeError):
            cr.compile(function)(h, x, rng)
    passed_in = cr.compile(lambda h, x, rng: loop(tanh_cell, [h], [x], [rng])[0][0])
    with pytest.raises(TypeError, match="draw them before the loop"):
        passed_in(h, x, rng)

    def drawn_before(h, x, rng):
        masks = primitives.random_uniform(rng, shape=(4, 3), dtype=np.float64)
        return loop(tanh_cell, [h], [x * masks], [h])[0][0]

    compiled = cr.compile(drawn_before)
    for seed in (1, 2):
        found = compiled(h, x, np.random.default_rng(seed))
        assert_equal(found, drawn_before(h, x, np.random.default_rng(seed)))


# Compiled


N_LOOPS = {
    "nested_of_equal_names": 2, "two_of_unequal_lengths": 2, "stacked": 3, "hostile_names": 2,
}  # fmt: skip


def loops_in(source):
    return re.findall(r"^ +for \w+ in (?:reversed\()?range\((\d+)\)+:", source, re.MULTILINE)


@pytest.mark.parametrize(("dtype", "n_steps"), [("float64", 1), ("float32", 5), ("float16", 2)])
@pytest.mark.parametrize("name", CASES)
def test_compiled_is_eager_to_the_bit(name, n_steps, dtype):
    f, arrays = with_loop(name), arrays_of(name, n_steps, dtype)
    compiled = cr.compile(f)
    for _ in range(2):  # memory is there from the first call
        assert_equal(compiled(*arrays), f(*arrays))
    assert len(loops_in(compiled.source)) == N_LOOPS.get(name, 1)
    gradient = cr.grad(scalar(f), every(name))
    compiled = cr.compile(gradient)
    for _ in range(2):
        assert_equal(compiled(*arrays), gradient(*arrays))


@pytest.mark.parametrize("name", CASES)
def test_compiled_second_derivatives_are_eager_to_the_bit(name):
    arrays = arrays_of(name, 3)
    vectors = tuple(np.cos(a) for a in arrays)

    def f(arrays, vectors):
        return cr.hvp(scalar(with_loop(name)), arrays, vectors)

    compiled = cr.compile(f)
    for _ in range(2):
        assert_equal(compiled(arrays, vectors), f(arrays, vectors))


@pytest.mark.parametrize("name", CASES)
def test_a_program_does_not_grow_with_the_number_of_steps(name):
    if name == "indices_and_masks":
        return  # whose arrays of so many numbers stand in the text
    sizes = []
    for n_steps in (5, 200):
        compiled = cr.compile(cr.grad(scalar(with_loop(name)), every(name)))
        compiled(*arrays_of(name, n_steps))
        nodes = [*ast.walk(ast.parse(compiled.source))]
        sizes.append((len([*compiled.graph.all_equations()]), len(nodes)))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("name", CASES)
def test_results_of_a_compiled_loop_belong_to_the_caller(name):
    compiled = cr.compile(with_loop(name))
    first = compiled(*arrays_of(name))
    copies = [a.copy() for a in tree.flatten(first)]
    compiled(*(-2 * a for a in arrays_of(name)))
    assert_equal(tree.flatten(first), copies)


@pytest.mark.parametrize("name", CASES)
def test_the_passes_of_training_change_no_more_than_the_rounding(name):
    arrays = arrays_of(name, 3)
    gradient = cr.grad(scalar(with_loop(name)), every(name))
    variables = [Variable(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]
    graph, _ = trace(gradient, variables)
    program = build(graph, Labels("step"), exact=False)
    for _ in range(2):
        assert_close(program(*arrays), gradient(*arrays), rtol=1e-8, atol=1e-10)


def test_a_sum_over_steps_that_is_also_given_stays_in_the_loop():
    def cell(carry, x, _):
        (h,), (a, b) = carry, x
        moved = h + b
        return (moved,), (a @ moved,)

    def f(h, a, b):
        return np.sum(loop(cell, [h], [a, b])[1][0] ** 2)

    rng = np.random.default_rng(0)
    arrays = tuple(rng.standard_normal(shape) for shape in ((4, 2), (5, 3, 4), (5, 4, 2)))
    gradient = cr.grad(f, (0, 1, 2))
    variables = [Variable(a.shape, a.dtype, f"x{i}") for i, a in enumerate(arrays)]
    graph = run_passes(trace(gradient, variables)[0], TRAINING)
    assert sum(e.body is not None for e in graph.equations) == 2
    program = build(trace(gradient, variables)[0], Labels("step"), exact=False)
    assert_close(program(*arrays), gradient(*arrays))


def test_the_source_of_a_loop_runs_as_a_file(tmp_path):
    compiled = cr.compile(cr.grad(scalar(with_loop("constants_inside")), (0, 1)))
    compiled(*arrays_of("constants_inside"))
    compiled.save_source(tmp_path / "step.py")
    command = [sys.executable, "-I", "step.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert " on random data returned" in done.stdout


def test_a_value_that_lies_across_is_computed_again():
    """What is kept for all steps lies in C order, and a sum over it rounds as it lies."""

    def cell(carry, x, constants):
        (h,) = carry
        across = np.exp(h.T * 0.1 + constants[0])
        return (h * 0.5 + x[0],), (np.sum(across * across),)

    def f(h, x, b):
        return np.sum(loop(cell, [h], [x], [b])[1][0])

    rng = np.random.default_rng(0)
    arrays = tuple(rng.standard_normal(s) for s in ((70, 50), (3, 70, 50), (50, 1)))
    gradient = cr.grad(f, (0, 1, 2))
    assert_equal(cr.compile(gradient)(*arrays), gradient(*arrays))
