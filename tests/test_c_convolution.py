"""Convolution and pooling as C text for their shapes, against the primitives' plain forms."""

from __future__ import annotations

import numpy as np
import pytest
from c_kernel_checks import KERNELS, build, call, equation_of, function_text, run_sanitized

from chainrule.engines.c.access import Access, contiguous_strides
from chainrule.gradcheck.cases import all_cases
from chainrule.primitives import PRIMITIVES

TOLERANCE = {"float32": 2e-5, "float64": 1e-13}
DTYPES = ("float32", "float64")


def convolutions(rng, n):
    """Calls of the four convolutions with random geometry, among them the usual sizes."""
    for _ in range(n):
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        channels = int(rng.choice([1, 2, 3, 5, 16, 17]))
        filters = int(rng.choice([1, 2, 3, 5, 6, 8, 16, 20, 33, 64, 80]))
        if rng.random() < 0.3:
            groups, channels, filters = (
                int(rng.choice([2, 3, 7, 16, 20, 40])),
                1,
                int(rng.integers(1, 3)),
            )
        size = rng.integers(1, 6, 2)
        dilation = rng.integers(1, 4, 2) if rng.random() < 0.4 else np.ones(2, int)
        padding = rng.integers(0, 4, (2, 2)) * (rng.random() < 0.6)
        stride = rng.integers(1, 5, 2) if rng.random() < 0.5 else np.ones(2, int)
        reach = (size - 1) * dilation + 1
        image = np.maximum(1, reach - padding.sum(1)) + rng.integers(0, 16, 2)
        how = {
            "stride": tuple(stride.tolist()),
            "padding": tuple(map(tuple, padding.tolist())),
            "dilation": tuple(dilation.tolist()),
            "groups": groups,
        }
        x = rng.normal(size=(int(rng.integers(0, 4)), *image, groups * channels))
        kernel = rng.normal(size=(*size, channels, groups * filters))
        y = rng.normal(size=PRIMITIVES["convolve"](x, kernel, **how).shape)
        bias = rng.normal(size=groups * filters)
        yield "convolve", (x, kernel), how
        yield "convolve_add", (x, kernel, bias), how
        yield "convolve_transpose", (y, kernel), {"size": x.shape[1:3], **how}
        yield "convolve_kernel_vjp", (x, y), {"size": kernel.shape[:2], **how}


def windows(rng, n):
    """Calls of the windows' primitives; the numbers are few, so that many tie."""
    for _ in range(n):
        shape = tuple(rng.integers(1, 12, rng.integers(1, 5)).tolist())
        axis = int(rng.integers(len(shape)))
        size, stride = int(rng.integers(1, min(4, shape[axis]) + 1)), int(rng.integers(1, 5))
        window = {"axis": axis, "size": size, "stride": stride}
        x, values = rng.integers(0, 5, shape).astype(float), rng.normal(size=shape)
        if rng.random() < 0.2:
            x[rng.random(shape) < 0.2] = np.nan
        g = rng.normal(size=PRIMITIVES["window_max"](x, **window).shape)
        yield "window_max", (x,), window
        yield "window_max_vjp", (g, x), window
        yield "max_at_windows", (values, x), window
        yield "window_sum", (x,), window
        yield "window_sum_vjp", (g,), {"length": shape[axis], **window}


def all_calls(seed, n):
    rng = np.random.default_rng(seed)
    cases = all_cases(rng)
    for name in KERNELS:
        yield from ((name, case.args, dict(case.params)) for case in cases[name])
    yield from convolutions(rng, n)
    yield from windows(rng, n)


def program(calls):
    """For each call: symbol, equation, arrays; and the text of all functions."""
    found, texts = [], []
    for number, (name, args, params) in enumerate(calls):
        dtype = DTYPES[number % 2] if number % 7 else DTYPES[0]
        arrays = [np.ascontiguousarray(a, dtype) for a in args]
        equation = equation_of(name, arrays, params)
        found.append((f"{name}_{number}", equation, arrays))
        texts.append(function_text(f"{name}_{number}", equation))
    return found, "\n".join(texts)


def check(library, found):
    for symbol, equation, arrays in found:
        result = call(library, symbol, equation, arrays)
        with np.errstate(invalid="ignore"):
            expected = equation.primitive.evaluate(*arrays, **equation.params)
        assert expected.dtype == result.dtype
        tolerance = TOLERANCE[str(result.dtype)]
        if symbol.startswith(("window_max_", "max_at")) and "vjp" not in symbol:
            np.testing.assert_array_equal(result, expected, symbol)
            continue
        size = np.nanmax(np.abs(expected), initial=1.0)
        message = f"{symbol}: {[a.shape for a in arrays]} {equation.params}"
        np.testing.assert_allclose(
            result, expected, rtol=tolerance, atol=tolerance * size, err_msg=message
        )


def test_kernels_compute_what_their_primitives_are(tmp_path):
    found, text = program(all_calls(0, 12))
    check(build(text, tmp_path, "-Werror"), found)


def test_what_is_summed_can_be_finished_before_it_is_stored(tmp_path):
    def relu(value, index):
        return f"{value} > 0 ? {value} : 0"

    rng = np.random.default_rng(5)
    x, kernel = rng.normal(size=(2, 7, 8, 3)), rng.normal(size=(3, 2, 3, 6))
    bias, y = rng.normal(size=6), rng.normal(size=(2, 5, 7, 6))
    calls = [
        ("convolve", (x, kernel), {}),
        ("convolve_add", (x, kernel, bias), {"padding": ((1, 0), (0, 2))}),
        ("convolve_transpose", (y, kernel), {"size": (7, 8)}),
        ("convolve_transpose", (y, kernel), {"size": (15, 22), "stride": (3, 3)}),
        ("convolve_kernel_vjp", (x, y), {"size": (3, 2)}),
    ]
    equations = [equation_of(*call) for call in calls]
    text = [function_text(f"f{i}", e, finish=relu) for i, e in enumerate(equations)]
    library = build("\n".join(text), tmp_path, "-Werror")
    for i, (equation, (_, args, params)) in enumerate(zip(equations, calls)):
        expected = np.maximum(equation.primitive.evaluate(*args, **params), 0)
        found = call(library, f"f{i}", equation, args)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_names_of_the_caller_may_be_those_of_the_text():
    equation = equation_of("convolve", [np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1))], {})
    variables = [*equation.variables, equation.out]
    arrays = [
        Access(name, v.dtype, v.shape, contiguous_strides(v.shape))
        for name, v in zip(["pixel", "sum", "n"], variables)
    ]
    text = "\n".join(KERNELS["convolve"].write(equation, arrays))
    assert "const double *pixel_ = image + " in text
    assert "double sum_[" in text
    assert "const double *image = pixel + " in text


def test_what_a_kernel_cannot_take_is_said():
    equation = equation_of("convolve", [np.ones((1, 3, 3, 1), int), np.ones((2, 2, 1, 1), int)], {})
    assert "int64" in KERNELS["convolve"].refuses(equation)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_many_more_of_any_geometry(tmp_path, seed):
    found, text = program(all_calls(seed, 40))
    check(build(text, tmp_path, "-Werror"), found)


@pytest.mark.slow
def test_nothing_is_read_or_written_outside(tmp_path):
    """In a program of its own, because the sanitizers must be there from its start."""
    found, text = program(all_calls(4, 25))
    run_sanitized(text, found, tmp_path)
