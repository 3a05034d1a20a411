"""`chainrule check`: every derivative rule against numerical derivatives."""

from __future__ import annotations

import dataclasses

from chainrule.cli.console import choose, new_table, print_table, stdout, write_json
from chainrule.gradcheck import RuleResult, check_table
from chainrule.primitives.primitive import PRIMITIVES

__all__ = ["check"]


def check(names: list[str], as_json: bool) -> int:
    """Check the rules of these primitives (all for none) and print one row per argument.

    Returns the exit status: 1 if a rule fails. Raises CommandError for an unknown name.
    """
    chosen = [choose(name, PRIMITIVES, "primitive") for name in names]
    results = check_table(chosen or None)
    if as_json:
        write_json([dataclasses.asdict(result) for result in results])
    else:
        _print_results(results)
    return 0 if all(result.ok for result in results) else 1


def _print_results(results: list[RuleResult]) -> None:
    from rich.text import Text

    console = stdout()
    names = ("primitive", "argument", "cases", "worst relative error", "method", "holds")
    table = new_table(console, *names, left=["primitive", "argument", "method", "holds"])
    for result in results:
        table.add_row(
            result.primitive,
            result.argument,
            str(result.cases),
            f"{result.worst_relative_error:.1e}",
            ", ".join(result.methods),
            Text("yes", "green") if result.ok else Text("NO", "bold red"),
        )
    print_table(console, table)
    failed = [result for result in results if not result.ok]
    n_primitives = len({result.primitive for result in results})
    for result in failed:
        console.print(
            f"{result.primitive}, {result.argument}: {result.reason}", markup=False, soft_wrap=True
        )
    console.print(
        f"{len(results) - len(failed)} of {len(results)} rules of {n_primitives} primitives hold"
    )
