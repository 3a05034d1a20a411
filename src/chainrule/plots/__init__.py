"""Pictures: how training went, and how well the network fits. The one place that uses matplotlib.

Every function returns a `matplotlib.figure.Figure` that belongs to no window and no global list, so
it works without a display and in any thread; a notebook shows it, `save` writes it. The colours
are those of M. Okabe and K. Ito, "Color Universal Design" (2008), which colour-blind readers tell
apart, and no picture says a thing by colour alone.
"""

from chainrule.plots.curves import learning_curves, loss_curve
from chainrule.plots.figure import save
from chainrule.plots.images import feature_maps, hidden_units, image_grid, kernels
from chainrule.plots.predictions import confusion_matrix, decision_regions, predicted_against_true

__all__ = [
    "confusion_matrix",
    "decision_regions",
    "feature_maps",
    "hidden_units",
    "image_grid",
    "kernels",
    "learning_curves",
    "loss_curve",
    "predicted_against_true",
    "save",
]
