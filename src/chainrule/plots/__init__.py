"""Pictures of data, networks and training. The one place that uses matplotlib.

Every function returns a `matplotlib.figure.Figure` that belongs to no window and no global list, so
it works without a display and in any thread; a notebook shows it where a cell ends with it, `save`
writes it. Every function takes `ax=`, axes of yours to draw in; then it returns their figure. The
colours are those of `chainrule.palette`, which colour-blind readers tell apart, and no picture says
a thing by colour alone.
"""

from chainrule.plots.animation import Animation
from chainrule.plots.curves import learning_curves, loss_curve
from chainrule.plots.figure import save
from chainrule.plots.gradients import gradient_flow, histograms_over_time
from chainrule.plots.images import image_grid, predicted_images
from chainrule.plots.landscape import loss_landscape
from chainrule.plots.planes import (
    animated_decision_boundary,
    decision_boundary,
    decision_regions,
)
from chainrule.plots.predictions import confusion_matrix, fitted_curve, predicted_against_true
from chainrule.plots.samples import sample_points
from chainrule.plots.weights import feature_maps, hidden_units, kernels

__all__ = [
    "Animation",
    "animated_decision_boundary",
    "confusion_matrix",
    "decision_boundary",
    "decision_regions",
    "feature_maps",
    "fitted_curve",
    "gradient_flow",
    "hidden_units",
    "histograms_over_time",
    "image_grid",
    "kernels",
    "learning_curves",
    "loss_curve",
    "loss_landscape",
    "predicted_against_true",
    "predicted_images",
    "sample_points",
    "save",
]
