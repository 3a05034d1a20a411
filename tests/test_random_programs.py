"""Thousands of random programs compiled beside eager, and random networks trained both ways."""

from __future__ import annotations

import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from programs import (
    NAMES,
    Instruction,
    Program,
    check,
    difference,
    make,
    report,
    run_many,
    show,
    shrink,
)

import chainrule as cr
from chainrule import nn, optim

N_PROGRAMS, N_CHUNKS = 2_000, 8  # chunks, so that several workers share them
N_SLOW = 20_000


@pytest.mark.parametrize("chunk", range(N_CHUNKS))
def test_a_compiled_program_is_the_eager_one(chunk):
    failures = run_many(N_PROGRAMS // N_CHUNKS, seed=chunk)
    if failures:
        pytest.fail(report(failures), pytrace=False)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", range(20))
def test_many_more_programs(chunk):
    failures = run_many(N_SLOW // 20, seed=100 + chunk)
    if failures:
        pytest.fail(report(failures), pytrace=False)


def saved(program, folder):
    """The file of the compiled program; None for one of the few that are made to raise."""
    function = program.function()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            function(*program.arguments)
        except (ValueError, IndexError, TypeError):
            return None
        compiled = cr.compile(function)
        compiled(*program.arguments)
    path = folder / f"program_{program.number}.py"
    compiled.save_source(path)
    return path


def test_the_source_of_programs_runs_as_a_file(tmp_path):
    programs = [make(number) for number in range(500_000, 500_020)]
    paths = {path: p for p in programs if (path := saved(p, tmp_path)) is not None}

    def run(path):
        command = [sys.executable, "-W", "ignore", "-I", path.name]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(paths, pool.map(run, paths)))
    wrong = [f"{d.stderr}\n{show(paths[path])}" for path, d in done.items() if d.returncode]
    assert len(done) > 15
    assert not wrong, f"{len(wrong)} of {len(done)} files do not run:\n\n" + "\n\n".join(wrong)


# The tool itself


def test_a_program_is_as_itself():
    assert not run_many(500, seed=9, engine_check=lambda program: check(program, lambda f: f))


def test_a_program_is_made_from_its_number():
    assert make(7).text() == make(7).text()
    assert make(7).text() != make(8).text()


def test_programs_do_much_and_rarely_raise():
    programs = [make(number) for number in range(400)]
    text = "\n".join(program.text() for program in programs)
    for part in (
        "np.einsum('", "[::-1]", "f = cr.grad(f", "np.where", "astype", "+= 1", "np.take",
        "slope = ", "stop_gradient", "axis=-1", "np.float16(0.1)", "concatenate",
        "own('", "None", "cr.value",
    ):  # fmt: skip
        assert part in text, part
    raised = 0
    with np.errstate(all="ignore"):
        for program in programs:
            try:
                program.function()(*program.arguments)
            except Exception:
                raised += 1
    assert 0 < raised < 40


@pytest.mark.parametrize(
    ("faulty", "kind"),
    [
        (lambda f: lambda *a: _changed(f(*a), lambda v: v + 1), "value"),
        (lambda f: lambda *a: _changed(f(*a), lambda v: np.asarray(v)[None]), "shape"),
        (lambda f: lambda *a: _changed(f(*a), lambda v: np.asarray(v, complex)), "dtype"),
        (lambda f: lambda *a: _writes(f, a), "an argument is written to"),
        (lambda f: _Remembers(f), "an earlier result is overwritten"),
        (lambda f: lambda *a: 1 / 0, "ZeroDivisionError"),
        (lambda f: lambda *a: [f(*a)], "form"),
    ],
)
def test_the_check_finds_what_is_wrong(faulty, kind):
    body = "x = np.add({}, {})"
    program = _plain(body)
    assert check(program, lambda f: f) is None
    failure = check(program, faulty)
    assert failure is not None
    assert failure.kind == kind
    assert shrink(program, lambda p: check(p, faulty))[1].kind == kind


def _plain(body):
    line = Instruction("v0", body.removeprefix("x = "), ("x0", "x0"))
    x = np.array([1.0, -2.0, 0.0])
    return Program(0, "f", ("x",), (x,), (x * 2,), (("x0", "p0"),), (line,), "v0")


def _changed(result, change):
    return cr.tree.map_tree(change, result)


def _writes(f, args):
    result = f(*args)
    args[0][...] = 7
    return result


class _Remembers:
    """Returns the same memory at each call."""

    def __init__(self, function):
        self.function, self.memory = function, None

    def __call__(self, *args):
        result = self.function(*args)
        self.memory = result if self.memory is None else self.memory
        self.memory[...] = result
        return self.memory


def test_what_counts_as_a_difference():
    for same in ((np.float64(2), 2.0), (np.array(3), 3), ([None, X], [None, X.copy()])):
        assert difference(*same) is None
        assert difference(*reversed(same)) is None
    assert difference(np.nan, np.array(np.nan)) is None
    for wanted, found, kind in (
        (0.0, -0.0, "sign of zero"),
        (X, X + 1e-15, "rounding"),
        (X, X + 1, "value"),
        (X, X.astype("f4"), "dtype"),
        (2, 2.0, "dtype"),
        (X, X[None], "shape"),
        ((X,), [X], "form"),
        ({"a": X}, {"b": X}, "form"),
        (None, X, "form"),
        (X, None, "form"),
    ):
        assert difference(wanted, found).startswith(kind)


X = np.array([1.0, np.inf, np.nan])


# Networks


LAYERS = (nn.Sigmoid, nn.Tanh, nn.ReLU, nn.ELU, nn.GELU, nn.LayerNorm, nn.BatchNorm, nn.Dropout)
LOSSES = sorted(nn.losses.LOSSES)
OPTIMIZERS = (
    optim.SGD(0.1), optim.SGD(0.1, 0.9, nesterov=True), optim.Adam(), optim.AdamW(), optim.Lion(),
    optim.RMSprop(), optim.Adagrad(), optim.SGD(optim.ExponentialDecay(0.1, 0.5, 2)),
    optim.SGD(0.1, clip_norm=0.01), optim.Adam(clip_value=0.01),
)  # fmt: skip


def targets(loss, n, choose):
    rng = np.random.default_rng(choose.randrange(1000))
    if loss == "cross_entropy" and choose.random() < 0.5:
        return rng.integers(0, 3, n)
    if loss == "hinge":
        return 2.0 * np.eye(3)[rng.integers(0, 3, n)] - 1
    y = rng.random((n, 3))
    return y / y.sum(axis=1, keepdims=True)


def random_layers(choose):
    names = choose.sample([name for name in dict.fromkeys(NAMES) if name != "ﬁ"], 6)
    layers = []
    for _ in range(choose.choice((0, 1, 2))):
        kind = choose.choice(LAYERS)
        # A bias before a BatchNorm has the gradient 0 but for rounding, which Adam makes large.
        biased = kind is not nn.BatchNorm
        layers.append(nn.Dense(choose.choice((3, 5)), use_bias=biased, name=names.pop()))
        layers.append(kind(0.5, name=names.pop()) if kind is nn.Dropout else kind())
    if layers and choose.random() < 0.3:
        layers = [nn.Stack(layers, name=names.pop())]
    return [*layers, nn.Dense(3, name=names.pop())]


@pytest.mark.parametrize("number", range(60))
def test_a_network_with_hostile_names_trains_as_uncompiled(number):
    choose = random.Random(number)
    loss, optimizer = LOSSES[number % len(LOSSES)], choose.choice(OPTIMIZERS)
    dtype = choose.choice(("float32", "float64"))
    seed, n = choose.randrange(1000), choose.choice((6, 7))
    x = np.random.default_rng(seed).standard_normal((n, 4)).astype(dtype)
    y = targets(loss, n, choose)
    weight = np.linspace(0.5, 1.5, n) if choose.random() < 0.3 else None
    built = choose.getstate()
    results = []
    for compiled in (True, False):
        choose.setstate(built)
        net = nn.Network(random_layers(choose), seed=seed, dtype=dtype)
        given = x.copy(), y.copy(), None if weight is None else weight.copy()
        history = net.fit(
            given[0], given[1], sample_weight=given[2], loss=loss, optimizer=optimizer,
            batch_size=2 if choose.random() < 0.5 else n, epochs=3, seed=seed, verbose=0,
            compile=compiled,
        )  # fmt: skip
        for before, after in zip((x, y, weight), given):
            np.testing.assert_array_equal(before, after)
        results.append((net.parameters.flat.copy(), np.array(history["loss"])))
        if compiled:
            compile(net.step.source, "step", "exec")
    tolerance = {"float32": 2e-3, "float64": 1e-9}[dtype]
    for ours, expected in zip(*results):
        scale = np.abs(expected).max()
        np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance * scale)
