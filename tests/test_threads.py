"""One thread for small products, the user's own setting for large ones, restored afterwards."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from chainrule import nn
from chainrule.compiler.graph import Variable
from chainrule.compiler.trace import trace
from chainrule.engines import threads
from chainrule.engines.threads import largest_product, limit_threads

F32 = np.dtype(np.float32)


def product(rows: int, inner: int, columns: int):
    inputs = [Variable((rows, inner), F32, "x"), Variable((inner, columns), F32, "w")]
    return trace(lambda x, w: np.tanh(x @ w), inputs)[0]


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in ThreadpoolController().select(user_api="blas").info()]


def test_the_largest_product_is_counted_in_multiplications():
    assert largest_product(product(64, 196, 100)) == 64 * 196 * 100
    assert largest_product(trace(np.tanh, [Variable((3,), F32, "x")])[0]) == 0


@pytest.mark.parametrize(
    ("sizes", "is_limited"), [((64, 196, 100), True), ((512, 784, 512), False)]
)
def test_small_products_run_on_one_thread(sizes, is_limited):
    before = blas_threads()
    with limit_threads(product(*sizes)):
        within = blas_threads()
    assert within == ([1] * len(before) if is_limited else before)
    assert blas_threads() == before


# One limit for the process


def fitted(sizes, seed, callbacks=(), **options):
    """The parameters after a few steps of a network with products of these sizes."""
    n_samples, n_features, n_units = sizes
    rng = np.random.default_rng(seed)
    x = rng.random((n_samples, n_features), np.float32)
    y = rng.random((n_samples, 2), np.float32)
    net = nn.Network([nn.Dense(n_units), nn.Tanh(), nn.Dense(2)], seed=seed)
    net.fit(
        x, y, loss="squared_error", batch_size=None, seed=seed, verbose=0, callbacks=callbacks,
        **({"epochs": 3} | options),
    )  # fmt: skip
    return net.parameters.flat.tobytes()


SMALL, LARGE = (64, 60, 30), (512, 784, 256)


class Watch:
    """A callback that notes how many threads BLAS has while the fit runs."""

    def __init__(self):
        self.seen = set()

    def on_epoch_begin(self, run):
        self.seen |= set(blas_threads())
        time.sleep(0.002)  # let other threads come between


@pytest.fixture
def two_blas_threads():
    pytest.importorskip("scipy.linalg")  # whose BLAS is one more
    with threadpool_limits(2, user_api="blas"):
        yield blas_threads()


def in_threads(*calls):
    """The results of the calls, made all at once in threads of their own."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def test_fits_in_parallel_threads_get_the_bits_they_get_alone(two_blas_threads):
    cases = [
        (sizes, seed, options)
        for seed, (sizes, options) in enumerate(
            [(SMALL, {}), (LARGE, {}), (SMALL, {}), (LARGE, {"compile": False}), (LARGE, {}),
             (SMALL, {"optimizer": "lbfgs"})]
        )
    ]  # fmt: skip
    alone = [fitted(sizes, seed, **options) for sizes, seed, options in cases]
    for _ in range(3):
        watches = [Watch() for _ in cases]
        together = in_threads(
            *(
                lambda case=case, watch=watch: fitted(*case[:2], [watch], **case[2])
                for case, watch in zip(cases, watches)
            )
        )
        assert together == alone
        for (sizes, _, options), watch in zip(cases, watches):
            limited = sizes == SMALL and not options
            assert watch.seen == ({1} if limited else set(two_blas_threads))
        assert blas_threads() == two_blas_threads


def test_fits_of_one_wish_run_at_the_same_time(two_blas_threads):
    both = threading.Barrier(2, timeout=20)

    class Meet:
        def on_fit_begin(self, run):
            self.met = False

        def on_epoch_end(self, run):
            if not self.met:
                both.wait()
                self.met = True

    in_threads(*(lambda seed=seed: fitted(SMALL, seed, [Meet()]) for seed in (1, 2)))
    assert blas_threads() == two_blas_threads


def test_the_limit_goes_with_the_last_fit_whatever_ends_it(two_blas_threads):
    class Fail:
        def on_epoch_end(self, run):
            raise RuntimeError("mine")

    def failing(sizes):
        with pytest.raises(RuntimeError, match="mine"):
            fitted(sizes, 0, [Fail()])
        return 0

    in_threads(*(lambda sizes=sizes: failing(sizes) for sizes in (SMALL, LARGE, SMALL, LARGE)))
    assert blas_threads() == two_blas_threads
    in_threads(lambda: fitted(SMALL, 1), lambda: failing(SMALL), lambda: fitted(SMALL, 2))
    assert blas_threads() == two_blas_threads


@pytest.mark.parametrize(("outer", "inner"), [(SMALL, LARGE), (LARGE, SMALL), (SMALL, SMALL)])
def test_a_fit_within_a_callback_has_its_own_wish_and_nobody_waits_for_ever(
    outer, inner, two_blas_threads
):
    alone = [fitted(inner, 5), fitted(outer, 6)]

    class Nested:
        def on_epoch_end(self, run):
            before = blas_threads()
            self.found = fitted(inner, 5)
            assert blas_threads() == before

    def nested():
        callback = Nested()
        return fitted(outer, 6, [callback]), callback.found

    for found in in_threads(nested, nested, nested):
        assert found == (alone[1], alone[0])
    assert blas_threads() == two_blas_threads


def test_a_step_is_written_for_the_users_threads_while_another_fit_has_one(two_blas_threads):
    with limit_threads(product(64, 60, 30)):
        assert blas_threads() == [1] * len(two_blas_threads)
        assert threads._blas_threads() == max(two_blas_threads)
    assert threads._blas_threads() == max(two_blas_threads)


def test_ctrl_c_while_a_fit_waits_for_another_leaves_the_limit_right(two_blas_threads):
    """An inner fit has let the outer one's limit go, which somebody else then holds otherwise."""
    taken, done = threading.Event(), threading.Event()
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT])

    def other():
        with limit_threads(None):
            taken.set()
            done.wait(20)

    def wait_for_the_other():
        with limit_threads(product(64, 60, 30)), limit_threads(None):
            thread.start()
            assert taken.wait(20)
            timer.start()

    thread = threading.Thread(target=other)
    began = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        wait_for_the_other()
    assert time.perf_counter() - began < 10
    done.set()
    thread.join()
    assert threads._LIMIT._holders == 0
    assert blas_threads() == two_blas_threads
