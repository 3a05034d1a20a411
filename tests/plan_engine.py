"""An engine of a few lines that runs plans as they stand, to test plans without NumPy's printer.

Every equation is computed by its plain form on what stands in memory, and the result is copied to
where the plan says. Memory whose value nobody reads any more is poisoned at once, so that a plan
that lets something be read too late, or too early, gives wrong numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.compiler import plan as plans
from chainrule.compiler.check import check_graph
from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.groups import Group
from chainrule.compiler.infer import PYTHON_OPERATORS
from chainrule.compiler.lower import expand_fused
from chainrule.compiler.naming import Labels, wish_names
from chainrule.compiler.passes import EXACT, Pass, run_passes
from chainrule.compiler.plan import Buffer, Plan, make_plan
from chainrule.compiler.scales import TRAINING
from chainrule.engines.engine import NumPyArray, Program

WRITE_OUT = {"concatenate", "matmul", "random_uniform", "scatter_add", "sum", "prod", "max", "min"}


@dataclass(frozen=True)
class Can:
    """What an engine can do: write every result into memory, or `few` of them; write a result over
    every argument of an elementwise primitive, over those of `one` position of a choice, over none.
    """

    into: str = "every"
    over: str = "every"

    def writes_into(self, equation: Equation) -> bool:
        is_usual = equation.primitive.elementwise or equation.name in WRITE_OUT
        return self.into == "every" or (bool(equation.out.shape) and is_usual)

    def writes_over(self, equation: Equation, position: int) -> bool:
        if self.over == "one" and equation.name == "where":
            return position == 2 and equation.args[2] not in equation.args[:2]
        return equation.primitive.elementwise and self.over != "none"


LIKE_NUMPY = Can("few", "one")
ABILITIES = {"like NumPy": LIKE_NUMPY, "all": Can(), "nothing in place": Can("every", "none")}


def build(
    graph: Graph,
    labels: Labels | None = None,
    *,
    exact: bool = True,
    passes: Sequence[Pass] | None = None,
    strides: Mapping[Variable, tuple[int, ...]] | None = None,
    abilities: Can = LIKE_NUMPY,
    check: Callable[[Plan], None] = lambda plan: None,
) -> PlanProgram:
    """The program that runs the plan of a graph; `check` is handed the plan first."""
    if passes is None:
        passes = EXACT if exact else TRAINING
    simplified = run_passes(graph, passes)
    expanded = check_graph(expand_fused(simplified))
    _, titled = wish_names(expanded, labels or Labels())
    plan = make_plan(expanded, titled, abilities, fresh_results=exact, exact=exact, strides=strides)
    check(plan)
    return PlanProgram(simplified, plan, exact)


class PlanProgram(Program):
    """A plan, the memory it asks for, and the walk over its equations."""

    def __init__(self, graph: Graph, plan: Plan, exact: bool) -> None:
        self.graph = graph
        self.plan = plan
        self.exact = exact
        self.source = "".join(f"# {line}\n" for line in str(plan.graph).splitlines())
        self._memory: dict[Buffer, NumPyArray] = {}
        for buffer in dict.fromkeys(plan.buffers.values()):
            if buffer.kind in {"work", "scratch"}:
                self._allocate(buffer)
        self._last = last_readings(plan)
        self._dying: dict[float, list[Variable]] = defaultdict(list)
        for variable, position in self._last.items():
            if plan.stands(variable) and plan.buffers[variable].kind not in {"input", "constant"}:
                self._dying[position].append(variable)
        self._state: tuple[NumPyArray, ...] = ()

    def _allocate(self, buffer: Buffer) -> NumPyArray:
        if buffer not in self._memory:
            whole = buffer.parent and self._allocate(buffer.parent)
            if whole is None:
                self._memory[buffer] = np.empty(buffer.shape, buffer.dtype)
            else:
                part = whole[buffer.start : buffer.start + buffer.size]
                self._memory[buffer] = part.reshape(buffer.shape)
                assert part.dtype == buffer.dtype, "a part of another dtype"
        return self._memory[buffer]

    def thread_limit(self) -> Any:
        return nullcontext()

    def read_state(self) -> tuple[NumPyArray, ...]:
        return self._state

    def write_state(self, arrays: Sequence[NumPyArray]) -> None:
        self._state = tuple(arrays)

    def save_source(self, path: str | Path) -> None:
        Path(path).write_text(self.source, encoding="utf-8")

    def function(self, *inputs: Any) -> Any:
        results = self.step(*inputs)
        return results[0] if len(results) == 1 else results

    def step(self, *inputs: Any) -> tuple[Any, ...]:
        """One step of the program."""
        graph, plan = self.graph, self.plan
        for array in self._memory.values():
            poison(array)
        self._values: dict[Variable, Any] = dict(zip(graph.inputs, map(guarded, inputs)))
        self._values |= {v: guarded(array) for v, array in plan.graph.constants.items()}
        self._values |= dict(zip(graph.state, self._state, strict=True))
        self._holder = {plan.buffers[variable]: variable for variable in graph.state}
        position = 0
        for group in plan.groups:
            tiled = plan.tiles.get(group.origin) if group.origin is not None else None
            if tiled is not None:
                self._run_tiled(group, tiled)
            for equation in group.equations:
                if tiled is None:
                    self._run(equation)
                for variable in self._dying[position]:
                    self._bury(variable, position)
                position += 1
        return self._finish()

    def _run(self, equation: Equation) -> None:
        plan, values, out = self.plan, self._values, equation.out
        if out in plan.placed:
            values[out] = self._stand(out)
            return
        args = [values[a] if isinstance(a, Variable) else a for a in equation.args]
        if equation.body is not None:
            self._run_loop(equation, args)
            return
        if out.is_number:
            values[out] = PYTHON_OPERATORS[equation.primitive.name](*args)
            return
        made = equation.primitive.evaluate(*args, **equation.params)
        for variable, result in zip(equation.outs, [made] if len(equation.outs) == 1 else made):
            result = np.asarray(result) if isinstance(result, int | float) else result
            assert (result.shape, result.dtype) == (variable.shape, variable.dtype), equation
            if plan.stands(variable):
                check_in_place(equation, args, self._stand(variable))
                assert result.flags.c_contiguous or not self.exact, "another order of elements"
                self._stand(variable)[...] = result
                result = self._stand(variable)
            elif variable in plan.views and plan.buffers.get(variable) in self._memory:
                assert np.may_share_memory(result, args[0]), f"{equation.name} is no view"
            values[variable] = result

    def _run_loop(self, loop: Equation, args: Sequence[NumPyArray]) -> None:
        """Step after step by the plan of the body, whose state are last values of carries."""
        form, body = loop.params["form"], self.plan.bodies[loop.out]
        step = PlanProgram(body.graph, body, self.exact)
        carry, xs, constants = form.split(args)
        results = [self._stand(out) for out in loop.outs]
        self._values |= dict(zip(loop.outs, results, strict=True))
        carries, ys = results[: form.n_carry], results[form.n_carry :]
        kept = [a for a, keeps in zip(carries, form.keeps, strict=True) if keeps]
        first = -1 if form.reverse else 0
        for result, start, keeps in zip(carries, carry, form.keeps, strict=True):
            result[first if keeps else ...] = start
        step.write_state([a for a, keeps in zip(carries, form.keeps, strict=True) if not keeps])
        for t in reversed(range(len(xs[0]))) if form.reverse else range(len(xs[0])):
            read, written = (t + 1, t) if form.reverse else (t, t + 1)
            given = step.step(*(a[read] for a in kept), *(x[t] for x in xs), *constants)
            for trajectory, value in zip(kept, given):
                trajectory[written] = value
            for y, value in zip(ys, given[len(kept) :], strict=True):
                y[t] = value

    def _stand(self, variable: Variable) -> NumPyArray:
        """The memory of a value, which it holds from now on."""
        buffer = self.plan.buffers[variable]
        self._holder[buffer] = variable
        is_state = buffer.kind == "state"
        return self._values[self.plan.holds[buffer][0]] if is_state else self._memory[buffer]

    def _run_tiled(self, group: Group, length: int) -> None:
        """The equations of a group on one part of their vectors after the other, with scratch
        memory for one part only.
        """
        values, plan = self._values, self.plan
        for equation in group.equations:
            out = equation.out
            values[out] = self._stand(out) if plan.stands(out) else np.empty(out.shape, out.dtype)
        for start in range(0, length, plans.TILE):
            end = min(start + plans.TILE, length)

            def cut(atom: Any, start: int = start, end: int = end) -> Any:
                if not isinstance(atom, Variable) or not atom.shape:
                    return values.get(atom, atom)
                is_scratch = atom in plan.buffers and plan.buffers[atom].kind == "scratch"
                return values[atom][: end - start] if is_scratch else values[atom][start:end]

            for equation in group.equations:
                args = [cut(atom) for atom in equation.args]
                target = cut(equation.out)
                check_in_place(equation, args, target)
                target[...] = equation.primitive.evaluate(*args, **equation.params)

    def _bury(self, variable: Variable, position: int) -> None:
        """Poison the memory of a value that nobody will read, unless another stands there now."""
        buffer = self.plan.buffers[variable]
        mine = {buffer, buffer.parent} - {None}
        overlapping = [b for b in self._holder if b in mine or b.parent in mine]
        memory = self._values[variable]
        if all(
            self._last[self._holder[other]] <= position
            for other in overlapping
            if np.may_share_memory(self._values[self._holder[other]], memory)
        ):
            poison(memory)

    def _finish(self) -> tuple[Any, ...]:
        """Change the state all at once, and hand out what the function returns."""
        plan, values = self.plan, self._values
        kept = {atom: values[atom].copy() for atom in plan.kept}
        staged = {}
        for old, new in plan.copies.items():
            buffer = plan.buffers.get(new)
            is_old = buffer is not None and buffer.kind == "state"
            staged[old] = values[new].copy() if is_old else values[new]
        for old, new in staged.items():
            values[old][...] = new
        return tuple(
            kept[a] if a in kept else np.copy(values[a]) if isinstance(a, Variable) else a
            for a in plan.graph.outputs
        )


def last_readings(plan: Plan) -> dict[Variable, float]:
    """The position of the equation that reads a value, or a view of it, for the last time."""
    graph = plan.graph
    order = [equation for group in plan.groups for equation in group.equations]
    last: dict[Variable, float] = dict.fromkeys(graph.state, -1)
    for position, equation in enumerate(order):
        last.update(dict.fromkeys((*equation.variables, *equation.outs), position))
    last.update(dict.fromkeys((*graph.inputs, *graph.constants), inf))
    last.update(dict.fromkeys((v for v in graph.state if v not in graph.updates), inf))
    last.update(dict.fromkeys((a for a in graph.ends if isinstance(a, Variable)), inf))
    for equation in reversed(order):
        if equation.out in plan.views:
            for variable in equation.variables:
                last[variable] = max(last[variable], last[equation.out])
    return last


def check_in_place(equation: Equation, args: list[Any], target: NumPyArray) -> None:
    """Raise where an argument in the memory of the result is read otherwise than it is written."""
    for array in args:
        if isinstance(array, np.ndarray) and np.may_share_memory(array, target):
            is_in_step = array.__array_interface__ == target.__array_interface__
            assert equation.primitive.elementwise, f"{equation.name} in place"
            assert is_in_step, f"{equation.name} over a view of its argument"


def guarded(value: Any) -> Any:
    """An array of the caller's, which may not be written to; numbers and generators as they are."""
    if not isinstance(value, np.ndarray | np.generic):
        return value
    array = np.asarray(value).view()
    array.flags.writeable = False
    return array


def poison(array: NumPyArray) -> None:
    """Write what is no value of anything: NaN, odd integers, the opposite of every boolean."""
    if array.dtype.kind == "b":
        np.logical_not(array, out=array)
    else:
        array[...] = np.nan if array.dtype.kind in "fc" else np.array(0xAB).astype(array.dtype)
