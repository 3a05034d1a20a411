"""Names a person would choose: z1 and W1 from the layers, d_z1 for the derivative by z1."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass, field

from chainrule.compiler.graph import Equation, Graph, Group, Variable
from chainrule.primitives.primitive import PRIMITIVES

__all__ = ["Labels", "name_variables"]


@dataclass(frozen=True)
class Labels:
    """What the caller knows and the graph does not: words for the printed file.

    `layers` names the output of each layer, `parts` the slices (start, stop) of the first state
    array, `examples` gives inputs for the file's own run as Python expressions, `docs` the
    docstrings of helpers by name.
    """

    function: str = "step"
    title: str = ""
    returns: str = ""
    layers: dict[str, str] = field(default_factory=dict)
    parts: dict[tuple[int, int], str] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    docs: dict[str, str] = field(default_factory=dict)


def name_variables(graph: Graph, labels: Labels) -> tuple[dict[Variable, str], set[Variable]]:
    """A unique Python name for every variable, and which of them have a name that means something.

    Variables the trace named keep their names; the outputs of layers and the parts of the state
    are named by the labels, derivatives after what they differentiate by, and the rest after their
    primitive.
    """
    names: dict[Variable, str] = {}
    used = {"np", "bind", labels.function, *keyword.kwlist, *dir(builtins), *PRIMITIVES}
    numbers: dict[str, int] = {}  # the number to try next for a wish

    def give(variable: Variable, wish: str, number: int | None = None) -> None:
        name = wish if number is None else f"{wish}_{number}"
        next_number = max((number or 1) + 1, numbers.get(wish, 0))
        while name in used:
            name, next_number = f"{wish}_{next_number}", next_number + 1
        used.add(name)
        names[variable], numbers[wish] = name, next_number

    for variable in (*graph.state, *graph.inputs, *graph.constants):
        give(variable, _identifier(variable.name) or "value")
    for variable, part in _parts(graph, labels.parts):
        give(variable, part)
    for layer, equation in _last_of_layers(graph).items():
        if layer in labels.layers and equation.out not in names:
            give(equation.out, labels.layers[layer])
    for equation in graph.equations:
        if equation.section == "update" and equation.group is not None:
            for name, atom in equation.group.arguments:
                if isinstance(atom, Variable) and atom not in names:
                    give(atom, name)
    known = set(names)  # what the caller named, before what the traced code did
    titled = set(names)
    last_of_group = {e.group: e for e in graph.equations if e.group is not None}
    for equation in graph.equations:
        out = equation.out
        if out not in names and out.name:
            titled.add(out)
            give(out, _identifier(out.name))
        elif out not in names and not out.cotangent_of:
            give(out, *_plain_name(equation, last_of_group))
    for equation in graph.equations:
        if equation.out not in names:
            of, prefix = _differentiated_by(equation.out, names, known)
            if of is None:
                give(equation.out, equation.primitive.name, 1)
                continue
            if of in titled:
                titled.add(equation.out)
            give(equation.out, prefix + names[of])
    return names, titled


def _plain_name(equation: Equation, last_of_group: dict[Group, Equation]) -> tuple[str, int | None]:
    """What a value without a name is called, and the number to count from."""
    group = equation.group
    if group is not None and group.name in PRIMITIVES and equation is last_of_group[group]:
        return group.name, 1  # the result of a fused primitive
    if equation.primitive.name in {"sum", "vdot"} and not equation.out.shape:
        return "total", None
    return equation.primitive.name, 1


def _parts(graph: Graph, parts: dict[tuple[int, int], str]) -> list[tuple[Variable, str]]:
    """The views of the state that stand for its named parts, each in its final shape."""
    if not graph.state or not parts:
        return []
    slices: dict[Variable, str] = {}
    for equation in graph.equations:
        source, key = equation.args[0], equation.params.get("key")
        if source is graph.state[0] and equation.primitive.name == "index" and key is not None:
            (part,) = key
            slices[equation.out] = parts.get((part.start, part.stop), "")
    reshaped = {
        e.args[0]: e.out
        for e in graph.equations
        if e.primitive.name == "reshape" and e.args[0] in slices
    }
    return [(reshaped.get(cut, cut), name) for cut, name in slices.items() if name]


def _last_of_layers(graph: Graph) -> dict[str, Equation]:
    """The forward equation that makes each layer's output."""
    return {e.layer: e for e in graph.equations if e.layer and e.section == "forward"}


def _differentiated_by(
    variable: Variable, names: dict[Variable, str], known: set[Variable]
) -> tuple[Variable | None, str]:
    """The value that this is the derivative by, and d_, or d_d_ for a derivative of that.

    Of several it is one of those `known` to the caller, such as the output of a layer.
    """
    prefix = ""
    passed: set[Variable] = set()
    while variable not in names:
        passed.add(variable)  # the derivative of r**2 / 2 by r is r itself
        choice = [v for v in variable.cotangent_of if v not in passed]
        if not choice:
            return None, ""
        variable = next((v for v in choice if v in known), choice[0])
        prefix += "d_"
    return variable, prefix


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)
