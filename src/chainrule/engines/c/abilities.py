"""What C can do with memory: what a loop writes, it may write over what it reads in step."""

from __future__ import annotations

from chainrule.compiler.graph import Equation
from chainrule.engines.c.nests import REDUCTIONS, is_elementwise

__all__ = ["CAbilities"]


class CAbilities:
    """The abilities of the C engine, which writes every result to memory that it is given."""

    def writes_into(self, equation: Equation) -> bool:
        """Whether the result can be written to memory that is given: always."""
        return True

    def writes_over(self, equation: Equation, position: int) -> bool:
        """Whether the result may be written over this argument: element by element it may."""
        return is_elementwise(equation) and equation.name not in REDUCTIONS
