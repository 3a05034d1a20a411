"""Randomness as a primitive, so that a graph can draw numbers from a generator it is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.primitives.dispatch import Array
from chainrule.primitives.primitive import defvjp, primitive
from chainrule.scope import current_scope

__all__ = ["random_uniform"]


@primitive(is_random=True)
def random_uniform(rng: Any, *, shape: tuple[int, ...], dtype: Any) -> Array:
    """Numbers from [0, 1), drawn from a `numpy.random.Generator`: new ones at each call.

    `dtype` is float32 or float64. A graph holds the generator as an input of its own; two draws of
    equal shape are two equations, never merged. Raises TypeError in a function that is compiled
    where the generator is not one of its arguments: the numbers would be drawn once for all calls.
    Raises it in the cell of a `loop`, too: its reverse pass would draw others.

    >>> import numpy as np
    >>> random_uniform(np.random.default_rng(0), shape=(2,), dtype=np.float64)
    array([0.63696169, 0.26978671])
    """
    if current_scope().in_loop:
        raise TypeError(
            "the cell of a loop draws random numbers, which would be others when the reverse pass "
            "calls it again: draw them for all steps before the loop, and hand them over among xs"
        )
    if current_scope().tracing:
        who = f"{current_scope().layer} draws" if current_scope().layer else "this draws"
        raise TypeError(
            f"{who} random numbers from a generator that is not among the arguments of the "
            "function being compiled, so every call would get the same ones: pass it in, as in "
            "step(parameters, x, rng)"
        )
    return rng.random(shape, np.dtype(dtype))


defvjp(random_uniform, None)
