"""The program `chainrule`: exit statuses, streams, files, and what it says about mistakes."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import signal
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from c_engine import needs_compiler
from typer.testing import CliRunner

from chainrule import nn
from chainrule.cli.app import make_app
from chainrule.cli.console import json_text, number
from chainrule.cli.results import SEEN
from chainrule.data import DamagedFileError, DataNotFoundError
from chainrule.primitives.primitive import PRIMITIVES

COMMANDS = ("train", "diagnose", "reproduce", "check", "data")


def run(*arguments):
    """Run the program within this process."""
    return CliRunner().invoke(make_app(), [str(a) for a in arguments], prog_name="chainrule")


def train(name, folder, *options):
    """Train for two epochs, quietly; the JSON report."""
    result = run("train", name, "--epochs", 2, "-q", "--json", "--output", folder, *options)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def in_process(*arguments, **options):
    """Run the program as a process of its own, its output in pipes."""
    command = [sys.executable, "-m", "chainrule", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


# The program


def test_help_names_every_command():
    result = run("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command in result.stdout
        described = run(command, "--help")
        assert described.exit_code == 0
        assert "--json" in described.stdout


def test_version():
    result = in_process("--version")
    assert result.returncode == 0
    assert re.fullmatch(r"chainrule (\d+\.\d+\S*|\(not installed\))\n", result.stdout)


@pytest.mark.parametrize("arguments", [["trian"], ["train", "iris", "--epoch", "2"]])
def test_misspelled_commands_and_options_get_the_nearest(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.search("train|--epochs", result.stderr)


def test_without_the_libraries_the_extra_is_named():
    for library in ("typer", "rich"):
        code = (
            f"import sys; sys.modules[{library!r}] = None; from chainrule.cli import main; main()"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert result.returncode == 1
        assert result.stdout == ""
        assert library in result.stderr
        assert 'pip install "chainrule[cli]"' in result.stderr
        assert "Traceback" not in result.stderr


def test_help_is_quick_it_loads_no_large_library():
    code = (
        "import sys; from chainrule.cli.app import make_app; make_app();"
        "print({m.split('.')[0] for m in sys.modules} & {'sklearn', 'scipy', 'matplotlib'})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()"


def test_closed_output_is_no_traceback():
    command = f"{sys.executable} -m chainrule data | head -1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert "Traceback" not in result.stderr


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "digist"], "no data set 'digist': did you mean 'digits'?"),
        (["train", "iris", "--loss", "cross_entorpy"], "did you mean 'cross_entropy'?"),
        (["train", "iris", "--activation", "sigmoind"], "did you mean 'sigmoid'?"),
        (["train", "iris", "--optimizer", "adma"], "did you mean 'adam'?"),
        (["train", "iris", "--layers", "3,x"], "--layers is '3,x'"),
        (["train", "iris", "--layers", "3,0"], "--layers is '3,0'"),
        (["train", "iris", "--layers", "-5"], "--layers is '-5'"),
        (["train", "iris", "--layers", "5,"], "--layers is '5,'"),
        (["train", "iris", "--layers", ","], "--layers is ','"),
        (["train", "iris", "--layers", "1_0"], "--layers is '1_0'"),
        (["train", "iris", "--layers", "9" * 9], "at most 50000000 weights"),
        (["train", "iris", "--layers", "9" * 9999], f"--layers is '{'9' * 40}…'"),
        (["train", "iris", "--layers", "99999,99999"], "at most 50000000 weights"),
        (["train", "iris", "--layers", ",".join("2" * 101)], "at most 100 hidden layers"),
        (["source", "iris", "--layers", "-5"], "--layers is '-5'"),
        (["train", "iris", "--learning-rate", "inf"], "finite number above 0"),
        (["train", "iris", "--learning-rate", "1e999"], "finite number above 0"),
        (["train", "iris", "--learning-rate", ""], "--learning-rate"),
        (["train", "iris", "--epochs", "9" * 40], "--epochs"),
        (["train", "iris", "--batch-size", "9" * 40], "--batch-size"),
        (["train", "iris", "--batch-size", "2.5"], "--batch-size"),
        (["train", "iris", "--seed", "-1"], "--seed"),
        (["train", "iris", "--optimizer", ""], "there is no optimizer ''"),
        (["train", "iris", "--activation", ""], "there is no activation ''"),
        (["train", "iris", "--schedule", ""], "there is no schedule ''"),
        (["train", "iris", "--output", ""], "--output is empty"),
        (["train", "iris", "--output", "a\0b"], "--output is 'a\\x00b', which names no folder"),
        (["train", "iris", "--output", "a" * 300], "nothing can be written into aaa"),
        (["train", "a" * 5000], f"there is no data set '{'a' * 59}…: the names are"),
        (["train", ""], "there is no data set ''"),
        (["data", ""], "there is no data set ''"),
        (["source", ""], "there is no data set or folder of a run ''"),
        (["source", "a" * 5000], "there is no data set or folder of a run"),
        (["source", "a\0b"], "there is no data set or folder of a run"),
        (["reproduce", ""], "there is no experiment ''"),
        (["reproduce", "E1", "--output", " "], "--output is empty"),
        (["check", ""], "there is no primitive ''"),
        (["train", "iris", "--learning-rate", "0"], "number above 0"),
        (["train", "iris", "--learning-rate", "nan"], "number above 0"),
        (["train", "iris", "--optimizer", "lbfgs", "--learning-rate", "0.1"], "step lengths"),
        (["train", "iris", "--optimizer", "lbfgs", "--schedule", "cosine"], "leave --schedule out"),
        (["train", "iris", "--schedule", "cosin"], "did you mean 'cosine'?"),
        (["train", "digits", "--model", "lenett"], "did you mean 'lenet'?"),
        (["train", "iris", "--model", "lenet"], "lenet takes images, but iris has none"),
        (["train", "digits", "--model", "lenet"], "cannot take images of 8x8"),
        (
            ["train", "digits", "--model", "convnet", "--layers", "9"],
            "--layers is for --model dense",
        ),
        (["train", "iris", "--loss", "hinge"], "hinge parts two classes, but iris has 3"),
        (["train", "diabetes", "--loss", "cross_entropy"], "diabetes has values to predict"),
        (["train", "iris", "--epochs", "0"], "--epochs"),
        (["train"], "Missing argument"),
        (["data", "iriss"], "did you mean 'iris'?"),
        (["reproduce", "E99"], "no experiment 'E99'"),
        (["check", "mutliply"], "did you mean 'multiply'?"),
    ],
)
def test_mistakes_are_usage_errors(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert list(tmp_path.iterdir()) == []


def test_absent_data_says_what_to_fetch(monkeypatch, tmp_path):
    def absent(_):
        raise DataNotFoundError("fetch train-images-idx3-ubyte.gz")

    monkeypatch.setattr("chainrule.cli.train.data.load", absent)
    result = run("train", "mnist", "--output", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "chainrule: fetch train-images-idx3-ubyte.gz\n"


@pytest.fixture
def no_work(monkeypatch):
    """Nothing may be trained or run before a mistake is found."""

    def work(*_):
        raise AssertionError("this should have been refused before")

    monkeypatch.setattr("chainrule.cli.train._run", work)
    monkeypatch.setattr("chainrule.experiments._run", work)


@pytest.mark.parametrize("command", [("train", "xor"), ("reproduce", "E2")])
@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_file_in_the_place_of_the_folder_is_refused_before_the_work(
    tmp_path, no_work, command, below
):
    (tmp_path / "file").write_text("kept")
    result = run(*command, "-q", "--output", tmp_path / "file" / below)
    assert (result.exit_code, result.stdout) == (2, "")
    given = str(tmp_path / "file" / below)
    assert result.stderr == f"chainrule: --output is {given!r}, which is no folder\n"
    assert (tmp_path / "file").read_text() == "kept"


def test_a_default_folder_that_is_a_file_is_refused_before_the_work(tmp_path, no_work, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "output").write_text("kept")
    assert run("train", "xor", "-q").exit_code == 2


@pytest.mark.parametrize("command", [("train", "xor"), ("reproduce", "E2")])
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written_is_refused_before_the_work(
    tmp_path, no_work, monkeypatch, command, fault
):
    def full(**_):
        raise OSError(fault, os.strerror(fault))

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    result = run(*command, "-q", "--output", tmp_path / "new" / "results")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"chainrule: nothing can be written into {tmp_path / 'new' / 'results'}: "
        f"{os.strerror(fault)}\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_place_of_a_result_is_refused_before_the_work(tmp_path, no_work):
    (tmp_path / "report.json").mkdir()
    result = run("train", "xor", "-q", "--output", tmp_path)
    assert result.exit_code == 1
    assert "report.json is a folder" in result.stderr


def test_a_damaged_file_and_a_want_of_memory_are_said(monkeypatch):
    for error, said in (
        (DamagedFileError("ex4data1.mat is damaged"), "ex4data1.mat is damaged"),
        (MemoryError("9 GiB"), "there is not enough memory for this (9 GiB)"),
    ):

        def load(_, error=error):
            raise error

        monkeypatch.setattr("chainrule.data.load", load)
        for command in ("train", "data", "source"):
            result = run(command, "ex4")
            assert (result.exit_code, result.stderr) == (1, f"chainrule: {said}\n")


def test_a_loss_that_is_not_finite_is_said(tmp_path):
    options = ("--optimizer", "sgd", "--learning-rate", "1e30", "--activation", "identity")
    result = run("train", "diabetes", "-q", "--output", tmp_path, *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "smaller --learning-rate" in result.stderr


# train


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave the drawing out where the numbers matter: it takes most of the time."""
    monkeypatch.setattr("chainrule.cli.results._pictures", lambda result: ())


def test_a_report_for_classes(tmp_path):
    result = in_process("train", "iris", "--epochs", 3, "--output", tmp_path / "new" / "iris")
    assert result.returncode == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["class", "precision", "recall", "f1", "support"] in lines
    assert any(line[:1] == ["virginica"] and len(line) == 5 for line in lines)
    assert "confusion matrix" in result.stdout
    assert "4-8-3, tanh" in result.stdout
    assert "epoch 3/3" in result.stderr
    assert f"written to {tmp_path / 'new' / 'iris'}" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    assert "\r" not in result.stdout + result.stderr
    assert {path.name for path in (tmp_path / "new" / "iris").iterdir()} == {
        "history.csv",
        "report.json",
        "step.py",
        "curves.png",
        "confusion_matrix.png",
        *SEEN,
    }


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("diabetes", {"predicted_against_true.png"}),
        ("moons", {"confusion_matrix.png", "decision_regions.png"}),
        ("digits", {"confusion_matrix.png", "images.png", "hidden_units.png"}),
        ("wine", {"confusion_matrix.png"}),
    ],
)
def test_pictures_suit_the_kind_of_data(name, pictures, tmp_path):
    report = train(name, tmp_path)
    drawn = pictures | {"curves.png"}
    assert set(report["files"]) == drawn | {"history.csv", "report.json", "step.py", *SEEN}
    assert {path.name for path in tmp_path.iterdir()} == set(report["files"])
    for picture in drawn:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("name", "options", "update"),
    [
        ("iris", (), "update by Adam(learning_rate=0.01)"),
        ("iris", ("--optimizer", "lbfgs"), "update by SGD("),  # it takes no steps of its own
        ("diabetes", ("--loss", "huber"), "loss huber of 1 sample"),
    ],
)
def test_the_trained_network_is_explained_and_drawn(name, options, update, tmp_path, no_pictures):
    train(name, tmp_path, *options)
    told = (tmp_path / "explanation.txt").read_text(encoding="utf-8")
    assert update in told
    assert {"FORWARD", "BACKWARD", "UPDATE"} <= set(told.split())
    page = (tmp_path / "explanation.html").read_text(encoding="utf-8")
    assert "d_W1 = x.T @ d_z1" in page
    svg = ElementTree.parse(tmp_path / "network.svg")
    words = " ".join(svg.getroot().itertext())
    assert f"{name}: " in words
    assert "dense_2" in words


def test_files_hold_the_numbers(tmp_path):
    printed = train("diabetes", tmp_path)
    kept = json.loads((tmp_path / "report.json").read_text())
    assert printed == {**kept, "output": str(tmp_path), "files": printed["files"]}
    assert set(kept["test"]) == {"rmse", "mae", "r2", "support"}
    assert kept["n_training_samples"] + kept["n_test_samples"] == 442
    assert kept["test"]["support"] == kept["n_test_samples"]
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val_loss"]) == kept["history"]["val_loss"]
    # R² does not depend on the scale: that of the standardised targets is that of the report.
    assert kept["history"]["val_r2"] == pytest.approx(kept["test"]["r2"], abs=1e-4)


def test_the_accuracy_of_the_report_is_that_of_the_curves(tmp_path, no_pictures):
    for loss in ("cross_entropy", "binary_cross_entropy", "squared_error", "hinge"):
        report = train("breast_cancer", tmp_path, "--loss", loss)
        assert report["loss"] == loss
        assert report["history"]["val_accuracy"] == pytest.approx(report["test"]["accuracy"])


@pytest.mark.parametrize("loss", [name for name in nn.LOSSES if name != "hinge"])
def test_every_loss_trains_classes(loss, tmp_path, no_pictures):
    report = train("iris", tmp_path, "--loss", loss)
    assert np.isfinite(report["history"]["loss"])


@pytest.mark.parametrize("optimizer", ["sgd", "L-BFGS", "lion"])
def test_optimizers_by_name(optimizer, tmp_path, no_pictures):
    report = train("iris", tmp_path, "--optimizer", optimizer)
    assert report["optimizer"] == optimizer.lower().replace("-", "")
    assert report["epochs_done"] <= 2
    assert report["dtype"] == ("float64" if optimizer == "L-BFGS" else "float32")


def test_layers_and_activation(tmp_path, no_pictures):
    report = train("iris", tmp_path, "--layers", "7,5", "--activation", "gelu")
    assert report["architecture"] == "4-7-5-3, gelu"
    assert report["n_parameters"] == 4 * 7 + 7 + 7 * 5 + 5 + 5 * 3 + 3
    linear = train("iris", tmp_path, "--layers", "")
    assert linear["architecture"] == "4-3"


def test_the_seed_decides(tmp_path, no_pictures):
    first, again, other = (
        train("iris", tmp_path, "--seed", seed)["history"]["loss"] for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_xor_is_trained_on_all_its_samples(tmp_path):
    result = run("train", "xor", "-q", "--output", tmp_path)
    assert result.exit_code == 0
    assert "too few to hold any out" in result.stdout
    assert result.stderr == ""
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["test"] is None
    assert report["training"]["accuracy"] == 1.0


def test_verbose_shows_the_layers(tmp_path):
    result = run("train", "iris", "-v", "--epochs", 1, "--json", "--output", tmp_path)
    assert "dense_1" in result.stderr
    assert json.loads(result.stdout)["epochs_done"] == 1


def test_ctrl_c_reports_the_network_so_far(tmp_path):
    command = [sys.executable, "-m", "chainrule", "train", "iris", "--epochs", "100000"]
    process = subprocess.Popen(
        [*command, "--output", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert "epoch" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "precision" in out
    assert "interrupted" in err
    assert "Traceback" not in err
    assert json.loads((tmp_path / "report.json").read_text())["stopped_by"] == "interrupt"


# check


def test_check_prints_a_row_per_rule():
    result = run("check", "tanh", "multiply")
    assert (result.exit_code, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:2] for line in lines[1:4]] == [
        ["tanh", "x"],
        ["multiply", "x"],
        ["multiply", "y"],
    ]
    assert lines[-1] == "3 of 3 rules of 2 primitives hold".split()
    rows = json.loads(run("check", "tanh", "--json").stdout)
    assert [row["primitive"] for row in rows] == ["tanh"]
    assert rows[0]["ok"] is True
    assert rows[0]["worst_relative_error"] < 1e-6


def test_a_wrong_rule_fails_the_check(monkeypatch):
    monkeypatch.setattr(PRIMITIVES["tanh"], "rules", (lambda g, out, x: g * (1 + out * out),))
    result = run("check", "tanh", "exp")
    assert result.exit_code == 1
    assert "NO" in result.stdout
    assert "1 of 2 rules of 2 primitives hold" in result.stdout
    assert json.loads(run("check", "tanh", "--json").stdout)[0]["ok"] is False


# data


def test_the_list_of_data_sets():
    result = run("data")
    assert result.exit_code == 0
    assert re.search(r"^iris +150 samples", result.stdout, re.MULTILINE)
    assert "CHAINRULE_DATA" in result.stderr
    rows = json.loads(run("data", "--json").stdout)
    assert {"xor", "mnist", "ex4"} < {row["name"] for row in rows}


def test_one_data_set():
    text = run("data", "wine").stdout
    assert "class_1" in text
    assert "alcohol" in text
    facts = json.loads(run("data", "wine", "--json").stdout)
    assert facts["classes"] == {"class_0": 59, "class_1": 71, "class_2": 48}
    assert (facts["n_samples"], facts["n_features"]) == (178, 13)
    assert facts["features"][0]["min"] == pytest.approx(11.03)
    assert "y from 25 to 346" in run("data", "diabetes").stdout
    assert "images of 8x8" in run("data", "digits").stdout


# What the commands share


def test_json_is_always_valid():
    value = {"a": np.float32(0.5), "b": [np.nan, np.inf, np.arange(2)], "c": (None, True, "é")}
    assert json.loads(json_text(value)) == {
        "a": 0.5,
        "b": [None, None, [0, 1]],
        "c": [None, True, "é"],
    }


def test_numbers_of_tables():
    assert number(np.array([0.28762916516, 1.0])) == "0.287629, 1"
    assert number(None) == ""
    assert number(["0.1 to 0.2", 3]) == "0.1 to 0.2, 3"


def test_source_prints_the_step_of_a_data_set_and_of_a_run(tmp_path):
    printed = run("source", "iris", "--layers", "5", "--batch-size", "8")
    assert printed.exit_code == 0
    assert "Training step of Network(4-5-3, tanh): batch 8" in printed.stdout
    compile(printed.stdout, "step.py", "exec")
    trained = run("train", "iris", "--epochs", "1", "-q", "--output", str(tmp_path))
    assert trained.exit_code == 0
    assert run("source", str(tmp_path)).stdout == (tmp_path / "step.py").read_text()


def test_source_of_a_minimizer_or_an_unknown_name_says_what_to_do():
    assert run("source", "iris", "--optimizer", "lbfgs").exit_code == 2
    assert "did you mean 'iris'?" in run("source", "irsi").stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bytes(range(256)), "step.py is no Python source"),
        (None, "is not the folder of a finished run: it holds no step.py"),
    ],
)
def test_source_of_a_folder_without_a_step(tmp_path, content, said):
    if content is not None:
        (tmp_path / "step.py").write_bytes(content)
    result = run("source", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_source_of_a_file_or_of_a_run_with_options(tmp_path):
    binary = tmp_path / "network.bin"
    binary.write_bytes(bytes(range(256)))
    result = run("source", binary)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is not the folder of a finished run" in result.stderr
    (tmp_path / "step.py").write_text("pass\n")
    assert run("source", tmp_path).stdout == "pass\n"
    result = run("source", tmp_path, "--layers", "5")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "leave options out" in result.stderr


def test_a_run_in_a_folder_called_like_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "iris").mkdir()
    assert "Training step of Network(4-" in run("source", "iris").stdout
    (tmp_path / "iris" / "step.py").write_text("pass\n")
    assert run("source", "iris").stdout == "pass\n"


# Engines


@needs_compiler
def test_the_engine_of_a_run_is_named_and_its_step_is_beside_the_report(tmp_path, no_pictures):
    report = train("iris", tmp_path, "--engine", "c")
    assert report["engine"] == report["ran_on"]["engine"] == "c"
    assert report["ran_on"]["compiler"]
    assert "-shared" in report["ran_on"]["flags"]
    assert "step.c" in report["files"]
    text = (tmp_path / "step.c").read_text()
    assert text.startswith("/*")
    assert run("source", tmp_path).stdout == text
    printed = run("train", "iris", "--epochs", 1, "--engine", "numpy", "-q", "--output", tmp_path)
    assert re.search("^engine +numpy$", printed.stdout, re.MULTILINE)
    assert {path.name for path in tmp_path.glob("step.*")} == {"step.py"}


@pytest.mark.parametrize("command", ["train", "source"])
def test_a_misspelt_engine_gets_the_nearest_name(command, monkeypatch):
    result = run(command, "iris", "--engine", "nunpy")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there is no engine 'nunpy': did you mean 'numpy'?" in result.stderr
    monkeypatch.setenv("CHAINRULE_ENGINE", "cc")
    result = run(command, "iris")
    assert result.exit_code == 2
    assert "the environment variable CHAINRULE_ENGINE: there is no engine 'cc'" in result.stderr


def test_without_a_compiler_a_run_says_why_it_is_on_numpy(tmp_path, no_pictures, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    command = ("train", "iris", "--epochs", 1, "--engine", "c", "--output", tmp_path)
    result = run(*command)
    assert result.exit_code == 0
    assert result.stderr.count("chainrule: the training step runs on the engine 'numpy'") == 1
    assert "no C compiler: $CC, 'no-such-compiler', is not there" in result.stderr
    assert re.search("^engine +numpy$", result.stdout, re.MULTILINE)
    assert run(*command, "--quiet").stderr == ""


def test_source_prints_c_where_it_is_asked_for_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    result = run("source", "iris", "--engine", "c")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("/*\n * Training step of Network(4-8-3, tanh)")
    assert run("source", "iris", "--engine", "numpy").stdout == run("source", "iris").stdout
