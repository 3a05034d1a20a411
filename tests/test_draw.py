"""Pictures of computation graphs: what is in them, and that no text of a user's can do harm."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import chainrule as cr
from chainrule import nn
from chainrule.primitives import sigmoid
from chainrule.see.draw.drawing import Drawing
from chainrule.see.draw.level import Edge, Level, Node, TextLine
from chainrule.see.draw.script import SCRIPT

SVG = "{http://www.w3.org/2000/svg}"
W, X, B = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 2.0]]), np.array([1.0, 0.5, -1.0]), np.ones(2)


def unit(W, x, b):
    z = W @ x + b
    y = sigmoid(z)
    return np.sum(y)


def parsed(drawing):
    return ET.fromstring(drawing.svg)


def texts(drawing):
    """The lines of text that are in the picture, shown or not."""
    return ["".join(text.itertext()) for text in parsed(drawing).iter(f"{SVG}text")]


def shown(drawing):
    """The lines of text that are shown before anything is clicked."""

    def walk(element):
        if element.get("display") == "none":
            return
        if element.tag == f"{SVG}text":
            yield element.text
        for child in element:
            yield from walk(child)

    return list(walk(parsed(drawing)))


def recorded_network():
    net = nn.Network([nn.Dense(3), "sigmoid", nn.Dense(1)], seed=0)
    rng = np.random.default_rng(0)
    return net, net.backprop(rng.random((4, 2)), rng.random((4, 1)), loss="squared_error")


# What is drawn


def test_values_and_gradients_stand_in_the_boxes():
    lines = texts(cr.draw(unit, W, X, B))
    seen = cr.record(unit)(W, X, B)
    assert "z = matmul_1 + b" in lines
    assert f"d_z = [{seen['d_z'][0]:.4g} {seen['d_z'][1]:.4g}]" in lines
    assert f"{seen['total']:.4g}" in lines
    assert "[[1 -2 0.5] [0 1 2]]" in lines


def test_numbers_of_a_note_are_those_of_the_record():
    seen = cr.record(unit)(W, X, B)
    notes = [title.text for title in parsed(cr.draw(unit, W, X, B)).iter(f"{SVG}title")]
    (note,) = [note for note in notes if note.startswith("W\n")]
    numbers = np.array(re.findall(r"-?\d+\.\d*", note.split("d_W")[1].split("]", 1)[0]), float)
    assert np.allclose(numbers[-3:], seen["d_W"][0], atol=1e-4)


def test_the_reverse_pass_is_a_graph_beside_the_forward_pass():
    drawing = cr.draw(unit, W, X, B, backward=True)
    lines = texts(drawing)
    assert "d_z = d_y * (y * (1 - y))" in lines
    assert {"∂sigmoid", "∂+", "∂@", "∂sum"} <= set(lines)
    assert {"d_b = d_z", "d_matmul_1 = d_z"} <= set(lines)  # the rule of + hands on what it gets
    level = drawing.level
    row = {line.lines[0].text: rank for line, rank in zip(level.nodes, level.ranks)}
    assert row["y = sigmoid(z)"] == row["d_z = d_y * (y * (1 - y))"]
    assert row["z = matmul_1 + b"] == row["d_b = d_z"]
    for edge in level.edges:
        source, target = level.ranks[edge.source], level.ranks[edge.target]
        assert {"forward": source < target, "backward": source > target}.get(edge.style, True)


@pytest.mark.parametrize("backward", [False, True])
def test_every_equation_is_there_where_nothing_is_folded(backward):
    _, record = recorded_network()
    drawing = cr.draw(record, backward=backward, fold="nothing")
    made = [node.lines[0].text.split(" = ")[0] for node in drawing.level.nodes]
    sections = {"forward", "backward"} if backward else {"forward"}
    equations = [e for e in record.graph.equations if e.section in sections]
    n_inputs = len(record.graph.inputs) - (not backward)  # one of them is where the way back starts
    assert len(made) == len(set(made)) == len(equations) + n_inputs
    reads = {(s, t) for t, e in enumerate(equations) for s, f in enumerate(equations)
             if f.out in e.variables}  # fmt: skip
    inner = [e for e in drawing.level.edges if min(e.source, e.target) >= n_inputs - backward]
    assert len([e for e in inner if e.source >= n_inputs]) >= len(reads) - backward


def test_folding_hides_nothing_for_good():
    _, record = recorded_network()
    folded = cr.draw(record, backward=True, fold="layers")
    whole = cr.draw(record, backward=True, fold="rules")
    assert {line for line in texts(whole) if " = " in line} <= set(texts(folded))
    first = {"dense_1", "dense_2", "loss", "∂ dense_1", "∂ dense_2", "∂ loss"}
    assert first <= set(shown(folded))
    assert not first & set(shown(whole)) - {"dense_1", "dense_2", "loss"}
    assert "z1 = matmul_1 + b1" not in shown(folded)
    opened = cr.draw(record, backward=True, fold="layers", opened=["dense_1"])
    assert "z1 = matmul_1 + b1" in shown(opened)


def test_large_graphs_of_layers_are_folded_and_small_ones_are_not():
    _, small = recorded_network()
    assert "∂ dense_1" not in texts(cr.draw(small, backward=True))
    net = nn.Network([nn.LSTM(2), nn.Dense(1)], seed=0)
    large = net.backprop(np.ones((1, 9, 2)), np.ones((1, 1)), loss="squared_error")
    assert len(cr.draw(large, backward=True).level.nodes) < 10


def test_graphs_without_values_and_their_loops():
    net = nn.Network([nn.LSTM(2), nn.Dense(1)], seed=0)
    net.fit(np.ones((4, 3, 2)), np.ones((4, 1)), loss="squared_error", batch_size=2, epochs=1,
            verbose=0, engine="numpy")  # fmt: skip
    drawing = cr.draw(net.step.graph, fold="nothing")
    loops = [node for node in drawing.level.nodes if node.inner is not None]
    assert len(loops) == 2
    assert any("sigmoid" in line for line in texts(drawing))
    compiled = cr.compile(unit, engine="numpy")
    compiled(W, X, B)
    assert "v" not in {node.style for node in cr.draw(compiled).level.nodes}
    assert any("f64[2,3]" in line for line in texts(cr.draw(compiled)))


PROGRAMS = {
    "one number": (lambda x: x * 1.0, (2.0,)),
    "same value twice": (lambda x: x + x, (2.0,)),
    "a result that is an input's view": (lambda x: x[0], (np.ones(3),)),
    "an argument nobody reads": (lambda x, y: np.sin(x), (1.0, 2.0)),
    "empty": (lambda x: np.sum(x), (np.ones((0, 3)),)),
    "not finite": (lambda x: np.sum(x * np.array([np.nan, np.inf, 1.0])), (np.ones(3),)),
    "float32": (lambda x: np.sum(x**2), (np.ones(3, np.float32),)),
    "not contiguous": (lambda x: np.sum(np.tanh(x)), (np.ones((4, 6))[::2, ::3],)),
    "a tree": (lambda p: p["w"] * p["b"][0], ({"w": 1.0, "b": [2.0, 3.0]},)),
    "gradients inside": (lambda x: cr.grad(lambda y: y**3)(x) ** 2, (2.0,)),
    "concatenated": (lambda x, y: np.sum(np.concatenate([x, y, x])), (np.ones(2), np.ones(3))),
    "a fan": (lambda x: sum(x * i for i in range(20)), (1.5,)),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("fold", ["rules", "nothing", "layers", None])
@pytest.mark.parametrize("backward", [False, True])
def test_odd_programs_are_drawn(name, fold, backward):
    f, args = PROGRAMS[name]
    drawing = cr.draw(f, *args, fold=fold, backward=backward)
    assert parsed(drawing).get("role") == "img"
    assert not [line for line in texts(drawing) if not line]


def test_what_cannot_be_drawn_says_what_to_do():
    with pytest.raises(TypeError, match="takes a function and its arguments, a record or a graph"):
        cr.draw(3)
    with pytest.raises(ValueError, match="one of 'layers', 'rules' and 'nothing'"):
        cr.draw(unit, W, X, B, fold="layer")
    with pytest.raises(ValueError, match="cotangent"):
        cr.draw(lambda x: x * 2, np.ones(3))
    assert "d_x = [2 2 2]" in texts(cr.draw(lambda x: x * 2, np.ones(3), cotangent=np.ones(3)))
    with pytest.raises(TypeError, match="a Network draws itself"):
        cr.draw(recorded_network()[0])


# The file

HOSTILE = [
    "</title><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "]]></script><img src=x onerror=alert(1)>",
    "&lt;b&gt; & <b>",
    "\x00\x1b[31m\ud800\ufffe\u202eabc",
    "π ∂ 数字 é 🙂",
    "a" * 5000,
]


def check_harmless(svg):
    tree = ET.fromstring(svg)
    scripts = [element for element in tree.iter() if element.tag == f"{SVG}script"]
    assert [script.text.strip("/\n") for script in scripts] == [SCRIPT.strip("/\n")]
    for element in tree.iter():
        assert element.tag.removeprefix(SVG) in {
            "svg", "title", "desc", "style", "defs", "marker", "path", "rect", "g", "text",
            "circle", "script",
        }  # fmt: skip
        assert not [key for key in element.attrib if key.lower().startswith("on") or "href" in key]
    styles = [element.text for element in tree.iter(f"{SVG}style")]
    assert len(styles) == 1
    assert "alert" not in styles[0]
    assert "alert" not in scripts[0].text


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_users_are_texts(text, tmp_path):
    def f(x):
        return np.sin(x)

    f.__name__ = text
    check_harmless(cr.draw(f, 1.0).svg)
    node = Node((TextLine(text), TextLine("below", "value")), "forward", note=text)
    level = Level((node, node), (Edge(0, 1),), legend=(("forward", text),))
    made = Drawing(level, text, text).beside(Drawing(level, text, text))
    check_harmless(made.svg)
    page = made.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert page.count("</script") == 1
    if text.isprintable():
        assert text in texts(made)


def test_hostile_layers_and_keys_are_texts():
    class Odd(nn.Layer):
        def forward(self, x, parameters, context):
            return x * 2

        def __repr__(self):
            return HOSTILE[0]

    net = nn.Network([Odd(), nn.Dense(20)], input_shape=3, seed=0)
    check_harmless(net.draw().svg)
    assert HOSTILE[0] in texts(net.draw())
    check_harmless(cr.draw(lambda p: p[HOSTILE[1]] * 2, {HOSTILE[1]: 1.5}).svg)


def test_a_picture_has_a_title_and_a_description():
    tree = parsed(cr.draw(unit, W, X, B, title="a unit"))
    assert tree.find(f"{SVG}title").text == "a unit"
    description = tree.find(f"{SVG}desc").text
    assert "4 equations forward" in description
    assert "W f64[2,3]" in description
    assert tree.get("aria-labelledby").split() == [tree[0].get("id"), tree[1].get("id")]


def test_no_letter_is_small_and_none_leaves_its_box():
    drawing = cr.draw(unit, W, X, B, backward=True)
    sizes = [float(s) for s in re.findall(r"font-size:([\d.]+)px", drawing.svg)]
    assert min(sizes) >= 10.5
    for face in parsed(drawing).iter(f"{SVG}g"):
        if face.get("class") == "face":
            width = float(face.find(f"{SVG}rect").get("width"))
            longest = max(len(text.text) for text in face.iter(f"{SVG}text"))
            assert longest * 0.602 * 11.5 <= width - 16  # of DejaVu Sans Mono, the widest in use


def test_saved_files_are_whole(tmp_path):
    drawing = cr.draw(unit, W, X, B)
    svg = drawing.save(tmp_path / "new" / "a.svg")
    assert svg.read_text(encoding="utf-8") == drawing.svg
    assert drawing.save(str(tmp_path / "a.HTML")).read_text(encoding="utf-8") == drawing.html
    assert drawing.save(tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert drawing.save(tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"
    assert {p.name for p in tmp_path.iterdir()} == {"new", "a.HTML", "a.png", "a.pdf"}
    with pytest.raises(ValueError, match=r"\.svg, \.html, \.png, \.pdf"):
        drawing.save(tmp_path / "a.jpg")


def test_pictures_in_notebooks_are_bounded():
    small = cr.draw(unit, W, X, B)
    assert "<script" not in small._repr_svg_()
    long = cr.draw(lambda x: sum(np.sin(x + i) for i in range(150)), 0.5)
    width, height = map(float, re.search(r'width="([\d.]+)" height="([\d.]+)"',
                                         long._repr_svg_()).groups())  # fmt: skip
    assert width <= 1100
    assert height <= 1500
    lines = tuple(TextLine("some words " * 6) for _ in range(30))
    huge = Drawing(Level(tuple(Node(lines, "forward") for _ in range(900))), "huge", "")
    assert len(huge._repr_svg_()) < 10_000
    assert "too large to be shown here" in huge._repr_svg_()
    ET.fromstring(huge._repr_svg_())


def test_beside():
    numbers, graph = (
        cr.draw(unit, W, X, B, title="A"),
        cr.draw(unit, W, X, B, backward=True, title="B"),
    )
    both = numbers.beside(graph, title="both ways")
    assert parsed(both)[0].text == "both ways"
    assert set(texts(numbers)) | set(texts(graph)) <= set(texts(both))
    assert both.size[0] > numbers.size[0] + graph.size[0] - 200
    assert repr(both) == f"Drawing('both ways': 21 boxes, {both.size[0]:.0f} x {both.size[1]:.0f})"
