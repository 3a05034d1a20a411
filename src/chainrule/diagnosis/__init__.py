"""Why a network does not learn: causes, each with a measured number, the most certain one first.

`diagnose` looks at the data, then at one batch on its way through a copy of the network and back,
then at short trainings of that copy; it changes nothing of what it was given.
"""

from __future__ import annotations

from chainrule.diagnosis.diagnose import diagnose
from chainrule.diagnosis.report import CAUSES, Diagnosis, Finding

__all__ = ["CAUSES", "Diagnosis", "Finding", "diagnose"]
