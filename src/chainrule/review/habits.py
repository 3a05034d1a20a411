"""Slips that a single right gradient does not show: the second call, the arguments, the learning rate."""

from __future__ import annotations

from chainrule.review.report import Finding
from chainrule.review.situation import Situation

__all__ = ["habits"]


def habits(situation: Situation) -> list[Finding]:
    """What is wrong although the first gradient is right."""
    return []
