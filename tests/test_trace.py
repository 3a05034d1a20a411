"""Recording a function as a graph: what is recorded, and what is refused, naming the line."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler import infer as infer_module
from chainrule.compiler.check import GraphError, check_graph
from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.infer import frozen, infer
from chainrule.compiler.recording import TracedValueError
from chainrule.compiler.trace import trace
from chainrule.primitives import primitive as table

F64 = np.dtype(np.float64)


def variable(name: str, *shape: int, dtype: np.dtype = F64) -> Variable:
    return Variable(shape, dtype, name)


def names_of(graph: Graph) -> list[str]:
    return [equation.primitive.name for equation in graph.equations]


def test_every_primitive_becomes_an_equation_with_shape_and_dtype():
    x, w = variable("x", 4, 3), variable("w", 3, 2)
    graph, _ = trace(lambda x, w: np.tanh(x @ w).sum(axis=0), [x, w])
    assert names_of(graph) == ["matmul", "tanh", "sum"]
    assert [e.out.shape for e in graph.equations] == [(4, 2), (4, 2), (2,)]
    assert graph.inputs == (x, w)
    check_graph(graph)


def test_float32_stays_float32_beside_python_numbers():
    x = variable("x", 3, dtype=np.dtype(np.float32))
    graph, _ = trace(lambda x: 2.0 * x + 1, [x])
    assert {e.out.dtype for e in graph.equations} == {np.dtype(np.float32)}


def test_a_gradient_inside_is_recorded_with_its_section_and_rule():
    graph, _ = trace(cr.grad(lambda x: np.tanh(x).sum()), [variable("x", 3)])
    backward = [e for e in graph.equations if e.section == "backward"]
    assert {e.origin.name for e in backward if e.origin} == {"tanh_vjp"}
    assert graph.inputs[0] in graph.cotangents[backward[-1].out]


def test_numbers_have_no_dtype_of_their_own():
    rate = Variable.number(float, "rate")
    graph, _ = trace(lambda x, rate: x * (1 - rate**2), [variable("x", 3), rate])
    assert [e.out.dtype for e in graph.equations] == [None, None, F64]


def test_state_and_its_updates_are_explicit():
    count = variable("count", 2)
    graph, _ = trace(lambda state, x: (x * state, state + 1), [variable("x", 2)], count)
    assert graph.state == (count,)
    assert set(graph.updates) == {count}


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x if x.sum() > 0 else -x, "np.where"),
        (lambda x: x * float(x.sum()), "NumPy function of the same name"),
        (lambda x: x[int(x.sum()) :], "astype"),
        (lambda x: x * x.sum().item(), "return the array"),
        (lambda x: x * x.value, "return the array"),
        (lambda x: np.asarray(x), "chainrule supports"),
        (lambda x: x[x > 0], "np.where"),
    ],
)
def test_asking_for_a_value_names_the_line_and_what_to_use(function, words):
    with pytest.raises(TracedValueError, match=words) as caught:
        trace(function, [variable("x", 3)])
    line = function.__code__.co_firstlineno
    assert f"test_trace.py, line {line}" in str(caught.value)


def test_an_unsupported_numpy_function_is_named():
    with pytest.raises(TypeError, match=r"np\.median has no derivative rule"):
        trace(np.median, [variable("x", 3)])


def test_a_parameter_from_outside_is_refused():
    w = cr.parameter(np.ones(3))
    with pytest.raises(TracedValueError, match="pass it in as an argument"):
        trace(lambda x: x * w, [variable("x", 3)])


def test_infer_knows_matrices_that_must_be_regular():
    a = variable("a", 2, 3, 3)
    assert infer(table.PRIMITIVES["inv"], (a,), {}) == ((2, 3, 3), F64)


def test_the_graph_prints_as_equations():
    graph, _ = trace(lambda x, w: np.tanh(x @ w), [variable("x", 4, 3), variable("w", 3, 2)])
    text = str(graph)
    assert "graph(x f64[4,3], w f64[3,2]):" in text
    assert "f64[4,2] = matmul x w" in text
    assert text.endswith("return v3")


def broken(graph: Graph, **changes: object) -> Graph:
    return Graph(**{name: changes.get(name, getattr(graph, name)) for name in graph.__slots__})


def test_the_checker_finds_ill_formed_graphs():
    x = variable("x", 3)
    graph, _ = trace(lambda x: np.exp(np.sin(x)), [x])
    first, second = graph.equations
    with pytest.raises(GraphError, match="not yet defined"):
        check_graph(broken(graph, equations=(second, first)))
    with pytest.raises(GraphError, match="defined twice"):
        check_graph(broken(graph, equations=(first, first, second)))
    wrong = Equation((variable("", 4),), first.primitive, first.args, {})
    with pytest.raises(GraphError, match="its equation says"):
        check_graph(broken(graph, equations=(wrong,), outputs=()))
    with pytest.raises(GraphError, match="never defined"):
        check_graph(broken(graph, equations=(first,)))
    with pytest.raises(GraphError, match="does not have its shape"):
        check_graph(broken(graph, updates={variable("s", 2): x}))


def test_stand_ins_are_equal_for_equal_values_only():
    def values():
        return [
            np.zeros(3), np.zeros((3, 1)), np.zeros(3, np.int64), np.array([0.0, 0.0, 1.0]),
            0, False, 0.0, -0.0, np.float32(0), np.float64(0), (0,), [0], (0, 0), "0", None,
            slice(0, 2, 1), slice(0, 2, 2), slice(0, 3, 1), {"a": 1}, {"a": 2}, {"b": 1},
        ]  # fmt: skip

    stand_ins = [frozen(value) for value in values()]
    assert len(set(stand_ins)) == len(stand_ins)
    assert stand_ins == [frozen(value) for value in values()]
    for itself in ({1}, np.array([None, {}], object)):
        assert frozen(itself) == frozen(itself)
        assert frozen(itself) != frozen(itself.copy())


def test_what_has_been_inferred_is_told_apart():
    add = table.PRIMITIVES["add"]
    single, whole = (
        variable("x", 3, dtype=np.dtype(np.float32)),
        variable("i", 3, dtype=np.dtype(int)),
    )
    number, count = Variable.number(float), Variable.number(int)
    for first, second, dtype in (
        (single, number, np.float32),
        (single, variable("s"), np.float64),
        (whole, 1, int),
        (whole, 1.0, float),
        (whole, count, int),
        (whole, number, float),
    ):
        assert infer(add, (first, second), {}) == ((3,), np.dtype(dtype))
    rows = [cr.custom_vjp(None)(eval(f"lambda x: x[:{n}]")) for n in (1, 2)]
    assert [infer(own, (single,), {})[0] for own in rows] == [(1,), (2,)]
    for n in range(infer_module._KEPT + 10):
        infer(add, (variable("x", n), 1.0), {})
    assert len(infer_module._known) == infer_module._KEPT


def test_a_constant_is_kept_once_and_told_from_those_that_are_gone():
    array = np.arange(3.0)
    graph, _ = trace(lambda x: x * array + array, [variable("x", 3)])
    assert len(graph.constants) == 1
    shapes = [(3,), (1, 3), (3, 1), (3, 3)] * 5

    def adds_zeros(x):
        for shape in shapes:  # each array has the memory of the last, and its bytes
            np.add(x, np.zeros(shape))
        return x

    graph, _ = trace(adds_zeros, [variable("x", 3)])
    assert [e.args[1].shape for e in graph.equations] == shapes


def test_a_state_that_stays_is_not_updated():
    graph, _ = trace(lambda state, x: (x * state, state), [variable("x", 2)], variable("s", 2))
    assert not graph.updates
