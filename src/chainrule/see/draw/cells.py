"""A graph cut into cells, each of which a picture shows as one box.

A cell is an input, an equation, or all equations of one vjp rule. It knows the layer it belongs to,
that of a rule being the layer whose primitive it differentiates, and that primitive's equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from chainrule.compiler.formula import INFIX, formula_of
from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.naming import Labels, Scope, wish_names
from chainrule.see.record import Record

__all__ = ["Cell", "Seen", "cells_of", "seen_graph", "seen_record"]


@dataclass(frozen=True, eq=False)
class Seen:
    """A graph, the names in it, and what is known of its values.

    `value` and `cotangent_variable` give None for what is not known; `trained` is what the loss is
    differentiated by.
    """

    graph: Graph
    names: Mapping[Variable, str]
    value: Callable[[Variable], Any]
    cotangent_variable: Callable[[Variable], Variable | None]
    trained: frozenset[Variable]
    has_values: bool


@dataclass(frozen=True, eq=False)
class Cell:
    """What one box shows: the variables it makes and reads, and the text of how.

    `section` is input, forward, backward or update. `of` is the forward equation whose rule this
    is, `rule` that rule in short; `labels` are names that hold in this cell only.
    """

    section: str
    outs: tuple[Variable, ...]
    reads: tuple[Variable, ...] = ()
    equations: tuple[Equation, ...] = ()
    path: tuple[str, ...] = ()
    of: Equation | None = None
    rule: str = ""
    label: str = ""
    formula: str = ""
    value_of: Variable | None = None


def seen_record(record: Record) -> Seen:
    """A record as what is drawn."""
    graph = record.graph
    made = [out for equation in graph.equations for out in equation.outs]
    names = {v: str(record.name_of(v)) for v in (*graph.inputs, *graph.constants, *made)}
    for cotangent, of in graph.cotangents.items():
        whole = [v for v in of if record.cotangent_variable(v) is cotangent and v in names]
        if whole:
            names[cotangent] = f"d_{names[whole[0]]}"
    trained = frozenset(record.by.values())
    return Seen(graph, names, record.value_of, record.cotangent_variable, trained, has_values=True)


def seen_graph(graph: Graph) -> Seen:
    """A graph without values as what is drawn."""
    symbols, _ = wish_names(graph, Labels())
    scope = Scope(is_code=False)
    names = {variable: scope.claim(symbol) for variable, symbol in symbols.items()}
    cotangents = {of: v for v, every in graph.cotangents.items() for of in every}
    return Seen(graph, names, lambda _: None, cotangents.get, frozenset(graph.state), False)


def cells_of(seen: Seen, with_backward: bool, joins_rules: bool) -> list[Cell]:
    """The cells in an order in which each stands after all that it reads.

    Without the backward pass there is only what leads to the result; `joins_rules` makes one cell
    of all equations of a rule, and gives a cell of its own to a cotangent that is handed on as it
    is, such as both that come out of a sum.
    """
    graph = seen.graph
    makers = graph.makers()
    forward = [e for e in graph.equations if e.section == "forward"]
    others = [e for e in graph.equations if e.section != "forward"] if with_backward else []
    cells = [_cell((e,), seen, makers) for e in forward]
    groups = _joined(others) if joins_rules else [(e,) for e in others]
    back = [_cell(group, seen, makers) for group in groups]
    if joins_rules and seen.has_values:
        back = _with_handed_on(back, forward, seen)
    read = {v for cell in (*cells, *back) for v in cell.reads} | set(graph.outputs)
    inputs = [
        _input(v, seen)
        for v in (*graph.state, *graph.inputs, *graph.constants)
        if v in read or (v not in graph.constants and v not in graph.cotangents)
    ]
    start = [cell for cell in inputs if cell.section == "backward"]
    return [*(c for c in inputs if c.section == "input"), *cells, *start, *back]


def _input(variable: Variable, seen: Seen) -> Cell:
    is_start = variable in seen.graph.cotangents
    section = "backward" if is_start else "input"
    name = seen.names[variable]
    return Cell(section, (variable,), label=name, value_of=variable)


def _joined(equations: Iterable[Equation]) -> list[tuple[Equation, ...]]:
    """Equations that follow each other and come from one application of a rule, together."""
    groups: list[tuple[Equation, ...]] = []
    for equation in equations:
        origin = equation.origin
        if origin is not None and groups and groups[-1][-1].origin is origin:
            groups[-1] = (*groups[-1], equation)
        else:
            groups.append((equation,))
    return groups


def _cell(
    equations: tuple[Equation, ...], seen: Seen, makers: Mapping[Variable, Equation]
) -> Cell:
    last = equations[-1]
    inner = {out for equation in equations for out in equation.outs}
    reads = dict.fromkeys(v for e in equations for v in e.variables if v not in inner)
    of = None if last.section == "forward" else _differentiated(last, seen, makers)
    path = last.layer or (of.layer if of is not None else "")
    if last.section == "update":
        path = "update"
    elif last.section == "backward" and of is None:  # where cotangents are added up
        maker = next((makers[v] for v in seen.graph.cotangents.get(last.out, ()) if v in makers), None)
        path = maker.layer if maker is not None else ""
    own = {e.out: e for e in equations[:-1]}
    formula = formula_of(last, own, own.__contains__).show(lambda v: seen.names[v])
    label = ", ".join(seen.names[out] for out in last.outs)
    return Cell(
        last.section,
        tuple(out for e in equations for out in e.outs),
        tuple(reads),
        equations,
        tuple(path.split(".")) if path else (),
        of,
        _rule_in_short(last, of),
        label,
        formula,
        last.out,
    )


def _differentiated(
    equation: Equation, seen: Seen, makers: Mapping[Variable, Equation]
) -> Equation | None:
    """The forward equation whose rule made this one, or whose argument it sums up to its shape."""
    origin = equation.origin
    if origin is not None:
        out = dict(origin.arguments).get("out")
        return makers.get(out) if isinstance(out, Variable) else None
    cotangents = seen.graph.cotangents
    for argument in equation.variables:
        for value in cotangents.get(argument, ()):
            maker = makers.get(value)
            of = cotangents.get(equation.out, ())
            if maker is not None and any(v in maker.args for v in of):
                return maker
    return None


def _rule_in_short(equation: Equation, of: Equation | None) -> str:
    """Such as ∂σ or ∂@: what is differentiated here."""
    if equation.section != "backward":
        return ""
    if of is None:
        return "Σ" if equation.origin is None and equation.name == "add" else ""
    return f"∂{INFIX[of.name][0] if of.name in INFIX else of.primitive.name}"


def _with_handed_on(back: list[Cell], forward: list[Equation], seen: Seen) -> list[Cell]:
    """The cells, and one for each cotangent that is the same array as that of another value.

    What comes after it in the reverse pass reads it by its own name.
    """
    place = {equation.out: number for number, equation in enumerate(forward)}
    instead: dict[Variable, Variable] = {}  # by value: what holds its cotangent in the picture
    extra: list[tuple[int, Cell]] = []
    for number in range(len(forward) - 1, -1, -1):
        equation = forward[number]
        cotangent = seen.cotangent_variable(equation.out)
        if cotangent is None:
            continue
        for argument in dict.fromkeys(equation.variables):
            if seen.cotangent_variable(argument) is not cotangent:
                continue
            held = Variable(argument.shape, argument.dtype, f"d_{seen.names[argument]}")
            instead[argument] = held
            reads = instead.get(equation.out, cotangent)
            formula = f"d_{seen.names[equation.out]}"
            cell = Cell(
                "backward",
                (held,),
                (reads,),
                path=tuple(equation.layer.split(".")) if equation.layer else (),
                of=equation,
                rule=f"∂{INFIX[equation.name][0] if equation.name in INFIX else equation.name}",
                label=held.name,
                formula=formula,
                value_of=cotangent,
            )
            extra.append((number, cell))
    cells: list[Cell] = []
    for cell in back:
        number = place.get(cell.of.out, -1) if cell.of is not None else len(forward)
        if cell.of is None and cell.value_of is not None:
            known = [place[v] for v in seen.graph.cotangents.get(cell.value_of, ()) if v in place]
            number = max(known, default=-1)
        while extra and extra[0][0] > number:
            cells.append(extra.pop(0)[1])
        cells.append(_renamed(cell, instead, seen))
    return [*cells, *(cell for _, cell in extra)]


def _renamed(cell: Cell, instead: Mapping[Variable, Variable], seen: Seen) -> Cell:
    """A cell of a rule that reads the cotangent of its value by that value's name."""
    held = instead.get(cell.of.out) if cell.of is not None else None
    if held is None or cell.of is None:
        return cell
    cotangent = seen.cotangent_variable(cell.of.out)
    if cotangent not in cell.reads:
        return cell
    names = {**seen.names, cotangent: held.name}
    own = {e.out: e for e in cell.equations[:-1]}
    formula = formula_of(cell.equations[-1], own, own.__contains__).show(lambda v: names[v])
    reads = tuple(held if v is cotangent else v for v in cell.reads)
    return replace(cell, reads=reads, formula=formula)
