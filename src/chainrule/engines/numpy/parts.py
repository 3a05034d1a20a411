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

__all__ = ["File", "Helper", "name_buffers"]


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


def name_buffers(
    plan: Plan, symbols: dict[Variable, Symbol], titled: set[Variable]
) -> dict[Buffer, Symbol]:
    """Each buffer's name: that of the last value it holds which has a name of its own."""
    lines = [group.equations for group in plan.groups if group.origin is None]
    inner = {e.out for line in lines for e in line[:-1]}
    inner -= {v for line in lines if line[-1].out in plan.views for v in line[-1].variables}
    names: dict[Buffer, Symbol] = {}
    for buffer, held in plan.holds.items():
        own = [v for v in held if v not in plan.views]
        if buffer.kind == "scratch" or (buffer.kind == "work" and inner.issuperset(own)):
            names[buffer] = Symbol("scratch", 1)
        elif buffer.kind == "work":
            names[buffer] = symbols[([v for v in own if v in titled] or own)[-1]]
        else:
            names[buffer] = symbols[own[0]]
    return names
