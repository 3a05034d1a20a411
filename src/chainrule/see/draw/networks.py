"""`draw_network`: the picture of a network, as its layers, its neurons, or its computation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from chainrule.see.draw.drawing import Drawing
    from chainrule.see.draw.network_pictures import Drawable, Show
    from chainrule.training.goal import Penalties
    from chainrule.training.losses import LossLike

__all__ = ["draw_network"]


def draw_network(
    network: Drawable,
    x: Any = None,
    y: Any = None,
    *,
    loss: LossLike | None = None,
    penalty: Penalties = None,
    show: Show | None = None,
    backward: bool = False,
    title: str | None = None,
    seed: int | np.random.Generator | None = None,
) -> Drawing:
    """The network as a picture: of its layers, of its neurons, or of its whole computation.

    Layers are boxes with their options, output shapes and numbers of parameters; what is made of
    layers shows its branches. A network of Dense layers with at most 16 units each is drawn as
    neurons, its edges coloured by the weights. `show` chooses: "layers", "neurons" or "graph".
    With inputs x (N, ...), values are shown, and with targets y (N, ...) gradients of the loss too,
    with `loss` and `penalty` as for `fit`, by default those of the last fit: neurons then show
    means over the samples, and their edges the gradients. "graph" needs x and y, and
    `backward=True` draws the reverse pass of layers and graph beside the forward pass. `seed` fixes
    what dropout draws.
    The network is built for x where it is not built, else nothing of it is changed. Raises
    ValueError for a network that is not built, without x; for y without x; for neurons of a
    network that has others than Dense layers and activations; and as `backprop` does.

    >>> from chainrule import nn
    >>> net = nn.Network([nn.Dense(2), nn.Sigmoid(), nn.Dense(1)], input_shape=2, seed=0)
    >>> net.draw(title="a small one")
    Drawing('a small one': 1 boxes, ...)
    >>> "9 parameters" in net.draw().description
    True
    """
    # Whoever trains imports this module, and most draw nothing: what draws is imported now.
    from chainrule.see.draw.network_pictures import picture_of

    return picture_of(network, x, y, loss, penalty, show, backward, title, seed)
