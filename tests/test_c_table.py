"""The table of primitives on the C engine: forward, every rule, second order, every dtype."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest
from c_engine import OF_ONE, assert_close, needs_compiler

import chainrule as cr
from chainrule import tree
from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.c.program import build, load, prepare
from chainrule.engines.c.types import UnsupportedError
from chainrule.gradcheck.cases import all_cases
from chainrule.primitives.indexing import Slot
from chainrule.primitives.primitive import PRIMITIVES

pytestmark = needs_compiler

CASES = all_cases(np.random.default_rng(0))
LAPACK = {"solve", "inv", "det", "logabsdet", "sign_of_det", "cholesky"}
MASKED = {"index", "scatter_add"}
ALL_DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split()


PER_FILE = 100  # programs in one file


class Job(NamedTuple):
    """A function and its arguments; `name` says what fails."""

    name: str
    function: Any
    args: tuple[Any, ...]


def variable(argument):
    if type(argument) in (int, float):
        return Variable.number(type(argument), "x")
    array = np.asarray(argument)
    return Variable(array.shape, array.dtype, "x")


def refusals(jobs, flags=("-w", "-O1")):
    """Run every job in C and in NumPy, and compare; the reasons why C refused some."""
    waiting, refused = [], set()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for job in jobs:
            expected = tree.flatten(job.function(*job.args))
            graph, _ = trace(job.function, [variable(a) for a in job.args])
            number = len(waiting)
            try:
                one = prepare(graph, Labels(f"program_{number}"), first_kernel=1 + 1000 * number)
            except UnsupportedError as error:
                refused.add(str(error))
                continue
            waiting.append((one, job, expected))
    assert waiting
    for start in range(0, len(waiting), PER_FILE):
        part = waiting[start : start + PER_FILE]
        programs = load([prepared for prepared, _, _ in part], extra=flags)
        for program, (_, job, expected) in zip(programs, part, strict=True):
            for ours, wanted in zip(program(*job.args), expected, strict=True):
                assert_close(ours, wanted, job.name, table=OF_ONE)
    return refused


# Cases of the table


def smooth_positions(primitive, case):
    return [
        position
        for position, argument in enumerate(case.args)
        if primitive.rule(position) is not None and np.asarray(argument).dtype.kind == "f"
    ]


def with_rules(primitive, case, order=1):
    """The function that gives the result and its derivatives times a cotangent, and its arguments.

    Of second order: the derivatives of the sum of the first ones, each times a number of its own.
    """
    smooth = smooth_positions(primitive, case)
    out = np.asarray(primitive(*case.args, **case.params))
    rng = np.random.default_rng(1)
    if not smooth or out.dtype.kind != "f":
        return lambda *args: primitive(*args, **case.params), case.args

    def filled(args, chosen):
        everything = list(args)
        for position, value in zip(smooth, chosen, strict=True):
            everything[position] = value
        return everything

    def both(g, *args):
        result, pull_back = cr.vjp(
            lambda *chosen: primitive(*filled(args, chosen), **case.params),
            *(args[position] for position in smooth),
        )
        return (result, *pull_back(g))

    def second(g, *args):
        def total(*chosen):
            _, *slopes = both(g, *filled(args, chosen))
            return sum(0.5 * np.sum(slope * np.cos(slope)) for slope in slopes)

        return cr.vjp(total, *(args[position] for position in smooth))[1](np.ones(()))

    g = np.asarray(rng.standard_normal(out.shape), out.dtype)
    return (both if order == 1 else second), (g, *case.args)


def cases_of(name):
    return [
        case
        for case in CASES[name]
        if name not in MASKED or not any(np.asarray(a).dtype == bool for a in case.args[1:])
    ]


def test_nothing_in_the_table_falls_back_but_lapack_and_sorting():
    jobs = (
        Job(f"{name} {[np.shape(a) for a in case.args]} {case.params}", *with_rules(p, case))
        for name, p in sorted(PRIMITIVES.items())
        if name in CASES
        for case in cases_of(name)
    )
    # a thousand programs: the compiler takes a quarter of the time where it does not optimise
    assert refusals(jobs, ("-w", "-O0")) == LAPACK | {"argsort"}


def largest_case(name):
    return max(cases_of(name), key=lambda case: sum(np.size(a) for a in case.args))


WITHOUT_LAPACK = sorted(set(CASES) - LAPACK - {"argsort"})


def test_second_derivatives():
    jobs = (
        Job(f"{name}, second order", *with_rules(PRIMITIVES[name], largest_case(name), 2))
        for name in WITHOUT_LAPACK
        if smooth_positions(PRIMITIVES[name], largest_case(name))
    )
    assert refusals(jobs) == set()


def test_the_table_in_float32():
    def single(argument):
        array = np.asarray(argument)
        return array.astype(np.float32) if array.dtype.kind == "f" else array

    def jobs():
        for name in WITHOUT_LAPACK:
            case = largest_case(name)
            case = type(case)(tuple(map(single, case.args)), case.params)
            yield Job(f"{name} in float32", *with_rules(PRIMITIVES[name], case))

    assert refusals(jobs()) == set()


# Dtypes: one program for each primitive, with a result for each combination

FLOATS = ALL_DTYPES[9:]
MIXED = [
    *((dtype, dtype) for dtype in ALL_DTYPES),
    ("bool", "int8"), ("uint8", "int8"), ("int8", "uint64"), ("uint64", "int64"),
    ("int64", "uint64"), ("int32", "float32"), ("float32", "int16"), ("float64", "float32"),
    ("uint16", "float32"), ("bool", "float64"), ("uint32", "int32"), ("int64", "float64"),
]  # fmt: skip
OF_MANY_TYPES = """
    add subtract multiply divide floor_divide remainder power maximum minimum equal not_equal less
    less_equal greater greater_equal logical_and logical_or logical_xor bitwise_and bitwise_or
    bitwise_xor absolute negative positive square reciprocal sign floor ceil trunc rint invert
    isfinite isnan isinf signbit logical_not sqrt exp tanh copy stop_gradient arctan2 hypot
""".split()


def values_of(dtype, first=0):
    """Twelve numbers, its edges among them, from another one on; no two zeros of two signs."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        numbers = [True, False, True]
    elif dtype.kind == "f":
        numbers = [0.0, 1.0, -1.0, 0.5, -2.5, 3.7, np.inf, -np.inf, np.nan, 100.3, 2.5]
    else:
        limits = np.iinfo(dtype)
        numbers = [0, 1, 2, 3, 7, limits.max, limits.max - 1, 100]
        numbers += [-1, -2, -7, limits.min] if dtype.kind == "i" else [limits.max // 2]
    return np.resize(np.roll(np.array(numbers, dtype), -first), 12)


def whole_powers(name, dtypes):
    """Whether NumPy raises for some of the values: integers to negative powers."""
    return name == "power" and np.result_type(*dtypes).kind == "i"


def applied(name, choices):
    """The primitive of each choice of dtypes, where NumPy has it and its result no 16 bits."""
    p = PRIMITIVES[name]
    args, places = [], []
    for dtypes in choices:
        given = [values_of(dtype, 5 * k) for k, dtype in enumerate(dtypes)]
        if whole_powers(name, dtypes):
            given[1] = np.abs(given[1] % 5)
        try:
            with np.errstate(all="ignore"):
                dtype = np.asarray(p(*given)).dtype
        except TypeError:
            continue
        if dtype != np.float16:
            places.append(range(len(args), len(args) + len(given)))
            args += given
    return lambda *values: [p(*(values[i] for i in own)) for own in places], tuple(args)


def with_numbers(name):
    """The primitive of arrays of each dtype and of Python numbers, written in and handed in."""
    p = PRIMITIVES[name]
    arrays = [values_of(dtype) for dtype in ("bool", "int8", "int64", "uint64", *FLOATS)]

    def function(whole, real, *values):
        found = []
        for array in values:
            for number in (2, whole) + ((2.5, real) if not name.startswith("bitwise") else ()):
                if name != "power" or array.dtype.kind == "f":
                    found += [p(array, number), p(number, array)]
        return [result for result in found if result.dtype != np.float16]

    return function, (3, 1.5, *arrays)


@pytest.mark.parametrize("start", range(0, len(OF_MANY_TYPES), 11))
def test_elementwise_primitives_of_every_dtype(start):
    def jobs():
        for name in OF_MANY_TYPES[start : start + 11]:
            is_binary = PRIMITIVES[name].n_arrays == 2
            choices = MIXED if is_binary else [(dtype,) for dtype in ALL_DTYPES]
            yield Job(f"{name} of every dtype", *applied(name, choices))
            if is_binary and not name.startswith("bitwise") and name != "subtract":
                yield Job(f"{name} of numbers", *with_numbers(name))

    assert refusals(jobs()) == set()


def everything_that_joins_or_reduces(dtype):
    """Reductions, scans, gathers and kin of one dtype: functions of x (2, 3, 4) and y (3, 2)."""
    x = raw = np.resize(values_of(dtype), (2, 3, 4))
    y = np.resize(values_of(dtype, 1), (3, 2))
    if x.dtype.kind == "f":
        x, y = np.where(np.isfinite(x), x, 2), np.where(np.isfinite(y), y, 3)
    places, scatter_add = np.array([[0, -1], [1, 0]], np.int16), PRIMITIVES["scatter_add"]
    targets = ALL_DTYPES[2:5] + FLOATS if dtype in FLOATS else ALL_DTYPES

    def function(x, y, places, raw):
        found = [
            PRIMITIVES[name](raw, axis=axis)  # with NaN and infinities
            for name in ("argmax", "argmin", "max", "min", "all", "any")
            for axis in (None, 0, 1, 2)
        ]
        found += [
            PRIMITIVES[name](x, axis=axis, keepdims=keepdims)
            for name in ("sum", "prod", "max", "min", "all", "any")
            for axis in (None, 0, -1, (0, 2), ())
            for keepdims in (False, True)
        ]
        found += [np.sum(x[:0]), np.prod(x[:, :0], axis=1), np.all(x[:0], axis=0)]
        found += [
            PRIMITIVES[name](array, axis=axis)
            for name in ("cumsum", "cumprod", "argmax", "argmin")
            for array in (x, x.T)
            for axis in (None, 0, 1, 2)
        ]
        if x.dtype.name not in {"int64", "uint64"}:  # whose squares cancel in double
            found += [
                PRIMITIVES[name](x, axis=axis, ddof=ddof)
                for name in ("var", "std")
                for axis in (None, 1, (0, 2), ())
                for ddof in (0, 1)
            ]
            found += [PRIMITIVES["norm"](x, ord=o, axis=(0, 2)) for o in (1, 2, 3, 1.5)]
        found += [
            np.vdot(y, y.T), np.vdot(y, y), y @ y.T, np.einsum("ij,kj->ki", y, y),
            np.einsum("ijk->k", x), np.einsum("ab,cb,cd,d->a", y, y, y, y[0]),
            np.concatenate([y, y.T[:, :2]]), np.stack([y, y[::-1]], axis=1),
            np.pad(y, ((1, 2), (0, 3)), constant_values=((1, 0), (1, 1))), np.pad(y, 1),
            np.roll(y, 7), np.roll(y, (7, -2, 1), (0, 1, 1)), np.tril(x, -1), np.triu(y[0], 1),
            np.diag(y[0], -2), x.T.reshape(4, 6), x[1, 2, 3] + x[0, 0, 0], x[..., None, 1:3].T,
            x[:, places, 1], x[1, :, places], x[places[0], :, places], x[0, places],
            x[places, ..., None, places[0]], x[None, places, ::2], x[0, 1, places[0, 1]],
            np.take_along_axis(y.T, places, 1),
            PRIMITIVES["add_along_axis"](y.T[:, :2], places, shape=(2, 4), axis=1),
            scatter_add(y, places[0], key=(slice(None, None, -1), Slot(0)), shape=(3, 4)),
            scatter_add(y.T, *places, key=(Slot(0), slice(None), Slot(1)), shape=(2, 3, 4)),
            *(np.astype(x, other) for other in targets),
        ]  # fmt: skip
        return found

    return function, (x, y, places, raw)


@pytest.mark.parametrize("dtype", ALL_DTYPES)
def test_reductions_gathers_and_joins_of_every_dtype(dtype):
    assert refusals([Job(f"of {dtype}", *everything_that_joins_or_reduces(dtype))]) == set()


def compiled(function, *args):
    graph, _ = trace(function, [variable(a) for a in args])
    return build(graph, Labels("step"))


def test_what_numpy_refuses_raises_the_same():
    x = np.arange(12.0).reshape(4, 3)
    small, whole = np.arange(3, dtype=np.uint8), np.arange(3)
    good, bad = np.array([0, -4]), np.array([1, 4])
    labels, none = np.array([0, 2]), np.array([0, -1])
    along, off = np.zeros((4, 1), np.int64), np.full((4, 1), 3)
    one_hot, scatter_add, add_along_axis = (
        PRIMITIVES[name] for name in ("one_hot", "scatter_add", "add_along_axis")
    )
    for function, right, wrong in (
        (lambda x, i: x[i], (x, good), (x, bad)),
        (lambda x, i: x[i, 0], (x, good), (x, -bad - 1)),
        (lambda i: one_hot(i, n_classes=3), (labels,), (none,)),
        (lambda x, i: np.take_along_axis(x, i, 1), (x, along), (x, off)),
        (lambda x, i: scatter_add(x[:2], i, key=(Slot(0),), shape=(4, 3)), (x, good), (x, bad)),
        (lambda x, i: add_along_axis(x[:, :1], i, shape=(4, 3)), (x, along), (x, off)),
        (lambda x, n: x + n, (small, 255), (small, 256)),
        (lambda x, n: np.maximum(x, n), (small, 1), (small, -1)),
        (lambda x, n: np.clip(x, n, 9), (small, -1), (small, 256)),
        (lambda x, n: x**n, (whole, whole), (whole, whole - 1)),
    ):
        program = compiled(function, *right)
        assert_close(program(*right)[0], function(*right))
        with pytest.raises((IndexError, ValueError, OverflowError)) as ours:
            program(*wrong)
        with pytest.raises(ours.type):
            function(*wrong)
        assert_close(program(*right)[0], function(*right))


def test_numbers_where_arrays_are_meant():
    """Python numbers are arrays of one element to what reads arrays: written in, and handed in."""

    def function(n, r, x):
        numbers = (n, r, 3, 2.5)
        return [
            *(np.sum(z) for z in numbers), *(np.max(z) for z in numbers),
            *(np.cumsum(z) for z in numbers), *(np.argmax(z) for z in numbers),
            *(np.broadcast_to(z, (2, 3)) for z in numbers),
            *(np.reshape(z, (1, 1)) for z in numbers),
            *(np.stack([z, x]) for z in numbers), *(np.vdot(z, x[None]) for z in numbers),
            *(np.where(x > 0, z, 1) for z in numbers), *(np.clip(x, 0, z) for z in numbers),
            *(np.copy(z) for z in numbers), np.where(x > 9, x.astype(np.uint8), n - 300),
            np.clip(np.astype(x, np.int8), n - 300, n + 300),
            np.clip(np.astype(x, np.int8), 0, 300),
        ]  # fmt: skip

    assert refusals([Job("numbers", function, (2, 0.5, np.array(3.0)))]) == set()


def test_a_constant_in_another_order_is_read_as_it_lies():
    constant = np.arange(12.0).reshape(3, 4).T

    def function(x):
        return x + constant, constant.T[1:] * 1.0 + x[0, 0], constant[::-1] * x, x @ constant.T

    assert refusals([Job("constants", function, (np.ones((4, 3)),))]) == set()


def test_copies_of_many_axes():
    x = np.arange(256.0).reshape((2,) * 8)

    def function(x):
        turned = np.transpose(x, (7, 0, 5, 2, 3, 4, 1, 6))
        return np.reshape(turned, (16, 16)), np.exp(turned), np.sum(turned, axis=(1, 3, 5, 7))

    assert refusals([Job("eight axes", function, (x / 256,))]) == set()


def test_inputs_may_be_called_as_the_loops_are():
    def function(i, j, k, out, place, total):
        return i[:, None] * j + np.sum(k, axis=0), out[place], np.cumsum(total), np.roll(i, 1)

    rng = np.random.default_rng(0)
    args = (*(rng.normal(size=s) for s in (3, 4, (2, 4), 5)), np.array([1, 4]), rng.normal(size=3))
    names = ("i", "j", "k", "out", "place", "total")
    arguments = [Variable(a.shape, a.dtype, name) for a, name in zip(args, names, strict=True)]
    program = build(trace(function, arguments)[0], Labels("step"))
    for ours, wanted in zip(program(*args), function(*args), strict=True):
        assert_close(ours, wanted)
