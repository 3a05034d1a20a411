"""`explain`: what is printed can be computed again, and is what was computed."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn, optim
from chainrule.primitives.primitive import PRIMITIVES

NAMES = {name: primitive for name, primitive in PRIMITIVES.items() if name.isidentifier()}
NUMBER = re.compile(r"-?\d")


def joined(text):
    """The printed lines, each whole again where it was wrapped."""
    lines = []
    for line in text.splitlines():
        if line.startswith("        ") and lines:
            lines[-1] += " " + line.strip()
        else:
            lines.append(line)
    return lines


def recomputed(line):
    """(by the printed terms, as printed, half a unit of its last digit), None for no numbers."""
    body = line.split("  #")[0]
    parts = re.split(r"(?<![<>=!]) (?:=|<-) ", body)
    if len(parts) < 3 and not (len(parts) == 2 and NUMBER.match(parts[1])):
        return None
    result, formula = parts[-1].strip(), parts[-2]
    if not re.fullmatch(r"-?[\d.]+(e[-+]\d+)?", result) or len(parts) < 3:
        return None
    try:
        value = eval(formula, {"__builtins__": {}, **NAMES})
    except NameError:
        return None  # in symbols
    return float(value), float(result), half_unit(result)


def half_unit(text):
    mantissa, _, exponent = text.partition("e")
    n_decimals = len(mantissa.partition(".")[2])
    return 0.5 * 10.0 ** (int(exponent or 0) - n_decimals)


def check_text(text, least=1):
    """Compute every line with numbers again; returns how many there were."""
    found = [r for r in map(recomputed, joined(text)) if r is not None]
    for line in joined(text):
        again = recomputed(line)
        if again is not None:
            value, printed, half = again
            assert abs(value - printed) <= half * (1 + 1e-9), line
    assert len(found) >= least, text
    return len(found)
