"""The loss around what a network has learned, in two random directions."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.nn.network import Network
from chainrule.palette import VERMILION
from chainrule.plots.figure import clipped_ends, draw_panel, figure_of
from chainrule.training.goal import Goal, Penalties
from chainrule.training.inputs import check_count
from chainrule.training.losses import LossLike
from chainrule.training.measured import NotSaved
from chainrule.training.samples import Samples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["loss_landscape"]

_LEVELS = 14
_MANY_DECADES = 30.0  # more than this factor between the losses is drawn on a logarithmic scale


def loss_landscape(
    network: Network,
    x: Any,
    y: Any,
    *,
    loss: LossLike | None = None,
    penalty: Penalties = None,
    extent: float = 1.0,
    points: int = 25,
    seed: int = 0,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Lines of equal loss in a plane through the parameters, along two random directions.

    The directions are normal draws, with each filter's part (the weights into one unit) scaled to
    the norm of the filter itself, so that networks can be compared whatever the scale of their
    weights; biases and other parameters of one axis stay as they are. The plane reaches `extent`
    to each side, in norms of the filters, in `points` by `points` steps, each an evaluation of the
    loss of all samples, penalties included. `loss` and `penalty` are as for `evaluate`: where not
    given, those of the last fit. The network stays as it is. Losses above the highest line are
    left in one colour, as the arrow of the colour bar says; where they are not finite it is blank.
    Raises ValueError or TypeError for what does not fit.

    Li, Xu, Taylor, Studer and Goldstein, "Visualizing the loss landscape of neural nets", 2018,
    section 4.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(3), nn.Tanh(), nn.Dense(1)], input_shape=2, seed=0)
    >>> x = np.eye(2)
    >>> figure = loss_landscape(net, x, x[:, :1], loss="squared_error", points=5)
    """
    check_count("points", points)
    if not extent > 0:
        raise ValueError(f"extent is {extent}: give a number above 0, in norms of the filters")
    places = np.linspace(-extent, extent, points)
    losses = _losses(network, x, y, loss, penalty, places, seed)
    axes = draw_panel(ax, 5.8, 4.6, title, grid=False)
    finite = losses[np.isfinite(losses)]
    if finite.size and np.ptp(finite) > 0:
        _draw_levels(axes, places, losses, finite)
    else:
        what = f"the loss is {finite[0]:.4g} everywhere" if finite.size else "no loss is finite"
        axes.text(0.5, 0.9, what, ha="center", transform=axes.transAxes)
    here = losses[points // 2, points // 2] if points % 2 else np.nan
    label = f"the network, loss {here:.4g}" if np.isfinite(here) else "the network"
    style: dict[str, Any] = {"linestyle": "none", "markersize": 11, "markeredgecolor": "white"}
    axes.plot([0.0], [0.0], marker="P", color=VERMILION, label=label, **style)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal")
    axes.locator_params(nbins=5)
    axes.set_xlabel("along one random direction (norms of the filters)")
    axes.set_ylabel("along another")
    axes.legend(loc="lower left", framealpha=0.85)
    return figure_of(axes)


def _losses(
    network: Network,
    x: Any,
    y: Any,
    loss: LossLike | None,
    penalty: Penalties,
    places: npt.NDArray[np.float64],
    seed: int,
) -> npt.NDArray[np.float64]:
    """The loss at each place, rows along the second direction and columns along the first."""
    last = network.measured
    loss = last.loss if loss is None else loss
    if loss is None or isinstance(loss, NotSaved):
        raise ValueError("the loss is not known before a fit: give loss=, a name")
    network.as_inputs(x)  # builds it
    moved = copy.deepcopy(network)
    goal = Goal.of(moved, loss, (), last.penalty if penalty is None else penalty)
    samples = Samples.prepare(moved, goal.loss, x, y)
    flat = moved.parameters.flat
    centre = flat.copy()
    rng = np.random.default_rng(seed)
    first, second = (_direction(network, rng) for _ in range(2))
    losses = np.empty((len(places), len(places)))
    for (i, j), _ in np.ndenumerate(losses):
        flat[...] = centre + places[j] * first + places[i] * second
        losses[i, j] = goal.evaluate(samples)["loss"]
    return losses


def _direction(network: Network, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A random direction (n_parameters,), d ← d ‖θ‖ / ‖d‖ for each filter θ.

    The last axis of a weight counts the filters; what has one axis alone does not move.
    """
    parts = []
    for weight in network.parameters.values():
        direction = rng.normal(size=weight.shape)
        if weight.ndim < 2:
            direction[...] = 0.0
        else:
            others = tuple(range(weight.ndim - 1))
            norm = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=others))
            direction *= norm / np.sqrt(np.square(direction).sum(axis=others))
        parts.append(direction.reshape(-1))
    return np.concatenate(parts)


def _draw_levels(
    axes: Axes,
    places: npt.NDArray[np.float64],
    losses: npt.NDArray[np.float64],
    finite: npt.NDArray[np.float64],
) -> None:
    from matplotlib.colors import BoundaryNorm  # where there are axes there is matplotlib

    low, high = float(finite.min()), float(np.percentile(finite, 97))
    high = high if high > low else float(finite.max())
    spaced = np.geomspace if low > 0 and high > _MANY_DECADES * low else np.linspace
    levels = spaced(low, high, _LEVELS + 1)
    extend = clipped_ends(finite, low, high)
    norm = BoundaryNorm(levels, 256, extend=extend)
    masked = np.ma.masked_invalid(losses)
    shown = axes.contourf(
        places, places, masked, levels=levels, cmap="viridis_r", norm=norm, extend=extend
    )
    axes.contour(places, places, masked, levels=levels, colors="white", linewidths=0.5)
    bar = axes.figure.colorbar(shown, ax=axes, label="loss", ticks=levels[::2])
    bar.ax.set_yticklabels([f"{level:.3g}" for level in levels[::2]])
