"""The NumPy engine's kernels: what their primitives compute, in given memory, as readable text."""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_checks import by_kernel

import chainrule as cr
from chainrule import nn, optim
from chainrule.engines.numpy.borrow import Borrowed
from chainrule.engines.numpy.kernels import KERNELS, kernel_for
from chainrule.engines.numpy.kernels.rows import add_rows
from chainrule.engines.numpy.plain_source import plain_source
from chainrule.gradcheck.cases import all_cases
from chainrule.primitives import PRIMITIVES
from chainrule.training.compiled_step import CompiledStep

CASES = all_cases(np.random.default_rng(0))
NAMES = sorted(primitive.name for primitive in KERNELS)
ALL_KERNELS = [(p.name, kernel) for p in KERNELS for kernel in KERNELS[p]]


def close(found, expected, tolerance=1e-11):
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


# Values


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_computes_what_its_primitive_is(name, threads):
    for case in CASES[name]:
        expected = PRIMITIVES[name](*case.args, **case.params)
        close(by_kernel(name)(*case.args, **case.params, threads=threads), expected)
        single = [a.astype(np.float32) if a.dtype == np.float64 else a for a in case.args]
        expected = PRIMITIVES[name](*single, **case.params)
        close(by_kernel(name)(*single, **case.params, threads=threads), expected, 1e-4)


def test_every_kernel_is_taken_by_some_case():
    """With channels enough for the transposed convolution that is shifted, which no case has."""
    taken = {
        kernel_for(PRIMITIVES[name], [np.shape(a) for a in case.args], case.params)
        for name in NAMES
        for case in CASES[name]
    }
    for groups in (1, 2):
        params = {"size": (4, 4), "groups": groups}
        y, kernel = np.ones((2, 3, 3, 6)), np.ones((2, 2, 40, 6))
        taken.add(kernel_for(PRIMITIVES["convolve_transpose"], [y.shape, kernel.shape], params))
        found = by_kernel("convolve_transpose")(y, kernel, **params)
        close(found, PRIMITIVES["convolve_transpose"](y, kernel, **params))
    assert taken == {kernel for _, kernel in ALL_KERNELS}


@pytest.mark.parametrize(("name", "kernel"), ALL_KERNELS, ids=lambda a: getattr(a, "function", a))
def test_a_kernel_takes_the_arguments_of_its_primitive_by_their_names(name, kernel):
    def parameters(function):
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        found = inspect.signature(function).parameters.values()
        return {p.name: p.default for p in found if p.kind not in kinds}

    own, wanted = parameters(kernel.function), parameters(PRIMITIVES[name].evaluate)
    assert own.pop("out") is inspect.Parameter.empty
    assert own.pop("threads", 1) == 1
    assert own.items() <= wanted.items()
    takes_all = "**" in str(inspect.signature(kernel.function))
    # what it does not take is as it is when nothing is said
    left_out = {} if takes_all else {key: wanted[key] for key in wanted.keys() - own.keys()}
    assert left_out.items() <= {"groups": 1, "stride": (1, 1)}.items()


pairs = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def convolutions(draw):
    """Images, a kernel that fits into them, and all that `convolve` can be told."""
    groups = draw(st.integers(1, 3))
    channels = draw(st.sampled_from([1, 2, 3, 17, 33]))  # few and many take different ways
    filters = draw(st.sampled_from([1, 2, 3, 35]))
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(pairs, pairs))
    reach = [(n - 1) * d + 1 for n, d in zip(size, dilation)]
    shape = [draw(st.integers(max(1, n - sum(sides)), 10)) for n, sides in zip(reach, padding)]
    how = {
        "stride": draw(st.just((1, 1)) | st.tuples(st.integers(1, 4), st.integers(1, 4))),
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = rng.normal(size=(draw(st.integers(0, 3)), *shape, groups * channels))
    return x, rng.normal(size=(*size, channels, groups * filters)), how, rng


@settings(max_examples=150)
@given(convolutions(), st.integers(1, 3))
def test_convolutions_of_any_geometry(convolution, threads):
    x, kernel, how, rng = convolution
    bias, call = rng.normal(size=kernel.shape[3]), {**how, "threads": threads}
    y = rng.normal(size=cr.primitives.convolve(x, kernel, **how).shape)
    image, size = x.shape[1:3], kernel.shape[:2]
    for name, args, more in (
        ("convolve", (x, kernel), {}),
        ("convolve_add", (x, kernel, bias), {}),
        ("convolve_transpose", (y, kernel), {"size": image}),
        ("convolve_kernel_vjp", (x, y), {"size": size}),
    ):
        close(by_kernel(name)(*args, **more, **call), PRIMITIVES[name](*args, **more, **how))


@given(
    shape=st.lists(st.integers(0, 6), min_size=1, max_size=4), seed=st.integers(0, 99),
    stride=st.integers(1, 4), dtype=st.sampled_from([np.float32, np.float64]), data=st.data(),
)  # fmt: skip
def test_windows_of_any_geometry(shape, seed, stride, dtype, data):
    """Bit for bit, ties included: each adds the same numbers in the same order."""
    axis = data.draw(st.integers(0, len(shape) - 1))
    shape[axis] = max(shape[axis], 1)
    size = data.draw(st.integers(1, shape[axis]))
    window = {"axis": axis, "size": size, "stride": stride}
    rng = np.random.default_rng(seed)
    x, u = rng.integers(0, 4, shape).astype(dtype), rng.normal(size=shape).astype(dtype)
    g = rng.normal(size=cr.primitives.window_max(x, **window).shape).astype(dtype)
    for name, args, params in (
        ("window_max", (x,), window),
        ("window_max_vjp", (g, x), window),
        ("max_at_windows", (u, x), window),
        ("window_sum", (u,), window),
        ("window_sum_vjp", (g,), {"length": shape[axis], **window}),
    ):
        expected = PRIMITIVES[name](*args, **params)
        np.testing.assert_array_equal(by_kernel(name)(*args, **params), expected, strict=True)


def test_kernels_read_what_lies_in_any_order():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 6, 5)).swapaxes(1, 3)[:, ::-1]
    kernel = rng.normal(size=(4, 3, 3, 2)).T
    y = rng.normal(size=(4, 2, 4, 5)).transpose(1, 3, 2, 0)[:, :4, ::-1]
    g = rng.normal(size=(3, 6, 4, 2)).T
    window = {"axis": 1, "size": 2, "stride": 1}
    for name, args, params in (
        ("convolve", (x, kernel), {}),
        ("convolve_transpose", (y, kernel), {"size": (5, 6)}),
        ("convolve_kernel_vjp", (x, y), {"size": (2, 3)}),
        ("window_max", (x,), window),
        ("window_max_vjp", (g, x), window),
    ):
        assert not any(array.flags.c_contiguous for array in args)
        close(by_kernel(name)(*args, **params), PRIMITIVES[name](*args, **params))


def test_labels_are_checked_each_time():
    with pytest.raises(ValueError, match="outside 0 to 2"):
        KERNELS[PRIMITIVES["one_hot"]][0].function(
            np.array([0, 3]), n_classes=3, out=np.empty((2, 3))
        )


# What belongs to whom


def test_primitives_know_nothing_of_memory_and_threads():
    for primitive in PRIMITIVES.values():
        assert {"out", "threads"}.isdisjoint(primitive.param_names)


def test_a_function_of_the_users_is_not_taken_for_a_primitive_of_that_name():
    @cr.custom_vjp(lambda g, out, x: g)
    def one_hot(x):
        return x + 1

    found = cr.compile(lambda x: one_hot(x))(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(found, [2.0, 3.0])


# Text


def kernel_functions():
    """Every function of ours that may stand in a compiled file, with those it calls."""
    borrowed = Borrowed()
    for _, kernel in ALL_KERNELS:
        borrowed.function(kernel.function)
    borrowed.function(add_rows)
    for primitive in PRIMITIVES.values():
        if primitive not in KERNELS and isinstance(primitive.evaluate, types.FunctionType):
            try:
                borrowed.call(primitive)
            except TypeError:  # printed in a notation of its own
                continue
    return [f for f in borrowed._known.values() if isinstance(f, types.FunctionType)]


FUNCTIONS = [f for f in kernel_functions() if f.__module__.startswith("chainrule.")]


class WithoutTypes(ast.NodeTransformer):
    """A function as Python sees it, without its types, decorators and docstring."""

    def visit_FunctionDef(self, node):
        self.generic_visit(node)
        node.returns, node.decorator_list = None, []
        for arg in ast.walk(node.args):
            if isinstance(arg, ast.arg):
                arg.annotation = None
        if ast.get_docstring(node) is not None:
            node.body[0] = ast.Expr(ast.Constant(""))
        return node

    def visit_AnnAssign(self, node):
        return ast.Assign([node.target], node.value) if node.value else node


def stripped(text):
    return ast.dump(WithoutTypes().visit(ast.parse(textwrap.dedent(text))))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_the_text_in_a_file_says_what_the_function_says(function):
    text, source = plain_source(function), inspect.getsource(function)
    assert stripped(text) == stripped(source)
    tokens = tokenize.generate_tokens(io.StringIO(inspect.cleandoc(source)).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    assert all(comment in text for comment in comments)
    assert " -> " not in text.split('"""')[0]
    assert ": Array" not in text
    assert max(map(len, text.splitlines())) <= 100


def annotated(x: np.ndarray, *rest: int, shift: float = 1.0, **words: str) -> np.ndarray:
    """The first paragraph, ä,
    to its end.

    The second.
    """
    # a comment that stays, ä
    scaled: np.ndarray = 2 * x  # with one beside: it

    def inner(a: int, b: str = ":") -> dict[str, int]:
        return {b: a}  # -> int

    return scaled + shift + sum(inner(n)[":"] for n in rest)


def test_types_go_and_comments_stay():
    assert (
        plain_source(annotated)
        == '''def annotated(x, *rest, shift=1.0, **words):
    """The first paragraph, ä,
    to its end.
    """
    # a comment that stays, ä
    scaled = 2 * x  # with one beside: it

    def inner(a, b=':'):
        return {b: a}  # -> int

    return scaled + shift + sum(inner(n)[":"] for n in rest)'''
    )


def test_a_file_holds_the_helpers_it_uses_and_no_others():
    net = nn.Network(
        [nn.Conv2D(3, 3, groups=1), nn.AvgPool2D(), nn.Flatten(), nn.Dense(3)],
        input_shape=(8, 8, 2), seed=0,
    )  # fmt: skip
    step = CompiledStep(net, nn.losses.cross_entropy, optim.SGD())
    step.compile_for(np.zeros((4, 8, 8, 2), np.float32), np.zeros(4, int))
    for absent in ("_each_group", "convolve_transpose", "_MANY_CHANNELS", "_largest", "n_places"):
        assert absent not in step.source
    defined = {
        node.name for node in ast.parse(step.source).body if isinstance(node, ast.FunctionDef)
    }
    used = {node.id for node in ast.walk(ast.parse(step.source)) if isinstance(node, ast.Name)}
    assert defined - used == {"bind"} - used
    assert "# Elements of the rows that are made at once" in step.source
    assert "# With few channels, rows are made of short runs of memory" in step.source


def test_names_of_arguments_are_not_taken_for_functions_of_the_file_they_stand_in():
    """`kernel` is an argument of the convolutions, and the decorator that enters them."""
    borrowed = Borrowed()
    borrowed.function(KERNELS[PRIMITIVES["convolve"]][0].function)
    assert not any("def kernel" in source for source in borrowed.sources)
