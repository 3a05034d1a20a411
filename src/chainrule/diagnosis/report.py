"""What a diagnosis found, and how it is told."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, final

__all__ = ["CAUSES", "Diagnosis", "Finding", "ranked", "short"]

CAUSES: tuple[str, ...] = (
    # what was handed over cannot be trained on
    "inputs of the wrong kind",
    "transposed inputs",
    "inputs of the wrong shape",
    "NaN in the inputs",
    "labels of the wrong shape",
    "labels of the wrong kind",
    "NaN in the labels",
    # or the network cannot learn from it, by its making
    "NaN in the parameters",
    "softmax twice",
    "output layer and loss do not fit",
    "NaN in the computation",
    "leak",
    "zero initialisation",
    "constant initialisation",
    "symmetry",
    "batch too small for batch norm",
    "inputs not scaled",
    "regularisation too strong",
    "saturated sigmoid",
    "saturated tanh",
    "dead ReLU",
    "exploding gradients",
    "vanishing gradients",
    "zero gradients",
    # or there is little to learn
    "classes unbalanced",
    "labels shuffled",
    "train and validation differ",
    "learning rate too large",
    "learning rate too small",
    "network too small",
    "overfitting",
    "target learned as a constant",
    "constant column",
    "duplicate columns",
)
"""The names a finding can have, a cause before what it brings about: the order of a diagnosis."""


@final
@dataclass(frozen=True, slots=True)
class Finding:
    """One cause: its name (one of `CAUSES`), what was measured, and one thing to try.

    `evidence` is a sentence with the number, `number` that number alone, `layer` the layer it was
    measured in, "" where it belongs to none.
    """

    name: str
    evidence: str
    number: float
    try_: str
    layer: str = ""

    def __str__(self) -> str:
        where = f" ({self.layer})" if self.layer else ""
        return f"{self.name}{where}: {self.evidence}. Try: {self.try_}"


@final
@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings, the most certain cause first; readable when printed.

    `network` says which one it was, and `n_steps` how many training steps its copy took.

    >>> print(Diagnosis((), "Network(4-8-3, relu)", 100))
    diagnosis of Network(4-8-3, relu): nothing found, in 100 steps of a copy
    """

    findings: tuple[Finding, ...]
    network: str
    n_steps: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as JSON takes it."""
        found = [asdict(finding) for finding in self.findings]
        for row in found:
            row["try"] = row.pop("try_")
        return {"network": self.network, "n_steps": self.n_steps, "findings": found}

    def __repr__(self) -> str:
        names = ", ".join(finding.name for finding in self.findings)
        return f"<Diagnosis: {names or 'nothing found'}>"

    def __str__(self) -> str:
        lines = [self._head()]
        for number, finding in enumerate(self.findings, 1):
            where = f", {finding.layer}" if finding.layer else ""
            lines += [
                f"{number}. {finding.name}{where}",
                f"   {finding.evidence}",
                f"   try: {finding.try_}",
            ]
        return "\n".join(lines)

    def _head(self) -> str:
        count = len(self.findings)
        found = "nothing found" if not count else f"{count} finding{'s' * (count > 1)}"
        steps = "without a step" if not self.n_steps else f"in {self.n_steps} steps of a copy"
        return f"diagnosis of {self.network}: {found}, {steps}"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        from chainrule import html  # for notebooks alone

        head = html.paragraph(self._head())
        if not self.findings:
            return html.block(head)
        rows = [[i, f.name, f.layer, f.evidence, f.try_] for i, f in enumerate(self.findings, 1)]
        return html.block(head, html.table(["", "cause", "layer", "evidence", "try"], rows, left=5))


def ranked(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings in the order of `CAUSES`, the first of each name and layer."""
    kept: dict[tuple[str, str], Finding] = {}
    for finding in sorted(findings, key=lambda finding: CAUSES.index(finding.name)):
        kept.setdefault((finding.name, finding.layer), finding)
    return tuple(kept.values())


def short(number: float) -> str:
    """A number as evidence shows it: three digits.

    >>> short(0.123456), short(12345.6), short(float("nan"))
    ('0.123', '1.23e+04', 'nan')
    """
    return f"{number:.3g}" if math.isfinite(number) else str(number)
