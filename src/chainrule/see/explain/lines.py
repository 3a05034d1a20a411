"""Which values of a computation get a line of their own, and what the others are written into.

Values with a name get one: inputs, the results of layers, the variables of a function, and the
derivatives by them. So do values that several others read, and every so many calls of primitives
one in between, for a formula to stay short. All others are written out where they are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import final

from chainrule.compiler.formula import Formula, formula_of
from chainrule.compiler.graph import Equation, Variable
from chainrule.see.explain.names import Name
from chainrule.see.explain.written import as_written
from chainrule.see.record import Record

__all__ = ["FORMS", "Lines"]

_LONGEST = 12  # calls of primitives in a formula
FORMS = {"reshape", "transpose", "broadcast_to", "astype", "copy", "stop_gradient", "index"}
"""What moves values to another place, and changes none."""


@final
class Lines:
    """The values of a record that have lines, with their names and formulas.

    `forward` are the values in the order they are computed. `backward` pairs each of them that has
    a derivative with the variable that holds it, from the result back, and None with what is
    computed for several of them. `derivatives` are inputs
    that are derivatives themselves, with what they are the derivatives by.
    """

    def __init__(self, record: Record, derivatives: Mapping[Variable, Name] | None = None) -> None:
        self.record = record
        self._given_derivatives = derivatives or {}
        graph = record.graph
        self.makers = graph.makers()
        self._needed = self._find_needed()
        equations = [e for e in graph.equations if e.out in self._needed]
        self.readers: dict[Variable, list[Equation]] = {}
        for equation in equations:
            for variable in equation.variables:
                self.readers.setdefault(variable, []).append(equation)
        self._own = self._find_own(equations)
        self.forward = [e.out for e in equations if e.section == "forward" and e.out in self._own]
        self.backward = self._find_backward()
        self._carrying = {v for v in graph.inputs if v in graph.cotangents}
        for equation in equations:
            if equation.section != "forward" and not self._carrying.isdisjoint(equation.variables):
                self._carrying.add(equation.out)
        self._of: dict[Variable, list[Variable]] = {}
        for of, cotangent in self.backward:
            if of is not None:
                self._of.setdefault(cotangent, []).append(of)

    def is_own(self, variable: Variable) -> bool:
        """Whether a value is known by its name: it has a line, or nothing computes it."""
        return variable in self._own or variable not in self.makers

    def name(self, variable: Variable) -> Name:
        """What a value is called; of a derivative also what it is the derivative by."""
        if variable in self._of:
            return self.derivative_name(self._of[variable][0])
        own: str = self.record.name_of(variable)
        if variable in self._given_derivatives:
            return Name(own, of=self._given_derivatives[variable])
        is_result = variable in self.record.graph.outputs and variable in self.makers
        if is_result and not self.record.is_titled(variable) and "result" not in self.record:
            return Name("result")
        return Name(own)

    def derivative_name(self, of: Variable) -> Name:
        """What the derivative by a value of the forward pass is called."""
        own = self.name(of)
        return Name(f"d_{own.base}", of=own)

    def flows_from(self, of: Variable) -> dict[Variable, Name]:
        """The derivatives by the values that one flows into, under the names of those.

        One variable may be the derivative by several values; this says which is meant.
        """
        reached = [e.out for e, _ in self.edges(of) if self.is_own(e.out)]
        held = {v: self.record.cotangent_variable(v) for v in reached}
        return {c: self.derivative_name(v) for v, c in held.items() if c in self._of}

    def same_derivative(self, of: Variable) -> Variable | None:
        """The value just before `of`, from the result back, that has the same derivative."""
        cotangent = self.record.cotangent_variable(of)
        together = [of] if cotangent is None else self._of[cotangent]
        place = together.index(of)
        return together[place - 1] if place else None

    def carries(self, variable: Variable) -> bool:
        """Whether a value is a derivative of the result, or a part of one."""
        return variable in self._carrying

    def formula(self, variable: Variable) -> Formula | None:
        """The formula of a value in values that have lines; None where nothing computes it."""
        maker = self.makers.get(variable)
        if maker is None:
            return None
        return self.written(maker, lambda v: not self.is_own(v))

    def written(self, maker: Equation, is_written_out: Callable[[Variable], bool]) -> Formula:
        """The formula of what an equation makes, as a textbook would write it."""
        return as_written(formula_of(maker, self.makers, is_written_out))

    def edges(self, variable: Variable) -> list[tuple[Equation, int]]:
        """The calls, and at which argument, through which a value reaches the next lines."""
        found: list[tuple[Equation, int]] = []
        pending = [variable]
        while pending:
            current = pending.pop(0)
            for equation in {e.out: e for e in self.readers.get(current, ())}.values():
                if equation.section != "forward":
                    continue
                if self.record.cotangent_variable(equation.out) is None:
                    continue
                positions = [i for i, a in enumerate(equation.args) if a is current]
                found += [(equation, i) for i in positions if equation.primitive.rule(i)]
                if not self.is_own(equation.out):
                    pending.append(equation.out)
        return found

    def _find_needed(self) -> set[Variable]:
        """What leads to the result and to the gradients that were asked for."""
        record = self.record
        gradients = [record.cotangent_variable(v) for v in record.by.values()]
        pending = [v for v in (*record.graph.outputs, *gradients) if isinstance(v, Variable)]
        needed: set[Variable] = set()
        while pending:
            variable = pending.pop()
            if variable not in needed:
                needed.add(variable)
                maker = self.makers.get(variable)
                pending += [] if maker is None else maker.variables
        return needed

    def _find_own(self, equations: list[Equation]) -> set[Variable]:
        record = self.record
        counts: Counter[Variable] = Counter()
        for equation in reversed(equations):  # what reads a transpose reads what is transposed
            times = counts[equation.out] if equation.name in FORMS else 1
            counts.update(dict.fromkeys(equation.variables, times))
        own = {e.out for e in equations if record.is_titled(e.out) and not self._is_rule_part(e)}
        own |= {v for v in record.graph.outputs if isinstance(v, Variable)}
        own |= {v for v in map(record.cotangent_variable, record.by.values()) if v is not None}
        sizes: dict[Variable, int] = {}
        for equation in equations:
            out = equation.out
            is_form = equation.name in FORMS
            inner = sum(sizes[v] for v in equation.variables if v in sizes and v not in own)
            sizes[out] = inner + (not is_form)
            is_whole = equation.primitive.is_fused and "axis" in equation.params  # softmax
            if (counts[out] > 1 and not is_form) or sizes[out] > _LONGEST or is_whole:
                own.add(out)
            if equation.section == "forward" and out in own:
                cotangent = record.cotangent_variable(out)
                if cotangent in self._needed and cotangent in self.makers:
                    own.add(cotangent)
        return own | {
            derived[0]  # for a derivative with a line of its own, the value it is named after
            for derivative in own
            if (derived := record.graph.cotangents.get(derivative, ())) and own.isdisjoint(derived)
        }

    def _is_rule_part(self, equation: Equation) -> bool:
        """Whether the value is a step within a rule, which has no name of a reader's."""
        return equation.section != "forward" and not self.record.graph.cotangents.get(equation.out)

    def _find_backward(self) -> list[tuple[Variable | None, Variable]]:
        graph = self.record.graph
        pairs: list[tuple[Variable | None, Variable]] = []
        backward = [e.out for e in graph.equations if e.section != "forward"]
        for variable in (*graph.inputs, *(e.out for e in graph.equations)):
            derived = graph.cotangents.get(variable, ())
            found = [of for of in derived if self._has_derivative(of, variable)]
            pairs += [(of, variable) for of in found]
            if not found and variable in self._own and variable in backward:
                pairs.append((None, variable))
        return pairs

    def _has_derivative(self, of: Variable, cotangent: Variable) -> bool:
        """Whether a variable is told as the derivative by a value."""
        if self.record.cotangent_variable(of) is not cotangent:
            return False
        if of not in self.makers:  # an input
            return of in self.record.by.values()
        return cotangent in self._needed and of in self._own
