"""Pictures: what is drawn is what was measured, and no window or global figure is made."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from chainrule import nn, palette, plots
from chainrule.plots.landscape import _direction
from chainrule.training.collecting import Distributions, Snapshots, gradients_by_name

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
    monkeypatch.delitem(sys.modules, "chainrule.plots.picture", raising=False)
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


# Axes of the user's, and figures that show themselves


class Trained:
    """A network that has learned a little, and what was collected meanwhile."""

    def __init__(self):
        self.x, self.y = RNG.normal(size=(40, 2)), np.arange(40) % 2
        self.x[:, 0] += 2 * self.y
        self.net = nn.Network([nn.Dense(4), nn.ReLU(), nn.Dense(2)], seed=0)
        self.snapshots = Snapshots()
        self.seen = Distributions(self.x, self.y, bins=16)
        self.net.fit(
            self.x,
            self.y,
            loss="cross_entropy",
            epochs=3,
            callbacks=[self.snapshots, self.seen],
            verbose=0,
            seed=0,
            engine="numpy",
        )


@pytest.fixture(scope="module")
def trained():
    return Trained()


def drawings(trained):
    """Each picture as a function of the axes it is to be drawn in."""
    net, x, y = trained.net, trained.x, trained.y
    eye = np.eye(2)
    return {
        "confusion_matrix": lambda ax: plots.confusion_matrix([[1, 2], [3, 4]], ax=ax),
        "decision_boundary": lambda ax: plots.decision_boundary(net, x, y, ax=ax),
        "decision_regions": lambda ax: plots.decision_regions(net.predict, x, y, ax=ax),
        "feature_maps": lambda ax: plots.feature_maps(eye, eye[..., None], ax=ax),
        "fitted_curve": lambda ax: plots.fitted_curve(np.sin, y, y, ax=ax),
        "gradient_flow": lambda ax: plots.gradient_flow(net, x, y, ax=ax),
        "hidden_units": lambda ax: plots.hidden_units(eye[None], ax=ax),
        "histograms_over_time": lambda ax: plots.histograms_over_time(trained.seen, ax=ax),
        "image_grid": lambda ax: plots.image_grid(eye[None], ax=ax),
        "kernels": lambda ax: plots.kernels(eye[..., None, None], ax=ax),
        "learning_curves": lambda ax: plots.learning_curves(HISTORY, ax=ax),
        "loss_curve": lambda ax: plots.loss_curve([2.0, 1.0], ax=ax),
        "loss_landscape": lambda ax: plots.loss_landscape(net, x, y, points=3, ax=ax),
        "predicted_against_true": lambda ax: plots.predicted_against_true(y, y, ax=ax),
        "predicted_images": lambda ax: plots.predicted_images(eye[None], [1], [0], ax=ax),
        "sample_points": lambda ax: plots.sample_points(x, y, ax=ax),
    }


WITHOUT_AXES = {"Animation", "animated_decision_boundary", "save"}


def test_every_picture_takes_axes(trained):
    drawn = drawings(trained)
    assert {*drawn, *WITHOUT_AXES} == set(plots.__all__)
    for name, draw in drawn.items():
        figure = Figure(figsize=(8, 4), layout="constrained")
        mine, other = figure.subplots(1, 2)
        other.plot([1.0, 2.0])
        before = list(other.get_children())
        assert draw(mine) is figure, name
        assert other.get_children() == before, name
        assert mine in figure.axes, name
        figure.draw_without_rendering()
        for axes in set(figure.axes) - {mine, other}:  # nothing reaches over the other half
            assert axes.get_position().x1 <= 0.55, name


def test_every_picture_shows_itself_in_a_notebook(trained):
    for name, draw in drawings(trained).items():
        figure = draw(None)
        data, size = figure._repr_png_()
        assert data.startswith(b"\x89PNG"), name
        width, height = (int.from_bytes(data[i : i + 4], "big") for i in (16, 20))
        assert max(width, height) <= 1600, name
        assert size["width"] / size["height"] == pytest.approx(width / height, rel=0.02), name


def test_axes_without_a_grid_and_in_subfigures():
    figure = Figure()
    plots.learning_curves(HISTORY, ax=figure.add_axes((0.1, 0.1, 0.3, 0.8)), title="mine")
    ends = [axes.get_position() for axes in figure.axes[1:]]
    assert min(box.x0 for box in ends) >= 0.099
    assert max(box.x1 for box in ends) <= 0.401
    assert figure.axes[0].get_title() == "mine"
    part = Figure().subfigures(1, 2)[1]
    assert plots.loss_curve([2.0, 1.0], ax=part.subplots()) is part.figure


def test_several_axes_at_once_are_refused():
    with pytest.raises(TypeError, match=r"ndarray of shape \(2,\): give one matplotlib Axes"):
        plots.loss_curve([1.0], ax=Figure().subplots(1, 2))


# Epochs and scales


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7, 40, 1000])
def test_epochs_are_whole_numbers_within_the_run(n):
    figure = plots.loss_curve(np.linspace(2.0, 1.0, n))
    axes = figure.axes[0]
    figure.draw_without_rendering()
    low, high = axes.get_xlim()
    assert 0.5 <= low < 1 <= n < high
    ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
    assert ticks == [round(tick) for tick in ticks]
    assert len(ticks) == n if n <= 6 else 2 <= len(ticks) <= 7


@pytest.mark.parametrize("ends", [(1.0, 0.95), (1.0, 0.3), (3.0, 0.11), (900.0, 1.0), (1.0, 1e-9)])
def test_a_logarithmic_axis_has_two_numbers_at_least(ends):
    figure = plots.loss_curve(np.geomspace(*ends, 20))
    axes = figure.axes[0]
    figure.draw_without_rendering()
    assert axes.get_yscale() == "log"
    low, high = sorted(axes.get_ylim())
    labels = [
        label.get_text()
        for tick, label in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
        if low <= tick <= high
    ]
    assert 2 <= len(labels) <= 12
    assert all(float(label.replace("\N{MINUS SIGN}", "-")) > 0 for label in labels)


@pytest.mark.parametrize(
    "losses", [[2.0], [1e300, 1e-300], [2.0, 2.0], [0.0, 0.0], [np.nan], [np.inf, np.nan]]
)
def test_losses_that_do_not_change_or_are_no_numbers(losses):
    figure = plots.loss_curve(losses)
    assert figure.axes[0].get_yscale() == "linear"
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ([] if np.isfinite(losses).any() else ["no finite number"])


def test_a_number_alone_among_others_that_are_not_finite_is_marked():
    values = np.full(40, np.nan)
    values[[5, 20, 21]] = 1.0, 2.0, 3.0
    (line,) = plots.loss_curve(values).axes[0].get_lines()
    assert (line.get_markevery(), line.get_marker()) == ([5], "o")


@pytest.mark.parametrize(("n", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (4, 2, 2), (5, 2, 3)])
def test_many_metrics_stand_in_rows(n, rows, columns):
    history = {f"metric_{i}": [1.0, 2.0] for i in range(n)}
    figure = plots.learning_curves(history)
    figure.draw_without_rendering()
    boxes = [axes.get_position() for axes in figure.axes]
    assert len(boxes) == n
    assert len({round(box.y0, 3) for box in boxes}) == rows
    assert len({round(box.x0, 3) for box in boxes}) == columns
    assert figure.get_size_inches()[0] <= 14


# Colours


# Machado, Oliveira and Fernandes 2009, table 1: what is seen of red, green and blue
SEEN_BY = {
    "all": np.eye(3),
    "protanopes": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopes": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopes": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def distances(colors, matrix):
    """CIE 1976 differences between colours as somebody sees them; below 10 is hard to tell."""
    rgb = np.array([[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in colors])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ np.transpose(matrix), 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.transpose(to_xyz) / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f.T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    return np.linalg.norm(lab[:, None] - lab, axis=2)[np.triu_indices(len(colors), 1)]


@pytest.mark.parametrize("seen", SEEN_BY)
@pytest.mark.parametrize(("n", "least"), [(2, 60), (5, 20), (10, 14)])
def test_colours_are_told_apart(seen, n, least):
    assert distances(palette.COLORS[:n], SEEN_BY[seen]).min() > least


def test_a_hundred_classes_have_a_short_legend():
    figure = plots.sample_points(RNG.normal(size=(200, 2)), np.arange(200) % 100)
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert (len(texts), texts[-1]) == (24, "and 77 more")
    figure._repr_png_()  # would warn if there were no room for it


def test_no_two_classes_look_alike():
    assert len({palette.class_style(c) for c in range(80)}) == 80
    assert tuple(palette.PALETTE.values()) == palette.COLORS


def test_twelve_classes_have_twelve_styles():
    x = RNG.normal(size=(48, 2))
    axes = plots.sample_points(x, np.arange(48) % 12).axes[0]
    styles = {
        (tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in axes.collections
    }
    assert len(styles) == 12


# Images of weights


@pytest.mark.parametrize(
    ("odd", "arrow"), [([9.0], "max"), ([-9.0], "min"), ([9.0, -9.0], "both"), ([], "neither")]
)
def test_colour_bars_have_arrows_where_weights_are_clipped(odd, arrow):
    weights = np.tile(np.linspace(-1.0, 1.0, 100), 10).reshape(10, 10, 10)
    weights.reshape(-1)[: len(odd)] = odd
    figure = plots.hidden_units(weights)
    low, high = figure.axes[0].images[0].get_clim()
    assert (low, high) == pytest.approx((-1.0, 1.0), abs=0.1)
    assert figure.axes[0].images[0].colorbar.extend == arrow


def marks(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_units_that_are_blank_dead_or_broken_say_so():
    weights = RNG.normal(size=(7, 3, 3)).astype(np.float32)
    weights[1], weights[2], weights[3, 0, 0] = 0.0, 0.5, np.nan
    outputs = RNG.random((20, 7)) + 1
    outputs[:, 4], outputs[:, 5] = 0.0, 3.0
    assert marks(plots.hidden_units(weights)) == ["blank", "blank", "NaN"]
    marked = marks(plots.hidden_units(weights, outputs=outputs))
    assert marked == ["blank", "blank", "NaN", "dead", "constant"]
    outputs[3, 4] = 1e-9  # awake once
    assert "dead" not in marks(plots.hidden_units(weights, outputs=outputs))
    assert marks(plots.hidden_units(np.zeros((2, 3, 3)))) == ["blank", "blank"]
    with pytest.raises(ValueError, match=r"\(n_samples, 7\).*\(20, 6\)"):
        plots.hidden_units(weights, outputs=outputs[:, 1:])


def test_hidden_units_in_grey():
    image = plots.hidden_units(RNG.normal(size=(2, 3, 3)), cmap="gray").axes[0].images[0]
    assert image.get_cmap().name == "gray"


def test_predicted_images_say_both_words():
    images = RNG.random((3, 4, 4))
    figure = plots.predicted_images(images, [1, 1, 2], [1, 2, 0], class_names=["a", "b", "<c>"])
    assert marks(figure) == ["b", "predicted b,\ntrue <c>", "predicted <c>,\ntrue a"]
    assert len(figure.axes[0].patches) == 2
    with pytest.raises(ValueError, match="2 predicted classes but 3 true"):
        plots.predicted_images(images, [1, 2], [1, 2, 3])
    for wrong in (-1, 3):
        with pytest.raises(ValueError, match=r"class(es)? "):
            plots.predicted_images(images, [wrong] * 3, [0, 1, 2], class_names=["a", "b", "c"])
    with pytest.raises(ValueError, match="3 images, but 2 labels"):
        plots.image_grid(images, labels=["a", "b"])


@pytest.mark.parametrize("image", [np.zeros((1, 3, 3)), np.full((1, 3, 3), np.nan)])
def test_images_without_contrast(image):
    low, high = plots.image_grid(image).axes[0].images[0].get_clim()
    assert np.isfinite([low, high]).all()
    assert low < high


def test_kernels_and_feature_maps_have_the_same_numbers():
    weight, maps = RNG.normal(size=(3, 3, 1, 5)), RNG.random((6, 6, 5))
    maps[..., 2] = 0.0
    assert marks(plots.kernels(weight)) == ["1", "2", "3", "4", "5"]
    figure = plots.feature_maps(np.eye(8), maps, kernels=weight)
    texts = [text.get_text() for text in figure.axes[1].texts]
    assert texts == ["1", "2", "3", "all 0", "4", "5"]
    shown = figure.axes[1].images[1:]
    for i, kernel in enumerate(shown):
        np.testing.assert_array_equal(kernel.get_array(), weight[:, :, 0, i])
        left, right, bottom, top = kernel.get_extent()
        outline = figure.axes[1].patches[i]
        assert right < outline.get_x()  # on the left of its map, within its height
        assert outline.get_y() <= top < bottom <= outline.get_y() + outline.get_height() + 1e-9
        assert right > left
    assert len(shown) == 5
    assert sorted(axes.get_ylabel() for axes in figure.axes) == ["", "", "activation", "weight"]
    with pytest.raises(ValueError, match=r"5 maps.*\(3, 3, 1, 4\)"):
        plots.feature_maps(np.eye(8), maps, kernels=weight[..., :4])


def test_kernels_of_several_channels_are_below_each_other():
    weight, maps = RNG.normal(size=(5, 5, 3, 2)), RNG.random((6, 6, 2))
    figure = plots.feature_maps(np.eye(8), maps, kernels=weight)
    shown = figure.axes[1].images[1:]
    assert len(shown) == 6
    for i, kernel in enumerate(shown):
        np.testing.assert_array_equal(kernel.get_array(), weight[:, :, i % 3, i // 3])
        outline = figure.axes[1].patches[i // 3]
        assert kernel.get_extent()[2] <= outline.get_y() + outline.get_height() + 1e-9


# Planes


def sigmoid_of_first(points):
    return 1 / (1 + np.exp(-4 * points[:, 0]))


def test_shades_are_those_of_the_probabilities():
    x = np.array([[-2.0, -1.0], [2.0, 1.0]], np.float32)
    figure = plots.decision_boundary(sigmoid_of_first, x, [0, 1], class_names=["no", "yes"])
    image = np.asarray(figure.axes[0].images[0].get_array())
    white = image.min(axis=(0, 2))  # column by column: palest at the boundary
    middle = image.shape[1] // 2
    assert white[middle] > 0.9 > white[0]
    assert (np.diff(white[:middle]) >= -1e-6).all()
    left, right = image[0, 0], image[0, -1]
    assert left[2] > left[0]  # blue
    assert right[0] > right[2]  # vermilion
    labels = [axes.get_xlabel() for axes in figure.axes]
    assert "probability of class yes" in labels
    assert not any("wrong" in label for label in scatters(figure))


def test_a_network_says_its_probabilities(trained):
    figure = plots.decision_boundary(trained.net, trained.x, trained.y)
    wrong = trained.net.predict(trained.x).argmax(axis=1) != trained.y
    if wrong.any():
        label = f"wrong ({wrong.sum()} of 40)"
        np.testing.assert_array_equal(scatters(figure)[label], trained.x[wrong])
    net = nn.Network([nn.Dense(1)], seed=0)
    net.fit(trained.x, trained.y, loss="binary_cross_entropy", verbose=0, engine="numpy")
    plots.decision_boundary(net, trained.x, trained.y)
    net.fit(trained.x, trained.y, loss="squared_error", verbose=0, engine="numpy")
    with pytest.raises(ValueError, match="no probabilities: they go from -"):
        plots.decision_boundary(net, 100 * trained.x, trained.y)


@pytest.mark.parametrize(
    "outputs", [lambda p: 2 * p, lambda p: np.full(len(p), np.nan), lambda p: p[:5], lambda p: 0.5]
)
def test_what_is_no_probability_is_refused(outputs):
    with pytest.raises(ValueError, match="probabilities"):
        plots.decision_boundary(outputs, np.eye(2), [0, 1])


@pytest.mark.parametrize("draw", [plots.decision_boundary, plots.decision_regions])
def test_one_sample_one_class_and_one_point_twice(draw):
    assert "0" in scatters(draw(sigmoid_of_first, [[-1.0, 1.0]], [0]))
    assert "1" in scatters(draw(sigmoid_of_first, np.ones((3, 2), np.float32), [1, 1, 1]))
    with pytest.raises(ValueError, match="1 values of x are not finite"):
        draw(sigmoid_of_first, [[np.nan, 1.0]], [0])
    with pytest.raises(ValueError, match=r"y holds 0.5: classes are whole numbers"):
        draw(sigmoid_of_first, [[1.0, 1.0]], [0.5])
    with pytest.raises(ValueError, match="3 points but 2 classes"):
        draw(sigmoid_of_first, np.ones((3, 2)), [1, 1])


def test_the_animation_has_a_frame_for_each_snapshot(trained, tmp_path):
    from PIL import Image

    before = trained.net.parameters.flat.copy()
    x, y = trained.x, trained.y
    moving = plots.animated_decision_boundary(trained.net, trained.snapshots, x, y)
    assert repr(moving) == "Animation(4 frames)"
    np.testing.assert_array_equal(trained.net.parameters.flat, before)
    titles, pictures = [], []
    for i in range(4):
        moving.draw(i)
        np.testing.assert_array_equal(trained.net.parameters.flat, before)
        titles.append(moving.figure.axes[0].get_title())
        pictures.append(np.asarray(moving.figure.axes[0].images[0].get_array()))
    assert [title.split(":")[0] for title in titles] == [f"epoch {i}" for i in range(4)]
    assert all((one != other).any() for one, other in itertools.pairwise(pictures))
    with Image.open(plots.save(moving, tmp_path / "a.gif", dpi=40)) as image:
        assert image.n_frames >= 4
    html = moving._repr_html_()
    assert html.startswith('<img alt="4 frames" src="data:image/gif;base64,')
    assert len(html) < 4_000_000
    with pytest.raises(ValueError, match=r"\.gif.*not \.png"):
        plots.save(moving, tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]
    with pytest.raises(ValueError, match="no snapshots were kept"):
        plots.animated_decision_boundary(trained.net, Snapshots(), x, y)


# Samples


def test_principal_components_have_the_variance_they_say():
    x = RNG.normal(size=(200, 5)) * [1.0, 10.0, 2.0, 0.1, 0.0] + 7
    axes = plots.sample_points(x).axes[0]
    points = np.asarray(axes.collections[0].get_offsets())
    total = x.var(axis=0).sum()
    for k, label in enumerate((axes.get_xlabel(), axes.get_ylabel())):
        assert f"({points[:, k].var() / total:.0%} of the variance)" in label
    assert abs(np.corrcoef(points[:, 0], x[:, 1])[0, 1]) > 0.999
    wide = RNG.normal(size=(4, 50))  # more features than samples
    points = np.asarray(plots.sample_points(wide).axes[0].collections[0].get_offsets())
    values = np.linalg.svd(wide - wide.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(np.linalg.norm(points, axis=0), values[:2], rtol=1e-6)


@pytest.mark.parametrize(
    "x", [np.ones((5, 3)), np.ones((1, 3)), np.eye(3, dtype=np.float32) * 1e-30]
)
def test_samples_without_much_variance(x):
    axes = plots.sample_points(x).axes[0]
    assert np.isfinite(axes.collections[0].get_offsets()).all()
    assert "nan" not in axes.get_xlabel()


def test_names_are_no_formulas():
    names = [r"$\nosuchthing{$", "_hidden", "$a$ & <b>"]
    x, y = RNG.normal(size=(9, 2)), np.arange(9) % 3
    scores = lambda p: RNG.normal(size=(len(p), 3))
    figures = [
        plots.sample_points(x, y, class_names=names, feature_names=names),
        plots.decision_regions(scores, x, y, class_names=names, feature_names=names),
        plots.decision_boundary(sigmoid_of_first, x, y % 2, class_names=names),
        plots.confusion_matrix(np.eye(3), names),
        plots.predicted_images(RNG.random((3, 4, 4)), [0, 1, 2], [2, 1, 0], class_names=names),
        plots.learning_curves({name: [1.0] for name in names}),
    ]
    for figure in figures:
        figure._repr_png_()  # would raise for a formula
    for figure in figures[:2]:
        assert len(figure.axes[0].get_legend().get_texts()) >= 3
    arrays = np.array(["a", "b", "c"])
    plots.image_grid(RNG.random((3, 4, 4)), labels=arrays, right=np.ones(3, bool))
    plots.decision_boundary(sigmoid_of_first, x, y % 2, class_names=arrays, feature_names=arrays)
    plots.sample_points(x, y, class_names=arrays, feature_names=arrays)
    assert plots.sample_points(x, y, class_names=[0, 1, 2]).axes[0].get_legend() is not None


def test_two_features_are_drawn_as_they_are():
    x = RNG.normal(size=(6, 4))
    x[1, 3] = np.nan  # left out
    figure = plots.sample_points(x, np.arange(6) % 2, features=(3, 0), feature_names=list("abcd"))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("d", "a")
    drawn = scatters(figure)
    np.testing.assert_array_equal(drawn["0"], x[::2][:, [3, 0]])
    np.testing.assert_array_equal(drawn["1"], x[3::2][:, [3, 0]])
    values = RNG.normal(size=100)
    bar = plots.sample_points(RNG.normal(size=(100, 2)), values).axes[0].collections[0].colorbar
    assert bar.extend == "both"
    for wrong, message in (
        ({"features": (0, 4)}, "from 0 to 3"),
        ({"y": np.zeros(5)}, "6 samples but 5"),
        ({"y": np.arange(6), "class_names": ["a"]}, "a class 2, but there are 1"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.sample_points(x, **wrong)
    with pytest.raises(ValueError, match="these samples have one"):
        plots.sample_points(np.ones((5, 1)))


def test_fitted_curve_shows_the_epochs():
    x = np.linspace(-1, 1, 9)
    net, kept = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(1)], seed=0), Snapshots()
    net.fit(
        x[:, None], x, loss="squared_error", epochs=30, callbacks=kept, verbose=0, engine="numpy"
    )
    before = net.parameters.flat.copy()
    figure = plots.fitted_curve(net, x, x, snapshots=kept)
    curves = lines(figure)
    assert next(iter(curves)) == "epoch 0"
    assert list(curves)[-1] == "epoch 30"
    assert len(curves) == 6
    last = curves["epoch 30"]
    points = last.get_xdata()[:, None]
    np.testing.assert_allclose(last.get_ydata(), net.predict(points)[:, 0], rtol=1e-6)
    assert (curves["epoch 0"].get_ydata() != last.get_ydata()).any()
    np.testing.assert_array_equal(net.parameters.flat, before)
    assert figure.axes[0].get_xlim() == pytest.approx((-1.2, 1.2))
    one = plots.fitted_curve(lambda p: p, [[3.0]], [np.float32(3.0)])
    assert list(lines(one)) == ["fit"]
    with pytest.raises(ValueError, match=r"\(9, 2\)"):
        plots.fitted_curve(net, np.ones((9, 2)), x)
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.fitted_curve(net, [np.nan], [1.0])
    with pytest.raises(ValueError, match=r"shape \(400, 2\)"):
        plots.fitted_curve(lambda p: np.hstack([p, p]), x, x)
    with pytest.raises(TypeError, match="the network that was trained"):
        plots.fitted_curve(np.sin, x, x, snapshots=kept)


def test_what_is_not_finite_is_counted_beside_the_line():
    figure = plots.predicted_against_true([1.0, np.nan, 3.0], [1.0, 2.0, np.inf])
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert "2 not finite, left out" in texts
    assert np.isfinite(figure.axes[0].get_xlim()).all()


# Gradients, distributions, landscapes


def deep(activation, n_layers, scale=1.0):
    layers = [layer for _ in range(n_layers) for layer in (nn.Dense(8), activation())]
    net = nn.Network([*layers, nn.Dense(3)], input_shape=5, seed=0, dtype="float64")
    for name, weight in net.parameters.items():
        if name.endswith("weight"):
            weight *= scale
    return net


@pytest.mark.parametrize(
    ("net", "word"),
    [
        (deep(nn.Sigmoid, 8), "vanishing: dense_1.weight has "),
        (deep(nn.Identity, 8, scale=8.0), "exploding: dense_1.bias has "),
        (deep(nn.Tanh, 2), ""),
    ],
)
def test_gradients_that_vanish_or_explode_are_named(net, word):
    x, y = 1e-9 * RNG.normal(size=(20, 5)) + 0.1, np.arange(20) % 3
    figure = plots.gradient_flow(net, x, y, loss="cross_entropy")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == bool(word)
    assert all(text.startswith(word) for text in texts)
    assert axes.get_yscale() == "log"
    gradients = gradients_by_name(net, x, y, loss="cross_entropy")
    expected = [np.sqrt(np.mean(np.square(g))) for name, g in gradients.items() if "weight" in name]
    np.testing.assert_allclose(lines(figure)["weights"].get_ydata(), expected, rtol=1e-6)
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == [name.rpartition(".")[0] for name in gradients if "weight" in name]


def test_gradients_that_are_zero_or_not_finite_are_marked():
    net = deep(nn.ReLU, 1)
    net.parameters["dense_1.bias"] = np.full(8, -1e3)
    x, y = np.ones((4, 5)), np.zeros(4, int)
    figure = plots.gradient_flow(net, x, y, loss="cross_entropy")
    zeros = lines(figure)["zero (3 of 4)"]
    low, _ = figure.axes[0].get_ylim()
    assert (zeros.get_ydata() > low).all()
    net.parameters.flat[:] = np.nan
    assert "not finite (4 of 4)" in lines(plots.gradient_flow(net, x, y, loss="cross_entropy"))
    assert np.isnan(net.parameters.flat).all()


def test_histograms_over_time_show_what_was_collected(trained):
    figure = plots.histograms_over_time(trained.seen)
    zeros = trained.seen.activations["relu_1"][-1].zeros
    assert [axes.get_title() for axes in figure.axes] == [
        "dense_1",
        f"relu_1 ({zeros:.0%} zeros)",
        "dense_2",
    ]
    for axes in figure.axes:
        (median,) = (line for line in axes.get_lines() if len(line.get_xdata()) == 4)
        np.testing.assert_array_equal(median.get_xdata(), [0, 1, 2, 3])
        assert axes.get_xlim() == (-0.5, 3.5)
    one = plots.histograms_over_time(trained.seen, "gradients", names=["dense_1.weight"])
    assert len(one.axes) == 1
    with pytest.raises(ValueError, match=r"dense_2.weight, dense_2.bias"):
        plots.histograms_over_time(trained.seen, "gradients", names=["dense_9"])
    with pytest.raises(ValueError, match="'activations' or 'gradients'"):
        plots.histograms_over_time(trained.seen, "weights")
    with pytest.raises(ValueError, match="nothing was collected"):
        plots.histograms_over_time(Distributions(trained.x, trained.y))


def test_a_landscape_is_the_loss_of_moved_parameters(trained):
    net, x, y = trained.net, trained.x, trained.y
    before = net.parameters.flat.copy()
    figure = plots.loss_landscape(net, x, y, points=5, extent=0.5)
    np.testing.assert_array_equal(net.parameters.flat, before)
    (label,) = (name for name in lines(figure) if name.startswith("the network"))
    assert label == f"the network, loss {net.evaluate(x, y)['loss']:.4g}"
    assert figure.axes[0].get_xlim() == (-0.5, 0.5)


def test_directions_have_the_norms_of_the_filters():
    net = nn.Network([nn.Conv2D(3, 2), nn.Flatten(), nn.Dense(4)], input_shape=(5, 5, 2), seed=0)
    direction = net.parameters.unflatten(_direction(net, np.random.default_rng(1)))
    for name, weight in net.parameters.items():
        if name.endswith("bias"):
            assert not direction[name].any()
            continue
        axes = tuple(range(weight.ndim - 1))
        norms = [np.sqrt(np.square(a).sum(axis=axes)) for a in (weight, direction[name])]
        np.testing.assert_allclose(*norms, rtol=1e-5)
        assert not np.allclose(weight, direction[name])


def test_landscapes_without_hills_or_numbers():
    net = nn.Network([nn.Dense(2, weight="zeros")], input_shape=2)
    x, y = np.eye(2), [0, 1]
    figure = plots.loss_landscape(net, x, y, loss="cross_entropy", points=3)
    assert marks(figure)[0].startswith("the loss is 0.6931 everywhere")
    net.parameters.flat[:] = np.nan
    with np.errstate(all="ignore"):
        figure = plots.loss_landscape(net, x, y, loss="cross_entropy", points=3)
    assert marks(figure)[0] == "no loss is finite"
    with pytest.raises(ValueError, match="extent is 0"):
        plots.loss_landscape(net, x, y, loss="cross_entropy", extent=0)
    with pytest.raises(ValueError, match="give loss="):
        plots.loss_landscape(net, x, y)


def test_losses_above_the_highest_line_have_an_arrow(trained):
    figure = plots.loss_landscape(trained.net, trained.x, trained.y, points=7, extent=3.0)
    (filled,) = (c for c in figure.axes[0].collections if getattr(c, "filled", False))
    assert filled.extend == "max"
