"""The update of parameters by an optimizer, step by step: its own lines, run on the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.compiler.naming import Labels
from chainrule.optim import Optimizer, clip
from chainrule.see.explain.names import Index, Name
from chainrule.see.explain.steps import Limits, Step, Teller
from chainrule.see.record import Record
from chainrule.see.recorded import RecordedArray, Recorder

__all__ = ["limited", "update_steps"]

Arrays = Mapping[str, np.ndarray[Any, Any]]


def limited(optimizer: Optimizer, gradients: Arrays) -> tuple[dict[str, np.ndarray], str]:
    """The gradients as the optimizer takes them, and a sentence if it has limited them."""
    if optimizer.clip_norm is None and optimizer.clip_value is None:
        return dict(gradients), ""
    flat = np.concatenate([np.ravel(array) for array in gradients.values()])
    short = np.asarray(clip(flat, optimizer.clip_norm, optimizer.clip_value))
    if np.array_equal(flat, short):
        return dict(gradients), ""
    parts = np.split(short, np.cumsum([array.size for array in gradients.values()])[:-1])
    cut = {
        name: part.reshape(array.shape)
        for (name, array), part in zip(gradients.items(), parts, strict=True)
    }
    limits = [
        f"{name}={value:g}"
        for name in ("clip_norm", "clip_value")
        if (value := getattr(optimizer, name)) is not None
    ]
    norm = float(np.linalg.norm(flat.astype(float)))
    return cut, f"limited by {', '.join(limits)}: the norm of all gradients together was {norm:.4g}"


def update_steps(
    optimizer: Optimizer,
    learning_rate: float,
    name: str,
    parameter: np.ndarray[Any, Any],
    gradient: np.ndarray[Any, Any],
    limits: Limits,
    note: str = "",
    index: Index | None = None,
) -> list[Step]:
    """The first update of a parameter, from slots as the optimizer starts with them.

    With an `index` it is that of one element. A gradient with a `note` is one that was changed on
    its way, and is called so.
    """
    recorder = Recorder()
    own = recorder.start(parameter, name)
    derivative = recorder.start(gradient, f"clipped_d_{name}" if note else f"d_{name}")
    slots = {n: recorder.start(a, n) for n, a in optimizer.init(parameter).items()}
    rate = recorder.start(np.asarray(learning_rate, parameter.dtype), "learning_rate")
    count = recorder.start(np.asarray(1, parameter.dtype), "step")
    with np.errstate(all="ignore"):
        new, new_slots = optimizer.update(own, derivative, slots, rate, count)
    if not isinstance(new, RecordedArray):
        return []
    recorder.recording.note_name(new.variable, f"new_{name}")
    for slot, array in new_slots.items():
        if isinstance(array, RecordedArray):
            recorder.recording.note_name(array.variable, f"new_{slot}")
    graph = recorder.graph([own, derivative, *slots.values(), rate, count], [new])
    record = Record(graph, recorder.values, Labels(), {})
    derivatives = {} if note else {derivative.variable: Name(name)}
    teller = Teller(record, limits, derivatives)
    steps = [replace(step, section="update") for step in teller.forward()]
    if not steps:  # the parameter stays as it is
        return []
    places = teller.chosen_by(gradient) if index is None else [index]
    variables = {teller.lines.name(v): v for v in teller.lines.forward}
    told = []
    for step in steps:
        if step.value.shape == gradient.shape and step.value.ndim:
            chosen = places if step is steps[-1] else places[:1]  # of slots one is enough
            lines = tuple(teller.line(step.name, variables[step.name], i) for i in chosen)
            step = replace(step, lines=lines)
        told.append(step)
    last = told.pop()
    lines = tuple(
        replace(line, name=Name(name).at(line.name.index or ()))
        for line in last.lines
        if isinstance(line.name, Name)
    )
    note = "; ".join(filter(None, [note, last.note]))
    return [*told, replace(last, name=Name(name), lines=lines, note=note)]
