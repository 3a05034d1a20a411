"""Many epochs in one call, for small data: in Python, an epoch takes longer than its steps.

for (int64_t epoch = 0; epoch < epochs->n_epochs; epoch++) {
    the samples in a new random order, as NumPy's generator would draw it
    all batches
    an end, where the loss or a parameter is not finite
}
"""

from __future__ import annotations

import copy
import ctypes
from typing import Any, final

import numpy as np

from chainrule.engines.batches import Batches
from chainrule.engines.c.blocks import put_in
from chainrule.engines.c.parts import Field, File

__all__ = ["Epochs", "epochs_of", "generator_address"]

_EPOCHS = """
/* a number from 0 to most, each as likely as the others: bits are drawn until they make one */
static uint32_t STEP_up_to(struct generator *generator, uint32_t most)
{
    uint32_t mask = most;
    for (int shift = 1; shift < 32; shift *= 2)
        mask |= mask >> shift;
    uint32_t value;
    do
        value = generator->next_uint32(generator->state) & mask;
    while (value > most);
    return value;
}

/* 0 to n - 1 in random order, by Fisher and Yates: numpy.random.Generator.permutation's draws */
EXPORT void STEP_permute(struct generator *generator, int64_t n, int64_t *order)
{
    for (int64_t i = 0; i < n; i++)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        const int64_t j = STEP_up_to(generator, (uint32_t)i);
        const int64_t taken = order[j];
        order[j] = order[i];
        order[i] = taken;
    }
}

/* STEP for all batches of one epoch after the other; gives how many epochs were finite */
EXPORT int64_t STEP_epochs(
    struct STEP *own, struct STEP_many *many, struct generator *generator, int64_t *order,
    int64_t n_samples, int64_t n_epochs)
{
    for (int64_t epoch = 0; epoch < n_epochs; epoch++) {
        if (generator) {
            STEP_permute(generator, n_samples, order);
            many->order = order;
        }
        if (STEP_many(own, many) != many->end)
            return epoch;
        for (int64_t batch = 0; batch < many->end; batch++)
            if (!isfinite(many->losses[batch]))
                return epoch;
        for (int64_t i = 0; i < SIZE; i++)
            if (!isfinite(own->PARAMETERS[i]))
                return epoch;
        many->losses += many->end;
        many->first_step += many->end;
    }
    return n_epochs;
}
"""


def _parameters(file: File) -> Field | None:
    """The field of the parameters: the first state, where it is an array of floats."""
    state = file.graph.state[:1]
    found = (own for own in file.fields if own.variable in state and own.dtype.kind == "f")
    return next(found, None)


def epochs_of(file: File) -> str | None:
    """The C functions for many epochs, where the step has parameters."""
    parameters = _parameters(file)
    if parameters is None:
        return None
    size = str(parameters.access.size)
    words = {"STEP": file.function, "PARAMETERS": parameters.name, "SIZE": size}
    return put_in(_EPOCHS, words)


@final
class Epochs:
    """The call of that function, after a look whether it draws as this NumPy does."""

    def __init__(self, file: File, library: Any) -> None:
        self._function = library[f"{file.function}_epochs"]
        self._function.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 2
        self._function.restype = ctypes.c_int64
        self._permute = library[f"{file.function}_permute"]
        self._permute.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        self._permute.restype = None
        self._draws_as_numpy: dict[tuple[type, int], bool] = {}

    def draws_as_numpy(self, rng: np.random.Generator, n: int) -> bool:
        """Whether the order it draws is that of `rng.permutation`, and leaves the same state.

        Tried once for each kind of bit generator and number of samples.
        """
        key = (type(rng.bit_generator), n)
        if key not in self._draws_as_numpy:
            ours, numpys = copy.deepcopy(rng), copy.deepcopy(rng)
            order = np.empty(n, np.int64)
            self._permute(generator_address(ours), n, order.ctypes.data)
            same = np.array_equal(order, numpys.permutation(n))
            next_bits = ours.integers(2**62), numpys.integers(2**62)
            self._draws_as_numpy[key] = bool(same and next_bits[0] == next_bits[1])
        return self._draws_as_numpy[key]

    def run(
        self, own: int, table: Any, batches: Batches, rng: np.random.Generator | None, n: int
    ) -> int:
        """Take so many epochs; how many were finite. `own` and `table` are what a step works on."""
        order = np.empty(batches.n_samples, np.int64)
        generator = 0 if rng is None else generator_address(rng)
        return int(
            self._function(
                own, table.ctypes.data, generator, order.ctypes.data, batches.n_samples, n
            )
        )


def generator_address(rng: np.random.Generator) -> int:
    """Where the interface of a random generator is that C reads."""
    return ctypes.cast(rng.bit_generator.ctypes.bit_generator, ctypes.c_void_p).value or 0
