"""Names a person would choose: z1 and W1 from the layers, d_z1 for the derivative by z1.

What a value is to be called is a wish here. A `Symbol` carries it through statements and formulas,
and a `Scope` makes a name of it at the very end, when all that will stand in the text is known. So
no two things in a text can go by the same name, whatever users call theirs.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chainrule.compiler.graph import Equation, Graph, Origin, Variable
from chainrule.compiler.plan import Buffer, Plan
from chainrule.primitives.primitive import PRIMITIVES

__all__ = ["Labels", "Scope", "Symbol", "argument_names", "name_buffers", "wish_names"]


@dataclass(frozen=True, eq=False, slots=True)
class Symbol:
    """Something that will have a name in a text: the wished one, if that is free.

    With a `number` the wish is counted from there: scratch_1, scratch_2. The wish of something
    `of` another goes in front of its name: d_ of z1.
    """

    wish: str
    number: int | None = None
    of: Symbol | None = None


class Scope:
    """The names of one text, or of one function in it; each stands for one thing.

    A function sees the names of the text around it, its `parent`. Of those, it must not use for
    something else what is `reserved`. Where a language wants it, names `is_ascii`; where they
    stand in no code, Python's own words are free.
    """

    def __init__(
        self,
        reserved: Iterable[str] = (),
        parent: Scope | None = None,
        is_ascii: bool = False,
        is_code: bool = True,
    ) -> None:
        self._parent = parent
        self._is_ascii = is_ascii
        self._used = {*keyword.kwlist, *dir(builtins), *reserved} if is_code else set(reserved)
        self._names: dict[Symbol, str] = {}
        self._numbers: dict[str, int] = {}  # the number to try next for a wish

    def claim(self, symbol: Symbol) -> str:
        """The symbol's name, given to it now where it has none."""
        known = self._names.get(symbol)
        if known is None:
            known = self._names[symbol] = self._unused(symbol)
            self._used.add(known)
        return known

    def share(self, symbol: Symbol, name: str) -> None:
        """Let a symbol go by a name that is given out already, for the same thing."""
        self._names[symbol] = name

    def __getitem__(self, symbol: Symbol) -> str:
        if symbol in self._names or self._parent is None:
            return self._names[symbol]
        return self._parent[symbol]

    def _unused(self, symbol: Symbol) -> str:
        wish = _identifier(symbol.wish + (self.claim(symbol.of) if symbol.of else ""))
        if self._is_ascii:  # one underscore in front is the C library's, before a capital
            wish = re.sub(r"^_", "x_", re.sub(r"[^\x00-\x7f]", "_", wish))
        first = symbol.number
        name = wish if first is None else f"{wish}_{first}"
        next_number = max((first or 1) + 1, self._numbers.get(wish, 0))
        while name in self._used:
            name, next_number = f"{wish}_{next_number}", next_number + 1
        self._numbers[wish] = next_number
        return name


def _identifier(wish: str) -> str:
    """The wish as a Python name, in the form that Python itself reads names in."""
    name = re.sub(r"\W", "_", unicodedata.normalize("NFKC", wish))
    if not name.isidentifier():
        name = f"x_{name}" if name else "value"
    # two underscores in front mean something to Python
    return f"x{name}" if name.startswith("__") or not name.strip("_") else name


@dataclass(frozen=True)
class Labels:
    """What the caller knows and the graph does not: words for the printed file.

    `layers` names the output of each layer, `examples` gives inputs for the file's own run as
    Python expressions, `docs` the docstrings of helpers by name.
    """

    function: str = "step"
    title: str = ""
    returns: str = ""
    layers: dict[str, str] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    docs: dict[str, str] = field(default_factory=dict)


def wish_names(graph: Graph, labels: Labels) -> tuple[dict[Variable, Symbol], set[Variable]]:
    """A symbol for every variable, and which of them have a name that means something.

    Variables that their caller or maker named keep those names; the outputs of layers are named by
    the labels, derivatives after what they differentiate by, the rest after their primitive.
    """
    symbols: dict[Variable, Symbol] = {}

    def give(variable: Variable, wish: str, number: int | None = None) -> None:
        symbols[variable] = Symbol(wish, number)

    for variable in (*graph.state, *graph.inputs, *graph.constants):
        give(variable, graph.name_of(variable) or "value")
    for equation in graph.equations:
        if equation.section == "forward" and not equation.layer and _is_part(equation, graph):
            give(equation.out, graph.name_of(equation.out))
    for layer, equation in _last_of_layers(graph).items():
        if layer in labels.layers and equation.out not in symbols:
            give(equation.out, labels.layers[layer])
    for equation in graph.equations:
        if equation.section == "update" and equation.origin is not None:
            for name, atom in equation.origin.arguments:
                if isinstance(atom, Variable) and atom not in symbols:
                    give(atom, name)
    known = set(symbols)  # what the caller named, before what the traced code did
    titled = set(symbols)
    last_of_origin = {e.origin: e for e in graph.equations}
    for equation in graph.equations:
        for out in equation.outs:
            if out not in symbols and graph.name_of(out):
                titled.add(out)
                give(out, graph.name_of(out))
            elif out not in symbols and not graph.cotangents.get(out):
                give(out, *_plain_name(equation, last_of_origin))
    for equation in graph.equations:
        for out in equation.outs:
            if out in symbols:
                continue
            of, prefix = _differentiated_by(out, graph, symbols, known)
            if of is None:
                gone = [v.name for v in graph.cotangents[out] if v.name]  # no longer read
                give(out, *([f"d_{gone[0]}"] if gone else [equation.primitive.name, 1]))
                continue
            if of in titled:
                titled.add(out)
            symbols[out] = Symbol(prefix, of=symbols[of])
    for equation in graph.equations:
        if equation.body is not None:
            inner, named = wish_names(equation.body, Labels())
            symbols |= inner
            titled |= named
    return symbols, titled


def name_buffers(
    plan: Plan, symbols: dict[Variable, Symbol], titled: set[Variable]
) -> dict[Buffer, Symbol]:
    """Each buffer's name: that of the last value it holds which has a name of its own."""
    lines = [group.equations for group in plan.groups if not group.is_unit]
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


def _is_part(equation: Equation, graph: Graph) -> bool:
    """Whether this is a named part of the state, such as the weight of a layer."""
    return bool(graph.name_of(equation.out)) and equation.primitive.is_view


def _plain_name(
    equation: Equation, last_of_origin: dict[Origin | None, Equation]
) -> tuple[str, int | None]:
    """What a value without a name is called, and the number to count from."""
    origin = equation.origin
    if origin is not None and origin.name in PRIMITIVES and equation is last_of_origin[origin]:
        return origin.name, 1  # the result of a fused primitive
    if equation.name in {"sum", "vdot"} and not equation.out.shape:
        return "total", None
    return equation.primitive.name, 1


def _last_of_layers(graph: Graph) -> dict[str, Equation]:
    """The forward equation that makes each layer's output."""
    return {e.layer: e for e in graph.equations if e.layer and e.section == "forward"}


def _differentiated_by(
    variable: Variable, graph: Graph, symbols: dict[Variable, Symbol], known: set[Variable]
) -> tuple[Variable | None, str]:
    """The value that this is the derivative by, and d_, or d_d_ for a derivative of that.

    Of several it is one of those `known` to the caller, such as the output of a layer.
    """
    prefix = ""
    passed: set[Variable] = set()
    while variable not in symbols:
        passed.add(variable)  # the derivative of r**2 / 2 by r is r itself
        choice = [v for v in graph.cotangents.get(variable, ()) if v not in passed]
        if not choice:
            return None, ""
        variable = next((v for v in choice if v in known), choice[0])
        prefix += "d_"
    return variable, prefix


def argument_names(function: Callable[..., Any], args: tuple[Any, ...]) -> list[str]:
    """A name for every leaf of the arguments: the parameter's, with the keys on the way."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables have no signature
        parameters = []
    named = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
    if len(named) < len(args) or any(p.kind is p.VAR_KEYWORD for p in parameters):
        named = ["x"] if len(args) == 1 else [f"x{i + 1}" for i in range(len(args))]
    return [leaf for name, arg in zip(named, args, strict=False) for leaf in _leaf_names(name, arg)]


def _leaf_names(name: str, tree_: Any) -> list[str]:
    if isinstance(tree_, Mapping):
        return [
            leaf for key, child in tree_.items() for leaf in _leaf_names(f"{name}_{key}", child)
        ]
    if isinstance(tree_, list | tuple):
        return [leaf for i, child in enumerate(tree_) for leaf in _leaf_names(f"{name}_{i}", child)]
    return [name]
