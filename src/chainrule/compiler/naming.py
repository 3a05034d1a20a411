"""Names a person would choose: z1 and W1 from the layers, d_z1 for the derivative by z1."""

from __future__ import annotations

import builtins
import keyword
import re
from dataclasses import dataclass, field

from chainrule.compiler.graph import Equation, Graph, Variable
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

    def give(variable: Variable, wish: str, number: int | None = None) -> None:
        name, next_number = wish if number is None else f"{wish}_{number}", (number or 1) + 1
        while name in used:
            name, next_number = f"{wish}_{next_number}", next_number + 1
        used.add(name)
        names[variable] = name

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
    titled = set(names)
    for equation in graph.equations:
        if equation.out not in names and equation.out.cotangent_of is None:
            if equation.out.name:
                titled.add(equation.out)
                give(equation.out, _identifier(equation.out.name))
            else:
                give(equation.out, equation.primitive.name, 1)
    for equation in graph.equations:
        if equation.out not in names:
            if equation.out.cotangent_of in titled:
                titled.add(equation.out)
            give(equation.out, _derivative(equation, names))
    return names, titled


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


def _derivative(equation: Equation, names: dict[Variable, str]) -> str:
    """d_v for the derivative by v, d_d_v for a derivative of that."""
    of, prefix = equation.out.cotangent_of, "d_"
    passed = {equation.out}  # the derivative of r**2 / 2 by r is r itself
    while of is not None and of not in names:
        if of in passed:
            return equation.primitive.name + "_1"
        passed.add(of)
        of, prefix = of.cotangent_of, prefix + "d_"
    return prefix + names[of] if of is not None else equation.primitive.name + "_1"


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", name)
