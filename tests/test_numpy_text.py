"""The text that the NumPy engine writes means what was put together, whatever stands in it."""

from __future__ import annotations

import ast
import builtins
import keyword
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import difference

import chainrule as cr
from chainrule.compiler.formula import INFIX, infix
from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Labels, Scope, Symbol
from chainrule.compiler.trace import trace
from chainrule.engines.numpy.code import (
    Attribute,
    Code,
    Infix,
    Item,
    Literal,
    Method,
    Printer,
    Tuple,
    one_line,
    show_value,
)
from chainrule.engines.numpy.program import build
from chainrule.primitives.dispatch import named

# Names


@given(st.lists(st.text(max_size=4) | st.sampled_from(["abs", "range", "np", "__file__", "class"])))
def test_whatever_is_wished_for_is_a_name_of_its_own(wishes):
    scope = Scope(["np"])
    names = [scope.claim(Symbol(wish)) for wish in wishes]
    assert len(set(names)) == len(names)
    for name in names:
        (statement,) = ast.parse(name).body
        assert isinstance(statement, ast.Expr)
        assert isinstance(statement.value, ast.Name)
        assert statement.value.id == name  # as Python reads it
        assert name not in {*keyword.kwlist, *dir(builtins), "np"}
        assert not name.startswith("__")
        assert name.strip("_")


# Code as text

_NUMBERS = st.sampled_from([0, 1, 7, -2, 0.5, -0.25, 1 / 96, 1 - 0.9, 1e30, -np.inf, np.inf])
_SYMBOLS = [Symbol(name) for name in "abc"]


def _trees(inner):
    return st.one_of(
        st.builds(lambda name, a, b: Infix(name, (a, b)), st.sampled_from([*INFIX]), inner, inner),
        st.builds(lambda s, a: Infix(s, (a,)), st.sampled_from(["negative", "positive"]), inner),
        st.builds(lambda a: Infix("absolute", (a,)), inner),
        st.builds(lambda a: Method(a, "copy"), inner),
        st.builds(lambda a: Attribute(a, "T"), inner),
        st.builds(lambda a, key: Item(a, key), inner, st.sampled_from([(), (0,), (None, ...)])),
        st.builds(lambda *parts: Tuple(parts), inner),
    )


def _meaning(code: Code) -> ast.expr:
    """What Python should read the code as."""
    if isinstance(code, Symbol):
        return ast.Name(code.wish, ast.Load())
    if isinstance(code, Literal):
        return ast.parse(show_value(code.value)[0], mode="eval").body
    if isinstance(code, Tuple):
        return ast.Tuple([_meaning(part) for part in code.parts], ast.Load())
    if isinstance(code, Infix):
        operands = [_meaning(operand) for operand in code.operands]
        if code.primitive == "absolute":
            return ast.Call(ast.Name("abs", ast.Load()), operands, [])
        if len(operands) == 1:
            sign = ast.USub() if code.primitive == "negative" else ast.UAdd()
            return ast.UnaryOp(sign, operands[0])
        sample = ast.parse(f"a {INFIX[code.primitive][0]} b", mode="eval").body
        if isinstance(sample, ast.Compare):
            return ast.Compare(operands[0], sample.ops, [operands[1]])
        assert isinstance(sample, ast.BinOp)
        return ast.BinOp(operands[0], sample.op, operands[1])
    if isinstance(code, Method):
        return ast.Call(ast.Attribute(_meaning(code.of), code.name, ast.Load()), [], [])
    if isinstance(code, Attribute):
        return ast.Attribute(_meaning(code.of), code.name, ast.Load())
    assert isinstance(code, Item)
    parts = [ast.Constant(part) for part in code.keys]
    key = parts[0] if len(parts) == 1 else ast.Tuple(parts, ast.Load())
    return ast.Subscript(_meaning(code.of), key, ast.Load())


@given(st.recursive(st.sampled_from(_SYMBOLS) | _NUMBERS.map(Literal), _trees, max_leaves=6))
def test_code_is_read_as_it_was_put_together(code):
    names = Scope()
    for symbol in _SYMBOLS:
        assert names.claim(symbol) == symbol.wish
    text = Printer(names, str, terse=False).text(code)
    assert ast.dump(ast.parse(text, mode="eval").body) == ast.dump(_meaning(code))


@pytest.mark.parametrize(
    "value",
    [0, -3, True, 0.1, -0.0, 1 / 96, 1 - 0.9, np.inf, -np.inf, np.float32(0.1), np.float16(0.1),
     np.float64(0.1), np.float32(-np.inf), np.int8(3), None, "a'b", (3,), (), (1, (2.0, None)),
     [4], [np.float32(0.1)], np.dtype(np.int8), np.float32],
)  # fmt: skip
def test_a_value_is_written_as_what_it_is(value):
    found = eval(show_value(value)[0], {"np": np})
    wanted = value.item() if isinstance(value, np.integer) else value
    assert type(found) is (type if isinstance(value, np.dtype) else type(wanted))
    assert repr(np.dtype(found) if isinstance(value, np.dtype) else found) == repr(wanted)


def test_a_formula_is_mathematics_where_code_is_a_way_to_compute():
    terms = ("a", 5), ("b + c", 1)
    assert infix("add", *terms) == ("a + b + c", 1)
    assert infix("add", *terms, as_code=True) == ("a + (b + c)", 1)


def test_a_comment_is_one_line():
    text = one_line("new\nline\r\u2028\x0c\\")
    assert text.splitlines() == [text]
    assert one_line("ünïcode λ") == "ünïcode λ"


# Calls of NumPy

X = np.array([1.0, -2.0, 0.0])
SQUARE = np.linspace(-1, 2, 9).reshape(3, 3)


def compiled(function, *args, exact=True):
    """The program of a function, and its results beside the function's own."""
    inputs = [
        Variable.number(type(a), f"x{i}")
        if isinstance(a, int | float)
        else Variable(a.shape, a.dtype, f"x{i}")
        for i, a in enumerate(args)
    ]
    graph, _ = trace(function, inputs)
    program = build(graph, Labels("f"), exact=exact)
    with np.errstate(all="ignore"):
        found, expected = program(*args), function(*args)
    expected = expected if isinstance(expected, tuple) else (expected,)
    return program, list(zip(expected, found, strict=True))


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (lambda x, n, m: (x * (k := n + (m + m)), k), (X, 1e16, 1.0)),
        (lambda x, n, m: (x * (k := -(n + m)), k), (X, 1.0, 2.0)),
        (lambda x, n: (x * (k := (-np.inf) ** n), k), (X, 2)),
        (lambda x: np.exp(np.where(x, x, 0.5)), (X,)),
        (lambda x: np.exp(np.where(x, 1.0, x)), (X,)),
        (lambda u: np.exp(np.where(u > 1, u, 300)), (np.array([1, 2, 3], np.uint8),)),
        (lambda x: 1 / np.maximum(x, -0.0), (-np.zeros(3),)),
        (lambda x: np.exp(np.sum(x, axis=0)), (np.linspace(0, 1e-3, 999 * 8).reshape(999, 8),)),
        (lambda x: np.exp(x[()]), (X,)),
        (lambda x: np.exp(np.concatenate([x, np.empty((0, 3))])), (SQUARE,)),
        (lambda x: np.exp(np.transpose(x, (1, 0, 2))), (np.arange(12.0).reshape(2, 3, 2),)),
        (lambda x: np.exp(np.max(x, axis=1, keepdims=True)), (SQUARE,)),
        (lambda x: np.exp(np.roll(x, 1)), (X,)),
        (cr.grad(lambda x: np.sum(x[:, [0, 2, 0]] ** 3)), (SQUARE,)),
        (cr.grad(lambda x: np.sum(x[[0, 2, 0]] ** 3)), (SQUARE,)),
        (lambda x: np.exp(np.flip(x, 0)), (SQUARE,)),
        (lambda x: np.exp(named("turned", x.T)), (SQUARE,)),
    ],
)
def test_every_bit_is_eagers(function, args):
    program, pairs = compiled(function, *args)
    for expected, found in pairs:
        how = difference(np.asarray(expected), np.asarray(found))
        assert how is None, f"{how}\n{program.source}"


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [0, (0,), 1, None])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64])
def test_sums_over_rows_are_products_in_training_steps(axis, keepdims, dtype):
    x = np.arange(12).reshape(3, 4).astype(dtype)

    def function(x):
        return np.sum(x, axis=axis, keepdims=keepdims) * 2 - 1

    is_product = axis in (0, (0,)) and not keepdims and dtype in (np.float32, np.float64)
    for exact in (True, False):
        program, ((expected, found),) = compiled(function, x, exact=exact)
        np.testing.assert_array_equal(found, expected)
        assert ("ones_3" in program.source) == (is_product and not exact)


def test_matrix_products_are_eagers_call_where_bits_count():
    for exact, name in ((True, "matmul("), (False, "dot(")):
        program, _ = compiled(lambda x: np.exp(x @ x), SQUARE, exact=exact)
        assert name in program.source


def test_zeros_stand_ready_for_the_maximum_only():
    assert "zeros_3" in compiled(lambda x: np.exp(np.maximum(x, 0)), X)[0].source
    assert "zeros_3" not in compiled(lambda x: np.exp(np.minimum(x, 0) * 0), X)[0].source


@pytest.mark.parametrize("number", [70_000, 1e30])
def test_what_overflows_warns_where_it_is_computed(number):
    x = Variable((3,), np.dtype(np.float16), "x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = build(trace(lambda x: np.exp(x * number), [x])[0], Labels("f"))
    with pytest.warns(RuntimeWarning, match="overflow"):
        program(np.ones(3, np.float16))


def test_a_constant_without_elements_stands_in_the_text():
    empty = np.empty((0, 3))
    program, _ = compiled(lambda x: np.concatenate([x, empty]) * 2, SQUARE)
    assert "constant = np.empty((0, 3), np.float64)" in program.source


def test_arguments_may_be_called_as_functions_of_numpy():
    inputs = [Variable((3,), np.dtype(float), name) for name in ("multiply", "subtract")]
    graph, _ = trace(lambda a, b: np.exp(a * b - 1), inputs)
    program = build(graph, Labels("f"))
    assert difference(np.exp(X * X - 1), program(X, X)[0]) is None


@pytest.mark.parametrize("name", ["roll", "_roll", "flip", "softmax", "sigmoid", "bind"])
def test_a_function_may_be_called_as_one_that_stands_above_it(name):
    def f(x):
        return np.tanh(np.roll(x, 1)) + cr.primitives.softmax(np.flip(x)) * cr.primitives.sigmoid(x)

    graph, _ = trace(f, [Variable((3,), np.dtype(float), "x")])
    program = build(graph, Labels(name))
    assert difference(f(X), program(X)[0]) is None


def test_a_rules_arguments_may_be_called_as_what_stands_ready():
    rule = cr.custom_vjp(
        lambda g, out, one, half, multiply: g * (one - 0.5 * np.exp(half - 1) * multiply),
        lambda g, out, one, half, multiply: g * (1 - np.exp(one * 0.5) * half - multiply),
        lambda g, out, one, half, multiply: g * (0.5 - np.exp(one - 1) * half * multiply),
    )
    f = rule(lambda one, half, multiply: one * half + np.exp(multiply))
    slope = cr.grad(lambda a, b, c: np.sum(np.tanh(f(a, b, c))), (0, 1, 2))
    program, pairs = compiled(slope, X, X + 1, X / 2)
    for expected, found in pairs:
        assert difference(expected, found) is None, program.source


def test_scratch_memory_of_long_updates_is_one_tile():
    net = cr.nn.Network([cr.nn.Dense(1)], seed=0, dtype="float64")
    x = np.zeros((2, 40_000))
    net.fit(x, x[:, :1], loss="mean_squared_error", optimizer=cr.optim.Adam(), epochs=1, verbose=0)
    assert "= np.empty(32768, np.float64)" in net.step.source
