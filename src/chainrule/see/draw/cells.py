"""A graph cut into cells, each of which a picture shows as one box.

A cell is an input, an equation, or all equations of one vjp rule. It knows the layer it belongs to,
that of a rule being the layer whose primitive it differentiates, and that primitive's equation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
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
    back = _with_paths([_cell(group, seen, makers) for group in groups], cells, seen)
    if with_backward and joins_rules and seen.has_values:
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


def _cell(equations: tuple[Equation, ...], seen: Seen, makers: Mapping[Variable, Equation]) -> Cell:
    last = equations[-1]
    inner = {out for equation in equations for out in equation.outs}
    reads = dict.fromkeys(v for e in equations for v in e.variables if v not in inner)
    of = None if last.section == "forward" else _differentiated(last, seen, makers)
    path = last.layer or (of.layer if of is not None else "")
    if last.section == "update":
        path = "update"
    formula = _formula(equations, seen.names)
    label = ", ".join(seen.names[out] for out in last.outs)
    return Cell(
        last.section,
        tuple(out for e in equations for out in e.outs),
        tuple(reads),
        equations,
        _parts(path),
        of,
        _rule_in_short(last, of),
        label,
        formula,
        last.out,
    )


def _formula(equations: Sequence[Equation], names: Mapping[Variable, str]) -> str:
    """What the last of these equations makes, of what all of them read."""
    *others, last = equations
    while last.name == "broadcast_to" and others and others[-1].name == "reshape":
        last, others = replace(last, args=others[-1].args), others[:-1]  # to what it broadcasts
    own = {e.out: e for e in others}
    text = formula_of(last, own, own.__contains__).show(lambda v: names[v])
    return f"broadcast({text})" if last.name == "broadcast_to" else text


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
    return _sign(of)


def _sign(equation: Equation) -> str:
    """The derivative of this primitive, in short."""
    return f"∂{INFIX[equation.name][0] if equation.name in INFIX else equation.primitive.name}"


def _parts(layer: str) -> tuple[str, ...]:
    return tuple(layer.split(".")) if layer else ()


def _with_paths(back: list[Cell], forward: Sequence[Cell], seen: Seen) -> list[Cell]:
    """The cells, those where cotangents are added up with the layer of what they belong to.

    That is the layer which made the value, or for an input the one that reads it; sums of some of
    the terms belong where the whole does.
    """
    paths: dict[Variable, list[tuple[str, ...]]] = {}  # of those that read a value
    made = {out: cell.path for cell in forward for out in cell.outs}
    for cell in forward:
        for variable in cell.reads:
            paths.setdefault(variable, []).append(cell.path)
    later: dict[Variable, tuple[str, ...]] = {}
    homed: list[Cell] = []
    for cell in reversed(back):
        if cell.of is None and not cell.path and cell.equations:
            of = seen.graph.cotangents.get(cell.equations[-1].out, ())
            found = [made[v] if v in made else _shared(paths.get(v, [])) for v in of]
            path = found[0] if found else later.get(cell.equations[-1].out, ())
            cell = replace(cell, path=path)
        later.update(dict.fromkeys(cell.reads, cell.path))
        homed.append(cell)
    return homed[::-1]


def _shared(paths: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """What all paths begin with."""
    return tuple(
        names[0]
        for names in takewhile(lambda names: len(set(names)) == 1, zip(*paths, strict=False))
    )


def _with_handed_on(back: list[Cell], forward: list[Equation], seen: Seen) -> list[Cell]:
    """The cells, and one for each cotangent that is the same array as that of another value.

    What comes after it in the reverse pass reads it by its own name.
    """
    instead: dict[Variable, Variable] = {}  # by value: what holds its cotangent in the picture
    extra: list[Cell] = []
    for equation in reversed(forward):
        cotangent = seen.cotangent_variable(equation.out)
        for argument in dict.fromkeys(equation.variables):
            if cotangent is not None and seen.cotangent_variable(argument) is cotangent:
                cell = _handed_on(equation, argument, cotangent, instead, seen)
                instead[argument] = cell.outs[0]
                extra.append(cell)
    back = [_renamed(cell, instead, seen) for cell in back]
    before: dict[int, list[Cell]] = {}
    place: dict[Variable, int] = {}  # of the first that reads a variable
    for number in range(len(back) - 1, -1, -1):
        place.update(dict.fromkeys(back[number].reads, number))
    made = {out: number for number, cell in enumerate(back) for out in cell.outs}
    for cell in reversed(extra):
        at = place.get(cell.outs[0])
        if at is None:  # nobody reads it: it stands with those of its layer
            start = made.get(cell.value_of, -1) + 1 if cell.value_of is not None else 0
            same = (n for n in range(start, len(back)) if back[n].path == cell.path)
            at = next(same, start)
        (read,) = cell.reads
        place[read] = min(place.get(read, at), at)
        before.setdefault(at, []).insert(0, cell)
    return [
        cell
        for number in range(len(back) + 1)
        for cell in (*before.get(number, ()), *back[number : number + 1])
    ]


def _handed_on(
    equation: Equation,
    argument: Variable,
    cotangent: Variable,
    instead: Mapping[Variable, Variable],
    seen: Seen,
) -> Cell:
    """The cell of a rule that gives an argument the cotangent of the result, as it is."""
    held = Variable(argument.shape, argument.dtype, f"d_{seen.names[argument]}")
    return Cell(
        "backward",
        (held,),
        (instead.get(equation.out, cotangent),),
        path=_parts(equation.layer),
        of=equation,
        rule=_sign(equation),
        label=held.name,
        formula=f"d_{seen.names[equation.out]}",
        value_of=cotangent,
    )


def _renamed(cell: Cell, instead: Mapping[Variable, Variable], seen: Seen) -> Cell:
    """A cell of a rule that reads the cotangent of its value by that value's name."""
    held = instead.get(cell.of.out) if cell.of is not None else None
    if held is None or cell.of is None:
        return cell
    cotangent = seen.cotangent_variable(cell.of.out)
    if cotangent not in cell.reads:
        return cell
    names = {**seen.names, cotangent: held.name}
    formula = _formula(cell.equations, names)
    reads = tuple(held if v is cotangent else v for v in cell.reads)
    return replace(cell, reads=reads, formula=formula)
