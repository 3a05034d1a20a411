"""The rule of the table by which a derivative came about, as the reverse pass has applied it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from chainrule.compiler.formula import Formula
from chainrule.compiler.graph import Equation, Origin, Variable
from chainrule.primitives.primitive import Primitive
from chainrule.see.explain.lines import Lines
from chainrule.see.explain.names import Name

__all__ = ["Rule", "Rules"]


@final
@dataclass(frozen=True)
class Rule:
    """The vjp rule of a primitive for one argument.

    Its formula is in the table's own words: `g`, what flows back to the result, `out`, the result,
    and the arguments, whose `names` they are. None is a rule that hands `g` on; `spread` says what
    else happens to it, "" for nothing.
    """

    primitive: str
    argument: str
    formula: Formula | None
    names: Mapping[Variable, Name]
    spread: str = ""

    @property
    def title(self) -> str:
        """The primitive, and which argument where it has several: `matmul by y`."""
        return self.primitive + (f" by {self.argument}" if self.argument else "")

    def name(self, variable: Variable) -> Name:
        """What the rule calls a value."""
        return self.names.get(variable, Name("constant"))


@final
class Rules:
    """The rules that a record's reverse pass has applied, by the call and argument they are for."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._applied: dict[tuple[Variable, str], list[Equation]] = defaultdict(list)
        for equation in lines.record.graph.equations:
            if equation.section != "forward" and equation.origin is not None:
                out = dict(equation.origin.arguments).get("out")
                if isinstance(out, Variable):
                    self._applied[out, equation.origin.name].append(equation)

    def rule(self, equation: Equation, position: int) -> Rule:
        """The rule for one argument of a call of the forward pass."""
        primitive = equation.primitive
        argument, others = _argument(primitive, position, len(equation.args))
        title = f"{primitive.name}_vjp" + (f"_{argument}" if others else "")
        own = self._applied.get((equation.out, title), [])
        shown = argument if others and primitive.variadic_rule is None else ""
        of = equation.args[position]
        assert isinstance(of, Variable)
        if not own:
            return Rule(primitive.name, shown, None, {}, _spread(equation.out, of))
        names: dict[Variable, Name] = {}
        origin = own[0].origin
        assert isinstance(origin, Origin)
        for name, atom in origin.arguments:
            if isinstance(atom, Variable):
                names.setdefault(atom, Name(name))
        within = {e.out for e in own}
        formula = self._lines.written(own[-1], within.__contains__)
        if all(e.name in {"reshape", "broadcast_to", "index"} for e in own):
            words = _spread(equation.out, of) if of.size >= equation.out.size else "in its part"
            return Rule(primitive.name, shown, None, {}, words)
        return Rule(primitive.name, shown, formula, names)


def _argument(primitive: Primitive, position: int, n_arguments: int) -> tuple[str, bool]:
    """What the rule calls its argument, and whether there are others."""
    code = getattr(primitive.rule(position), "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    name = names[position + 2] if position + 2 < len(names) else f"x{position + 2}"
    return name, n_arguments > 1


def _spread(out: Variable, of: Variable) -> str:
    """What handing `g` on means where the shapes differ."""
    if out.size > of.size:
        return "added up where the argument was repeated"
    return "to each element" if out.size < of.size else ""
