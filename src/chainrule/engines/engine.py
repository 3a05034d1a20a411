"""What an engine is to the rest of the library: who writes a graph down and runs it.

An engine is a folder beside this file: what it can do (`compiler.plan.Abilities`), its kernels, its
printer, and a function `build(graph, labels, ...) -> Program`. Nothing else in the library knows
which engine runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np

from chainrule.compiler.graph import Graph
from chainrule.engines.batches import Batches, Take, run_batches

__all__ = ["NumPyArray", "Program"]

NumPyArray = np.ndarray[Any, Any]


class Program(ABC):
    """A graph that runs: its text, and the state it works on.

    `engine` is the name of the engine that made it, `compiler` the compiler that it had make a
    library of the text, and `flags` what it told it, where it has one. `graph` is the simplified
    graph, `source` the text of what runs, and `function` takes one step: from the inputs to the
    output, or a tuple of several, in the order of the graph's.
    """

    engine: str
    compiler: str = ""
    flags: tuple[str, ...] = ()
    graph: Graph
    source: str
    function: Callable[..., Any]

    @final
    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """One step: the outputs for these inputs, as a tuple also where there is one."""
        results = self.function(*inputs)
        return (results,) if len(self.graph.outputs) == 1 else results

    @final
    @cached_property
    def take(self) -> Take:
        """One step of a training: a graph whose inputs are the arrays of a batch, the learning
        rate, and, where it reads them, the number of the step and a random generator.
        """
        function, inputs = self.function, self.graph.inputs
        takes_step = any(v.is_number and v.dtype.kind == "i" for v in inputs)
        takes_rng = any(v.kind == "generator" for v in inputs)
        if takes_step and takes_rng:
            return lambda arrays, rate, step, rng: function(*arrays, rate, step, rng)
        if takes_step:
            return lambda arrays, rate, step, rng: function(*arrays, rate, step)
        if takes_rng:
            return lambda arrays, rate, step, rng: function(*arrays, rate, rng)
        return lambda arrays, rate, step, rng: function(*arrays, rate)

    def take_in_place(self) -> tuple[list[NumPyArray], Callable[[float, int], Any]] | None:
        """The arrays in which a batch is to stand, and one step on what stands there: from learning
        rate and number of the step to the loss. Nothing is checked, for steps of a microsecond.

        None where this engine takes arrays as they come, and where the step draws random numbers.
        """
        return None

    def run(self, batches: Batches, rng: Any, until: float, interrupted: Sequence[bool]) -> int:
        """Many steps of a training: take batches of the size that this program was made for until
        the time `until`, at least one; how many it took.

        `until` is a value of `perf_counter`. Raises KeyboardInterrupt after a step where
        `interrupted` is no longer empty.
        """
        return run_batches(batches, rng, until, interrupted, self.take)

    def run_epochs(
        self,
        batches: Batches,
        n_epochs: int,
        order_rng: np.random.Generator | None,
        rng: Any,
    ) -> NumPyArray | None:
        """Whole epochs of a training, `batches.rates` being those of each, and `order_rng` drawing
        the order of the samples of each.

        Returns the losses (epochs, n_batches) of those before the first in which a loss or a
        parameter is not finite, which is taken too; None where this engine takes no epochs.
        """
        return None

    @abstractmethod
    def thread_limit(self) -> AbstractContextManager[None]:
        """Keep the threads of matrix products to as many as suit the program, while it runs."""

    @abstractmethod
    def read_state(self) -> tuple[NumPyArray, ...]:
        """The arrays of the state as they are now, in the order of the graph's."""

    @abstractmethod
    def write_state(self, arrays: Sequence[NumPyArray]) -> None:
        """Go on from these arrays; what they hold is taken, or the arrays themselves are."""

    @abstractmethod
    def save_source(self, path: str | Path) -> None:
        """Write the source to a file that runs alone; large constants into an .npz beside it."""
