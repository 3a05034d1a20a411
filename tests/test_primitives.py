"""What holds for every primitive of the table, on the example calls of gradcheck.cases."""

import functools
import inspect

import numpy as np
import pytest

import chainrule as cr
from chainrule.gradcheck import check_grads, check_table
from chainrule.gradcheck.cases import Case, all_cases
from chainrule.gradcheck.table import argument_name, case_function
from chainrule.primitives.primitive import (
    PRIMITIVES,
    Primitive,
    custom_vjp,
    defvjp,
    defvjp_variadic,
    fused,
    primitive,
)

CASES = all_cases(np.random.default_rng(0))

# Primitives that no gradient flows through, by intent.
CONSTANTS = set(
    """
    all any argmax argmin argsort bitwise_and bitwise_or bitwise_xor ceil equal floor floor_divide
    greater greater_equal invert isfinite isinf isnan less less_equal logical_and logical_not
    logical_or logical_xor not_equal one_hot random_uniform rint round sign sign_of_det signbit
    stop_gradient to_discrete trunc
    """.split()
)
WITH_RULES = sorted(set(PRIMITIVES) - CONSTANTS)
# Drawn anew at each call, so there is no call to repeat.
WITHOUT_CASES = {"random_uniform"}


def floats(case):
    """The positions of the floating-point arrays of a case."""
    return [k for k, a in enumerate(case.args) if np.asarray(a).dtype.kind == "f"]


def differentiable(name, case):
    return [k for k in floats(case) if PRIMITIVES[name].rule(k) is not None]


def cotangent_like(out, rng):
    return np.asarray(rng.normal(size=np.shape(out)), out.dtype)


def same(a, b):
    """Equal bits, NaN at the same places, and the same dtype."""
    a, b = np.asarray(a), np.asarray(b)
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")


# The table


def test_every_primitive_has_cases():
    assert set(PRIMITIVES) - set(CASES) == WITHOUT_CASES
    assert set(CASES) <= set(PRIMITIVES)


def test_every_primitive_has_a_rule_or_is_a_constant_by_intent():
    without = {
        name for name, p in PRIMITIVES.items() if p.variadic_rule is None and not any(p.rules)
    }
    assert without == CONSTANTS


def test_cases_are_the_same_for_the_same_seed():
    again = all_cases(np.random.default_rng(0))
    for name, cases in CASES.items():
        for one, two in zip(cases, again[name], strict=True):
            assert all(map(same, one.args, two.args))


@pytest.mark.parametrize("name", WITH_RULES)
def test_rules_take_the_arguments_of_their_primitive(name):
    p = PRIMITIVES[name]
    if p.n_arrays is not None:
        assert len(p.rules) == p.n_arrays
    for rule in filter(None, p.rules):
        parameters = list(inspect.signature(rule).parameters.values())
        static = {q.name for q in parameters} & set(p.param_names)
        assert static == set(p.param_names) or any(q.kind is q.VAR_KEYWORD for q in parameters)


# Numbers


@pytest.mark.parametrize("name", sorted(PRIMITIVES))
def test_rules_agree_with_numerical_derivatives_of_both_orders(name):
    results = check_table([name], order=2)
    assert (len(results) > 0) == (name in WITH_RULES)
    failed = [result for result in results if not result.ok]
    assert not failed, failed
    if name not in CONSTANTS:
        checked = {result.argument for result in results}
        wanted = {
            argument_name(PRIMITIVES[name], k)
            for case in CASES[name]
            for k in differentiable(name, case)
        }
        assert checked == wanted
        assert all(result.worst_relative_error < 1e-6 for result in results)


def analytic_cases(name):
    cases = [case for case in CASES[name] if all(np.size(a) for a in case.args)]
    return [case for case in cases if case.analytic and differentiable(name, case)]


@pytest.mark.parametrize("name", [name for name in WITH_RULES if analytic_cases(name)])
def test_the_complex_step_is_taken_where_a_case_is_analytic(name):
    for case in analytic_cases(name):
        methods, notes = set(), []
        for k in differentiable(name, case):
            f, args = case_function(PRIMITIVES[name], case, [k])
            report = check_grads(f, args, 1, complex_step="auto", raises=False)
            assert report.ok
            methods |= set(report.methods)
            notes += report.notes
        assert "complex step" in methods or any("does not depend" in note for note in notes), case


@pytest.mark.parametrize("name", WITH_RULES)
def test_the_jvp_is_the_transposition_of_the_vjp(name):
    rng = np.random.default_rng(3)
    for case in CASES[name]:
        positions = differentiable(name, case)
        f, args = case_function(PRIMITIVES[name], case, positions)
        v = tuple(cotangent_like(np.asarray(a), rng) for a in args)
        out, f_vjp = cr.vjp(f, *args)
        u = cotangent_like(out, rng)
        _, jv = cr.jvp(f, args, v)
        left = float(np.sum(u * jv))
        right = sum(float(np.sum(g * t)) for g, t in zip(f_vjp(u), v, strict=True))
        size = np.sqrt(np.sum((u * jv) ** 2)) + abs(left)
        assert left == pytest.approx(right, rel=1e-9, abs=1e-11 + 1e-9 * size)


@pytest.mark.parametrize("name", WITH_RULES)
def test_the_vjp_is_linear_in_the_cotangent(name):
    rng = np.random.default_rng(4)
    for case in CASES[name]:
        f, args = case_function(PRIMITIVES[name], case, differentiable(name, case))
        out, f_vjp = cr.vjp(f, *args)
        g, h = cotangent_like(out, rng), cotangent_like(out, rng)
        both = f_vjp(2.0 * g - 3.0 * h)
        for total, of_g, of_h in zip(both, f_vjp(g), f_vjp(h), strict=True):
            size = np.abs(2 * of_g).max(initial=0) + np.abs(3 * of_h).max(initial=0)
            rounding = 1e-15 * max(np.abs(g).max(initial=0), np.abs(h).max(initial=0))
            expected = 2 * of_g - 3 * of_h
            np.testing.assert_allclose(total, expected, rtol=1e-9, atol=1e-11 * size + rounding)


# Shapes and dtypes


@pytest.mark.parametrize("name", WITH_RULES)
def test_gradients_have_shape_and_dtype_of_their_arguments(name):
    for case in CASES[name]:
        f, args = case_function(PRIMITIVES[name], case, differentiable(name, case))
        out, f_vjp = cr.vjp(f, *args)
        for gradient, argument in zip(f_vjp(np.ones_like(out)), args, strict=True):
            assert gradient.shape == np.shape(argument)
            assert gradient.dtype == np.asarray(argument).dtype
            assert gradient.flags.writeable
            assert gradient.base is None or gradient.base is not argument


@pytest.mark.parametrize("name", [name for name in WITH_RULES if name != "astype"])
def test_float32_stays_float32(name):
    for case in CASES[name]:
        single = [
            np.asarray(a, np.float32) if k in floats(case) else a for k, a in enumerate(case.args)
        ]
        positions = differentiable(name, case)
        f, args = case_function(PRIMITIVES[name], Case(tuple(single), case.params), positions)
        with np.errstate(all="ignore"):
            out, f_vjp = cr.vjp(f, *args)
            gradients = f_vjp(np.ones_like(out))
            _, jv = cr.jvp(f, args, tuple(np.ones_like(a) for a in args))
            expected = f(*args).dtype
        whole_numbers = any(np.asarray(a).dtype.kind == "i" for a in case.args)
        assert expected == np.float32 or whole_numbers, case  # NumPy: float32 ** int64 is float64
        assert out.dtype == jv.dtype == expected, case
        assert {g.dtype for g in gradients} <= {np.dtype(np.float32)}, case


ELEMENTWISE = [
    name
    for name in WITH_RULES
    if isinstance(PRIMITIVES[name].evaluate, np.ufunc)
    and PRIMITIVES[name].evaluate.signature is None
]


def test_the_elementwise_primitives_are_found():
    assert {"add", "tanh", "arctan2", "maximum"} <= set(ELEMENTWISE)
    assert "matmul" not in ELEMENTWISE


BROADCASTS = [
    ((), ()),
    ((), (3,)),
    ((3,), ()),
    ((1,), (3,)),
    ((3, 1), (1, 2)),
    ((2, 3), (3,)),
    ((3,), (2, 3)),
    ((0,), (1,)),
    ((1,), (0,)),
    ((2, 0), ()),
    ((1, 1), (2, 3)),
    ((2, 1, 3), (4, 1)),
]


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if PRIMITIVES[n].n_arrays == 2])
def test_binary_primitives_broadcast_and_their_gradients_sum_back(name):
    largest = max(CASES[name], key=lambda case: min(np.size(a) for a in case.args))
    pools = [np.ravel(a) for a in largest.args]
    for shapes in BROADCASTS:
        args = [np.resize(pool, shape) for pool, shape in zip(pools, shapes, strict=True)]
        out, f_vjp = cr.vjp(PRIMITIVES[name], *args)
        assert out.shape == np.broadcast_shapes(*shapes)
        g = cotangent_like(out, np.random.default_rng(5))
        gradients = f_vjp(g)
        # The same with the arguments stretched by hand, and their gradients summed by hand.
        stretched = [np.broadcast_to(a, out.shape).copy() for a in args]
        _, stretched_vjp = cr.vjp(PRIMITIVES[name], *stretched)
        for gradient, full, a in zip(gradients, stretched_vjp(g), args, strict=True):
            n_added = full.ndim - a.ndim
            by_hand = full.sum(axis=tuple(range(n_added)))
            axes = tuple(k for k, n in enumerate(a.shape) if n == 1)
            by_hand = by_hand.sum(axis=axes, keepdims=True) if axes else by_hand
            assert gradient.shape == a.shape
            np.testing.assert_allclose(gradient, by_hand, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_nan_and_infinity_pass_through(name):
    """Forward: what NumPy gives. Backward: a NaN cotangent stays NaN, and at its element only."""
    p = PRIMITIVES[name]
    special = np.array([np.nan, np.inf, -np.inf, 0.5])
    for position in range(p.n_arrays):
        args = [np.full(4, 0.5) for _ in range(p.n_arrays)]
        args[position] = special
        with np.errstate(all="ignore"):
            expected = p.evaluate(*args)
            out, f_vjp = cr.vjp(p, *args)
            assert same(out, expected)
            valid = np.flatnonzero(np.isfinite(expected))
            assert np.isnan(out[0])
            g = np.ones(4)
            if len(valid):
                g[valid[-1]] = np.nan
                gradient = f_vjp(g)[position]
                assert np.isnan(gradient[valid[-1]])
                clean = f_vjp(np.ones(4))[position]
                others = np.arange(4) != valid[-1]
                assert same(gradient[others], clean[others])


# Purity


@pytest.mark.parametrize("name", sorted(set(PRIMITIVES) - WITHOUT_CASES))
def test_arguments_are_never_changed(name):
    p = PRIMITIVES[name]
    for case in CASES[name]:
        arrays = [np.array(a) for a in case.args]
        originals = [a.copy() for a in arrays]
        for a in arrays:
            a.flags.writeable = False  # writing into one raises
        fixed = Case(tuple(arrays), case.params)
        p(*arrays, **case.params)
        positions = differentiable(name, case)
        f, args = case_function(p, fixed, positions)
        if positions:
            out, f_vjp = cr.vjp(f, *args)
            g = np.ones_like(out)
            g.flags.writeable = False
            f_vjp(g)
            cr.jvp(f, args, tuple(np.ones_like(a) for a in args))
        assert all(map(same, arrays, originals))


@pytest.mark.parametrize("name", sorted(set(PRIMITIVES) - WITHOUT_CASES))
def test_recorded_values_are_those_of_plain_arrays(name):
    for case in CASES[name]:
        f, args = case_function(PRIMITIVES[name], case, floats(case))
        expected = f(*args)
        tensors = [cr.parameter(np.asarray(a)) for a in args]
        recorded = f(*tensors)
        value = recorded.value if isinstance(recorded, cr.Tensor) else recorded
        assert same(value, expected)


@pytest.mark.parametrize("name", sorted(CONSTANTS - WITHOUT_CASES))
def test_constants_pass_no_gradient(name):
    for case in CASES[name]:
        f, args = case_function(PRIMITIVES[name], case, floats(case))
        if args:
            out = f(*(cr.parameter(np.asarray(a)) for a in args))
            assert not isinstance(out, cr.Tensor) or out.node is None


# A planted wrong rule turns the suite red


def plant(monkeypatch, name, position, rule):
    rules = list(PRIMITIVES[name].rules)
    rules[position] = rule
    monkeypatch.setattr(PRIMITIVES[name], "rules", tuple(rules))


PLANTED = {
    "a sign": ("tanh", 0, lambda g, out, x: -g * (1 - out * out), "wrong sign"),
    "the sign of the second": ("subtract", 1, lambda g, out, x, y: g, "wrong sign"),
    "a factor": ("exp", 0, lambda g, out, x: 2 * g * out, "2 times"),
    "half": ("square", 0, lambda g, out, x: g * x, "0.5 (1/2) times"),
    "x for y": ("multiply", 0, lambda g, out, x, y: g * x, "exchanged: it reads the wrong"),
    "y for x": ("multiply", 1, lambda g, out, x, y: g * y, "exchanged: it reads the wrong"),
    "sine for cosine": ("sin", 0, lambda g, out, x: g * np.sin(x), "is wrong"),
    "x for out": ("sigmoid", 0, lambda g, out, x: g * x * (1 - x), "is wrong"),
    "x for 1 - out": ("tanh", 0, lambda g, out, x: g * (1 - x * x), "is wrong"),
    "two exchanged": (
        "arctan2",
        0,
        lambda g, out, y, x: g * np.sin(out) / np.hypot(y, x),
        "exchanged: it reads the wrong",
    ),
    "not transposed": ("transpose", 0, lambda g, out, x, axes: g, "shape"),
    "zero": ("log", 0, lambda g, out, x: g * 0, "is zero"),
    "a mean for a sum": (
        "sum",
        0,
        lambda g, out, x, axis, keepdims: np.ones(x.shape) * np.sum(g) / max(x.size, 1),
        "times",
    ),
    "not linear": ("negative", 0, lambda g, out, x: -g * np.abs(g), "linear in its cotangent"),
    "a raise": ("sqrt", 0, lambda g, out, x: g / undefined, "NameError"),  # noqa: F821
}


@pytest.mark.parametrize(("name", "position", "rule", "words"), PLANTED.values(), ids=PLANTED)
def test_a_planted_wrong_rule_is_caught_and_its_cause_named(
    monkeypatch, name, position, rule, words
):
    assert all(result.ok for result in check_table([name]))
    plant(monkeypatch, name, position, rule)
    argument = argument_name(PRIMITIVES[name], position)
    [result] = [r for r in check_table([name]) if r.argument == argument]
    assert not result.ok
    assert words in result.reason
    assert not result.worst_relative_error < 1e-3


@pytest.mark.parametrize("name", [n for n in WITH_RULES if PRIMITIVES[n].rules])
def test_a_factor_planted_in_any_rule_is_caught(monkeypatch, name):
    for position, rule in enumerate(PRIMITIVES[name].rules):
        if rule is None:
            continue

        @functools.wraps(rule)
        def planted(*args, rule=rule, **params):
            return 1.01 * rule(*args, **params)

        with monkeypatch.context() as patch:
            plant(patch, name, position, planted)
            cases = [case for case in CASES[name] if position in differentiable(name, case)]
            functions = [case_function(PRIMITIVES[name], case, [position]) for case in cases]
            assert not all(check_grads(f, args, 1, raises=False).ok for f, args in functions)


@pytest.mark.parametrize("wrong", ["not transposed", "g not transposed"])
def test_a_forgotten_transposition_is_named(monkeypatch, wrong):
    a, b = np.random.default_rng(0).normal(size=(2, 3, 3))
    rule = {
        "not transposed": lambda g, out, x, y: g @ y,
        "g not transposed": lambda g, out, x, y: (g @ np.swapaxes(y, -1, -2)).T,
    }[wrong]
    plant(monkeypatch, "matmul", 0, rule)
    report = check_grads(np.matmul, (a, b), 1, raises=False)
    assert not report.ok
    assert "transpos" in report.reasons[0]
    assert {element.argument for element in report.elements} == {"x1 (argument 0)"}


def test_a_wrong_rule_of_a_primitive_of_many_arrays_is_caught(monkeypatch):
    stack = PRIMITIVES["stack"]
    right = stack.variadic_rule
    monkeypatch.setattr(
        stack, "variadic_rule", lambda k, g, out, *args, **params: right(0, g, out, *args, **params)
    )
    results = {result.argument: result.ok for result in check_table(["stack"])}
    assert results["0"]
    assert not results["1"]


def test_a_wrong_second_derivative_is_caught(monkeypatch):
    """A rule that is right as a number but leaves the record."""

    def rule(g, out, x):
        return g * np.cos(x.detach() if isinstance(x, cr.Tensor) else x)

    plant(monkeypatch, "sin", 0, rule)
    assert all(result.ok for result in check_table(["sin"]))
    [result] = check_table(["sin"], order=2)
    assert not result.ok
    assert "order 2" in result.reason


def test_a_missing_rule_is_caught(monkeypatch):
    monkeypatch.setattr(PRIMITIVES["cosh"], "rules", ())
    [result] = check_table(["cosh"])
    assert not result.ok
    assert "no vjp rule" in result.reason


def test_a_primitive_without_cases_fails(monkeypatch):
    fresh = Primitive("fresh", lambda x: 2 * x)
    defvjp(fresh, lambda g, out, x: 2 * g)
    monkeypatch.setitem(PRIMITIVES, "fresh", fresh)
    [result] = check_table(["fresh"])
    assert not result.ok
    assert "no cases" in result.reason
    assert result.cases == 0


def test_one_raising_rule_does_not_stop_the_table(monkeypatch):
    def rule(g, out, x):
        raise ZeroDivisionError("planted")

    plant(monkeypatch, "exp", 0, rule)
    failed = [result for result in check_table(["cos", "exp", "sin"]) if not result.ok]
    assert [result.primitive for result in failed] == ["exp"]
    assert "planted" in failed[0].reason


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match="no primitive 'sigmod': did you mean 'sigmoid'"):
        check_table(["sigmod"])


def test_the_table_gives_the_same_numbers_for_the_same_seed():
    assert check_table(["solve"], seed=3) == check_table(["solve"], seed=3)
    assert check_table(["solve"], seed=3) != check_table(["solve"], seed=4)


# Entering primitives


def test_a_name_is_entered_once():
    with pytest.raises(ValueError, match="already holds a primitive named 'tanh'"):

        @primitive
        def tanh(x):
            return x


def test_the_number_of_rules_is_that_of_the_arrays():
    p = Primitive("two", lambda x, y, *, scale=1.0: scale * x * y)
    with pytest.raises(ValueError, match="two takes 2 arrays but got 1 vjp rules"):
        defvjp(p, lambda g, out, x, y, scale: g)


def test_static_parameters_are_told_from_arrays():
    p = Primitive("scaled", lambda x, y, power=2, *, scale=1.0: scale * x**power * y)
    assert p.n_arrays == 2
    assert p.param_names == ("power", "scale")
    assert p(2.0, 3.0) == 12.0
    assert p(2.0, 3.0, 3) == 24.0
    assert p(2.0, 3.0, scale=2.0) == 24.0
    with pytest.raises(TypeError, match="scaled takes 2 arrays and then power, scale"):
        p(1.0, 2.0, 3, 4, 5)


def test_a_variadic_primitive_takes_any_number():
    p = Primitive("total", lambda *arrays: sum(arrays))
    defvjp_variadic(p, lambda position, g, out, *arrays: g)
    x = np.arange(3.0)
    gradients = cr.grad(lambda a, b, c: p(a, b, c).sum(), (0, 1, 2))(x, x, x)
    assert all(same(g, np.ones(3)) for g in gradients)


def test_fused_and_repr(monkeypatch):
    monkeypatch.delitem(PRIMITIVES, "planted", raising=False)

    @fused
    def planted(x):
        return x

    assert PRIMITIVES.pop("planted") is planted
    assert planted.is_fused
    assert repr(planted) == "<primitive planted>"


def test_custom_vjp_is_checked_by_the_same_tools_and_stays_out_of_the_table():
    @custom_vjp(lambda g, out, x, *, power: g * power * x ** (power - 1))
    def raised(x, *, power=3):
        return x**power

    assert "raised" not in PRIMITIVES
    x = np.array([1.0, -2.0])
    assert check_grads(lambda x: raised(x, power=4), x).ok
    assert check_grads(raised, x).ok
    wrong = custom_vjp(lambda g, out, x: g * 3 * x)(lambda x: x**3)
    report = check_grads(wrong, x, raises=False)
    assert not report.ok


def test_custom_vjp_may_leave_an_argument_without_derivative():
    chosen = custom_vjp(None, lambda g, out, mask, x: g * mask)(lambda mask, x: mask * x)
    mask = np.array([1.0, 0.0])
    report = check_grads(lambda x: chosen(mask, x), np.array([2.0, 3.0]))
    assert report.ok
