"""Long loops of a C step that threads share: the same bits, beside others, after a fork."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from functools import partial

import numpy as np
import pytest
import test_c_convolution as kernels
from c_engine import assert_close, needs_compiler
from c_kernel_checks import build, run_sanitized

import chainrule as cr
from chainrule import nn, optim
from chainrule.compiler.graph import Variable
from chainrule.compiler.trace import trace
from chainrule.engines.c import program, sharing
from chainrule.engines.c.compilers import has_openmp
from chainrule.engines.c.toolchain import Compiler, find_compiler
from chainrule.engines.threads import loop_threads
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.samples import Batch

F32 = np.dtype(np.float32)
has_threads = isinstance(find_compiler(), Compiler) and has_openmp(find_compiler())
needs_openmp = pytest.mark.skipif(not has_threads, reason="needs OpenMP")


@pytest.fixture
def all_shared(monkeypatch):
    """Every loop is long enough to be divided."""
    monkeypatch.setattr(sharing, "_WORTH_SHARING", 1)
    monkeypatch.setattr(sharing, "_WORTH_SHARING_ELEMENTS", 1)
    monkeypatch.setattr(sharing, "_N_FIRST", 1)


def network(dtype: str = "float64", seed: int = 0) -> nn.Network:
    layers = [
        nn.Conv2D(5, 3, padding=1),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.MaxPool2D(2),
        nn.Conv2D(7, 3, stride=2),
        nn.Tanh(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Dense(3),
    ]
    return nn.Network(layers, input_shape=(12, 13, 2), seed=seed, dtype=dtype)


def samples(dtype: str = "float64", n: int = 21) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 12, 13, 2)).astype(dtype)
    return x, np.eye(3, dtype=dtype)[rng.integers(0, 3, n)]


def trained(monkeypatch, threads: int, engine: str = "c", dtype: str = "float64", seed: int = 0):
    """The network, its parameters, and its source, after a few steps on so many threads."""
    monkeypatch.setattr(program, "loop_threads", lambda: threads)
    net, (x, y) = network(dtype, seed), samples(dtype)
    training = {"loss": "cross_entropy", "optimizer": optim.SGD(0.1, momentum=0.5)}
    net.fit(x, y, **training, batch_size=7, epochs=2, seed=3, verbose=0, engine=engine)
    return net.parameters.flat.copy(), net.step.source


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_number_of_threads_gives_the_same_bits(monkeypatch, all_shared, dtype):
    expected, _ = trained(monkeypatch, 1, "numpy", dtype)
    alone, text = trained(monkeypatch, 1, dtype=dtype)
    assert text.count("omp taskloop") > 10
    for threads in (1, 2, 3):
        found, same_text = trained(monkeypatch, threads, dtype=dtype)
        again, _ = trained(monkeypatch, threads, dtype=dtype)
        assert same_text == text
        np.testing.assert_array_equal(found, again)
        assert_close(found, alone, computed_in="float32")
    assert_close(alone, expected)


def gradients(x, kernel, g):
    value, pull_back = cr.vjp(lambda *args: cr.primitives.convolve(*args, **SAME), x, kernel)
    return value, *pull_back(g)


SAME = {"padding": ((1, 1), (1, 1))}


@needs_compiler
def test_convolutions_give_the_same_bits_on_any_number_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 20, 20, 12)).astype(F32)
    kernel = rng.normal(size=(3, 3, 12, 20)).astype(F32)
    g = rng.normal(size=(9, 20, 20, 20)).astype(F32)
    monkeypatch.setattr(sharing, "_WORTH_SHARING", 1e5)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(program, "loop_threads", lambda n=threads: n)
        compiled = cr.compile(gradients, engine="c")
        results.append(compiled(x, kernel, g))
        assert compiled.source.count("omp taskloop") == 3
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(results[0], gradients(x, kernel, g), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())


PRODUCTS = [  # rows, inner, columns; y transposed; stacks of each
    ((64, 128, 512), False, (), ()),
    ((70, 33, 129), True, (), ()),
    ((300, 20, 7), False, (), ()),
    ((5, 300, 90), True, (), ()),
    ((200, 40, 90), True, (), ()),
    ((30, 20, 40), False, (6, 3), (6, 3)),
    ((30, 20, 40), True, (2,), ()),
]


@needs_compiler
@pytest.mark.parametrize(("sizes", "is_transposed", "left", "right"), PRODUCTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", ["", "-mno-avx512f"])
def test_products_in_parts_have_the_same_bits_on_any_number_of_threads(
    monkeypatch, all_shared, sizes, is_transposed, left, right, dtype, width
):
    (rows, inner, columns), rng = sizes, np.random.default_rng(0)
    x = rng.normal(size=(*left, rows, inner)).astype(dtype)
    y = rng.normal(size=(*right, *((columns, inner) if is_transposed else (inner, columns))))
    y = y.astype(dtype)
    multiply = lambda x, y: x @ (np.swapaxes(y, -1, -2) if is_transposed else y)
    graph, _ = trace(multiply, [Variable(a.shape, a.dtype, n) for a, n in ((x, "x"), (y, "y"))])
    results = []
    for threads in (1, 2, 3, 7):
        monkeypatch.setattr(program, "loop_threads", lambda n=threads: n)
        (made,) = program.load(
            [program.prepare(graph, program.Labels())], extra=[width] if width else []
        )
        assert "omp taskloop" in made.source
        results.append(made(x, y)[0].copy())
    may_be_blas = width or (is_transposed and rows < 128)
    if not may_be_blas:  # which sums otherwise in parts of other sizes
        for found in results:
            np.testing.assert_array_equal(found, results[-1])
    exact = multiply(x.astype(float), y.astype(float))
    for found in results:
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4 if dtype == "float32" else 1e-12)


def test_kernels_in_parts_compute_what_their_primitives_are(tmp_path, all_shared):
    rng = np.random.default_rng(3)
    calls = [*kernels.convolutions(rng, 8), *kernels.windows(rng, 4)]
    found, text = kernels.program(calls)
    assert text.count("omp taskloop") > 40
    kernels.check(build(text, tmp_path, "-Werror"), found)


@pytest.mark.slow
def test_kernels_in_parts_stay_in_their_memory(tmp_path, all_shared):
    found, text = kernels.program(kernels.all_calls(4, 30))
    run_sanitized(text, found, tmp_path)


# What is divided


def source_of(function, *shapes: tuple[int, ...]) -> str:
    variables = [Variable(shape, F32, "xyz"[i]) for i, shape in enumerate(shapes)]
    graph, _ = trace(function, variables)
    return program.text_of([program.prepare(graph, program.Labels())])


@pytest.mark.parametrize(
    ("function", "shapes", "is_shared"),
    [
        (np.tanh, [(2**10,)], False),
        (np.tanh, [(2**20,)], True),
        (lambda x, y: x * y, [(2**10, 2**10), (2**10, 1)], True),
        (lambda x: np.sum(np.tanh(x), axis=1), [(2**10, 2**10)], True),
        (lambda x: np.sum(np.tanh(x), axis=0), [(2**10, 2**10)], False),
        (lambda x: np.sum(np.tanh(x)), [(2**20,)], False),
        (lambda x, y: x * y, [(2, 2**19), (2, 1)], False),
    ],
)
def test_nests_are_divided_where_no_round_adds_to_what_another_does(function, shapes, is_shared):
    assert ("omp taskloop" in source_of(function, *shapes)) == is_shared


@needs_compiler
def test_a_nest_that_may_fail_is_not_shared(all_shared):
    compiled = cr.compile(lambda x, n: x**n, engine="c")
    x = np.arange(40)
    np.testing.assert_array_equal(compiled(x, np.full(40, 2)), x**2)
    assert "omp taskloop" not in compiled.source
    with pytest.raises(ValueError, match="negative integer powers"):
        compiled(x, np.full(40, -1))


def test_threads_of_loops_are_those_of_blas_but_no_more_than_cores(monkeypatch):
    from chainrule.engines import threads

    monkeypatch.setattr(threads, "n_cores", lambda: 4)
    for own, expected in ((1, 1), (3, 3), (8, 4)):
        monkeypatch.setattr(threads, "_blas_threads", lambda n=own: n)
        assert loop_threads() == expected


def test_where_all_cores_are_to_work_one_thread_more_is_asked_for(monkeypatch):
    monkeypatch.setattr(sharing, "n_cores", lambda: 4)
    assert [sharing.team_of(threads) for threads in (1, 2, 3, 4)] == [1, 2, 3, 5]


# Beside others


@needs_openmp
def test_two_networks_at_once_get_what_each_gets_alone(monkeypatch, all_shared):
    alone = [trained(monkeypatch, 2, seed=seed)[0] for seed in (0, 1)]
    found: dict[int, np.ndarray] = {}

    def train(seed):
        found[seed] = trained(monkeypatch, 2, seed=seed)[0]

    workers = [threading.Thread(target=partial(train, seed)) for seed in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for seed, expected in enumerate(alone):
        np.testing.assert_array_equal(found[seed], expected)


@needs_openmp
@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.fork is not on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_trains_too(monkeypatch, all_shared):
    monkeypatch.setattr(program, "loop_threads", lambda graph: 2)
    x, y = samples()
    step = CompiledStep(network(), nn.losses.cross_entropy, optim.SGD(0.1), (), "c")
    rng = np.random.default_rng(0)

    def one_step():
        return step.take(Batch(x, y), 0.1, 1, rng)

    one_step()
    child = os.fork()
    if not child:
        signal.alarm(20)  # what waits for threads that are not there waits for ever
        status = 1
        try:
            one_step()
            status = int(not np.isfinite(step.read_state()[0]).all())
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    one_step()


# The text by itself


@needs_compiler
def test_without_openmp_the_same_text_runs_on_one_thread(monkeypatch, all_shared):
    expected, text = trained(monkeypatch, 1)
    build_library = program.build_library
    monkeypatch.setattr(
        program, "build_library", lambda text, threads, extra: build_library(text, extra=extra)
    )
    found, same_text = trained(monkeypatch, 2)
    assert same_text == text
    assert_close(found, expected)


@needs_compiler
def test_the_file_runs_alone_with_threads_and_without(tmp_path, monkeypatch, all_shared):
    _, text = trained(monkeypatch, 2)
    (tmp_path / "step.c").write_text(text)
    printed = set()
    flags = [["-Wall", "-Wextra", "-Werror", "-fopenmp-simd"], []]
    for extra in [*flags, *([["-fopenmp"]] if has_threads else [])]:
        command = [shutil.which("cc") or "cc", "-std=gnu99", "-O1", *extra, "step.c", "-lm"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        run = subprocess.run(["./a.out"], cwd=tmp_path, check=True, capture_output=True, text=True)
        printed.add(re.sub(r"(\.\d{4})\d+", r"\1", run.stdout))
    assert len(printed) == 1, printed
