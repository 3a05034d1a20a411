"""Callbacks that collect what pictures are drawn from: snapshots of a network, distributions."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, final, runtime_checkable

import numpy as np

from chainrule.autodiff import value_and_grad
from chainrule.training.callbacks import Run
from chainrule.training.goal import Goal, Penalties, ignore_overflow
from chainrule.training.inputs import check_count
from chainrule.training.losses import LossLike
from chainrule.training.samples import Samples
from chainrule.training.step import make_loss
from chainrule.training.trainable import Trainable

__all__ = ["Distributions", "GivesLayerOutputs", "Histogram", "Snapshots", "gradients_by_name"]


def gradients_by_name(
    network: Trainable,
    x: Any,
    y: Any,
    *,
    loss: LossLike | None = None,
    penalty: Penalties = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """The gradient of the loss of one batch by each parameter, as training computes it.

    `loss` and `penalty` are as for `fit`, and where not given, those of the last fit. Dropout draws
    by the seed; parameters and state stay as they are. Raises ValueError or TypeError for what does
    not fit, and where there was no fit and no loss is given.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(1, weight=[[2.0]])])
    >>> gradients_by_name(net, np.array([[3.0]]), np.array([1.0]), loss="squared_error")
    {'dense_1.weight': array([[15.]], dtype=float32), 'dense_1.bias': array([5.], dtype=float32)}
    """
    goal = Goal.of_last_fit(network, loss, penalty, "a gradient")
    samples = Samples.prepare(network, goal.loss, x, y)
    layout = network.parameters
    differentiate = value_and_grad(make_loss(network, goal.loss, goal.penalties), has_aux=True)
    rng = np.random.default_rng(seed)
    with ignore_overflow():
        _, gradients = differentiate(
            layout.unflatten(layout.flat), network.state, samples.batch(slice(None)), rng
        )
    return dict(gradients)


class Snapshots:
    """Keep the parameters of a network at the start, after every `every` epochs, and at the end.

    `epochs` lists when, 0 for the start, and `restore` puts one back into the network or a copy of
    it: for pictures of how it learned. Once there are more than `most`, every second is dropped and
    `every` doubles, so that a long training does not fill the memory.

    >>> from chainrule import nn
    >>> net, kept = nn.Network([nn.Dense(1)]), Snapshots(every=2)
    >>> x = np.array([[0.0], [1.0]])
    >>> _ = net.fit(x, x, loss="squared_error", epochs=5, callbacks=kept, verbose=0)
    >>> kept.epochs
    [0, 2, 4, 5]
    """

    def __init__(self, every: int = 1, most: int = 200) -> None:
        check_count("every", every)
        check_count("most", most)
        self._given_every, self.most = every, max(most, 3)
        self._begin()

    def _begin(self) -> None:
        self.every = self._given_every
        self.epochs: list[int] = []
        self._kept: list[_Learned] = []
        self._latest: tuple[int, _Learned] | None = None

    def __len__(self) -> int:
        return len(self.epochs)

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier run, and keep what this one starts from."""
        self._begin()
        self._keep(0, _Learned.of(run.network))

    def on_epoch_end(self, run: Run) -> None:
        """Keep this epoch if it is due; the last one is kept in any case."""
        learned = _Learned.of(run.network)
        self._latest = run.epoch, learned
        if run.epoch % self.every == 0:
            self._keep(run.epoch, learned)

    def on_fit_end(self, run: Run) -> None:
        """Keep the last epoch, before anything is restored."""
        if self._latest is not None and self._latest[0] != self.epochs[-1]:
            self._keep(*self._latest)
        self._latest = None

    def _keep(self, epoch: int, learned: _Learned) -> None:
        self.epochs.append(epoch)
        self._kept.append(learned)
        if len(self.epochs) > self.most:
            self.every *= 2
            pairs = [
                (e, kept)
                for e, kept in zip(self.epochs, self._kept, strict=True)
                if e % self.every == 0 or e == epoch
            ]
            self.epochs, self._kept = [e for e, _ in pairs], [kept for _, kept in pairs]

    def restore(self, network: Trainable, i: int) -> None:
        """Write the i-th snapshot, that of `epochs[i]`, into a network of the same parameters.

        Raises ValueError for a network of another size, and where nothing has been kept.
        """
        if not self._kept:
            raise ValueError("no snapshots were kept: give them to fit, callbacks=[snapshots]")
        flat, state = self._kept[i]
        if network.parameters.flat.shape != flat.shape or set(network.state) != set(state):
            raise ValueError(
                f"the snapshots are of {flat.size} parameters, {network} has "
                f"{network.parameters.flat.size}: give the network that was trained"
            )
        network.parameters.flat[...] = flat
        for name, array in state.items():
            network.state[name][...] = array


class _Learned(NamedTuple):
    """A copy of what a network has learned."""

    flat: np.ndarray
    state: dict[str, np.ndarray]

    @staticmethod
    def of(network: Trainable) -> _Learned:
        state = {name: array.copy() for name, array in network.state.items()}
        return _Learned(network.parameters.flat.copy(), state)


@final
class Histogram(NamedTuple):
    """How the values of an array are spread: how many lie in each of the equal bins.

    `counts` (bins,), `edges` (bins + 1,), of the finite values; `zeros` is the share of the values
    that are exactly 0, `not_finite` that of NaN and infinity.

    >>> Histogram.of(np.array([0.0, 1.0, 1.0, np.nan]), bins=2)
    Histogram(counts=array([1, 2]), edges=array([0. , 0.5, 1. ]), zeros=0.25, not_finite=0.25)
    """

    counts: np.ndarray
    edges: np.ndarray
    zeros: float
    not_finite: float

    @staticmethod
    def of(values: np.ndarray, bins: int) -> Histogram:
        """The histogram over the range of the finite values of an array of any shape."""
        values = np.asarray(values, np.float64).reshape(-1)
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        if high - low <= 1e-12 * max(abs(low), abs(high)):  # NumPy would have no bins between them
            width = abs(low) or 1.0
            low, high = low - 0.5 * width, high + 0.5 * width
        counts, edges = np.histogram(finite, bins, (low, high))
        n = max(values.size, 1)
        zeros = int(np.count_nonzero(values == 0)) / n
        return Histogram(counts, edges, zeros, (values.size - finite.size) / n)


@runtime_checkable
class GivesLayerOutputs(Protocol):
    """What can say what each of its layers gives, as `nn.Network` can."""

    def layer_outputs(self, x: Any) -> dict[str, np.ndarray]:
        """What each layer gives for inputs x (N, ...), by the layers' names."""


class Distributions:
    """Collect how activations and gradients are spread, at the start and after `every` epochs.

    They are those of the samples `x` and `y`, which stay the same: a few hundred are enough.
    `activations` maps each layer, and `gradients` each parameter, to one `Histogram` for each of
    `epochs`, 0 for the start; activations are those of prediction, gradients those of training,
    penalties included. Costs one forward and one backward pass each time. Once there are more than
    `most`, every second is dropped and `every` doubles.

    >>> from chainrule import nn
    >>> net, x = nn.Network([nn.Dense(2), nn.Tanh()]), np.array([[0.0], [1.0]])
    >>> seen = Distributions(x, np.ones((2, 2)))
    >>> _ = net.fit(x, np.ones((2, 2)), loss="squared_error", epochs=2, callbacks=seen, verbose=0)
    >>> seen.epochs, list(seen.activations), list(seen.gradients)
    ([0, 1, 2], ['dense_1', 'tanh_1'], ['dense_1.weight', 'dense_1.bias'])
    """

    def __init__(self, x: Any, y: Any, *, every: int = 1, bins: int = 64, most: int = 200) -> None:
        for name, count in (("every", every), ("bins", bins), ("most", most)):
            check_count(name, count)
        self.x, self.y = x, y
        self.bins, self.most = bins, max(most, 3)
        self._given_every = every
        self._begin()

    def _begin(self) -> None:
        self.every = self._given_every
        self.epochs: list[int] = []
        self.activations: dict[str, list[Histogram]] = {}
        self.gradients: dict[str, list[Histogram]] = {}

    def on_fit_begin(self, run: Run) -> None:
        """Forget an earlier run, and look at what this one starts from."""
        if not isinstance(run.network, GivesLayerOutputs):
            raise TypeError(
                f"Distributions needs the outputs of layers, which {type(run.network).__name__} "
                "does not give: it has no method layer_outputs"
            )
        self._begin()
        self._look(run)

    def on_epoch_end(self, run: Run) -> None:
        """Look at the network if it is time."""
        if run.epoch % self.every == 0:
            self._look(run)

    def _look(self, run: Run) -> None:
        network = run.network
        assert isinstance(network, GivesLayerOutputs)
        with ignore_overflow():
            outputs = network.layer_outputs(self.x)
        gradients = gradients_by_name(network, self.x, self.y)
        for kept, found in ((self.activations, outputs), (self.gradients, gradients)):
            for name, values in found.items():
                kept.setdefault(name, []).append(Histogram.of(values, self.bins))
        self.epochs.append(run.epoch)
        if len(self.epochs) > self.most:
            self.every *= 2
            left = [i for i, epoch in enumerate(self.epochs) if epoch % self.every == 0]
            self.epochs = [self.epochs[i] for i in left]
            for kept in (self.activations, self.gradients):
                for name, histograms in kept.items():
                    kept[name] = [histograms[i] for i in left]
