"""The error where a library of an extra is absent: such are imported where they are used."""

from __future__ import annotations

__all__ = ["MissingExtraError", "missing_extra"]


class MissingExtraError(ImportError):
    """A library of an extra is not installed; the message names the extra."""


def missing_extra(what: str, extra: str) -> MissingExtraError:
    """The error to raise from an ImportError: what needs a library, and how to install it.

    >>> print(missing_extra("pictures need matplotlib", "plots"))
    pictures need matplotlib: pip install "chainrule[plots]"
    """
    return MissingExtraError(f'{what}: pip install "chainrule[{extra}]"')
