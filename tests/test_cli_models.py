"""`chainrule train --model`: convolutional networks on images of the shape of MNIST's."""

from __future__ import annotations

import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from scipy.signal import correlate2d
from typer.testing import CliRunner

from chainrule import data
from chainrule.cli.app import make_app
from chainrule.cli.prepare import make_optimizer, prepare
from chainrule.cli.recipes import recipe_for
from chainrule.cli.results import SEEN
from chainrule.cli.train import Options, make_setup
from chainrule.data import storage
from chainrule.optim import RMSprop

load = data.load  # itself, for the tests put another in its place

CLOTHES = tuple(f"garment {number}" for number in range(10))


def images_like(name):
    """The digits of 8x8 blown up to 28x28, as a data set of the shape of MNIST's."""
    digits = load("digits")
    enlarged = digits.images().repeat(3, axis=1).repeat(3, axis=2)
    images = np.pad(enlarged, ((0, 0), (2, 2), (2, 2))).astype(np.float32)
    x, y = images.reshape(len(images), -1), digits.y
    return data.Dataset(
        name,
        x[:400],
        y[:400],
        "classification",
        tuple(f"pixel_{i}" for i in range(784)),
        digits.class_names if name == "mnist" else CLOTHES,
        (28, 28),
        x_test=x[400:500],
        y_test=y[400:500],
        description="400 and 100 enlarged digits",
    )


@pytest.fixture(autouse=True)
def small_data(request, monkeypatch):
    if "slow" not in request.keywords:
        monkeypatch.setattr(data, "load", images_like)


def run(*arguments):
    return CliRunner().invoke(make_app(), [str(a) for a in arguments], prog_name="chainrule")


def train(name, model, folder, *options):
    """Train quietly; the JSON report."""
    result = run("train", name, "--model", model, "-q", "--json", "--output", folder, *options)
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.fixture
def no_pictures(monkeypatch):
    monkeypatch.setattr("chainrule.cli.results._pictures", lambda result: ())


@pytest.mark.parametrize(
    ("name", "model", "n_parameters"),
    [("mnist", "lenet", 61706), ("fashion_mnist", "LeNet", 61706), ("mnist", "convnet", 108922)],
)
def test_a_convolutional_network_learns_and_is_drawn(name, model, n_parameters, tmp_path):
    # Smaller batches than the recipe's, which is for a hundred times as many images.
    report = train(name, model, tmp_path, "--epochs", 3, "--batch-size", 16)
    model = model.lower()
    assert report["architecture"] == f"{model}, relu"
    assert (report["model"], report["layers"], report["schedule"]) == (model, None, "cosine")
    assert report["n_parameters"] == n_parameters
    assert report["test"]["accuracy"] > 0.6  # by chance 0.1
    pictures = {
        "curves.png",
        "confusion_matrix.png",
        "images.png",
        "kernels.png",
        "feature_maps.png",
    }
    assert set(report["files"]) == pictures | {"history.csv", "report.json", "step.py", *SEEN}
    assert {path.name for path in tmp_path.iterdir()} == set(report["files"])
    for picture in pictures:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_the_feature_maps_drawn_are_those_of_the_kernels_drawn(tmp_path, monkeypatch):
    drawn = {}
    for name in ("kernels", "feature_maps"):
        monkeypatch.setattr(
            f"chainrule.cli.results.plots.{name}",
            lambda *arrays, title, name=name, **more: drawn.update({name: (*arrays, more)}),
        )
    monkeypatch.setattr("chainrule.cli.results.plots.save", lambda figure, path: path)
    train("mnist", "lenet", tmp_path, "--epochs", 1)
    (weight, _), (image, maps, more) = drawn["kernels"], drawn["feature_maps"]
    np.testing.assert_array_equal(more["kernels"], weight)
    dataset = images_like("mnist")
    np.testing.assert_array_equal(image, dataset.images(dataset.x_test)[0])
    assert (weight.shape, maps.shape) == ((5, 5, 1, 6), (28, 28, 6))
    for i in range(6):
        z = correlate2d(image, weight[:, :, 0, i], mode="same")
        active = maps[:, :, i] > 0
        assert active.any()
        # The bias is not drawn: it is what the map has above the weighted sum, wherever active.
        bias = np.median((maps[:, :, i] - z)[active])
        np.testing.assert_allclose(maps[:, :, i], np.maximum(z + bias, 0), atol=1e-4)


def test_the_report_says_how_the_rate_went(tmp_path, no_pictures):
    result = run("train", "mnist", "--model", "lenet", "--epochs", 2, "-q", "--output", tmp_path)
    assert result.exit_code == 0
    assert "lenet, relu; 61706 parameters" in result.stdout
    assert "2 epochs, adam at 0.002 (cosine), cross_entropy" in result.stdout
    rows = list(csv.DictReader((tmp_path / "history.csv").read_text().splitlines()))
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[0] > 2 * rates[1] >= 0


def test_dense_networks_take_a_schedule_too(tmp_path, no_pictures):
    falling = train("mnist", "dense", tmp_path, "--epochs", 2, "--schedule", "cosine")
    constant = train("mnist", "dense", tmp_path, "--epochs", 2)
    assert (falling["schedule"], constant["schedule"]) == ("cosine", "constant")
    assert falling["layers"] == constant["layers"] == [128]
    assert falling["history"]["learning_rate"] < constant["history"]["learning_rate"] == 0.001


@pytest.mark.parametrize("n_samples", [1, 63, 64, 65, 600])
def test_the_schedule_ends_with_the_last_step(n_samples):
    options = Options("mnist", model="lenet", epochs=3, batch_size=64)
    optimizer = make_optimizer(make_setup(options, images_like("mnist")), n_samples)
    n_steps = 3 * -(-n_samples // 64)
    assert optimizer.learning_rate_at(1) == recipe_for("mnist", "lenet").learning_rate
    assert optimizer.learning_rate_at(n_steps) > 0
    assert optimizer.learning_rate_at(n_steps + 1) == 0


def test_an_optimizer_without_a_rate_of_the_recipe_falls_from_its_own():
    options = Options("mnist", model="lenet", optimizer="rmsprop")
    setup = make_setup(options, images_like("mnist"))
    assert setup.learning_rate is None
    assert make_optimizer(setup, 600).learning_rate_at(1) == RMSprop().learning_rate


def test_the_seed_decides(tmp_path, no_pictures):
    first, again, other = (
        train("mnist", "convnet", tmp_path, "--epochs", 1, "--seed", seed)["history"]["loss"]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_minimizers_train_it_in_float64(tmp_path, no_pictures, monkeypatch):
    small = images_like("mnist")
    small = dataclasses.replace(small, x=small.x[:60], y=small.y[:60])
    monkeypatch.setattr(data, "load", lambda name: small)
    report = train("mnist", "lenet", tmp_path, "--epochs", 2, "--optimizer", "lbfgs")
    assert (report["dtype"], report["schedule"]) == ("float64", None)
    assert np.isfinite(report["history"]["loss"])


def test_images_written_column_by_column_reach_the_network_upright():
    dataset = images_like("mnist")
    by_column = dataclasses.replace(
        dataset, x=dataset.images().swapaxes(1, 2).reshape(400, -1), image_order="F"
    )
    setup = make_setup(Options("mnist", model="lenet"), dataset)
    both = [prepare(either, setup) for either in (dataset, by_column)]
    upright, turned = (prepared.inputs(prepared.x[:3]) for prepared in both)
    assert upright.shape == (3, 28, 28, 1)
    np.testing.assert_array_equal(upright, turned)


@pytest.mark.parametrize("model", ["lenet", "convnet"])
def test_the_step_is_printed_and_runs_on_its_own(model, tmp_path):
    printed = run("source", "mnist", "--model", model, "--batch-size", 4)
    assert printed.exit_code == 0
    (tmp_path / "step.py").write_text(printed.stdout)
    command = [sys.executable, str(tmp_path / "step.py")]
    alone = subprocess.run(command, capture_output=True, text=True, check=True)
    value = float(alone.stdout.split("returned")[1])
    assert np.isfinite(value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("model", "accuracy"), [("lenet", 0.990), ("convnet", 0.993)])
def test_accuracy_on_mnist(model, accuracy, seed, tmp_path, no_pictures):
    if storage.find_local("mnist", "train-images-idx3-ubyte.gz") is None:
        pytest.skip("the files of mnist are not in the folder CHAINRULE_DATA names")
    report = train("mnist", model, tmp_path, "--seed", seed)
    assert report["n_test_samples"] == 10000
    assert report["test"]["accuracy"] >= accuracy
