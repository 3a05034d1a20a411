"""Computation graphs as pictures: cells as boxes, layers as boxes that open.

With the backward pass beside the forward pass, each rule stands in the row of the primitive that
it differentiates, and cotangents flow up where values flow down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from chainrule.compiler.graph import Equation, Variable
from chainrule.see.draw.cells import Cell, Seen, cells_of, seen_graph
from chainrule.see.draw.level import Edge, Level, Node, TextLine
from chainrule.see.draw.ranks import ranks_of
from chainrule.see.draw.texts import cut, in_full, in_short, shape_text

__all__ = ["LayerNote", "View", "draw_cells"]

_LONGEST = 52  # letters in a line of a box
_NAMED_OUTPUTS = 4
_MANY_CELLS = 300  # with so many, notes are short
_NOTE, _SHORT_NOTE = 1_600, 500  # letters

# How much an edge wants to be straight, beside one of an input; what flows wants it most.
_WEIGHTS = {"saved": 0.1}

_MEANINGS = {
    "input": "input",
    "parameter": "parameter",
    "constant": "constant",
    "forward": "forward",
    "loss": "loss",
    "backward": "backward: d_v is the derivative of the result by v",
    "update": "update",
}


@dataclass(frozen=True)
class LayerNote:
    """What is known of a layer: the call that makes it, and how many parameters it has."""

    call: str = ""
    n_parameters: int = 0
    is_made_of_layers: bool = False


@dataclass(frozen=True)
class View:
    """How a graph is shown.

    `folds` makes one box of a layer; `joins_rules` one of the equations of a rule; `opened` are the
    layers that are open at first. The first axis of what depends on `samples` is shown as N where
    it has `n_samples` elements.
    """

    with_backward: bool = False
    folds: bool = False
    joins_rules: bool = True
    shows_equations: bool = True
    opened: Collection[str] = ()
    layers: Mapping[str, LayerNote] = field(default_factory=dict)
    samples: Collection[Variable] = ()
    n_samples: int | None = None


@dataclass(frozen=True)
class _Item:
    """One box of a level: a cell, or a run of cells of one layer."""

    cells: tuple[Cell, ...]
    name: str = ""  # of the layer; "" for a cell
    section: str = ""
    stub: Variable | None = None  # a value from outside


def draw_cells(seen: Seen, view: View) -> Level:
    """The picture of a graph."""
    cells = cells_of(seen, view.with_backward, view.joins_rules)
    level = _Painter(seen, view, cells).level(cells, 0)
    used = {node.style for node in level.all_nodes()}
    legend = tuple((style, text) for style, text in _MEANINGS.items() if style in used)
    return replace(level, legend=legend)


class _Painter:
    """Makes levels of the cells of one graph."""

    def __init__(self, seen: Seen, view: View, cells: Sequence[Cell]) -> None:
        self.seen, self.view = seen, view
        self.note_length = _NOTE if len(cells) <= _MANY_CELLS else _SHORT_NOTE
        self.readers: dict[Variable, list[Cell]] = {}
        for cell in cells:
            for variable in cell.reads:
                self.readers.setdefault(variable, []).append(cell)
        # a cotangent that is handed on has a box of its own, and the value of another
        self.held = {c.outs[-1]: c.value_of for c in cells if c.value_of is not None}
        self.of_samples = set(view.samples)
        for cell in cells if view.samples else ():
            if self.of_samples.intersection(cell.reads):
                self.of_samples.update(cell.outs)
        self.ends = {v for v in seen.graph.ends if isinstance(v, Variable)}

    def level(self, cells: Sequence[Cell], depth: int) -> Level:
        """These cells as a picture, those of one layer below this depth as one box."""
        items = self._items(cells, depth)
        maker = {out: i for i, item in enumerate(items) for cell in item.cells for out in cell.outs}
        missing = dict.fromkeys(v for cell in cells for v in cell.reads if v not in maker and depth)
        items = [*(_Item((), stub=v) for v in missing), *items]
        maker = {v: i for i, v in enumerate(missing)} | {
            v: i + len(missing) for v, i in maker.items()
        }
        sections = [self._section(item) for item in items]
        edges: dict[tuple[int, int], Edge] = {}
        for target, item in enumerate(items):
            for variable in dict.fromkeys(v for cell in item.cells for v in cell.reads):
                source = maker.get(variable)
                if source is not None and source != target:
                    style = _edge_style(sections[source], sections[target])
                    weight = _WEIGHTS.get(style, 3.0)
                    if sections[source] in {"input", "stub"}:
                        weight = min(weight, 0.5)
                    edges.setdefault((source, target), Edge(source, target, style, weight))
        ranks = _ranks(items, sections, list(edges))
        nodes = tuple(
            self._node(item, depth, side=int(section == "backward"))
            for item, section in zip(items, sections, strict=True)
        )
        return Level(nodes, tuple(edges.values()), ranks)

    def _items(self, cells: Sequence[Cell], depth: int) -> list[_Item]:
        """The cells, those of one layer that follow each other in one item."""
        runs: list[_Item] = []
        for cell in cells:
            if cell.section == "input":
                continue
            name = cell.path[depth] if self.view.folds and len(cell.path) > depth else ""
            if runs and name and (runs[-1].name, runs[-1].section) == (name, cell.section):
                runs[-1] = replace(runs[-1], cells=(*runs[-1].cells, cell))
            else:
                runs.append(_Item((cell,), name, cell.section))
        homes: dict[Cell, int] = {}
        for number, run in enumerate(runs):
            for cell in run.cells:
                homes[cell] = number
        free: list[_Item] = []
        for cell in cells:
            if cell.section != "input":
                continue
            home = self._home(cell, homes)
            if home is not None and runs[home].name:
                runs[home] = replace(runs[home], cells=(cell, *runs[home].cells))
            else:
                free.append(_Item((cell,), section="input"))
        single = [
            _Item(run.cells, "", run.section) if self._is_plain(run, depth) else run for run in runs
        ]
        return [*free, *single]

    def _is_plain(self, run: _Item, depth: int) -> bool:
        """Whether a run is shown as the cell it is: there is only one, and nothing to say of it."""
        note = self._about(run, depth)
        return len(run.cells) == 1 and (note is None or self.view.shows_equations)

    def _home(self, cell: Cell, homes: Mapping[Cell, int]) -> int | None:
        """The run that an input belongs to: it alone reads what is trained, state or constant."""
        (variable,) = cell.outs
        readers = self.readers.get(variable, [])
        forward = [r for r in readers if r.section == "forward"] or readers
        is_own = (
            variable in self.seen.trained
            or variable in self.seen.graph.constants
            or any(variable.name.startswith(f"{'.'.join(r.path)}.") for r in forward if r.path)
        )
        found = {homes.get(reader) for reader in forward}
        return found.pop() if is_own and len(found) == 1 else None

    def _section(self, item: _Item) -> str:
        return item.section if item.stub is None else "stub"

    # Nodes

    def _node(self, item: _Item, depth: int, side: int) -> Node:
        if item.stub is not None:
            return self._stub(item.stub)
        if item.name:
            return self._run(item, depth, side)
        (cell,) = item.cells
        if cell.section == "input":
            return self._input(cell)
        return self._equation(cell, side)

    def _stub(self, variable: Variable) -> Node:
        name = self.seen.names.get(variable, variable.name)
        lines = [TextLine(cut(name, _LONGEST), "faint")]
        return Node(tuple(lines), "input", self._note([name], variable))

    def _input(self, cell: Cell) -> Node:
        (variable,) = cell.outs
        style = "input"
        if variable in self.seen.trained and any(c.path for c in self.readers.get(variable, ())):
            style = "parameter"
        elif variable in self.seen.graph.constants:
            style = "constant"
        lines = [TextLine(cut(cell.label, _LONGEST), "name"), *self._numbers(cell, variable)]
        return Node(tuple(lines), style, self._note([cell.label], variable))

    def _equation(self, cell: Cell, side: int) -> Node:
        text = f"{cell.label} = {cell.formula}" if cell.formula else cell.label
        lines = [TextLine(cut(text, _LONGEST), "name")]
        style = cell.section
        if cell.rule:
            lines.append(TextLine(cell.rule, "faint"))
        elif style == "forward" and cell.path:
            lines.append(TextLine(cut(".".join(cell.path), _LONGEST), "faint"))
            style = "loss" if cell.path[0] == "loss" else style
        value = cell.value_of
        if value is not None:
            lines += self._numbers(cell, value)
        inner = None
        if cell.equations and cell.equations[-1].body is not None:
            inner = self._body(cell.equations[-1])
        words = [text, *(_how(e) for e in cell.equations[-1:])]
        note = self._note(words, value) if value is not None else "\n".join(words)
        return Node(tuple(lines), style, note, side, inner, is_open=False)

    def _body(self, equation: Equation) -> Level:
        """What a loop does at a step."""
        body = equation.body
        assert body is not None
        seen = replace(seen_graph(body), names=self.seen.names)
        view = View(with_backward=True, joins_rules=self.view.joins_rules)
        cells = cells_of(seen, True, self.view.joins_rules)
        return _Painter(seen, view, cells).level(cells, 0)

    def _run(self, item: _Item, depth: int, side: int) -> Node:
        is_back = item.section == "backward"
        path = ".".join(_first_of(item).path[: depth + 1])
        about = self.view.layers.get(path)
        title = f"∂ {item.name}" if is_back else item.name
        lines = [TextLine(cut(title, _LONGEST), "name")]
        own = [
            c.outs[0] for c in item.cells if c.section == "input" and c.outs[0] in self.seen.trained
        ]
        if not is_back and about is not None and about.call:
            lines.append(TextLine(cut(about.call, _LONGEST)))
        elif not is_back:
            kinds = dict.fromkeys(e.primitive.name for c in item.cells for e in c.equations)
            lines.append(TextLine(cut(", ".join(kinds), _LONGEST), "faint"))
        outs = self._outs(item)
        for variable in outs[-1:] if not is_back else outs[:_NAMED_OUTPUTS]:
            lines += self._run_output(variable, is_back)
        if is_back and len(outs) > _NAMED_OUTPUTS:
            lines.append(TextLine(f"and {len(outs) - _NAMED_OUTPUTS} more", "faint"))
        count = about.n_parameters if about is not None else sum(v.size for v in own)
        if not is_back and count:
            lines.append(TextLine(f"{count:,} parameter{'s' if count > 1 else ''}", "faint"))
        style = "loss" if item.name == "loss" and not is_back else item.section
        note = [title, *(line.text for line in lines[1:])]
        for variable in (*own, *outs):
            note += self._note([], variable).splitlines()[:8]
        inner = self.level(item.cells, depth + 1)
        text = _limited(note, self.note_length)
        return Node(
            tuple(lines), style, text, side, inner, is_open=path in self.view.opened and not is_back
        )

    def _outs(self, item: _Item) -> list[Variable]:
        """What a run makes that is read outside of it, or by nobody."""
        own = set(item.cells)
        outs = [
            out
            for cell in item.cells
            if cell.section != "input"
            for out in cell.outs[-1:]
            if out in self.ends
            or not own.issuperset(self.readers.get(out, []))
            or out not in self.readers
        ]
        return list(dict.fromkeys(outs))

    def _run_output(self, variable: Variable, is_back: bool) -> list[TextLine]:
        name = self.seen.names.get(variable, variable.name)
        text = self._in_short(variable)
        lines = [TextLine(cut(f"{name} {text}", _LONGEST), "gradient" if is_back else "value")]
        gradient = self._gradient(variable)
        if gradient is not None:
            lines.append(gradient)
        return lines

    def _about(self, run: _Item, depth: int) -> LayerNote | None:
        return self.view.layers.get(".".join(_first_of(run).path[: depth + 1]))

    # Numbers

    def _numbers(self, cell: Cell, variable: Variable) -> list[TextLine]:
        style = "gradient" if cell.section == "backward" else "value"
        lines = [TextLine(cut(self._in_short(variable), _LONGEST), style)]
        gradient = None if cell.section == "backward" else self._gradient(variable)
        return lines if gradient is None else [*lines, gradient]

    def _in_short(self, variable: Variable) -> str:
        if not self.seen.has_values:
            n = self.view.n_samples if variable in self.of_samples else None
            return shape_text(variable.shape, n) if variable.is_array and n else str(variable)
        return in_short(self._value(variable))

    def _value(self, variable: Variable) -> Any:
        return self.seen.value(self.held.get(variable, variable))

    def _gradient(self, variable: Variable) -> TextLine | None:
        """The cotangent of a value, where both passes are in one picture of values."""
        if not self.seen.has_values or self.view.with_backward:
            return None
        cotangent = self.seen.cotangent_variable(variable)
        if cotangent is None:
            return None
        name = f"d_{self.seen.names[variable]}"
        return TextLine(cut(f"{name} = {in_short(self._value(cotangent))}", _LONGEST), "gradient")

    def _note(self, words: Sequence[str], variable: Variable) -> str:
        """What a pointer on a value shows."""
        lines = list(words)
        name = self.seen.names.get(variable, variable.name)
        if not self.seen.has_values:
            return "\n".join([*lines, f"{name}: {variable}"])
        lines += in_full(name, self._value(variable))
        cotangent = self.seen.cotangent_variable(variable)
        if cotangent is not None:
            lines += in_full(f"d_{name}", self._value(cotangent))
        return _limited(lines, self.note_length)


def _first_of(item: _Item) -> Cell:
    return next(cell for cell in item.cells if cell.section != "input")


def _how(equation: Equation) -> str:
    """Primitive, its options and its layer, for a note."""
    options = {} if equation.body is not None else equation.params
    words = [equation.primitive.name, *(f"{key}={value!r}" for key, value in options.items())]
    where = f" in {equation.layer}" if equation.layer else ""
    return cut(" ".join(words) + where, 160)


def _limited(lines: Sequence[str], most: int) -> str:
    text = "\n".join(lines)
    return text if len(text) <= most else f"{text[:most].rsplit(chr(10), 1)[0]}\n…"


def _edge_style(source: str, target: str) -> str:
    if target == "backward":
        return "backward" if source == "backward" else "saved"
    return "update" if target == "update" else "forward"


def _ranks(
    items: Sequence[_Item], sections: Sequence[str], edges: Sequence[tuple[int, int]]
) -> tuple[int, ...] | None:
    """The rows: rules beside the primitives they differentiate, cotangents from below.

    None where there is nothing to put side by side; then all edges lead down.
    """
    is_back = [section == "backward" for section in sections]
    if not any(is_back) or "update" in sections:
        return None
    home = {
        equation.out: number
        for number, item in enumerate(items)
        for cell in item.cells
        if cell.section == "forward"
        for equation in cell.equations
    }
    group = list(range(len(items)))
    for number, item in enumerate(items):
        partners = [
            home[cell.of.out]
            for cell in item.cells
            if is_back[number] and cell.of is not None and cell.of.out in home
        ]
        if partners:
            group[number] = max(set(partners), key=lambda n: (partners.count(n), -n))
    numbers = {g: i for i, g in enumerate(dict.fromkeys(group))}
    order: dict[tuple[int, int], None] = {}
    for source, target in edges:
        if is_back[target]:
            if not is_back[source] and home:
                continue  # a value that is kept for the way back
            source, target = target, source
        pair = (numbers[group[source]], numbers[group[target]])
        if pair[0] != pair[1]:
            order[pair] = None
    try:
        ranks = ranks_of(len(numbers), list(order))
    except ValueError:  # such as a layer that is called twice
        return None
    return tuple(ranks[numbers[g]] for g in group)
