"""`chainrule check-backprop FILE`: the first wrong line of hand-written backpropagation."""

from __future__ import annotations

from pathlib import Path

from chainrule.cli.console import CommandError, message, new_table, print_table, stdout, write_json
from chainrule.review import BackpropReport
from chainrule.review.discover import check_file

__all__ = ["check_backprop"]


def check_backprop(file: str, loss: str | None, seconds: float, as_json: bool) -> int:
    """Run the file, check the backpropagation in it, and print what is wrong.

    Returns the exit status: 1 if something is wrong. Raises CommandError where there is no such
    file, or nothing in it that can be checked.
    """
    path = Path(file)
    try:
        if not path.is_file():
            raise CommandError(f"there is no file {file}", status=2)
        report = check_file(path, loss=loss, seconds=seconds)
    except ValueError as error:
        raise CommandError(str(error), status=2) from error
    if as_json:
        write_json(report.as_dict())
    else:
        _print(report)
    return 0 if report.ok else 1


def _print(report: BackpropReport) -> None:
    from rich.text import Text

    console = stdout()
    state = Text("ok", "green") if report.ok else Text("WRONG", "bold red")
    console.print(Text.assemble(f"backprop of {report.name}: ", state), soft_wrap=True)
    for finding in report.findings:
        console.print(str(finding), markup=False, soft_wrap=True)
    table = new_table(console, "gradient", "relative error", left=["gradient"])
    for name, error in report.gradients.items():
        table.add_row(Text(name), f"{error:.1e}")
    if report.gradients:
        print_table(console, table)
        console.print(f"against the derivative of {report.loss}", markup=False, soft_wrap=True)
    for note in report.notes:
        message(f"note: {note}")
