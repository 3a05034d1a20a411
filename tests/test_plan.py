"""Plans: on an engine of a few lines every program computes what it should, and faults are seen.

`plan_engine` runs plans without NumPy's printer, and poisons memory that nobody reads any more.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import plan_engine
import pytest
import test_compile
import test_compiled_step
import test_every_layer
from layer_checks import check_compiled
from plan_engine import ABILITIES, LIKE_NUMPY, Can, last_readings
from programs import check, make, report

from chainrule import nn, optim
from chainrule.compiler import plan as plans
from chainrule.compiler.check import check_graph
from chainrule.compiler.graph import Variable
from chainrule.compiler.groups import group_equations
from chainrule.compiler.layouts import Layouts
from chainrule.compiler.lower import expand_fused
from chainrule.compiler.naming import Labels, wish_names
from chainrule.compiler.passes import EXACT, run_passes
from chainrule.compiler.plan import Buffer, PlanError, check_plan, make_plan
from chainrule.compiler.trace import trace
from chainrule.engines.engine import Program
from chainrule.engines.numpy import program as numpy_program
from chainrule.primitives import PRIMITIVES, sigmoid, softplus, stop_gradient
from chainrule.primitives.dispatch import named
from chainrule.scope import RuleCall, scope

F64 = np.dtype(np.float64)
N_PROGRAMS, N_SLOW = 300, 2_000
LOSSES = list(nn.losses.LOSSES.values())

every_ability = pytest.mark.parametrize("can", ABILITIES.values(), ids=ABILITIES)


def use(monkeypatch, build):
    """Let `cr.compile` and compiled steps build their programs so."""

    monkeypatch.setattr(numpy_program, "build", build)


@pytest.fixture
def engine(can, monkeypatch):
    use(monkeypatch, partial(plan_engine.build, abilities=can, check=partial(check_lifetimes, can)))


# Everything that NumPy's engine is tested with


@every_ability
@pytest.mark.usefixtures("engine")
def test_every_primitive_and_its_rules():
    for name in sorted(test_compile.CASES):
        test_compile.test_every_primitive_and_its_rules_compile(name)


@every_ability
@pytest.mark.usefixtures("engine")
def test_every_layer_trains():
    for case in test_every_layer.CASES.values():
        layers = [case.make()]
        if not layers[0].takes_integers:
            layers.insert(0, nn.Dense(case.input_shape[-1]))
        check_compiled(layers, case.input_shape, n_samples=2)


@pytest.mark.usefixtures("engine")
@every_ability
@pytest.mark.parametrize("number", range(len(LOSSES)))
def test_every_loss_and_its_steps(number, can):
    """Every activation and every optimizer meets every loss, each with one of the abilities."""
    step, loss = test_compiled_step, LOSSES[number]
    first = (number + list(ABILITIES.values()).index(can)) % len(ABILITIES)
    for activation in step.ACTIVATIONS[first :: len(ABILITIES)]:
        step.assert_equal(*step.train_both_ways(activation, loss, optim.SGD(0.1)), "float64")
    for optimizer in (*step.OPTIMIZERS, step.HeavyBall(0.1))[first :: len(ABILITIES)]:
        both = step.train_both_ways(nn.Tanh, loss, optimizer, penalty=(nn.L2(0.1),))
        step.assert_equal(*both, "float64")
    for n, weighted in ((1, False), (2, True)):
        both = step.train_both_ways(nn.GELU, loss, optim.Adam(), "float32", n, weighted)
        step.assert_equal(*both, "float32")


@pytest.mark.usefixtures("engine")
@every_ability
def test_long_vectors_are_updated_in_tiles(monkeypatch):
    seen = []
    tiled = plan_engine.PlanProgram._run_tiled
    monkeypatch.setattr(plans, "TILE", 16)
    monkeypatch.setattr(
        plan_engine.PlanProgram, "_run_tiled", lambda *args: [seen.append(args), tiled(*args)]
    )
    step = test_compiled_step
    for optimizer in (*step.OPTIMIZERS, step.HeavyBall(0.1)):
        both = step.train_both_ways(nn.Tanh, nn.losses.squared_error, optimizer)
        step.assert_equal(*both, "float64")
    assert len(seen) > 10


def failures(numbers):
    """The random programs that fail on this engine and not on NumPy's.

    Where both differ from eager, the fault is one of tracing or of the eager functions (an index
    that is a tensor, np.pad of a 0-d array), and says nothing of plans.
    """
    found = [(program, check(program)) for program in map(make, numbers)]
    failed = [program for program, failure in found if failure is not None]
    build, numpy_program.build = numpy_program.build, NUMPY_BUILD
    try:
        return [p for p in failed if check(p) is None]
    finally:
        numpy_program.build = build


NUMPY_BUILD = numpy_program.build


def assert_run(numbers):
    failed = failures(numbers)
    if failed:
        pytest.fail(report([(p, check(p)) for p in failed]), pytrace=False)


@every_ability
@pytest.mark.usefixtures("engine")
def test_random_programs():
    assert_run(range(N_PROGRAMS))


@pytest.mark.slow
@every_ability
@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("chunk", range(4))
def test_many_more_random_programs(chunk):
    assert_run(range(1_000_000 + chunk * N_SLOW // 4, 1_000_000 + (chunk + 1) * N_SLOW // 4))


# Steps with a state


NINE = np.linspace(0.5, 1.5, 9).reshape(3, 3)
ONE = (
    np.sin, np.tanh, sigmoid, softplus, np.transpose, stop_gradient,
    lambda a: a[::-1],
    lambda a: a.reshape(9).reshape(3, 3),
    lambda a: a.T.reshape(3, 3),
    lambda a: 2.0 * a + 1.0,
    lambda a: np.where(a > 0, a, 0.5),
    lambda a: a - np.sum(a, axis=0),
    lambda a: a * NINE,
    lambda a: np.cumsum(a, axis=1),
    lambda a: np.where((a > 0) == (a < 0.5), a, -a),
    lambda a: (np.sum(a).reshape(1) + a[0]) * a,
)  # fmt: skip
TWO = (
    np.add, np.multiply, np.matmul, np.subtract,
    lambda a, b: np.where(a > 0, a, b),
    lambda a, b: np.where(b > 0, a, b.T),
    lambda a, b: np.tanh(np.concatenate([a.reshape(9), b.reshape(9)]))[:9].reshape(3, 3) + b,
    lambda a, b: np.concatenate([a.reshape(9), np.sin(b).reshape(9)])[9:].reshape(3, 3),
    lambda a, b: np.concatenate([a, b], axis=0)[1:4],
    lambda a, b: a.astype(np.float32).astype(np.float64) * b[0],
)  # fmt: skip


def random_step(number):
    """A function of two states and an input, which does and returns something at random."""

    def step(state, x):
        choose = random.Random(number)
        values = [*state, x]

        def grow(n):
            for _ in range(n):
                recent = values[-choose.choice((1, 2, 3, len(values))) :]
                if choose.random() < 0.5:
                    value = choose.choice(ONE)(choose.choice(recent))
                else:
                    value = choose.choice(TWO)(choose.choice(recent), choose.choice(values))
                is_named = choose.random() < 0.2
                values.append(named(choose.choice("abz"), value) if is_named else value)

        grow(choose.choice((3, 6, 10)))
        with scope(section=choose.choice(("forward", "backward"))):
            grow(choose.choice((0, 2, 5)))
        with scope(section="update", rule=RuleCall("own", ())):
            grow(choose.choice((1, 2, 4)))
        outputs = tuple(choose.choices(values, k=choose.choice((1, 2, 3))))
        return outputs, tuple(choose.choices([*state, *values], k=2))

    return step


def assert_steps(number, can, exact):
    step, rng = random_step(number), np.random.default_rng(number)
    graph = graph_of(step, (3, 3), state=[(3, 3), (3, 3)])
    program = plan_engine.build(
        graph, exact=exact, abilities=can, check=partial(check_lifetimes, can)
    )
    state = tuple(rng.normal(size=(2, 3, 3)))
    program.write_state([array.copy() for array in state])
    for _ in range(3):
        x = rng.normal(size=(3, 3))
        expected, state = step(state, x.copy())
        state = tuple(np.array(array, order="C") for array in state)
        found = program(x)
        for ours, wanted in zip((*found, *program.read_state()), (*expected, *state), strict=True):
            if exact:
                np.testing.assert_array_equal(ours, wanted)
            else:
                np.testing.assert_allclose(ours, wanted, rtol=1e-9, atol=1e-9)


@every_ability
@pytest.mark.parametrize("exact", [True, False])
def test_random_steps(can, exact):
    with np.errstate(all="ignore"):
        for number in range(N_PROGRAMS):
            assert_steps(number, can, exact)


def update_of(function, *shapes, dtype=F64):
    """The graph of a function of states that is the update of a training step."""

    def step(state, *inputs):
        with scope(section="update", rule=RuleCall("own", ())):
            new = function(*state, *inputs)
        return (), (new,)

    return graph_of(step, *shapes[1:], state=shapes[:1])


def test_only_elementwise_updates_of_vectors_of_one_length_are_tiled(monkeypatch):
    monkeypatch.setattr(plans, "TILE", 16)

    def tiles(graph):
        return list(make_plan(graph, set(), LIKE_NUMPY).tiles.values())

    assert tiles(update_of(lambda w, g: w - 0.1 * np.sign(g), (20,), (20,))) == [20]
    assert tiles(update_of(lambda w, g: w - 0.1 * np.sign(g), (16,), (16,))) == []
    assert tiles(update_of(lambda w, g: w - 0.1 * np.sign(g), (20,), (1,))) == []
    assert tiles(update_of(lambda w, g: w - 0.1 * np.sign(g), (20, 3), (20, 3))) == []
    assert tiles(update_of(lambda w, g: w - g / np.sum(g * g), (20,), (20,))) == []
    forward = expand_fused(graph_of(lambda x: softplus(np.sin(x)) + 1, (20,)))
    assert any(group.origin for group in group_equations(forward, set()))
    assert tiles(forward) == []


DRAW = PRIMITIVES["random_uniform"]


@pytest.mark.parametrize(
    ("first", "between", "results", "section", "is_group"),
    [
        (np.sin, lambda x, a, rng: np.exp(x), "c", "backward", True),
        (np.sin, lambda x, a, rng: np.exp(a), "c", "backward", False),
        (np.sin, lambda x, a, rng: np.exp(x), "ca", "backward", False),
        (np.sin, lambda x, a, rng: np.exp(x), "c", "update", False),  # c is no new state
        (None, lambda x, a, rng: DRAW(rng, shape=(3,), dtype=F64), "c", "backward", False),
    ],
)
def test_a_rule_is_a_group_where_only_its_result_is_read(
    first, between, results, section, is_group
):
    def function(x, rng):
        rule = RuleCall("own", ())
        with scope(section=section, rule=rule):
            a = DRAW(rng, shape=(3,), dtype=F64) if first is None else first(x)
        b = between(x, a, rng)
        with scope(section=section, rule=rule):
            c = np.cos(a) * b
        return tuple({"a": a, "c": c}[name] for name in results)

    graph, _ = trace(function, [Variable((3,), F64, "x"), Variable.generator("rng")])
    groups = group_equations(graph, set())
    assert [g.origin.name for g in groups if g.origin] == (["own"] if is_group else [])
    check_lifetimes(LIKE_NUMPY, make_plan(graph, set(), LIKE_NUMPY))


# What holds for every plan


def place(plan, variable):
    """Whole buffer, first element and last of the memory of a value."""
    buffer = plan.buffers[variable]
    return buffer.parent or buffer, buffer.start, buffer.start + buffer.size


def overlap(plan, one, other):
    (whole, start, stop), (other_whole, other_start, other_stop) = (
        place(plan, one),
        place(plan, other),
    )
    return whole is other_whole and start < other_stop and other_start < stop


def source_of(plan, variable):
    while variable in plan.views:
        (variable,) = plan.views[variable].variables
    return variable


def check_lifetimes(can, plan):
    """What holds for every plan, found without the planner's own bookkeeping."""
    graph, last = plan.graph, last_readings(plan)
    order = [equation for group in plan.groups for equation in group.equations]
    assert sorted(map(id, order)) == sorted(map(id, graph.equations))
    defined = {*graph.inputs, *graph.state, *graph.constants}
    standing = [v for v in defined if v.is_array]
    for position, equation in enumerate(order):
        assert defined.issuperset(equation.variables)
        defined.update(equation.outs)
        out = equation.out
        if not plan.stands(out):
            continue
        if equation.body is not None:
            check_lifetimes(can, plan.bodies[out])
            continue
        buffer = plan.buffers[out]
        assert (buffer.shape, buffer.dtype) == (out.shape, out.dtype)
        assert buffer.kind in {"state", "work", "scratch"}
        assert can.writes_into(equation) or out in plan.placed
        if buffer.kind == "state":
            assert plan.holds[buffer][0] in graph.updates
        parts = [source_of(plan, v) for v in equation.variables] if out in plan.placed else []
        for other in standing:
            if not overlap(plan, out, other) or other in parts or last[other] < position:
                continue
            assert last[other] == position, f"{equation} overwrites {other}"
            places = [i for i, a in enumerate(equation.args) if a is other]
            assert buffer is plan.buffers[other]
            assert all(can.writes_over(equation, i) for i in places)
            assert all(source_of(plan, v) is not other or v is other for v in equation.variables)
        if out in plan.placed:
            sizes = np.cumsum([0, *(part.size for part in parts)])
            whole = [(buffer, start, stop) for start, stop in pairwise(sizes)]
            assert [place(plan, part) for part in parts] == whole
        standing.append(out)
    for group in plan.groups:
        inside = {out for e in group.equations for out in e.outs}
        for variable in filter(plan.stands, inside):
            if plan.buffers[variable].kind == "scratch":  # views of it may be read elsewhere
                readers = [e for e in order if variable in e.variables]
                assert all(e.out in inside for e in readers)
                assert variable not in graph.ends
    draws = [e for e in graph.equations if e.primitive.is_random]
    assert [e for e in order if e.primitive.is_random] == draws
    for old, new in graph.updates.items():
        in_place = plan.stands(new) and plan.buffers[new] is plan.buffers[old]
        assert (plan.copies.get(old) is new) != in_place


class Beside(Program):
    """Runs a graph equation by equation, as NumPy lays values out, beside what `Layouts` says."""

    def __init__(self, graph, layouts):
        self.graph = graph
        self.layouts = layouts

    def __call__(self, *inputs):
        values = dict(zip(self.graph.inputs, inputs)) | dict(self.graph.constants)
        for equation in self.graph.equations:
            args = [values[a] if isinstance(a, Variable) else a for a in equation.args]
            if equation.out.is_number:
                values[equation.out] = plan_engine.PYTHON_OPERATORS[equation.name](*args)
                continue
            values[equation.out] = made = equation.primitive.evaluate(*args, **equation.params)
            said = self.layouts.array(equation.out)
            assert steps(said) == steps(np.asarray(made)), f"{equation} lies otherwise"
            plain = self.layouts.is_plain(equation.out)
            assert plain == bool(np.asarray(made).flags.c_contiguous)
        return tuple(values[a] if isinstance(a, Variable) else a for a in self.graph.outputs)

    source = ""
    read_state = write_state = save_source = thread_limit = None


def steps(array):
    """The strides that matter: those of axes with several elements."""
    return [(n, step) for n, step in zip(array.shape, array.strides) if n > 1 and array.size]


def test_layouts_are_as_numpy_lays_arrays_out(monkeypatch):
    def build(graph, labels, *, strides):
        expanded = check_graph(expand_fused(run_passes(graph, EXACT)))
        return Beside(expanded, Layouts(expanded, strides, follow=True))

    use(monkeypatch, build)
    assert_run(range(2_000_000, 2_000_000 + N_PROGRAMS))


@pytest.mark.parametrize("follow", [True, False])
def test_layouts_follow_the_inputs_only_where_they_are_to(follow):
    x = Variable((4, 3), F64, "x")
    graph, outputs = trace(lambda x: (a := np.exp(x), x.T, a.T.reshape(12), x + np.ones(3)), [x])
    layouts = Layouts(graph, {x: (8, 32)}, follow=follow)
    exp, view, flat, total = (traced.variable for traced in outputs)
    assert layouts.is_plain(exp) == layouts.is_plain(total) == (not follow)
    assert layouts.is_plain(view)
    assert layouts.is_plain(flat)
    assert (flat in layouts.views) == follow  # a reshape of what lies in C order once it is turned
    assert view in layouts.views


def test_a_constant_lies_as_it_came():
    graph = graph_of(lambda x: x * NINE.T, (3,))
    layouts = Layouts(graph, {}, follow=True)
    assert not layouts.is_plain(graph.equations[0].out)
    assert not (np.ones(3) * NINE.T).flags.c_contiguous


def test_an_input_may_lie_backwards():
    x = Variable((4, 3), F64, "x")
    graph, _ = trace(np.exp, [x])
    for strides in ((-24, 8), (24, -8), (-24, -8), (-8, 32)):
        array = Layouts(graph, {x: strides}, follow=True).array(x)
        assert array.strides == strides
        np.testing.assert_array_equal(array, np.zeros((4, 3)))


def test_planning_leaves_the_graph_as_it_is(monkeypatch):
    def build(graph, labels, *, strides):
        expanded = check_graph(expand_fused(run_passes(graph, EXACT)))
        _, titled = wish_names(expanded, labels)
        text, equations = str(expanded), expanded.equations
        constants = {v: array.copy() for v, array in expanded.constants.items()}
        plan = make_plan(expanded, titled, LIKE_NUMPY, strides=strides)
        assert plan.graph is expanded
        assert expanded.equations is equations
        assert str(expanded) == text
        for variable, array in constants.items():
            np.testing.assert_array_equal(expanded.constants[variable], array)
        return plan_engine.PlanProgram(graph, plan, exact=True)

    use(monkeypatch, build)
    assert_run(range(3_000_000, 3_000_050))


# Plans that are wrong


def graph_of(function, *shapes, state=None, dtype=F64):
    inputs = [Variable(shape, dtype, f"x{i}") for i, shape in enumerate(shapes)]
    state = None if state is None else [Variable(s, dtype, f"s{i}") for i, s in enumerate(state)]
    return trace(function, inputs, state)[0]


def plan_of(function, *shapes, state=None, can=LIKE_NUMPY, titled=(), **options):
    """The plan of a function, and the variables of its equations by the name of their primitive."""
    graph = graph_of(function, *shapes, state=state)
    titled = {v for v in graph.names if graph.names[v] in titled}
    plan = make_plan(graph, titled, can, **options)
    named = {}
    for equation in graph.equations:
        named.setdefault(equation.name, equation.out)
    return plan, named


def assert_refused(plan, words, can=LIKE_NUMPY):
    with pytest.raises(PlanError, match=words):
        check_plan(plan, can)


def chain(x):
    a = np.sin(x)
    b = np.cos(x)
    return np.exp(a @ b) - a


def test_a_sound_plan_is_handed_back():
    plan, _ = plan_of(chain, (3, 3))
    assert check_plan(plan, LIKE_NUMPY) is plan


def test_memory_given_to_two_values_at_once_is_refused():
    plan, v = plan_of(chain, (3, 3))
    plan.buffers[v["cos"]] = plan.buffers[v["sin"]]
    assert_refused(plan, r"matmul reads a value of shape \(3, 3\) that is gone")
    plan, v = plan_of(chain, (3, 3))
    plan.buffers[v["matmul"]] = plan.buffers[v["sin"]]  # which the difference still reads
    assert_refused(plan, "writes over its argument")
    plan, v = plan_of(lambda x: (np.sin(x), np.exp(np.cos(x)))[::-1], (3,), fresh_results=False)
    plan.buffers[v["exp"]] = plan.buffers[v["sin"]]
    assert_refused(plan, "the result reads a value")


def test_memory_of_another_form_is_refused():
    plan, v = plan_of(lambda x: np.exp(np.sin(x)) @ np.cos(np.sum(x, axis=0)), (2, 3))
    one, other = v["sin"], v["cos"]
    plan.buffers[one], plan.buffers[other] = plan.buffers[other], plan.buffers[one]
    assert_refused(plan, "another form")
    plan, v = plan_of(lambda x: np.exp(np.sin(x)) @ np.cos(x), (3, 3))
    plan.buffers[v["cos"]] = replace(plan.buffers[v["cos"]], dtype=np.dtype(np.float32))
    assert_refused(plan, "another form")


def test_memory_of_the_callers_is_not_written_to():
    ones = np.arange(9.0).reshape(3, 3)
    for source in ("inputs", "constants"):
        plan, v = plan_of(lambda x: np.sin(x) @ ones + 1, (3, 3))
        (variable,) = getattr(plan.graph, source)
        plan.buffers[v["sin"]] = plan.buffers[variable]
        assert_refused(plan, "not the program's own")


def test_a_view_that_is_forgotten_is_refused():
    plan, v = plan_of(lambda x: np.exp(np.sin(x).T) @ x, (3, 3))
    assert v["transpose"] in plan.views
    del plan.views[v["transpose"]]
    assert_refused(plan, "transpose writes over its argument")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (lambda a: np.add(a, a.T))(np.sin(x)) @ x,
        lambda x: (lambda a: np.add(a, a[::-1]))(np.sin(x)) @ x,
        lambda x: (lambda a: np.add(a, a[0]))(np.sin(x)) @ x,
        lambda x: (lambda a: np.add(np.cumsum(a, axis=0), 1))(np.sin(x)) @ x,
    ],
)
def test_nothing_is_written_over_what_is_read_otherwise(function):
    plan, v = plan_of(function, (3, 3))
    result = v.get("cumsum", v["add"])
    assert plan.buffers.get(result) is not plan.buffers[v["sin"]]
    plan.buffers[result] = plan.buffers[v["sin"]]
    assert_refused(plan, "writes over its argument")


def test_a_choice_is_written_over_what_the_engine_says():
    def choice(x):
        return np.where(np.cos(x) > 0, np.sin(x), np.exp(x)) @ x

    plan, v = plan_of(choice, (3, 3))
    assert plan.buffers[v["where"]] is plan.buffers[v["exp"]]
    plan.buffers[v["where"]] = plan.buffers[v["sin"]]
    assert_refused(plan, "where writes over its argument")
    check_plan(plan, Can())
    plan, v = plan_of(choice, (3, 3), can=Can())
    assert plan.buffers[v["where"]] is plan.buffers[v["sin"]]
    plan, v = plan_of(choice, (3, 3), can=ABILITIES["nothing in place"])
    assert plan.buffers[v["where"]] not in (plan.buffers[v["sin"]], plan.buffers[v["exp"]])


def joined(x):
    a, b = np.sin(x), np.cos(x)
    return np.exp(np.concatenate([a.reshape(6), b.reshape(6)])) * np.sum(a @ b.T)


def test_parts_are_computed_where_they_will_stand():
    plan, v = plan_of(joined, (2, 3))
    whole = plan.buffers[v["concatenate"]]
    assert plan.placed == {v["concatenate"]}
    assert place(plan, v["sin"]) == (whole, 0, 6)
    assert place(plan, v["cos"]) == (whole, 6, 12)
    one, other = plan.buffers[v["sin"]], plan.buffers[v["cos"]]
    plan.buffers[v["cos"]] = replace(other, start=5)
    assert_refused(plan, "reshape reads a value of shape")
    plan.buffers[v["cos"]] = other
    plan.buffers[v["matmul"]] = Buffer((2, 2), F64, "work", whole, 2)
    assert_refused(plan, "writes over its argument")
    plan.buffers[v["cos"]] = one
    assert_refused(plan, "that is gone")


def vector(*parts):
    return np.concatenate([np.reshape(part, (-1,)) for part in parts])


def test_a_sum_is_added_up_where_it_will_stand():
    """Its last term is computed there, unless that has a name, a reader or a form of its own."""

    def gradient(x, w):
        product = np.matmul(x, w)
        return np.exp(vector(w * 0.1 + product, np.cos(x)))

    plan, v = plan_of(gradient, (3, 3), (3, 3))
    assert plan.buffers[v["matmul"]] is plan.buffers[v["add"]]
    assert plan.buffers[v["add"]].parent is plan.buffers[v["concatenate"]]
    plan, v = plan_of(gradient, (3, 3), (3, 3), can=ABILITIES["nothing in place"])
    assert plan.buffers[v["matmul"]] is not plan.buffers[v["add"]]


def read_twice(x, w):
    product = np.matmul(x, w)
    return np.exp(vector(w * 0.1 + product, np.cos(x))) * np.sum(product)


@pytest.mark.parametrize(
    "function",
    [
        read_twice,
        lambda x, w: np.exp(vector(x @ w + w @ w[0], np.cos(x))),
        lambda x, w: np.exp(vector(x @ w + np.tanh(x).astype(np.float32), np.cos(x))),
        lambda x, w: np.exp(vector(x @ w + np.cumsum(w, axis=0), np.cos(x))),
        lambda x, w: (np.exp(vector(x + (a := np.matmul(x, w)), np.cos(x))), a),
        lambda x, w: np.exp(vector(np.tanh(x).astype(np.float32), np.cos(w))),
        lambda x, w: np.exp(vector(a := np.sin(x), np.cos(w)) * vector(np.tanh(w), a)),
        lambda x, w: np.exp(np.concatenate([np.sin(x[0]), b := np.cos(w[0, 1:2])])) - b,
        lambda x, w: np.exp(np.concatenate([np.sin(x[0]), b := np.cos(w[0, :1])]) * b),
        lambda x, w: np.exp(vector(np.sin(x).T, np.cos(w))) * 2,
        lambda x, w: np.exp(vector(np.sin(x)[:, ::-1], np.cos(w))) * 2,
        lambda x, w: np.exp(vector(a := np.sin(x), a, np.cos(w))),
        lambda x, w: np.exp(vector(x, np.cos(w), NINE)),
        lambda x, w: np.exp(np.concatenate([np.sin(x), np.cos(w)], axis=1)),
    ],
)
@pytest.mark.parametrize("fresh", [True, False])
@every_ability
def test_parts_and_terms_that_cannot_stand_in_their_places(function, can, fresh):
    graph = graph_of(lambda x, w: (function(x, w),), (3, 3), (3, 3))
    (program,) = [
        plan_engine.PlanProgram(
            graph, make_plan(graph, set(), can, fresh_results=fresh), exact=True
        )
    ]
    check_lifetimes(can, program.plan)
    x, w = np.random.default_rng(0).normal(size=(2, 3, 3))
    expected = function(x, w)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for ours, wanted in zip(program(x, w), expected, strict=True):
        np.testing.assert_array_equal(ours, wanted)


def test_a_term_that_is_a_new_state_is_not_added_to():
    def step(state, x):
        new = np.matmul(x, x)
        return (np.exp(vector(x + new, np.cos(x))),), (new,)

    plan, v = plan_of(step, (3, 3), state=[(3, 3)])
    assert plan.buffers[v["matmul"]] is not plan.buffers[v["add"]]
    check_lifetimes(LIKE_NUMPY, plan)


def test_results_of_an_exact_plan_are_made_anew():
    for fresh in (True, False):
        plan, v = plan_of(lambda x: np.exp(np.sin(x)), (3,), fresh_results=fresh)
        assert plan.stands(v["sin"])
        assert plan.stands(v["exp"]) == (not fresh)


def test_scratch_memory_read_twice_in_a_line_is_handed_back_once():
    def update(w, g):
        a = np.tanh(g)
        both = a @ a.T  # a and a view of it
        return w + np.sin(both) @ np.cos(both) @ both

    graph = update_of(update, (3, 3), (3, 3))
    plan = make_plan(graph, set(), LIKE_NUMPY)
    check_lifetimes(LIKE_NUMPY, plan)
    assert {b.kind for b in plan.buffers.values()} == {"state", "input", "scratch"}


def test_a_whole_and_its_parts_are_one_memory():
    def scaled(x, w):
        whole = np.concatenate([np.sin(x), last := np.cos(w)])
        doubled = 2.0 * np.reshape(whole[:3], (3,))
        return np.exp(whole * last) * np.sum(whole) * np.sum(doubled @ x)

    plan, v = plan_of(scaled, (3,), (1,))
    whole, part = plan.buffers[v["concatenate"]], plan.buffers[v["sin"]]
    own = [e.out for e in plan.graph.equations if e.name == "multiply"]
    before = dict(plan.buffers)
    plan.buffers[own[0]] = part
    assert_refused(plan, "multiply writes over its argument")
    plan.buffers = {**before, own[1]: whole}
    assert_refused(plan, "multiply writes over its argument")
    plan.buffers = {**before, own[1]: replace(whole)}
    check_plan(plan, LIKE_NUMPY)


def test_a_state_is_read_before_it_changes():
    def step(state, x):
        (w,) = state
        moved = w - x
        return (np.exp(moved) @ w,), (moved,)

    plan, v = plan_of(step, (3, 3), state=[(3, 3)])
    (w,) = plan.graph.state
    assert plan.copies == {w: v["subtract"]}
    plan.buffers[v["subtract"]] = plan.buffers[w]
    assert_refused(plan, "matmul reads a value")


def test_a_view_of_a_state_that_is_its_own_update_is_returned_as_it_was():
    def step(state, x):
        turned = state[0][::-1]
        return (turned, state[0], x), (turned,)

    plan, v = plan_of(step, (3, 3), state=[(3, 3)])
    (w,) = plan.graph.state
    assert plan.kept == [v["index"], w]
    for build in (plan_engine.build, NUMPY_BUILD):
        program = build(plan.graph, Labels("step"))
        state = np.arange(9.0).reshape(3, 3)
        program.write_state([state.copy()])
        turned, old, _ = program(state)
        np.testing.assert_array_equal(turned, state[::-1])
        np.testing.assert_array_equal(old, state)
        np.testing.assert_array_equal(program.read_state()[0], state[::-1])


def test_an_update_must_still_stand_when_it_is_copied():
    def step(state, x):
        new = np.sin(x)
        return (new @ x @ state[0],), (new,)

    plan, v = plan_of(step, (3, 3), state=[(3, 3)], fresh_results=False)
    (w,) = plan.graph.state
    assert plan.copies == {w: v["sin"]}
    last = plan.graph.equations[-1].out
    plan.buffers[last] = plan.buffers[v["sin"]]
    assert_refused(plan, "an update reads")
