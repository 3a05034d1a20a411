"""The pictures of the pages beside this file: python docs/layers/pictures.py [FOLDER].

What they show is computed by the layers themselves. What one value depends on, for example, is
where its gradient is not zero. Needs matplotlib, and scikit-learn for the image of a digit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    INTENSITY,
    MIDDLE,
    ORANGE,
    PALE,
    RED,
    SHARE,
    SIGNED,
    SMALL,
    arrow,
    box,
    cells,
    cube,
    digit,
    empty,
    house,
    mark,
    plain,
    seen_by,
    unrolled,
    write,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

import chainrule as cr
from chainrule import nn, optim

# Convolution


def convolution_edges() -> Figure:
    """What four kernels of one Conv2D make of a drawn image."""
    blur = np.ones((3, 3))
    across = np.array([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    outline = np.array([[-1.0, -1, -1], [-1, 8, -1], [-1, -1, -1]])
    kernels = {
        "blur": blur,
        "left to right": across,
        "top to bottom": across.T,
        "outline": outline,
    }
    weight = np.stack(list(kernels.values()), axis=-1)[:, :, None]
    image = house()
    results = nn.Network([nn.Conv2D(4, 3, padding="same", weight=weight)])(image[None, :, :, None])
    figure = Figure(figsize=(9.6, 3.45), layout="constrained")
    axes = figure.subplots(2, 5, height_ratios=(1, 2.1))
    empty(axes[0, 0])
    cells(axes[1, 0], image, INTENSITY, "image", lines=False)
    for k, (name, kernel) in enumerate(kernels.items()):
        title = f"kernel {k}: {name}"
        largest = max(2.0, np.abs(kernel).max())
        limits = (-largest, largest)
        cells(axes[0, k + 1], kernel, SIGNED, title, limits=limits, numbers=True)
        out = results[0, :, :, k]
        if name == "blur":
            cells(axes[1, k + 1], out, INTENSITY, f"channel {k}", lines=False)
        else:
            largest = np.abs(out).max()
            limits = (-largest, largest)
            cells(axes[1, k + 1], out, SIGNED, f"channel {k}", lines=False, limits=limits)
    return figure


def convolution_windows() -> Figure:
    """Which inputs one output sees: with a stride, padding, dilation and groups."""
    options: dict[str, dict[str, Any]] = {
        "Conv2D(1, 3)": {},
        "stride=2": {"stride": 2},
        "padding=1": {"padding": 1},
        "dilation=2": {"dilation": 2},
    }
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    *panels, last = figure.subplots(1, 5)
    n, lower = 7, 11  # the input is n × n; the output is drawn so many lines below it
    for axes, (title, how) in zip(panels, options.items(), strict=True):
        border = how.get("padding", 0)
        size = nn.Conv2D(1, 3, **how).output_shape((n, n, 1))[0]
        # The same windows on an image that has its border already show those in the padding too.
        bare = nn.Conv2D(1, 3, weight="ones", **{**how, "padding": 0})
        place = (0, 1) if border else (1, 1)
        seen = seen_by(bare, (n + 2 * border, n + 2 * border, 1), (*place, 0))[:, :, 0]
        for (i, j), inside in np.ndenumerate(seen):
            is_border = not (border <= i < n + border and border <= j < n + border)
            mark(axes, i - border, j - border, ORANGE if inside else PALE, is_border)
        left = (n - size) / 2
        for i, j in np.ndindex(size, size):
            mark(axes, lower + i, left + j, RED if (i, j) == place else "#F3DCCB")
        axes.text(n / 2 - 0.5, n + 1.2, f"input {n} × {n}", **SMALL)
        axes.text(n / 2 - 0.5, lower + size + 0.1, f"output {size} × {size}", **SMALL)
        axes.set(xlim=(-1.6, n + 0.6), ylim=(lower + n + 0.6, -1.6), aspect="equal")
        axes.set_title(title, fontsize=11, family="monospace")
        empty(axes)
    _groups(last)
    return figure


def _groups(axes: Axes) -> None:
    """Which of four channels each of four filters sees, in two groups."""
    layer = nn.Conv2D(4, 1, groups=2, weight="ones")
    for j in range(4):
        color = (BLUE, GREEN)[j // 2]
        for i in np.flatnonzero(seen_by(layer, (1, 1, 4), (0, 0, j))):
            axes.plot([i, j], [3, 11], color=color, linewidth=1.6, alpha=0.75)
        for height in (3, 11):
            axes.add_patch(Rectangle((j - 0.34, height - 0.62), 0.68, 1.24, color=color))
    axes.text(1.5, 1.3, "4 channels of the input", **SMALL)
    axes.text(1.5, 12.8, "4 filters", **SMALL)
    axes.set(xlim=(-0.9, 3.9), ylim=(18.6, -1.6))
    axes.set_title("groups=2", fontsize=11, family="monospace")
    empty(axes)


def convolution_transpose() -> Figure:
    """How Conv2DTranspose puts windows down, a digit made larger, and where windows overlap."""
    figure = Figure(figsize=(9.0, 6.2), layout="constrained")
    axes = figure.subplots(2, 3)
    x = np.array([[1.0, 2], [3, 4]])
    kernel = np.array([[1.0, 2, 1], [2, 4, 2], [1, 2, 1]])
    out = _transposed(x, kernel, stride=2)
    cells(axes[0, 0], x, INTENSITY, "2 × 2 input", numbers=True, limits=(0, 14), room=1.5)
    cells(axes[0, 1], kernel, INTENSITY, "kernel", numbers=True, limits=(0, 14), room=1)
    cells(axes[0, 2], out, INTENSITY, "5 × 5 output, stride=2", numbers=True, limits=(0, 24))
    for (i, j), color in zip(np.ndindex(2, 2), (BLUE, ORANGE, GREEN, RED), strict=True):
        inset = 0.03 + 0.05 * (2 * i + j)
        for panel, start, size in ((axes[0, 0], (j, i), 1.0), (axes[0, 2], (2 * j, 2 * i), 3.0)):
            corner = (start[0] - 0.5 + inset, start[1] - 0.5 + inset)
            side = size - 2 * inset
            panel.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=color, lw=2.2))
    bilinear = np.outer([1.0, 3, 3, 1], [1.0, 3, 3, 1]) / 16
    larger = _transposed(digit(), bilinear, stride=2, padding=1)
    cells(axes[1, 0], larger, INTENSITY, "8 × 8 digit made 16 × 16: size 4, stride 2", lines=False)
    for panel, size in ((axes[1, 1], 3), (axes[1, 2], 4)):
        met = _transposed(np.ones((4, 4)), np.ones((size, size)), stride=2)
        title = f"windows that meet: size {size}, stride 2"
        cells(panel, met, SHARE, title, numbers=True, limits=(0, 6))
    return figure


def _transposed(x: np.ndarray, kernel: np.ndarray, **how: Any) -> np.ndarray:
    weight = kernel[:, :, None, None]
    net = nn.Network([nn.Conv2DTranspose(1, len(kernel), weight=weight, **how)], dtype="float64")
    return np.asarray(net.predict(x[None, :, :, None]))[0, :, :, 0]


# Pooling


def pooling() -> Figure:
    """A digit under the three poolings, and where the gradient of their results goes."""
    figure = Figure(figsize=(9.6, 5.1), layout="constrained")
    axes = figure.subplots(2, 4)
    image = digit()
    cells(axes[0, 0], image, INTENSITY, "8 × 8 image", numbers=True, limits=(0, 16))
    for start in np.ndindex(4, 4):
        corner = (2 * start[1] - 0.5, 2 * start[0] - 0.5)
        axes[0, 0].add_patch(Rectangle(corner, 2, 2, fill=False, edgecolor=ORANGE, lw=1.6))
    empty(axes[1, 0])
    words = "where a gradient of 1\nfor each value above\ngoes in the image"
    axes[1, 0].text(0.98, 0.5, words, transform=axes[1, 0].transAxes, ha="right", va="center")
    layers = (nn.MaxPool2D(2), nn.AvgPool2D(2), nn.GlobalAvgPool2D())
    for k, layer in enumerate(layers, start=1):
        net = nn.Network([layer], dtype="float64")
        x = image[None, :, :, None]
        out = np.atleast_2d(np.squeeze(net.predict(x)))
        gradient = cr.grad(lambda x, net=net: np.sum(net(x)))(x)[0, :, :, 0]
        title = f"{type(layer).__name__}: {len(out)} × {len(out)}"
        cells(axes[0, k], out, INTENSITY, title, numbers=True, limits=(0, 16))
        cells(axes[1, k], np.sqrt(gradient), SHARE, "", limits=(0, 1))
        if k == 1:
            text, value = "1 to the largest, 0 to the others", 1.0
        else:
            value = float(gradient[0, 0])
            text = f"1/{round(1 / value)} to each"
        axes[1, k].set_xlabel(text, fontsize=9, color=GREY)
    return figure


# Normalization


def normalization_cubes() -> Figure:
    """Which values share a mean and a variance: (samples, places, channels) as a cube."""
    n, places, channels = 4, 5, 6
    layers = {
        "BatchNorm()": nn.BatchNorm(),
        "LayerNorm()": nn.LayerNorm(),
        "LayerNorm(2)": nn.LayerNorm(2),
        "GroupNorm(2)": nn.GroupNorm(2),
    }
    figure = Figure(figsize=(9.6, 2.95), layout="constrained")
    for axes, (title, layer) in zip(figure.subplots(1, 4), layers.items(), strict=True):
        seen = seen_by(layer, (places, channels), (0, 0), n_samples=n, sample=n - 1)
        cube(axes, seen, (n - 1, 0, 0))
        axes.set_title(title, fontsize=11, family="monospace")
    figure.axes[0].text(2.0, -0.7, "samples", **MIDDLE)
    figure.axes[0].text(-0.6, 2.5, "places", rotation=90, **MIDDLE)
    figure.axes[0].text(5.75, 0.45, "channels", rotation=38, **MIDDLE)
    return figure


def normalization_statistics() -> Figure:
    """Three features before and after BatchNorm, and the running mean that prediction uses."""
    rng = np.random.default_rng(0)
    means, deviations = np.array([-4.0, 1.0, 5.0]), np.array([0.7, 2.0, 1.0])
    net = nn.Network([nn.BatchNorm()], input_shape=3, dtype="float64")
    state, running = dict(net.state), [np.zeros(3)]
    for _ in range(40):
        x = rng.normal(means, deviations, (256, 3))
        context = nn.Context(training=True, state=state)
        out = np.asarray(net.forward(net.parameters, x, context))
        state.update({name: np.asarray(value) for name, value in context.updates.items()})
        running.append(np.asarray(state["batch_norm_1.running_mean"]))
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    before, after, steps = figure.subplots(1, 3)
    for k, color in enumerate((BLUE, ORANGE, GREEN)):
        for axes, values in ((before, x), (after, out)):
            bins = np.linspace(-9, 9, 46)
            style = {"bins": bins, "color": color, "linewidth": 1.6, "label": f"feature {k}"}
            axes.hist(values[:, k], histtype="step", **style)
            axes.hist(values[:, k], bins=bins, color=color, alpha=0.18)
        steps.plot([mean[k] for mean in running], color=color, linewidth=1.8)
        steps.axhline(means[k], color=color, linewidth=0.9, linestyle=":")
    before.set(title="a batch of 256", xlabel="value", ylabel="count")
    after.set(title="after BatchNorm, in training", xlabel="value")
    steps.set(title="running_mean (dotted: true mean)", xlabel="step")
    before.legend(frameon=False, fontsize=8, loc="upper right")
    for axes in figure.axes:
        plain(axes)
    return figure


# Dropout


def dropout() -> Figure:
    """A digit under Dropout(0.5) in four steps, their mean over many, and prediction."""
    image, layer = digit(), nn.Dropout(0.5)
    context = nn.Context(training=True, rng=np.random.default_rng(4))
    steps = [np.asarray(layer.forward(np.ones((1, 8, 8)), {}, context))[0] for _ in range(400)]
    figure = Figure(figsize=(9.6, 1.9), layout="constrained")
    axes = figure.subplots(1, 6)
    for k in range(4):
        cells(axes[k], image * steps[k], INTENSITY, f"training, step {k + 1}", limits=(0, 32))
        rows, columns = np.nonzero(steps[k] == 0)
        axes[k].scatter(columns, rows, marker="x", s=14, color=RED, linewidth=1.1)
    mean = np.mean(steps, axis=0) * image
    cells(axes[4], mean, INTENSITY, "mean of 400 steps", limits=(0, 32))
    predicted = np.asarray(layer.forward(image[None], {}, nn.Context()))[0]
    cells(axes[5], predicted, INTENSITY, "prediction", limits=(0, 32))
    return figure


# Embedding


def embedding() -> Figure:
    """Rows of the table gathered by x, and the gradient added into the same rows."""
    rng = np.random.default_rng(3)
    x = np.array([2, 0, 2, 5])
    weight = rng.normal(size=(6, 3)).round(1)
    net = nn.Network([nn.Embedding(6, 3, weight=weight)], dtype="float64", input_shape=4)
    out = net.predict(x[None])[0]
    g = np.array([[1.0, 0, -1], [0, 2, 1], [2, 1, 1], [-1, 1, 0]])

    def loss(parameters: Any) -> Any:
        return np.sum(net.forward(parameters, x[None])[0] * g)

    gradient = cr.grad(loss)(dict(net.parameters))["embedding_1.weight"]
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    *forward, middle, incoming, added = figure.subplots(1, 5, width_ratios=(1, 1, 0.1, 1, 1))
    empty(middle)
    panels = {
        "weight (6, 3)": weight,
        "weight[x], x = [2, 0, 2, 5]": out,
        "cotangent g": g,
        "gradient": gradient,
    }
    for axes, (title, values) in zip((*forward, incoming, added), panels.items(), strict=True):
        cells(axes, values, SIGNED, title, limits=(-3.6, 3.6), numbers=True)
        rows = range(6) if len(values) == 6 else x.tolist()
        axes.set_yticks(range(len(values)), rows, fontsize=9)
        axes.tick_params(length=0)
        axes.set(ylim=(5.5, -0.5) if len(values) == 6 else (4.5, -1.5))
    for i, n in enumerate(x):
        for left, right, start, end in ((*forward, n, i), (incoming, added, i, n)):
            ends: Any = ((2.6, start), (-1.05, end), "data", "data")
            line = ConnectionPatch(*ends, axesA=left, axesB=right, arrowstyle="-|>")
            line.set(color=GREY, linewidth=1.1, mutation_scale=11, annotation_clip=False)
            figure.add_artist(line)
    return figure


# Combining


def residual() -> Figure:
    """Residual as a diagram, and the gradient that reaches each block of a deep network."""
    figure = Figure(figsize=(9.6, 3.0), layout="constrained")
    diagram, measured = figure.subplots(1, 2, width_ratios=(1.1, 1))
    box(diagram, (3.5, 1.0), 2.6, 1.1, "layers", BLUE)
    box(diagram, (6.9, 1.0), 0.9, 0.9, "+", ORANGE)
    for height, color, turn in ((1.15, INK, 1), (0.85, RED, -1)):
        for ends in ((0.6, 2.2), (4.8, 6.45), (7.35, 8.8)):
            arrow(diagram, *((end, height) for end in ends[::turn]), color=color)
        up = 2.4 + 0.3 * turn
        side = 0.15 * turn
        corners = [(1.3 - side, height), (1.3 - side, up), (6.9 + side, up), (6.9 + side, 1.45)]
        if turn < 0:
            corners = [(6.75, 1.45), (6.75, up), (1.45, up), (1.45, height)]
        diagram.plot(*zip(*corners[:3], strict=True), color=color, linewidth=1.4)
        arrow(diagram, corners[2], corners[3], color=color)
    diagram.text(0.4, 1.15, "x", **MIDDLE)
    diagram.text(9.0, 1.15, "out", ha="left", va="center")
    diagram.text(9.0, 0.75, "g", ha="left", va="center", color=RED)
    diagram.text(4.1, 2.95, "x, unchanged", **MIDDLE)
    diagram.text(4.1, 1.85, "g, unchanged", **{**MIDDLE, "color": RED})
    diagram.set(xlim=(0, 9.8), ylim=(0, 3.3), aspect="equal")
    empty(diagram)
    for residual, color, marker in ((False, BLUE, "o"), (True, RED, "s")):
        norms = _gradient_norms(residual)
        norms /= norms[-1]
        label = "Residual([Dense, Sigmoid])" if residual else "Dense, Sigmoid"
        style = {"marker": marker, "markersize": 3, "label": label}
        measured.plot(range(1, 1 + len(norms)), norms, color=color, linewidth=1.4, **style)
    measured.set(yscale="log", xlabel="block", xticks=range(1, 21, 3))
    measured.set_title("norm of d_weight at the start, last block = 1")
    measured.legend(frameon=False, fontsize=9)
    plain(measured)
    return figure


def _gradient_norms(residual: bool, depth: int = 20, units: int = 32) -> np.ndarray:
    """The norm of the gradient of each block's weight, from the first block to the last."""
    layers: list[nn.Layer] = []
    for _ in range(depth):
        block = [nn.Dense(units), nn.Sigmoid()]
        layers += [nn.Residual(block)] if residual else block
    net = nn.Network(layers, input_shape=units, dtype="float64", seed=0)
    x = np.random.default_rng(0).normal(size=(64, units))
    target = np.random.default_rng(1).normal(size=(64, units))

    def loss(parameters: Any) -> Any:
        return np.mean(np.square(net.forward(parameters, x) - target))

    gradients = cr.grad(loss)(dict(net.parameters))
    weights = [g for name, g in gradients.items() if name.endswith("weight")]
    return np.array([np.linalg.norm(g) for g in weights])


# Recurrent


def recurrent() -> Figure:
    """A recurrent layer unrolled, the states of a trained GRU, and gradients over many steps."""
    figure = Figure(figsize=(9.6, 5.0), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.9))
    unrolled(above.subplots())
    states, reach = below.subplots(1, 2, width_ratios=(1.1, 1))
    value, flag, hidden = _remembering_gru()
    rows = np.vstack([value, flag, np.full(len(value), np.nan), hidden.T])
    states.imshow(rows, cmap=SIGNED, vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
    names = ["value", "flag", "", *(f"unit {k}" for k in range(hidden.shape[1]))]
    states.set_yticks(range(len(names)), names, fontsize=9)
    states.tick_params(length=0)
    states.spines[:].set_visible(False)
    states.set_title("a GRU that learned to keep the value at the flag", fontsize=10)
    states.set_xlabel("step")
    for kind, color, style in (("SimpleRNN", BLUE, "-"), ("GRU", GREEN, "--"), ("LSTM", RED, "-.")):
        norms = _gradient_by_step(getattr(nn, kind)(16))
        reach.plot(norms, color=color, linestyle=style, linewidth=1.7, label=kind)
    reach.set_yscale("log")
    reach.set(title="untrained: gradient of the last state", xlabel="by the input of step")
    reach.legend(frameon=False, fontsize=9)
    plain(reach)
    return figure


def _remembering_gru() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A sequence of values, its flag, and the states (T, units) of a GRU trained to remember."""
    rng = np.random.default_rng(0)
    n, steps, units = 512, 14, 6
    value = rng.uniform(-1, 1, (n, steps))
    flagged = rng.integers(0, steps, n)
    flag = np.eye(steps)[flagged]
    x = np.stack([value, flag], axis=-1)
    net = nn.Network([nn.GRU(units), nn.Dense(1)])
    how: dict[str, Any] = {"loss": "squared_error", "optimizer": optim.Adam(0.02), "verbose": 0}
    net.fit(x, value[np.arange(n), flagged][:, None], epochs=60, seed=0, **how)
    every = nn.Network([nn.GRU(units, return_sequences=True)], input_shape=(steps, 2))
    for name in every.parameters:
        every.parameters[name] = net.parameters[name]
    shown = int(np.argmax((flagged == 5) & (value[:, 5] > 0.6)))
    return value[shown], flag[shown], every.predict(x[shown : shown + 1])[0]


def _gradient_by_step(layer: nn.Layer, steps: int = 40) -> np.ndarray:
    """The norm of the gradient of the last state by the inputs of each step."""
    net = nn.Network([layer], input_shape=(steps, 8), dtype="float64", seed=0)
    rng = np.random.default_rng(1)
    x, weights = rng.normal(size=(32, steps, 8)), rng.normal(size=(32, 16))
    gradient = cr.grad(lambda x: np.sum(net(x) * weights))(x)
    return np.asarray(np.linalg.norm(gradient, axis=(0, 2)))


# Attention


def attention() -> Figure:
    """Attention weights of a layer that learned to reverse a sequence: before, after, causal."""
    letters, steps = "abcdef", 8
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, len(letters), (1024, steps))
    tokens[0] = [letters.index(letter) for letter in "badcafed"]
    places = np.broadcast_to(np.eye(steps), (len(tokens), steps, steps))
    x = np.concatenate([np.eye(len(letters))[tokens], places], axis=-1)
    y = np.eye(len(letters))[tokens[:, ::-1]].reshape(len(tokens), -1)
    attend = nn.MultiHeadAttention(1, head_size=16, name="attend")
    net = nn.Network(
        [attend, nn.Dense(len(letters)), nn.Flatten()], input_shape=x.shape[1:], seed=0
    )
    before = _attention_weights(net, x[:1])
    how: dict[str, Any] = {"loss": "squared_error", "optimizer": optim.Adam(0.01), "verbose": 0}
    net.fit(x, y, epochs=15, seed=0, **how)
    after = _attention_weights(net, x[:1])
    figure = Figure(figsize=(9.6, 3.5), layout="constrained")
    panels = {"before training": before, "trained to reverse the word": after}
    panels["the same with causal=True"] = _attention_weights(net, x[:1], causal=True)
    for axes, (title, weights) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        cells(axes, weights, SHARE, title, limits=(0, 1))
        axes.set_xticks(range(steps), "badcafed")
        axes.set_yticks(range(steps), "badcafed")
        axes.tick_params(length=0)
        axes.set_xlabel("key and value of")
        axes.set_ylabel("query of")
    return figure


def _attention_weights(net: nn.Network, x: np.ndarray, *, causal: bool = False) -> np.ndarray:
    """The weights (T, T) of the layer "attend" of a network, for one sequence that holds places.

    With the place itself for a value, the weighted mean of the values is the row of weights.
    """
    steps = x.shape[1]
    attend = nn.MultiHeadAttention(1, head_size=16, causal=causal, name="attend")
    look = nn.Network([attend], input_shape=x.shape[1:])
    for name in look.parameters:
        known = "query" in name or "key" in name
        look.parameters[name] = net.parameters[name] if known else 0 * look.parameters[name]
    look.parameters["attend.value.weight"][-steps:, :steps] = np.eye(steps)
    look.parameters["attend.output.weight"][:steps, :steps] = np.eye(steps)
    return look.predict(x)[0, :, :steps]


PICTURES: tuple[Callable[[], Figure], ...] = (
    convolution_edges,
    convolution_windows,
    convolution_transpose,
    pooling,
    normalization_cubes,
    normalization_statistics,
    dropout,
    embedding,
    residual,
    recurrent,
    attention,
)


def main(folder: Path, pictures: Iterable[Callable[[], Figure]] = PICTURES) -> list[Path]:
    """Draw the pictures into a folder, each under the name of its function."""
    folder.mkdir(parents=True, exist_ok=True)
    return [write(draw(), folder / f"{draw.__name__}.png") for draw in pictures]


if __name__ == "__main__":
    for path in main(Path(*sys.argv[1:2] or [Path(__file__).parent / "pictures"])):
        print(path)
