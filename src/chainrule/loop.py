"""A loop over time as one operation: the same cell for one step after the other.

    (carry, ys) = cell(carry, x, constants)      for each x along the first axis of the xs

Arrays run it as a Python loop, and a function that is compiled gets a loop in its source, whatever
the number of steps. Its derivative is a loop too, in the other direction, whose cell is the reverse
pass of the first one's, at the carries that were kept. So there is no derivative here but those of
the primitives in the cell, and there are derivatives of every order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np

from chainrule.autodiff import vjp
from chainrule.primitives.dispatch import AbstractArray, Array, named
from chainrule.primitives.operands import as_operand
from chainrule.primitives.primitive import Primitive
from chainrule.scope import current_scope, scope
from chainrule.tape import Node, check_finite
from chainrule.tensor import Tensor

__all__ = ["LOOP", "Cell", "Form", "loop"]

Arrays = tuple[Array, ...]
Cell = Callable[[Any, Any, Any], tuple[Any, Any]]
"""What is done at a step: from carry, x and constants to the new carry and what the step gives."""


def loop(
    cell: Cell,
    carry: Sequence[Array],
    xs: Sequence[Array],
    constants: Sequence[Array] = (),
    names: Sequence[str] = (),
) -> tuple[Arrays, Arrays]:
    """Run a cell over the first axis of all xs, (T, ...); returns the trajectories and the ys.

    A trajectory holds the values of one carry, (T + 1, ...): the first before the first step, the
    last after the last one. The ys hold what each step gives, (T, ...). The cell takes what it
    computes with as arguments: carry, x of its step, and constants, as tuples of arrays. It is a
    function of these alone, for the reverse pass calls it again: draw random numbers before the
    loop, and hand them over among the xs. `names` are what carries and xs are called in the source
    of a compiled function. Raises ValueError where there is no step, where the cell gives a carry
    of another shape or dtype than it got, and where it computes with a tensor that it was not
    handed.

    >>> import numpy as np
    >>> def cell(carry, x, constants):
    ...     (total,) = carry
    ...     return (total + x[0],), (2 * total,)
    >>> trajectories, ys = loop(cell, [np.zeros(())], [np.array([1.0, 2.0, 3.0])])
    >>> trajectories[0], ys[0]
    (array([0., 1., 3., 6.]), array([0., 2., 6.]))
    """
    carry = [_array(value, "a carry of a loop") for value in carry]
    xs = [_array(value, "an x of a loop") for value in xs]
    constants = [_array(value, "a constant of a loop") for value in constants]
    lengths = {x.shape[:1] for x in xs}
    if len(lengths) != 1 or not sum(next(iter(lengths))):
        shapes = ", ".join(str(x.shape) for x in xs) or "none"
        raise ValueError(
            "a loop makes a step for each x along the first axis of the xs, so it needs one or "
            f"more of equal length, at least 1, but got {shapes}"
        )
    form = Form(cell, len(carry), len(xs), (True,) * len(carry), False, tuple(names))
    if current_scope().unrolls:
        return _unrolled(form, carry, xs, constants)
    results = _apply(form, (*carry, *xs, *constants))
    return results[: len(carry)], results[len(carry) :]


def _array(value: Any, what: str) -> Array:
    """What a loop is handed as an array: its numbers have a dtype, as those of the results do."""
    is_traced = isinstance(value, AbstractArray)
    if isinstance(value, np.random.Generator) or (is_traced and value.dtype == np.dtype(object)):
        raise TypeError(
            f"{what} is a random generator, whose numbers would be others in the reverse pass: "
            "draw them before the loop, and hand them over among the xs"
        )
    return value if is_traced else np.asarray(as_operand(value, what))


class Form(NamedTuple):
    """What is static of a loop.

    Carries that it `keeps` give their trajectories, others their last value. In `reverse` it goes
    from the last x to the first, and so do trajectories and ys.
    """

    cell: Cell
    n_carry: int
    n_xs: int
    keeps: tuple[bool, ...]
    reverse: bool
    names: tuple[str, ...] = ()

    def name(self, number: int) -> str:
        """What a carry or an x is called, "" where it has no name."""
        return self.names[number] if number < len(self.names) else ""

    def step(self, carry: Arrays, x: Arrays, constants: Arrays) -> tuple[Arrays, Arrays]:
        """What the cell gives, when it gives what a loop needs."""
        given = self.cell(carry, x, constants)
        if not _is_tuple(given) or len(given) != 2 or not all(map(_is_tuple, given)):
            raise TypeError(
                "the cell of a loop must return two tuples, the new carry and what the step gives, "
                "as in `return (h,), ()`"
            )
        new, ys = map(tuple, given)
        _check_carry(carry, new)
        return new, ys

    def split(self, arrays: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Arguments as carry, xs and constants."""
        middle = self.n_carry + self.n_xs
        return arrays[: self.n_carry], arrays[self.n_carry : middle], arrays[middle:]


def _is_tuple(value: Any) -> bool:
    return isinstance(value, tuple | list)


def _evaluate(*arrays: Any, form: Form, body: Any = None) -> Arrays:
    """The loop on arrays; `body` is the cell as a graph, which a compiler adds."""
    carry, xs, constants = form.split(tuple(map(_in_order, arrays)))
    n_steps = len(xs[0])
    trajectories: list[list[Any]] = [[value] for value in carry]
    ys: list[list[Any]] = []
    with scope(in_loop=True):
        for t in reversed(range(n_steps)) if form.reverse else range(n_steps):
            new, given = form.step(carry, tuple(x[t] for x in xs), constants)
            carry = tuple(map(_in_order, new))
            for trajectory, value in zip(trajectories, carry, strict=True):
                trajectory.append(value)
            ys = ys or [[] for _ in given]
            for values, value in zip(ys, given, strict=True):
                values.append(_in_order(value))
    step = -1 if form.reverse else 1
    results = [
        np.stack(values[::step]) if keep else np.array(values[-1])
        for values, keep in zip(trajectories, form.keeps, strict=True)
    ]
    return *results, *(np.stack(values[::step]) for values in ys)


def _unrolled(
    form: Form, carry: Sequence[Array], xs: Sequence[Array], constants: Sequence[Array]
) -> tuple[Arrays, Arrays]:
    """The steps one after the other, each recorded for itself; carries go by h_1, h_2, ..."""
    steps = [(tuple(carry), ())]
    for t in range(xs[0].shape[0]):
        new, given = form.step(steps[-1][0], tuple(x[t] for x in xs), tuple(constants))
        for i, value in enumerate(new):
            if form.name(i):
                named(f"{form.name(i)}_{t + 1}", value)
        steps.append((new, given))
    trajectories = zip(*(carried for carried, _ in steps), strict=True)
    ys = zip(*(given for _, given in steps[1:]), strict=True)
    return tuple(np.stack(values) for values in trajectories), tuple(map(np.stack, ys))


def _in_order(array: Any) -> Any:
    """The array in C order, as the part of a stack is that a compiled loop reads."""
    if isinstance(array, AbstractArray):
        raise ValueError(
            f"the cell of a loop computes with a tensor that it was not handed, and gives one of "
            f"shape {array.shape}: pass the tensor among the constants of the loop"
        )
    return np.asarray(array, order="C")[()]


def _check_carry(carry: Arrays, new: Arrays) -> None:
    """Raise ValueError unless a cell gives as many carries as it got, of the same form."""
    old = [(np.shape(value), np.result_type(value)) for value in carry]
    found = [(np.shape(value), np.result_type(value)) for value in new]
    if old != found:
        raise ValueError(
            f"the cell of a loop got carries of (shape, dtype) {old}, but gives {found}: a step "
            "must give what the next one takes"
        )


LOOP = Primitive("loop", _evaluate)
"""Not in the table of primitives: its rule is made of those of the primitives in the cell."""


def _apply(form: Form, arrays: Arrays) -> Arrays:
    """The loop for whatever the arrays are: of several levels, the highest interprets it."""
    interpreter: AbstractArray | None = None
    for array in arrays:
        if isinstance(array, AbstractArray) and (
            interpreter is None or array.level > interpreter.level
        ):
            interpreter = array
    if isinstance(interpreter, Tensor):
        return _record(form, arrays, interpreter.level)
    if interpreter is not None:
        return tuple(interpreter.apply(LOOP, arrays, {"form": form}))
    return _evaluate(*arrays, form=form)


def _record(form: Form, arrays: Arrays, level: int) -> Arrays:
    """Compute one level below, and put each result on the tape, as `Tensor.apply` does."""
    values: list[Any] = []
    parents: list[tuple[int, Node]] = []
    watched: list[tuple[Any, Any]] = []
    for position, array in enumerate(arrays):
        value = array
        if isinstance(array, Tensor) and array.level == level:
            value = array.value
            if array.node is not None:
                parents.append((position, array.node))
        if isinstance(value, np.ndarray) and value.flags.writeable:  # somebody may write to it
            copy = _read_only(value.copy())
            watched.append((value, copy))
            value = copy
        values.append(value)
    wanted = tuple(position for position, _ in parents)
    results = _apply(form, tuple(values))
    recorded: list[Array] = []
    for number, result in enumerate(results):
        if isinstance(result, np.ndarray):
            _read_only(result)
            if current_scope().detect_nonfinite:
                check_finite(result, LOOP, current_scope().layer, "forward")
        if result.dtype.kind != "f" or not parents:
            recorded.append(Tensor(result, level) if result.dtype.kind == "f" else result)
            continue
        primitive = Primitive("loop", _evaluate)
        primitive.variadic_rule = _Rule(form, number, results, wanted)
        node = Node(primitive, tuple(values), {}, result, tuple(parents), tuple(watched))
        recorded.append(Tensor(result, level, node))
    return tuple(recorded)


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


class _Rule:
    """The vjp rule of one result of a loop, by any of its arguments, all of which it finds at once.

    `results` are all that the loop gave, `wanted` the positions of the arguments to differentiate
    by.
    """

    def __init__(self, form: Form, number: int, results: Arrays, wanted: tuple[int, ...]) -> None:
        self.form, self.number, self.results, self.wanted = form, number, results, wanted
        self._g: Any = None
        self._found: dict[int, Array] = {}

    def __call__(self, position: int, g: Array, out: Array, *arrays: Array) -> Array:
        if self._g is not g or position not in self._found:  # an array may have been written to
            self._found = _cotangents(self.form, self.number, g, self.results, arrays, self.wanted)
            self._g = g
        return self._found.pop(position)


def _cotangents(
    form: Form, number: int, g: Array, results: Arrays, arrays: Arrays, wanted: tuple[int, ...]
) -> dict[int, Array]:
    """What flows back from one result to the wanted arguments: a loop in the other direction."""
    carry, xs, constants = form.split(arrays)
    if not all(form.keeps):
        results = _apply(form._replace(keeps=(True,) * form.n_carry), arrays)
    # the carries before each step, and what flows into them after it
    ahead, behind = slice(None, -1), slice(1, None)
    if form.reverse:
        ahead, behind = behind, ahead
    before = tuple(trajectory[ahead] for trajectory in results[: form.n_carry])
    start = [np.zeros(np.shape(value), value.dtype) for value in carry]
    given: Arrays = (g,)
    first: Array | None = None
    kind = "y"
    if number < form.n_carry:
        kind = "carry"
        if form.keeps[number]:
            first, given = g[-1 if form.reverse else 0], (g[behind],)
        else:
            start[number], given = g, ()
    middle = form.n_carry + form.n_xs
    sums = tuple(p - middle for p in wanted if p >= middle)
    of_xs = tuple(p - form.n_carry for p in wanted if form.n_carry <= p < middle)
    cell = _BackwardCell(form, number, kind, bool(given), sums, of_xs)
    totals = [np.zeros(np.shape(constants[i]), constants[i].dtype) for i in sums]
    n_carry, n_xs = form.n_carry + len(totals), form.n_carry + form.n_xs + len(given)
    carried = [form.name(i) for i in range(middle)]
    names = [f"d_{name}" if name else "" for name in carried[: form.n_carry]]
    names += [*("" for _ in totals), *carried, "g_outside"]
    backward = Form(cell, n_carry, n_xs, (False,) * n_carry, not form.reverse, tuple(names))
    found = _apply(backward, (*start, *totals, *before, *xs, *given, *constants))
    by_position: dict[int, Array] = {}
    for i, value in enumerate(found[: form.n_carry]):
        by_position[i] = value + first if first is not None and i == number else value
    by_position |= {middle + i: v for i, v in zip(sums, found[form.n_carry : n_carry], strict=True)}
    by_position |= {form.n_carry + i: v for i, v in zip(of_xs, found[n_carry:], strict=True)}
    return by_position


@final
@dataclass(frozen=True)
class _BackwardCell:
    """The reverse pass of one step.

    Carried are the cotangents of the carries and the `sums` of those of constants; at each step
    come the carries before it, its xs, and what flows into result `number` from outside.
    """

    form: Form
    number: int
    kind: str  # of the result: carry or y
    is_given: bool
    sums: tuple[int, ...]
    of_xs: tuple[int, ...]

    def __call__(self, carried: Arrays, xs: Arrays, constants: Arrays) -> tuple[Arrays, Arrays]:
        form = self.form
        g_carry, totals = list(carried[: form.n_carry]), carried[form.n_carry :]
        before, x, given = form.split(xs)
        if self.is_given and self.kind == "carry":
            g_carry[self.number] = g_carry[self.number] + given[0]

        def step(*chosen: Arrays) -> tuple[Arrays, Arrays]:
            return form.step(
                *(
                    _with(every, positions, some)
                    for every, positions, some in zip(
                        (before, x, constants), places, chosen, strict=True
                    )
                )
            )

        # a count that is carried along has no derivative
        floats = tuple(i for i, value in enumerate(before) if value.dtype.kind == "f")
        places = (floats, self.of_xs, self.sums)
        (_, ys), pull = vjp(
            step,
            *(
                tuple(every[i] for i in positions)
                for every, positions in zip((before, x, constants), places, strict=True)
            ),
        )
        g_ys = [np.zeros(np.shape(y), np.result_type(y)) for y in ys]
        if self.kind == "y":
            g_ys[self.number - form.n_carry] = given[0]
        d_before, d_x, d_summed = pull((tuple(g_carry), tuple(g_ys)))
        sums = tuple(total + part for total, part in zip(totals, d_summed, strict=True))
        return (*_with(g_carry, floats, d_before), *sums), d_x


def _with(every: Sequence[Array], positions: tuple[int, ...], values: Arrays) -> Arrays:
    """The arrays, with others at these positions."""
    changed = list(every)
    for position, value in zip(positions, values, strict=True):
        changed[position] = value
    return tuple(changed)
