"""Convolution and pooling in the compiled step: equal to the eager one, in memory allocated once,
shared by threads where they are large.

The golden file is read and written anew like those of `test_compiled_step.py`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from chainrule import nn, optim
from chainrule.engines import threads
from chainrule.training.compiled_step import CompiledStep
from chainrule.training.eager_step import EagerStep
from chainrule.training.samples import Batch

GOLDEN = Path(__file__).parent / "golden" / "lenet.py"
LOSS = nn.losses.cross_entropy


def lenet(dtype="float32"):
    layers = [
        nn.Conv2D(6, 5, padding="same"), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(16, 5), nn.ReLU(), nn.MaxPool2D(2),
        nn.Flatten(), nn.Dense(120), nn.ReLU(), nn.Dense(84), nn.ReLU(), nn.Dense(10),
    ]  # fmt: skip
    return nn.Network(layers, input_shape=(28, 28, 1), seed=0, dtype=dtype)


def batch_of(n, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.random((n, 28, 28, 1)).astype(dtype), rng.integers(0, 10, n)


def three_steps(make, net, x, y, optimizer):
    """Loss, outputs and parameters after three steps."""
    step = make(net, LOSS, optimizer)
    for number in (1, 2, 3):
        loss, outputs = step.take(Batch(x, y), 0.01, number)
    return np.array(loss), np.array(outputs), np.array(step.read_state().flat)


@pytest.fixture
def two_threads(monkeypatch):
    monkeypatch.setattr(threads, "_blas_threads", lambda: 2)


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setattr(threads, "_blas_threads", lambda: 1)


# The step


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2D(4, 3, stride=2, padding="same"), nn.MaxPool2D(3, stride=2)],
        [nn.Conv2D(4, 3, dilation=2), nn.AvgPool2D(2), nn.Conv2D(2, 2, groups=2)],
        [nn.Conv2DTranspose(2, 3, stride=2), nn.Tanh(), nn.MaxPool2D(2, stride=3)],
        [nn.Conv2D(3, 3, use_bias=False), nn.MaxPool2D(5, stride=5), nn.ReLU()],
    ],
    ids=["stride", "dilation and groups", "transposed", "no bias"],
)
def test_equals_the_eager_step(layers):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(5, 13, 12, 2)), rng.integers(0, 3, 5)
    net = nn.Network(
        [*layers, nn.Flatten(), nn.Dense(3)], input_shape=(13, 12, 2), seed=0, dtype="float64"
    )
    eager = three_steps(EagerStep, net, x, y, optim.Adam())
    compiled = three_steps(CompiledStep, net, x, y, optim.Adam())
    for expected, found in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_no_large_array_is_allocated_within_a_step(one_thread):
    """But for what lies under the kernel in a few images, which is of one size for any batch, and
    where the largest elements of the windows are, a byte for each.
    """
    n, optimizer = 256, optim.Adam()
    net = lenet()
    x, y = batch_of(n)
    step = CompiledStep(net, LOSS, optimizer)
    step.take(Batch(x, y), 0.01, 1)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step.take(Batch(x, y), 0.01, 2)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    second_convolution = 4 * n * 10 * 10 * 16  # 1.6 MB; the first makes 4.8 MB, its gradient too
    assert peak < 1_500_000 < second_convolution


def golden_source():
    step = CompiledStep(lenet(), LOSS, optim.Adam())
    step.compile_for(*batch_of(8))
    return step.source


def test_golden_source(request):
    source = golden_source()
    if request.config.getoption("--write-golden"):
        GOLDEN.write_text(source)
    assert source == GOLDEN.read_text(), "the source of LeNet has changed: see --write-golden"


def test_a_convolution_is_one_call_and_the_file_runs_by_itself():
    source = GOLDEN.read_text()
    body = source.split("def train_step")[1].split("if __name__")[0]
    for line in (
        "convolve_add(x, W1, b1, padding=((2, 2), (2, 2)), out=a1)\n",
        "convolve_kernel_vjp(x, d_z1, padding=((2, 2), (2, 2)), size=(5, 5), out=d_W1)\n",
        "convolve_transpose(d_z2, W2, size=(14, 14), out=",
    ):
        assert body.count(line) == 1, line
    assert (
        body.count("\n    convolve_transpose(") == 1
    )  # nobody asks for the gradient by the images
    assert body.count("= np.zeros") == body.count("= np.empty") == 0
    done = subprocess.run(
        [sys.executable, "-I", str(GOLDEN)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("train_step on random data returned")
    imports = [line.split()[1] for line in source.splitlines() if "import " in line]
    assert {name.partition(".")[0] for name in imports} <= {
        "numpy", "os", "math", "functools", "concurrent", "contextvars",
    }  # fmt: skip


# Threads


def larger_net(dtype="float32"):
    """Its second convolution is large with 64 images, and small with 8."""
    layers = [nn.Conv2D(8, 5), nn.ReLU(), nn.Conv2D(16, 5), nn.MaxPool2D(4), nn.Flatten()]
    return nn.Network([*layers, nn.Dense(10)], input_shape=(28, 28, 1), seed=0, dtype=dtype)


def test_large_convolutions_are_shared_and_small_ones_are_not(two_threads):
    for n, is_shared in ((8, False), (64, True)):
        step = CompiledStep(larger_net(), LOSS, optim.Adam())
        step.compile_for(*batch_of(n))
        assert ("threads=2" in step.source) == is_shared


def test_large_products_keep_the_threads_of_blas(two_threads):
    layers = [nn.Conv2D(8, 5), nn.Flatten(), nn.Dense(512), nn.Dense(10)]
    net = nn.Network(layers, input_shape=(28, 28, 1), seed=0)
    step = CompiledStep(net, LOSS, optim.Adam())
    step.compile_for(*batch_of(64))
    assert "threads=2" not in step.source


def test_one_thread_of_blas_is_one_thread_of_ours(one_thread):
    step = CompiledStep(larger_net(), LOSS, optim.Adam())
    step.compile_for(*batch_of(64))
    assert "threads=2" not in step.source


def test_blas_has_one_thread_while_convolutions_have_more(two_threads):
    from threadpoolctl import ThreadpoolController

    step = CompiledStep(larger_net(), LOSS, optim.Adam())
    step.compile_for(*batch_of(64))
    with threads.limit_threads(step.graph):
        pools = ThreadpoolController().select(user_api="blas").info()
        assert {pool["num_threads"] for pool in pools} == {1}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-4)])
def test_threads_change_the_rounding_only_and_always_alike(monkeypatch, dtype, tolerance):
    x, y = batch_of(67, dtype)
    results = []
    for n_threads in (1, 2, 3, 3):
        monkeypatch.setattr(threads, "_blas_threads", lambda n=n_threads: n)
        results.append(three_steps(CompiledStep, larger_net(dtype), x, y, optim.SGD(0.1)))
    for found in results[1:]:
        for ours, expected in zip(found, results[0], strict=True):
            np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)
    for ours, again in zip(results[2], results[3], strict=True):
        np.testing.assert_array_equal(ours, again)


def test_nan_reaches_the_loss_and_the_parameters_through_threads(two_threads):
    x, y = batch_of(64)
    x[63] = np.nan  # in the share of the second thread
    loss, _, parameters = three_steps(CompiledStep, larger_net(), x, y, optim.SGD(0.1))
    assert np.isnan(loss)
    assert np.isnan(parameters).any()


def test_an_error_in_a_thread_is_raised_and_the_next_call_works():
    from chainrule.engines.numpy.kernels.sharing import share_images

    def work(first, last):
        if first:
            raise ZeroDivisionError(f"images {first} to {last}")
        return last

    with pytest.raises(ZeroDivisionError, match="images 3 to 6"):
        share_images(work, 6, 2)
    assert share_images(lambda first, last: (first, last), 7, 3) == [(0, 2), (2, 4), (4, 7)]


def test_an_interrupt_waits_until_no_thread_writes_any_more():
    from chainrule.engines.numpy.kernels.sharing import share_images

    finished = threading.Event()

    def work(first, last):
        if not first:
            raise KeyboardInterrupt
        time.sleep(0.2)
        finished.set()

    with pytest.raises(KeyboardInterrupt):
        share_images(work, 2, 2)
    assert finished.is_set()


def test_an_interrupt_between_steps_leaves_a_model_that_trains_on(two_threads):
    x, y = batch_of(192)
    net = larger_net()
    training = {"loss": "cross_entropy", "batch_size": 64, "verbose": 0, "shuffle": False}

    class CtrlC:
        def on_batch_end(self, run):
            if run.batch == 1:  # the second step is done whole, the third is not begun
                signal.raise_signal(signal.SIGINT)

    assert net.fit(x, y, **training, callbacks=[CtrlC()]).stopped_by == "interrupt"
    expected = larger_net()
    expected.fit(x[:128], y[:128], **training)
    np.testing.assert_array_equal(net.parameters.flat, expected.parameters.flat)
    net.fit(x, y, **training)
    assert np.isfinite(net.parameters.flat).all()


FORK = """
import os, sys, warnings
import numpy as np
from chainrule.engines.numpy.kernels.convolve import convolve
warnings.simplefilter("ignore")
x, kernel, out = np.ones((4, 5, 5, 1)), np.ones((2, 2, 1, 1)), np.empty((4, 4, 4, 1))
convolve(x, kernel, threads=2, out=out)
child = os.fork()
out.fill(0)
convolve(x, kernel, threads=2, out=out)
if child:
    sys.exit(os.waitpid(child, 0)[1])
os._exit(int(out.sum() != 4 * 16 * 4))
"""


@pytest.mark.skipif(not hasattr(sys, "getdlopenflags"), reason="os.fork is not on this system")
def test_a_forked_process_has_threads_of_its_own():
    subprocess.run([sys.executable, "-c", FORK], check=True, timeout=60)
