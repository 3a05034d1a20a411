"""Many steps in one call: the C function that takes batches, and how Python drives it.

for (long batch = many->begin; batch < many->end; batch++) {
    the samples of the batch, gathered in the order of the epoch
    the learning rate and the number of the step
    one step
    its loss, and its outputs, put where they belong
}
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from time import perf_counter
from typing import Any, final

import numpy as np

from chainrule.engines.batches import Batches
from chainrule.engines.c.blocks import put_in
from chainrule.engines.c.epochs import Epochs, epochs_of
from chainrule.engines.c.indices import affine
from chainrule.engines.c.parts import Field, File
from chainrule.engines.c.sharing import team_function

__all__ = ["ManySteps", "batch_fields", "steps_of"]

_LOOK_SHARE = 0.5  # of the time that is left, what the next call may take by the pace so far


_MANY = """
/* the batches of an epoch, and where their results are put */
struct STEP_many {
    ALL_SAMPLES
    ROWS
    const int64_t *order;  /* of the samples; NULL: as they stand */
    const double *rates;  /* the learning rate of each batch */
    double *losses;  /* of each batch */
    TYPE *outputs;  /* of all samples; NULL: nobody wants them */
    int64_t batch_size;  /* of all batches but the last one */
    int64_t first_step;
    int64_t begin;  /* the first batch to take */
    int64_t end;  /* the first one not to take */
};

/* STEP for one batch after the other; gives the first that was not taken */
EXPORTED int64_t STEP_many_ALONE(struct STEP *own, const struct STEP_many *many)
{
    for (int64_t batch = many->begin; batch < many->end; batch++) {
        const int64_t first = batch * many->batch_size;
        if (many->order) {
            for (int64_t i = 0; i < N_ROWS; i++) {
                const int64_t row = many->order[first + i];
                GATHER
            }
            READ_ROWS
        } else {
            READ_SAMPLES
        }
        own->RATE = many->rates[batch];
        COUNT
        if (STEP_ALONE(own))
            return batch;
        many->losses[batch] = own->LOSS;
        if (many->outputs)
            memcpy(many->outputs + N_OF_A_SAMPLE * first, own->OUTPUTS,
                   N_OUTPUTS * sizeof(TYPE));
    }
    return many->end;
}
"""


def batch_fields(file: File) -> tuple[list[Field], Field, Field | None] | None:
    """The arrays of a batch, the learning rate and the number of the step, in a graph that is the
    step of a training; None for any other, and where a result cannot be copied as it stands.
    """
    graph, results = file.graph, file.results
    of = {own.variable: own for own in file.fields if own.variable is not None}
    inputs = graph.inputs
    rates = [v for v in inputs if v.is_number and v.dtype.kind == "f"]
    steps = [v for v in inputs if v.is_number and v.dtype.kind == "i"]
    arrays = [v for v in inputs if v.is_array]
    is_step = len(rates) == 1 and len(steps) <= 1 and len(results) == 2 and bool(arrays)
    is_step = is_step and bool(graph.state)  # a user's function of such arguments learns nothing
    if not is_step or not all(v.shape and v.shape[0] == arrays[0].shape[0] for v in arrays):
        return None
    loss, outputs = results[0].access, results[1].access
    if loss is None or loss.shape or outputs is None or not outputs.is_contiguous:
        return None
    if any(v not in of for v in (*arrays, *rates, *steps)):
        return None
    return [of[v] for v in arrays], of[rates[0]], of[steps[0]] if steps else None


def steps_of(file: File) -> str | None:
    """The C function for many steps, where the graph is the step of a training."""
    found = batch_fields(file)
    if found is None:
        return None
    arrays, rate, step = found
    loss, outputs = file.results[0].access, file.results[1].access
    assert loss is not None
    assert outputs is not None
    name = file.function
    alone = "_alone" if file.has_threads else ""
    words: dict[str, str | list[str]] = {
        "STEP": name,
        "_ALONE": alone,
        "EXPORTED": "static" if alone else "EXPORT",
        "N_ROWS": str(arrays[0].shape[0]),
        "RATE": rate.name,
        "LOSS": f"{loss.pointer}[{loss.start}]",
        "TYPE": outputs.c_type,
        "OUTPUTS": outputs.first,
        "N_OUTPUTS": str(outputs.size),
        "N_OF_A_SAMPLE": str(prod(outputs.shape[1:])),
        "ALL_SAMPLES": [f"const {a.c_type} *{a.name};  /* all samples */" for a in arrays],
        "ROWS": [f"{a.c_type} *{a.name}_rows;  /* those of a batch */" for a in arrays],
        "GATHER": [_gathered(own) for own in arrays],
        "READ_ROWS": [f"own->{own.name} = many->{own.name}_rows;" for own in arrays],
        "READ_SAMPLES": [f"own->{own.name} = {_row(own, 'first')};" for own in arrays],
        "COUNT": [] if step is None else [f"own->{step.name} = many->first_step + batch;"],
    }
    text = put_in(_MANY, words)
    if not alone:
        return text
    parameters = f"struct {name} *own, const struct {name}_many *many"
    return text + "\n\n" + team_function("int64_t", f"{name}_many", parameters, "own, many")


def _gathered(own: Field) -> str:
    """The statement that puts a sample's row of an array behind those before it."""
    size = prod(own.shape[1:])
    if size == 1:
        return f"many->{own.name}_rows[i] = many->{own.name}[row];"
    target = f"many->{own.name}_rows + {size} * i"
    return f"memcpy({target}, {_row(own, 'row')}, {size} * sizeof({own.c_type}));"


def _row(own: Field, number: str) -> str:
    """Where a sample's row of an array begins."""
    return f"many->{own.name} + {affine((prod(own.shape[1:]), number))}"


@final
class ManySteps:
    """The call of that function: the table it reads, and how many batches it is handed at a time.

    `address` is that of the memory of the step, whose inputs stand in `inputs`, in `slots` of it.
    """

    def __init__(self, file: File, library: Any, memory: Any) -> None:
        found = batch_fields(file)
        assert found is not None
        self._arrays = found[0]
        self._memory = memory
        self._function = library[f"{file.function}_many"]
        self._function.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        self._function.restype = ctypes.c_int64
        self._table = np.zeros(2 * len(self._arrays) + 8, np.int64)
        self._rows = file.results[1].access
        for number, own in enumerate(self._arrays):
            self._table[len(self._arrays) + number] = memory.arrays[own.name].ctypes.data
        self._epochs = Epochs(file, library) if epochs_of(file) is not None else None

    def fits(self, batches: Batches) -> bool:
        """Whether all arrays are as the function reads them."""
        arrays = (*batches.arrays, *(() if batches.outputs is None else (batches.outputs,)))
        dtypes = [own.dtype for own in self._arrays]
        if batches.outputs is not None:
            assert self._rows is not None
            dtypes.append(self._rows.dtype)
        lie_well = all(a.flags.c_contiguous and a.flags.aligned for a in arrays)
        return lie_well and dtypes == [a.dtype for a in arrays]

    def _fill(
        self, batches: Batches, order: Any, rates: np.ndarray, losses: np.ndarray
    ) -> np.ndarray:
        """The table for these arrays, which must live as long as the call."""
        n_arrays, table, out = len(self._arrays), self._table, batches.outputs
        table[:n_arrays] = [array.ctypes.data for array in batches.arrays]
        table[2 * n_arrays :] = [
            0 if order is None else order.ctypes.data,
            rates.ctypes.data,
            losses.ctypes.data,
            0 if out is None else out.ctypes.data,
            batches.batch_size,
            batches.first_step,
            0,
            len(batches.losses),
        ]
        return table

    def run_epochs(
        self, batches: Batches, n_epochs: int, order_rng: np.random.Generator | None
    ) -> np.ndarray | None:
        """The losses of whole epochs, up to the first that is not finite; None where it cannot."""
        if self._epochs is None or batches.n_samples % batches.batch_size:
            return None
        n_samples = batches.n_samples
        if order_rng is not None and not self._epochs.draws_as_numpy(order_rng, n_samples):
            return None
        losses = np.empty((n_epochs, len(batches.losses)))
        rates = np.array(batches.rates)
        table = self._fill(batches, None, rates, losses)
        try:
            address = self._memory.address
            done = self._epochs.run(address, table, batches, order_rng, n_epochs)
        finally:
            self._memory.restore_inputs()
        return losses[:done]

    def run(self, batches: Batches, until: float, interrupted: Sequence[bool]) -> int:
        """Take batches of equal size until the time `until`, at least one; how many it took.

        How many the next call takes is estimated from how long those before it took.
        """
        order = batches.order
        if order is not None:
            order = np.ascontiguousarray(order, np.int64)
        rates = np.array(batches.rates)
        table = self._fill(batches, order, rates, batches.losses)
        first, end = batches.done, batches.done + batches.n_alike()
        began = now = perf_counter()
        count = 1
        try:
            while batches.done < end:
                stop = min(end, batches.done + count)
                table[-2:] = batches.done, stop
                batches.done = int(self._function(self._memory.address, table.ctypes.data))
                if batches.done < stop:
                    break  # that one fails: whoever calls says why
                if interrupted:
                    raise KeyboardInterrupt
                now = perf_counter()
                if now >= until:
                    break
                pace = (batches.done - first) / max(now - began, 1e-9)
                count = max(1, int(min(end, pace * (until - now) * _LOOK_SHARE)))
        finally:
            self._memory.restore_inputs()
        return batches.done - first
