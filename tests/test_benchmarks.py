"""The benchmarks' own parts: what must come out, what is compared, and what is said of it."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import data

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import mnist
import reference
import report
import run
import worker
import works
from peers import chainrule as ours
from peers import numpy as by_hand

SMALL = replace(
    works.WORKS["lenet"],
    sizes=(12, 5, 4),
    batch_size=3,
    n_steps=1,
    image=(10, 10, 2),
    convolutions=(works.Convolution(3, 4, padding=1), works.Convolution(2, 3)),
)


# What must come out


@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(3, 6), st.integers(0, 99)
)
def test_reference_convolution_is_the_sum_over_the_window(size, channels, n_kernels, side, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((2, side, side + 1, channels))
    kernel = rng.standard_normal((size, size, channels, n_kernels))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))
    wanted = np.einsum("nyxcij,ijcd->nyxd", windows, kernel)
    np.testing.assert_allclose(reference.convolve(x, kernel, np.zeros(n_kernels)), wanted, 1e-12)


def cross_entropy(work, parameters, x, labels):
    logits = reference._forward(work, parameters, x)[-1]["out"]
    return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(x)), labels])


@pytest.mark.parametrize("seed", range(5))
def test_reference_gradients_are_those_of_finite_differences(seed):
    work = replace(SMALL, sizes=(12, 5, 4))
    rng = np.random.default_rng(seed)
    parameters = [rng.standard_normal(p.shape) for p in works.initial_parameters(work)]
    x, labels = rng.standard_normal((3, *work.image)), rng.integers(4, size=3)
    directions = [rng.standard_normal(p.shape) for p in parameters]
    moved = ([p + sign * 1e-6 * d for p, d in zip(parameters, directions)] for sign in (1, -1))
    above, below = (cross_entropy(work, p, x, labels) for p in moved)
    gradients = reference._gradients(work, parameters, x, labels)
    slope = sum(np.vdot(g, d) for g, d in zip(gradients, directions))
    assert slope == pytest.approx((above - below) / 2e-6, rel=1e-5)


def test_reference_gradients_of_sigmoids_are_those_of_finite_differences():
    work, rng = works.WORKS["e10"], np.random.default_rng(0)
    work = replace(work, sizes=(6, 5, 3))
    parameters = [p.astype(float) for p in works.initial_parameters(work)]
    x, y = rng.random((4, 6)), rng.random((4, 3))
    gradients = reference._gradients(work, parameters, x, y)

    def loss(weight):
        outputs = reference._forward(work, [weight, *parameters[1:]], x)[-1]["out"]
        return 0.5 * np.sum((outputs - y) ** 2) / len(x)

    direction = rng.standard_normal(parameters[0].shape)
    slope = loss(parameters[0] + 1e-6 * direction) - loss(parameters[0] - 1e-6 * direction)
    assert np.vdot(gradients[0], direction) == pytest.approx(slope / 2e-6, rel=1e-6)


# Our own sides are checked before they are timed


@pytest.mark.parametrize(
    ("work", "side"),
    [
        ("lenet", "fit"),
        ("lenet", "step"),
        ("convolution-6-12-16-5", "convolve"),
        ("e10", "fit"),
    ],
)
def test_our_side_does_what_the_reference_does(work, side):
    checked = worker.train(ours, {}, work, side)
    assert 0 < checked["deviation"] < 1e-4
    assert checked["label"].startswith("chainrule")


def test_a_side_that_does_something_else_is_refused(monkeypatch):
    def half(work, x, y, start):
        """half: trains at half the learning rate"""
        return ours.fit(replace(work, learning_rate=work.learning_rate / 2), x, y, start)

    monkeypatch.setitem(ours.SIDES, "half", half)
    with pytest.raises(ValueError, match="half does something else than hand-written NumPy"):
        worker.train(ours, {}, "lenet", "half")


@pytest.mark.parametrize("name", ["lenet", *report.CONVOLUTIONS])
def test_the_products_alone_make_all_multiplications(name):
    work = works.WORKS[name]
    made = sum(
        n_times * n_rows * n_in * n_out for n_times, n_rows, n_in, n_out in by_hand._products(work)
    )
    height, width, _ = work.image
    wanted = 0
    for shape, convolution in zip(work.weight_shapes, work.convolutions):
        height += 2 * convolution.padding - convolution.size + 1
        width += 2 * convolution.padding - convolution.size + 1
        wanted += work.batch_size * height * width * int(np.prod(shape))
        height, width = height // 2, width // 2
    wanted += work.batch_size * sum(a * b for a, b in zip(work.sizes, work.sizes[1:]))
    assert made == pytest.approx(wanted, rel=0.01)


# MNIST


@pytest.mark.skipif(mnist.folder() is None, reason="the files of MNIST are not on this machine")
def test_the_peers_read_the_images_that_we_load():
    ours_read = data.load("mnist")
    for part, x, y in (("train", ours_read.x, ours_read.y), ("test", *ours_read.test)):
        images, labels = mnist.read(part)
        np.testing.assert_array_equal(images.reshape(len(x), -1), x)
        np.testing.assert_array_equal(labels, y)
        assert images.dtype == x.dtype == np.float32


def test_without_mnist_its_works_are_left_out_with_a_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CHAINRULE_DATA", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["run.py", "--quick", "--only", "mnist-epoch,time-to-0.990"])
    run.main()
    printed = capsys.readouterr().out
    assert "mnist-epoch is left out" in printed
    assert "time-to-0.990 is left out" in printed


# What is measured and what is said


def options_of(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
    return run._options()


def test_convolutions_stands_for_all_of_them(monkeypatch):
    options = options_of(monkeypatch, "--only", "e10,convolutions,lenet")
    assert options.only == ["e10", *report.CONVOLUTIONS, "lenet"]
    assert len(report.CONVOLUTIONS) == 4


def test_every_work_has_a_title_and_every_goal_a_work():
    assert set(run.NAMES) | {"reproduce"} == set(report.TITLES)
    assert {name for name, _ in report.GOALS} <= set(report.TITLES)


def test_what_a_machine_tells_openblas_does_not_reach_the_processes(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Prescott")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    assert "openblas" in (described := report.describe_machine()["numpy"])
    assert "Prescott" not in described
    process = worker.Worker("numpy", 1)
    try:
        assert process.ask("prepare")["version"] == np.__version__
        environment = Path(f"/proc/{process._process.pid}/environ")
        if not environment.exists():
            pytest.skip("this system does not show the environment of a process")
        variables = environment.read_bytes().split(b"\0")
    finally:
        process.close()
    assert b"OPENBLAS_NUM_THREADS=1" in variables
    assert not [v for v in variables if v.startswith(b"OPENBLAS_CORETYPE")]


def row(name, seconds, **more):
    peer, side = name.split(":")
    values = {"threads": 1, "version": "1.0", "label": name, "includes": "", "values": [seconds]}
    return {"peer": peer, "side": side, **values, **more}


def goal_lines(work, *rows):
    return report.goals({"works": {work: {"sides": rows}}}).splitlines()[2:]


def test_a_goal_that_is_missed_says_by_how_much():
    own = row("chainrule:fit", 9.0), row("chainrule:epochs", 6.0)
    lines = goal_lines("lenet", *own, row("torch:eager", 5.0))
    goal = "LeNet-5's step inside `fit`, after the first epoch: as fast as PyTorch eager"
    assert lines == [f"| {goal} | torch:eager takes 0.83 times ours | **no** |"]


@pytest.mark.parametrize(
    ("torch", "said", "holds"),
    [
        (0.9, "torch:convolve takes 0.90 times ours", "yes"),
        (0.6, "torch:convolve takes 0.60 times ours; within a factor 2", "**no**"),
        (0.4, "torch:convolve takes 0.40 times ours; not within a factor 2", "**no**"),
    ],
)
def test_the_goal_of_a_convolution(torch, said, holds):
    lines = goal_lines(
        "convolution-6-12-16-5", row("chainrule:convolve", 1.0), row("torch:convolve", torch)
    )
    goal = "convolution (6, 12, 16, 5): at least 0.8 of PyTorch's speed"
    assert lines == [f"| {goal} | {said} | {holds} |"]


@pytest.mark.parametrize(("accuracy", "holds"), [(0.9903, "yes"), (0.9899, "**no**")])
def test_a_cold_start_counts_only_where_the_accuracy_was_reached(accuracy, holds):
    (line,) = goal_lines(
        "time-to-0.990",
        row("chainrule:learn", 20.0, accuracies=[[0.98, accuracy]]),
        row("torch:learn", 30.0, accuracies=[[0.991]]),
    )
    assert line.endswith(f"| {holds} |")
