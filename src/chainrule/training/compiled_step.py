"""The training step of a network, compiled: the pure function of `step.py` as NumPy source.

One program for each shape and dtype of a batch; all of them work in place on the same parameters,
slots and state, which are the step's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from chainrule import tree
from chainrule.compiler.graph import Graph, Variable
from chainrule.compiler.naming import Labels
from chainrule.compiler.trace import trace
from chainrule.engines.batches import Batches, run_all
from chainrule.engines.choice import Engine, build_programs, check_engine, source_for
from chainrule.engines.engine import Program
from chainrule.optim import Optimizer
from chainrule.training.eager_step import first_state
from chainrule.training.frozen import Observed, refuse_draws
from chainrule.training.losses import LossFunction, get_loss
from chainrule.training.samples import Batch
from chainrule.training.step import Learned, Penalty, make_step
from chainrule.training.trainable import ArraysByName, Trainable
from chainrule.version import __version__

__all__ = ["CompiledStep"]


@final
class CompiledStep:
    """A training step that runs as source.

    What it returns and hands out are its own arrays, which the next step changes in place. Raises
    what the compiler raises, `TracedValueError` for the most part, at the first batch of a shape
    where the network or the loss cannot be compiled. A program is fixed when it is made: what it
    read of layers, loss and penalties is looked at again by `outdated`. `n_steps` is how many there
    will be, which the engine "auto" goes by; `remark` says why it is not the engine asked for. All
    batches run on the engine of the first. It works on copies of the network's arrays, or on the
    very arrays of `learned`.
    """

    def __init__(
        self,
        network: Trainable,
        loss: LossFunction,
        optimizer: Optimizer,
        penalties: Sequence[Penalty] = (),
        engine: Engine = "numpy",
        n_steps: int = 1,
        learned: Learned | None = None,
    ) -> None:
        self._engine, self._n_steps = engine, n_steps
        self.remark = ""
        self._traced: tuple[Graph, Labels] | None = None
        self._train_step = make_step(network, loss, optimizer, penalties)
        self._network = network
        self._summary = f"{get_loss(loss).name.replace('_', ' ')}, {optimizer!r}"
        rule = (type(optimizer).__doc__ or "").split("\n")[0]
        self._docs = {type(optimizer).__name__.lower(): rule}
        self._learned = first_state(network, optimizer) if learned is None else learned
        self._programs: dict[tuple[Any, ...], Program] = {}
        numbers = {name: v for name, v in vars(optimizer).items() if name != "learning_rate"}
        self._read: dict[str, object] = {"penalty": tuple(penalties), "optimizer": numbers}
        if get_loss(loss).kind == "own":
            self._read["loss"] = loss
        self._as_read = Observed({})

    def run(self, batches: Batches, rng: Any, until: float, interrupted: Sequence[bool]) -> int:
        """Take batches until the time `until`, at least one; how many it took."""

        def run_alike() -> int:
            program = self.program_for(batches.example())
            return program.run(batches, rng, until, interrupted)

        return run_all(batches, until, run_alike)

    def run_epochs(
        self, batches: Batches, n_epochs: int, order_rng: np.random.Generator | None, rng: Any
    ) -> np.ndarray | None:
        """The losses of whole epochs, where the engine takes them; see `Program.run_epochs`."""
        program = self.program_for(batches.example())
        return program.run_epochs(batches, n_epochs, order_rng, rng)

    def take(
        self, batch: Batch, learning_rate: float, step: int, rng: Any = None
    ) -> tuple[Any, Any]:
        """One step: the loss and the outputs before it."""
        inputs = _inputs(batch)
        loss, outputs = self.program_for(inputs).take(inputs, learning_rate, step, rng)
        return loss, outputs

    def read_state(self) -> Learned:
        """What has been learned so far, in the arrays that the next step changes."""
        return self._learned

    def write_state(self, learned: Learned) -> None:
        """Go on from these parameters, slots and state, which are copied in."""
        own = self._learned
        if learned.flat is not own.flat:
            np.copyto(own.flat, learned.flat)
        for mine, given in ((own.slots, learned.slots), (own.state, learned.state)):
            if mine is not given:
                for name, array in mine.items():
                    np.copyto(array, given[name])

    def is_ready_for(self, batch: Batch) -> bool:
        """Whether there is a program for batches like this one."""
        inputs = batch[:2] if batch.weight is None else tuple(batch)
        return _key(inputs) in self._programs

    @property
    def looks_the_same(self) -> Callable[[], bool]:
        """What tells whether layers, loss and penalties hold what they held, for these programs.

        Quicker than `outdated`, which looks into arrays and functions too.
        """
        return self._as_read.looks_the_same

    def outdated(self) -> str:
        """What the programs have read that is no longer so, "" where all of it is."""
        return self._as_read.difference()

    def thread_limit(self) -> AbstractContextManager[None]:
        """One thread for BLAS where a second would slow the step down."""
        return self._first().thread_limit()

    @property
    def engine(self) -> str:
        """The engine that the step runs on: "numpy" or "c"."""
        return self._first().engine

    @property
    def compiler(self) -> str:
        """The C compiler that made a library of it, with its version; "" for none."""
        return self._first().compiler

    @property
    def flags(self) -> tuple[str, ...]:
        """What the compiler was told."""
        return self._first().flags

    @property
    def source(self) -> str:
        """The step as a file of its own, for the batch size compiled first: Python, or C."""
        return self._first().source

    def source_for(self, engine: Engine) -> str:
        """What another engine prints of the step, for the batch size compiled first."""
        self._first()
        assert self._traced is not None
        return source_for(check_engine(engine), *self._traced, exact=False)

    @property
    def graph(self) -> Graph:
        """The step as equations, for the batch size compiled first."""
        return self._first().graph

    def save_source(self, path: str | Path) -> None:
        """Write that file; constants too large for it are in an .npz beside it."""
        self._first().save_source(path)

    def compile_for(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> None:
        """Make the program for batches of these shapes and dtypes, where there is none yet."""
        self.compile_all([Batch(x, y, weight)])

    def compile_all(self, batches: Sequence[Batch]) -> None:
        """Make the programs for batches like these, where there are none yet."""
        self._make([_inputs(batch) for batch in batches])

    def __repr__(self) -> str:
        engine = f", engine {self.engine}" if self._programs else ", not compiled yet"
        return f"CompiledStep({self._network!r}, {self._summary}{engine})"

    def _repr_html_(self) -> str:
        from chainrule import html  # for notebooks alone

        head = html.paragraph(repr(self), strong=True)
        if not self._programs:
            return html.block(head)
        language = "c" if self.engine == "c" else "python"
        return html.block(head, html.source(self.source, language, "print(step.source)"))

    def _parts(self) -> dict[str, object]:
        return {**self._network.parts, **self._read}

    def _first(self) -> Program:
        if not self._programs:
            raise ValueError("the step has not been compiled: train the network first, with fit")
        return next(iter(self._programs.values()))

    def program_for(self, inputs: tuple[np.ndarray, ...]) -> Program:
        """The program for such inputs, (x, y) or (x, y, weight), made where there is none yet."""
        known = self._programs.get(_key(inputs))
        if known is None:
            self._make([inputs])
            known = self._programs[_key(inputs)]
        return known

    def _make(self, all_inputs: Sequence[tuple[np.ndarray, ...]]) -> None:
        """Trace and print the step for such inputs, and bind it to our arrays."""
        missing = {_key(inputs): inputs for inputs in all_inputs}
        missing = {key: inputs for key, inputs in missing.items() if key not in self._programs}
        if not missing:
            return
        with refuse_draws("the training step", self._parts()):
            traced = [self._trace(inputs) for inputs in missing.values()]
            self._traced = self._traced or traced[0]
            engine = self._engine
            if self._programs:
                engine = "c" if self.engine == "c" else "numpy"
            built = build_programs(traced, engine, n_calls=self._n_steps)
        for key, (program, remark) in zip(missing, built, strict=True):
            self.remark = self.remark or remark
            program.write_state(tree.flatten(self._learned))
            self._programs[key] = program
        self._as_read = Observed(self._parts())  # after it, for what runs may count its calls

    def _trace(self, inputs: tuple[np.ndarray, ...]) -> tuple[Graph, Labels]:
        """The step for such inputs as a graph."""
        names = ("x", "y", "weight")
        arrays = [Variable(a.shape, a.dtype, n) for a, n in zip(inputs, names, strict=False)]
        rate = Variable.number(float, "learning_rate")
        step, rng = Variable.number(int, "step"), Variable.generator("rng")

        def one_step(learned: Learned, *arguments: Any) -> tuple[Any, Learned]:
            *batch, rate, step, rng = arguments
            loss, outputs, learned = self._train_step(learned, Batch(*batch), rate, step, rng)
            return (loss, outputs), learned

        flat, slots, state = self._learned
        variables = Learned(
            Variable(flat.shape, flat.dtype, "parameters"), _variables(slots), _variables(state)
        )
        graph, _ = trace(one_step, [*arrays, rate, step, rng], variables)
        counts = graph.use_counts()
        used = [variable for variable in (step, rng) if counts[variable]]
        return replace(graph, inputs=(*arrays, rate, *used)), self._labels(len(inputs[0]))

    def _labels(self, batch_size: int) -> Labels:
        network = self._network
        title = (
            f"Training step of {network}: batch {batch_size}, {network.dtype}, {self._summary}.\n\n"
            f"Written by chainrule {__version__} for NumPy {np.__version__.split('.')[0]}. "
            "Regenerate: net.step.source.\nRun this file for one step on random data.\n"
        )
        return Labels(
            "train_step",
            title,
            "updates the parameters in place, returns the loss and the outputs before the update",
            {"loss": "loss", **network.textbook_names().layers},
            {"learning_rate": "0.01", "step": "1", "rng": "np.random.default_rng(1)"},
            self._docs,
        )


def _inputs(batch: Batch) -> tuple[np.ndarray, ...]:
    return batch[:2] if batch.weight is None else (batch.x, batch.y, batch.weight)


def _key(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """What of its inputs a program depends on."""
    return tuple((array.shape, array.dtype) for array in inputs)


def _variables(arrays: ArraysByName) -> dict[str, Variable]:
    return {name: Variable(a.shape, a.dtype, name) for name, a in arrays.items()}
