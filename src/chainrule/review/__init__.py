"""A reader's own backpropagation, put right: the first wrong line, what it should be, and why.

`check_backprop` runs the reader's forward pass for the true derivatives, finds the statement whose
value mends the gradients when the true one is put in its place, and tries small changes of that
statement.
"""

from chainrule.review.check import assert_backprop, check_backprop
from chainrule.review.report import BackpropError, BackpropReport, Finding

__all__ = ["BackpropError", "BackpropReport", "Finding", "assert_backprop", "check_backprop"]
