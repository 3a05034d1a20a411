"""The program `chainrule`: train, reproduce, check and data, one file each.

Results go to stdout and messages to stderr; the exit status is 0 where all went well, 1 where
something failed or does not hold, 2 for a mistake on the command line, 130 after Ctrl-C.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process, and end the process with its exit status."""
    try:
        import rich  # noqa: F401  (typer can do without it, our tables cannot)
        import typer  # noqa: F401
    except ImportError as missing:
        sys.exit(f'chainrule: the command line needs {missing.name}: pip install "chainrule[cli]"')
    from chainrule.cli.app import make_app

    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show × or R² gets a question mark, not a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    make_app()(prog_name="chainrule")
