"""How gradients and activations go through the layers, at one time and over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from chainrule.nn.network import Network
from chainrule.palette import BLUE, GREY, INK, SKY, VERMILION
from chainrule.plots.figure import (
    draw_panel,
    draw_panels,
    epoch_axis,
    figure_of,
    literal,
    logarithmic_axis,
)
from chainrule.training.collecting import Distributions, Histogram, gradients_by_name
from chainrule.training.goal import Penalties
from chainrule.training.losses import LossLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["gradient_flow", "histograms_over_time"]

_MUCH = 1e3  # a factor between the first and the last layer that is worth a word
_MOST_NAMES = 30
_PANELS_IN_A_ROW = 3
_BINS = 120


def gradient_flow(
    network: Network,
    x: Any,
    y: Any,
    *,
    loss: LossLike | None = None,
    penalty: Penalties = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """How large the gradients of one batch are, layer by layer, on a logarithmic axis.

    Of each parameter the root mean square of its gradient, √(mean g²), so that layers of different
    sizes can be compared; weights are joined by a line. Where those of the first layer, or its
    bias's, are a thousand times smaller or larger than those of the last, the picture says so: the
    gradient vanishes, or explodes, on its way back. Gradients that are zero stand at the bottom,
    those that are not finite at the top. `loss` and `penalty` are as for `evaluate`: where not
    given, those of the last fit; the network stays as it is.
    Raises ValueError or TypeError for what does not fit.

    Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent is
    difficult", 1994.

    >>> from chainrule import nn
    >>> layers = [nn.Dense(4), nn.Sigmoid(), nn.Dense(4), nn.Sigmoid(), nn.Dense(1)]
    >>> net = nn.Network(layers, input_shape=2, seed=0)
    >>> figure = gradient_flow(net, np.eye(2), np.ones(2), loss="squared_error")
    """
    gradients = gradients_by_name(network, x, y, loss=loss, penalty=penalty)
    if not gradients:
        raise ValueError(f"{network} has no parameters, so there is no gradient to draw")
    sizes = {name: _root_mean_square(gradient) for name, gradient in gradients.items()}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in sizes))
    axes = draw_panel(ax, float(np.clip(0.55 * len(layers) + 2.0, 5.0, 12.0)), 4.2, title)
    shown = [size for size in sizes.values() if np.isfinite(size) and size > 0]
    low, high = (min(shown), max(shown)) if shown else (0.1, 1.0)
    floor, ceiling = max(low / 3, 1e-290), min(high * 3, 1e290)
    logarithmic_axis(axes, floor, ceiling)
    axes.set_ylim(floor / 2, ceiling * 2)
    weights = _largest_of_each(gradients)
    kinds = {
        "weights": (weights, BLUE, "o", "-"),
        "biases and others": (sizes.keys() - weights, SKY, "s", "none"),
    }
    for label, (chosen, color, marker, line) in kinds.items():
        names = [name for name in sizes if name in chosen]
        if not names:
            continue
        places = [layers.index(name.rpartition(".")[0]) for name in names]
        heights = [sizes[n] if np.isfinite(sizes[n]) and sizes[n] > 0 else np.nan for n in names]
        style: dict[str, Any] = {
            "color": color,
            "marker": marker,
            "markersize": 7,
            "linestyle": line,
        }
        axes.plot(places, heights, label=label, **style)
    _mark_extremes(axes, sizes, layers, floor, ceiling)
    _name_layers(axes, layers)
    axes.set_ylabel("gradient, root mean square")
    axes.legend(frameon=False, loc="best")
    kinds_of_names = ([n for n in sizes if n in weights], [n for n in sizes if n not in weights])
    verdict = next(filter(None, (_verdict(sizes, names) for names in kinds_of_names)), "")
    if verdict:
        how: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 9, "color": VERMILION}
        axes.text(0.5, 1.01, verdict, transform=axes.transAxes, fontweight="bold", **how)
        if ax is not None and title:
            axes.set_title(title, pad=20)
    return figure_of(axes)


def _root_mean_square(gradient: npt.NDArray[Any]) -> float:
    """√(mean g²), without the overflow or underflow of the squares."""
    largest = float(np.abs(gradient).max(initial=0.0))
    if not 0 < largest < math.inf:  # also NaN
        return largest
    scaled = gradient.astype(np.float64) / largest
    return largest * float(np.sqrt(np.mean(np.square(scaled))))


def _largest_of_each(gradients: Mapping[str, npt.NDArray[Any]]) -> set[str]:
    """The largest array of each layer, its weight."""
    largest: dict[str, str] = {}
    for name, gradient in gradients.items():
        layer = name.rpartition(".")[0]
        if layer not in largest or gradient.size > gradients[largest[layer]].size:
            largest[layer] = name
    return set(largest.values())


def _mark_extremes(
    axes: Axes, sizes: Mapping[str, float], layers: Sequence[str], floor: float, ceiling: float
) -> None:
    for what, height, is_so in (
        ("zero", floor, lambda size: size == 0),
        ("not finite", ceiling, lambda size: not math.isfinite(size)),
    ):
        places = [
            layers.index(name.rpartition(".")[0]) for name, size in sizes.items() if is_so(size)
        ]
        if places:
            heights = [height] * len(places)
            style: dict[str, Any] = {"marker": "X", "linestyle": "none", "markersize": 9}
            label = f"{what} ({len(places)} of {len(sizes)})"
            axes.plot(places, heights, color=VERMILION, label=label, **style)


def _name_layers(axes: Axes, layers: Sequence[str]) -> None:
    every = math.ceil(len(layers) / _MOST_NAMES)
    places = range(0, len(layers), every)
    long = max(map(len, layers)) * len(places) > 40
    slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(places, [literal(layers[i]) for i in places], **(slant if long else {}))
    axes.set_xlim(-0.5, len(layers) - 0.5)
    axes.set_xlabel("layers, from the inputs to the outputs")


def _verdict(sizes: Mapping[str, float], names: Sequence[str]) -> str:
    """What the first gradient beside the last one says, "" for nothing."""
    if not names:
        return ""
    first, last = names[0], names[-1]
    small, large = sizes[first], sizes[last]
    if not (0 < small < math.inf and 0 < large < math.inf):
        return ""
    ratio = small / large
    if 1 / _MUCH < ratio < _MUCH:
        return ""
    word = "vanishing" if ratio < 1 else "exploding"
    return f"{word}: {first} has {ratio:.2g} times the gradient of {last}"


def histograms_over_time(
    seen: Distributions,
    quantity: Literal["activations", "gradients"] = "activations",
    *,
    names: Sequence[str] | None = None,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """How activations or gradients were spread, epoch by epoch: a panel for each layer.

    `seen` is the callback `Distributions` that `fit` was given; epoch 0 is the start. The darker,
    the more of the values of that epoch lie there; the line is their median. `names` are the layers
    or parameters to show, by default all. The share of exact zeros at the end stands above a panel
    (of ReLU it is the share that is silent), and that of values that are not finite.
    Raises ValueError where nothing was collected, and for unknown names.

    >>> from chainrule import nn
    >>> net, x = nn.Network([nn.Dense(2), nn.Tanh()]), np.array([[0.0], [1.0]])
    >>> seen = Distributions(x, np.ones((2, 2)))
    >>> _ = net.fit(x, np.ones((2, 2)), loss="squared_error", epochs=2, callbacks=seen, verbose=0)
    >>> figure = histograms_over_time(seen, "gradients")
    """
    if quantity not in ("activations", "gradients"):
        raise ValueError(f"quantity is {quantity!r}: give 'activations' or 'gradients'")
    collected = seen.activations if quantity == "activations" else seen.gradients
    if not seen.epochs:
        raise ValueError("nothing was collected: give the callback to fit, callbacks=[seen]")
    chosen = list(collected if names is None else names)
    unknown = [name for name in chosen if name not in collected]
    if unknown or not chosen:
        raise ValueError(
            f"names is {list(names or ())}: give some of {', '.join(collected)}, of which there "
            f"are {quantity}"
        )
    columns = min(len(chosen), _PANELS_IN_A_ROW)
    rows = math.ceil(len(chosen) / columns)
    panels = draw_panels(
        ax, rows, columns, 3.6 * columns + 0.6, 2.5 * rows + 0.4, title, grid=False
    )
    for axes in panels[len(chosen) :]:
        axes.remove()
    for i, (axes, name) in enumerate(zip(panels, chosen, strict=False)):
        _draw_over_time(axes, seen.epochs, collected[name])
        axes.set_title(_heading(name, collected[name][-1]), fontsize=9)
        if i + columns < len(chosen):
            axes.set_xlabel("")
    panels[0].set_ylabel(quantity[:-1])
    return figure_of(panels[0])


def _heading(name: str, last: Histogram) -> str:
    remarks = [f"{last.zeros:.0%} zeros"] if last.zeros >= 0.005 else []
    remarks += [f"{last.not_finite:.1%} not finite"] if last.not_finite else []
    return f"{name} ({', '.join(remarks)})" if remarks else name


def _draw_over_time(axes: Axes, epochs: Sequence[int], histograms: Sequence[Histogram]) -> None:
    low, high = _range_of(histograms)
    edges = np.linspace(low, high, _BINS + 1)
    columns = [_rebinned(histogram, edges) for histogram in histograms]
    # each epoch has its own scale: what counts is the form
    picture = np.stack([column / (column.max() or 1.0) for column in columns], axis=1)
    between = (np.asarray(epochs[1:]) + np.asarray(epochs[:-1])) / 2
    first, last = (epochs[0], epochs[-1])
    left = first - (between[0] - first if len(between) else 0.5)
    right = last + (last - between[-1] if len(between) else 0.5)
    sides = np.array([left, *between, right])
    from matplotlib.colors import (
        LinearSegmentedColormap,
    )  # where there are axes there is matplotlib

    shades = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", SKY, BLUE, INK])
    axes.pcolormesh(sides, edges, picture**0.6, cmap=shades, vmin=0.0, vmax=1.0, rasterized=True)
    medians = [_quantile(histogram, 0.5) for histogram in histograms]
    axes.plot(epochs, medians, color=VERMILION, linewidth=1.4, marker="o", markersize=2.5)
    if low < 0 < high:
        axes.axhline(0.0, color=GREY, linewidth=0.6, linestyle=":")
    epoch_axis(axes, first, last)
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)


def _range_of(histograms: Sequence[Histogram]) -> tuple[float, float]:
    """Where nearly all values lie at most epochs: without the outermost thousandth of each."""
    known = [h for h in histograms if h.counts.sum()]
    if not known:
        return -1.0, 1.0
    low = min(_quantile(h, 0.001) for h in known)
    high = max(_quantile(h, 0.999) for h in known)
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin


def _cumulated(histogram: Histogram) -> npt.NDArray[np.float64]:
    """The share of the values below each edge, (bins + 1,)."""
    total = max(int(histogram.counts.sum()), 1)
    return np.concatenate([[0.0], np.cumsum(histogram.counts) / total])


def _quantile(histogram: Histogram, share: float) -> float:
    """The value below which a share lies, as if each bin were evenly filled; NaN of none."""
    if not histogram.counts.sum():
        return math.nan
    return float(np.interp(share, _cumulated(histogram), histogram.edges))


def _rebinned(histogram: Histogram, edges: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of the values in each of other bins."""
    return np.diff(np.interp(edges, histogram.edges, _cumulated(histogram)))
