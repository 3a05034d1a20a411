"""Passes over loops in time: what one step need not do, because another has, or all may at once.

The reverse pass of a loop is written as if nothing were kept but the carries: its body computes the
step again. `keep_intermediates` lets the first loop hand on what the second one needs.
`sum_at_once` takes sums over all steps out of the loop, where they are one large product.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from chainrule.compiler.dead_code import remove_dead_code
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.infer import frozen, infer
from chainrule.compiler.layouts import Layouts
from chainrule.primitives.primitive import PRIMITIVES

__all__ = ["drop_unused_parts", "keep_intermediates", "sum_at_once"]


def keep_intermediates(graph: Graph) -> Graph:
    """Let loops hand on the values that a later loop would compute again, at the same steps."""
    loops = [e for e in graph.equations if e.body is not None]
    for later in range(len(loops)):
        for earlier in range(later):
            changed = _hand_on(graph, loops[earlier], loops[later])
            if changed is not None:
                graph = changed
                loops = [e for e in graph.equations if e.body is not None]
    return graph


def _hand_on(graph: Graph, earlier: Equation, later: Equation) -> Graph | None:
    """The graph in which the later loop reads what the earlier one has computed; None where there
    is no such thing.
    """
    taken = _to_hand_on(graph, earlier, later)
    if not taken:
        return None
    keeping, views, stacks, names = _keeping(earlier, list(taken.values()), later)
    reading = _reading(later, earlier, taken, stacks)
    equations: list[Equation] = []
    for equation in graph.equations:
        if equation is earlier:
            equations += [keeping, *views]
        else:
            equations.append(reading if equation is later else equation)
    return replace(graph, equations=tuple(equations), names={**graph.names, **names})


def _to_hand_on(graph: Graph, earlier: Equation, later: Equation) -> dict[Variable, Variable]:
    """For the values that the later loop's body need not compute, those of the earlier one's."""
    first, second = earlier.body, later.body
    assert first is not None
    assert second is not None
    if _n_steps(earlier) != _n_steps(later):
        return {}
    same = _same_values(graph, earlier, later)
    computed = first.makers()
    if not any(w in computed for w in same.values()):
        return {}
    layouts = Layouts(first, {}, follow=True)
    same = {v: w for v, w in same.items() if w not in computed or layouts.is_plain(w)}
    return {value: same[value] for value in _needed(second, same)}


def _keeping(
    loop: Equation, values: list[Variable], later: Equation
) -> tuple[Equation, list[Equation], list[Atom], dict[Variable, str]]:
    """The loop with these values of its body kept for all steps: itself, views of what it gives,
    what holds each value then, and names.
    """
    form, body = loop.params["form"], loop.body
    assert body is not None
    outputs, outs = list(body.outputs), list(loop.outs)
    views: list[Equation] = []
    stacks: list[Atom] = []
    names: dict[Variable, str] = {}
    for value in values:
        if value in outputs[: form.n_carry] and form.keeps[outputs.index(value)]:
            trajectory = outs[outputs.index(value)]
            key = {"key": (slice(None, -1, None) if form.reverse else slice(1, None, None),)}
            view = Variable((trajectory.shape[0] - 1, *value.shape), value.dtype)
            index = PRIMITIVES["index"]
            views.append(Equation((view,), index, (trajectory,), key, later.layer, later.section))
            stacks.append(view)
        elif value in outputs[form.n_carry :]:
            stacks.append(outs[form.n_carry + outputs[form.n_carry :].index(value)])
        else:
            stack = Variable((_n_steps(loop), *value.shape), value.dtype)
            outputs.append(value)
            outs.append(stack)
            stacks.append(stack)
            if name := body.name_of(value):
                names[stack] = f"{name}_steps"
    params = {**loop.params, "body": replace(body, outputs=tuple(outputs))}
    return replace(loop, outs=tuple(outs), params=params), views, stacks, names


def _reading(
    loop: Equation, earlier: Equation, taken: dict[Variable, Variable], stacks: list[Atom]
) -> Equation:
    """The loop with what its body need not compute handed in, out of the stacks."""
    body, first = loop.body, earlier.body
    assert body is not None
    assert first is not None
    makers, form = first.makers(), loop.params["form"]
    inputs: dict[Variable, Variable] = {}
    names = dict(body.names)
    for value, there in taken.items():
        own = inputs[value] = Variable(value.shape, value.dtype, first.name_of(there))
        if not own.name:
            names[own] = makers[there].primitive.name
    carry, xs, constants = form.split(loop.args)
    own_carry, own_xs, own_constants = form.split(body.inputs)
    after = body.substitute(inputs, body.equations)
    after = replace(
        after,
        inputs=(*own_carry, *own_xs, *inputs.values(), *own_constants),
        names={**names, **after.names},
    )
    kept = (e for e in after.equations if inputs.keys().isdisjoint(e.outs))
    return replace(
        loop,
        args=(*carry, *xs, *stacks, *constants),
        params={
            "form": form._replace(n_xs=form.n_xs + len(inputs)),
            "body": remove_dead_code(after.replace_equations(kept)),
        },
    )


def drop_unused_parts(graph: Graph) -> Graph:
    """Hand nothing to a loop that its body does not read, and keep no steps that nobody reads."""
    counts = graph.use_counts()
    return graph.replace_equations(
        e if e.body is None else _without_unused(e, e.body, counts) for e in graph.equations
    )


def _without_unused(loop: Equation, body: Graph, counts: Counter[Variable]) -> Equation:
    form, read = loop.params["form"], body.use_counts()
    xs_at, constants_at = form.n_carry, form.n_carry + form.n_xs
    used = [
        i
        for i, variable in enumerate(body.inputs)
        if i < xs_at
        or read[variable]
        or (i == xs_at and not any(read[x] for x in body.inputs[xs_at:constants_at]))
    ]
    kept = [i for i, out in enumerate(loop.outs) if i < form.n_carry or counts[out]]
    n_xs = sum(xs_at <= i < constants_at for i in used)
    outputs = tuple(body.outputs[i] for i in kept)
    new_body = replace(body, inputs=tuple(body.inputs[i] for i in used), outputs=outputs)
    return replace(
        loop,
        outs=tuple(loop.outs[i] for i in kept),
        args=tuple(loop.args[i] for i in used),
        params={"form": form._replace(n_xs=n_xs), "body": remove_dead_code(new_body)},
    )


def _same_values(graph: Graph, earlier: Equation, later: Equation) -> dict[Variable, Variable]:
    """For values of the later loop's body, those of the earlier one's that are equal at each
    step.
    """
    first, second = earlier.body, later.body
    assert first is not None
    assert second is not None
    form, later_form = earlier.params["form"], later.params["form"]
    makers = graph.makers()
    before = slice(1, None, None) if form.reverse else slice(None, -1, None)
    known: dict[Any, Variable] = {}  # what is handed to the earlier body, by what it is outside
    for kind, atoms, inputs in zip(
        ("carry", "x", "constant"), form.split(earlier.args), form.split(first.inputs), strict=True
    ):
        for position, (atom, variable) in enumerate(zip(atoms, inputs, strict=True)):
            known[(kind, position if kind == "carry" else atom)] = variable
    same: dict[Variable, Variable] = {}
    _, xs, constants = later_form.split(later.args)
    _, x_inputs, constant_inputs = later_form.split(second.inputs)
    for atom, variable in zip(constants, constant_inputs, strict=True):
        if ("constant", atom) in known:
            same[variable] = known["constant", atom]
    for atom, variable in zip(xs, x_inputs, strict=True):
        if ("x", atom) in known:
            same[variable] = known["x", atom]
            continue
        maker = makers.get(atom)
        if maker is not None and maker.name == "index" and maker.args[0] in earlier.outs:
            number = earlier.outs.index(maker.args[0])
            if number < form.n_carry and frozen(maker.params["key"]) == frozen((before,)):
                same[variable] = known["carry", number]
    computed = {_key(e, e.args): e for e in first.equations if not e.primitive.is_random}
    for equation in second.equations:
        args = tuple(same.get(a, a) if isinstance(a, Variable) else a for a in equation.args)
        twin = computed.get(_key(equation, args))
        if twin is not None:
            same.update(zip(equation.outs, twin.outs, strict=True))
    return same


def _key(equation: Equation, args: tuple[Atom, ...]) -> Any:
    values = tuple(a if isinstance(a, Variable) else frozen(a) for a in args)
    return equation.primitive, values, frozen(equation.params)


def _needed(body: Graph, same: dict[Variable, Variable]) -> list[Variable]:
    """The values the body could read instead of computing them: those that anything else in it
    reads. A view is read from its source.
    """
    makers = body.makers()
    pending = [a for a in body.ends if isinstance(a, Variable)]
    pending += [v for e in body.equations if e.out not in same for v in e.variables]
    needed: dict[Variable, None] = {}
    seen: set[Variable] = set()
    while pending:
        value = pending.pop()
        if value in seen or value not in makers:
            continue
        seen.add(value)
        if value in same and makers[value].primitive.is_view:
            pending += makers[value].variables
        elif value in same:
            needed[value] = None
    return [v for e in body.equations for v in e.outs if v in needed]


def _n_steps(loop: Equation) -> int:
    _, xs, _ = loop.params["form"].split(list(loop.variables))
    length: int = xs[0].shape[0]
    return length


def sum_at_once(graph: Graph) -> Graph:
    """Take sums over all steps out of loops: of products a.T @ b, and of sums over the batch.

    Their terms are kept for all steps; the sum of T products of (N, n) and (N, m) is one product
    of (T * N, n) and (T * N, m).
    """
    zeros = {v for v, array in graph.constants.items() if not array.any()}
    equations: list[Equation] = []
    new: dict[Variable, Atom] = {}
    for equation in graph.equations:
        if equation.body is None:
            equations.append(equation)
            continue
        own, after, replaced = _without_sums(equation, equation.body, zeros)
        equations += [own, *after]
        new |= replaced
    return graph.substitute(new, equations)


def _without_sums(
    loop: Equation, body: Graph, zeros: set[Variable]
) -> tuple[Equation, list[Equation], dict[Variable, Atom]]:
    """The loop without the carries that only add something up, what computes their sums after it,
    and what stands for their last values.
    """
    form = loop.params["form"]
    makers, counts = body.makers(), body.use_counts()
    carry, xs, _ = form.split(body.inputs)
    # what is there for all steps
    stacks: dict[Atom, Atom] = dict(zip(xs, form.split(loop.args)[1], strict=True))
    stacks |= dict(zip(body.outputs[form.n_carry :], loop.outs[form.n_carry :], strict=True))
    outputs, outs = list(body.outputs), list(loop.outs)
    after: list[Equation] = []
    replaced: dict[Variable, Atom] = {}
    gone: list[int] = []

    def stack_of(value: Atom) -> Variable | None:
        """The values of all steps, kept now where they were not."""
        known = stacks.get(value)
        if isinstance(known, Variable) or value not in makers:
            return known if isinstance(known, Variable) else None
        assert isinstance(value, Variable)
        stack = stacks[value] = Variable((_n_steps(loop), *value.shape), value.dtype)
        outputs.append(value)
        outs.append(stack)
        return stack

    for i, (old, total) in enumerate(zip(carry, body.outputs, strict=False)):
        maker = makers.get(total) if isinstance(total, Variable) else None
        is_sum = maker is not None and maker.name == "add" and maker.args[0] is old
        if form.keeps[i] or not is_sum or maker is None:
            continue
        if counts[old] != 1 or counts[maker.out] != 1:
            continue
        term = makers.get(maker.args[1]) if isinstance(maker.args[1], Variable) else None
        sums = None if term is None else _sum_of_terms(term, makers, stack_of, loop)
        if sums is None or counts[term.out] != 1:  # type: ignore[union-attr]
            continue
        after += sums
        replaced[loop.outs[i]] = sums[-1].out
        if loop.args[i] not in zeros:
            start = Variable(old.shape, old.dtype)
            terms = (loop.args[i], sums[-1].out)
            after.append(Equation((start,), PRIMITIVES["add"], terms, {}, loop.layer, loop.section))
            replaced[loop.outs[i]] = start
        gone.append(i)
    if not gone:
        return loop, [], {}
    kept = [i for i in range(form.n_carry) if i not in gone]
    rest = range(form.n_carry, len(outputs))
    new_form = form._replace(n_carry=len(kept), keeps=tuple(form.keeps[i] for i in kept))
    inputs = (*(body.inputs[i] for i in kept), *body.inputs[form.n_carry :])
    new_body = replace(body, inputs=inputs, outputs=tuple(outputs[i] for i in (*kept, *rest)))
    own = replace(
        loop,
        outs=tuple(outs[i] for i in (*kept, *rest)),
        args=(*(loop.args[i] for i in kept), *loop.args[form.n_carry :]),
        params={"form": new_form, "body": remove_dead_code(new_body)},
    )
    return own, after, replaced


def _sum_of_terms(term: Equation, makers: Any, stack_of: Any, loop: Equation) -> Any:
    """Equations for the sum over all steps of a term: a.T @ b, or b summed over its first axis."""

    def made(name: str, args: tuple[Atom, ...], **params: Any) -> Equation:
        primitive = PRIMITIVES[name]
        out = Variable(*infer(primitive, args, params))
        return Equation((out,), primitive, args, params, loop.layer, loop.section)

    def rows(stack: Variable) -> Equation:
        return made("reshape", (stack,), shape=(stack.shape[0] * stack.shape[1], *stack.shape[2:]))

    if term.name == "matmul" and len(term.out.shape) == 2:
        left, right = term.args
        turned = makers.get(left)
        if turned is None or turned.name != "transpose" or len(turned.out.shape) != 2:
            return None
        a, b = stack_of(turned.args[0]), stack_of(right)
        if a is None or b is None:
            return None
        a_rows, b_rows = rows(a), rows(b)
        a_columns = made("transpose", (a_rows.out,), axes=(1, 0))
        return [a_rows, b_rows, a_columns, made("matmul", (a_columns.out, b_rows.out))]
    if term.name == "sum" and term.params["axis"] in (0, (0,)) and not term.params["keepdims"]:
        b = stack_of(term.args[0])
        if b is None or len(b.shape) < 2:
            return None
        b_rows = rows(b)
        return [b_rows, made("sum", (b_rows.out,), **term.params)]
    return None
