"""Numerical checks of derivatives: ours, yours, and every rule of the table.

`check_grads` checks our derivatives of any function, `check_gradient` a gradient function written
by hand, `check_table` the vjp rules of the primitives. Each compares with finite differences in
random directions, and with the complex step where that is exact, and says why a check failed.
"""

from chainrule.gradcheck.check import check_gradient, check_grads
from chainrule.gradcheck.report import Element, Fault, GradientCheckError, GradientReport
from chainrule.gradcheck.table import RuleResult, check_table

__all__ = [
    "Element",
    "Fault",
    "GradientCheckError",
    "GradientReport",
    "RuleResult",
    "check_gradient",
    "check_grads",
    "check_table",
]
