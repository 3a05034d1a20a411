"""The C functions: errors against mpmath, edges and integers against NumPy, and their text."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from chainrule.engines.c.functions import function_names, function_text
from chainrule.primitives import special
from chainrule.primitives.gamma import polygamma_of

ROOT = Path(__file__).parents[1]


def tool():
    """The developers' module of tools/ that compiles and measures."""
    name = "measure_functions"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


INTEGERS = "int8 int16 int32 int64 uint8 uint16 uint32 uint64".split()
OF_TWO_INTEGERS = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
OF_TWO = {
    "floor_divide": np.floor_divide,
    "remainder": np.remainder,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "logaddexp": np.logaddexp,
    "xlogy": special.xlogy,
    "xlog1py": special.xlog1py,
    "power": np.power,
    "hypot": np.hypot,
    "arctan2": np.arctan2,
}
OF_ONE = "exp exp2 expm1 log log2 log10 log1p tanh sinh cosh sin cos tan arctan arcsin arccos cbrt"
OF_ONE += " sign absolute sqrt floor ceil trunc rint arcsinh arccosh arctanh"
# Functions of x that the library itself computes in float64: the C text has the same formulas.
SPECIAL = "erf erfc erfcx ndtr log_ndtr ndtri erfinv gammaln logit digamma".split()
CONVERSIONS = [f"convert_{real}_to_{name}_t" for real in ("float", "double") for name in INTEGERS]
MATHEMATICS = "sin_near cos_near tan_near sigmoid polygamma round clip logical".split()
MATHEMATICS += [*OF_ONE.split(), *SPECIAL, *OF_TWO]
OF_INTEGERS = [*OF_TWO_INTEGERS, "negative", "square", "sign", "power", "round", "clip", "logical"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The functions of real numbers, without the loops' vectors, which take long to compile."""
    names = [f"{name}_{real}" for name in MATHEMATICS for real in ("float", "double")]
    return built([*names, *CONVERSIONS], tmp_path_factory.mktemp("functions"), "-O2")


@pytest.fixture(scope="module")
def integer_library(tmp_path_factory):
    names = [f"{name}_{dtype}_t" for name in OF_INTEGERS for dtype in INTEGERS]
    names += [f"absolute_{dtype}_t" for dtype in INTEGERS[:4]]
    return built(names, tmp_path_factory.mktemp("integers"), "-O1")


def built(names, folder, level):
    if not (shutil.which("gcc") or shutil.which("cc")):
        pytest.skip("no C compiler")
    pytest.importorskip("mpmath")
    return tool().build(names, folder, [level, *tool().FLAGS[1:]])


def edges(dtype):
    """Zeros, infinities, NaN, the smallest and largest numbers, and some in between."""
    info = np.finfo(dtype)
    sizes = [0.0, info.smallest_subnormal, info.tiny, info.eps, 0.3, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0]
    sizes += [27.0, 100.0, 750.0, 1e5, 2e9, 1e10, 1e19, info.max, np.inf, np.nan]
    values = np.array(sizes, dtype)
    return np.concatenate([values, -values])


def pairs(values):
    x, y = np.meshgrid(values, values)
    return x.ravel(), y.ravel()


def edge_integers(dtype):
    info = np.iinfo(dtype)
    near = [info.min, info.min + 1, info.max, info.max - 1, info.max // 2, 0, 1, 2, 3, 7, 10, 100]
    near += [-1, -2, -3, -7, -10] if info.min < 0 else []
    return np.array(near, dtype)


# The mathematics


def documented():
    """The errors of docs/functions.md: (function, type) -> ulp."""
    text = (ROOT / "docs" / "functions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \| \S+ \| ([\d.]+) \| \S+ \|$", text, re.MULTILINE)
    return {
        (name, c_type): float(ulp)
        for name, *errors in rows
        for c_type, ulp in zip(("float", "double"), errors, strict=True)
    }


def test_every_function_is_in_the_documented_table_and_within_its_goal():
    pytest.importorskip("mpmath")
    limits = documented()
    assert {name for name, _ in limits} == set(tool().REFERENCES)
    goal = {"float": 2.0, "double": 4.0}
    assert {key: ulp for key, ulp in limits.items() if ulp > goal[key[1]]} == {}


@pytest.mark.parametrize("c_type", ["float", "double"])
def test_errors_are_those_of_the_documented_table(library, c_type):
    worse = {}
    for name, reference in tool().REFERENCES.items():
        x = tool().sample(name, c_type, 400, seed=2)
        errors = tool().errors_in_ulp(reference.f, x, library(f"{name}_{c_type}", x))
        # where the processor has no fused multiplication, other numbers are rounded
        if not errors.max() <= documented()[name, c_type] + 0.25:
            worse[name] = x[errors.argmax()], errors.max()
    assert worse == {}


@pytest.mark.parametrize("c_type", ["float", "double"])
@pytest.mark.parametrize("name", [*OF_ONE.split(), "sigmoid"])
def test_edges_are_numpys(library, name, c_type):
    x = edges(tool().DTYPES[c_type])
    got = library(f"{name}_{c_type}", x)
    with np.errstate(all="ignore"):
        expected = special.expit(x) if name == "sigmoid" else getattr(np, name)(x)
    info = np.finfo(x.dtype)
    assert_allclose(got, expected, rtol=5 * info.eps, atol=2 * info.smallest_subnormal)
    is_exact = np.isinf(expected) | np.isin(expected, [0.0, 1.0, -1.0])
    assert_array_equal(got[is_exact], expected[is_exact])
    zeros = (x == 0) & (expected == 0)
    assert_array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


@pytest.mark.parametrize("c_type", ["float", "double"])
@pytest.mark.parametrize("name", SPECIAL)
def test_special_functions_are_the_librarys_own(library, name, c_type):
    dtype = tool().DTYPES[c_type]
    x = np.concatenate([edges(dtype), np.linspace(-12, 12, 301, dtype=dtype)])
    x = np.concatenate([x, np.linspace(-1, 1, 300, dtype=dtype)])
    x = x[~(np.abs(x) == np.finfo(np.float64).max)]  # of which the library's erfc makes NaN
    got = library(f"{name}_{c_type}", x)
    with np.errstate(all="ignore"):
        expected = getattr(special, name, special.erf)(x)
    info = np.finfo(dtype)
    # at the zeros of gammaln and digamma the absolute error is what is small
    near_0 = 1e-14 if name in {"gammaln", "digamma"} else 2 * info.smallest_subnormal
    assert_allclose(got, expected, rtol=max(1e-14, 4 * info.eps), atol=near_0)
    assert_array_equal(got[x == 0], expected[x == 0])


@pytest.mark.parametrize("order", [0, 1, 2, 5, 20])
def test_polygamma_is_the_librarys_own(library, order):
    x = np.concatenate([edges(np.float64), np.linspace(-6, 20, 261)])
    got = library("polygamma_double", x, order)
    with np.errstate(all="ignore"):
        expected = polygamma_of(order, x)
    assert_allclose(got, expected, rtol=2e-13, atol=1e-14)


@pytest.mark.parametrize("c_type", ["float", "double"])
@pytest.mark.parametrize("name", OF_TWO)
def test_functions_of_two_are_numpys_on_all_pairs_of_edges(library, name, c_type):
    x, y = pairs(edges(tool().DTYPES[c_type]))
    with np.errstate(all="ignore"):
        expected = OF_TWO[name](x, y)
    got = library(f"{name}_{c_type}", x, y)
    info = np.finfo(x.dtype)
    exact = name in {"floor_divide", "remainder", "maximum", "minimum"}
    assert_allclose(
        got, expected, rtol=0 if exact else 4 * info.eps, atol=0 if exact else info.tiny
    )
    if name in {"floor_divide", "remainder"}:
        assert_array_equal(np.signbit(got[got == 0]), np.signbit(expected[got == 0]))


# What NumPy means


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", OF_TWO_INTEGERS)
def test_integers_are_numpys_on_all_pairs_of_edges(integer_library, name, dtype):
    x, y = pairs(edge_integers(dtype))
    with np.errstate(all="ignore"):
        expected = OF_TWO_INTEGERS[name](x, y)
    assert_array_equal(integer_library(f"{name}_{dtype}_t", x, y), expected)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_functions_of_one_integer_are_numpys(integer_library, dtype):
    x = edge_integers(dtype)
    names = ["negative", "square", "sign"] + ["absolute"] * dtype.startswith("int")
    for name in names:
        assert_array_equal(
            integer_library(f"{name}_{dtype}_t", x), getattr(np, name)(x), err_msg=name
        )
    assert_array_equal(integer_library(f"logical_{dtype}_t", x), x.astype(bool))
    x, n = pairs(x)
    x, n = x[n >= 0], n[n >= 0]
    assert_array_equal(integer_library(f"power_{dtype}_t", x, n), np.power(x, n))


@pytest.mark.parametrize("dtype", ["float32", "float64", *INTEGERS])
def test_round_is_numpys(library, integer_library, dtype):
    is_real = dtype.startswith("float")
    suffix = {"float32": "float", "float64": "double"}.get(dtype, f"{dtype}_t")
    x = np.array([0, 1, 4, 5, 14, 15, 25, 26, 35, 99, 100, 117, 125], dtype)
    x = np.concatenate([x, x * dtype_of(dtype, 0.1), x * dtype_of(dtype, 0.01)]) if is_real else x
    for decimals in (-2, -1, 0, 1, 2):
        got = (library if is_real else integer_library)(f"round_{suffix}", x, decimals)
        assert_array_equal(got, np.round(x, decimals), err_msg=str(decimals))


def dtype_of(dtype, number):
    return np.dtype(dtype).type(number)


@pytest.mark.parametrize("suffix", ["float", "double", *(f"{name}_t" for name in INTEGERS)])
def test_clip_is_numpys_also_where_the_limits_cross(library, integer_library, suffix):
    dtype = np.dtype(tool().DTYPES[suffix])
    values = edges(dtype) if dtype.kind == "f" else edge_integers(dtype)
    x, low = pairs(values)
    for high in values[::3]:
        high = np.full_like(x, high)
        call = library if dtype.kind == "f" else integer_library
        assert_array_equal(call(f"clip_{suffix}", x, low, high), np.clip(x, low, high))


@pytest.mark.parametrize("name", CONVERSIONS)
def test_conversions_are_astype(library, name):
    real, integer = re.fullmatch("convert_(\\w+)_to_(\\w+)_t", name).groups()
    x = edges(tool().DTYPES[real])
    powers = 2.0 ** np.array([7, 8, 15, 16, 31, 32, 63, 64])
    x = np.concatenate([x, powers, -powers, powers - 1, -powers - 1, powers + 0.5]).astype(x.dtype)
    with np.errstate(invalid="ignore"):
        expected = x.astype(integer)
    info = np.iinfo(integer)
    with np.errstate(invalid="ignore"):
        fits = (np.trunc(x) >= float(info.min)) & (np.trunc(x) < float(info.max) + 1)
    got = library(name, x)
    assert_array_equal(got[fits], expected[fits])
    if integer in {"int32", "int64"}:  # for the others what NumPy gives depends on how it was built
        assert_array_equal(got, expected)


# Their text


def test_a_text_holds_what_it_needs_in_the_order_of_the_file():
    text = function_text(["sigmoid_float"])
    defined = re.findall(r"^static .*?(\w+)[\[(]", text, re.MULTILINE)
    assert defined == [
        "exp_coefficients_float", "bits_float", "from_bits_float", "nearest_float",
        "power_of_2_float", "scaled_float", "polynomial_6_float", "minus_n_ln2_float",
        "expm1_near_0_float", "exp_float", "sigmoid_float",
    ]  # fmt: skip
    assert function_text(["exp_float", "sigmoid_float"]) == text
    assert function_text([]) == ""


def test_every_function_has_a_comment_and_a_text_without_letters_for_types():
    for name in function_names():
        text = function_text([name])
        assert not re.search(r"(?<![A-Za-z0-9])[STF](?![A-Za-z0-9])|_libm", uncommented(text)), name
        before = text[: text.index(f" {name}(")]
        assert re.search(r"\*/\nstatic inline \w+$", before), name


def uncommented(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def test_a_misspelt_name_is_told_the_nearest():
    with pytest.raises(ValueError, match="no C function 'tanh_flaot': did you mean 'tanh_float'"):
        function_text(["tanh_flaot"])


def test_loops_become_vectors(tmp_path):
    if not (compiler := shutil.which("gcc")):
        pytest.skip("no gcc")
    pytest.importorskip("mpmath")
    names = ["exp", "tanh", "log", "sigmoid", "erf", "sin_near", "maximum"]
    names = [f"{name}_{real}" for name in names for real in ("float", "double")]
    tool().build(names, tmp_path, ["-O0"])
    source = tmp_path / "functions.c"
    command = [compiler, *tool().FLAGS, "-fopt-info-vec", "-S", "-o", os.devnull, str(source)]
    messages = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    lines = source.read_text().splitlines()
    loops = re.findall(r"functions\.c:(\d+):.*loop vectorized", messages)
    found = {line[1] for n in loops if (line := re.search(r"= (\w+)\(", lines[int(n)]))}
    assert found == set(names)
