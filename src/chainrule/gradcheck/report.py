"""What a gradient check found, and how it is told."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Element", "Fault", "GradientCheckError", "GradientReport"]

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a gradient: as computed, and as the numerical derivative has it."""

    argument: str
    index: tuple[int, ...]
    gradient: float
    numerical: float


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that a check found wrong, in words and as facts.

    `cause` is its short name, such as "kink", "factor" or "in place", and "" where no cause was
    recognised. `leaf` counts the arrays of the arguments, if the gradient by one of them is wrong.
    """

    text: str
    cause: str = ""
    leaf: int | None = None


@dataclass(frozen=True, slots=True)
class GradientReport:
    """The outcome of a gradient check; true where it passed, and readable when printed.

    `order` is the highest order of derivative that was tried, `directions` the number of random
    directions and `methods` how the numerical derivative was made. Where the check failed,
    `faults` says why as far as it can be told, in words also `reasons`, and `elements` holds the
    worst elements. `notes` are worth knowing and no failure.
    """

    name: str
    ok: bool
    order: int
    worst_relative_error: float
    tolerance: float
    directions: int
    methods: tuple[str, ...]
    faults: tuple[Fault, ...] = ()
    elements: tuple[Element, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """The faults in words."""
        return tuple(fault.text for fault in self.faults)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        methods = " and ".join(self.methods) or "nothing compared"
        directions = "1 direction" if self.directions == 1 else f"{self.directions} directions"
        head = (
            f"gradient check of {self.name}: {'ok' if self.ok else 'FAILED'}, order {self.order}, "
            f"worst relative error {self.worst_relative_error:.3g} "
            f"(tolerance {self.tolerance:.3g}) in {directions}, by {methods}"
        )
        lines = [head]
        lines += [f"  why: {reason}" for reason in self.reasons]
        lines += [f"  note: {note}" for note in self.notes]
        lines += self._element_lines()
        return "\n".join(lines)

    def __repr__(self) -> str:
        verdict = "ok" if self.ok else "FAILED"
        return f"GradientReport({self.name}, {verdict}, error {self.worst_relative_error:.3g})"

    def _repr_html_(self) -> str:
        from chainrule import html  # for notebooks alone
        from chainrule.palette import GREEN, VERMILION

        head, *rest = str(self).splitlines()
        verdict = html.paragraph(head, strong=True, color=GREEN if self.ok else VERMILION)
        if not self.elements:
            return html.block(verdict, *map(html.paragraph, rest))
        texts = rest[: len(rest) - len(self._element_lines())]
        rows = [
            [e.argument, e.index or "", f"{e.gradient:.9g}", f"{e.numerical:.9g}"]
            for e in self.elements[:_SHOWN]
        ]
        header = ["worst elements of", "index", "gradient", "numerical"]
        return html.block(verdict, *map(html.paragraph, texts), html.table(header, rows, left=2))

    def _element_lines(self) -> list[str]:
        if not self.elements:
            return []
        lines = ["  worst elements:"]
        for element in self.elements[:_SHOWN]:
            place = f" [{', '.join(map(str, element.index))}]" if element.index else ""
            lines.append(
                f"    {element.argument}{place}: gradient {element.gradient:.9g}, "
                f"numerical {element.numerical:.9g}"
            )
        return lines


class GradientCheckError(AssertionError):
    """A gradient that disagrees with its numerical value; the message is the report."""

    def __init__(self, report: GradientReport) -> None:
        super().__init__(str(report))
        self.report = report
