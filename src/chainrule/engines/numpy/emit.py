"""From a plan to the statements of a file: what each group of equations is computed by.

Equations of one vjp rule, or of one fused primitive, become a call of a helper that stands above
the step; others become lines under one formula.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from chainrule.compiler.formula import (
    Formula,
    formula_of,
    meaning_of_derivatives,
    update_formulas,
)
from chainrule.compiler.graph import Atom, Equation, Graph, Variable
from chainrule.compiler.groups import Group
from chainrule.compiler.naming import Labels, Symbol, name_buffers
from chainrule.compiler.passes import uniform
from chainrule.compiler.plan import TILE, Plan
from chainrule.engines.numpy.code import (
    Builtin,
    Call,
    Code,
    Comment,
    Infix,
    Item,
    Literal,
    Loop,
    Method,
    NumPy,
    Statement,
)
from chainrule.engines.numpy.parts import File, Helper
from chainrule.engines.numpy.statements import Writer

__all__ = ["write_statements"]

_DEEP = 8  # views of views from which on one has a line of its own
_SMALL = 32_768
"""Where no array is larger, what a call of NumPy costs beside the computing is worth saving."""


def write_statements(
    plan: Plan,
    original: Graph,
    labels: Labels,
    symbols: dict[Variable, Symbol],
    titled: set[Variable],
    exact: bool,
    threads: Mapping[Variable, int],
) -> File:
    """The statements of a plan.

    The formulas in the comments are those of the `original` graph, before fused primitives were
    taken apart. An `exact` function returns arrays that belong to the caller. `threads` are how
    many a kernel should use, by its result, where that is more than one.
    """
    equations = plan.graph.all_equations()
    sizes = [e.out.size for e in equations if e.section != "update" and e.origin is None]
    buffers = name_buffers(plan, symbols, titled)
    file = File(plan, labels, symbols, buffers, terse=max(sizes, default=0) <= _SMALL)
    _Emitter(file, plan, original, titled, exact, threads).write(fresh_results=exact)
    return file


class _Emitter:
    """One writing of one file."""

    def __init__(
        self,
        file: File,
        plan: Plan,
        original: Graph,
        titled: set[Variable],
        exact: bool,
        threads: Mapping[Variable, int],
    ) -> None:
        self.file = file
        self.plan = plan
        self.graph = plan.graph
        self.original = original.makers()
        self.titled = titled
        self.exact, self.threads = exact, threads
        self.time = Symbol("t")
        self.body: list[Statement | Loop | None] = []
        self.given: dict[Atom, Code] = {}  # what a loop hands to its body
        self.loop_names: dict[str, Symbol] = {}  # of the loops here, not of those around them
        file.constants |= plan.graph.constants
        # in a formula, the new value of a state goes by the name of the state
        self.new = {
            new: old for old, new in plan.graph.updates.items() if isinstance(new, Variable)
        }
        file.shown_as |= {new: old for new, old in self.new.items() if new is not old}
        self.writer = Writer(file.borrowed, file.ready, exact, file.terse, file.imports, threads)
        self.own: set[Variable] = set()  # views that have a name of their own in the step
        self.depth: dict[Variable, int] = {}  # of a view: how many others it is a view of
        self.kept: dict[Atom, Symbol] = {}  # results copied before the state they stand in changes

    def write(self, fresh_results: bool) -> None:
        file, plan = self.file, self.plan
        for view in plan.views:
            if self._is_hoisted(view):
                file.hoisted[view] = self._view(view, self._operand)
        self._write_groups(with_headings=True)
        file.body = self.body
        file.results = [self._result(atom, fresh_results) for atom in self.graph.outputs]

    def _write_groups(self, with_headings: bool) -> None:
        """The lines of all groups, and of the updates of the state after them."""
        section = ""
        for group in self.plan.groups:
            self.body += self._deep_views(group)
            if all(e.out in self.plan.views or e.out in self.plan.placed for e in group.equations):
                continue
            if group.section != section and with_headings:
                section = group.section
                self.body += [None, self._heading(section)]
            if group.equations[0].body is not None:
                self._loop(group.equations[0])
            elif group.origin is None or self._hands_out_new_arrays(group):
                self.body += self._lines(group)
            else:
                self._helper_call(group)
        self._write_updates()

    def _hands_out_new_arrays(self, group: Group) -> bool:
        """Whether an update makes new states that NumPy allocates: a helper would lose them."""
        made = (out for e in group.equations for out in e.outs)
        return group.updates_state and any(
            self.plan.is_allocated_anew(out) and out in self.new for out in made
        )

    def _heading(self, section: str) -> Statement:
        words = section
        if section == "backward":
            words += ": d_v is the derivative of the loss by v"
            factors = tuple(meaning_of_derivatives(self.graph))
            return Statement(None, None, Comment(words=words, factors=factors))
        return Statement(None, None, Comment(words=words))

    # Names and operands

    def _is_hoisted(self, view: Variable) -> bool:
        """Whether this is a part of the state with a name, which is cut out once and for all."""
        source = view
        while source in self.plan.views:
            (source,) = self.plan.views[source].variables
        return source in self.graph.state and bool(self.graph.name_of(view))

    def _view(self, variable: Variable, operand: Callable[[Atom], Code]) -> Code:
        return self.writer.expression(self.plan.views[variable], operand)

    def _operand(self, atom: Atom) -> Code:
        """How the step refers to a value: a number, a name, or a view written out."""
        if not isinstance(atom, Variable):
            return Literal(atom)
        if atom in self.given:
            return self.given[atom]
        plan = self.plan
        if atom in plan.views and atom not in self.file.hoisted and atom not in self.own:
            return self._view(atom, self._operand)
        if atom in self.graph.constants:
            self.file.read.add(atom)
        if plan.stands(atom):
            return self.file.buffer_symbols[plan.buffers[atom]]
        return self.file.symbols[atom]

    def _result(self, atom: Atom, fresh_results: bool) -> Code:
        """How the function returns a value: a view of our memory as an array of its own."""
        if atom in self.kept:
            return self.kept[atom]
        code = self._operand(atom)
        buffer = self.plan.buffers.get(atom) if isinstance(atom, Variable) else None
        is_ours = buffer is not None and buffer.kind != "input"
        return Method(code, "copy") if fresh_results and is_ours else code

    # The body of the step

    def _deep_views(self, group: Group) -> list[Statement]:
        """Lines for views of views of views, which would be hard to read, or to write, as one."""
        lines: list[Statement] = []
        made = {out for e in group.equations for out in e.outs if out not in self.plan.views}
        for view in (out for e in group.equations for out in e.outs if out in self.plan.views):
            (source,) = self.plan.views[view].variables
            self.depth[view] = self.depth.get(source, 0) + 1
            while source in self.plan.views:
                (source,) = self.plan.views[source].variables
            is_there = source not in made or self.plan.stands(source)
            if self.depth[view] >= _DEEP and is_there and view not in self.file.hoisted:
                lines.append(Statement(self._view(view, self._operand), self.file.symbols[view]))
                self.own.add(view)
                self.depth[view] = 0
        return lines

    def _lines(self, group: Group) -> list[Statement | Loop | None]:
        """A chain of equations on lines of their own, under the formula of the last."""
        plan, out = self.plan, group.out
        if out.is_number:  # the formula is the code
            return [Statement(self._number(out, group), self.file.symbols[out])]
        lines: list[Statement] = []
        for equation in group.equations:
            result = equation.out
            if result in plan.views or result in plan.placed:
                continue
            if plan.is_allocated_anew(result):
                lines += self.writer.assign(equation, self.file.symbols[result], self._operand)
            else:
                memory = self.file.buffer_symbols[plan.buffers[result]]
                lines += self.writer.write_into(equation, memory, self._operand)
        lines[0] = replace(lines[0], comment=self._comment(group))
        return [*lines]

    def _number(self, out: Variable, group: Group) -> Code:
        """The arithmetic of a number, with those that lead up to it alone written out."""
        own = {e.out: e for e in group.equations}

        def operand(atom: Atom) -> Code:
            equation = own.get(atom) if isinstance(atom, Variable) else None
            if equation is None:
                return self._operand(atom)
            return Infix(equation.name, tuple(map(operand, equation.args)))

        return operand(out)

    def _comment(self, group: Group) -> Comment:
        out, equation = group.out, group.equations[-1]
        layer = equation.layer if equation.section == "forward" else ""
        short = None
        if group.origin is not None:
            given = (a for _, a in group.origin.arguments if isinstance(a, Variable))
            read = {v for e in group.equations for v in e.variables}
            short = (group.origin.name, tuple(a for a in given if a in read))
        return Comment(out, self._formula(group), short, layer)

    def _formula(self, group: Group) -> Formula:
        """What a group computes, in the values that have lines of their own: its equations as they
        were before fused primitives were taken apart, and the views it reads.
        """
        own = {e.out for e in group.equations}

        def is_written_out(variable: Variable) -> bool:
            is_view = variable in self.plan.views and variable not in self.file.hoisted
            return variable in own or (is_view and variable not in self.own)

        last = self.original.get(group.out, group.equations[-1])
        return formula_of(last, self.original, is_written_out)

    def _write_updates(self) -> None:
        """Copy into the state what could not be computed in its place, all of it at once."""
        symbols, body = self.file.symbols, self.body
        for atom in self.plan.kept:
            self.kept[atom] = Symbol("old_", of=symbols[atom])
            copy = Method(self._operand(atom), "copy")
            words = Comment(words="returned as it was before the update")
            body.append(Statement(copy, self.kept[atom], words))
        copies: list[Statement] = []
        for old, new in self.plan.copies.items():
            source = self._operand(new)
            buffer = self.plan.buffers.get(new)
            if buffer is not None and buffer.kind == "state":
                staged = Symbol("new_", of=symbols[old])
                body.append(Statement(Method(source, "copy"), staged))
                source = staged
            copies.append(Statement(Call(NumPy("copyto"), (symbols[old], source))))
        body += copies

    # Loops over time

    def _loop(self, equation: Equation) -> None:
        """A loop: its results begin with the first carries, and each step writes its part of them.

        What a step reads and gives has names in it, views of the arrays outside.
        """
        file, form = self.file, equation.params["form"]
        body, original = self.plan.bodies[equation.out], self.original[equation.out].body
        assert original is not None
        assert equation.body is not None
        file.buffer_symbols |= name_buffers(body, file.symbols, self.titled)
        step = _Emitter(file, body, original, self.titled, self.exact, self.threads)
        t = self.time
        named: set[str] = set()  # what is assigned at the top of each step, by name
        carry, xs, constants = form.split(
            list(zip(equation.variables, equation.body.inputs, strict=True))
        )
        outside = dict.fromkeys(outer for outer, _ in (*xs, *constants))
        copies = {v: Symbol("in_order", 1) for v in outside if v in self.plan.straightened}
        for outer, copied in copies.items():
            code = Call(NumPy("ascontiguousarray"), (self._operand(outer),))
            self.body.append(Statement(code, copied))
        step.given |= {inner: copies.get(outer, self._operand(outer)) for outer, inner in constants}
        file.shown_as |= {inner: outer for outer, inner in constants}
        after: Code = Infix("add", (t, Literal(1)))
        read, written = (after, t) if form.reverse else (t, after)
        for (outer, inner), out, keeps in zip(carry, equation.outs, form.keeps, strict=False):
            memory = self._operand(out)
            if keeps:
                edge = Literal(-1 if form.reverse else 0)
                self.body.append(Statement(self._start(outer), Item(memory, (edge,))))
                step.body.append(Statement(Item(memory, (read,)), file.symbols[inner]))
                self._share_name(body.graph, inner, file.symbols[inner], named)
            else:
                assert isinstance(memory, Symbol)
                self.body.append(Statement(Call(NumPy("copyto"), (memory, self._start(outer)))))
                file.symbols[inner] = step.given[inner] = memory
                file.buffer_symbols[body.buffers[inner]] = memory
        for outer, inner in xs:
            part = Item(copies[outer], (t,)) if outer in copies else self._at_step(outer, t)
            step.body.append(Statement(part, file.symbols[inner]))
            self._share_name(body.graph, inner, file.symbols[inner], named)
        outs: list[tuple[Variable, Code]] = [(out, t) for out in equation.outs[form.n_carry :]]
        kept = zip(equation.outs, form.keeps, strict=False)
        outs = [*((out, written) for out, keeps in kept if keeps), *outs]
        left: list[tuple[Atom, Item]] = []  # results that are copied to their places
        for (out, place), atom in zip(outs, body.graph.outputs, strict=True):
            item = Item(self._operand(out), (place,))
            buffer = body.buffers.get(atom) if isinstance(atom, Variable) else None
            is_work = buffer is not None and buffer.kind == "work" and buffer not in file.bound
            if buffer is not None and is_work and buffer.parent is None and atom not in body.views:
                file.bound.add(buffer)
                step.body.append(Statement(item, file.buffer_symbols[buffer]))
                self._share_name(body.graph, atom, file.buffer_symbols[buffer], named)
            else:
                left.append((atom, item))
        step._write_groups(with_headings=False)
        step.body += [Statement(step._result(atom, False), item) for atom, item in left]
        n_steps = next(v.shape[0] for v in list(equation.variables)[form.n_carry :])
        lines = tuple(line for line in step.body if line is not None)
        comment = Comment(words=f"{equation.layer}: {n_steps} steps" if equation.layer else "")
        self.body.append(Loop(t, (Literal(n_steps),), lines, comment, form.reverse))

    def _share_name(self, body: Graph, atom: Atom, symbol: Symbol, named: set[str]) -> None:
        """Let what is assigned at the top of each step go by the name that it had in an earlier
        loop: the state h is h on the way back too.
        """
        name = body.name_of(atom) if isinstance(atom, Variable) else ""
        if name and name not in named:
            named.add(name)
            self.file.same_names.append((symbol, self.loop_names.setdefault(name, symbol)))

    def _at_step(self, stack: Variable, t: Symbol) -> Item:
        """The part of a step; of a trajectory without its last or first value, counted from it."""
        view = self.plan.views.get(stack)
        if view is not None and view.name == "index":
            source = self._operand(view.args[0])
            if view.params["key"] == (slice(None, -1, None),):
                return Item(source, (t,))
            if view.params["key"] == (slice(1, None, None),):
                return Item(source, (Infix("add", (t, Literal(1))),))
        return Item(self._operand(stack), (t,))

    def _start(self, atom: Atom) -> Code:
        """What a carry is before the first step: a number, where it is the same everywhere."""
        array = self.file.constants.get(atom) if isinstance(atom, Variable) else None
        if array is not None and (number := uniform(array)) is not None:
            return Literal(number[0].item())
        return self._operand(atom)

    # Helpers

    def _helper_call(self, group: Group) -> None:
        """One call of a helper for the equations of a group."""
        plan = self.plan
        helper = self._open_helper(group)

        def operand(atom: Atom) -> Code:
            if not isinstance(atom, Variable):
                return Literal(atom)
            if atom in helper.names:
                return helper.names[atom]
            if atom in plan.views:
                return self._view(atom, operand)
            return helper.buffers[plan.buffers[atom]]

        for equation in group.equations:
            out = equation.out
            if out in plan.views:
                continue
            if out.is_number or plan.is_allocated_anew(out):
                helper.names[out] = Symbol(equation.primitive.name, 1)
                helper.lines += self.writer.assign(equation, helper.names[out], operand)
            else:
                memory = self._local_memory(helper, out, group)
                helper.lines += self.writer.write_into(equation, memory, operand)
        if not plan.stands(group.out) and not group.updates_state:
            helper.result = operand(group.out)
            self.own.add(group.out)
        self._describe(helper, group)
        self.file.helpers.append(helper)
        self._call(group, helper)

    def _open_helper(self, group: Group) -> Helper:
        """A helper with a parameter for everything the group reads from outside."""
        assert group.origin is not None
        helper = Helper(Symbol(group.origin.name))
        made = {e.out for e in group.equations}
        own_names = {a: n for n, a in group.origin.arguments if isinstance(a, Variable)}
        read = dict.fromkeys(v for e in group.equations for v in e.variables if v not in made)
        order = {variable: i for i, variable in enumerate(own_names)}
        for variable in sorted(read, key=lambda v: order.get(v, len(order))):
            wish = own_names.get(variable) or self.graph.name_of(variable)
            symbol = Symbol(wish) if wish else replace(self.file.symbols[variable])
            if wish == "out":
                symbol = Symbol("value")
            helper.names[variable] = symbol
            helper.passed[symbol] = self._operand(variable)
            if self.plan.stands(variable):
                helper.buffers.setdefault(self.plan.buffers[variable], symbol)
        return helper

    def _local_memory(self, helper: Helper, variable: Variable, group: Group) -> Symbol:
        """The name, inside the helper, of the memory a result is written to."""
        buffer = self.plan.buffers[variable]
        memory = self.file.buffer_symbols[buffer]
        if buffer is self.plan.buffers.get(group.out) and not group.updates_state:
            if helper.out is None:
                helper.out = Symbol("out")
                helper.passed[helper.out] = memory
            helper.buffers[buffer] = helper.out
        elif buffer not in helper.buffers:
            helper.buffers[buffer] = Symbol("scratch")
            helper.passed[helper.buffers[buffer]] = memory
        return helper.buffers[buffer]

    def _describe(self, helper: Helper, group: Group) -> None:
        """What a helper says of itself: the primitive's own words, or the formula of the rule."""
        origin = group.origin
        assert origin is not None
        if group.updates_state:
            helper.doc = self.file.labels.docs.get(origin.name) or f"The update of {origin.name}."
            helper.formulas = list(update_formulas(group.equations, self.graph.updates))
            return
        whole = self.original.get(group.out)
        if whole is not None and whole.primitive.is_fused and whole.primitive.name == origin.name:
            words = whole.primitive.evaluate.__doc__ or f"{origin.name}, a function of the user's."
            helper.doc = words.strip().split("\n")[0]
            return
        formula = self._formula(group)
        passed = {v for v, symbol in helper.names.items() if symbol in helper.passed}
        inner = {v: e for v, e in formula.inner.items() if v not in passed}
        helper.formulas = [(None, Formula(group.out, inner))]
        helper.fallback = f"The vjp rule of {origin.name.split('_vjp')[0]}."

    def _call(self, group: Group, helper: Helper) -> None:
        if helper.out is not None:  # the last, whatever was met first
            helper.passed[helper.out] = helper.passed.pop(helper.out)
        assert group.origin is not None
        length = self.plan.tiles.get(group.origin)
        if length is not None:
            self._tiled_call(helper, length)
            return
        passed = dict(helper.passed)
        out = passed.pop(helper.out) if helper.out is not None else None
        call = Call(helper.function, tuple(passed.values()), (), out)
        target = self.file.symbols[group.out] if helper.result is not None else None
        comment = self._comment(group)
        if group.updates_state:  # the helper has the formulas
            changes = tuple(self.new[e.out] for e in group.equations if e.out in self.new)
            comment = Comment(group.out, changes=changes)
        self.body.append(Statement(call, target, comment))

    # Long vectors, a tile at a time

    def _tiled_call(self, helper: Helper, length: int) -> None:
        """Call a helper on one part of its long vectors after the other."""
        start, tile, part = Symbol("start"), Symbol("tile"), Symbol("part")
        memory = {symbol: buffer for buffer, symbol in helper.buffers.items()}
        args: list[Code] = []
        has_scratch = False
        for parameter, passed in helper.passed.items():
            buffer = memory.get(parameter)
            if buffer is None or not buffer.shape:
                args.append(passed)
            elif buffer.kind == "scratch":
                self.file.tiled.add(buffer)
                has_scratch = True
                args.append(Item(passed, (part,)))
            else:
                args.append(Item(passed, (tile,)))
        bounds = (Literal(0), Literal(length), Literal(TILE))
        end = Infix("add", (start, Literal(TILE)))
        body: list[Statement | Loop] = [Statement(_slice(start, end), tile)]
        if has_scratch:
            body.append(Statement(_slice(Infix("subtract", (Literal(length), start))), part))
        body.append(Statement(Call(helper.function, tuple(args))))
        words = Comment(words="in tiles that fit the cache")
        self.body.append(Loop(start, bounds, tuple(body), words))


def _slice(*bounds: Code) -> Code:
    return Call(Builtin("slice"), bounds)
