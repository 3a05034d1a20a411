"""What a file is put together from: its statements, helpers, memory and names, before any text."""

from __future__ import annotations

from dataclasses import dataclass, field

from chainrule.compiler.formula import Formula
from chainrule.compiler.graph import Variable
from chainrule.compiler.naming import Labels, Symbol
from chainrule.compiler.plan import Buffer, Plan
from chainrule.engines.engine import NumPyArray
from chainrule.engines.numpy.borrow import Borrowed
from chainrule.engines.numpy.code import Code, Loop, Statement
from chainrule.engines.numpy.ready import ReadyArrays

__all__ = ["File", "Helper"]


@dataclass
class Helper:
    """A function above the step: what its parameters are handed, its lines, what it says of itself.

    `names` are those that values have inside. A helper without `out` returns its result.
    """

    function: Symbol
    names: dict[Variable, Symbol] = field(default_factory=dict)
    buffers: dict[Buffer, Symbol] = field(default_factory=dict)
    passed: dict[Symbol, Code] = field(default_factory=dict)
    lines: list[Statement] = field(default_factory=list)
    out: Symbol | None = None
    result: Code | None = None
    doc: str = ""
    formulas: list[tuple[Variable | None, Formula]] = field(default_factory=list)
    fallback: str = ""

    def passes(self, parameter: Symbol, code: Code) -> Symbol:
        """A parameter that is handed this, the one there is or a new one."""
        for known, passed in self.passed.items():
            if passed == code:
                return known
        self.passed[parameter] = code
        return parameter


@dataclass
class File:
    """Everything a file is put together from."""

    plan: Plan
    labels: Labels
    symbols: dict[Variable, Symbol]
    buffer_symbols: dict[Buffer, Symbol]
    borrowed: Borrowed = field(default_factory=Borrowed)
    ready: ReadyArrays = field(default_factory=ReadyArrays)
    imports: dict[str, Symbol] = field(default_factory=dict)
    helpers: list[Helper] = field(default_factory=list)
    body: list[Statement | Loop | None] = field(default_factory=list)  # None: an empty line
    results: list[Code] = field(default_factory=list)
    hoisted: dict[Variable, Code] = field(default_factory=dict)  # named views of the state
    tiled: set[Buffer] = field(default_factory=set)  # scratch of the size of one tile
    bound: set[Buffer] = field(default_factory=set)  # parts of other arrays, at each step of a loop
    constants: dict[Variable, NumPyArray] = field(default_factory=dict)
    same_names: list[tuple[Symbol, Symbol]] = field(default_factory=list)
    read: set[Variable] = field(default_factory=set)  # constants that the lines name
    shown_as: dict[Variable, Variable] = field(default_factory=dict)  # by whose name values go
    terse: bool = False
