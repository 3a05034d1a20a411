"""Pictures: what is drawn is what was measured, and no window or global figure is made."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from chainrule import plots

RNG = np.random.default_rng(0)
HISTORY = {
    "loss": [1.0, 0.5, 0.4],
    "accuracy": [0.5, 0.8, 0.9],
    "learning_rate": [0.1, 0.1, 0.1],
    "val_loss": [1.1, 0.7, 0.6],
    "val_accuracy": [0.4, 0.7, 0.8],
}


def figures():
    x, y = RNG.normal(size=(30, 2)), np.arange(30) % 3
    return {
        "learning_curves": plots.learning_curves(HISTORY, title="curves"),
        "loss_curve": plots.loss_curve([600.0, 9.0, 1.0], published={1: 604.6}, title="loss"),
        "decision_regions": plots.decision_regions(lambda p: RNG.normal(size=(len(p), 3)), x, y),
        "image_grid": plots.image_grid(RNG.random((13, 4, 4)), labels=["1"] * 13, title="images"),
        "hidden_units": plots.hidden_units(RNG.normal(size=(7, 4, 4))),
        "kernels": plots.kernels(RNG.normal(size=(3, 3, 1, 6)), title="kernels"),
        "feature_maps": plots.feature_maps(RNG.random((9, 9)), RNG.random((7, 7, 6)), title="maps"),
        "confusion_matrix": plots.confusion_matrix(RNG.integers(0, 9, (3, 3)), ["a", "b", "cat"]),
        "predicted_against_true": plots.predicted_against_true(x[:, 0], x[:, 1]),
    }


def lines(figure, panel=0):
    return {line.get_label(): line for line in figure.axes[panel].get_lines()}


def test_every_picture_is_a_figure_and_can_be_saved(tmp_path):
    drawn = figures()
    assert {*drawn, "save"} == set(plots.__all__)
    for name, figure in drawn.items():
        assert isinstance(figure, Figure)
        path = plots.save(figure, tmp_path / "new" / f"{name}.png")
        assert path.read_bytes().startswith(b"\x89PNG")
    assert plots.save(figure, tmp_path / "a.svg").read_text().startswith("<?xml")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.svg", "new"]


def test_no_pyplot_and_no_matplotlib_before_a_picture(tmp_path):
    code = (
        "import sys; from chainrule import plots; assert 'matplotlib' not in sys.modules;"
        "plots.save(plots.loss_curve([2.0, 1.0]), sys.argv[1]);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.svg")], check=True)


def test_missing_matplotlib_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "chainrule\[plots\]"'):
        plots.loss_curve([1.0])


def test_learning_curves_pair_training_and_validation():
    figure = plots.learning_curves(HISTORY, validation_label="test")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    for panel, name in enumerate(("loss", "accuracy")):
        curves = lines(figure, panel)
        np.testing.assert_array_equal(curves["training"].get_ydata(), HISTORY[name])
        np.testing.assert_array_equal(curves["test"].get_ydata(), HISTORY[f"val_{name}"])
        np.testing.assert_array_equal(curves["test"].get_xdata(), [1, 2, 3])


def test_learning_rate_is_drawn_where_it_changes():
    changing = {"loss": [1.0, 0.5], "learning_rate": [0.1, 0.05]}
    labels = [axes.get_ylabel() for axes in plots.learning_curves(changing).axes]
    assert labels == ["loss", "learning rate"]


def test_a_learning_rate_that_falls_to_nothing_is_drawn_on_a_plain_axis():
    figure = plots.learning_curves({"loss": [1.0, 0.5], "learning_rate": [0.1, 1e-9]})
    assert [axes.get_yscale() for axes in figure.axes] == ["linear", "linear"]


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        ([1.0, 0.01], "log"),
        ([1.0, 0.5], "linear"),
        ([1.0, 0.0], "linear"),
        ([1.0, np.nan], "linear"),
        ([-1.0, -50.0], "linear"),
    ],
)
def test_a_loss_that_falls_far_has_a_logarithmic_axis(loss, scale):
    assert plots.learning_curves({"loss": loss}).axes[0].get_yscale() == scale


def test_learning_curves_need_an_epoch():
    with pytest.raises(ValueError, match="no finished epoch"):
        plots.learning_curves({})


def test_one_epoch_is_a_visible_point():
    (line,) = plots.learning_curves({"loss": [1.0]}).axes[0].get_lines()
    assert line.get_marker() not in (None, "None", "")


def test_loss_curve_marks_the_published_figures():
    figure = plots.loss_curve({"seed 0": [9.0, 3.0], "seed 1": [8.0, 2.0]}, published={2: 2.5})
    curves = lines(figure)
    assert set(curves) == {"seed 0", "seed 1", "published"}
    assert (list(curves["published"].get_xdata()), list(curves["published"].get_ydata())) == (
        [2],
        [2.5],
    )
    assert figure.axes[0].get_yscale() == "log"


def test_many_losses_share_one_label():
    figure = plots.loss_curve({str(seed): [2.0, 1.0] for seed in range(100)})
    assert len(figure.axes[0].get_lines()) == 100
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["100 runs"]


def scatters(figure):
    return {c.get_label(): np.asarray(c.get_offsets()) for c in figure.axes[0].collections}


def test_decision_regions_ring_the_wrong_points():
    x = np.array([[-1.0, 0.0], [-2.0, 1.0], [1.0, 0.0], [2.0, 5.0]])
    y = [0, 1, 1, 1]

    def predict(points):
        return np.stack([-points[:, 0], points[:, 0]], axis=1)

    def one_score(points):
        return points[:, :1]

    for function in (predict, one_score):
        drawn = scatters(plots.decision_regions(function, x, y, class_names=["left", "right"]))
        np.testing.assert_array_equal(drawn["wrong (1 of 4)"], x[1:2])
        np.testing.assert_array_equal(drawn["left"], x[:1])
    drawn = scatters(plots.decision_regions(lambda p: p[:, 0], x, y, threshold=-1.5))
    np.testing.assert_array_equal(drawn["wrong (2 of 4)"], x[:2])


def test_decision_regions_colour_each_point_by_its_class():
    corners = np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]])

    def nearness(points):
        return -np.square(points[:, None] - corners).sum(axis=2)

    figure = plots.decision_regions(nearness, corners, [0, 1, 2])
    regions = [c for c in figure.axes[0].collections if getattr(c, "filled", False)]
    inside = [
        [path.contains_point(p) for p in corners + 0.3] for r in regions for path in r.get_paths()
    ]
    np.testing.assert_array_equal(inside, np.eye(3))


def test_decision_regions_want_two_features():
    with pytest.raises(ValueError, match=r"\(5, 3\)"):
        plots.decision_regions(lambda p: p, np.zeros((5, 3)), np.zeros(5))


def shown(figure):
    """The array an image grid shows, and its gaps as False."""
    picture = np.asarray(figure.axes[0].images[0].get_array().filled(np.nan))
    return picture, np.isfinite(picture)


def test_image_grid_frames_what_is_wrong():
    images = RNG.random((3, 4, 4))
    figure = plots.image_grid(images, labels=["1", "2", "3"], right=[True, False, True], columns=2)
    picture, inside = shown(figure)
    assert inside.sum() == images.size
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "3"]
    (frame,) = figure.axes[0].patches
    left, top = (int(corner + 0.5) for corner in frame.get_xy())
    np.testing.assert_array_equal(picture[top : top + 4, left : left + 4], images[1])
    x, y = figure.axes[0].texts[1].get_position()
    assert left < x < left + 4
    assert y < top
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        plots.image_grid(np.zeros((3, 4)))


def test_hidden_units_share_a_symmetric_scale():
    weights = np.array([[[1.0, -3.0], [0.0, 2.0]], [[0.1, 0.1], [0.1, 0.1]]])
    figure = plots.hidden_units(weights)
    picture, inside = shown(figure)
    np.testing.assert_array_equal(np.sort(picture[inside]), np.sort(weights.ravel()))
    low, high = figure.axes[0].images[0].get_clim()
    assert low == -high
    assert 2.9 < high <= 3.0
    plots.hidden_units(np.zeros((1, 2, 2)))  # nothing learned: the scale is not empty
    with pytest.raises(ValueError, match=r"\(4, 4\)"):
        plots.hidden_units(np.zeros((4, 4)))


def tiles_of(figure, panel=0):
    """The arrays of the outlined images of a panel, in reading order."""
    picture = np.asarray(figure.axes[panel].images[0].get_array().filled(np.nan))
    tiles = []
    for outline in figure.axes[panel].patches:
        left, top = (int(corner + 0.5) for corner in outline.get_xy())
        width, height = int(outline.get_width()), int(outline.get_height())
        tiles.append(picture[top : top + height, left : left + width])
    assert np.isfinite(picture).sum() == sum(tile.size for tile in tiles)
    return tiles


@pytest.mark.parametrize("n_channels", [1, 3])
def test_kernels_are_those_of_each_filter_and_channel(n_channels):
    weight = RNG.normal(size=(2, 3, n_channels, 5))
    figure = plots.kernels(weight)
    tiles = tiles_of(figure)
    assert len(tiles) == 5 * n_channels
    for i, tile in enumerate(tiles):
        finer = tile.shape[0] // 2
        assert tile.shape == (2 * finer, 3 * finer)
        kernel = weight[:, :, i % n_channels, i // n_channels]
        np.testing.assert_array_equal(tile, np.kron(kernel, np.ones((finer, finer))))
    low, high = figure.axes[0].images[0].get_clim()
    assert low == -high
    if n_channels > 1:  # a row per filter, a column per channel
        assert len({outline.get_x() for outline in figure.axes[0].patches}) == n_channels
    with pytest.raises(ValueError, match=r"\(3, 3, 6\)"):
        plots.kernels(np.zeros((3, 3, 6)))


def test_feature_maps_show_the_image_and_every_map():
    image, maps = RNG.random((8, 8)), RNG.random((6, 6, 5))
    figure = plots.feature_maps(image, maps, quantity="output")
    np.testing.assert_array_equal(tiles_of(figure, 0), image[None])
    np.testing.assert_array_equal(tiles_of(figure, 1), maps.transpose(2, 0, 1))
    assert figure.axes[2].get_ylabel() == "output"
    assert figure.axes[1].images[0].get_clim() == (0.0, maps.max())
    with pytest.raises(ValueError, match=r"\(6, 6\)"):
        plots.feature_maps(image, maps[..., 0])


def test_feature_maps_of_either_sign_have_a_symmetric_scale():
    figure = plots.feature_maps(np.eye(4), np.array([[[1.0], [-3.0]]]))
    assert figure.axes[1].images[0].get_clim() == (-3.0, 3.0)
    silent = plots.feature_maps(np.eye(4), np.zeros((4, 4, 2)))  # the scale is not empty
    assert silent.axes[1].images[0].get_clim() == (0.0, 1.0)


def test_confusion_matrix_writes_its_counts():
    figure = plots.confusion_matrix([[3, 0], [1, 2]], ["no", "yes"])
    texts = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert texts == {(0, 0): "3", (0, 1): "1", (1, 1): "2"}  # (predicted, true); no zeros
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), [[1, 0], [1 / 3, 2 / 3]])
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        plots.confusion_matrix(np.zeros((2, 3)))


def test_predicted_against_true_shows_every_sample():
    figure = plots.predicted_against_true([[1.0], [2.0]], [1.5, 2.5], quantity="weight (kg)")
    (points,) = figure.axes[0].collections
    np.testing.assert_array_equal(points.get_offsets(), [[1.0, 1.5], [2.0, 2.5]])
    assert figure.axes[0].get_xlabel() == "true weight (kg)"
    with pytest.raises(ValueError, match="2 true values but 1 predicted"):
        plots.predicted_against_true([1.0, 2.0], [1.0])


def test_a_picture_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = plots.save(plots.loss_curve([1.0]), tmp_path / "a.png")
    before = path.read_bytes()
    broken = plots.loss_curve([1.0], title="$no end of this formula")
    broken.axes[0].set_title(r"$\nosuchthing{$")
    with pytest.raises(ValueError, match="nosuchthing"):
        plots.save(broken, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
