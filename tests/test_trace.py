"""Recording a function as a graph: what is recorded, and what is refused, naming the line."""

from __future__ import annotations

import numpy as np
import pytest

import chainrule as cr
from chainrule.compiler.check import GraphError, check_graph
from chainrule.compiler.graph import Equation, Graph, Variable
from chainrule.compiler.trace import TracedValueError, infer, trace
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
