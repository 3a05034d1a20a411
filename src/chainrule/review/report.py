"""What a review found, and how it is told: in the terminal, in a notebook, in a failing test."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["BackpropError", "BackpropReport", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and where.

    `kind` is its short name, such as "missing transpose"; `line`, `file` and `text` say where, line
    0 where that is not known; `expected` is the line as it would be right, "" where that is not
    known; `why` is a sentence. `evidence` is the relative error of the worst gradient that the line
    spoils: 0 would be right. `certain` says that with the line mended, and nothing else, those
    gradients are right; `lines` are all lines that belong to it, and `parameters` the names of what
    has a wrong gradient by it.
    """

    kind: str
    line: int
    file: str
    text: str
    expected: str
    why: str
    evidence: float
    certain: bool = True
    lines: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()

    def __str__(self) -> str:
        place = f"line {self.line}: `{self.text}`" if self.line else self.kind
        wanted = f": expected `{self.expected}`" if self.expected else ""
        return f"{place}{wanted}; {self.why}"


@dataclass(frozen=True)
class BackpropReport:
    """The outcome of a review; true where nothing is wrong.

    `findings` are what is wrong, the first wrong line first. `gradients` has for each parameter the
    relative error of its gradient, `loss` the loss that was differentiated, `method` how the true
    derivatives were made. `notes` are worth knowing and no fault.
    """

    name: str
    ok: bool
    findings: tuple[Finding, ...] = ()
    gradients: dict[str, float] = field(default_factory=dict)
    loss: str = ""
    method: str = ""
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        if self.ok:
            return f"BackpropReport({self.name!r}, ok, {len(self.gradients)} gradients)"
        kinds = ", ".join(f"{f.kind} (line {f.line})" if f.line else f.kind for f in self.findings)
        return f"BackpropReport({self.name!r}, wrong: {kinds})"

    def __str__(self) -> str:
        state = "ok" if self.ok else "WRONG"
        lines = [f"backprop of {self.name}: {state}"]
        lines += [f"  {finding}" for finding in self.findings]
        if self.gradients:
            lines.append(
                "  relative error of each gradient, against the derivative of " + self.loss
            )
            lines += [f"    {name}: {_error(error)}" for name, error in self.gradients.items()]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        state = "ok" if self.ok else "wrong"
        parts = [f"<p><b>backprop of {html.escape(self.name)}</b>: {state}</p>"]
        for finding in self.findings:
            parts.append(
                "<p>"
                + (
                    f"line {finding.line}: <code>{html.escape(finding.text)}</code>"
                    if finding.line
                    else ""
                )
                + (
                    f"<br>expected: <code>{html.escape(finding.expected)}</code>"
                    if finding.expected
                    else ""
                )
                + f"<br>{html.escape(finding.kind)}: {html.escape(finding.why)}</p>"
            )
        rows = "".join(
            f"<tr><td>{html.escape(name)}</td><td>{_error(error)}</td></tr>"
            for name, error in list(self.gradients.items())[:60]
        )
        if rows:
            parts.append(
                f"<table><tr><th>gradient</th><th>relative error</th></tr>{rows}</table>"
                f"<p>against the derivative of {html.escape(self.loss)}, by "
                f"{html.escape(self.method)}</p>"
            )
        parts += [f"<p>{html.escape(note)}</p>" for note in self.notes]
        return "".join(parts)

    def as_dict(self) -> dict[str, Any]:
        """The report in plain dicts and lists, for JSON."""
        return {
            "name": self.name,
            "ok": self.ok,
            "findings": [asdict(finding) for finding in self.findings],
            "gradients": dict(self.gradients),
            "loss": self.loss,
            "method": self.method,
            "notes": list(self.notes),
        }


def _error(error: float) -> str:
    return "another shape" if error == float("inf") else f"{error:.2g}"


class BackpropError(AssertionError):
    """Hand-written backpropagation that is wrong; the message is the report."""

    def __init__(self, report: BackpropReport) -> None:
        super().__init__(str(report))
        self.report = report
