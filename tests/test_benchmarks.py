"""The benchmarks' own parts: what must come out, what is compared, and what is said of it."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import data
from chainrule.engines.c.compilers import Compiler, find_compiler

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import goals
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


DIFFERENTIATED = {
    "lstm": replace(works.WORKS["lstm"], sizes=(3, 4), sequence=(5, 2), batch_size=3, n_steps=1),
    "attention": replace(
        works.WORKS["attention"],
        sizes=(12, 4),
        sequence=(3, 4),
        heads=2,
        batch_size=3,
        n_steps=1,
    ),
    "batch-norm": replace(SMALL, batch_norm=True),
}


def lstm_logits(work, parameters, x):
    """Gate by gate and sample by sample, as the paper writes it."""
    W, R, b, V, c = parameters
    logits = []
    for sample in x:
        h, cell = np.zeros((2, len(R)))
        for features in sample:
            i, f, g, o = np.split(features @ W + h @ R + b, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            cell = f * cell + i * np.tanh(g)
            h = o * np.tanh(cell)
        logits.append(h @ V + c)
    return np.array(logits)


def attention_logits(work, parameters, x):
    """Sample by sample and head by head."""
    Wq, bq, Wk, bk, Wv, bv, Wo, bo, V, c = parameters
    logits = []
    for sample in x:
        three = (
            np.split(sample @ W + b, work.heads, axis=1) for W, b in ((Wq, bq), (Wk, bk), (Wv, bv))
        )
        mixed = []
        for query, key, value in zip(*three):
            weight = np.exp(query @ key.T / np.sqrt(query.shape[1]))
            mixed.append(weight / weight.sum(axis=1, keepdims=True) @ value)
        logits.append((np.hstack(mixed) @ Wo + bo).ravel() @ V + c)
    return np.array(logits)


def batch_norm_logits(work, parameters, x):
    return reference._forward(work, parameters, x)[-1]["out"]


LOGITS = {"lstm": lstm_logits, "attention": attention_logits, "batch-norm": batch_norm_logits}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LOGITS)
def test_gradients_of_cells_and_batch_norms_are_those_of_finite_differences(name, seed):
    work, rng = DIFFERENTIATED[name], np.random.default_rng(seed)
    parameters = [rng.standard_normal(p.shape) for p in works.initial_parameters(work)]
    x, labels = rng.standard_normal((3, *work.input_shape)), rng.integers(4, size=3)

    def loss(parameters):
        logits = LOGITS[name](work, parameters, x)
        return np.mean(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(3), labels])

    for k, gradient in enumerate(reference._gradients(work, parameters, x, labels)):
        direction = rng.standard_normal(gradient.shape)
        moved = (
            [*parameters[:k], parameters[k] + step * direction, *parameters[k + 1 :]]
            for step in (1e-6, -1e-6)
        )
        above, below = map(loss, moved)
        slope = (above - below) / 2e-6
        assert np.vdot(gradient, direction) == pytest.approx(slope, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("name", ["lstm", "attention", "batch-norm", "mlp-8x3-32-adam"])
def test_numpy_by_hand_does_what_the_reference_does(name):
    assert 0 < worker.train(by_hand, {}, name, "by-hand")["deviation"] < 5e-3


# Our own sides are checked before they are timed


@pytest.mark.parametrize(
    ("work", "side"),
    [
        ("lenet", "fit"),
        ("lenet", "step"),
        ("convolution-6-12-16-5", "convolve"),
        ("e10", "fit"),
        ("e10", "step"),
        ("mlp-8x3-32-adam", "epochs"),
        ("predict", "predict"),
        ("lstm", "epochs"),
        ("attention", "epochs"),
        ("batch-norm", "epochs"),
    ],
)
def test_our_side_does_what_the_reference_does(work, side):
    checked = worker.train(ours, {}, work, side)
    assert 0 < checked["deviation"] < 2e-3
    assert checked["label"].startswith("chainrule")
    assert checked["first"] > 0


@pytest.mark.skipif(
    not isinstance(find_compiler(), Compiler), reason="there is no C compiler on this machine"
)
@pytest.mark.parametrize(
    ("work", "side"),
    [
        ("e4", "c-fit"),
        ("e4", "c-step"),
        ("mlp-8x3-32-adam", "c-epochs"),
        ("predict", "c-predict"),
    ],
)
def test_our_side_in_c_does_what_the_reference_does(work, side):
    checked = worker.train(ours, {}, work, side)
    assert 0 < checked["deviation"] < 1e-3
    assert checked["label"].startswith("chainrule, C")


def test_every_side_of_ours_has_a_twin_in_c():
    names = [name for name in ours.SIDES if not name.startswith("c-")]
    assert {f"c-{name}" for name in names} == set(ours.SIDES) - set(names)


def test_a_side_that_falls_back_is_left_out_with_the_reason(monkeypatch):
    monkeypatch.setenv("CC", "/nowhere/cc")
    for work, side in (("xor", "c-fit"), ("xor", "c-step"), ("predict", "c-predict")):
        with pytest.raises(works.LeftOut, match="/nowhere/cc"):
            worker.train(ours, {}, work, side)


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


def test_the_grid_stands_for_all_its_works(monkeypatch):
    options = options_of(monkeypatch, "--only", "grid,xor")
    assert options.only == [*works.GRID, "xor"]
    assert options_of(monkeypatch, "--only", "lstm").only == ["lstm"]


@pytest.mark.parametrize("what", ["width", "depth", "batch_size"])
def test_the_grid_has_every_width_depth_and_batch_with_both_optimizers(what):
    mlps = [work for work in works.GRID.values() if work.name.startswith("mlp")]
    of = {
        "width": lambda work: work.sizes[0],
        "depth": lambda work: len(work.sizes) - 2,
        "batch_size": lambda work: work.batch_size,
    }[what]
    wanted = {"width": (8, 32, 128, 512, 2048), "depth": (1, 3, 12), "batch_size": (1, 32, 512)}
    pairs = {(of(work), work.optimizer) for work in mlps}
    assert pairs == {(n, rule) for n in wanted[what] for rule in ("adam", "sgd")}


def test_who_takes_part_exists():
    for name, who in run.TRAINING.items():
        assert who.startswith("chainrule:c-"), name
        for side in who.split():
            peer, of_peer = side.split(":")
            source = (Path(run.__file__).parent / "peers" / f"{peer}.py").read_text()
            assert f'"{of_peer}": ' in source, side


def test_every_work_has_a_title_and_every_goal_a_work():
    assert set(run.NAMES) - set(works.GRID) | {"reproduce"} == set(report.TITLES)
    assert {name for name, _ in goals.GOALS_OF_NUMPY} <= set(report.TITLES)
    assert {name for name, *_ in goals.GOALS} <= {*report.TITLES, *works.GRID}


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
    return report.goals_of_numpy({"works": {work: {"sides": rows}}}).splitlines()[2:]


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


# The engine that prints C


def point(*rows, **more):
    return {"date": "2026-01-02", "load": 0.1, "sides": list(rows), **more}


def test_our_row_is_that_of_c_where_it_was_measured():
    numpy, c = row("chainrule:fit", 2.0), row("chainrule:c-fit", 1.0)
    peer = row("torch:eager", 3.0)
    lines = report.table("e4", point(numpy, c, peer)).splitlines()
    assert [line.split(" | ")[3] for line in lines[4:7]] == ["1.00", "2.00", "3.00"]
    left_out = {"label": "chainrule, C", "reason": "C has no form of it"}
    lines = report.table("e4", point(numpy, peer, left_out=[left_out])).splitlines()
    assert [line.split(" | ")[3] for line in lines[4:6]] == ["1.00", "1.50"]
    assert lines[-1] == "chainrule, C is left out: C has no form of it."


def test_the_grid_is_a_table_of_works_by_peers_beside_the_fastest_peer():
    first = {"first": 0.25}
    measured = {
        "mlp-8x1-1-adam": point(
            row("chainrule:c-epochs", 1e-6, **first),
            row("chainrule:epochs", 8e-6, **first),
            row("torch:eager", 4e-6, threads=1, **first),
            row("torch:eager", 3e-6, threads=2, first=0.5),
            row("jax:scan", 2e-6, **first),
        ),
        "lstm": point(
            row("chainrule:epochs", 4e-6, **first),
            row("torch:eager", 2e-6, **first),
            left_out=[{"label": "chainrule, C", "reason": "no loops"}],
        ),
    }
    lines = report.grid(measured).splitlines()
    assert lines[4].startswith("| | fastest peer, µs a step | **chainrule, C** | chainrule |")
    assert lines[6] == "| 8 × 1, batch 1, Adam | 2 | 0.50 | 4.00 | – | 1.00 | – | 1.50 | – | – |"
    lstm = "LSTM 128 over 28 steps of 28, batch 64, Adam"
    assert lines[7] == f"| {lstm} | 2 | – | 2.00 | – | – | – | 1.00 | – | – |"
    assert f"{lstm}: chainrule, C is left out: no loops." in lines
    assert "| 8 × 1, batch 1, Adam | 0.25 | 0.25 | 0.25 | – | 0.25 | – |" in lines
    goal = report.goals({"works": measured}).splitlines()[-1]
    assert "ahead in 1 of 2; behind in lstm (no C: 0.00) | **no** |" in goal


@pytest.mark.parametrize(
    ("work", "rows", "said"),
    [
        (
            "e4",
            [row("chainrule:c-fit", 7e-7), row("jax:scan", 1.4e-6), row("torch:eager", 6e-5)],
            "0.7 µs; jax:scan takes 2.00 times ours; torch:eager takes 85.71 times ours | **no** |",
        ),
        (
            "e4",
            [row("chainrule:c-fit", 7e-7), row("jax:scan", 1.4e-6), row("torch:eager", 7e-5)],
            "0.7 µs; jax:scan takes 2.00 times ours; torch:eager takes 100.00 times ours | yes |",
        ),
        ("xor", [row("chainrule:c-fit", 0.05 / 80e3)], "0.05 s | yes |"),
        ("xor", [row("chainrule:fit", 0.01 / 80e3)], "C has no form of it | **no** |"),
        (
            "e10",
            [row("chainrule:c-fit", 1.1), row("numpy:products", 1.0), row("jax:scan", 1.4)],
            "1.10 times its products; jax:scan takes 1.27 times ours | **no** |",
        ),
        (
            "lenet",
            [row("chainrule:c-fit", 0.5), row("torch:eager", 1.0), row("torch:compile", 0.9)],
            "torch:compile takes 1.80 times ours | yes |",
        ),
        (
            "memory",
            [row("chainrule:c-fit", 1.1), row("chainrule:fit", 1.0)],
            "1.10 times the NumPy engine's | **no** |",
        ),
        ("compile-lenet", [row("chainrule:c-step", 0.9, scipy=True)], "SciPy imported | **no** |"),
    ],
)
def test_a_goal_of_c(work, rows, said):
    table = report.goals({"works": {work: {"sides": rows}}})
    assert any(line.endswith(said) for line in table.splitlines()), table


def test_what_is_written_goes_between_the_marks_once(tmp_path):
    (tmp_path / "README.md").write_text(
        f"above\n{report._BEGIN}\nof last year\n{report._END}\nbelow\n"
    )
    results = {
        "machine": report.describe_machine(),
        "works": {
            "xor": point(row("chainrule:c-fit", 1e-7)),
            "mlp-8x1-1-adam": point(row("chainrule:c-epochs", 1e-6, first=0.1)),
        },
    }
    for _ in range(2):
        report.write(results, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "last year" not in text
    assert text.count("### Many networks") == text.count("### XOR") == 1
    assert report.load(tmp_path / "results.json") == results
