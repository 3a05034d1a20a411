"""Networks as pictures: their layers as boxes, or small ones as neurons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np

from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels, Scope, wish_names
from chainrule.compiler.recording import TracedValueError
from chainrule.compiler.trace import trace
from chainrule.primitives.dispatch import Array
from chainrule.scope import scope
from chainrule.see.backprop import backprop
from chainrule.see.draw.cells import Seen, seen_record
from chainrule.see.draw.draw import draw
from chainrule.see.draw.drawing import Drawing
from chainrule.see.draw.graphs import LayerNote, View, draw_cells
from chainrule.see.draw.neurons import Column, Joint, draw_units
from chainrule.see.record import Record
from chainrule.see.recorded import Recorder
from chainrule.training.goal import Penalties
from chainrule.training.losses import LossLike
from chainrule.training.trainable import Trainable

__all__ = ["Drawable", "Show", "picture_of"]

Show: TypeAlias = Literal["neurons", "layers", "graph"]
"""What is shown of a network."""

_MOST_UNITS = 16  # of a layer that is drawn as neurons where nobody says what to draw
_N_SAMPLES = 2  # that stand for any number where no data are given
_LONGEST_TITLE = 70


class Drawable(Trainable, Protocol):
    """What is drawn: what can be trained, with inputs of a known shape."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one input sample."""

    @property
    def input_dtype(self) -> np.dtype[Any]:
        """What inputs are cast to."""


def picture_of(
    network: Drawable,
    x: Any,
    y: Any,
    loss: LossLike | None,
    penalty: Penalties,
    show: Show | None,
    backward: bool,
    title: str | None,
    seed: int | np.random.Generator | None,
) -> Drawing:
    """What `draw_network` returns for these arguments."""
    if show not in (None, "neurons", "layers", "graph"):
        raise ValueError(f"show is {show!r}, but it is one of 'neurons', 'layers' and 'graph'")
    if x is None and (y is not None or show == "graph" or backward):
        what = "targets y" if y is not None else "the graph" if show == "graph" else "backward"
        raise ValueError(f"{what} came without inputs: give x, and y for gradients")
    if y is None and (show == "graph" or backward):
        raise ValueError("the reverse pass starts from a loss: give targets y beside x")
    record = None
    if y is not None:
        record = backprop(network, x, y, loss=loss, penalty=penalty, seed=seed)
    elif x is not None:
        x = network.as_inputs(x)
    n_parameters = network.parameters.flat.size
    shown_title = _title(network) if title is None else title
    if show == "graph" and record is not None:
        return draw(record, backward=backward, title=shown_title)
    dense = _dense_layers(network)
    if show == "neurons" and not dense:
        raise ValueError(
            f"{_title(network)} is not drawn as neurons, since it has others than Dense layers and "
            'activations of samples in rows: take show="layers"'
        )
    is_small = dense and max(_units(network, dense)) <= _MOST_UNITS
    if record is not None:
        seen = seen_record(record)
    else:
        seen = _forward(network, x) if x is not None else _traced(network)
    if show == "neurons" or (show is None and is_small and not backward):
        drawing = _as_neurons(network, dense, seen if x is not None else None, record, shown_title)
    else:
        drawing = _as_layers(network, seen, backward, shown_title)
    summary = f"{drawing.description} {n_parameters:,} parameters."
    return Drawing(drawing.level, shown_title, summary)


def _title(network: Drawable) -> str:
    text = repr(network)
    return text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"


# What is known of the computation


def _traced(network: Drawable) -> Seen:
    """The graph of the forward pass, without values."""
    shapes = network.parameters.shapes
    inputs, parameters, state = _inputs(network, _N_SAMPLES)
    n_parameters = len(shapes)

    def outputs(x: Array, *arrays: Array) -> Array:
        own = dict(zip(shapes, arrays, strict=False))
        kept = dict(zip(network.state, arrays[n_parameters:], strict=True))
        return network.apply(own, kept, x, False, None)[0]

    try:
        graph, _ = trace(outputs, [inputs, *parameters, *state])
    except TracedValueError:  # a layer of the user's that decides by values
        zeros = np.zeros(inputs.shape, inputs.dtype)
        return replace(_forward(network, zeros), has_values=False)
    return _seen(network, graph, parameters, {})


def _inputs(network: Drawable, n_samples: int) -> tuple[Variable, list[Variable], list[Variable]]:
    """Variables for inputs, parameters and state."""
    names = network.textbook_names().parameters
    dtype = network.dtype
    x = Variable((n_samples, *network.input_shape), network.input_dtype, "x")
    shapes = network.parameters.shapes
    parameters = [Variable(shape, dtype, names[name]) for name, shape in shapes.items()]
    state = [Variable(array.shape, array.dtype, name) for name, array in network.state.items()]
    return x, parameters, state


def _forward(network: Drawable, x: np.ndarray) -> Seen:
    """The forward pass on these inputs, with its values."""
    recorder, names = Recorder(), network.textbook_names().parameters
    given = recorder.start(x, "x")
    arrays = network.parameters.unflatten(network.parameters.flat)
    parameters = {n: recorder.start(np.asarray(a), names[n]) for n, a in arrays.items()}
    state = {n: recorder.start(np.asarray(a), n) for n, a in network.state.items()}
    with scope(unrolls=True):
        out, _ = network.apply(parameters, state, given, False, None)
    graph = recorder.graph([given, *parameters.values(), *state.values()], [out])
    trained = [array.variable for array in parameters.values()]
    return _seen(network, graph, trained, recorder.values)


def _seen(
    network: Drawable, graph: Graph, trained: Sequence[Variable], values: Mapping[Variable, Any]
) -> Seen:
    symbols, _ = wish_names(graph, Labels(layers=network.textbook_names().layers))
    names = Scope(is_code=False)
    return Seen(
        graph,
        {variable: names.claim(symbol) for variable, symbol in symbols.items()},
        values.get,
        lambda _: None,
        frozenset(trained),
        has_values=bool(values),
    )


# Layers


def _as_layers(network: Drawable, seen: Seen, backward: bool, title: str) -> Drawing:
    notes: dict[str, LayerNote] = {}
    counts = {name: int(np.prod(shape)) for name, shape in network.parameters.shapes.items()}
    for layer in network.parts.values():
        notes.update(_notes(layer, "", counts))
    (x, *_) = (v for v in seen.graph.inputs if v.name == "x")
    view = View(
        with_backward=backward,
        folds=True,
        shows_equations=False,
        opened={path for path, note in notes.items() if note.is_made_of_layers},
        layers=notes,
        samples=(x,),
        n_samples=x.shape[0],
    )
    level = draw_cells(seen, view)
    calls = "; ".join(f"{name}: {note.call}" for name, note in notes.items() if "." not in name)
    return Drawing(level, title, f"The layers of a network, from input to output: {calls}.")


def _notes(layer: Any, prefix: str, counts: Mapping[str, int]) -> Iterator[tuple[str, LayerNote]]:
    """What is known of a layer and of those it is made of, by their full names."""
    path = f"{prefix}{layer.name}"
    inner = list(_inner_layers(layer))
    own = sum(count for name, count in counts.items() if name.startswith(f"{path}."))
    call = f"{type(layer).__name__}(…)" if inner else repr(layer)
    yield path, LayerNote(call, own, bool(inner))
    for each in inner:
        yield from _notes(each, f"{path}.", counts)


def _inner_layers(layer: Any) -> Iterator[Any]:
    """The layers that a layer holds; one without a name stands for those within it."""
    for held in vars(layer).values():
        for each in held if isinstance(held, list | tuple) else [held]:
            if hasattr(each, "kind") and hasattr(each, "forward") and hasattr(each, "name"):
                if each.name:
                    yield each
                else:
                    yield from _inner_layers(each)


# Neurons


def _dense_layers(network: Drawable) -> list[tuple[str, list[str]]]:
    """Each Dense layer with the names of the layers that follow; none where there are others."""
    found: list[tuple[str, list[str]]] = []
    shapes = network.parameters.shapes
    if len(network.input_shape) != 1:
        return []
    for name, layer in network.parts.items():
        own = [n for n in (*shapes, *network.state) if n.startswith(f"{name}.")]
        if getattr(layer, "kind", "") == "dense" and f"{name}.weight" in own:
            found.append((name, []))
        elif own or not found or list(_inner_layers(layer)):
            return []
        else:
            found[-1][1].append(name)
    return found if len(network.output_shape) == 1 else []


def _units(network: Drawable, dense: Sequence[tuple[str, list[str]]]) -> list[int]:
    shapes = network.parameters.shapes
    return [network.input_shape[0], *(shapes[f"{name}.weight"][1] for name, _ in dense)]


def _as_neurons(
    network: Drawable,
    dense: Sequence[tuple[str, list[str]]],
    seen: Seen | None,
    record: Record | None,
    title: str,
) -> Drawing:
    arrays = network.parameters.unflatten(network.parameters.flat)
    gradients = None if record is None else record.gradients
    sizes = _units(network, dense)
    values = _means(seen, dense)
    joints: list[Joint] = []
    columns = [
        Column(
            sizes[0],
            ("input",),
            tuple(f"x{i + 1}" for i in range(sizes[0])),
            values[0],
        )
    ]
    for number, (name, others) in enumerate(dense):
        weight, bias = np.asarray(arrays[f"{name}.weight"]), arrays.get(f"{name}.bias")
        shown = None
        if gradients is not None:
            shown = (gradients[f"{name}.weight"], gradients.get(f"{name}.bias"))
        joints.append(Joint(weight, None if bias is None else np.asarray(bias), shown, f"{name}."))
        kinds = [str(getattr(network.parts[other], "kind", other)) for other in others]
        words = (name, *([", ".join(kinds)] if kinds else []))
        is_last = number + 1 == len(dense)
        names = tuple(f"ŷ{i + 1}" for i in range(sizes[-1])) if is_last else ()
        columns.append(Column(sizes[number + 1], words, names, values[number + 1]))
    meaning = "weight" if gradients is None else "derivative of the loss by the weight"
    drawing = draw_units(columns, joints, title=title, meaning=meaning)
    if seen is None:
        return drawing
    samples = next(v for v in seen.graph.inputs if v.name == "x").shape[0]
    of = "of the sample" if samples == 1 else f"means over {samples} samples"
    return Drawing(drawing.level, title, f"{drawing.description} Numbers in units are {of}.")


def _means(seen: Seen | None, dense: Sequence[tuple[str, list[str]]]) -> list[np.ndarray | None]:
    """For inputs and each Dense layer, the mean value of each unit over the samples."""
    if seen is None:
        return [None] * (len(dense) + 1)
    x = next(v for v in seen.graph.inputs if v.name == "x")
    last = {e.layer: e.out for e in seen.graph.equations if e.layer and e.section == "forward"}
    ends = [x]
    for name, others in dense:
        computed = [last[layer] for layer in (name, *others) if layer in last]
        ends.append(computed[-1])
    return [np.asarray(seen.value(end), float).mean(axis=0) for end in ends]
